//! The samples of one source on the time line of one acquisition: placed, scored, cut into segments.
//!
//! Deliberately absent: which acquisition runs, and when one ends.

use cardio_core::acquisition::{Acquisition, Attendance};
use cardio_core::clock::{BoxInstant, ClockReading};
use cardio_core::device::IntegrityClass;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_core::timeline::{Placement, Timeline};
use cardio_protocol::decoder::{DeviceTicks, Frame};

use super::align::{Tie, moved_to};
use super::score::Scorer;
use super::segment::Segmenter;
use super::{Captured, SourcePlan};

/// How far the length of a gap across a restart may be wrong beyond both anchors: scheduling
/// and the sensor's own start.
pub(super) const RESTART_UNCERTAINTY_US: u64 = 50_000;

/// How long a record of an acquisition is.
pub(super) const fn span_us(attendance: Attendance) -> u64 {
    match attendance {
        Attendance::Attended => 1_000_000,
        Attendance::Unattended => 5_000_000,
    }
}

/// The samples of an acquisition that runs.
pub(super) struct SampleLine {
    rate: SamplingRate,
    integrity: IntegrityClass,
    pub(super) timeline: Timeline,
    segmenter: Segmenter,
    scorer: Option<Scorer>,
    /// The rows of a frame that are kept.
    places: Vec<usize>,
    /// Times that the device's clock jumped.
    clock_resets: u64,
    /// Contiguous samples of this read that are not handed on yet.
    block: Option<SampleBlock>,
}

impl SampleLine {
    pub(super) fn new(acquisition: &Acquisition, plan: &SourcePlan, start: SampleIndex) -> Self {
        let signal = plan.signal;
        let rate = acquisition.rate;
        let span_us = span_us(acquisition.attendance);
        Self {
            rate,
            integrity: acquisition.integrity,
            timeline: Timeline::new(rate, signal.integrity, signal.modulus, start),
            segmenter: Segmenter::new(rate.count_in_micros(span_us)),
            scorer: Scorer::new(rate, &acquisition.waveforms, signal.rails, start),
            places: plan.rows.iter().map(|row| row.place).collect(),
            clock_resets: 0,
            block: None,
        }
    }

    /// Takes the frames of one read that returned at `at` and hold `backlog` samples together.
    /// `away` says why the source was absent before them, if it was.
    pub(super) fn take(
        &mut self,
        frames: &[Frame],
        backlog: u64,
        first_at: BoxInstant,
        away: &mut Option<(GapCause, BoxInstant)>,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        if let Some(first) = frames.first() {
            if let Some(asked) = first.asked {
                self.timeline.note_asked(asked);
            }
            self.come_back(first, first_at, away, at, out);
        }
        self.timeline.note_backlog(SampleCount(backlog));
        for frame in frames {
            self.place(frame, away, at, out);
        }
        self.hand_on(at, out);
    }

    /// The source was away and is back: the absence is named. Where the device's clock has
    /// gone on meanwhile, that clock tells how long it was, when the frame is placed.
    fn come_back(
        &mut self,
        frame: &Frame,
        first_at: BoxInstant,
        away: &mut Option<(GapCause, BoxInstant)>,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        if away.is_none() {
            return;
        }
        let (samples, ticks) = (frame.rows.per_lead(), self.ticks_of(frame));
        let holds_all = |asked| self.timeline.asked_goes_on(samples, asked, first_at);
        if frame.asked.is_some_and(holds_all) {
            *away = None;
            return;
        }
        if ticks.is_some_and(|ticks| self.timeline.ticks_go_on(ticks.nanos, first_at)) {
            return;
        }
        let Some((cause, _)) = away.take() else {
            return;
        };
        if ticks.is_some() {
            out.push(clock_reset());
        }
        if let Some(gap) = self.timeline.gap_until(cause, samples, first_at) {
            self.resume(gap, first_at, at, out);
        }
    }

    /// Goes on after `gap` with a frame whose last sample was taken at `first_at`.
    pub(super) fn resume(
        &mut self,
        gap: Gap,
        first_at: BoxInstant,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        self.timeline.resume_after(gap);
        let tie = Tie::new(
            gap.end(),
            moved_to(at, first_at),
            RESTART_UNCERTAINTY_US,
            self.rate,
        );
        out.push(Captured::Gap {
            gap,
            near: Some(tie.anchor(gap.end())),
        });
    }

    /// The device's time of a frame, where it is what proves a loss.
    fn ticks_of(&self, frame: &Frame) -> Option<DeviceTicks> {
        let proves = match self.integrity {
            IntegrityClass::TimeStamped => true,
            IntegrityClass::Counted => frame.seq.is_some(),
            _ => false,
        };
        frame.ticks.filter(|_| proves)
    }

    fn place(
        &mut self,
        frame: &Frame,
        away: &mut Option<(GapCause, BoxInstant)>,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        let (samples, ticks) = (frame.rows.per_lead(), self.ticks_of(frame));
        let timeline = &mut self.timeline;
        let at_box = at.box_instant;
        let seq = frame.seq.map(|seq| seq.0);
        let placed = match (ticks, seq, frame.asked) {
            (Some(ticks), Some(seq), _) => {
                timeline.place_counted_ticks(seq, ticks.nanos, samples, at_box)
            }
            (Some(ticks), None, _) => timeline.place_ticks(ticks.nanos, samples, at_box),
            (None, None, Some(asked)) => timeline.place_asked(samples, asked, at_box),
            (None, seq, _) => timeline.place(seq, samples, at_box),
        };
        let Placement::Block { first, gap } = placed else {
            return;
        };
        let resets = self.timeline.counts().clock_resets;
        if resets != self.clock_resets {
            self.clock_resets = resets;
            out.push(clock_reset());
        }
        let away = away.take();
        if let Some(gap) = gap {
            let cause = away.map_or(gap.cause, |(cause, _)| cause);
            let gap = Gap { cause, ..gap };
            self.cut_at(at, out);
            let near = self.tie(gap.end(), at).map(|tie| tie.anchor(gap.end()));
            out.push(Captured::Gap { gap, near });
        }
        let block = self.block.get_or_insert_with(|| SampleBlock {
            first,
            leads: vec![Vec::new(); self.places.len()],
        });
        for (kept, place) in block.leads.iter_mut().zip(&self.places) {
            match frame.rows.row(*place) {
                Some(row) => kept.extend_from_slice(row),
                // a decoder gives every row of its profile in every frame
                None => kept.resize(kept.len().saturating_add(samples.len()), 0),
            }
        }
    }

    /// Hands the contiguous samples of this read on to segments and scores.
    fn hand_on(&mut self, at: ClockReading, out: &mut Vec<Captured>) {
        let Some(block) = self.block.take() else {
            return;
        };
        let Some(tie) = self.tie(block.first, at) else {
            return;
        };
        let mut closed = Vec::new();
        self.segmenter
            .push(&block, &tie, at.box_instant, &mut closed);
        out.extend(closed.into_iter().map(Captured::Segment));
        if let Some(scorer) = &mut self.scorer {
            let found = scorer.push(&block, &tie);
            out.extend(
                found
                    .into_iter()
                    .map(|one| Captured::Assessment(Box::new(one))),
            );
        }
    }

    /// Ends the segment at the end of what was placed before a gap.
    fn cut_at(&mut self, at: ClockReading, out: &mut Vec<Captured>) {
        self.hand_on(at, out);
        self.cut(out);
    }

    pub(super) fn cut(&mut self, out: &mut Vec<Captured>) {
        out.extend(self.segmenter.cut().map(Captured::Segment));
    }

    /// The instant of a sample, as the whole time line says rather than one arrival.
    fn tie(&self, index: SampleIndex, at: ClockReading) -> Option<Tie> {
        let (instant, uncertainty_us) = self.timeline.instant_of(index)?;
        Some(Tie::new(
            index,
            moved_to(at, instant),
            uncertainty_us,
            self.rate,
        ))
    }
}

/// The sensor's clock began anew: its time stamps say nothing across this instant.
const fn clock_reset() -> Captured {
    Captured::Event {
        code: "source.clock_reset",
        detail: String::new(),
    }
}
