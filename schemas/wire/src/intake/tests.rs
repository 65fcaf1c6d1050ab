use std::collections::BTreeSet;

use cardio_core::ids::BoxId;
use proptest::prelude::*;

use super::{
    AHEAD_MAX, Arrival, CHAINS_MAX, ChainKey, Greeting, Holdings as _, LaneHead, MemoryHoldings,
    NO_PREVIOUS, NamedGap, OtherHistory, Receipt, SEQ_MAX, Stored, greet, name_gap, take,
    take_carried, unnamed,
};
use crate::lane::{ChainId, Lane};
use crate::message::LaneState;

const KEY: ChainKey = ChainKey {
    device: BoxId([5; 16]),
    lane: Lane::Routine,
    chain: ChainId([6; 8]),
};

fn fingerprint(seq: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    bytes
}

fn arrival(seq: u64) -> Arrival<'static> {
    Arrival {
        identity: KEY.frame(seq),
        prev: fingerprint(seq.saturating_sub(1)),
        fingerprint: fingerprint(seq),
        frame: b"frame",
    }
}

fn put(held: &mut MemoryHoldings, seq: u64) -> Receipt {
    take(held, &arrival(seq)).unwrap()
}

fn hello(held: &mut MemoryHoldings, oldest: u64, next: u64, acked: u64) -> Option<Greeting> {
    let said = LaneState {
        lane: KEY.lane,
        chain: KEY.chain,
        oldest,
        next,
        head: fingerprint(next.saturating_sub(1)),
        acked,
    };
    greet(held, KEY.device, &said).unwrap()
}

fn name(held: &mut MemoryHoldings, from_seq: u64, to_seq: u64, ends_chain: bool) -> LaneHead {
    let gap = NamedGap {
        from_seq,
        to_seq,
        ends_chain,
    };
    name_gap(held, KEY, &gap).unwrap();
    held.head(KEY).unwrap().unwrap()
}

fn missing(held: &MemoryHoldings) -> Vec<(u64, u64)> {
    held.missing().map(|(_, from, to)| (from, to)).collect()
}

#[test]
fn a_lane_stands_at_the_last_frame_before_the_first_hole() {
    let mut held = MemoryHoldings::default();
    assert_eq!(put(&mut held, 1).head.upto, 1);
    assert_eq!(put(&mut held, 3).head.upto, 1);
    let receipt = put(&mut held, 2);
    assert_eq!((receipt.stored, receipt.head.upto), (Stored::New, 3));
    assert_eq!(receipt.head.head, Some(fingerprint(3)));
    assert_eq!(put(&mut held, 2).stored, Stored::Duplicate);
}

#[test]
fn a_hash_that_does_not_match_stops_the_lane_and_stays_known() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    let odd = Arrival {
        prev: [0xEE; 32],
        ..arrival(2)
    };
    let head = take(&mut held, &odd).unwrap().head;
    assert_eq!((head.upto, head.broken_at), (1, Some(2)));
    assert_eq!(put(&mut held, 3).head.upto, 1);
    let after = hello(&mut held, 4, 4, 0).unwrap().head;
    assert_eq!(after.broken_at, Some(2));
}

#[test]
fn another_frame_of_the_same_identity_is_kept_aside() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    let other = Arrival {
        fingerprint: [9; 32],
        ..arrival(1)
    };
    assert_eq!(take(&mut held, &other).unwrap().stored, Stored::Conflict);
    let kept: Vec<_> = held.conflicts().map(|(id, _)| *id).collect();
    assert_eq!(kept, [KEY.frame(1)]);
    assert_eq!(
        held.link(KEY, 1).unwrap().unwrap().fingerprint,
        fingerprint(1)
    );
}

#[test]
fn numbers_and_chains_have_limits() {
    let mut held = MemoryHoldings::default();
    assert_eq!(put(&mut held, 0).stored, Stored::TooFarAhead);
    assert_eq!(put(&mut held, AHEAD_MAX).stored, Stored::New);
    assert_eq!(put(&mut held, AHEAD_MAX + 1).stored, Stored::TooFarAhead);
    assert_eq!(hello(&mut held, 1, SEQ_MAX + 1, 0), None);
    for chain in 1..CHAINS_MAX {
        let chain = ChainId(chain.to_be_bytes());
        let identity = ChainKey { chain, ..KEY }.frame(1);
        let frame = Arrival {
            identity,
            ..arrival(1)
        };
        assert_eq!(take(&mut held, &frame).unwrap().stored, Stored::New);
    }
    let identity = ChainKey {
        chain: ChainId([7; 8]),
        ..KEY
    }
    .frame(1);
    let frame = Arrival {
        identity,
        ..arrival(1)
    };
    assert_eq!(
        take(&mut held, &frame).unwrap().stored,
        Stored::TooManyChains
    );
}

#[test]
fn what_a_box_no_longer_has_is_missing_and_the_lane_goes_on() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 3);
    let greeting = hello(&mut held, 5, 8, 0).unwrap();
    assert_eq!((greeting.head.upto, greeting.head.head), (4, None));
    assert_eq!(missing(&held), [(2, 2), (4, 4)]);
    assert_eq!(put(&mut held, 5).head.upto, 5);
}

#[test]
fn a_box_that_has_nothing_left_says_itself_where_its_chain_ends() {
    let mut held = MemoryHoldings::default();
    let greeting = hello(&mut held, 5, 5, 4).unwrap();
    assert_eq!(greeting.head.upto, 4);
    assert_eq!(greeting.head.head, Some(fingerprint(4)));
    // It is asked all the same, so that it names what is gone.
    assert_eq!(greeting.resend_from, Some(1));
}

#[test]
fn a_gateway_that_holds_less_than_was_acknowledged_asks_again() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    let backup = held.clone();
    put(&mut held, 2);
    put(&mut held, 3);
    assert_eq!(hello(&mut held, 1, 4, 3).unwrap().resend_from, None);
    held = backup;
    assert_eq!(hello(&mut held, 1, 4, 3).unwrap().resend_from, Some(2));
    // What the box does not keep any more is missing, and is asked for so that it is named.
    let greeting = hello(&mut held, 3, 4, 3).unwrap();
    assert_eq!((greeting.head.upto, greeting.resend_from), (2, Some(2)));
}

#[test]
fn a_box_that_holds_another_frame_of_the_same_number_has_forked() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    assert!(!hello(&mut held, 1, 2, 0).unwrap().forked);
    let said = LaneState {
        lane: KEY.lane,
        chain: KEY.chain,
        oldest: 1,
        next: 2,
        head: [9; 32],
        acked: 0,
    };
    assert!(greet(&mut held, KEY.device, &said).unwrap().unwrap().forked);
}

#[test]
fn a_missing_frame_that_comes_after_all_is_taken_if_it_fits() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    hello(&mut held, 5, 6, 0);
    put(&mut held, 5);
    let other = Arrival {
        fingerprint: [9; 32],
        ..arrival(4)
    };
    assert_eq!(take(&mut held, &other).unwrap().stored, Stored::Conflict);
    assert_eq!(put(&mut held, 3).stored, Stored::New);
    assert_eq!(held.late(), [KEY.frame(3)]);
    assert_eq!(missing(&held), [(2, 2), (4, 4)]);
}

#[test]
fn a_late_frame_that_is_not_the_one_the_box_named_is_kept_aside() {
    let mut held = MemoryHoldings::default();
    hello(&mut held, 6, 6, 0);
    let other = Arrival {
        fingerprint: [9; 32],
        ..arrival(5)
    };
    assert_eq!(take(&mut held, &other).unwrap().stored, Stored::Conflict);
    assert_eq!(put(&mut held, 5).stored, Stored::New);
}

#[test]
fn a_late_frame_where_the_lane_stands_is_what_the_next_one_must_follow() {
    let mut held = MemoryHoldings::default();
    name(&mut held, 1, 5, false);
    let other = Arrival {
        fingerprint: [9; 32],
        ..arrival(5)
    };
    let receipt = take(&mut held, &other).unwrap();
    assert_eq!(receipt.stored, Stored::New);
    assert_eq!(receipt.head.head, Some([9; 32]));
    // What a hello says of that place does not displace the frame that is stored there.
    let greeting = hello(&mut held, 1, 6, 0).unwrap();
    assert_eq!(greeting.head.head, Some([9; 32]));
    assert!(greeting.forked);
    assert_eq!(put(&mut held, 6).head.broken_at, Some(6));
}

#[test]
fn a_frame_that_retention_deleted_is_a_duplicate() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 2);
    held.forget(&KEY.frame(1));
    assert_eq!(put(&mut held, 1).stored, Stored::Duplicate);
}

#[test]
fn a_named_gap_lets_the_lane_go_on_behind_it() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 5);
    assert_eq!(name(&mut held, 2, 4, false).upto, 5);
    assert_eq!(missing(&held), [(2, 4)]);
    assert_eq!(name(&mut held, 2, 4, false).upto, 5);
    assert_eq!(missing(&held), [(2, 4)]);
}

#[test]
fn an_ended_chain_leaves_no_hole_open() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 4);
    // Empty stretch: everything up to 6 was acknowledged once, and nothing more will come.
    assert_eq!(name(&mut held, 7, 6, true).upto, 6);
    assert_eq!(missing(&held), [(2, 3), (5, 6)]);
    let mut unknown_end = MemoryHoldings::default();
    put(&mut unknown_end, 3);
    assert_eq!(name(&mut unknown_end, 1, u64::MAX, true).upto, 3);
    assert_eq!(missing(&unknown_end), [(1, 2)]);
}

#[test]
fn a_gap_that_names_stored_frames_names_nothing_missing() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 2);
    assert_eq!(name(&mut held, 1, 2, true).upto, 2);
    assert!(missing(&held).is_empty());
}

#[test]
fn what_no_signed_gap_covers_is_found() {
    assert_eq!(unnamed(&[(1, 10)], &[]), [(1, 10)]);
    assert_eq!(
        unnamed(&[(1, 10)], &[(3, 4), (9, u64::MAX)]),
        [(1, 2), (5, 8)]
    );
    assert_eq!(unnamed(&[(8, 8), (5, 6)], &[(1, 5), (2, 6)]), [(8, 8)]);
    assert!(unnamed(&[], &[(1, 5)]).is_empty());
}

#[derive(Clone, Debug)]
enum Act {
    Frame(u64),
    Other(u64),
    Hello { oldest: u64, next: u64, acked: u64 },
    Gap { from: u64, to: u64, ends: bool },
    Restore,
    Backup,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..24_u64).prop_map(Act::Frame),
        1 => (1..24_u64).prop_map(Act::Other),
        1 => (0..24_u64, 0..24_u64, 0..24_u64)
            .prop_map(|(oldest, next, acked)| Act::Hello { oldest, next, acked }),
        1 => (0..24_u64, prop_oneof![0..24_u64, Just(u64::MAX)], any::<bool>())
            .prop_map(|(from, to, ends)| Act::Gap { from, to, ends }),
        1 => Just(Act::Restore),
        1 => Just(Act::Backup),
    ]
}

fn check(held: &mut MemoryHoldings) {
    let stored: BTreeSet<u64> = held.frames().map(|(id, _)| id.seq).collect();
    let mut noted = BTreeSet::new();
    for (from, to) in missing(held) {
        assert!(from <= to);
        for seq in from..=to {
            assert!(noted.insert(seq), "{seq} is noted twice");
            assert!(!stored.contains(&seq), "{seq} is stored and missing");
        }
    }
    let Some(head) = held.head(KEY).unwrap() else {
        assert!(stored.is_empty() && noted.is_empty());
        return;
    };
    for seq in 1..=head.upto {
        assert!(
            stored.contains(&seq) || noted.contains(&seq),
            "{seq} is passed over"
        );
    }
    let next = head.upto + 1;
    assert!(!noted.contains(&next));
    assert!(!stored.contains(&next) || head.broken_at.is_some());
    if let (Some(link), Some(said)) = (held.link(KEY, head.upto).unwrap(), head.head) {
        assert_eq!(link.fingerprint, said);
    }
}

proptest! {
    #[test]
    fn whatever_comes_every_number_is_stored_missing_or_still_expected(
        acts in proptest::collection::vec(act(), 0..60),
    ) {
        let mut held = MemoryHoldings::default();
        let mut backup = held.clone();
        for act in acts {
            let before = held.frames().map(|(id, _)| *id).collect::<BTreeSet<_>>();
            match act {
                Act::Frame(seq) => {
                    let stored = put(&mut held, seq).stored;
                    let fresh = !before.contains(&KEY.frame(seq));
                    prop_assert!(fresh || stored == Stored::Duplicate || stored == Stored::Conflict);
                }
                Act::Other(seq) => {
                    let odd = Arrival { fingerprint: [seq.to_le_bytes()[0] | 0x80; 32], ..arrival(seq) };
                    take(&mut held, &odd).unwrap();
                }
                Act::Hello { oldest, next, acked } => {
                    hello(&mut held, oldest, next, acked);
                }
                Act::Gap { from, to, ends } => {
                    let gap = NamedGap { from_seq: from, to_seq: to, ends_chain: ends };
                    name_gap(&mut held, KEY, &gap).unwrap();
                }
                Act::Backup => backup = held.clone(),
                Act::Restore => {
                    held = backup.clone();
                    continue;
                }
            }
            for id in before {
                prop_assert!(held.link(KEY, id.seq).unwrap().is_some());
            }
            check(&mut held);
        }
    }

    #[test]
    fn any_order_and_any_repetition_reach_the_same_place(
        order in Just((1..=12_u64).collect::<Vec<_>>()).prop_shuffle(),
        repeats in proptest::collection::vec(1..=12_u64, 0..6),
    ) {
        let mut held = MemoryHoldings::default();
        let mut seen = BTreeSet::new();
        for seq in order.into_iter().chain(repeats) {
            let receipt = put(&mut held, seq);
            prop_assert_eq!(receipt.stored == Stored::New, seen.insert(seq));
            let whole = (1..).take_while(|n| seen.contains(n)).last().unwrap_or(0);
            prop_assert_eq!(receipt.head.upto, whole);
            prop_assert_eq!(receipt.head.head, Some(fingerprint(whole)));
        }
    }
}

fn carry(held: &mut MemoryHoldings, frame: &Arrival<'_>) -> Receipt {
    take_carried(held, frame).unwrap()
}

/// The box went back before frame `from` and made other frames from there on.
fn other_history(seq: u64, from: u64) -> Arrival<'static> {
    let second = |seq: u64| {
        let mut bytes = fingerprint(seq);
        bytes[31] = u8::from(seq >= from);
        bytes
    };
    Arrival {
        prev: second(seq.saturating_sub(1)),
        fingerprint: second(seq),
        ..arrival(seq)
    }
}

#[test]
fn a_box_that_sends_another_frame_is_told_which_one_is_held() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 2);
    let receipt = take(&mut held, &other_history(2, 2)).unwrap();
    let held_here = OtherHistory::Frame {
        seq: 2,
        fingerprint: fingerprint(2),
    };
    assert_eq!(
        (receipt.stored, receipt.other),
        (Stored::Conflict, Some(held_here))
    );
    assert_eq!(put(&mut held, 3).other, None);
}

#[test]
fn a_frame_behind_the_head_that_does_not_follow_is_told_until_the_chain_ends() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 3);
    let receipt = take(&mut held, &other_history(2, 2)).unwrap();
    let behind = OtherHistory::Frame {
        seq: 3,
        fingerprint: fingerprint(3),
    };
    assert_eq!((receipt.head.upto, receipt.other), (2, Some(behind)));
    let greeting = hello(&mut held, 1, 2, 0).unwrap();
    assert_eq!((greeting.other, greeting.forked), (Some(behind), false));
    let head = name(&mut held, 3, 2, true);
    assert_eq!((head.upto, head.broken_at), (3, Some(3)));
    let greeting = hello(&mut held, 1, 2, 0).unwrap();
    assert_eq!(greeting.other, Some(OtherHistory::Ended));
}

#[test]
fn a_hello_whose_newest_frame_is_another_one_is_told_which_is_held() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    take(&mut held, &other_history(2, 2)).unwrap();
    let greeting = hello(&mut held, 1, 3, 0).unwrap();
    let seq = 2;
    let fingerprint = other_history(2, 2).fingerprint;
    assert_eq!(
        greeting.other,
        Some(OtherHistory::Frame { seq, fingerprint })
    );
    assert!(greeting.forked);
}

#[test]
fn a_box_that_forgot_frames_which_are_gone_here_too_is_told_that_they_were_made() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    let greeting = hello(&mut held, 5, 9, 4).unwrap();
    assert_eq!((greeting.head.upto, greeting.head.head), (4, None));
    assert_eq!(greeting.other, None);
    let greeting = hello(&mut held, 1, 3, 1).unwrap();
    let made = OtherHistory::Frame {
        seq: 4,
        fingerprint: NO_PREVIOUS,
    };
    assert_eq!(greeting.other, Some(made));
}

#[test]
fn a_carried_frame_ends_its_chain_and_fills_its_place_or_stands_beside_it() {
    let mut held = MemoryHoldings::default();
    put(&mut held, 1);
    put(&mut held, 2);
    assert_eq!(carry(&mut held, &arrival(2)).stored, Stored::Duplicate);
    assert_eq!(
        carry(&mut held, &other_history(2, 2)).stored,
        Stored::Conflict
    );
    let receipt = carry(&mut held, &arrival(5));
    assert_eq!((receipt.stored, receipt.head.upto), (Stored::New, 5));
    assert_eq!(receipt.other, Some(OtherHistory::Ended));
    assert_eq!(missing(&held), [(3, 4)]);
    assert_eq!(carry(&mut held, &arrival(4)).stored, Stored::New);
    assert_eq!(held.late(), [KEY.frame(4)]);
    // It was filed and is no longer kept: which frame it was is not known any more.
    held.forget(&KEY.frame(1));
    assert_eq!(
        carry(&mut held, &other_history(1, 1)).stored,
        Stored::Conflict
    );
    assert_eq!(held.conflicts().count(), 2);
}

#[test]
fn chains_that_have_ended_leave_room_for_others() {
    let mut held = MemoryHoldings::default();
    for chain in 0..2 * CHAINS_MAX {
        let key = ChainKey {
            chain: ChainId(chain.to_be_bytes()),
            ..KEY
        };
        let first = Arrival {
            identity: key.frame(1),
            ..arrival(1)
        };
        assert_eq!(take(&mut held, &first).unwrap().stored, Stored::New);
        let ended = NamedGap {
            from_seq: 2,
            to_seq: 1,
            ends_chain: true,
        };
        name_gap(&mut held, key, &ended).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Two histories of one chain, in any order, some of it carried: when the chain has ended,
    /// every frame is stored before the head or beside it, and what neither holds is missing.
    #[test]
    fn of_a_chain_that_forked_and_ended_everything_that_came_is_kept(
        from in 1_u64..9,
        came in prop::collection::vec((1_u64..12, any::<bool>(), any::<bool>()), 1..40),
        gap in (1_u64..12, 0_u64..12),
    ) {
        let mut held = MemoryHoldings::default();
        let mut all = BTreeSet::new();
        for (seq, second, carried) in came {
            let frame = match second {
                true => other_history(seq, from),
                false => arrival(seq),
            };
            match carried {
                true => take_carried(&mut held, &frame).unwrap(),
                false => take(&mut held, &frame).unwrap(),
            };
            all.insert((seq, frame.fingerprint));
        }
        let head = name(&mut held, gap.0, gap.1, true);
        let mut kept: BTreeSet<(u64, [u8; 32])> = held
            .conflicts_by_fingerprint()
            .map(|(id, fingerprint)| (id.seq, *fingerprint))
            .collect();
        for seq in 1..=head.upto {
            match held.link(KEY, seq).unwrap() {
                Some(link) => {
                    prop_assert!(kept.insert((seq, link.fingerprint)), "{} twice", seq);
                }
                None => prop_assert!(missing(&held).iter().any(|(a, b)| (*a..=*b).contains(&seq))),
            }
        }
        prop_assert_eq!(kept, all);
    }
}
