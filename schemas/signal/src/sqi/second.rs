//! One second of one lead, summed up: what later windows are put together from.
//!
//! Deliberately absent: any verdict. A second is a handful of numbers, so a window of ten
//! costs ten of them, whatever the sampling rate.

use crate::filter::Biquad;
use crate::num;

/// Corner of what counts as baseline, in hertz.
const BASELINE_HZ: f64 = 0.7;
/// Corner of what counts as high-frequency noise.
const HIGH_HZ: f64 = 45.0;
/// Frequencies whose power is measured: mains, and beside it.
const TONES_HZ: [f64; 5] = [45.0, 50.0, 55.0, 60.0, 65.0];
/// A value held for this long counts as flat.
const FLAT_S: f64 = 0.1;
/// Changes up to this are no change, in millivolts: less than any amplifier's own noise.
const NO_CHANGE_MV: f64 = 0.0005;
/// The slope is the change over this time.
const SLOPE_S: f64 = 0.002;

/// What one second of one lead shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Second {
    /// Samples in it.
    pub(crate) samples: f64,
    /// Lowest and highest value, in millivolts over the calibrated baseline.
    pub(crate) low_mv: f64,
    pub(crate) high_mv: f64,
    /// Longest time that one value was held, also when it began earlier, in seconds.
    pub(crate) hold_s: f64,
    /// Time in holds of at least [`FLAT_S`].
    pub(crate) flat_s: f64,
    /// Time at the converter's limits.
    pub(crate) rail_s: f64,
    /// Time at one value up to the end of the second.
    pub(crate) holding_s: f64,
    /// The same, at the converter's limits.
    pub(crate) railing_s: f64,
    /// Swing of the baseline.
    pub(crate) swing_mv: f64,
    /// Noise above 45 Hz, root mean square, mains included.
    pub(crate) high_rms_mv: f64,
    /// Mains hum, root mean square, and how far it stands over what is beside it.
    pub(crate) mains_rms_mv: f64,
    pub(crate) mains_ratio: f64,
    /// Largest change within 2 ms.
    pub(crate) slope_mv: f64,
    /// Sums of the second and fourth power of the signal over its baseline, and the
    /// variance of the baseline.
    pub(crate) square: f64,
    pub(crate) fourth: f64,
    pub(crate) slow_variance: f64,
}

/// Sums up a lead, sample by sample.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    mv_per_adu: f64,
    baseline_adu: f64,
    rails: Option<(i32, i32)>,
    rate_hz: f64,
    no_change_adu: i64,
    /// Samples in [`FLAT_S`].
    flat_from: u64,
    slope_reach: usize,
    baseline: Biquad,
    high: Biquad,
    tones: [Tone; 5],
    before: Vec<f64>,
    before_at: usize,
    started: bool,
    held_value: i64,
    held: u64,
    held_at_rail: u64,
    /// Of this second: the longest hold, and samples in holds and at the rail.
    longest: u64,
    flat: u64,
    railed: u64,
    low: f64,
    high_value: f64,
    swing: (f64, f64),
    high_energy: f64,
    slow_first: f64,
    slow_sum: f64,
    slow_square: f64,
    second: Second,
}

/// Goertzel's resonator.
#[derive(Clone, Copy, Debug)]
struct Tone {
    turn: f64,
    state: (f64, f64),
}

impl Tone {
    fn new(hz: f64, rate_hz: f64) -> Self {
        // A tone that the rate cannot carry measures nothing.
        let turn = if hz < 0.48 * rate_hz {
            2.0 * libm::cos(core::f64::consts::TAU * hz / rate_hz)
        } else {
            0.0
        };
        Self {
            turn,
            state: (0.0, 0.0),
        }
    }

    fn step(&mut self, x: f64) {
        let (one, two) = self.state;
        self.state = (x + self.turn * one - two, one);
    }

    /// Mean square of the tone over `samples`; starts again.
    fn take(&mut self, samples: f64) -> f64 {
        let (one, two) = std::mem::take(&mut self.state);
        let power = one * one + two * two - self.turn * one * two;
        if self.turn == 0.0 || samples < 1.0 {
            0.0
        } else {
            2.0 * power.max(0.0) / (samples * samples)
        }
    }
}

impl Meter {
    pub(crate) fn new(
        rate_hz: f64,
        gain_adu_per_mv: f64,
        baseline_adu: f64,
        rails: Option<(i32, i32)>,
    ) -> Self {
        let mv_per_adu = crate::mv_per_adu(gain_adu_per_mv);
        let slope_reach = num::round_usize(SLOPE_S * rate_hz).clamp(1, 4_096);
        Self {
            mv_per_adu,
            baseline_adu: if baseline_adu.is_finite() {
                baseline_adu
            } else {
                0.0
            },
            rails,
            rate_hz,
            flat_from: num::round_u64((FLAT_S * rate_hz).ceil()).max(1),
            no_change_adu: num::round_i64((NO_CHANGE_MV / mv_per_adu.abs()).floor()),
            slope_reach,
            baseline: Biquad::low_pass(BASELINE_HZ, rate_hz),
            high: Biquad::high_pass(HIGH_HZ, rate_hz),
            tones: TONES_HZ.map(|hz| Tone::new(hz, rate_hz)),
            before: vec![0.0; slope_reach],
            before_at: 0,
            started: false,
            held_value: 0,
            held: 0,
            held_at_rail: 0,
            longest: 0,
            flat: 0,
            railed: 0,
            low: 0.0,
            high_value: 0.0,
            swing: (0.0, 0.0),
            high_energy: 0.0,
            slow_first: 0.0,
            slow_sum: 0.0,
            slow_square: 0.0,
            second: Second::default(),
        }
    }

    /// Signal is missing: nothing is held or filtered across.
    pub(crate) fn restart(&mut self) {
        self.started = false;
        self.held = 0;
        self.held_at_rail = 0;
        (self.longest, self.flat, self.railed) = (0, 0, 0);
        self.second = Second::default();
        self.high_energy = 0.0;
        self.slow_sum = 0.0;
        self.slow_square = 0.0;
        for tone in &mut self.tones {
            tone.state = (0.0, 0.0);
        }
    }

    /// Time for which the newest value has been held, and held at a rail, in seconds.
    pub(crate) fn holding(&self) -> (f64, f64) {
        (
            num::float_u64(self.held) / self.rate_hz,
            num::float_u64(self.held_at_rail) / self.rate_hz,
        )
    }

    /// Takes one sample and gives it in millivolts.
    pub(crate) fn step(&mut self, adu: i32) -> f64 {
        let millivolts = (f64::from(adu) - self.baseline_adu) * self.mv_per_adu;
        if !self.started {
            self.start(adu, millivolts);
        }
        if self.second.samples == 0.0 {
            self.low = millivolts;
            self.high_value = millivolts;
        }
        self.second.samples += 1.0;
        self.low = self.low.min(millivolts);
        self.high_value = self.high_value.max(millivolts);
        self.hold(adu);
        let slow = self.baseline.step(millivolts);
        if self.second.samples == 1.0 {
            self.slow_first = slow;
        }
        let over = millivolts - slow;
        let square = over * over;
        self.second.square += square;
        self.second.fourth += square * square;
        self.slow_sum += slow - self.slow_first;
        self.slow_square += (slow - self.slow_first) * (slow - self.slow_first);
        if self.second.samples == 1.0 {
            self.swing = (slow, slow);
        }
        self.swing = (self.swing.0.min(slow), self.swing.1.max(slow));
        let fast = self.high.step(millivolts);
        self.high_energy += fast * fast;
        for tone in &mut self.tones {
            tone.step(fast);
        }
        if let Some(before) = self.before.get_mut(self.before_at) {
            self.second.slope_mv = self.second.slope_mv.max((millivolts - *before).abs());
            *before = millivolts;
        }
        self.before_at += 1;
        if self.before_at == self.slope_reach {
            self.before_at = 0;
        }
        millivolts
    }

    fn start(&mut self, adu: i32, millivolts: f64) {
        self.started = true;
        self.baseline.settle(millivolts, 1.0);
        self.high.settle(millivolts, 0.0);
        self.before.fill(millivolts);
        self.held_value = i64::from(adu);
    }

    fn hold(&mut self, adu: i32) {
        let value = i64::from(adu);
        if (value - self.held_value).abs() <= self.no_change_adu {
            self.held = self.held.saturating_add(1);
        } else {
            self.held = 1;
            self.held_value = value;
        }
        self.longest = self.longest.max(self.held);
        if self.held >= self.flat_from {
            self.flat += 1;
        }
        if self
            .rails
            .is_some_and(|(low, high)| adu <= low || adu >= high)
        {
            self.held_at_rail = self.held_at_rail.saturating_add(1);
            self.railed += 1;
        } else {
            self.held_at_rail = 0;
        }
    }

    /// Ends the second.
    pub(crate) fn take(&mut self) -> Second {
        let mut second = std::mem::take(&mut self.second);
        let samples = second.samples.max(1.0);
        (second.holding_s, second.railing_s) = self.holding();
        let seconds = |samples: &mut u64| num::float_u64(std::mem::take(samples)) / self.rate_hz;
        second.hold_s = seconds(&mut self.longest);
        second.flat_s = seconds(&mut self.flat);
        second.rail_s = seconds(&mut self.railed);
        second.low_mv = self.low;
        second.high_mv = self.high_value;
        second.swing_mv = self.swing.1 - self.swing.0;
        second.high_rms_mv = (std::mem::take(&mut self.high_energy) / samples).sqrt();
        let slow_mean = std::mem::take(&mut self.slow_sum) / samples;
        let slow_square = std::mem::take(&mut self.slow_square) / samples;
        second.slow_variance = (slow_square - slow_mean * slow_mean).max(0.0);
        let [below, fifty, between, sixty, above] =
            self.tones.each_mut().map(|tone| tone.take(samples));
        let beside_50 = (below + between) / 2.0;
        let beside_60 = (between + above) / 2.0;
        let (mains, beside) = if fifty >= sixty {
            (fifty, beside_50)
        } else {
            (sixty, beside_60)
        };
        second.mains_rms_mv = mains.sqrt();
        second.mains_ratio = mains / (beside + 1e-9);
        second
    }
}
