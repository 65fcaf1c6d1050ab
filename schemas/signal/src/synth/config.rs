//! What a synthetic heart does, and what disturbs its signal.

use cardio_core::electrode::Electrode;
use cardio_core::rate::SamplingRate;

/// From one instant to another, in seconds from the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanSeconds {
    /// The first instant inside.
    pub start_s: f64,
    /// The first instant after.
    pub end_s: f64,
}

impl SpanSeconds {
    /// Whether an instant lies inside.
    pub fn holds(&self, at_s: f64) -> bool {
        at_s >= self.start_s && at_s < self.end_s
    }
}

/// Another mean heart rate from an instant on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateChange {
    /// From when, in seconds.
    pub from_s: f64,
    /// The new mean, in beats per minute.
    pub bpm: f64,
}

/// A pause of the heart: no beat for a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pause {
    /// The last beat before the pause is the first one at or after this instant.
    pub at_s: f64,
    /// The RR interval that follows it, in seconds.
    pub length_s: f64,
}

/// A run of ventricular beats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VentricularRun {
    /// When it runs.
    pub span: SpanSeconds,
    /// How fast, in beats per minute.
    pub bpm: f64,
}

/// An electrode without contact for a time: every measured lead that rests on it goes to the
/// converter's rail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ElectrodeOff {
    /// Which contact.
    pub electrode: Electrode,
    /// When.
    pub span: SpanSeconds,
}

/// Variability of the sinus rhythm: two bands of the RR spectrum (McSharry 2003).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeartRateVariability {
    /// Standard deviation of the RR intervals, in milliseconds.
    pub sd_ms: f64,
    /// Power around 0.1 Hz over power around the breathing rate.
    pub lf_hf_ratio: f64,
    /// Breathing rate, in hertz.
    pub breathing_hz: f64,
}

/// Premature beats, drawn at random.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ectopics {
    /// Ventricular ones, mean number per minute.
    pub ventricular_per_min: f64,
    /// Supraventricular ones, mean number per minute.
    pub supraventricular_per_min: f64,
}

/// What disturbs the signal, each as root mean square at one electrode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Slow wander below 0.5 Hz, in millivolts.
    pub baseline_mv: f64,
    /// Mains hum, in millivolts.
    pub mains_mv: f64,
    /// Its frequency: 50 or 60 Hz.
    pub mains_hz: f64,
    /// Muscle tension, in bursts, in millivolts.
    pub muscle_mv: f64,
    /// Steps of the contact potential that die away, in millivolts.
    pub motion_mv: f64,
    /// White noise of the amplifier, in millivolts.
    pub white_mv: f64,
}

impl Noise {
    /// No disturbance at all.
    pub const NONE: Self = Self {
        baseline_mv: 0.0,
        mains_mv: 0.0,
        mains_hz: 50.0,
        muscle_mv: 0.0,
        motion_mv: 0.0,
        white_mv: 0.0,
    };

    /// A patient at rest with good contacts.
    pub const QUIET: Self = Self {
        baseline_mv: 0.03,
        mains_mv: 0.002,
        mains_hz: 50.0,
        muscle_mv: 0.003,
        motion_mv: 0.0,
        white_mv: 0.002,
    };
}

/// A synthetic ECG, in full. The same configuration gives the same samples everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthConfig {
    /// Where chance starts.
    pub seed: u64,
    /// Samples per second.
    pub rate: SamplingRate,
    /// Mean heart rate at the start, in beats per minute; held within 15 to 300.
    pub heart_rate_bpm: f64,
    /// Other means from later instants on, in order of time.
    pub rate_changes: Vec<RateChange>,
    /// Variability of the sinus rhythm.
    pub hrv: HeartRateVariability,
    /// Premature beats.
    pub ectopics: Ectopics,
    /// When the atria fibrillate: irregular RR, no P wave, fibrillatory waves.
    pub af: Vec<SpanSeconds>,
    /// Runs of ventricular beats.
    pub ventricular_runs: Vec<VentricularRun>,
    /// Pauses, in order of time.
    pub pauses: Vec<Pause>,
    /// Disturbances.
    pub noise: Noise,
    /// Electrodes without contact.
    pub electrode_off: Vec<ElectrodeOff>,
    /// Size of the heart's signal: 1 is usual, 0 is none (an asystole with contacts on).
    pub amplitude: f64,
}

impl SynthConfig {
    /// A calm sinus rhythm of 70 /min with the noise of a patient at rest.
    pub fn calm(seed: u64, rate: SamplingRate) -> Self {
        Self {
            seed,
            rate,
            heart_rate_bpm: 70.0,
            rate_changes: Vec::new(),
            hrv: HeartRateVariability {
                sd_ms: 30.0,
                lf_hf_ratio: 0.5,
                breathing_hz: 0.25,
            },
            ectopics: Ectopics::default(),
            af: Vec::new(),
            ventricular_runs: Vec::new(),
            pauses: Vec::new(),
            noise: Noise::QUIET,
            electrode_off: Vec::new(),
            amplitude: 1.0,
        }
    }
}
