//! How good a signal is, who says so, and what to fix first.
//!
//! Deliberately absent: the words that a nurse reads; causes are codes here.

mod ecg;
mod limbs;
mod second;
mod strip;
mod verdict;

pub use ecg::{ALGORITHM, EcgQuality, LeadSpec, QualityConfig};
pub use strip::{over_windows, unacceptable};
pub use verdict::FEATURES;
