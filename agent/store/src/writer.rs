//! The one thread that owns the connection, and how it groups commits.
//!
//! A group ends with 64 records, after 20 ms, with an alert, or with a question: the
//! question is answered after the commit. Numbers are those of the configuration.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cardio_wire::lane::Lane;

use crate::error::OutboxError;
use crate::outbox::Stored;
use crate::sealing::Entry;
use crate::store::Store;

/// Who hears what became of a record.
pub(crate) type Reply = Box<dyn FnOnce(Result<Stored, OutboxError>) + Send>;

/// Something that is asked of the store.
pub(crate) type Question = Box<dyn FnOnce(&mut Store) + Send>;

/// What the thread is asked to do.
pub(crate) enum Job {
    /// Store a record.
    Append(Entry, Reply),
    /// Anything else, in order with the records.
    Call(Question),
}

/// Works until every handle is gone and nothing waits. Before each job, and while there is none,
/// some frames of files that were set aside are carried over when it is time.
pub(crate) fn run(mut store: Store, jobs: &Receiver<Job>) {
    loop {
        let job = match store.carrying.is_due() {
            true => jobs.recv_timeout(store.config.carry_pause),
            false => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if matches!(job, Err(RecvTimeoutError::Disconnected)) {
            break;
        }
        store.carry();
        if let Ok(job) = job {
            work(&mut store, job, jobs);
        }
    }
    if let Some(conn) = store.conn.take() {
        cardio_sqlite::close(conn);
    }
}

fn work(store: &mut Store, job: Job, jobs: &Receiver<Job>) {
    match job {
        Job::Call(call) => call(store),
        Job::Append(entry, reply) => {
            let mut group = Group::default();
            group.add(entry, reply);
            let question = gather(store, jobs, &mut group);
            group.store(store);
            if let Some(call) = question {
                call(store);
            }
        }
    }
}

/// Fills the group; gives back the question that ended it, if one did.
fn gather(store: &Store, jobs: &Receiver<Job>, group: &mut Group) -> Option<Question> {
    let start = store.clock.read().box_instant;
    while group.entries.len() < store.config.group_max && !group.is_urgent() {
        let now = store.clock.read().box_instant;
        let passed = Duration::from_micros(now.micros_since(&start).unwrap_or(0));
        let left = store.config.group_wait.saturating_sub(passed);
        match jobs.recv_timeout(left) {
            Ok(Job::Append(entry, reply)) => group.add(entry, reply),
            Ok(Job::Call(call)) => return Some(call),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

/// Records of one transaction.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    replies: Vec<Reply>,
}

impl Group {
    fn add(&mut self, entry: Entry, reply: Reply) {
        self.entries.push(entry);
        self.replies.push(reply);
    }

    fn is_urgent(&self) -> bool {
        let last = self.entries.last();
        last.is_some_and(|entry| entry.lane == Lane::Alert)
    }

    fn store(self, store: &mut Store) {
        let answers = store.append(&self.entries);
        for (reply, answer) in self.replies.into_iter().zip(answers) {
            reply(answer);
        }
    }
}
