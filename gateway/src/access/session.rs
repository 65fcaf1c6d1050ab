//! Sessions of people, who log in with a password.
//!
//! A session ends when nothing was asked in it for a while, when it has lasted long enough, when
//! its person logs out, when the password changes and when the account is shut.

use std::net::IpAddr;
use std::time::Duration;

use cardio_core::clock::UtcMicros;
use cardio_fhir::audit::{Deed, Outcome};

use super::audit::Event;
use super::limit::counted;
use super::{Access, AccessError, Account, Caller, Secret, rows, secret};
use crate::db::DbError;

/// A session is noted as going on at most this often.
const SEEN_EVERY_US: i64 = 15_000_000;

/// Why somebody was not logged in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoggedIn {
    /// Which of these it is, is not told.
    #[error("account or password is wrong, or the account is shut")]
    Wrong,
    /// Too many attempts that were wrong.
    #[error("too many attempts; wait {} s", wait.as_secs().max(1))]
    TooMany {
        /// When another one makes sense.
        wait: Duration,
    },
    /// The store failed, or there is no randomness.
    #[error("nobody can log in just now")]
    Failed(#[source] AccessError),
}

impl NotLoggedIn {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Wrong => "access.login",
            Self::TooMany { .. } => "access.attempts",
            Self::Failed(error) => error.code(),
        }
    }
}

fn failed(error: impl Into<AccessError>) -> NotLoggedIn {
    NotLoggedIn::Failed(error.into())
}

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// What the browser holds.
    pub token: Secret,
    /// Who it is.
    pub caller: Caller,
}

fn before(now: UtcMicros, span: Duration) -> UtcMicros {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    UtcMicros(now.0.saturating_sub(span))
}

impl Access {
    /// The moments before which a session must not have been seen last, or have begun.
    fn ended(&self, now: UtcMicros) -> (UtcMicros, UtcMicros) {
        (
            before(now, self.config.idle.0),
            before(now, self.config.longest.0),
        )
    }

    /// Now, and the moments of [`Self::ended`].
    pub(super) fn moments(&self) -> (UtcMicros, (UtcMicros, UtcMicros)) {
        let now = self.clock.read().utc;
        (now, self.ended(now))
    }

    /// Begins a session for who knows the password of an account.
    ///
    /// # Errors
    /// [`NotLoggedIn`]; a name that is not known takes as long as a wrong password.
    pub async fn log_in(
        &self,
        name: &str,
        password: Secret,
        address: IpAddr,
    ) -> Result<Begun, NotLoggedIn> {
        let (from, now_us) = (counted(address), self.now_us());
        let too_many = |wait| NotLoggedIn::TooMany { wait };
        let name = name.to_owned();
        self.limits
            .logins_from
            .take(&from, now_us)
            .map_err(too_many)?;
        self.limits.logins.take(&name, now_us).map_err(too_many)?;
        let of = name.clone();
        let found = self
            .readers()
            .read_async(move |c| rows::with_password(c, &of));
        let (account, kept) = match found.await.map_err(failed)? {
            Some((account, kept)) => (Some(account), kept),
            None => (None, None),
        };
        let checking = self.hashing(move || {
            let is_right = secret::is_right(&password, kept.as_deref());
            let outdated = kept.filter(|kept| is_right && secret::is_outdated(kept));
            (
                is_right,
                outdated.and_then(|_| secret::hashed(&password).ok()),
            )
        });
        let (is_right, anew) = checking.await.map_err(failed)?;
        let Some(account) = account.as_ref().filter(|_| is_right) else {
            // What was typed is not written down unless it is the name of an account: it may be
            // a password.
            let claimed = account.as_ref().map(|account| account.name.as_str());
            let event = Event::of_stranger(Deed::LogIn, claimed).from(address);
            self.trace(event).await.map_err(failed)?;
            return Err(NotLoggedIn::Wrong);
        };
        self.limits.logins_from.give_back(&from);
        self.limits.logins.give_back(&name);
        let (token, hash) = secret::token().map_err(failed)?;
        let (now, ended) = self.moments();
        let begin = self.writer.write(move |tx| {
            if let Some(anew) = &anew {
                rows::hash_anew(tx, &name, anew)?;
            }
            rows::begin_session(tx, &name, &hash, (now, ended))
        });
        begin.await.map_err(failed)?;
        let caller = Caller::of(account.clone(), account.role);
        let event = Event::of_caller(Deed::LogIn, Outcome::Done, &caller).from(address);
        self.trace(event).await.map_err(failed)?;
        Ok(Begun { token, caller })
    }

    /// Who holds a session that goes on; it goes on from now.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub async fn of_session(&self, token: &str) -> Result<Option<Caller>, DbError> {
        let (now, hash) = (self.moments().0, secret::fingerprint(token));
        let Some((account, seen)) = self.session(token).await? else {
            return Ok(None);
        };
        let step =
            SEEN_EVERY_US.min(i64::try_from(self.config.idle.0.as_micros() / 4).unwrap_or(0));
        if now.0.saturating_sub(seen.0) >= step {
            self.writer
                .write(move |tx| rows::see_session(tx, &hash, now))
                .await?;
        }
        let role = account.role;
        Ok(Some(Caller::of(account, role)))
    }

    /// Who holds a session, which does not go on for the question.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub async fn holds(&self, token: &str) -> Result<Option<Caller>, DbError> {
        let found = self.session(token).await?;
        Ok(found.map(|(account, _)| {
            let role = account.role;
            Caller::of(account, role)
        }))
    }

    /// The account of a session that has not ended, and when it was last seen.
    async fn session(&self, token: &str) -> Result<Option<(Account, UtcMicros)>, DbError> {
        let (hash, (_, ended)) = (secret::fingerprint(token), self.moments());
        let reading = self
            .readers()
            .read_async(move |c| rows::of_session(c, &hash, ended));
        reading.await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub async fn log_out(&self, token: &str) -> Result<(), DbError> {
        let hash = secret::fingerprint(token);
        self.writer
            .write(move |tx| rows::end_session(tx, &hash))
            .await
    }
}
