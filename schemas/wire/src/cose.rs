//! COSE_Sign1 as this product uses it: tagged, EdDSA, one protected header, nothing else.
//!
//! Every signed thing has its own external data (`ecg/1 frame`, `ecg/1 ack`, …), so that a
//! signature made for one purpose never passes for another.
//!
//! Source: RFC 9052, section 4.2 (COSE_Sign1) and 4.4 (signing); RFC 9053, section 2.2 (EdDSA).

use coset::iana::{Algorithm, CoapContentFormat};
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable};

use crate::MAX_FRAME_BYTES;
use crate::keys::{SigningKey, VerifyingKey};
use crate::lane::KeyId;

/// Why bytes are not signed as they must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// More than either end accepts.
    #[error("{bytes} bytes are more than the {MAX_FRAME_BYTES} that are accepted")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not a tagged COSE_Sign1.
    #[error("not a COSE_Sign1: {why}")]
    Malformed {
        /// What the library said.
        why: String,
    },
    /// A COSE_Sign1 in another form than the one that is used here: another algorithm, other
    /// headers, a missing payload, or longer bytes for the same value.
    #[error("a COSE_Sign1 in another form than this protocol uses")]
    Form,
    /// Signed with another key than the one that is expected.
    #[error("signed with the key {have}, not with {want}")]
    Signer {
        /// The key that is expected.
        want: KeyId,
        /// The key that is named.
        have: KeyId,
    },
    /// The signature is not the key's signature of these bytes for this purpose.
    #[error("the signature is wrong")]
    Signature,
}

impl SignedError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "signed.too-large",
            Self::Malformed { .. } => "signed.malformed",
            Self::Form => "signed.form",
            Self::Signer { .. } => "signed.signer",
            Self::Signature => "signed.signature",
        }
    }
}

fn header(signer: KeyId) -> Header {
    HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_format(CoapContentFormat::Cbor)
        .key_id(signer.0.to_vec())
        .build()
}

/// Signs a payload for one purpose.
pub(crate) fn sign(payload: Vec<u8>, purpose: &[u8], signer: &SigningKey) -> Vec<u8> {
    CoseSign1Builder::new()
        .protected(header(signer.key_id()))
        .payload(payload)
        .create_signature(purpose, |message| signer.sign(message).to_vec())
        .build()
        .to_tagged_vec()
        .expect("invariant: a header without repeated labels always encodes")
}

/// Signed bytes whose form is right and whose signature is not checked yet.
pub(crate) struct Unchecked {
    signer: KeyId,
    sign1: CoseSign1,
}

impl Unchecked {
    /// Takes the form apart and refuses any other.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, SignedError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(SignedError::TooLarge { bytes: bytes.len() });
        }
        let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|err| SignedError::Malformed {
            why: err.to_string(),
        })?;
        let key_id = sign1.protected.header.key_id.as_slice();
        let signer = KeyId(key_id.try_into().map_err(|_| SignedError::Form)?);
        let only_form = CoseSign1Builder::new()
            .protected(header(signer))
            .payload(sign1.payload.clone().ok_or(SignedError::Form)?)
            .signature(sign1.signature.clone())
            .build()
            .to_tagged_vec();
        if only_form.is_ok_and(|form| form == bytes) {
            Ok(Self { signer, sign1 })
        } else {
            Err(SignedError::Form)
        }
    }

    /// The key that the bytes name as their signer.
    pub(crate) const fn signer(&self) -> KeyId {
        self.signer
    }

    /// What is signed, without trusting it.
    pub(crate) fn payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().unwrap_or_default()
    }

    /// What is signed, once the signature is checked.
    pub(crate) fn verify(self, purpose: &[u8], key: &VerifyingKey) -> Result<Vec<u8>, SignedError> {
        let want = key.key_id();
        if self.signer != want {
            let have = self.signer;
            return Err(SignedError::Signer { want, have });
        }
        let check = |signature: &[u8], message: &[u8]| {
            let good = key.verify(message, signature);
            good.then_some(()).ok_or(SignedError::Signature)
        };
        self.sign1.verify_signature(purpose, check)?;
        Ok(self.sign1.payload.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::{SignedError, Unchecked, sign};
    use crate::MAX_FRAME_BYTES;
    use crate::keys::SigningKey;
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    fn key() -> SigningKey {
        SigningKey::generate(&SystemRandom::new()).unwrap().0
    }

    #[test]
    fn a_signature_holds_for_its_purpose_and_key_only() {
        let (signer, other) = (key(), key());
        let bytes = sign(vec![1, 2], b"ecg/1 test", &signer);
        let verify = |purpose: &[u8], key: &SigningKey| {
            let parsed = Unchecked::parse(&bytes).unwrap();
            assert_eq!(parsed.payload(), [1, 2]);
            parsed.verify(purpose, &key.verifying_key())
        };
        assert_eq!(verify(b"ecg/1 test", &signer), Ok(vec![1, 2]));
        assert_eq!(verify(b"ecg/1 ack", &signer), Err(SignedError::Signature));
        let err = verify(b"ecg/1 test", &other).unwrap_err();
        assert_eq!(err.code(), "signed.signer");
    }

    #[test]
    fn a_header_outside_the_signature_is_refused() {
        let bytes = sign(vec![1], b"ecg/1 test", &key());
        // tag 18, array of 4, protected header of 17 bytes, then the empty unprotected map
        let at = bytes.iter().position(|byte| *byte == 0xA0).unwrap();
        let mut extra = bytes[..at].to_vec();
        extra.extend([0xA1, 0x04, 0x41, 0x00]);
        extra.extend(&bytes[at + 1..]);
        assert_eq!(Unchecked::parse(&extra).err(), Some(SignedError::Form));
    }

    #[test]
    fn too_many_bytes_are_refused_before_they_are_read() {
        let err = Unchecked::parse(&vec![0x81; MAX_FRAME_BYTES + 1])
            .err()
            .unwrap();
        assert_eq!(err.code(), "signed.too-large");
        assert!(Unchecked::parse(&vec![0x81; MAX_FRAME_BYTES]).is_err());
        assert!(Unchecked::parse(&vec![0xC1; MAX_FRAME_BYTES]).is_err());
    }

    proptest! {
        #[test]
        fn any_change_of_any_byte_is_refused(at: prop::sample::Index, flip in 1_u8..) {
            let signer = key();
            let mut bytes = sign(vec![0xF6; 40], b"ecg/1 test", &signer);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let verified = Unchecked::parse(&bytes)
                .and_then(|parsed| parsed.verify(b"ecg/1 test", &signer.verifying_key()));
            prop_assert!(verified.is_err());
        }

        #[test]
        fn any_bytes_are_signed_or_an_error(bytes: Vec<u8>) {
            prop_assert!(Unchecked::parse(&bytes).is_err());
        }
    }
}
