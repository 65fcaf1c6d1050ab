//! When an acknowledgement proves that the card forgot: the gateway holds a frame of the present
//! chain, signed by this box, that is not in this file.
//!
//! Only what is said of the present chain counts, and the gateway's signature was checked
//! before. Frames are sent from what is committed, and a chain never continues in another
//! file; so what the gateway holds of the chain this file holds too, or held once and deleted
//! because it was acknowledged. Whatever is old, repeated, late or said by a gateway that went
//! back in time is part of that same history and proves nothing.

use cardio_wire::envelope::NO_PREVIOUS;
use cardio_wire::message::{Ack, OtherHistory};

use crate::lanes::LaneRow;

/// What proves that the card forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkSign {
    /// The gateway holds frames that this file has not made.
    Ahead,
    /// The gateway holds another frame at a place.
    OtherFrame,
    /// This box has told the gateway that the chain has ended.
    Ended,
}

impl ForkSign {
    /// Stable identifier for logs and `--json`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ahead => "fork.ahead",
            Self::OtherFrame => "fork.other-frame",
            Self::Ended => "fork.ended",
        }
    }
}

/// What an acknowledgement of the present chain proves, if anything. `own` gives the stored
/// fingerprint of a frame.
pub(crate) fn shown_by<E>(
    ack: &Ack,
    row: &LaneRow,
    mut own: impl FnMut(u64) -> Result<Option<[u8; 32]>, E>,
) -> Result<Option<ForkSign>, E> {
    let covered = (ack.upto > 0).then_some((ack.upto, ack.head));
    let (ended, other) = match ack.other {
        Some(OtherHistory::Ended) => (true, None),
        Some(OtherHistory::Frame { seq, fingerprint }) => (false, Some((seq, fingerprint))),
        None => (false, None),
    };
    if ended {
        return Ok(Some(ForkSign::Ended));
    }
    for (seq, fingerprint) in covered.into_iter().chain(other) {
        if seq >= row.next {
            return Ok(Some(ForkSign::Ahead));
        }
        let here = match seq == row.acked {
            true => Some(row.acked_head),
            false => own(seq)?,
        };
        // A frame that was deleted cannot be compared, and one that the box itself said was
        // gone has no fingerprint to compare.
        let comparable = seq >= row.oldest || here.is_some();
        if comparable && fingerprint != NO_PREVIOUS && here != Some(fingerprint) {
            return Ok(Some(ForkSign::OtherFrame));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::BoxId;
    use cardio_wire::lane::{ChainId, Lane};
    use proptest::prelude::*;

    use super::{Ack, ForkSign, LaneRow, NO_PREVIOUS, OtherHistory, shown_by};

    fn fingerprint(seq: u64, history: u8) -> [u8; 32] {
        let mut bytes = [history; 32];
        bytes[..8].copy_from_slice(&seq.to_be_bytes());
        match seq {
            0 => NO_PREVIOUS,
            _ => bytes,
        }
    }

    fn row(oldest: u64, next: u64, acked: u64) -> LaneRow {
        LaneRow {
            lane: Lane::Bulk,
            chain: ChainId([1; 8]),
            oldest,
            next,
            head: fingerprint(next - 1, 7),
            acked,
            acked_head: fingerprint(acked, 7),
            ack_counter: 0,
            kept_bytes: 0,
            waiting_bytes: 0,
            refused: 0,
        }
    }

    fn ack(upto: u64, head: [u8; 32], other: Option<OtherHistory>) -> Ack {
        Ack {
            device: BoxId([2; 16]),
            lane: Lane::Bulk,
            chain: ChainId([1; 8]),
            upto,
            head,
            gateway_utc: UtcMicros(0),
            echo_us: None,
            counter: 1,
            other,
        }
    }

    fn judged(ack: &Ack, row: &LaneRow) -> Option<ForkSign> {
        let own = |seq: u64| {
            let kept = (row.oldest..row.next).contains(&seq);
            Ok::<_, ()>(kept.then(|| fingerprint(seq, 7)))
        };
        shown_by(ack, row, own).unwrap()
    }

    #[test]
    fn a_frame_that_was_never_made_or_made_otherwise_is_a_proof() {
        let row = row(3, 9, 5);
        let frame = |seq, history| {
            let fingerprint = fingerprint(seq, history);
            Some(OtherHistory::Frame { seq, fingerprint })
        };
        let same = fingerprint(6, 7);
        assert_eq!(judged(&ack(6, same, None), &row), None);
        assert_eq!(judged(&ack(9, same, None), &row), Some(ForkSign::Ahead));
        let other = Some(ForkSign::OtherFrame);
        assert_eq!(judged(&ack(6, fingerprint(6, 8), None), &row), other);
        assert_eq!(judged(&ack(5, fingerprint(5, 8), None), &row), other);
        assert_eq!(judged(&ack(6, same, frame(7, 8)), &row), other);
        assert_eq!(judged(&ack(6, same, frame(7, 7)), &row), None);
        assert_eq!(
            judged(&ack(6, same, frame(9, 7)), &row),
            Some(ForkSign::Ahead)
        );
        // deleted since
        assert_eq!(judged(&ack(6, same, frame(2, 8)), &row), None);
        let ended = ack(0, NO_PREVIOUS, Some(OtherHistory::Ended));
        assert_eq!(judged(&ended, &row), Some(ForkSign::Ended));
    }

    #[test]
    fn a_frame_that_the_box_said_was_made_proves_only_that_it_was_made() {
        let row = row(1, 9, 0);
        let made = |seq| {
            let fingerprint = NO_PREVIOUS;
            ack(
                0,
                NO_PREVIOUS,
                Some(OtherHistory::Frame { seq, fingerprint }),
            )
        };
        assert_eq!(judged(&made(8), &row), None);
        assert_eq!(judged(&made(9), &row), Some(ForkSign::Ahead));
    }

    proptest! {
        /// Whatever a gateway ever held of the one history, and whenever it is heard.
        #[test]
        fn the_same_history_never_proves_a_fork(
            sizes in (1_u64..50, 0_u64..50, 0_u64..50), said in (0_u64..50, option()),
        ) {
            let (next, acked, oldest) = sizes;
            let acked = acked.min(next - 1);
            let row = row(oldest.clamp(1, acked + 1), next, acked);
            let upto = said.0.min(next - 1);
            let other = said.1.filter(|seq| *seq < next).map(|seq| OtherHistory::Frame {
                seq,
                fingerprint: fingerprint(seq, 7),
            });
            prop_assert_eq!(judged(&ack(upto, fingerprint(upto, 7), other), &row), None);
        }
    }

    fn option() -> impl Strategy<Value = Option<u64>> {
        proptest::option::of(1_u64..50)
    }
}
