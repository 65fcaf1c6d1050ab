//! Searches of one type.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use cardio_fhir::rest::{Found, Searchset, only_elements, searchset_bundle};
use serde_json::Value;

use super::fhir::{Answer, base, check_accept, check_content_type, kind, shortened, too_large};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use super::{Web, pairs};
use crate::record::{self, Query, QueryError, Versioned};

pub(super) async fn by_address(
    State(web): State<Web>,
    visit: Visit,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run((&web, &visit), &name, query.unwrap_or_default(), &headers).await
}

pub(super) async fn binaries(
    State(web): State<Web>,
    visit: Visit,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run(
        (&web, &visit),
        "Binary",
        query.unwrap_or_default(),
        &headers,
    )
    .await
}

pub(super) async fn by_form(
    State(web): State<Web>,
    visit: Visit,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_content_type(&headers, &["application/x-www-form-urlencoded"])?;
    let body = body.map_err(too_large)?;
    let form = String::from_utf8(body.to_vec())
        .map_err(|_| Refusal::invalid("invalid", "the form is not UTF-8"))?;
    let both = [query.unwrap_or_default(), form];
    let parts: Vec<&str> = both
        .iter()
        .map(String::as_str)
        .filter(|q| !q.is_empty())
        .collect();
    run((&web, &visit), &name, parts.join("&"), &headers).await
}

async fn run(
    (web, visit): (&Web, &Visit),
    name: &str,
    query: String,
    headers: &HeaderMap,
) -> Answer {
    check_accept(headers)?;
    let kind = kind(name)?;
    let bundle = bundle((web, visit), kind, &query, &base(web, headers)).await?;
    Ok(answer(StatusCode::OK, &bundle))
}

/// A search as its query string says it.
pub(super) fn parsed(web: &Web, kind: &'static str, query: &str) -> Result<Query, Refusal> {
    let pairs = pairs::read(query)?;
    record::parse(kind, &pairs, web.config.page, web.config.page_max)
        .map_err(|error| refusal(&error))
}

fn refusal(error: &QueryError) -> Refusal {
    let refusal = Refusal::invalid("invalid", error.to_string());
    match error.param() {
        Some(param) => refusal.at(shortened(param)),
        None => refusal,
    }
}

/// The answer to a search.
pub(super) async fn bundle(
    (web, visit): (&Web, &Visit),
    kind: &'static str,
    query: &str,
    base: &str,
) -> Result<Value, Refusal> {
    let query = parsed(web, kind, query)?;
    visit.touches(kind, None);
    visit.asks(&query.understood);
    let (understood, elements) = (query.understood.clone(), query.elements.clone());
    let scope = visit.scope();
    let page = web
        .readers
        .read_async(move |c| record::search(c, &query, &scope))
        .await?;
    if page.along.too_many {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "too-costly",
            "more comes along with this page than one answer holds; ask for a smaller _count",
        ));
    }
    let resources = page.found.iter().chain(&page.along.resources);
    resources.for_each(|one| visit.sees(&one.resource));
    let path = format!("{base}/{kind}");
    let next_url = page.next.map(|mark| {
        let mut pairs = understood.clone();
        pairs.push(("_after".to_owned(), mark));
        pairs::address(&path, &pairs)
    });
    let found = page.found.into_iter().map(|one| match &elements {
        Some(elements) => Versioned {
            resource: only_elements(one.resource, elements),
            ..one
        },
        None => one,
    });
    let found = found.map(|one| entry(base, one, false));
    let along = page.along.resources.into_iter();
    Ok(searchset_bundle(Searchset {
        self_url: pairs::address(&path, &understood),
        next_url,
        total: page.total,
        found: found
            .chain(along.map(|one| entry(base, one, true)))
            .collect(),
    }))
}

/// A resource as an entry of an answer.
pub(super) fn entry(base: &str, one: Versioned, included: bool) -> Found {
    let text = |name: &str| {
        one.resource
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    Found {
        full_url: format!("{base}/{}/{}", text("resourceType"), text("id")),
        resource: one.resource,
        included,
    }
}
