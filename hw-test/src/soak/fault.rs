//! What can go wrong, and a plan of it that follows from a seed.

use crate::chance::{Chance, Deck};

/// Shortest and longest time that a fault lasts, in milliseconds.
const LASTS_MS: (u64, u64) = (100, 1_200);

/// Shortest and longest time from a fault's end to the next, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 1_500);

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// SIGKILL.
    KillBox,
    /// SIGKILL.
    KillGateway,
    /// SIGKILL, both at once.
    KillBoth,
    /// The box's card is put back to what was on the device when its power went.
    PowerBox,
    /// The same for the gateway's disk.
    PowerGateway,
    /// Both at once.
    PowerBoth,
    /// ENOSPC for the box.
    FullBox,
    /// ENOSPC for the gateway.
    FullGateway,
    /// EIO at every access of the box's card, then a restart.
    DeadCardBox,
    /// EIO at every access of the gateway's disk, then a restart.
    DeadDiskGateway,
    /// EIO at writing blocks of both, then a restart.
    WriteErrors,
    /// Bits of the box's database change while the box is off.
    FlipStopped,
    /// Bits of the box's database change while the box works.
    FlipRunning,
    /// The gateway's state of some time ago is put back.
    OldBackup,
    /// Everything takes long.
    Delay,
    /// 30 kbit/s.
    Throttle,
    /// What is sent vanishes; the connection looks alive.
    HalfOpen,
    /// Nothing passes, and then all of it.
    Hold,
    /// Connections are reset.
    Reset,
    /// Nobody can connect.
    Refuse,
    /// What an old connection sent arrives after what the new one sent.
    Reorder,
    /// Bits change on the way.
    Corrupt,
    /// The box's wall clock jumps.
    ClockJump,
}

impl Kind {
    /// Every kind, in the order of the table.
    pub(crate) const ALL: [Self; 23] = [
        Self::KillBox,
        Self::KillGateway,
        Self::KillBoth,
        Self::PowerBox,
        Self::PowerGateway,
        Self::PowerBoth,
        Self::FullBox,
        Self::FullGateway,
        Self::DeadCardBox,
        Self::DeadDiskGateway,
        Self::WriteErrors,
        Self::FlipStopped,
        Self::FlipRunning,
        Self::OldBackup,
        Self::Delay,
        Self::Throttle,
        Self::HalfOpen,
        Self::Hold,
        Self::Reset,
        Self::Refuse,
        Self::Reorder,
        Self::Corrupt,
        Self::ClockJump,
    ];

    /// What a person calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillBox => "box killed (SIGKILL)",
            Self::KillGateway => "gateway killed (SIGKILL)",
            Self::KillBoth => "box and gateway killed",
            Self::PowerBox => "power cut of the box",
            Self::PowerGateway => "power cut of the gateway",
            Self::PowerBoth => "power cut of both",
            Self::FullBox => "box's card full (ENOSPC)",
            Self::FullGateway => "gateway's disk full (ENOSPC)",
            Self::DeadCardBox => "box's card dead (EIO)",
            Self::DeadDiskGateway => "gateway's disk dead (EIO)",
            Self::WriteErrors => "write errors of both (EIO)",
            Self::FlipStopped => "bit flips, box off",
            Self::FlipRunning => "bit flips, box working",
            Self::OldBackup => "gateway from an old backup",
            Self::Delay => "network slow to answer",
            Self::Throttle => "network of 30 kbit/s",
            Self::HalfOpen => "network half open",
            Self::Hold => "network stands still",
            Self::Reset => "connections reset",
            Self::Refuse => "connections refused",
            Self::Reorder => "connections out of order",
            Self::Corrupt => "bits changed on the way",
            Self::ClockJump => "jumps of the box's wall clock",
        }
    }

    /// Whether it needs cards that can fail.
    pub(crate) const fn needs_cards(self) -> bool {
        matches!(
            self,
            Self::PowerBox
                | Self::PowerGateway
                | Self::PowerBoth
                | Self::FullBox
                | Self::FullGateway
                | Self::DeadCardBox
                | Self::DeadDiskGateway
                | Self::WriteErrors
                | Self::OldBackup
        )
    }

    /// Whether it is the network that fails, for as long as it is not set right.
    const fn is_weather(self) -> bool {
        matches!(
            self,
            Self::Delay
                | Self::Throttle
                | Self::HalfOpen
                | Self::Hold
                | Self::Refuse
                | Self::Corrupt
        )
    }

    /// Whether it destroys what was saved, which must then be named.
    pub(crate) const fn destroys(self) -> bool {
        matches!(self, Self::FlipStopped | Self::FlipRunning)
    }
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What happens.
    pub(crate) kind: Kind,
    /// How long.
    pub(crate) lasts_ms: u64,
    /// How long until the next.
    pub(crate) pause_ms: u64,
    /// Where the fault's own chance starts.
    pub(crate) seed: u64,
}

impl Fault {
    /// Whether it lasts into the next fault, so that two things are wrong at once.
    pub(crate) const fn lingers(&self) -> bool {
        self.kind.is_weather() && self.seed.is_multiple_of(2)
    }
}

/// An endless plan: every kind once in an order by chance, then again in another order.
pub(crate) struct Plan {
    deck: Deck<Kind>,
    chance: Chance,
}

impl Plan {
    /// A plan of `kinds` that follows from `seed`.
    pub(crate) const fn new(kinds: Vec<Kind>, seed: u64) -> Self {
        Self {
            deck: Deck::of(kinds),
            chance: Chance::new(seed),
        }
    }
}

impl Iterator for Plan {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        Some(Fault {
            kind: self.deck.draw(&mut self.chance)?,
            lasts_ms: self.chance.between(LASTS_MS),
            pause_ms: self.chance.between(PAUSE_MS),
            seed: self.chance.below(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Kind, Plan};
    use std::collections::BTreeSet;

    fn plan(seed: u64) -> Vec<Fault> {
        Plan::new(Kind::ALL.to_vec(), seed).take(66).collect()
    }

    #[test]
    fn a_plan_follows_from_its_seed() {
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn every_kind_comes_before_one_comes_again() {
        for round in plan(3).chunks_exact(Kind::ALL.len()) {
            let kinds: BTreeSet<Kind> = round.iter().map(|fault| fault.kind).collect();
            assert_eq!(kinds.len(), Kind::ALL.len());
        }
    }

    #[test]
    fn only_weather_lingers_and_not_always() {
        let plan = plan(5);
        let (lingering, passing): (Vec<&Fault>, Vec<&Fault>) =
            plan.iter().partition(|fault| fault.lingers());
        assert!(lingering.iter().all(|fault| fault.kind.is_weather()));
        assert!(!lingering.is_empty());
        assert!(passing.iter().any(|fault| fault.kind.is_weather()));
    }

    #[test]
    fn without_kinds_nothing_happens() {
        assert_eq!(Plan::new(Vec::new(), 1).next(), None);
    }
}
