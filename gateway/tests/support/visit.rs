//! Records of a small visit: what a box would tell of an ECG with one gap.

use cardio_core::acquisition::{Acquisition, Attendance, WaveformKind, WaveformSpec};
use cardio_core::annotation::Beat;
use cardio_core::calibration::Calibration;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::gap::{Gap, GapCause};
use cardio_core::heart_rate::{RR_UNITS_PER_S, RateStretch, SkinContact, ToldRate};
use cardio_core::ids::{AcquisitionId, BootId, RecordId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityVerdict, SignalQualityIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use cardio_core::subject::SubjectRef;
use cardio_wire::record::{
    AcquisitionEndedV1, AcquisitionStartedV1, AssessmentV1, DeviceStatusV1, EndReason, GapV1,
    HeartRateFactsV1, HeartRatesV1, QualityFactsV1, Record, RecordHead, SegmentV1,
};

pub(crate) const RATE: u64 = 250;
pub(crate) const START: i64 = 1_790_000_000_000_000;
pub(crate) const ACQUISITION: AcquisitionId = AcquisitionId([0xA1; 16]);

/// Makes the records of one acquisition, each with its own id.
pub(crate) struct Visit {
    made: u8,
    ordinal: u64,
}

pub(crate) fn reading(micros: u64) -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([3; 16]),
            micros,
        },
        utc: UtcMicros(START + i64::try_from(micros).unwrap()),
        quality: ClockQuality::Synchronised { error_us: 1_000 },
    }
}

fn anchor(index: u64) -> TimeAnchor {
    TimeAnchor {
        index: SampleIndex(index),
        at: reading(index * 1_000_000 / RATE),
        uncertainty_us: 500,
    }
}

/// The value of a sample: different for every lead and instant.
pub(crate) fn sample(lead: usize, index: u64) -> i32 {
    i32::try_from(index % 100_000).unwrap() * 7 - i32::try_from(lead).unwrap() * 1_000
}

impl Visit {
    pub(crate) fn new() -> Self {
        Self {
            made: 0,
            ordinal: 0,
        }
    }

    fn head(&mut self, at: u64) -> RecordHead {
        self.made += 1;
        RecordHead {
            id: RecordId([self.made; 16]),
            at: reading(at * 1_000_000 / RATE),
        }
    }

    pub(crate) fn started(&mut self, subject: Option<&str>) -> Record {
        let waveforms = Lead::MEASURED_EIGHT
            .into_iter()
            .map(|lead| WaveformSpec {
                kind: WaveformKind::Ecg(lead),
                calibration: Calibration::millivolts(200.0, 0.0).unwrap(),
            })
            .collect();
        Record::AcquisitionStarted(AcquisitionStartedV1 {
            head: self.head(0),
            acquisition: Acquisition {
                id: ACQUISITION,
                subject: subject.map(|text| SubjectRef::new(text).unwrap()),
                request: None,
                source: SourceId::new("ecg12-a").unwrap(),
                device: DeviceIdentity {
                    maker: Some("Simulated".to_owned()),
                    model: Some("firmware-sim ECG12".to_owned()),
                    serial: Some("SIM-0001".to_owned()),
                    ..DeviceIdentity::default()
                },
                integrity: IntegrityClass::Counted,
                rate: SamplingRate::hz(250).unwrap(),
                waveforms,
                attendance: Attendance::Attended,
            },
        })
    }

    /// 25 s of a heart-rate strap: without contact from the tenth second to the twelfth.
    pub(crate) fn told_rates(&mut self, subject: Option<&str>) -> (Vec<Record>, Vec<Record>) {
        let mut started = self.started(subject);
        if let Record::AcquisitionStarted(started) = &mut started {
            started.acquisition.rate = SamplingRate::hz(RR_UNITS_PER_S).unwrap();
            started.acquisition.waveforms.clear();
            started.acquisition.integrity = IntegrityClass::Uncounted;
        }
        let place = |second: u64| TimeAnchor {
            index: SampleIndex(second * 1024),
            at: reading(second * 1_000_000),
            uncertainty_us: 500,
        };
        let battery = DeviceStatusV1 {
            head: self.head(0),
            source: SourceId::new("ecg12-a").unwrap(),
            acquisition: ACQUISITION,
            battery_percent: 14,
        };
        let (mut routine, mut alert) = (vec![started, Record::DeviceStatus(battery)], Vec::new());
        for second in 0..25_u64 {
            let off = (10..12).contains(&second);
            let told = ToldRate {
                bpm: 68,
                contact: if off {
                    SkinContact::Off
                } else {
                    SkinContact::On
                },
                rr: vec![900 + u16::try_from(second).unwrap()],
            };
            routine.push(Record::HeartRates(HeartRatesV1 {
                head: self.head(second * RATE),
                stretch: RateStretch {
                    acquisition: ACQUISITION,
                    ordinal: second,
                    first: SampleIndex(second * 1024),
                    len: SampleCount(1024),
                    anchor: place(second),
                    told: vec![(SampleCount(1024), told)],
                },
            }));
            let mut window = self.assessment(0, RATE, 68.0);
            if let Record::Assessment(window) = &mut window {
                window.window_start = place(0);
                window.quality.len = SampleCount((second + 1) * 1024);
                window.quality.per_lead.clear();
                window.heart_rate.beats.clear();
                if off {
                    window.quality.overall.verdict = QualityVerdict::Insufficient;
                    window.heart_rate.bpm = None;
                    window.heart_rate.undetermined = Some("no-contact".to_owned());
                }
            }
            alert.push(window);
        }
        self.ordinal = 25;
        let mut ended = self.ended(25 * 1024);
        if let Record::AcquisitionEnded(ended) = &mut ended {
            ended.head.at = reading(25_000_000);
        }
        routine.push(ended);
        (routine, alert)
    }

    pub(crate) fn segment(&mut self, first: u64, len: u64) -> Record {
        let leads = (0..8)
            .map(|lead| (first..first + len).map(|at| sample(lead, at)).collect())
            .collect();
        self.ordinal += 1;
        Record::Segment(SegmentV1 {
            head: self.head(first + len),
            segment: Segment {
                acquisition: ACQUISITION,
                ordinal: self.ordinal - 1,
                block: SampleBlock::new(SampleIndex(first), leads).unwrap(),
                anchor: anchor(first),
            },
        })
    }

    pub(crate) fn gap(&mut self, from: u64, len: u64) -> Record {
        Record::Gap(GapV1 {
            head: self.head(from + len),
            acquisition: ACQUISITION,
            gap: Gap {
                from: SampleIndex(from),
                len: SampleCount(len),
                uncertainty: SampleCount(0),
                cause: GapCause::FramesLost,
            },
            near: Some(anchor(from)),
        })
    }

    pub(crate) fn assessment(&mut self, first: u64, len: u64, bpm: f64) -> Record {
        let good = LeadQuality {
            index: SignalQualityIndex::clamped(0.93),
            verdict: QualityVerdict::Good,
            causes: Vec::new(),
        };
        let beats = (first..first + len)
            .step_by(200)
            .map(|at| Beat {
                at: SampleIndex(at),
                class: None,
            })
            .collect();
        Record::Assessment(AssessmentV1 {
            head: self.head(first + len),
            acquisition: ACQUISITION,
            window_start: anchor(first),
            quality: QualityFactsV1 {
                first: SampleIndex(first),
                len: SampleCount(len),
                overall: good.clone(),
                per_lead: vec![("I".to_owned(), good)],
                algorithm: ("sqi-ecg".to_owned(), 1),
            },
            heart_rate: HeartRateFactsV1 {
                bpm: Some(bpm),
                beats,
                undetermined: None,
                algorithm: ("qrs".to_owned(), 1),
            },
            suspect_electrode: None,
        })
    }

    /// A recording whose signal is never good enough: routine records, and those of the alert
    /// lane.
    pub(crate) fn insufficient(
        &mut self,
        subject: Option<&str>,
        seconds: u64,
    ) -> (Vec<Record>, Vec<Record>) {
        let (mut routine, mut alert) = (vec![self.started(subject)], Vec::new());
        for second in 0..seconds {
            routine.push(self.segment(second * RATE, RATE));
            if second >= 9 {
                let mut window = self.assessment((second - 9) * RATE, 10 * RATE, 72.0);
                if let Record::Assessment(window) = &mut window {
                    window.quality.overall.verdict = QualityVerdict::Insufficient;
                    window.heart_rate.bpm = None;
                    window.heart_rate.undetermined = Some("noise".to_owned());
                }
                alert.push(window);
            }
        }
        (routine, alert)
    }

    pub(crate) fn ended(&mut self, end: u64) -> Record {
        Record::AcquisitionEnded(AcquisitionEndedV1 {
            head: self.head(end),
            acquisition: ACQUISITION,
            end: SampleIndex(end),
            segments: self.ordinal,
            samples: SampleCount(end),
            gaps: 1,
            missing: SampleCount(250),
            repeated_frames: 0,
            reason: EndReason::Completed,
        })
    }

    /// 25 s of signal in segments of 1 s, the fourteenth second missing; windows on the alert
    /// lane.
    pub(crate) fn whole(&mut self, subject: Option<&str>) -> (Vec<Record>, Vec<Record>) {
        let mut routine = vec![self.started(subject)];
        let mut alert = Vec::new();
        for second in 0..25 {
            let first = second * RATE;
            if second == 13 {
                routine.push(self.gap(first, RATE));
                continue;
            }
            routine.push(self.segment(first, RATE));
            let run = if second < 13 { 0 } else { 14 };
            let seconds = second + 1 - run;
            if seconds >= 2 {
                let len = seconds.min(10);
                let window = self.assessment((second + 1 - len) * RATE, len * RATE, 72.0);
                alert.push(window);
            }
        }
        routine.push(self.ended(25 * RATE));
        (routine, alert)
    }
}
