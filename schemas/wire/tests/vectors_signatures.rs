//! Signatures against published values, and the edge cases on which implementations differ.
//!
//! Sources: RFC 8032, section 7.1 (keys, messages, signatures); RFC 9052, section 4.4 and
//! appendix C.2.1 (COSE_Sign1); the classes of cases of Project Wycheproof for EdDSA
//! (malleability, length, small order).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test program: what is unexpected must stop it"
)]

use cardio_wire::envelope;
use cardio_wire::keys::{SigningKey, VerifyingKey};

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The key pair of a seed, in the form of RFC 8410 with its public half.
fn pair(seed: &str, public: &str) -> SigningKey {
    let mut document = hex("3053020101300506032b657004220420");
    document.extend(hex(seed));
    document.extend(hex("a123032100"));
    document.extend(hex(public));
    SigningKey::from_pkcs8(&document).unwrap()
}

/// RFC 8032, section 7.1: TEST 1, TEST 2, TEST 3 and TEST SHA(abc).
const RFC_8032: [(&str, &str, &str, &str); 4] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555",
            "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        concat!(
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        concat!(
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        concat!(
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589",
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
];

/// The order of the group, little-endian (RFC 8032, section 5.1).
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

#[test]
fn the_signatures_of_rfc_8032_come_out_and_verify() {
    for (seed, public, message, signature) in RFC_8032 {
        let (message, signature) = (hex(message), hex(signature));
        let key = pair(seed, public);
        assert_eq!(key.public().to_vec(), hex(public));
        assert_eq!(key.sign(&message).to_vec(), signature);
        assert!(key.verifying_key().verify(&message, &signature));
    }
}

#[test]
fn any_flipped_bit_of_message_signature_or_key_is_refused() {
    for (_, public, message, signature) in RFC_8032 {
        let (key, message, signature) = (hex(public), hex(message), hex(signature));
        let verifies = |key: &[u8], message: &[u8], signature: &[u8]| {
            VerifyingKey::from_bytes(key)
                .unwrap()
                .verify(message, signature)
        };
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..signature.len() * 8 {
            assert!(!verifies(&key, &message, &flipped(&signature, bit)));
        }
        for bit in 0..message.len() * 8 {
            assert!(!verifies(&key, &flipped(&message, bit), &signature));
        }
        for bit in 0..key.len() * 8 {
            assert!(!verifies(&flipped(&key, bit), &message, &signature));
        }
    }
}

/// S + L signs the same message for a verifier that does not reduce (RFC 8032, 5.1.7: S must
/// be below L).
#[test]
fn a_signature_whose_s_is_not_reduced_is_refused() {
    for (_, public, message, signature) in RFC_8032 {
        let key = VerifyingKey::from_bytes(&hex(public)).unwrap();
        let mut signature = hex(signature);
        let mut carry = 0_u16;
        for (digit, order) in signature[32..].iter_mut().zip(hex(ORDER)) {
            let sum = u16::from(*digit) + u16::from(order) + carry;
            *digit = u8::try_from(sum & 0xFF).unwrap();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!key.verify(&hex(message), &signature));
        let mut all_ones = signature.clone();
        all_ones[32..].fill(0xFF);
        assert!(!key.verify(&hex(message), &all_ones));
    }
}

#[test]
fn a_signature_of_another_length_is_refused() {
    let (_, public, message, signature) = RFC_8032[2];
    let key = VerifyingKey::from_bytes(&hex(public)).unwrap();
    let (message, signature) = (hex(message), hex(signature));
    for len in 0..signature.len() {
        assert!(!key.verify(&message, &signature[..len]));
    }
    for more in [vec![0], vec![0; 32], signature.clone()] {
        assert!(!key.verify(&message, &[signature.clone(), more].concat()));
    }
    for wrong in [[0; 64], [0xFF; 64]] {
        assert!(!key.verify(&message, &wrong));
    }
}

/// With a key of small order, R = identity and S = 0 would sign every message.
#[test]
fn a_key_of_small_order_verifies_nothing() {
    let y_of_small_order = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    ];
    for y in y_of_small_order {
        for sign in [0, 0x80] {
            let mut raw = hex(y);
            raw[31] |= sign;
            let key = VerifyingKey::from_bytes(&raw).unwrap();
            for r in y_of_small_order {
                let signature = [hex(r), vec![0; 32]].concat();
                for message in [&b""[..], b"a record", b"another"] {
                    assert!(!key.verify(message, &signature), "{y} signs with {r}");
                }
            }
        }
    }
}

/// RFC 9052, appendix C.2.1: one signature with ES256.
const RFC_9052_C_2_1: &str = concat!(
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742e5840",
    "8eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e",
    "2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
);

#[test]
fn a_cose_sign1_of_another_form_or_algorithm_is_no_frame() {
    let (_, public, _, _) = RFC_8032[0];
    let key = VerifyingKey::from_bytes(&hex(public)).unwrap();
    let bytes = hex(RFC_9052_C_2_1);
    let err = envelope::verify(&bytes, &key).unwrap_err();
    assert_eq!(err.code(), "signed.form");
    assert_eq!(envelope::peek(&bytes).unwrap_err().code(), "signed.form");
    // Without its tag it is not even that.
    let err = envelope::peek(&bytes[1..]).unwrap_err();
    assert_eq!(err.code(), "signed.malformed");
}

/// RFC 9052, 4.4, by hand: what is signed of a frame is exactly this.
#[test]
fn the_signature_of_a_frame_covers_header_purpose_and_payload() {
    let stored: String = include_str!("vectors/frame-v1.hex")
        .split_whitespace()
        .collect();
    let frame = hex(&stored);
    let sign1: coset::CoseSign1 = coset::TaggedCborSerializable::from_tagged_slice(&frame).unwrap();
    let (protected, payload) = (
        sign1.protected.original_data.unwrap(),
        sign1.payload.unwrap(),
    );
    let mut signed = hex("846a5369676e617475726531");
    signed.extend([0x40 | u8::try_from(protected.len()).unwrap()]);
    signed.extend(&protected);
    signed.push(0x40 | 11);
    signed.extend(b"ecg/1 frame");
    signed.push(0x59);
    signed.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    signed.extend(&payload);
    // The box of the stored frame signs with the seed 01 01 … 01.
    let public: [u8; 32] = hex("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")
        .try_into()
        .unwrap();
    assert!(VerifyingKey(public).verify(&signed, &sign1.signature));
    assert!(envelope::verify(&frame, &VerifyingKey(public)).is_ok());
}
