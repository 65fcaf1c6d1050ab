//! Where results and narration go. A reader that left is no failure.

use std::io::Write as _;

use serde_json::Value;

/// Writes a result to stdout.
pub(super) fn result(text: &str) {
    // A closed pipe means that the reader has seen enough.
    let _ = anstream::stdout().write_all(text.as_bytes());
    let _ = anstream::stdout().flush();
}

/// Writes narration to stderr.
pub(super) fn narrate(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Writes one JSON document to stdout.
pub(super) fn document(value: &Value) {
    result(&format!("{value:#}\n"));
}

/// Rows of cells as columns of stable width.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(head.get(column).map(|name| name.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let names: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    rows.iter()
        .fold(line(&names), |text, row| text + &line(row))
}

/// An age in seconds as people say it.
pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A text of a JSON document, or a dash.
pub(super) fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The entries of a list in a JSON document.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::{age, table};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(&["A", "B"], &[vec!["long".to_owned(), "x".to_owned()]]);
        assert_eq!(text, "A     B\nlong  x\n");
    }

    #[test]
    fn an_age_has_two_units_at_most() {
        assert_eq!(age(59), "59 s");
        assert_eq!(age(3_700), "1 h 1 min");
        assert_eq!(age(90_000), "1 d 1 h");
    }
}
