//! The pipeline of one source: which acquisition runs, what its frames become, and what a
//! silence, a return or a restart of the agent means for it.

use std::time::Duration;

use cardio_core::acquisition::{Acquisition, Attendance};
use cardio_core::clock::{BoxInstant, ClockReading, UtcMicros};
use cardio_core::device::DeviceIdentity;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::heart_rate::ToldRate;
use cardio_core::ids::{AcquisitionId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::subject::SubjectRef;
use cardio_core::timeline::{Drift, TimelineCounts};
use cardio_protocol::decoder::{Aside, Frame};
use cardio_store::{OpenAcquisition, SubjectMark};
use cardio_wire::record::EndReason;

use super::Captured;
use super::rates::{PERIOD, RateLine};
use super::samples::{RESTART_UNCERTAINTY_US, SampleLine};
use crate::config::device::{Device, Signal};
use crate::config::rows::Row;
use crate::ids::Ids;
use crate::recorder::Tally;
use crate::worklist::{Assigned, Choice};

/// Longest text that is kept of what a sensor says it is.
const IDENTITY_MAX_CHARS: usize = 64;
/// A charge is told anew when it has changed by so much, in per cent.
const STEP_PERCENT: u8 = 5;
/// At or below this charge every change is told.
const LOW_PERCENT: u8 = 25;

/// What the pipeline of a source is told once.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The source.
    pub source: SourceId,
    /// What it is.
    pub device: Device,
    /// How it samples.
    pub signal: Signal,
    /// The rows that are kept.
    pub rows: Vec<Row>,
    /// The patient, as an opaque reference.
    pub subject: Option<SubjectRef>,
    /// Whether a person attends.
    pub attendance: Attendance,
    /// Longest absence after which the same acquisition continues.
    pub resume_within: Duration,
}

/// Where the running acquisition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SourceFacts {
    /// The acquisition, if one runs.
    pub acquisition: Option<AcquisitionId>,
    /// What was placed on its time line since this run of the agent.
    pub counts: TimelineCounts,
    /// How much faster than nominal the sensor samples.
    pub drift: Option<Drift>,
    /// Charge of the sensor's battery, once it has told it.
    pub battery_percent: Option<u8>,
    /// Nominal rate of its samples.
    pub rate_hz: f64,
}

/// The pipeline of one source.
pub struct SourcePipeline {
    plan: SourcePlan,
    /// The visit that a person has chosen; it goes before the plan's own subject.
    assigned: Option<Assigned>,
    ids: Box<dyn Ids>,
    identity: DeviceIdentity,
    battery_percent: Option<u8>,
    taken_since: Option<BoxInstant>,
    state: State,
}

enum State {
    /// No acquisition runs. The note is of one that an earlier run of the agent began.
    Idle(Option<Box<OpenAcquisition>>),
    /// An acquisition runs.
    Running(Box<Running>),
}

struct Running {
    acquisition: AcquisitionId,
    assigned: Option<Assigned>,
    line: Line,
    /// Since when the source is away, and why.
    away: Option<(GapCause, BoxInstant)>,
    /// What the acquisition's records say of the battery.
    battery_told: Option<u8>,
}

/// What a source sends, placed in time.
enum Line {
    Samples(Box<SampleLine>),
    Rates(Box<RateLine>),
}

/// Takes what a device says of who it is.
pub(crate) fn note_identity(identity: &mut DeviceIdentity, aside: &Aside) {
    match aside {
        Aside::SystemId(id) => identity.system_id = Some(*id),
        Aside::Identity { field, text } => {
            let kept = match *field {
                "maker" => &mut identity.maker,
                "model" => &mut identity.model,
                "serial" => &mut identity.serial,
                "firmware" => &mut identity.firmware,
                _ => return,
            };
            *kept = Some(text.chars().take(IDENTITY_MAX_CHARS).collect());
        }
        _ => {}
    }
}

impl SourcePlan {
    /// Whether the source tells heart rates instead of samples.
    pub const fn tells_rates(&self) -> bool {
        self.rows.is_empty()
    }
}

impl SourcePipeline {
    /// A pipeline. `note` is what the last run of the agent left of an acquisition that it
    /// did not end.
    pub fn new(plan: SourcePlan, ids: Box<dyn Ids>, note: Option<OpenAcquisition>) -> Self {
        Self {
            identity: plan.device.identity(),
            plan,
            assigned: None,
            ids,
            battery_percent: None,
            taken_since: None,
            state: State::Idle(note.map(Box::new)),
        }
    }

    /// The sensor said something beside its samples. Who it is goes into the record of the
    /// acquisition that begins next; how full its battery is, onto the board and into the record.
    pub fn note(&mut self, aside: &Aside) {
        match aside {
            Aside::Battery { percent } => self.battery_percent = Some(*percent),
            other => note_identity(&mut self.identity, other),
        }
    }

    /// The sensor samples at another rate than its profile says. Its samples belong to
    /// another acquisition than those before.
    pub fn set_rate(&mut self, rate: SamplingRate, out: &mut Vec<Captured>) {
        if self.plan.signal.rate != rate {
            self.end(EndReason::SourceLost, out);
            self.plan.signal.rate = rate;
        }
    }

    /// Nothing of what the source streams now was taken before `since`: how late its first frame
    /// can be at most.
    pub const fn set_taken_since(&mut self, since: BoxInstant) {
        self.taken_since = Some(since);
    }

    /// Hands on what is held of a running acquisition and leaves it open, for the next run of
    /// the agent to go on with.
    pub fn leave(&mut self, out: &mut Vec<Captured>) {
        if let State::Running(running) = &mut self.state {
            running.cut(out);
        }
    }

    /// Where the running acquisition stands.
    pub fn facts(&self) -> SourceFacts {
        let battery_percent = self.battery_percent;
        let rate_hz = self.plan.signal.rate.as_hz();
        match &self.state {
            State::Idle(note) => SourceFacts {
                acquisition: note.as_ref().map(|note| note.acquisition),
                battery_percent,
                rate_hz,
                ..SourceFacts::default()
            },
            State::Running(running) => SourceFacts {
                acquisition: Some(running.acquisition),
                counts: running.counts(),
                drift: running.drift(),
                battery_percent,
                rate_hz,
            },
        }
    }

    /// Takes the frames of one read that returned at `at`.
    pub fn take(&mut self, frames: &[Frame], at: ClockReading, out: &mut Vec<Captured>) {
        let Some(first) = frames.first() else {
            return;
        };
        let backlog: u64 = frames.iter().map(|frame| frame.rows.per_lead().0).sum();
        let rate = self.plan.signal.rate;
        let later = SampleIndex(backlog.saturating_sub(first.rows.per_lead().0));
        let first_at = at.box_instant.minus_micros(rate.micros_at(later));
        let begins = matches!(self.state, State::Idle(_));
        if begins {
            self.start(first.rows.per_lead(), first_at, at, out);
        }
        let State::Running(running) = &mut self.state else {
            return;
        };
        running.tell_battery(self.battery_percent, out);
        if let Line::Samples(line) = &mut running.line {
            if let Some(since) = self
                .taken_since
                .filter(|_| begins || running.away.is_some())
            {
                line.timeline.note_taken_since(since);
            }
            line.take(frames, backlog, first_at, &mut running.away, at, out);
        }
    }

    /// Takes what a heart-rate sensor told at `at`.
    pub fn take_rate(&mut self, told: ToldRate, at: ClockReading, out: &mut Vec<Captured>) {
        if matches!(self.state, State::Idle(_)) {
            self.start(PERIOD, at.box_instant, at, out);
        }
        let State::Running(running) = &mut self.state else {
            return;
        };
        running.tell_battery(self.battery_percent, out);
        if let Line::Rates(line) = &mut running.line {
            line.take(told, running.away.take().map(|(cause, _)| cause), at, out);
        }
    }

    /// The source is away: unplugged, silent, or started anew. What is there is handed on.
    pub fn lost(&mut self, at: ClockReading, out: &mut Vec<Captured>) {
        if let State::Running(running) = &mut self.state
            && running.away.is_none()
        {
            running.cut(out);
            running.away = Some((GapCause::SourceLost, at.box_instant));
        }
    }

    /// Lets time pass: an absence that became too long ends the acquisition.
    pub fn tick(&mut self, now: ClockReading, out: &mut Vec<Captured>) {
        let limit = self.plan.resume_within;
        let too_long = |since: BoxInstant| is_over(since, now.box_instant, limit);
        match &self.state {
            State::Idle(Some(note)) if due(note).is_none_or(too_long) => self.give_up_note(out),
            State::Running(running) => {
                if running.away.is_some_and(|(_, since)| too_long(since)) {
                    self.end(EndReason::SourceLost, out);
                }
            }
            State::Idle(_) => {}
        }
    }

    /// Ends the acquisition, if one runs or is still waited for.
    pub fn end(&mut self, reason: EndReason, out: &mut Vec<Captured>) {
        if matches!(self.state, State::Idle(Some(_))) {
            self.give_up_note(out);
        }
        if let State::Running(mut running) = std::mem::replace(&mut self.state, State::Idle(None)) {
            running.cut(out);
            if let Some(drift) = running.drift() {
                let (ppm, error) = (drift.ppm, drift.standard_error_ppm);
                out.push(Captured::Event {
                    code: "source.drift",
                    detail: format!("{ppm:+.1} ppm, standard error {error:.1} ppm"),
                });
            }
            out.push(Captured::Ended {
                reason,
                end: running.next(),
                repeated_frames: running.counts().repeated_frames,
            });
        }
    }

    /// Ends the acquisition of an earlier run that nothing continues.
    fn give_up_note(&mut self, out: &mut Vec<Captured>) {
        let State::Idle(note) = &mut self.state else {
            return;
        };
        if let Some(note) = note.take() {
            let acquisition = self.acquisition(note.acquisition);
            // Its end names no subject, and whose it was is not known here.
            let acquisition = Acquisition {
                subject: None,
                request: None,
                rate: note.rate,
                ..acquisition
            };
            let tally = Tally::of(&note);
            out.push(Captured::Continued(Box::new(acquisition), tally));
            out.push(Captured::Ended {
                reason: EndReason::BoxStopped,
                end: note.next_sample,
                repeated_frames: 0,
            });
        }
    }

    /// Another visit holds from now on, or none. Where a person attends, and said so, a running
    /// acquisition of another visit ends; otherwise it goes on to its own end.
    pub fn assign(&mut self, choice: &Choice, out: &mut Vec<Captured>) {
        if self.plan.attendance != Attendance::Attended {
            return;
        }
        let of_another = match &self.state {
            State::Idle(note) => note.is_some(),
            State::Running(running) => running.assigned != choice.assigned,
        };
        if choice.at_once && of_another {
            self.end(EndReason::OperatorStopped, out);
        }
        self.assigned.clone_from(&choice.assigned);
    }

    /// Whether what begins next is of a patient.
    pub const fn is_assigned(&self) -> bool {
        self.assigned.is_some() || self.plan.subject.is_some()
    }

    fn subject(&self) -> Option<&SubjectRef> {
        let chosen = self.assigned.as_ref().map(|visit| &visit.subject);
        chosen.or(self.plan.subject.as_ref())
    }

    /// What a note of this patient says within an acquisition.
    fn mark(&self, id: AcquisitionId) -> Option<SubjectMark> {
        self.subject().map(|subject| SubjectMark::of(id, subject))
    }

    fn acquisition(&self, id: AcquisitionId) -> Acquisition {
        Acquisition {
            id,
            subject: self.subject().cloned(),
            request: self.assigned.as_ref().map(|visit| visit.request.clone()),
            source: self.plan.source.clone(),
            device: self.identity.clone(),
            integrity: self.plan.signal.integrity,
            rate: self.plan.signal.rate,
            waveforms: self.plan.rows.iter().map(|row| row.spec.clone()).collect(),
            attendance: self.plan.attendance,
        }
    }

    /// Begins an acquisition, or goes on with the one that an earlier run began.
    fn start(
        &mut self,
        samples: SampleCount,
        first_at: BoxInstant,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        let continues = match &self.state {
            State::Idle(Some(note)) => self.continues(note, first_at),
            _ => false,
        };
        if !continues {
            self.give_up_note(out);
        }
        let note = match &mut self.state {
            State::Idle(note) => note.take(),
            State::Running(_) => None,
        };
        let running = match note {
            Some(note) => {
                let acquisition = self.acquisition(note.acquisition);
                let next = note.next_sample;
                let mut running =
                    Running::new(acquisition.clone(), self.assigned.clone(), &self.plan, next);
                let tally = Tally::of(&note);
                out.push(Captured::Continued(Box::new(acquisition), tally));
                let gap = restart_gap(&note, samples, first_at);
                running.resume(gap, first_at, at, out);
                running
            }
            None => {
                let id = self.new_id(at.utc);
                let acquisition = self.acquisition(id);
                out.push(Captured::Started(Box::new(acquisition.clone())));
                Running::new(
                    acquisition,
                    self.assigned.clone(),
                    &self.plan,
                    SampleIndex(0),
                )
            }
        };
        self.state = State::Running(Box::new(running));
    }

    fn new_id(&mut self, at: UtcMicros) -> AcquisitionId {
        self.ids.acquisition(at)
    }

    /// Whether what comes now belongs to the acquisition of the note.
    fn continues(&self, note: &OpenAcquisition, now: BoxInstant) -> bool {
        note.rate == self.plan.signal.rate
            && note.subject == self.mark(note.acquisition)
            && due(note).is_some_and(|due| !is_over(due, now, self.plan.resume_within))
    }
}

impl Running {
    fn new(
        acquisition: Acquisition,
        assigned: Option<Assigned>,
        plan: &SourcePlan,
        start: SampleIndex,
    ) -> Self {
        let line = if plan.tells_rates() {
            Line::Rates(Box::new(RateLine::new(acquisition.attendance, start)))
        } else {
            Line::Samples(Box::new(SampleLine::new(&acquisition, plan, start)))
        };
        Self {
            acquisition: acquisition.id,
            assigned,
            line,
            away: None,
            battery_told: None,
        }
    }

    /// Goes on after a gap that the box knows of, with what came at `first_at`.
    fn resume(
        &mut self,
        gap: Gap,
        first_at: BoxInstant,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        match &mut self.line {
            Line::Samples(line) => line.resume(gap, first_at, at, out),
            Line::Rates(line) => line.resume(gap, at, out),
        }
    }

    fn cut(&mut self, out: &mut Vec<Captured>) {
        match &mut self.line {
            Line::Samples(line) => line.cut(out),
            Line::Rates(line) => line.cut(out),
        }
    }

    const fn counts(&self) -> TimelineCounts {
        match &self.line {
            Line::Samples(line) => line.timeline.counts(),
            Line::Rates(line) => line.counts(),
        }
    }

    fn drift(&self) -> Option<Drift> {
        match &self.line {
            Line::Samples(line) => line.timeline.drift(),
            Line::Rates(_) => None,
        }
    }

    const fn next(&self) -> SampleIndex {
        match &self.line {
            Line::Samples(line) => line.timeline.next(),
            Line::Rates(line) => line.next(),
        }
    }

    /// Tells the charge of the battery when it is news.
    fn tell_battery(&mut self, percent: Option<u8>, out: &mut Vec<Captured>) {
        let Some(percent) = percent else { return };
        let is_news = self.battery_told.is_none_or(|told| {
            told.abs_diff(percent)
                >= if percent <= LOW_PERCENT {
                    1
                } else {
                    STEP_PERCENT
                }
        });
        if is_news {
            self.battery_told = Some(percent);
            out.push(Captured::Battery { percent });
        }
    }
}

/// When the sample after the last stored one was due, if any was stored.
fn due(note: &OpenAcquisition) -> Option<BoxInstant> {
    let anchor = note.last_anchor?;
    let since = note.next_sample.since(anchor.index)?;
    let span_us = note.rate.micros_at(SampleIndex(since.0));
    Some(anchor.at.box_instant.plus_micros(span_us))
}

/// The absence between the last stored sample of an earlier run and a frame of `samples`
/// whose last one was taken at `frame_at`.
fn restart_gap(note: &OpenAcquisition, samples: SampleCount, frame_at: BoxInstant) -> Gap {
    let away_us = due(note)
        .and_then(|due| frame_at.micros_since(&due))
        .unwrap_or(0);
    let before_frame = samples.0.saturating_sub(1);
    let away = note.rate.count_in_micros(away_us).0;
    let uncertain_us = note
        .last_anchor
        .map_or(0, |anchor| anchor.uncertainty_us)
        .saturating_add(RESTART_UNCERTAINTY_US);
    Gap {
        from: note.next_sample,
        len: SampleCount(away.saturating_sub(before_frame).max(1)),
        uncertainty: SampleCount(note.rate.count_in_micros(uncertain_us).0.max(1)),
        cause: GapCause::BoxStopped,
    }
}

/// Whether `limit` has passed since `since`; another boot counts as over.
fn is_over(since: BoxInstant, now: BoxInstant, limit: Duration) -> bool {
    now.micros_since(&since)
        .is_none_or(|away| u128::from(away) > limit.as_micros())
}
