//! Searches run over the index. Every value is bound, none is written into the statement.

use cardio_core::clock::UtcMicros;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use super::query::{Clause, Comparison, Query};
use super::store::{Versioned, dressed};
use crate::db::{DbError, during, from_sql};

/// One page of a search.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many resources match in all.
    pub total: u64,
    /// The resources of this page.
    pub found: Vec<Versioned>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

struct Built {
    conditions: String,
    values: Vec<Sql>,
}

/// Runs a search.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn search(connection: &Connection, query: &Query) -> Result<Page, DbError> {
    let act = "search";
    let built = conditions(query);
    let total: i64 = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM resources r WHERE r.kind = ?{}",
            built.conditions
        ))
        .and_then(|mut statement| {
            statement.query_row(params_from_iter(built.values.iter()), |row| row.get(0))
        })
        .map_err(during(act))?;
    let (sql, values) = page(query, built);
    let mut statement = connection.prepare_cached(&sql).map_err(during(act))?;
    let mut rows = statement
        .query(params_from_iter(values.iter()))
        .map_err(during(act))?;
    let mut found = Vec::new();
    let mut last = None;
    let mut more = false;
    let room = usize::try_from(query.count).unwrap_or(usize::MAX);
    while let Some(row) = rows.next().map_err(during(act))? {
        if found.len() >= room {
            more = true;
            break;
        }
        let body: String = row.get(2).map_err(during(act))?;
        let versioned = dressed(
            row.get(0).map_err(during(act))?,
            row.get(1).map_err(during(act))?,
            &body,
        )?;
        let key: i64 = row.get(3).map_err(during(act))?;
        let id: String = row.get(4).map_err(during(act))?;
        last = Some(format!("{key}~{id}"));
        found.push(versioned);
    }
    Ok(Page {
        total: from_sql(total),
        found,
        next: last.filter(|_| more),
    })
}

/// The statement of one page: ordered by key and id, beginning after the page before.
fn page(query: &Query, built: Built) -> (String, Vec<Sql>) {
    let mut values = vec![Sql::from(query.sort.param.to_owned())];
    values.extend(built.values);
    let (order, beyond) = if query.sort.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let mut after = String::new();
    if let Some((key, id)) = &query.after {
        after = format!(" AND (key, r.id) {beyond} (?, ?)");
        values.push(Sql::from(*key));
        values.push(Sql::from(id.clone()));
    }
    values.push(Sql::from(i64::from(query.count) + 1));
    let sql = format!(
        "SELECT r.version, r.updated_us, r.body,
                coalesce((SELECT min(d.from_us) FROM index_dates d
                          WHERE d.kind = r.kind AND d.id = r.id AND d.param = ?), 0) AS key, r.id
         FROM resources r WHERE r.kind = ?{}{after} ORDER BY key {order}, r.id {order} LIMIT ?",
        built.conditions
    );
    (sql, values)
}

fn conditions(query: &Query) -> Built {
    let mut built = Built {
        conditions: String::new(),
        values: vec![Sql::from(query.kind.to_owned())],
    };
    for clause in &query.clauses {
        match clause {
            Clause::Id(ids) => built.any("r.id = ?", ids.iter().map(|id| vec![text(id)])),
            Clause::Token(param, tokens) => built.token(param, tokens),
            Clause::Reference(param, targets) => {
                let head = format!(
                    " AND r.id IN (SELECT i.id FROM index_references i \
                     WHERE i.kind = r.kind AND i.param = '{param}'"
                );
                built.conditions.push_str(&head);
                built.any("i.target = ?", targets.iter().map(|t| vec![text(t)]));
                built.conditions.push(')');
            }
            Clause::Date(param, comparison, covers) => built.date(param, *comparison, *covers),
        }
    }
    built
}

fn text(value: &str) -> Sql {
    Sql::from(value.to_owned())
}

impl Built {
    /// Adds alternatives of one form, each with its own values.
    fn any(&mut self, form: &str, alternatives: impl Iterator<Item = Vec<Sql>>) {
        let mut forms = Vec::new();
        for values in alternatives {
            forms.push(form);
            self.values.extend(values);
        }
        self.conditions
            .push_str(&format!(" AND ({})", forms.join(" OR ")));
    }

    /// `param` is a name of our own table, never the reader's text.
    fn token(&mut self, param: &str, tokens: &[(Option<String>, String)]) {
        self.conditions.push_str(&format!(
            " AND r.id IN (SELECT i.id FROM index_tokens i \
             WHERE i.kind = r.kind AND i.param = '{param}' AND ("
        ));
        let mut forms = Vec::new();
        for (system, code) in tokens {
            match (system, code.is_empty()) {
                (Some(system), true) => {
                    forms.push("i.system = ?");
                    self.values.push(text(system));
                }
                (Some(system), false) => {
                    forms.push("(i.code = ? AND i.system = ?)");
                    self.values.push(text(code));
                    self.values.push(text(system));
                }
                (None, _) => {
                    forms.push("i.code = ?");
                    self.values.push(text(code));
                }
            }
        }
        self.conditions.push_str(&forms.join(" OR "));
        self.conditions.push_str("))");
    }

    fn date(&mut self, param: &str, comparison: Comparison, (from, to): (UtcMicros, UtcMicros)) {
        let (form, values): (&str, &[UtcMicros]) = match comparison {
            Comparison::Equal => ("i.from_us >= ? AND i.to_us <= ?", &[from, to]),
            Comparison::NotEqual => ("NOT (i.from_us >= ? AND i.to_us <= ?)", &[from, to]),
            Comparison::Greater => ("i.to_us > ?", &[to]),
            Comparison::Less => ("i.from_us < ?", &[from]),
            Comparison::GreaterOrEqual => ("i.to_us >= ?", &[from]),
            Comparison::LessOrEqual => ("i.from_us <= ?", &[to]),
            Comparison::After => ("i.from_us > ?", &[to]),
            Comparison::Before => ("i.to_us < ?", &[from]),
        };
        self.conditions.push_str(&format!(
            " AND r.id IN (SELECT i.id FROM index_dates i \
             WHERE i.kind = r.kind AND i.param = '{param}' AND {form})"
        ));
        self.values.extend(values.iter().map(|at| Sql::from(at.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, put};
    use super::{UtcMicros, search};
    use rusqlite::Connection;
    use serde_json::json;

    fn record() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in super::super::STEPS {
            connection.execute_batch(step).unwrap();
        }
        for n in 0..7_i64 {
            let resource = json!({
                "resourceType": "Observation", "id": format!("o{n}"), "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": if n % 2 == 0 { "8867-4" } else { "11524-6" }}]},
                "subject": {"reference": format!("Patient/p{}", n % 3)},
                "effectiveDateTime": format!("2026-03-0{}T10:00:00Z", n + 1),
            });
            put(&connection, &resource, UtcMicros(1_000 + n)).unwrap();
        }
        connection
    }

    fn ids(connection: &Connection, params: &[(&str, &str)]) -> (Vec<String>, Option<String>, u64) {
        let pairs: Vec<(String, String)> = params
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let page = search(connection, &parse("Observation", &pairs, 50, 500).unwrap()).unwrap();
        let ids = page
            .found
            .iter()
            .map(|v| v.resource["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page.next, page.total)
    }

    #[test]
    fn conditions_hold_together_and_values_are_alternatives() {
        let c = record();
        assert_eq!(ids(&c, &[("patient", "p1"), ("code", "8867-4")]).0, ["o4"]);
        assert_eq!(ids(&c, &[("code", "http://loinc.org|8867-4,11524-6")]).2, 7);
        assert_eq!(ids(&c, &[("code", "|8867-4")]).2, 0);
        assert_eq!(ids(&c, &[("date", "ge2026-03-06")]).0, ["o5", "o6"]);
        assert_eq!(ids(&c, &[("date", "lt2026-03-02")]).0, ["o0"]);
        assert_eq!(ids(&c, &[("date", "2026-03-03")]).0, ["o2"]);
        assert_eq!(ids(&c, &[("_id", "o1,o3")]).0, ["o1", "o3"]);
    }

    #[test]
    fn pages_follow_each_other_without_a_repeat_or_a_hole() {
        let c = record();
        let mut after: Option<String> = None;
        let mut all = Vec::new();
        loop {
            let mut params = vec![("_sort", "-date"), ("_count", "3")];
            if let Some(mark) = &after {
                params.push(("_after", mark));
            }
            let (page, next, total) = ids(&c, &params);
            assert_eq!(total, 7);
            all.extend(page);
            match next {
                Some(mark) => after = Some(mark),
                None => break,
            }
        }
        assert_eq!(all, ["o6", "o5", "o4", "o3", "o2", "o1", "o0"]);
    }

    #[test]
    fn text_of_a_reader_never_becomes_part_of_a_statement() {
        let c = record();
        for value in [
            "'",
            "x' OR '1'='1",
            "x'; DROP TABLE resources; --",
            "%",
            "\\",
        ] {
            assert_eq!(ids(&c, &[("patient", value)]).2, 0);
            assert_eq!(ids(&c, &[("code", value)]).2, 0);
            assert_eq!(ids(&c, &[("_id", value)]).2, 0);
        }
        assert_eq!(ids(&c, &[]).2, 7);
    }

    #[test]
    fn a_resource_is_written_only_when_it_changes_and_old_versions_stay() {
        use super::super::{Put, history, read};
        let c = record();
        let mut same = json!({"resourceType": "Task", "id": "t", "status": "requested"});
        assert_eq!(put(&c, &same, UtcMicros(1)).unwrap(), Put::Created);
        assert_eq!(put(&c, &same, UtcMicros(2)).unwrap(), Put::Unchanged);
        same["status"] = json!("completed");
        assert_eq!(put(&c, &same, UtcMicros(3)).unwrap(), Put::Updated);
        let newest = read(&c, "Task", "t").unwrap().unwrap();
        assert_eq!(newest.version, 2);
        assert_eq!(newest.resource["meta"]["versionId"], "2");
        let versions = history(&c, "Task", "t").unwrap();
        assert_eq!(versions[1].resource["status"], "requested");
    }
}
