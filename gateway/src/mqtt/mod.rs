//! The listener for boxes: MQTT 5 over TLS 1.3, built on the codec of `rumqttc`.
//!
//! * A connection is a box: its certificate's key names it. It may publish below its own
//!   `up/` and `state`, subscribe below its own `down/`, nothing else.
//! * PUBACK follows COMMIT, in the order of the PUBLISH packets.
//! * Nothing is kept for a client that is away: sessions end with their connection, and what
//!   boxes need to know again they learn by the answer to their hello.
//! * Malformed or forbidden input closes that one connection with a reason code and a counter.
//!
//! Deliberately absent: QoS 2, topic aliases, wildcards beyond `down/+`, shared
//! subscriptions, messages between clients. This is not a broker.

mod connect;
mod listener;
mod packet;
mod session;

pub use listener::listen;
pub(crate) use packet::PACKET_MAX_BYTES;
