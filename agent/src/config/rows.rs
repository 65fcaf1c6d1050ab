//! Which rows of a device are kept, and what they show.

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::lead::Lead;
use cardio_core::site::AuscultationSite;

use super::device::Device;

/// The label of a row that is not connected.
pub const NOT_CONNECTED: &str = "-";
/// The longest label of a lead, in characters.
const LABEL_MAX: usize = 16;

/// A row of the device that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its place among the device's rows.
    pub place: usize,
    /// What it shows.
    pub spec: WaveformSpec,
}

/// Why labels do not fit a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// More labels than rows.
    #[error("{labels} leads are named, the device has {rows}")]
    TooMany {
        /// How many labels there are.
        labels: usize,
        /// How many rows the device has.
        rows: usize,
    },
    /// No row is connected.
    #[error("no lead is connected")]
    None,
    /// A label stands twice.
    #[error("the lead {label} is named twice")]
    Twice {
        /// The label.
        label: String,
    },
    /// A label that nobody could read on a sheet.
    #[error("`{label}` is no label: 1 to 16 letters and digits are expected")]
    Label {
        /// The label.
        label: String,
    },
    /// A place that no auscultation site is called by.
    #[error("`{label}` is no auscultation site: {} are known", sites())]
    Site {
        /// The label.
        label: String,
    },
}

fn sites() -> String {
    AuscultationSite::ALL.map(AuscultationSite::name).join(", ")
}

/// The rows of `device` that are kept: all as usually wired, or as `labels` says.
///
/// # Errors
/// [`RowsError`] when the labels do not fit the device.
pub fn of(device: Device, labels: Option<&[String]>) -> Result<Vec<Row>, RowsError> {
    let specs = device.waveforms();
    let Some(labels) = labels else {
        let row = |(place, spec)| Row { place, spec };
        return Ok(specs.into_iter().enumerate().map(row).collect());
    };
    if labels.len() > specs.len() {
        return Err(RowsError::TooMany {
            labels: labels.len(),
            rows: specs.len(),
        });
    }
    let mut rows: Vec<Row> = Vec::new();
    for (place, (label, spec)) in labels.iter().zip(specs).enumerate() {
        if label == NOT_CONNECTED {
            continue;
        }
        let kind = match spec.kind {
            WaveformKind::HeartSound(_) => site(label)?,
            _ => kind(label)?,
        };
        if rows.iter().any(|row| row.spec.kind == kind) {
            let label = label.clone();
            return Err(RowsError::Twice { label });
        }
        let spec = WaveformSpec { kind, ..spec };
        rows.push(Row { place, spec });
    }
    if rows.is_empty() {
        return Err(RowsError::None);
    }
    Ok(rows)
}

fn site(label: &str) -> Result<WaveformKind, RowsError> {
    match AuscultationSite::from_name(label) {
        Some(site) => Ok(WaveformKind::HeartSound(Some(site))),
        None => Err(RowsError::Site {
            label: label.to_owned(),
        }),
    }
}

fn kind(label: &str) -> Result<WaveformKind, RowsError> {
    let readable = !label.is_empty()
        && label.chars().count() <= LABEL_MAX
        && label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_'));
    if !readable {
        let label = label.to_owned();
        return Err(RowsError::Label { label });
    }
    Ok(match Lead::from_label(label) {
        Some(lead) => WaveformKind::Ecg(lead),
        None => WaveformKind::EcgOther(label.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::{RowsError, of};
    use crate::config::device::Device;
    use cardio_core::acquisition::WaveformKind;
    use cardio_core::lead::Lead;
    use cardio_core::site::AuscultationSite;

    fn rows(labels: &[&str]) -> Result<Vec<(usize, WaveformKind)>, RowsError> {
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let rows = of(Device::by_name("openbci-cyton").unwrap(), Some(&labels))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.place, row.spec.kind))
            .collect())
    }

    #[test]
    fn without_labels_a_device_is_wired_as_usual() {
        let rows = of(Device::by_name("openbci-cyton").unwrap(), None).unwrap();
        assert_eq!(rows.len(), 8);
        assert_eq!(rows[2].spec.kind, WaveformKind::Ecg(Lead::V1));
    }

    #[test]
    fn labels_name_the_rows_in_order_and_leave_others_out() {
        assert_eq!(
            rows(&["MLII", "-", "V5"]).unwrap(),
            [
                (0, WaveformKind::EcgOther("MLII".to_owned())),
                (2, WaveformKind::Ecg(Lead::V5))
            ]
        );
    }

    #[test]
    fn a_stethoscope_is_labelled_with_the_site_where_it_is_held() {
        let stethoscope = Device::by_name("ble-audio-packets").unwrap();
        let held = of(stethoscope, Some(&["mitral".to_owned()])).unwrap();
        assert_eq!(
            held[0].spec.kind,
            WaveformKind::HeartSound(Some(AuscultationSite::Mitral))
        );
        let err = of(stethoscope, Some(&["back".to_owned()])).unwrap_err();
        assert!(err.to_string().contains("aortic, pulmonary"), "{err}");
    }

    #[test]
    fn labels_that_do_not_fit_are_refused() {
        assert_eq!(
            rows(&["I"; 9]).unwrap_err().to_string(),
            "9 leads are named, the device has 8"
        );
        assert_eq!(rows(&["-"]), Err(RowsError::None));
        assert!(matches!(rows(&["I", "i"]), Err(RowsError::Twice { .. })));
        assert!(matches!(rows(&["a b"]), Err(RowsError::Label { .. })));
    }
}
