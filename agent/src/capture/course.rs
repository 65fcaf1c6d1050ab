//! What happens to one sensor, as it is told, in order and with its time: what its pipeline makes
//! of it, and what stands on the board. Live capture and the replay of a capture log tell it the
//! same way.
//!
//! Deliberately absent: the link, waiting, and reading a clock.

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{BoxInstant, ClockReading};
use cardio_store::OpenAcquisition;
use cardio_wire::record::EndReason;

use super::Stop;
use super::connection::{Conversation, Heard, Lost};
use super::report::Reporter;
use crate::ids::Ids;
use crate::pipeline::{Captured, SourceFacts, SourcePipeline, SourcePlan};
use crate::status::{Board, LinkState};
use crate::worklist::Choice;

/// The course of one sensor.
pub(super) struct Course {
    pipeline: SourcePipeline,
    reporter: Reporter,
    silent_after: Duration,
    /// When the last frame came, or the conversation began again.
    heard_at: Option<BoxInstant>,
    /// Nothing that comes next can have been taken before this: the link began then, or fell silent.
    begun_at: Option<BoxInstant>,
    /// What came of it and is not handed on yet.
    pub(super) out: Vec<Captured>,
}

impl Course {
    pub(super) fn new(
        board: Arc<Board>,
        place: usize,
        plan: SourcePlan,
        ids: Box<dyn Ids>,
        note: Option<OpenAcquisition>,
        silent_after: Duration,
    ) -> Self {
        Self {
            reporter: Reporter::new(board, place, &plan),
            pipeline: SourcePipeline::new(plan, ids, note),
            silent_after,
            heard_at: None,
            begun_at: None,
            out: Vec::new(),
        }
    }

    pub(super) const fn is_streaming(&self) -> bool {
        self.reporter.is_streaming()
    }

    /// Where the running acquisition stands.
    pub(super) fn facts(&self) -> SourceFacts {
        self.pipeline.facts()
    }

    /// The link stands: the conversation begins.
    pub(super) fn connected(&mut self, talk: &mut dyn Conversation, now: ClockReading) {
        self.reporter.waiting();
        self.heard_at = Some(now.box_instant);
        self.begun_at = Some(now.box_instant);
        talk.start(now);
    }

    /// The sensor cannot be reached.
    pub(super) fn unreached(&mut self, lost: Lost) {
        let state = self.reporter.state_without_port();
        self.reporter
            .trouble(state, lost.code, lost.detail, &mut self.out);
    }

    /// The sensor said something. `dropped`: things that found no room on the way to the recorder.
    pub(super) fn take(&mut self, heard: Heard, now: ClockReading, dropped: u64) {
        let measured_at = heard.measured_at();
        if let Some(at) = measured_at {
            self.heard_at = Some(at.box_instant);
        }
        for aside in &heard.asides {
            self.pipeline.note(aside);
        }
        if let Some(rate) = heard.rate {
            self.pipeline.set_rate(rate, &mut self.out);
        }
        if let Some(since) = heard.asked_at.or(self.begun_at) {
            self.pipeline.set_taken_since(since);
        }
        for (at, frames) in &heard.frames {
            self.pipeline.take(frames, *at, &mut self.out);
        }
        for (at, told) in heard.rates {
            self.pipeline.take_rate(told, at, &mut self.out);
        }
        if let Some(why) = heard.unrecognised {
            self.pipeline.lost(now, &mut self.out);
            self.reporter.trouble(
                LinkState::NoFrames,
                why.code(),
                why.to_string(),
                &mut self.out,
            );
        } else if let Some(at) = measured_at {
            self.reporter.streaming(at, &mut self.out);
        }
        self.reporter.facts(
            &self.pipeline.facts(),
            heard.skipped_bytes,
            dropped,
            heard.dropped,
        );
    }

    /// Another visit is chosen, or none.
    pub(super) fn assign(&mut self, choice: &Choice) {
        self.pipeline.assign(choice, &mut self.out);
        self.reporter.assigned(self.pipeline.is_assigned());
    }

    /// Lets time pass without a link.
    pub(super) fn wait(&mut self, now: ClockReading) {
        self.pipeline.tick(now, &mut self.out);
    }

    /// Lets time pass for a conversation.
    ///
    /// # Errors
    /// When the sensor does not do as it should and the link must go; its cause is reported.
    pub(super) fn tick(
        &mut self,
        talk: &mut dyn Conversation,
        now: ClockReading,
    ) -> Result<(), ()> {
        self.wait(now);
        if let Some(why) = talk.failure() {
            self.failed(why.code(), why.to_string(), now);
            return Err(());
        }
        if self.is_silent(now) {
            self.begun_at = self.heard_at.replace(now.box_instant);
            self.silent(now);
            talk.start(now);
        } else {
            talk.tick(now.box_instant);
        }
        Ok(())
    }

    /// Only a stream can fall silent; before its first frame the session keeps the time.
    fn is_silent(&self, now: ClockReading) -> bool {
        let quiet_us = |heard: &BoxInstant| now.box_instant.micros_since(heard);
        self.is_streaming()
            && self
                .heard_at
                .as_ref()
                .and_then(quiet_us)
                .is_some_and(|quiet| u128::from(quiet) > self.silent_after.as_micros())
    }

    fn silent(&mut self, now: ClockReading) {
        self.pipeline.lost(now, &mut self.out);
        let detail = format!("no frame for {} ms", self.silent_after.as_millis());
        self.reporter
            .trouble(LinkState::Silent, "source.silent", detail, &mut self.out);
    }

    /// The session failed. That the bytes are another device's says more than that this one
    /// does not answer.
    fn failed(&mut self, code: &'static str, detail: String, at: ClockReading) {
        if !self.reporter.is_unrecognised() {
            self.lost(Lost { code, detail }, at);
        }
    }

    /// The link is of no use any more.
    pub(super) fn lost(&mut self, lost: Lost, at: ClockReading) {
        self.pipeline.lost(at, &mut self.out);
        self.reporter
            .trouble(LinkState::Lost, lost.code, lost.detail, &mut self.out);
    }

    /// Shows what a window was scored as.
    pub(super) fn show(&self, captured: &Captured) {
        if let Captured::Assessment(found) = captured {
            self.reporter.assessed(found);
        }
    }

    /// Ends the acquisition, or leaves it for the next run.
    pub(super) fn end(&mut self, stop: Option<Stop>) {
        match stop {
            Some(Stop::Leave) => self.pipeline.leave(&mut self.out),
            Some(Stop::End(reason)) => self.pipeline.end(reason, &mut self.out),
            None => self.pipeline.end(EndReason::BoxStopped, &mut self.out),
        }
        self.reporter.state(LinkState::Ended);
    }
}
