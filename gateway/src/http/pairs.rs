//! Parameters of an address: read, and written again for links.

use super::respond::Refusal;
use crate::outgoing::escaped;
use axum::http::StatusCode;

/// Longest search address.
const QUERY_MAX_BYTES: usize = 8 * 1024;

/// Names and values of a query string.
pub(super) fn read(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    if query.len() > QUERY_MAX_BYTES {
        return Err(Refusal::new(
            StatusCode::URI_TOO_LONG,
            "too-long",
            format!("a search is at most {QUERY_MAX_BYTES} bytes long"),
        ));
    }
    let wrong = || Refusal::invalid("invalid", "the search is not a query string");
    let uri: axum::http::Uri = format!("/?{query}").parse().map_err(|_| wrong())?;
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map(|query| query.0)
        .map_err(|_| wrong())
}

/// A query string of names and values.
pub(super) fn write(pairs: &[(String, String)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// An address with parameters, if there are any.
pub(super) fn address(path: &str, pairs: &[(String, String)]) -> String {
    match pairs {
        [] => path.to_owned(),
        pairs => format!("{path}?{}", write(pairs)),
    }
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(pairs: Vec<(String, String)>) {
            if let Ok(back) = read(&write(&pairs)) {
                prop_assert_eq!(back, pairs);
            } else {
                prop_assert!(write(&pairs).len() > super::QUERY_MAX_BYTES);
            }
        }
    }
}
