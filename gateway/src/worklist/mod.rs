//! The visits of the day go down to the boxes of a team.
//!
//! - A box is told once it has said hello with a key of its own for that, and again when its list
//!   is another one: a request was made, changed or cancelled, a patient came or went, the day or
//!   the box's team changed.
//! - A list is sealed to the key of that hello and travels as an order ([`crate::orders`]): signed,
//!   numbered, for one box.
//! - What was told is remembered in memory only. A connection or a program that is new is told
//!   again; a list that comes twice changes nothing at the box.
//!
//! Deliberately absent: links from an exam to its request. Filing notes the one that the box
//! names.

mod day;
mod find;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_wire::message::CommandAction;
use cardio_wire::visits::VisitList;
use tokio::sync::watch;

use self::day::Day;
use crate::boxes::{Boxes, Listener};
use crate::db::{Connection, DbError, Readers, values};
use crate::inbox::Inbox;

/// How long a change may wait until boxes are told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells boxes their visits.
pub(crate) struct Worklists {
    /// Which team carries which box.
    pub(crate) inbox: Inbox,
    /// The record.
    pub(crate) readers: Readers,
    /// Who is connected.
    pub(crate) boxes: Arc<Boxes>,
    /// Where time comes from.
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the lists follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Grounds {
    /// The number of the newest change of a request or a patient.
    changes: i64,
    day: Option<Day>,
    teams: HashMap<BoxId, String>,
    listeners: HashMap<BoxId, Listener>,
}

/// What boxes were told, and from what.
#[derive(Default)]
struct Told {
    grounds: Grounds,
    /// Whether every box that listens was told what follows from them.
    all: bool,
    lists: HashMap<BoxId, (Listener, VisitList)>,
}

impl Worklists {
    /// Tells until `stop` becomes true.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let this = Arc::new(self);
        let mut greeted = this.boxes.greeted();
        let mut told = Told::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = greeted.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let looking = Arc::clone(&this);
            let looked = tokio::task::spawn_blocking(move || {
                let done = looking.look(&mut told);
                (told, done)
            });
            let done;
            (told, done) = match looked.await {
                Ok(looked) => looked,
                Err(_) => return,
            };
            if let Err(error) = done {
                tracing::warn!(event = "VisitsNotTold", code = error.code(), "{error}");
            }
        }
    }

    fn look(&self, told: &mut Told) -> Result<(), DbError> {
        let listeners = self.boxes.listeners();
        told.lists
            .retain(|device, _| listeners.contains_key(device));
        if listeners.is_empty() {
            return Ok(());
        }
        let now = self.clock.read().utc;
        let rows = self.inbox.boxes()?;
        let teams = rows.into_iter();
        let teams = teams.filter_map(|row| Some((row.known.id, row.team?)));
        let grounds = Grounds {
            changes: self.readers.read(changes)?,
            day: Day::at(now),
            teams: teams.collect(),
            listeners,
        };
        if told.all && told.grounds == grounds {
            return Ok(());
        }
        told.all = self.tell(&grounds, &mut told.lists, now)?;
        told.grounds = grounds;
        Ok(())
    }

    /// Tells every box whose list is another one; answers whether all took it.
    fn tell(
        &self,
        grounds: &Grounds,
        lists: &mut HashMap<BoxId, (Listener, VisitList)>,
        now: UtcMicros,
    ) -> Result<bool, DbError> {
        let Some(day) = &grounds.day else {
            return Ok(false);
        };
        let mut of_teams: HashMap<&str, VisitList> = HashMap::new();
        let mut all = true;
        for (device, listener) in &grounds.listeners {
            let list = match grounds.teams.get(device) {
                Some(team) => match of_teams.get(team.as_str()) {
                    Some(list) => list.clone(),
                    None => {
                        let list = self.readers.read(|c| find::list(c, team, day, now))?;
                        of_teams.insert(team, list.clone());
                        list
                    }
                },
                // What it was told as a box of a team, it is told to forget.
                None if lists.contains_key(device) => nothing(day, now),
                None => continue,
            };
            let known = lists.get(device);
            if known.is_some_and(|(to, before)| to == listener && is_same(before, &list)) {
                continue;
            }
            if self.send(*device, listener, &list) {
                lists.insert(*device, (*listener, list));
            } else {
                all = false;
            }
        }
        Ok(all)
    }

    /// Seals a list and orders it to be sent; answers whether somebody took the order.
    fn send(&self, device: BoxId, listener: &Listener, list: &VisitList) -> bool {
        match list.seal(device, &listener.key) {
            Ok(sealed) => {
                let ordered = self.boxes.tell(device, CommandAction::Visits(sealed));
                if ordered {
                    tracing::info!(event = "VisitsTold", device = %device, visits = list.visits.len());
                }
                ordered
            }
            Err(error) => {
                // Another try would fail as well: the box must name another key.
                tracing::warn!(event = "VisitsNotSealed", code = error.code(), device = %device);
                true
            }
        }
    }
}

/// Whether a box that knows one list needs no other.
fn is_same(before: &VisitList, now: &VisitList) -> bool {
    (&before.day, &before.visits, before.left_out) == (&now.day, &now.visits, now.left_out)
}

fn nothing(day: &Day, now: UtcMicros) -> VisitList {
    VisitList {
        day: day.date.clone(),
        issued: now,
        until: day.end,
        visits: Vec::new(),
        left_out: 0,
    }
}

/// The number of the newest change of what a list is made of.
fn changes(connection: &Connection) -> Result<i64, DbError> {
    let newest: Option<Option<i64>> = connection.cell(
        "look for changes of requests and patients",
        "SELECT max(seq) FROM changes WHERE kind IN ('Patient', 'ServiceRequest')",
        values![],
    )?;
    Ok(newest.flatten().unwrap_or(0))
}
