//! The vocabulary of the product: one word per thing, for both ends.
//!
//! Deliberately absent: IO, clocks that tick, serialisation, byte layouts of any device,
//! file or message. Every other crate of the workspace may know this one; it knows none.
//!
//! | module | holds |
//! | --- | --- |
//! | [`lead`], [`electrode`], [`site`] | what was measured, and where on the body |
//! | [`index`], [`rate`], [`calibration`], [`units`] | counting samples, and what a count means |
//! | [`sample`], [`samples`], [`segment`], [`gap`], [`recording`] | samples in time, and their known absence |
//! | [`limb`] | the four limb leads that follow from I and II |
//! | [`acquisition`], [`subject`], [`request`], [`device`], [`ids`] | who, when, with what |
//! | [`clock`] | instants of the box, of the world, and how they are tied together |
//! | [`timeline`] | placing frames in time, losses as gaps |
//! | [`annotation`], [`rr`], [`quality`] | what was found in the signal |
//! | [`heart_rate`] | rates and intervals that a sensor tells |
//! | [`words`] | what a nurse reads of signal quality |

pub mod acquisition;
pub mod annotation;
pub mod calibration;
pub mod clock;
pub mod device;
pub mod electrode;
pub mod gap;
pub mod heart_rate;
pub mod ids;
pub mod index;
pub mod lead;
pub mod limb;
pub mod quality;
pub mod rate;
pub mod recording;
pub mod request;
pub mod rr;
pub mod sample;
pub mod samples;
pub mod segment;
pub mod site;
pub mod subject;
pub mod timeline;
pub mod units;
pub mod words;
