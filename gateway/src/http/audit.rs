//! `AuditEvent`: who did what, for whoever looks after it.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use cardio_fhir::rest::{Found, Searchset, only_elements, searchset_bundle};
use cardio_fhir::shape::is_id;
use serde_json::Value;

use super::fhir::{Answer, base, check_accept, shortened};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use super::{Web, pairs, search};

pub(super) const KIND: &str = "AuditEvent";

pub(super) async fn read(
    State(web): State<Web>,
    visit: Visit,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    Ok(answer(StatusCode::OK, &event((&web, &visit), &id).await?))
}

/// One event.
pub(super) async fn event((web, visit): (&Web, &Visit), id: &str) -> Result<Value, Refusal> {
    visit.touches(KIND, Some(id).filter(|id| is_id(id)));
    let event = web.access.event(id).await?;
    event.ok_or_else(|| Refusal::not_found(format!("there is no {KIND}/{}", shortened(id))))
}

pub(super) async fn find(
    State(web): State<Web>,
    visit: Visit,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    let (query, base) = (query.unwrap_or_default(), base(&web, &headers));
    let found = bundle((&web, &visit), &query, &base).await?;
    Ok(answer(StatusCode::OK, &found))
}

/// The answer to a search.
pub(super) async fn bundle(
    (web, visit): (&Web, &Visit),
    query: &str,
    base: &str,
) -> Result<Value, Refusal> {
    let query = search::parsed(web, KIND, query)?;
    visit.touches(KIND, None);
    visit.asks(&query.understood);
    let (understood, elements) = (query.understood.clone(), query.elements.clone());
    let found = web.access.events(query).await?.map_err(|refused| {
        let why = format!("events cannot be searched by `{}`", refused.0);
        Refusal::invalid("not-supported", why).at(refused.0)
    })?;
    let path = format!("{base}/{KIND}");
    let next_url = found.next.map(|mark| {
        let mut onward = understood.clone();
        onward.push(("_after".to_owned(), mark));
        pairs::address(&path, &onward)
    });
    let entry = |event: Value| {
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let full_url = format!("{path}/{id}");
        let resource = match &elements {
            Some(elements) => only_elements(event, elements),
            None => event,
        };
        Found {
            full_url,
            resource,
            included: false,
        }
    };
    Ok(searchset_bundle(Searchset {
        self_url: pairs::address(&path, &understood),
        next_url,
        total: found.total,
        found: found.events.into_iter().map(entry).collect(),
    }))
}
