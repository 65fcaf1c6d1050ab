//! What a FHIR server answers around the resources: bundles, errors, what it can do.
//!
//! Deliberately absent: HTTP. Status codes and headers are the server's matter.

use cardio_core::clock::UtcMicros;
use serde_json::{Value, json};

use crate::codes::{OBSERVATION_VALUE, own};
use crate::element::{push, set};
use crate::index::{ParamKind, params_of};
use crate::time::instant;

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The request failed.
    Error,
    /// The request was done, but not all of it.
    Warning,
    /// Said for information.
    Information,
}

/// One thing to tell whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// Code of the FHIR table `issue-type`, for instance `not-found`, `invalid`, `value`.
    pub code: &'static str,
    /// What is wrong, without any patient's identity.
    pub diagnostics: String,
    /// The element or parameter that is wrong.
    pub expression: Option<String>,
}

/// What is wrong with a request.
pub fn operation_outcome(issues: &[Issue]) -> Value {
    let issues: Vec<Value> = issues
        .iter()
        .map(|issue| {
            let mut part = serde_json::Map::new();
            let severity = match issue.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Information => "information",
            };
            part.insert("severity".to_owned(), json!(severity));
            part.insert("code".to_owned(), json!(issue.code));
            part.insert("diagnostics".to_owned(), json!(issue.diagnostics));
            let place = issue.expression.as_ref().map(|place| json!([place]));
            set(&mut part, "expression", place);
            Value::Object(part)
        })
        .collect();
    json!({"resourceType": "OperationOutcome", "issue": issues})
}

/// One resource of an answer.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its full address.
    pub full_url: String,
    /// The resource.
    pub resource: Value,
    /// Whether it matched, or came along with one that did.
    pub included: bool,
}

/// The answer to a search.
#[derive(Clone, Debug)]
pub struct Searchset {
    /// Address of this page, as it was understood.
    pub self_url: String,
    /// Address of the next page, if there is one.
    pub next_url: Option<String>,
    /// How many resources match in all, if that is known.
    pub total: Option<u64>,
    /// The resources of this page.
    pub found: Vec<Found>,
}

/// The answer to a search. Takes the resources: an answer can be large.
pub fn searchset_bundle(answer: Searchset) -> Value {
    let mut links = vec![json!({"relation": "self", "url": answer.self_url})];
    links.extend(
        answer
            .next_url
            .map(|url| json!({"relation": "next", "url": url})),
    );
    let entries: Vec<Value> = answer
        .found
        .into_iter()
        .map(|found| {
            let mode = if found.included { "include" } else { "match" };
            let mut entry = serde_json::Map::new();
            entry.insert("fullUrl".to_owned(), json!(found.full_url));
            entry.insert("resource".to_owned(), found.resource);
            entry.insert("search".to_owned(), json!({"mode": mode}));
            Value::Object(entry)
        })
        .collect();
    let mut bundle = json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "link": links,
    });
    if let Some(map) = bundle.as_object_mut() {
        set(map, "total", answer.total.map(|total| json!(total)));
        // An empty list has no place in FHIR.
        set(
            map,
            "entry",
            (!entries.is_empty()).then_some(Value::Array(entries)),
        );
    }
    bundle
}

/// A resource with only the elements that are wanted, and those that every resource has; it
/// says so, because it must not be taken for the whole.
pub fn only_elements(mut resource: Value, wanted: &[String]) -> Value {
    if let Some(map) = resource.as_object_mut() {
        map.retain(|name, _| {
            let plain = name.strip_prefix('_').unwrap_or(name);
            matches!(plain, "resourceType" | "id" | "meta")
                || wanted.iter().any(|wanted| wanted == plain)
        });
        if let Some(Value::Object(meta)) = map.get_mut("meta") {
            push(
                meta,
                "tag",
                json!({"system": OBSERVATION_VALUE, "code": "SUBSETTED"}),
            );
        }
    }
    resource
}

/// One version that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Full address of the resource.
    pub full_url: String,
    /// Its address below the base.
    pub address: String,
    /// Its version.
    pub version: u64,
    /// When it was written.
    pub updated: UtcMicros,
    /// The resource.
    pub resource: Value,
}

/// Versions in an order.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Address of this page.
    pub self_url: String,
    /// Address of the next page, if there is one.
    pub next_url: Option<String>,
    /// Address at which what comes later can be read, on the last page of those in the order of
    /// time (link relation `monitor`, RFC 5989).
    pub monitor_url: Option<String>,
    /// How many versions there are in all, if that is known.
    pub total: Option<u64>,
    /// The versions of this page.
    pub written: Vec<Written>,
}

/// The answer to a request for a history.
pub fn history_bundle(page: HistoryPage) -> Value {
    let mut links = vec![json!({"relation": "self", "url": page.self_url})];
    for (relation, url) in [("next", page.next_url), ("monitor", page.monitor_url)] {
        links.extend(url.map(|url| json!({"relation": relation, "url": url})));
    }
    let entries: Vec<Value> = page
        .written
        .into_iter()
        .map(|one| {
            // Ids are given by whoever files, so that even the first version is a PUT.
            let status = if one.version == 1 { "201" } else { "200" };
            let mut entry = serde_json::Map::new();
            entry.insert("fullUrl".to_owned(), json!(one.full_url));
            entry.insert("resource".to_owned(), one.resource);
            entry.insert(
                "request".to_owned(),
                json!({"method": "PUT", "url": one.address}),
            );
            let response = json!({
                "status": status,
                "etag": format!("W/\"{}\"", one.version),
                "lastModified": instant(one.updated),
            });
            entry.insert("response".to_owned(), response);
            Value::Object(entry)
        })
        .collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "history", "link": links});
    if let Some(map) = bundle.as_object_mut() {
        set(map, "total", page.total.map(|total| json!(total)));
        set(
            map,
            "entry",
            (!entries.is_empty()).then_some(Value::Array(entries)),
        );
    }
    bundle
}

/// What a server can do with one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The type.
    pub kind: &'static str,
    /// Codes of the FHIR table `type-restful-interaction`, for instance `read`.
    pub interactions: &'static [&'static str],
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct CapabilityFacts<'a> {
    /// Base address.
    pub base_url: &'a str,
    /// Version of the program.
    pub version: &'a str,
    /// When this statement was last changed.
    pub date: UtcMicros,
    /// The types, with what can be done.
    pub served: &'a [Served],
}

/// What a server can do. Search parameters are those that [`crate::index`] extracts.
pub fn capability_statement(facts: &CapabilityFacts<'_>) -> Value {
    let resources: Vec<Value> = facts
        .served
        .iter()
        .map(|served| {
            let interactions: Vec<Value> = served
                .interactions
                .iter()
                .map(|code| json!({"code": code}))
                .collect();
            let mut part = json!({"type": served.kind, "interaction": interactions});
            let params: Vec<Value> = params_of(served.kind)
                .iter()
                .filter(|_| served.interactions.contains(&"search-type"))
                .map(|param| json!({"name": param.name, "type": param_type(param.kind)}))
                .collect();
            if let Some(map) = part.as_object_mut() {
                map.insert("versioning".to_owned(), json!("versioned-update"));
                map.insert("readHistory".to_owned(), json!(true));
                if served.interactions.contains(&"update") {
                    map.insert("updateCreate".to_owned(), json!(true));
                    map.insert("conditionalCreate".to_owned(), json!(true));
                }
                let includes = includes_of(served.kind);
                set(
                    map,
                    "searchInclude",
                    (!includes.is_empty()).then(|| json!(includes)),
                );
                let reverse = facts
                    .served
                    .iter()
                    .flat_map(|other| includes_of(other.kind));
                let reverse: Vec<String> = reverse.filter(|_| !params.is_empty()).collect();
                set(
                    map,
                    "searchRevInclude",
                    (!reverse.is_empty()).then(|| json!(reverse)),
                );
                set(
                    map,
                    "searchParam",
                    (!params.is_empty()).then_some(Value::Array(params)),
                );
                set(map, "operation", operations_of(served.kind));
            }
            part
        })
        .collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(facts.date),
        "kind": "instance",
        "software": {"name": "cardio-gateway", "version": facts.version},
        "implementation": {"description": "Patient record of a cardiology telemonitoring gateway", "url": facts.base_url},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{
            "mode": "server",
            "resource": resources,
            "interaction": [
                {"code": "transaction"},
                {"code": "batch"},
                {"code": "history-system"},
            ],
        }],
    })
}

/// The operations of a type, by name and definition.
fn operations_of(kind: &str) -> Option<Value> {
    let hl7 = "http://hl7.org/fhir/OperationDefinition/Patient-";
    let (base, names): (&str, &[&str]) = match kind {
        "Patient" => (hl7, &["everything", "merge"]),
        "Task" => (own::OPERATION, &["seen", "acknowledge", "close"]),
        "DiagnosticReport" => (own::OPERATION, &["sign", "mssante"]),
        _ => return None,
    };
    let one = |name: &&str| json!({"name": name, "definition": format!("{base}{name}")});
    Some(names.iter().map(one).collect())
}

/// What can be included from a type: its parameters that are references.
fn includes_of(kind: &str) -> Vec<String> {
    params_of(kind)
        .iter()
        .filter(|param| param.kind == ParamKind::Reference)
        .map(|param| format!("{kind}:{}", param.name))
        .collect()
}

const fn param_type(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Token => "token",
        ParamKind::Reference => "reference",
        ParamKind::Date => "date",
    }
}

/// Why a resource cannot be filed repeatably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilingError {
    /// Nothing tells this resource from another one.
    #[error("identifier: a repeatable create needs an identifier with a system and a value")]
    NoIdentifier,
    /// Not a resource.
    #[error("resourceType: not a resource")]
    NoType,
}

impl FilingError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoIdentifier => "fhir.filing.identifier",
            Self::NoType => "fhir.filing.type",
        }
    }
}

/// A transaction that another server can be given any number of times: each create is made
/// only if its identifier is not there yet.
///
/// # Errors
/// [`FilingError`] for the first resource that has no type or no complete identifier.
pub fn filing_bundle(resources: Vec<Value>) -> Result<Value, FilingError> {
    let entries = resources
        .into_iter()
        .map(create_entry)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
}

fn create_entry(resource: Value) -> Result<Value, FilingError> {
    let text = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let kind = text(resource.get("resourceType")).ok_or(FilingError::NoType)?;
    let identifier = match resource.get("identifier") {
        Some(Value::Array(list)) => list.first(),
        other => other,
    };
    let identifier = identifier.or_else(|| resource.get("masterIdentifier"));
    let part = |name| identifier.and_then(|identifier| text(identifier.get(name)));
    let (Some(system), Some(value)) = (part("system"), part("value")) else {
        return Err(FilingError::NoIdentifier);
    };
    let query = format!("identifier={}|{}", escape(&system), escape(&value));
    let id = text(resource.get("id")).unwrap_or_default();
    let full_url = match id.len() {
        36 => format!("urn:uuid:{id}"),
        _ => format!("{}/{kind}/{id}", crate::codes::OWN_BASE),
    };
    Ok(json!({
        "fullUrl": full_url,
        "resource": resource,
        "request": {"method": "POST", "url": kind, "ifNoneExist": query},
    }))
}

/// Escapes what would end a value in a search, or in a query.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => escaped.push_str("\\%7C"),
            ',' => escaped.push_str("\\,"),
            '$' => escaped.push_str("\\$"),
            '\\' => escaped.push_str("\\\\"),
            '&' => escaped.push_str("%26"),
            '#' => escaped.push_str("%23"),
            '%' => escaped.push_str("%25"),
            '+' => escaped.push_str("%2B"),
            ' ' => escaped.push_str("%20"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    // No validator at hand notices a missing value in the identifier of a conditional create.
    #[test]
    fn a_repeatable_create_without_a_whole_identifier_is_refused() {
        for identifier in [
            json!(null),
            json!([]),
            json!([{"system": "s"}]),
            json!([{"system": "s", "value": ""}]),
            json!([{"value": "v"}]),
        ] {
            let resource = json!({"resourceType": "Observation", "identifier": identifier});
            let err = filing_bundle(vec![resource]).unwrap_err();
            assert_eq!(err, FilingError::NoIdentifier, "{identifier}");
        }
        assert_eq!(
            filing_bundle(vec![json!({})]).unwrap_err(),
            FilingError::NoType
        );
    }

    #[test]
    fn a_repeatable_create_has_the_shape_of_the_reference() {
        let system = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdBaseObservation";
        let value = "ACDE48FFFE234568-p1-147842-12355.678";
        let resource = json!({
            "resourceType": "Observation",
            "id": "78446a82-b2b2-528e-9f9b-8a6dd028ea89",
            "identifier": [{"system": system, "value": value}],
        });
        let bundle = filing_bundle(vec![resource]).unwrap();
        assert_eq!(
            bundle["entry"][0]["request"],
            json!({"method": "POST", "url": "Observation", "ifNoneExist": format!("identifier={system}|{value}")})
        );
        assert_eq!(
            bundle["entry"][0]["fullUrl"],
            json!("urn:uuid:78446a82-b2b2-528e-9f9b-8a6dd028ea89")
        );
    }

    #[test]
    fn nothing_in_an_identifier_can_end_the_query() {
        assert_eq!(escape("a|b&c,d"), "a\\%7Cb%26c\\,d");
    }

    #[test]
    fn an_empty_answer_has_no_empty_list() {
        let bundle = searchset_bundle(Searchset {
            self_url: "https://gateway.example/fhir/Observation".to_owned(),
            next_url: None,
            total: Some(0),
            found: Vec::new(),
        });
        assert_eq!(bundle.get("entry"), None);
        assert_eq!(bundle["total"], json!(0));
    }

    #[test]
    fn a_page_says_where_the_next_one_is_and_what_came_along() {
        let found = |id: &str, included| Found {
            full_url: format!("https://gateway.example/fhir/Patient/{id}"),
            resource: json!({"resourceType": "Patient", "id": id}),
            included,
        };
        let bundle = searchset_bundle(Searchset {
            self_url: "self".to_owned(),
            next_url: Some("next".to_owned()),
            total: Some(7),
            found: vec![found("a", false), found("b", true)],
        });
        assert_eq!(
            bundle["link"][1],
            json!({"relation": "next", "url": "next"})
        );
        assert_eq!(bundle["entry"][1]["search"]["mode"], json!("include"));
    }

    #[test]
    fn an_error_names_the_element_and_the_reason() {
        let outcome = operation_outcome(&[Issue {
            severity: Severity::Error,
            code: "value",
            diagnostics: "date: 'yesterday' is not a date".to_owned(),
            expression: Some("http.date".to_owned()),
        }]);
        assert_eq!(
            outcome,
            json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "value", "diagnostics": "date: 'yesterday' is not a date", "expression": ["http.date"]}]})
        );
    }

    #[test]
    fn a_server_names_only_parameters_that_it_indexes() {
        let statement = capability_statement(&CapabilityFacts {
            base_url: "https://gateway.example/fhir",
            version: "0.1.0",
            date: UtcMicros(0),
            served: &[
                Served {
                    kind: "Observation",
                    interactions: &["read", "search-type"],
                },
                Served {
                    kind: "Binary",
                    interactions: &["read"],
                },
            ],
        });
        let resources = &statement["rest"][0]["resource"];
        let names = resources[0]["searchParam"].to_string();
        assert!(
            names.contains("\"device\"") && names.contains("\"_lastUpdated\""),
            "{names}"
        );
        assert_eq!(resources[1].get("searchParam"), None);
    }
}
