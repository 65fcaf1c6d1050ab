//! Other FHIR servers that hold the record too, as their own (`[[push]]`): every version of every
//! resource is written there under the same id, in the order in which it became visible here.
//!
//! The numbered changes of the record are the outbox: what a server has taken is one number, kept
//! in the record, and moves only after the server has said so. After a stop the last few versions
//! may be sent again; they are the same, so nothing changes. What a server refuses is kept in
//! sight and tried again, and does not hold up the rest, until so much is refused that the server
//! must be another one than was meant. One program at a time sends to a server.
//!
//! Deliberately absent: reading what others write there. A server that is pushed to is not
//! listened to.

mod rows;
mod sender;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardio_core::clock::{Clock, UtcMicros};
use serde_json::Value;
use tokio::sync::watch;

use crate::config::PushConfig;
use crate::counters::Counters;
use crate::db::{Connection, DbError, Readers, Writer};
use crate::outgoing::OutgoingError;
use crate::record::{Change, ChangesQuery, Scope, binary_bytes, changes, undressed};
use crate::rounds::Rounds;

use rows::{Refusal, Stand};
pub(crate) use rows::{Standing, standings};
use sender::{Answer, Sender};

/// Longest time for one answer.
const LIMIT: Duration = Duration::from_secs(30);
/// For how long a server belongs to the program that sends; an answer comes before.
const LEASE_US: i64 = 60_000_000;
/// How often something to send is looked for when nothing was committed meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes after which a transaction is long enough.
const BYTES_MAX: usize = 4 << 20;
/// Failures of a server at one version after which the version counts as refused.
const FAILURES_MAX: u64 = 8;
/// Versions refused and not yet taken above which a server is waited for instead.
const REFUSED_MAX: u64 = 1_000;

/// Brings the record to one server.
#[derive(Clone)]
pub(crate) struct Push {
    name: Arc<str>,
    batch: u32,
    sender: Sender,
    record: Writer,
    readers: Readers,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

/// What is to be sent together.
struct Load {
    versions: Vec<Change>,
    bodies: Vec<Value>,
    /// Whether it was refused before, and how often; then it is one version.
    again: Option<Refusal>,
}

impl Push {
    /// One for each server that is configured, noted in the record.
    ///
    /// # Errors
    /// [`OutgoingError`] when a file of a configuration cannot be used.
    pub(crate) fn all(
        config: &[PushConfig],
        (record, readers): (&Writer, &Readers),
        clock: &Arc<dyn Clock>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<(PushConfig, Self)>, OutgoingError> {
        let one = |of: &PushConfig| {
            let push = Self {
                name: of.name.as_str().into(),
                batch: of.batch,
                sender: Sender::new(of)?,
                record: record.clone(),
                readers: readers.clone(),
                clock: Arc::clone(clock),
                counters: Arc::clone(counters),
            };
            Ok((of.clone(), push))
        };
        config.iter().map(one).collect()
    }

    /// Sends until `stop` becomes true.
    pub(crate) async fn run(self, of: PushConfig, stop: watch::Receiver<bool>) {
        let mut rounds = Rounds::over(&self.record, stop, LOOK_EVERY);
        let mut unnoted = Some(of);
        let mut alone_until = 0;
        loop {
            rounds.begin();
            let more = match unnoted.clone() {
                None => self.round(&mut alone_until).await,
                Some(of) => {
                    let noting = self.record.write(move |tx| rows::note_target(tx, &of));
                    noting.await.map(|()| {
                        unnoted = None;
                        true
                    })
                }
            };
            if !rounds.rest(more, "PushError").await {
                return;
            }
        }
    }

    /// Sends once, if something is due; answers whether more may be.
    ///
    /// After a transaction that was refused, its versions go one by one, up to `alone_until`.
    async fn round(&self, alone_until: &mut u64) -> Result<bool, DbError> {
        let Some(stand) = self.turn().await? else {
            return Ok(false);
        };
        let alone = stand.seq < *alone_until;
        let count = if alone { 1 } else { self.batch };
        let (name, seq, now) = (Arc::clone(&self.name), stand.seq, self.clock.read().utc);
        let reading = move |c: &Connection| load(c, &name, (seq, count), now);
        let load = self.readers.read_async(reading).await?;
        let sender = self.sender.clone();
        let sending = move || (sender.send(&load.bodies), load);
        let sent = tokio::task::spawn_blocking(sending).await;
        let (answer, load) = sent.map_err(|_| DbError::Closed)?;
        if load.bodies.len() > 1 && matches!(answer, Answer::Refused(_) | Answer::Failed(_)) {
            *alone_until = load.versions.last().map_or(0, |last| last.seq);
            let name = Arc::clone(&self.name);
            let again = move |tx: &Connection| rows::reached(tx, &name, seq);
            self.record.write(again).await?;
            return Ok(true);
        }
        let (push, tries) = (self.clone(), stand.tries.saturating_add(1));
        let note = move |tx: &Connection| push.note(tx, &load, (&answer, tries), seq);
        self.record.write(note).await?;
        Ok(true)
    }

    /// Takes the turn to send, if something is due and nobody else is at it.
    async fn turn(&self) -> Result<Option<Stand>, DbError> {
        let now = self.clock.read().utc;
        let name = Arc::clone(&self.name);
        let looking = move |c: &Connection| rows::due(c, &name, now);
        if self.readers.read_async(looking).await?.is_none() {
            return Ok(None);
        }
        let name = Arc::clone(&self.name);
        let until = UtcMicros(now.0.saturating_add(LEASE_US));
        let lease = move |tx: &Connection| rows::lease(tx, &name, (now, until));
        self.record.write(lease).await
    }

    /// Notes what became of a load.
    fn note(
        &self,
        tx: &Connection,
        load: &Load,
        (answer, tries): (&Answer, u64),
        seq: u64,
    ) -> Result<(), DbError> {
        let (name, now) = (&*self.name, self.clock.read().utc);
        let end = load.versions.last().map_or(seq, |last| last.seq);
        let reached = if load.again.is_some() { seq } else { end };
        let refusals = load.again.map_or(0, |again| again.tries).saturating_add(1);
        let why = match answer {
            Answer::Taken => {
                for one in &load.versions {
                    rows::taken(tx, name, (&one.kind, &one.id, one.seq))?;
                    self.counters.versions_pushed.add_one();
                }
                return rows::reached(tx, name, reached);
            }
            Answer::Later(why) => return self.later(tx, why, tries),
            Answer::Failed(why) if load.again.is_none() && tries < FAILURES_MAX => {
                return self.later(tx, why, tries);
            }
            Answer::Failed(why) | Answer::Refused(why) => why,
        };
        if load.again.is_none() && rows::refused_count(tx, name)? >= REFUSED_MAX {
            return self.later(tx, &format!("too much was refused; at last: {why}"), tries);
        }
        if let Some(one) = load.versions.first() {
            // What a server says may repeat what it was sent: it stays in the record.
            tracing::warn!(
                event = "PushRefused",
                code = "push.refused",
                name,
                seq = one.seq
            );
            self.counters.versions_push_refused.add_one();
            rows::refused(
                tx,
                name,
                (&one.kind, &one.id, one.seq),
                (why, refusals, now),
            )?;
        }
        rows::reached(tx, name, reached)
    }

    fn later(&self, tx: &Connection, why: &str, tries: u64) -> Result<(), DbError> {
        let name = &*self.name;
        tracing::warn!(event = "PushLater", code = "push.later", name, tries);
        rows::later(tx, name, (why, tries, self.clock.read().utc))
    }
}

/// Has everything tried at once that waits for its time; answers whether there is such a server.
///
/// # Errors
/// [`DbError`] when the store fails.
pub(crate) fn retry(tx: &Connection, name: &str) -> Result<bool, DbError> {
    rows::at_once(tx, name)
}

/// What goes next: what was refused and is due again, or what follows the number `seq`.
fn load(
    c: &Connection,
    name: &str,
    (seq, count): (u64, u32),
    now: UtcMicros,
) -> Result<Load, DbError> {
    let feed = |after, count| ChangesQuery {
        kind: None,
        id: None,
        since: None,
        after: Some(after),
        oldest_first: true,
        count,
    };
    let again = rows::again(c, name, now)?;
    let page = match again {
        Some(again) => changes(c, &feed(again.seq.saturating_sub(1), 1), &Scope::Everything)?.page,
        None => together(changes(c, &feed(seq, count), &Scope::Everything)?.page),
    };
    let bodies = page
        .iter()
        .map(|one| body(c, one))
        .collect::<Result<_, _>>()?;
    Ok(Load {
        versions: page,
        bodies,
        again,
    })
}

/// As many of them as may stand in one transaction: each resource once, the bytes of documents
/// alone, and not too long.
fn together(mut page: Vec<Change>) -> Vec<Change> {
    let mut seen = HashSet::new();
    let (mut bytes, mut end) = (0_usize, 0);
    for one in &page {
        bytes = bytes.saturating_add(one.versioned.resource.to_string().len());
        let is_new = seen.insert((&one.kind, &one.id));
        let is_document = one.kind == "Binary";
        if end > 0 && (!is_new || is_document || bytes > BYTES_MAX) {
            break;
        }
        end += 1;
        if is_document {
            break;
        }
    }
    page.truncate(end);
    page
}

/// A version as it is sent: without the numbers that are ours, and with the bytes of a document.
fn body(c: &Connection, one: &Change) -> Result<Value, DbError> {
    let mut resource = undressed(one.versioned.resource.clone());
    if one.kind == "Binary"
        && let Some(binary) = binary_bytes(c, &one.id)?
        && let Some(map) = resource.as_object_mut()
    {
        map.insert("data".to_owned(), STANDARD.encode(binary.bytes).into());
    }
    Ok(resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::Fresh;
    use crate::record::{STEPS, put};
    use serde_json::json;

    fn version(kind: &str, id: &str, text: &str) -> Value {
        json!({"resourceType": kind, "id": id, "text": text})
    }

    #[test]
    fn what_travels_together_is_each_resource_once_and_documents_alone() {
        let long = "x".repeat(BYTES_MAX);
        Fresh::on(STEPS, |c| {
            for (n, (kind, id, text)) in [
                ("Patient", "a", "1"),
                ("Task", "b", "1"),
                ("Patient", "a", "2"),
                ("Binary", "c", "1"),
                ("Binary", "d", "1"),
                ("Task", "e", "1"),
                ("Task", "f", long.as_str()),
                ("Task", "g", "1"),
            ]
            .into_iter()
            .enumerate()
            {
                let now = UtcMicros(i64::try_from(n).unwrap());
                put(c, &version(kind, id, text), now).unwrap();
            }
            let mut groups = Vec::new();
            let mut seq = 0;
            loop {
                let load = load(c, "other", (seq, 50), UtcMicros(0)).unwrap();
                let Some(last) = load.versions.last() else {
                    break;
                };
                seq = last.seq;
                groups.push(load.versions.len());
                assert!(
                    load.bodies
                        .iter()
                        .all(|body| body.pointer("/meta/versionId").is_none())
                );
            }
            assert_eq!(groups, [2, 1, 1, 1, 1, 1, 1]);
        });
    }

    #[test]
    fn a_server_at_another_address_begins_from_the_start() {
        let of = |base: &str| PushConfig {
            name: "other".to_owned(),
            base: base.to_owned(),
            token_file: None,
            ca: None,
            plain: false,
            batch: 50,
        };
        Fresh::on(STEPS, |c| {
            put(c, &version("Task", "a", "1"), UtcMicros(1)).unwrap();
            let now = UtcMicros(10);
            let seq = |c: &Connection| rows::due(c, "other", now).unwrap().map(|stand| stand.seq);
            rows::note_target(c, &of("https://one.test")).unwrap();
            assert_eq!(seq(c), Some(0));
            rows::reached(c, "other", 1).unwrap();
            rows::note_target(c, &of("https://one.test")).unwrap();
            assert_eq!(seq(c), None, "everything is there");
            rows::note_target(c, &of("https://two.test")).unwrap();
            assert_eq!(seq(c), Some(0));
        });
    }

    #[test]
    fn one_program_at_a_time_sends_to_a_server() {
        Fresh::on(STEPS, |c| {
            put(c, &version("Task", "a", "1"), UtcMicros(1)).unwrap();
            let sql = "INSERT INTO push_targets (name, base, seq, next_us, tries)
                       VALUES ('other', 'https://one.test', 0, 0, 0)";
            c.execute("write", sql, &[]).unwrap();
            let lease = |at, until| {
                rows::lease(c, "other", (UtcMicros(at), UtcMicros(until)))
                    .unwrap()
                    .is_some()
            };
            assert!(lease(5, 20));
            assert!(!lease(6, 21));
            assert!(lease(20, 40), "whoever had it is gone");
            rows::later(c, "other", ("away", 3, UtcMicros(30))).unwrap();
            assert!(!lease(4_000_029, 9_000_000));
            assert!(lease(4_000_030, 9_000_000));
        });
    }
}
