//! Small pieces of JSON that every resource is made of.

use cardio_core::ids::RecordId;
use serde_json::{Map, Number, Value, json};

use crate::codes::{ACT_REASON, own};

/// A coding with a display.
pub(crate) fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({"system": system, "code": code, "display": display})
}

/// A concept of one coding without a display.
pub(crate) fn concept(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

/// A concept of one coding with a display.
pub(crate) fn shown(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [coding(system, code, display)]})
}

/// A reference to a resource: `Type/id`.
pub fn reference(kind: &str, id: &str) -> Value {
    json!({"reference": format!("{kind}/{id}")})
}

/// A reference to an address that already holds the type.
pub(crate) fn reference_to(address: &str) -> Value {
    json!({"reference": address})
}

/// The identifier of a record that the box named.
pub(crate) fn record_identifier(value: &str) -> Value {
    json!({"system": own::SID_RECORD, "value": value})
}

/// The identifier of a box's record.
pub(crate) fn record_key(record: RecordId) -> Value {
    record_identifier(&record.to_string())
}

/// A number without a fraction where it has none. Not-a-number and infinities have no place
/// in JSON and give null.
pub(crate) fn decimal(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "whole and below 2^53: checked on the line above"
        )]
        return json!(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A quantity in a UCUM unit.
pub(crate) fn quantity(value: f64, unit: &str, code: &str) -> Value {
    json!({"value": decimal(value), "unit": unit, "system": crate::codes::UCUM, "code": code})
}

/// Adds an item to a list, which it starts if need be.
pub(crate) fn push(resource: &mut Map<String, Value>, list: &str, item: Value) {
    match resource.get_mut(list) {
        Some(Value::Array(items)) => items.push(item),
        _ => {
            resource.insert(list.to_owned(), Value::Array(vec![item]));
        }
    }
}

/// Sets an element if there is something to set.
pub(crate) fn set(resource: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        resource.insert(name.to_owned(), value);
    }
}

/// A resource of a type with its logical id.
pub(crate) fn resource(kind: &str, id: &str) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("resourceType".to_owned(), json!(kind));
    map.insert("id".to_owned(), json!(id));
    map
}

/// Profiles and security labels of a resource; nothing when there are none.
pub(crate) fn meta(resource: &mut Map<String, Value>, profiles: &[&str], labels: Vec<Value>) {
    let mut meta = Map::new();
    if !profiles.is_empty() {
        meta.insert("profile".to_owned(), json!(profiles));
    }
    if !labels.is_empty() {
        meta.insert("security".to_owned(), Value::Array(labels));
    }
    if !meta.is_empty() {
        resource.insert("meta".to_owned(), Value::Object(meta));
    }
}

/// The label of data that no patient's body made.
pub(crate) fn test_label(simulated: bool) -> Vec<Value> {
    if simulated {
        vec![json!({"system": ACT_REASON, "code": "HTEST"})]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;
    use serde_json::json;

    #[test]
    fn a_whole_number_is_written_without_a_fraction() {
        assert_eq!(decimal(4.0).to_string(), "4");
        assert_eq!(decimal(-0.0).to_string(), "0");
        assert_eq!(decimal(0.0025).to_string(), "0.0025");
        assert_eq!(decimal(f64::NAN), json!(null));
    }
}
