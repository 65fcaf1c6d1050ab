//! The device's side of a heart-rate strap.

use crate::decoder::FrameRows;
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::{
    BATTERY_LEVEL, HeartRateMeasurement, MEASUREMENT, RrInterval, SYSTEM_ID, SensorContact,
};

/// A strap that sends what it is told of each beat.
#[derive(Clone, Debug)]
pub struct HrsPeripheral {
    subscribed: bool,
    battery: u8,
    contact: SensorContact,
}

impl Default for HrsPeripheral {
    fn default() -> Self {
        Self {
            subscribed: false,
            battery: 90,
            contact: SensorContact::On,
        }
    }
}

impl HrsPeripheral {
    /// Sets the charge of the battery, in percent.
    pub fn set_battery(&mut self, percent: u8) {
        self.battery = percent.min(100);
    }

    /// The strap is taken off or put on.
    pub const fn set_contact(&mut self, contact: SensorContact) {
        self.contact = contact;
    }

    /// Sends the beats of about a second.
    pub fn measure(&mut self, bpm: u16, rr: &[RrInterval], out: &mut Vec<Notification>) {
        if self.subscribed {
            let value = HeartRateMeasurement {
                bpm,
                contact: self.contact,
                energy_kj: None,
                rr: rr.to_vec(),
            }
            .encode();
            out.push(Notification {
                from: MEASUREMENT,
                value,
            });
        }
    }
}

/// What the simulated devices answer in the Device Information service.
pub(crate) fn read_information(from: Uuid, maker: &str, model: &str) -> Option<Vec<u8>> {
    if from == SYSTEM_ID {
        return Some(vec![1, 0, 0, 0xFE, 0xFF, 0xD0, 0x22, 0xA0]);
    }
    let text = match from.as_short()? {
        0x2A29 => maker,
        0x2A24 => model,
        0x2A25 => "SIM00001",
        0x2A27 => "1",
        0x2A26 => "0.0.1",
        0x2A28 => "sim",
        _ => return None,
    };
    Some(text.as_bytes().to_vec())
}

impl GattPeripheral for HrsPeripheral {
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        if from == BATTERY_LEVEL {
            return Some(vec![self.battery]);
        }
        read_information(from, "Simulated", "Strap")
    }

    fn write(&mut self, _: Uuid, _: &[u8], _: &mut Vec<Notification>) {}

    fn subscribe(&mut self, to: Uuid, on: bool) {
        if to == MEASUREMENT {
            self.subscribed = on;
        }
    }

    fn is_streaming(&self) -> bool {
        self.subscribed
    }

    fn frame(&mut self, _: &FrameRows, _: &mut Vec<Notification>) {}

    fn skip(&mut self, _: u64) {}

    fn disconnect(&mut self) {
        self.subscribed = false;
    }

    fn power_cycle(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{HrsPeripheral, RrInterval, SensorContact};
    use crate::decoder::{Aside, DecoderEvent};
    use crate::gatt::sig_hrs::{BATTERY_LEVEL, HrsSession, MEASUREMENT};
    use crate::gatt::{GattAction, GattPeripheral, GattSession, Uuid};
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    #[test]
    fn a_strap_is_subscribed_identified_and_heard() {
        let mut session = HrsSession::new(SessionTiming::default());
        let mut strap = HrsPeripheral::default();
        let mut events = Vec::new();
        for action in session.start(at(0)) {
            match action {
                GattAction::Subscribe(uuid) => strap.subscribe(uuid, true),
                GattAction::Read(uuid) => {
                    let value = strap.read(uuid).unwrap();
                    session.on_value(uuid, &value, at(1), &mut events);
                }
                GattAction::Write { .. } => panic!("nothing to write"),
            }
        }
        assert!(events.contains(&DecoderEvent::Aside(Aside::Battery { percent: 90 })));
        assert_eq!(events.len(), 8);
        events.clear();
        let mut sent = Vec::new();
        strap.set_contact(SensorContact::Off);
        strap.measure(72, &[RrInterval(870)], &mut sent);
        session.on_value(sent[0].from, &sent[0].value, at(2), &mut events);
        assert_eq!(session.state(), SessionState::Streaming);
        assert_eq!(
            events,
            [
                DecoderEvent::Aside(Aside::HeartRate { bpm: 72 }),
                DecoderEvent::Aside(Aside::RrTicks(vec![870])),
                DecoderEvent::Aside(Aside::Contact { on: false }),
            ]
        );
    }

    #[test]
    fn values_that_cannot_be_are_skipped_or_ignored() {
        let mut session = HrsSession::new(SessionTiming::default());
        let mut events = Vec::new();
        session.on_value(MEASUREMENT, &[], at(0), &mut events);
        session.on_value(BATTERY_LEVEL, &[101], at(0), &mut events);
        session.on_value(Uuid::short(0x1234), &[1], at(0), &mut events);
        assert_eq!(events.len(), 1);
        assert!(matches!(events[0], DecoderEvent::Skipped { bytes: 0, .. }));
    }

    #[test]
    fn a_strap_that_never_notifies_is_given_up() {
        let mut session = HrsSession::new(SessionTiming::default());
        session.start(at(0));
        for millis in (0..10_000).step_by(100) {
            session.on_tick(at(millis));
        }
        assert!(matches!(session.state(), SessionState::Failed(_)));
    }
}
