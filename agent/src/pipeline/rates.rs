//! What a heart-rate sensor tells, on the time line of one acquisition: placed by its arrival,
//! judged by its contact, cut into stretches.
//!
//! A sensor tells about once a second and says neither when nor how often, so a loss shows by
//! silence only: two tellings at most [`SILENCE_MAX`] apart are taken to follow each other, and a
//! longer silence is a gap up to the second before the next one. Whether every interval between two
//! beats came cannot be proved and is not claimed.
//!
//! Deliberately absent: which acquisition runs, and where the beats lie.

use cardio_core::acquisition::Attendance;
use cardio_core::clock::{BoxInstant, ClockReading};
use cardio_core::gap::{Gap, GapCause};
use cardio_core::heart_rate::{RR_UNITS_PER_S, SkinContact, ToldRate};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{
    AlgorithmId, LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex,
};
use cardio_core::rate::SamplingRate;
use cardio_core::timeline::TimelineCounts;
use cardio_wire::record::{HeartRateFactsV1, QualityFactsV1};

use super::align::Tie;
use super::samples::span_us;
use super::{Assessment, Captured, ClosedRates};

/// What one telling speaks of: the second before it.
pub(super) const PERIOD: SampleCount = SampleCount(1024);
/// Tellings further apart than this do not follow each other: one may be late, two are not.
const SILENCE_MAX: SampleCount = SampleCount(3 * 1024);
/// How far the instant of a telling may be wrong: it is known by its arrival, and speaks of the
/// second before.
const UNCERTAINTY_US: u64 = 1_000_000;
/// The window that is judged.
const WINDOW: SampleCount = SampleCount(10 * 1024);
/// Tellings in one stretch, at most: a sensor that tells more often gets shorter stretches.
const TOLD_MAX: usize = 64;

/// Contact as the sensor tells it, version 1: without contact or without a rate nothing can be
/// used; with both, beats can; a wave there is none.
const CONTACT_ALGORITHM: AlgorithmId = AlgorithmId {
    name: "sensor-contact",
    version: 1,
};
/// The rate as the sensor tells it, by means that only its maker knows.
const RATE_ALGORITHM: AlgorithmId = AlgorithmId {
    name: "sensor-rate",
    version: 1,
};

/// The rates of an acquisition that runs.
pub(super) struct RateLine {
    rate: SamplingRate,
    span: SampleCount,
    /// Ties the time line to the box's clock.
    tie: Option<(SampleIndex, BoxInstant)>,
    next: SampleIndex,
    /// Since where nothing is missing.
    whole_since: SampleIndex,
    counts: TimelineCounts,
    open: Option<ClosedRates>,
}

impl RateLine {
    pub(super) fn new(attendance: Attendance, start: SampleIndex) -> Self {
        let rate =
            SamplingRate::hz(RR_UNITS_PER_S).expect("invariant: 1024 per second is above zero");
        Self {
            rate,
            span: rate.count_in_micros(span_us(attendance)),
            tie: None,
            next: start,
            whole_since: start,
            counts: TimelineCounts::default(),
            open: None,
        }
    }

    pub(super) const fn next(&self) -> SampleIndex {
        self.next
    }

    pub(super) const fn counts(&self) -> TimelineCounts {
        self.counts
    }

    /// Takes what was told at `at`; `away` says why the source was absent before, if it was.
    pub(super) fn take(
        &mut self,
        told: ToldRate,
        away: Option<GapCause>,
        at: ClockReading,
        out: &mut Vec<Captured>,
    ) {
        let end = self.index_at(at.box_instant);
        let tie = Tie::new(end, at, UNCERTAINTY_US, self.rate);
        let since = end.since(self.next).unwrap_or_default();
        if away.is_some() || since > SILENCE_MAX {
            let len = since.0.saturating_sub(PERIOD.0).max(1);
            let gap = Gap {
                from: self.next,
                len: SampleCount(len),
                uncertainty: PERIOD,
                cause: away.unwrap_or(GapCause::FewerThanTime),
            };
            self.pass_over(gap, &tie, out);
        }
        let end = end.max(self.next.after(SampleCount(1)));
        let len = end.since(self.next).unwrap_or_default();
        self.counts.samples = SampleCount(self.counts.samples.0.saturating_add(len.0));
        let assessment = self.assess(&told, end, &tie);
        let first = self.next;
        let open = self.open.get_or_insert_with(|| ClosedRates {
            first,
            len: SampleCount(0),
            anchor: tie.anchor(first),
            told: Vec::new(),
            closed_at: at.box_instant,
        });
        open.len = end.since(open.first).unwrap_or_default();
        open.told.push((open.len, told));
        open.closed_at = at.box_instant;
        let is_full = open.told.len() >= TOLD_MAX;
        self.next = end;
        if is_full || first.0 / self.span.0.max(1) < end.0 / self.span.0.max(1) {
            self.cut(out);
        }
        out.push(Captured::Assessment(Box::new(assessment)));
    }

    /// Goes on behind a gap that the box knows of.
    pub(super) fn resume(&mut self, gap: Gap, at: ClockReading, out: &mut Vec<Captured>) {
        self.tie = None;
        let end = gap.end().after(PERIOD);
        let tie = Tie::new(end, at, UNCERTAINTY_US, self.rate);
        self.pass_over(gap, &tie, out);
    }

    fn pass_over(&mut self, gap: Gap, tie: &Tie, out: &mut Vec<Captured>) {
        self.cut(out);
        self.next = gap.end();
        self.whole_since = self.next;
        self.counts.gaps = self.counts.gaps.saturating_add(1);
        self.counts.missing.0 = self.counts.missing.0.saturating_add(gap.len.0);
        out.push(Captured::Gap {
            gap,
            near: Some(tie.anchor(gap.end())),
        });
    }

    pub(super) fn cut(&mut self, out: &mut Vec<Captured>) {
        out.extend(self.open.take().map(Captured::Rates));
    }

    /// Where an instant lies on the time line. What is told first ends its first second.
    fn index_at(&mut self, at: BoxInstant) -> SampleIndex {
        let first = (self.next.after(PERIOD), at);
        let (index, since) = *self.tie.get_or_insert(first);
        let passed = at.micros_since(&since).unwrap_or(0);
        index
            .after(self.rate.count_in_micros(passed))
            .max(self.next)
    }

    fn assess(&self, told: &ToldRate, end: SampleIndex, tie: &Tie) -> Assessment {
        let earliest = SampleIndex(end.0.saturating_sub(WINDOW.0));
        let first = earliest.max(self.whole_since);
        let bpm = told.usable_bpm();
        let overall = LeadQuality {
            index: SignalQualityIndex::clamped(match (bpm, told.contact) {
                (None, _) => 0.0,
                (_, SkinContact::On) => 1.0,
                (_, SkinContact::Unknown | SkinContact::Off) => 0.5,
            }),
            verdict: match bpm {
                Some(_) => QualityVerdict::Acceptable,
                None => QualityVerdict::Insufficient,
            },
            causes: match (bpm, told.contact) {
                (Some(_), _) => Vec::new(),
                (None, SkinContact::Off) => vec![QualityCause::LeadOff],
                (None, _) => vec![QualityCause::NoRhythm],
            },
        };
        let name = |id: AlgorithmId| (id.name.to_owned(), id.version);
        Assessment {
            window_start: tie.anchor(first),
            quality: QualityFactsV1 {
                first,
                len: end.since(first).unwrap_or_default(),
                overall,
                per_lead: Vec::new(),
                algorithm: name(CONTACT_ALGORITHM),
            },
            heart_rate: HeartRateFactsV1 {
                bpm: bpm.map(f64::from),
                beats: Vec::new(),
                undetermined: bpm.is_none().then(|| match told.contact {
                    SkinContact::Off => "no-contact".to_owned(),
                    SkinContact::On | SkinContact::Unknown => "not-told".to_owned(),
                }),
                algorithm: name(RATE_ALGORITHM),
            },
            suspect_electrode: None,
        }
    }
}

#[cfg(test)]
mod tests;
