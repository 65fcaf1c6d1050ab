//! Answers made smaller for readers that say that they take it (`Accept-Encoding: gzip`).
//!
//! Deliberately absent: files and other bytes that are no JSON, and bodies of requests.

use std::io::Write as _;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Answers that are not worth it.
const SMALL: usize = 1_024;

/// Compresses the answer where the reader takes it and it is worth it.
pub(super) async fn compress(request: Request, next: Next) -> Response {
    let taken = takes_gzip(request.headers());
    let mut response = next.run(request).await;
    let kind = response.headers().get(CONTENT_TYPE);
    let is_json = kind.and_then(|kind| kind.to_str().ok());
    if !is_json.is_some_and(|kind| kind.starts_with("application/fhir+json")) {
        return response;
    }
    let vary = HeaderValue::from_static("Accept-Encoding");
    response.headers_mut().insert(VARY, vary);
    if !taken {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // Our own answers are in memory already: there is nothing to wait for or to bound here.
    let Ok(whole) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(head, Body::empty());
    };
    if whole.len() < SMALL {
        return Response::from_parts(head, Body::from(whole));
    }
    let packing = whole.clone();
    let packed = tokio::task::spawn_blocking(move || packed(&packing)).await;
    match packed {
        Ok(Some(packed)) => {
            head.headers.remove(CONTENT_LENGTH);
            let gzip = HeaderValue::from_static("gzip");
            head.headers.insert(CONTENT_ENCODING, gzip);
            Response::from_parts(head, Body::from(packed))
        }
        _ => Response::from_parts(head, Body::from(whole)),
    }
}

fn packed(whole: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(whole).ok()?;
    encoder.finish().ok()
}

/// Whether gzip is named, and not with a weight of zero (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let wanted = headers.get_all(ACCEPT_ENCODING).into_iter();
    wanted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            let (name, weight) = part.split_once(';').unwrap_or((part, "q=1"));
            let weight = weight.trim().trim_start_matches("q=");
            name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|q: f32| q > 0.0)
        })
}

#[cfg(test)]
mod tests {
    use super::takes_gzip;
    use axum::http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

    #[test]
    fn a_reader_takes_gzip_when_it_says_so() {
        for (value, taken) in [
            ("gzip", true),
            ("deflate, GZip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=x", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(takes_gzip(&headers), taken, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
