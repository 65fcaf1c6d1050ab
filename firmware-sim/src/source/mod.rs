//! Where the signal comes from.

mod beats;
mod recording;
mod resample;
mod sound;
mod synth;

use cardio_core::index::SampleIndex;

pub use beats::BeatSource;
pub use recording::{RecordingSource, SourceError, Wiring};
pub use resample::Resampler;
pub use sound::SoundSource;
pub use synth::SynthSource;

/// A mark that the source knows of: a beat, by its letter, or what a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, in samples of the device.
    pub at: SampleIndex,
    /// The source's code.
    pub code: String,
}

/// An electrical source on the device's inputs, at the device's rate.
pub trait SignalSource: Send {
    /// The next instant in millivolts, one value per row of the device; not-a-number where
    /// the source has nothing. `false` at the end of the source.
    fn next_row(&mut self, row: &mut [f64]) -> bool;

    /// Marks that have come up since the last call.
    fn take_marks(&mut self) -> Vec<Mark>;
}
