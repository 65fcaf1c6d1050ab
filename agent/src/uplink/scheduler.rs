//! Which frame goes next: the most urgent lane whose window has room.
//!
//! Pure: told what is stored, sent and acknowledged, it says what to send. Deliberately
//! absent: time and the network.

use std::collections::VecDeque;

use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::LaneState;

/// Frames of a lane that may be under way without acknowledgement.
pub const WINDOW: usize = 16;
/// The same for the bulk lane.
pub const BULK_WINDOW: usize = 32;
/// And no more bytes of it than these.
pub const BULK_WINDOW_BYTES: usize = 256 * 1024;

/// The windows of the four lanes.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    lanes: Vec<Window>,
}

/// A frame to be sent: the one after a place in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The lane.
    pub lane: Lane,
    /// The life of its database.
    pub chain: ChainId,
    /// The place before the frame.
    pub after_seq: u64,
}

#[derive(Clone, Debug)]
struct Window {
    lane: Lane,
    chain: ChainId,
    next: u64,
    acked: u64,
    /// The last place that was sent since the last rewind.
    sent: u64,
    under_way: VecDeque<UnderWay>,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    seq: u64,
    bytes: usize,
    sent_us: u64,
}

impl Window {
    fn has_room(&self) -> bool {
        let bytes: usize = self.under_way.iter().map(|frame| frame.bytes).sum();
        match self.lane {
            Lane::Bulk => self.under_way.len() < BULK_WINDOW && bytes < BULK_WINDOW_BYTES,
            _ => self.under_way.len() < WINDOW,
        }
    }

    fn rewind(&mut self, to: u64) {
        self.sent = to;
        self.under_way.clear();
    }
}

impl Scheduler {
    /// A connection begins: nothing is under way.
    pub fn connected(&mut self, states: &[LaneState]) {
        self.lanes.clear();
        self.stored(states);
    }

    /// What is stored has grown, or a lane has begun a new chain.
    pub fn stored(&mut self, states: &[LaneState]) {
        for state in states {
            match self
                .lanes
                .iter_mut()
                .find(|window| window.lane == state.lane)
            {
                Some(window) if window.chain == state.chain => window.next = state.next,
                Some(window) => *window = begin(state),
                None => self.lanes.push(begin(state)),
            }
        }
        self.lanes.sort_by_key(|window| window.lane);
    }

    /// The frame to send next, if any may be sent.
    pub fn next(&self) -> Option<Next> {
        self.lanes
            .iter()
            .find(|window| window.sent + 1 < window.next && window.has_room())
            .map(|window| Next {
                lane: window.lane,
                chain: window.chain,
                after_seq: window.sent,
            })
    }

    /// The frame at `seq` was sent at `now_us`.
    pub fn sent(&mut self, lane: Lane, seq: u64, bytes: usize, now_us: u64) {
        if let Some(window) = self.window(lane) {
            window.sent = window.sent.max(seq);
            window.under_way.push_back(UnderWay {
                seq,
                bytes,
                sent_us: now_us,
            });
        }
    }

    /// Everything of the lane up to `upto` is durably stored at the gateway. Gives when the
    /// frames that this confirms were sent.
    pub fn acked(&mut self, lane: Lane, upto: u64) -> Vec<u64> {
        let Some(window) = self.window(lane) else {
            return Vec::new();
        };
        window.acked = window.acked.max(upto);
        window.sent = window.sent.max(upto);
        let confirmed = window
            .under_way
            .iter()
            .take_while(|frame| frame.seq <= upto)
            .count();
        window
            .under_way
            .drain(..confirmed)
            .map(|frame| frame.sent_us)
            .collect()
    }

    /// Everything that is not acknowledged is to be sent again.
    pub fn rewind(&mut self) {
        for window in &mut self.lanes {
            window.rewind(window.acked);
        }
    }

    /// The frames of a chain wait again from `from_seq` on. Gives whether this is the lane's
    /// present chain.
    pub fn resend(&mut self, lane: Lane, chain: ChainId, from_seq: u64) -> bool {
        match self.window(lane) {
            Some(window) if window.chain == chain && from_seq > 0 => {
                window.acked = window.acked.min(from_seq - 1);
                window.rewind(window.acked);
                true
            }
            _ => false,
        }
    }

    /// The box no longer holds the frames up to before `oldest`: they are not sent.
    pub fn skip_to(&mut self, lane: Lane, oldest: u64) {
        if let Some(window) = self.window(lane) {
            window.sent = window.sent.max(oldest.saturating_sub(1));
        }
    }

    /// How many frames are under way.
    pub fn under_way(&self) -> usize {
        self.lanes.iter().map(|window| window.under_way.len()).sum()
    }

    /// Whether anything is under way.
    pub fn is_waiting(&self) -> bool {
        self.under_way() > 0
    }

    /// Whether everything that is stored is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.lanes
            .iter()
            .all(|window| window.acked + 1 >= window.next)
    }

    fn window(&mut self, lane: Lane) -> Option<&mut Window> {
        self.lanes.iter_mut().find(|window| window.lane == lane)
    }
}

fn begin(state: &LaneState) -> Window {
    Window {
        lane: state.lane,
        chain: state.chain,
        next: state.next,
        acked: state.acked,
        sent: state.acked,
        under_way: VecDeque::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{BULK_WINDOW, Scheduler, WINDOW};
    use cardio_wire::lane::{ChainId, Lane};
    use cardio_wire::message::LaneState;
    use proptest::prelude::*;

    fn state(lane: Lane, next: u64, acked: u64) -> LaneState {
        LaneState {
            lane,
            chain: ChainId([1; 8]),
            oldest: 1,
            next,
            head: [0; 32],
            acked,
        }
    }

    fn send_all(scheduler: &mut Scheduler) -> Vec<(Lane, u64)> {
        let mut sent = Vec::new();
        while let Some(next) = scheduler.next() {
            let seq = next.after_seq + 1;
            scheduler.sent(next.lane, seq, 100, 5);
            sent.push((next.lane, seq));
        }
        sent
    }

    #[test]
    fn alerts_go_before_everything_else() {
        let mut scheduler = Scheduler::default();
        scheduler.connected(&[state(Lane::Bulk, 9, 0), state(Lane::Alert, 2, 0)]);
        let sent = send_all(&mut scheduler);
        assert_eq!(sent[0], (Lane::Alert, 1));
        assert_eq!(sent.len(), 1 + 8);
    }

    #[test]
    fn an_alert_that_comes_while_bulk_is_under_way_is_next() {
        let mut scheduler = Scheduler::default();
        scheduler.connected(&[state(Lane::Bulk, 1000, 0), state(Lane::Alert, 1, 0)]);
        scheduler.sent(Lane::Bulk, 1, 100, 5);
        scheduler.stored(&[state(Lane::Bulk, 1000, 0), state(Lane::Alert, 2, 0)]);
        assert_eq!(scheduler.next().unwrap().lane, Lane::Alert);
    }

    #[test]
    fn a_window_has_an_end_and_an_acknowledgement_opens_it() {
        let mut scheduler = Scheduler::default();
        scheduler.connected(&[state(Lane::Routine, 100, 0), state(Lane::Bulk, 100, 0)]);
        assert_eq!(send_all(&mut scheduler).len(), WINDOW + BULK_WINDOW);
        assert_eq!(scheduler.acked(Lane::Routine, 3), [5, 5, 5]);
        assert_eq!(send_all(&mut scheduler).len(), 3);
    }

    #[test]
    fn after_a_rewind_the_unacknowledged_is_sent_again() {
        let mut scheduler = Scheduler::default();
        scheduler.connected(&[state(Lane::Routine, 5, 0)]);
        send_all(&mut scheduler);
        scheduler.acked(Lane::Routine, 2);
        scheduler.rewind();
        assert_eq!(
            send_all(&mut scheduler),
            [(Lane::Routine, 3), (Lane::Routine, 4)]
        );
    }

    #[test]
    fn a_resend_goes_back_behind_what_was_acknowledged() {
        let mut scheduler = Scheduler::default();
        scheduler.connected(&[state(Lane::Routine, 5, 4)]);
        assert_eq!(scheduler.next(), None);
        assert!(scheduler.resend(Lane::Routine, ChainId([1; 8]), 2));
        assert_eq!(send_all(&mut scheduler).len(), 3);
        assert!(!scheduler.resend(Lane::Routine, ChainId([9; 8]), 2));
    }

    #[test]
    fn a_new_chain_starts_at_its_beginning() {
        let mut scheduler = Scheduler::default();
        scheduler.connected(&[state(Lane::Routine, 5, 4)]);
        let fresh = LaneState {
            chain: ChainId([2; 8]),
            ..state(Lane::Routine, 3, 0)
        };
        scheduler.stored(&[fresh]);
        assert_eq!(send_all(&mut scheduler).len(), 2);
    }

    proptest! {
        #[test]
        fn every_lane_is_sent_in_order_and_without_holes(acks in prop::collection::vec(0_u64..60, 0..40)) {
            let mut scheduler = Scheduler::default();
            scheduler.connected(&[state(Lane::Bulk, 60, 0)]);
            let (mut expected, mut best) = (1, 0);
            for ack in acks {
                for (_, seq) in send_all(&mut scheduler) {
                    prop_assert_eq!(seq, expected);
                    expected += 1;
                }
                let upto = ack.min(expected - 1);
                scheduler.acked(Lane::Bulk, upto);
                best = best.max(upto);
            }
            prop_assert_eq!(scheduler.is_drained(), best == 59);
        }
    }
}
