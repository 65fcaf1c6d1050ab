//! A D-Bus bus in process, for one service: just enough of one for a client of BlueZ.
//!
//! Deliberately absent: policies, activation, file descriptors, other services. The bus and
//! the service are one program because what clients trip over lies between the two: a service
//! that leaves and returns without a word, a bus that goes away under a running client.

mod auth;
mod hub;
mod message;
mod rule;
mod value;

pub(crate) use auth::authenticate;
pub(crate) use hub::{BUS, ClientId, Hub, SERVICE, unique_name};
pub(crate) use message::{Kind, MESSAGE_MAX, Message, PREAMBLE};
pub(crate) use value::Value;
