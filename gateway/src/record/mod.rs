//! The patient record: opened records, and the FHIR resources made of them.
//!
//! * A resource is written only when its content differs from the stored one; each change is
//!   a new version, and the old one stays in the history.
//! * Version and time of a resource are columns; the stored body holds neither, so that the
//!   same facts give the same bytes.
//! * Bytes of a Binary are not stored twice: they are read from the opened records, or are
//!   those of an uploaded file.
//!
//! Deliberately absent: how records become resources. [`crate::filing`] does that.

mod export;
mod query;
mod search;
mod store;

pub use export::export;
pub use query::{Clause, Comparison, Query, QueryError, Sort, parse};
pub use search::{Page, search};
pub use store::{BinaryBytes, Put, Versioned, binary_bytes, history, put, read, read_version};

/// Statements of each schema version.
pub const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("clocks.sql"),
    include_str!("clocks_2.sql"),
    include_str!("schema_2.sql"),
    include_str!("files.sql"),
    include_str!("schema_3.sql"),
];

/// The types that are kept, with what can be done with them over HTTP.
pub const KINDS: [&str; 10] = [
    "Patient",
    "Device",
    "Observation",
    "DiagnosticReport",
    "DocumentReference",
    "Binary",
    "DetectedIssue",
    "Communication",
    "Task",
    "Provenance",
];

/// The type of that name, if it is kept.
pub fn kind(name: &str) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| *kind == name)
}
