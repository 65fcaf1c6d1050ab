//! The receiving end: inbox, acknowledgements, patient record, alerts.
//!
//! A frame's way: [`mqtt`] takes it from an authenticated box, or [`broker`] from a broker that
//! boxes connect to; `conversation` checks its signature,
//! [`inbox`] makes it durable and the conversation says so, [`filing`] opens it and writes the
//! [`record`], [`alerting`] shows what it holds to the rules, [`http`] lets others read.
//!
//! Deliberately absent: anything that a box does, bytes of frames and records (`cardio-wire`),
//! the shape of FHIR resources (`cardio-fhir`), the rules themselves (`cardio-alert`).
//!
//! | module | holds |
//! | --- | --- |
//! | [`mqtt`], [`tls`], [`boxes`] | the listener for boxes, who may connect, who is connected |
//! | [`broker`], `conversation` | the inlet from an external broker, and what both inlets share |
//! | [`inbox`] | frames as they came, how far each lane is stored |
//! | [`filing`], [`alerting`] | from frames to records, resources and alerts |
//! | `delivery` | messages about alerts to people |
//! | [`record`], [`http`] | resources with versions, searched and served as FHIR R4 |
//! | `indicators`, [`bulk`] | figures of the team, the record for a data warehouse |
//! | [`access`] | who may use the record, and for what |
//! | [`identity`] | exams filed for the wrong patient, patients filed twice |
//! | [`upload`] | recordings that come as files |
//! | [`keys`], [`enrol`] | the gateway's own keys, and what a new box is given |
//! | [`orders`], `worklist` | what boxes are told to do, and the visits of the day |
//! | [`chain`] | the proof that what is stored is whole |
//! | [`gateway`], [`control`], [`config`] | the program as a whole, and its operator |
//! | [`hygiene`] | no core dumps, no files for others |
//! | [`db`], `follow` | SQLite or PostgreSQL, and what other programs changed there |
//! | [`clock`], [`counters`] | the clocks, what is counted |

pub mod access;
pub mod alerting;
pub mod backup;
pub mod boxes;
pub mod broker;
pub mod bulk;
pub mod chain;
pub mod clock;
pub mod config;
pub mod control;
mod conversation;
pub mod counters;
pub mod db;
mod delivery;
pub mod enrol;
pub mod filing;
mod follow;
pub mod gateway;
pub mod http;
pub mod hygiene;
pub mod identity;
pub mod inbox;
mod indicators;
pub mod keys;
pub mod mqtt;
mod mssante;
pub mod orders;
mod outgoing;
mod push;
pub mod record;
pub mod restore;
mod rounds;
mod signing;
pub mod tls;
pub mod upload;
mod worklist;
