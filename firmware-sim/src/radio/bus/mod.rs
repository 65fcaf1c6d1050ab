//! A D-Bus bus in process, for one service: just enough of one for a client of BlueZ; and a
//! client of a bus that others run, for a sensor on a real adapter.
//!
//! Deliberately absent: policies, activation, file descriptors, other services. The bus and
//! the service are one program because what clients trip over lies between the two: a service
//! that leaves and returns without a word, a bus that goes away under a running client.

mod auth;
mod client;
mod hub;
mod message;
mod rule;
mod value;

pub(crate) use auth::authenticate;
pub(crate) use client::{Client, ClientError, read_message, system_bus};
pub(crate) use hub::{BUS, ClientId, Hub, SERVICE, unique_name};
pub(crate) use message::{Kind, Message};
pub(crate) use value::Value;
