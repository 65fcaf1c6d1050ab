//! The RESTful interactions: read, vread, history, search, and writing of patients.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardio_fhir::rest::{
    CapabilityFacts, Found, Searchset, Served, capability_statement, searchset_bundle,
};
use serde_json::{Value, json};

use super::respond::{FHIR_JSON, Refusal, json as answer, versioned};
use super::{Web, patient};
use crate::filing;
use crate::inbox::lore_within;
use crate::record::{self, Put, Versioned};

/// Longest search address.
const QUERY_MAX_BYTES: usize = 8 * 1024;
/// Largest document that is given as base64 within JSON.
const INLINE_MAX_BYTES: usize = 64 * 1024 * 1024;

pub(super) type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/metadata", get(metadata))
        .route("/Binary", get(search_binaries).post(super::upload::create))
        .route("/{kind}", get(search).post(create))
        .route("/{kind}/_search", axum::routing::post(search_by_form))
        .route("/{kind}/{id}", get(read).put(update))
        .route("/{kind}/{id}/_history", get(history))
        .route("/{kind}/{id}/_history/{version}", get(vread))
        .fallback(|| async { Refusal::not_found("no such address in this FHIR interface") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not-supported",
                "this server does not do that; see metadata",
            )
        })
}

fn kind(name: &str) -> Result<&'static str, Refusal> {
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

fn shortened(text: &str) -> String {
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

fn check_content_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Refusal> {
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
        .map(|kind| Served {
            kind,
            interactions: match kind {
                "Patient" => &[
                    "read",
                    "vread",
                    "history-instance",
                    "search-type",
                    "create",
                    "update",
                ],
                "Binary" => &["read", "create"],
                _ => &["read", "vread", "history-instance", "search-type"],
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
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let kind = kind(&name)?;
    if kind == "Binary" {
        return read_binary(&web, id, &headers).await;
    }
    check_accept(&headers)?;
    let found = find(&web, kind, id).await?;
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

async fn find(web: &Web, kind: &'static str, id: String) -> Result<Versioned, Refusal> {
    let wanted = id.clone();
    web.readers
        .read_async(move |c| record::read(c, kind, &wanted))
        .await?
        .ok_or_else(|| Refusal::not_found(format!("there is no {kind}/{}", shortened(&id))))
}

/// A Binary as its own bytes when the reader asks for its type, else as a resource.
async fn read_binary(web: &Web, id: String, headers: &HeaderMap) -> Answer {
    let mut found = find(web, "Binary", id.clone()).await?;
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
    Path((name, id, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    let kind = kind(&name)?;
    let number: u64 = version
        .parse()
        .map_err(|_| Refusal::not_found("a version is a whole number"))?;
    let found = web
        .readers
        .read_async(move |c| record::read_version(c, kind, &id, number))
        .await?
        .ok_or_else(|| Refusal::not_found("there is no such version"))?;
    Ok(versioned(StatusCode::OK, &found))
}

async fn history(
    State(web): State<Web>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    let kind = kind(&name)?;
    let address = format!("{}/{kind}/{id}", base(&web, &headers));
    let versions = web
        .readers
        .read_async(move |c| record::history(c, kind, &id))
        .await?;
    if versions.is_empty() {
        return Err(Refusal::not_found("there is no such resource"));
    }
    let entries: Vec<Value> = versions
        .iter()
        .map(|one| {
            let method = if one.version == 1 { "POST" } else { "PUT" };
            json!({
                "fullUrl": address,
                "resource": one.resource,
                "request": {"method": method, "url": address},
                "response": {"status": "200", "etag": format!("W/\"{}\"", one.version)},
            })
        })
        .collect();
    let bundle = json!({
        "resourceType": "Bundle",
        "type": "history",
        "total": entries.len(),
        "entry": entries,
    });
    Ok(answer(StatusCode::OK, &bundle))
}

async fn search(
    State(web): State<Web>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run_search(&web, &name, query.unwrap_or_default(), &headers).await
}

async fn search_binaries(
    State(web): State<Web>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run_search(&web, "Binary", query.unwrap_or_default(), &headers).await
}

async fn search_by_form(
    State(web): State<Web>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_content_type(&headers, &["application/x-www-form-urlencoded"])?;
    let body = body.map_err(too_large)?;
    let form = String::from_utf8(body.to_vec())
        .map_err(|_| Refusal::invalid("invalid", "the form is not UTF-8"))?;
    run_search(&web, &name, form, &headers).await
}

async fn run_search(web: &Web, name: &str, query: String, headers: &HeaderMap) -> Answer {
    check_accept(headers)?;
    let kind = kind(name)?;
    if query.len() > QUERY_MAX_BYTES {
        return Err(Refusal::new(
            StatusCode::URI_TOO_LONG,
            "too-long",
            format!("a search is at most {QUERY_MAX_BYTES} bytes long"),
        ));
    }
    let pairs = parsed_pairs(&query)?;
    let query =
        record::parse(kind, &pairs, web.config.page, web.config.page_max).map_err(|error| {
            let refusal = Refusal::invalid("invalid", error.to_string());
            match error.param() {
                Some(param) => refusal.at(shortened(param)),
                None => refusal,
            }
        })?;
    let understood = query.understood.clone();
    let page = web
        .readers
        .read_async(move |c| record::search(c, &query))
        .await?;
    let base = base(web, headers);
    let own = format!("{base}/{kind}?{}", written_pairs(&understood));
    let next_url = page.next.map(|mark| {
        let mut pairs = understood;
        pairs.push(("_after".to_owned(), mark));
        format!("{base}/{kind}?{}", written_pairs(&pairs))
    });
    let found = page
        .found
        .into_iter()
        .map(|one| Found {
            full_url: format!(
                "{base}/{kind}/{}",
                one.resource
                    .get("id")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            ),
            resource: one.resource,
            included: false,
        })
        .collect();
    let bundle = searchset_bundle(Searchset {
        self_url: own,
        next_url,
        total: page.total,
        found,
    });
    Ok(answer(StatusCode::OK, &bundle))
}

fn parsed_pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let uri: axum::http::Uri = format!("/?{query}")
        .parse()
        .map_err(|_| Refusal::invalid("invalid", "the search is not a query string"))?;
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map(|query| query.0)
        .map_err(|_| Refusal::invalid("invalid", "the search is not a query string"))
}

fn written_pairs(pairs: &[(String, String)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&crate::keys::hex(&[byte]).to_ascii_uppercase());
        }
        out
    })
}

fn too_large(rejection: BytesRejection) -> Refusal {
    Refusal::new(
        rejection.status(),
        "too-long",
        "the body is too large or was cut off",
    )
}

async fn create(
    State(web): State<Web>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let id = uuid::Uuid::new_v4().to_string();
    write_patient(&web, &name, None, id, &headers, body).await
}

async fn update(
    State(web): State<Web>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    write_patient(&web, &name, Some(id.clone()), id, &headers, body).await
}

/// Writes a patient. Everything else in the record comes from boxes.
async fn write_patient(
    web: &Web,
    name: &str,
    asked: Option<String>,
    id: String,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let kind = kind(name)?;
    if kind != "Patient" {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "not-supported",
            format!("{kind} comes from the boxes; only Patient and Binary can be written"),
        ));
    }
    check_accept(headers)?;
    check_content_type(headers, &["application/fhir+json", "application/json"])?;
    let body = body.map_err(too_large)?;
    let resource = patient::checked(&body, asked.as_deref(), &id)?;
    let if_match = headers
        .get(IF_MATCH)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let now = web.clock.read().utc;
    let wanted = id.clone();
    let boxes = web
        .readers
        .read_async(move |c| filing::boxes_of(c, &wanted))
        .await?;
    let lore = web.inbox.lore_async(boxes.clone()).await?;
    let wanted = id.clone();
    let written = web
        .writer
        .write(move |tx| {
            let before = record::read(tx, "Patient", &wanted)?;
            let current = before.map(|found| format!("W/\"{}\"", found.version));
            if if_match.is_some() && if_match != current {
                return Ok(None);
            }
            let put = record::put(tx, &resource, now)?;
            if put != Put::Unchanged {
                let lore = lore_within(tx, &boxes, lore)?;
                filing::refresh_subject(tx, &wanted, &lore, now)?;
            }
            Ok(record::read(tx, "Patient", &wanted)?.map(|found| (put, found)))
        })
        .await?;
    let Some((put, found)) = written else {
        return Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "conflict",
            "the patient has another version by now",
        ));
    };
    tracing::info!(event = "PatientWritten", outcome = ?put);
    let status = if put == Put::Created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = versioned(status, &found);
    let location = format!(
        "{}/Patient/{id}/_history/{}",
        base(web, headers),
        found.version
    );
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
    Ok(response)
}
