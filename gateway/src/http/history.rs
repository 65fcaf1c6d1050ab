//! What changed: of one resource, of one type, or of everything.
//!
//! `_sort=_lastUpdated` tells the oldest first, as a follower reads. The last page then has a
//! link `monitor` instead of `next`: who reads its address again later is told everything that
//! was committed since, whatever gateway wrote it and whatever the clocks said.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use cardio_fhir::rest::{HistoryPage, Written, history_bundle};

use super::fhir::{Answer, base, check_accept, kind, shortened};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use super::{Web, paging, pairs};
use crate::record::{self, ChangesQuery};

pub(super) async fn of_all(
    State(web): State<Web>,
    visit: Visit,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run((&web, &visit), (None, None), query, &headers).await
}

pub(super) async fn of_kind(
    State(web): State<Web>,
    visit: Visit,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run((&web, &visit), (Some(kind(&name)?), None), query, &headers).await
}

pub(super) async fn of_one(
    State(web): State<Web>,
    visit: Visit,
    Path((name, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    run(
        (&web, &visit),
        (Some(kind(&name)?), Some(id)),
        query,
        &headers,
    )
    .await
}

async fn run(
    (web, visit): (&Web, &Visit),
    (kind, id): (Option<&'static str>, Option<String>),
    query: Option<String>,
    headers: &HeaderMap,
) -> Answer {
    check_accept(headers)?;
    let given = pairs::read(&query.unwrap_or_default())?;
    let mut query = ChangesQuery {
        kind,
        id,
        since: None,
        after: None,
        oldest_first: false,
        count: web.config.page.min(web.config.page_max),
    };
    for (name, value) in &given {
        parameter(&mut query, name, value, web.config.page_max)?;
    }
    let (asked, scope) = (query.clone(), visit.scope());
    let (told, exists) = web
        .readers
        .read_async(move |c| {
            let told = record::changes(c, &asked, &scope)?;
            let exists = match (&asked.kind, &asked.id) {
                (Some(kind), Some(id)) if told.page.is_empty() => {
                    record::read_for(c, &scope, kind, id)?.is_some()
                }
                _ => true,
            };
            Ok((told, exists))
        })
        .await?;
    if !exists {
        return Err(Refusal::not_found("there is no such resource"));
    }
    let base = base(web, headers);
    let path = [kind, query.id.as_deref(), Some("_history")];
    let path = path
        .into_iter()
        .flatten()
        .fold(base.clone(), |path, part| format!("{path}/{part}"));
    // A mark says where to go on; what was skipped before it stays skipped.
    let stays = |name: &str| name != "_after" && name != "_since";
    let mut onward: Vec<(String, String)> = given
        .iter()
        .filter(|(name, _)| stays(name))
        .cloned()
        .collect();
    onward.push(("_after".to_owned(), told.reached.to_string()));
    if let (false, Some((_, since))) = (
        query.oldest_first,
        given.iter().find(|(n, _)| n == "_since"),
    ) {
        onward.push(("_since".to_owned(), since.clone()));
    }
    let onward = pairs::address(&path, &onward);
    told.page
        .iter()
        .for_each(|change| visit.sees(&change.versioned.resource));
    let written = told.page.into_iter().map(|change| Written {
        full_url: format!("{base}/{}/{}", change.kind, change.id),
        address: format!("{}/{}", change.kind, change.id),
        version: change.versioned.version,
        updated: change.versioned.updated,
        resource: change.versioned.resource,
    });
    let bundle = history_bundle(HistoryPage {
        self_url: pairs::address(&path, &given),
        next_url: told.more.then(|| onward.clone()),
        monitor_url: (!told.more && query.oldest_first).then_some(onward),
        total: told.total,
        written: written.collect(),
    });
    Ok(answer(StatusCode::OK, &bundle))
}

fn parameter(
    query: &mut ChangesQuery,
    name: &str,
    value: &str,
    page_max: u32,
) -> Result<(), Refusal> {
    let (count, since) = (&mut query.count, &mut query.since);
    if paging::take(count, since, (name, value), page_max)? {
        return Ok(());
    }
    let bad = |expected: &str| paging::bad(name, expected);
    match name {
        "_after" => match value.parse() {
            Ok(after) => query.after = Some(after),
            Err(_) => return bad("a mark that this server gave in a link"),
        },
        "_sort" => match value {
            "_lastUpdated" => query.oldest_first = true,
            "-_lastUpdated" => query.oldest_first = false,
            _ => return bad("_lastUpdated for oldest first, or -_lastUpdated"),
        },
        _ => {
            let why = format!("a history has no parameter `{}`", shortened(name));
            return Err(Refusal::invalid("invalid", why).at(shortened(name)));
        }
    }
    Ok(())
}
