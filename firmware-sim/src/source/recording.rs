//! A recording on the device's inputs.
//!
//! A row of the device shows the lead of its name; the modified lead MLII, which is placed
//! to look like II, is wired where II would be; a device of one lead takes the first ECG
//! that there is. What is wired where is said in the ledger, and so is resampling.

use cardio_core::acquisition::WaveformKind;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, Waveform};
use cardio_core::units::PhysicalUnit;

use super::resample::Resampler;
use super::{Mark, SignalSource};

/// Why a recording cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No row of the recording is one that the device could show.
    #[error("recording {record} has no row that {device} could show: it has {labels}")]
    NothingToShow {
        /// The record.
        record: String,
        /// The device.
        device: &'static str,
        /// The labels of its rows.
        labels: String,
    },
}

impl SourceError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NothingToShow { .. } => "source.nothing-to-show",
        }
    }
}

/// Which row of a recording a row of the device shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Wiring {
    /// Label of the recording's row, if one is wired.
    pub label: Option<String>,
    /// Its rate.
    pub rate: Option<SamplingRate>,
}

/// A recording, once or again and again.
#[derive(Debug)]
pub struct RecordingSource {
    rows: Vec<Option<Row>>,
    marks: Vec<Mark>,
    marks_given: usize,
    at: u64,
    /// Samples of the device in one pass.
    length: u64,
    repeat: bool,
    passes: u64,
}

#[derive(Debug)]
struct Row {
    wave: Waveform,
    resampler: Resampler,
    mv_per_unit: f64,
}

impl RecordingSource {
    /// A recording on the inputs of a device that samples at `rate`.
    ///
    /// # Errors
    /// [`SourceError`] when no row fits.
    pub fn new(
        recording: Recording,
        leads: &[Option<Lead>],
        rate: SamplingRate,
        device: &'static str,
        repeat: bool,
    ) -> Result<Self, SourceError> {
        let first_rate = recording.waveforms.first().map(|wave| wave.rate);
        let marks = recording
            .annotations
            .iter()
            .filter_map(|mark| {
                let micros = first_rate?.micros_at(mark.at);
                Some(Mark {
                    at: SampleIndex(rate.count_in_micros(micros).0),
                    code: mark.code.clone(),
                })
            })
            .collect();
        let record = recording.name.clone();
        let labels: Vec<String> = recording
            .waveforms
            .iter()
            .map(|wave| wave.label.clone())
            .collect();
        let mut waves: Vec<Option<Waveform>> = recording.waveforms.into_iter().map(Some).collect();
        let rows: Vec<Option<Row>> = leads
            .iter()
            .map(|lead| {
                let place = choose(&waves, *lead, leads.len() == 1)?;
                let wave = waves.get_mut(place)?.take()?;
                Some(Row::new(wave, rate))
            })
            .collect();
        let length = rows
            .iter()
            .flatten()
            .map(|row| {
                rate.count_in_micros(row.wave.rate.micros_at(row.wave.end()))
                    .0
            })
            .max()
            .unwrap_or(0);
        if length == 0 {
            return Err(SourceError::NothingToShow {
                record,
                device,
                labels: labels.join(", "),
            });
        }
        Ok(Self {
            rows,
            marks,
            marks_given: 0,
            at: 0,
            length,
            repeat,
            passes: 0,
        })
    }

    /// What is wired to each row of the device.
    pub fn wiring(&self) -> Vec<Wiring> {
        self.rows
            .iter()
            .map(|row| Wiring {
                label: row.as_ref().map(|row| row.wave.label.clone()),
                rate: row.as_ref().map(|row| row.wave.rate),
            })
            .collect()
    }
}

impl Row {
    fn new(wave: Waveform, rate: SamplingRate) -> Self {
        Self {
            resampler: Resampler::new(wave.rate, rate),
            mv_per_unit: mv_per_unit(wave.calibration.unit()).unwrap_or(1.0),
            wave,
        }
    }

    /// The value in millivolts, or not-a-number inside a gap and behind the end.
    fn value(&mut self, at: u64) -> f64 {
        let position = self.resampler.position(at);
        let runs = &self.wave.runs;
        let behind = runs.partition_point(|run| run.first.0 <= position);
        let Some(run) = behind.checked_sub(1).and_then(|last| runs.get(last)) else {
            return f64::NAN;
        };
        if position >= run.end().0 {
            return f64::NAN;
        }
        let calibration = &self.wave.calibration;
        let mv_per_unit = self.mv_per_unit;
        self.resampler.value(at, |position| {
            held(run, position).map_or(f64::NAN, |adu| calibration.value(adu) * mv_per_unit)
        })
    }
}

/// The sample at a position, with the ends of the run held beyond it.
fn held(run: &Run, position: i64) -> Option<i32> {
    let position = u64::try_from(position).unwrap_or(0);
    let last = run.samples.len().checked_sub(1)?;
    let inside = usize::try_from(position.saturating_sub(run.first.0)).unwrap_or(usize::MAX);
    run.samples.get(inside.min(last))
}

impl SignalSource for RecordingSource {
    fn next_row(&mut self, row: &mut [f64]) -> bool {
        if self.at >= self.length {
            if !self.repeat {
                return false;
            }
            self.at = 0;
            self.marks_given = 0;
            self.passes = self.passes.saturating_add(1);
        }
        for (value, from) in row.iter_mut().zip(&mut self.rows) {
            *value = from.as_mut().map_or(f64::NAN, |from| from.value(self.at));
        }
        self.at = self.at.saturating_add(1);
        true
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        let before = self.passes.saturating_mul(self.length);
        let ready: Vec<Mark> = self
            .marks
            .iter()
            .skip(self.marks_given)
            .take_while(|mark| mark.at.0 < self.at)
            .map(|mark| Mark {
                at: SampleIndex(mark.at.0.saturating_add(before)),
                code: mark.code.clone(),
            })
            .collect();
        self.marks_given += ready.len();
        ready
    }
}

fn choose(waves: &[Option<Waveform>], lead: Option<Lead>, only_one: bool) -> Option<usize> {
    let find = |wanted: &dyn Fn(&Waveform) -> bool| {
        waves.iter().position(|wave| {
            wave.as_ref()
                .is_some_and(|wave| mv_per_unit(wave.calibration.unit()).is_some() && wanted(wave))
        })
    };
    let exact = find(&|wave| lead.is_some() && wave.kind.lead() == lead);
    let modified = || {
        (lead == Some(Lead::II))
            .then(|| find(&|wave| wave.label.trim().eq_ignore_ascii_case("MLII")))
            .flatten()
    };
    let any = || {
        only_one
            .then(|| {
                find(&|wave| matches!(wave.kind, WaveformKind::Ecg(_) | WaveformKind::EcgOther(_)))
            })
            .flatten()
    };
    exact.or_else(modified).or_else(any)
}

/// Millivolts in one unit of a calibration, for the units of a voltage.
fn mv_per_unit(unit: &PhysicalUnit) -> Option<f64> {
    match unit {
        PhysicalUnit::Millivolt => Some(1.0),
        PhysicalUnit::Other(text) => match text.trim() {
            "uV" | "µV" | "μV" => Some(0.001),
            "V" => Some(1000.0),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{RecordingSource, SignalSource};
    use cardio_core::acquisition::WaveformKind;
    use cardio_core::calibration::Calibration;
    use cardio_core::index::SampleIndex;
    use cardio_core::lead::Lead;
    use cardio_core::rate::SamplingRate;
    use cardio_core::recording::{Recording, Run, Waveform};

    fn hz(hz: u32) -> SamplingRate {
        SamplingRate::hz(hz).unwrap()
    }

    fn wave(label: &str, rate: u32, runs: Vec<Run>) -> Waveform {
        Waveform {
            label: label.to_owned(),
            kind: Lead::from_label(label).map_or_else(
                || WaveformKind::EcgOther(label.to_owned()),
                WaveformKind::Ecg,
            ),
            rate: hz(rate),
            calibration: Calibration::millivolts(200.0, 1000.0).unwrap(),
            runs,
        }
    }

    fn run(first: u64, samples: &[i32]) -> Run {
        Run {
            first: SampleIndex(first),
            samples: samples.into(),
        }
    }

    fn recording(waveforms: Vec<Waveform>) -> Recording {
        Recording {
            name: "r".to_owned(),
            waveforms,
            ..Recording::default()
        }
    }

    fn all(source: &mut RecordingSource, rows: usize) -> Vec<Vec<f64>> {
        let mut out = Vec::new();
        let mut row = vec![0.0; rows];
        while out.len() < 100 && source.next_row(&mut row) {
            out.push(row.clone());
        }
        out
    }

    const TWO: [Option<Lead>; 2] = [Some(Lead::I), Some(Lead::II)];

    #[test]
    fn rows_are_wired_by_name_and_a_modified_lead_where_it_would_be() {
        let record = recording(vec![
            wave("MLII", 250, vec![run(0, &[1200, 1000])]),
            wave("V5", 250, vec![run(0, &[0, 0])]),
        ]);
        let mut source = RecordingSource::new(record, &TWO, hz(250), "d", false).unwrap();
        let wiring = source.wiring();
        assert_eq!(wiring[0].label, None);
        assert_eq!(wiring[1].label.as_deref(), Some("MLII"));
        let rows = all(&mut source, 2);
        assert!(rows[0][0].is_nan() && rows.len() == 2);
        assert!((rows[0][1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_gap_of_the_recording_stays_one() {
        let record = recording(vec![wave("I", 250, vec![run(0, &[1000]), run(3, &[1000])])]);
        let mut source = RecordingSource::new(record, &TWO, hz(250), "d", false).unwrap();
        let absent: Vec<bool> = all(&mut source, 2)
            .iter()
            .map(|row| row[0].is_nan())
            .collect();
        assert_eq!(absent, [false, true, true, false]);
    }

    #[test]
    fn a_recording_can_be_played_again_and_again() {
        let record = recording(vec![wave("I", 250, vec![run(0, &[1000, 1200])])]);
        let mut source = RecordingSource::new(record, &TWO, hz(250), "d", true).unwrap();
        assert_eq!(all(&mut source, 2).len(), 100);
    }

    #[test]
    fn a_recording_without_a_fitting_row_is_refused_with_its_labels() {
        let record = recording(vec![wave("aVR", 250, vec![run(0, &[1])])]);
        let err = RecordingSource::new(record, &TWO, hz(250), "d", false).unwrap_err();
        assert_eq!(err.code(), "source.nothing-to-show");
        assert!(err.to_string().contains("it has aVR"));
    }

    #[test]
    fn a_device_of_one_lead_takes_the_first_ecg_that_there_is() {
        let record = recording(vec![wave("ML5", 250, vec![run(0, &[1200])])]);
        let source = RecordingSource::new(record, &[Some(Lead::II)], hz(250), "d", false).unwrap();
        assert_eq!(source.wiring()[0].label.as_deref(), Some("ML5"));
    }
}
