//! `cardio-gateway indicators`.

use std::path::Path;

use cardio_core::clock::UtcMicros;
use cardio_gateway::control::Request;
use serde_json::Value;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// First day, such as 2026-11-01 (UTC).
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: UtcMicros,
    /// The day after the last one, such as 2026-12-01 (UTC).
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: UtcMicros,
    /// A FHIR MeasureReport instead of CSV.
    #[arg(long)]
    json: bool,
}

fn day(text: &str) -> Result<UtcMicros, String> {
    let wanted = "a day such as 2026-11-01 is needed".to_owned();
    let day: jiff::civil::Date = text.parse().map_err(|_| wanted.clone())?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wanted)?;
    Ok(UtcMicros(start.timestamp().as_microsecond()))
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    let request = Request::Indicators {
        from_us: arguments.from.0,
        to_us: arguments.to.0,
    };
    let report = ask(&config, &request)?;
    if arguments.json {
        out::document(&report);
    } else {
        out::result(&csv(&report));
    }
    Ok(exit::WELL)
}

/// The report as lines of CSV (RFC 4180).
fn csv(report: &Value) -> String {
    let mut text = "indicator,stratum,cases,counted,value,unit\r\n".to_owned();
    let at = |value: &Value, place: &str| match value.pointer(place) {
        Some(Value::String(text)) => quoted(text),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    for group in out::list(report, "group") {
        let strata = group
            .pointer("/stratifier/0/stratum")
            .and_then(Value::as_array);
        for stratum in strata.into_iter().flatten() {
            let cells = [
                at(group, "/code/coding/0/code"),
                at(stratum, "/value/text"),
                at(stratum, "/population/0/count"),
                at(stratum, "/population/1/count"),
                at(stratum, "/measureScore/value"),
                at(stratum, "/measureScore/code"),
            ];
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{csv, day};

    #[test]
    fn a_report_is_one_line_per_stratum_and_a_comma_in_a_name_is_quoted() {
        let report = json!({"group": [{
            "code": {"coding": [{"code": "first-try-acceptable"}]},
            "stratifier": [{"stratum": [{
                "value": {"text": "a,b"},
                "population": [{"count": 4}, {"count": 3}],
                "measureScore": {"value": 0.75, "code": "1"},
            }]}],
        }]});
        assert_eq!(
            csv(&report),
            "indicator,stratum,cases,counted,value,unit\r\n\
             first-try-acceptable,\"a,b\",4,3,0.75,1\r\n"
        );
        assert!(day("2026-13-01").is_err() && day("2026-12-01").is_ok());
    }
}
