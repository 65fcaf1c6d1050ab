//! How a new box enrols over the network.
//!
//! - Its two keys are made here and never leave it. They lie in a draft beside the enrolment
//!   (mode 0600) until an operator has decided.
//! - Draft first, then the request, then the ticket into the draft: whatever is interrupted is
//!   continued with the same keys, by the same command. The code is wiped from the draft once
//!   the gateway has accepted it.
//! - The enrolment appears as a whole, once the gateway has granted it, and the draft goes.
//!
//! Deliberately absent: showing the words to a person (`cardio-agent enrol`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cardio_core::clock::Clock;
use cardio_wire::enrol::{Answer, Ask, ClaimCode, EnrolError, EnrolRequest, Grant};
use cardio_wire::keys::SigningKey;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::file::{self, BoxPart, GatewayPart, KeysPart, Parts, Schema};
use super::gate::{Gate, GateError, Visit};
use super::{Endpoint, EndpointError, EnrolmentError, EnrolmentFile};

/// Why a box does not enrol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The box is enrolled already.
    #[error("this box is already enrolled: {} is there", path.display())]
    Enrolled {
        /// The enrolment.
        path: PathBuf,
    },
    /// Nothing was begun that could be continued.
    #[error("no enrolment was begun that could be continued")]
    NothingBegun,
    /// The address is none.
    #[error("`{text}` is not the address of a gateway")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong.
        source: EndpointError,
    },
    /// The hash of the authority is none.
    #[error("the hash of the authority's certificate is not 64 hexadecimal digits")]
    AuthorityHash,
    /// The code or an answer cannot be read.
    #[error("cannot enrol with what was given")]
    Unreadable(#[source] EnrolError),
    /// The gateway cannot be asked.
    #[error("cannot ask the gateway")]
    Gate(#[source] GateError),
    /// A file cannot be read or written.
    #[error("cannot keep the enrolment")]
    File(#[source] EnrolmentError),
    /// A key cannot be made.
    #[error("cannot make the {what} of this box")]
    Key {
        /// Which one.
        what: &'static str,
    },
    /// What the gateway granted does not fit this box.
    #[error("the gateway granted a certificate for another key")]
    Foreign,
}

impl RequestError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Enrolled { .. } => "enrol.enrolled",
            Self::NothingBegun => "enrol.nothing_begun",
            Self::Address { .. } => "enrol.address",
            Self::AuthorityHash => "enrol.authority",
            Self::Unreadable(error) => error.code(),
            Self::Gate(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Key { .. } => "enrol.key",
            Self::Foreign => "enrol.foreign",
        }
    }

    /// Whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Gate(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// What an operator gave for this box.
#[derive(Debug)]
pub struct Invitation {
    /// Where the gateway enrols, `host:port`.
    pub address: String,
    /// SHA-256 of its authority's certificate, hexadecimal.
    pub authority: String,
    /// The claim code.
    pub code: ClaimCode,
}

/// What became of it.
#[derive(Debug)]
pub enum Progress {
    /// An operator has to compare these words and decide.
    Pending {
        /// The six words.
        words: String,
    },
    /// An operator has refused; nothing of the attempt is left.
    Refused,
    /// The box is enrolled.
    Enrolled {
        /// What people call it.
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    schema: DraftSchema,
    gateway: String,
    authority: String,
    #[serde(deserialize_with = "file::secret", serialize_with = "file::as_text")]
    tls_key: Zeroizing<String>,
    #[serde(deserialize_with = "file::secret", serialize_with = "file::as_text")]
    frame_key: Zeroizing<String>,
    /// Until the gateway has accepted it.
    #[serde(deserialize_with = "file::secret", serialize_with = "file::as_text")]
    code: Zeroizing<String>,
    /// Once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed: Option<Claimed>,
}

impl Draft {
    /// Whether it was begun with this invitation.
    fn is_of(&self, invitation: &Invitation) -> bool {
        let is_code = match &self.claimed {
            Some(claimed) => claimed.invitation == invitation.code.number(),
            None => *self.code == *invitation.code.to_text(),
        };
        is_code && self.gateway == invitation.address && self.authority == invitation.authority
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claimed {
    /// The number that the code began with; no secret.
    invitation: String,
    ticket: String,
    words: String,
}

#[derive(Serialize, Deserialize)]
enum DraftSchema {
    #[serde(rename = "enrolling/1")]
    V1,
}

/// An enrolment that was begun.
pub struct Enrolling {
    path: PathBuf,
    draft: Draft,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Enrolling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolling").finish_non_exhaustive()
    }
}

impl Enrolling {
    /// Begins with what an operator gave, or takes up again what was begun with it. A draft of
    /// another invitation is thrown away.
    ///
    /// # Errors
    /// [`RequestError::Enrolled`] when there is an enrolment, and what cannot be read or kept.
    pub fn begin(
        path: &Path,
        invitation: &Invitation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RequestError> {
        must_be_new(path)?;
        address(&invitation.address)?;
        authority(&invitation.authority)?;
        if let Ok(begun) = Self::open(path, Arc::clone(&clock))
            && begun.draft.is_of(invitation)
        {
            return Ok(begun);
        }
        let code = invitation.code.to_text();
        let (tls_key, frame_key) = new_keys()?;
        let enrolling = Self {
            path: path.to_owned(),
            draft: Draft {
                schema: DraftSchema::V1,
                gateway: invitation.address.clone(),
                authority: invitation.authority.clone(),
                tls_key,
                frame_key,
                code,
                claimed: None,
            },
            clock,
        };
        enrolling.keep()?;
        Ok(enrolling)
    }

    /// Takes up again what was begun.
    ///
    /// # Errors
    /// [`RequestError::NothingBegun`], [`RequestError::Enrolled`], or what cannot be read.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, RequestError> {
        must_be_new(path)?;
        let draft = draft_of(path);
        if !draft.exists() {
            return Err(RequestError::NothingBegun);
        }
        let text = file::read_private(&draft).map_err(RequestError::File)?;
        Ok(Self {
            path: path.to_owned(),
            draft: file::parse(&draft, &text).map_err(RequestError::File)?,
            clock,
        })
    }

    /// The next step: claims the invitation, or asks what became of the claim.
    ///
    /// # Errors
    /// [`RequestError`]; what was begun can be continued, unless it was turned away.
    pub async fn step(&mut self) -> Result<Progress, RequestError> {
        let gate = Gate {
            endpoint: address(&self.draft.gateway)?,
            authority: authority(&self.draft.authority)?,
            past: UnixTime::since_unix_epoch(std::time::Duration::ZERO),
            clock: Arc::clone(&self.clock),
            identity: None,
        };
        let mut visit = gate.enter().await.map_err(RequestError::Gate)?;
        match self.draft.claimed.clone() {
            None => self.claim(&mut visit).await,
            Some(claimed) => self.ask(&mut visit, &claimed).await,
        }
    }

    async fn claim(&mut self, visit: &mut Visit) -> Result<Progress, RequestError> {
        let code: ClaimCode = self.draft.code.parse().map_err(RequestError::Unreadable)?;
        let mut tls_key = self.tls_key()?;
        let frame_key = self.frame_key()?;
        let mut nonce = [0; 16];
        let random = SystemRandom::new().fill(&mut nonce);
        random.map_err(|_| RequestError::Key { what: "nonce" })?;
        let request = EnrolRequest {
            invitation: code.number(),
            csr: csr(&tls_key).ok_or(RequestError::Key {
                what: "certificate request",
            })?,
            frame_key: frame_key.verifying_key(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            nonce,
        };
        let proved = request.prove(&visit.session, &code.key(), &frame_key, |message| {
            tls_key.sign(message).ok()
        });
        tls_key.zeroize();
        let (message, transcript) = proved.ok_or(RequestError::Key { what: "proof" })?;
        let answer = visit.post("/enrol/1", message).await;
        let answer = answer.map_err(RequestError::Gate)?;
        match Answer::read(&answer).map_err(RequestError::Unreadable)? {
            Answer::Pending { ticket } => {
                let words = transcript.words();
                self.draft.claimed = Some(Claimed {
                    invitation: code.number(),
                    ticket: BASE64.encode(ticket),
                    words: words.clone(),
                });
                self.draft.code.zeroize();
                self.keep()?;
                Ok(Progress::Pending { words })
            }
            Answer::Refused => self.give_up(),
            Answer::Granted(grant) => self.take(visit, *grant),
        }
    }

    async fn ask(
        &mut self,
        visit: &mut Visit,
        claimed: &Claimed,
    ) -> Result<Progress, RequestError> {
        let ticket = BASE64.decode(&claimed.ticket).ok();
        let ticket = ticket.and_then(|raw| raw.try_into().ok());
        let ticket = ticket.ok_or(RequestError::NothingBegun)?;
        let message = Ask::sign(ticket, &visit.session, &self.frame_key()?);
        let answer = visit.post("/enrol/1/ask", message).await;
        let answer = answer.map_err(RequestError::Gate)?;
        match Answer::read(&answer).map_err(RequestError::Unreadable)? {
            Answer::Pending { .. } => Ok(Progress::Pending {
                words: claimed.words.clone(),
            }),
            Answer::Refused => self.give_up(),
            Answer::Granted(grant) => self.take(visit, *grant),
        }
    }

    /// Writes the enrolment, then wipes the draft.
    fn take(&self, visit: &Visit, grant: Grant) -> Result<Progress, RequestError> {
        let mut tls_key = self.tls_key()?;
        let is_ours = file::certifies(&grant.certificate, tls_key.public_key_raw());
        tls_key.zeroize();
        if !is_ours {
            return Err(RequestError::Foreign);
        }
        let parts = Parts {
            schema: Schema::V1,
            site: BoxPart {
                id: grant.device.to_string(),
                name: grant.name.clone(),
                last_command: 0,
            },
            gateway: GatewayPart {
                endpoint: grant.endpoint,
                server_name: grant.server_name,
                renewal: Some(grant.renewal),
                ca_certificate: grant.authority,
                renewal_ca_certificate: Some(file::pem_of(&visit.authority)),
                recipient_key: BASE64.encode(grant.trusted.recipient.0),
                control_key: BASE64.encode(grant.trusted.control.0),
                next_control_key: Some(BASE64.encode(grant.trusted.control_next.0)),
            },
            keys: KeysPart {
                tls_certificate: grant.certificate,
                tls_key: self.draft.tls_key.clone(),
                frame_key: self.draft.frame_key.clone(),
            },
        };
        EnrolmentFile::create(&self.path, parts).map_err(RequestError::File)?;
        self.wipe_draft()?;
        Ok(Progress::Enrolled { name: grant.name })
    }

    fn give_up(&self) -> Result<Progress, RequestError> {
        self.wipe_draft()?;
        Ok(Progress::Refused)
    }

    fn wipe_draft(&self) -> Result<(), RequestError> {
        wipe(draft_of(&self.path))
    }

    fn keep(&self) -> Result<(), RequestError> {
        file::replace(&draft_of(&self.path), &self.draft).map_err(RequestError::File)
    }

    fn tls_key(&self) -> Result<KeyPair, RequestError> {
        KeyPair::from_pem(&self.draft.tls_key).map_err(|_| RequestError::Key { what: "TLS key" })
    }

    fn frame_key(&self) -> Result<SigningKey, RequestError> {
        let what = "frame key";
        let document = BASE64.decode(&*self.draft.frame_key).map(Zeroizing::new);
        document
            .ok()
            .and_then(|document| SigningKey::from_pkcs8(&document).ok())
            .ok_or(RequestError::Key { what })
    }
}

/// A request for a certificate for this key; its subject is the gateway's to choose.
pub(crate) fn csr(key: &KeyPair) -> Option<Vec<u8>> {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "cardio-agent");
    let request = params.serialize_request(key).ok()?;
    Some(request.der().to_vec())
}

/// A P-256 key for TLS (PEM) and an Ed25519 key for frames (PKCS#8, Base64).
fn new_keys() -> Result<(Zeroizing<String>, Zeroizing<String>), RequestError> {
    let mut tls_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|_| RequestError::Key { what: "TLS key" })?;
    let tls_pem = Zeroizing::new(tls_key.serialize_pem());
    tls_key.zeroize();
    let (_, document) = SigningKey::generate(&SystemRandom::new())
        .map_err(|_| RequestError::Key { what: "frame key" })?;
    Ok((tls_pem, Zeroizing::new(BASE64.encode(&*document))))
}

/// A box that is enrolled begins nothing. A draft that a power cut left beside its enrolment
/// goes.
fn must_be_new(path: &Path) -> Result<(), RequestError> {
    if !path.exists() {
        return Ok(());
    }
    let draft = draft_of(path);
    if draft.exists() {
        wipe(draft)?;
    }
    let path = path.to_owned();
    Err(RequestError::Enrolled { path })
}

fn wipe(path: PathBuf) -> Result<(), RequestError> {
    file::wipe(&path)
        .map_err(|source| RequestError::File(EnrolmentError::Unwritable { path, source }))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".enrolling");
    PathBuf::from(draft)
}

fn address(text: &str) -> Result<Endpoint, RequestError> {
    text.parse().map_err(|source| RequestError::Address {
        text: text.to_owned(),
        source,
    })
}

fn authority(text: &str) -> Result<[u8; 32], RequestError> {
    cardio_wire::lane::parse_hex(text).ok_or(RequestError::AuthorityHash)
}

#[cfg(test)]
mod tests {
    use super::{Claimed, Enrolling, Invitation, RequestError, SystemRandom, draft_of};
    use crate::testing::manual_clock;
    use cardio_wire::enrol::ClaimCode;
    use std::path::{Path, PathBuf};
    use zeroize::Zeroize;

    fn invitation(code: &str) -> Invitation {
        Invitation {
            address: "gateway.example:8444".to_owned(),
            authority: "ab".repeat(32),
            code: code.parse().unwrap(),
        }
    }

    fn new_code() -> String {
        let code = ClaimCode::generate(&SystemRandom::new()).unwrap();
        code.to_text().to_string()
    }

    fn begin(path: &Path, code: &str) -> Result<Enrolling, RequestError> {
        Enrolling::begin(path, &invitation(code), manual_clock())
    }

    /// A claim that the gateway has accepted.
    fn claimed(path: &Path, code: &str) -> String {
        let mut begun = begin(path, code).unwrap();
        begun.draft.claimed = Some(Claimed {
            invitation: invitation(code).code.number(),
            ticket: "ticket".to_owned(),
            words: "six words".to_owned(),
        });
        begun.draft.code.zeroize();
        begun.keep().unwrap();
        begun.draft.frame_key.to_string()
    }

    fn bench() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolment.toml");
        (dir, path)
    }

    #[test]
    fn the_same_command_goes_on_with_the_same_keys_also_after_the_code_was_wiped() {
        let (_dir, path) = bench();
        let code = new_code();
        let keys = claimed(&path, &code);
        assert_eq!(*begin(&path, &code).unwrap().draft.frame_key, *keys);
        assert_ne!(*begin(&path, &new_code()).unwrap().draft.frame_key, *keys);
    }

    #[test]
    fn a_box_that_is_enrolled_begins_nothing_and_keeps_no_draft() {
        let (_dir, path) = bench();
        claimed(&path, &new_code());
        std::fs::write(&path, "an enrolment").unwrap();
        let again = Enrolling::open(&path, manual_clock());
        assert_eq!(again.unwrap_err().code(), "enrol.enrolled");
        assert!(!draft_of(&path).exists());
    }
}
