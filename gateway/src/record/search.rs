//! Searches run over the index. Every value is bound, none is written into the statement.

use cardio_core::clock::UtcMicros;

use cardio_fhir::index::ParamKind;

use super::include::{self, Along};
use super::query::{Clause, Comparison, Query};
use super::scope::Scope;
use super::store::{Versioned, dressed};
use crate::db::{AsValue as _, Connection, DbError, Value};

/// One page of a search.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many resources match in all, if that was asked.
    pub total: Option<u64>,
    /// The resources of this page.
    pub found: Vec<Versioned>,
    /// What comes along with them.
    pub along: Along,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Conditions on a resource `r`, and the values that they name.
struct Built<'q> {
    conditions: String,
    values: Vec<Value<'q>>,
}

/// Runs a search among what is in scope.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn search(connection: &Connection, query: &Query, scope: &Scope) -> Result<Page, DbError> {
    let act = "search";
    let built = conditions(query, scope);
    let mut total: Option<u64> = None;
    if query.total || query.count_only {
        let sql = format!(
            "SELECT count(*) FROM resources r WHERE {}",
            built.conditions
        );
        total = connection.cell(act, &sql, &built.values)?;
    }
    let mut page = Page {
        total,
        found: Vec::new(),
        along: Along::default(),
        next: None,
    };
    if query.count_only {
        return Ok(page);
    }
    let (sql, values) = paged(query, built);
    let mut rows = connection.rows(act, &sql, &values)?;
    let room = usize::try_from(query.count).unwrap_or(usize::MAX);
    let more = rows.len() > room;
    rows.truncate(room);
    let (mut ids, mut last) = (Vec::new(), None);
    for mut row in rows {
        let body: String = row.take(2)?;
        let (key, id): (i64, String) = (row.take(3)?, row.take(4)?);
        last = Some(format!("{key}~{id}"));
        page.found.push(dressed(row.take(0)?, row.take(1)?, &body)?);
        ids.push(id);
    }
    page.next = last.filter(|_| more);
    page.along = include::along(connection, query, scope, &ids)?;
    Ok(page)
}

/// The statement of one page: ordered by key and id, beginning after the page before.
fn paged<'q>(query: &'q Query, mut built: Built<'q>) -> (String, Vec<Value<'q>>) {
    let (order, beyond) = if query.sort.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let param = built.bind(query.sort.param.value());
    let mut after = String::new();
    if let Some((key, id)) = &query.after {
        let (key, id) = (built.bind(key.value()), built.bind(id.value()));
        after = format!(" WHERE (p.sort_key, p.id) {beyond} ({key}, {id})");
    }
    let limit = built.bind(Value::Integer(i64::from(query.count) + 1));
    let sql = format!(
        "SELECT p.version, p.updated_us, p.body, p.sort_key, p.id FROM (
           SELECT r.version, r.updated_us, r.body, r.id,
                  coalesce((SELECT min(d.from_us) FROM index_dates d
                            WHERE d.kind = r.kind AND d.id = r.id AND d.param = {param}), 0)
                  AS sort_key
           FROM resources r WHERE {}) p
         {after} ORDER BY p.sort_key {order}, p.id {order} LIMIT {limit}",
        built.conditions
    );
    (sql, built.values)
}

fn conditions<'q>(query: &'q Query, scope: &'q Scope) -> Built<'q> {
    let mut built = Built {
        conditions: String::new(),
        values: Vec::new(),
    };
    let kind = built.bind(query.kind.value());
    built.conditions.push_str(&format!("r.kind = {kind}"));
    for clause in &query.clauses {
        built.conditions.push_str(" AND ");
        built.clause(clause);
    }
    if *scope != Scope::Everything {
        let within = scope.condition(("r.kind", "r.id"), &mut |value| built.bind(value));
        built.conditions.push_str(&format!(" AND {within}"));
    }
    built
}

impl<'q> Built<'q> {
    /// Binds a value; answers how the statement names it.
    fn bind(&mut self, value: Value<'q>) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn clause(&mut self, clause: &'q Clause) {
        match clause {
            Clause::Id(ids) => {
                let forms = self.each(ids, |built, id| {
                    format!("r.id = {}", built.bind(id.value()))
                });
                self.conditions.push_str(&format!("({forms})"));
            }
            Clause::Token(param, tokens) => {
                let forms = self.each(tokens, Built::token);
                self.among("index_tokens", param, &forms);
            }
            Clause::Reference(param, targets) => {
                let forms = self.each(targets, |built, target| {
                    format!("i.target = {}", built.bind(target.value()))
                });
                self.among("index_references", param, &forms);
            }
            Clause::Date(param, comparison, covers) => {
                let form = self.date(*comparison, *covers);
                self.among("index_dates", param, &form);
            }
            Clause::Not(within) => {
                self.conditions.push_str("NOT ");
                self.clause(within);
            }
            Clause::Missing(param, kind, missing) => {
                if *missing {
                    self.conditions.push_str("NOT ");
                }
                let table = match kind {
                    ParamKind::Token => "index_tokens",
                    ParamKind::Reference => "index_references",
                    ParamKind::Date => "index_dates",
                };
                self.among(table, param, "1 = 1");
            }
        }
    }

    /// Alternatives, of which one must hold.
    fn each<T>(&mut self, of: &'q [T], form: impl Fn(&mut Self, &'q T) -> String) -> String {
        let forms: Vec<String> = of.iter().map(|one| form(self, one)).collect();
        forms.join(" OR ")
    }

    /// The resource stands in an index with `form`. `table` and `param` are names of our own,
    /// never the reader's text.
    fn among(&mut self, table: &str, param: &str, form: &str) {
        self.conditions.push_str(&format!(
            "r.id IN (SELECT i.id FROM {table} i \
             WHERE i.kind = r.kind AND i.param = '{param}' AND ({form}))"
        ));
    }

    fn token(&mut self, (system, code): &'q (Option<String>, String)) -> String {
        match (system, code.is_empty()) {
            (Some(system), true) => format!("i.system = {}", self.bind(system.value())),
            (Some(system), false) => {
                let (code, system) = (self.bind(code.value()), self.bind(system.value()));
                format!("(i.code = {code} AND i.system = {system})")
            }
            (None, _) => format!("i.code = {}", self.bind(code.value())),
        }
    }

    fn date(&mut self, comparison: Comparison, (from, to): (UtcMicros, UtcMicros)) -> String {
        let mut bound = |form: &str, at: UtcMicros| {
            let place = self.bind(Value::Integer(at.0));
            format!("{form} {place}")
        };
        match comparison {
            Comparison::Equal | Comparison::NotEqual => {
                let within = [bound("i.from_us >=", from), bound("i.to_us <=", to)].join(" AND ");
                match comparison {
                    Comparison::Equal => within,
                    _ => format!("NOT ({within})"),
                }
            }
            Comparison::Greater => bound("i.to_us >", to),
            Comparison::Less => bound("i.from_us <", from),
            Comparison::GreaterOrEqual => bound("i.to_us >=", from),
            Comparison::LessOrEqual => bound("i.from_us <=", to),
            Comparison::After => bound("i.from_us >", to),
            Comparison::Before => bound("i.to_us <", from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, put};
    use super::{Scope, UtcMicros, search};
    use crate::db::Connection;
    use crate::db::testing::Fresh;
    use serde_json::json;

    fn on_record(work: impl FnOnce(&Connection) + Send) {
        Fresh::on(super::super::STEPS, |connection| {
            fill(connection);
            work(connection);
        });
    }

    fn fill(connection: &Connection) {
        for n in 0..7_i64 {
            let resource = json!({
                "resourceType": "Observation", "id": format!("o{n}"), "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": if n % 2 == 0 { "8867-4" } else { "11524-6" }}]},
                "subject": {"reference": format!("Patient/p{}", n % 3)},
                "effectiveDateTime": format!("2026-03-0{}T10:00:00Z", n + 1),
            });
            put(connection, &resource, UtcMicros(1_000 + n)).unwrap();
        }
    }

    fn ids(connection: &Connection, params: &[(&str, &str)]) -> (Vec<String>, Option<String>, u64) {
        let pairs: Vec<(String, String)> = params
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let page = search(
            connection,
            &parse("Observation", &pairs, 50, 500).unwrap(),
            &Scope::Everything,
        )
        .unwrap();
        let ids = page
            .found
            .iter()
            .map(|v| v.resource["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page.next, page.total.unwrap())
    }

    #[test]
    fn conditions_hold_together_and_values_are_alternatives() {
        on_record(|c| {
            assert_eq!(ids(c, &[("patient", "p1"), ("code", "8867-4")]).0, ["o4"]);
            assert_eq!(ids(c, &[("code", "http://loinc.org|8867-4,11524-6")]).2, 7);
            assert_eq!(ids(c, &[("code", "|8867-4")]).2, 0);
            assert_eq!(ids(c, &[("date", "ge2026-03-06")]).0, ["o5", "o6"]);
            assert_eq!(ids(c, &[("date", "lt2026-03-02")]).0, ["o0"]);
            assert_eq!(ids(c, &[("date", "2026-03-03")]).0, ["o2"]);
            assert_eq!(ids(c, &[("_id", "o1,o3")]).0, ["o1", "o3"]);
        });
    }

    #[test]
    fn what_must_not_match_and_what_must_be_absent_can_be_asked() {
        on_record(|c| {
            assert_eq!(ids(c, &[("code:not", "8867-4")]).0, ["o1", "o3", "o5"]);
            assert_eq!(ids(c, &[("device:missing", "true")]).2, 7);
            assert_eq!(ids(c, &[("device:missing", "false")]).2, 0);
            assert_eq!(
                ids(c, &[("subject:Patient", "p1"), ("_total", "accurate")]).2,
                2
            );
            assert_eq!(ids(c, &[("_summary", "count")]), (vec![], None, 7));
            assert_eq!(ids(c, &[("_count", "0")]), (vec![], None, 7));
        });
    }

    #[test]
    fn pages_follow_each_other_without_a_repeat_or_a_hole() {
        on_record(|c| {
            let mut after: Option<String> = None;
            let mut all = Vec::new();
            loop {
                let mut params = vec![("_sort", "-date"), ("_count", "3")];
                if let Some(mark) = &after {
                    params.push(("_after", mark));
                }
                let (page, next, total) = ids(c, &params);
                assert_eq!(total, 7);
                all.extend(page);
                match next {
                    Some(mark) => after = Some(mark),
                    None => break,
                }
            }
            assert_eq!(all, ["o6", "o5", "o4", "o3", "o2", "o1", "o0"]);
        });
    }

    #[test]
    fn text_of_a_reader_never_becomes_part_of_a_statement() {
        on_record(|c| {
            for value in [
                "'",
                "x' OR '1'='1",
                "x'; DROP TABLE resources; --",
                "%",
                "\\",
            ] {
                assert_eq!(ids(c, &[("patient", value)]).2, 0);
                assert_eq!(ids(c, &[("code", value)]).2, 0);
                assert_eq!(ids(c, &[("_id", value)]).2, 0);
            }
            assert_eq!(ids(c, &[]).2, 7);
        });
    }

    #[test]
    fn a_resource_is_written_only_when_it_changes_and_old_versions_stay() {
        use super::super::{Put, read, read_version};
        on_record(|c| {
            let mut same = json!({"resourceType": "Task", "id": "t", "status": "requested"});
            assert_eq!(put(c, &same, UtcMicros(1)).unwrap(), Put::Created);
            assert_eq!(put(c, &same, UtcMicros(2)).unwrap(), Put::Unchanged);
            same["status"] = json!("completed");
            assert_eq!(put(c, &same, UtcMicros(3)).unwrap(), Put::Updated);
            let newest = read(c, "Task", "t").unwrap().unwrap();
            assert_eq!(newest.version, 2);
            assert_eq!(newest.resource["meta"]["versionId"], "2");
            let first = read_version(c, &Scope::Everything, "Task", "t", 1)
                .unwrap()
                .unwrap();
            assert_eq!(first.resource["status"], "requested");
            assert!(
                read_version(c, &Scope::Everything, "Task", "t", 3)
                    .unwrap()
                    .is_none()
            );
        });
    }
}
