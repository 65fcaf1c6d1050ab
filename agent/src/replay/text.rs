//! The document `replay/1` as an engineer reads it.

use std::fmt::Write as _;

use super::found::{AcquisitionFound, ReplayDocument, Verdicts};

/// Gaps and events that are shown; the document lists more.
const SHOWN_MAX: usize = 20;

/// The document in words: the verdict, then a line for each thing.
pub fn as_text(found: &ReplayDocument) -> String {
    let mut text = String::new();
    // writing to a string does not fail
    let _ = write(&mut text, found);
    text
}

fn write(text: &mut String, found: &ReplayDocument) -> std::fmt::Result {
    let capture = &found.capture;
    let word = if capture.cut.is_some() {
        "CUT"
    } else {
        "WHOLE"
    };
    writeln!(
        text,
        "{word:<9}{} for {:.1} s since {} · {} entries, {} bytes heard, {} sent",
        capture.profile,
        capture.seconds,
        capture.began,
        capture.entries,
        capture.heard_bytes,
        capture.said_bytes
    )?;
    if let Some(cut) = &capture.cut {
        writeln!(text, "         {} ({})", cut.detail, cut.code)?;
    }
    write_device(text, found)?;
    write_link(text, found)?;
    for acquisition in &found.acquisitions {
        write_acquisition(text, acquisition)?;
    }
    write_quality(text, found)?;
    for event in found.events.iter().take(SHOWN_MAX) {
        writeln!(text, "EVENT    {} {}", event.code, event.detail)?;
    }
    more(text, found.events.len())
}

fn more(text: &mut String, count: usize) -> std::fmt::Result {
    match count.checked_sub(SHOWN_MAX) {
        None | Some(0) => Ok(()),
        Some(left) => writeln!(text, "         and {left} more: --json"),
    }
}

fn write_device(text: &mut String, found: &ReplayDocument) -> std::fmt::Result {
    let device = &found.device;
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(
        text,
        "DEVICE   {} {} · serial {} · firmware {} · System ID {} · battery {}",
        or_dash(&device.maker),
        or_dash(&device.model),
        or_dash(&device.serial),
        or_dash(&device.firmware),
        or_dash(&device.system_id),
        device
            .battery_percent
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"))
    )
}

fn write_link(text: &mut String, found: &ReplayDocument) -> std::fmt::Result {
    let link = &found.link;
    let first = link.first_sample_s.map_or_else(
        || "no sample".to_owned(),
        |seconds| format!("first sample after {seconds:.2} s"),
    );
    writeln!(
        text,
        "LINK     {} connection(s), {first} · {} bytes skipped, {} values crowded out",
        link.connections, link.skipped_bytes, link.crowded_out
    )?;
    if !link.losses.is_empty() {
        let shown: Vec<&str> = link.losses.iter().map(String::as_str).collect();
        let shown = shown.get(..SHOWN_MAX).unwrap_or(&shown);
        writeln!(text, "         lost: {}", shown.join(", "))?;
    }
    match link.differs_at_s {
        None => writeln!(text, "         this version would send the same"),
        Some(at_s) => writeln!(
            text,
            "         this version would send something else from {at_s:.1} s on"
        ),
    }
}

fn write_acquisition(text: &mut String, found: &AcquisitionFound) -> std::fmt::Result {
    let drift = match (found.drift_ppm, found.drift_error_ppm) {
        (Some(ppm), Some(error)) => format!("drifts {ppm:+.1} ppm, ± {error:.1}"),
        _ => "drift not known yet".to_owned(),
    };
    let measured = found
        .measured_rate_hz
        .map_or_else(String::new, |hz| format!(" (measured {hz:.3})"));
    writeln!(
        text,
        "SIGNAL   {} at {} Hz{measured}, {} · {} samples in {} segments · {drift}",
        found.leads.join(" "),
        found.rate_hz,
        found.integrity,
        found.samples,
        found.segments
    )?;
    writeln!(
        text,
        "         {} gap(s), {} samples missing · {} frames repeated, {} late · clock began anew {} time(s)",
        found.gap_count,
        found.missing,
        found.repeated_frames,
        found.late_frames,
        found.clock_resets
    )?;
    for gap in found.gaps.iter().take(SHOWN_MAX) {
        writeln!(
            text,
            "GAP      from {}, {} ± {} samples, {}",
            gap.from, gap.len, gap.uncertainty, gap.cause
        )?;
    }
    more(text, found.gaps.len())
}

fn write_quality(text: &mut String, found: &ReplayDocument) -> std::fmt::Result {
    let quality = &found.quality;
    if quality.overall.windows() == 0 {
        return writeln!(text, "QUALITY  not scored");
    }
    let of = |windows: &Verdicts| {
        format!(
            "good {}, acceptable {}, insufficient {}",
            windows.good, windows.acceptable, windows.insufficient
        )
    };
    let bpm = quality.heart_rate_bpm.map_or_else(
        || "heart rate not told".to_owned(),
        |bpm| format!("median heart rate {bpm:.0}/min"),
    );
    writeln!(text, "QUALITY  windows: {} · {bpm}", of(&quality.overall))?;
    for lead in &quality.leads {
        let causes: Vec<String> = lead
            .causes
            .iter()
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        let line = format!(
            "         {:<6} {}  {}",
            lead.lead,
            of(&lead.windows),
            causes.join(", ")
        );
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}
