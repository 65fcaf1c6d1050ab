//! What the engine is told: a scored window of signal, or a reading of the equipment.
//!
//! Order and length are taken from the recording's own samples, never from a wall clock: a
//! clock that is set while a recording runs changes no alert.

use cardio_core::acquisition::Attendance;
use cardio_core::clock::UtcMicros;
use cardio_core::electrode::Electrode;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityCause, QualityVerdict};
use cardio_core::rate::SamplingRate;

/// Name and version of an algorithm, as the box states them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Algorithm {
    /// Stable name.
    pub name: String,
    /// Version.
    pub version: u32,
}

/// What is told of the rhythm up to the end of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Since when the rhythm looks like atrial fibrillation, if it does: a sample of the
    /// recording, which may lie before the window.
    pub fibrillation_since: Option<SampleIndex>,
    /// Who says so.
    pub algorithm: Algorithm,
}

/// A scored window of one acquisition. Windows of one acquisition come in the order of their
/// ends; one that ends no later than another that came before changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The acquisition.
    pub acquisition: AcquisitionId,
    /// First sample of the window. A window never crosses a gap.
    pub first: SampleIndex,
    /// Length of the window.
    pub len: SampleCount,
    /// Rate of the acquisition.
    pub rate: SamplingRate,
    /// Wall time of the window's end, as well as it is known: for people and for hold-off.
    pub at: UtcMicros,
    /// Whether a person attends.
    pub attendance: Attendance,
    /// Verdict over all leads.
    pub verdict: QualityVerdict,
    /// What is wrong.
    pub causes: Vec<QualityCause>,
    /// The contact that explains it.
    pub suspect_electrode: Option<Electrode>,
    /// Heart rate, if it could be determined.
    pub bpm: Option<f64>,
    /// R peaks within the window, in order; `None` when nothing looked for them.
    pub beats: Option<Vec<SampleIndex>>,
    /// What the beats of this window and of those before it say together; `None` when nobody
    /// looked, or they say nothing.
    pub rhythm: Option<Rhythm>,
    /// What the numbers come from.
    pub algorithms: Vec<Algorithm>,
}

/// Length of a window that no longer grows, in seconds, less what rounding may take.
const WHOLE_WINDOW_S: f64 = 9.9;

impl Fact {
    /// Wall time of the window.
    pub fn window(&self) -> (UtcMicros, UtcMicros) {
        let length = micros(self.rate, SampleIndex(self.len.0));
        (UtcMicros(self.at.0.saturating_sub(length)), self.at)
    }

    /// Whether the heart rate of the window is known.
    pub(crate) fn is_analysed(&self) -> bool {
        self.bpm.is_some() && self.verdict != QualityVerdict::Insufficient
    }

    /// Start of the window on the recording's own time line.
    pub(crate) fn start_us(&self) -> i64 {
        micros(self.rate, self.first)
    }

    /// Since when the rhythm looks like fibrillation, on the recording's own time line.
    pub(crate) fn fibrillation_since_us(&self) -> Option<Option<i64>> {
        let rhythm = self.rhythm.as_ref()?;
        Some(
            rhythm
                .fibrillation_since
                .map(|from| micros(self.rate, from)),
        )
    }

    /// End of the window on the recording's own time line, in microseconds.
    pub fn end_us(&self) -> i64 {
        micros(self.rate, self.first.after(self.len))
    }

    /// The longest RR interval within the window, in seconds; zero with fewer than two beats.
    pub(crate) fn longest_rr_s(&self) -> Option<f64> {
        let beats = self.beats.as_ref()?;
        let pairs = beats.iter().zip(beats.iter().skip(1));
        let longest = pairs.filter_map(|(a, b)| b.since(*a)).max();
        Some(self.seconds(longest.unwrap_or_default()))
    }

    /// Seconds from the last beat of the window to its end. A whole window without a beat is
    /// as long as itself; a shorter one may be that of a detector that still learns.
    pub(crate) fn since_last_beat_s(&self) -> Option<f64> {
        let beats = self.beats.as_ref()?;
        let length = self.seconds(self.len);
        match beats.last() {
            Some(last) => {
                let end = self.first.after(self.len);
                Some(
                    self.seconds(end.since(*last).unwrap_or_default())
                        .min(length),
                )
            }
            None => (length >= WHOLE_WINDOW_S).then_some(length),
        }
    }

    fn seconds(&self, count: SampleCount) -> f64 {
        u32::try_from(count.0).map_or(f64::INFINITY, f64::from) / self.rate.as_hz()
    }
}

fn micros(rate: SamplingRate, index: SampleIndex) -> i64 {
    i64::try_from(rate.micros_at(index)).unwrap_or(i64::MAX)
}

/// What a reading of the equipment measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Seconds since a sensor last sent a frame.
    SourceSilence,
    /// Seconds since a box was last heard of.
    BoxSilence,
    /// Charge of a battery, in percent.
    Battery,
    /// Hours that a box can go on storing.
    Autonomy,
    /// Error of a box's clock, in seconds.
    ClockError,
    /// Seconds that an alert has waited for a confirmation.
    DeliveryWait,
    /// Hashes or signatures that did not match.
    ChainBreaks,
}

impl Quantity {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SourceSilence => "source-silence",
            Self::BoxSilence => "box-silence",
            Self::Battery => "battery",
            Self::Autonomy => "autonomy",
            Self::ClockError => "clock-error",
            Self::DeliveryWait => "delivery-wait",
            Self::ChainBreaks => "chain-breaks",
        }
    }
}

/// A reading of the equipment. Readings of one thing come in the order of their times, by the
/// clock of whoever reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The box, the sensor or the alert that it is about; holds no identity of a patient.
    pub about: String,
    /// What is measured.
    pub quantity: Quantity,
    /// When it was read.
    pub at: UtcMicros,
    /// The value, in the quantity's unit.
    pub value: f64,
    /// For sensors: whether a person attends. For boxes: attended while a recording runs. For
    /// alerts on their way: attended when they are high. For batteries: attended for those of
    /// sensors, unattended for the box's own.
    pub attendance: Attendance,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(beats: Option<Vec<u64>>) -> Fact {
        Fact {
            acquisition: AcquisitionId([1; 16]),
            first: SampleIndex(1000),
            len: SampleCount(2500),
            rate: SamplingRate::hz(250).unwrap(),
            at: UtcMicros(20_000_000),
            attendance: Attendance::Attended,
            verdict: QualityVerdict::Good,
            causes: Vec::new(),
            suspect_electrode: None,
            bpm: None,
            beats: beats.map(|beats| beats.into_iter().map(SampleIndex).collect()),
            rhythm: None,
            algorithms: Vec::new(),
        }
    }

    #[test]
    fn a_pause_lies_between_two_beats_and_not_at_the_edges() {
        assert_eq!(fact(Some(vec![1250, 1500, 2500])).longest_rr_s(), Some(4.0));
        assert_eq!(fact(Some(vec![3000])).longest_rr_s(), Some(0.0));
        assert_eq!(fact(None).longest_rr_s(), None);
    }

    #[test]
    fn the_time_without_a_beat_runs_to_the_end_of_the_window() {
        assert_eq!(fact(Some(vec![1250, 2250])).since_last_beat_s(), Some(5.0));
        assert_eq!(fact(Some(vec![])).since_last_beat_s(), Some(10.0));
        assert_eq!(fact(None).since_last_beat_s(), None);
        let growing = Fact {
            len: SampleCount(1250),
            ..fact(Some(vec![]))
        };
        assert_eq!(growing.since_last_beat_s(), None);
    }

    #[test]
    fn the_wall_time_of_a_window_follows_from_its_end_and_length() {
        assert_eq!(
            fact(None).window(),
            (UtcMicros(10_000_000), UtcMicros(20_000_000))
        );
    }
}
