//! One request of somebody, from the gate to the answer: who asks, what may be asked, and what
//! was done for them, to be written down.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use cardio_fhir::audit::Deed;
use cardio_fhir::shape::is_id;
use serde_json::Value;

use super::audit;
use super::respond::Refusal;
use crate::access::audit::About;
use crate::access::{Caller, Permission};
use crate::record::{self, DIRECTORY, Scope};

/// What an address asks of whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// This permission.
    This(Permission),
    /// The permission to read the type that the address begins with.
    ToRead,
    /// The permission to write that type.
    ToWrite,
    /// What each entry of the body asks; the handler checks them one by one.
    EachEntry,
}

impl Needs {
    /// The permission that is asked for a type; none when the entries decide.
    pub(super) fn permission(self, kind: &str) -> Option<Permission> {
        let is_directory = DIRECTORY.contains(&kind);
        match (self, is_directory) {
            (Self::This(permission), _) => Some(permission),
            (Self::ToRead, _) if kind == audit::KIND => Some(Permission::Audit),
            (Self::ToRead, true) => Some(Permission::ReadDirectory),
            (Self::ToRead, false) => Some(Permission::ReadRecord),
            (Self::ToWrite, true) => Some(Permission::Administer),
            (Self::ToWrite, false) => Some(Permission::WriteRecord),
            (Self::EachEntry, _) => None,
        }
    }
}

/// One request of somebody.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    caller: Arc<Caller>,
    done: Arc<Mutex<Done>>,
}

/// What was done. A page and what comes along with it bound how much there is.
#[derive(Debug, Default)]
struct Done {
    deed: Option<Deed>,
    targets: BTreeSet<String>,
    patients: BTreeSet<String>,
    params: BTreeSet<String>,
}

impl Visit {
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller: Arc::new(caller),
            done: Arc::default(),
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What may be seen, to hand to a thread that reads.
    pub(super) fn scope(&self) -> Scope {
        self.caller.scope.clone()
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is being done, at an address below the base.
    pub(super) fn does(&self, deed: Deed, path: &str) {
        self.done().deed = Some(deed);
        let mut parts = path.split('/');
        let kind = parts.next().and_then(record::kind);
        if let Some(kind) = kind {
            self.touches(kind, parts.next().filter(|id| is_id(id)));
        }
    }

    /// Notes a type or a resource.
    pub(super) fn touches(&self, kind: &str, id: Option<&str>) {
        let mut done = self.done();
        match (kind, id) {
            ("Patient", Some(id)) => done.patients.insert(id.to_owned()),
            (_, Some(id)) => done.targets.insert(format!("{kind}/{id}")),
            (_, None) => done.targets.insert(kind.to_owned()),
        };
    }

    /// Notes the patients that a resource is about.
    pub(super) fn sees(&self, resource: &Value) {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let mut patients = record::named(resource);
        if let (Some("Patient"), Some(id)) = (text("resourceType"), text("id")) {
            patients.insert(id.to_owned());
        }
        self.sees_patients(patients);
    }

    /// Notes patients.
    pub(super) fn sees_patients(&self, patients: impl IntoIterator<Item = String>) {
        let patients = patients.into_iter().filter(|id| is_id(id));
        self.done().patients.extend(patients);
    }

    /// Notes a search by the names of its parameters, and the patient that it names.
    pub(super) fn asks(&self, params: &[(String, String)]) {
        let names = params
            .iter()
            .map(|(name, _)| name.chars().take(64).collect());
        self.done().params.extend(names);
        for (name, value) in params {
            if ["patient", "subject"].contains(&name.split(':').next().unwrap_or_default()) {
                let ids = value
                    .split(',')
                    .map(|one| one.rsplit('/').next().unwrap_or(one));
                self.sees_patients(ids.map(str::to_owned));
            }
        }
    }

    /// What was done, if it is to be written down.
    pub(super) fn outcome(&self) -> Option<(Deed, About)> {
        let mut done = self.done();
        let done = std::mem::take(&mut *done);
        let list = |set: BTreeSet<String>| set.into_iter().collect();
        let about = About {
            targets: list(done.targets),
            patients: list(done.patients),
            params: list(done.params),
        };
        done.deed.map(|deed| (deed, about))
    }

    /// Refuses what the caller may not do.
    pub(super) fn check(&self, needs: Needs, kind: &str) -> Result<(), Refusal> {
        match needs.permission(kind) {
            Some(permission) if !self.caller.may(permission) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!("the role {} does not allow this", self.caller.role.name()),
            )),
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Refusal::unauthorised("no request comes past the gate"))
    }
}
