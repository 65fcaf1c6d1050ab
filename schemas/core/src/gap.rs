//! Known absence of signal: a value with a place, a length and a cause.
//!
//! Nothing draws, averages or counts across a gap.

use crate::index::{SampleCount, SampleIndex};

/// Why samples are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum GapCause {
    /// The device's counter or time stamp jumped: frames were lost on the way.
    FramesLost = 1,
    /// Fewer samples came than the device's rate and the elapsed time demand.
    FewerThanTime = 2,
    /// The sensor was away: unplugged, disconnected or silent.
    SourceLost = 3,
    /// The box was not running.
    BoxStopped = 4,
    /// Samples were captured but could not be stored.
    NotStored = 5,
    /// The source itself marks the stretch as absent (a discontinuous file, a lead-off value).
    AbsentInSource = 6,
}

impl GapCause {
    /// All causes.
    pub const ALL: [Self; 6] = [
        Self::FramesLost,
        Self::FewerThanTime,
        Self::SourceLost,
        Self::BoxStopped,
        Self::NotStored,
        Self::AbsentInSource,
    ];

    /// Stable name in logs, JSON and the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FramesLost => "frames-lost",
            Self::FewerThanTime => "fewer-than-time",
            Self::SourceLost => "source-lost",
            Self::BoxStopped => "box-stopped",
            Self::NotStored => "not-stored",
            Self::AbsentInSource => "absent-in-source",
        }
    }

    /// The cause of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

/// A known absence of samples on a time line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The instant of the first missing sample.
    pub from: SampleIndex,
    /// How many samples are missing.
    pub len: SampleCount,
    /// How far `len` may be wrong: zero when a counter proves it.
    pub uncertainty: SampleCount,
    /// Why they are missing.
    pub cause: GapCause,
}

impl Gap {
    /// The instant just after the gap.
    pub const fn end(&self) -> SampleIndex {
        self.from.after(self.len)
    }
}
