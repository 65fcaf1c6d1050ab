//! What a resource can be searched by: values drawn from its elements, by a table.
//!
//! Names are those of FHIR R4; `date` and `status` stand also where R4 names the element
//! differently. Deliberately absent: names and other identity of patients, which no address
//! may hold.

use cardio_core::clock::UtcMicros;
use serde_json::Value;

use crate::time::covered;

/// How a parameter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A code with its system.
    Token,
    /// Another resource.
    Reference,
    /// A stretch of time.
    Date,
}

/// A search parameter of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// How it compares.
    pub kind: ParamKind,
    /// The elements that it reads, as dotted paths.
    paths: &'static [&'static str],
}

/// One value that a resource is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The parameter.
    pub param: &'static str,
    /// The value.
    pub value: IndexValue,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexValue {
    /// A code; the system is absent for codes that FHIR itself fixes.
    Token {
        /// System of the code.
        system: Option<String>,
        /// The code.
        code: String,
    },
    /// A resource, as `Type/id`.
    Reference(String),
    /// First and last microsecond of a stretch; an open end reaches to the end of time.
    Date {
        /// First microsecond.
        from: UtcMicros,
        /// Last microsecond.
        to: UtcMicros,
    },
}

const fn token(name: &'static str, paths: &'static [&'static str]) -> Param {
    Param {
        name,
        kind: ParamKind::Token,
        paths,
    }
}

const fn to(name: &'static str, paths: &'static [&'static str]) -> Param {
    Param {
        name,
        kind: ParamKind::Reference,
        paths,
    }
}

const fn date(name: &'static str, paths: &'static [&'static str]) -> Param {
    Param {
        name,
        kind: ParamKind::Date,
        paths,
    }
}

const ID: Param = token("_id", &["id"]);
const LAST_UPDATED: Param = date("_lastUpdated", &["meta.lastUpdated"]);
const SECURITY: Param = token("_security", &["meta.security"]);
const IDENTIFIER: Param = token("identifier", &["identifier"]);
const STATUS: Param = token("status", &["status"]);
const CODE: Param = token("code", &["code"]);
const CATEGORY: Param = token("category", &["category"]);
const PATIENT: Param = to("patient", &["subject"]);
const SUBJECT: Param = to("subject", &["subject"]);

const PATIENT_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    token("active", &["active"]),
    date("birthdate", &["birthDate"]),
    to("link", &["link.other"]),
    to("organization", &["managingOrganization"]),
];
const REQUEST_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CODE,
    CATEGORY,
    PATIENT,
    SUBJECT,
    token("intent", &["intent"]),
    token("priority", &["priority"]),
    token("requisition", &["requisition"]),
    date("date", &["authoredOn"]),
    date("authored", &["authoredOn"]),
    date("occurrence", &["occurrenceDateTime", "occurrencePeriod"]),
    to("requester", &["requester"]),
    to("performer", &["performer"]),
];
const PRACTITIONER_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    token("active", &["active"]),
];
const ROLE_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    token("active", &["active"]),
    token("role", &["code"]),
    token("specialty", &["specialty"]),
    date("date", &["period"]),
    to("practitioner", &["practitioner"]),
    to("organization", &["organization"]),
];
const ORGANIZATION_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    token("active", &["active"]),
    token("type", &["type"]),
    to("partof", &["partOf"]),
];
const CONSENT_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CATEGORY,
    token("scope", &["scope"]),
    date("date", &["dateTime"]),
    date("period", &["provision.period"]),
    to("patient", &["patient"]),
    to("organization", &["organization"]),
];
const DEVICE_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    token("type", &["type"]),
    to("patient", &["patient"]),
];
const OBSERVATION_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CODE,
    CATEGORY,
    PATIENT,
    SUBJECT,
    date("date", &["effectiveDateTime", "effectivePeriod"]),
    to("device", &["device"]),
    to("derived-from", &["derivedFrom"]),
];
const REPORT_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CODE,
    CATEGORY,
    PATIENT,
    SUBJECT,
    date("date", &["effectiveDateTime", "effectivePeriod"]),
    date("issued", &["issued"]),
    to("result", &["result"]),
    to("based-on", &["basedOn"]),
];
const DOCUMENT_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    STATUS,
    CATEGORY,
    PATIENT,
    SUBJECT,
    token("identifier", &["masterIdentifier", "identifier"]),
    token("type", &["type"]),
    date("date", &["date"]),
    date("period", &["context.period"]),
    to("author", &["author"]),
    to("related", &["context.related"]),
];
const ISSUE_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CODE,
    to("patient", &["patient"]),
    to("subject", &["patient"]),
    date("date", &["identifiedDateTime", "identifiedPeriod"]),
    date("identified", &["identifiedDateTime", "identifiedPeriod"]),
    to("author", &["author"]),
    to("implicated", &["implicated"]),
];
const COMMUNICATION_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CATEGORY,
    PATIENT,
    SUBJECT,
    token("code", &["topic"]),
    date("date", &["sent"]),
    date("sent", &["sent"]),
    date("received", &["received"]),
    to("recipient", &["recipient"]),
    to("sender", &["sender"]),
];
const TASK_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    IDENTIFIER,
    STATUS,
    CODE,
    token("business-status", &["businessStatus"]),
    token("priority", &["priority"]),
    to("patient", &["for"]),
    to("subject", &["for"]),
    date("date", &["authoredOn"]),
    date("authored-on", &["authoredOn"]),
    date("modified", &["lastModified"]),
    to("focus", &["focus"]),
    to("owner", &["owner"]),
];
const PROVENANCE_PARAMS: &[Param] = &[
    ID,
    LAST_UPDATED,
    SECURITY,
    to("target", &["target"]),
    to("agent", &["agent.who"]),
    token("entity", &["entity.what.identifier"]),
    date("date", &["recorded"]),
    date("recorded", &["recorded"]),
];
const AUDIT_PARAMS: &[Param] = &[
    ID,
    token("action", &["action"]),
    token("altid", &["agent.altId"]),
    token("outcome", &["outcome"]),
    date("date", &["recorded"]),
    to("patient", &["entity.what"]),
];
const OTHER_PARAMS: &[Param] = &[ID, LAST_UPDATED];

/// The search parameters of a type.
pub fn params_of(kind: &str) -> &'static [Param] {
    match kind {
        "Patient" => PATIENT_PARAMS,
        "Device" => DEVICE_PARAMS,
        "Observation" => OBSERVATION_PARAMS,
        "DiagnosticReport" => REPORT_PARAMS,
        "DocumentReference" => DOCUMENT_PARAMS,
        "DetectedIssue" => ISSUE_PARAMS,
        "Communication" => COMMUNICATION_PARAMS,
        "Task" => TASK_PARAMS,
        "Provenance" => PROVENANCE_PARAMS,
        "ServiceRequest" => REQUEST_PARAMS,
        "Practitioner" => PRACTITIONER_PARAMS,
        "PractitionerRole" => ROLE_PARAMS,
        "Organization" => ORGANIZATION_PARAMS,
        "Consent" => CONSENT_PARAMS,
        "AuditEvent" => AUDIT_PARAMS,
        _ => OTHER_PARAMS,
    }
}

/// All values that a resource is found by.
pub fn index_of(resource: &Value) -> Vec<IndexEntry> {
    let kind = resource
        .get("resourceType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut entries = Vec::new();
    for param in params_of(kind) {
        for path in param.paths {
            for element in at(resource, path) {
                let values = match param.kind {
                    ParamKind::Token => tokens(element),
                    ParamKind::Reference => references(param.name, element),
                    ParamKind::Date => dates(element),
                };
                let values = values.into_iter();
                entries.extend(values.map(|value| IndexEntry {
                    param: param.name,
                    value,
                }));
            }
        }
    }
    entries
}

/// The elements at a dotted path, lists opened on the way.
fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for name in path.split('.') {
        found = found
            .into_iter()
            .filter_map(|value| value.get(name))
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                one => vec![one],
            })
            .collect();
    }
    found
}

fn tokens(element: &Value) -> Vec<IndexValue> {
    let text = |name: &str| element.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(Value::Array(codings)) = element.get("coding") {
        return codings.iter().flat_map(tokens).collect();
    }
    let code = match element {
        Value::String(code) => Some(code.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => text("code").or_else(|| text("value")),
    };
    let system = text("system");
    code.map(|code| IndexValue::Token { system, code })
        .into_iter()
        .collect()
}

fn references(param: &str, element: &Value) -> Vec<IndexValue> {
    let address = element.get("reference").and_then(Value::as_str);
    let address = address.filter(|of| param != "patient" || of.starts_with("Patient/"));
    // What refers to one version is found by what it is a version of.
    let address = address.and_then(|of| of.split("/_history/").next());
    address
        .map(|of| IndexValue::Reference(of.to_owned()))
        .into_iter()
        .collect()
}

fn dates(element: &Value) -> Vec<IndexValue> {
    let range = match element {
        Value::String(text) => covered(text),
        Value::Object(period) => {
            let end = |name| period.get(name).and_then(Value::as_str).and_then(covered);
            match (end("start"), end("end")) {
                (None, None) => None,
                (start, end) => Some((
                    start.map_or(UtcMicros(i64::MIN), |(from, _)| from),
                    end.map_or(UtcMicros(i64::MAX), |(_, to)| to),
                )),
            }
        }
        _ => None,
    };
    range
        .map(|(from, to)| IndexValue::Date { from, to })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values(resource: &Value, param: &str) -> Vec<IndexValue> {
        let entries = index_of(resource).into_iter();
        entries
            .filter(|entry| entry.param == param)
            .map(|entry| entry.value)
            .collect()
    }

    #[test]
    fn an_observation_is_found_by_every_code_that_it_carries() {
        let resource = json!({
            "resourceType": "Observation",
            "id": "o1",
            "meta": {"lastUpdated": "2026-03-02T08:15:00.000Z"},
            "status": "final",
            "identifier": [{"system": "s", "value": "v"}],
            "code": {"coding": [{"system": "a", "code": "1"}, {"system": "b", "code": "2"}]},
            "subject": {"reference": "Patient/p1"},
            "device": {"reference": "Device/d1"},
            "effectivePeriod": {"start": "2026-03-02T08:15:00.000Z"},
        });
        let token = |system: Option<&str>, code: &str| IndexValue::Token {
            system: system.map(str::to_owned),
            code: code.to_owned(),
        };
        assert_eq!(
            values(&resource, "code"),
            [token(Some("a"), "1"), token(Some("b"), "2")]
        );
        assert_eq!(values(&resource, "_id"), [token(None, "o1")]);
        assert_eq!(values(&resource, "status"), [token(None, "final")]);
        assert_eq!(values(&resource, "identifier"), [token(Some("s"), "v")]);
        assert_eq!(
            values(&resource, "patient"),
            [IndexValue::Reference("Patient/p1".to_owned())]
        );
        assert_eq!(
            values(&resource, "device"),
            [IndexValue::Reference("Device/d1".to_owned())]
        );
        assert_eq!(
            values(&resource, "date"),
            [IndexValue::Date {
                from: UtcMicros(1_772_439_300_000_000),
                to: UtcMicros(i64::MAX)
            }]
        );
        assert_eq!(values(&resource, "_lastUpdated").len(), 1);
    }

    #[test]
    fn a_clock_observation_about_a_sensor_is_not_found_by_patient() {
        let resource =
            json!({"resourceType": "Observation", "subject": {"reference": "Device/ecg"}});
        assert_eq!(values(&resource, "patient"), []);
        assert_eq!(values(&resource, "subject").len(), 1);
    }

    #[test]
    fn an_unknown_time_is_found_by_no_date() {
        let resource = json!({
            "resourceType": "Observation",
            "effectivePeriod": {"extension": [{"url": "x", "valueCode": "unknown"}]},
        });
        assert_eq!(values(&resource, "date"), []);
    }

    #[test]
    fn a_name_of_a_patient_is_no_way_to_search() {
        let resource =
            json!({"resourceType": "Patient", "id": "p1", "name": [{"family": "TESTPATIENT"}]});
        assert!(!format!("{:?}", index_of(&resource)).contains("TESTPATIENT"));
    }

    proptest! {
        #[test]
        fn any_json_is_indexed_without_a_panic(kind in "Patient|Task|Observation|Device|x", text: String, number: i64) {
            for value in [json!(text), json!(number), json!([text, number]), json!({"coding": text, "reference": number, "start": text}), json!(null)] {
                let resource = json!({"resourceType": kind, "id": value, "code": value, "status": value, "subject": value, "effectivePeriod": value, "for": value, "meta": value});
                let _ = index_of(&resource);
            }
            let _ = index_of(&json!(text));
        }
    }
}
