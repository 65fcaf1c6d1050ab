//! Heart sounds: how good they are, how fast the heart beats, where the first and the
//! second sound lie.
//!
//! Sound of 1 to 48 kHz goes in as the converter's counts, in blocks of any size; memory does
//! not grow, and nothing is told across a gap. Deliberately absent: murmurs and any other
//! diagnosis, playback filters, the words that a nurse reads.

mod envelope;
mod features;
mod front;
mod model;
mod quality;
mod segment;
mod stream;
mod summary;
pub mod synth;

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{AlgorithmId, LeadQuality, SignalQuality};

pub use features::SoundFeatures;
pub use model::QualityModel;
pub use stream::HeartSounds;

/// Who says so.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "pcg",
    version: 1,
};

/// Lowest and highest rate of sound that can be analysed, in hertz.
pub const RATES_HZ: (f64, f64) = (1_000.0, 48_000.0);

/// Why sound cannot be taken at all.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PcgError {
    /// The rate is outside of what the bands were made for.
    #[error("cannot analyse heart sounds: {rate_hz} Hz is outside of 1 to 48 kHz")]
    Rate {
        /// The rate that was refused, in hertz.
        rate_hz: f64,
    },
}

impl PcgError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rate { .. } => "pcg.rate-out-of-range",
        }
    }
}

/// Why no heart rate is told: a result, not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanalysed {
    /// Less than five seconds without a gap.
    #[error("could not analyse the heart sounds: {have_ms} ms in one piece, 5000 are needed")]
    TooShort {
        /// Longest piece, in milliseconds.
        have_ms: u64,
    },
    /// The sound is not good enough to be believed.
    #[error("could not analyse the heart sounds: the sound is insufficient")]
    Insufficient,
    /// Nothing repeats as a heart does.
    #[error("could not analyse the heart sounds: no rhythm found")]
    NoRhythm,
}

impl Unanalysed {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "pcg.too-short",
            Self::Insufficient => "pcg.insufficient",
            Self::NoRhythm => "pcg.no-rhythm",
        }
    }
}

/// Where a heart rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateSource {
    /// The period of the sound's envelope.
    Sound,
    /// The R peaks of the ECG beside it.
    Beats,
}

/// How fast the heart beats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoundRate {
    /// Beats per minute.
    pub bpm: f64,
    /// Where it comes from.
    pub source: RateSource,
}

/// Which heart sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SoundKind {
    /// First sound: the valves to the chambers close.
    S1,
    /// Second sound: the valves to the arteries close.
    S2,
}

impl SoundKind {
    /// Stable name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S1 => "S1",
            Self::S2 => "S2",
        }
    }
}

/// A heart sound: systole lies between a first and the next second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartSound {
    /// Which one.
    pub kind: SoundKind,
    /// Its start, in the sound's own rate.
    pub first: SampleIndex,
    /// Its length.
    pub len: SampleCount,
}

/// What is told of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundWindow {
    /// How good it is; one row.
    pub quality: SignalQuality,
    /// What the verdict rests on.
    pub features: SoundFeatures,
    /// Heart rate, or why there is none.
    pub rate: Result<SoundRate, Unanalysed>,
    /// Sounds that became sure with this window, in order of time; they begin up to a few
    /// seconds before its end.
    pub sounds: Vec<HeartSound>,
}

/// What is told of a whole recording.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundSummary {
    /// Samples heard, gaps not counted.
    pub heard: SampleCount,
    /// Windows of five seconds and more, one a second.
    pub windows: u64,
    /// Of these, acceptable or good.
    pub usable_windows: u64,
    /// How good the recording is.
    pub quality: LeadQuality,
    /// What the verdict rests on: the mean over the windows.
    pub features: SoundFeatures,
    /// Heart rate, or why there is none.
    pub rate: Result<SoundRate, Unanalysed>,
    /// First sounds found.
    pub first_sounds: u64,
    /// Second sounds found.
    pub second_sounds: u64,
}

#[cfg(test)]
mod tests;
