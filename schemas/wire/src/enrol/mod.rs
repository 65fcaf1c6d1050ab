//! Enrolment over the network: what a new box says to its gateway, and how both know that they
//! mean each other.
//!
//! - A **claim code** is 20 symbols of Crockford's base 32 (no I, L, O, U): 4 name the
//!   invitation, 16 are its secret of 80 bits. The code itself is never sent; the gateway keeps
//!   a key that is derived from it and does not lead back.
//! - A **request** carries a certificate request (P-256), the frame key (Ed25519) and three
//!   proofs: a MAC with the claim, and a signature with each of the two keys. All three are over
//!   the transcript: the request, the authority's certificate and the channel binding of the TLS
//!   session (RFC 9266). Nobody can relay a request into another session, or change it.
//! - **Six words** follow from the transcript. An operator compares those that the box shows with
//!   those that the gateway shows. They carry 48 bits; each guess costs 100,000 rounds of
//!   HMAC-SHA256, so to find a second transcript with the same words costs about 2^65 hashes,
//!   and the words of a session cannot be prepared before it.
//! - What a box asks afterwards, until an operator has decided, is signed with its frame key for
//!   that one TLS session.
//!
//! Deliberately absent: HTTP, TLS, files, and the rules of who is let in (`cardio-gateway`).
//! Contract: `schemas/cddl/enrol.cddl`.

pub mod words;

use std::num::NonZeroU32;
use std::str::FromStr;

use cardio_core::ids::BoxId;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use ring::{hmac, pbkdf2, signature};
use serde_cbor::Value;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cbor::{self, CborError, Field};
use crate::keys::{KeyError, RecipientPublicKey, SigningKey, TrustedKeys, VerifyingKey};

/// The label of the channel binding (RFC 9266, section 4); its context is empty.
pub const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// The largest message of an enrolment, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols of a code: the first 4 name the invitation.
const CODE_SYMBOLS: usize = 20;
const NUMBER_SYMBOLS: usize = 4;
/// Rounds that one guess at the six words costs.
const WORD_ROUNDS: u32 = 100_000;
const AGENT_VERSION_MAX: usize = 64;

/// Why something is no part of an enrolment. Says nothing of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// A text is no claim code.
    #[error("a claim code has 20 symbols in groups of four, for instance 7K3M-0000-0000-0000-0000")]
    Code,
    /// A message is too large.
    #[error("{bytes} bytes are more than the {MAX_MESSAGE_BYTES} that are accepted")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// A field is wrong.
    #[error("cannot read the {message}")]
    Unreadable {
        /// Which message.
        message: &'static str,
        /// Which field, and what is wrong with it.
        source: CborError,
    },
    /// A message of a later version.
    #[error("the {message} has version {version}, which this version does not know")]
    Version {
        /// Which message.
        message: &'static str,
        /// The number under key 0.
        version: u64,
    },
}

impl EnrolError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Code => "enrol.code",
            Self::TooLarge { .. } => "enrol.too-large",
            Self::Unreadable { .. } => "enrol.unreadable",
            Self::Version { .. } => "enrol.version",
        }
    }
}

/// What a nurse types or scans at a new box. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ClaimCode([u8; CODE_SYMBOLS]);

impl ClaimCode {
    /// A new code.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut symbols = [0; CODE_SYMBOLS];
        rng.fill(&mut symbols).map_err(|_| KeyError::Randomness)?;
        for symbol in &mut symbols {
            *symbol &= 31;
        }
        Ok(Self(symbols))
    }

    /// The invitation that the code belongs to: no secret.
    pub fn number(&self) -> String {
        self.0.iter().take(NUMBER_SYMBOLS).map(symbol).collect()
    }

    /// What proves that one knows the code.
    pub fn key(&self) -> ClaimKey {
        let derive = hmac::Key::new(hmac::HMAC_SHA256, b"ecg/1 claim");
        let secret = self.0.get(NUMBER_SYMBOLS..).unwrap_or_default();
        let tag = hmac::sign(&derive, secret);
        let raw = tag.as_ref().first_chunk().copied();
        ClaimKey(raw.expect("invariant: HMAC-SHA256 has 32 bytes"))
    }

    /// As people read and type it: groups of four.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(CODE_SYMBOLS + 4));
        for (place, one) in self.0.iter().enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(symbol(one));
        }
        text
    }
}

fn symbol(value: &u8) -> char {
    SYMBOLS
        .get(usize::from(*value))
        .map_or('0', |s| char::from(*s))
}

impl FromStr for ClaimCode {
    type Err = EnrolError;

    /// Reads what a person typed: small letters, missing or other dashes, and the letters that
    /// look like digits are forgiven.
    fn from_str(text: &str) -> Result<Self, EnrolError> {
        let mut symbols = [0; CODE_SYMBOLS];
        let mut typed = text.chars().filter(|c| !matches!(c, '-' | ' '));
        for place in &mut symbols {
            let letter = match typed.next().ok_or(EnrolError::Code)?.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let value = SYMBOLS.iter().position(|s| char::from(*s) == letter);
            let value = value.and_then(|value| u8::try_from(value).ok());
            *place = value.ok_or(EnrolError::Code)?;
        }
        match typed.next() {
            None => Ok(Self(symbols)),
            Some(_) => Err(EnrolError::Code),
        }
    }
}

impl std::fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClaimCode({})", self.number())
    }
}

/// Everything that a new box needs, in one text for a QR code.
#[derive(Debug)]
pub struct Scan {
    /// Where it enrols, `host:port`.
    pub address: String,
    /// SHA-256 of the authority's certificate, hexadecimal.
    pub authority: String,
    /// The claim code.
    pub code: ClaimCode,
}

impl Scan {
    /// The text: `CARDIO1`, address, authority and code between stars. All of it fits the
    /// alphanumeric mode of QR codes when it is written in capitals.
    pub fn to_text(&self) -> Zeroizing<String> {
        let code = self.code.to_text();
        let text = format!("CARDIO1*{}*{}*{}", self.address, self.authority, *code);
        Zeroizing::new(text.to_ascii_uppercase())
    }
}

impl FromStr for Scan {
    type Err = EnrolError;

    fn from_str(text: &str) -> Result<Self, EnrolError> {
        let parts: Vec<&str> = text.trim().split('*').collect();
        match parts.as_slice() {
            ["CARDIO1", address, authority, code] => Ok(Self {
                address: address.to_ascii_lowercase(),
                authority: authority.to_ascii_lowercase(),
                code: code.parse()?,
            }),
            _ => Err(EnrolError::Code),
        }
    }
}

/// What both ends derive from a claim code; the gateway keeps this and not the code.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ClaimKey(pub [u8; 32]);

impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimKey")
    }
}

/// The TLS session that an enrolment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the authority's certificate (DER), as this end has seen it.
    pub authority: [u8; 32],
    /// The channel binding: [`BINDING_LABEL`] exported from the session (RFC 9266).
    pub binding: [u8; 32],
}

/// What both ends have seen of a request, in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    fn of(session: &Session, body: &[u8]) -> Self {
        let parts = [
            b"ecg/1 enrol".as_slice(),
            &session.authority,
            &session.binding,
            body,
        ];
        Self(sha256(&parts.concat()))
    }

    /// What is signed or authenticated for one purpose.
    fn for_purpose(&self, purpose: &str) -> Vec<u8> {
        [b"ecg/1 enrol ", purpose.as_bytes(), b" ", &self.0].concat()
    }

    /// The six words that a person compares. Takes some hundredths of a second, on purpose.
    pub fn words(&self) -> String {
        let mut six = [0; 6];
        let rounds = NonZeroU32::new(WORD_ROUNDS).unwrap_or(NonZeroU32::MIN);
        let (how, salt) = (pbkdf2::PBKDF2_HMAC_SHA256, b"ecg/1 enrol words");
        pbkdf2::derive(how, rounds, salt, &self.0, &mut six);
        let words = six
            .iter()
            .filter_map(|byte| words::WORDS.get(usize::from(*byte)));
        words.copied().collect::<Vec<_>>().join(" ")
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let raw = digest(&SHA256, bytes).as_ref().first_chunk().copied();
    raw.expect("invariant: SHA-256 has 32 bytes")
}

/// What a new box asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolRequest {
    /// The first group of the claim code.
    pub invitation: String,
    /// A certificate request for the box's TLS key, PKCS#10 in DER.
    pub csr: Vec<u8>,
    /// What will sign the box's frames.
    pub frame_key: VerifyingKey,
    /// The version of its program.
    pub agent_version: String,
    /// Drawn anew for each request.
    pub nonce: [u8; 16],
}

impl EnrolRequest {
    /// The request with its three proofs, and its transcript. `sign_tls` signs with the key of
    /// the certificate request (ECDSA P-256 with SHA-256, ASN.1), or answers `None`.
    pub fn prove(
        &self,
        session: &Session,
        claim: &ClaimKey,
        frame: &SigningKey,
        sign_tls: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<(Vec<u8>, Transcript)> {
        let body = self.body();
        let transcript = Transcript::of(session, &body);
        let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &claim.0);
        let mac = hmac::sign(&mac_key, &transcript.for_purpose("claim"));
        let tls = sign_tls(&transcript.for_purpose("tls"))?;
        let frame = frame.sign(&transcript.for_purpose("frame"));
        let parts = [body.as_slice(), mac.as_ref(), &tls, &frame];
        let parts = parts.iter().map(|part| cbor::bytes(part)).collect();
        Some((cbor::encode(&Value::Array(parts)), transcript))
    }

    fn body(&self) -> Vec<u8> {
        cbor::encode(&cbor::map([
            (0, Some(Value::from(1_u8))),
            (1, Some(cbor::text(&self.invitation))),
            (2, Some(cbor::bytes(&self.csr))),
            (3, Some(cbor::bytes(&self.frame_key.0))),
            (4, Some(cbor::text(&self.agent_version))),
            (5, Some(cbor::bytes(&self.nonce))),
        ]))
    }

    fn read(body: &[u8]) -> Result<Self, EnrolError> {
        let message = "enrolment request";
        let mut fields = versioned(body, message)?;
        let mut take = || {
            let request = Self {
                invitation: fields.required(1, "invitation")?.text()?,
                csr: fields.required(2, "csr")?.bytes()?,
                frame_key: VerifyingKey(fields.required(3, "frame key")?.array("32 bytes")?),
                agent_version: fields.required(4, "agent version")?.text()?,
                nonce: fields.required(5, "nonce")?.array("16 bytes")?,
            };
            Ok(request)
        };
        let request: Self = take().map_err(|source| EnrolError::Unreadable { message, source })?;
        finish(fields, message)?;
        let wrong = |field, want| EnrolError::Unreadable {
            message,
            source: CborError::Wrong { field, want },
        };
        let is_symbol = |letter: u8| SYMBOLS.contains(&letter);
        if request.invitation.len() != NUMBER_SYMBOLS || !request.invitation.bytes().all(is_symbol)
        {
            return Err(wrong("invitation", "four symbols of a claim code"));
        }
        let plain = |c: char| c.is_ascii_graphic();
        if request.agent_version.len() > AGENT_VERSION_MAX
            || !request.agent_version.chars().all(plain)
        {
            return Err(wrong("agent version", "a short ASCII word"));
        }
        Ok(request)
    }
}

/// A request as it came, its proofs not checked yet.
#[derive(Clone, Debug)]
pub struct Posted {
    /// What is asked for.
    pub request: EnrolRequest,
    body: Vec<u8>,
    claim: [u8; 32],
    tls: Vec<u8>,
    frame: [u8; 64],
}

impl Posted {
    /// Reads a request with its proofs.
    ///
    /// # Errors
    /// [`EnrolError`] says which part is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, EnrolError> {
        let message = "enrolment request";
        let value = bounded(bytes, message)?;
        let take = || {
            let mut parts = Field::new(message, value).items()?;
            let body = parts.required("request")?.bytes()?;
            let claim = parts.required("claim proof")?.array("32 bytes")?;
            let tls = parts.required("tls proof")?.bytes()?;
            let frame = parts.required("frame proof")?.array("64 bytes")?;
            parts.finish()?;
            Ok((body, claim, tls, frame))
        };
        let (body, claim, tls, frame) =
            take().map_err(|source| EnrolError::Unreadable { message, source })?;
        Ok(Self {
            request: EnrolRequest::read(&body)?,
            body,
            claim,
            tls,
            frame,
        })
    }

    /// The transcript of this request in a session.
    pub fn transcript(&self, session: &Session) -> Transcript {
        Transcript::of(session, &self.body)
    }

    /// Whether who made it in this session knows the claim code.
    pub fn is_claimed_with(&self, session: &Session, claim: &ClaimKey) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &claim.0);
        let message = self.transcript(session).for_purpose("claim");
        hmac::verify(&key, &message, &self.claim).is_ok()
    }

    /// Whether who made it in this session holds both keys. `point` is the uncompressed P-256
    /// point of the certificate request, whose own signature is somebody else's to check.
    pub fn is_signed_with_both(&self, session: &Session, point: &[u8]) -> bool {
        let transcript = self.transcript(session);
        let tls = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point);
        let frame_key = &self.request.frame_key;
        tls.verify(&transcript.for_purpose("tls"), &self.tls)
            .is_ok()
            && frame_key.verify(&transcript.for_purpose("frame"), &self.frame)
    }
}

/// A box asks what became of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The request, by the ticket that was given for it.
    pub ticket: [u8; 16],
    frame: [u8; 64],
}

impl Ask {
    /// The question, signed for one session.
    pub fn sign(ticket: [u8; 16], session: &Session, frame: &SigningKey) -> Vec<u8> {
        let signature = frame.sign(&Self::message(&ticket, session));
        let parts = vec![cbor::bytes(&ticket), cbor::bytes(&signature)];
        cbor::encode(&Value::Array(parts))
    }

    /// Reads a question.
    ///
    /// # Errors
    /// [`EnrolError`] says which part is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, EnrolError> {
        let message = "enrolment question";
        let value = bounded(bytes, message)?;
        let take = || {
            let mut parts = Field::new(message, value).items()?;
            let ticket = parts.required("ticket")?.array("16 bytes")?;
            let frame = parts.required("frame proof")?.array("64 bytes")?;
            parts.finish()?;
            Ok(Self { ticket, frame })
        };
        take().map_err(|source| EnrolError::Unreadable { message, source })
    }

    /// Whether the holder of the frame key asks, in this session.
    pub fn is_signed_with(&self, session: &Session, frame: &VerifyingKey) -> bool {
        frame.verify(&Self::message(&self.ticket, session), &self.frame)
    }

    fn message(ticket: &[u8; 16], session: &Session) -> Vec<u8> {
        let parts = [
            b"ecg/1 enrol ask ".as_slice(),
            &session.authority,
            &session.binding,
            ticket,
        ];
        parts.concat()
    }
}

/// What a confirmed box is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id for ever.
    pub device: BoxId,
    /// What people call it.
    pub name: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Where it connects, `host:port`.
    pub endpoint: String,
    /// The name in the gateway's certificate.
    pub server_name: String,
    /// Certificate of the authority that the gateway's certificate there comes from, PEM.
    pub authority: String,
    /// Where it renews its certificate, `host:port`.
    pub renewal: String,
    /// The gateway's keys.
    pub trusted: TrustedKeys,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An operator has not decided yet; ask again with the ticket.
    Pending {
        /// Names the request.
        ticket: [u8; 16],
    },
    /// An operator has refused it.
    Refused,
    /// An operator has confirmed it.
    Granted(Box<Grant>),
}

impl Answer {
    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let version = (0, Some(Value::from(1_u8)));
        let state = |number: u8| (1, Some(Value::from(number)));
        let fields = match self {
            Self::Pending { ticket } => vec![version, state(0), (2, Some(cbor::bytes(ticket)))],
            Self::Refused => vec![version, state(1)],
            Self::Granted(grant) => {
                let mut fields = vec![version, state(2)];
                fields.extend(grant.fields());
                fields
            }
        };
        cbor::encode(&cbor::map(fields))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`EnrolError`] says which field is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, EnrolError> {
        let message = "answer to the enrolment";
        let mut fields = versioned(bytes, message)?;
        let mut take = || {
            let state = fields.required(1, "state")?;
            Ok(match state.u8()? {
                0 => Self::Pending {
                    ticket: fields.required(2, "ticket")?.array("16 bytes")?,
                },
                1 => Self::Refused,
                2 => Self::Granted(Box::new(Grant::take(&mut fields)?)),
                _ => return Err(state.wrong("a state from 0 to 2")),
            })
        };
        let answer = take().map_err(|source| EnrolError::Unreadable { message, source })?;
        finish(fields, message)?;
        Ok(answer)
    }
}

impl Grant {
    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (3, Some(cbor::bytes(&self.device.0))),
            (4, Some(cbor::text(&self.name))),
            (5, Some(cbor::text(&self.certificate))),
            (6, Some(cbor::text(&self.endpoint))),
            (7, Some(cbor::text(&self.server_name))),
            (8, Some(cbor::text(&self.renewal))),
            (12, Some(cbor::text(&self.authority))),
            (9, Some(cbor::bytes(&self.trusted.recipient.0))),
            (10, Some(cbor::bytes(&self.trusted.control.0))),
            (11, Some(cbor::bytes(&self.trusted.control_next.0))),
        ]
    }

    fn take(fields: &mut cbor::Fields) -> Result<Self, CborError> {
        let mut key = |number, name| fields.required(number, name)?.array("32 bytes");
        let trusted = TrustedKeys {
            recipient: RecipientPublicKey(key(9, "recipient key")?),
            control: VerifyingKey(key(10, "control key")?),
            control_next: VerifyingKey(key(11, "next control key")?),
        };
        Ok(Self {
            device: BoxId(fields.required(3, "device")?.array("16 bytes")?),
            name: fields.required(4, "name")?.text()?,
            certificate: fields.required(5, "certificate")?.text()?,
            endpoint: fields.required(6, "endpoint")?.text()?,
            server_name: fields.required(7, "server name")?.text()?,
            renewal: fields.required(8, "renewal")?.text()?,
            authority: fields.required(12, "authority")?.text()?,
            trusted,
        })
    }
}

fn bounded(bytes: &[u8], message: &'static str) -> Result<Value, EnrolError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(EnrolError::TooLarge { bytes: bytes.len() });
    }
    cbor::decode(bytes).map_err(|source| EnrolError::Unreadable { message, source })
}

fn versioned(bytes: &[u8], message: &'static str) -> Result<cbor::Fields, EnrolError> {
    let unreadable = |source| EnrolError::Unreadable { message, source };
    let value = bounded(bytes, message)?;
    let mut fields = Field::new(message, value).fields().map_err(unreadable)?;
    let version = fields.required(0, "version").and_then(|field| field.u64());
    match version.map_err(unreadable)? {
        1 => Ok(fields),
        version => Err(EnrolError::Version { message, version }),
    }
}

fn finish(fields: cbor::Fields, message: &'static str) -> Result<(), EnrolError> {
    fields
        .finish()
        .map_err(|source| EnrolError::Unreadable { message, source })
}

#[cfg(test)]
mod tests;
