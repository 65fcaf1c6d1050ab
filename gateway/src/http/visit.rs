//! One request of somebody, from the gate to the answer: who asks, and what may be asked.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::respond::Refusal;
use crate::access::{Caller, Permission};
use crate::record::{DIRECTORY, Scope};

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
}

impl Visit {
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller: Arc::new(caller),
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What may be seen, to hand to a thread that reads.
    pub(super) fn scope(&self) -> Scope {
        self.caller.scope.clone()
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
