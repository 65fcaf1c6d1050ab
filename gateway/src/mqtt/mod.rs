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
mod uplink;

use std::sync::Arc;

use cardio_core::clock::Clock;

use crate::boxes::Boxes;
use crate::config::MqttConfig;
use crate::counters::Counters;
use crate::inbox::Inbox;
use crate::keys::GatewayKeys;

pub use listener::listen;

/// What every session needs.
#[derive(Clone)]
pub struct Shared {
    /// Where frames go.
    pub inbox: Inbox,
    /// Who may connect, and who is connected.
    pub boxes: Arc<Boxes>,
    /// Signs acknowledgements and commands.
    pub keys: Arc<GatewayKeys>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Limits.
    pub config: MqttConfig,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
