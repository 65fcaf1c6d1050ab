//! From the bytes of one sensor to what is kept of them, without IO and without a clock.
//!
//! ```text
//! bytes, time of arrival > Decoder > align (Timeline) > segment > Captured::Segment
//!                                                     > score   > Captured::Assessment
//! rates that a sensor tells             > rates (by arrival)      > Captured::Rates, Assessment
//! ```
//!
//! - Samples stay the integers that the sensor sent.
//! - A gap is told before the samples that follow it, and no segment or window crosses it.
//! - At most one segment and one window are held; everything else is handed on at once.
//!
//! Deliberately absent: ports, storage, sealing, and names of records. [`crate::recorder`]
//! makes records from what comes out here.

mod align;
mod rates;
mod samples;
mod score;
mod segment;
mod source;
#[cfg(test)]
mod story;

use cardio_core::acquisition::Acquisition;
use cardio_core::clock::{BoxInstant, TimeAnchor};
use cardio_core::electrode::Electrode;
use cardio_core::gap::Gap;
use cardio_core::heart_rate::ToldRate;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::sample::SampleBlock;
use cardio_wire::record::{EndReason, HeartRateFactsV1, QualityFactsV1};

use crate::recorder::Tally;

pub(crate) use source::note_identity;
pub use source::{SourceFacts, SourcePipeline, SourcePlan};

/// What comes out of the pipeline of one source, in the order in which it is to be kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Captured {
    /// An acquisition begins.
    Started(Box<Acquisition>),
    /// An acquisition that an earlier run of the agent began goes on, with what that run
    /// stored of it.
    Continued(Box<Acquisition>, Tally),
    /// Contiguous samples.
    Segment(ClosedSegment),
    /// What a heart-rate sensor told in a stretch of time.
    Rates(ClosedRates),
    /// The charge of the source's battery, from 0 to 100.
    Battery {
        /// In per cent.
        percent: u8,
    },
    /// A known absence of samples, and the nearest instant that is tied to the clock.
    Gap {
        /// The absence.
        gap: Gap,
        /// The first sample after it.
        near: Option<TimeAnchor>,
    },
    /// Quality and heart rate of a window.
    Assessment(Box<Assessment>),
    /// The acquisition ends.
    Ended {
        /// Why.
        reason: EndReason,
        /// The instant just after the last sample.
        end: SampleIndex,
        /// Frames that came twice.
        repeated_frames: u64,
    },
    /// Something happened to the source: stable code and words without identity.
    Event {
        /// Stable code.
        code: &'static str,
        /// For a person to read.
        detail: String,
    },
}

/// Contiguous samples that will be one segment record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSegment {
    /// The samples, in their place on the time line.
    pub block: SampleBlock,
    /// When the first of them was taken.
    pub anchor: TimeAnchor,
    /// When the last of them arrived.
    pub closed_at: BoxInstant,
}

/// What was told and will be one record of rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedRates {
    /// Where it begins, in 1/1024 s.
    pub first: SampleIndex,
    /// How long it is, in 1/1024 s.
    pub len: SampleCount,
    /// When its first instant was.
    pub anchor: TimeAnchor,
    /// What was told, and how long after `first` it came.
    pub told: Vec<(SampleCount, ToldRate)>,
    /// When the last of it arrived.
    pub closed_at: BoxInstant,
}

/// What was found in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// When the window's first sample was taken.
    pub window_start: TimeAnchor,
    /// How good the signal is.
    pub quality: QualityFactsV1,
    /// How fast the heart beats.
    pub heart_rate: HeartRateFactsV1,
    /// The one contact that explains best what is wrong.
    pub suspect_electrode: Option<Electrode>,
}
