//! What the running agent tells about itself: one board that every task writes its line on,
//! and the document `status/1` made from it.
//!
//! Deliberately absent: identity of a patient, signal, and any decision. Nothing reads the
//! board to decide what to do.

mod aside;
mod latency;
mod text;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cardio_core::clock::{ClockQuality, ClockReading};
use cardio_store::Autonomy;
use serde::{Deserialize, Serialize};

pub use aside::AsideStatus;
pub use latency::{Latencies, LatencyFacts};
pub use text::as_text;

/// Schema of the document.
pub const SCHEMA: &str = "status/1";

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The state in a word.
    pub verdict: Verdict,
    /// The box.
    #[serde(rename = "box")]
    pub site: BoxStatus,
    /// Each sensor.
    pub sources: Vec<SourceStatus>,
    /// The outbox.
    pub store: StoreStatus,
    /// The way to the gateway.
    pub uplink: UplinkStatus,
    /// The clock.
    pub clock: ClockStatus,
    /// The certificate of this box.
    pub certificate: CertificateStatus,
    /// How long things took lately, by kind.
    pub latency: BTreeMap<String, LatencyFacts>,
    /// What a person should look at, most urgent first: stable code and text.
    pub warnings: Vec<Warning>,
}

/// The state of the box in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Signal comes in and is kept.
    Capturing,
    /// Nothing is wrong, and no signal comes in.
    Idle,
    /// Something works only in part.
    Degraded,
    /// Signal is being lost.
    Failing,
}

impl Verdict {
    /// As a person reads it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Capturing => "CAPTURING",
            Self::Idle => "IDLE",
            Self::Degraded => "DEGRADED",
            Self::Failing => "FAILING",
        }
    }

    /// Exit code of `status`: 0 well, 1 degraded, 2 failing.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Capturing | Self::Idle => 0,
            Self::Degraded => 1,
            Self::Failing => 2,
        }
    }
}

/// The box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxStatus {
    /// Its identifier.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Version of this program.
    pub version: String,
    /// Seconds since the program started.
    pub up_s: u64,
}

/// How a source is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// The port is being opened, or will be tried again.
    #[default]
    Opening,
    /// The port is open, and the sensor has not yet sent a valid frame.
    Waiting,
    /// Valid frames come.
    Streaming,
    /// A recording that the sensor keeps is being fetched.
    Fetching,
    /// The port is open, and nothing comes.
    Silent,
    /// Bytes come, and none of them is a valid frame: wrong device or wrong speed.
    NoFrames,
    /// The sensor was there and is gone.
    Lost,
    /// The acquisition has ended.
    Ended,
}

impl LinkState {
    /// As a person reads it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Waiting => "waiting",
            Self::Streaming => "streaming",
            Self::Fetching => "fetching",
            Self::Silent => "silent",
            Self::NoFrames => "no frames",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }
}

/// One sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name on this box.
    pub name: String,
    /// Its profile.
    pub device: String,
    /// How it is reached.
    pub link: String,
    /// How it is doing.
    pub state: LinkState,
    /// Stable code of what is wrong with it, if anything.
    pub code: Option<String>,
    /// What it sends, in words.
    pub stream: String,
    /// Nominal rate of its samples.
    pub rate_hz: f64,
    /// How far its clock runs ahead of the box's, if known.
    pub drift_ppm: Option<f64>,
    /// Whether a patient is assigned. Never who.
    pub assigned: bool,
    /// The running acquisition.
    pub acquisition: Option<String>,
    /// Quality of the last window.
    pub quality: Option<QualityStatus>,
    /// Heart rate over the last window, in beats per minute, if it could be determined.
    pub heart_rate_bpm: Option<f64>,
    /// Seconds since the last valid frame.
    pub last_age_s: Option<f64>,
    /// Samples per lead captured in this acquisition.
    pub samples: u64,
    /// Segments stored in this acquisition.
    pub segments: u64,
    /// Gaps named in this acquisition.
    pub gaps: u64,
    /// Samples missing in them.
    pub missing: u64,
    /// Frames that came twice.
    pub repeated_frames: u64,
    /// Charge of its battery, once it has told it.
    pub battery_percent: Option<u8>,
    /// The recordings that it keeps, if they are fetched.
    pub recordings: Option<RecordingsStatus>,
    /// Bytes that belonged to no valid frame.
    pub skipped_bytes: u64,
    /// Things that found no room on the way to the recorder; samples among them are named
    /// as gaps.
    pub dropped: u64,
    /// Values of the sensor that came faster than they were taken; what is missing of its
    /// samples is named as gaps.
    pub crowded_out: u64,
}

/// Recordings that a sensor keeps in its own memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingsStatus {
    /// Fetched and stored since the agent started.
    pub fetched: u64,
    /// Left on the sensor, because they are damaged or in no form that the box reads.
    pub left: u64,
    /// Bytes that are there of the one that is being fetched.
    pub have_bytes: u64,
    /// Of so many, where the sensor states it.
    pub of_bytes: Option<u64>,
    /// Whether one is whole and is being stored; the sensor still keeps it.
    pub storing: bool,
}

/// Quality of the last window of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityStatus {
    /// good, acceptable or insufficient.
    pub verdict: String,
    /// From 0 to 1.
    pub index: f64,
    /// What is wrong, most urgent first.
    pub causes: Vec<String>,
    /// The leads that are insufficient.
    pub failing_leads: Vec<String>,
    /// The contact to look at first, as IEC and AHA letters.
    pub electrode_iec: Option<String>,
    /// As the AHA writes it.
    pub electrode_aha: Option<String>,
    /// Who says so.
    pub algorithm: String,
}

/// The outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Records stored since the outbox was made.
    pub stored: u64,
    /// Records that the gateway acknowledged as durably stored.
    pub filed: u64,
    /// Records that it has not.
    pub waiting: u64,
    /// Records refused for lack of space and not yet named in a gap record.
    pub refused: u64,
    /// Age of the oldest of them, in seconds.
    pub oldest_waiting_age_s: Option<f64>,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be used.
    pub cap_bytes: u64,
    /// Bytes that can still be stored: of the cap, or of what the disk leaves.
    pub free_bytes: u64,
    /// What happens at this filling, by its stable name.
    pub level: String,
    /// How long capture can go on if nothing leaves the box.
    pub autonomy: AutonomyStatus,
    /// Files that were set aside, because they were damaged or the card forgot.
    pub aside: AsideStatus,
    /// Stable code of what is wrong with it, if anything.
    pub code: Option<String>,
}

/// How long capture can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AutonomyStatus {
    /// Whether that is known.
    pub state: AutonomyState,
    /// Until the outbox refuses what is captured now.
    pub hours: Option<f64>,
    /// How fast capture fills it, over the last hour of capture.
    pub bytes_per_hour: Option<u64>,
}

/// Whether it is known how long capture can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutonomyState {
    /// Nothing is captured, so nothing fills.
    #[default]
    NotCapturing,
    /// Capture has only begun.
    Measuring,
    /// For so many hours.
    Lasts,
}

impl From<Autonomy> for AutonomyStatus {
    fn from(autonomy: Autonomy) -> Self {
        let (state, lasts) = match autonomy {
            Autonomy::NotCapturing => (AutonomyState::NotCapturing, None),
            Autonomy::Measuring => (AutonomyState::Measuring, None),
            Autonomy::Lasts {
                seconds,
                bytes_per_hour,
            } => (AutonomyState::Lasts, Some((seconds, bytes_per_hour))),
        };
        Self {
            state,
            hours: lasts
                .map(|(seconds, _)| std::time::Duration::from_secs(seconds).as_secs_f64() / 3600.0),
            bytes_per_hour: lasts.map(|(_, bytes)| bytes),
        }
    }
}

/// The way to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UplinkStatus {
    /// Whether the gateway answers.
    pub connected: bool,
    /// Seconds since that began.
    pub since_s: Option<f64>,
    /// Frames sent since start, repeats included.
    pub sent: u64,
    /// Frames sent on this connection and not yet acknowledged.
    pub under_way: usize,
    /// Connections made since start.
    pub connections: u64,
    /// Acknowledgements refused since start (forged, old, foreign).
    pub refused_acks: u64,
    /// Stable code of the last failure while not connected.
    pub code: Option<String>,
    /// Whether the gateway asked for a pause.
    pub paused: bool,
}

/// The clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Whether the wall clock is disciplined.
    pub synchronised: bool,
    /// Bound of its error, if known.
    pub error_ms: Option<f64>,
    /// How far the gateway's clock was ahead of the box's at the last acknowledgement.
    pub gateway_ahead_ms: Option<f64>,
}

/// The certificate of this box.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Seconds until it ends; negative once it has.
    pub left_s: Option<i64>,
    /// Stable code of why the last renewal failed, until one succeeds.
    pub code: Option<String>,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Stable code.
    pub code: String,
    /// What it is about, in words.
    pub text: String,
}

/// The board.
#[derive(Debug, Default)]
pub struct Board {
    lines: Mutex<Lines>,
}

/// What stands on the board.
#[derive(Debug, Default)]
pub struct Lines {
    /// The box.
    pub site: BoxStatus,
    /// When the program started, on the box's clock.
    pub started_us: u64,
    /// Each sensor, in the order of the configuration.
    pub sources: Vec<SourceLine>,
    /// The outbox.
    pub store: StoreStatus,
    /// The way to the gateway.
    pub uplink: UplinkStatus,
    /// Since when it is as it is, on the box's clock.
    pub uplink_since_us: Option<u64>,
    /// When the certificate ends, in microseconds since 1970.
    pub certificate_until_us: Option<i64>,
    /// Why the last renewal of the certificate failed, until one succeeds.
    pub renewal_code: Option<String>,
    /// Gateway's time less ours at the last acknowledgement, in microseconds.
    pub gateway_ahead_us: Option<i64>,
    /// From the arrival of a segment's last sample to the return of its commit.
    pub captured_to_stored: Latencies,
    /// From a frame's first publish to its acknowledgement as durably stored.
    pub sent_to_filed: Latencies,
}

/// The line of one sensor.
#[derive(Clone, Debug, Default)]
pub struct SourceLine {
    /// What is told.
    pub status: SourceStatus,
    /// When the last valid frame came, on the box's clock.
    pub last_frame_us: Option<u64>,
}

impl Board {
    /// Everything on the board, to read or to write. Held only for a moment.
    pub fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the line of the source at `place`, if there is one.
    pub fn source(&self, place: usize, change: impl FnOnce(&mut SourceLine)) {
        if let Some(line) = self.lines().sources.get_mut(place) {
            change(line);
        }
    }

    /// The document, as it stands `now`.
    pub fn document(&self, now: &ClockReading) -> Status {
        let lines = self.lines();
        let now_us = now.box_instant.micros;
        let sources: Vec<SourceStatus> = lines
            .sources
            .iter()
            .map(|line| SourceStatus {
                last_age_s: line.last_frame_us.map(|at| seconds(now_us, at)),
                ..line.status.clone()
            })
            .collect();
        let warnings = warnings(&sources, &lines);
        Status {
            schema: SCHEMA.to_owned(),
            verdict: verdict(&sources, &lines, &warnings),
            site: BoxStatus {
                up_s: now_us.saturating_sub(lines.started_us) / 1_000_000,
                ..lines.site.clone()
            },
            store: lines.store.clone(),
            uplink: UplinkStatus {
                since_s: lines.uplink_since_us.map(|at| seconds(now_us, at)),
                ..lines.uplink.clone()
            },
            clock: clock_status(now, lines.gateway_ahead_us),
            certificate: certificate_status(now, &lines),
            latency: [
                ("captured_to_stored", &lines.captured_to_stored),
                ("sent_to_filed", &lines.sent_to_filed),
            ]
            .into_iter()
            .filter_map(|(name, latencies)| Some((name.to_owned(), latencies.facts()?)))
            .collect(),
            sources,
            warnings,
        }
    }
}

fn certificate_status(now: &ClockReading, lines: &Lines) -> CertificateStatus {
    let left = |until_us: i64| until_us.saturating_sub(now.utc.0) / 1_000_000;
    CertificateStatus {
        left_s: lines.certificate_until_us.map(left),
        code: lines.renewal_code.clone(),
    }
}

fn clock_status(now: &ClockReading, gateway_ahead_us: Option<i64>) -> ClockStatus {
    let error_us = match now.quality {
        ClockQuality::Unsynchronised => None,
        ClockQuality::Synchronised { error_us } => Some(error_us),
    };
    ClockStatus {
        synchronised: error_us.is_some(),
        error_ms: error_us.map(|us| seconds(us, 0) * 1000.0),
        gateway_ahead_ms: gateway_ahead_us.map(|us| {
            let size = seconds(us.unsigned_abs(), 0) * 1000.0;
            if us < 0 { -size } else { size }
        }),
    }
}

fn verdict(sources: &[SourceStatus], lines: &Lines, warnings: &[Warning]) -> Verdict {
    let streaming =
        |source: &SourceStatus| matches!(source.state, LinkState::Streaming | LinkState::Fetching);
    if lines.store.code.is_some() {
        Verdict::Failing
    } else if !warnings.is_empty() {
        Verdict::Degraded
    } else if sources.iter().any(streaming) {
        Verdict::Capturing
    } else {
        Verdict::Idle
    }
}

fn warnings(sources: &[SourceStatus], lines: &Lines) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, text: String| {
        warnings.push(Warning {
            code: code.to_owned(),
            text,
        });
    };
    if let Some(code) = &lines.store.code {
        warn(code, "the outbox does not keep what is captured".to_owned());
    }
    if !matches!(lines.store.level.as_str(), "" | "ample") {
        let used = lines.store.bytes.saturating_mul(100) / lines.store.cap_bytes.max(1);
        let text = format!("the outbox is {used} % full: {}", lines.store.level);
        warn("outbox.space", text);
    }
    if let Some(code) = &lines.renewal_code {
        warn(code, "the certificate could not be renewed".to_owned());
    }
    for source in sources {
        match (&source.code, &source.quality) {
            (Some(code), _) => warn(code, format!("{}: {}", source.name, source.state.word())),
            (None, Some(quality)) if quality.verdict == "insufficient" => {
                let text = match (&quality.electrode_iec, quality.causes.first()) {
                    (Some(electrode), _) => format!("{}: electrode {electrode} off", source.name),
                    (None, Some(cause)) => format!("{}: signal insufficient, {cause}", source.name),
                    (None, None) => format!("{}: signal insufficient", source.name),
                };
                warn("quality.insufficient", text);
            }
            _ => {}
        }
    }
    warnings
}

/// Seconds from `earlier` to `later`, never negative.
fn seconds(later_us: u64, earlier_us: u64) -> f64 {
    std::time::Duration::from_micros(later_us.saturating_sub(earlier_us)).as_secs_f64()
}

#[cfg(test)]
mod tests;
