//! People and programs whom an OpenID Connect provider vouches for.
//!
//! * A person logs in with the authorization code and a proof key; what begins is a session like
//!   any other. A program presents an access token that is a signed JWT.
//! * What they may do is what the configuration grants to their claims ([`grant`]); whoever is
//!   granted nothing is refused. A session has what was granted at the newest log-in, a token
//!   what it says itself.
//! * Each has an account here, named `openid:` and the subject, which an operator can shut.
//! * Local accounts need the provider for nothing.
//!
//! Deliberately absent: HTTP towards browsers (`crate::http`), and logging out at the provider.

mod attempt;
mod claims;
mod grant;
mod jws;
mod provider;
mod rows;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_fhir::audit::{Deed, Outcome};
use serde_json::{Map, Value};

use super::audit::Event;
use super::limit::counted;
use super::session::Begun;
use super::{Access, AccessError, Account, Caller, NewAccount, Secret};
use crate::config::OpenIdConfig;
use crate::db::DbError;
use crate::outgoing::{OutgoingError, escaped};
use attempt::Attempt;
use claims::Expected;
use jws::Jws;
use provider::Provider;
use rows::{Standing, Vouched};

pub use claims::ClaimError;
pub use jws::{Algorithm, JwsError};
pub use provider::ProviderError;

/// Kinds of ID tokens.
const OF_LOG_IN: &[&str] = &["", "jwt"];
/// Kinds of access tokens: of RFC 9068, and of providers from before it.
const OF_BEARER: &[&str] = &["at+jwt", "jwt", ""];
/// Longest code.
const CODE_MAX: usize = 2_048;

/// Why somebody whom the provider is to vouch for is not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIdError {
    /// Too many attempts that were wrong.
    #[error("too many attempts; wait {} s", wait.as_secs().max(1))]
    TooMany {
        /// When another one makes sense.
        wait: Duration,
    },
    /// The browser has not left from here, or long ago.
    #[error("this log-in was not begun in this browser, or too long ago; begin again")]
    Elsewhere,
    /// The provider did not let the person in.
    #[error("the OpenID provider did not log anybody in")]
    Denied,
    /// The provider is of no help.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The token is none, or nobody's.
    #[error("the token is not believed: {0}")]
    Token(JwsError),
    /// The token does not count here.
    #[error("the token is not for this: {0}")]
    Claims(ClaimError),
    /// The provider vouches for them, but nothing is granted.
    #[error("nothing is granted here to what the OpenID provider says of this account")]
    NoGrant,
    /// The account is shut, or is of another provider's subject.
    #[error("the account is shut here")]
    Shut,
    /// The store failed, or there is no randomness.
    #[error("nobody can log in just now")]
    Failed(#[source] AccessError),
}

impl OpenIdError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "access.attempts",
            Self::Elsewhere => "openid.elsewhere",
            Self::Denied => "openid.denied",
            Self::Provider(error) => error.code(),
            Self::Token(error) => error.code(),
            Self::Claims(error) => error.code(),
            Self::NoGrant => "openid.no-grant",
            Self::Shut => "openid.shut",
            Self::Failed(error) => error.code(),
        }
    }
}

impl From<DbError> for OpenIdError {
    fn from(error: DbError) -> Self {
        Self::Failed(AccessError::Store(error))
    }
}

/// A refusal, and whose account it was about if the provider vouched for that much.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: OpenIdError,
    /// The account.
    pub account: Option<String>,
}

impl<E: Into<OpenIdError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            account: None,
        }
    }
}

/// A browser that is to be sent to the provider.
#[derive(Debug)]
pub struct Leaving {
    /// Where it is sent.
    pub address: String,
    /// What it is to hold until it comes back.
    pub cookie: Secret,
}

/// What a browser brings back from the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// What it was sent away with.
    pub state: Option<String>,
    /// What is redeemed for a token.
    pub code: Option<String>,
    /// The provider's own name (RFC 9207).
    pub issuer: Option<String>,
}

/// The provider of a configuration, and the accounts that it vouches for. Clones are the same.
#[derive(Clone)]
pub struct OpenId {
    config: Arc<OpenIdConfig>,
    provider: Arc<Provider>,
    access: Access,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for OpenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenId")
            .field("issuer", &self.config.issuer)
            .finish_non_exhaustive()
    }
}

impl OpenId {
    /// Reads what the configuration names; the provider itself is asked when it is first needed.
    ///
    /// # Errors
    /// [`OutgoingError`] when a file cannot be used.
    pub fn new(config: &OpenIdConfig, access: Access) -> Result<Self, OutgoingError> {
        let clock = Arc::clone(&access.clock);
        Ok(Self {
            provider: Arc::new(Provider::new(config, Arc::clone(&clock))?),
            config: Arc::new(config.clone()),
            access,
            clock,
        })
    }

    /// Whether the files that a configuration names can be used.
    ///
    /// # Errors
    /// [`OutgoingError`] when one cannot.
    pub fn check(config: &OpenIdConfig) -> Result<(), OutgoingError> {
        provider::files(config).map(drop)
    }

    /// Where a browser goes once somebody is logged in.
    pub fn landing(&self) -> &str {
        &self.config.landing
    }

    /// Sends a browser to the provider.
    ///
    /// # Errors
    /// [`OpenIdError`] when the provider is away.
    pub async fn begin(&self) -> Result<Leaving, OpenIdError> {
        let book = self.provider.book().await?;
        let attempt = Attempt::begin().map_err(|error| OpenIdError::Failed(error.into()))?;
        let scopes = std::iter::once("openid").chain(self.config.scopes.iter().map(String::as_str));
        let scopes: Vec<&str> = scopes.collect();
        let parameters = [
            ("response_type", "code".to_owned()),
            ("client_id", self.config.client_id.clone()),
            ("redirect_uri", self.config.redirect.clone()),
            ("scope", scopes.join(" ")),
            ("state", attempt.state()),
            ("nonce", attempt.nonce()),
            ("code_challenge", attempt.challenge()),
            ("code_challenge_method", "S256".to_owned()),
        ];
        let parameters = parameters.map(|(name, value)| format!("{name}={}", escaped(&value)));
        let between = match book.authorization.contains('?') {
            true => '&',
            false => '?',
        };
        Ok(Leaving {
            address: format!("{}{between}{}", book.authorization, parameters.join("&")),
            cookie: attempt.cookie().clone(),
        })
    }

    /// Begins a session for who comes back from the provider, vouched for.
    ///
    /// # Errors
    /// [`OpenIdError`]; it is written down.
    pub async fn complete(
        &self,
        cookie: Option<&str>,
        returned: Returned,
        address: IpAddr,
    ) -> Result<Begun, OpenIdError> {
        let (from, now_us) = (counted(address), self.access.now_us());
        let taken = self.access.limits.logins_from.take(&from, now_us);
        taken.map_err(|wait| OpenIdError::TooMany { wait })?;
        match self.logged_in(cookie, returned).await {
            Ok(begun) => {
                self.access.limits.logins_from.give_back(&from);
                let event = Event::of_caller(Deed::LogIn, Outcome::Done, &begun.caller);
                self.access.trace(event.from(address)).await?;
                Ok(begun)
            }
            Err(Refused { error, account }) => {
                let event = Event::of_stranger(Deed::LogIn, account.as_deref()).from(address);
                self.access.trace(event).await?;
                Err(error)
            }
        }
    }

    async fn logged_in(&self, cookie: Option<&str>, returned: Returned) -> Result<Begun, Refused> {
        let attempt = cookie.map(Attempt::of_cookie);
        let state = returned.state.as_deref().unwrap_or_default();
        let attempt = attempt.filter(|attempt| attempt.is_state(state));
        let attempt = attempt.ok_or(OpenIdError::Elsewhere)?;
        let book = self.provider.book().await?;
        let is_ours = match &returned.issuer {
            Some(issuer) => *issuer == self.config.issuer,
            None => !book.names_itself,
        };
        if !is_ours {
            return Err(OpenIdError::Claims(ClaimError::Issuer).into());
        }
        let code = returned.code.filter(|code| code.len() <= CODE_MAX);
        let code = code.ok_or(OpenIdError::Denied)?;
        let redeeming = self.provider.redeem(book, code, attempt.verifier());
        let token = redeeming.await?;
        let jws = self.read(&token, OF_LOG_IN)?;
        let claims = self.verified(&jws).await?;
        let expected = self.expected(&self.config.client_id);
        let subject = claims::of_log_in(claims, expected, &attempt.nonce());
        let subject = subject.map_err(OpenIdError::Claims)?;
        let vouched = self.vouched(subject, claims)?;
        let name = vouched.account.name.clone();
        let entered = self.enter(vouched).await;
        entered.map_err(|error| Refused {
            error,
            account: Some(name),
        })
    }

    /// Writes the account down and begins a session of it, or neither.
    async fn enter(&self, vouched: Vouched) -> Result<Begun, OpenIdError> {
        let caller = caller(vouched.account.clone());
        let name = vouched.account.name.clone();
        let (now, clear) = self.access.moments();
        let (token, hash) =
            super::secret::token().map_err(|error| OpenIdError::Failed(error.into()))?;
        let entering = self.access.writer.write(move |tx| {
            if let Err(refused) = rows::write(tx, &vouched, now)? {
                return Ok(Err(refused));
            }
            super::rows::begin_session(tx, &name, &hash, (now, clear)).map(Ok)
        });
        entering.await?.map_err(shut)?;
        Ok(Begun { token, caller })
    }

    /// Whether a token that is presented is to be checked here.
    pub fn takes(&self, token: &str) -> bool {
        self.config.bearer.is_some() && token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who presents an access token.
    ///
    /// # Errors
    /// [`Refused`]; whoever asks writes it down.
    pub async fn bearer(&self, token: &str) -> Result<Caller, Refused> {
        let bearer = self.config.bearer.as_ref().ok_or(OpenIdError::NoGrant)?;
        let jws = self.read(token, OF_BEARER)?;
        let claims = self.verified(&jws).await?;
        let expected = self.expected(&bearer.audience);
        let subject = claims::of_bearer(claims, expected, &bearer.clients);
        let vouched = self.vouched(subject.map_err(OpenIdError::Claims)?, claims)?;
        let account = vouched.account.clone();
        match self.admitted(vouched).await {
            Ok(()) => Ok(caller(account)),
            Err(error) => Err(Refused {
                error,
                account: Some(account.name),
            }),
        }
    }

    /// Whether an account is not shut; one that is new is written down.
    async fn admitted(&self, vouched: Vouched) -> Result<(), OpenIdError> {
        let of = vouched.clone();
        let readers = self.access.readers();
        match readers.read_async(move |c| rows::standing(c, &of)).await? {
            Standing::Open => Ok(()),
            Standing::Shut | Standing::Foreign => Err(OpenIdError::Shut),
            Standing::Absent => {
                let now = self.clock.read().utc;
                let writing = self
                    .access
                    .writer
                    .write(move |tx| rows::write(tx, &vouched, now));
                writing.await?.map_err(shut)
            }
        }
    }

    fn read<'t>(&self, token: &'t str, kinds: &[&str]) -> Result<Jws<'t>, OpenIdError> {
        Jws::read(token, &self.config.algorithms, kinds).map_err(OpenIdError::Token)
    }

    /// The claims of a token, verified; a key that is not known is asked for once.
    async fn verified<'j>(&self, jws: &'j Jws<'_>) -> Result<&'j Map<String, Value>, OpenIdError> {
        let book = self.provider.book().await?;
        let verified = match jws.verified(&book.keys) {
            Err(JwsError::UnknownKey) => jws.verified(&self.provider.ask().await?.keys),
            told => told,
        };
        verified.map_err(OpenIdError::Token)
    }

    fn expected<'e>(&'e self, audience: &'e str) -> Expected<'e> {
        Expected {
            issuer: &self.config.issuer,
            audience,
            now_s: self.clock.read().utc.0.div_euclid(1_000_000),
        }
    }

    fn vouched(&self, subject: &str, claims: &Map<String, Value>) -> Result<Vouched, Refused> {
        match grant::account(&self.config, subject, claims) {
            Some(account) => Ok(Vouched {
                account,
                issuer: self.config.issuer.clone(),
                subject: subject.to_owned(),
            }),
            None => Err(Refused {
                error: OpenIdError::NoGrant,
                account: Some(grant::name(subject)),
            }),
        }
    }
}

fn shut(error: AccessError) -> OpenIdError {
    match error {
        AccessError::Unknown { .. } | AccessError::Taken { .. } => OpenIdError::Shut,
        error => OpenIdError::Failed(error),
    }
}

fn caller(account: NewAccount) -> Caller {
    let role = account.role;
    let account = Account {
        name: account.name,
        role,
        practitioner: account.practitioner,
        all_patients: account.all_patients,
        teams: account.teams,
    };
    Caller::of(account, role)
}

/// Whether an account is one that the provider vouches for.
pub(super) fn is_of_provider(name: &str) -> bool {
    name.starts_with(grant::PREFIX)
}
