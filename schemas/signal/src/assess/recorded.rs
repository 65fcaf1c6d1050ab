//! A whole recording, shown to an [`Assessor`] as if it came now.
//!
//! Deliberately absent: files; gaps are gaps of the recording, never filled.

use cardio_core::acquisition::WaveformSpec;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};
use cardio_core::sample::SampleBlock;
use cardio_core::units::PhysicalUnit;

use super::{Assessed, Assessor};
use crate::analyse::{BLOCK, Stretch, Unanalysed, choose, gain_adu_per_mv, stretches};

/// What of a recording was assessed.
#[derive(Clone, Debug, PartialEq)]
pub struct AssessedLeads {
    /// Their rate.
    pub rate: SamplingRate,
    /// Their labels, measured ones first.
    pub labels: Vec<String>,
    /// What was left out, and why.
    pub left_out: Vec<Unanalysed>,
}

/// Assesses the ECG of a recording from its beginning to its end; `told` is called for each
/// window with the leads' common rate.
///
/// # Errors
/// What was left out, when that is everything.
pub fn assess(
    recording: &Recording,
    mut told: impl FnMut(SamplingRate, Assessed),
) -> Result<AssessedLeads, Vec<Unanalysed>> {
    let (chosen, mut left_out) = choose(recording);
    let specs: Vec<WaveformSpec> = chosen.iter().filter_map(|(_, wave)| spec(wave)).collect();
    let rate = chosen.first().map(|(_, wave)| wave.rate);
    let assessor = rate
        .filter(|_| specs.len() == chosen.len())
        .and_then(|rate| Some((rate, Assessor::new(rate, &specs, None, SampleIndex(0))?)));
    let Some((rate, mut assessor)) = assessor else {
        if left_out.is_empty() {
            left_out.push(Unanalysed::NoEcg);
        }
        return Err(left_out);
    };
    let mut at = SampleIndex(0);
    for stretch in stretches(&chosen) {
        match stretch {
            Stretch::Gap(len) => at = at.after(len),
            Stretch::Signal(rows) => {
                let length = rows.first().map_or(0, |row| row.len());
                for from in (0..length).step_by(BLOCK) {
                    let part = from..length.min(from + BLOCK);
                    let leads = rows
                        .iter()
                        .filter_map(|row| row.part(part.clone()))
                        .map(|part| part.to_vec())
                        .collect();
                    let Ok(block) = SampleBlock::new(at, leads) else {
                        continue;
                    };
                    at = block.end();
                    for found in assessor.push(&block) {
                        told(rate, found);
                    }
                }
            }
        }
    }
    Ok(AssessedLeads {
        rate,
        labels: assessor.labels().to_vec(),
        left_out,
    })
}

/// A lead in millivolts, whatever spelling of volts its file uses.
fn spec(wave: &Waveform) -> Option<WaveformSpec> {
    let gain = gain_adu_per_mv(&wave.calibration);
    let calibration = Calibration::new(
        gain,
        wave.calibration.baseline_adu(),
        PhysicalUnit::Millivolt,
    );
    Some(WaveformSpec {
        kind: wave.kind.clone(),
        calibration: calibration.ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::tests::recording;
    use crate::synth::SynthConfig;

    fn found(recording: &Recording) -> (AssessedLeads, Vec<Assessed>) {
        let mut windows = Vec::new();
        let leads = assess(recording, |_, found| windows.push(found)).unwrap();
        (leads, windows)
    }

    #[test]
    fn a_calm_minute_is_assessed_each_second_with_its_rate() {
        let rate = SamplingRate::hz(250).unwrap();
        let (leads, windows) = found(&recording(SynthConfig::calm(5, rate), 60));
        assert_eq!(
            leads.labels.len(),
            12,
            "nothing is derived that is measured"
        );
        assert!(windows.len() >= 58, "{}", windows.len());
        let last = windows.last().unwrap();
        let bpm = last.heart_rate.as_ref().unwrap().bpm;
        assert!((bpm - 70.0).abs() < 5.0, "{bpm}");
        assert!(!last.beats.is_empty());
    }

    /// Beside calm minutes, two of waves without a resting line at 234 per minute, as large as
    /// a QRS, that swell and shrink as those of a ventricular flutter do.
    #[test]
    fn a_flutter_is_told_as_a_fast_heart() {
        let rate = SamplingRate::hz(360).unwrap();
        let mut one = recording(SynthConfig::calm(5, rate), 60);
        one.waveforms.truncate(1);
        let calm = one.waveforms[0].runs[0].samples.as_slice().to_vec();
        let flutter = (0..120 * 360).map(|place| {
            let at_s = f64::from(place) / 360.0;
            let turn = core::f64::consts::TAU * (at_s * 234.0 / 60.0);
            let swell = 1.0 + 0.2 * libm::sin(core::f64::consts::TAU * 0.3 * at_s);
            let wave = libm::sin(turn) + 0.35 * libm::sin(2.0 * turn + 0.6);
            i32::try_from(crate::num::round_i64(200.0 * swell * wave)).unwrap()
        });
        one.waveforms[0].runs[0].samples = [calm.clone(), flutter.collect(), calm].concat().into();
        let (_, windows) = found(&one);
        let inside = windows.iter().filter(|window| {
            let end_s = window.quality.first.after(window.quality.len).0 / 360;
            (70..=180).contains(&end_s)
        });
        let told: Vec<Option<f64>> = inside
            .map(|window| window.heart_rate.as_ref().ok().map(|rate| rate.bpm))
            .collect();
        let right = |bpm: &&Option<f64>| bpm.is_some_and(|bpm| (bpm - 234.0).abs() < 10.0);
        assert!(told.len() > 100, "{}", told.len());
        let fast = told.iter().filter(right).count();
        assert!(10 * fast >= 9 * told.len(), "{told:?}");
    }

    #[test]
    fn a_window_never_crosses_a_gap() {
        let rate = SamplingRate::hz(250).unwrap();
        let mut cut = recording(SynthConfig::calm(5, rate), 30);
        for wave in &mut cut.waveforms {
            let samples = wave.runs.remove(0).samples.as_slice().to_vec();
            let (before, after) = samples.split_at(15 * 250);
            let run = |first: u64, samples: &[i32]| cardio_core::recording::Run {
                first: SampleIndex(first),
                samples: samples.to_vec().into(),
            };
            wave.runs = vec![run(0, before), run(20 * 250, after)];
        }
        let (_, windows) = found(&cut);
        let gap = SampleIndex(15 * 250)..SampleIndex(20 * 250);
        for window in &windows {
            let quality = &window.quality;
            let end = quality.first.after(quality.len);
            assert!(
                end <= gap.start || quality.first >= gap.end,
                "{:?} to {end:?}",
                quality.first
            );
        }
        assert!(windows.iter().any(|one| one.quality.first >= gap.end));
    }

    #[test]
    fn a_recording_without_an_ecg_says_so() {
        let why = assess(&Recording::default(), |_, _| {}).unwrap_err();
        assert_eq!(why, [Unanalysed::NoEcg]);
    }
}
