//! Sealing against a second reading of RFC 9180, and its edge cases.
//!
//! The reading below is written from the RFC's text on HMAC, the AEAD and X25519 alone. It is
//! held against appendix A.2.1 first; then it must open what [`envelope::seal`] makes, and
//! [`envelope::open`] must open and refuse what it should.
//!
//! Sources: RFC 9180, sections 4 to 7 and appendix A.2.1; RFC 7748, section 6.1 (all-zero
//! secrets); the classes of cases of Project Wycheproof for X25519 and ChaCha20-Poly1305.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test program: what is unexpected must stop it"
)]

use cardio_core::ids::BoxId;
use cardio_wire::cbor;
use cardio_wire::envelope::{self, FrameHeader, NO_PREVIOUS, SUITE_X25519_CHACHA};
use cardio_wire::keys::{RecipientPublicKey, RecipientSecretKey, SigningKey};
use cardio_wire::lane::{ChainId, Lane};
use coset::iana::{Algorithm, CoapContentFormat};
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use ring::rand::SystemRandom;
use ring::{aead, hmac};
use serde_cbor::Value;

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn raw(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

// RFC 9180, appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base.
const SECRET: &str = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
const PUBLIC: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
const ENC: &str = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
const SHARED: &str = "0bbe78490412b4bbea4812666f7916932b828bba79942424abb65244930d69a7";
const KEY: &str = "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91";
const BASE_NONCE: &str = "5c4d98150661b848853b547f";
const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
const AAD: &str = "436f756e742d30";
const CT: &str = concat!(
    "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db",
    "21993c62ce81883d2dd1b51a28"
);
const PT: &[u8] = b"Beauty is truth, truth beauty";

const KEM_SUITE: &[u8] = b"KEM\x00\x20";
const HPKE_SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";

/// RFC 9180, section 4: LabeledExtract.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    let input = [b"HPKE-v1", suite, label, ikm].concat();
    hmac::sign(&key, &input).as_ref().to_vec()
}

/// RFC 9180, section 4: LabeledExpand, for at most one block.
fn expand(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8], len: u8) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, prk);
    let input = [&[0, len][..], b"HPKE-v1", suite, label, info, &[1]].concat();
    hmac::sign(&key, &input).as_ref()[..usize::from(len)].to_vec()
}

/// RFC 9180, section 4.1: Decap, after the agreement.
fn shared_secret(dh: &[u8], enc: &[u8], public: &[u8]) -> Vec<u8> {
    let prk = extract(KEM_SUITE, b"", b"eae_prk", dh);
    let context = [enc, public].concat();
    expand(KEM_SUITE, &prk, b"shared_secret", &context, 32)
}

/// RFC 9180, section 5.1: the key schedule in base mode.
fn schedule(shared: &[u8], info: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let context = [
        vec![0],
        extract(HPKE_SUITE, b"", b"psk_id_hash", b""),
        extract(HPKE_SUITE, b"", b"info_hash", info),
    ]
    .concat();
    let secret = extract(HPKE_SUITE, shared, b"secret", b"");
    (
        expand(HPKE_SUITE, &secret, b"key", &context, 32),
        expand(HPKE_SUITE, &secret, b"base_nonce", &context, 12),
    )
}

fn agree(secret: [u8; 32], public: [u8; 32]) -> [u8; 32] {
    x25519_dalek::x25519(secret, public)
}

/// RFC 9180, section 6.1: single-shot open in base mode.
fn open(secret: [u8; 32], enc: [u8; 32], info: &[u8], aad: &[u8], ct: &[u8]) -> Option<Vec<u8>> {
    let public = agree(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
    let shared = shared_secret(&agree(secret, enc), &enc, &public);
    let (key, nonce) = schedule(&shared, info);
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &key).unwrap();
    let nonce = aead::Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut bytes = ct.to_vec();
    let opened = aead::LessSafeKey::new(key).open_in_place(nonce, aead::Aad::from(aad), &mut bytes);
    opened.ok().map(|plain| plain.to_vec())
}

#[test]
fn the_second_reading_gives_the_values_of_rfc_9180() {
    let (secret, enc) = (raw(SECRET), raw(ENC));
    let public = agree(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
    assert_eq!(public, raw(PUBLIC));
    let shared = shared_secret(&agree(secret, enc), &enc, &public);
    assert_eq!(shared, hex(SHARED));
    assert_eq!(schedule(&shared, &hex(INFO)), (hex(KEY), hex(BASE_NONCE)));
    let opened = open(secret, enc, &hex(INFO), &hex(AAD), &hex(CT));
    assert_eq!(opened.unwrap(), PT);
}

#[test]
fn our_recipient_key_is_the_key_pair_of_rfc_9180() {
    let secret = RecipientSecretKey::from_bytes(&raw(SECRET)).unwrap();
    assert_eq!(secret.public().0, raw(PUBLIC));
    let again = RecipientSecretKey::from_bytes(secret.to_bytes().as_slice()).unwrap();
    assert_eq!(again.public(), secret.public());
}

fn signer() -> SigningKey {
    SigningKey::generate(&SystemRandom::new()).unwrap().0
}

fn header(to: &RecipientPublicKey) -> FrameHeader {
    FrameHeader {
        suite: SUITE_X25519_CHACHA,
        recipient: to.key_id(),
        device: BoxId([3; 16]),
        lane: Lane::Bulk,
        chain: ChainId([4; 8]),
        seq: 1,
        prev: NO_PREVIOUS,
    }
}

/// The parts of a frame: header, encapsulated key, sealed bytes.
fn parts(frame: &[u8]) -> (Value, [u8; 32], Vec<u8>) {
    let payload = CoseSign1::from_tagged_slice(frame).unwrap().payload;
    let Value::Array(items) = cbor::decode(&payload.unwrap()).unwrap() else {
        unreachable!("a frame's payload is an array");
    };
    let bytes = |value: &Value| match value {
        Value::Bytes(bytes) => bytes.clone(),
        other => unreachable!("not bytes: {other:?}"),
    };
    let (enc, ct) = (bytes(&items[1]), bytes(&items[2]));
    (items[0].clone(), enc.try_into().unwrap(), ct)
}

/// A frame of any parts, signed as a box signs.
fn frame_of(header: Value, enc: &[u8], ct: &[u8], signer: &SigningKey) -> Vec<u8> {
    let parts = [Value::Bytes(enc.to_vec()), Value::Bytes(ct.to_vec())];
    let payload = Value::Array([vec![header], parts.to_vec()].concat());
    let protected = HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_format(CoapContentFormat::Cbor)
        .key_id(signer.key_id().0.to_vec())
        .build();
    CoseSign1Builder::new()
        .protected(protected)
        .payload(cbor::encode(&payload))
        .create_signature(b"ecg/1 frame", |message| signer.sign(message).to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

#[test]
fn what_we_seal_is_opened_by_the_second_reading() {
    let signer = signer();
    let to = RecipientPublicKey(raw(PUBLIC));
    for record in [&b""[..], b"a record", &[0xA5; 1000]] {
        let frame = envelope::seal(record, &header(&to), &to, &signer).unwrap();
        let (header, enc, ct) = parts(&frame);
        let aad = cbor::encode(&header);
        let mut block = open(raw(SECRET), enc, b"ecg/1 record", &aad, &ct).unwrap();
        assert!(block.len().is_multiple_of(256));
        while block.pop() == Some(0) {}
        assert_eq!(block, record, "what is left after 0x80 and zeros");
        assert_eq!(open(raw(SECRET), enc, b"ecg/2 record", &aad, &ct), None);
        assert_eq!(open(raw(SECRET), enc, b"ecg/1 record", b"", &ct), None);
    }
}

/// Points of order 1, 2, 4 and 8, and their unreduced forms: every agreement with them gives
/// zeros (RFC 7748, section 6.1; RFC 9180, section 7.1.4).
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn nothing_is_sealed_to_a_point_of_low_order() {
    for point in LOW_ORDER {
        assert_eq!(agree(raw(SECRET), raw(point)), [0; 32]);
        let to = RecipientPublicKey(raw(point));
        let err = envelope::seal(b"a record", &header(&to), &to, &signer()).unwrap_err();
        assert_eq!(err.code(), "seal.recipient", "{point}");
    }
}

#[test]
fn a_frame_encapsulated_with_a_point_of_low_order_does_not_open() {
    let signer = signer();
    let secret = RecipientSecretKey::from_bytes(&raw(SECRET)).unwrap();
    let to = secret.public();
    let frame = envelope::seal(b"a record", &header(&to), &to, &signer).unwrap();
    let (header, _, _) = parts(&frame);
    for point in LOW_ORDER {
        // What an attacker who knows that the secret is zero would seal.
        let shared = shared_secret(&[0; 32], &raw(point), &to.0);
        let (key, nonce) = schedule(&shared, b"ecg/1 record");
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &key).unwrap();
        let nonce = aead::Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let mut ct = vec![0; 256];
        ct[0] = 0x80;
        let aad = aead::Aad::from(cbor::encode(&header));
        aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(nonce, aad, &mut ct)
            .unwrap();
        let forged = frame_of(header.clone(), &raw(point), &ct, &signer);
        let verified = envelope::verify(&forged, &signer.verifying_key()).unwrap();
        let err = envelope::open(&verified, &secret).unwrap_err();
        assert_eq!(err.code(), "frame.sealed", "{point}");
    }
}

#[test]
fn a_changed_tag_key_header_or_length_does_not_open() {
    let signer = signer();
    let secret = RecipientSecretKey::from_bytes(&raw(SECRET)).unwrap();
    let to = secret.public();
    let frame = envelope::seal(b"a record", &header(&to), &to, &signer).unwrap();
    let (hdr, enc, ct) = parts(&frame);
    let refused = |header: &Value, enc: &[u8], ct: &[u8]| {
        let frame = frame_of(header.clone(), enc, ct, &signer);
        let verified = envelope::verify(&frame, &signer.verifying_key()).unwrap();
        let code = envelope::open(&verified, &secret)
            .err()
            .map(|err| err.code());
        assert_eq!(code, Some("frame.sealed"));
    };
    for bit in 0..128 {
        let mut changed = ct.clone();
        let tag = changed.len() - 16;
        changed[tag + bit / 8] ^= 1 << (bit % 8);
        refused(&hdr, &enc, &changed);
    }
    for at in 0..32 {
        let mut changed = enc;
        // The top bit of a point is not part of it (RFC 7748, section 5).
        changed[at] ^= 1;
        refused(&hdr, &changed, &ct);
    }
    for len in [0, 1, 15, 16, 17, ct.len() - 1] {
        refused(&hdr, &enc, &ct[..len]);
    }
    refused(&hdr, &enc, &[&ct[..], &[0]].concat());
    for len in [0, 31] {
        refused(&hdr, &enc[..len], &ct);
    }
    refused(&hdr, &[&enc[..], &[0]].concat(), &ct);
    let Value::Array(items) = &hdr else {
        unreachable!("a header is an array");
    };
    let mut other = items.clone();
    other[6] = Value::from(2_u8);
    other[7] = Value::Bytes(vec![9; 32]);
    refused(&Value::Array(other), &enc, &ct);
}
