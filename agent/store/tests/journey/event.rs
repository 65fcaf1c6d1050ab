//! What can happen between the two ends, and how often each of it is drawn.
//!
//! Deliberately absent: what it does to the world.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Produce {
        lane: u8,
        records: u8,
    },
    Publish(u8),
    /// A message arrives, or is lost, or arrives and will arrive again.
    Deliver {
        pick: u8,
        lost: bool,
        again: bool,
    },
    /// The gateway commits what has arrived.
    Commit,
    Ack(u8),
    Forge(u8),
    Replay,
    Disconnect,
    BoxCrash,
    GatewayCrash,
    GatewayBackup,
    GatewayRestored,
    Damage(u8, u8),
    CardCopied,
    CardGoesBack,
    Pass(u32),
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let lane = 0_u8..4;
    prop_oneof![
        8 => (lane.clone(), 1_u8..8).prop_map(|(lane, records)| Event::Produce { lane, records }),
        8 => (1_u8..20).prop_map(Event::Publish),
        8 => (any::<u8>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(pick, lost, again)| Event::Deliver { pick, lost, again }),
        5 => Just(Event::Commit),
        6 => lane.clone().prop_map(Event::Ack),
        1 => lane.clone().prop_map(Event::Forge),
        1 => Just(Event::Replay),
        1 => Just(Event::Disconnect),
        1 => Just(Event::BoxCrash),
        1 => Just(Event::GatewayCrash),
        1 => Just(Event::GatewayBackup),
        1 => Just(Event::GatewayRestored),
        1 => (lane, any::<u8>()).prop_map(|(lane, at)| Event::Damage(lane, at)),
        2 => Just(Event::CardCopied),
        2 => Just(Event::CardGoesBack),
        3 => (0_u32..40_000_000).prop_map(Event::Pass),
    ]
}
