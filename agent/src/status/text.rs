//! The document `status/1` as a person reads it: the verdict, a line per thing, ages
//! instead of times.

use std::fmt::Write;

use super::{AutonomyState, AutonomyStatus, RecordingsStatus, SourceStatus, Status};

/// The text of `status`, at most 100 columns wide.
pub fn as_text(status: &Status) -> String {
    let mut text = String::new();
    let assigned = status.sources.iter().any(|source| source.assigned);
    let patient = match (status.sources.is_empty(), assigned) {
        (true, _) => "no source configured",
        (false, true) => "patient assigned",
        (false, false) => "patient UNASSIGNED",
    };
    let up = age(f64::from(
        u32::try_from(status.site.up_s).unwrap_or(u32::MAX),
    ));
    put(
        &mut text,
        format_args!(
            "{}   box {} · {patient} · up {up}\n\n",
            status.verdict.word(),
            status.site.name
        ),
    );
    sources(&mut text, &status.sources);
    tail(&mut text, status);
    text
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // writing to a String cannot fail
    let _ = text.write_fmt(words);
}

fn sources(text: &mut String, sources: &[SourceStatus]) {
    if sources.is_empty() {
        return;
    }
    put(
        text,
        format_args!(
            "{:<14} {:<10} {:<16} {:<9} {:<14} {:<8} {}\n",
            "SOURCE", "LINK", "STREAM", "RATE", "QUALITY", "HR", "LAST"
        ),
    );
    for source in sources {
        let quality = source.quality.as_ref().map_or("-".to_owned(), |quality| {
            format!("{} {:.2}", short(&quality.verdict), quality.index)
        });
        let rate = source
            .heart_rate_bpm
            .map_or("-".to_owned(), |bpm| format!("{bpm:.0} /min"));
        let last = source
            .last_age_s
            .map_or("-".to_owned(), |seconds| format!("{} ago", age(seconds)));
        put(
            text,
            format_args!(
                "{:<14} {:<10} {:<16} {:<9} {:<14} {:<8} {}{}{}\n",
                source.name,
                source.state.word(),
                source.stream,
                match source.recordings {
                    Some(_) => "-".to_owned(),
                    None => format!("{} Hz", source.rate_hz),
                },
                quality,
                rate,
                last,
                trouble(source),
                source.recordings.as_ref().map(fetching).unwrap_or_default()
            ),
        );
    }
    text.push('\n');
}

/// Charge of a sensor's battery, in percent, from which on a person is told.
const BATTERY_LOW: u8 = 20;

/// How far the recordings of a sensor are.
fn fetching(told: &RecordingsStatus) -> String {
    let under_way = match (told.storing, told.have_bytes, told.of_bytes) {
        (true, ..) => ", storing one".to_owned(),
        (false, 0, _) => String::new(),
        (false, have, Some(of)) => format!(", {} of {}", bytes(have), bytes(of)),
        (false, have, None) => format!(", {} so far", bytes(have)),
    };
    format!("   {} fetched{under_way}", told.fetched)
}

fn trouble(source: &SourceStatus) -> String {
    let quality = source.quality.as_ref();
    let electrode = quality.and_then(|quality| quality.electrode_iec.as_deref());
    match (&source.code, electrode) {
        (Some(code), _) => format!("   {code}"),
        (None, Some(electrode)) => format!("   {electrode} off"),
        (None, None)
            if source
                .battery_percent
                .is_some_and(|left| left <= BATTERY_LOW) =>
        {
            format!("   battery {} %", source.battery_percent.unwrap_or(0))
        }
        (None, None) => quality
            .and_then(|quality| quality.causes.first())
            .map_or(String::new(), |cause| format!("   {cause}")),
    }
}

fn tail(text: &mut String, status: &Status) {
    let store = &status.store;
    put(
        text,
        format_args!(
            "STORED   {} records, {} of {} · {}\n",
            store.stored,
            bytes(store.bytes),
            bytes(store.cap_bytes),
            room(&store.autonomy)
        ),
    );
    let oldest = store.oldest_waiting_age_s.map_or(String::new(), |seconds| {
        format!(", oldest {}", age(seconds))
    });
    let under_way = u64::try_from(status.uplink.under_way).unwrap_or(0);
    let sent = store.filed.saturating_add(under_way);
    let since = status
        .uplink
        .since_s
        .map_or(String::new(), |seconds| format!(" {}", age(seconds)));
    let link = match (status.uplink.connected, &status.uplink.code) {
        (true, _) => format!("gateway connected{since}"),
        (false, Some(code)) => format!("gateway not reached{since} ({code})"),
        (false, None) => format!("gateway not reached{since}"),
    };
    put(
        text,
        format_args!(
            "SENT     {} · FILED {} · waiting {}{oldest} · {link}\n",
            sent, store.filed, store.waiting
        ),
    );
    if store.aside.files > 0 {
        put(text, format_args!("ASIDE    {}\n", store.aside));
    }
    put(text, format_args!("CLOCK    {}\n", clock(status)));
    if let Some(left_s) = status.certificate.left_s {
        let days = left_s.div_euclid(86_400);
        put(
            text,
            format_args!("KEYS     certificate good for {days} d\n"),
        );
    }
    match status.warnings.as_slice() {
        [] => {}
        warnings => {
            put(text, format_args!("{} warning(s):\n", warnings.len()));
            for warning in warnings {
                put(
                    text,
                    format_args!("  {} ({})\n", warning.text, warning.code),
                );
            }
        }
    }
}

/// How long capture can go on without the gateway.
fn room(autonomy: &AutonomyStatus) -> String {
    match (autonomy.state, autonomy.hours) {
        (AutonomyState::NotCapturing, _) => "not capturing".to_owned(),
        (AutonomyState::Lasts, Some(hours)) => {
            format!("room for {} of capture", age(hours * 3600.0))
        }
        _ => "room not known yet".to_owned(),
    }
}

fn clock(status: &Status) -> String {
    let mut words = match status.clock.error_ms {
        Some(error) => format!("synchronised, within {error:.0} ms"),
        None => "not synchronised".to_owned(),
    };
    if let Some(ahead) = status.clock.gateway_ahead_ms {
        words += &format!(" · gateway {ahead:+.0} ms");
    }
    for source in &status.sources {
        if let Some(ppm) = source.drift_ppm {
            words += &format!(" · {} drifts {ppm:+.0} ppm", source.name);
        }
    }
    words
}

fn short(verdict: &str) -> &str {
    match verdict {
        "insufficient" => "poor",
        "acceptable" => "fair",
        other => other,
    }
}

/// An age with one unit below a minute and two above.
fn age(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e12)).as_secs();
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}
