//! The truth, as JSON lines: every sample that was sent and every fault that was played.
//!
//! Sample indexes count from the first sample of the visit, on the device's own clock, and
//! go on while the device is silent, unplugged or unheard. A ledger without its `end` line
//! belongs to a simulator that was killed; all lines before are whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::scenario::FaultKind;

/// Name and version of the ledger's form.
pub const SCHEMA: &str = "sim-ledger/1";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Entry {
    /// The first line: what is played.
    Header(Box<Header>),
    /// The scenario asks for a fault that the device cannot have: it is not played.
    Omitted {
        /// The fault, as a scenario calls it.
        fault: FaultKind,
        /// Why the device cannot have it.
        why: &'static str,
    },
    /// A recording that the device holds in its memory from before the visit.
    Kept {
        /// What the device calls it.
        name: String,
        /// Counts of its first lead.
        row: Vec<i32>,
    },
    /// A frame that was sent: sample index, counter, one list of counts per lead.
    Frame {
        /// Index of the first sample.
        i: u64,
        /// The counter, if frames carry one.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u32>,
        /// Microseconds on the simulator's clock at which its last sample was taken, or at which
        /// the device was asked for it.
        t_us: u64,
        /// Counts, lead by lead.
        rows: Vec<Vec<i32>>,
    },
    /// Samples that the device took and that no readable frame carries.
    Lost {
        /// Index of the first sample.
        from: u64,
        /// How many.
        len: u64,
        /// Why.
        cause: LossCause,
    },
    /// The frame just sent was sent once more.
    Repeat {
        /// Index of its first sample.
        i: u64,
    },
    /// Frames were held back and then came at once.
    Stall {
        /// Index of the first sample that was held back.
        from: u64,
        /// How many samples.
        len: u64,
    },
    /// Bytes that belong to no frame were sent.
    Garbage {
        /// Index of the first sample of the frame that follows.
        i: u64,
        /// How many bytes.
        bytes: usize,
    },
    /// Something is wrong with the signal itself.
    Signal {
        /// `electrode-off` or `saturate`.
        kind: &'static str,
        /// The electrode in IEC letters, or the lead.
        subject: String,
        /// The leads that stay at the rail.
        leads: Vec<String>,
        /// Index of the first sample.
        from: u64,
        /// How many samples.
        len: u64,
    },
    /// The source has nothing for a wired lead; zeros were sent.
    Absent {
        /// The lead.
        lead: String,
        /// Index of the first sample.
        from: u64,
        /// How many samples.
        len: u64,
    },
    /// A mark of the source: a beat by its class, or an annotation of the recording.
    Mark {
        /// Sample index.
        i: u64,
        /// The source's code.
        code: String,
    },
    /// A command that the device understood.
    Command {
        /// Its name.
        name: &'static str,
        /// Index of the next sample.
        i: u64,
        /// Microseconds on the simulator's clock.
        t_us: u64,
    },
    /// A command that the firmware refused.
    Refused {
        /// Index of the next sample.
        i: u64,
        /// Microseconds on the simulator's clock.
        t_us: u64,
    },
    /// The device's own clock jumped.
    Clock {
        /// Index of the first sample that carries the new time.
        i: u64,
        /// How far, in milliseconds; below zero for a jump back.
        by_ms: i64,
    },
    /// The charge of the battery changed.
    Battery {
        /// Index of the next sample.
        i: u64,
        /// What is left.
        percent: u8,
    },
    /// The MTU of the link changed.
    Mtu {
        /// Index of the next sample.
        i: u64,
        /// Size of a value plus three.
        mtu: u16,
    },
    /// The link changed.
    Link {
        /// What happened.
        state: LinkChange,
        /// Index of the next sample.
        i: u64,
        /// Microseconds on the simulator's clock.
        t_us: u64,
    },
    /// The last line.
    End {
        /// Samples per lead that frames carried.
        samples: u64,
        /// Frames that were sent, repeats not counted.
        frames: u64,
        /// Index behind the last sample that the device took.
        i: u64,
        /// Why it ended.
        reason: EndReason,
    },
}

/// Why samples were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossCause {
    /// On the way.
    Drop,
    /// The frame was damaged.
    Corrupt,
    /// The frame lost its end.
    Truncate,
    /// The frame came behind the next one, whose counter says it was lost.
    Swap,
    /// The plug was out.
    Unplug,
    /// The device was told to be quiet, or had started anew.
    NotStreaming,
    /// Nobody had the port open.
    PortClosed,
    /// No host was connected, or none had subscribed.
    NotConnected,
    /// The device was out of reach.
    Disconnect,
    /// A later value was shown in its place.
    Coalesce,
    /// It was longer than the MTU lets pass.
    Mtu,
    /// Nobody read in time.
    Overrun,
    /// The port was open at another speed.
    WrongSpeed,
}

/// What happened to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkChange {
    /// Somebody opened the port, or connected.
    Opened,
    /// The port was closed, or the link was lost.
    Closed,
    /// The plug was pulled.
    Unplugged,
    /// The plug was put back.
    Plugged,
}

/// Why a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// It lasted as long as it should.
    Duration,
    /// The recording was over.
    SourceEnded,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The device's profile.
    pub device: &'static str,
    /// Maker.
    pub maker: &'static str,
    /// Model.
    pub model: &'static str,
    /// Samples per second.
    pub rate_hz: u32,
    /// Samples of each lead in one frame.
    pub samples_per_frame: usize,
    /// Number of values of the frame counter.
    pub modulus: Option<u32>,
    /// Counts per millivolt; none for what is no voltage.
    pub gain_adu_per_mv: Option<f64>,
    /// Lowest and highest count.
    pub rails: (i32, i32),
    /// Leads, in the order of the rows.
    pub leads: Vec<String>,
    /// What is wired to each row; `null` for a row that shows nothing and sends zeros.
    pub wiring: Vec<Option<String>>,
    /// Where the signal comes from.
    pub source: SourceFacts,
    /// How the source was brought to the device's rate, if it was.
    pub resampling: Option<Resampling>,
    /// Scenario: name, or file name without its folder.
    pub scenario: String,
    /// Where chance starts.
    pub seed: u64,
    /// How many times faster than life.
    pub speed: f64,
    /// How much faster than nominal the device's clock runs.
    pub clock_ppm: f64,
}

/// Where the signal comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SourceFacts {
    /// A synthetic heart.
    Synth {
        /// Mean rate at the start.
        heart_rate_bpm: f64,
    },
    /// A recording.
    Recording {
        /// The record's name in its file.
        name: String,
        /// Format.
        format: &'static str,
        /// Whether it is played again and again.
        repeat: bool,
    },
}

/// How a source was brought to the device's rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resampling {
    /// Rate of the source.
    pub from_hz: f64,
    /// Rate of the device.
    pub to_hz: f64,
    /// Method.
    pub method: &'static str,
}

/// Why a ledger cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file cannot be made.
    #[error("cannot create the ledger {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written to.
    #[error("cannot write to the ledger {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl LedgerError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Create { .. } => "ledger.create",
            Self::Write { .. } => "ledger.write",
        }
    }
}

/// A ledger being written, or none.
#[derive(Debug, Default)]
pub struct Ledger {
    file: Option<(PathBuf, BufWriter<File>)>,
    frames: u64,
    samples: u64,
}

impl Ledger {
    /// A ledger in a file, or one that only counts.
    ///
    /// # Errors
    /// [`LedgerError::Create`].
    pub fn open(path: Option<&Path>) -> Result<Self, LedgerError> {
        let file = path
            .map(|path| {
                let made = File::create(path).map_err(|source| LedgerError::Create {
                    path: path.to_owned(),
                    source,
                })?;
                Ok((path.to_owned(), BufWriter::new(made)))
            })
            .transpose()?;
        Ok(Self {
            file,
            frames: 0,
            samples: 0,
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`LedgerError::Write`].
    pub fn write(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        if let Entry::Frame { rows, .. } = entry {
            self.frames = self.frames.saturating_add(1);
            let samples = rows.first().map_or(0, Vec::len);
            self.samples = self
                .samples
                .saturating_add(u64::try_from(samples).unwrap_or(0));
        }
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        serde_json::to_writer(&mut *file, entry)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|source| LedgerError::Write {
                path: path.clone(),
                source,
            })
    }

    /// Hands all lines to the system.
    ///
    /// # Errors
    /// [`LedgerError::Write`].
    pub fn flush(&mut self) -> Result<(), LedgerError> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        file.flush().map_err(|source| LedgerError::Write {
            path: path.clone(),
            source,
        })
    }

    /// Frames and samples per lead so far.
    pub const fn sent(&self) -> (u64, u64) {
        (self.frames, self.samples)
    }
}
