//! Bluetooth Low Energy through BlueZ: values with the time of their arrival.
//!
//! - One connection of btleplug's to the bus for the whole process, and a second one of
//!   bluez-async's that hears when a link or the bus itself is lost; both are made once.
//! - One task looks for sensors and connects them, one at a time ([`Radio`]). It scans only
//!   while a sensor is missing.
//! - Each link has a task that takes every value off the bus at once, into a bounded queue.
//!   What finds no room is counted; that samples are missing, their counter or time shows.
//! - A link ends when BlueZ says so, when the daemon or the adapter is gone, or when the
//!   device does not answer: the reason is the error of the next read.
//! - The bus itself cannot be had again by a process that lost it: [`Radio::bus_lost`] says
//!   so, and the process must end and be started anew.
//!
//! Deliberately absent: what values mean (`cardio-protocol`), which sensor belongs to which
//! source ([`crate::pairings`]).

mod address;
mod bond;
mod bus;
mod error;
mod link;
mod radio;
mod seeker;
mod survey;

pub use address::{Address, AddressError};
pub use error::BleError;
pub use link::{Link, Value};
pub use radio::{Expected, Radio};
pub use survey::{Found, Sighting, Survey};
