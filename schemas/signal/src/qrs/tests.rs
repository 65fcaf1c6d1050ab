use cardio_core::calibration::Calibration;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use proptest::prelude::*;

use super::{FusedDetector, QrsDetector};
use crate::synth::{EcgSynth, Noise, SynthConfig, to_adu};

const RAILS: (i32, i32) = (-1_000_000, 1_000_000);

/// Lead II of a synthetic heart in counts, and the R peaks that it really has.
fn lead_ii(config: SynthConfig, seconds: f64) -> (Vec<i32>, Vec<f64>) {
    let hz = config.rate.as_hz();
    let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
    let mut synth = EcgSynth::new(config);
    let count = crate::num::round_usize(seconds * hz);
    let samples = (0..count)
        .map(|_| to_adu(synth.next_measured()[1], &calibration, RAILS))
        .collect();
    let beats = synth
        .take_beats()
        .iter()
        .map(|beat| beat.at_s * hz)
        .collect();
    (samples, beats)
}

fn detect(rate: SamplingRate, samples: &[i32]) -> Vec<SampleIndex> {
    let mut detector = QrsDetector::new(rate, 200.0);
    let mut found = detector.push(samples);
    found.extend(detector.finish());
    found
}

#[test]
fn every_beat_of_a_calm_heart_is_found_at_its_peak_at_any_rate() {
    for hz in [100, 128, 250, 360, 500, 1000, 2000] {
        let rate = SamplingRate::hz(hz).unwrap();
        let (samples, truth) = lead_ii(SynthConfig::calm(3, rate), 30.0);
        let found = detect(rate, &samples);
        let end = 29.9 * f64::from(hz);
        for beat in truth.iter().filter(|at| **at < end) {
            let nearest = found
                .iter()
                .map(|at| (crate::num::float_u64(at.0) - beat).abs())
                .fold(f64::MAX, f64::min);
            let ms = nearest * 1000.0 / f64::from(hz);
            assert!(ms < 12.0, "{hz} Hz: beat at {beat} is {ms} ms away");
        }
        assert!(found.len() <= truth.len(), "{hz} Hz");
    }
}

#[test]
fn a_silent_heart_has_no_beats() {
    let rate = SamplingRate::hz(250).unwrap();
    let mut config = SynthConfig::calm(3, rate);
    config.amplitude = 0.0;
    config.noise = Noise {
        white_mv: 0.001,
        ..Noise::NONE
    };
    assert_eq!(detect(rate, &lead_ii(config, 20.0).0), []);
}

#[test]
fn a_gap_moves_later_beats_and_is_not_looked_across() {
    let rate = SamplingRate::hz(250).unwrap();
    let (samples, _) = lead_ii(SynthConfig::calm(4, rate), 20.0);
    let (before, after) = samples.split_at(2_500);
    let mut detector = QrsDetector::new(rate, 200.0);
    let mut found = detector.push(before);
    found.extend(detector.gap(SampleCount(1_000)));
    found.extend(detector.push(after));
    found.extend(detector.finish());
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(found.iter().all(|at| at.0 < 2_500 || at.0 >= 3_500));
    assert!(found.iter().any(|at| at.0 > 3_500 + 2_200), "{found:?}");
}

#[test]
fn one_sample_a_flat_line_and_the_rails_give_no_beat_and_no_panic() {
    let rate = SamplingRate::hz(500).unwrap();
    assert_eq!(detect(rate, &[5]), []);
    assert_eq!(detect(rate, &[]), []);
    assert_eq!(detect(rate, &[i32::MAX; 5_000]), []);
    let jumps: Vec<i32> = (0..5_000)
        .map(|n| if n % 700 < 350 { i32::MIN } else { i32::MAX })
        .collect();
    let _ = detect(rate, &jumps);
    let mut odd = QrsDetector::new(rate, f64::NAN);
    let _ = odd.push(&jumps);
}

fn fuse(rate: SamplingRate, rows: &[&[i32]], block: usize) -> Vec<SampleIndex> {
    let mut detector = FusedDetector::new(rate, &vec![200.0; rows.len()]);
    let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut found = Vec::new();
    let mut from = 0;
    while from < length {
        let to = length.min(from + block);
        let part: Vec<&[i32]> = rows.iter().map(|row| &row[from..to]).collect();
        found.extend(detector.push(&part));
        from = to;
    }
    found.extend(detector.finish());
    found
}

#[test]
fn a_lead_without_contact_takes_no_beat_from_the_others() {
    let rate = SamplingRate::hz(250).unwrap();
    let (good, truth) = lead_ii(SynthConfig::calm(5, rate), 40.0);
    let mut state = 3_u32;
    let noisy: Vec<i32> = good
        .iter()
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i32::try_from(state >> 23).unwrap() - 256
        })
        .collect();
    let flat = vec![0; good.len()];
    let found = fuse(rate, &[&noisy, &good, &flat], 1_000);
    let late = truth.iter().filter(|at| (2_500.0..9_900.0).contains(*at));
    for beat in late {
        let near = |at: &SampleIndex| (crate::num::float_u64(at.0) - beat).abs() < 38.0;
        assert!(found.iter().any(near), "beat at {beat} is missing");
    }
    assert!(found.len() <= truth.len() + 6, "{} beats", found.len());
}

#[test]
fn fused_leads_give_the_same_beats_in_blocks_of_any_size_and_one_lead_its_own() {
    let rate = SamplingRate::hz(360).unwrap();
    let (row, _) = lead_ii(SynthConfig::calm(6, rate), 20.0);
    let upside_down: Vec<i32> = row.iter().map(|value| -value).collect();
    let whole = fuse(rate, &[&row, &upside_down], row.len());
    for block in [1, 77, 1_000] {
        assert_eq!(fuse(rate, &[&row, &upside_down], block), whole);
    }
    assert_eq!(fuse(rate, &[&row], 500), detect(rate, &row));
    assert!(FusedDetector::new(rate, &[]).push(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn blocks_of_any_size_give_the_same_beats(sizes in proptest::collection::vec(1_usize..400, 1..40), hz in 100_u32..1_000) {
        let rate = SamplingRate::hz(hz).unwrap();
        let (samples, _) = lead_ii(SynthConfig::calm(11, rate), 8.0);
        let mut detector = QrsDetector::new(rate, 200.0);
        let mut found = Vec::new();
        let mut rest = samples.as_slice();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (block, later) = rest.split_at((*size).min(rest.len()));
            found.extend(detector.push(block));
            rest = later;
        }
        found.extend(detector.finish());
        prop_assert_eq!(found, detect(rate, &samples));
    }

    #[test]
    fn any_counts_give_rising_beats_within_the_signal(samples in proptest::collection::vec(any::<i32>(), 0..3_000), hz in 1_u32..4_000) {
        let found = detect(SamplingRate::hz(hz).unwrap(), &samples);
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(found.iter().all(|at| at.0 < crate::num::count(samples.len())));
    }
}
