//! Every resource read by a decoder of FHIR R4 that nobody here wrote.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod samples;

use fhirkit::r4::Resource;
use serde_json::{Value, json};

/// What the decoder says against a resource.
fn issues(resource: &Value) -> Vec<String> {
    let json = fhirkit::Json::parse(&resource.to_string()).unwrap();
    let (decoded, issues) = fhirkit::decode_json::<Resource>(&json);
    let mut said: Vec<String> = issues.iter().map(ToString::to_string).collect();
    if decoded.is_none() {
        said.push("no resource".to_owned());
    }
    said
}

#[test]
fn every_resource_has_exactly_the_structure_of_r4() {
    for (name, resource) in samples::all() {
        assert_eq!(
            issues(&resource),
            Vec::<String>::new(),
            "{name}: {resource:#}"
        );
    }
}

#[test]
fn every_resource_is_written_back_as_it_was_read() {
    for (name, resource) in samples::all() {
        let text = resource.to_string();
        let read: Resource = fhirkit::from_json_strict(&text).unwrap();
        let back: Value = serde_json::from_str(&fhirkit::to_json(&read)).unwrap();
        assert_eq!(back, resource, "{name}");
    }
}

#[test]
fn the_decoder_notices_what_we_would_get_wrong() {
    let (_, observation) = samples::all()
        .into_iter()
        .find(|(name, _)| name == "heart-rate-assigned")
        .unwrap();
    for (key, wrong) in [
        ("status", json!(null)),
        ("effectivePeriod", json!({"start": "2026-03-02T08:15:00Z"})),
        ("valueString", json!("two values")),
        ("code", json!([{"text": "a list"}])),
        ("heartRate", json!(1)),
    ] {
        let mut seeded = observation.clone();
        seeded[key] = wrong;
        if key == "status" {
            seeded.as_object_mut().unwrap().remove("status");
        }
        assert!(!issues(&seeded).is_empty(), "{key}");
    }
}

#[test]
fn no_list_is_empty_and_no_value_is_null() {
    fn walk(value: &Value, path: &str) {
        match value {
            Value::Null => panic!("{path} is null"),
            Value::Array(items) => {
                assert!(!items.is_empty(), "{path} is empty");
                items.iter().for_each(|item| walk(item, path));
            }
            Value::Object(map) => {
                assert!(!map.is_empty(), "{path} is empty");
                map.iter()
                    .for_each(|(key, item)| walk(item, &format!("{path}.{key}")));
            }
            Value::String(text) => assert!(!text.is_empty(), "{path} is empty"),
            _ => {}
        }
    }
    for (name, resource) in samples::all() {
        walk(&resource, &name);
    }
}

#[test]
fn what_a_simulator_caused_says_so_everywhere() {
    for (name, resource) in samples::all() {
        let kind = resource["resourceType"].as_str().unwrap();
        let labelled = resource["meta"]["security"].to_string().contains("HTEST");
        let simulated = name.ends_with("-assigned")
            || ["patient-ins", "box", "sensor", "clock"].contains(&name.as_str());
        if simulated && kind != "Binary" {
            assert!(labelled, "{name}");
        }
        if name.ends_with("-unassigned") {
            assert!(!labelled, "{name}");
        }
    }
}
