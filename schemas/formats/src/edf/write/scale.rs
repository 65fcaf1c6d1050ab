//! Digital and physical limits that say a calibration exactly in eight characters each.

use cardio_core::recording::Waveform;
use cardio_core::units::PhysicalUnit;

use crate::error::FormatError;
use crate::write::Facts;

/// Half widths of the digital range that are tried, from wide to narrow.
const HALF_WIDTHS: [i32; 24] = [
    32_767, 32_000, 30_000, 25_000, 20_000, 16_000, 12_800, 12_000, 10_000, 8192, 8000, 6400, 5000,
    4096, 4000, 3200, 2500, 2048, 2000, 1600, 1024, 1000, 500, 100,
];

/// The limits of one signal.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) low: i16,
    pub(super) high: i16,
    pub(super) bottom: String,
    pub(super) top: String,
    pub(super) unit: String,
}

impl Scale {
    /// Limits that cover every sample and give the calibration back.
    pub(super) fn of(row: &Waveform, facts: &Facts) -> Result<Self, FormatError> {
        let samples = || row.runs.iter().flat_map(|run| &run.samples);
        let least = samples().min().unwrap_or(0);
        let most = samples().max().unwrap_or(0);
        facts.narrow(row, least)?;
        facts.narrow(row, most)?;
        let units: &[(&str, f64)] = match row.calibration.unit() {
            PhysicalUnit::Millivolt => &[("mV", 1.0), ("uV", 1e3)],
            PhysicalUnit::Dimensionless => &[("", 1.0)],
            PhysicalUnit::Other(text) => &[(text.as_str(), 1.0)],
            _ => &[],
        };
        let zero = row.calibration.baseline_adu();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "clamped to the range of 16 bits on the same line"
        )]
        let middle = zero.round().clamp(-32_768.0, 32_767.0) as i32;
        let around = HALF_WIDTHS
            .iter()
            .map(|half| (middle - half, middle + half));
        let plain = HALF_WIDTHS.iter().map(|half| (-half, *half));
        for (low, high) in plain.chain(around).chain([(-32_768, 32_767)]) {
            let (Ok(low), Ok(high)) = (i16::try_from(low), i16::try_from(high)) else {
                continue;
            };
            if i32::from(low) > least || i32::from(high) < most {
                continue;
            }
            let found = units
                .iter()
                .find_map(|(unit, factor)| Self::exact(row, low, high, unit, *factor));
            if let Some(scale) = found {
                return Ok(scale);
            }
        }
        let why = format!(
            "{} counts per {} with zero at {zero} does not fit eight characters ({})",
            row.calibration.gain_adu_per_unit(),
            row.calibration.unit().ucum(),
            row.label
        );
        Err(facts.refuse("calibration", why))
    }

    /// The limits, when reading them back gives the same calibration.
    fn exact(row: &Waveform, low: i16, high: i16, unit: &str, factor: f64) -> Option<Self> {
        let bottom = short(row.calibration.value(i32::from(low)) * factor)?;
        let top = short(row.calibration.value(i32::from(high)) * factor)?;
        let (from, to): (f64, f64) = (bottom.parse().ok()?, top.parse().ok()?);
        let gain = (f64::from(high) - f64::from(low)) / (to - from);
        let zero = f64::from(low) - from * gain;
        let wanted = row.calibration.gain_adu_per_unit() / factor;
        let same = (gain - wanted).abs() <= 1e-9 * wanted.abs()
            && (zero - row.calibration.baseline_adu()).abs() <= 1e-5;
        (same && unit.len() <= 8 && unit.is_ascii()).then(|| Self {
            low,
            high,
            bottom,
            top,
            unit: unit.to_owned(),
        })
    }
}

/// A number in at most eight characters.
fn short(value: f64) -> Option<String> {
    (0..8_usize)
        .rev()
        .map(|places| format!("{value:.places$}"))
        .map(|text| match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        })
        .find(|text| text.len() <= 8)
}
