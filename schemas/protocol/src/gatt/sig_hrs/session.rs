//! The box's side: subscribe, read who it is, listen.

use cardio_core::clock::BoxInstant;

use crate::decoder::{Aside, DecoderEvent};
use crate::gatt::{GattAction, GattSession, Uuid};
use crate::session::{SessionError, SessionState, SessionTiming, has_passed};

use super::{
    BATTERY_LEVEL, HeartRateMeasurement, INFORMATION, MEASUREMENT, SYSTEM_ID, system_id_of, text_of,
};

/// The box's side of a heart-rate strap.
#[derive(Debug)]
pub struct HrsSession {
    timing: SessionTiming,
    state: SessionState,
    since: Option<BoxInstant>,
    tries: u32,
}

impl HrsSession {
    /// A session that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            state: SessionState::Idle,
            since: None,
            tries: 0,
        }
    }

    fn on_measurement(&mut self, value: &[u8], out: &mut Vec<DecoderEvent>) {
        let measurement = match HeartRateMeasurement::decode(value) {
            Ok(measurement) => measurement,
            Err(why) => {
                let bytes = value.len();
                out.push(DecoderEvent::Skipped { bytes, why });
                return;
            }
        };
        if self.state == SessionState::Starting {
            self.state = SessionState::Streaming;
        }
        out.push(DecoderEvent::Rate(measurement.told));
    }
}

/// Reads what the common services hold; `true` when the characteristic is one of theirs.
pub(crate) fn on_common_value(from: Uuid, value: &[u8], out: &mut Vec<DecoderEvent>) -> bool {
    if from == BATTERY_LEVEL {
        if let Some(percent) = value.first().copied().filter(|percent| *percent <= 100) {
            out.push(DecoderEvent::Aside(Aside::Battery { percent }));
        }
        return true;
    }
    if from == SYSTEM_ID {
        out.extend(system_id_of(value).map(|id| DecoderEvent::Aside(Aside::SystemId(id))));
        return true;
    }
    let Some((_, field)) = INFORMATION.iter().find(|(uuid, _)| *uuid == from) else {
        return false;
    };
    if let Some(text) = text_of(value) {
        out.push(DecoderEvent::Aside(Aside::Identity { field, text }));
    }
    true
}

/// Asks a device who it is and how full its battery is. A field that it lacks is not an
/// error: the adapter leaves out what was not discovered.
pub(crate) fn ask_common() -> impl Iterator<Item = GattAction> {
    INFORMATION
        .iter()
        .map(|(uuid, _)| GattAction::Read(*uuid))
        .chain([
            GattAction::Read(SYSTEM_ID),
            // in this order: what changes in between is told
            GattAction::Subscribe(BATTERY_LEVEL),
            GattAction::Read(BATTERY_LEVEL),
        ])
}

impl GattSession for HrsSession {
    fn start(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.state = SessionState::Starting;
        self.since = Some(now);
        self.tries = 1;
        [GattAction::Subscribe(MEASUREMENT)]
            .into_iter()
            .chain(ask_common())
            .collect()
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        _now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        if !on_common_value(from, value, out) && from == MEASUREMENT {
            self.on_measurement(value, out);
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let waited = self
            .since
            .is_some_and(|since| has_passed(since, now, self.timing.first_frame));
        if self.state != SessionState::Starting || !waited {
            return Vec::new();
        }
        if self.tries < self.timing.tries {
            self.tries = self.tries.saturating_add(1);
            self.since = Some(now);
            return vec![GattAction::Subscribe(MEASUREMENT)];
        }
        self.state = SessionState::Failed(SessionError::NoStream {
            command: "the subscription to Heart Rate Measurement",
            tries: self.tries,
        });
        Vec::new()
    }

    fn stop(&mut self) -> Vec<GattAction> {
        self.state = SessionState::Idle;
        Vec::new()
    }

    fn state(&self) -> SessionState {
        self.state
    }
}
