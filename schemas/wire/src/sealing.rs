//! How bytes are sealed to a key: HPKE in base mode with suite 1, and the padding inside.
//!
//! Records travel to the gateway this way, and the visits of the day to a box. Deliberately
//! absent: what is bound to the sealed bytes and who signs them.

use hpke::aead::AeadCtxS;
use hpke::rand_core::{CryptoRng, TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::keys::{RecipientPublicKey, RecipientSecretKey, SuiteKem};

/// HKDF-SHA256, 0x0001 (RFC 9180, 7.2).
pub(crate) type SuiteKdf = hpke::kdf::HkdfSha256;
/// ChaCha20-Poly1305, 0x0003 (RFC 9180, 7.3).
pub(crate) type SuiteAead = hpke::aead::ChaCha20Poly1305;

/// The key that travels beside what is sealed.
pub(crate) type EncappedKey = <SuiteKem as Kem>::EncappedKey;
/// What seals with the key inside it.
pub(crate) type SealingContext = AeadCtxS<SuiteAead, SuiteKdf, SuiteKem>;

/// Sealed bytes are a multiple of this long, so that their length tells little.
pub(crate) const PAD_BLOCK: usize = 256;

/// A new key for one sealing to this recipient; `None` when the recipient's key is no point that
/// a secret can be agreed with.
pub(crate) fn encapsulate(
    to: &RecipientPublicKey,
    info: &[u8],
    rng: &mut impl CryptoRng,
) -> Option<(EncappedKey, SealingContext)> {
    let key = <SuiteKem as Kem>::PublicKey::from_bytes(&to.0).ok()?;
    hpke::setup_sender_with_rng(&OpModeS::Base, &key, info, rng).ok()
}

/// Opens what was sealed to `secret`, still padded; `None` when it does not open.
pub(crate) fn open(
    secret: &RecipientSecretKey,
    info: &[u8],
    enc: &[u8],
    ct: &[u8],
    bound: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let enc = EncappedKey::from_bytes(enc).ok()?;
    hpke::single_shot_open::<SuiteAead, SuiteKdf, SuiteKem>(
        &OpModeR::Base,
        &secret.secret,
        &enc,
        info,
        ct,
        bound,
    )
    .ok()
    .map(Zeroizing::new)
}

/// The bytes, 0x80, and zeros up to a whole block.
pub(crate) fn padded(plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
    let len = (plaintext.len() + 1).next_multiple_of(PAD_BLOCK);
    let mut block = Zeroizing::new(Vec::with_capacity(len));
    block.extend_from_slice(plaintext);
    block.push(0x80);
    block.resize(len, 0);
    block
}

/// What was padded; `None` when it was padded in another way.
pub(crate) fn without_padding(mut block: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let whole = block.len().is_multiple_of(PAD_BLOCK);
    let mark = block.iter().rposition(|byte| *byte != 0)?;
    let ours = block.get(mark) == Some(&0x80) && block.len() - mark <= PAD_BLOCK;
    (whole && ours).then(|| {
        block.truncate(mark);
        block
    })
}

/// Randomness of the system for a library that cannot be told of a failure: the failure is
/// remembered, and what was made with it is thrown away.
pub(crate) struct SystemRng {
    source: SystemRandom,
    failed: bool,
}

impl SystemRng {
    pub(crate) fn new() -> Self {
        Self {
            source: SystemRandom::new(),
            failed: false,
        }
    }

    /// Whether the system once gave no random bytes.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failed
    }
}

impl TryRng for SystemRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        self.failed |= self.source.fill(dst).is_err();
        Ok(())
    }
}

impl TryCryptoRng for SystemRng {}
