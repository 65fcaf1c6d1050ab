//! Lists of visits: there and back, byte for byte, and against whoever should not read them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use hpke::rand_core::{TryCryptoRng, TryRng};

const DEVICE: BoxId = BoxId([3; 16]);

/// Gives the same bytes again and again. For known answers only.
struct Fixed(u8);

impl TryRng for Fixed {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        dst.fill(self.0);
        Ok(())
    }
}
impl TryCryptoRng for Fixed {}

fn secret(byte: u8) -> RecipientSecretKey {
    RecipientSecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn one() -> Visit {
    Visit {
        request: RequestRef::new("r1").unwrap(),
        subject: SubjectRef::new("p1").unwrap(),
        name: "ESSAI Visite".to_owned().into(),
        born: None,
        what: None,
        from: None,
        until: None,
    }
}

fn list(visits: usize) -> VisitList {
    VisitList {
        day: "2026-01-31".to_owned(),
        issued: UtcMicros(1),
        until: UtcMicros(2),
        visits: vec![one(); visits],
        left_out: 0,
    }
}

#[test]
fn a_list_opens_with_the_key_of_that_run_for_that_box_and_nowhere_else() {
    let (now, before) = (secret(2), secret(4));
    let sealed = list(1).seal(DEVICE, &now.public()).unwrap();
    assert_eq!(sealed.open(DEVICE, &now).unwrap(), list(1));
    let code = |device, key| sealed.open(device, key).unwrap_err().code();
    assert_eq!(code(DEVICE, &before), "visits.recipient");
    assert_eq!(code(BoxId([9; 16]), &now), "visits.sealed");
    let renamed = SealedVisits {
        recipient: before.key_id(),
        ..sealed.clone()
    };
    assert_eq!(renamed.open(DEVICE, &before), Err(VisitsError::Sealed));
}

#[test]
fn two_sealings_of_one_list_share_no_key() {
    let to = secret(2).public();
    let (one, other) = (list(1).seal(DEVICE, &to), list(1).seal(DEVICE, &to));
    assert_ne!(one.unwrap().enc, other.unwrap().enc);
}

/// Suite 1 with the encapsulated key of 32 bytes of 6.
#[test]
fn the_known_answer_comes_out() {
    let sealed = list(1).seal_with(DEVICE, &secret(2).public(), &mut Fixed(6));
    let sealed = sealed.unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &sealed.ct);
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    assert_eq!(
        (hex(&sealed.enc), hex(digest.as_ref())),
        (
            "22bb6024bca0c34dc89f26e9adbe8f8152ba85d8348c70585fa273f0c1a01c6f".to_owned(),
            "fd4aed8251bd9b85c9db217ffb41ab0eba52cb9d829e5dc2e4f72db3350d1b2c".to_owned()
        )
    );
}

#[test]
fn a_key_that_agrees_on_nothing_is_refused() {
    let err = list(1)
        .seal(DEVICE, &RecipientPublicKey([0; 32]))
        .unwrap_err();
    assert_eq!(err.code(), "visits.key");
}

#[test]
fn a_list_that_is_too_large_is_refused() {
    assert!(VisitList::decode(&list(VISITS_MAX).encode()).is_ok());
    let err = VisitList::decode(&list(VISITS_MAX + 1).encode()).unwrap_err();
    assert_eq!(err.code(), "visits.unreadable");
    let mut long = list(1);
    long.visits[0].name = "é".repeat(101).into();
    assert!(VisitList::decode(&long.encode()).is_err());
    long.visits[0].name = "é".repeat(100).into();
    assert!(VisitList::decode(&long.encode()).is_ok());
    let mut odd = list(0);
    odd.day = "31/01/2026".to_owned();
    assert!(VisitList::decode(&odd.encode()).is_err());
}

#[test]
fn a_full_list_fits_into_one_command() {
    let mut full = list(VISITS_MAX);
    for visit in &mut full.visits {
        let text = || PatientText::from("x".repeat(VISIT_TEXT_MAX_BYTES));
        visit.name = text();
        (visit.born, visit.what) = (Some(text()), Some(text()));
    }
    let sealed = full.seal(DEVICE, &secret(2).public()).unwrap();
    assert!(sealed.ct.len() < crate::MAX_FRAME_BYTES / 2);
}

#[test]
fn what_is_printed_of_a_visit_names_nobody() {
    assert!(!format!("{:?}", list(1)).contains("ESSAI"));
}

fn text() -> impl Strategy<Value = PatientText> {
    ".{0,40}".prop_map(PatientText::from)
}

prop_compose! {
    fn visit()(
        ids in ("[A-Za-z0-9.-]{1,64}", "[A-Za-z0-9.-]{1,64}"), name in text(),
        born in option::of(text()), what in option::of(text()), times: (Option<i64>, Option<i64>),
    ) -> Visit {
        Visit {
            request: RequestRef::new(&ids.0).unwrap(),
            subject: SubjectRef::new(&ids.1).unwrap(),
            name, born, what,
            from: times.0.map(UtcMicros), until: times.1.map(UtcMicros),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens_to_the_same_list(
        visits in vec(visit(), 0..8), day in "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        issued: i64, until: i64, left_out: u64,
    ) {
        let list = VisitList {
            day, issued: UtcMicros(issued), until: UtcMicros(until), visits, left_out,
        };
        let sealed = list.seal(DEVICE, &secret(2).public()).unwrap();
        prop_assert_eq!(sealed.open(DEVICE, &secret(2)).unwrap(), list);
    }

    #[test]
    fn any_change_of_the_sealed_bytes_is_refused(at: prop::sample::Index, flip in 1_u8..) {
        let mut sealed = list(1).seal(DEVICE, &secret(2).public()).unwrap();
        let at = at.index(sealed.ct.len());
        sealed.ct[at] ^= flip;
        prop_assert_eq!(sealed.open(DEVICE, &secret(2)), Err(VisitsError::Sealed));
    }

    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes: Vec<u8>) {
        if let Ok(list) = VisitList::decode(&bytes) {
            prop_assert_eq!(&*list.encode(), &bytes);
        }
    }
}
