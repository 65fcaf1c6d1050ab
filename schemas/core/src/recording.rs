//! All that is known of one acquisition's signal, from a file or from segments.
//!
//! The neutral form between formats: source integers, calibration per waveform, gaps as
//! values, and what the source said that this form does not hold.

use crate::acquisition::WaveformKind;
use crate::annotation::Annotation;
use crate::calibration::Calibration;
use crate::device::DeviceIdentity;
use crate::gap::{Gap, GapCause};
use crate::index::{SampleCount, SampleIndex};
use crate::rate::SamplingRate;
use crate::samples::{SampleSlice, Samples};
use crate::subject::StatedPatient;

/// Contiguous samples of one waveform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The instant of the first sample on the waveform's own time line.
    pub first: SampleIndex,
    /// The samples, as the source holds them.
    pub samples: Samples,
}

impl Run {
    /// How many samples there are.
    pub fn len(&self) -> SampleCount {
        SampleCount(u64::try_from(self.samples.len()).unwrap_or(u64::MAX))
    }

    /// Whether there is no sample: a run that only tells where a gap ends.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The instant just after the last sample.
    pub fn end(&self) -> SampleIndex {
        self.first.after(self.len())
    }
}

/// One row of a recording, with its own rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Waveform {
    /// The source's label, as written.
    pub label: String,
    /// What it shows.
    pub kind: WaveformKind,
    /// Samples per second.
    pub rate: SamplingRate,
    /// What a count means.
    pub calibration: Calibration,
    /// The samples, in time order; between two runs lies a gap.
    pub runs: Vec<Run>,
}

impl Waveform {
    /// The instant just after the last sample.
    pub fn end(&self) -> SampleIndex {
        self.runs.last().map_or(SampleIndex(0), Run::end)
    }

    /// How many samples there are, gaps not counted.
    pub fn sample_count(&self) -> SampleCount {
        SampleCount(self.runs.iter().map(|run| run.len().0).sum())
    }

    /// The known absences between the runs, and before the first one.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut at = SampleIndex(0);
        let mut gaps = Vec::new();
        for run in &self.runs {
            if let Some(len) = run.first.since(at).filter(|len| !len.is_empty()) {
                gaps.push(Gap {
                    from: at,
                    len,
                    uncertainty: SampleCount(0),
                    cause: GapCause::AbsentInSource,
                });
            }
            at = run.end();
        }
        gaps
    }

    /// The samples when there is no gap: one run that starts at zero.
    pub fn contiguous(&self) -> Option<SampleSlice<'_>> {
        match self.runs.as_slice() {
            [run] if run.first == SampleIndex(0) => Some(run.samples.as_slice()),
            [] => Some(SampleSlice::default()),
            _ => None,
        }
    }
}

/// When a recording began, as its source states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedStart {
    /// Date and time as the source writes them, in ISO 8601 where the source allows it.
    pub local: String,
    /// Offset from UTC in minutes, if the source states one.
    pub utc_offset_minutes: Option<i32>,
}

/// All that a source says of one acquisition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Stable name of the source's format, for instance `wfdb`.
    pub format: &'static str,
    /// The record's name in its source.
    pub name: String,
    /// When it began.
    pub start: Option<StatedStart>,
    /// The rows.
    pub waveforms: Vec<Waveform>,
    /// Marks, in time order, on the time line of the first waveform.
    pub annotations: Vec<Annotation>,
    /// The patient, as stated.
    pub patient: StatedPatient,
    /// The device, as stated.
    pub device: DeviceIdentity,
    /// What the source says that no field above holds: name and text.
    pub remarks: Vec<(String, String)>,
    /// What was wrong with the source although it could be read.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::{Run, SampleIndex, Waveform};
    use crate::acquisition::WaveformKind;
    use crate::calibration::Calibration;
    use crate::lead::Lead;
    use crate::rate::SamplingRate;

    #[test]
    fn runs_apart_from_each_other_leave_a_gap_of_that_length() {
        let waveform = Waveform {
            label: "II".to_owned(),
            kind: WaveformKind::Ecg(Lead::II),
            rate: SamplingRate::hz(250).unwrap(),
            calibration: Calibration::millivolts(200.0, 0.0).unwrap(),
            runs: vec![
                Run {
                    first: SampleIndex(0),
                    samples: vec![1, 2].into(),
                },
                Run {
                    first: SampleIndex(5),
                    samples: vec![3].into(),
                },
            ],
        };
        let gaps = waveform.gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            (gaps[0].from, gaps[0].end()),
            (SampleIndex(2), SampleIndex(5))
        );
        assert!(waveform.contiguous().is_none());
        assert_eq!(waveform.sample_count().0, 3);
    }
}
