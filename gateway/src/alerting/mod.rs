//! Alerts: raised from what is filed, kept with everything that explains them, and brought to
//! the people on duty.
//!
//! | module | holds |
//! | --- | --- |
//! | [`judge`] | what is filed, shown to the rules; what they raise |
//! | [`rows`] | alerts and the steps of their lives, as they are stored |
//! | [`steps`] | a step of a person or of a message: acknowledged, arrived, closed |
//! | [`explain`] | why an alert was raised, from stored bytes |
//! | [`again`] | an alert made again from the bytes that are stored |
//! | [`rhythm`] | what the beats of many windows say together |
//! | [`filed`] | an alert as DetectedIssue, Communication and Task |
//! | [`standing`] | what boxes tell of themselves, shown to the technical rules |
//! | [`trial`] | rules tried on a recorded file |
//! | [`courier`] | whose turn it is, and what is to be sent |
//!
//! Deliberately absent: how a message travels, [`crate::delivery`]; the rules and whose turn it
//! is, [`cardio_alert`].

mod again;
pub(crate) mod courier;
mod explain;
mod filed;
mod judge;
mod rhythm;
mod rows;
mod standing;
mod steps;
pub mod trial;

pub(crate) use explain::explain;
pub use judge::load;
pub(crate) use judge::{BoxReading, judge, on_their_way, save, watch};
pub use rows::{ListedAlert, list};
pub(crate) use standing::{Told, tell};
pub(crate) use steps::take;
