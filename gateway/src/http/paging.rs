//! The parameters that every page of filed resources understands: `_count`, `_since`, `_format`.

use cardio_core::clock::UtcMicros;
use cardio_fhir::time::covered;

use super::fhir::shortened;
use super::respond::Refusal;

/// What a parameter must not be, with what it needs.
pub(super) fn bad<T>(name: &str, expected: &str) -> Result<T, Refusal> {
    Err(Refusal::invalid("invalid", format!("`{name}` needs {expected}")).at(shortened(name)))
}

/// Takes a parameter of paging into its place; `false` when it is another one.
pub(super) fn take(
    count: &mut u32,
    since: &mut Option<UtcMicros>,
    (name, value): (&str, &str),
    page_max: u32,
) -> Result<bool, Refusal> {
    match name {
        "_count" => match value.parse::<u32>() {
            Ok(wanted) if wanted > 0 => *count = wanted.min(page_max),
            _ => return bad(name, "a whole number above 0"),
        },
        "_since" => match covered(value) {
            Some((from, _)) => *since = Some(from),
            None => return bad(name, "a FHIR instant, as 2026-03-02T09:15:00Z"),
        },
        "_format" if matches!(value, "json" | "application/json" | "application/fhir+json") => {}
        "_format" => return bad(name, "json: this server speaks no other format"),
        _ => return Ok(false),
    }
    Ok(true)
}
