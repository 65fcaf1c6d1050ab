//! A device on Bluetooth: what a host reads, writes and subscribes to, and faults of the link.

use cardio_protocol::gatt::sig_hrs::BATTERY_LEVEL;
use cardio_protocol::gatt::{Notification, Property, Uuid};

use super::{LinkFault, Outgoing, Player};
use crate::device::{Firmware, Transport};
use crate::faults::FrameFaults;
use crate::ledger::{Entry, LinkChange};

/// The firmware refused a command, as an application of its own does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Player {
    /// The value of a characteristic.
    pub fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        match (&mut self.firmware, self.battery) {
            (Firmware::Bluetooth(_), Some(percent)) if from == BATTERY_LEVEL => Some(vec![percent]),
            (Firmware::Bluetooth(device), _) => device.read(from),
            (Firmware::Serial { .. }, _) => None,
        }
    }

    /// Takes a written value; what the device sends in answer.
    ///
    /// # Errors
    /// [`Refused`] while a fault makes the firmware refuse.
    pub fn write(
        &mut self,
        to: Uuid,
        value: &[u8],
        now_us: u64,
    ) -> Result<Vec<Notification>, Refused> {
        let i = self.position();
        let Firmware::Bluetooth(device) = &mut self.firmware else {
            return Ok(Vec::new());
        };
        let mut sent = Vec::new();
        if self.refusals > 0 {
            self.refusals -= 1;
            let answers = device.refuse(to, value, &mut sent);
            self.tell(Entry::Refused { i, t_us: now_us });
            return if answers { Ok(sent) } else { Err(Refused) };
        }
        let waiting = device.waiting();
        let is_deaf = self.stalled.is_some() || self.ended.is_some();
        if waiting.is_none() || !is_deaf {
            device.write(to, value, &mut sent);
        }
        let is_answer = device.waiting() < waiting;
        if is_answer {
            self.answer(std::mem::take(&mut sent), now_us);
        }
        self.tell(Entry::Command {
            name: "write",
            i,
            t_us: now_us,
        });
        Ok(sent)
    }

    /// A host subscribed, or no longer does.
    pub fn subscribe(&mut self, to: Uuid, on: bool) {
        if let Firmware::Bluetooth(device) = &mut self.firmware {
            device.subscribe(to, on);
        }
    }

    /// A host connected with this MTU or the MTU changed; or the link is lost.
    pub fn link(&mut self, mtu: Option<u16>, now_us: u64) {
        let Firmware::Bluetooth(device) = &mut self.firmware else {
            return;
        };
        let state = match mtu {
            Some(mtu) => {
                device.set_mtu(mtu);
                LinkChange::Opened
            }
            None => {
                device.disconnect();
                LinkChange::Closed
            }
        };
        let is_change = std::mem::replace(&mut self.linked, mtu.is_some()) != mtu.is_some();
        if is_change {
            let i = self.position();
            let t_us = now_us;
            self.tell(Entry::Link { state, i, t_us });
        }
    }

    /// Whether a host is connected.
    pub const fn is_linked(&self) -> bool {
        self.linked
    }

    /// Where the signal comes from: nothing on a line, a characteristic on Bluetooth.
    pub(super) fn stream(&self) -> Option<Option<Uuid>> {
        let Transport::Bluetooth(profile) = self.device.transport else {
            return Some(None);
        };
        let mut all = profile.services.iter().flat_map(|s| s.characteristics);
        let found = all.find(|found| found.properties == [Property::Notify])?;
        Some(Some(found.uuid))
    }

    pub(super) fn meet_link_faults(&mut self, i: u64, faults: &FrameFaults) {
        if let Some(commands) = faults.refusals {
            self.refusals = commands;
        }
        if let Some(by_ms) = faults.clock_ms {
            self.firmware.shift_clock(by_ms);
            self.tell(Entry::Clock { i, by_ms });
        }
        self.wrong_speed = faults.wrong_speed;
        if !self.is_on_air() {
            return;
        }
        let gone = faults.away || faults.unplug;
        if gone != self.away {
            self.away = gone;
            self.change(LinkFault::Away(gone));
        } else if faults.reboot {
            self.change(LinkFault::Drop);
        }
        if let Some(mtu) = faults.mtu {
            if let Firmware::Bluetooth(device) = &mut self.firmware {
                device.set_mtu(mtu);
            }
            self.change(LinkFault::Mtu(mtu));
            self.tell(Entry::Mtu { i, mtu });
        }
        if let Some(percent) = faults.battery {
            self.battery = Some(percent);
            self.firmware.set_battery(percent);
            self.out.push_back(Outgoing {
                from: Some(BATTERY_LEVEL),
                bytes: vec![percent],
                entry: None,
                change: None,
            });
            self.tell(Entry::Battery { i, percent });
        }
    }

    fn change(&mut self, change: LinkFault) {
        self.out.push_back(Outgoing {
            from: None,
            bytes: Vec::new(),
            entry: None,
            change: Some(change),
        });
    }
}
