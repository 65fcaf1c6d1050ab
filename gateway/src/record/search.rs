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
    let mut total: Option<u64> = None;
    if query.total || query.count_only {
        let built = conditions(query, scope, strong(query).or_else(|| weak(query)));
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
    let (sql, values) = paged(query, scope);
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
fn paged<'q>(query: &'q Query, scope: &'q Scope) -> (String, Vec<Value<'q>>) {
    let (order, beyond) = if query.sort.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let strong = strong(query);
    let by_time = query.sort.param == "_lastUpdated";
    // Without a clause that finds little, the index by time gives them in order, as far as needed.
    let lead = if by_time {
        strong
    } else {
        strong.or_else(|| weak(query))
    };
    let mut built = conditions(query, scope, lead);
    let key = match (by_time, lead) {
        (true, None) => "r.updated_us".to_owned(),
        // As a sum it tempts nobody to walk through that index.
        (true, Some(_)) => "r.updated_us + 0".to_owned(),
        (false, _) => format!(
            "coalesce((SELECT min(d.from_us) FROM index_dates d
                       WHERE d.kind = r.kind AND d.id = r.id AND d.param = {}), 0)",
            built.bind(query.sort.param.value())
        ),
    };
    let mut after = String::new();
    if let Some((last, id)) = &query.after {
        let (last, id) = (built.bind(last.value()), built.bind(id.value()));
        after = format!(" AND ({key}, r.id) {beyond} ({last}, {id})");
    }
    let limit = built.bind(Value::Integer(i64::from(query.count) + 1));
    let sql = format!(
        "SELECT r.version, r.updated_us, r.body, {key} AS sort_key, r.id FROM resources r
         WHERE {}{after} ORDER BY sort_key {order}, r.id {order} LIMIT {limit}",
        built.conditions
    );
    (sql, built.values)
}

/// The clause that finds least, if one is sure to find little: what is led by it is looked up,
/// and nothing else is walked through.
fn strong(query: &Query) -> Option<usize> {
    let rank = |clause: &Clause| match clause {
        Clause::Id(_) => Some(0),
        Clause::Token("identifier", _) => Some(1),
        Clause::Reference(..) => Some(2),
        _ => None,
    };
    best(query, rank)
}

/// The clause that finds least among those that may find much.
fn weak(query: &Query) -> Option<usize> {
    let rank = |clause: &Clause| match clause {
        Clause::Token(..) => Some(0),
        Clause::Date(..) => Some(1),
        _ => None,
    };
    best(query, rank)
}

fn best(query: &Query, rank: impl Fn(&Clause) -> Option<u8>) -> Option<usize> {
    let ranked = query.clauses.iter().enumerate();
    let ranked = ranked.filter_map(|(place, clause)| Some((rank(clause)?, place)));
    ranked.min().map(|(_, place)| place)
}

/// The conditions of a search. The clause at `lead` gives the ids that are looked at; the others
/// are looked up for each of those.
fn conditions<'q>(query: &'q Query, scope: &'q Scope, lead: Option<usize>) -> Built<'q> {
    let mut built = Built {
        conditions: String::new(),
        values: Vec::new(),
    };
    let kind = built.bind(query.kind.value());
    built.conditions.push_str(&format!("r.kind = {kind}"));
    for (place, clause) in query.clauses.iter().enumerate() {
        built.conditions.push_str(" AND ");
        let leads = (lead == Some(place)).then_some(kind.as_str());
        built.clause(clause, leads);
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

    /// `leads` names the type when this clause gives the ids.
    fn clause(&mut self, clause: &'q Clause, leads: Option<&str>) {
        match clause {
            Clause::Id(ids) => {
                let forms = self.each(ids, |built, id| {
                    format!("r.id = {}", built.bind(id.value()))
                });
                self.conditions.push_str(&format!("({forms})"));
            }
            Clause::Token(param, tokens) => {
                let forms = self.each(tokens, Built::token);
                self.among(("index_tokens", param), &forms, leads);
            }
            Clause::Reference(param, targets) => {
                let forms = self.each(targets, |built, target| {
                    format!("i.target = {}", built.bind(target.value()))
                });
                self.among(("index_references", param), &forms, leads);
            }
            Clause::Date(param, comparison, covers) => {
                let form = self.date(*comparison, *covers);
                self.among(("index_dates", param), &form, leads);
            }
            Clause::Not(within) => {
                self.conditions.push_str("NOT ");
                self.clause(within, None);
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
                self.among((table, param), "1 = 1", None);
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
    ///
    /// A parameter that is joined to nothing (`|| ''`) has the index by id used, which holds a
    /// handful of entries, and never the one by parameter, which may hold all resources of a code.
    fn among(&mut self, (table, param): (&str, &str), form: &str, leads: Option<&str>) {
        self.conditions.push_str(&match leads {
            Some(kind) => format!(
                "r.id IN (SELECT i.id FROM {table} i \
                 WHERE i.kind = {kind} AND i.param = '{param}' AND ({form}))"
            ),
            None => format!(
                "EXISTS (SELECT 1 FROM {table} i WHERE i.kind = r.kind AND i.id = r.id \
                 AND i.param || '' = '{param}' AND ({form}))"
            ),
        });
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
    fn a_search_looks_up_what_one_clause_finds_and_walks_through_nothing_else() {
        on_record(|c| {
            if c.is_shared() {
                return;
            }
            for (params, first) in [
                (
                    vec![
                        ("subject", "Patient/p1"),
                        ("code", "8867-4"),
                        ("date", "ge2026"),
                    ],
                    "target=?",
                ),
                (
                    vec![("status", "final"), ("patient", "p1"), ("_sort", "-date")],
                    "target=?",
                ),
                (
                    vec![("identifier", "a|b"), ("subject", "Patient/p1")],
                    "code=? AND system=?",
                ),
                (vec![("code", "8867-4")], "updated_us"),
                (
                    vec![("code", "8867-4"), ("_sort", "date")],
                    "param=? AND code=?",
                ),
            ] {
                let pairs: Vec<(String, String)> = params
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect();
                let query = parse("Observation", &pairs, 50, 500).unwrap();
                let (sql, values) = super::paged(&query, &Scope::Everything);
                let sql = format!("EXPLAIN QUERY PLAN {sql}");
                let plan: Vec<String> = c
                    .rows("explain", &sql, &values)
                    .unwrap()
                    .into_iter()
                    .map(|mut row| row.take(3).unwrap())
                    .collect();
                let lists: Vec<&String> = plan
                    .iter()
                    .filter(|step| step.contains("SEARCH i ") && !step.contains("id=?"))
                    .collect();
                let leads = match first {
                    "updated_us" => lists.is_empty() && plan[0].contains("resources_by_time"),
                    _ => lists.len() == 1 && lists[0].contains(first),
                };
                assert!(leads, "{params:?}: {plan:#?}");
                assert!(
                    !plan.iter().any(|step| step.starts_with("SCAN")),
                    "{plan:#?}"
                );
            }
        });
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
