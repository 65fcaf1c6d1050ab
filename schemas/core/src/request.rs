//! The request that an exam is made for, as far as this crate may know: an opaque reference.

use crate::subject::is_logical_id;

/// Opaque reference to a request of the gateway's record. Says nothing about the patient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestRef(String);

/// Why a text is not a reference to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request reference: 1 to 64 ASCII letters, digits, '-' or '.' are expected")]
pub struct RequestRefError;

impl RequestRefError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "id.request"
    }
}

impl RequestRef {
    /// A reference in the form of a FHIR logical id (R4 datatypes, `id`).
    ///
    /// # Errors
    /// [`RequestRefError`] when the text is not of that form.
    pub fn new(text: &str) -> Result<Self, RequestRefError> {
        if is_logical_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RequestRefError)
        }
    }

    /// The reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::RequestRef;

    #[test]
    fn a_request_is_named_by_a_logical_id_and_nothing_else() {
        assert_eq!(RequestRef::new("req.1-A").unwrap().as_str(), "req.1-A");
        for bad in ["", "two words", "ServiceRequest/r1", &"x".repeat(65)] {
            assert_eq!(RequestRef::new(bad).unwrap_err().code(), "id.request");
        }
    }
}
