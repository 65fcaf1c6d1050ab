//! Files of cardiology, read and written exactly.
//!
//! Every reader gives a [`cardio_core::recording::Recording`]: the file's own integers, a
//! calibration per row, gaps as values, and what was wrong with the file. Deliberately
//! absent: resampling, filtering, rounding to physical units, the network, and the disk
//! (only [`fsource`] touches it; everything else reads through [`source::Source`]).
//!
//! | module | holds |
//! | --- | --- |
//! | [`sniff`] | which format a file is, by its content |
//! | [`read`] | any file to a recording, whole or block by block |
//! | [`source`], [`fsource`] | where bytes come from: memory, a folder |
//! | [`rows`] | samples that arrive in blocks, kept apart by gaps |
//! | [`wfdb`], [`csv`], [`edf`], [`scp`], [`ishne`], [`dicom`], [`aecg`], [`muse`], [`philips`], [`wav`], [`mfer`] | one module per format |
//! | [`sensor`] | recordings as sensors keep them in their own memory |
//! | [`write`], [`convert`] | a recording to a file of another format, and what it is called |
//! | [`parts`] | a recording as acquisitions, segment by segment |
//! | [`survey`], [`facts`] | what a recording holds, without its samples, and that in words |
//! | [`progress`] | how far a long read is, in words |
//! | [`error`] | why a file cannot be read, with format, field and offset |

pub mod aecg;
pub mod convert;
pub mod csv;
pub mod dicom;
pub mod edf;
pub mod error;
pub mod facts;
pub mod fsource;
pub mod ishne;
pub mod mfer;
pub mod muse;
pub mod parts;
pub mod philips;
pub mod progress;
pub mod read;
pub mod rows;
pub mod scp;
pub mod sensor;
pub mod sniff;
pub mod source;
pub mod survey;
pub mod wav;
pub mod wfdb;
pub mod write;

mod crc;
mod fields;
mod identity;
mod label;
mod text;
mod warnings;
mod xml;

pub use error::FormatError;
pub use read::{Done, ReadOptions, RecordingReader, open_path, read_path};
pub use sniff::{FormatId, sniff};
