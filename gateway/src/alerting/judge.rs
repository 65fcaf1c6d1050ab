//! From assessed windows and readings to alerts.
//!
//! Windows are shown to the engine in the order of their ends; what it remembers is stored in
//! the transaction that files them, so a restart neither forgets nor repeats.

use cardio_alert::{
    AlertEvent, Algorithm, Engine, EngineState, Fact, Kind, Priority, Quantity, Reading,
};
use cardio_core::acquisition::{Acquisition, Attendance};
use cardio_core::clock::UtcMicros;
use cardio_core::ids::{BoxId, RecordId};
use cardio_core::index::SampleIndex;
use cardio_wire::record::AssessmentV1;

use super::filed;
use super::rhythm::{Windows, look_back};
use super::rows::{self, Concern};
use crate::db::{Connection, DbError, values};
use crate::filing::{Exam, decoded_window};

/// What the engine remembered when it last stopped.
///
/// # Errors
/// [`DbError`] when it cannot be read.
pub fn load(connection: &Connection) -> Result<EngineState, DbError> {
    let state: Option<String> = connection.cell(
        "read the state of the alert rules",
        "SELECT state FROM alert_state",
        values![],
    )?;
    match state {
        None => Ok(EngineState::default()),
        Some(state) => serde_json::from_str(&state).map_err(|_| DbError::Damaged {
            what: "state of the alert rules",
        }),
    }
}

/// Stores what the engine remembers.
pub(crate) fn save(connection: &Connection, state: &EngineState) -> Result<(), DbError> {
    let text = serde_json::to_string(state).map_err(|_| DbError::Damaged {
        what: "state of the alert rules",
    })?;
    connection
        .execute(
            "store the state of the alert rules",
            "INSERT INTO alert_state (\"only\", state) VALUES (1, ?1)
             ON CONFLICT (\"only\") DO UPDATE SET state = excluded.state",
            values![text],
        )
        .map(|_| ())
}

/// A message that is on its way for less than this is no news.
const WORTH_WATCHING_US: i64 = 60_000_000;

impl Concern {
    fn of_exam(exam: &Exam) -> Self {
        Self {
            patient: exam.acquisition().subject.clone(),
            device: exam.device,
            simulated: exam.context.simulated,
        }
    }

    pub(super) const fn of_box(device: BoxId) -> Self {
        Self {
            patient: None,
            device,
            simulated: false,
        }
    }
}

/// What is known of a box at one moment, for the technical rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxReading {
    /// The box.
    pub(crate) device: BoxId,
    /// Seconds since it was last connected.
    pub(crate) silent_s: f64,
    /// Frames that do not fit its chains.
    pub(crate) chain_breaks: f64,
}

/// Shows the engine how the boxes are, and how messages about alerts travel; answers how many
/// alerts it raised.
pub(crate) fn watch(
    connection: &Connection,
    readings: &[BoxReading],
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let mut raised = 0;
    for one in readings {
        let attendance = if records(connection, one.device)? {
            Attendance::Attended
        } else {
            Attendance::Unattended
        };
        let concern = Concern::of_box(one.device);
        for (quantity, value) in [
            (Quantity::BoxSilence, one.silent_s),
            (Quantity::ChainBreaks, one.chain_breaks),
        ] {
            let reading = Reading {
                about: one.device.to_string(),
                quantity,
                at: now,
                value,
                attendance,
            };
            for event in engine.reading(&reading, now) {
                raised += take(connection, &concern, event, recipient, now)?;
            }
        }
    }
    for one in waits(connection, engine, now)? {
        let concern = Concern::of_box(one.device);
        for event in engine.reading(&one.reading, now) {
            raised += take(connection, &concern, event, recipient, now)?;
        }
    }
    Ok(raised)
}

/// How long the messages about one alert have been on their way.
struct Wait {
    device: BoxId,
    reading: Reading,
}

/// Alerts that somebody was told of and that have arrived with nobody, and those that were late
/// and have arrived. An alert about a late message is not watched in its turn.
fn waits(connection: &Connection, engine: &Engine, now: UtcMicros) -> Result<Vec<Wait>, DbError> {
    let late = engine.state().open();
    let late = late.filter(|alert| alert.kind == Kind::DeliveryUnconfirmed);
    let late: Vec<String> = late.map(|alert| alert.subject.clone()).collect();
    let mut waits = Vec::new();
    for id in on_their_way(connection, now)?.into_iter().chain(late) {
        let Some(stored) = rows::read(connection, &id)? else {
            continue;
        };
        if stored.alert.kind == Kind::DeliveryUnconfirmed {
            continue;
        }
        let since = rows::told_and_not_arrived(connection, &id)?;
        let waited = since.map_or(0, |told| now.0.saturating_sub(told.0) / 1_000_000);
        waits.push(Wait {
            device: stored.device,
            reading: Reading {
                about: id,
                quantity: Quantity::DeliveryWait,
                at: now,
                value: u32::try_from(waited).map_or(0.0, f64::from),
                attendance: match stored.alert.priority {
                    Priority::High => Attendance::Attended,
                    _ => Attendance::Unattended,
                },
            },
        });
    }
    Ok(waits)
}

/// Alerts that somebody was told of some time ago and that have arrived with nobody.
pub(crate) fn on_their_way(
    connection: &Connection,
    now: UtcMicros,
) -> Result<Vec<String>, DbError> {
    connection.cells(
        "look for alerts that have not arrived",
        "SELECT id FROM alerts WHERE told_us <= ?1 AND arrived_us IS NULL
         ORDER BY told_us LIMIT 1000",
        values![UtcMicros(now.0.saturating_sub(WORTH_WATCHING_US))],
    )
}

/// Whether a recording of the box runs, as far as it has said.
fn records(connection: &Connection, device: BoxId) -> Result<bool, DbError> {
    connection
        .row(
            "look for a running recording",
            "SELECT 1 FROM acquisitions WHERE box = ?1 AND ended_us IS NULL LIMIT 1",
            values![device],
        )
        .map(|row| row.is_some())
}

/// Shows the engine every window that it has not seen; answers how many alerts it raised.
pub(crate) fn judge(
    connection: &Connection,
    exam: &Exam,
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let subject = exam.subject();
    let concern = Concern::of_exam(exam);
    let mut raised = 0;
    let windows = unjudged(connection, exam)?;
    let mut rhythm = rhythm_before(connection, exam, engine, windows.first())?;
    for (id, window) in windows {
        let end = window.quality.first.after(window.quality.len);
        let at = exam.time_of(end, &window.window_start).at;
        let mut fact = fact(exam.acquisition(), &window, at);
        if engine.is_late(&subject, &fact) {
            mark(connection, exam, &id)?;
        } else if let Some(rhythm) = &mut rhythm {
            fact.rhythm = rhythm.push(&fact);
        }
        for event in engine.step(&subject, &fact, now) {
            raised += take(connection, &concern, event, recipient, now)?;
        }
    }
    mark_judged(connection, exam)?;
    if let Some(ended) = &exam.ended {
        let at = exam.wall(&ended.head.at).at;
        for event in engine.acquisition_ended(&subject, exam.id(), at) {
            raised += take(connection, &concern, event, recipient, now)?;
        }
    }
    Ok(raised)
}

/// What the windows before the first new one say of the rhythm; `None` when no rule asks.
fn rhythm_before(
    connection: &Connection,
    exam: &Exam,
    engine: &Engine,
    first: Option<&(RecordId, AssessmentV1)>,
) -> Result<Option<Windows>, DbError> {
    let rules = engine.rules().rules_for(&exam.subject());
    let asks = rules
        .iter()
        .any(|rule| rule.enabled && rule.kind.rests_on_rhythm());
    let Some((_, first)) = first.filter(|_| asks) else {
        return Ok(None);
    };
    let acquisition = exam.acquisition();
    let end = first.quality.first.after(first.quality.len).0;
    let since = end.saturating_sub(look_back(acquisition.rate));
    let before: Vec<Vec<u8>> = connection.cells(
        "read the windows that the rhythm rests on",
        "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'assessment'
         AND box = ?2 AND judged = 1 AND first + len > ?3 ORDER BY first + len, seq",
        values![exam.id(), exam.device, since],
    )?;
    let mut windows = Windows::default();
    for bytes in before {
        let window = decoded_window(&bytes)?;
        windows.push(&fact(acquisition, &window, window.window_start.at.utc));
    }
    Ok(Some(windows))
}

/// The windows that no rule has seen, with the ids of their records.
fn unjudged(
    connection: &Connection,
    exam: &Exam,
) -> Result<Vec<(RecordId, AssessmentV1)>, DbError> {
    let rows = connection.rows(
        "read the windows that no rule has seen",
        "SELECT id, bytes FROM records WHERE acquisition = ?1 AND kind = 'assessment'
         AND box = ?2 AND judged = 0 ORDER BY first + len, seq",
        values![exam.id(), exam.device],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let id = RecordId(row.take(0)?);
            Ok((id, decoded_window(&row.take::<Vec<u8>>(1)?)?))
        })
        .collect()
}

/// Notes that a window came too late to count.
fn mark(connection: &Connection, exam: &Exam, id: &RecordId) -> Result<(), DbError> {
    let sql = "UPDATE records SET judged = 2 WHERE box = ?1 AND id = ?2";
    connection
        .execute("note a late window", sql, values![exam.device, id.0])
        .map(|_| ())
}

fn mark_judged(connection: &Connection, exam: &Exam) -> Result<(), DbError> {
    connection
        .execute(
            "note which windows the rules have seen",
            "UPDATE records SET judged = 1 WHERE acquisition = ?1 AND kind = 'assessment'
             AND box = ?2 AND judged = 0",
            values![exam.id(), exam.device],
        )
        .map(|_| ())
}

/// A window as the rules are shown it; `at` is the wall time of its end.
pub(super) fn fact(acquisition: &Acquisition, window: &AssessmentV1, at: UtcMicros) -> Fact {
    let (quality, rate) = (&window.quality, &window.heart_rate);
    let beats = || rate.beats.iter().map(|beat| beat.at).collect();
    // A sensor that tells rates shows no beats: that there are none in the window says nothing.
    let tells_rates = acquisition.waveforms.is_empty();
    let beats: Option<Vec<SampleIndex>> = (!tells_rates).then(beats);
    let algorithm = |(name, version): &(String, u32)| Algorithm {
        name: name.clone(),
        version: *version,
    };
    Fact {
        acquisition: acquisition.id,
        first: quality.first,
        len: quality.len,
        rate: acquisition.rate,
        at,
        attendance: acquisition.attendance,
        verdict: quality.overall.verdict,
        causes: quality.overall.causes.clone(),
        suspect_electrode: window.suspect_electrode,
        bpm: rate.bpm,
        beats,
        rhythm: None,
        algorithms: vec![algorithm(&quality.algorithm), algorithm(&rate.algorithm)],
    }
}

pub(super) fn take(
    connection: &Connection,
    concern: &Concern,
    event: AlertEvent,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    match event {
        AlertEvent::Raised(alert) => {
            tracing::warn!(
                event = "AlertRaised",
                alert = %alert.id,
                rule = %alert.rule,
                priority = alert.priority.name()
            );
            rows::insert(connection, concern, &alert)?;
            filed::put(connection, &alert.id, recipient, now)?;
            Ok(1)
        }
        AlertEvent::Ended(ended) => {
            tracing::info!(event = "AlertConditionEnded", alert = %ended.id, rule = %ended.rule);
            if rows::end(connection, &ended.id, ended.at)? {
                filed::put(connection, &ended.id, recipient, now)?;
            }
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxReading, load, save, watch};
    use crate::alerting::rows::list;
    use crate::alerting::take;
    use cardio_alert::life::Step;
    use cardio_alert::{Engine, RuleSet};
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::BoxId;

    use crate::db::testing::Fresh;

    const DUTY: &str = "Group/duty";

    fn silent(seconds: f64) -> [BoxReading; 1] {
        [BoxReading {
            device: BoxId([4; 16]),
            silent_s: seconds,
            chain_breaks: 0.0,
        }]
    }

    #[test]
    fn a_box_that_is_not_heard_of_is_a_technical_alert_once_and_over_when_it_returns() {
        Fresh::on(crate::record::STEPS, |record| {
            let mut engine = Engine::new(RuleSet::standard().unwrap());
            let at = |seconds: i64| UtcMicros(1_790_000_000_000_000 + seconds * 1_000_000);
            let day = 27.0 * 3_600.0;
            assert_eq!(
                watch(record, &silent(5.0), &mut engine, "Group/duty", at(0)).unwrap(),
                0
            );
            assert_eq!(
                watch(record, &silent(day), &mut engine, "Group/duty", at(15)).unwrap(),
                1
            );
            save(record, engine.state()).unwrap();
            // A restart in between neither forgets nor repeats.
            let mut engine =
                Engine::with_state(RuleSet::standard().unwrap(), load(record).unwrap());
            assert_eq!(
                watch(record, &silent(day), &mut engine, "Group/duty", at(30)).unwrap(),
                0
            );
            let alerts = list(record, at(40)).unwrap();
            assert_eq!(alerts.len(), 1);
            assert!(alerts[0].technical && alerts[0].ended.is_none());
            watch(record, &silent(0.0), &mut engine, "Group/duty", at(600)).unwrap();
            watch(record, &silent(0.0), &mut engine, "Group/duty", at(1_200)).unwrap();
            assert!(list(record, at(1_300)).unwrap()[0].ended.is_some());
        });
    }

    #[test]
    fn a_message_that_reaches_nobody_is_an_alert_sooner_when_it_is_about_a_high_one() {
        Fresh::on(crate::record::STEPS, |record| {
            let mut engine = Engine::new(RuleSet::standard().unwrap());
            let at = |seconds: i64| UtcMicros(1_790_000_000_000_000 + seconds * 1_000_000);
            let mut reading = silent(27.0 * 3_600.0);
            reading[0].chain_breaks = 1.0;
            assert_eq!(
                watch(record, &reading, &mut engine, DUTY, at(0)).unwrap(),
                2
            );
            let who = "PractitionerRole/a".to_owned();
            let told = Step::Told {
                who: who.clone(),
                escalated: false,
            };
            for alert in list(record, at(0)).unwrap() {
                take(record, &alert.id, &told, DUTY, at(1))
                    .unwrap()
                    .unwrap();
            }
            let late = |engine: &mut Engine, seconds| {
                watch(record, &[], engine, DUTY, at(seconds)).unwrap()
            };
            assert_eq!(late(&mut engine, 115), 0);
            assert_eq!(late(&mut engine, 130), 1, "the high one, after 2 min");
            assert_eq!(late(&mut engine, 890), 0);
            assert_eq!(late(&mut engine, 910), 1, "the medium one, after 15 min");
            let arrived = Step::Delivered {
                who,
                channel: "mail".to_owned(),
            };
            for alert in list(record, at(911)).unwrap() {
                if alert.rule != "delivery-unconfirmed" {
                    take(record, &alert.id, &arrived, DUTY, at(911))
                        .unwrap()
                        .unwrap();
                }
            }
            late(&mut engine, 920);
            late(&mut engine, 1_000);
            let open = list(record, at(1_000)).unwrap().into_iter();
            let open = open.filter(|one| one.rule == "delivery-unconfirmed" && one.ended.is_none());
            assert_eq!(open.count(), 0);
        });
    }
}
