//! Writing: create, conditional create, update, and bundles of them.
//!
//! A transaction is written as a whole or not at all. A batch is a list of requests of their
//! own, some of which may fail; it may read too. What the gateway files itself nobody else
//! writes.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::{IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use cardio_core::clock::UtcMicros;
use cardio_fhir::rest::{Issue, Severity, operation_outcome};
use cardio_fhir::shape::WRITTEN;
use cardio_fhir::time::instant;
use serde_json::{Map, Value, json};

use super::fhir::{
    Answer, base, check_accept, check_content_type, find, kind, shortened, too_large,
};
use super::respond::{Refusal, json as answer, versioned};
use super::visit::{Needs, Visit};
use super::{Web, audit, body, search};
use crate::db::DbError;
use crate::filing;
use crate::inbox::lore_within;
use crate::record::{self, Put, Wanted, WriteRefused, Written};

/// Most entries of one bundle.
const ENTRIES_MAX: usize = 200;
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a writer wants to be told (`Prefer: return=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Resource,
    Nothing,
    Outcome,
}

impl Told {
    fn of(headers: &HeaderMap, otherwise: Self) -> Result<Self, Refusal> {
        let Some(prefer) = text(headers, &PREFER)? else {
            return Ok(otherwise);
        };
        let parts = prefer.split([',', ';']).map(str::trim);
        let wanted = parts.filter_map(|part| part.strip_prefix("return=")).next();
        match wanted {
            None => Ok(otherwise),
            Some("representation") => Ok(Self::Resource),
            Some("minimal") => Ok(Self::Nothing),
            Some("OperationOutcome") => Ok(Self::Outcome),
            Some(_) => {
                let why = "return is minimal, representation or OperationOutcome";
                Err(Refusal::invalid("invalid", why).at("Prefer"))
            }
        }
    }
}

/// A header as text.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    headers
        .get(name)
        .map(|value| {
            value.to_str().map_err(|_| {
                Refusal::invalid("invalid", "the header is not text").at(name.as_str())
            })
        })
        .transpose()
}

pub(super) async fn create(
    State(web): State<Web>,
    visit: Visit,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    one((&web, &visit), &name, None, &headers, body).await
}

pub(super) async fn update(
    State(web): State<Web>,
    visit: Visit,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    one((&web, &visit), &name, Some(id), &headers, body).await
}

/// The type, if others may write it.
fn written_kind(name: &str) -> Result<&'static str, Refusal> {
    let kind = kind(name)?;
    if WRITTEN.contains(&kind) {
        return Ok(kind);
    }
    Err(Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "not-supported",
        format!(
            "{kind} is filed by the gateway itself; {} and files as Binary can be written",
            WRITTEN.join(", ")
        ),
    ))
}

async fn one(
    (web, visit): (&Web, &Visit),
    name: &str,
    asked: Option<String>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let kind = written_kind(name)?;
    check_accept(headers)?;
    check_content_type(headers, &["application/fhir+json", "application/json"])?;
    let told = Told::of(headers, Told::Resource)?;
    let resource = body::parsed(&body.map_err(too_large)?)?;
    let request = Request {
        kind,
        asked,
        resource,
        full_url: None,
        unless: text(headers, &IF_NONE_EXIST)?.map(str::to_owned),
        if_match: text(headers, &IF_MATCH)?.map(str::to_owned),
    };
    let wanted = request.wanted(web)?;
    let written = write((web, visit), vec![wanted]).await?;
    let written = written.map_err(|(_, refused)| refusal(&refused))?;
    let Some(written) = written.into_iter().next() else {
        return Err(Refusal::from_store(&DbError::Damaged { what: "resource" }));
    };
    tracing::info!(event = "ResourceWritten", kind, outcome = ?written.put);
    Ok(respond(&base(web, headers), &written, told))
}

fn status(written: &Written) -> StatusCode {
    match written.put {
        Put::Created => StatusCode::CREATED,
        Put::Updated | Put::Unchanged => StatusCode::OK,
    }
}

fn respond(base: &str, written: &Written, told: Told) -> Response {
    let found = &written.versioned;
    let mut response = versioned(status(written), found);
    match told {
        Told::Resource => {}
        Told::Nothing => *response.body_mut() = axum::body::Body::empty(),
        Told::Outcome => *response.body_mut() = outcome(written).to_string().into(),
    }
    let location = format!(
        "{base}/{}/{}/_history/{}",
        written.kind, written.id, found.version
    );
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn outcome(written: &Written) -> Value {
    let done = match written.put {
        Put::Created => "created",
        Put::Updated => "updated",
        Put::Unchanged => "there already, unchanged",
    };
    operation_outcome(&[Issue {
        severity: Severity::Information,
        code: "informational",
        diagnostics: format!("{}/{}: {done}", written.kind, written.id),
        expression: None,
    }])
}

fn refusal(refused: &WriteRefused) -> Refusal {
    let why = refused.to_string();
    match refused {
        WriteRefused::Version => Refusal::new(StatusCode::PRECONDITION_FAILED, "conflict", why),
        WriteRefused::SeveralMatch => {
            Refusal::new(StatusCode::PRECONDITION_FAILED, "multiple-matches", why)
        }
        WriteRefused::Merged { .. } => Refusal::new(StatusCode::CONFLICT, "conflict", why),
        WriteRefused::Links => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "business-rule", why).at("Patient.link")
        }
        WriteRefused::Twice { .. } => Refusal::invalid("invariant", why),
        WriteRefused::Unseen { .. } => Refusal::not_found(why),
        WriteRefused::OutOfScope => Refusal::new(StatusCode::FORBIDDEN, "forbidden", why),
        WriteRefused::Unresolved { .. } => Refusal::invalid("not-found", why),
    }
}

/// A resource that somebody wants to write, before it is checked.
struct Request {
    kind: &'static str,
    asked: Option<String>,
    resource: Value,
    full_url: Option<String>,
    unless: Option<String>,
    if_match: Option<String>,
}

impl Request {
    fn wanted(self, web: &Web) -> Result<Wanted, Refusal> {
        let is_new = self.asked.is_none();
        let id = self
            .asked
            .clone()
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let resource = body::checked(self.resource, self.kind, self.asked.as_deref(), &id)?;
        let unless = match self.unless {
            Some(_) if !is_new => {
                let why = "a condition of creation has no place in an update";
                return Err(Refusal::invalid("invalid", why).at("If-None-Exist"));
            }
            Some(query) => Some(condition(web, self.kind, &query)?),
            None => None,
        };
        Ok(Wanted {
            kind: self.kind,
            id,
            is_named: !is_new,
            resource,
            full_url: self.full_url,
            unless,
            if_match: self.if_match.filter(|_| !is_new),
        })
    }
}

/// The search of a conditional create; it must say something.
fn condition(web: &Web, kind: &'static str, query: &str) -> Result<record::Query, Refusal> {
    let query = query.split_once('?').map_or(query, |(_, query)| query);
    let mut parsed = search::parsed(web, kind, query)?;
    if parsed.clauses.is_empty() {
        let why = "the condition names nothing to look for";
        return Err(Refusal::invalid("required", why).at("If-None-Exist"));
    }
    parsed.count = 2;
    parsed.total = false;
    parsed.count_only = false;
    parsed.includes.clear();
    Ok(parsed)
}

/// Writes all or none; patients that changed have what is filed of them brought up to date.
async fn write(
    (web, visit): (&Web, &Visit),
    wanted: Vec<Wanted>,
) -> Result<Result<Vec<Written>, (usize, WriteRefused)>, Refusal> {
    let (now, scope) = (web.clock.read().utc, visit.scope());
    let of_patients = wanted.iter().filter(|one| one.kind == "Patient");
    let patients: Vec<String> = of_patients.map(|one| one.id.clone()).collect();
    let boxes = web
        .readers
        .read_async(move |c| {
            let mut boxes = std::collections::BTreeSet::new();
            for patient in &patients {
                boxes.extend(filing::boxes_of(c, patient)?);
            }
            Ok(boxes.into_iter().collect::<Vec<_>>())
        })
        .await?;
    let lore = web.inbox.lore_async(boxes.clone()).await?;
    let written = web.writer.write(move |tx| {
        let written = record::write(tx, wanted, &scope, now)?;
        let changed = written
            .iter()
            .flatten()
            .filter(|one| one.put != Put::Unchanged);
        let mut patients = changed.filter(|one| one.kind == "Patient").peekable();
        if patients.peek().is_some() {
            let lore = lore_within(tx, &boxes, lore)?;
            for patient in patients {
                filing::refresh_subject(tx, &patient.id, &lore, now)?;
            }
        }
        Ok(written)
    });
    let written = written.await?;
    for one in written.iter().flatten() {
        visit.touches(one.kind, Some(&one.id));
        visit.sees(&one.versioned.resource);
    }
    Ok(written)
}

/// `POST /fhir`: a transaction or a batch.
pub(super) async fn bundle(
    State(web): State<Web>,
    visit: Visit,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_accept(&headers)?;
    check_content_type(&headers, &["application/fhir+json", "application/json"])?;
    let told = Told::of(&headers, Told::Nothing)?;
    let mut bundle = body::parsed(&body.map_err(too_large)?)?;
    if bundle.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        let why = "a Bundle of the type transaction or batch is expected here";
        return Err(Refusal::invalid("invalid", why).at("resourceType"));
    }
    let is_transaction = match bundle.get("type").and_then(Value::as_str) {
        Some("transaction") => true,
        Some("batch") => false,
        _ => {
            let why = "transaction or batch";
            return Err(Refusal::invalid("value", why).at("Bundle.type"));
        }
    };
    let entries = match bundle.get_mut("entry").map(Value::take) {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(Refusal::invalid("structure", "a list").at("Bundle.entry")),
    };
    if entries.len() > ENTRIES_MAX {
        let why = format!("more than {ENTRIES_MAX} entries in one bundle");
        return Err(
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-costly", why).at("Bundle.entry"),
        );
    }
    let base = base(&web, &headers);
    let (kind, entries) = match is_transaction {
        true => (
            "transaction-response",
            transaction((&web, &visit), &base, entries, told).await?,
        ),
        false => (
            "batch-response",
            batch((&web, &visit), &base, entries, told).await,
        ),
    };
    let mut response = json!({"resourceType": "Bundle", "type": kind});
    if let (false, Some(map)) = (entries.is_empty(), response.as_object_mut()) {
        map.insert("entry".to_owned(), Value::Array(entries));
    }
    Ok(answer(StatusCode::OK, &response))
}

async fn transaction(
    (web, visit): (&Web, &Visit),
    base: &str,
    entries: Vec<Value>,
    told: Told,
) -> Result<Vec<Value>, Refusal> {
    let place = |at: usize, refusal: Refusal| refusal.within(&format!("Bundle.entry[{at}]"));
    let mut wanted = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        let one = match asked(entry) {
            Ok(Asked::Write(request)) => visit
                .check(Needs::ToWrite, request.kind)
                .and_then(|()| request.wanted(web)),
            Ok(Asked::Read(_)) => Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not-supported",
                "a transaction only writes; read in a batch",
            )),
            Err(refusal) => Err(refusal),
        };
        wanted.push(one.map_err(|refusal| place(at, refusal))?);
    }
    let written = write((web, visit), wanted).await?;
    let written = written.map_err(|(at, refused)| place(at, refusal(&refused)))?;
    tracing::info!(event = "TransactionWritten", resources = written.len());
    Ok(written.iter().map(|one| done(base, one, told)).collect())
}

async fn batch(
    (web, visit): (&Web, &Visit),
    base: &str,
    entries: Vec<Value>,
    told: Told,
) -> Vec<Value> {
    let mut answers = Vec::with_capacity(entries.len());
    for entry in entries {
        let one = match asked(entry) {
            Ok(Asked::Write(request)) => write_alone((web, visit), base, request, told).await,
            Ok(Asked::Read(address)) => read_alone((web, visit), base, &address).await,
            Err(refusal) => Err(refusal),
        };
        answers.push(one.unwrap_or_else(|refusal| {
            let status = refusal.status().as_u16().to_string();
            json!({"response": {"status": status, "outcome": refusal.outcome()}})
        }));
    }
    answers
}

async fn write_alone(
    (web, visit): (&Web, &Visit),
    base: &str,
    request: Request,
    told: Told,
) -> Result<Value, Refusal> {
    visit.check(Needs::ToWrite, request.kind)?;
    let written = write((web, visit), vec![request.wanted(web)?]).await?;
    let written = written.map_err(|(_, refused)| refusal(&refused))?;
    let one = written
        .first()
        .ok_or(DbError::Damaged { what: "resource" })?;
    Ok(done(base, one, told))
}

async fn read_alone(
    (web, visit): (&Web, &Visit),
    base: &str,
    address: &str,
) -> Result<Value, Refusal> {
    let (path, query) = match address.split_once('?') {
        Some((path, query)) => (path, query),
        None => (address, ""),
    };
    if let Some((name, id)) = path.split_once('/') {
        visit.check(Needs::ToRead, name)?;
        if name == audit::KIND {
            let event = audit::event((web, visit), id).await?;
            let full_url = format!("{base}/{path}");
            return Ok(
                json!({"fullUrl": full_url, "resource": event, "response": {"status": "200"}}),
            );
        }
        let found = find(web, visit, kind(name)?, id.to_owned()).await?;
        let response = response(StatusCode::OK, found.version, found.updated);
        return Ok(
            json!({"fullUrl": format!("{base}/{path}"), "resource": found.resource, "response": response}),
        );
    }
    visit.check(Needs::ToRead, path)?;
    let bundle = match path {
        audit::KIND => audit::bundle((web, visit), query, base).await?,
        _ => search::bundle((web, visit), kind(path)?, query, base).await?,
    };
    Ok(json!({"resource": bundle, "response": {"status": "200"}}))
}

fn response(status: StatusCode, version: u64, updated: UtcMicros) -> Map<String, Value> {
    let mut response = Map::new();
    response.insert("status".to_owned(), json!(status.as_u16().to_string()));
    response.insert("etag".to_owned(), json!(format!("W/\"{version}\"")));
    response.insert("lastModified".to_owned(), json!(instant(updated)));
    response
}

/// The entry of a response that says what became of one resource.
fn done(base: &str, one: &Written, told: Told) -> Value {
    let found = &one.versioned;
    let mut response = response(status(one), found.version, found.updated);
    let location = format!("{}/{}/_history/{}", one.kind, one.id, found.version);
    response.insert("location".to_owned(), json!(location));
    let mut entry = json!({"fullUrl": format!("{base}/{}/{}", one.kind, one.id)});
    if let Some(map) = entry.as_object_mut() {
        match told {
            Told::Nothing => {}
            Told::Resource => {
                map.insert("resource".to_owned(), found.resource.clone());
            }
            Told::Outcome => {
                response.insert("outcome".to_owned(), outcome(one));
            }
        }
        map.insert("response".to_owned(), Value::Object(response));
    }
    entry
}

/// What one entry of a bundle asks.
enum Asked {
    Write(Request),
    /// The address below the base.
    Read(String),
}

fn asked(mut entry: Value) -> Result<Asked, Refusal> {
    let request = entry.get("request").cloned().unwrap_or_default();
    let text = |name: &str| match request.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::invalid("structure", "a text").at(format!("request.{name}"))),
    };
    let required = |name: &str| {
        let missing = || Refusal::invalid("required", "is required").at(format!("request.{name}"));
        text(name)?.ok_or_else(missing)
    };
    let (method, url) = (required("method")?, required("url")?);
    let full_url = match entry.get("fullUrl") {
        None => None,
        Some(Value::String(url)) => Some(url.clone()),
        Some(_) => return Err(Refusal::invalid("structure", "a text").at("fullUrl")),
    };
    let (name, id) = match url.split_once('/') {
        Some((name, id)) => (name, Some(id.to_owned())),
        None => (url.as_str(), None),
    };
    let known = match (method.as_str(), &id) {
        ("GET", _) => return Ok(Asked::Read(url)),
        ("POST", None) | ("PUT", Some(_)) => written_kind(name)?,
        ("POST" | "PUT", _) => {
            let why = "POST to Type, PUT to Type/id";
            return Err(Refusal::invalid("value", why).at("request.url"));
        }
        _ => {
            let why = format!("{} is not done here: GET, POST or PUT", shortened(&method));
            return Err(
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", why)
                    .at("request.method"),
            );
        }
    };
    let Some(resource) = entry.get_mut("resource").map(Value::take) else {
        return Err(Refusal::invalid("required", "is required").at("resource"));
    };
    Ok(Asked::Write(Request {
        kind: known,
        asked: id,
        resource,
        full_url,
        unless: text("ifNoneExist")?,
        if_match: text("ifMatch")?,
    }))
}
