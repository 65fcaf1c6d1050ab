//! A search as its address says it: parsed, checked, and written back.
//!
//! Unknown parameters are errors, not silence: a search that ignores a condition finds too
//! much. Deliberately absent: chained parameters and `_include`.

use cardio_core::clock::UtcMicros;
use cardio_fhir::index::{ParamKind, params_of};
use cardio_fhir::time::covered;

/// Values of one parameter that may stand side by side.
const VALUES_MAX: usize = 32;
/// Parameters of one search.
const PARAMS_MAX: usize = 32;

/// How a date compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Within the stretch that the value names.
    Equal,
    /// Not within it.
    NotEqual,
    /// Reaches past its end.
    Greater,
    /// Begins before it.
    Less,
    /// Reaches its start or later.
    GreaterOrEqual,
    /// Begins by its end.
    LessOrEqual,
    /// Begins after its end.
    After,
    /// Ends before its start.
    Before,
}

/// One condition. Values within one are alternatives; conditions all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clause {
    /// Codes, each with its system: `None` for any, empty for none.
    Token(&'static str, Vec<(Option<String>, String)>),
    /// Other resources, as `Type/id`.
    Reference(&'static str, Vec<String>),
    /// A stretch of time.
    Date(&'static str, Comparison, (UtcMicros, UtcMicros)),
    /// Logical ids.
    Id(Vec<String>),
}

/// By what a page is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// A date parameter; `_lastUpdated` when the reader does not say.
    pub param: &'static str,
    /// Newest first.
    pub descending: bool,
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The type.
    pub kind: &'static str,
    /// All must hold.
    pub clauses: Vec<Clause>,
    /// The order.
    pub sort: Sort,
    /// Resources on a page.
    pub count: u32,
    /// Where the page before ended: sort key and id.
    pub after: Option<(i64, String)>,
    /// The parameters as they were understood, to repeat in links.
    pub understood: Vec<(String, String)>,
}

/// Why an address is not a search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The type has no such parameter.
    #[error("{kind} has no search parameter `{param}`")]
    UnknownParam {
        /// The type.
        kind: &'static str,
        /// The parameter.
        param: String,
    },
    /// The value has the wrong form.
    #[error("`{param}` needs {expected}")]
    BadValue {
        /// The parameter.
        param: String,
        /// What it needs.
        expected: &'static str,
    },
    /// More than the server answers at once.
    #[error("more than {limit} {what} in one search")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
}

impl QueryError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownParam { .. } => "search.param",
            Self::BadValue { .. } => "search.value",
            Self::TooMany { .. } => "search.too-many",
        }
    }

    /// The parameter at fault, if one is.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::UnknownParam { param, .. } | Self::BadValue { param, .. } => Some(param),
            Self::TooMany { .. } => None,
        }
    }
}

/// Reads the parameters of a search.
///
/// # Errors
/// [`QueryError`] names the parameter at fault.
pub fn parse(
    kind: &'static str,
    pairs: &[(String, String)],
    page: u32,
    page_max: u32,
) -> Result<Query, QueryError> {
    if pairs.len() > PARAMS_MAX {
        return Err(QueryError::TooMany {
            what: "parameters",
            limit: PARAMS_MAX,
        });
    }
    let mut query = Query {
        kind,
        clauses: Vec::new(),
        sort: Sort {
            param: "_lastUpdated",
            descending: false,
        },
        count: page.min(page_max),
        after: None,
        understood: Vec::new(),
    };
    for (name, value) in pairs {
        match name.as_str() {
            "_count" => query.count = count(value)?.min(page_max),
            "_sort" => query.sort = sort(kind, value)?,
            "_after" => query.after = Some(after(value)?),
            "_format" => check_format(value)?,
            _ => query.clauses.push(clause(kind, name, value)?),
        }
        if name != "_after" {
            query.understood.push((name.clone(), value.clone()));
        }
    }
    Ok(query)
}

fn bad(param: &str, expected: &'static str) -> QueryError {
    QueryError::BadValue {
        param: param.to_owned(),
        expected,
    }
}

fn count(value: &str) -> Result<u32, QueryError> {
    value
        .parse()
        .map_err(|_| bad("_count", "a whole number that is not negative"))
}

fn check_format(value: &str) -> Result<(), QueryError> {
    if matches!(value, "json" | "application/json" | "application/fhir+json") {
        Ok(())
    } else {
        Err(bad("_format", "json: this server speaks no other format"))
    }
}

fn after(value: &str) -> Result<(i64, String), QueryError> {
    value
        .split_once('~')
        .and_then(|(key, id)| Some((key.parse().ok()?, id.to_owned())))
        .ok_or_else(|| bad("_after", "a mark that this server gave in a link"))
}

fn sort(kind: &str, value: &str) -> Result<Sort, QueryError> {
    let (name, descending) = match value.strip_prefix('-') {
        Some(name) => (name, true),
        None => (value, false),
    };
    params_of(kind)
        .iter()
        .find(|param| param.name == name && param.kind == ParamKind::Date)
        .map(|param| Sort {
            param: param.name,
            descending,
        })
        .ok_or_else(|| {
            bad(
                "_sort",
                "one date parameter, with `-` before it for newest first",
            )
        })
}

fn clause(kind: &'static str, name: &str, value: &str) -> Result<Clause, QueryError> {
    let param = params_of(kind)
        .iter()
        .find(|param| param.name == name)
        .ok_or_else(|| QueryError::UnknownParam {
            kind,
            param: name.to_owned(),
        })?;
    if value.is_empty() {
        return Err(bad(name, "a value"));
    }
    let values: Vec<&str> = value.split(',').collect();
    if values.len() > VALUES_MAX {
        return Err(QueryError::TooMany {
            what: "values of one parameter",
            limit: VALUES_MAX,
        });
    }
    if name == "_id" {
        return Ok(Clause::Id(values.into_iter().map(str::to_owned).collect()));
    }
    match param.kind {
        ParamKind::Token => Ok(Clause::Token(
            param.name,
            values.into_iter().map(token).collect(),
        )),
        ParamKind::Reference => Ok(Clause::Reference(
            param.name,
            values.into_iter().map(|v| target(param.name, v)).collect(),
        )),
        ParamKind::Date => {
            let (comparison, rest) = prefix(value);
            let covers = covered(rest).ok_or_else(|| {
                bad(
                    name,
                    "a FHIR date or date-time, with a prefix such as ge or lt if wanted",
                )
            })?;
            Ok(Clause::Date(param.name, comparison, covers))
        }
    }
}

fn token(value: &str) -> (Option<String>, String) {
    match value.split_once('|') {
        Some((system, code)) => (Some(system.to_owned()), code.to_owned()),
        None => (None, value.to_owned()),
    }
}

/// A reference as `Type/id`: a bare id is a patient where only patients make sense, and an
/// absolute address is cut to its last two parts.
fn target(param: &str, value: &str) -> String {
    let parts: Vec<&str> = value.rsplit('/').take(2).collect();
    match parts.as_slice() {
        [id, kind] => format!("{kind}/{id}"),
        _ if matches!(param, "patient" | "subject") => format!("Patient/{value}"),
        _ if param == "device" => format!("Device/{value}"),
        _ => value.to_owned(),
    }
}

fn prefix(value: &str) -> (Comparison, &str) {
    for (text, comparison) in [
        ("eq", Comparison::Equal),
        ("ne", Comparison::NotEqual),
        ("gt", Comparison::Greater),
        ("lt", Comparison::Less),
        ("ge", Comparison::GreaterOrEqual),
        ("le", Comparison::LessOrEqual),
        ("sa", Comparison::After),
        ("eb", Comparison::Before),
    ] {
        if let Some(rest) = value.strip_prefix(text) {
            return (comparison, rest);
        }
    }
    (Comparison::Equal, value)
}

#[cfg(test)]
mod tests {
    use super::{Clause, Comparison, parse};
    use proptest::prelude::*;

    fn one(name: &str, value: &str) -> Result<super::Query, super::QueryError> {
        parse(
            "Observation",
            &[(name.to_owned(), value.to_owned())],
            50,
            500,
        )
    }

    #[test]
    fn an_unknown_parameter_is_named_instead_of_ignored() {
        let err = one("pateint", "p1").unwrap_err();
        assert_eq!(
            err.to_string(),
            "Observation has no search parameter `pateint`"
        );
    }

    #[test]
    fn a_patient_may_be_named_in_three_ways() {
        for value in ["p1", "Patient/p1", "https://host/fhir/Patient/p1"] {
            assert_eq!(
                one("patient", value).unwrap().clauses,
                [Clause::Reference("patient", vec!["Patient/p1".to_owned()])]
            );
        }
    }

    #[test]
    fn a_date_has_a_prefix_and_a_precision() {
        let query = one("date", "ge2026-03-02").unwrap();
        assert!(matches!(
            query.clauses.as_slice(),
            [Clause::Date("date", Comparison::GreaterOrEqual, (from, to))]
                if to.0 - from.0 == 86_400_000_000 - 1
        ));
        assert!(one("date", "ge2026-13-45").is_err());
    }

    #[test]
    fn a_page_is_never_larger_than_allowed() {
        assert_eq!(one("_count", "100000").unwrap().count, 500);
        assert!(one("_count", "-1").is_err());
    }

    proptest! {
        #[test]
        fn any_parameter_is_a_search_or_an_error(name: String, value: String) {
            let _ = one(&name, &value);
            for name in ["_id", "code", "patient", "date", "_sort", "_count", "_after"] {
                let _ = one(name, &value);
            }
        }
    }
}
