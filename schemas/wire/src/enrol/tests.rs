//! Requests, questions and answers: there and back, and for their own session only.

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;

const HERE: Session = Session {
    authority: [1; 32],
    binding: [2; 32],
};

struct NewBox {
    tls: EcdsaKeyPair,
    frame: SigningKey,
    request: EnrolRequest,
    claim: ClaimKey,
}

impl NewBox {
    fn new() -> Self {
        let rng = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        let (frame, _) = SigningKey::generate(&rng).unwrap();
        let code = ClaimCode::generate(&rng).unwrap();
        Self {
            tls: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &rng).unwrap(),
            request: EnrolRequest {
                invitation: code.number(),
                csr: vec![0x30; 200],
                frame_key: frame.verifying_key(),
                agent_version: "0.1.0".to_owned(),
                nonce: [7; 16],
            },
            claim: code.key(),
            frame,
        }
    }

    fn post(&self, session: &Session) -> (Vec<u8>, Transcript) {
        let sign = |message: &[u8]| {
            let signature = self.tls.sign(&SystemRandom::new(), message).unwrap();
            Some(signature.as_ref().to_vec())
        };
        let request = &self.request;
        request
            .prove(session, &self.claim, &self.frame, sign)
            .unwrap()
    }

    fn point(&self) -> &[u8] {
        self.tls.public_key().as_ref()
    }
}

#[test]
fn both_ends_see_the_same_six_words() {
    let one = NewBox::new();
    let (bytes, transcript) = one.post(&HERE);
    let posted = Posted::read(&bytes).unwrap();
    assert_eq!(posted.request, one.request);
    assert!(posted.is_claimed_with(&HERE, &one.claim));
    assert!(posted.is_signed_with_both(&HERE, one.point()));
    let words = transcript.words();
    assert_eq!(posted.transcript(&HERE).words(), words);
    assert_eq!(words.split(' ').count(), 6);
}

#[test]
fn a_request_says_nothing_in_another_session_or_before_another_authority() {
    let one = NewBox::new();
    let (bytes, transcript) = one.post(&HERE);
    let posted = Posted::read(&bytes).unwrap();
    let mut relayed = HERE;
    relayed.binding[31] ^= 1;
    let mut impostor = HERE;
    impostor.authority[0] ^= 1;
    for elsewhere in [relayed, impostor] {
        assert!(!posted.is_claimed_with(&elsewhere, &one.claim));
        assert!(!posted.is_signed_with_both(&elsewhere, one.point()));
        assert_ne!(posted.transcript(&elsewhere).words(), transcript.words());
    }
}

#[test]
fn each_proof_needs_its_own_key() {
    let (one, other) = (NewBox::new(), NewBox::new());
    let posted = Posted::read(&one.post(&HERE).0).unwrap();
    assert!(!posted.is_claimed_with(&HERE, &other.claim));
    assert!(!posted.is_signed_with_both(&HERE, other.point()));
    let mut foreign = one.request.clone();
    foreign.frame_key = other.frame.verifying_key();
    let stolen = NewBox {
        request: foreign,
        ..one
    };
    let posted = Posted::read(&stolen.post(&HERE).0).unwrap();
    assert!(!posted.is_signed_with_both(&HERE, stolen.point()));
}

#[test]
fn a_code_is_read_as_people_type_it() {
    let code: ClaimCode = "0123-4567-89AB-CDEF-GHJK".parse().unwrap();
    assert_eq!(code.to_text().as_str(), "0123-4567-89AB-CDEF-GHJK");
    assert_eq!(code.number(), "0123");
    for typed in ["o123 4567 89ab cdef ghjk", "OI23456789ABCDEFGHJK"] {
        assert_eq!(
            typed.parse::<ClaimCode>().unwrap().key(),
            code.key(),
            "{typed}"
        );
    }
    for wrong in [
        "",
        "0123-4567-89AB-CDEF-GHJ",
        "0123-4567-89AB-CDEF-GHJKM",
        "U123-4567-89AB-CDEF-GHJK",
    ] {
        assert_eq!(wrong.parse::<ClaimCode>(), Err(EnrolError::Code), "{wrong}");
    }
}

#[test]
fn what_was_scanned_is_read_back() {
    let code = ClaimCode::generate(&SystemRandom::new()).unwrap();
    let scan = Scan {
        address: "gateway.example:8444".to_owned(),
        authority: "0a".repeat(32),
        code: code.clone(),
    };
    let text = scan.to_text();
    let alphanumeric = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "*:.-".contains(c);
    assert!(text.chars().all(alphanumeric), "{}", *text);
    let again: Scan = text.parse().unwrap();
    assert_eq!(
        (again.address, again.authority),
        (scan.address, scan.authority)
    );
    assert_eq!(again.code, code);
    assert!("CARDIO2*a*b*c".parse::<Scan>().is_err());
}

#[test]
fn what_is_printed_of_a_code_is_its_number() {
    let code = ClaimCode::generate(&SystemRandom::new()).unwrap();
    assert_eq!(format!("{code:?}"), format!("ClaimCode({})", code.number()));
    assert_eq!(format!("{:?}", code.key()), "ClaimKey");
}

#[test]
fn a_question_holds_for_its_session_and_key() {
    let (one, other) = (NewBox::new(), NewBox::new());
    let ask = Ask::read(&Ask::sign([5; 16], &HERE, &one.frame)).unwrap();
    assert_eq!(ask.ticket, [5; 16]);
    assert!(ask.is_signed_with(&HERE, &one.frame.verifying_key()));
    assert!(!ask.is_signed_with(&HERE, &other.frame.verifying_key()));
    let elsewhere = Session {
        binding: [9; 32],
        ..HERE
    };
    assert!(!ask.is_signed_with(&elsewhere, &one.frame.verifying_key()));
}

fn grant() -> Grant {
    Grant {
        device: BoxId([1; 16]),
        name: "FR75-012".to_owned(),
        certificate: "pem".repeat(100),
        endpoint: "gateway.example:8883".to_owned(),
        server_name: "gateway.example".to_owned(),
        authority: "pem".repeat(200),
        renewal: "gateway.example:8444".to_owned(),
        trusted: TrustedKeys {
            recipient: RecipientPublicKey([3; 32]),
            control: VerifyingKey([4; 32]),
            control_next: VerifyingKey([5; 32]),
        },
    }
}

#[test]
fn every_answer_is_found_again_in_its_bytes() {
    let answers = [
        Answer::Pending { ticket: [8; 16] },
        Answer::Refused,
        Answer::Granted(Box::new(grant())),
    ];
    for answer in answers {
        assert_eq!(Answer::read(&answer.encode()).unwrap(), answer);
    }
    let later = cbor::encode(&cbor::map([(0, Some(Value::from(2_u8)))]));
    assert_eq!(Answer::read(&later).unwrap_err().code(), "enrol.version");
}

#[test]
fn a_request_beyond_the_limit_is_refused_before_it_is_read() {
    let err = Posted::read(&vec![0x81; MAX_MESSAGE_BYTES + 1]).unwrap_err();
    assert_eq!(err.code(), "enrol.too-large");
}

#[test]
fn an_invitation_or_version_that_could_trip_a_log_is_refused() {
    for (invitation, agent_version) in [("7K3\n", "0.1.0"), ("7K3MM", "0.1.0"), ("7K3M", "a b")] {
        let mut one = NewBox::new();
        one.request.invitation = invitation.to_owned();
        one.request.agent_version = agent_version.to_owned();
        let err = Posted::read(&one.post(&HERE).0).unwrap_err();
        assert_eq!(
            err.code(),
            "enrol.unreadable",
            "{invitation:?} {agent_version:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
        prop_assert!(Posted::read(&bytes).is_err());
        prop_assert!(Ask::read(&bytes).is_err());
        prop_assert!(Answer::read(&bytes).is_err());
    }

    #[test]
    fn any_change_of_any_byte_of_a_request_is_seen(at: prop::sample::Index, flip in 1_u8..) {
        let one = NewBox::new();
        let (mut bytes, _) = one.post(&HERE);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let good = Posted::read(&bytes).is_ok_and(|posted| {
            posted.is_claimed_with(&HERE, &one.claim)
                && posted.is_signed_with_both(&HERE, one.point())
        });
        prop_assert!(!good);
    }

    #[test]
    fn every_code_is_read_back(seed: [u8; 20]) {
        let code = ClaimCode(seed.map(|byte| byte & 31));
        prop_assert_eq!(code.to_text().parse::<ClaimCode>().unwrap(), code);
    }
}
