//! How every box is, as the technical rules are shown it.
//!
//! Deliberately absent: the rules, [`cardio_alert`].

use std::sync::Arc;

use cardio_alert::Engine;
use cardio_core::clock::{Clock, UtcMicros};

use super::Filer;
use crate::alerting::{self, BoxReading};
use crate::boxes::Boxes;
use crate::db::{Connection, DbError};
use crate::inbox::{BoxRow, boxes_of, chain_breaks};

/// How old may be what other programs know of a box that is connected to this one.
const TELL_EVERY_US: i64 = 60_000_000;

impl Filer {
    /// Shows the technical rules how every box is.
    pub(super) fn watch(&self, engine: Option<Engine>) -> Result<Engine, DbError> {
        let mut engine = match engine {
            Some(engine) => engine,
            None => self.remembered()?,
        };
        if self.is_shared() {
            self.tell_others()?;
        }
        let view = View {
            boxes: Arc::clone(&self.boxes),
            clock: Arc::clone(&self.clock),
            started: self.started,
        };
        let seen = self.inbox.readers().read(|c| view.readings(c))?;
        let now = self.clock.read().utc;
        let late = self.readers.read(|c| alerting::on_their_way(c, now))?;
        if seen.readings.is_empty() && late.is_empty() {
            return Ok(engine);
        }
        let recipient = Arc::clone(&self.recipient);
        let shared = self.is_shared().then(|| self.rules.clone());
        let (engine, raised) = self.record.write_blocking(move |tx| {
            let mut seen = seen;
            if let Some(rules) = shared {
                // What another program has shown the rules meanwhile may be newer.
                engine = Engine::with_state(rules, alerting::load(tx)?);
                seen = view.readings(tx)?;
            }
            let (readings, now) = (&seen.readings, seen.at);
            let raised = alerting::watch(tx, readings, &mut engine, &recipient, now)?;
            alerting::save(tx, engine.state())?;
            Ok((engine, raised))
        })?;
        self.counters.alerts_raised.add(raised);
        Ok(engine)
    }

    /// Tells other programs which boxes are connected to this one.
    fn tell_others(&self) -> Result<(), DbError> {
        let now = self.clock.read().utc;
        let live = self.boxes.live();
        let told = now.0.saturating_sub(TELL_EVERY_US);
        let rows = self.inbox.boxes()?;
        let stale = rows
            .iter()
            .filter(|row| row.connected.is_none_or(|at| at.0 < told))
            .map(|row| row.known.id)
            .filter(|device| live.contains_key(device));
        self.inbox.note_connected(stale.collect(), now)
    }
}

/// How this program looks at the boxes.
struct View {
    boxes: Arc<Boxes>,
    clock: Arc<dyn Clock>,
    started: UtcMicros,
}

/// How the boxes were at one moment.
struct Seen {
    at: UtcMicros,
    readings: Vec<BoxReading>,
}

impl View {
    fn readings(&self, connection: &Connection) -> Result<Seen, DbError> {
        let now = self.clock.read().utc;
        let mut readings = Vec::new();
        for row in boxes_of(connection)? {
            let device = row.known.id;
            let here = self.boxes.last_connected(device, now);
            let Some(silent_s) = silence(&row, here, self.started, now) else {
                continue;
            };
            readings.push(BoxReading {
                device,
                silent_s,
                chain_breaks: f64::from(chain_breaks(connection, device)?),
            });
        }
        Ok(Seen { at: now, readings })
    }
}

/// Seconds for which nobody heard of a box that was `here` when it was last connected to this
/// program; `None` for one that never said hello or may not.
fn silence(
    row: &BoxRow,
    here: Option<UtcMicros>,
    started: UtcMicros,
    now: UtcMicros,
) -> Option<f64> {
    let heard = row.heard.filter(|_| row.revoked.is_none())?;
    // While this program was not running nobody could be heard, but by another program.
    let last = here
        .unwrap_or(heard)
        .max(started)
        .max(row.connected.unwrap_or(heard));
    let silent = now.0.saturating_sub(last.0) / 1_000_000;
    Some(u32::try_from(silent).map_or(0.0, f64::from))
}

#[cfg(test)]
mod tests {
    use cardio_core::ids::BoxId;
    use cardio_wire::keys::VerifyingKey;

    use super::{BoxRow, UtcMicros, silence};
    use crate::boxes::KnownBox;

    const fn at(seconds: i64) -> UtcMicros {
        UtcMicros(seconds * 1_000_000)
    }

    fn heard_at(seconds: i64) -> BoxRow {
        BoxRow {
            known: KnownBox {
                id: BoxId([1; 16]),
                name: "FR75-001".to_owned(),
                frame_key: VerifyingKey([2; 32]),
                cert_key_hash: [3; 32],
            },
            enrolled: at(0),
            revoked: None,
            heard: Some(at(seconds)),
            connected: None,
            agent_version: None,
            free_bytes: None,
            team: None,
        }
    }

    #[test]
    fn a_box_is_silent_since_it_was_connected_to_any_program() {
        let mut row = heard_at(100);
        assert_eq!(silence(&row, None, at(50), at(700)), Some(600.0));
        assert_eq!(silence(&row, Some(at(690)), at(50), at(700)), Some(10.0));
        // It said hello long ago and is connected to another program.
        row.connected = Some(at(695));
        assert_eq!(silence(&row, None, at(50), at(700)), Some(5.0));
        assert_eq!(silence(&row, None, at(699), at(700)), Some(1.0));
    }

    #[test]
    fn nobody_waits_for_a_box_that_is_revoked_or_new() {
        let mut row = heard_at(100);
        row.revoked = Some(at(200));
        assert_eq!(silence(&row, None, at(50), at(700)), None);
        let mut row = heard_at(100);
        row.heard = None;
        assert_eq!(silence(&row, None, at(50), at(700)), None);
    }
}
