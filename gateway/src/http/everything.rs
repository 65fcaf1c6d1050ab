//! `GET /Patient/{id}/$everything`: all that is filed of a patient, page after page.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use cardio_fhir::rest::{Searchset, searchset_bundle};
use serde_json::Value;

use super::fhir::{Answer, base, check_accept, kind, shortened};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use super::{Web, paging, pairs, search};
use crate::record::{self, EverythingQuery};

pub(super) async fn of_patient(
    State(web): State<Web>,
    visit: Visit,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    let given = pairs::read(&query.unwrap_or_default())?;
    let mut query = EverythingQuery {
        patient: id,
        kinds: Vec::new(),
        since: None,
        after: None,
        count: web.config.page.min(web.config.page_max),
    };
    for (name, value) in &given {
        parameter(&mut query, name, value, web.config.page_max)?;
    }
    let (asked, scope) = (query.clone(), visit.scope());
    let found = web
        .readers
        .read_async(
            move |c| match record::read_for(c, &scope, "Patient", &asked.patient)? {
                Some(_) => record::everything(c, &asked, &scope).map(Some),
                None => Ok(None),
            },
        )
        .await?;
    let Some((page, more)) = found else {
        return Err(Refusal::not_found("there is no such patient"));
    };
    page.iter().for_each(|one| visit.sees(&one.resource));
    let base = base(&web, &headers);
    let path = format!("{base}/Patient/{}/$everything", query.patient);
    let found: Vec<_> = page
        .into_iter()
        .map(|one| search::entry(&base, one, false))
        .collect();
    let next_url = found.last().filter(|_| more).map(|last| {
        let text = |name: &str| {
            last.resource
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let mark = format!("{}/{}", text("resourceType"), text("id"));
        let mut onward = given.clone();
        onward.retain(|(name, _)| name != "_after");
        onward.push(("_after".to_owned(), mark));
        pairs::address(&path, &onward)
    });
    let bundle = searchset_bundle(Searchset {
        self_url: pairs::address(&path, &given),
        next_url,
        total: None,
        found,
    });
    Ok(answer(StatusCode::OK, &bundle))
}

fn parameter(
    query: &mut EverythingQuery,
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
        "_type" => {
            let kinds: Result<Vec<_>, Refusal> = value.split(',').map(kind).collect();
            query.kinds = kinds.map_err(|refusal| refusal.at("_type"))?;
            if query.kinds.len() > record::KINDS.len() {
                return bad("each type once");
            }
        }
        "_after" => match value.split_once('/') {
            Some((kind, id)) => query.after = Some((kind.to_owned(), id.to_owned())),
            None => return bad("a mark that this server gave in a link"),
        },
        _ => {
            let why = format!("$everything has no parameter `{}` here", shortened(name));
            return Err(Refusal::invalid("invalid", why).at(shortened(name)));
        }
    }
    Ok(())
}
