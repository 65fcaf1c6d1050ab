//! The receiving end: inbox, acknowledgements, patient record, alerts.
pub mod ack;
pub mod alerting;
pub mod boxes;
pub mod clock;
pub mod config;
pub mod control;
pub mod counters;
pub mod db;
pub mod enrol;
pub mod filing;
pub mod gateway;
pub mod http;
pub mod inbox;
pub mod keys;
pub mod mqtt;
pub mod record;
pub mod tls;
