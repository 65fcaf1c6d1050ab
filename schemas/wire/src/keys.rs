//! Keys: Ed25519 to sign (through `ring`), X25519 to receive sealed records (through `hpke`,
//! because `ring` cannot import an X25519 secret).
//!
//! Deliberately absent: files. Who reads a key from a disk keeps it in `Zeroizing`.

use std::sync::Arc;

use hpke::{Deserializable, Kem, Serializable};
use ring::rand::SecureRandom;
use ring::signature::{self, Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

pub use crate::lane::KeyId;

/// The key encapsulation of suite 1: DHKEM(X25519, HKDF-SHA256), 0x0020 (RFC 9180, 7.1).
pub(crate) type SuiteKem = hpke::kem::X25519HkdfSha256;

impl KeyId {
    /// The id of a raw public key.
    pub fn of(raw_public_key: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, raw_public_key);
        let first = digest.as_ref().first_chunk().copied();
        Self(first.expect("invariant: SHA-256 has 32 bytes"))
    }
}

/// Why a key could not be made or read. Says nothing of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system gave no random bytes.
    #[error("cannot make a key: the system gave no random bytes")]
    Randomness,
    /// Not the PKCS#8 document of an Ed25519 key pair.
    #[error("cannot read the signing key: not the PKCS#8 document of an Ed25519 key pair")]
    SigningKey,
    /// Not 32 bytes.
    #[error("cannot read the {what} key: it has {have} bytes instead of 32")]
    Length {
        /// Which kind of key.
        what: &'static str,
        /// How many bytes there are.
        have: usize,
    },
}

impl KeyError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Randomness => "key.randomness",
            Self::SigningKey => "key.signing",
            Self::Length { .. } => "key.length",
        }
    }
}

/// Signs frames and messages. Clones share the one key in memory.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
}

impl SigningKey {
    /// A new key, and its PKCS#8 document to keep.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate(rng: &dyn SecureRandom) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(rng).map_err(|_| KeyError::Randomness)?;
        let document = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self::from_pkcs8(&document)?, document))
    }

    /// The key of a PKCS#8 document that holds its public half too.
    ///
    /// # Errors
    /// [`KeyError::SigningKey`].
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(document).map_err(|_| KeyError::SigningKey)?;
        Ok(Self {
            pair: Arc::new(pair),
        })
    }

    /// The raw public half.
    pub fn public(&self) -> [u8; 32] {
        let raw = self.pair.public_key().as_ref().first_chunk().copied();
        raw.expect("invariant: an Ed25519 public key has 32 bytes")
    }

    /// What checks this key's signatures.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.public())
    }

    /// The id of the public half.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.public())
    }

    /// Signs a message (RFC 8032, Ed25519).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(message);
        let raw = signature.as_ref().first_chunk().copied();
        raw.expect("invariant: an Ed25519 signature has 64 bytes")
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.key_id())
    }
}

/// The y coordinates of the eight points whose order divides the cofactor, little-endian, with
/// those of their forms that are not reduced (RFC 8032, section 5.1: p = 2^255 - 19).
const SMALL_ORDER_Y: [[u8; 32]; 7] = [
    [0; 32],
    little(1),
    near_p(0xEC),
    near_p(0xED),
    near_p(0xEE),
    [
        0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67,
        0x0F, 0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC,
        0x03, 0x7A,
    ],
    [
        0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98,
        0xF0, 0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53,
        0xFC, 0x05,
    ],
];

const fn little(lowest: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    if let Some(first) = bytes.first_mut() {
        *first = lowest;
    }
    bytes
}

/// A number whose bytes are those of p but for the lowest.
const fn near_p(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xFF; 32];
    if let Some(first) = bytes.first_mut() {
        *first = lowest;
    }
    if let Some(last) = bytes.last_mut() {
        *last = 0x7F;
    }
    bytes
}

/// Checks signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey(pub [u8; 32]);

impl VerifyingKey {
    /// A key of exactly 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn from_bytes(raw: &[u8]) -> Result<Self, KeyError> {
        exactly_32(raw, "verifying").map(Self)
    }

    /// Whether the key is a point of small order: anybody can make a signature that such a key
    /// verifies for every message.
    fn is_of_small_order(&self) -> bool {
        let mut y = self.0;
        if let Some(last) = y.last_mut() {
            *last &= 0x7F;
        }
        SMALL_ORDER_Y.contains(&y)
    }

    /// Whether `signature` is this key's signature of `message`. Never for a key of small
    /// order.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        if self.is_of_small_order() {
            return false;
        }
        signature::UnparsedPublicKey::new(&signature::ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// The id of the key.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

/// Records are sealed to this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipientPublicKey(pub [u8; 32]);

impl RecipientPublicKey {
    /// A key of exactly 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn from_bytes(raw: &[u8]) -> Result<Self, KeyError> {
        exactly_32(raw, "recipient").map(Self)
    }

    /// The id of the key.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

/// The gateway's public keys, as a box has pinned them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedKeys {
    /// Records are sealed to it.
    pub recipient: RecipientPublicKey,
    /// Signs acknowledgements and commands now.
    pub control: VerifyingKey,
    /// Will sign them after the next change of the control key.
    pub control_next: VerifyingKey,
}

impl TrustedKeys {
    /// The keys whose word is the gateway's.
    pub const fn speakers(&self) -> [VerifyingKey; 2] {
        [self.control, self.control_next]
    }

    /// The ids of the keys.
    pub fn ids(&self) -> TrustedKeyIds {
        TrustedKeyIds {
            recipient: self.recipient.key_id(),
            control: self.control.key_id(),
            control_next: self.control_next.key_id(),
        }
    }
}

/// Which of the gateway's keys a box has pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedKeyIds {
    /// The key that it seals to.
    pub recipient: KeyId,
    /// The key that it believes to sign now.
    pub control: KeyId,
    /// The key that it will believe next.
    pub control_next: KeyId,
}

/// Opens what is sealed to its public half: records at the gateway, and, with a key that lives no
/// longer than one run of the program, the visits of the day at a box. The key that opens records
/// is never on a box. Its bytes are wiped when it is dropped.
pub struct RecipientSecretKey {
    pub(crate) secret: <SuiteKem as Kem>::PrivateKey,
}

impl RecipientSecretKey {
    /// A new key.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut material = Zeroizing::new([0; 32]);
        rng.fill(material.as_mut_slice())
            .map_err(|_| KeyError::Randomness)?;
        let (secret, _) = SuiteKem::derive_keypair(material.as_slice());
        Ok(Self { secret })
    }

    /// The key of 32 bytes that [`RecipientSecretKey::to_bytes`] gave.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn from_bytes(raw: &[u8]) -> Result<Self, KeyError> {
        let secret = <SuiteKem as Kem>::PrivateKey::from_bytes(raw).map_err(|_| {
            let (what, have) = ("recipient secret", raw.len());
            KeyError::Length { what, have }
        })?;
        Ok(Self { secret })
    }

    /// The 32 bytes to keep.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut raw = Zeroizing::new([0; 32]);
        self.secret.write_exact(raw.as_mut_slice());
        raw
    }

    /// What records are sealed to.
    pub fn public(&self) -> RecipientPublicKey {
        let mut raw = [0; 32];
        SuiteKem::sk_to_pk(&self.secret).write_exact(&mut raw);
        RecipientPublicKey(raw)
    }

    /// The id of the public half.
    pub fn key_id(&self) -> KeyId {
        self.public().key_id()
    }
}

impl std::fmt::Debug for RecipientSecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecipientSecretKey({})", self.key_id())
    }
}

fn exactly_32(raw: &[u8], what: &'static str) -> Result<[u8; 32], KeyError> {
    raw.try_into().map_err(|_| KeyError::Length {
        what,
        have: raw.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::{KeyError, RecipientSecretKey, SigningKey, VerifyingKey};
    use crate::lane::parse_hex;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    /// RFC 8032, section 7.1, TEST 2.
    #[test]
    fn the_signature_of_rfc_8032_comes_out() {
        let seed: [u8; 32] =
            parse_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = VerifyingKey::from_bytes(pair.public_key().as_ref()).unwrap();
        assert_eq!(
            Some(public.0),
            parse_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        );
        let signature: [u8; 64] = parse_hex(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ))
        .unwrap();
        assert_eq!(pair.sign(&[0x72]).as_ref(), signature);
        assert!(public.verify(&[0x72], &signature));
        assert!(!public.verify(&[0x73], &signature));
        assert!(!public.verify(&[0x72], &signature[..63]));
    }

    #[test]
    fn a_signing_key_is_found_again_in_its_document() {
        let (key, document) = SigningKey::generate(&SystemRandom::new()).unwrap();
        let again = SigningKey::from_pkcs8(&document).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(key.verifying_key().verify(b"x", &again.sign(b"x")));
        assert_eq!(
            SigningKey::from_pkcs8(&document[1..]).unwrap_err(),
            KeyError::SigningKey
        );
    }

    #[test]
    fn a_recipient_key_is_found_again_in_its_bytes() {
        let key = RecipientSecretKey::generate(&SystemRandom::new()).unwrap();
        let again = RecipientSecretKey::from_bytes(key.to_bytes().as_slice()).unwrap();
        assert_eq!(again.public(), key.public());
        let err = RecipientSecretKey::from_bytes(&[0; 31]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "cannot read the recipient secret key: it has 31 bytes instead of 32"
        );
    }

    #[test]
    fn what_is_printed_of_a_secret_is_its_public_id() {
        let key = RecipientSecretKey::from_bytes(&[9; 32]).unwrap();
        assert_eq!(
            format!("{key:?}"),
            format!("RecipientSecretKey({})", key.key_id())
        );
    }
}
