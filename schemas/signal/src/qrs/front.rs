//! From samples to candidates: places where the signal moves as a QRS does.
//!
//! Works at [`WORK_HZ`]. All filters are running means, so their phase is linear and every
//! place can be told exactly. Deliberately absent: any decision.

use crate::filter::RunningMean;
use crate::num;
use crate::ring::Ring;

use super::shape::{POINTS, Shape, WIDE, WIDE_BEFORE, WIDE_STEP, Wide};

/// The rate at which the detector works, whatever the source's rate is.
pub(crate) const WORK_HZ: u32 = 250;

/// Samples kept for refinement and for measurements around a candidate: 8 s.
const KEPT: usize = 2_000;
/// Low-pass: means over 5 and 4 samples, first zeros at 50 and 62.5 Hz.
const LOW_PASS: (usize, usize) = (5, 4);
/// Baseline for the high-pass: a mean over 132 ms, which leaves 5 to 20 Hz.
const BASELINE: usize = 33;
/// The slope is taken over this many samples.
const SLOPE: u64 = 2;
/// The energy is averaged over 80 ms, about one QRS.
const ENERGY: usize = 20;
/// No two candidates are nearer than this: 160 ms.
pub(crate) const APART: u64 = 40;
/// The front's own delay from an R peak to its place in the energy.
const ENERGY_DELAY: u64 = 28;
/// The R peak lies within this of the energy's centre: 80 ms.
const REFINE: u64 = 20;

/// A place where the signal moves fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Place of the largest energy, on the working grid, filter delay taken off.
    pub(crate) at: u64,
    /// The R peak nearest to it, on the working grid, between samples.
    pub(crate) peak: f64,
    /// Height of the energy, in millivolts a sample.
    pub(crate) energy: f64,
    /// Steepest slope within the QRS, in millivolts a sample.
    pub(crate) slope: f64,
    /// Height of the peak over the band-passed baseline, with its sign, in millivolts.
    pub(crate) height: f64,
    /// Peak to peak within 150 ms of the peak, in millivolts.
    pub(crate) span: f64,
    /// Its form.
    pub(crate) shape: Shape,
    /// Middle value of the band without sign around it, in millivolts.
    pub(crate) level: f64,
    /// Mean of what the low-pass takes away, without sign, in millivolts.
    pub(crate) fast: f64,
    /// Change of the signal from before to after, in millivolts.
    pub(crate) step: f64,
}

/// The running filters.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    low_a: RunningMean<{ LOW_PASS.0 }>,
    low_b: RunningMean<{ LOW_PASS.1 }>,
    baseline: RunningMean<BASELINE>,
    energy_mean: RunningMean<ENERGY>,
    /// The low-passed signal, delayed by its filters.
    low: Ring,
    /// The band-passed signal.
    band: Ring,
    energy: Ring,
    raw: Ring,
    /// The next place that may become a candidate.
    next: u64,
    started: bool,
    /// From where the level of the band is taken next.
    level_from: u64,
}

impl Front {
    pub(crate) fn new() -> Self {
        Self {
            low_a: RunningMean::new(),
            low_b: RunningMean::new(),
            baseline: RunningMean::new(),
            energy_mean: RunningMean::new(),
            low: Ring::new(KEPT),
            band: Ring::new(KEPT),
            energy: Ring::new(KEPT),
            raw: Ring::new(KEPT),
            next: 0,
            started: false,
            level_from: 0,
        }
    }

    /// The position after the newest sample.
    pub(crate) const fn end(&self) -> u64 {
        self.raw.end()
    }

    /// Starts again at position zero.
    pub(crate) fn clear(&mut self) {
        for ring in [
            &mut self.low,
            &mut self.band,
            &mut self.energy,
            &mut self.raw,
        ] {
            ring.clear();
        }
        self.next = 0;
        self.started = false;
        self.level_from = 0;
    }

    /// Takes one working sample.
    pub(crate) fn push(&mut self, x: f64) -> Option<Candidate> {
        if !self.started {
            self.started = true;
            self.low_a.settle(x);
            self.low_b.settle(x);
            self.baseline.settle(x);
            self.energy_mean.settle(0.0);
        }
        self.raw.push(x);
        let low = self.low_b.step(self.low_a.step(x));
        self.low.push(low);
        let baseline = self.baseline.step(low);
        let n = self.low.end() - 1;
        // The baseline's centre lies 16 samples back; before that many, use what there is.
        let centre = self.low.at(n.saturating_sub(num::count(BASELINE / 2)));
        let band = if n < num::count(BASELINE / 2) {
            0.0
        } else {
            centre - baseline
        };
        self.band.push(band);
        let slope = band - self.band.at(n.saturating_sub(SLOPE));
        self.energy.push(self.energy_mean.step(slope.abs()));
        self.candidate()
    }

    /// The place [`APART`] samples back, if its energy is the largest around it.
    fn candidate(&mut self) -> Option<Candidate> {
        let newest = self.energy.end() - 1;
        let at = newest.checked_sub(APART)?;
        if at < self.next {
            return None;
        }
        let here = self.energy.at(at);
        if here <= self.energy.at(at.saturating_sub(1)) && at > 0 || here < self.energy.at(at + 1) {
            return None;
        }
        let from = at.saturating_sub(APART);
        if (from..at).any(|n| self.energy.at(n) > here)
            || (at + 1..=newest).any(|n| self.energy.at(n) >= here && self.energy.at(n) > here)
        {
            return None;
        }
        self.next = at + 1;
        (here > 0.0).then(|| self.measured(at, here))
    }

    fn measured(&self, at: u64, energy: f64) -> Candidate {
        let centre = at.saturating_sub(ENERGY_DELAY);
        // The band-passed signal lags the working signal by its low-pass and its baseline.
        let lag = num::count((LOW_PASS.0 + LOW_PASS.1) / 2 - 1) + num::count(BASELINE / 2);
        let from = (centre + lag).saturating_sub(REFINE);
        let to = centre + lag + REFINE;
        let mut best = from;
        let mut slope: f64 = 0.0;
        for n in from..=to {
            if self.band.at(n).abs() > self.band.at(best).abs() {
                best = n;
            }
            slope = slope.max((self.band.at(n) - self.band.at(n.saturating_sub(SLOPE))).abs());
        }
        let peak = num::float_u64(best)
            + vertex(
                self.band.at(best.saturating_sub(1)).abs(),
                self.band.at(best).abs(),
                self.band.at(best + 1).abs(),
            )
            - LAG;
        Candidate {
            at: centre,
            peak: peak.max(0.0),
            energy,
            slope,
            height: self.band.at(best),
            span: self.span(best),
            shape: self.shape(best),
            level: self.level(best),
            fast: self.fast(best),
            step: self.baseline_step(best),
        }
    }
}

impl Front {
    /// Peak to peak of the band around a place.
    fn span(&self, place: u64) -> f64 {
        let around = place.saturating_sub(SPAN_REACH)..=place + SPAN_REACH;
        let (low, high) = around.fold((f64::MAX, f64::MIN), |(low, high), n| {
            (low.min(self.band.at(n)), high.max(self.band.at(n)))
        });
        high - low
    }

    /// The band since the last call, at most two seconds of it.
    pub(crate) fn take_band(&mut self) -> Band {
        let two_seconds = 2 * u64::from(WORK_HZ);
        let end = self.band.end();
        let from = self.level_from.max(end.saturating_sub(two_seconds));
        let mut sizes: Vec<f64> = (from..end).map(|n| self.band.at(n).abs()).collect();
        let energy = sizes.iter().map(|size| size * size).sum::<f64>();
        self.level_from = end;
        Band {
            mean_square: energy / num::float(sizes.len().max(1)),
            middle_mv: num::median(&mut sizes),
        }
    }
}

/// The band of the QRS over a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Band {
    /// Middle value without sign, in millivolts.
    pub(crate) middle_mv: f64,
    /// Mean square, in square millivolts.
    pub(crate) mean_square: f64,
}

impl Front {
    /// The low-passed signal around a place of the band, at 125 Hz.
    fn shape(&self, place: u64) -> Shape {
        let centre = place.saturating_sub(BASELINE_LAG);
        let half = num::count(POINTS / 2);
        let mut points = [0.0; POINTS];
        for (point, n) in points.iter_mut().zip(0_u64..) {
            *point = self.low.at((centre + 2 * n).saturating_sub(2 * half));
        }
        Shape::centred(points)
    }

    /// The low-passed signal around a peak on the working grid, P and T waves included.
    pub(crate) fn wide(&self, peak: f64) -> Wide {
        let centre = num::round_u64(peak + LOW_DELAY);
        let last = self.low.end().saturating_sub(1);
        let mut points = [0.0; WIDE];
        for (point, n) in points.iter_mut().zip(0_u64..) {
            let place = (centre + WIDE_STEP * n).saturating_sub(WIDE_STEP * WIDE_BEFORE);
            *point = self.low.at(place.min(last));
        }
        Wide::centred(points)
    }

    /// Middle value of the band without sign from 0.6 s before a place to 0.15 s after it.
    fn level(&self, place: u64) -> f64 {
        let mut sizes = [0.0; LEVEL_POINTS];
        for (size, n) in sizes.iter_mut().zip(0_u64..) {
            *size = self.band.at((place + 40).saturating_sub(4 * n)).abs();
        }
        num::median(&mut sizes)
    }

    /// Mean of what the low-pass takes away within 100 ms, without sign.
    fn fast(&self, place: u64) -> f64 {
        let centre = place.saturating_sub(BASELINE_LAG);
        let sum: f64 = (centre.saturating_sub(25)..centre + 25)
            .map(|n| (self.low.at(n) - self.raw.at(n.saturating_sub(LOW_LAG))).abs())
            .sum();
        sum / 50.0
    }

    /// How far the signal is moved 110 ms after a place against 110 ms before it.
    fn baseline_step(&self, place: u64) -> f64 {
        let centre = place.saturating_sub(BASELINE_LAG);
        (self.low.at(centre + 27) - self.low.at(centre.saturating_sub(27))).abs()
    }
}

/// Delay of the baseline's centre, and of the low-pass, in whole samples.
const BASELINE_LAG: u64 = 16;
const LOW_LAG: u64 = 3;
/// Points that make up the level of the band.
const LEVEL_POINTS: usize = 48;

/// The QRS with its neighbourhood: 150 ms to either side.
const SPAN_REACH: u64 = 37;

/// Delay of the band-passed signal: half the means, and the baseline's centre.
const LAG: f64 = LOW_DELAY + 16.0;

/// Delay of the low-passed signal: half the means.
const LOW_DELAY: f64 = 2.0 + 1.5;

/// Place of the vertex of the parabola through three values, from the middle one.
fn vertex(left: f64, middle: f64, right: f64) -> f64 {
    let bend = left - 2.0 * middle + right;
    if bend.abs() < f64::MIN_POSITIVE {
        0.0
    } else {
        (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    }
}
