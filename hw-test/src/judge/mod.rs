//! What was sent, what is in the record, and whether the two are the same.

pub(crate) mod compare;
pub(crate) mod fhir;
pub(crate) mod ledger;
pub(crate) mod record;
