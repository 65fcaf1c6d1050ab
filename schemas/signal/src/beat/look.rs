//! What a beat looks like beside the patient's own, as a row for the learnt functions.
//!
//! Deliberately absent: what is remembered of other beats; see [`super::BeatDetector`].

use crate::num;
use crate::qrs::{Form, Peak, Shape};

/// What is looked at, in this order: times over the usual interval, then form beside the
/// patient's reference form, then the history of the form that the beat has.
pub const FEATURES: usize = 32;

/// A beat with what is known of those around it.
pub(super) struct Look<'a> {
    pub(super) peak: &'a Peak,
    pub(super) form: &'a Form,
    /// Times before, after and usual, and the interval before the last beat, in seconds.
    pub(super) rr_s: f64,
    pub(super) next_s: f64,
    pub(super) usual_s: f64,
    pub(super) before_rr_s: f64,
    /// The shortest of the last intervals, in seconds, and how uneven they are.
    pub(super) shortest_s: f64,
    pub(super) irregularity: f64,
    /// The form of the beat before.
    pub(super) before: Option<&'a Shape>,
    /// How like the reference the better beats are: likeness and difference.
    pub(super) usual_likeness: f64,
    pub(super) usual_difference: f64,
}

impl Look<'_> {
    /// The row.
    pub(super) fn row(&self) -> [f64; FEATURES] {
        let Self { peak, form, .. } = self;
        let (rr_s, next_s, usual_s) = (self.rr_s, self.next_s, self.usual_s);
        let (usual_likeness, usual_difference) = (self.usual_likeness, self.usual_difference);
        let like = |other: Option<&Shape>| other.map_or(0.0, |other| peak.shape.likeness(other));
        let (shape, reference) = (&peak.shape, &form.reference);
        let [whole, p_wave, t_wave] = peak.wide.likeness(&form.reference_wide);
        let likeness = shape.likeness(reference);
        let difference = peak.wide.difference(&form.reference_wide);
        let t_before = form.reference_wide.t_size();
        [
            rr_s / usual_s,
            next_s / usual_s,
            rr_s / next_s.max(0.1),
            self.before_rr_s / usual_s,
            likeness,
            shape.width_ms(),
            shape.width_ms() - reference.width_ms(),
            size(shape) / size(reference).max(1e-6),
            area_over_top(shape),
            area_over_top(shape) - area_over_top(reference),
            lean(shape) - lean(reference),
            form.share,
            form.early,
            form.likeness,
            like(self.before),
            steepest(shape) / steepest(reference).max(1e-6),
            projection(shape, reference),
            if form.is_reference { 1.0 } else { 0.0 },
            self.irregularity,
            self.shortest_s / usual_s,
            whole,
            difference,
            p_wave,
            t_wave,
            peak.wide.t_size() / size(shape).max(1e-6),
            peak.wide.t_size() / t_before.max(1e-6),
            shape.span_ms(),
            shape.span_ms() - reference.span_ms(),
            usual_likeness,
            libm::log((1.02 - likeness) / (1.02 - usual_likeness)),
            libm::log((0.1 + difference) / (0.1 + usual_difference)),
            libm::log((peak.fast_mv + 1e-6) / (size(shape) + 1e-6)),
        ]
    }
}

/// Mean size of a form over its largest value: large for wide beats.
fn area_over_top(shape: &Shape) -> f64 {
    let sum: f64 = shape.0.iter().map(|x| x.abs()).sum();
    sum / num::float(shape.0.len()) / size(shape).max(1e-6)
}

fn size(shape: &Shape) -> f64 {
    shape.0.iter().fold(0.0, |top: f64, x| top.max(x.abs()))
}

/// How far the slope's energy lies after the peak, in milliseconds.
fn lean(shape: &Shape) -> f64 {
    let (_, centre) = shape.slope_centre();
    8.0 * (centre - num::float(shape.0.len()) / 2.0 + 1.0)
}

fn steepest(shape: &Shape) -> f64 {
    shape.slopes().fold(0.0, |top, slope| top.max(slope.abs()))
}

/// How much of the reference form is in a form: one for the same beat, negative upside down.
fn projection(shape: &Shape, reference: &Shape) -> f64 {
    let (mut together, mut own) = (0.0, 0.0);
    for (x, y) in shape.0.iter().zip(reference.0) {
        together += x * y;
        own += y * y;
    }
    (together / f64::max(own, 1e-12)).clamp(-10.0, 10.0)
}
