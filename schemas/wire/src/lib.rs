//! Bytes between the box and the gateway: records, frames, acknowledgements, topics.
//!
//! Both ends must agree on every byte here, so everything has exactly one encoding
//! (canonical CBOR, described in `schemas/cddl`) and decoders refuse any other. Deliberately
//! absent: sockets, MQTT packets, storage, clocks, and any meaning beyond the words of
//! `cardio-core`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`record`] | what is told: segments, gaps, assessments, box events, as plaintext |
//! | [`envelope`] | a record sealed to the gateway and signed by the box: a frame |
//! | [`chain`] | walking the frames of a chain |
//! | [`message`] | hello, acknowledgement, command and state, signed |
//! | [`enrol`] | how a new box and its gateway come to know each other |
//! | [`topic`] | where each of them is published |
//! | [`visits`] | the visits of a day, sealed to a box |
//! | [`keys`] | signing keys and recipient keys |
//! | [`link`] | which frame goes next, as a state machine without IO |
//! | [`intake`] | what becomes of a frame at the gateway, and what is acknowledged when |
//! | [`lane`] | lanes, chains and the identity of a frame |
//! | [`cbor`] | strict CBOR: one encoding per value |

pub mod cbor;
pub mod chain;
mod cose;
pub mod enrol;
pub mod envelope;
pub mod intake;
pub mod keys;
pub mod lane;
pub mod link;
pub mod message;
pub mod record;
mod sealing;
pub mod topic;
pub mod visits;

/// The largest frame or message that either end accepts, in bytes. An MQTT packet is held to
/// the same size, which is why [`MAX_CARRIER_BYTES`] leaves room for topic and properties.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;

/// The largest frame that carries another one, in bytes.
pub const MAX_CARRIER_BYTES: usize = MAX_FRAME_BYTES - 512;

/// The largest frame that a box makes of a record of its own, in bytes. Each time that a frame
/// is carried in another one it grows by less than 700 bytes: the largest fits four times.
pub const MAX_SEALED_BYTES: usize = MAX_CARRIER_BYTES - 4 * 700;
