use super::{BeatClass, BeatDetector, BeatForests, FEATURES};
use crate::synth::{EcgSynth, Ectopics, SynthConfig, to_adu};
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleCount;
use cardio_core::rate::SamplingRate;

fn ectopic_ii(seconds: usize) -> (SamplingRate, Vec<i32>, Vec<(f64, BeatClass)>) {
    let rate = SamplingRate::hz(360).unwrap();
    let mut config = SynthConfig::calm(17, rate);
    config.ectopics = Ectopics {
        ventricular_per_min: 6.0,
        supraventricular_per_min: 0.0,
    };
    let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
    let mut synth = EcgSynth::new(config);
    let row = (0..seconds * 360)
        .map(|_| to_adu(synth.next_measured()[1], &calibration, (-2_000, 2_000)))
        .collect();
    let beats = synth.take_beats();
    let truth = beats
        .iter()
        .map(|beat| (beat.at_s * 360.0, beat.class))
        .collect();
    (rate, row, truth)
}

#[test]
fn wide_early_beats_of_a_synthetic_heart_are_ventricular() {
    let (rate, row, truth) = ectopic_ii(120);
    let mut detector = BeatDetector::new(rate, 200.0);
    let mut told = detector.push(&row);
    told.extend(detector.finish());
    let called = |at: f64| {
        told.iter()
            .find(|told| (crate::num::float_u64(told.beat.at.0) - at).abs() < 54.0)
            .and_then(|told| told.beat.class)
    };
    let ventricular: Vec<_> = truth
        .iter()
        .filter(|(at, class)| *class == BeatClass::Ventricular && *at > 3_600.0)
        .collect();
    let right = ventricular
        .iter()
        .filter(|(at, _)| called(*at) == Some(BeatClass::Ventricular))
        .count();
    assert!(ventricular.len() > 5);
    assert!(
        10 * right >= 8 * ventricular.len(),
        "{right} of {}",
        ventricular.len()
    );
    let calm = truth
        .iter()
        .filter(|(_, class)| *class == BeatClass::Normal);
    let wrong = calm
        .filter(|(at, _)| called(*at) == Some(BeatClass::Ventricular))
        .count();
    assert!(wrong <= 2, "{wrong} normal beats called ventricular");
}

#[test]
fn blocks_of_any_size_and_the_plain_detector_give_the_same_beats() {
    let (rate, mut row, _) = ectopic_ii(40);
    // A pause, over which the next beat is not waited for.
    row.drain(3_700..5_600);
    let still = vec![row[3_700]; 1_900];
    row.splice(3_700..3_700, still);
    let mut whole = BeatDetector::new(rate, 200.0);
    let mut told = whole.push(&row);
    told.extend(whole.finish());
    for size in [1, 37, 1_000] {
        let mut parts = BeatDetector::new(rate, 200.0);
        let mut again = Vec::new();
        for block in row.chunks(size) {
            again.extend(parts.push(block));
        }
        again.extend(parts.finish());
        assert_eq!(again, told, "blocks of {size}");
    }
    let mut plain = crate::qrs::QrsDetector::new(rate, 200.0);
    let mut peaks = plain.push(&row);
    peaks.extend(plain.finish());
    assert_eq!(
        told.iter().map(|told| told.beat.at).collect::<Vec<_>>(),
        peaks
    );
}

#[test]
fn a_beat_before_a_gap_is_told_at_the_gap() {
    let (rate, row, _) = ectopic_ii(10);
    let mut detector = BeatDetector::new(rate, 200.0);
    let mut told = detector.push(&row);
    told.extend(detector.gap(SampleCount(3_600)));
    assert!(told.last().is_some_and(|told| told.beat.at.0 > 3_000));
    assert_eq!(detector.end().0, 7_200);
}

#[test]
fn the_reviewed_files_of_trees_are_read_whole() {
    let forests = BeatForests::reviewed();
    for forest in [forests.ventricular, forests.supraventricular] {
        assert!(forest.score(&[0.0; FEATURES]) != 0.0);
    }
}

#[test]
fn p_waves_of_a_synthetic_heart_in_sinus_rhythm_are_alike() {
    let (rate, row, _) = ectopic_ii(60);
    let mut detector = BeatDetector::new(rate, 200.0);
    let mut told = detector.push(&row);
    told.extend(detector.finish());
    let mut alike: Vec<f64> = told.iter().map(|told| told.p_wave).collect();
    let middle = crate::num::median(&mut alike);
    assert!(middle > 0.8, "{middle}");
    assert!(alike.iter().all(|p_wave| (-1.0..=1.0).contains(p_wave)));
}
