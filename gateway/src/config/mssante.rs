//! How reports are sent by secure health mail.

use serde::Deserialize;

/// What a message of secure health mail says of the team and its documents.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MssanteConfig {
    /// The team's address in secure health mail.
    pub from: String,
    /// Number of this software in the national catalogue (`X-MSS-NIL`).
    pub nil: String,
    /// What the documents are.
    pub document: Code,
    /// Their class.
    pub class: Code,
    /// Their format.
    pub format: Code,
    /// What kind of place the team works in.
    pub facility: Code,
    /// In which frame of care.
    pub practice: Code,
}

/// A code of a national value set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// The code.
    pub code: String,
    /// What it means, in French.
    pub name: String,
    /// Its system as an OID; LOINC when absent.
    pub system: Option<String>,
}
