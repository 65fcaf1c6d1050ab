//! The form of a beat, and the forms that a patient's beats have.
//!
//! Deliberately absent: what a form means; see [`crate::beat`].

use crate::num;

/// Points of a form: 264 ms around the peak at 125 Hz.
pub(crate) const POINTS: usize = 33;
/// Forms are compared with this many points cut at either end, shifted by as much.
const SHIFT: usize = 2;
/// Forms that agree better than this are one.
const SAME: f64 = 0.90;
/// At most this many forms are kept.
const KEPT: usize = 6;
/// How much a new beat changes its form.
const LEARN: f64 = 0.12;
/// How fast old beats lose weight.
const FADE: f64 = 0.985;

/// The form of one beat, in millivolts, mean taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape(pub(crate) [f64; POINTS]);

impl Shape {
    /// Takes the mean off.
    pub(crate) fn centred(mut points: [f64; POINTS]) -> Self {
        let mean = points.iter().sum::<f64>() / num::float(POINTS);
        for point in &mut points {
            *point -= mean;
        }
        Self(points)
    }

    /// Correlation with another form at the best shift within 16 ms.
    pub(crate) fn likeness(&self, other: &Self) -> f64 {
        let core = Still::of(other.0.get(SHIFT..POINTS - SHIFT).unwrap_or_default());
        self.0
            .windows(POINTS - 2 * SHIFT)
            .map(|points| core.correlation(points))
            .fold(-1.0, f64::max)
    }

    /// Differences of neighbouring points.
    pub(crate) fn slopes(&self) -> impl Iterator<Item = f64> + '_ {
        let later = self.0.iter().skip(1);
        self.0
            .iter()
            .zip(later)
            .map(|(before, after)| after - before)
    }

    /// Energy of the slope, and its centre in points.
    pub(crate) fn slope_centre(&self) -> (f64, f64) {
        let (mut mass, mut moment) = (0.0, 0.0);
        for (place, slope) in self.slopes().enumerate() {
            mass += slope * slope;
            moment += slope * slope * num::float(place);
        }
        (mass, moment / f64::max(mass, 1e-12))
    }

    /// Spread of the slope's energy around its centre, in milliseconds.
    pub(crate) fn width_ms(&self) -> f64 {
        let (mass, centre) = self.slope_centre();
        let mut spread = 0.0;
        for (place, slope) in self.slopes().enumerate() {
            let away = num::float(place) - centre;
            spread += slope * slope * away * away;
        }
        8.0 * (spread / mass.max(1e-12)).sqrt()
    }

    /// Time between the first and the last slope above a fifth of the steepest, in
    /// milliseconds: the width of the QRS.
    pub(crate) fn span_ms(&self) -> f64 {
        let steep = self.slopes().fold(0.0, |top: f64, s| top.max(s.abs()));
        let above = |slope: &f64| slope.abs() > 0.2 * steep;
        let first = self.slopes().position(|slope| above(&slope));
        let last = self.slopes().enumerate().filter(|(_, s)| above(s)).last();
        match (first, last) {
            (Some(first), Some((last, _))) => 8.0 * num::float(last + 1 - first),
            _ => 0.0,
        }
    }

    pub(crate) fn blend(&mut self, newer: &Self, share: f64) {
        for (old, new) in self.0.iter_mut().zip(newer.0) {
            *old += share * (new - *old);
        }
    }
}

/// Points of a beat with its P and T waves: 16 ms apart, from 256 ms before the peak.
pub(crate) const WIDE: usize = 40;
pub(crate) const WIDE_STEP: u64 = 4;
pub(crate) const WIDE_BEFORE: u64 = 16;
/// The points that lie before any QRS, however wide: up to 112 ms before the peak.
pub(crate) const P_POINTS: usize = 10;
/// Where the P wave ends among those points, and where the T wave begins.
const P_END: usize = 11;
const T_BEGIN: usize = 24;

/// A beat with its P and T waves, in millivolts, mean taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wide([f64; WIDE]);

impl Wide {
    /// Takes the mean off.
    pub(crate) fn centred(mut points: [f64; WIDE]) -> Self {
        let mean = points.iter().sum::<f64>() / num::float(WIDE);
        for point in &mut points {
            *point -= mean;
        }
        Self(points)
    }

    pub(crate) fn blend(&mut self, newer: &Self, share: f64) {
        for (old, new) in self.0.iter_mut().zip(newer.0) {
            *old += share * (new - *old);
        }
    }

    /// Correlation with another beat: of the whole, of the P wave, of the T wave.
    pub(crate) fn likeness(&self, other: &Self) -> [f64; 3] {
        [0..WIDE, 0..P_END, T_BEGIN..WIDE].map(|part| {
            correlation(
                self.0.get(part.clone()).unwrap_or_default(),
                other.0.get(part).unwrap_or_default(),
            )
        })
    }

    /// Size of the difference from another beat over the other's size.
    pub(crate) fn difference(&self, other: &Self) -> f64 {
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let apart = squares(&mut self.0.iter().zip(other.0).map(|(x, y)| x - y));
        let own = squares(&mut other.0.iter().copied());
        (apart / own.max(1e-12)).sqrt().min(10.0)
    }

    /// The stretch in which the P wave lies, its trend taken off, with a sum of squares of
    /// one; all zero when it is straight.
    pub(crate) fn before_qrs(&self) -> [f64; P_POINTS] {
        let mut points = [0.0; P_POINTS];
        for (point, value) in points.iter_mut().zip(self.0) {
            *point = value;
        }
        let mean = points.iter().sum::<f64>() / num::float(P_POINTS);
        let middle = num::float(P_POINTS - 1) / 2.0;
        let (mut moment, mut spread) = (0.0, 0.0);
        for (place, point) in points.iter().enumerate() {
            let away = num::float(place) - middle;
            moment += away * point;
            spread += away * away;
        }
        for (place, point) in points.iter_mut().enumerate() {
            *point -= mean + moment / spread * (num::float(place) - middle);
        }
        let size = points.iter().map(|x| x * x).sum::<f64>().sqrt();
        let factor = if size > 1e-9 { 1.0 / size } else { 0.0 };
        points.map(|point| point * factor)
    }

    /// Spread of the T wave.
    pub(crate) fn t_size(&self) -> f64 {
        let part = self.0.get(T_BEGIN..).unwrap_or_default();
        let top = part.iter().copied().fold(f64::MIN, f64::max);
        top - part.iter().copied().fold(f64::MAX, f64::min)
    }
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    Still::of(b).correlation(a)
}

/// One of two rows that are correlated, with what only depends on it.
struct Still<'a> {
    row: &'a [f64],
    sum: f64,
    /// Sum of squares about the mean.
    spread: f64,
    per_point: f64,
}

impl<'a> Still<'a> {
    fn of(row: &'a [f64]) -> Self {
        let per_point = 1.0 / num::float(row.len().max(1));
        let sum: f64 = row.iter().sum();
        let squares: f64 = row.iter().map(|x| x * x).sum();
        Self {
            row,
            sum,
            spread: squares - sum * sum * per_point,
            per_point,
        }
    }

    /// Correlation with a row of the same length; zero when either is flat.
    fn correlation(&self, other: &[f64]) -> f64 {
        let (mut sum, mut squares, mut products) = (0.0, 0.0, 0.0);
        for (x, y) in other.iter().zip(self.row) {
            sum += x;
            squares += x * x;
            products += x * y;
        }
        let variance = (squares - sum * sum * self.per_point) * self.spread;
        if variance <= 1e-18 {
            0.0
        } else {
            ((products - sum * self.sum * self.per_point) / variance.sqrt()).clamp(-1.0, 1.0)
        }
    }
}

#[derive(Clone, Debug)]
struct Family {
    shape: Shape,
    weight: f64,
    beats: u64,
}

/// The forms that the beats of one lead have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    families: Vec<Family>,
}

/// How a form stands to those known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Likeness {
    /// With the most usual form.
    pub(crate) usual: f64,
    /// With the form that it is most like.
    pub(crate) best: f64,
    /// Share of the recent beats that have that form.
    pub(crate) share: f64,
}

impl Families {
    /// How a form stands to those known; all zero when none is.
    pub(crate) fn compare(&self, shape: &Shape) -> Likeness {
        let total: f64 = self.families.iter().map(|family| family.weight).sum();
        let mut told = Likeness::default();
        let mut heaviest = 0.0;
        let mut first = true;
        for family in &self.families {
            let likeness = shape.likeness(&family.shape);
            if family.weight > heaviest {
                heaviest = family.weight;
                told.usual = likeness;
            }
            if first || likeness > told.best {
                first = false;
                told.best = likeness;
                told.share = family.weight / total.max(1e-9);
            }
        }
        told
    }

    /// Adds a beat to the form that it has, or begins a new one.
    pub(crate) fn learn(&mut self, shape: &Shape) {
        for family in &mut self.families {
            family.weight *= FADE;
        }
        let nearest = self
            .families
            .iter_mut()
            .map(|family| (shape.likeness(&family.shape), family))
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        if let Some((_, family)) = nearest.filter(|(likeness, _)| *likeness > SAME) {
            family.weight += 1.0;
            family.beats += 1;
            // The first beats of a form are averaged, later ones change it slowly.
            let share = LEARN.max(1.0 / num::float_u64(family.beats));
            family.shape.blend(shape, share);
            return;
        }
        if self.families.len() == KEPT {
            let lightest = self
                .families
                .iter()
                .enumerate()
                .min_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight))
                .map(|(place, _)| place);
            if let Some(place) = lightest {
                self.families.swap_remove(place);
            }
        }
        self.families.push(Family {
            shape: *shape,
            weight: 1.0,
            beats: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Families, POINTS, Shape};

    fn bump(centre: f64, width: f64) -> Shape {
        Shape::centred(core::array::from_fn(|n| {
            let x = (crate::num::float(n) - centre) / width;
            libm::exp(-x * x)
        }))
    }

    #[test]
    fn a_form_is_like_itself_even_when_shifted_a_little() {
        let form = bump(16.0, 3.0);
        assert!(form.likeness(&form) > 0.999);
        assert!(bump(17.5, 3.0).likeness(&form) > 0.98);
        assert!(bump(5.0, 2.0).likeness(&form) < 0.5);
    }

    #[test]
    fn the_usual_form_is_the_one_most_beats_have() {
        let mut families = Families::default();
        for _ in 0..9 {
            families.learn(&bump(16.0, 3.0));
        }
        families.learn(&bump(8.0, 8.0));
        let told = families.compare(&bump(16.0, 3.0));
        assert!(told.usual > 0.99 && told.share > 0.8, "{told:?}");
        assert!(families.compare(&bump(8.0, 8.0)).usual < 0.9);
    }

    #[test]
    fn nothing_is_like_nothing_and_flat_is_like_nothing() {
        assert_eq!(Families::default().compare(&bump(16.0, 3.0)).best, 0.0);
        let flat = Shape([0.0; POINTS]);
        assert_eq!(flat.likeness(&flat), 0.0);
    }
}
