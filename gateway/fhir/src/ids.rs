//! Logical ids that follow from what a resource is about, so that the same fact filed twice,
//! in another order or from another box is the same resource.
//!
//! Each id is a UUID of version 5 (RFC 9562, 5.5) of the product's namespace and a key that
//! holds no identity of a patient.

use cardio_core::ids::{AcquisitionId, BoxId, RecordId, SourceId};
use cardio_core::index::SampleIndex;
use uuid::Uuid;

/// The product's namespace: the version 5 UUID of its own base address.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, crate::codes::OWN_BASE.as_bytes())
}

fn uuid(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&namespace(), format!("{kind}/{key}").as_bytes())
}

fn id(kind: &str, key: &str) -> String {
    uuid(kind, key).to_string()
}

/// The Device of a box.
pub fn box_device(device: BoxId) -> String {
    id("box", &device.to_string())
}

/// The Device of a sensor: by its EUI-64 when it has one, else by maker, model and serial
/// number, else by the name that the box's configuration gives it.
pub fn sensor_device(
    device: BoxId,
    source: &SourceId,
    identity: &cardio_core::device::DeviceIdentity,
) -> String {
    let key = match (identity.system_id, &identity.serial) {
        (Some(eui), _) => format!("eui64:{}", crate::device::hex(&eui, "")),
        (None, Some(serial)) => format!(
            "serial:{}|{}|{serial}",
            identity.maker.as_deref().unwrap_or_default(),
            identity.model.as_deref().unwrap_or_default(),
        ),
        (None, None) => format!("source:{device}|{source}"),
    };
    id("sensor", &key)
}

/// The Observation of a waveform span that starts at a sample of an acquisition.
pub fn waveform_span(acquisition: AcquisitionId, start: SampleIndex) -> String {
    id("span", &format!("{acquisition}/{}", start.0))
}

/// The heart-rate Observation of an assessment.
pub fn heart_rate(record: RecordId) -> String {
    id("heart-rate", &record.to_string())
}

/// The quality Observation of an assessment.
pub fn quality(record: RecordId) -> String {
    id("quality", &record.to_string())
}

/// The Observation of a gap.
pub fn gap(acquisition: AcquisitionId, from: SampleIndex) -> String {
    id("gap", &format!("{acquisition}/{}", from.0))
}

/// The Observation of the RR intervals told in the slot that begins here.
pub fn intervals(acquisition: AcquisitionId, slot: SampleIndex) -> String {
    id("intervals", &format!("{acquisition}/{}", slot.0))
}

/// The Observation of a sensor's battery.
pub fn battery(record: RecordId) -> String {
    id("battery", &record.to_string())
}

/// The Observation that ties a sensor's clock to the box's.
pub fn clock(record: RecordId) -> String {
    id("clock", &record.to_string())
}

/// The DiagnosticReport of an acquisition.
pub fn report(acquisition: AcquisitionId) -> String {
    id("report", &acquisition.to_string())
}

/// The DocumentReference of an acquisition's original, by its media type.
pub fn document(acquisition: AcquisitionId, media_type: &str) -> String {
    id("document", &format!("{acquisition}/{media_type}"))
}

/// The Binary of an acquisition's original, by its media type.
pub fn binary(acquisition: AcquisitionId, media_type: &str) -> String {
    id("binary", &format!("{acquisition}/{media_type}"))
}

/// What a file of a box is called: by the SHA-256 of its bytes.
fn file_key(device: BoxId, file: &[u8; 32]) -> String {
    format!("{device}/{}", crate::device::hex(file, "").to_lowercase())
}

/// The DocumentReference of a file that a box sent as a recorder or a sensor had made it.
pub fn original_document(device: BoxId, file: &[u8; 32]) -> String {
    id("original-document", &file_key(device, file))
}

/// The Binary of a file that a box sent as a recorder or a sensor had made it.
pub fn original_binary(device: BoxId, file: &[u8; 32]) -> String {
    id("original-binary", &file_key(device, file))
}

/// The Provenance of a file that a box sent as a recorder or a sensor had made it.
pub fn original_provenance(device: BoxId, file: &[u8; 32]) -> String {
    id("original-provenance", &file_key(device, file))
}

/// The Provenance of an acquisition.
pub fn provenance(acquisition: AcquisitionId) -> String {
    id("provenance", &acquisition.to_string())
}

/// The Provenance of a signature that made this version of an acquisition's report.
pub fn attestation(acquisition: AcquisitionId, version: u64) -> String {
    id("attestation", &format!("{acquisition}/{version}"))
}

/// The document made of a version of a report for another professional; of no version, the set
/// that all its versions are of.
pub fn clinical_document(report: &str, version: &str) -> Uuid {
    uuid("clinical-document", &format!("{report}/{version}"))
}

/// What a patient is called in documents for others: their address in this record tells nobody.
pub fn patient_number(address: &str) -> Uuid {
    uuid("patient-number", address)
}

/// The DetectedIssue of an alert.
pub fn detected_issue(alert: &str) -> String {
    id("detected-issue", alert)
}

/// The Communication of an alert to one recipient.
pub fn communication(alert: &str, recipient: &str) -> String {
    id("communication", &format!("{alert}/{recipient}"))
}

/// The Task of an alert.
pub fn task(alert: &str) -> String {
    id("task", alert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardio_core::device::DeviceIdentity;

    #[test]
    fn an_id_is_the_same_on_every_machine_and_for_ever() {
        assert_eq!(
            waveform_span(AcquisitionId([7; 16]), SampleIndex(2500)),
            waveform_span(AcquisitionId([7; 16]), SampleIndex(2500))
        );
        assert_eq!(
            namespace().to_string(),
            "da97528a-e9a4-5634-afc3-60c3823134b8"
        );
        assert_eq!(
            box_device(BoxId([7; 16])),
            "f03c6551-9cfe-5b14-a87e-a7f7d20bd18d"
        );
    }

    #[test]
    fn ids_of_different_things_differ_even_with_the_same_key() {
        let acquisition = AcquisitionId([7; 16]);
        let ids = [
            report(acquisition),
            provenance(acquisition),
            document(acquisition, "audio/wav"),
            binary(acquisition, "audio/wav"),
            waveform_span(acquisition, SampleIndex(0)),
            gap(acquisition, SampleIndex(0)),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn a_sensor_that_moves_to_another_box_stays_the_same_device() {
        let source = SourceId::new("ecg12-a").unwrap();
        let named = DeviceIdentity {
            serial: Some("SIM-0001".to_owned()),
            ..DeviceIdentity::default()
        };
        assert_eq!(
            sensor_device(BoxId([1; 16]), &source, &named),
            sensor_device(BoxId([2; 16]), &source, &named)
        );
        let unnamed = DeviceIdentity::default();
        assert_ne!(
            sensor_device(BoxId([1; 16]), &source, &unnamed),
            sensor_device(BoxId([2; 16]), &source, &unnamed)
        );
    }
}
