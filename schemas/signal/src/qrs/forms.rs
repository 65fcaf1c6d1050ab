//! The forms that a patient's beats have, with their history: for beat classes.
//!
//! The reference is the form of the heart's own beats: usual, narrow and not premature.
//! Deliberately absent: finding beats, whose own memory of forms is shorter.

use super::shape::{Shape, Wide};
use crate::num;

/// At most this many forms are kept.
const KEPT: usize = 12;
/// Forms that agree better than this are one.
const SAME: f64 = 0.92;
/// How fast old beats lose weight.
const FADE: f64 = 0.998;
/// How much a new beat changes its form and its history.
const LEARN: f64 = 0.08;
/// A form needs this share of the heaviest one's weight to be the reference.
const REFERENCE_SHARE: f64 = 0.2;
/// What a millisecond of width, and a tenth of prematurity, cost a would-be reference.
const COST_PER_MS: f64 = 0.06;
const COST_PER_TENTH_EARLY: f64 = 0.5;

/// One beat's odds count for its form up to this, and from this many beats on.
const SUREST: f64 = 4.0;
const TRUSTED: u64 = 4;

#[derive(Clone, Debug)]
struct Known {
    shape: Shape,
    wide: Wide,
    weight: f64,
    beats: u64,
    early: f64,
    width_ms: f64,
    /// Mean of what was said of its beats, and of how many.
    odds: f64,
    judged: u64,
}

/// The forms of one lead.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forms(Vec<Known>);

/// How a beat's form stands among those known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Form {
    /// The form of the heart's own beats.
    pub(crate) reference: Shape,
    /// The same with P and T waves.
    pub(crate) reference_wide: Wide,
    /// Whether the beat has that form.
    pub(crate) is_reference: bool,
    /// Share of recent beats that have the beat's form.
    pub(crate) share: f64,
    /// Their mean interval before, over the usual one.
    pub(crate) early: f64,
    /// How like the beat is to its form.
    pub(crate) likeness: f64,
    /// The beat's form, for [`Forms::weigh`] before the next beat is learnt.
    place: usize,
}

impl Forms {
    /// Adds a beat, whose interval over the usual one is `early`, and says how it stands.
    pub(crate) fn learn(&mut self, shape: &Shape, wide: &Wide, early: f64) -> Form {
        for known in &mut self.0 {
            known.weight *= FADE;
        }
        let (place, likeness) = self.place(shape, wide, early);
        let total: f64 = self.0.iter().map(|known| known.weight).sum();
        let reference = self.reference();
        let known = reference.and_then(|at| self.0.get(at));
        let own = self.0.get(place);
        Form {
            reference: known.map_or(*shape, |known| known.shape),
            reference_wide: known.map_or(*wide, |known| known.wide),
            is_reference: reference == Some(place),
            share: own.map_or(0.0, |known| known.weight / total.max(1e-9)),
            early: own.map_or(1.0, |known| known.early),
            likeness,
            place,
        }
    }

    /// The odds of a class for a beat, from those that its timing and form have by
    /// themselves and from those of the beats of the same form: alike beats have one origin.
    pub(crate) fn weigh(&mut self, form: &Form, odds: f64) -> f64 {
        let Some(known) = self.0.get_mut(form.place) else {
            return odds;
        };
        known.judged += 1;
        let share = LEARN.max(1.0 / num::float_u64(known.judged));
        known.odds += share * (odds.clamp(-SUREST, SUREST) - known.odds);
        if known.judged < TRUSTED {
            odds
        } else {
            f64::midpoint(odds, known.odds)
        }
    }

    /// Puts a beat to its form, or begins a new one: its place and likeness.
    fn place(&mut self, shape: &Shape, wide: &Wide, early: f64) -> (usize, f64) {
        let nearest = self
            .0
            .iter()
            .map(|known| shape.likeness(&known.shape))
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((place, likeness)) = nearest.filter(|(_, likeness)| *likeness > SAME)
            && let Some(known) = self.0.get_mut(place)
        {
            known.weight += 1.0;
            known.beats += 1;
            let share = LEARN.max(1.0 / num::float_u64(known.beats));
            known.shape.blend(shape, share);
            known.wide.blend(wide, share);
            known.early += share * (early - known.early);
            known.width_ms = known.shape.width_ms();
            return (place, likeness);
        }
        if self.0.len() == KEPT {
            let lightest = self
                .0
                .iter()
                .enumerate()
                .min_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight))
                .map(|(place, _)| place);
            if let Some(place) = lightest {
                self.0.swap_remove(place);
            }
        }
        self.0.push(Known {
            shape: *shape,
            wide: *wide,
            weight: 1.0,
            beats: 1,
            early,
            width_ms: shape.width_ms(),
            odds: 0.0,
            judged: 0,
        });
        (
            self.0.len() - 1,
            nearest.map_or(0.0, |(_, likeness)| likeness),
        )
    }

    fn reference(&self) -> Option<usize> {
        let heaviest = self.0.iter().map(|known| known.weight).fold(0.0, f64::max);
        self.0
            .iter()
            .enumerate()
            .filter(|(_, known)| known.weight >= REFERENCE_SHARE * heaviest)
            .max_by(|(_, a), (_, b)| a.worth().total_cmp(&b.worth()))
            .map(|(place, _)| place)
    }
}

impl Known {
    fn worth(&self) -> f64 {
        let early = (1.0 - self.early).max(0.0) * 10.0;
        libm::log(self.weight.max(1e-9))
            - COST_PER_MS * self.width_ms
            - COST_PER_TENTH_EARLY * early
    }
}

#[cfg(test)]
mod tests {
    use super::{Forms, Shape, Wide};
    use crate::qrs::shape::{POINTS, WIDE};

    fn no_waves() -> Wide {
        Wide::centred([0.0; WIDE])
    }

    fn bump(width: f64) -> Shape {
        Shape::centred(core::array::from_fn(|n| {
            let x = (crate::num::float(n) - 16.0) / width;
            libm::exp(-x * x)
        }))
    }

    #[test]
    fn narrow_beats_in_time_stay_the_reference_in_bigeminy() {
        let mut forms = Forms::default();
        let mut last = None;
        for _ in 0..40 {
            forms.learn(&bump(2.0), &no_waves(), 1.2);
            last = Some(forms.learn(&bump(7.0), &no_waves(), 0.8));
        }
        let wide = last.unwrap();
        assert!(!wide.is_reference);
        assert!(wide.reference.width_ms() < bump(4.0).width_ms());
        assert!((wide.early - 0.8).abs() < 1e-6);
        assert!((wide.share - 0.5).abs() < 0.1);
    }

    #[test]
    fn a_first_beat_is_its_own_reference() {
        let form = Forms::default().learn(&bump(3.0), &no_waves(), 1.0);
        assert!(form.is_reference);
        assert_eq!(form.reference.0.len(), POINTS);
    }
}
