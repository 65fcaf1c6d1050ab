//! Beat classes and spans of rhythm against the reference annotations.

use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_signal::analyse::analyse;
use cardio_signal::rhythm::{RhythmEvent, RhythmKind, RhythmTracker};

use crate::beats::{Pair, pair};
use crate::data::{Data, MITDB, Truth, class_of, flutter, seconds, truth};
use crate::rhythms::{Span, fibrillation};

const KINDS: [RhythmKind; 7] = [
    RhythmKind::Pause,
    RhythmKind::Bradycardia,
    RhythmKind::Tachycardia,
    RhythmKind::VentricularRun,
    RhythmKind::AfSuspected,
    RhythmKind::VfSuspected,
    RhythmKind::Asystole,
];
/// An event is found when one of its kind is this near, in seconds.
const NEAR_S: f64 = 5.0;

#[derive(Default)]
struct Tally {
    found: f64,
    expected: f64,
    right: f64,
    told: f64,
    shared_s: f64,
    expected_s: f64,
    told_s: f64,
    all_s: f64,
}

/// The 13 records, by their first signal alone or by both.
pub(crate) fn mitdb(data: &Data, signals: usize) {
    println!(
        "beat classes and rhythm, MIT-BIH, {signals} signal(s), reviewed trees (learnt from these)"
    );
    let mut tallies: Vec<Tally> = KINDS.iter().map(|_| Tally::default()).collect();
    let mut classes = [[0.0; 3]; 2];
    for name in MITDB {
        let Some(mut recording) = data.read(&format!("wfdb/mitdb/{name}")) else {
            continue;
        };
        recording.waveforms.truncate(signals);
        let told = analyse(&recording);
        let rate = recording.waveforms[0].rate;
        let beats = told
            .beats
            .as_ref()
            .map(|train| train.beats.clone())
            .unwrap_or_default();
        if name != "217" {
            count_classes(&recording, &beats, rate, &mut classes);
        }
        let expected = expected_events(&recording, rate);
        let all_s = recording.waveforms[0].end().0 as f64 / rate.as_hz();
        for (kind, tally) in KINDS.iter().zip(&mut tallies) {
            let want = spans(&expected, *kind, rate);
            let want = match kind {
                RhythmKind::AfSuspected => fibrillation(&recording, rate),
                RhythmKind::VentricularRun => runs(&recording, rate.as_hz()),
                RhythmKind::VfSuspected => flutter(&recording, rate.as_hz()),
                _ => want,
            };
            let got = spans(&told.events, *kind, rate);
            if std::env::args().any(|arg| arg == "--errors") {
                differences(name, *kind, &want, &got);
            }
            compare(&want, &got, all_s, tally);
        }
    }
    for (letter, [hit, missed, extra]) in ["V", "S"].iter().zip(classes) {
        println!(
            "{letter} beats from 5:00       Se {:.4} +P {:.4}  missed {missed} extra {extra}",
            hit / (hit + missed).max(1.0),
            hit / (hit + extra).max(1.0)
        );
    }
    for (kind, tally) in KINDS.iter().zip(&tallies) {
        println!(
            "{:<6} Se {:.3} of {:>3}  +P {:.3} of {:>3}  duration Se {:.3} Sp {:.3}",
            kind.name(),
            tally.found / tally.expected.max(1.0),
            tally.expected,
            tally.right / tally.told.max(1.0),
            tally.told,
            tally.shared_s / tally.expected_s.max(1e-9),
            1.0 - (tally.told_s - tally.shared_s) / (tally.all_s - tally.expected_s).max(1e-9),
        );
    }
}

/// Hits, missed and extra ventricular and supraventricular beats.
fn count_classes(
    recording: &Recording,
    beats: &[Beat],
    rate: SamplingRate,
    classes: &mut [[f64; 3]; 2],
) {
    let hz = rate.as_hz();
    let truth = truth(recording, hz);
    let at: Vec<f64> = truth.iter().map(|beat| beat.at).collect();
    let found: Vec<f64> = beats.iter().map(|beat| seconds(beat.at.0, hz)).collect();
    let left_out = flutter(recording, hz);
    let counts = |at: f64| at >= 300.0 && !left_out.iter().any(|(a, b)| at >= *a && at <= *b);
    for (class, [hit, missed, extra]) in [BeatClass::Ventricular, BeatClass::Supraventricular]
        .iter()
        .zip(classes)
    {
        for pair in pair(&at, &found) {
            match pair {
                Pair::Hit(t, f) if counts(at[t]) => {
                    let is = truth[t].class == *class;
                    let called = beats[f].class == Some(*class);
                    let neutral = matches!(truth[t].class, BeatClass::Fusion | BeatClass::Unknown);
                    *hit += f64::from(u8::from(is && called));
                    *missed += f64::from(u8::from(is && !called));
                    *extra += f64::from(u8::from(!is && called && !neutral));
                }
                Pair::Missed(t) if counts(at[t]) && truth[t].class == *class => *missed += 1.0,
                Pair::Extra(f) if counts(found[f]) && beats[f].class == Some(*class) => {
                    *extra += 1.0
                }
                _ => {}
            }
        }
    }
}

/// Three or more reference beats in a row that are ventricular, at 100 a minute or more,
/// outside of flutter.
fn runs(recording: &Recording, hz: f64) -> Vec<Span> {
    let left_out = flutter(recording, hz);
    let beats = truth(recording, hz);
    let same = |a: &Truth, b: &Truth| {
        let apart = left_out
            .iter()
            .any(|(from, _)| a.at < *from && b.at >= *from);
        (a.class == BeatClass::Ventricular) == (b.class == BeatClass::Ventricular) && !apart
    };
    let inside = |beat: &Truth| left_out.iter().any(|(a, b)| beat.at >= *a && beat.at <= *b);
    beats
        .chunk_by(same)
        .filter(|run| run.len() >= 3 && run[0].class == BeatClass::Ventricular && !inside(&run[0]))
        .map(|run| (run[0].at, run[run.len() - 1].at, run.len() - 1))
        .filter(|(from, to, intervals)| (to - from) / (*intervals as f64) <= 0.6)
        .map(|(from, to, _)| (from, to))
        .collect()
}

/// The same definitions over the reference beats, without those in flutter.
fn expected_events(recording: &Recording, rate: SamplingRate) -> Vec<RhythmEvent> {
    let left_out = flutter(recording, rate.as_hz());
    let mut tracker = RhythmTracker::new(rate);
    let mut events = Vec::new();
    let mut before = 0.0;
    for mark in &recording.annotations {
        let at_s = seconds(mark.at.0, rate.as_hz());
        if left_out
            .iter()
            .any(|(from, _)| before < *from && at_s >= *from)
        {
            events.extend(tracker.finish());
        }
        before = at_s;
        let inside = left_out.iter().any(|(a, b)| at_s >= *a && at_s <= *b);
        if let Some(class) = class_of(&mark.code).filter(|_| !inside) {
            let beat = Beat {
                at: SampleIndex(mark.at.0),
                class: Some(class),
            };
            events.extend(tracker.push(beat));
        }
    }
    events.extend(tracker.finish());
    events
}

fn spans(events: &[RhythmEvent], kind: RhythmKind, rate: SamplingRate) -> Vec<Span> {
    let hz = rate.as_hz();
    let of_kind = events.iter().filter(|event| event.kind == kind);
    of_kind
        .map(|event| (seconds(event.from.0, hz), seconds(event.to.0, hz)))
        .collect()
}

fn near(a: &Span, b: &Span) -> bool {
    a.0 - NEAR_S <= b.1 + NEAR_S && b.0 - NEAR_S <= a.1 + NEAR_S
}

/// Prints what was not found (-) and what is not there (+).
fn differences(name: &str, kind: RhythmKind, want: &[Span], got: &[Span]) {
    for (sign, these, others) in [('-', want, got), ('+', got, want)] {
        for (from, to) in these {
            if !others.iter().any(|other| near(&(*from, *to), other)) {
                println!("{name} {} {sign} {from:.1} to {to:.1}", kind.name());
            }
        }
    }
}

fn compare(want: &[Span], got: &[Span], all_s: f64, tally: &mut Tally) {
    tally.expected += want.len() as f64;
    tally.told += got.len() as f64;
    tally.found += want
        .iter()
        .filter(|a| got.iter().any(|b| near(a, b)))
        .count() as f64;
    tally.right += got
        .iter()
        .filter(|a| want.iter().any(|b| a.0 <= b.1 && b.0 <= a.1))
        .count() as f64;
    tally.all_s += all_s;
    tally.expected_s += want.iter().map(|(from, to)| to - from).sum::<f64>();
    tally.told_s += got.iter().map(|(from, to)| to - from).sum::<f64>();
    for a in want {
        for b in got {
            tally.shared_s += (a.1.min(b.1) - a.0.max(b.0)).max(0.0);
        }
    }
}
