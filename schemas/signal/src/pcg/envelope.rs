//! The envelope of heart sounds in decibels, and the period that it repeats with.
//!
//! Deliberately absent: what a period means for a person, and anything beyond one window.

use crate::num;
use crate::pcg::front::FRAMES_PER_S;

/// Slowest and fastest heart that is looked for, in beats per minute.
const RATES_BPM: (f64, f64) = (35.0, 200.0);
/// Half of the smoothing window, in frames: 90 ms in all, about 8 Hz.
const SMOOTH: usize = 4;
/// Half of the window of the running mean that is taken away, in frames.
const TREND: usize = 75;
/// Frames this far below the middle one count as equally silent.
const SILENCE_SHARE: f64 = 0.003;
/// Energy of rounding to whole counts.
const ROUNDING: f64 = 0.1;
/// Share of a lag's own height, and of its double's, in its score.
const OWN_SHARE: f64 = 0.6;
/// A shorter lag wins if its score comes this near to the best.
const NEAR_BEST: f64 = 0.88;

/// An echo counts for at most this many times the lag's own height: half a beat, from first
/// to second sound, is less like itself than a whole one.
const ECHO_LIMIT: f64 = 1.2;
/// Rates between these are what a person at rest has, in beats per minute; others must show
/// more, up to this share at the ends of the range.
const USUAL_BPM: (f64, f64) = (50.0, 110.0);
const UNUSUAL_SHARE: f64 = 0.8;

/// How likely a lag is before anything was heard.
fn likely(lag: usize) -> f64 {
    let bpm = FRAMES_PER_MIN / num::float(lag.max(1));
    let below = (USUAL_BPM.0 - bpm) / (USUAL_BPM.0 - RATES_BPM.0);
    let above = (bpm - USUAL_BPM.1) / (RATES_BPM.1 - USUAL_BPM.1);
    1.0 - (1.0 - UNUSUAL_SHARE) * below.max(above).clamp(0.0, 1.0)
}

/// Frames in a minute.
pub(crate) const FRAMES_PER_MIN: f64 = 60.0 * 100.0;

/// The smoothed envelope of a stretch.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// Decibels, one value a frame.
    pub(crate) level_db: Vec<f64>,
    /// The same without its slow trend, limited to 15 dB either way.
    pub(crate) wave: Vec<f64>,
}

impl Envelope {
    pub(crate) fn of(energies: &[f64]) -> Self {
        let mut sorted = energies.to_vec();
        let floor = ROUNDING + SILENCE_SHARE * num::median(&mut sorted);
        let log: Vec<f64> = energies
            .iter()
            .map(|energy| 10.0 * libm::log10(energy + floor))
            .collect();
        let level_db = smooth(&log);
        let trend = running_mean(&level_db, TREND);
        let wave = level_db
            .iter()
            .zip(trend)
            .map(|(level, slow)| (level - slow).clamp(-15.0, 15.0))
            .collect();
        Self { level_db, wave }
    }
}

/// Hann-weighted mean around every value; the ends use what there is.
fn smooth(values: &[f64]) -> Vec<f64> {
    let weights: Vec<f64> = (0..=SMOOTH)
        .map(|at| {
            let turn = num::float(at) / num::float(SMOOTH + 1);
            0.5 + 0.5 * libm::cos(core::f64::consts::PI * turn)
        })
        .collect();
    (0..values.len())
        .map(|at| {
            let from = at.saturating_sub(SMOOTH);
            let near = values.get(from..values.len().min(at + SMOOTH + 1));
            let (sum, weight) = near.unwrap_or_default().iter().zip(from..).fold(
                (0.0, 0.0),
                |(sum, weight), (value, place)| {
                    let w = weights.get(place.abs_diff(at)).copied().unwrap_or(0.0);
                    (sum + w * value, weight + w)
                },
            );
            sum / weight
        })
        .collect()
}

/// Plain mean around every value; the ends use what there is.
fn running_mean(values: &[f64], half: usize) -> Vec<f64> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for value in values {
        sum += value;
        sums.push(sum);
    }
    (0..values.len())
        .map(|at| {
            let from = at.saturating_sub(half);
            let to = values.len().min(at + half + 1);
            let span =
                sums.get(to).copied().unwrap_or(0.0) - sums.get(from).copied().unwrap_or(0.0);
            span / num::float(to - from)
        })
        .collect()
}

/// Likeness of an envelope with itself, shifted: the coefficient at every lag in frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Likeness {
    at: Vec<f64>,
}

/// Longest lag that is looked at, in frames: two periods of the slowest heart.
const LONGEST: usize = 345;

impl Likeness {
    /// Of a stretch; a lag beyond three quarters of it has the likeness zero.
    pub(crate) fn of(wave: &[f64]) -> Self {
        let reach = LONGEST.min(wave.len() * 3 / 4);
        let at = (0..=LONGEST)
            .map(|lag| {
                if lag > reach {
                    return 0.0;
                }
                let late = wave.get(lag..).unwrap_or_default();
                let (dot, left, right) = wave
                    .iter()
                    .zip(late)
                    .fold((0.0, 0.0, 0.0), |(dot, left, right), (a, b)| {
                        (dot + a * b, left + a * a, right + b * b)
                    });
                let scale = (left * right).sqrt();
                if scale > 1e-9 { dot / scale } else { 0.0 }
            })
            .collect();
        Self { at }
    }

    /// Moves a share of the way towards a newer one.
    pub(crate) fn follow(&mut self, newer: &Self, share: f64) {
        if self.at.is_empty() {
            self.at.clone_from(&newer.at);
        }
        for (mine, new) in self.at.iter_mut().zip(&newer.at) {
            *mine += share * (new - *mine);
        }
    }

    fn get(&self, lag: usize) -> f64 {
        self.at.get(lag).copied().unwrap_or(0.0)
    }

    /// The highest likeness within a range of lags, and its lag.
    pub(crate) fn highest(&self, from: usize, to: usize) -> (usize, f64) {
        (from..=to.min(LONGEST)).fold((from, f64::MIN), |best, lag| {
            if self.get(lag) > best.1 {
                (lag, self.get(lag))
            } else {
                best
            }
        })
    }

    /// How much a lag looks like a beat: its own height and its double's.
    fn height(&self, lag: usize) -> f64 {
        let double = (2 * lag).min(LONGEST);
        let (_, echo) = self.highest(double.saturating_sub(2), double + 2);
        let own = self.get(lag);
        OWN_SHARE * own + (1.0 - OWN_SHARE) * echo.min(ECHO_LIMIT * own)
    }

    /// The period of the heart, if any lag stands out at all.
    pub(crate) fn period(&self) -> Option<Period> {
        let shortest = num::round_usize(FRAMES_PER_MIN / RATES_BPM.1);
        let longest = num::round_usize(FRAMES_PER_MIN / RATES_BPM.0);
        let tops: Vec<(usize, f64)> = (shortest..=longest)
            .filter(|lag| {
                let here = self.get(*lag);
                here > 0.0 && here >= self.get(lag - 1) && here > self.get(lag + 1)
            })
            .map(|lag| (lag, likely(lag) * self.height(lag)))
            .collect();
        let best = tops.iter().map(|top| top.1).fold(0.0, f64::max);
        let (lag, _) = tops.into_iter().find(|top| top.1 >= NEAR_BEST * best)?;
        let frames = self.refined(lag);
        let (systole, systole_height) = self.systole(frames);
        Some(Period {
            frames,
            height: self.height(lag),
            systole,
            systole_height,
        })
    }

    /// The lag of a top, between frames: the vertex of the parabola through three points.
    fn refined(&self, lag: usize) -> f64 {
        let [before, here, after] = [self.get(lag - 1), self.get(lag), self.get(lag + 1)];
        let bend = before - 2.0 * here + after;
        let shift = if bend < -1e-12 {
            0.5 * (before - after) / bend
        } else {
            0.0
        };
        num::float(lag) + shift.clamp(-0.5, 0.5)
    }

    /// From the first sound's start to the second's: the top nearest to what physiology
    /// expects at this rate.
    pub(crate) fn systole(&self, period: f64) -> (f64, f64) {
        let expected = expected_systole(period);
        let from = num::round_usize((expected - 8.0).max(15.0));
        let to = num::round_usize((expected + 8.0).min(0.6 * period));
        let (lag, height) = self.highest(from, to.max(from));
        let inside = lag > from && lag < to;
        if inside && height > 0.0 {
            (num::float(lag), height)
        } else {
            (expected, self.get(num::round_usize(expected)))
        }
    }
}

/// The interval between the starts of the two sounds, in frames, for a period in frames:
/// isovolumetric contraction of 35 ms and the ejection time of Weissler 1968, 413 - 1.7 ms
/// for every beat per minute (men), kept within half of the period.
pub(crate) fn expected_systole(period: f64) -> f64 {
    let bpm = FRAMES_PER_MIN / period.max(1.0);
    let seconds = 0.035 + 0.413 - 0.0017 * bpm;
    (seconds * num::float_u64(FRAMES_PER_S))
        .clamp(16.0, 50.0)
        .min(0.5 * period)
}

/// How the envelope repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Period {
    /// Its length in frames.
    pub(crate) frames: f64,
    /// How alike the repeats are: 1 is exactly.
    pub(crate) height: f64,
    /// First sound to second sound, in frames.
    pub(crate) systole: f64,
    /// Likeness at that distance.
    pub(crate) systole_height: f64,
}

impl Period {
    pub(crate) fn bpm(&self) -> f64 {
        FRAMES_PER_MIN / self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Likeness, expected_systole};

    /// Energies with a bump at the start of every beat and a smaller one a systole later.
    fn beats(period: usize, systole: usize, count: usize) -> Vec<f64> {
        (0..count)
            .map(|at| match at % period {
                phase if phase < 11 => 1e5,
                phase if phase >= systole && phase < systole + 9 => 4e4,
                _ => 50.0,
            })
            .collect()
    }

    #[test]
    fn the_period_of_two_sounds_a_beat_is_the_beat() {
        for (period, systole) in [(150, 38), (100, 34), (75, 31), (60, 28), (45, 22), (40, 22)] {
            let envelope = Envelope::of(&beats(period, systole, 1_000));
            let found = Likeness::of(&envelope.wave).period().unwrap();
            let want = crate::num::float(period);
            assert!((found.frames - want).abs() < 1.0, "{period}: {found:?}");
            assert!(found.height > 0.9, "{found:?}");
        }
    }

    #[test]
    fn systole_is_found_near_where_physiology_expects_it() {
        let envelope = Envelope::of(&beats(80, 33, 1_000));
        let found = Likeness::of(&envelope.wave).period().unwrap();
        assert!((found.systole - 33.0).abs() <= 2.0, "{found:?}");
        assert!((expected_systole(100.0) - 34.6).abs() < 0.1);
    }

    #[test]
    fn silence_has_no_period() {
        let envelope = Envelope::of(&[0.0; 1_000]);
        assert!(Likeness::of(&envelope.wave).period().is_none());
    }
}
