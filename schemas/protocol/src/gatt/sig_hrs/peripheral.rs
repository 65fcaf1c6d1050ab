//! The device's side of a heart-rate strap.

use cardio_core::heart_rate::{RR_UNITS_PER_S, SkinContact, ToldRate};

use crate::decoder::FrameRows;
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::{BATTERY_LEVEL, HeartRateMeasurement, MEASUREMENT, SYSTEM_ID};

/// Intervals that fit beside an 8-bit rate at the smallest MTU.
const INTERVALS_MAX: usize = 9;
/// Without a beat for so long, in 1/1024 s, a strap has no rate any more.
const RATE_LASTS: u64 = 4 * 1024;

/// A strap that sees beats and tells of them once a second.
#[derive(Clone, Debug)]
pub struct HrsPeripheral {
    subscribed: bool,
    battery: u8,
    contact: SkinContact,
    /// How long it has run, in 1/1024 s.
    ran: u64,
    last_beat: Option<u64>,
    bpm: u16,
}

impl Default for HrsPeripheral {
    fn default() -> Self {
        Self {
            subscribed: false,
            battery: 90,
            contact: SkinContact::On,
            ran: 0,
            last_beat: None,
            bpm: 0,
        }
    }
}

impl HrsPeripheral {
    /// Sets the charge of the battery, in percent.
    pub fn set_battery(&mut self, percent: u8) {
        self.battery = percent.min(100);
    }

    /// Sends what it has found in about a second.
    pub fn measure(&mut self, bpm: u16, rr: &[u16], out: &mut Vec<Notification>) {
        if !self.subscribed {
            return;
        }
        let (first, more) = rr.split_at(rr.len().min(INTERVALS_MAX));
        for part in std::iter::once(first).chain(more.chunks(INTERVALS_MAX)) {
            let value = HeartRateMeasurement {
                told: ToldRate {
                    bpm,
                    contact: self.contact,
                    rr: part.to_vec(),
                },
                energy_kj: None,
            };
            out.push(Notification {
                from: MEASUREMENT,
                value: value.encode(),
            });
        }
    }

    /// The intervals that end with the beats of a row. An interval that does not fit its field,
    /// or that began where the strap saw nothing, is none.
    fn intervals(&mut self, row: &[i32]) -> Vec<u16> {
        let mut rr = Vec::new();
        for (at, _) in (self.ran..).zip(row).filter(|(_, count)| **count != 0) {
            let before = self.last_beat.replace(at);
            let units = before.and_then(|before| u16::try_from(at.saturating_sub(before)).ok());
            rr.extend(units);
        }
        rr
    }
}

/// The rate of these intervals, rounded to the nearest.
fn rate_of(rr: &[u16]) -> Option<u16> {
    let units: u32 = rr.iter().map(|units| u32::from(*units)).sum();
    let beats = u32::try_from(rr.len()).ok()?;
    let minute = beats.checked_mul(60)?.checked_mul(RR_UNITS_PER_S)?;
    let doubled = minute.checked_mul(2)?.checked_add(units)?;
    let bpm = doubled.checked_div(units.checked_mul(2)?)?;
    Some(u16::try_from(bpm).unwrap_or(u16::MAX))
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

    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<Notification>) {
        if self.contact == SkinContact::Off {
            self.skip(1);
            return self.measure(0, &[], out);
        }
        let rr = self.intervals(rows.row(0).unwrap_or_default());
        self.ran = self.ran.saturating_add(rows.per_lead().0);
        let quiet = |beat: u64| self.ran.saturating_sub(beat) > RATE_LASTS;
        self.bpm = match rate_of(&rr) {
            Some(bpm) => bpm,
            None if self.last_beat.is_none_or(quiet) => 0,
            None => self.bpm,
        };
        self.measure(self.bpm, &rr, out);
    }

    fn skip(&mut self, frames: u64) {
        let units = frames.saturating_mul(u64::from(RR_UNITS_PER_S));
        self.ran = self.ran.saturating_add(units);
        self.last_beat = None;
    }

    fn set_contact(&mut self, on: bool) {
        self.contact = if on {
            SkinContact::On
        } else {
            SkinContact::Off
        };
    }

    fn disconnect(&mut self) {
        // what it sees without a listener is not played
        self.subscribed = false;
        self.last_beat = None;
    }

    fn power_cycle(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameRows, HrsPeripheral, INTERVALS_MAX, rate_of};
    use crate::decoder::{Aside, DecoderEvent};
    use crate::gatt::sig_hrs::{BATTERY_LEVEL, HrsSession, MEASUREMENT};
    use crate::gatt::{GattAction, GattPeripheral, GattSession, Uuid};
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::heart_rate::{SkinContact, ToldRate};
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
        strap.measure(72, &[870], &mut sent);
        session.on_value(sent[0].from, &sent[0].value, at(2), &mut events);
        assert_eq!(session.state(), SessionState::Streaming);
        assert_eq!(events, [told(72, SkinContact::On, &[870])]);
    }

    fn told(bpm: u16, contact: SkinContact, rr: &[u16]) -> DecoderEvent {
        let rr = rr.to_vec();
        DecoderEvent::Rate(ToldRate { bpm, contact, rr })
    }

    /// What a box hears of a second with beats at these places.
    fn second(strap: &mut HrsPeripheral, beats: &[usize]) -> Vec<DecoderEvent> {
        let mut row = vec![0; 1024];
        for beat in beats {
            row[*beat] = 1;
        }
        let mut sent = Vec::new();
        strap.frame(&FrameRows::planar(1024, &row), &mut sent);
        let mut session = HrsSession::new(SessionTiming::default());
        let mut events = Vec::new();
        for value in sent {
            session.on_value(value.from, &value.value, at(0), &mut events);
        }
        events
    }

    #[test]
    fn intervals_are_those_between_beats_and_never_across_what_was_not_seen() {
        let mut strap = HrsPeripheral::default();
        strap.subscribe(MEASUREMENT, true);
        assert_eq!(second(&mut strap, &[100]), [told(0, SkinContact::On, &[])]);
        let two = second(&mut strap, &[0, 900]);
        assert_eq!(two, [told(67, SkinContact::On, &[924, 900])]);
        assert_eq!(second(&mut strap, &[]), [told(67, SkinContact::On, &[])]);
        strap.set_contact(false);
        assert_eq!(second(&mut strap, &[10]), [told(0, SkinContact::Off, &[])]);
        strap.set_contact(true);
        let back = second(&mut strap, &[10, 778]);
        assert_eq!(back, [told(80, SkinContact::On, &[768])]);
        for _ in 0..4 {
            second(&mut strap, &[]);
        }
        assert_eq!(second(&mut strap, &[]), [told(0, SkinContact::On, &[])]);
    }

    #[test]
    fn more_intervals_than_fit_go_into_a_second_value() {
        let mut strap = HrsPeripheral::default();
        strap.subscribe(MEASUREMENT, true);
        let mut sent = Vec::new();
        strap.measure(200, &[100; INTERVALS_MAX + 1], &mut sent);
        assert_eq!(sent.len(), 2);
        assert!(sent.iter().all(|one| one.value.len() <= 20));
        assert_eq!(rate_of(&[]), None);
        assert_eq!(rate_of(&[0]), None);
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
