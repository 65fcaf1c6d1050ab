//! Events by what they are searched by, newest first unless the search says otherwise.

use cardio_core::clock::UtcMicros;
use cardio_fhir::audit::Deed;
use serde_json::Value as Json;

use super::Event;
use crate::db::{AsValue as _, Connection, DbError, Row, Value, values};
use crate::record::{Clause, Comparison, Query};

/// One page of events.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many there are in all, if that was asked.
    pub total: Option<u64>,
    /// The events, as resources.
    pub events: Vec<Json>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// The parameter of a search that events cannot be asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAsked(pub &'static str);

const DAMAGED: DbError = DbError::Damaged {
    what: "read who did what",
};

fn resource(mut row: Row, server: &str) -> Result<(u64, Json), DbError> {
    let (seq, at): (u64, UtcMicros) = (row.take(0)?, row.take(1)?);
    let body: String = row.take(2)?;
    let event: Event = serde_json::from_str(&body).map_err(|_| DAMAGED)?;
    Ok((seq, event.resource(seq, at, server)))
}

/// One event by its id.
pub(super) fn one(c: &Connection, id: &str, server: &str) -> Result<Option<Json>, DbError> {
    // Ids are numbers as they are written, with nothing before them.
    let Some(seq) = id.parse::<u64>().ok().filter(|seq| seq.to_string() == id) else {
        return Ok(None);
    };
    let row = c.row(
        "read who did what",
        "SELECT seq, at_us, body FROM audit WHERE seq = ?1",
        values![seq],
    )?;
    Ok(row
        .map(|row| resource(row, server))
        .transpose()?
        .map(|(_, event)| event))
}

/// Events that match all clauses of a search.
pub(super) fn search(
    c: &Connection,
    query: &Query,
    server: &str,
) -> Result<Result<Found, NotAsked>, DbError> {
    let act = "search who did what";
    let mut built = Built {
        sql: String::from("1 = 1"),
        values: Vec::new(),
    };
    if let Some(refused) = query.clauses.iter().find_map(|one| built.clause(one).err()) {
        return Ok(Err(refused));
    }
    if !query.includes.is_empty() {
        return Ok(Err(NotAsked("_include")));
    }
    let mut found = Found {
        total: None,
        events: Vec::new(),
        next: None,
    };
    if query.total || query.count_only {
        let sql = format!("SELECT count(*) FROM audit a WHERE {}", built.sql);
        found.total = c.cell(act, &sql, &built.values)?;
    }
    if query.count_only {
        return Ok(Ok(found));
    }
    // A search that names no order is of what happened last.
    let ascending = !query.sort.descending && query.understood.iter().any(|(n, _)| n == "_sort");
    let (order, beyond) = if ascending {
        ("ASC", ">")
    } else {
        ("DESC", "<")
    };
    if let Some((seq, _)) = &query.after {
        let place = built.bind(seq.value());
        built.sql.push_str(&format!(" AND a.seq {beyond} {place}"));
    }
    let limit = built.bind(Value::Integer(i64::from(query.count) + 1));
    let sql = format!(
        "SELECT a.seq, a.at_us, a.body FROM audit a WHERE {} ORDER BY a.seq {order} LIMIT {limit}",
        built.sql
    );
    let mut rows = c.rows(act, &sql, &built.values)?;
    let room = usize::try_from(query.count).unwrap_or(usize::MAX);
    let more = rows.len() > room;
    rows.truncate(room);
    for row in rows {
        let (seq, event) = resource(row, server)?;
        found.next = more.then(|| format!("{seq}~{seq}"));
        found.events.push(event);
    }
    Ok(Ok(found))
}

struct Built<'q> {
    sql: String,
    values: Vec<Value<'q>>,
}

impl<'q> Built<'q> {
    fn bind(&mut self, value: Value<'q>) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn clause(&mut self, clause: &'q Clause) -> Result<(), NotAsked> {
        let condition = match clause {
            Clause::Id(ids) => {
                let ids: Vec<i64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
                let places: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
                match places.is_empty() {
                    true => "1 = 0".to_owned(),
                    false => format!("a.seq IN ({})", places.join(", ")),
                }
            }
            Clause::Token(param @ ("altid" | "outcome"), tokens) => {
                let column = if *param == "altid" {
                    "account"
                } else {
                    "outcome"
                };
                let codes = tokens.iter().map(|(_, code)| self.bind(code.value()));
                let codes: Vec<String> = codes.collect();
                format!("a.{column} IN ({})", codes.join(", "))
            }
            Clause::Token("action", tokens) => {
                let of = |code: &str| {
                    let deeds = Deed::all();
                    let deeds = deeds.filter(|deed| deed.action() == code);
                    deeds
                        .map(|deed| format!("'{}'", deed.name()))
                        .collect::<Vec<_>>()
                };
                let deeds: Vec<String> = tokens.iter().flat_map(|(_, code)| of(code)).collect();
                match deeds.is_empty() {
                    true => "1 = 0".to_owned(),
                    false => format!("a.deed IN ({})", deeds.join(", ")),
                }
            }
            Clause::Reference("patient", targets) => {
                let ids = targets
                    .iter()
                    .map(|one| one.strip_prefix("Patient/").unwrap_or(one));
                let ids: Vec<String> = ids.map(|id| self.bind(Value::Text(id))).collect();
                format!(
                    "a.seq IN (SELECT p.seq FROM audit_patients p WHERE p.patient IN ({}))",
                    ids.join(", ")
                )
            }
            Clause::Date("date", comparison, (from, to)) => self.date(*comparison, (*from, *to)),
            Clause::Token(name, _) | Clause::Reference(name, _) | Clause::Date(name, ..) => {
                return Err(NotAsked(name));
            }
            Clause::Missing(name, ..) => return Err(NotAsked(name)),
            Clause::Not(_) => return Err(NotAsked(":not")),
        };
        self.sql.push_str(&format!(" AND ({condition})"));
        Ok(())
    }

    fn date(&mut self, comparison: Comparison, (from, to): (UtcMicros, UtcMicros)) -> String {
        let mut bound = |form: &str, at: UtcMicros| {
            let place = self.bind(Value::Integer(at.0));
            format!("a.at_us {form} {place}")
        };
        match comparison {
            Comparison::Equal => [bound(">=", from), bound("<=", to)].join(" AND "),
            Comparison::NotEqual => [bound("<", from), bound(">", to)].join(" OR "),
            Comparison::Greater | Comparison::After => bound(">", to),
            Comparison::Less | Comparison::Before => bound("<", from),
            Comparison::GreaterOrEqual => bound(">=", from),
            Comparison::LessOrEqual => bound("<=", to),
        }
    }
}
