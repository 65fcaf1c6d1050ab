//! Who is killed when, as it follows from a seed.

use crate::chance::{Chance, Deck};

/// Shortest and longest time until what was killed is started again, in milliseconds.
const LASTS_MS: (u64, u64) = (0, 1_500);
/// Shortest and longest time until the next kill, in milliseconds.
const PAUSE_MS: (u64, u64) = (500, 4_000);

/// Who is killed at once (SIGKILL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Box,
    Gateway,
    Gateways,
    Broker,
    Server,
    BoxAndGateway,
    BoxAndBroker,
    GatewayAndBroker,
    GatewayAndServer,
    BrokerAndServer,
    Everything,
}

impl Kind {
    /// Every kind, in the order of the table.
    pub(super) const ALL: [Self; 11] = [
        Self::Box,
        Self::Gateway,
        Self::Gateways,
        Self::Broker,
        Self::Server,
        Self::BoxAndGateway,
        Self::BoxAndBroker,
        Self::GatewayAndBroker,
        Self::GatewayAndServer,
        Self::BrokerAndServer,
        Self::Everything,
    ];

    /// What a person calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Box => "a box",
            Self::Gateway => "a gateway",
            Self::Gateways => "all gateways",
            Self::Broker => "the broker",
            Self::Server => "the database server",
            Self::BoxAndGateway => "a box and a gateway",
            Self::BoxAndBroker => "a box and the broker",
            Self::GatewayAndBroker => "a gateway and the broker",
            Self::GatewayAndServer => "a gateway and the database server",
            Self::BrokerAndServer => "the broker and the database server",
            Self::Everything => "everything",
        }
    }

    /// Whether one box is killed.
    pub(super) const fn has_box(self) -> bool {
        matches!(self, Self::Box | Self::BoxAndGateway | Self::BoxAndBroker)
    }

    /// Whether one gateway is killed.
    pub(super) const fn has_gateway(self) -> bool {
        matches!(
            self,
            Self::Gateway | Self::BoxAndGateway | Self::GatewayAndBroker | Self::GatewayAndServer
        )
    }

    /// Whether the broker is killed.
    pub(super) const fn has_broker(self) -> bool {
        matches!(
            self,
            Self::Broker
                | Self::BoxAndBroker
                | Self::GatewayAndBroker
                | Self::BrokerAndServer
                | Self::Everything
        )
    }

    /// Whether the database server is killed.
    pub(super) const fn has_server(self) -> bool {
        matches!(
            self,
            Self::Server | Self::GatewayAndServer | Self::BrokerAndServer | Self::Everything
        )
    }
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// Who.
    pub(super) kind: Kind,
    /// Which box and which gateway, where one of several is meant; any number.
    pub(super) whom: [u64; 2],
    /// Milliseconds until they are started again.
    pub(super) lasts_ms: u64,
    /// Milliseconds after that until the next.
    pub(super) pause_ms: u64,
}

/// Kills without end; every kind comes before one comes again.
pub(super) struct Plan {
    deck: Deck<Kind>,
    chance: Chance,
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            deck: Deck::of(Kind::ALL.to_vec()),
            chance: Chance::new(seed),
        }
    }
}

impl Iterator for Plan {
    type Item = Strike;

    fn next(&mut self) -> Option<Strike> {
        Some(Strike {
            kind: self.deck.draw(&mut self.chance)?,
            whom: [(); 2].map(|()| self.chance.below(1 << 16)),
            lasts_ms: self.chance.between(LASTS_MS),
            pause_ms: self.chance.between(PAUSE_MS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Plan};
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_follows_from_its_seed_and_leaves_no_kind_out() {
        let plan = |seed| Plan::new(seed).take(22).collect::<Vec<_>>();
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        for round in plan(3).chunks_exact(Kind::ALL.len()) {
            let kinds: BTreeSet<Kind> = round.iter().map(|strike| strike.kind).collect();
            assert_eq!(kinds.len(), Kind::ALL.len());
        }
    }

    #[test]
    fn every_kind_kills_somebody_and_only_whom_its_name_says() {
        for kind in Kind::ALL {
            let name = kind.name();
            let all = kind == Kind::Everything;
            assert_eq!(kind.has_box(), name.contains("a box"), "{name}");
            assert_eq!(kind.has_gateway(), name.contains("a gateway"), "{name}");
            assert_eq!(kind.has_broker(), all || name.contains("broker"), "{name}");
            assert_eq!(kind.has_server(), all || name.contains("server"), "{name}");
        }
    }
}
