use cardio_core::calibration::Calibration;
use cardio_core::electrode::Electrode;
use cardio_core::index::SampleCount;
use cardio_core::lead::Lead;
use cardio_core::quality::{QualityCause, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;

use super::{EcgQuality, LeadSpec, QualityConfig};
use crate::synth::{EcgSynth, ElectrodeOff, SpanSeconds, SynthConfig, to_adu};

const RAILS: (i32, i32) = (-32_768, 32_767);
const HZ: u32 = 250;

fn rate() -> SamplingRate {
    SamplingRate::hz(HZ).unwrap()
}

fn specs() -> Vec<LeadSpec> {
    Lead::MEASURED_EIGHT
        .into_iter()
        .map(|lead| LeadSpec {
            label: lead.name().to_owned(),
            lead: Some(lead),
            gain_adu_per_mv: 1000.0,
            baseline_adu: 0.0,
            rails: Some(RAILS),
        })
        .collect()
}

fn rows(config: SynthConfig, seconds: usize) -> Vec<Vec<i32>> {
    let calibration = Calibration::millivolts(1000.0, 0.0).unwrap();
    let mut synth = EcgSynth::new(config);
    let mut rows = vec![Vec::new(); 8];
    for _ in 0..seconds * 250 {
        for (row, value) in rows.iter_mut().zip(synth.next_measured()) {
            row.push(to_adu(value, &calibration, RAILS));
        }
    }
    rows
}

fn score(rows: &[Vec<i32>], block: usize) -> Vec<SignalQuality> {
    let mut quality = EcgQuality::new(rate(), &specs(), QualityConfig::default());
    let count = rows[0].len();
    let mut told = Vec::new();
    for from in (0..count).step_by(block) {
        let to = count.min(from + block);
        let part: Vec<&[i32]> = rows.iter().map(|row| &row[from..to]).collect();
        told.extend(quality.push(&part));
    }
    told
}

fn calm() -> SynthConfig {
    SynthConfig::calm(21, rate())
}

#[test]
fn the_first_verdict_comes_after_two_seconds_and_then_every_second() {
    let told = score(&rows(calm(), 14), 33);
    assert_eq!(told.len(), 13);
    assert_eq!(told[0].len, SampleCount(500));
    assert_eq!(told[8].len, SampleCount(2_500));
    assert_eq!(told[12].first.0, 1_000);
}

#[test]
fn a_calm_patient_is_never_insufficient() {
    for window in score(&rows(calm(), 30), 250) {
        for (lead, told) in specs().iter().zip(&window.per_lead) {
            assert!(
                told.verdict > QualityVerdict::Insufficient,
                "{} in {:?}: {told:?}",
                lead.label,
                window.first
            );
        }
    }
}

#[test]
fn blocks_of_any_size_give_the_same_verdicts() {
    let rows = rows(calm(), 12);
    let whole = score(&rows, 3_000);
    for block in [1, 7, 250, 999] {
        assert_eq!(score(&rows, block), whole);
    }
}

#[test]
fn an_electrode_that_falls_off_is_named_and_forgotten_when_it_is_back() {
    let mut config = calm();
    config.electrode_off = vec![ElectrodeOff {
        electrode: Electrode::RightArm,
        span: SpanSeconds {
            start_s: 10.0,
            end_s: 15.0,
        },
    }];
    let rows = rows(config, 25);
    let told = score(&rows, 250);
    let quality = EcgQuality::new(rate(), &specs(), QualityConfig::default());
    let during = &told[9];
    assert_eq!(quality.suspect_electrode(during), Some(Electrode::RightArm));
    assert_eq!(during.per_lead[0].causes[0], QualityCause::LeadOff);
    assert_eq!(during.overall.verdict, QualityVerdict::Insufficient);
    let after = &told[17];
    assert_eq!(quality.suspect_electrode(after), None, "{after:?}");
    assert!(
        after.overall.verdict > QualityVerdict::Insufficient,
        "{after:?}"
    );
}

#[test]
fn a_lost_contact_is_known_half_a_second_later() {
    let mut config = calm();
    config.electrode_off = vec![ElectrodeOff {
        electrode: Electrode::C3,
        span: SpanSeconds {
            start_s: 5.3,
            end_s: 9.0,
        },
    }];
    let rows = rows(config, 7);
    let mut quality = EcgQuality::new(rate(), &specs(), QualityConfig::default());
    let upto =
        |from: usize, to: usize| -> Vec<&[i32]> { rows.iter().map(|row| &row[from..to]).collect() };
    quality.push(&upto(0, 1_325));
    assert!(quality.off_now().iter().all(|off| !off));
    quality.push(&upto(1_325, 1_325 + 150));
    let off: Vec<usize> = (0..8).filter(|lead| quality.off_now()[*lead]).collect();
    assert_eq!(off, [4]);
}

#[test]
fn hum_muscle_and_drift_are_told_apart() {
    type Change = fn(&mut SynthConfig);
    let faults: [(Change, QualityCause); 3] = [
        (|config| config.noise.mains_mv = 0.2, QualityCause::Mains),
        (|config| config.noise.muscle_mv = 0.15, QualityCause::Muscle),
        (
            |config| config.noise.baseline_mv = 1.2,
            QualityCause::Baseline,
        ),
    ];
    for (change, cause) in faults {
        let mut config = calm();
        change(&mut config);
        let told = score(&rows(config, 12), 250);
        let lead = &told[10].per_lead[1];
        assert_eq!(lead.causes.first(), Some(&cause), "{lead:?}");
    }
}

#[test]
fn a_gap_starts_the_window_again() {
    let rows = rows(calm(), 10);
    let part: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    let mut quality = EcgQuality::new(rate(), &specs(), QualityConfig::default());
    quality.push(&part);
    quality.gap(SampleCount(100));
    let told = quality.push(&part);
    assert_eq!((told[0].first.0, told[0].len.0), (2_600, 500));
}

#[test]
fn no_leads_and_no_rows_are_no_verdict_and_no_panic() {
    let mut none = EcgQuality::new(rate(), &[], QualityConfig::default());
    assert!(none.push(&[]).is_empty());
    let mut eight = EcgQuality::new(rate(), &specs(), QualityConfig::default());
    assert!(eight.push(&[]).is_empty());
}
