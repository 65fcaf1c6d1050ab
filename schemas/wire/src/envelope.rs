//! Frame, version 1: one record, sealed to the gateway and signed by the box.
//!
//! - A frame is a tagged COSE_Sign1 with the external data `ecg/1 frame`, signed with the
//!   box's Ed25519 key. Its payload is the CBOR array `[hdr, enc, ct]`.
//! - `hdr = [1, suite, recipient, device, lane, chain, seq, prev]`; `prev` is the SHA-256 of
//!   the lane's previous frame, 32 zero bytes at `seq` 1.
//! - Suite 1 is HPKE in base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//!   ChaCha20-Poly1305; one encapsulation per frame, `info` is `ecg/1 record`, and the
//!   associated data are the exact bytes of `hdr`. Suite 2 is reserved for X-Wing.
//! - The plaintext is padded with 0x80 and zeros to a multiple of 256 bytes.
//!
//! A frame never changes after it is made. Deliberately absent: the box cannot open what it
//! sealed; nothing here stores or sends.

use cardio_core::ids::BoxId;
use hpke::aead::AeadCtxS;
use hpke::rand_core::CryptoRng;
use hpke::{Kem, Serializable};
use serde_cbor::Value;
use zeroize::Zeroizing;

pub use crate::cose::SignedError;
pub use crate::lane::FrameIdentity;

use crate::cbor::{self, CborError, Field, Items};
use crate::cose::{self, Unchecked};
use crate::keys::{
    KeyId, RecipientPublicKey, RecipientSecretKey, SigningKey, SuiteKem, VerifyingKey,
};
use crate::lane::{ChainId, Lane};
use crate::record::read_lane;
use crate::sealing::{self, SuiteAead, SuiteKdf, SystemRng, padded, without_padding};
use crate::{MAX_CARRIER_BYTES, MAX_SEALED_BYTES};

const FRAME_VERSION: u8 = 1;
const PURPOSE: &[u8] = b"ecg/1 frame";
const INFO: &[u8] = b"ecg/1 record";

/// The only suite of this version.
pub const SUITE_X25519_CHACHA: u8 = 1;

/// `prev` of the first frame of a chain.
pub const NO_PREVIOUS: [u8; 32] = [0; 32];

/// What a frame says in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How the record is sealed.
    pub suite: u8,
    /// The key that it is sealed to.
    pub recipient: KeyId,
    /// The box that made it.
    pub device: BoxId,
    /// Its lane.
    pub lane: Lane,
    /// The life of the lane's database.
    pub chain: ChainId,
    /// Its place in the chain, from 1.
    pub seq: u64,
    /// Fingerprint of the lane's previous frame.
    pub prev: [u8; 32],
}

impl FrameHeader {
    /// What makes the frame that frame and no other.
    pub const fn identity(&self) -> FrameIdentity {
        FrameIdentity {
            device: self.device,
            lane: self.lane,
            chain: self.chain,
            seq: self.seq,
        }
    }

    fn to_value(self) -> Value {
        Value::Array(vec![
            Value::from(FRAME_VERSION),
            Value::from(self.suite),
            cbor::bytes(&self.recipient.0),
            cbor::bytes(&self.device.0),
            Value::from(self.lane.number()),
            cbor::bytes(&self.chain.0),
            Value::from(self.seq),
            cbor::bytes(&self.prev),
        ])
    }
}

/// Why a record could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The header names another suite or another recipient than the key that was given, or
    /// a place in the chain that cannot be.
    #[error("cannot seal: the header's {field} does not fit")]
    Header {
        /// Which field.
        field: &'static str,
    },
    /// The record is larger than a frame may be.
    #[error("cannot seal: the frame would have {bytes} bytes, more than {most}")]
    TooLarge {
        /// How many bytes the frame would have.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// The recipient's key is no point that a secret can be agreed with.
    #[error("cannot seal: the recipient's key {recipient} is unusable")]
    Recipient {
        /// Which key.
        recipient: KeyId,
    },
    /// The system gave no random bytes.
    #[error("cannot seal: the system gave no random bytes")]
    Randomness,
}

impl SealError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Header { .. } => "seal.header",
            Self::TooLarge { .. } => "seal.too-large",
            Self::Recipient { .. } => "seal.recipient",
            Self::Randomness => "seal.randomness",
        }
    }
}

/// Why bytes are not a frame, or cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not signed as a frame must be.
    #[error("cannot accept the frame")]
    Signed(#[source] SignedError),
    /// The payload is not `[hdr, enc, ct]`.
    #[error("cannot read the frame")]
    Unreadable(#[source] CborError),
    /// A frame of a later version.
    #[error("the frame has version {version}, which this version does not know")]
    Version {
        /// The number in its header.
        version: u64,
    },
    /// Sealed in a way that this version does not know.
    #[error("the frame is sealed with suite {suite}, which this version does not know")]
    Suite {
        /// The number in its header.
        suite: u8,
    },
    /// Sealed to another key.
    #[error("the frame is sealed to the key {have}, not to {want}")]
    Recipient {
        /// The key that was given.
        want: KeyId,
        /// The key that the frame names.
        have: KeyId,
    },
    /// The sealed bytes do not open: damaged, or sealed by someone who lies about the header.
    #[error("the frame does not open")]
    Sealed,
    /// Opened, but not padded as it must be.
    #[error("the record in the frame is not padded as it must be")]
    Padding,
}

impl FrameError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signed(err) => err.code(),
            Self::Unreadable(_) => "frame.unreadable",
            Self::Version { .. } => "frame.version",
            Self::Suite { .. } => "frame.suite",
            Self::Recipient { .. } => "frame.recipient",
            Self::Sealed => "frame.sealed",
            Self::Padding => "frame.padding",
        }
    }
}

/// The key of one frame, encapsulated to a recipient before there is anything to seal.
///
/// An encapsulation depends on the recipient alone: the header is bound when the record is
/// sealed (as associated data), so it may be made while there is time. It is used once, which
/// its type holds, and wiped when it is dropped. Whoever reads the memory of a running box
/// could open the frames that are sealed with it later, and would find their records in the
/// same memory; nothing that was sealed before is touched, and nothing of it is ever written.
pub struct Encapsulation {
    recipient: KeyId,
    enc: <SuiteKem as Kem>::EncappedKey,
    context: AeadCtxS<SuiteAead, SuiteKdf, SuiteKem>,
}

impl std::fmt::Debug for Encapsulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encapsulation(to {})", self.recipient)
    }
}

impl Encapsulation {
    /// A new key for one frame to this recipient.
    ///
    /// # Errors
    /// [`SealError::Recipient`], [`SealError::Randomness`].
    pub fn new(to: &RecipientPublicKey) -> Result<Self, SealError> {
        let mut rng = SystemRng::new();
        let made = Self::with_rng(to, &mut rng);
        if rng.has_failed() {
            return Err(SealError::Randomness);
        }
        made
    }

    fn with_rng(to: &RecipientPublicKey, rng: &mut impl CryptoRng) -> Result<Self, SealError> {
        let recipient = to.key_id();
        let made = sealing::encapsulate(to, INFO, rng);
        let (enc, context) = made.ok_or(SealError::Recipient { recipient })?;
        Ok(Self {
            recipient,
            enc,
            context,
        })
    }

    /// The key that the frame will be sealed to.
    pub const fn recipient(&self) -> KeyId {
        self.recipient
    }

    /// Seals one record.
    ///
    /// # Errors
    /// [`SealError`]; nothing is written anywhere.
    pub fn seal(
        self,
        plaintext: &[u8],
        header: &FrameHeader,
        signer: &SigningKey,
    ) -> Result<Vec<u8>, SealError> {
        self.seal_within(MAX_SEALED_BYTES, plaintext, header, signer)
    }

    /// Seals a record that carries an earlier frame; it may be larger than others.
    ///
    /// # Errors
    /// [`SealError`]; nothing is written anywhere.
    pub fn seal_carrier(
        self,
        plaintext: &[u8],
        header: &FrameHeader,
        signer: &SigningKey,
    ) -> Result<Vec<u8>, SealError> {
        self.seal_within(MAX_CARRIER_BYTES, plaintext, header, signer)
    }

    fn seal_within(
        mut self,
        most: usize,
        plaintext: &[u8],
        header: &FrameHeader,
        signer: &SigningKey,
    ) -> Result<Vec<u8>, SealError> {
        check_header(header, self.recipient)?;
        let recipient = self.recipient;
        let header = header.to_value();
        let ct = self
            .context
            .seal(&padded(plaintext), &cbor::encode(&header))
            .map_err(|_| SealError::Recipient { recipient })?;
        let payload = Value::Array(vec![
            header,
            Value::Bytes(self.enc.to_bytes().to_vec()),
            Value::Bytes(ct),
        ]);
        let frame = cose::sign(cbor::encode(&payload), PURPOSE, signer);
        let bytes = frame.len();
        if bytes > most {
            return Err(SealError::TooLarge { bytes, most });
        }
        Ok(frame)
    }
}

/// Seals one record.
///
/// # Errors
/// [`SealError`]; nothing is written anywhere.
pub fn seal(
    plaintext: &[u8],
    header: &FrameHeader,
    to: &RecipientPublicKey,
    signer: &SigningKey,
) -> Result<Vec<u8>, SealError> {
    Encapsulation::new(to)?.seal(plaintext, header, signer)
}

fn check_header(header: &FrameHeader, recipient: KeyId) -> Result<(), SealError> {
    let first = header.seq == 1;
    let fits = [
        ("suite", header.suite == SUITE_X25519_CHACHA),
        ("recipient", header.recipient == recipient),
        ("seq", header.seq >= 1),
        ("prev", first == (header.prev == NO_PREVIOUS)),
    ];
    match fits.into_iter().find(|(_, fits)| !fits) {
        None => Ok(()),
        Some((field, _)) => Err(SealError::Header { field }),
    }
}

/// A frame whose signature is checked, and whose record is still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedFrame {
    /// What the frame says in the clear.
    pub header: FrameHeader,
    /// SHA-256 of the whole frame.
    pub fingerprint: [u8; 32],
    enc: Vec<u8>,
    ct: Vec<u8>,
}

/// The header of a frame without trusting it: to find the key that checks it.
///
/// # Errors
/// [`FrameError`] when the bytes are not a frame of this version.
pub fn peek(frame: &[u8]) -> Result<FrameHeader, FrameError> {
    let unchecked = Unchecked::parse(frame).map_err(FrameError::Signed)?;
    let (header, _, _) = parts(unchecked.payload())?;
    Ok(header)
}

/// Checks the signature of a frame.
///
/// # Errors
/// [`FrameError`] when the bytes are not a frame of this version signed with `key`.
pub fn verify(frame: &[u8], key: &VerifyingKey) -> Result<VerifiedFrame, FrameError> {
    let payload = Unchecked::parse(frame)
        .and_then(|unchecked| unchecked.verify(PURPOSE, key))
        .map_err(FrameError::Signed)?;
    let (header, enc, ct) = parts(&payload)?;
    Ok(VerifiedFrame {
        header,
        fingerprint: fingerprint(frame),
        enc,
        ct,
    })
}

/// Checks the signature of a frame of any version, as far as it must be understood to be
/// stored: who made it, its place in which chain, the frame before it, its fingerprint.
///
/// Every version begins its header with `[version, suite, recipient, device, lane, chain, seq,
/// prev]` under the same signature; what follows may change. A frame of this version and suite
/// must be readable whole.
///
/// # Errors
/// [`FrameError`] when that much cannot be read, or is not signed with `key`.
pub fn verify_to_store(
    frame: &[u8],
    key: &VerifyingKey,
) -> Result<(FrameHeader, [u8; 32]), FrameError> {
    let payload = Unchecked::parse(frame)
        .and_then(|unchecked| unchecked.verify(PURPOSE, key))
        .map_err(FrameError::Signed)?;
    let prefix = || {
        let value = cbor::decode(&payload)?;
        let header = Field::new("frame", value).items()?.required("hdr")?;
        let mut items = header.items()?;
        items.required("version")?.u64()?;
        read_prefix(&mut items)
    };
    let header = match parts(&payload) {
        Ok((header, _, _)) => header,
        Err(FrameError::Version { .. } | FrameError::Suite { .. }) => {
            prefix().map_err(FrameError::Unreadable)?
        }
        Err(error) => return Err(error),
    };
    Ok((header, fingerprint(frame)))
}

/// Opens a frame: the record as the box wrote it.
///
/// # Errors
/// [`FrameError`] when the frame is sealed to another key or does not open.
pub fn open(
    frame: &VerifiedFrame,
    secret: &RecipientSecretKey,
) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let want = secret.key_id();
    let have = frame.header.recipient;
    if want != have {
        return Err(FrameError::Recipient { want, have });
    }
    let bound = cbor::encode(&frame.header.to_value());
    let block = sealing::open(secret, INFO, &frame.enc, &frame.ct, &bound);
    without_padding(block.ok_or(FrameError::Sealed)?).ok_or(FrameError::Padding)
}

/// SHA-256 of a whole frame.
pub fn fingerprint(frame: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, frame);
    let raw = digest.as_ref().first_chunk().copied();
    raw.expect("invariant: SHA-256 has 32 bytes")
}

fn parts(payload: &[u8]) -> Result<(FrameHeader, Vec<u8>, Vec<u8>), FrameError> {
    let value = cbor::decode(payload).map_err(FrameError::Unreadable)?;
    let mut items = Field::new("frame", value)
        .items()
        .map_err(FrameError::Unreadable)?;
    let header = items.required("hdr").map_err(FrameError::Unreadable)?;
    let header = read_header(header)?;
    let rest = || {
        let (enc, ct) = (items.required("enc")?, items.required("ct")?);
        items.finish()?;
        Ok((enc.bytes()?, ct.bytes()?))
    };
    let (enc, ct) = rest().map_err(FrameError::Unreadable)?;
    Ok((header, enc, ct))
}

fn read_header(field: Field) -> Result<FrameHeader, FrameError> {
    let mut items = field.items().map_err(FrameError::Unreadable)?;
    let version = items.required("version").and_then(|field| field.u64());
    let version = version.map_err(FrameError::Unreadable)?;
    if version != u64::from(FRAME_VERSION) {
        return Err(FrameError::Version { version });
    }
    let header = read_prefix(&mut items).map_err(FrameError::Unreadable)?;
    if header.suite != SUITE_X25519_CHACHA {
        return Err(FrameError::Suite {
            suite: header.suite,
        });
    }
    items.finish().map_err(FrameError::Unreadable)?;
    Ok(header)
}

/// What the headers of all versions have in common, after the version.
fn read_prefix(items: &mut Items) -> Result<FrameHeader, CborError> {
    Ok(FrameHeader {
        suite: items.required("suite")?.u8()?,
        recipient: KeyId(items.required("recipient")?.array("a key id of 8 bytes")?),
        device: BoxId(items.required("device")?.array("a box id of 16 bytes")?),
        lane: read_lane(&items.required("lane")?)?,
        chain: ChainId(items.required("chain")?.array("a chain of 8 bytes")?),
        seq: items.required("seq")?.u64()?,
        prev: items.required("prev")?.array("32 bytes")?,
    })
}

#[cfg(test)]
mod tests;
