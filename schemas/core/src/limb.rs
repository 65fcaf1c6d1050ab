//! The four limb leads that follow from I and II, exactly.
//!
//! Einthoven: `III = II - I`. Goldberger: `aVR = -(I + II) / 2`, `aVL = I - II / 2`,
//! `aVF = II - I / 2`. Halves would leave the integers, so the augmented leads are kept as
//! twice their value under a calibration with twice the gain: nothing is rounded.

use crate::calibration::{Calibration, CalibrationError};
use crate::lead::Lead;
use crate::sample::Adu;

/// The four derived leads, in the order of the paper sheet.
pub const DERIVED: [Lead; 4] = [Lead::III, Lead::Avr, Lead::Avl, Lead::Avf];

/// The factor by which a derived lead's counts are larger than those of I and II.
/// Zero for a lead that does not follow from I and II.
pub const fn count_factor(lead: Lead) -> i32 {
    match lead {
        Lead::III => 1,
        Lead::Avr | Lead::Avl | Lead::Avf => 2,
        _ => 0,
    }
}

/// One sample of a derived lead, in counts of [`calibration`]. `None` when `lead` is not one
/// of [`DERIVED`] or the sum leaves the range of a count.
pub fn sample(lead: Lead, lead_i: Adu, lead_ii: Adu) -> Option<Adu> {
    let (i, ii) = (i64::from(lead_i), i64::from(lead_ii));
    let wide = match lead {
        Lead::III => ii - i,
        Lead::Avr => -(i + ii),
        Lead::Avl => 2 * i - ii,
        Lead::Avf => 2 * ii - i,
        _ => return None,
    };
    Adu::try_from(wide).ok()
}

/// The calibration of a derived lead, when I and II share `measured`. The baseline of the
/// measured leads cancels as the sum of the weights demands.
///
/// # Errors
/// [`CalibrationError`] when `lead` is not one of [`DERIVED`].
pub fn calibration(lead: Lead, measured: &Calibration) -> Result<Calibration, CalibrationError> {
    let weight_sum = match lead {
        Lead::Avr => -2.0,
        Lead::Avl | Lead::Avf => 1.0,
        _ => 0.0,
    };
    Calibration::new(
        measured.gain_adu_per_unit() * f64::from(count_factor(lead)),
        measured.baseline_adu() * weight_sum,
        measured.unit().clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Calibration, DERIVED, Lead, calibration, sample};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn derived_leads_obey_einthoven_and_goldberger(i in -9_000_000_i32..9_000_000, ii in -9_000_000_i32..9_000_000, baseline in -1000_i32..1000) {
            let measured = Calibration::millivolts(200.0, f64::from(baseline)).unwrap();
            let (mv_i, mv_ii) = (measured.value(i), measured.value(ii));
            for (lead, want) in DERIVED.into_iter().zip([
                mv_ii - mv_i,
                -(mv_i + mv_ii) / 2.0,
                mv_i - mv_ii / 2.0,
                mv_ii - mv_i / 2.0,
            ]) {
                let got = calibration(lead, &measured).unwrap().value(sample(lead, i, ii).unwrap());
                prop_assert!((got - want).abs() < 1e-6, "{lead}: {got} is not {want}");
            }
        }
    }

    #[test]
    fn a_measured_lead_is_not_derived() {
        assert_eq!(sample(Lead::V1, 1, 2), None);
        assert!(calibration(Lead::I, &Calibration::millivolts(1.0, 0.0).unwrap()).is_err());
    }
}
