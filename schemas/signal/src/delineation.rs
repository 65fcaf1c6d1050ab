//! Where the waves of a beat begin and end, and the intervals that cardiologists read.
//!
//! Wavelet delineation after Martínez and others (IEEE Transactions on Biomedical
//! Engineering 51, 2004): waves show as pairs of slopes of opposite sign at the scale that
//! fits them. What is read is the median beat of a stretch of good signal, all leads aligned
//! together. Deliberately absent: limits of what is normal, and any filter that would bend
//! the ST segment; the drift between beats is taken away along straight lines.

mod marks;
mod measure;
mod median;
mod wavelet;

use cardio_core::quality::AlgorithmId;

pub use marks::{BeatMarks, Limits, delineate, delineate_with};
pub(crate) use measure::lead_marks;
pub use measure::{LeadMeasurement, Measurements, StLevel, Unmeasured, measure};
pub(crate) use median::median_beats;
pub use median::{BeatLead, MedianBeat, cut_beat};

/// Who says where waves begin and end.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "delineation",
    version: 1,
};

/// Samples per second of the beats that are looked at.
pub const WORK_HZ: f64 = 500.0;

/// Milliseconds per sample of such a beat.
pub(crate) const STEP_MS: f64 = 1_000.0 / WORK_HZ;
