//! The addresses of the FHIR interface, what it says of itself, and reading of one resource.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::MethodFilter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardio_fhir::audit::Deed;
use cardio_fhir::rest::{CapabilityFacts, Served, capability_statement};
use cardio_fhir::shape::WRITTEN;
use serde_json::json;

use super::doors::Doors;
use super::respond::{Refusal, json as answer, versioned};
use super::visit::{Needs, Visit};
use super::{Web, alert, audit, everything, history, merge, report, search, write};
use crate::access::Permission;
use crate::record::{self, Versioned};

/// Largest document that is given as base64 within JSON.
const INLINE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// What can be done with every type but Binary.
const READ: [&str; 5] = [
    "read",
    "vread",
    "history-instance",
    "history-type",
    "search-type",
];
/// What can be done with types that others may write.
const READ_AND_WRITE: [&str; 7] = [
    "read",
    "vread",
    "history-instance",
    "history-type",
    "search-type",
    "create",
    "update",
];

pub(super) type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> Doors {
    use Permission::{
        Administer, Audit, ReadDirectory, ReadRecord, SignReports, TakeAlerts, WriteRecord,
    };
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    const PUT: MethodFilter = MethodFilter::PUT;
    const BASE: (Needs, Option<Deed>) = (Needs::EachEntry, Some(Deed::Bundle));
    let read_as = |deed| (Needs::ToRead, Some(deed));
    let write_as = |deed| (Needs::ToWrite, Some(deed));
    let may = |permission, deed| (Needs::This(permission), Some(deed));
    let known = (Needs::This(ReadDirectory), None);
    let of_patient = may(ReadRecord, Deed::Operation);
    let of_alert = may(TakeAlerts, Deed::Operation);
    Doors::new()
        .door(POST, "/", BASE, write::bundle)
        .door(GET, "/metadata", known, metadata)
        .door(
            GET,
            "/_history",
            may(ReadRecord, Deed::HistoryOfAll),
            history::of_all,
        )
        .door(GET, "/AuditEvent", may(Audit, Deed::Search), audit::find)
        .door(GET, "/AuditEvent/{id}", may(Audit, Deed::Read), audit::read)
        .door(
            GET,
            "/Binary",
            may(ReadRecord, Deed::Search),
            search::binaries,
        )
        .door(
            POST,
            "/Binary",
            may(WriteRecord, Deed::Create),
            super::upload::create,
        )
        .door(
            POST,
            "/Patient/$merge",
            may(Administer, Deed::Operation),
            merge::merge,
        )
        .door(
            GET,
            "/Patient/{id}/$everything",
            of_patient,
            everything::of_patient,
        )
        .door(POST, "/Task/{id}/$seen", of_alert, alert::seen)
        .door(
            POST,
            "/Task/{id}/$acknowledge",
            of_alert,
            alert::acknowledge,
        )
        .door(POST, "/Task/{id}/$close", of_alert, alert::close)
        .door(
            POST,
            "/DiagnosticReport/{id}/$sign",
            may(SignReports, Deed::Operation),
            report::sign,
        )
        .door(
            POST,
            "/DiagnosticReport/{id}/$mssante",
            may(SignReports, Deed::Operation),
            report::message,
        )
        .door(GET, "/{kind}", read_as(Deed::Search), search::by_address)
        .door(POST, "/{kind}", write_as(Deed::Create), write::create)
        .door(
            POST,
            "/{kind}/_search",
            read_as(Deed::Search),
            search::by_form,
        )
        .door(
            GET,
            "/{kind}/_history",
            read_as(Deed::HistoryOfKind),
            history::of_kind,
        )
        .door(GET, "/{kind}/{id}", read_as(Deed::Read), read)
        .door(PUT, "/{kind}/{id}", write_as(Deed::Update), write::update)
        .door(
            GET,
            "/{kind}/{id}/_history",
            read_as(Deed::HistoryOfOne),
            history::of_one,
        )
        .door(
            GET,
            "/{kind}/{id}/_history/{version}",
            read_as(Deed::ReadVersion),
            vread,
        )
}

/// What is said of addresses and methods that there are not.
pub(super) fn with_fallbacks(router: Router<Web>) -> Router<Web> {
    router
        .fallback(|| async { Refusal::not_found("no such address in this FHIR interface") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not-supported",
                "this server does not do that; see metadata",
            )
        })
}

/// The base with a slash at its end, where some clients send their bundles.
pub(super) fn root() -> Doors {
    Doors::new().door(
        MethodFilter::POST,
        "/fhir/",
        (Needs::EachEntry, Some(Deed::Bundle)),
        write::bundle,
    )
}

pub(super) fn kind(name: &str) -> Result<&'static str, Refusal> {
    record::kind(name).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "not-supported",
            format!(
                "this server keeps no resources of the type `{}`",
                shortened(name)
            ),
        )
    })
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Refuses readers that want no JSON.
pub(super) fn check_accept(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(accept) = headers.get(ACCEPT) else {
        return Ok(());
    };
    let wanted = accept.to_str().unwrap_or_default().to_ascii_lowercase();
    let known = [
        "*/*",
        "application/*",
        "application/json",
        "application/fhir+json",
    ];
    if wanted
        .split(',')
        .any(|part| known.contains(&part.split(';').next().unwrap_or_default().trim()))
    {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::NOT_ACCEPTABLE,
        "not-supported",
        "this server speaks application/fhir+json only",
    ))
}

pub(super) fn check_content_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Refusal> {
    let stated = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    if allowed
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
    {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not-supported",
        format!("the body must be {}", allowed.join(" or ")),
    ))
}

/// The base address as the reader calls it.
pub(super) fn base(web: &Web, headers: &HeaderMap) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let host = headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .filter(|host| host.len() <= 255 && host.chars().all(plain));
    format!("https://{}/fhir", host.unwrap_or(&web.authority))
}

async fn metadata(State(web): State<Web>, headers: HeaderMap) -> Answer {
    check_accept(&headers)?;
    let served: Vec<Served> = record::KINDS
        .into_iter()
        .chain(["AuditEvent"])
        .map(|kind| Served {
            kind,
            interactions: match kind {
                "Binary" => &["read", "create"],
                "AuditEvent" => &["read", "search-type"],
                _ if WRITTEN.contains(&kind) => &READ_AND_WRITE,
                _ => &READ,
            },
        })
        .collect();
    let statement = capability_statement(&CapabilityFacts {
        base_url: &base(&web, &headers),
        version: env!("CARGO_PKG_VERSION"),
        date: web.clock.read().utc,
        served: &served,
    });
    Ok(answer(StatusCode::OK, &statement))
}

async fn read(
    State(web): State<Web>,
    visit: Visit,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let kind = kind(&name)?;
    if kind == "Binary" {
        return read_binary(&web, &visit, id, &headers).await;
    }
    check_accept(&headers)?;
    let found = find(&web, &visit, kind, id).await?;
    let tag = format!("W/\"{}\"", found.version);
    if headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(tag.as_str()) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        return Ok(response);
    }
    Ok(versioned(StatusCode::OK, &found))
}

/// A resource that the visitor sees; one out of scope is not to be told apart from one that does
/// not exist.
pub(super) async fn find(
    web: &Web,
    visit: &Visit,
    kind: &'static str,
    id: String,
) -> Result<Versioned, Refusal> {
    let (wanted, scope) = (id.clone(), visit.scope());
    let found = web.readers.read_async(move |c| {
        let Some(found) = record::read_for(c, &scope, kind, &wanted)? else {
            return Ok(None);
        };
        Ok(Some((found, record::about(c, kind, &wanted)?)))
    });
    let Some((found, patients)) = found.await? else {
        let why = format!("there is no {kind}/{}", shortened(&id));
        return Err(Refusal::not_found(why));
    };
    visit.touches(kind, Some(&id));
    visit.sees_patients(patients);
    Ok(found)
}

/// A Binary as its own bytes when the reader asks for its type, else as a resource.
async fn read_binary(web: &Web, visit: &Visit, id: String, headers: &HeaderMap) -> Answer {
    let mut found = find(web, visit, "Binary", id.clone()).await?;
    let wanted = id.clone();
    let content = web
        .readers
        .read_async(move |c| record::binary_bytes(c, &wanted))
        .await?
        .ok_or_else(|| Refusal::not_found("the Binary has no bytes"))?;
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains(&content.media_type) || accept.contains("application/octet-stream") {
        let mut response = Response::new(Body::from(content.bytes));
        if let Ok(media_type) = HeaderValue::from_str(&content.media_type) {
            response.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        return Ok(response);
    }
    check_accept(headers)?;
    if content.bytes.len() > INLINE_MAX_BYTES {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "too-costly",
            format!(
                "the document is large; ask for it with `Accept: {}`",
                content.media_type
            ),
        ));
    }
    if let Some(resource) = found.resource.as_object_mut() {
        resource.insert("data".to_owned(), json!(STANDARD.encode(&content.bytes)));
    }
    Ok(versioned(StatusCode::OK, &found))
}

async fn vread(
    State(web): State<Web>,
    visit: Visit,
    Path((name, id, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    let kind = kind(&name)?;
    let number: u64 = version
        .parse()
        .map_err(|_| Refusal::not_found("a version is a whole number"))?;
    let scope = visit.scope();
    let found = web
        .readers
        .read_async(move |c| record::read_version(c, &scope, kind, &id, number))
        .await?
        .ok_or_else(|| Refusal::not_found("there is no such version"))?;
    visit.sees(&found.resource);
    Ok(versioned(StatusCode::OK, &found))
}

pub(super) fn too_large(rejection: BytesRejection) -> Refusal {
    Refusal::new(
        rejection.status(),
        "too-long",
        "the body is too large or was cut off",
    )
}
