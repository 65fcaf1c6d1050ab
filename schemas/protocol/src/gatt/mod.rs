//! Devices on Bluetooth Low Energy: values of characteristics, with boundaries kept.
//!
//! The box side is a [`GattSession`], the device side a [`GattPeripheral`]; both do no IO.
//! A device is known by service, characteristic and name together, never by one identifier
//! alone, because private firmwares reuse standard numbers. Deliberately absent: scanning,
//! connecting, pairing, time-outs of the radio.

mod profile;
mod uuid;

pub mod ble_audio;
pub mod movesense_gsp;
pub mod polar_pmd;
pub mod sig_hrs;
pub mod viatom_er1;

use cardio_core::clock::{BoxInstant, ClockReading};
use cardio_core::rate::SamplingRate;

use crate::decoder::{DecoderEvent, FrameRows};
use crate::session::SessionState;

pub use profile::{
    ALL, Advertisement, CharacteristicSpec, GattProfile, Property, ServiceSpec, SignalSpec,
    by_name, recognise,
};
pub use uuid::{Uuid, UuidError};

/// What the box is to do with a characteristic. Order matters: a device may send right
/// after a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GattAction {
    /// Subscribe to notifications or indications.
    Subscribe(Uuid),
    /// Read the value; the answer comes to [`GattSession::on_value`].
    Read(Uuid),
    /// Write a value.
    Write {
        /// Where.
        to: Uuid,
        /// What.
        value: Vec<u8>,
        /// Whether the device confirms it.
        with_response: bool,
    },
}

/// The box's side of one connection, from service discovery on.
pub trait GattSession: Send {
    /// Asks for a rate of the profile's ([`SignalSpec::rates_hz`]) instead of its usual one, before
    /// [`Self::start`]. Nothing to do for a device that has one rate.
    fn ask_for_rate(&mut self, _rate_hz: u32) {}

    /// Tells the time of day as the box has it, before [`Self::start`]. Nothing to do for a device
    /// without a clock that can be set.
    fn tell_time(&mut self, _now: ClockReading) {}

    /// Begins: brings a device of unknown state to streaming.
    fn start(&mut self, now: BoxInstant) -> Vec<GattAction>;

    /// Takes a notified, indicated or read value. What it holds goes to `out`.
    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction>;

    /// Lets time pass.
    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction>;

    /// Ends: the device shall be quiet and may save its battery.
    fn stop(&mut self) -> Vec<GattAction>;

    /// Where the conversation stands.
    fn state(&self) -> SessionState;

    /// When the command went out without which nothing of the present stream would have been
    /// taken. `None` where the device may have streamed before it was asked.
    fn asked_at(&self) -> Option<BoxInstant> {
        None
    }

    /// Samples per second, once the device has stated another rate than its profile's.
    fn rate(&self) -> Option<SamplingRate> {
        None
    }
}

/// A value that a device sends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The characteristic.
    pub from: Uuid,
    /// The value.
    pub value: Vec<u8>,
}

/// The device's side.
pub trait GattPeripheral: Send {
    /// The value of a characteristic that can be read.
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>>;

    /// Takes a written value and appends what it sends in answer.
    fn write(&mut self, to: Uuid, value: &[u8], out: &mut Vec<Notification>);

    /// Somebody subscribed, or no longer does.
    fn subscribe(&mut self, to: Uuid, on: bool);

    /// Does what the box asks for, and appends what it sends in answer.
    fn obey(&mut self, action: GattAction, out: &mut Vec<Notification>) {
        match action {
            GattAction::Subscribe(to) => self.subscribe(to, true),
            GattAction::Write { to, value, .. } => self.write(to, &value, out),
            GattAction::Read(from) => {
                let value = self.read(from);
                out.extend(value.map(|value| Notification { from, value }));
            }
        }
    }

    /// Whether samples are to be sent.
    fn is_streaming(&self) -> bool;

    /// Sends one frame of samples.
    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<Notification>);

    /// Lets frames that were made but never sent count.
    fn skip(&mut self, frames: u64);

    /// It samples at this rate of its profile's. Nothing to do for a device that has one rate.
    fn set_rate(&mut self, _rate_hz: u32) {}

    /// The link has this MTU from now on. Nothing to do for a device whose values are short.
    fn set_mtu(&mut self, _mtu: u16) {}

    /// The device's clock jumps by milliseconds. Nothing to do for a device without one.
    fn shift_clock(&mut self, _by_ms: i64) {}

    /// It is put on the skin or taken off. Nothing to do for a device that cannot tell.
    fn set_contact(&mut self, _on: bool) {}

    /// The charge of its battery, in percent. Nothing to do for a device that has no word for it
    /// beside the Battery Service.
    fn set_battery(&mut self, _percent: u8) {}

    /// Samples of each lead that wait until they are asked for; `None` for a device that sends
    /// them by itself.
    fn waiting(&self) -> Option<usize> {
        None
    }

    /// Answers a command with the device's own refusal; `false` for one that leaves that to the
    /// radio.
    fn refuse(&mut self, _to: Uuid, _value: &[u8], _out: &mut Vec<Notification>) -> bool {
        false
    }

    /// Puts a recording into its memory, as if it had made it before, and says what it is called
    /// there; `None` for a device that keeps none.
    fn keep(&mut self, _counts: &[i32]) -> Option<String> {
        None
    }

    /// The link is lost: subscriptions end, streams go on or not as the device does it.
    fn disconnect(&mut self);

    /// The device is switched off and on.
    fn power_cycle(&mut self);
}

#[cfg(test)]
pub(crate) mod test_support {
    use super::{GattAction, GattPeripheral, GattSession, Notification};
    use crate::decoder::DecoderEvent;
    use cardio_core::clock::BoxInstant;

    /// Carries actions and values to and fro until both sides are quiet.
    pub(crate) fn converse(
        session: &mut dyn GattSession,
        device: &mut dyn GattPeripheral,
        mut actions: Vec<GattAction>,
        now: BoxInstant,
    ) -> Vec<DecoderEvent> {
        let mut events = Vec::new();
        while !actions.is_empty() {
            let mut sent: Vec<Notification> = Vec::new();
            for action in std::mem::take(&mut actions) {
                device.obey(action, &mut sent);
            }
            for value in sent {
                actions.extend(session.on_value(value.from, &value.value, now, &mut events));
            }
        }
        events
    }
}
