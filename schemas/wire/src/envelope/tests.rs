//! Frames: there and back, against tampering, and byte for byte.

use super::*;
use crate::lane::parse_hex;
use crate::record::{CarriedFrameV1, Record, RecordHead};
use crate::sealing::PAD_BLOCK;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::{BootId, RecordId};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeS};
use proptest::prelude::*;

/// Gives the bytes that it was made of, then zeros. For known answers only.
struct Fixed(Vec<u8>);

impl TryRng for Fixed {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        let len = dst.len().min(self.0.len());
        dst[..len].copy_from_slice(&self.0[..len]);
        self.0.drain(..len);
        Ok(())
    }
}
impl TryCryptoRng for Fixed {}

struct Ends {
    signer: SigningKey,
    secret: RecipientSecretKey,
}

/// A key pair of RFC 8410's form around a fixed seed.
fn fixed_signer(seed: u8) -> SigningKey {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let mut document = vec![
        0x30, 0x53, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65,
    ];
    document.extend([0x70, 0x04, 0x22, 0x04, 0x20]);
    document.extend([seed; 32]);
    document.extend([0xA1, 0x23, 0x03, 0x21, 0x00]);
    document.extend(pair.public_key().as_ref());
    SigningKey::from_pkcs8(&document).unwrap()
}

fn ends() -> Ends {
    Ends {
        signer: fixed_signer(1),
        secret: RecipientSecretKey::from_bytes(&[2; 32]).unwrap(),
    }
}

fn header(to: &RecipientPublicKey) -> FrameHeader {
    FrameHeader {
        suite: SUITE_X25519_CHACHA,
        recipient: to.key_id(),
        device: BoxId([3; 16]),
        lane: Lane::Routine,
        chain: ChainId([4; 8]),
        seq: 2,
        prev: [5; 32],
    }
}

fn frame(plaintext: &[u8]) -> Vec<u8> {
    let ends = ends();
    let to = ends.secret.public();
    seal(plaintext, &header(&to), &to, &ends.signer).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// RFC 9180, appendix A.2.1, sequence number 0: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
/// ChaCha20Poly1305, base mode.
#[test]
fn the_ciphertext_of_rfc_9180_comes_out() {
    let recipient: [u8; 32] =
        parse_hex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a").unwrap();
    let material = hex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let (enc, ct) = hpke::single_shot_seal_with_rng::<SuiteAead, SuiteKdf, SuiteKem>(
        &OpModeS::Base,
        &<SuiteKem as Kem>::PublicKey::from_bytes(&recipient).unwrap(),
        &hex("4f6465206f6e2061204772656369616e2055726e"),
        &hex("4265617574792069732074727574682c20747275746820626561757479"),
        &hex("436f756e742d30"),
        &mut Fixed(material),
    )
    .unwrap();
    assert_eq!(
        enc.to_bytes().to_vec(),
        hex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
    );
    assert_eq!(
        ct,
        hex(concat!(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db",
            "21993c62ce81883d2dd1b51a28"
        ))
    );
    let (secret, _) = SuiteKem::derive_keypair(&hex(
        "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
    ));
    let secret = RecipientSecretKey { secret };
    assert_eq!(secret.public().0, recipient);
}

#[test]
fn a_frame_gives_back_the_record_and_says_who_and_where() {
    let ends = ends();
    let frame = frame(b"a record");
    assert_eq!(peek(&frame).unwrap(), header(&ends.secret.public()));
    let verified = verify(&frame, &ends.signer.verifying_key()).unwrap();
    assert_eq!(verified.header, header(&ends.secret.public()));
    assert_eq!(verified.fingerprint, fingerprint(&frame));
    assert_eq!(
        open(&verified, &ends.secret).unwrap().as_slice(),
        b"a record"
    );
}

#[test]
fn a_key_that_was_made_ahead_seals_to_its_recipient_only() {
    let ends = ends();
    let to = ends.secret.public();
    let ahead = Encapsulation::new(&to).unwrap();
    assert_eq!(ahead.recipient(), to.key_id());
    let frame = ahead.seal(b"a record", &header(&to), &ends.signer).unwrap();
    let verified = verify(&frame, &ends.signer.verifying_key()).unwrap();
    assert_eq!(
        open(&verified, &ends.secret).unwrap().as_slice(),
        b"a record"
    );
    let other = RecipientSecretKey::from_bytes(&[0x44; 32])
        .unwrap()
        .public();
    let ahead = Encapsulation::new(&other).unwrap();
    let err = ahead
        .seal(b"a record", &header(&to), &ends.signer)
        .unwrap_err();
    assert_eq!(err, SealError::Header { field: "recipient" });
}

/// Made once with the keys above and looked at byte by byte; it must never change.
#[test]
fn a_frame_of_fixed_keys_has_exactly_the_stored_bytes() {
    let ends = ends();
    let to = ends.secret.public();
    let key = Encapsulation::with_rng(&to, &mut Fixed(vec![6; 32])).unwrap();
    let made = key.seal(b"a record", &header(&to), &ends.signer).unwrap();
    let stored = include_str!("../../tests/vectors/frame-v1.hex");
    let text: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, stored.split_whitespace().collect::<String>());
    // tag 18, array of 4, protected {1: -8, 3: 60, 4: kid}, no unprotected header
    assert_eq!(
        made[..9],
        [0xD2, 0x84, 0x50, 0xA3, 0x01, 0x27, 0x03, 0x18, 0x3C]
    );
    assert_eq!(made[9..11], [0x04, 0x48]);
    assert_eq!(made[11..19], ends.signer.key_id().0);
    assert_eq!(made[19], 0xA0);
}

#[test]
fn every_byte_is_protected() {
    let ends = ends();
    let frame = frame(b"a record");
    for at in 0..frame.len() {
        let mut damaged = frame.clone();
        damaged[at] ^= 0x01;
        let result = verify(&damaged, &ends.signer.verifying_key());
        assert!(result.is_err(), "byte {at} was changed unnoticed");
    }
}

#[test]
fn another_signer_or_recipient_is_named() {
    let ends = ends();
    let frame = frame(b"a record");
    let err = verify(&frame, &fixed_signer(9).verifying_key()).unwrap_err();
    assert_eq!(err.code(), "signed.signer");
    let verified = verify(&frame, &ends.signer.verifying_key()).unwrap();
    let other = RecipientSecretKey::from_bytes(&[7; 32]).unwrap();
    assert_eq!(
        open(&verified, &other).unwrap_err().code(),
        "frame.recipient"
    );
}

#[test]
fn a_signature_for_another_purpose_is_no_frame() {
    let ends = ends();
    let frame = frame(b"a record");
    let payload = Unchecked::parse(&frame).unwrap().payload().to_vec();
    let forged = cose::sign(payload, b"ecg/1 hello", &ends.signer);
    let err = verify(&forged, &ends.signer.verifying_key()).unwrap_err();
    assert_eq!(err, FrameError::Signed(SignedError::Signature));
}

#[test]
fn sealed_bytes_under_another_header_do_not_open() {
    let ends = ends();
    let frame = frame(b"a record");
    let (header, enc, ct) = parts(Unchecked::parse(&frame).unwrap().payload()).unwrap();
    let moved = FrameHeader { seq: 3, ..header };
    let payload = cbor::encode(&Value::Array(vec![
        moved.to_value(),
        Value::Bytes(enc),
        Value::Bytes(ct),
    ]));
    let forged = cose::sign(payload, PURPOSE, &ends.signer);
    let verified = verify(&forged, &ends.signer.verifying_key()).unwrap();
    assert_eq!(open(&verified, &ends.secret), Err(FrameError::Sealed));
}

#[test]
fn a_frame_of_a_later_version_or_suite_is_told_apart_from_damage() {
    let signer = ends().signer;
    let with = |version: u8, suite: u8| {
        let to = ends().secret.public();
        let Value::Array(mut items) = header(&to).to_value() else {
            panic!("a header is an array");
        };
        items[0] = Value::from(version);
        items[1] = Value::from(suite);
        let empty = || Value::Bytes(Vec::new());
        let payload = Value::Array(vec![Value::Array(items), empty(), empty()]);
        let bytes = cose::sign(cbor::encode(&payload), PURPOSE, &signer);
        verify(&bytes, &signer.verifying_key()).unwrap_err()
    };
    assert_eq!(with(2, 1), FrameError::Version { version: 2 });
    assert_eq!(with(1, 2), FrameError::Suite { suite: 2 });
}

#[test]
fn a_frame_of_a_later_version_can_be_stored_if_its_prefix_and_signature_hold() {
    let signer = ends().signer;
    let key = signer.verifying_key();
    let good = header(&ends().secret.public());
    let later = |version: u8, suite: u8, more: bool| {
        let Value::Array(mut items) = good.to_value() else {
            panic!("a header is an array");
        };
        items[0] = Value::from(version);
        items[1] = Value::from(suite);
        if more {
            items.push(cbor::text("of a later version"));
        }
        let payload = Value::Array(vec![Value::Array(items), Value::Bytes(vec![1])]);
        cose::sign(cbor::encode(&payload), PURPOSE, &signer)
    };
    for frame in [later(2, 1, false), later(9, 7, true)] {
        let (found, print) = verify_to_store(&frame, &key).unwrap();
        assert_eq!(found.identity(), good.identity());
        assert_eq!((found.prev, print), (good.prev, fingerprint(&frame)));
        let other = fixed_signer(8).verifying_key();
        assert!(verify_to_store(&frame, &other).is_err());
    }
    // This version is held to all of its form.
    assert!(verify_to_store(&later(1, 1, true), &key).is_err());
    assert!(verify_to_store(&later(1, 1, false), &key).is_err());
    let short = Value::Array(vec![Value::Array(vec![Value::from(2_u8)])]);
    let short = cose::sign(cbor::encode(&short), PURPOSE, &signer);
    assert_eq!(
        verify_to_store(&short, &key).unwrap_err().code(),
        "frame.unreadable"
    );
}

#[test]
fn a_header_that_does_not_fit_is_refused_before_sealing() {
    let ends = ends();
    let to = ends.secret.public();
    let good = header(&to);
    let seal_field = |header: FrameHeader| match seal(b"", &header, &to, &ends.signer) {
        Err(SealError::Header { field }) => field,
        other => panic!("sealed: {other:?}"),
    };
    assert_eq!(seal_field(FrameHeader { suite: 2, ..good }), "suite");
    let recipient = KeyId([0; 8]);
    assert_eq!(seal_field(FrameHeader { recipient, ..good }), "recipient");
    assert_eq!(seal_field(FrameHeader { seq: 0, ..good }), "seq");
    assert_eq!(seal_field(FrameHeader { seq: 1, ..good }), "prev");
    let prev = NO_PREVIOUS;
    assert_eq!(seal_field(FrameHeader { prev, ..good }), "prev");
}

#[test]
fn a_record_that_is_too_large_is_refused_with_its_size() {
    let ends = ends();
    let to = ends.secret.public();
    let err = seal(&vec![0; MAX_SEALED_BYTES], &header(&to), &to, &ends.signer).unwrap_err();
    assert_eq!(err.code(), "seal.too-large");
    let largest = vec![0; MAX_SEALED_BYTES - 512];
    assert!(seal(&largest, &header(&to), &to, &ends.signer).is_ok());
}

#[test]
fn the_largest_frame_can_be_carried_four_times() {
    let ends = ends();
    let to = ends.secret.public();
    let mut size = 0;
    let mut frame = Vec::new();
    // the largest plaintext is found from below, in steps of the padding
    for blocks in (0..=MAX_SEALED_BYTES / PAD_BLOCK).rev() {
        let block = vec![0; blocks * PAD_BLOCK + PAD_BLOCK - 1];
        if let Ok(largest) = seal(&block, &header(&to), &to, &ends.signer) {
            (size, frame) = (largest.len(), largest);
            break;
        }
    }
    assert!(size + PAD_BLOCK > MAX_SEALED_BYTES);
    let head = RecordHead {
        id: RecordId([7; 16]),
        at: ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: u64::MAX,
            },
            utc: UtcMicros(i64::MIN),
            quality: ClockQuality::Synchronised { error_us: u64::MAX },
        },
    };
    for _ in 0..4 {
        let carrier = Record::CarriedFrame(CarriedFrameV1 { head, frame }).encode();
        let widest = FrameHeader {
            seq: u64::MAX,
            ..header(&to)
        };
        frame = Encapsulation::new(&to)
            .and_then(|key| key.seal_carrier(&carrier, &widest, &ends.signer))
            .unwrap();
        let verified = verify(&frame, &ends.signer.verifying_key()).unwrap();
        let opened = open(&verified, &ends.secret).unwrap();
        assert!(matches!(
            Record::decode(&opened),
            Ok(Record::CarriedFrame(_))
        ));
    }
    assert!(seal(&vec![0; MAX_SEALED_BYTES], &header(&to), &to, &ends.signer).is_err());
}

#[test]
fn an_unusable_recipient_key_is_refused() {
    let ends = ends();
    let to = RecipientPublicKey([0; 32]);
    let err = seal(b"", &header(&to), &to, &ends.signer).unwrap_err();
    assert_eq!(err.code(), "seal.recipient");
}

#[test]
fn the_size_of_a_frame_tells_the_record_to_256_bytes_only() {
    assert_eq!(frame(&[1; 1]).len(), frame(&[1; 255]).len());
    assert_eq!(frame(&[1; 256]).len(), frame(&[1; 511]).len());
    assert_eq!(frame(&[1; 256]).len() - frame(&[1; 255]).len(), 256);
}

#[test]
fn padding_that_is_not_ours_is_refused() {
    let refuse = |block: Vec<u8>| {
        assert_eq!(without_padding(Zeroizing::new(block)), None);
    };
    refuse(Vec::new());
    refuse(vec![0; 256]);
    refuse(vec![0x81; 256]);
    refuse(vec![0x80; 255]);
    let mut a_block_too_many = vec![0; 512];
    a_block_too_many[10] = 0x80;
    refuse(a_block_too_many);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens_to_the_same_bytes(plaintext in prop::collection::vec(any::<u8>(), 0..2000)) {
        let ends = ends();
        let verified = verify(&frame(&plaintext), &ends.signer.verifying_key()).unwrap();
        prop_assert_eq!(open(&verified, &ends.secret).unwrap().to_vec(), plaintext);
    }

    #[test]
    fn any_payload_is_a_frame_or_an_error(payload: Vec<u8>) {
        let signer = ends().signer;
        let bytes = cose::sign(payload, PURPOSE, &signer);
        let _ = peek(&bytes);
        if let Ok(verified) = verify(&bytes, &signer.verifying_key()) {
            prop_assert!(open(&verified, &ends().secret).is_err());
        }
    }
}
