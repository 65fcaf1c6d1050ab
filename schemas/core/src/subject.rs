//! The patient, as far as this crate may know: an opaque reference.

/// The longest reference to a subject, in bytes: a FHIR logical id (R4 datatypes, `id`).
pub const SUBJECT_REF_MAX_BYTES: usize = 64;

/// Opaque reference to a patient of the gateway's record. Holds no name and no identity
/// number, so that nothing which carries it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectRef(String);

/// Why a text is not a reference to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a subject reference: 1 to 64 ASCII letters, digits, '-' or '.' are expected")]
pub struct SubjectRefError;

impl SubjectRefError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "id.subject"
    }
}

impl SubjectRef {
    /// A reference in the form of a FHIR logical id.
    ///
    /// # Errors
    /// [`SubjectRefError`] when the text is not of that form.
    pub fn new(text: &str) -> Result<Self, SubjectRefError> {
        if is_logical_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SubjectRefError)
        }
    }

    /// The reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is a FHIR logical id (R4 datatypes, `id`).
pub(crate) fn is_logical_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !text.is_empty() && text.len() <= SUBJECT_REF_MAX_BYTES && text.chars().all(allowed)
}

/// Facts about a patient that a file states, as it states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedPatient {
    /// Identifier in the source's own system.
    pub id: Option<String>,
    /// Name, as written.
    pub name: Option<String>,
    /// Sex, as coded by the source.
    pub sex: Option<String>,
    /// Date of birth, as written.
    pub birth_date: Option<String>,
    /// Age, as written.
    pub age: Option<String>,
}
