//! Units of a calibrated sample, with their UCUM codes.

/// What one calibrated sample is measured in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PhysicalUnit {
    /// Millivolt, the unit of an ECG.
    Millivolt,
    /// Without a unit, or with one that the source did not state.
    Dimensionless,
    /// Another unit, as the source spells it.
    Other(String),
}

impl PhysicalUnit {
    /// Code in UCUM, or the source's spelling.
    pub fn ucum(&self) -> &str {
        match self {
            Self::Millivolt => "mV",
            Self::Dimensionless => "1",
            Self::Other(text) => text,
        }
    }
}
