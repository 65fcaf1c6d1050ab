//! A box that fetches all that a device keeps, over links that break.

use std::collections::BTreeSet;

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;

use super::{Kept, KeptError, KeptLabel, KeptSession, KeptState};
use crate::decoder::Aside;
use crate::gatt::{GattAction, GattPeripheral, Notification};

/// What happens to a notification on its way, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Twice,
    /// One bit of it is another.
    Damaged(usize),
    /// The link breaks with it, the device stays on.
    Break,
    /// The device is switched off and on.
    Reboot,
}

/// A box.
pub(crate) struct Fetching<'a> {
    pub(crate) session: &'a mut dyn KeptSession,
    pub(crate) device: &'a mut dyn GattPeripheral,
    /// What was stored, in order.
    pub(crate) stored: Vec<Kept>,
    pub(crate) asides: Vec<Aside>,
    pub(crate) given_up: Vec<KeptError>,
    known: BTreeSet<KeptLabel>,
    micros: u64,
    told: usize,
}

pub(crate) fn reading(micros: u64) -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([1; 16]),
            micros,
        },
        utc: UtcMicros(1_767_225_600_000_000),
        quality: ClockQuality::Synchronised { error_us: 1 },
    }
}

impl<'a> Fetching<'a> {
    pub(crate) fn new(
        session: &'a mut dyn KeptSession,
        device: &'a mut dyn GattPeripheral,
    ) -> Self {
        Self {
            session,
            device,
            stored: Vec::new(),
            asides: Vec::new(),
            given_up: Vec::new(),
            known: BTreeSet::new(),
            micros: 0,
            told: 0,
        }
    }

    /// Goes on until the session is done or has failed so often, or too many values were
    /// told.
    pub(crate) fn run(&mut self, mut fate: impl FnMut(usize) -> Fate, failures: usize) {
        let (mut failed, mut actions) = (0, self.session.start(reading(0)));
        for _ in 0..200_000 {
            self.micros += 1000;
            if let Some(link_ends) = self.carry(&mut actions, &mut fate) {
                if link_ends == Fate::Reboot {
                    self.device.power_cycle();
                }
                self.device.disconnect();
                actions = self.session.start(reading(self.micros));
                continue;
            }
            self.given_up.extend(self.session.given_up());
            let now = reading(self.micros).box_instant;
            match self.session.state().clone() {
                KeptState::Done => return,
                KeptState::Failed(_) => {
                    failed += 1;
                    if failed >= failures {
                        return;
                    }
                    self.device.disconnect();
                    actions = self.session.start(reading(self.micros));
                }
                KeptState::Offering(label) if self.known.contains(&label) => {
                    actions = self.session.stored(now);
                }
                KeptState::Offering(_) => actions = self.session.want(now),
                KeptState::Holding(label) => {
                    self.stored.extend(self.session.take());
                    self.known.insert(label);
                    actions = self.session.stored(now);
                }
                KeptState::Idle | KeptState::Running => {
                    self.micros += 500_000;
                    actions = self.session.on_tick(reading(self.micros).box_instant);
                }
            }
        }
        panic!("it does not end: {:?}", self.session.state());
    }

    /// Carries actions and values to and fro until both sides are quiet or the link ends.
    fn carry(
        &mut self,
        actions: &mut Vec<GattAction>,
        fate: &mut impl FnMut(usize) -> Fate,
    ) -> Option<Fate> {
        let now = reading(self.micros).box_instant;
        while !actions.is_empty() {
            let mut sent: Vec<Notification> = Vec::new();
            for action in std::mem::take(actions) {
                self.device.obey(action, &mut sent);
            }
            for Notification { from, mut value } in sent {
                self.told += 1;
                let times = match fate(self.told) {
                    Fate::Arrives => 1,
                    Fate::Lost => 0,
                    Fate::Twice => 2,
                    Fate::Damaged(at) => {
                        let at = at % value.len().max(1);
                        if let Some(byte) = value.get_mut(at) {
                            *byte ^= 0x10;
                        }
                        1
                    }
                    end => return Some(end),
                };
                for _ in 0..times {
                    let more = self.session.on_value(from, &value, now, &mut self.asides);
                    actions.extend(more);
                }
            }
        }
        None
    }
}
