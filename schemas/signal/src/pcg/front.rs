//! From counts at the sensor's rate to frames of 10 ms: energy in the bands of heart sounds
//! and of what hides them, and what the converter did meanwhile.
//!
//! Deliberately absent: windows, thresholds and opinions.

use cardio_core::rate::SamplingRate;

use crate::filter::{Biquad, Resampler};
use crate::num;

/// Rate that the bands are cut at.
const WORK_HZ: u32 = 2_000;
/// Working samples of a frame.
const FRAME: u32 = 20;
/// Frames in a second.
pub(crate) const FRAMES_PER_S: u64 = 100;
/// Above this rate the input is low-passed before it is thinned.
const NEEDS_LOW_PASS_HZ: f64 = 2_500.0;
/// Delay of the heart sounds' band, in seconds: sounds seem this much later than they are.
const BAND_DELAY_S: f64 = 0.006;
/// A run of equal samples counts as held once it is this long, in seconds.
const HELD_S: f64 = 0.1;

/// What 10 ms of sound hold. Energies are mean squares, in counts squared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Frame {
    /// 5 to 20 Hz: movement of the chest and of the hand.
    pub(crate) low: f64,
    /// 25 to 150 Hz: the first and second heart sound.
    pub(crate) sound: f64,
    /// 60 to 150 Hz: the brighter part of it, stronger in the second sound.
    pub(crate) mid: f64,
    /// 150 to 400 Hz: murmurs, breath, speech.
    pub(crate) high: f64,
    /// Above 300 Hz: speech and the room.
    pub(crate) ambient: f64,
    /// Mean fourth power in 25 to 150 Hz.
    pub(crate) sound_fourth: f64,
    /// What the converter did.
    pub(crate) tally: Tally,
}

/// The converter's side of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Input samples.
    pub(crate) samples: u32,
    /// Of these, at a rail that the device stated.
    pub(crate) railed: u32,
    /// Of these, in runs that do not change for 0.1 s or longer.
    pub(crate) held: u32,
    /// The largest sample, and how many repeat it.
    pub(crate) highest: Extreme,
    /// The smallest sample, sign turned, and how many repeat it.
    pub(crate) lowest: Extreme,
}

/// The largest value seen and how often it came twice in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extreme {
    pub(crate) value: i64,
    pub(crate) repeats: u32,
}

impl Default for Extreme {
    fn default() -> Self {
        Self {
            value: i64::MIN,
            repeats: 0,
        }
    }
}

impl Extreme {
    fn see(&mut self, value: i64, repeated: bool) {
        if value > self.value {
            *self = Self { value, repeats: 0 };
        }
        if value == self.value && repeated {
            self.repeats = self.repeats.saturating_add(1);
        }
    }

    /// The extreme of two stretches.
    pub(crate) fn joined(self, other: Self) -> Self {
        match self.value.cmp(&other.value) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal => Self {
                value: self.value,
                repeats: self.repeats.saturating_add(other.repeats),
            },
        }
    }
}

/// Two second-order sections, one after the other.
#[derive(Clone, Debug)]
struct Band {
    high_pass: Biquad,
    low_pass: Biquad,
}

impl Band {
    fn new(from_hz: f64, to_hz: f64) -> Self {
        let rate_hz = f64::from(WORK_HZ);
        Self {
            high_pass: Biquad::high_pass(from_hz, rate_hz),
            low_pass: Biquad::low_pass(to_hz, rate_hz),
        }
    }

    fn settle(&mut self, x: f64) {
        self.high_pass.settle(x, 0.0);
        self.low_pass.settle(0.0, 1.0);
    }

    fn step(&mut self, x: f64) -> f64 {
        self.low_pass.step(self.high_pass.step(x))
    }
}

/// The bands of a frame, filtered and summed.
#[derive(Clone, Debug)]
struct Bands {
    low: Band,
    sound: Band,
    mid: Biquad,
    high: Band,
    ambient: Biquad,
    sums: Frame,
    seen: u32,
}

impl Bands {
    fn new() -> Self {
        Self {
            low: Band::new(5.0, 20.0),
            sound: Band::new(25.0, 150.0),
            mid: Biquad::high_pass(60.0, f64::from(WORK_HZ)),
            high: Band::new(150.0, 400.0),
            ambient: Biquad::high_pass(300.0, f64::from(WORK_HZ)),
            sums: Frame::default(),
            seen: 0,
        }
    }

    fn settle(&mut self, x: f64) {
        self.low.settle(x);
        self.sound.settle(x);
        self.mid.settle(0.0, 0.0);
        self.high.settle(x);
        self.ambient.settle(x, 0.0);
    }

    /// Takes one working sample; every twentieth completes a frame.
    fn step(&mut self, x: f64) -> Option<Frame> {
        let sound = self.sound.step(x);
        let low = self.low.step(x);
        let mid = self.mid.step(sound);
        let high = self.high.step(x);
        let ambient = self.ambient.step(x);
        let squared = sound * sound;
        self.sums.low += low * low;
        self.sums.sound += squared;
        self.sums.sound_fourth += squared * squared;
        self.sums.mid += mid * mid;
        self.sums.high += high * high;
        self.sums.ambient += ambient * ambient;
        self.seen += 1;
        if self.seen < FRAME {
            return None;
        }
        self.seen = 0;
        let sums = std::mem::take(&mut self.sums);
        let share = 1.0 / f64::from(FRAME);
        Some(Frame {
            low: sums.low * share,
            sound: sums.sound * share,
            mid: sums.mid * share,
            high: sums.high * share,
            ambient: sums.ambient * share,
            sound_fourth: sums.sound_fourth * share,
            tally: Tally::default(),
        })
    }
}

/// Turns samples into frames.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    rails: Option<(i32, i32)>,
    held_samples: u32,
    low_pass: Option<[Biquad; 2]>,
    resampler: Resampler,
    bands: Bands,
    tally: Tally,
    previous: Option<i32>,
    run: u32,
    started: bool,
}

impl Front {
    pub(crate) fn new(rate: SamplingRate, rails: Option<(i32, i32)>) -> Self {
        let rate_hz = rate.as_hz();
        let section = Biquad::low_pass(800.0, rate_hz);
        let held = num::round_usize(HELD_S * rate_hz).max(2);
        Self {
            rails,
            held_samples: u32::try_from(held).unwrap_or(u32::MAX),
            low_pass: (rate_hz > NEEDS_LOW_PASS_HZ).then_some([section; 2]),
            resampler: Resampler::new(rate.as_ratio(), WORK_HZ),
            bands: Bands::new(),
            tally: Tally::default(),
            previous: None,
            run: 0,
            started: false,
        }
    }

    /// Takes one sample and gives the frames that it completes (at 1 kHz and above, one at most).
    pub(crate) fn step(&mut self, sample: i32, mut frame: impl FnMut(Frame)) {
        self.count(sample);
        let mut x = f64::from(sample);
        if !self.started {
            self.started = true;
            self.bands.settle(x);
            for section in self.low_pass.iter_mut().flatten() {
                section.settle(x, 1.0);
            }
        }
        for section in self.low_pass.iter_mut().flatten() {
            x = section.step(x);
        }
        self.resampler.push(x);
        while let Some(y) = self.resampler.take() {
            if let Some(done) = self.bands.step(y) {
                frame(Frame {
                    tally: std::mem::take(&mut self.tally),
                    ..done
                });
            }
        }
    }

    fn count(&mut self, sample: i32) {
        let tally = &mut self.tally;
        tally.samples = tally.samples.saturating_add(1);
        let repeated = self.previous == Some(sample);
        self.previous = Some(sample);
        self.run = if repeated {
            self.run.saturating_add(1)
        } else {
            1
        };
        match self.run.cmp(&self.held_samples) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => tally.held = tally.held.saturating_add(self.run),
            std::cmp::Ordering::Greater => tally.held = tally.held.saturating_add(1),
        }
        if let Some((low, high)) = self.rails
            && (sample <= low || sample >= high)
        {
            tally.railed = tally.railed.saturating_add(1);
        }
        tally.highest.see(i64::from(sample), repeated);
        tally.lowest.see(-i64::from(sample), repeated);
    }

    /// The place of a frame's start on the time line of the input, in samples since the
    /// front began; fractions of a frame are allowed.
    pub(crate) fn input_position(&self, frame: f64) -> f64 {
        let delay = BAND_DELAY_S * f64::from(WORK_HZ);
        let at = self
            .resampler
            .input_position(frame * f64::from(FRAME) - delay);
        at.max(0.0)
    }

    /// The frame that a sample of the input falls into, with its fraction.
    pub(crate) fn frame_position(&self, sample: f64) -> f64 {
        let origin = self.resampler.input_position(0.0);
        let per_frame = self.resampler.input_position(f64::from(FRAME)) - origin;
        let delay = BAND_DELAY_S * f64::from(WORK_HZ) / f64::from(FRAME);
        (sample - origin) / per_frame + delay
    }
}

#[cfg(test)]
mod tests {
    use super::{Extreme, Frame, Front};
    use cardio_core::rate::SamplingRate;

    fn frames_of(hz: u32, rails: Option<(i32, i32)>, wave: impl Fn(f64) -> f64) -> Vec<Frame> {
        let mut front = Front::new(SamplingRate::hz(hz).unwrap(), rails);
        let mut frames = Vec::new();
        for n in 0..4 * hz {
            let sample = wave(f64::from(n) / f64::from(hz));
            front.step(crate::num::round_i32(sample), |frame| frames.push(frame));
        }
        frames
    }

    fn tone(hz: f64) -> impl Fn(f64) -> f64 {
        move |t| 1000.0 * libm::sin(core::f64::consts::TAU * hz * t)
    }

    #[test]
    fn a_tone_shows_in_its_own_band_at_every_rate() {
        for rate in [1_000, 2_000, 4_000, 8_000, 44_100, 48_000] {
            let of = |hz: f64| {
                let frames = frames_of(rate, None, tone(hz));
                let late = frames.get(100..300).unwrap();
                late.iter()
                    .fold([0.0; 3], |[low, sound, high], frame| {
                        [low + frame.low, sound + frame.sound, high + frame.high]
                    })
                    .map(|sum| sum / 200.0 / 500_000.0)
            };
            let [low, sound, _] = of(10.0);
            assert!(low > 0.8 && sound < 0.1, "{rate}: {low} {sound}");
            let [low, sound, high] = of(60.0);
            assert!(sound > 0.8 && low < 0.1 && high < 0.1, "{rate}: {sound}");
            let [_, sound, high] = of(250.0);
            assert!(high > 0.7 && sound < 0.2, "{rate}: {high} {sound}");
        }
    }

    #[test]
    fn a_constant_is_silent_and_held() {
        let frames = frames_of(4_000, None, |_| -12_345.0);
        assert!(frames.iter().all(|frame| frame.sound < 1e-9));
        let held: u32 = frames.iter().map(|frame| frame.tally.held).sum();
        assert!(held > 15_800, "{held}");
    }

    #[test]
    fn samples_at_a_stated_rail_are_counted() {
        let wave = tone(50.0);
        let frames = frames_of(2_000, Some((-800, 800)), move |t| {
            wave(t).clamp(-800.0, 800.0)
        });
        let railed: u32 = frames.iter().map(|frame| frame.tally.railed).sum();
        assert!(railed > 2_500, "{railed}");
    }

    #[test]
    fn an_extreme_counts_only_what_repeats_it() {
        let mut extreme = Extreme::default();
        for (value, repeated) in [(1, false), (5, false), (5, true), (3, false), (3, true)] {
            extreme.see(value, repeated);
        }
        assert_eq!((extreme.value, extreme.repeats), (5, 1));
        let other = Extreme {
            value: 5,
            repeats: 2,
        };
        assert_eq!(extreme.joined(other).repeats, 3);
    }

    #[test]
    fn places_convert_there_and_back() {
        for rate in [1_000, 2_000, 11_025, 48_000] {
            let front = Front::new(SamplingRate::hz(rate).unwrap(), None);
            for frame in [10.0, 333.5, 1e6] {
                let back = front.frame_position(front.input_position(frame));
                assert!((back - frame).abs() < 1e-6, "{rate}: {frame} became {back}");
            }
        }
    }
}
