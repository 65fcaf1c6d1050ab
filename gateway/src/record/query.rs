//! A search as its address says it: parsed, checked, and written back.
//!
//! Unknown parameters are errors, not silence: a search that ignores a condition finds too
//! much. Deliberately absent: chained parameters, modifiers other than `:missing`, `:not` and
//! the type of a reference, and inclusion over more than one step.

use cardio_core::clock::UtcMicros;
use cardio_fhir::index::{Param, ParamKind, params_of};
use cardio_fhir::time::covered;

/// Values of one parameter that may stand side by side.
const VALUES_MAX: usize = 32;
/// Parameters of one search.
const PARAMS_MAX: usize = 32;
/// Inclusions of one search.
const INCLUDES_MAX: usize = 8;

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
    /// As the clause within, but the resource must not match it.
    Not(Box<Clause>),
    /// Whether the resource has no value at all of a parameter.
    Missing(&'static str, ParamKind, bool),
}

/// Resources that come along with those that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Those that refer to a match, not those that a match refers to.
    pub reverse: bool,
    /// The type that refers.
    pub kind: &'static str,
    /// Through which parameter; through any when absent.
    pub param: Option<&'static str>,
    /// Only those of this type.
    pub target: Option<&'static str>,
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
    /// The most that a reader may ask for.
    pub count_max: u32,
    /// Where the page before ended: sort key and id.
    pub after: Option<(i64, String)>,
    /// What comes along.
    pub includes: Vec<Include>,
    /// Elements that are wanted; all when absent.
    pub elements: Option<Vec<String>>,
    /// Only how many match is asked.
    pub count_only: bool,
    /// Whether how many match in all is asked.
    pub total: bool,
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
        count_max: page_max,
        after: None,
        includes: Vec::new(),
        elements: None,
        count_only: false,
        total: true,
        understood: Vec::new(),
    };
    for (name, value) in pairs {
        match name.as_str() {
            "_after" => query.after = Some(after(value)?),
            "_format" | "_pretty" => check_form(name, value)?,
            "_count" | "_sort" | "_include" | "_revinclude" | "_elements" | "_summary"
            | "_total" => result(&mut query, name, value)?,
            _ => query.clauses.push(clause(kind, name, value)?),
        }
        if name != "_after" {
            query.understood.push((name.clone(), value.clone()));
        }
    }
    query.count_only |= query.count == 0;
    Ok(query)
}

/// A parameter that says what the answer is like, not what matches.
fn result(query: &mut Query, name: &str, value: &str) -> Result<(), QueryError> {
    let kind = query.kind;
    match name {
        "_count" => query.count = count(value)?.min(query.count_max),
        "_sort" => query.sort = sort(kind, value)?,
        "_include" | "_revinclude" => {
            if query.includes.len() >= INCLUDES_MAX {
                return Err(QueryError::TooMany {
                    what: "inclusions",
                    limit: INCLUDES_MAX,
                });
            }
            query.includes.push(include(kind, name, value)?);
        }
        "_elements" => query.elements = Some(elements(value)?),
        "_summary" => match value {
            "count" => query.count_only = true,
            "false" => {}
            _ => return Err(bad("_summary", "count or false")),
        },
        _ => match value {
            "none" => query.total = false,
            "estimate" | "accurate" => query.total = true,
            _ => return Err(bad("_total", "none, estimate or accurate")),
        },
    }
    Ok(())
}

fn elements(value: &str) -> Result<Vec<String>, QueryError> {
    let names: Vec<String> = value
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    let plain = |name: &String| {
        !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    if names.len() <= VALUES_MAX && names.iter().all(plain) {
        Ok(names)
    } else {
        Err(bad(
            "_elements",
            "names of elements at the top of the resource",
        ))
    }
}

fn include(searched: &'static str, name: &str, value: &str) -> Result<Include, QueryError> {
    let reverse = name == "_revinclude";
    let expected = "Type:parameter or Type:parameter:TargetType, the parameter a reference";
    let mut parts = value.split(':');
    let kind = parts.next().and_then(super::kind);
    let (Some(kind), Some(param)) = (kind, parts.next()) else {
        return Err(bad(name, expected));
    };
    let target = match parts.next() {
        None => None,
        Some(target) => Some(super::kind(target).ok_or_else(|| bad(name, expected))?),
    };
    if parts.next().is_some() || (!reverse && kind != searched) {
        return Err(bad(name, expected));
    }
    if reverse && target.is_some_and(|target| target != searched) {
        return Err(bad(
            name,
            "the type that is searched as its target, if it names one",
        ));
    }
    let param = match param {
        "*" => None,
        _ => Some(
            params_of(kind)
                .iter()
                .find(|known| known.name == param && known.kind == ParamKind::Reference)
                .map(|known| known.name)
                .ok_or_else(|| bad(name, expected))?,
        ),
    };
    Ok(Include {
        reverse,
        kind,
        param,
        target,
    })
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

/// How the answer is to be written: there is one way.
fn check_form(name: &str, value: &str) -> Result<(), QueryError> {
    match (name, value) {
        ("_format", "json" | "application/json" | "application/fhir+json") => Ok(()),
        ("_pretty", "true" | "false") => Ok(()),
        ("_pretty", _) => Err(bad("_pretty", "true or false")),
        _ => Err(bad("_format", "json: this server speaks no other format")),
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

fn clause(kind: &'static str, asked: &str, value: &str) -> Result<Clause, QueryError> {
    let (name, modifier) = match asked.split_once(':') {
        Some((name, modifier)) => (name, Some(modifier)),
        None => (asked, None),
    };
    let unknown = || QueryError::UnknownParam {
        kind,
        param: asked.to_owned(),
    };
    let param = params_of(kind).iter().find(|param| param.name == name);
    let param = param.ok_or_else(unknown)?;
    if value.is_empty() {
        return Err(bad(asked, "a value"));
    }
    match (modifier, param.kind) {
        (None, _) => plain(param, asked, value, None),
        (Some("missing"), _) if name != "_id" => match value {
            "true" => Ok(Clause::Missing(param.name, param.kind, true)),
            "false" => Ok(Clause::Missing(param.name, param.kind, false)),
            _ => Err(bad(asked, "true or false")),
        },
        (Some("not"), ParamKind::Token) => {
            Ok(Clause::Not(Box::new(plain(param, asked, value, None)?)))
        }
        (Some(target), ParamKind::Reference) => {
            let target = super::kind(target).ok_or_else(unknown)?;
            plain(param, asked, value, Some(target))
        }
        _ => Err(unknown()),
    }
}

/// A clause without the part of a modifier; `target` is the type that bare ids belong to.
fn plain(
    param: &Param,
    asked: &str,
    value: &str,
    target_kind: Option<&'static str>,
) -> Result<Clause, QueryError> {
    let values = split_unescaped(value, ',');
    if values.len() > VALUES_MAX {
        return Err(QueryError::TooMany {
            what: "values of one parameter",
            limit: VALUES_MAX,
        });
    }
    if param.name == "_id" {
        return Ok(Clause::Id(values.iter().map(|v| unescaped(v)).collect()));
    }
    match param.kind {
        ParamKind::Token => Ok(Clause::Token(
            param.name,
            values.iter().map(|v| token(v)).collect(),
        )),
        ParamKind::Reference => Ok(Clause::Reference(
            param.name,
            values
                .iter()
                .map(|v| target(param.name, &unescaped(v), target_kind))
                .collect(),
        )),
        ParamKind::Date => {
            let (comparison, rest) = prefix(value);
            let covers = covered(rest).ok_or_else(|| {
                bad(
                    asked,
                    "a FHIR date or date-time, with a prefix such as ge or lt if wanted",
                )
            })?;
            Ok(Clause::Date(param.name, comparison, covers))
        }
    }
}

/// Parts between separators, except those behind a backslash (FHIR R4, 3.1.1.5.7).
fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == separator && !escaped {
            parts.push(text.get(begin..at).unwrap_or_default());
            begin = at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(text.get(begin..).unwrap_or_default());
    parts
}

/// The text without the backslashes that keep separators together.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}

fn token(value: &str) -> (Option<String>, String) {
    match split_unescaped(value, '|').as_slice() {
        [system, code, ..] => (Some(unescaped(system)), unescaped(code)),
        _ => (None, unescaped(value)),
    }
}

/// A reference as `Type/id`: a bare id is a patient where only patients make sense, and an
/// absolute address is cut to its last two parts.
fn target(param: &str, value: &str, kind: Option<&'static str>) -> String {
    let parts: Vec<&str> = value.rsplit('/').take(2).collect();
    match (parts.as_slice(), kind) {
        ([id, kind], _) => format!("{kind}/{id}"),
        (_, Some(kind)) => format!("{kind}/{value}"),
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
    fn a_separator_behind_a_backslash_belongs_to_the_value() {
        let clauses = one("identifier", r"a\|b|c\,d,e").unwrap().clauses;
        let of = |text: &str| text.to_owned();
        let tokens = vec![(Some(of("a|b")), of("c,d")), (None, of("e"))];
        assert_eq!(clauses, [Clause::Token("identifier", tokens)]);
    }

    #[test]
    fn what_comes_along_must_be_a_reference_of_the_type() {
        assert!(one("_include", "Observation:device").is_ok());
        assert!(one("_include", "Observation:*").is_ok());
        assert!(one("_revinclude", "DiagnosticReport:result").is_ok());
        for wrong in [
            "device",
            "Observation:code",
            "Observation:device:Planet",
            "DiagnosticReport:result",
            "Observation:device:Device:more",
        ] {
            assert!(one("_include", wrong).is_err(), "{wrong}");
        }
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
            for name in [
                "_id", "code", "patient", "date", "_sort", "_count", "_after", "_include",
                "_revinclude", "_elements", "_total", "code:not", "subject:Patient",
            ] {
                let _ = one(name, &value);
            }
        }
    }
}
