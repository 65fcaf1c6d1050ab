//! What it costs to judge a window by all rules. Run with `cargo bench -p cardio-alert`.
#![expect(clippy::unwrap_used, reason = "the inputs are constants")]

use cardio_alert::{Engine, Fact, RuleSet};
use cardio_core::acquisition::Attendance;
use cardio_core::clock::UtcMicros;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::QualityVerdict;
use cardio_core::rate::SamplingRate;

fn main() {
    divan::main();
}

fn rules() -> RuleSet {
    RuleSet::standard().unwrap().all_on()
}

fn window(second: u64, bpm: f64) -> Fact {
    Fact {
        acquisition: AcquisitionId([1; 16]),
        first: SampleIndex(second * 250),
        len: SampleCount(2_500),
        rate: SamplingRate::hz(250).unwrap(),
        at: UtcMicros(0),
        attendance: Attendance::Attended,
        verdict: QualityVerdict::Good,
        causes: Vec::new(),
        suspect_electrode: None,
        bpm: Some(bpm),
        beats: Some(
            (0..12)
                .map(|beat| SampleIndex(second * 250 + beat * 200))
                .collect(),
        ),
        rhythm: None,
        algorithms: Vec::new(),
    }
}

/// One window against all rules, all on. Budget: 20 microseconds.
#[divan::bench]
fn one_window(bencher: divan::Bencher<'_, '_>) {
    let mut engine = Engine::new(rules());
    let mut second = 0;
    bencher.bench_local(|| {
        second += 1;
        engine.step("p1", &window(second, 70.0), UtcMicros(0))
    });
}

/// A day of one patient, a window each second, the rate high every other minute.
/// Budget: 1 second (12 microseconds a window).
#[divan::bench(sample_count = 5, sample_size = 1)]
fn a_day_of_windows(bencher: divan::Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut engine = Engine::new(rules());
        (0..86_400_u64)
            .map(|second| {
                let bpm = if second / 60 % 2 == 0 { 70.0 } else { 190.0 };
                engine.step("p1", &window(second, bpm), UtcMicros(0)).len()
            })
            .sum::<usize>()
    });
}
