//! What a count of the converter means in the patient's body.
//!
//! Samples stay integers; a calibration goes beside them and is applied only to draw or measure.

use crate::units::PhysicalUnit;

/// Linear relation between counts (adu) and a physical unit:
/// `value = (adu - baseline_adu) / gain_adu_per_unit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    gain_adu_per_unit: f64,
    baseline_adu: f64,
    unit: PhysicalUnit,
}

/// Why two numbers are not a calibration.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "a calibration needs a finite gain other than zero and a finite baseline, not gain {gain} and baseline {baseline}"
)]
pub struct CalibrationError {
    /// The gain that was refused, in adu per unit.
    pub gain: f64,
    /// The baseline that was refused, in adu.
    pub baseline: f64,
}

impl CalibrationError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "calibration.impossible"
    }
}

impl Calibration {
    /// A calibration in any unit. The gain may be negative (an inverted lead), never zero.
    ///
    /// # Errors
    /// [`CalibrationError`] when a number is not finite or the gain is zero.
    pub fn new(
        gain_adu_per_unit: f64,
        baseline_adu: f64,
        unit: PhysicalUnit,
    ) -> Result<Self, CalibrationError> {
        if gain_adu_per_unit.is_finite() && gain_adu_per_unit != 0.0 && baseline_adu.is_finite() {
            Ok(Self {
                gain_adu_per_unit,
                baseline_adu,
                unit,
            })
        } else {
            Err(CalibrationError {
                gain: gain_adu_per_unit,
                baseline: baseline_adu,
            })
        }
    }

    /// A calibration in millivolts.
    ///
    /// # Errors
    /// As [`Calibration::new`].
    pub fn millivolts(gain_adu_per_mv: f64, baseline_adu: f64) -> Result<Self, CalibrationError> {
        Self::new(gain_adu_per_mv, baseline_adu, PhysicalUnit::Millivolt)
    }

    /// Counts per unit.
    pub const fn gain_adu_per_unit(&self) -> f64 {
        self.gain_adu_per_unit
    }

    /// The count that stands for zero.
    pub const fn baseline_adu(&self) -> f64 {
        self.baseline_adu
    }

    /// The unit of a calibrated sample.
    pub const fn unit(&self) -> &PhysicalUnit {
        &self.unit
    }

    /// Counts per millivolt, if the unit is the millivolt.
    pub fn gain_adu_per_mv(&self) -> Option<f64> {
        (self.unit == PhysicalUnit::Millivolt).then_some(self.gain_adu_per_unit)
    }

    /// The calibrated value of a count.
    pub fn value(&self, adu: i32) -> f64 {
        (f64::from(adu) - self.baseline_adu) / self.gain_adu_per_unit
    }

    /// The same lead with every count `factor` times as large, as a sum of leads that is
    /// kept free of fractions needs.
    ///
    /// # Errors
    /// [`CalibrationError`] when the factor is zero or not finite.
    pub fn scaled(&self, factor: f64) -> Result<Self, CalibrationError> {
        Self::new(
            self.gain_adu_per_unit * factor,
            self.baseline_adu * factor,
            self.unit.clone(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Calibration, PhysicalUnit};

    #[test]
    fn a_count_becomes_millivolts_by_gain_and_baseline() {
        let calibration = Calibration::millivolts(200.0, 1024.0).unwrap();
        assert!((calibration.value(1224) - 1.0).abs() < 1e-12);
        assert_eq!(calibration.gain_adu_per_mv(), Some(200.0));
    }

    #[test]
    fn a_gain_of_zero_is_refused_with_its_numbers() {
        let err = Calibration::new(0.0, 5.0, PhysicalUnit::Dimensionless).unwrap_err();
        assert!(err.to_string().contains("gain 0 and baseline 5"));
    }
}
