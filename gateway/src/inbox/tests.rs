use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::{BootId, BoxId};
use cardio_wire::intake::Stored;
use cardio_wire::keys::{KeyId, TrustedKeyIds, VerifyingKey};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::{Hello, LaneState};
use proptest::prelude::*;

use super::{Arrived, EnrolError, Inbox, NewBox, Receipt};
use crate::boxes::KnownBox;

const BOX: BoxId = BoxId([5; 16]);
const CHAIN: ChainId = ChainId([6; 8]);
const NOW: UtcMicros = UtcMicros(1_790_000_000_000_000);

fn new_box() -> NewBox {
    NewBox {
        known: KnownBox {
            id: BOX,
            name: "FR75-012".to_owned(),
            frame_key: VerifyingKey([1; 32]),
            cert_key_hash: [2; 32],
        },
        at: NOW,
    }
}

fn fingerprint(seq: u64) -> [u8; 32] {
    if seq == 0 {
        return [0; 32];
    }
    let mut bytes = [0xF0; 32];
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    bytes
}

fn frame(seq: u64) -> Arrived {
    Arrived {
        identity: FrameIdentity {
            device: BOX,
            lane: Lane::Routine,
            chain: CHAIN,
            seq,
        },
        prev: fingerprint(seq - 1),
        fingerprint: fingerprint(seq),
        bytes: bytes::Bytes::from_static(b"frame"),
        at: NOW,
    }
}

async fn enrolled(dir: &tempfile::TempDir) -> Inbox {
    let path = dir.path().join("inbox.sqlite");
    let inbox = tokio::task::spawn_blocking(move || Inbox::open(&path, 64, NOW))
        .await
        .unwrap()
        .unwrap();
    match inbox.enrol(new_box()).await {
        Ok(()) | Err(EnrolError::NameTaken { .. }) => inbox,
        Err(error) => panic!("{error}"),
    }
}

async fn store(inbox: &Inbox, frame: Arrived) -> Receipt {
    inbox.store(frame).await.await.unwrap().unwrap()
}

fn hello(oldest: u64, next: u64) -> Hello {
    Hello {
        device: BOX,
        lanes: vec![LaneState {
            lane: Lane::Routine,
            chain: CHAIN,
            oldest,
            next,
            head: fingerprint(next - 1),
            acked: 0,
        }],
        agent_version: "0.1.0".to_owned(),
        at: ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: 1_000,
            },
            utc: UtcMicros(0),
            quality: ClockQuality::Unsynchronised,
        },
        free_bytes: 1,
        keys: TrustedKeyIds {
            recipient: KeyId([1; 8]),
            control: KeyId([2; 8]),
            control_next: KeyId([3; 8]),
        },
        certificate_until: UtcMicros(0),
        heard: None,
    }
}

#[tokio::test]
async fn a_lane_is_acknowledged_up_to_the_first_hole() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = enrolled(&dir).await;
    assert_eq!(store(&inbox, frame(1)).await.head.upto, 1);
    assert_eq!(store(&inbox, frame(3)).await.head.upto, 1);
    let receipt = store(&inbox, frame(2)).await;
    assert_eq!(receipt.head.upto, 3);
    assert_eq!(receipt.head.head, Some(fingerprint(3)));
}

#[tokio::test]
async fn a_hash_that_does_not_match_stops_the_lane_there() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = enrolled(&dir).await;
    store(&inbox, frame(1)).await;
    let mut odd = frame(2);
    odd.prev = [0xEE; 32];
    let receipt = store(&inbox, odd).await;
    assert_eq!((receipt.head.upto, receipt.head.broken_at), (1, Some(2)));
    assert_eq!(store(&inbox, frame(3)).await.head.upto, 1);
    assert_eq!(inbox.counts().unwrap().broken_lanes, 1);
}

#[tokio::test]
async fn frames_that_a_box_has_lost_are_named_and_the_lane_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = enrolled(&dir).await;
    store(&inbox, frame(1)).await;
    let heads = inbox
        .hello(hello(5, 8), None, NOW)
        .await
        .await
        .unwrap()
        .unwrap();
    assert_eq!((heads[0].upto, heads[0].head), (4, None));
    let receipt = store(&inbox, frame(5)).await;
    assert_eq!(receipt.head.upto, 5);
    assert_eq!(inbox.counts().unwrap().missing, 3);
}

#[tokio::test]
async fn a_number_far_beyond_the_lane_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = enrolled(&dir).await;
    let receipt = store(&inbox, frame(1_000_000)).await;
    assert_eq!(receipt.stored, Stored::TooFarAhead);
    assert_eq!(inbox.counts().unwrap().frames, 0);
}

#[tokio::test]
async fn numbers_of_acknowledgements_rise_across_openings() {
    let dir = tempfile::tempdir().unwrap();
    let first = enrolled(&dir).await;
    let high = first.counter().next(NOW);
    drop(first);
    // The clock went back a day meanwhile.
    let path = dir.path().join("inbox.sqlite");
    let back = UtcMicros(NOW.0 - 86_400_000_000);
    let second = tokio::task::spawn_blocking(move || Inbox::open(&path, 64, back))
        .await
        .unwrap()
        .unwrap();
    assert!(second.counter().next(back) > high);
}

#[tokio::test]
async fn a_name_is_given_once_and_revoked_once() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = enrolled(&dir).await;
    let mut other = new_box();
    other.known.id = BoxId([9; 16]);
    other.known.cert_key_hash = [9; 32];
    let err = inbox.enrol(other).await.unwrap_err();
    assert_eq!(err.code(), "boxes.name.taken");
    assert_eq!(inbox.revoke("FR75-012".to_owned(), NOW).await.unwrap(), BOX);
    let err = inbox.revoke("FR75-012".to_owned(), NOW).await.unwrap_err();
    assert_eq!(err.code(), "boxes.name.unknown");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_repetition_reach_the_same_place(
        order in Just((1..=8_u64).collect::<Vec<_>>()).prop_shuffle(),
        repeats in proptest::collection::vec(1..=8_u64, 0..6),
        reopen_after in 0..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut inbox = enrolled(&dir).await;
            let mut seen = std::collections::BTreeSet::new();
            for (step, seq) in order.iter().chain(&repeats).copied().enumerate() {
                if step == reopen_after {
                    inbox = enrolled(&dir).await;
                }
                let receipt = store(&inbox, frame(seq)).await;
                let fresh = seen.insert(seq);
                assert_eq!(receipt.stored == Stored::New, fresh);
                let whole = (1..).take_while(|n| seen.contains(n)).count();
                assert_eq!(receipt.head.upto, u64::try_from(whole).unwrap());
                assert_eq!(receipt.head.head, Some(fingerprint(receipt.head.upto)));
            }
            assert_eq!(inbox.counts().unwrap().frames, 8);
        });
    }
}
