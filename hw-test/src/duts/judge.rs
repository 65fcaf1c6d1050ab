//! What was found of a device, held against what is demanded of it.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use super::definition::{Dut, Gaps};
use crate::judge::ledger::{Ledger, Lost};

/// The part of `replay/1` that is judged.
#[derive(Deserialize)]
struct Found {
    capture: Capture,
    link: Link,
    device: Value,
    acquisitions: Vec<Acquisition>,
    quality: Quality,
}

#[derive(Deserialize)]
struct Capture {
    cut: Option<Value>,
    misplaced_entries: u64,
}

#[derive(Deserialize)]
struct Link {
    first_sample_s: Option<f64>,
    differs_at_s: Option<f64>,
}

#[derive(Deserialize)]
struct Quality {
    overall: Verdicts,
}

#[derive(Deserialize)]
struct Verdicts {
    good: u64,
    acceptable: u64,
    insufficient: u64,
}

#[derive(Deserialize)]
struct Acquisition {
    rate_hz: f64,
    measured_rate_hz: Option<f64>,
    integrity: String,
    samples: u64,
    missing: u64,
    gaps: Vec<Gap>,
    repeated_frames: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Gap {
    from: u64,
    len: u64,
    uncertainty: u64,
    cause: String,
}

/// A device that sends before the box listens is heard from a little later on.
const HEARD_WITHIN_S: f64 = 1.0;
/// Without a counter a loss is noticed so many seconds behind its place.
const NOTICED_WITHIN_S: f64 = 1.5;
/// The same, for how long it was: time tells no better.
const KNOWN_TO_S: f64 = 0.06;

/// What was seen, and each demand that is not met.
pub(super) fn hold(
    dut: &Dut,
    found: &Value,
    ledger: Option<&Ledger>,
) -> anyhow::Result<(String, Vec<String>)> {
    let found: Found = serde_json::from_value(found.clone()).context("an unknown replay")?;
    let mut broken = Vec::new();
    let [acquisition] = found.acquisitions.as_slice() else {
        let count = found.acquisitions.len();
        let broken = vec![format!("{count} acquisitions instead of one")];
        return Ok(("nothing that can be judged".to_owned(), broken));
    };
    let first_s = found.link.first_sample_s.unwrap_or(f64::INFINITY);
    let first_limit_s = dut.expect.first_sample_within_s;
    if first_s > first_limit_s {
        broken.push(format!(
            "first sample after {first_s:.1} s, not within {first_limit_s} s"
        ));
    }
    let hz = acquisition.measured_rate_hz.unwrap_or_default();
    let ppm = (hz / acquisition.rate_hz - 1.0) * 1e6;
    if ppm.abs() > dut.expect.rate_within_ppm {
        broken.push(format!(
            "{hz:.3} Hz: {ppm:+.0} ppm from {} Hz",
            acquisition.rate_hz
        ));
    }
    broken.extend(gaps(dut, acquisition, ledger));
    let back_s = ledger.map(back_after).unwrap_or_default();
    if let Some(limit_s) = dut.expect.back_within_s {
        if back_s.is_empty() {
            broken.push("it was never away".to_owned());
        }
        let late = back_s.iter().filter(|back_s| **back_s > limit_s);
        broken.extend(
            late.map(|s| format!("heard {s:.1} s after its return, not within {limit_s} s")),
        );
    }
    let word = usual(&found.quality.overall);
    let wanted = &dut.expect.quality;
    if !wanted.is_empty() && !wanted.iter().any(|one| *one == word) {
        broken.push(format!("quality mostly {word}"));
    }
    for field in &dut.expect.tells {
        if found.device.get(field).is_none_or(Value::is_null) {
            broken.push(format!("it does not tell its {field}"));
        }
    }
    if found.capture.cut.is_some() || found.capture.misplaced_entries > 0 {
        broken.push("the capture is not whole".to_owned());
    }
    if let Some(at_s) = found.link.differs_at_s {
        broken.push(format!(
            "the replay says something else than the box from {at_s:.1} s on"
        ));
    }
    let back: String = back_s
        .iter()
        .map(|back_s| format!("back after {back_s:.2} s, "))
        .collect();
    let seen = format!(
        "first sample {first_s:.2} s, {back}{hz:.3} Hz ({ppm:+.0} ppm), {} samples, {} gap(s) of {}, {} repeated, {word}",
        acquisition.samples,
        acquisition.gaps.len(),
        acquisition.missing,
        acquisition.repeated_frames
    );
    Ok((seen, broken))
}

/// The verdict of most windows.
fn usual(verdicts: &Verdicts) -> &'static str {
    let counts = [
        (verdicts.good, "good"),
        (verdicts.acceptable, "acceptable"),
        (verdicts.insufficient, "insufficient"),
    ];
    let most = counts.into_iter().max_by_key(|(count, _)| *count);
    match most {
        Some((1.., word)) => word,
        _ => "not scored",
    }
}

fn gaps(dut: &Dut, acquisition: &Acquisition, ledger: Option<&Ledger>) -> Vec<String> {
    match (dut.expect.gaps, ledger) {
        (Gaps::None, _) => {
            let told = acquisition.gaps.iter();
            told.map(|gap| format!("a gap of {} at {}", gap.len, gap.from))
                .collect()
        }
        (Gaps::Ledger, Some(ledger)) => beside(acquisition, ledger, dut.expect.unconfirmed),
        (Gaps::Ledger, None) => vec!["there is no ledger".to_owned()],
    }
}

/// The gaps beside the losses of the ledger: as many, each in its place and as long.
fn beside(acquisition: &Acquisition, ledger: &Ledger, unconfirmed: u64) -> Vec<String> {
    let end = ledger.sent.last().map_or(0, |row| row.at + 1);
    let lost = runs(ledger, end);
    let mut gaps = whole(acquisition);
    // No more than one for each fault is given up where nothing else was lost.
    let mut excess = gaps
        .len()
        .saturating_sub(lost.len())
        .min(ledger.faults.len());
    gaps.retain(|gap| {
        let given_up = excess > 0 && gap.len <= unconfirmed;
        excess -= usize::from(given_up);
        !given_up
    });
    let told: Vec<(u64, u64)> = gaps.iter().map(|gap| (gap.from, gap.len)).collect();
    if lost.len() != told.len() {
        return vec![format!("gaps {told:?}, but lost was {lost:?}")];
    }
    let is_timed = acquisition.integrity == "uncounted";
    let span = |seconds: f64| seconds * acquisition.rate_hz;
    let timed = |seconds: f64| if is_timed { span(seconds) } else { 0.0 };
    let behind = timed(NOTICED_WITHIN_S) + as_f64(unconfirmed);
    let known_to = timed(KNOWN_TO_S) + as_f64(unconfirmed);
    let mut broken = Vec::new();
    // what the box's first sample is on the device's own time line, from the gaps before on
    let mut ahead = 0.0;
    let places = gaps.iter().zip(&lost).enumerate();
    for (number, (gap, (from, len))) in places {
        let place = as_f64(*from) - as_f64(gap.from);
        if number == 0 {
            ahead = place;
            let range = -behind..=span(HEARD_WITHIN_S);
            if !range.contains(&ahead) {
                broken.push(format!("the first gap at {}, not {from}", gap.from));
            }
        } else if (place - ahead).abs() > behind + uncertainty(&gaps, number) {
            broken.push(format!("gap {} at {}, not {from}", number + 1, gap.from));
        }
        if as_f64(gap.len.abs_diff(*len)) > known_to + as_f64(gap.uncertainty) {
            broken.push(format!("gap {} of {}, not {len}", number + 1, gap.len));
        }
    }
    let counted = acquisition.samples + acquisition.missing;
    let slack = behind + uncertainty(&gaps, gaps.len());
    if (as_f64(end) - as_f64(counted) - ahead).abs() > slack {
        broken.push(format!("{counted} samples and gaps, but {end} were taken"));
    }
    broken
}

/// The gaps, each whole: a counter tells at once what is missing beyond its whole turns, and time
/// tells those a little later, as a gap of its own.
fn whole(acquisition: &Acquisition) -> Vec<Gap> {
    let turns = |before: &Gap, gap: &Gap| {
        let since = as_f64(gap.from.saturating_sub(before.from + before.len));
        acquisition.integrity == "counted"
            && gap.cause == "fewer-than-time"
            && since <= NOTICED_WITHIN_S * acquisition.rate_hz
    };
    let mut all: Vec<Gap> = Vec::new();
    for gap in &acquisition.gaps {
        match all.last_mut() {
            Some(before) if turns(before, gap) => {
                before.len += gap.len;
                before.uncertainty += gap.uncertainty;
            }
            _ => all.push(gap.clone()),
        }
    }
    all
}

/// What the first gaps may be wrong by, together.
fn uncertainty(gaps: &[Gap], count: usize) -> f64 {
    let first = gaps.iter().take(count);
    first.map(|gap| as_f64(gap.uncertainty)).sum()
}

/// For each absence of the device, how long it was back before the box heard a sample, in seconds.
fn back_after(ledger: &Ledger) -> Vec<f64> {
    let is_away = |lost: &Lost| matches!(lost.cause.as_str(), "unplug" | "disconnect");
    let rate_hz = f64::from(ledger.rate_hz);
    let away = ledger
        .lost
        .iter()
        .enumerate()
        .filter(|(_, lost)| is_away(lost));
    away.filter_map(|(place, lost)| {
        let returned = lost.from + lost.len;
        let mut heard = returned;
        for later in ledger.lost.iter().skip(place + 1) {
            if later.from == heard {
                heard += later.len;
            }
        }
        let is_heard = ledger.sent.last().is_some_and(|row| row.at >= heard);
        is_heard.then(|| as_f64(heard - returned) / rate_hz)
    })
    .collect()
}

/// What was lost before `end`, neighbours together, as `(from, len)`.
fn runs(ledger: &Ledger, end: u64) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for lost in &ledger.lost {
        match runs.last_mut() {
            Some((from, len)) if *from + *len == lost.from => *len += lost.len,
            _ => runs.push((lost.from, lost.len)),
        }
    }
    runs.retain(|(from, len)| from + len <= end);
    runs
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::{Acquisition, Gap, Ledger, Lost, back_after, beside};
    use crate::judge::compare::SentRow;

    fn acquisition(integrity: &str, gaps: &[(u64, u64)]) -> Acquisition {
        let gap = |(from, len): &(u64, u64)| Gap {
            from: *from,
            len: *len,
            uncertainty: 0,
            cause: "frames-lost".to_owned(),
        };
        Acquisition {
            rate_hz: 250.0,
            measured_rate_hz: None,
            integrity: integrity.to_owned(),
            samples: 1000 - gaps.iter().map(|(_, len)| len).sum::<u64>(),
            missing: gaps.iter().map(|(_, len)| len).sum(),
            gaps: gaps.iter().map(gap).collect(),
            repeated_frames: 0,
        }
    }

    fn ledger(lost: &[(u64, u64)]) -> Ledger {
        let lost = lost.iter().map(|(from, len)| Lost {
            from: *from,
            len: *len,
            cause: "drop".to_owned(),
        });
        Ledger {
            lost: lost.collect(),
            sent: vec![SentRow {
                at: 999,
                counts: Vec::new(),
            }],
            rate_hz: 250,
            ..Ledger::default()
        }
    }

    #[test]
    fn gaps_of_the_ledger_are_accepted_neighbours_together_and_a_loss_at_the_end_left_out() {
        let told = acquisition("counted", &[(100, 7), (400, 50)]);
        let true_one = ledger(&[(100, 7), (400, 20), (420, 30), (1000, 5)]);
        assert_eq!(beside(&told, &true_one, 0), Vec::<String>::new());
    }

    #[test]
    fn what_a_device_cannot_prove_is_given_up_once_for_each_fault_and_no_further() {
        let told = acquisition("counted", &[(99, 8), (250, 1), (400, 50)]);
        let mut of_noise = ledger(&[(100, 7), (400, 50)]);
        assert!(
            !beside(&told, &of_noise, 1).is_empty(),
            "nothing was done to it"
        );
        of_noise.faults = vec!["garbage".to_owned()];
        assert_eq!(beside(&told, &of_noise, 1), Vec::<String>::new());
        assert!(!beside(&told, &of_noise, 0).is_empty());
        let longer = acquisition("counted", &[(98, 9), (250, 2), (400, 50)]);
        assert!(!beside(&longer, &of_noise, 1).is_empty());
    }

    #[test]
    fn a_gap_that_is_missing_elsewhere_or_of_another_length_is_named() {
        let told = acquisition("counted", &[(100, 7), (400, 50)]);
        for (wrong, word) in [
            (vec![(100, 7)], "but lost was"),
            (vec![(100, 7), (401, 50)], "gap 2 at 400, not 401"),
            (vec![(100, 7), (400, 49)], "gap 2 of 50, not 49"),
            (vec![(90, 7), (390, 50)], "the first gap at 100"),
        ] {
            let broken = beside(&told, &ledger(&wrong), 0).join("; ");
            assert!(broken.contains(word), "{broken}");
        }
    }

    #[test]
    fn the_return_of_a_device_is_the_end_of_its_absence_and_not_of_the_loss() {
        let mut told = ledger(&[(100, 400), (500, 100), (600, 25), (700, 5)]);
        for (lost, cause) in told
            .lost
            .iter_mut()
            .zip(["disconnect", "not-connected", "x", "y"])
        {
            cause.clone_into(&mut lost.cause);
        }
        assert_eq!(back_after(&told), [0.5]);
        assert_eq!(back_after(&ledger(&[(100, 400)])), Vec::<f64>::new());
    }

    #[test]
    fn whole_turns_of_a_short_counter_may_be_told_by_time_a_little_later() {
        let mut told = acquisition("counted", &[(100, 8), (300, 192), (700, 50)]);
        assert!(!beside(&told, &ledger(&[(100, 200), (700, 50)]), 0).is_empty());
        told.gaps[1].cause = "fewer-than-time".to_owned();
        assert!(beside(&told, &ledger(&[(100, 200), (700, 50)]), 0).is_empty());
    }

    #[test]
    fn a_device_without_a_counter_may_be_noticed_late_and_not_too_late() {
        let late = acquisition("uncounted", &[(200, 50), (700, 50)]);
        assert!(beside(&late, &ledger(&[(100, 50), (600, 50)]), 0).is_empty());
        let broken = beside(&late, &ledger(&[(100, 50), (200, 50)]), 0).join("; ");
        assert!(broken.contains("gap 2 at 700"), "{broken}");
    }
}
