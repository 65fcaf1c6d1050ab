//! What was found in a capture: the document `replay/1`.

use cardio_core::acquisition::Acquisition;
use cardio_core::clock::TimeAnchor;
use cardio_core::quality::{LeadQuality, QualityVerdict};
use cardio_protocol::capture::{CaptureEntry, CaptureError, CaptureEvent, CaptureHead};
use serde::Serialize;

use crate::capture::Playback;
use crate::pipeline::{Assessment, Captured, SourceFacts};

/// Schema of the document.
pub const SCHEMA: &str = "replay/1";
/// Gaps and events that are listed, each; all are counted.
const LISTED_MAX: usize = 1_000;
/// A rate is measured over so many seconds at least.
const PACE_MIN_S: f64 = 5.0;
/// Heart rates are gathered in steps of one beat per minute up to this one.
const BPM_MAX: usize = 400;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayDocument {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// The log itself.
    pub capture: CaptureFound,
    /// The sensor, as it told who it is.
    pub device: DeviceFound,
    /// How the link was.
    pub link: LinkFound,
    /// What was recorded, one acquisition after another.
    pub acquisitions: Vec<AcquisitionFound>,
    /// How good the signal was.
    pub quality: QualityFound,
    /// What the box would have told, in order; the first thousand.
    pub events: Vec<EventFound>,
}

/// The log itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaptureFound {
    /// The device's profile.
    pub profile: String,
    /// Which program wrote it.
    pub writer: String,
    /// When it began, as the box's wall clock said (RFC 3339).
    pub began: String,
    /// From its beginning to its last entry.
    pub seconds: f64,
    /// Entries that could be read.
    pub entries: u64,
    /// Bytes that the sensor sent.
    pub heard_bytes: u64,
    /// Bytes that the box sent.
    pub said_bytes: u64,
    /// Entries that no link of this device has.
    pub misplaced_entries: u64,
    /// Where and why it ends before its end, if it does.
    pub cut: Option<CutFound>,
}

/// Why a log ends before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutFound {
    /// Stable code.
    pub code: &'static str,
    /// In words, with the place.
    pub detail: String,
}

/// The sensor, as it told who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceFound {
    /// Manufacturer.
    pub maker: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// IEEE EUI-64 System ID, in hexadecimal digits.
    pub system_id: Option<String>,
    /// Charge of its battery.
    pub battery_percent: Option<u8>,
}

/// How the link was.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkFound {
    /// Times that it was made.
    pub connections: u64,
    /// The codes for which it ended, in order; the first thousand.
    pub losses: Vec<String>,
    /// From the first connection to the first sample.
    pub first_sample_s: Option<f64>,
    /// Bytes that belonged to no valid frame.
    pub skipped_bytes: u64,
    /// Values that came faster than the box took them.
    pub crowded_out: u64,
    /// When this program first wants something else sent than the box sent then, since the
    /// beginning; absent when it would say the same.
    pub differs_at_s: Option<f64>,
}

/// One acquisition.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AcquisitionFound {
    /// Nominal rate.
    pub rate_hz: f64,
    /// The rate at which its segments lie on the box's clock, over five seconds or more.
    pub measured_rate_hz: Option<f64>,
    /// How a loss can be noticed.
    pub integrity: &'static str,
    /// The rows.
    pub leads: Vec<String>,
    /// Samples of each lead.
    pub samples: u64,
    /// Segments that would be stored.
    pub segments: u64,
    /// How many gaps.
    pub gap_count: u64,
    /// Samples missing in them.
    pub missing: u64,
    /// The first thousand of them.
    pub gaps: Vec<GapFound>,
    /// Frames that came twice.
    pub repeated_frames: u64,
    /// Frames that came too late to be placed.
    pub late_frames: u64,
    /// Times that the sensor's clock began anew.
    pub clock_resets: u64,
    /// How much faster than nominal it samples, if that can be told.
    pub drift_ppm: Option<f64>,
    /// Standard error of that.
    pub drift_error_ppm: Option<f64>,
    /// Why it ended, by the stable name.
    pub ended: Option<&'static str>,
}

/// A gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapFound {
    /// The first missing sample.
    pub from: u64,
    /// How many are missing.
    pub len: u64,
    /// How far that may be wrong.
    pub uncertainty: u64,
    /// Why, by its stable name.
    pub cause: &'static str,
}

/// How good the signal was.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QualityFound {
    /// All leads together.
    pub overall: Verdicts,
    /// Each lead.
    pub leads: Vec<LeadFound>,
    /// Median of the heart rates that could be told.
    pub heart_rate_bpm: Option<f64>,
}

/// Windows by their verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Good for everything.
    pub good: u64,
    /// Good enough for rhythm.
    pub acceptable: u64,
    /// Of no use.
    pub insufficient: u64,
}

/// One lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeadFound {
    /// Its label.
    pub lead: String,
    /// Its windows.
    pub windows: Verdicts,
    /// What was wrong with it, by stable name, and in how many windows.
    pub causes: std::collections::BTreeMap<&'static str, u64>,
}

/// What the box would have told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventFound {
    /// Stable code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl Verdicts {
    const fn note(&mut self, quality: &LeadQuality) {
        let count = match quality.verdict {
            QualityVerdict::Good => &mut self.good,
            QualityVerdict::Acceptable => &mut self.acceptable,
            QualityVerdict::Insufficient => &mut self.insufficient,
        };
        *count = count.saturating_add(1);
    }

    /// All windows.
    pub const fn windows(&self) -> u64 {
        self.good
            .saturating_add(self.acceptable)
            .saturating_add(self.insufficient)
    }
}

/// Gathers what is found.
pub(super) struct Findings {
    head: CaptureHead,
    entries: u64,
    heard_bytes: u64,
    said_bytes: u64,
    last_us: u64,
    connected_us: Option<u64>,
    link: LinkFound,
    device: DeviceFound,
    acquisitions: Vec<AcquisitionFound>,
    quality: QualityFound,
    /// How often each heart rate was told.
    rates: Vec<u64>,
    events: Vec<EventFound>,
    /// Where the first segment of the running acquisition lies.
    first_anchor: Option<TimeAnchor>,
}

impl Findings {
    pub(super) fn new(head: CaptureHead) -> Self {
        Self {
            last_us: head.began.box_instant.micros,
            head,
            entries: 0,
            heard_bytes: 0,
            said_bytes: 0,
            connected_us: None,
            link: LinkFound::default(),
            device: DeviceFound::default(),
            acquisitions: Vec::new(),
            quality: QualityFound::default(),
            rates: vec![0; BPM_MAX],
            events: Vec::new(),
            first_anchor: None,
        }
    }

    pub(super) fn note_entry(&mut self, entry: &CaptureEntry) {
        let add = |sum: &mut u64, bytes: &[u8]| {
            *sum = sum.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        };
        self.entries = self.entries.saturating_add(1);
        self.last_us = self.last_us.max(entry.at_us);
        match &entry.event {
            CaptureEvent::Connected { .. } => {
                self.link.connections = self.link.connections.saturating_add(1);
                self.connected_us.get_or_insert(self.last_us);
            }
            CaptureEvent::Closed { code } => list(&mut self.link.losses, code.clone()),
            CaptureEvent::Heard(bytes)
            | CaptureEvent::Value { value: bytes, .. }
            | CaptureEvent::Answer { value: bytes, .. } => add(&mut self.heard_bytes, bytes),
            CaptureEvent::Said(bytes) => add(&mut self.said_bytes, bytes),
            CaptureEvent::Asked(cardio_protocol::gatt::GattAction::Write { value, .. }) => {
                add(&mut self.said_bytes, value);
            }
            CaptureEvent::Asked(_)
            | CaptureEvent::Clock(_)
            | CaptureEvent::Crowded { .. }
            | CaptureEvent::Ended => {}
        }
    }

    pub(super) fn note(&mut self, captured: Captured) {
        match captured {
            Captured::Started(acquisition) | Captured::Continued(acquisition, _) => {
                self.begin(&acquisition);
            }
            Captured::Segment(segment) => self.pace(&segment.anchor),
            Captured::Rates(rates) => self.pace(&rates.anchor),
            // the facts of the source say it too
            Captured::Battery { .. } => {}
            Captured::Gap { gap, .. } => {
                if let Some(running) = self.acquisitions.last_mut() {
                    running.gap_count = running.gap_count.saturating_add(1);
                    running.missing = running.missing.saturating_add(gap.len.0);
                    let found = GapFound {
                        from: gap.from.0,
                        len: gap.len.0,
                        uncertainty: gap.uncertainty.0,
                        cause: gap.cause.name(),
                    };
                    list(&mut running.gaps, found);
                }
            }
            Captured::Assessment(found) => self.assess(&found),
            Captured::Ended {
                reason,
                repeated_frames,
                ..
            } => {
                if let Some(running) = self.acquisitions.last_mut() {
                    running.ended = Some(reason.name());
                    running.repeated_frames = repeated_frames;
                }
            }
            Captured::Event { code, detail } => {
                list(&mut self.events, EventFound { code, detail });
            }
        }
    }

    fn pace(&mut self, anchor: &TimeAnchor) {
        let first = *self.first_anchor.get_or_insert(*anchor);
        let Some(running) = self.acquisitions.last_mut() else {
            return;
        };
        running.segments = running.segments.saturating_add(1);
        let passed = seconds(first.at.box_instant.micros, anchor.at.box_instant.micros);
        let samples = anchor.index.since(first.index).unwrap_or_default().0;
        if let (true, Ok(samples)) = (passed >= PACE_MIN_S, u32::try_from(samples)) {
            running.measured_rate_hz = Some(f64::from(samples) / passed);
        }
    }

    /// Where the running acquisition stands now.
    pub(super) fn note_facts(&mut self, facts: &SourceFacts) {
        if facts.battery_percent.is_some() {
            self.device.battery_percent = facts.battery_percent;
        }
        let Some(running) = self.acquisitions.last_mut() else {
            return;
        };
        if facts.acquisition.is_none() || running.ended.is_some() {
            return;
        }
        running.samples = facts.counts.samples.0;
        running.late_frames = facts.counts.late_frames;
        running.clock_resets = facts.counts.clock_resets;
        running.drift_ppm = facts.drift.map(|drift| drift.ppm);
        running.drift_error_ppm = facts.drift.map(|drift| drift.standard_error_ppm);
    }

    fn begin(&mut self, acquisition: &Acquisition) {
        let device = &acquisition.device;
        let eui = |id: [u8; 8]| id.iter().map(|byte| format!("{byte:02X}")).collect();
        self.device = DeviceFound {
            maker: device.maker.clone(),
            model: device.model.clone(),
            serial: device.serial.clone(),
            firmware: device.firmware.clone(),
            system_id: device.system_id.map(eui),
            battery_percent: self.device.battery_percent,
        };
        if self.link.first_sample_s.is_none() {
            let since = self.connected_us;
            self.link.first_sample_s = since.map(|since| seconds(since, self.last_us));
        }
        self.first_anchor = None;
        let labels = acquisition.waveforms.iter();
        self.acquisitions.push(AcquisitionFound {
            rate_hz: acquisition.rate.as_hz(),
            integrity: acquisition.integrity.name(),
            leads: labels.map(|spec| spec.kind.label().to_owned()).collect(),
            ..AcquisitionFound::default()
        });
    }

    fn assess(&mut self, found: &Assessment) {
        self.quality.overall.note(&found.quality.overall);
        for (label, quality) in &found.quality.per_lead {
            let place = self.quality.leads.iter().position(|one| one.lead == *label);
            let place = place.unwrap_or_else(|| {
                let lead = label.clone();
                let fresh = LeadFound {
                    lead,
                    ..LeadFound::default()
                };
                self.quality.leads.push(fresh);
                self.quality.leads.len().saturating_sub(1)
            });
            let Some(lead) = self.quality.leads.get_mut(place) else {
                continue;
            };
            lead.windows.note(quality);
            for cause in &quality.causes {
                let count = lead.causes.entry(cause.name()).or_default();
                *count = count.saturating_add(1);
            }
        }
        let told = found.heart_rate.bpm.map(f64::round);
        let place = (0_u32..).zip(&mut self.rates);
        for (bpm, count) in place {
            if told == Some(f64::from(bpm)) {
                *count = count.saturating_add(1);
            }
        }
    }

    fn median_bpm(&self) -> Option<f64> {
        let all = self.rates.iter().sum::<u64>();
        let mut seen = 0_u64;
        let mut rates = (0_u32..).zip(&self.rates);
        let middle = rates.find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen.saturating_mul(2) >= all && seen > 0
        });
        middle.map(|(bpm, _)| f64::from(bpm))
    }

    pub(super) fn document(self, playback: &Playback, cut: Option<CaptureError>) -> ReplayDocument {
        let began_us = self.head.began.box_instant.micros;
        let status = playback.status();
        let heart_rate_bpm = self.median_bpm();
        ReplayDocument {
            schema: SCHEMA,
            capture: CaptureFound {
                profile: self.head.profile,
                writer: self.head.writer,
                began: crate::clock::rfc_3339(self.head.began.utc),
                seconds: seconds(began_us, self.last_us),
                entries: self.entries,
                heard_bytes: self.heard_bytes,
                said_bytes: self.said_bytes,
                misplaced_entries: playback.misplaced_entries(),
                cut: cut.map(|err| CutFound {
                    code: err.code(),
                    detail: err.to_string(),
                }),
            },
            device: self.device,
            link: LinkFound {
                skipped_bytes: status.skipped_bytes,
                crowded_out: status.crowded_out,
                differs_at_s: playback
                    .differs_at_us()
                    .map(|at_us| seconds(began_us, at_us)),
                ..self.link
            },
            acquisitions: self.acquisitions,
            quality: QualityFound {
                heart_rate_bpm,
                ..self.quality
            },
            events: self.events,
        }
    }
}

/// Adds to a list that is not to grow without end.
fn list<T>(to: &mut Vec<T>, one: T) {
    if to.len() < LISTED_MAX {
        to.push(one);
    }
}

fn seconds(from_us: u64, to_us: u64) -> f64 {
    std::time::Duration::from_micros(to_us.saturating_sub(from_us)).as_secs_f64()
}
