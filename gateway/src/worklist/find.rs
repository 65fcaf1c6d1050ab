//! The visits of one day for one team, as the record has them.
//!
//! A visit is a ServiceRequest that is active, is meant to be done (no proposal, plan or option),
//! is due on the day, and is about a patient of the team, which is one whose record names it in
//! `Patient.managingOrganization`. Deliberately absent: requests whose time is a schedule
//! (`occurrenceTiming`) or is not said; they are of no day.

use cardio_core::clock::UtcMicros;
use cardio_core::request::RequestRef;
use cardio_core::subject::SubjectRef;
use cardio_wire::visits::{PatientText, VISIT_TEXT_MAX_BYTES, VISITS_MAX, Visit, VisitList};
use serde_json::Value;

use super::day::Day;
use crate::clock::rfc3339;
use crate::db::{Connection, DbError};
use crate::record::{self, Scope};

/// Requests that are looked at for one list; a team has not so many in two days.
const LOOKED_AT: u32 = 1000;
/// A request that says only a date is found by that date in any zone.
const ANY_ZONE_US: i64 = 24 * 3_600_000_000;

/// The visits of the day.
pub(super) fn list(
    connection: &Connection,
    team: &str,
    day: &Day,
    now: UtcMicros,
) -> Result<VisitList, DbError> {
    let mut visits = Vec::new();
    for request in requests(connection, team, day)? {
        let Some(due) = day.due(&request).filter(|_| is_meant(&request)) else {
            continue;
        };
        let Some(id) = text(&request, "/subject/reference").strip_prefix("Patient/") else {
            continue;
        };
        let Some(patient) = record::read(connection, "Patient", id)? else {
            continue;
        };
        visits.extend(visit(&request, id, &patient.resource, due));
    }
    // What has an hour comes first, by the hour.
    let order = |visit: &Visit| (visit.from.is_none(), visit.from);
    visits.sort_by(|a, b| {
        order(a)
            .cmp(&order(b))
            .then_with(|| a.request.cmp(&b.request))
    });
    let left_out = visits.len().saturating_sub(VISITS_MAX);
    visits.truncate(VISITS_MAX);
    Ok(VisitList {
        day: day.date.clone(),
        issued: now,
        until: day.end,
        visits,
        left_out: u64::try_from(left_out).unwrap_or(u64::MAX),
    })
}

fn requests(connection: &Connection, team: &str, day: &Day) -> Result<Vec<Value>, DbError> {
    let bound = |at: UtcMicros, by: i64| rfc3339(UtcMicros(at.0.saturating_add(by)));
    let pairs = [
        ("status", "active".to_owned()),
        (
            "occurrence",
            format!("ge{}", bound(day.begin, -ANY_ZONE_US)),
        ),
        ("occurrence", format!("le{}", bound(day.end, ANY_ZONE_US))),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
    let query = record::parse("ServiceRequest", &pairs, LOOKED_AT, LOOKED_AT);
    let query = query.map_err(|_| DbError::Damaged {
        what: "search for the visits of a day",
    })?;
    let scope = Scope::Teams(vec![team.to_owned()]);
    let page = record::search(connection, &query, &scope)?;
    Ok(page.found.into_iter().map(|found| found.resource).collect())
}

/// Whether somebody ordered it, and ordered it done.
fn is_meant(request: &Value) -> bool {
    let intent = text(request, "/intent");
    !["proposal", "plan", "option"].contains(&intent)
        && request.get("doNotPerform").and_then(Value::as_bool) != Some(true)
}

fn visit(
    request: &Value,
    subject: &str,
    patient: &Value,
    (from, until): (Option<UtcMicros>, Option<UtcMicros>),
) -> Option<Visit> {
    let what = [
        text(request, "/code/text"),
        text(request, "/code/coding/0/display"),
    ];
    let what = what.into_iter().find(|text| !text.is_empty());
    let born = Some(text(patient, "/birthDate")).filter(|text| !text.is_empty());
    Some(Visit {
        request: RequestRef::new(text(request, "/id")).ok()?,
        subject: SubjectRef::new(subject).ok()?,
        name: bounded(&name_of(patient)),
        born: born.map(bounded),
        what: what.map(bounded),
        from,
        until,
    })
}

/// What a patient is called: the name in use, else the official one, else the first.
fn name_of(patient: &Value) -> PatientText {
    let names = patient.get("name").and_then(Value::as_array);
    let names = names.map(Vec::as_slice).unwrap_or_default();
    let of_use = |kind: &str| names.iter().find(|name| text(name, "/use") == kind);
    let Some(name) = of_use("usual").or(of_use("official")).or(names.first()) else {
        return PatientText::default();
    };
    let given = name.get("given").and_then(Value::as_array);
    let given = given.into_iter().flatten().filter_map(Value::as_str);
    let parts: Vec<&str> = std::iter::once(text(name, "/family"))
        .chain(given)
        .filter(|part| !part.is_empty())
        .collect();
    PatientText::from(match parts.is_empty() {
        true => text(name, "/text").to_owned(),
        false => parts.join(" "),
    })
}

/// As much of a text as a visit has room for.
fn bounded(text: &str) -> PatientText {
    let mut end = text.len().min(VISIT_TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    PatientText::from(text.get(..end).unwrap_or_default().to_owned())
}

fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patient_is_called_by_the_name_in_use() {
        let birth = json!({"use": "official", "family": "NAISSANCE", "given": ["Essai"]});
        let used = json!({"use": "usual", "family": "USAGE", "given": ["Essai", "Deux"]});
        let name = |names: Value| name_of(&json!({ "name": names })).to_string();
        assert_eq!(name(json!([birth, used])), "USAGE Essai Deux");
        assert_eq!(name(json!([birth])), "NAISSANCE Essai");
        assert_eq!(
            name(json!([{"text": "En toutes lettres"}])),
            "En toutes lettres"
        );
        assert_eq!(name(json!([])), "");
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let cut = bounded(&"é".repeat(150));
        assert_eq!(cut.chars().count(), 100);
        let odd = bounded(&format!("x{}", "é".repeat(150)));
        assert_eq!(odd.len(), 199);
    }

    #[test]
    fn a_plan_or_what_must_not_be_done_is_no_visit() {
        assert!(is_meant(&json!({"intent": "order"})));
        for not in [
            json!({"intent": "plan"}),
            json!({"intent": "proposal"}),
            json!({"intent": "order", "doNotPerform": true}),
        ] {
            assert!(!is_meant(&not), "{not}");
        }
    }
}
