//! The median beat of each lead over a stretch, all leads aligned together.
//!
//! Beats that do not look like the others are left out; drift is taken away along a straight
//! line from beat to beat, which leaves the form of each as it was. Deliberately absent: the
//! choice of the stretch and of the beats.

use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;

use super::WORK_HZ;
use crate::num;

/// A beat is looked at from this long before its R peak to this long after, in seconds.
const BEFORE_S: f64 = 0.4;
const AFTER_S: f64 = 0.8;
/// Beats are moved against each other by up to this many samples at [`WORK_HZ`].
const MOVED: i64 = 10;
/// A beat that is less like the median than this is left out.
const LIKE: f64 = 0.85;
/// More beats than this say nothing more.
const MOST_BEATS: usize = 60;
/// The level before the QRS, in seconds before the R peak, that drift is read from.
const LEVEL_S: (f64, f64) = (0.11, 0.09);

/// One lead of a stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct BeatLead {
    /// What a person calls it.
    pub label: String,
    /// The standard lead, if it is one.
    pub lead: Option<Lead>,
    /// Whether the whole wave can be used.
    pub good: bool,
    /// Its samples over the stretch, in millivolts, at the recording's rate.
    pub mv: Vec<f64>,
}

/// The median beat of one lead.
#[derive(Clone, Debug, PartialEq)]
pub struct MedianBeat {
    /// Millivolts over the PR segment where there is one, at [`WORK_HZ`].
    pub mv: Vec<f64>,
    /// Where the R peak is.
    pub r: usize,
}

/// A signal between its samples.
struct Between<'a> {
    mv: &'a [f64],
    rate_hz: f64,
    /// Samples that make up one at [`WORK_HZ`].
    group: usize,
}

impl<'a> Between<'a> {
    fn new(mv: &'a [f64], rate_hz: f64) -> Self {
        Self {
            mv,
            rate_hz,
            group: num::round_usize(rate_hz / WORK_HZ).max(1),
        }
    }

    fn sample(&self, at: i64) -> f64 {
        let last = self.mv.len().saturating_sub(1);
        let place = usize::try_from(at.max(0)).unwrap_or(0).min(last);
        self.mv.get(place).copied().unwrap_or(0.0)
    }

    /// The mean of as many samples as make up one, around a place.
    fn mean(&self, at: i64) -> f64 {
        let group = i64::try_from(self.group).unwrap_or(1);
        let from = at - (group - 1) / 2;
        (from..from + group)
            .map(|place| self.sample(place))
            .sum::<f64>()
            / num::float(self.group)
    }

    /// The value at a place between samples: a cubic through the four around it.
    fn value(&self, at: f64) -> f64 {
        let whole = num::round_i64(at.floor());
        let share = at - at.floor();
        if self.group > 1 {
            let (one, two) = (self.mean(whole), self.mean(whole + 1));
            return one + share * (two - one);
        }
        let points = [-1, 0, 1, 2].map(|step| self.sample(whole + step));
        crate::filter::cubic(&points, share)
    }

    /// A beat at [`WORK_HZ`] around an R peak at sample `r`, with the place of the peak.
    fn beat(&self, r: f64) -> (Vec<f64>, usize) {
        let (before, after) = span();
        let step = self.rate_hz / WORK_HZ;
        let beat = (0..before + after)
            .map(|place| self.value(r + (num::float(place) - num::float(before)) * step))
            .collect();
        (beat, before)
    }
}

/// Samples before and from the R peak on.
fn span() -> (usize, usize) {
    (
        num::round_usize(BEFORE_S * WORK_HZ),
        num::round_usize(AFTER_S * WORK_HZ),
    )
}

/// One beat at [`WORK_HZ`], cut out of millivolts at any rate around an R peak at sample `r`,
/// with the place of the peak.
pub fn cut_beat(mv: &[f64], rate: SamplingRate, r: f64) -> (Vec<f64>, usize) {
    Between::new(mv, rate.as_hz()).beat(r)
}

/// The median beats of a stretch, and the beats that they are made of: places in `r`.
pub(crate) fn median_beats(
    leads: &[BeatLead],
    r: &[f64],
    rate: SamplingRate,
) -> (Vec<MedianBeat>, Vec<usize>) {
    let hz = rate.as_hz();
    let length = leads.first().map_or(0, |lead| lead.mv.len());
    let inside = |at: f64| at >= BEFORE_S * hz && at + AFTER_S * hz <= num::float(length);
    let mut kept: Vec<(usize, i64)> = (0..r.len())
        .filter(|place| r.get(*place).is_some_and(|at| inside(*at)))
        .take(MOST_BEATS)
        .map(|place| (place, 0))
        .collect();
    let cut: Vec<Vec<Vec<f64>>> = leads
        .iter()
        .map(|lead| straightened(&Between::new(&lead.mv, hz), r, hz))
        .collect();
    let (before, after) = span();
    let mut medians = Vec::new();
    for _ in 0..3 {
        medians = cut.iter().map(|beats| median(beats, &kept)).collect();
        for (place, shift) in &mut kept {
            *shift = best_shift(&cut, &medians, *place);
        }
        let like = |(place, shift): &(usize, i64)| {
            likeness(
                &cut,
                &medians,
                *place,
                *shift,
                (before / 2, before + after / 2),
            ) >= LIKE
        };
        kept.retain(like);
    }
    if !kept.is_empty() {
        medians = cut.iter().map(|beats| median(beats, &kept)).collect();
    }
    let beats = medians
        .into_iter()
        .map(|mv| MedianBeat { mv, r: before })
        .collect();
    (beats, kept.into_iter().map(|(place, _)| place).collect())
}

/// Every beat of a lead, without the drift to the next.
fn straightened(lead: &Between<'_>, r: &[f64], hz: f64) -> Vec<Vec<f64>> {
    let level = |at: f64| {
        let (from, to) = (at - LEVEL_S.0 * hz, at - LEVEL_S.1 * hz);
        let steps = 10;
        (0..steps)
            .map(|step| lead.value(from + (to - from) * f64::from(step) / f64::from(steps)))
            .sum::<f64>()
            / f64::from(steps)
    };
    r.iter()
        .enumerate()
        .map(|(place, at)| {
            let next = r.get(place + 1);
            let own = level(*at);
            let per_sample = next.map_or(0.0, |next| {
                (level(*next) - own) / ((next - at) / hz * WORK_HZ).max(1.0)
            });
            let (mut beat, middle) = lead.beat(*at);
            for (step, value) in beat.iter_mut().enumerate() {
                *value -= own + per_sample * (num::float(step) - num::float(middle));
            }
            beat
        })
        .collect()
}

fn moved(beat: &[f64], place: usize, shift: i64) -> f64 {
    let at = i64::try_from(place).unwrap_or(0) + shift;
    let last = beat.len().saturating_sub(1);
    let at = usize::try_from(at.max(0)).unwrap_or(0).min(last);
    beat.get(at).copied().unwrap_or(0.0)
}

fn median(beats: &[Vec<f64>], kept: &[(usize, i64)]) -> Vec<f64> {
    let length = beats.first().map_or(0, Vec::len);
    (0..length)
        .map(|step| {
            let mut values: Vec<f64> = kept
                .iter()
                .filter_map(|(place, shift)| Some(moved(beats.get(*place)?, step, *shift)))
                .collect();
            num::median(&mut values)
        })
        .collect()
}

/// Correlation of a beat with the medians over all leads, in a stretch of the beat.
fn likeness(
    cut: &[Vec<Vec<f64>>],
    medians: &[Vec<f64>],
    place: usize,
    shift: i64,
    (from, to): (usize, usize),
) -> f64 {
    let (mut both, mut one, mut two) = (0.0, 0.0, 0.0);
    for (beats, median) in cut.iter().zip(medians) {
        let Some(beat) = beats.get(place) else {
            continue;
        };
        let length = num::float(to - from).max(1.0);
        let own = (from..to).map(|step| moved(beat, step, shift)).sum::<f64>() / length;
        let part = median.get(from..to).unwrap_or_default();
        let mean = part.iter().sum::<f64>() / length;
        for (step, value) in (from..to).zip(part) {
            let (x, y) = (moved(beat, step, shift) - own, value - mean);
            both += x * y;
            one += x * x;
            two += y * y;
        }
    }
    both / (one * two).sqrt().max(1e-12)
}

/// How far a beat has to be moved to be most like the medians around the R peak.
fn best_shift(cut: &[Vec<Vec<f64>>], medians: &[Vec<f64>], place: usize) -> i64 {
    let (before, _) = span();
    let qrs = (before - before / 4, before + before / 4);
    let mut best = (f64::MIN, 0);
    for step in 0..=MOVED {
        for shift in [step, -step] {
            let told = likeness(cut, medians, place, shift, qrs);
            if told > best.0 {
                best = (told, shift);
            }
        }
    }
    best.1
}
