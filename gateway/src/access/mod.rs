//! Who may use the record, and for what.
//!
//! * Every request is somebody's: of an account by its token or its session, or of whoever holds
//!   the token of the key folder, who may do everything.
//! * What a role may do stands in one table ([`Role`]); which patients an account sees follows
//!   from its teams ([`Scope`]).
//! * An account that is shut is refused at its next request, by token or session.
//! * A name that is not known takes as long to refuse as a wrong password.
//! * Whatever was done, tried or denied is written down ([`audit`]).
//! * An OpenID provider may vouch for further people and programs ([`openid`]).
//!
//! Deliberately absent: HTTP (`crate::http`) and boxes, which never read the record.

pub mod audit;
pub mod limit;
pub mod openid;
mod role;
mod rows;
mod secret;
mod session;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::config::AccessConfig;
use crate::db::{Connection, DbError, Place, Readers, Schema, Writer};
use crate::keys::GatewayKeys;
use crate::record::Scope;

pub use role::{Permission, Role};
pub use rows::{Listed, ListedToken};
pub use secret::{PASSWORD_MAX, PASSWORD_MIN, Secret, SecretError};
pub use session::{Begun, NotLoggedIn};

const STEPS: &[&str] = &[
    include_str!("accounts.sql"),
    include_str!("audit.sql"),
    include_str!("openid.sql"),
];
const QUEUE: usize = 256;
/// Passwords hashed at once; each takes 19 MiB.
const HASHING: usize = 2;
/// Longest life of a token.
pub const TOKEN_DAYS_MAX: u32 = 730;
const NAME_MAX: usize = 64;
const TEAMS_MAX: usize = 64;

/// Why something about an account was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The name cannot be one.
    #[error("{what} has 1 to {NAME_MAX} letters, digits, and - . _ @")]
    Name {
        /// What is named.
        what: &'static str,
    },
    /// Somebody has the name.
    #[error("there is an account {name} already")]
    Taken {
        /// The name.
        name: String,
    },
    /// Nobody has the name, or the account is shut.
    #[error("there is no account {name} that is open")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It would see nobody, or everybody and some.
    #[error("say whose patients the account sees: its teams, or all patients")]
    Scope,
    /// That is not the reference of such a resource.
    #[error("{text} is not of the form {expected}")]
    Reference {
        /// What was given.
        text: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A token that may do more than its account.
    #[error("a token of the role {role} could do more than its account, which is {of}")]
    RoleAbove {
        /// The role of the token.
        role: &'static str,
        /// The role of the account.
        of: &'static str,
    },
    /// No end, or one too far away.
    #[error("a token holds 1 to {TOKEN_DAYS_MAX} days")]
    Days,
    /// The account has no such token.
    #[error("the account has no token {label}")]
    NoToken {
        /// The name of the token.
        label: String,
    },
    /// Too many tokens.
    #[error("the account has as many tokens as one may have; revoke one first")]
    Crowded,
    /// Others vouch for it.
    #[error("the OpenID provider vouches for {name}: it has neither password nor token here")]
    Vouched {
        /// The name.
        name: String,
    },
    /// The password or token could not be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DbError),
}

impl AccessError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "access.name",
            Self::Taken { .. } => "access.taken",
            Self::Unknown { .. } => "access.unknown",
            Self::Scope => "access.scope",
            Self::Reference { .. } => "access.reference",
            Self::RoleAbove { .. } => "access.role",
            Self::Days => "access.days",
            Self::NoToken { .. } => "access.no-token",
            Self::Crowded => "access.crowded",
            Self::Vouched { .. } => "access.vouched",
            Self::Secret(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// An account to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// What it is to the team.
    pub role: Role,
    /// Whom it belongs to, as `Practitioner/id` or `PractitionerRole/id`.
    pub practitioner: Option<String>,
    /// Sees every patient, and what is assigned to none yet.
    pub all_patients: bool,
    /// The organizations whose patients it sees, each as `Organization/id`.
    pub teams: Vec<String>,
    /// The hash of its password; without one it has tokens only.
    #[serde(skip)]
    password: Option<String>,
}

impl NewAccount {
    /// An account without a password.
    pub const fn new(name: String, role: Role) -> Self {
        Self {
            name,
            role,
            practitioner: None,
            all_patients: false,
            teams: Vec::new(),
            password: None,
        }
    }

    fn check(&self) -> Result<(), AccessError> {
        check_name("an account", &self.name)?;
        self.check_but_name()
    }

    /// Whether role, teams and person fit together, whatever it is called.
    pub(crate) fn check_but_name(&self) -> Result<(), AccessError> {
        let reads = self.role.may(Permission::ReadRecord);
        let says = (self.all_patients, !self.teams.is_empty());
        let fits = match says {
            (true, true) => false,
            (false, false) => !reads,
            _ => reads,
        };
        let is_a_role = Role::OF_ACCOUNTS.contains(&self.role);
        if !fits || !is_a_role || self.teams.len() > TEAMS_MAX {
            return Err(AccessError::Scope);
        }
        let people = self.practitioner.iter();
        let people = people.map(|text| (text, "Practitioner/id or PractitionerRole/id"));
        let teams = self.teams.iter().map(|text| (text, "Organization/id"));
        for (text, expected) in people.chain(teams) {
            let (kind, id) = text.split_once('/').unwrap_or_default();
            let is_expected = expected
                .split(" or ")
                .any(|one| one.split('/').next() == Some(kind));
            if !is_expected || !cardio_fhir::shape::is_id(id) {
                let text = text.chars().take(NAME_MAX).collect();
                return Err(AccessError::Reference { text, expected });
            }
        }
        Ok(())
    }
}

fn check_local(name: &str) -> Result<(), AccessError> {
    let name = name.to_owned();
    match openid::is_of_provider(&name) {
        true => Err(AccessError::Vouched { name }),
        false => Ok(()),
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), AccessError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '@');
    match !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(plain) {
        true => Ok(()),
        false => Err(AccessError::Name { what }),
    }
}

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Whose.
    pub account: String,
    /// Its name; a token of the same name ends.
    pub label: String,
    /// What it may do at most; as much as the account when absent.
    pub role: Option<Role>,
    /// When it ends.
    pub ends: UtcMicros,
}

/// An account that is not shut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What it is to the team.
    pub role: Role,
    /// Whom it belongs to, as a reference.
    pub practitioner: Option<String>,
    /// Whether it sees every patient.
    pub all_patients: bool,
    /// The organizations whose patients it sees.
    pub teams: Vec<String>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account; none for who holds the token of the key folder.
    pub account: Option<String>,
    /// Whom it belongs to, as a reference.
    pub practitioner: Option<String>,
    /// What may be done: by the account, or less by its token.
    pub role: Role,
    /// What may be seen.
    pub scope: Scope,
}

impl Caller {
    /// Who holds the token of the key folder.
    pub const GATEWAY: Self = Self {
        account: None,
        practitioner: None,
        role: Role::Gateway,
        scope: Scope::Everything,
    };

    fn of(account: Account, role: Role) -> Self {
        let scope = match (role.may(Permission::ReadRecord), account.all_patients) {
            (false, _) => Scope::Directory,
            (true, true) => Scope::Everything,
            (true, false) => Scope::Teams(account.teams),
        };
        Self {
            account: Some(account.name),
            practitioner: account.practitioner,
            role,
            scope,
        }
    }

    /// Whether the caller may do something.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }
}

/// Accounts, tokens and sessions. Clones share one store.
#[derive(Clone)]
pub struct Access {
    writer: Writer,
    clock: Arc<dyn Clock>,
    hashing: Arc<Semaphore>,
    config: AccessConfig,
    gateway: [u8; 32],
    keys: Arc<GatewayKeys>,
    /// The name of this gateway, for who reads what was done.
    server: String,
    limits: Arc<limit::Limits>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// Opens or creates the store; `server` is the name of this gateway.
    ///
    /// # Errors
    /// [`DbError`] when the file cannot be used.
    pub fn open(
        place: &Place,
        config: &AccessConfig,
        (keys, server): (Arc<GatewayKeys>, &str),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DbError> {
        let schema = Schema {
            place: place.clone(),
            part: "access",
            steps: STEPS,
        };
        Ok(Self {
            writer: Writer::start(schema, QUEUE)?,
            clock,
            hashing: Arc::new(Semaphore::new(HASHING)),
            config: config.clone(),
            gateway: secret::fingerprint(&keys.api_token),
            keys,
            server: server.to_owned(),
            limits: Arc::new(limit::Limits::new(config.requests_per_s)),
        })
    }

    /// Connections that read its store.
    pub fn readers(&self) -> &Readers {
        self.writer.readers()
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccessError`]; then there is none.
    pub async fn add(
        &self,
        mut new: NewAccount,
        password: Option<Secret>,
    ) -> Result<(), AccessError> {
        new.check()?;
        if let Some(password) = password {
            new.password = Some(self.hashed(password).await?);
        }
        let now = self.clock.read().utc;
        self.writer
            .write(move |tx| rows::add(tx, &new, now))
            .await?
    }

    /// All accounts with their tokens.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub async fn list(&self) -> Result<Vec<Listed>, DbError> {
        self.readers().read_async(rows::list).await
    }

    /// Shuts an account, or opens it again.
    ///
    /// # Errors
    /// [`AccessError::Unknown`], or the store failed.
    pub async fn shut(&self, name: String, is_shut: bool) -> Result<(), AccessError> {
        let at = is_shut.then(|| self.clock.read().utc);
        self.writer
            .write(move |tx| rows::shut(tx, &name, at))
            .await?
    }

    /// Sets a password.
    ///
    /// # Errors
    /// [`AccessError`]; then the one before holds.
    pub async fn set_password(&self, name: String, password: Secret) -> Result<(), AccessError> {
        check_local(&name)?;
        let hash = self.hashed(password).await?;
        let work = move |tx: &Connection| rows::set_password(tx, &name, &hash);
        self.writer.write(work).await?
    }

    /// Makes a token that holds for some days; it is shown now and never again.
    ///
    /// # Errors
    /// [`AccessError`]; then there is none.
    pub async fn add_token(
        &self,
        account: String,
        label: String,
        role: Option<Role>,
        days: u32,
    ) -> Result<Secret, AccessError> {
        check_local(&account)?;
        check_name("a token", &label)?;
        if days == 0 || days > TOKEN_DAYS_MAX {
            return Err(AccessError::Days);
        }
        let (token, hash) = secret::token()?;
        let now = self.clock.read().utc;
        let new = NewToken {
            account,
            label,
            role,
            ends: UtcMicros(now.0.saturating_add(i64::from(days) * 86_400_000_000)),
        };
        let work = move |tx: &Connection| rows::add_token(tx, &new, &hash, now);
        self.writer.write(work).await??;
        Ok(token)
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`AccessError::NoToken`], or the store failed.
    pub async fn revoke_token(&self, account: String, label: String) -> Result<(), AccessError> {
        let work = move |tx: &Connection| rows::revoke_token(tx, &account, &label);
        self.writer.write(work).await?
    }

    async fn hashed(&self, password: Secret) -> Result<String, AccessError> {
        let hashed = self.hashing(move || secret::hashed(&password)).await?;
        Ok(hashed?)
    }

    /// Work with passwords: only so much at once, and never on the runtime's own threads.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DbError> {
        let _place = self.hashing.acquire().await.map_err(|_| DbError::Closed)?;
        let working = tokio::task::spawn_blocking(work).await;
        working.map_err(|_| DbError::Closed)
    }

    /// Whether a caller may ask once more now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&self, caller: &Caller) -> Result<(), Duration> {
        match &caller.account {
            Some(account) => self.limits.requests.take(account, self.now_us()),
            None => Ok(()),
        }
    }

    /// Notes that somebody at an address presented nothing that is known.
    ///
    /// # Errors
    /// How long to wait, when that is too often.
    pub fn refuse(&self, address: IpAddr) -> Result<(), Duration> {
        let counted = limit::counted(address);
        self.limits.strangers.take(&counted, self.now_us())
    }

    /// How long a session lasts at most.
    pub const fn longest(&self) -> Duration {
        self.config.longest.0
    }

    fn now_us(&self) -> u64 {
        self.clock.read().box_instant.micros
    }

    /// Who presents a token.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub async fn of_token(&self, token: &str) -> Result<Option<Caller>, DbError> {
        let hash = secret::fingerprint(token);
        if hash == self.gateway {
            return Ok(Some(Caller::GATEWAY));
        }
        let now = self.clock.read().utc;
        let found = self
            .readers()
            .read_async(move |c| rows::of_token(c, &hash, now));
        let found = found.await?;
        Ok(found.map(|(account, role)| Caller::of(account, role)))
    }
}
