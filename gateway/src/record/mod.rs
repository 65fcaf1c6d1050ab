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

mod changes;
mod everything;
mod export;
mod include;
mod merged;
mod query;
mod scope;
mod search;
mod store;
mod write;

pub use changes::{Change, Changes, ChangesQuery, changes, newest};
pub use everything::{EverythingQuery, everything};
pub use export::export;
pub use include::Along;
pub use merged::{filed_for, repoint, survivor, undressed};
pub use query::{Clause, Comparison, Include, Query, QueryError, Sort, parse};
pub use scope::{DIRECTORY, Scope, about, named};
pub use search::{Page, search};
pub use store::{BinaryBytes, Put, Versioned, binary_bytes, put, read, read_for, read_version};
pub(crate) use write::is_version;
pub use write::{Wanted, WriteRefused, Written, write};

/// Statements of each schema version.
pub const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("clocks.sql"),
    include_str!("clocks_2.sql"),
    include_str!("schema_2.sql"),
    include_str!("files.sql"),
    include_str!("schema_3.sql"),
    include_str!("changes.sql"),
    include_str!("alert_life.sql"),
    include_str!("merges.sql"),
    include_str!("pushed.sql"),
    include_str!("scope.sql"),
    include_str!("requests.sql"),
    include_str!("signatures.sql"),
    include_str!("originals.sql"),
    include_str!("unwritten.sql"),
];

/// The types that are kept, with what can be done with them over HTTP.
pub const KINDS: [&str; 15] = [
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
    "ServiceRequest",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Consent",
];

/// The type of that name, if it is kept.
pub fn kind(name: &str) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| *kind == name)
}
