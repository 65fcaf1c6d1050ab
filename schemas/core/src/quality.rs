//! How good a stretch of signal is, who says so, and why.

use crate::index::{SampleCount, SampleIndex};

/// Name and version of the algorithm behind a number. A quality of 0.83 means nothing
/// without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlgorithmId {
    /// Stable name, for instance `sqi-ecg`.
    pub name: &'static str,
    /// Version; any change of an answer raises it.
    pub version: u32,
}

impl std::fmt::Display for AlgorithmId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A quality from 0 (nothing can be measured) to 1 (clean).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct SignalQualityIndex(f64);

impl SignalQualityIndex {
    /// The index nearest to `value` within 0 to 1; not-a-number counts as 0.
    pub fn clamped(value: f64) -> Self {
        Self(if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0)
        })
    }

    /// From 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// What a stretch may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QualityVerdict {
    /// Nothing can be measured.
    Insufficient = 1,
    /// Beats can be used, the shape of the wave cannot.
    Acceptable = 2,
    /// The whole wave can be used.
    Good = 3,
}

impl QualityVerdict {
    /// Stable name in JSON and FHIR.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insufficient => "insufficient",
            Self::Acceptable => "acceptable",
            Self::Good => "good",
        }
    }
}

/// What is wrong with a stretch of signal, in the order of what to fix first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum QualityCause {
    /// No contact.
    LeadOff = 1,
    /// Held at one value without being at the rail.
    Flat = 2,
    /// At the converter's limit.
    Saturation = 3,
    /// Slow movement of the baseline.
    Baseline = 4,
    /// Muscle tension: broad noise above the ECG's band.
    Muscle = 5,
    /// Mains hum at 50 or 60 Hz.
    Mains = 6,
    /// Isolated steps or spikes.
    Spikes = 7,
    /// The QRS is small. A clinical finding too.
    LowAmplitude = 8,
    /// Beats are hidden in noise of no named kind.
    Noise = 9,
    /// Limb electrodes look swapped.
    LimbSwap = 10,
    /// Part of the window is missing.
    Gap = 11,
    /// Too little of it yet to be judged.
    TooShort = 12,
    /// Heart sounds too faint to be heard above the converter's own steps.
    TooQuiet = 13,
    /// Rubbing or handling of the stethoscope: impulses that follow no beat.
    Friction = 14,
    /// Speech or the room: sound above the heart's band.
    Ambient = 15,
    /// Nothing repeats as a heart does.
    NoRhythm = 16,
}

impl QualityCause {
    /// All causes, most urgent first.
    pub const ALL: [Self; 16] = [
        Self::LeadOff,
        Self::Flat,
        Self::Saturation,
        Self::Baseline,
        Self::Muscle,
        Self::Mains,
        Self::Spikes,
        Self::LowAmplitude,
        Self::Noise,
        Self::LimbSwap,
        Self::Gap,
        Self::TooShort,
        Self::TooQuiet,
        Self::Friction,
        Self::Ambient,
        Self::NoRhythm,
    ];

    /// Stable name in JSON and exchange files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeadOff => "lead-off",
            Self::Flat => "flat",
            Self::Saturation => "saturation",
            Self::Baseline => "baseline",
            Self::Muscle => "muscle",
            Self::Mains => "mains",
            Self::Spikes => "spikes",
            Self::LowAmplitude => "low-amplitude",
            Self::Noise => "noise",
            Self::LimbSwap => "limb-swap",
            Self::Gap => "gap",
            Self::TooShort => "too-short",
            Self::TooQuiet => "too-quiet",
            Self::Friction => "friction",
            Self::Ambient => "ambient",
            Self::NoRhythm => "no-rhythm",
        }
    }

    /// Number on the wire; never reused.
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a fieldless repr(u8) enum"
    )]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The cause of a number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.number() == number)
    }
}

/// Quality of one lead over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct LeadQuality {
    /// From 0 to 1.
    pub index: SignalQualityIndex,
    /// What the stretch may be used for.
    pub verdict: QualityVerdict,
    /// What is wrong, most urgent first, without repeats.
    pub causes: Vec<QualityCause>,
}

/// Quality of a window over all leads.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalQuality {
    /// The window's first sample.
    pub first: SampleIndex,
    /// The window's length.
    pub len: SampleCount,
    /// All leads together.
    pub overall: LeadQuality,
    /// Each lead, in the source's order.
    pub per_lead: Vec<LeadQuality>,
    /// Who says so.
    pub algorithm: AlgorithmId,
}

#[cfg(test)]
mod tests {
    use super::QualityCause;

    #[test]
    fn every_cause_has_its_own_name_and_a_number_that_finds_it() {
        for (at, cause) in QualityCause::ALL.into_iter().enumerate() {
            assert_eq!(QualityCause::from_number(cause.number()), Some(cause));
            assert_eq!(usize::from(cause.number()), at + 1);
            let same = QualityCause::ALL
                .iter()
                .filter(|c| c.name() == cause.name());
            assert_eq!(same.count(), 1);
        }
        assert_eq!(QualityCause::from_number(0), None);
        assert_eq!(QualityCause::from_number(17), None);
    }
}
