//! What a file's label and unit say about a row.

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::{Calibration, CalibrationError};
use cardio_core::lead::Lead;
use cardio_core::units::PhysicalUnit;

/// Labels of rows that are no ECG, as monitors and research files write them.
const NOT_ECG: [&str; 19] = [
    "pleth", "resp", "abp", "art", "pap", "cvp", "co2", "angle", "eeg", "eog", "emg", "spo2",
    "icp", "accel", "temp", "event", "marker", "status", "stim",
];

/// What a row shows, by its label and the unit that the source states.
pub(crate) fn kind_of(label: &str, unit: &PhysicalUnit) -> WaveformKind {
    if let Some(lead) = Lead::from_label(label) {
        return WaveformKind::Ecg(lead);
    }
    let lower = label.trim().to_ascii_lowercase();
    if lower == "pcg" || lower.contains("phono") {
        return WaveformKind::HeartSound(None);
    }
    let other = NOT_ECG.iter().any(|word| lower.starts_with(word));
    let says_ecg = lower.contains("ecg") || lower.contains("ekg");
    if says_ecg || (*unit == PhysicalUnit::Millivolt && !other) {
        WaveformKind::EcgOther(label.trim().to_owned())
    } else {
        WaveformKind::Other(label.trim().to_owned())
    }
}

/// A calibration from counts per stated unit; volts of any size become millivolts.
pub(crate) fn calibration(
    gain_adu_per_unit: f64,
    baseline_adu: f64,
    unit: &str,
) -> Result<Calibration, CalibrationError> {
    let unit = unit.trim();
    let (per_mv, unit) = match unit {
        "mV" | "mv" | "MV" => (1.0, PhysicalUnit::Millivolt),
        "uV" | "uv" | "UV" | "\u{b5}V" | "\u{3bc}V" => (1e3, PhysicalUnit::Millivolt),
        "nV" => (1e6, PhysicalUnit::Millivolt),
        "V" => (1e-3, PhysicalUnit::Millivolt),
        "" | "1" | "NU" => (1.0, PhysicalUnit::Dimensionless),
        other => (1.0, PhysicalUnit::Other(other.to_owned())),
    };
    Calibration::new(gain_adu_per_unit * per_mv, baseline_adu, unit)
}

#[cfg(test)]
mod tests {
    use super::{calibration, kind_of};
    use cardio_core::acquisition::WaveformKind;
    use cardio_core::units::PhysicalUnit;

    #[test]
    fn a_label_and_a_unit_say_what_a_row_shows() {
        let mv = PhysicalUnit::Millivolt;
        assert!(kind_of("avf", &mv).lead().is_some());
        assert_eq!(
            kind_of("MLII", &mv),
            WaveformKind::EcgOther("MLII".to_owned())
        );
        assert_eq!(
            kind_of("PLETH", &mv),
            WaveformKind::Other("PLETH".to_owned())
        );
        assert_eq!(kind_of("PCG", &mv), WaveformKind::HeartSound(None));
    }

    #[test]
    fn microvolts_become_millivolts() {
        let micro = calibration(0.4, 0.0, "uV").unwrap();
        assert_eq!(micro.gain_adu_per_mv(), Some(400.0));
    }
}
