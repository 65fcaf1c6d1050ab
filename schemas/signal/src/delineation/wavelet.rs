//! The slope of a smoothed signal, at scales that fit the waves of a beat.
//!
//! Three running means and a difference over the same width: the derivative of a quadratic
//! spline, whose dyadic cascade Martínez 2004 uses. Deliberately absent: streaming; a beat
//! is looked at as a whole, so nothing is delayed.

use crate::num;

/// A running mean over `width` samples (odd), the ends held.
fn mean(x: &[f64], width: usize) -> Vec<f64> {
    let half = width / 2;
    let (Some(first), Some(last)) = (x.first(), x.last()) else {
        return Vec::new();
    };
    let at = |place: usize| {
        // `place` counts from half a width before the first sample.
        let held = if place < half { *first } else { *last };
        x.get(place.wrapping_sub(half)).copied().unwrap_or(held)
    };
    let mut sum: f64 = (0..width).map(at).sum();
    let mut out = Vec::with_capacity(x.len());
    for place in 0..x.len() {
        out.push(sum / num::float(width));
        sum += at(place + width) - at(place);
    }
    out
}

/// The slope of `x` smoothed over about `width` samples (odd), per `width`.
pub(super) fn slope(x: &[f64], width: usize) -> Vec<f64> {
    let smooth = mean(&mean(&mean(x, width), width), width);
    let half = width / 2;
    let last = smooth.len().saturating_sub(1);
    let at = |place: usize| smooth.get(place.min(last)).copied().unwrap_or(0.0);
    (0..smooth.len())
        .map(|place| at(place + half) - at(place.saturating_sub(half)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn a_ramp_has_the_same_slope_everywhere_but_at_its_ends() {
        let ramp: Vec<f64> = (0..100).map(f64::from).collect();
        let told = slope(&ramp, 5);
        assert!(told[10..90].iter().all(|value| (value - 4.0).abs() < 1e-9));
        assert!(slope(&[], 5).is_empty());
        assert!(slope(&[3.0], 5).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_hump_rises_before_its_top_and_falls_as_much_after_it() {
        let hump: Vec<f64> = (-50..=50)
            .map(|t| 10.0 - f64::from(t * t) / 250.0)
            .collect();
        let told = slope(&hump, 17);
        assert!(told[50].abs() < 1e-9);
        assert!(told[30] > 0.0 && (told[30] + told[70]).abs() < 1e-9);
    }
}
