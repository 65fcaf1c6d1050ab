//! Brings alerts to the people on duty: asks the roster whose turn it is, writes messages, and
//! hands them to [`crate::delivery`] until they arrive or cannot.
//!
//! What is to be sent is committed before it is sent, and what has arrived after it has: a
//! message may arrive twice after a stop, and is never forgotten. Where several gateways share
//! a store each message is leased to one of them for as long as a delivery may take.

use std::sync::Arc;
use std::time::Duration;

use cardio_alert::duty::{Act, Person};
use cardio_alert::life::{Life, Step};
use cardio_alert::{Family, Language, Roster};
use cardio_core::clock::{Clock, UtcMicros};
use tokio::sync::watch;

use super::{filed, rows, steps};
use crate::counters::Counters;
use crate::db::{Connection, DbError, Readers, Writer, values};
use crate::delivery::{Channel, Delivery, Notice, Unsent};
use crate::rounds::Rounds;

/// How often messages and turns are looked for when nothing was committed meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Messages sent at once.
const GROUP_MAX: u64 = 16;
/// Alerts looked at in one transaction.
const LOOKS_MAX: u64 = 64;
/// For how long a message belongs to the program that sends it; a delivery ends before.
const LEASE_US: i64 = 90_000_000;
/// First pause after a delivery that failed for now, and the longest one.
const AGAIN_US: (i64, i64) = (5_000_000, 300_000_000);
/// Tries after which a message counts as undeliverable: about half an hour.
const TRIES_MAX: u64 = 12;

/// Whose turn it is, and how they are reached.
#[derive(Clone, Debug)]
pub(crate) struct Duty {
    pub(crate) roster: Arc<Roster>,
    pub(crate) delivery: Arc<Delivery>,
}

/// What a courier needs.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) record: Writer,
    pub(crate) readers: Readers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) duty: Duty,
    /// The duty as a whole, as a reference.
    pub(crate) recipient: Arc<str>,
}

/// A message that is to be sent now.
#[derive(Clone, Debug)]
struct Message {
    alert: String,
    who: String,
    channel: Channel,
    tries: u64,
    notice: Notice,
}

/// What became of a message.
struct Fate {
    message: Message,
    sent: Result<(), Unsent>,
}

impl Courier {
    /// Brings alerts until `stop` becomes true.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) {
        let mut rounds = Rounds::over(&self.record, stop, LOOK_EVERY);
        loop {
            rounds.begin();
            let more = self.round().await.map(|count| count > 0);
            if !rounds.rest(more, "AlertTellError").await {
                return;
            }
        }
    }

    /// Looks at what is due, and sends what is due; answers how much there was.
    async fn round(&self) -> Result<usize, DbError> {
        let now = self.clock.read().utc;
        let due = self.readers.read_async(move |c| is_due(c, now)).await?;
        if !due {
            return Ok(0);
        }
        let (courier, of) = (self.clone(), now);
        let work = move |tx: &Connection| {
            courier.look(tx, of)?;
            courier.lease(tx, of)
        };
        let messages = self.record.write(work).await?;
        let count = messages.len();
        let mut sending = tokio::task::JoinSet::new();
        for message in messages {
            let (delivery, person) = (Arc::clone(&self.duty.delivery), self.person(&message));
            sending.spawn(async move {
                let sent = match &person {
                    Some(person) => {
                        delivery
                            .send(message.channel, person, &message.notice)
                            .await
                    }
                    None => Err(Unsent::gone()),
                };
                Fate { message, sent }
            });
        }
        let fates = sending.join_all().await;
        if !fates.is_empty() {
            let courier = self.clone();
            let note =
                move |tx: &Connection| fates.iter().try_for_each(|fate| courier.note(tx, fate));
            self.record.write(note).await?;
        }
        Ok(count)
    }

    fn person(&self, message: &Message) -> Option<Person> {
        self.duty.roster.person(&message.who).cloned()
    }

    /// Takes the turns that are due, and writes the messages that they ask for.
    fn look(&self, tx: &Connection, now: UtcMicros) -> Result<(), DbError> {
        let due: Vec<String> = tx.cells(
            "look for alerts whose turn must be looked at",
            "SELECT id FROM alerts WHERE look_us <= ?1 ORDER BY look_us, id LIMIT ?2",
            values![now, LOOKS_MAX],
        )?;
        for id in due {
            self.turn(tx, &id, now)?;
        }
        Ok(())
    }

    fn turn(&self, tx: &Connection, id: &str, now: UtcMicros) -> Result<(), DbError> {
        let Some(stored) = rows::read(tx, id)? else {
            return Ok(());
        };
        let life = Life::of(&rows::steps(tx, id)?);
        let next = match self.duty.roster.act(stored.alert.priority, &life, now) {
            Act::Rest => None,
            Act::Wait(until) => Some(until),
            Act::Tell { who, escalated } => {
                tracing::info!(event = "AlertTold", alert = id, who, escalated);
                self.write_messages(tx, id, &who, now)?;
                let step = Step::Told { who, escalated };
                // Taken as a step, which has the alert looked at again.
                let taken = steps::take(tx, id, &step, &self.recipient, now)?;
                return match taken {
                    Ok(_) => self.turn(tx, id, now),
                    Err(_) => rows::look_at(tx, id, None),
                };
            }
        };
        rows::look_at(tx, id, next)?;
        filed::put(tx, id, &self.recipient, now)
    }

    fn write_messages(
        &self,
        tx: &Connection,
        id: &str,
        who: &str,
        now: UtcMicros,
    ) -> Result<(), DbError> {
        let Some(person) = self.duty.roster.person(who) else {
            return Ok(());
        };
        for channel in self.duty.delivery.channels_to(person) {
            tx.execute(
                "write a message about an alert",
                "INSERT INTO alert_messages (alert, who, channel, written_us, tries, next_us)
                 VALUES (?1, ?2, ?3, ?4, 0, ?4)
                 ON CONFLICT (alert, who, channel)
                 DO UPDATE SET written_us = excluded.written_us, tries = 0,
                               next_us = excluded.next_us",
                values![id, who, channel.name(), now],
            )?;
        }
        Ok(())
    }

    /// Takes the messages that are due, for as long as a delivery may take.
    fn lease(&self, tx: &Connection, now: UtcMicros) -> Result<Vec<Message>, DbError> {
        let rows = tx.rows(
            "look for messages that are due",
            "SELECT alert, who, channel, tries FROM alert_messages WHERE next_us <= ?1
             ORDER BY next_us, alert, who, channel LIMIT ?2",
            values![now, GROUP_MAX],
        )?;
        let mut messages = Vec::new();
        for mut row in rows {
            let (alert, who, channel): (String, String, String) =
                (row.take(0)?, row.take(1)?, row.take(2)?);
            let tries: u64 = row.take(3)?;
            let stored = rows::read(tx, &alert)?;
            let (Some(stored), Some(channel)) = (stored, Channel::from_name(&channel)) else {
                forget(tx, &alert, &who, &channel)?;
                continue;
            };
            tx.execute(
                "lease a message",
                "UPDATE alert_messages SET next_us = ?4, tries = tries + 1
                 WHERE alert = ?1 AND who = ?2 AND channel = ?3",
                values![alert, who, channel.name(), now.0.saturating_add(LEASE_US)],
            )?;
            let notice = Notice {
                alert: alert.clone(),
                priority: stored.alert.priority,
                technical: stored.alert.family() == Family::Technical,
                raised: stored.alert.raised,
                hours: [Language::French, Language::English].map(|of| self.duty.roster.hours(of)),
            };
            messages.push(Message {
                tries: tries.saturating_add(1),
                alert,
                who,
                channel,
                notice,
            });
        }
        Ok(messages)
    }

    /// Notes what became of a message.
    fn note(&self, tx: &Connection, fate: &Fate) -> Result<(), DbError> {
        let (message, now) = (&fate.message, self.clock.read().utc);
        let (alert, who, channel) = (&message.alert, &message.who, message.channel.name());
        let step = match &fate.sent {
            Ok(()) => {
                self.counters.alert_messages_arrived.add_one();
                Step::Delivered {
                    who: who.clone(),
                    channel: channel.to_owned(),
                }
            }
            Err(unsent) if unsent.for_good || message.tries >= TRIES_MAX => {
                tracing::error!(
                    event = "AlertUndeliverable",
                    code = "delivery.undeliverable",
                    alert,
                    who,
                    channel,
                    "{unsent}"
                );
                self.counters.alert_messages_lost.add_one();
                Step::Undeliverable {
                    who: who.clone(),
                    why: unsent.why.to_owned(),
                }
            }
            Err(unsent) => {
                tracing::warn!(
                    event = "AlertNotDelivered",
                    code = "delivery.later",
                    alert,
                    who,
                    channel,
                    "{unsent}"
                );
                return postpone(tx, message, now);
            }
        };
        forget(tx, alert, who, channel)?;
        if matches!(step, Step::Undeliverable { .. }) && is_reached(tx, alert, who)? {
            return Ok(());
        }
        // Unknown only when the alert is gone, and its messages with it.
        let _ = steps::take(tx, alert, &step, &self.recipient, now)?;
        Ok(())
    }
}

/// Whether anything is to be looked at or sent.
fn is_due(connection: &Connection, now: UtcMicros) -> Result<bool, DbError> {
    let act = "look whether an alert is due";
    let look = "SELECT 1 FROM alerts WHERE look_us <= ?1 LIMIT 1";
    let send = "SELECT 1 FROM alert_messages WHERE next_us <= ?1 LIMIT 1";
    Ok(connection.row(act, look, values![now])?.is_some()
        || connection.row(act, send, values![now])?.is_some())
}

fn forget(tx: &Connection, alert: &str, who: &str, channel: &str) -> Result<(), DbError> {
    tx.execute(
        "forget a message",
        "DELETE FROM alert_messages WHERE alert = ?1 AND who = ?2 AND channel = ?3",
        values![alert, who, channel],
    )
    .map(|_| ())
}

/// Whether another channel has reached a person since they were last told, or still may.
fn is_reached(tx: &Connection, alert: &str, who: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM alert_messages WHERE alert = ?1 AND who = ?2 LIMIT 1";
    let row = tx.row("look for another message", sql, values![alert, who])?;
    let stand = Life::of(&rows::steps(tx, alert)?).of_person(who);
    Ok(row.is_some() || stand.delivered_at >= stand.told_at)
}

fn postpone(tx: &Connection, message: &Message, now: UtcMicros) -> Result<(), DbError> {
    let (first, most) = AGAIN_US;
    let doubled = u32::try_from(message.tries.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = first.saturating_mul(1_i64.checked_shl(doubled.min(20)).unwrap_or(i64::MAX));
    tx.execute(
        "postpone a message",
        "UPDATE alert_messages SET next_us = ?4
         WHERE alert = ?1 AND who = ?2 AND channel = ?3",
        values![
            message.alert,
            message.who,
            message.channel.name(),
            now.0.saturating_add(pause.min(most))
        ],
    )
    .map(|_| ())
}
