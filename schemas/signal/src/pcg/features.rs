//! What is measured in a window of frames, before anybody has an opinion.
//!
//! Deliberately absent: thresholds and verdicts.

use crate::num;
use crate::pcg::envelope::{Envelope, Likeness};
use crate::pcg::front::{Extreme, Frame};

/// Frames of the stretches in which impulses are looked for: half a second.
const IMPULSE_SPAN: usize = 50;
/// A stretch is an impulse when its loudest frame has this many times the energy of the
/// middle one of all stretches (Schmidt 2010 uses three times the amplitude).
const IMPULSE_TIMES: f64 = 16.0;
/// Energies below this count as rounding.
const LEAST: f64 = 1e-3;

/// What was measured in a window of heart sounds. Every value is a plain number, so that a
/// verdict can be explained.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoundFeatures {
    /// How alike the beats' envelopes are, 0 to 1.
    pub periodicity: f64,
    /// How alike the envelope is one systole later, -1 to 1: two sounds a beat.
    pub two_sounds: f64,
    /// Loud frames (95 of 100 are fainter) above faint ones (20 of 100), in decibels.
    pub contrast_db: f64,
    /// 5 to 20 Hz against 25 to 150 Hz, in decibels.
    pub low_db: f64,
    /// 60 to 150 Hz against 25 to 150 Hz, in decibels.
    pub mid_db: f64,
    /// 150 to 400 Hz against 25 to 150 Hz, in decibels.
    pub high_db: f64,
    /// Above 300 Hz against 25 to 150 Hz, in the middle frame, in decibels.
    pub ambient_db: f64,
    /// Kurtosis of 25 to 150 Hz, as a natural logarithm.
    pub log_kurtosis: f64,
    /// Share of half-second stretches that hold an impulse, 0 to 1.
    pub impulse_share: f64,
    /// Root mean square in 25 to 150 Hz, in decibels over one count.
    pub level_db: f64,
    /// Share of samples at the converter's limit, 0 to 1.
    pub clipped_share: f64,
    /// Share of samples that do not change for 0.1 s or longer, 0 to 1.
    pub held_share: f64,
    /// Level of the first and second sounds above the silence between them, in decibels; 0
    /// until there is enough to find them.
    pub sound_snr_db: f64,
}

impl SoundFeatures {
    /// Names, in the order of [`SoundFeatures::values`].
    pub const NAMES: [&'static str; 13] = [
        "periodicity",
        "two_sounds",
        "contrast_db",
        "low_db",
        "mid_db",
        "high_db",
        "ambient_db",
        "log_kurtosis",
        "impulse_share",
        "level_db",
        "clipped_share",
        "held_share",
        "sound_snr_db",
    ];

    /// The numbers in the order of [`SoundFeatures::NAMES`], as features again.
    const fn from_values(values: [f64; 13]) -> Self {
        let [
            periodicity,
            two_sounds,
            contrast_db,
            low_db,
            mid_db,
            high_db,
            ambient_db,
            log_kurtosis,
            impulse_share,
            level_db,
            clipped_share,
            held_share,
            sound_snr_db,
        ] = values;
        Self {
            periodicity,
            two_sounds,
            contrast_db,
            low_db,
            mid_db,
            high_db,
            ambient_db,
            log_kurtosis,
            impulse_share,
            level_db,
            clipped_share,
            held_share,
            sound_snr_db,
        }
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut sums = self.values();
        for (sum, more) in sums.iter_mut().zip(other.values()) {
            *sum += more;
        }
        Self::from_values(sums)
    }

    pub(crate) fn times(&self, factor: f64) -> Self {
        Self::from_values(self.values().map(|value| factor * value))
    }

    /// The numbers, in the order of [`SoundFeatures::NAMES`].
    pub const fn values(&self) -> [f64; 13] {
        [
            self.periodicity,
            self.two_sounds,
            self.contrast_db,
            self.low_db,
            self.mid_db,
            self.high_db,
            self.ambient_db,
            self.log_kurtosis,
            self.impulse_share,
            self.level_db,
            self.clipped_share,
            self.held_share,
            self.sound_snr_db,
        ]
    }
}

/// A window and what was measured in it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) features: SoundFeatures,
    pub(crate) envelope: Envelope,
    pub(crate) likeness: Likeness,
    /// How much brighter than the window a frame is, in decibels.
    brightness: Vec<f64>,
}

/// Level that parts sound from silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Border {
    level_db: f64,
    step_db: f64,
}

impl Measured {
    /// The border that leaves the share of frames that the two sounds take at this rate.
    pub(crate) fn border(&self, sound_share: f64) -> Border {
        let mut level = self.envelope.level_db.clone();
        Border {
            level_db: num::quantile(&mut level, 1.0 - sound_share),
            step_db: (self.features.contrast_db / 6.0).max(1.0),
        }
    }

    /// How many steps a frame lies above the border.
    pub(crate) fn steps(&self, border: Border, place: usize) -> f64 {
        let level = self.envelope.level_db.get(place).copied();
        level.map_or(0.0, |level| (level - border.level_db) / border.step_db)
    }

    /// How much brighter than the window a frame is: -1 to 1 for 4 dB.
    pub(crate) fn brightness(&self, place: usize) -> f64 {
        let bright = self.brightness.get(place).copied().unwrap_or(0.0);
        (bright / 4.0).clamp(-1.0, 1.0)
    }

    /// Levels from one frame of the window to another.
    pub(crate) fn levels(&self, from: u64, to: u64) -> &[f64] {
        let place = |frame| usize::try_from(frame).unwrap_or(usize::MAX);
        self.envelope
            .level_db
            .get(place(from)..place(to))
            .unwrap_or_default()
    }
}

/// Measures a window.
pub(crate) fn measure(frames: &[Frame]) -> Measured {
    let sound: Vec<f64> = frames.iter().map(|frame| frame.sound).collect();
    let envelope = Envelope::of(&sound);
    let likeness = Likeness::of(&envelope.wave);
    let period = likeness.period();
    let total = |of: fn(&Frame) -> f64| frames.iter().map(of).sum::<f64>();
    let count = num::float(frames.len().max(1));
    let loud = total(|frame| frame.sound);
    let fourth = total(|frame| frame.sound_fourth);
    let mut faint: Vec<f64> = sound.clone();
    let mut room: Vec<f64> = frames.iter().map(|frame| frame.ambient).collect();
    let mut level = envelope.level_db.clone();
    let features = SoundFeatures {
        periodicity: period.map_or(0.0, |period| period.height).clamp(0.0, 1.0),
        two_sounds: period.map_or(0.0, |period| period.systole_height),
        contrast_db: num::quantile(&mut level, 0.95) - num::quantile(&mut level, 0.20),
        low_db: ratio_db(total(|frame| frame.low), loud),
        mid_db: ratio_db(total(|frame| frame.mid), loud),
        high_db: ratio_db(total(|frame| frame.high), loud),
        ambient_db: ratio_db(num::median(&mut room), num::median(&mut faint)),
        log_kurtosis: libm::log((fourth * count + LEAST) / (loud * loud + LEAST)),
        impulse_share: impulse_share(&sound),
        level_db: 10.0 * libm::log10(loud / count + LEAST),
        clipped_share: clipped_share(frames),
        held_share: share(frames, |frame| frame.tally.held),
        sound_snr_db: 0.0,
    };
    let brightness = frames
        .iter()
        .map(|frame| ratio_db(frame.mid, frame.sound) - features.mid_db)
        .collect();
    Measured {
        features,
        brightness,
        envelope,
        likeness,
    }
}

fn ratio_db(part: f64, whole: f64) -> f64 {
    10.0 * libm::log10((part + LEAST) / (whole + LEAST))
}

fn share(frames: &[Frame], of: fn(&Frame) -> u32) -> f64 {
    let part: f64 = frames.iter().map(|frame| f64::from(of(frame))).sum();
    let all: f64 = frames
        .iter()
        .map(|frame| f64::from(frame.tally.samples))
        .sum();
    if all > 0.0 {
        (part / all).min(1.0)
    } else {
        0.0
    }
}

/// At stated rails, or in runs at the window's own extremes when these repeat.
fn clipped_share(frames: &[Frame]) -> f64 {
    let stated = share(frames, |frame| frame.tally.railed);
    let join = |of: fn(&Frame) -> Extreme| {
        frames
            .iter()
            .map(of)
            .fold(Extreme::default(), Extreme::joined)
    };
    let (highest, lowest) = (join(|f| f.tally.highest), join(|f| f.tally.lowest));
    let span = highest.value.saturating_add(lowest.value);
    let all: f64 = frames
        .iter()
        .map(|frame| f64::from(frame.tally.samples))
        .sum();
    // A signal of a few counts repeats its extremes without being clipped.
    if span < 64 || all < 1.0 {
        return stated;
    }
    let repeats = f64::from(highest.repeats) + f64::from(lowest.repeats);
    stated.max((repeats / all).min(1.0))
}

fn impulse_share(sound: &[f64]) -> f64 {
    let peaks: Vec<f64> = sound
        .chunks_exact(IMPULSE_SPAN)
        .map(|stretch| stretch.iter().copied().fold(0.0, f64::max))
        .collect();
    let limit = IMPULSE_TIMES * num::median(&mut peaks.clone()) + LEAST;
    let hits = peaks.iter().filter(|peak| **peak > limit).count();
    num::float(hits) / num::float(peaks.len().max(1))
}
