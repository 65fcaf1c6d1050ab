//! The trace of who did what.
//!
//! * An event is committed before the answer that it is about leaves; what waits together is
//!   committed together.
//! * Events are a hash chain with numbers without a hole. The newest one is signed with the
//!   gateway's control key, and only that signature is kept: whoever takes events off the end
//!   has none that fits what is left. An operator who notes a head elsewhere (`audit verify`
//!   prints it) can prove later that all before it is unchanged, even against the key's holder.
//! * Nothing clinical is in it: logical ids, names of parameters, accounts, addresses.
//!
//! ```text
//! hash(n) = SHA-256("cardio audit 1" ‖ 0 ‖ hash(n-1) ‖ n ‖ at_us ‖ body)     hash(0) = 32 zeros
//! signature = Ed25519("cardio audit head 1" ‖ 0 ‖ n ‖ hash(n))      numbers: 8 bytes, big-endian
//! ```

mod chain;
mod find;

use cardio_core::clock::UtcMicros;
use cardio_fhir::audit::{AuditFacts, Deed, Outcome, audit_event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Access, Caller};
use crate::db::DbError;

pub use chain::{Broken, Head, Proof};
pub use find::{Found, NotAsked};

/// Who did it when no account did: the holder of the key folder's token.
const GATEWAY: &str = "gateway-token";
/// Who did it over the operator's socket.
const OPERATOR: &str = "operator";
/// Who did it when nobody known did.
const NOBODY: &str = "unknown";
/// The program itself.
const PROGRAM: &str = "cardio-gateway";

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    deed: String,
    outcome: String,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    patients: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    params: Vec<String>,
}

/// What an event was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Types, or resources as `Type/id`.
    pub targets: Vec<String>,
    /// Logical ids of patients.
    pub patients: Vec<String>,
    /// Names of the parameters of a search.
    pub params: Vec<String>,
}

impl Event {
    fn new(deed: Deed, outcome: Outcome, account: &str) -> Self {
        Self {
            deed: deed.name().to_owned(),
            outcome: outcome.code().to_owned(),
            account: account.to_owned(),
            person: None,
            address: None,
            targets: Vec::new(),
            patients: Vec::new(),
            params: Vec::new(),
        }
    }

    /// Of somebody who asked over HTTPS.
    pub fn of_caller(deed: Deed, outcome: Outcome, caller: &Caller) -> Self {
        let account = caller.account.as_deref().unwrap_or(GATEWAY);
        Self {
            person: caller.practitioner.clone(),
            ..Self::new(deed, outcome, account)
        }
    }

    /// Of nobody known; an account that was claimed is named.
    pub fn of_stranger(deed: Deed, claimed: Option<&str>) -> Self {
        Self::new(deed, Outcome::Denied, claimed.unwrap_or(NOBODY))
    }

    /// Of the operator; `by` is the person who answers for it, if a reference names one.
    pub fn of_operator(deed: Deed, outcome: Outcome, by: Option<&str>) -> Self {
        let is_reference = |by: &&str| {
            let (kind, id) = by.split_once('/').unwrap_or_default();
            ["Practitioner", "PractitionerRole"].contains(&kind) && cardio_fhir::shape::is_id(id)
        };
        Self {
            person: by.filter(is_reference).map(str::to_owned),
            ..Self::new(deed, outcome, OPERATOR)
        }
    }

    /// Of the program itself.
    pub fn of_program(deed: Deed) -> Self {
        Self::new(deed, Outcome::Done, PROGRAM)
    }

    /// Says where it came from.
    pub fn from(mut self, address: std::net::IpAddr) -> Self {
        self.address = Some(address.to_string());
        self
    }

    /// Says what it was about.
    pub fn about(mut self, about: About) -> Self {
        self.targets = about.targets;
        self.patients = about.patients;
        self.params = about.params;
        self
    }

    fn resource(&self, seq: u64, at: UtcMicros, server: &str) -> Value {
        audit_event(&AuditFacts {
            id: &seq.to_string(),
            at,
            deed: Deed::from_name(&self.deed).unwrap_or(Deed::Operation),
            outcome: Outcome::from_code(&self.outcome).unwrap_or(Outcome::Denied),
            account: &self.account,
            person: self.person.as_deref(),
            address: self.address.as_deref(),
            server,
            targets: &self.targets,
            patients: &self.patients,
            params: &self.params,
        })
    }
}

impl Access {
    /// Writes events down; they are on the disk when this returns.
    ///
    /// # Errors
    /// [`DbError`] when they could not be stored: then what they are about must not be answered.
    pub async fn trace(&self, event: Event) -> Result<(), DbError> {
        let (keys, now) = (std::sync::Arc::clone(&self.keys), self.clock.read().utc);
        let signer = keys.control().map_err(|_| DbError::Damaged {
            what: "sign the trace",
        })?;
        self.writer
            .write(move |tx| chain::append(tx, &event, now, &signer))
            .await
    }

    /// Walks the whole chain; `noted` is a head that somebody noted before.
    ///
    /// # Errors
    /// [`DbError`] when the store fails; what is wrong with the chain is in the answer.
    pub async fn verify(&self, noted: Option<Head>) -> Result<Proof, DbError> {
        let keys = std::sync::Arc::clone(&self.keys);
        let walking = self.readers().read_async(move |c| {
            chain::verify(c, noted.as_ref(), |key, message, signature| {
                let known = keys.control_of(key);
                known.is_some_and(|known| known.verify(message, signature))
            })
        });
        walking.await
    }

    /// One event, as a resource.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub async fn event(&self, id: &str) -> Result<Option<Value>, DbError> {
        let (id, server) = (id.to_owned(), self.server.clone());
        let reading = self
            .readers()
            .read_async(move |c| find::one(c, &id, &server));
        reading.await
    }

    /// Events that match a search.
    ///
    /// # Errors
    /// [`DbError`] when the store fails, or what of the search cannot be asked of events.
    pub async fn events(
        &self,
        query: crate::record::Query,
    ) -> Result<Result<Found, NotAsked>, DbError> {
        let server = self.server.clone();
        let reading = self
            .readers()
            .read_async(move |c| find::search(c, &query, &server));
        reading.await
    }
}
