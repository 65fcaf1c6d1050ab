//! Who did what, as AuditEvent (FHIR R4; profile of the French guide on tracing, TdE 2.0.0).
//!
//! Deliberately absent: anything clinical. An event names resources and patients by their logical
//! ids, and a search by the names of its parameters.

use cardio_core::clock::UtcMicros;
use serde_json::{Map, Value, json};

use crate::codes::own;
use crate::element::{coding, meta, push, reference_to, resource, set};
use crate::time::instant;

/// DICOM's controlled terminology.
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const PROFILE: &str =
    "https://interop.esante.gouv.fr/ig/fhir/tde/StructureDefinition/tde-auditevent";

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A resource was read.
    Read,
    /// A version was read.
    ReadVersion,
    /// The versions of a resource were read.
    HistoryOfOne,
    /// The versions of a type were read.
    HistoryOfKind,
    /// All versions were read.
    HistoryOfAll,
    /// A type was searched.
    Search,
    /// A resource was created.
    Create,
    /// A resource was changed.
    Update,
    /// A bundle of requests was done.
    Bundle,
    /// An operation was run.
    Operation,
    /// Somebody logged in, or tried to.
    LogIn,
    /// Somebody logged out.
    LogOut,
    /// A request came from nobody known.
    Stranger,
    /// The program began.
    Start,
    /// The program ended.
    Stop,
    /// The operator read of patients.
    OperatorRead,
    /// The operator changed the record.
    OperatorChange,
    /// The operator took data out.
    Export,
    /// The operator changed who or what may connect.
    Configure,
}

type Code = (&'static str, &'static str, &'static str);

const REST: Code = (EVENT_TYPE, "rest", "RESTful Operation");
const ACTIVITY: Code = (DCM, "110100", "Application Activity");
const PATIENT_RECORD: Code = (DCM, "110110", "Patient Record");
const AUTHENTICATION: Code = (DCM, "110114", "User Authentication");

const fn rest(code: &'static str) -> Option<Code> {
    Some((INTERACTION, code, code))
}

/// Each deed with its name in the store, type, subtype and action.
const TABLE: [(Deed, &str, Code, Option<Code>, &str); 19] = [
    (Deed::Read, "read", REST, rest("read"), "R"),
    (Deed::ReadVersion, "vread", REST, rest("vread"), "R"),
    (
        Deed::HistoryOfOne,
        "history-instance",
        REST,
        rest("history-instance"),
        "R",
    ),
    (
        Deed::HistoryOfKind,
        "history-type",
        REST,
        rest("history-type"),
        "R",
    ),
    (
        Deed::HistoryOfAll,
        "history-system",
        REST,
        rest("history-system"),
        "R",
    ),
    (Deed::Search, "search", REST, rest("search-type"), "E"),
    (Deed::Create, "create", REST, rest("create"), "C"),
    (Deed::Update, "update", REST, rest("update"), "U"),
    (Deed::Bundle, "bundle", REST, rest("batch"), "E"),
    (Deed::Operation, "operation", REST, rest("operation"), "E"),
    (
        Deed::LogIn,
        "log-in",
        AUTHENTICATION,
        Some((DCM, "110122", "Login")),
        "E",
    ),
    (
        Deed::LogOut,
        "log-out",
        AUTHENTICATION,
        Some((DCM, "110123", "Logout")),
        "E",
    ),
    (Deed::Stranger, "stranger", AUTHENTICATION, None, "E"),
    (
        Deed::Start,
        "start",
        ACTIVITY,
        Some((DCM, "110120", "Application Start")),
        "E",
    ),
    (
        Deed::Stop,
        "stop",
        ACTIVITY,
        Some((DCM, "110121", "Application Stop")),
        "E",
    ),
    (
        Deed::OperatorRead,
        "operator-read",
        PATIENT_RECORD,
        None,
        "R",
    ),
    (
        Deed::OperatorChange,
        "operator-change",
        PATIENT_RECORD,
        None,
        "U",
    ),
    (Deed::Export, "export", (DCM, "110106", "Export"), None, "R"),
    (
        Deed::Configure,
        "configure",
        (DCM, "110113", "Security Alert"),
        Some((DCM, "110129", "Security Configuration")),
        "U",
    ),
];

impl Deed {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(deed, ..)| *deed)
    }

    fn row(self) -> Option<&'static (Self, &'static str, Code, Option<Code>, &'static str)> {
        TABLE.iter().find(|(deed, ..)| *deed == self)
    }

    /// Its name in the store.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |(_, name, ..)| name)
    }

    /// The action: C, R, U or E.
    pub fn action(self) -> &'static str {
        self.row().map_or("E", |(.., action)| action)
    }

    /// The deed of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = TABLE.iter().find(|(_, known, ..)| *known == name);
        row.map(|(deed, ..)| *deed)
    }
}

/// How a deed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was asked wrongly.
    Wrong,
    /// It was denied, or the program failed.
    Denied,
}

impl Outcome {
    /// The code of FHIR.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Done => "0",
            Self::Wrong => "4",
            Self::Denied => "8",
        }
    }

    /// The outcome of a code.
    pub fn from_code(code: &str) -> Option<Self> {
        let all = [Self::Done, Self::Wrong, Self::Denied];
        all.into_iter().find(|outcome| outcome.code() == code)
    }
}

/// One event.
#[derive(Clone, Debug)]
pub struct AuditFacts<'f> {
    /// Its logical id.
    pub id: &'f str,
    /// When.
    pub at: UtcMicros,
    /// What.
    pub deed: Deed,
    /// How it ended.
    pub outcome: Outcome,
    /// The account, or what stands for one.
    pub account: &'f str,
    /// Whom it belongs to, as a reference.
    pub person: Option<&'f str>,
    /// The address that it came from.
    pub address: Option<&'f str>,
    /// The name of this server.
    pub server: &'f str,
    /// Types, or resources as `Type/id`.
    pub targets: &'f [String],
    /// Logical ids of the patients that it was about.
    pub patients: &'f [String],
    /// Names of the parameters of a search.
    pub params: &'f [String],
}

fn code((system, code, display): Code) -> Value {
    coding(system, code, display)
}

/// The event as a resource.
pub fn audit_event(facts: &AuditFacts<'_>) -> Value {
    let mut event = resource("AuditEvent", facts.id);
    meta(&mut event, &[PROFILE], Vec::new());
    let row = facts.deed.row();
    let (kind, subtype) = row.map_or((ACTIVITY, None), |(_, _, kind, subtype, _)| {
        (*kind, *subtype)
    });
    event.insert("type".to_owned(), code(kind));
    set(
        &mut event,
        "subtype",
        subtype.map(|subtype| json!([code(subtype)])),
    );
    event.insert("action".to_owned(), json!(facts.deed.action()));
    let at = instant(facts.at);
    event.insert("period".to_owned(), json!({"start": at, "end": at}));
    event.insert("recorded".to_owned(), json!(at));
    event.insert("outcome".to_owned(), json!(facts.outcome.code()));
    push(&mut event, "agent", agent(facts));
    event.insert("source".to_owned(), source(facts.server));
    for patient in facts.patients {
        push(
            &mut event,
            "entity",
            json!({
                "what": reference_to(&format!("Patient/{patient}")),
                "type": coding(ENTITY_TYPE, "1", "Person"),
                "role": coding(OBJECT_ROLE, "1", "Patient"),
            }),
        );
    }
    for target in facts
        .targets
        .iter()
        .filter(|target| !target.starts_with("Patient/"))
    {
        push(&mut event, "entity", entity(target));
    }
    if !facts.params.is_empty() {
        let details = facts.params.iter();
        let details = details.map(|name| json!({"type": "parameter", "valueString": name}));
        push(
            &mut event,
            "entity",
            json!({
                "type": coding(ENTITY_TYPE, "2", "System Object"),
                "role": coding(OBJECT_ROLE, "24", "Query"),
                "detail": details.collect::<Vec<_>>(),
            }),
        );
    }
    Value::Object(event)
}

fn entity(target: &str) -> Value {
    let kind = coding(ENTITY_TYPE, "2", "System Object");
    match target.contains('/') {
        true => json!({
            "what": reference_to(target), "type": kind,
            "role": coding(OBJECT_ROLE, "4", "Domain Resource"),
        }),
        false => json!({"type": kind, "name": target}),
    }
}

fn agent(facts: &AuditFacts<'_>) -> Value {
    let who = match facts.person {
        Some(person) => reference_to(person),
        None => json!({"identifier": {"system": own::SID_ACCOUNT, "value": facts.account}}),
    };
    let mut agent = Map::new();
    agent.insert("who".to_owned(), who);
    agent.insert("altId".to_owned(), json!(facts.account));
    agent.insert("requestor".to_owned(), json!(true));
    let network = facts
        .address
        .map(|address| json!({"address": address, "type": "2"}));
    set(&mut agent, "network", network);
    Value::Object(agent)
}

fn source(server: &str) -> Value {
    let observer = json!({
        "type": "Device",
        "identifier": {"system": own::SID_SERVER, "value": server},
        "display": "cardio-gateway",
    });
    json!({
        "observer": observer,
        "type": [coding(SOURCE_TYPE, "4", "Application Server")],
    })
}

#[cfg(test)]
mod tests {
    use super::{Deed, Outcome, TABLE};

    #[test]
    fn every_deed_stands_in_the_table_once_and_is_found_by_its_name() {
        for (deed, name, ..) in TABLE {
            assert_eq!(Deed::from_name(name), Some(deed));
            assert_eq!(TABLE.iter().filter(|row| row.0 == deed).count(), 1);
        }
        for outcome in [Outcome::Done, Outcome::Wrong, Outcome::Denied] {
            assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        }
    }
}
