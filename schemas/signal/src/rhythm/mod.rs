//! Rates and rhythm from beats.
//!
//! Deliberately absent: finding beats, and alert limits, which are data of a patient. A
//! statement names the beats that it rests on; "cannot tell" is a result.

mod rate;

pub use rate::{HeartRate, RATE_ALGORITHM, Undetermined, heart_rate};
