//! What a sensor told of the heart and of itself: RR intervals, and the charge of its battery.
//!
//! Intervals are no sampled data: SampledData demands one period, and beats come when they come.
//! They are filed one by one, each in milliseconds, exact: 1/1024 s is a finite decimal number.
//! Deliberately absent: the heart rate itself ([`crate::measure`]), and instants of single beats,
//! which a sensor without a clock does not tell.

use cardio_core::clock::UtcMicros;
use cardio_core::heart_rate::rr_millis;
use cardio_core::ids::RecordId;
use serde_json::{Value, json};

use crate::codes::{MDC, PHD_CATEGORY};
use crate::element::{
    concept, meta, push, quantity, record_identifier, record_key, reference, resource, shown,
    test_label,
};
use crate::time::{Effective, instant};
use crate::waveform::{Context, write_context};

/// RR intervals that a sensor told within a stretch of time.
#[derive(Clone, Debug)]
pub struct IntervalFacts<'a> {
    /// Logical id, see [`crate::ids::intervals`].
    pub id: String,
    /// Who and what it is about.
    pub context: &'a Context,
    /// When they were told.
    pub effective: Effective,
    /// The intervals as sent, in 1/1024 s, oldest first.
    pub rr: &'a [u16],
}

/// RR intervals in their order, a component each.
pub fn interval_observation(facts: &IntervalFacts<'_>) -> Value {
    let code = shown(MDC, "147240", "MDC_ECG_TIME_PD_RR_GL");
    let mut observation = resource("Observation", &facts.id);
    meta(&mut observation, &[], test_label(facts.context.simulated));
    push(&mut observation, "identifier", record_identifier(&facts.id));
    observation.insert("status".to_owned(), json!("final"));
    observation.insert("category".to_owned(), json!([concept(PHD_CATEGORY, "phd")]));
    observation.insert("code".to_owned(), code.clone());
    write_context(&mut observation, facts.context);
    facts.effective.write_into(&mut observation);
    for units in facts.rr {
        let value = quantity(rr_millis(*units), "ms", "ms");
        push(
            &mut observation,
            "component",
            json!({"code": code, "valueQuantity": value}),
        );
    }
    Value::Object(observation)
}

/// The charge of a sensor's battery at one time.
#[derive(Clone, Debug)]
pub struct BatteryFacts<'a> {
    /// Logical id, see [`crate::ids::battery`].
    pub id: String,
    /// The record that tells it.
    pub record: RecordId,
    /// Whose sensor, and which box heard it.
    pub context: &'a Context,
    /// When, if a clock vouches for it.
    pub at: Option<UtcMicros>,
    /// From 0 to 100.
    pub percent: u8,
}

/// The charge of a sensor's battery: an observation about the sensor, made by the box.
pub fn battery_observation(facts: &BatteryFacts<'_>) -> Value {
    let mut observation = resource("Observation", &facts.id);
    meta(&mut observation, &[], test_label(facts.context.simulated));
    push(&mut observation, "identifier", record_key(facts.record));
    observation.insert("status".to_owned(), json!("final"));
    observation.insert(
        "code".to_owned(),
        shown(MDC, "67996", "MDC_ATTR_VAL_BATT_CHARGE"),
    );
    observation.insert(
        "subject".to_owned(),
        reference("Device", &facts.context.sensor),
    );
    if let Some(at) = facts.at {
        observation.insert("effectiveDateTime".to_owned(), json!(instant(at)));
    }
    observation.insert(
        "device".to_owned(),
        reference("Device", &facts.context.box_device),
    );
    observation.insert(
        "valueQuantity".to_owned(),
        quantity(f64::from(facts.percent), "%", "%"),
    );
    Value::Object(observation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            patient: None,
            box_device: "box".to_owned(),
            sensor: "strap".to_owned(),
            performer: None,
            simulated: false,
        }
    }

    #[test]
    fn intervals_are_milliseconds_in_their_order_and_exact() {
        let observation = interval_observation(&IntervalFacts {
            id: "rr".to_owned(),
            context: &context(),
            effective: Effective::At(UtcMicros(0)),
            rr: &[870, 1024, u16::MAX],
        });
        let values: Vec<&Value> = observation["component"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| &part["valueQuantity"]["value"])
            .collect();
        assert_eq!(
            values,
            [&json!(849.609_375), &json!(1000), &json!(63_999.023_437_5)]
        );
        assert_eq!(observation.get("valueQuantity"), None);
    }

    #[test]
    fn a_battery_is_the_sensors_and_no_patients() {
        let observation = battery_observation(&BatteryFacts {
            id: "b".to_owned(),
            record: RecordId([1; 16]),
            context: &context(),
            at: None,
            percent: 14,
        });
        assert_eq!(observation["subject"]["reference"], "Device/strap");
        assert_eq!(observation["valueQuantity"]["value"], 14);
        assert_eq!(observation.get("effectiveDateTime"), None);
    }
}
