//! An alert made again from the windows that showed it, under the rule that it keeps.
//!
//! What stands now (rules, versions, what the engine remembers) has no part in it: the same
//! windows under the same rule give the same alert for ever. Deliberately absent: what other
//! rules of the group said, and hold-off, which decide only whether a person is called.

use cardio_core::clock::UtcMicros;

use super::judge::{Shown, measured, show_one};
use crate::alert::Alert;
use crate::fact::Fact;
use crate::rule::Rule;
use crate::state::{Minutes, Track};

/// A rule that is shown the windows of one acquisition again, from its beginning and in the
/// order of their ends.
#[derive(Debug)]
pub struct Again<'a> {
    rule: &'a Rule,
    subject: &'a str,
    raised: UtcMicros,
    track: Track,
    minutes: Minutes,
    seen_us: Option<i64>,
    made: Option<Alert>,
}

impl<'a> Again<'a> {
    /// For the windows of a subject; `raised` is when the alert was raised.
    pub fn new(rule: &'a Rule, subject: &'a str, raised: UtcMicros) -> Self {
        Self {
            rule,
            subject,
            raised,
            track: Track::default(),
            minutes: Minutes::default(),
            seen_us: None,
            made: None,
        }
    }

    /// Shows the next window; one that ends no later than the one before changes nothing.
    pub fn push(&mut self, fact: &Fact) {
        let to_us = fact.end_us();
        if self.seen_us.is_some_and(|seen| to_us <= seen) {
            return;
        }
        self.seen_us = Some(to_us);
        let percent = self.minutes.count(to_us, fact.is_analysed());
        let stream = fact.acquisition.to_string();
        let measures = measured(self.rule, fact, percent).into_iter().collect();
        let shown = Shown::window(self.subject, &stream, fact, self.raised, measures);
        self.made = show_one(&mut self.track, self.rule, &shown);
    }

    /// The alert that the rule makes at the last window, if it fires there.
    pub fn end(self) -> Option<Alert> {
        self.made
    }
}
