//! Recordings as sensors keep them in their own memory: what a box fetches over the air.
//!
//! One module per maker's form. Deliberately absent: fetching them (`cardio-protocol`), and who
//! the sensor is, which none of these forms says.

pub mod healthypi;
pub mod sbem;
pub mod viatom;

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, StatedStart, Waveform};

use crate::sniff::FormatId;

/// A recording without samples.
fn empty(format: FormatId, name: &str) -> Recording {
    Recording {
        format: format.name(),
        name: name.to_owned(),
        ..Recording::default()
    }
}

/// A row without samples.
fn row(kind: WaveformKind, rate: SamplingRate, calibration: Calibration) -> Waveform {
    Waveform {
        label: kind.label().to_owned(),
        kind,
        rate,
        calibration,
        runs: Vec::new(),
    }
}

/// A moment of UTC as its ISO 8601 text; `None` outside the years 1 to 9999.
fn stated_utc(micros: i64) -> Option<StatedStart> {
    const DAY_US: i64 = 86_400_000_000;
    let (days, of_day) = (micros.div_euclid(DAY_US), micros.rem_euclid(DAY_US));
    let (year, month, day) = civil(days);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    (1..=9999).contains(&year).then(|| StatedStart {
        local: format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}"
        ),
        utc_offset_minutes: Some(0),
    })
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. The
/// year begins in March, so that the leap day is its last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::stated_utc;

    #[test]
    fn a_moment_is_told_as_a_date_with_its_leap_days() {
        let text = |micros| stated_utc(micros).unwrap().local;
        assert_eq!(text(0), "1970-01-01T00:00:00.000000");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999");
        assert_eq!(text(1_709_164_799_500_000), "2024-02-28T23:59:59.500000");
        assert_eq!(text(1_709_164_800_000_000), "2024-02-29T00:00:00.000000");
        assert_eq!(text(4_107_542_400_000_000), "2100-03-01T00:00:00.000000");
        assert!(stated_utc(i64::MAX).is_none() && stated_utc(i64::MIN).is_none());
    }
}
