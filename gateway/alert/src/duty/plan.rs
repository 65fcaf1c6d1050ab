//! What is to be done for an alert now: tell somebody, or wait.

use cardio_core::clock::UtcMicros;
use jiff::SignedDuration;

use super::Roster;
use crate::life::{Life, Stand};
use crate::rule::Priority;

/// How long to wait before the roster is asked again when it has nobody at all.
const NOBODY: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done for an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing more: it is taken, closed, needs no response, or everybody was told as often as
    /// the roster allows.
    Rest,
    /// Nothing before this time.
    Wait(UtcMicros),
    /// Tell a person now.
    Tell {
        /// The person.
        who: String,
        /// Whether somebody else was told before and did not take it.
        escalated: bool,
    },
}

impl Roster {
    /// What is to be done now for an alert of this priority and life.
    ///
    /// The people on duty are told one after the other: the next one when the last one who was
    /// told, or who opened it, has let the time of the priority pass, or cannot be reached.
    /// Nobody is told more often than there are rounds. Outside every shift those who are
    /// called for this priority are; everything else waits for the next shift.
    pub fn act(&self, priority: Priority, life: &Life, now: UtcMicros) -> Act {
        if priority == Priority::Information || !life.waits() {
            return Act::Rest;
        }
        let mut people = self.on_duty(now);
        if people.is_empty() {
            people = self.outside(priority, now);
        }
        if people.is_empty() {
            let opening = self.next_opening(now);
            return Act::Wait(opening.unwrap_or_else(|| later(now, NOBODY)));
        }
        if let Some(until) = self.patience(priority, life)
            && now < until
        {
            return Act::Wait(until);
        }
        let least = people.iter().min_by_key(|who| life.of_person(who).told);
        match least {
            Some(who) if life.of_person(who).told < self.escalation.rounds => Act::Tell {
                who: (*who).to_owned(),
                escalated: life.people().any(|(_, stand)| stand.told > 0),
            },
            _ => Act::Rest,
        }
    }

    /// Until when the last one who was told has time; `None` when nobody has.
    fn patience(&self, priority: Priority, life: &Life) -> Option<UtcMicros> {
        let reached = |stand: &Stand| {
            (!stand.undeliverable)
                .then_some(stand.told_at.max(stand.seen_at))
                .flatten()
        };
        let last = life.people().filter_map(|(_, stand)| reached(stand)).max();
        last.map(|last| later(last, self.escalation.after(priority)))
    }
}

fn later(at: UtcMicros, by: SignedDuration) -> UtcMicros {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    UtcMicros(at.0.saturating_add(micros))
}
