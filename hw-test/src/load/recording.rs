//! What boxes record: eight leads of noise that no packing makes smaller, 8 kB a segment, and an
//! electrode that has come off.

use cardio_core::acquisition::{Acquisition, Attendance, WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::clock::{ClockReading, TimeAnchor};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::electrode::Electrode;
use cardio_core::ids::{AcquisitionId, BoxId, RecordId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use cardio_wire::record::{
    AcquisitionEndedV1, AcquisitionStartedV1, AssessmentV1, EndReason, HeartRateFactsV1,
    QualityFactsV1, Record, RecordHead, SegmentV1,
};

use super::fleet::reading;
use crate::chance::Chance;

/// Samples per second and lead, and per segment.
const RATE_HZ: u16 = 250;
const SEGMENT_SAMPLES: u64 = 500;

/// One acquisition of one box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recording {
    device: BoxId,
    pub(crate) acquisition: AcquisitionId,
}

impl Recording {
    /// The box's acquisition of that number.
    pub(crate) fn new(device: BoxId, number: u64) -> Self {
        let acquisition = AcquisitionId(mixed(device.0, number));
        Self {
            device,
            acquisition,
        }
    }

    /// Its beginning, as the box's record of that number.
    pub(crate) fn started(&self, seq: u64) -> anyhow::Result<Record> {
        let waveforms = Lead::MEASURED_EIGHT
            .into_iter()
            .map(|lead| {
                Ok(WaveformSpec {
                    kind: WaveformKind::Ecg(lead),
                    calibration: Calibration::millivolts(200.0, 0.0)?,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Record::AcquisitionStarted(AcquisitionStartedV1 {
            head: self.head(seq, 0),
            acquisition: Acquisition {
                id: self.acquisition,
                subject: None,
                request: None,
                source: SourceId::new("ecg12-load")?,
                device: DeviceIdentity::default(),
                integrity: IntegrityClass::Counted,
                rate: SamplingRate::hz(u32::from(RATE_HZ))?,
                waveforms,
                attendance: Attendance::Attended,
            },
        }))
    }

    /// Two seconds of it.
    pub(crate) fn segment(&self, seq: u64, ordinal: u64) -> anyhow::Result<Record> {
        let first = ordinal * SEGMENT_SAMPLES;
        let mut chance = Chance::new(seq);
        let leads = (0..8)
            .map(|_| {
                (0..SEGMENT_SAMPLES)
                    .map(|_| i32::try_from(chance.below(65_536)).unwrap_or_default() - 32_768)
                    .collect()
            })
            .collect();
        Ok(Record::Segment(SegmentV1 {
            head: self.head(seq, first),
            segment: Segment {
                acquisition: self.acquisition,
                ordinal,
                block: SampleBlock::new(SampleIndex(first), leads)?,
                anchor: anchor(first),
            },
        }))
    }

    /// What the box found in its first `segments`: an electrode that is off.
    pub(crate) fn window_without_contact(&self, seq: u64, segments: u64) -> Record {
        let quality = || LeadQuality {
            index: SignalQualityIndex::clamped(0.0),
            verdict: QualityVerdict::Insufficient,
            causes: vec![QualityCause::LeadOff],
        };
        let len = segments * SEGMENT_SAMPLES;
        Record::Assessment(AssessmentV1 {
            head: self.head(seq, len),
            acquisition: self.acquisition,
            window_start: anchor(0),
            quality: QualityFactsV1 {
                first: SampleIndex(0),
                len: SampleCount(len),
                overall: quality(),
                per_lead: vec![("I".to_owned(), quality())],
                algorithm: ("sqi-ecg".to_owned(), 1),
            },
            heart_rate: HeartRateFactsV1 {
                bpm: None,
                beats: Vec::new(),
                undetermined: Some("quality".to_owned()),
                algorithm: ("qrs".to_owned(), 1),
            },
            suspect_electrode: Some(Electrode::RightArm),
        })
    }

    /// Its end after so many segments.
    pub(crate) fn ended(&self, seq: u64, segments: u64) -> Record {
        let samples = segments * SEGMENT_SAMPLES;
        Record::AcquisitionEnded(AcquisitionEndedV1 {
            head: self.head(seq, samples),
            acquisition: self.acquisition,
            end: SampleIndex(samples),
            segments,
            samples: SampleCount(samples),
            gaps: 0,
            missing: SampleCount(0),
            repeated_frames: 0,
            reason: EndReason::Completed,
        })
    }

    fn head(&self, seq: u64, at: u64) -> RecordHead {
        RecordHead {
            id: RecordId(mixed(self.device.0, seq)),
            at: time_of(at),
        }
    }
}

/// An id of the box's own, with a number in its last bytes.
fn mixed(mut id: [u8; 16], number: u64) -> [u8; 16] {
    for (byte, of_number) in id.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= of_number;
    }
    id
}

fn time_of(sample: u64) -> ClockReading {
    reading(sample * 1_000_000 / u64::from(RATE_HZ))
}

fn anchor(first: u64) -> TimeAnchor {
    TimeAnchor {
        index: SampleIndex(first),
        at: time_of(first),
        uncertainty_us: 500,
    }
}
