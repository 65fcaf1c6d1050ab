//! Intervals and ST levels of a stretch, with what they rest on.
//!
//! Deliberately absent: what is normal, and any word of a diagnosis. ST levels are those of
//! the signal as recorded: a device that filters above 0.05 Hz bends them.

use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;

use super::marks::{BeatMarks, delineate};
use super::median::{BeatLead, MedianBeat, median_beats};
use super::{ALGORITHM, STEP_MS};
use crate::num;

/// Beats of one form that a measurement needs.
const LEAST_BEATS: usize = 4;
/// Leads agree on a mark within this, in milliseconds, and so many of them have to.
const AGREE_MS: f64 = 15.0;
const AGREE: usize = 3;
/// The end of the T wave is where leads agree within this, in milliseconds.
const T_SPREAD_MS: f64 = 60.0;
/// ST is read this long after the J point, in milliseconds, below and from 120 /min on.
const ST_MS: (f64, f64) = (80.0, 60.0);
const ST_FAST_BPM: f64 = 120.0;
/// The level that ST is read against lies this long before the QRS, in milliseconds.
const LEVEL_MS: (f64, f64) = (24.0, 8.0);

/// Why an interval was not measured: a result, not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmeasured {
    /// No lead is good enough for the whole wave.
    #[error("could not measure: no lead is good over ten seconds")]
    Quality,
    /// Too few beats of one form.
    #[error("could not measure: {have} beat(s) of one form, {LEAST_BEATS} are needed")]
    TooFewBeats {
        /// How many there are.
        have: usize,
    },
    /// The wave was not found in enough leads.
    #[error("could not measure: the {wave} wave does not stand out")]
    NoWave {
        /// Which one: P, QRS or T.
        wave: &'static str,
    },
    /// The leads do not agree on the end of the T wave.
    #[error("could not measure: the leads do not agree where the T wave ends")]
    LeadsDisagree,
    /// The rhythm is irregular: there is no steady P wave to measure from.
    #[error("could not measure: the rhythm is irregular")]
    Irregular,
}

impl Unmeasured {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Quality => "measure.quality",
            Self::TooFewBeats { .. } => "measure.too-few-beats",
            Self::NoWave { .. } => "measure.no-wave",
            Self::LeadsDisagree => "measure.leads-disagree",
            Self::Irregular => "measure.irregular",
        }
    }
}

/// Level of the ST segment against the level before the QRS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StLevel {
    /// Millivolts; positive is up.
    pub mv: f64,
    /// So long after the J point, in milliseconds.
    pub after_j_ms: f64,
}

/// What one lead shows.
#[derive(Clone, Debug, PartialEq)]
pub struct LeadMeasurement {
    /// What a person calls it.
    pub label: String,
    /// The standard lead, if it is one.
    pub lead: Option<Lead>,
    /// Where its waves begin and end.
    pub marks: BeatMarks,
    /// ST level, if the lead is good and has a QRS.
    pub st: Option<StLevel>,
    /// The beat that all this was read from.
    pub median: MedianBeat,
}

/// What a stretch shows. Intervals are from the earliest beginning to the latest end that
/// leads agree on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurements {
    /// The first sample of the stretch, and the one after its last.
    pub from: SampleIndex,
    /// See `from`.
    pub to: SampleIndex,
    /// The beats that the median beat is made of.
    pub beats: Vec<SampleIndex>,
    /// Mean interval between the beats of the stretch, in seconds.
    pub rr_s: f64,
    /// From the beginning of P to the beginning of QRS, in milliseconds.
    pub pr_ms: Result<f64, Unmeasured>,
    /// Width of the QRS, in milliseconds.
    pub qrs_ms: Result<f64, Unmeasured>,
    /// From the beginning of QRS to the end of T, in milliseconds.
    pub qt_ms: Result<f64, Unmeasured>,
    /// Where the waves of all leads begin and end.
    pub marks: BeatMarks,
    /// The leads that are good, in the recording's order.
    pub leads: Vec<LeadMeasurement>,
    /// Who says so.
    pub algorithm: AlgorithmId,
}

impl Measurements {
    /// QT at a rate of 60 /min after Bazett, `QT / sqrt(RR)`, in milliseconds.
    ///
    /// # Errors
    /// Why there is no QT.
    pub fn qtc_bazett_ms(&self) -> Result<f64, Unmeasured> {
        self.qt_ms.map(|qt_ms| qt_ms / self.rr_s.sqrt())
    }

    /// QT at a rate of 60 /min after Fridericia, `QT / cbrt(RR)`, in milliseconds. The one
    /// to use outside of 60 to 90 /min.
    ///
    /// # Errors
    /// Why there is no QT.
    pub fn qtc_fridericia_ms(&self) -> Result<f64, Unmeasured> {
        self.qt_ms.map(|qt_ms| qt_ms / libm::cbrt(self.rr_s))
    }

    /// Mean rate of the stretch, per minute.
    pub fn rate_bpm(&self) -> f64 {
        60.0 / self.rr_s
    }
}

/// Measures a stretch that begins at `from`: `leads` over all of it, and the beats in it. An
/// `irregular` stretch has no PR interval.
///
/// # Errors
/// Why nothing can be measured.
pub fn measure(
    leads: &[BeatLead],
    beats: &[Beat],
    from: SampleIndex,
    rate: SamplingRate,
    irregular: bool,
) -> Result<Measurements, Unmeasured> {
    let good: Vec<BeatLead> = leads.iter().filter(|lead| lead.good).cloned().collect();
    let length = good.first().map(|lead| lead.mv.len());
    let length = length.ok_or(Unmeasured::Quality)?;
    let to = SampleIndex(from.0.saturating_add(num::count(length)));
    let inside: Vec<Beat> = beats
        .iter()
        .filter(|beat| beat.at >= from && beat.at < to)
        .copied()
        .collect();
    let usual = usual_class(&inside);
    let place = |at: SampleIndex| num::float_u64(at.0.saturating_sub(from.0));
    let own: Vec<SampleIndex> = inside
        .iter()
        .filter(|beat| beat.class == usual)
        .map(|beat| beat.at)
        .collect();
    let r: Vec<f64> = own.iter().map(|at| place(*at)).collect();
    let (medians, kept) = median_beats(&good, &r, rate);
    let rr_s = mean_interval_s(&inside, rate);
    let rr_s = rr_s
        .filter(|_| kept.len() >= LEAST_BEATS)
        .ok_or(Unmeasured::TooFewBeats { have: kept.len() })?;
    let each: Vec<BeatMarks> = medians
        .iter()
        .map(|beat| delineate(&beat.mv, beat.r, rr_s, rr_s))
        .collect();
    let marks = together(&each);
    let rows = good.into_iter().zip(medians).zip(each);
    Ok(Measurements {
        from,
        to,
        beats: kept.iter().filter_map(|at| own.get(*at).copied()).collect(),
        rr_s,
        pr_ms: pr(&marks, irregular),
        qrs_ms: between(marks.qrs_on_ms, marks.qrs_off_ms, "QRS"),
        qt_ms: qt(&marks, rows.clone().map(|(_, marks)| marks)),
        marks,
        leads: rows
            .map(|((lead, median), own)| LeadMeasurement {
                label: lead.label,
                lead: lead.lead,
                marks: own,
                st: st_level(&median, &marks, rr_s),
                median,
            })
            .collect(),
        algorithm: ALGORITHM,
    })
}

/// Where the waves of all leads begin and end, from their median beats.
pub(crate) fn lead_marks(medians: &[MedianBeat], rr_s: f64) -> BeatMarks {
    let each: Vec<BeatMarks> = medians
        .iter()
        .map(|beat| delineate(&beat.mv, beat.r, rr_s, rr_s))
        .collect();
    together(&each)
}

/// The class that most of the beats have.
fn usual_class(beats: &[Beat]) -> Option<BeatClass> {
    let count = |class| beats.iter().filter(|beat| beat.class == class).count();
    beats
        .iter()
        .map(|beat| beat.class)
        .max_by_key(|class| count(*class))
        .flatten()
}

fn mean_interval_s(beats: &[Beat], rate: SamplingRate) -> Option<f64> {
    let (first, last) = (beats.first()?, beats.last()?);
    let span_us = rate
        .micros_at(last.at)
        .saturating_sub(rate.micros_at(first.at));
    let intervals = num::float(beats.len().saturating_sub(1));
    (intervals > 0.0 && span_us > 0).then(|| num::float_u64(span_us) / 1e6 / intervals)
}

/// Marks over all leads: the outermost that enough of them agree on.
fn together(each: &[BeatMarks]) -> BeatMarks {
    let mark = |of: fn(&BeatMarks) -> Option<f64>, first: bool| {
        let mut told: Vec<f64> = each.iter().filter_map(of).collect();
        // In most of the leads, or it is none.
        if 2 * told.len() < each.len() || told.is_empty() {
            return None;
        }
        told.sort_by(f64::total_cmp);
        if !first {
            told.reverse();
        }
        let others = AGREE.min(told.len()) - 1;
        told.iter()
            .zip(told.iter().skip(others))
            .find(|(outer, inner)| (*inner - *outer).abs() <= AGREE_MS)
            .map(|(outer, _)| *outer)
            .or_else(|| told.get(told.len() / 2).copied())
    };
    let mut tops: Vec<f64> = each.iter().filter_map(|marks| marks.t_peak_ms).collect();
    BeatMarks {
        p_on_ms: mark(|marks| marks.p_on_ms, true),
        p_off_ms: mark(|marks| marks.p_off_ms, false),
        qrs_on_ms: mark(|marks| marks.qrs_on_ms, true),
        qrs_off_ms: mark(|marks| marks.qrs_off_ms, false),
        t_peak_ms: (!tops.is_empty()).then(|| num::median(&mut tops)),
        t_off_ms: mark(|marks| marks.t_off_ms, false),
    }
}

fn between(from: Option<f64>, to: Option<f64>, wave: &'static str) -> Result<f64, Unmeasured> {
    match (from, to) {
        (Some(from), Some(to)) if to > from => Ok(to - from),
        _ => Err(Unmeasured::NoWave { wave }),
    }
}

fn pr(marks: &BeatMarks, irregular: bool) -> Result<f64, Unmeasured> {
    if irregular {
        return Err(Unmeasured::Irregular);
    }
    between(marks.p_on_ms, marks.qrs_on_ms, "P")
}

fn qt(marks: &BeatMarks, each: impl Iterator<Item = BeatMarks>) -> Result<f64, Unmeasured> {
    let mut ends: Vec<f64> = each.filter_map(|marks| marks.t_off_ms).collect();
    let middle = num::median(&mut ends.clone());
    let apart = ends.iter_mut().map(|end| (*end - middle).abs());
    let mut apart: Vec<f64> = apart.collect();
    if num::median(&mut apart) > T_SPREAD_MS {
        return Err(Unmeasured::LeadsDisagree);
    }
    between(marks.qrs_on_ms, marks.t_off_ms, "T")
}

fn st_level(beat: &MedianBeat, marks: &BeatMarks, rr_s: f64) -> Option<StLevel> {
    let after_j_ms = if 60.0 / rr_s < ST_FAST_BPM {
        ST_MS.0
    } else {
        ST_MS.1
    };
    let (on, off) = (marks.qrs_on_ms?, marks.qrs_off_ms?);
    let level = mean_mv(beat, on - LEVEL_MS.0, on - LEVEL_MS.1)?;
    let st = off + after_j_ms;
    Some(StLevel {
        mv: mean_mv(beat, st - STEP_MS, st + STEP_MS)? - level,
        after_j_ms,
    })
}

/// Mean of a beat between two times from its R peak.
fn mean_mv(beat: &MedianBeat, from_ms: f64, to_ms: f64) -> Option<f64> {
    let place = |ms: f64| num::round_usize(num::float(beat.r) + ms / STEP_MS);
    let part = beat.mv.get(place(from_ms)..=place(to_ms))?;
    Some(part.iter().sum::<f64>() / num::float(part.len()).max(1.0))
}
