//! Small filters: second-order sections, running means, and a change of sampling rate.
//!
//! Deliberately absent: filters for display, and anything that looks ahead. Every filter
//! takes one sample and gives one, so that blocks of any size give the same output.

use crate::num;

/// A second-order section in direct form two, transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    z: [f64; 2],
}

/// Quality factor of a Butterworth section.
const BUTTERWORTH_Q: f64 = core::f64::consts::FRAC_1_SQRT_2;

impl Biquad {
    /// Second-order Butterworth low-pass.
    pub(crate) fn low_pass(corner_hz: f64, rate_hz: f64) -> Self {
        let (cosine, alpha) = angle(corner_hz, rate_hz, BUTTERWORTH_Q);
        let b1 = 1.0 - cosine;
        Self::normalised([b1 / 2.0, b1, b1 / 2.0], cosine, alpha)
    }

    /// Second-order Butterworth high-pass.
    pub(crate) fn high_pass(corner_hz: f64, rate_hz: f64) -> Self {
        let (cosine, alpha) = angle(corner_hz, rate_hz, BUTTERWORTH_Q);
        let b1 = 1.0 + cosine;
        Self::normalised([b1 / 2.0, -b1, b1 / 2.0], cosine, alpha)
    }

    fn normalised(b: [f64; 3], cosine: f64, alpha: f64) -> Self {
        let a0 = 1.0 + alpha;
        Self {
            b: b.map(|x| x / a0),
            a: [-2.0 * cosine / a0, (1.0 - alpha) / a0],
            z: [0.0; 2],
        }
    }

    /// The next sample.
    pub(crate) fn step(&mut self, x: f64) -> f64 {
        let [b0, b1, b2] = self.b;
        let [a1, a2] = self.a;
        let [z0, z1] = self.z;
        let y = b0 * x + z0;
        self.z = [b1 * x - a1 * y + z1, b2 * x - a2 * y];
        y
    }

    /// Forgets everything, as if it had seen `x` for ever (`gain` is its gain at 0 Hz).
    pub(crate) fn settle(&mut self, x: f64, gain: f64) {
        let [b0, _, b2] = self.b;
        let [_, a2] = self.a;
        let y = gain * x;
        self.z = [y - b0 * x, b2 * x - a2 * y];
    }
}

fn angle(corner_hz: f64, rate_hz: f64, q: f64) -> (f64, f64) {
    let bounded = corner_hz.min(0.49 * rate_hz);
    let omega = core::f64::consts::TAU * bounded / rate_hz;
    (libm::cos(omega), libm::sin(omega) / (2.0 * q))
}

/// The mean of the last `N` samples, as a ring with a running sum.
#[derive(Clone, Debug)]
pub(crate) struct RunningMean<const N: usize> {
    ring: [f64; N],
    at: usize,
    sum: f64,
    /// One over the length.
    share: f64,
}

impl<const N: usize> RunningMean<N> {
    pub(crate) fn new() -> Self {
        Self {
            ring: [0.0; N],
            at: 0,
            sum: 0.0,
            share: 1.0 / num::float(N),
        }
    }

    pub(crate) fn step(&mut self, x: f64) -> f64 {
        if let Some(oldest) = self.ring.get_mut(self.at) {
            self.sum += x - *oldest;
            *oldest = x;
        }
        self.at += 1;
        if self.at >= N {
            self.at = 0;
            // A fresh sum once a turn keeps rounding from piling up over days.
            self.sum = self.ring.iter().sum();
        }
        self.sum * self.share
    }

    /// Forgets everything, as if it had seen `x` for ever.
    pub(crate) fn settle(&mut self, x: f64) {
        self.ring.fill(x);
        self.sum = x * num::float(N);
    }
}

/// Gives a signal of any rate at the working rate: a mean over whole samples down to less
/// than twice the working rate, then a cubic through four points.
#[derive(Clone, Debug)]
pub(crate) struct Resampler {
    group: u64,
    /// One over `group`, and one over `whole`.
    group_share: f64,
    whole_share: f64,
    group_sum: f64,
    group_seen: u64,
    points: [f64; 4],
    seen: u64,
    /// Place of the next output on the grid of means: whole part, and remainder over `whole`.
    next: u64,
    remainder: u64,
    step: u64,
    whole: u64,
}

impl Resampler {
    /// From a rate of `samples` in `seconds` to `to_hz`.
    pub(crate) fn new((samples, seconds): (u32, u32), to_hz: u32) -> Self {
        let per_second = u64::from(seconds) * u64::from(to_hz);
        let group = (u64::from(samples) / per_second).max(1);
        let whole = per_second * group;
        Self {
            group,
            group_share: 1.0 / num::float_u64(group),
            whole_share: 1.0 / num::float_u64(whole),
            group_sum: 0.0,
            group_seen: 0,
            points: [0.0; 4],
            seen: 0,
            next: 0,
            remainder: 0,
            step: u64::from(samples),
            whole,
        }
    }

    /// Takes one sample; [`Resampler::take`] gives what it completes.
    pub(crate) fn push(&mut self, x: f64) {
        self.group_sum += x;
        self.group_seen += 1;
        if self.group_seen < self.group {
            return;
        }
        let mean = self.group_sum * self.group_share;
        self.group_sum = 0.0;
        self.group_seen = 0;
        if self.seen == 0 {
            self.points = [mean; 4];
        } else {
            let [_, b, c, d] = self.points;
            self.points = [b, c, d, mean];
        }
        self.seen += 1;
    }

    /// The next output that is complete; to be called until there is none.
    pub(crate) fn take(&mut self) -> Option<f64> {
        // The newest point is number `seen - 1`; the cubic lies between the middle two.
        if self.next + 3 > self.seen {
            return None;
        }
        let share = num::float_u64(self.remainder) * self.whole_share;
        self.remainder += self.step;
        // Means come at less than twice the working rate: at most two turns.
        while self.remainder >= self.whole {
            self.remainder -= self.whole;
            self.next += 1;
        }
        Some(cubic(&self.points, share))
    }

    /// The place of output number `at` on the time line of the input, in samples.
    pub(crate) fn input_position(&self, at: f64) -> f64 {
        let scale =
            num::float_u64(self.step) * num::float_u64(self.group) / num::float_u64(self.whole);
        at * scale + num::float_u64(self.group - 1) / 2.0
    }
}

/// Catmull and Rom's cubic between the second and the third of four points.
pub(crate) fn cubic(points: &[f64; 4], share: f64) -> f64 {
    let [a, b, c, d] = *points;
    let slope_b = (c - a) / 2.0;
    let slope_c = (d - b) / 2.0;
    let rise = c - b;
    let third = slope_b + slope_c - 2.0 * rise;
    let second = rise - slope_b - third;
    b + share * (slope_b + share * (second + share * third))
}

#[cfg(test)]
mod tests {
    use super::{Biquad, Resampler, RunningMean};
    use proptest::prelude::*;

    fn gain_at(mut filter: Biquad, hz: f64, rate: f64) -> f64 {
        let samples = crate::num::round_usize(rate * 20.0);
        let mut largest: f64 = 0.0;
        for n in 0..samples {
            let y = filter.step(libm::sin(
                core::f64::consts::TAU * hz * crate::num::float(n) / rate,
            ));
            if n > samples / 2 {
                largest = largest.max(y.abs());
            }
        }
        largest
    }

    #[test]
    fn a_butterworth_corner_is_three_decibels_down() {
        for rate in [100.0, 250.0, 1000.0] {
            assert!(
                (gain_at(Biquad::low_pass(5.0, rate), 5.0, rate)
                    - core::f64::consts::FRAC_1_SQRT_2)
                    .abs()
                    < 0.01
            );
            assert!(
                (gain_at(Biquad::high_pass(5.0, rate), 5.0, rate)
                    - core::f64::consts::FRAC_1_SQRT_2)
                    .abs()
                    < 0.01
            );
        }
    }

    #[test]
    fn a_settled_filter_starts_without_a_transient() {
        let mut low = Biquad::low_pass(1.0, 250.0);
        low.settle(3.0, 1.0);
        assert!((low.step(3.0) - 3.0).abs() < 1e-9);
        let mut high = Biquad::high_pass(1.0, 250.0);
        high.settle(3.0, 0.0);
        assert!(high.step(3.0).abs() < 1e-9);
    }

    #[test]
    fn a_running_mean_is_the_mean_of_its_length() {
        let mut mean = RunningMean::<4>::new();
        let last = (1..=8).map(|n| mean.step(f64::from(n))).last();
        assert_eq!(last, Some(6.5));
    }

    proptest! {
        #[test]
        fn a_slow_wave_keeps_its_shape_at_any_rate(rate in 100_u32..2_000) {
            let mut resampler = Resampler::new((rate, 1), 250);
            let wave = |t: f64| libm::sin(core::f64::consts::TAU * 5.0 * t);
            let mut got = Vec::new();
            for n in 0..rate {
                resampler.push(wave(f64::from(n) / f64::from(rate)));
                got.extend(std::iter::from_fn(|| resampler.take()));
            }
            prop_assert!(got.len() >= 235, "{} outputs", got.len());
            for (at, y) in got.iter().enumerate().skip(5) {
                let t = resampler.input_position(crate::num::float(at)) / f64::from(rate);
                prop_assert!((y - wave(t)).abs() < 0.03, "output {at}: {y} is not {}", wave(t));
            }
        }
    }
}
