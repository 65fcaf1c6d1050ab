//! Beginning and end of the waves of one beat in one lead.
//!
//! Deliberately absent: several leads (see `measure`), and beats that nobody found.

use super::wavelet::slope;
use super::{STEP_MS, WORK_HZ};
use crate::num;

/// Widths of the slopes that see the QRS and the slow waves, in samples at [`WORK_HZ`]:
/// the scales 2 and 4 of the publication.
const FAST: usize = 5;
const SLOW: usize = 17;

/// Marks of one beat, in milliseconds from the sample that was called its R peak. A wave
/// that was not found has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BeatMarks {
    /// Beginning of the P wave.
    pub p_on_ms: Option<f64>,
    /// End of the P wave.
    pub p_off_ms: Option<f64>,
    /// Beginning of the QRS complex.
    pub qrs_on_ms: Option<f64>,
    /// End of the QRS complex, the J point.
    pub qrs_off_ms: Option<f64>,
    /// Peak of the T wave.
    pub t_peak_ms: Option<f64>,
    /// End of the T wave.
    pub t_off_ms: Option<f64>,
}

/// Shares of a slope at which a wave begins or ends, and what counts as part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// A slope before, and after, the steepest of the QRS belongs to it from this share on.
    pub qrs_before: f64,
    /// See `qrs_before`.
    pub qrs_after: f64,
    /// The QRS begins where the first slope has fallen to this share.
    pub qrs_on: f64,
    /// The QRS ends where the last slope has fallen to this share.
    pub qrs_off: f64,
    /// Two slopes of the QRS lie no further apart than this, in milliseconds.
    pub qrs_apart_ms: f64,
    /// A slope belongs to the T wave from this share of its steepest on.
    pub t_part: f64,
    /// The T wave ends where the last slope has fallen to this share.
    pub t_off: f64,
    /// A T wave is one from this share of the slope of the QRS on.
    pub t_least: f64,
    /// The P wave begins where the first slope has fallen to this share.
    pub p_on: f64,
    /// The P wave ends where the last slope has fallen to this share.
    pub p_off: f64,
    /// A P wave is one from this share of the slope of the QRS on.
    pub p_least: f64,
}

impl Default for Limits {
    /// Found by `examples/evaluate -- delineation-limits` on the odd records of LUDB and of the
    /// QT database, from those of the publication.
    fn default() -> Self {
        Self {
            qrs_before: 0.15,
            qrs_after: 0.125,
            qrs_on: 0.037,
            qrs_off: 0.13,
            qrs_apart_ms: 64.0,
            t_part: 0.05,
            t_off: 0.4,
            t_least: 0.01,
            p_on: 0.6,
            p_off: 0.6,
            p_least: 0.005,
        }
    }
}

/// Marks the beat whose R peak is at `r` of `beat`, samples at [`WORK_HZ`]; the beats before
/// and after it lie so many seconds away.
pub fn delineate(beat: &[f64], r: usize, before_s: f64, after_s: f64) -> BeatMarks {
    delineate_with(&Limits::default(), beat, r, before_s, after_s)
}

/// As [`delineate`] by other limits, to measure them.
pub fn delineate_with(
    limits: &Limits,
    beat: &[f64],
    r: usize,
    before_s: f64,
    after_s: f64,
) -> BeatMarks {
    let mut marks = BeatMarks::default();
    let fast = Slope(slope(beat, FAST));
    let Some((on, off)) = qrs(limits, &fast, r) else {
        return marks;
    };
    marks.qrs_on_ms = Some(from_r(on, r));
    marks.qrs_off_ms = Some(from_r(off, r));
    let slow = Slope(slope(beat, SLOW));
    let steepest = slow.steepest(on, off).map_or(0.0, |at| slow.size(at));
    let t_to = r + samples((after_s - 0.2).clamp(0.25, 0.75));
    if let Some((_, peak, end)) = wave(
        &slow,
        (off + samples(0.04), t_to),
        limits.t_least * steepest,
        (limits.t_part, 1.0, limits.t_off),
    ) {
        marks.t_peak_ms = Some(from_r(peak, r));
        marks.t_off_ms = Some(from_r(end, r));
    }
    let p_from = on.saturating_sub(samples((0.45 * before_s).clamp(0.1, 0.3)));
    if let Some((begin, _, end)) = wave(
        &slow,
        (p_from, on.saturating_sub(samples(0.01))),
        limits.p_least * steepest,
        (0.5, limits.p_on, limits.p_off),
    ) {
        marks.p_on_ms = Some(from_r(begin, r));
        marks.p_off_ms = Some(from_r(end.min(on), r));
    }
    marks
}

fn samples(seconds: f64) -> usize {
    num::round_usize(seconds * WORK_HZ)
}

fn from_r(at: usize, r: usize) -> f64 {
    (num::float(at) - num::float(r)) * STEP_MS
}

/// A slope, with what delineation asks of it.
struct Slope(Vec<f64>);

impl Slope {
    fn at(&self, place: usize) -> f64 {
        self.0.get(place).copied().unwrap_or(0.0)
    }

    fn size(&self, place: usize) -> f64 {
        self.at(place).abs()
    }

    /// The steepest place of a stretch.
    fn steepest(&self, from: usize, to: usize) -> Option<usize> {
        (from..to.min(self.0.len())).max_by(|a, b| self.size(*a).total_cmp(&self.size(*b)))
    }

    /// Whether the slope is steepest here among its neighbours.
    fn is_top(&self, place: usize) -> bool {
        place > 0
            && self.size(place) > self.size(place - 1)
            && self.size(place) >= self.size(place + 1)
    }

    /// The first place from `top` on, in steps of one to the left or right, at which the
    /// slope has fallen to a share of what it is there, or rises again.
    fn foot(&self, top: usize, share: f64, left: bool) -> usize {
        let limit = share * self.size(top);
        let mut at = top;
        loop {
            let next = if left { at.wrapping_sub(1) } else { at + 1 };
            if next >= self.0.len() {
                return at;
            }
            let crossed = self.at(next) * self.at(top) < 0.0;
            if crossed || (at != top && self.size(next) > self.size(at)) {
                return at;
            }
            at = next;
            if self.size(at) <= limit {
                return at;
            }
        }
    }
}

/// Beginning and end of the QRS around `r`.
fn qrs(limits: &Limits, fast: &Slope, r: usize) -> Option<(usize, usize)> {
    let near = samples(0.09);
    let steepest = fast.steepest(r.saturating_sub(near), r + near)?;
    let top = fast.size(steepest);
    if top <= 0.0 {
        return None;
    }
    let apart = samples(limits.qrs_apart_ms / 1_000.0);
    let (mut first, mut last) = (steepest, steepest);
    let earliest = r.saturating_sub(samples(0.18));
    for place in (earliest..steepest).rev() {
        if first - place > apart {
            break;
        }
        if fast.is_top(place) && fast.size(place) >= limits.qrs_before * top {
            first = place;
        }
    }
    for place in steepest + 1..(r + samples(0.2)).min(fast.0.len()) {
        if place - last > apart {
            break;
        }
        if fast.is_top(place) && fast.size(place) >= limits.qrs_after * top {
            last = place;
        }
    }
    Some((
        fast.foot(first, limits.qrs_on, true),
        fast.foot(last, limits.qrs_off, false),
    ))
}

/// Beginning, peak and end of the slow wave in a stretch: its steepest slope, and on either
/// side the slopes of at least the first of `shares` of it.
fn wave(
    slow: &Slope,
    (from, to): (usize, usize),
    least: f64,
    (part, on, off): (f64, f64, f64),
) -> Option<(usize, usize, usize)> {
    let tops: Vec<usize> = (from..to.min(slow.0.len()))
        .filter(|place| slow.is_top(*place))
        .collect();
    let steepest = tops
        .iter()
        .copied()
        .max_by(|a, b| slow.size(*a).total_cmp(&slow.size(*b)))?;
    let size = slow.size(steepest);
    if size < least {
        return None;
    }
    let parts: Vec<usize> = tops
        .into_iter()
        .filter(|place| slow.size(*place) >= part * size)
        .collect();
    let place = parts.iter().position(|top| *top == steepest)?;
    // The slope of opposite sign next to the steepest one makes the wave with it.
    let opposite = |other: &&usize| slow.at(**other) * slow.at(steepest) < 0.0;
    let before = place
        .checked_sub(1)
        .and_then(|at| parts.get(at))
        .filter(opposite);
    let after = parts.get(place + 1).filter(opposite);
    let (first, last) = match (before, after) {
        (Some(before), Some(after)) if slow.size(*before) > slow.size(*after) => {
            (*before, steepest)
        }
        (_, Some(after)) => (steepest, *after),
        (Some(before), None) => (*before, steepest),
        (None, None) => return None,
    };
    let peak = (first..last)
        .min_by(|a, b| slow.size(*a).total_cmp(&slow.size(*b)))
        .unwrap_or(first);
    Some((
        slow.foot(first, on, true),
        peak,
        slow.foot(last, off, false),
    ))
}

#[cfg(test)]
mod tests {
    use super::delineate;
    use proptest::prelude::*;

    /// A beat with P, QRS and T as raised cosines: centre, half width and height, in
    /// milliseconds and millivolts from the R peak at 400 ms.
    const WAVES: [(f64, f64, f64); 5] = [
        (-160.0, 50.0, 0.12),
        (-30.0, 18.0, -0.25),
        (0.0, 22.0, 1.2),
        (26.0, 16.0, -0.25),
        (260.0, 110.0, 0.3),
    ];

    fn beat(factor: f64) -> Vec<f64> {
        (0..600)
            .map(|place| {
                let ms = f64::from(place - 200) * 2.0;
                WAVES
                    .iter()
                    .filter(|(centre, half, _)| (ms - centre).abs() < *half)
                    .map(|(centre, half, height)| {
                        let turn = core::f64::consts::PI * (ms - centre) / half;
                        factor * height * (1.0 + libm::cos(turn)) / 2.0
                    })
                    .sum()
            })
            .collect()
    }

    #[test]
    fn waves_of_known_length_are_marked_where_they_begin_and_end() {
        for factor in [1.0, -1.0, 0.1] {
            let marks = delineate(&beat(factor), 200, 1.0, 1.0);
            for (told, truth, within) in [
                (marks.p_on_ms, -210.0, 25.0),
                (marks.p_off_ms, -110.0, 25.0),
                (marks.qrs_on_ms, -48.0, 12.0),
                (marks.qrs_off_ms, 42.0, 12.0),
                (marks.t_peak_ms, 260.0, 4.0),
                (marks.t_off_ms, 370.0, 40.0),
            ] {
                let told = told.unwrap();
                assert!((told - truth).abs() <= within, "{told} is not {truth}");
            }
        }
    }

    #[test]
    fn a_flat_line_has_no_waves() {
        assert_eq!(
            delineate(&[0.25; 600], 200, 1.0, 1.0),
            super::BeatMarks::default()
        );
        assert_eq!(delineate(&[], 7, 1.0, 1.0), super::BeatMarks::default());
    }

    proptest! {
        #[test]
        fn any_signal_gives_marks_in_order_or_none(
            beat in prop::collection::vec(-5.0..5.0_f64, 0..700),
            r in 0_usize..700,
            before_s in 0.0..3.0_f64,
            after_s in 0.0..3.0_f64,
        ) {
            let marks = delineate(&beat, r, before_s, after_s);
            let order = [marks.p_on_ms, marks.p_off_ms, marks.qrs_on_ms, marks.qrs_off_ms, marks.t_peak_ms, marks.t_off_ms];
            let told: Vec<f64> = order.into_iter().flatten().collect();
            prop_assert!(told.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", marks);
        }
    }
}
