//! The provider itself: what it says of itself (OpenID Connect Discovery 1.0), its keys, and the
//! exchange of a code (RFC 6749, 4.1.3).
//!
//! * What it says is asked for when it is first needed, and again after a while, or once when a
//!   token names a key that is not known; never more often than every [`PAUSE_US`], whoever asks.
//! * While it is away, what it said last holds for a day, so that tokens are still believed.
//! * Answers are bounded in size and time; no redirection is followed.
//!
//! Deliberately absent: what tokens say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardio_core::clock::Clock;
use serde_json::Value;
use tokio::sync::Semaphore;
use ureq::Agent;

use super::jws::Keys;
use crate::access::Secret;
use crate::config::{OpenIdConfig, is_address};
use crate::outgoing::{OutgoingError, agent, escaped, read};

/// Longest time for one answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer.
const ANSWER_MAX: u64 = 256 * 1024;
/// It is asked again after this long,
const FRESH_US: u64 = 600 * 1_000_000;
/// but not before this long after the last time that it was asked.
const PAUSE_US: u64 = 10 * 1_000_000;
/// While it is away, what it said holds for this long.
const KEPT_US: u64 = 86_400 * 1_000_000;
/// Codes that are redeemed at once.
const AT_ONCE: usize = 8;

/// Why the provider is of no help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// It does not answer.
    #[error("the OpenID provider cannot be reached: {why}")]
    Away {
        /// What happened.
        why: String,
    },
    /// What it says cannot be used.
    #[error("the OpenID provider's {what} cannot be used: {why}")]
    Odd {
        /// Which answer.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// It did not redeem a code.
    #[error("the OpenID provider does not redeem the code ({status})")]
    Unredeemed {
        /// Its status.
        status: u16,
    },
    /// As many are logging in as are let.
    #[error("too many log in at once")]
    Busy,
}

impl ProviderError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Away { .. } => "openid.provider.away",
            Self::Odd { .. } => "openid.provider.odd",
            Self::Unredeemed { .. } => "openid.provider.code",
            Self::Busy => "openid.provider.busy",
        }
    }
}

/// What the provider says of itself.
#[derive(Debug)]
pub(super) struct Book {
    /// Where browsers are sent.
    pub(super) authorization: String,
    /// Whether it names itself in what browsers bring back (RFC 9207).
    pub(super) names_itself: bool,
    /// Its keys.
    pub(super) keys: Keys,
    token: String,
    read_us: u64,
}

#[derive(Debug, Default)]
struct Known {
    book: Option<Arc<Book>>,
    asked_us: Option<u64>,
    failure: Option<ProviderError>,
}

/// The provider.
pub(super) struct Provider {
    agent: Agent,
    config: OpenIdConfig,
    secret: Option<Secret>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    asking: tokio::sync::Mutex<()>,
    redeeming: Semaphore,
}

impl Provider {
    /// # Errors
    /// [`OutgoingError`] when a file that the configuration names cannot be used.
    pub(super) fn new(config: &OpenIdConfig, clock: Arc<dyn Clock>) -> Result<Self, OutgoingError> {
        let (agent, secret) = files(config)?;
        Ok(Self {
            agent,
            config: config.clone(),
            secret,
            clock,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            redeeming: Semaphore::new(AT_ONCE),
        })
    }

    fn now_us(&self) -> u64 {
        self.clock.read().box_instant.micros
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says, of now or of not long ago.
    ///
    /// # Errors
    /// [`ProviderError`] when it is away and has been for long, or says what cannot be used.
    pub(super) async fn book(self: &Arc<Self>) -> Result<Arc<Book>, ProviderError> {
        let held = self.known().book.clone();
        match held {
            Some(book) if self.now_us().saturating_sub(book.read_us) < FRESH_US => Ok(book),
            _ => self.ask().await,
        }
    }

    /// What it says now, if it may be asked already; else what it said last.
    ///
    /// # Errors
    /// As for [`Self::book`].
    pub(super) async fn ask(self: &Arc<Self>) -> Result<Arc<Book>, ProviderError> {
        let _turn = self.asking.lock().await;
        let now = self.now_us();
        let may_ask = {
            let mut known = self.known();
            let asked = known.asked_us;
            let may_ask = asked.is_none_or(|at| now.saturating_sub(at) >= PAUSE_US);
            if may_ask {
                known.asked_us = Some(now);
            }
            may_ask
        };
        if may_ask {
            let provider = Arc::clone(self);
            let asking = tokio::task::spawn_blocking(move || provider.read_book(now));
            let told = asking.await.unwrap_or(Err(ProviderError::Away {
                why: "the program stops".to_owned(),
            }));
            let mut known = self.known();
            match told {
                Ok(book) => {
                    known.failure = None;
                    known.book = Some(Arc::new(book));
                }
                Err(failure) => {
                    tracing::warn!(
                        event = "OpenIdProviderFailed",
                        code = failure.code(),
                        "{failure}"
                    );
                    known.failure = Some(failure);
                }
            }
        }
        let known = self.known();
        let held = known.book.as_ref();
        let held = held.filter(|book| now.saturating_sub(book.read_us) < KEPT_US);
        match (held, &known.failure) {
            (Some(book), _) => Ok(Arc::clone(book)),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(ProviderError::Busy),
        }
    }

    fn read_book(&self, now: u64) -> Result<Book, ProviderError> {
        let issuer = &self.config.issuer;
        let place = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let said = self.read_json("description", &place)?;
        let odd = |why| ProviderError::Odd {
            what: "description",
            why,
        };
        if said.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(odd("it names another issuer than the configuration"));
        }
        let address = |name| {
            let text = said.get(name).and_then(Value::as_str);
            // Parameters may stand in the address of the page for people alone.
            let is_good = |text: &&str| is_address(text.split('?').next().unwrap_or_default());
            text.filter(is_good)
                .map(str::to_owned)
                .ok_or(odd("an address is missing, or is not over TLS"))
        };
        let lists = |name: &str, one: &str| {
            let all = said.get(name).and_then(Value::as_array);
            all.is_none_or(|all| all.iter().any(|known| known.as_str() == Some(one)))
        };
        if !lists("code_challenge_methods_supported", "S256") {
            return Err(odd("it knows no proof key (S256)"));
        }
        let algorithms = &self.config.algorithms;
        let signing = "id_token_signing_alg_values_supported";
        if !algorithms.iter().any(|one| lists(signing, one.name())) {
            return Err(odd("it signs in no way that is taken here"));
        }
        let keys = self.read_json("keys", &address("jwks_uri")?)?;
        let keys = Keys::read(&keys).filter(|keys| !keys.is_empty());
        let keys = keys.ok_or(ProviderError::Odd {
            what: "keys",
            why: "there is none to check a signature with",
        })?;
        let names_itself = said.get("authorization_response_iss_parameter_supported");
        Ok(Book {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
            names_itself: names_itself.and_then(Value::as_bool) == Some(true),
            keys,
            read_us: now,
        })
    }

    fn read_json(&self, what: &'static str, place: &str) -> Result<Value, ProviderError> {
        let answer = self
            .agent
            .get(place)
            .header("Accept", "application/json")
            .call();
        let mut answer = answer.map_err(|error| away(&error))?;
        if answer.status().as_u16() != 200 {
            let why = format!("its {what} is answered with {}", answer.status().as_u16());
            return Err(ProviderError::Away { why });
        }
        json(what, &mut answer)
    }

    /// Redeems a code for an ID token.
    ///
    /// # Errors
    /// [`ProviderError`] when there is none.
    pub(super) async fn redeem(
        self: &Arc<Self>,
        book: Arc<Book>,
        code: String,
        verifier: String,
    ) -> Result<String, ProviderError> {
        let Ok(_place) = self.redeeming.try_acquire() else {
            return Err(ProviderError::Busy);
        };
        let provider = Arc::clone(self);
        let redeeming =
            tokio::task::spawn_blocking(move || provider.redeem_now(&book, &code, &verifier));
        redeeming.await.unwrap_or(Err(ProviderError::Busy))
    }

    fn redeem_now(&self, book: &Book, code: &str, verifier: &str) -> Result<String, ProviderError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.config.redirect),
            ("code_verifier", verifier),
        ];
        let mut request = self
            .agent
            .post(&book.token)
            .header("Accept", "application/json");
        match &self.secret {
            // RFC 6749, 2.3.1: encoded before they are joined.
            Some(secret) => {
                let (id, secret) = (escaped(&self.config.client_id), escaped(secret.text()));
                let basic = STANDARD.encode(format!("{id}:{secret}"));
                request = request.header("Authorization", format!("Basic {basic}"));
            }
            None => form.push(("client_id", &self.config.client_id)),
        }
        let mut answer = request.send_form(form).map_err(|error| away(&error))?;
        match answer.status().as_u16() {
            200 => {}
            status @ 400..=499 => return Err(ProviderError::Unredeemed { status }),
            status => {
                let why = format!("a code is answered with {status}");
                return Err(ProviderError::Away { why });
            }
        }
        let said = json("answer to a code", &mut answer)?;
        let token = said.get("id_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or(ProviderError::Odd {
            what: "answer to a code",
            why: "there is no ID token in it",
        })
    }
}

/// What the files that a configuration names are good for.
pub(super) fn files(config: &OpenIdConfig) -> Result<(Agent, Option<Secret>), OutgoingError> {
    let key = "access.openid.client_secret_file";
    let secret = config.client_secret_file.as_ref().map(|path| {
        let text = read(key, path)?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        match text.is_empty() {
            true => Err(OutgoingError::impossible(key, "the file holds no secret")),
            false => Ok(Secret::new(text)),
        }
    });
    let agent = agent(("access.openid.ca", config.ca.as_deref()), false, LIMIT)?;
    Ok((agent, secret.transpose()?))
}

fn away(error: &ureq::Error) -> ProviderError {
    ProviderError::Away {
        why: error.to_string(),
    }
}

fn json(
    what: &'static str,
    answer: &mut ureq::http::Response<ureq::Body>,
) -> Result<Value, ProviderError> {
    let body = answer.body_mut().with_config().limit(ANSWER_MAX);
    let raw = body.read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => ProviderError::Odd {
            what,
            why: "it is too large",
        },
        error => away(&error),
    })?;
    serde_json::from_slice(&raw).map_err(|_| ProviderError::Odd {
        what,
        why: "it is no JSON",
    })
}
