//! Rates and rhythm from beats.
//!
//! Deliberately absent: finding beats, and alert limits, which are data of a patient. A
//! statement names the beats that it rests on; "cannot tell" is a result.

mod arrest;
mod events;
mod irregular;
mod rate;
mod series;

pub use arrest::ArrestWatch;
pub use events::{EVENT_ALGORITHM, RhythmEvent, RhythmKind, RhythmTracker};
pub use irregular::{
    Beside, IRREGULARITY, WINDOW, irregularity, relative_difference, sample_entropy_coefficient,
};
pub use rate::{HeartRate, RATE_ALGORITHM, Undetermined, heart_rate};
pub use series::{Interval, IntervalKind, SERIES_ALGORITHM, Variability, series, variability};
