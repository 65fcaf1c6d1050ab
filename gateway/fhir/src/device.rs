//! The box and the sensors as Devices, and the tie between their clocks.
//!
//! Shapes: Personal Health Device guide 2.0.0, PhgDevice, PhdDevice and
//! PhdCoincidentTimeStampObservation. A profile is claimed only when what it demands is known:
//! nothing is invented to satisfy one.

use std::fmt::Write;

use cardio_core::clock::UtcMicros;
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::ids::{BoxId, SourceId};
use serde_json::{Map, Value, json};

use crate::codes::{
    BLUETOOTH_MAC, CONTINUA_IDENTIFIERS, ETHERNET_MAC, EUI64, MDC, PROFILE_CLOCK, PROFILE_PHD,
    PROFILE_PHG, own,
};
use crate::element::{
    coding, concept, meta, push, quantity, reference, resource, set, shown, test_label,
};

/// Type of the box (MDC_MOC_VMS_MDS_AHD). A fixed value of PhgDevice.
pub const BOX_TYPE: &str = "531981";
/// Type of a sensor (MDC_MOC_VMS_MDS_SIMP).
pub const SENSOR_TYPE: &str = "65573";

/// How a clock is kept right (MDC_TIME_SYNC_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSync {
    /// By nothing.
    None,
    /// By a network time server (NTP version 4).
    Ntp,
    /// By a satellite receiver.
    Satellite,
    /// By a person.
    Manual,
    /// By something else.
    Other,
}

impl TimeSync {
    const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::None => ("532224", "MDC_TIME_SYNC_NONE"),
            Self::Ntp => ("532226", "MDC_TIME_SYNC_NTPV4"),
            Self::Satellite => ("532238", "MDC_TIME_SYNC_GPS"),
            Self::Manual => ("532234", "MDC_TIME_SYNC_EBWW"),
            Self::Other => ("532236", "MDC_TIME_SYNC_OTHER"),
        }
    }

    fn concept(self) -> Value {
        let (code, display) = self.code();
        shown(MDC, code, display)
    }
}

fn time_sync_property() -> Value {
    shown(MDC, "68220", "MDC_TIME_SYNC_PROTOCOL")
}

/// What is known of a box.
#[derive(Clone, Debug)]
pub struct BoxFacts {
    /// Logical id, see [`crate::ids::box_device`].
    pub id: String,
    /// Its name in the envelope.
    pub device: BoxId,
    /// Its EUI-64, if it has one.
    pub system_id: Option<[u8; 8]>,
    /// Its Ethernet address, if it is to be filed.
    pub ethernet: Option<[u8; 6]>,
    /// The name that people gave it, for instance `FR75-012`.
    pub label: Option<String>,
    /// Version of the agent.
    pub agent_version: String,
    /// How its clock is kept right.
    pub time_sync: TimeSync,
    /// Whether it may still send.
    pub active: bool,
    /// Whether it plays simulated sensors.
    pub simulated: bool,
}

/// The box.
pub fn box_device(facts: &BoxFacts) -> Value {
    let mut device = resource("Device", &facts.id);
    let profiles: &[&str] = if facts.system_id.is_some() {
        &[PROFILE_PHG]
    } else {
        &[]
    };
    meta(&mut device, profiles, test_label(facts.simulated));
    if let Some(eui) = facts.system_id {
        push(&mut device, "identifier", hardware_id("SYSID", EUI64, &eui));
    }
    if let Some(mac) = facts.ethernet {
        push(
            &mut device,
            "identifier",
            hardware_id("ETHMAC", ETHERNET_MAC, &mac),
        );
    }
    push(
        &mut device,
        "identifier",
        json!({"system": own::SID_BOX, "value": facts.device.to_string()}),
    );
    device.insert(
        "status".to_owned(),
        json!(if facts.active { "active" } else { "inactive" }),
    );
    device.insert("manufacturer".to_owned(), json!("ESS Cardio"));
    device.insert("modelNumber".to_owned(), json!("cardio-agent"));
    set(
        &mut device,
        "serialNumber",
        facts.label.as_ref().map(|label| json!(label)),
    );
    device.insert(
        "type".to_owned(),
        shown(MDC, BOX_TYPE, "MDC_MOC_VMS_MDS_AHD"),
    );
    device.insert(
        "specialization".to_owned(),
        json!([specialization(
            "528457",
            "MDC_DEV_SPEC_PROFILE_GENERIC",
            "2"
        )]),
    );
    device.insert(
        "version".to_owned(),
        json!([version(
            "531975",
            "MDC_ID_PROD_SPEC_SW",
            &facts.agent_version
        )]),
    );
    device.insert("property".to_owned(), json!([time_sync(facts.time_sync)]));
    Value::Object(device)
}

/// What is known of a sensor.
#[derive(Clone, Debug)]
pub struct SensorFacts {
    /// Logical id, see [`crate::ids::sensor_device`].
    pub id: String,
    /// The box that it is known by.
    pub device: BoxId,
    /// What the box's configuration calls it.
    pub source: SourceId,
    /// What it says of itself.
    pub identity: DeviceIdentity,
    /// Its Bluetooth address, if it has one.
    pub bluetooth: Option<[u8; 6]>,
    /// Whether it measures an ECG.
    pub measures_ecg: bool,
    /// Whether it is a simulator.
    pub simulated: bool,
}

/// The sensor.
pub fn sensor_device(facts: &SensorFacts) -> Value {
    let mut device = resource("Device", &facts.id);
    let identity = &facts.identity;
    let hardware = identity.system_id.is_some() || facts.bluetooth.is_some();
    let stated = identity.maker.is_some() && identity.model.is_some();
    let profiles: &[&str] = if hardware && stated {
        &[PROFILE_PHD]
    } else {
        &[]
    };
    meta(&mut device, profiles, test_label(facts.simulated));
    if let Some(eui) = identity.system_id {
        push(&mut device, "identifier", hardware_id("SYSID", EUI64, &eui));
    }
    if let Some(mac) = facts.bluetooth {
        push(
            &mut device,
            "identifier",
            hardware_id("BTMAC", BLUETOOTH_MAC, &mac),
        );
    }
    push(
        &mut device,
        "identifier",
        json!({"system": own::SID_SENSOR, "value": format!("{}/{}", facts.device, facts.source)}),
    );
    device.insert("status".to_owned(), json!("active"));
    set(
        &mut device,
        "manufacturer",
        identity.maker.as_ref().map(|text| json!(text)),
    );
    set(
        &mut device,
        "modelNumber",
        identity.model.as_ref().map(|text| json!(text)),
    );
    set(
        &mut device,
        "serialNumber",
        identity.serial.as_ref().map(|text| json!(text)),
    );
    device.insert(
        "type".to_owned(),
        shown(MDC, SENSOR_TYPE, "MDC_MOC_VMS_MDS_SIMP"),
    );
    let profile = if facts.measures_ecg {
        specialization("528390", "MDC_DEV_SPEC_PROFILE_ECG", "1")
    } else {
        specialization("528457", "MDC_DEV_SPEC_PROFILE_GENERIC", "1")
    };
    device.insert("specialization".to_owned(), json!([profile]));
    if let Some(firmware) = &identity.firmware {
        let part = version("531976", "MDC_ID_PROD_SPEC_FW", firmware);
        device.insert("version".to_owned(), json!([part]));
    }
    device.insert("property".to_owned(), json!([time_sync(TimeSync::None)]));
    Value::Object(device)
}

/// A sensor's clock, seen by the box.
#[derive(Clone, Debug)]
pub struct ClockFacts {
    /// Logical id, see [`crate::ids::clock`].
    pub id: String,
    /// Logical id of the sensor's Device.
    pub sensor: String,
    /// Logical id of the box's Device.
    pub box_device: String,
    /// The sensor's ticks in microseconds, or `None` when its clock is known to be at fault.
    pub ticks_us: Option<u64>,
    /// The box's time at that tick.
    pub at: UtcMicros,
    /// How the sensor's clock is kept right.
    pub time_sync: TimeSync,
    /// Whether the sensor is a simulator.
    pub simulated: bool,
}

/// The tie between a sensor's clock and the box's: the coincident time stamp. `None` for a
/// sensor whose frames carry no time: there is nothing to tie.
pub fn clock_observation(facts: &ClockFacts, integrity: IntegrityClass) -> Option<Value> {
    if integrity != IntegrityClass::TimeStamped {
        return None;
    }
    let mut observation: Map<String, Value> = resource("Observation", &facts.id);
    meta(
        &mut observation,
        &[PROFILE_CLOCK],
        test_label(facts.simulated),
    );
    observation.insert("status".to_owned(), json!("final"));
    observation.insert("code".to_owned(), shown(MDC, "67983", "MDC_ATTR_TIME_REL"));
    observation.insert("subject".to_owned(), reference("Device", &facts.sensor));
    observation.insert(
        "effectiveDateTime".to_owned(),
        json!(crate::time::instant(facts.at)),
    );
    match facts.ticks_us {
        Some(ticks) => {
            let mut value = quantity(0.0, "us", "us");
            if let Some(field) = value.get_mut("value") {
                *field = json!(ticks);
            }
            observation.insert("valueQuantity".to_owned(), value);
        }
        None => {
            let reason = concept(crate::codes::DATA_ABSENT_REASON, "unknown");
            observation.insert("dataAbsentReason".to_owned(), reason);
        }
    }
    observation.insert("device".to_owned(), reference("Device", &facts.box_device));
    observation.insert(
        "component".to_owned(),
        json!([{"code": time_sync_property(), "valueCodeableConcept": facts.time_sync.concept()}]),
    );
    Some(Value::Object(observation))
}

fn hardware_id(kind: &str, system: &str, bytes: &[u8]) -> Value {
    json!({
        "type": concept(CONTINUA_IDENTIFIERS, kind),
        "system": system,
        "value": hex(bytes, "-"),
    })
}

fn specialization(code: &str, display: &str, version: &str) -> Value {
    json!({"systemType": shown(MDC, code, display), "version": version})
}

fn version(code: &str, display: &str, value: &str) -> Value {
    json!({"type": {"coding": [coding(MDC, code, display)]}, "value": value})
}

fn time_sync(method: TimeSync) -> Value {
    json!({"type": time_sync_property(), "valueCode": [method.concept()]})
}

/// Bytes as capital hexadecimal digits with a separator.
pub(crate) fn hex(bytes: &[u8], separator: &str) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (position, byte) in bytes.iter().enumerate() {
        if position > 0 {
            text.push_str(separator);
        }
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// The key that makes filing of a sensor's observation repeatable (PHD 2.0.0): device,
/// patient, MDC type, sensor time and duration. `patient` is the logical id, so that no
/// national identity stands in an address or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorKey {
    /// The sensor's EUI-64.
    pub system_id: [u8; 8],
    /// Logical id of the patient.
    pub patient: String,
    /// What was measured.
    pub mdc_code: u32,
    /// The sensor's time in microseconds of its own ticks.
    pub ticks_us: u64,
    /// How long it was measured, in microseconds, if it was no instant.
    pub duration_us: Option<u64>,
}

impl std::fmt::Display for SensorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let device = hex(&self.system_id, "");
        write!(f, "{device}-{}-{}-", self.patient, self.mdc_code)?;
        seconds(self.ticks_us, f)?;
        if let Some(duration) = self.duration_us {
            f.write_str("-")?;
            seconds(duration, f)?;
        }
        Ok(())
    }
}

fn seconds(micros: u64, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
}

impl SensorKey {
    /// The identifier. It has no `type`: the guide forbids one.
    pub(crate) fn identifier(&self) -> Value {
        json!({"system": crate::codes::PHD_BASE_OBSERVATION, "value": self.to_string()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_box(system_id: Option<[u8; 8]>) -> Value {
        box_device(&BoxFacts {
            id: "phg".to_owned(),
            device: BoxId([7; 16]),
            system_id,
            ethernet: Some([0xAC, 0xDE, 0x48, 0x23, 0x45, 0x67]),
            label: Some("BOX-0007".to_owned()),
            agent_version: "0.1.0".to_owned(),
            time_sync: TimeSync::Ntp,
            active: true,
            simulated: false,
        })
    }

    // No validator at hand notices a wrong fixed type or system on the box.
    #[test]
    fn the_box_has_exactly_the_type_and_systems_that_its_profile_fixes() {
        let device = a_box(Some([0xFE, 0xED, 0xAB, 0xEE, 0xDE, 0xAD, 0x77, 0xC3]));
        assert_eq!(
            device["type"]["coding"],
            json!([{"system": "urn:iso:std:iso:11073:10101", "code": "531981", "display": "MDC_MOC_VMS_MDS_AHD"}])
        );
        assert_eq!(
            device["identifier"][0],
            json!({
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/ContinuaDeviceIdentifiers", "code": "SYSID"}]},
                "system": "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680",
                "value": "FE-ED-AB-EE-DE-AD-77-C3",
            })
        );
        assert_eq!(device["identifier"][1]["value"], json!("AC-DE-48-23-45-67"));
        assert_eq!(
            device["specialization"][0]["systemType"]["coding"][0]["code"],
            json!("528457")
        );
        assert_eq!(
            device["version"][0]["type"]["coding"][0]["code"],
            json!("531975")
        );
        assert_eq!(
            device["property"][0]["type"]["coding"][0]["code"],
            json!("68220")
        );
        assert_eq!(
            device["property"][0]["valueCode"][0]["coding"][0]["code"],
            json!("532226")
        );
    }

    #[test]
    fn a_box_without_an_eui_64_claims_no_profile_that_demands_one() {
        let device = a_box(None);
        assert_eq!(device.get("meta"), None);
        assert!(
            device["identifier"]
                .as_array()
                .unwrap()
                .iter()
                .all(|id| { id["system"] != json!(EUI64) })
        );
    }

    #[test]
    fn a_sensor_key_reads_as_the_guide_writes_it() {
        let mut key = SensorKey {
            system_id: [0xAC, 0xDE, 0x48, 0xFF, 0xFE, 0x23, 0x45, 0x68],
            patient: "p1".to_owned(),
            mdc_code: 131_330,
            ticks_us: 12_345_678_000,
            duration_us: Some(14_000),
        };
        assert_eq!(
            key.to_string(),
            "ACDE48FFFE234568-p1-131330-12345.678-0.014"
        );
        key.duration_us = None;
        key.mdc_code = 147_842;
        assert_eq!(key.to_string(), "ACDE48FFFE234568-p1-147842-12345.678");
        assert_eq!(key.identifier().get("type"), None);
    }

    #[test]
    fn a_sensor_without_a_clock_has_nothing_to_tie() {
        let facts = ClockFacts {
            id: "coin".to_owned(),
            sensor: "ecg".to_owned(),
            box_device: "phg".to_owned(),
            ticks_us: None,
            at: UtcMicros(0),
            time_sync: TimeSync::None,
            simulated: true,
        };
        assert_eq!(clock_observation(&facts, IntegrityClass::Counted), None);
        let fault = clock_observation(&facts, IntegrityClass::TimeStamped).unwrap();
        assert_eq!(
            fault["dataAbsentReason"]["coding"][0]["code"],
            json!("unknown")
        );
        assert_eq!(fault.get("valueQuantity"), None);
        assert_eq!(fault["subject"]["reference"], json!("Device/ecg"));
    }
}
