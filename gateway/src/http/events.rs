//! `GET /events`: what changes, as it changes (server-sent events of HTML's living standard), for
//! screens and for other systems.
//!
//! * An event is the number of a change, whether it is part of an alert, and which version of
//!   which resource it is; what that says is read in the record. Events come in the order of
//!   the history, scoped like it, each once.
//! * Whoever comes back with `Last-Event-ID` is told everything since; the place is the number in
//!   the record, so it outlasts a restart, and holds at any gateway of several.
//! * Who asks is looked up again all the time, without their session going on for it: a stream
//!   ends when session or token does, and follows their teams.
//! * What a reader does not take within the time for one answer is not kept for it: the stream
//!   ends, and the reader resumes.
//! * Every patient that a stream tells of is written down in the trace before it does.

mod pipe;
mod places;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use cardio_fhir::audit::{Deed, Outcome};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::fhir::Answer;
use super::gate::{Presented, presented};
use super::respond::Refusal;
use super::visit::Visit;
use super::{Peer, Web, paging, pairs};
use crate::access::audit::{About, Event};
use crate::access::{Caller, Permission};
use crate::record::{self, Change, ChangesQuery};
use pipe::{Ended, Pipe};
pub(crate) use places::Places;

/// How often is looked for news.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Changes told at once.
const AT_ONCE: u32 = 100;
/// Patients of a stream that are known to be written down already.
const NOTED_MAX: usize = 4_096;
/// The types that alerts are made of.
const OF_ALERTS: [&str; 3] = ["Communication", "DetectedIssue", "Task"];

/// Begins a stream: behind `Last-Event-ID`, else behind `_after`, else with what is new.
pub(super) async fn follow(
    State(web): State<Web>,
    axum::Extension(Peer(address)): axum::Extension<Peer>,
    visit: Visit,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let newest = web.readers.read_async(record::newest).await?;
    let after = match after(&headers, &query.unwrap_or_default())? {
        Some(after) if after > newest => {
            return Err(Refusal::new(
                StatusCode::GONE,
                "not-found",
                "this record has no such mark: it was restored; read it anew",
            ));
        }
        Some(after) => after,
        None => newest,
    };
    let account = visit.caller().account.clone().unwrap_or_default();
    let Some(place) = web.streams.take(&account) else {
        let why = "as many streams are open as may be; close one";
        return Err(
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "throttled", why)
                .after(web.events.heartbeat.0),
        );
    };
    let presented = presented(&headers).ok_or_else(|| Refusal::unauthorised("log in again"))?;
    let (pipe, body) = pipe::pipe(web.config.timeout.0);
    let stream = Stream {
        web,
        presented,
        address,
        after,
        noted: BTreeSet::new(),
        pipe,
    };
    tokio::spawn(async move {
        let ended = stream.run().await;
        tracing::debug!(event = "StreamEnded", code = ended.code());
        drop(place);
    });
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where a stream goes on. What the reader remembers counts more than the address, which it asks
/// again as it was.
fn after(headers: &HeaderMap, query: &str) -> Result<Option<u64>, Refusal> {
    let bad = |name: &str| paging::bad(name, "a mark that this server gave");
    let mut after = None;
    for (name, value) in pairs::read(query)? {
        match (name.as_str(), value.parse()) {
            ("_after", Ok(mark)) => after = Some(mark),
            ("_after", Err(_)) => return bad("_after"),
            _ => return Err(Refusal::invalid("invalid", "the one parameter is _after")),
        }
    }
    match headers.get("Last-Event-ID") {
        None => Ok(after),
        Some(mark) => match mark.to_str().map(str::parse) {
            Ok(Ok(mark)) => Ok(Some(mark)),
            _ => bad("Last-Event-ID"),
        },
    }
}

/// One reader that follows.
struct Stream {
    web: Web,
    presented: Presented,
    address: IpAddr,
    /// The number of the last change that was told, or passed over.
    after: u64,
    /// Patients that the trace holds already for this stream.
    noted: BTreeSet<String>,
    pipe: Pipe,
}

impl Stream {
    async fn run(mut self) -> Ended {
        match self.tell().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn tell(&mut self) -> Result<std::convert::Infallible, Ended> {
        let heartbeat = self.web.events.heartbeat.0;
        let mut beats = tokio::time::interval(heartbeat);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.web.stopped.clone();
        self.pipe.say("retry: 2000\n\n".to_owned()).await?;
        loop {
            let is_to_look = tokio::select! {
                _ = looks.tick() => true,
                _ = beats.tick() => false,
                () = self.pipe.closed() => return Err(Ended::Gone),
                () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
                    return Err(Ended::Stopped);
                }
            };
            if is_to_look {
                let caller = self.caller().await?;
                while self.tell_page(&caller).await? {}
            } else {
                // The mark moves over what is out of scope too.
                let alive = format!(": alive\nid: {}\n\n", self.after);
                self.pipe.say(alive).await?;
            }
        }
    }

    /// Who it is by now.
    async fn caller(&self) -> Result<Caller, Ended> {
        let caller = self.presented.again(&self.web).await;
        let caller = caller.map_err(|_| Ended::Failed)?;
        let caller = caller.filter(|caller| caller.may(Permission::ReadRecord));
        caller.ok_or(Ended::Revoked)
    }

    /// Tells a page of changes; whether there are more.
    async fn tell_page(&mut self, caller: &Caller) -> Result<bool, Ended> {
        let (scope, mark) = (caller.scope.clone(), self.after);
        let reading = self.web.readers.read_async(move |c| {
            // Nothing is ever committed behind what is the newest now.
            let newest = record::newest(c)?;
            if newest == mark {
                return Ok(None);
            }
            let query = ChangesQuery {
                kind: None,
                id: None,
                since: None,
                after: Some(mark),
                oldest_first: true,
                count: AT_ONCE,
            };
            record::changes(c, &query, &scope).map(|told| Some((newest, told)))
        });
        let Some((newest, told)) = reading.await.map_err(|_| Ended::Failed)? else {
            return Ok(false);
        };
        if !told.page.is_empty() {
            self.note(caller, &told.page).await?;
            self.pipe.say(text(&told.page)).await?;
        }
        self.after = match told.more {
            true => told.reached,
            false => told.reached.max(newest),
        };
        Ok(told.more)
    }

    /// Writes down whom a page is about, before it is told.
    async fn note(&mut self, caller: &Caller, page: &[Change]) -> Result<(), Ended> {
        let patients = page.iter().flat_map(|change| {
            let mut patients = record::named(&change.versioned.resource);
            if change.kind == "Patient" {
                patients.insert(change.id.clone());
            }
            patients
        });
        let is_new =
            |patient: &String| !self.noted.contains(patient) && cardio_fhir::shape::is_id(patient);
        let new: BTreeSet<String> = patients.filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let about = About {
            patients: new.iter().cloned().collect(),
            ..About::default()
        };
        let event = Event::of_caller(Deed::HistoryOfAll, Outcome::Done, caller);
        let event = event.from(self.address).about(about);
        let traced = self.web.access.trace(event).await;
        traced.map_err(|_| Ended::Failed)?;
        if self.noted.len().saturating_add(new.len()) > NOTED_MAX {
            self.noted.clear();
        }
        self.noted.extend(new);
        Ok(())
    }
}

/// A page of changes as events.
fn text(page: &[Change]) -> String {
    let mut text = String::new();
    for change in page {
        let name = match OF_ALERTS.contains(&change.kind.as_str()) {
            true => "alert",
            false => "change",
        };
        let data = json!({
            "reference": format!("{}/{}", change.kind, change.id),
            "version": change.versioned.version,
        });
        // Writing to a text cannot fail.
        let _ = write!(text, "id: {}\nevent: {name}\ndata: {data}\n\n", change.seq);
    }
    text
}

/// What is sent.
type Chunk = Bytes;

#[cfg(test)]
mod tests {
    use super::after;
    use axum::http::{HeaderMap, HeaderValue};

    #[test]
    fn what_the_reader_remembers_counts_more_than_the_address() {
        let of = |remembered: Option<&str>, query: &str| {
            let mut headers = HeaderMap::new();
            if let Some(mark) = remembered {
                headers.insert("Last-Event-ID", HeaderValue::from_str(mark).unwrap());
            }
            after(&headers, query).ok()
        };
        assert_eq!(of(None, ""), Some(None));
        assert_eq!(of(None, "_after=7"), Some(Some(7)));
        assert_eq!(of(Some("9"), "_after=7"), Some(Some(9)));
        for (remembered, query) in [
            (Some(""), ""),
            (Some("-1"), ""),
            (Some("9x"), "_after=7"),
            (None, "_after="),
            (None, "_since=1"),
            (None, "_after=99999999999999999999"),
        ] {
            assert_eq!(of(remembered, query), None, "{remembered:?} {query}");
        }
    }
}
