use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::{BootId, BoxId};
use cardio_wire::intake::{ChainKey, Greeting, Receipt, Stored};
use cardio_wire::keys::{KeyId, TrustedKeyIds, VerifyingKey};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::{Hello, LaneState};
use cardio_wire::record::{LaneGapV1, RecordHead};
use proptest::prelude::*;

use super::{Arrived, EnrolError, Inbox, InboxCounts, NewBox, ToldGap};
use crate::boxes::KnownBox;
use crate::db::testing::Fresh;

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

async fn opened(fresh: &Fresh, now: UtcMicros) -> Inbox {
    let place = fresh.place();
    tokio::task::spawn_blocking(move || Inbox::open(&place, 64, now))
        .await
        .unwrap()
        .unwrap()
}

async fn enrolled(fresh: &Fresh) -> Inbox {
    let inbox = opened(fresh, NOW).await;
    match inbox.enrol(new_box()).await {
        Ok(()) | Err(EnrolError::NameTaken { .. }) => inbox,
        Err(error) => panic!("{error}"),
    }
}

async fn store(inbox: &Inbox, frame: Arrived) -> Receipt {
    inbox.store(frame).await.await.unwrap().unwrap()
}

async fn said(inbox: &Inbox, hello: Hello) -> Greeting {
    inbox.hello(hello, None, NOW).await.await.unwrap().unwrap()[0]
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
        visits_key: None,
    }
}

#[tokio::test]
async fn a_lane_is_acknowledged_up_to_the_first_hole() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    assert_eq!(store(&inbox, frame(1)).await.head.upto, 1);
    assert_eq!(store(&inbox, frame(3)).await.head.upto, 1);
    let receipt = store(&inbox, frame(2)).await;
    assert_eq!(receipt.head.upto, 3);
    assert_eq!(receipt.head.head, Some(fingerprint(3)));
}

#[tokio::test]
async fn a_hash_that_does_not_match_stops_the_lane_there() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
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
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    store(&inbox, frame(1)).await;
    let greeting = said(&inbox, hello(5, 8)).await;
    assert_eq!((greeting.head.upto, greeting.head.head), (4, None));
    let receipt = store(&inbox, frame(5)).await;
    assert_eq!(receipt.head.upto, 5);
    assert_eq!(inbox.counts().unwrap().missing, 3);
}

#[tokio::test]
async fn a_number_far_beyond_the_lane_is_refused() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    let receipt = store(&inbox, frame(1_000_000)).await;
    assert_eq!(receipt.stored, Stored::TooFarAhead);
    assert_eq!(inbox.counts().unwrap().frames, 0);
}

#[tokio::test]
async fn numbers_of_acknowledgements_rise_across_openings() {
    let fresh = Fresh::new();
    let first = enrolled(&fresh).await;
    first
        .hello(hello(1, 1), None, NOW)
        .await
        .await
        .unwrap()
        .unwrap();
    let high = first.counter().next(BOX, NOW);
    drop(first);
    // The clock went back a day meanwhile.
    let back = UtcMicros(NOW.0 - 86_400_000_000);
    let second = opened(&fresh, back).await;
    second
        .hello(hello(1, 1), None, back)
        .await
        .await
        .unwrap()
        .unwrap();
    assert!(second.counter().next(BOX, back) > high);
}

#[tokio::test]
async fn other_programs_know_when_a_box_was_last_connected() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    assert_eq!(inbox.boxes().unwrap()[0].connected, None);
    let earlier = UtcMicros(NOW.0 - 1);
    tokio::task::spawn_blocking(move || {
        for at in [NOW, earlier] {
            inbox.note_connected(vec![BOX], at).unwrap();
        }
        assert_eq!(inbox.boxes().unwrap()[0].connected, Some(NOW));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn each_box_counts_the_news_of_its_own_clock() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    let mut other = new_box();
    other.known.id = BoxId([9; 16]);
    other.known.name = "FR75-013".to_owned();
    other.known.cert_key_hash = [9; 32];
    inbox.enrol(other).await.unwrap();
    assert_eq!(inbox.clock_news().unwrap(), []);
    let mut elsewhere = hello(1, 1);
    elsewhere.device = BoxId([9; 16]);
    said(&inbox, hello(1, 1)).await;
    said(&inbox, elsewhere).await;
    let news = || {
        let mut news = inbox.clock_news().unwrap();
        news.sort_unstable();
        news
    };
    assert_eq!(news(), [(BOX, 1), (BoxId([9; 16]), 1)]);
    // What was known already is no news; another boot is.
    said(&inbox, hello(1, 1)).await;
    assert_eq!(news()[0], (BOX, 1));
    let mut rebooted = hello(1, 1);
    rebooted.at.box_instant.boot = BootId([2; 16]);
    said(&inbox, rebooted).await;
    assert_eq!(news(), [(BOX, 2), (BoxId([9; 16]), 1)]);
}

#[tokio::test]
async fn a_name_is_given_once_and_revoked_once() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    let mut other = new_box();
    other.known.id = BoxId([9; 16]);
    other.known.cert_key_hash = [9; 32];
    let err = inbox.enrol(other).await.unwrap_err();
    assert_eq!(err.code(), "boxes.name.taken");
    assert_eq!(inbox.revoke("FR75-012".to_owned(), NOW).await.unwrap(), BOX);
    let err = inbox.revoke("FR75-012".to_owned(), NOW).await.unwrap_err();
    assert_eq!(err.code(), "boxes.name.unknown");
}

fn told(from_seq: u64, to_seq: u64, reason: &str) -> ToldGap {
    let alert = ChainKey {
        device: BOX,
        lane: Lane::Alert,
        chain: CHAIN,
    };
    ToldGap {
        told_by: alert.frame(1),
        gap: LaneGapV1 {
            head: RecordHead {
                id: cardio_core::ids::RecordId([3; 16]),
                at: hello(1, 1).at,
            },
            lane: Lane::Routine,
            chain: CHAIN,
            from_seq,
            to_seq,
            records: (to_seq + 1).saturating_sub(from_seq),
            reason: reason.to_owned(),
        },
    }
}

async fn named(inbox: &Inbox, told: ToldGap) -> InboxCounts {
    let inbox = inbox.clone();
    tokio::task::spawn_blocking(move || {
        inbox.name_gaps(vec![told], NOW).unwrap();
        inbox.counts().unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_signed_gap_names_what_is_missing_and_once_it_came_nothing_is() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    store(&inbox, frame(1)).await;
    store(&inbox, frame(4)).await;
    let counts = named(&inbox, told(2, 3, LaneGapV1::DAMAGED)).await;
    assert_eq!((counts.missing, counts.named_in_gaps), (2, 2));
    let key = ChainKey {
        device: BOX,
        lane: Lane::Routine,
        chain: CHAIN,
    };
    assert_eq!(inbox.lane_head(key).unwrap().upto, 4);
    assert_eq!(super::chain_breaks_of(&inbox, BOX), 0);
    // The frames come after all, over another way.
    store(&inbox, frame(3)).await;
    store(&inbox, frame(2)).await;
    let counts = inbox.counts().unwrap();
    assert_eq!((counts.missing, counts.named_in_gaps), (0, 0));
    let late = inbox.readers().read(|c| super::late_frames(c, 10)).unwrap();
    assert_eq!(late.len(), 2);
}

#[tokio::test]
async fn frames_that_no_gap_names_break_the_chain() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    // The box is asked to name them, at every hello until it has.
    for _ in 0..2 {
        assert_eq!(said(&inbox, hello(3, 4)).await.resend_from, Some(1));
    }
    assert_eq!(super::chain_breaks_of(&inbox, BOX), 2);
    let counts = named(&inbox, told(1, 2, "retention.deleted")).await;
    assert_eq!((counts.missing, counts.named_in_gaps), (2, 2));
    assert_eq!(super::chain_breaks_of(&inbox, BOX), 0);
    assert_eq!(said(&inbox, hello(3, 4)).await.resend_from, None);
}

#[tokio::test]
async fn records_that_a_box_refused_are_counted() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    let mut refused = told(5, 4, "space.refused");
    refused.gap.records = 7;
    let counts = named(&inbox, refused).await;
    assert_eq!((counts.refused, counts.missing), (7, 0));
}

#[tokio::test]
async fn filed_frames_are_deleted_and_still_count_as_stored() {
    let fresh = Fresh::new();
    let inbox = enrolled(&fresh).await;
    for seq in 1..=5 {
        store(&inbox, frame(seq)).await;
    }
    let key = ChainKey {
        device: BOX,
        lane: Lane::Routine,
        chain: CHAIN,
    };
    let later = UtcMicros(NOW.0 + 1);
    let cleaning = inbox.clone();
    let (early, deleted) = tokio::task::spawn_blocking(move || {
        let early = cleaning.delete_filed(key, 5, NOW).unwrap();
        (early, cleaning.delete_filed(key, 3, later).unwrap())
    })
    .await
    .unwrap();
    assert_eq!((early, deleted), (0, 3));
    let cut = inbox.readers().read(|c| super::checkpoint(c, key)).unwrap();
    let cut = cut.unwrap();
    assert_eq!(
        (cut.upto, cut.fingerprint, cut.frames),
        (3, fingerprint(3), 3)
    );
    assert_eq!(store(&inbox, frame(2)).await.stored, Stored::Duplicate);
    assert_eq!(store(&inbox, frame(6)).await.head.upto, 6);
    let counts = inbox.counts().unwrap();
    assert_eq!((counts.frames, counts.deleted, counts.missing), (3, 3, 0));
}

/// Two programs need a server; on files the state directory's lock keeps the second out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_share_a_server_store_each_frame_once_and_number_upwards() {
    let fresh = Fresh::new();
    let first = enrolled(&fresh).await;
    let second = match fresh.place().is_shared() {
        true => enrolled(&fresh).await,
        false => first.clone(),
    };
    let both = |seq: u64| {
        let (first, second) = (first.clone(), second.clone());
        tokio::spawn(async move {
            let (a, b) = tokio::join!(first.store(frame(seq)), second.store(frame(seq)));
            (a.await.unwrap().unwrap(), b.await.unwrap().unwrap())
        })
    };
    let racing: Vec<_> = (1..=40).rev().map(both).collect();
    for race in racing {
        let (a, b) = race.await.unwrap();
        let stored = [a.stored, b.stored];
        assert!(
            stored.contains(&Stored::New) && stored.contains(&Stored::Duplicate),
            "{stored:?}"
        );
    }
    let head = store(&second, frame(40)).await.head;
    assert_eq!((head.upto, head.head), (40, Some(fingerprint(40))));
    assert_eq!(first.counts().unwrap().frames, 40);
    let mut last = 0;
    for inbox in [&first, &second, &first, &second] {
        said(inbox, hello(1, 41)).await;
        for _ in 0..3 {
            let number = inbox.counter().next(BOX, NOW);
            assert!(number > last);
            last = number;
        }
    }
    // An order of a program that has heard nothing of the box since.
    for inbox in [&first, &second, &second, &first] {
        let number = inbox.number(BOX, NOW).await.unwrap();
        assert!(number > last);
        last = number;
    }
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
            let fresh = Fresh::new();
            let mut inbox = enrolled(&fresh).await;
            let mut seen = std::collections::BTreeSet::new();
            for (step, seq) in order.iter().chain(&repeats).copied().enumerate() {
                if step == reopen_after {
                    inbox = enrolled(&fresh).await;
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
