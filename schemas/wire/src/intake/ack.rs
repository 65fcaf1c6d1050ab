//! Which acknowledgements are due on one session, and when.
//!
//! Pure: time is an argument, in microseconds of the boot clock. Acknowledgements are
//! cumulative, so a lane has at most one waiting. Deliberately absent: signing and sending.

use std::collections::BTreeMap;

use super::LaneHead;
use crate::lane::{ChainId, Lane};
use crate::message::OtherHistory;

/// When acknowledgements outside the alert lane go.
#[derive(Clone, Copy, Debug)]
pub struct AckPace {
    /// After this long at the latest, in microseconds.
    pub wait_us: u64,
    /// After this many frames at the latest.
    pub frames: u64,
}

/// An acknowledgement that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueAck {
    /// Where the lane stands.
    pub head: LaneHead,
    /// The box's own clock in its hello, when this answers one.
    pub echo_us: Option<u64>,
    /// What is held of the chain that does not fit what came.
    pub other: Option<OtherHistory>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ack: DueAck,
    frames: u64,
    due_us: u64,
}

/// The acknowledgements that one session owes.
#[derive(Debug)]
pub struct AckPlan {
    pace: AckPace,
    waiting: BTreeMap<(Lane, ChainId), Waiting>,
}

impl AckPlan {
    /// A plan that owes nothing.
    pub const fn new(pace: AckPace) -> Self {
        Self {
            pace,
            waiting: BTreeMap::new(),
        }
    }

    /// A frame was committed; its lane stands at `head`. Another history is told at once.
    pub fn note(&mut self, head: LaneHead, other: Option<OtherHistory>, now_us: u64) {
        let latest = match head.lane {
            Lane::Alert => now_us,
            _ => now_us.saturating_add(self.pace.wait_us),
        };
        let waiting = self
            .waiting
            .entry((head.lane, head.chain))
            .or_insert(Waiting {
                ack: DueAck {
                    head,
                    echo_us: None,
                    other,
                },
                frames: 0,
                due_us: latest,
            });
        waiting.ack.head = head;
        waiting.ack.other = other.or(waiting.ack.other);
        waiting.frames = waiting.frames.saturating_add(1);
        if waiting.frames >= self.pace.frames || waiting.ack.other.is_some() {
            waiting.due_us = now_us;
        }
    }

    /// A hello named this lane: answer at once.
    pub fn answer(
        &mut self,
        head: LaneHead,
        other: Option<OtherHistory>,
        echo_us: u64,
        now_us: u64,
    ) {
        let ack = DueAck {
            head,
            echo_us: Some(echo_us),
            other,
        };
        let waiting = Waiting {
            ack,
            frames: 0,
            due_us: now_us,
        };
        self.waiting.insert((head.lane, head.chain), waiting);
    }

    /// When the next acknowledgement falls due, if any waits.
    pub fn next_due(&self) -> Option<u64> {
        self.waiting.values().map(|waiting| waiting.due_us).min()
    }

    /// Takes one acknowledgement that is due, most urgent lane first.
    pub fn take_due(&mut self, now_us: u64) -> Option<DueAck> {
        let key = self
            .waiting
            .iter()
            .find(|(_, waiting)| waiting.due_us <= now_us)
            .map(|(key, _)| *key)?;
        self.waiting.remove(&key).map(|waiting| waiting.ack)
    }
}

#[cfg(test)]
mod tests {
    use super::{AckPace, AckPlan, ChainId, Lane, LaneHead, OtherHistory};

    const PACE: AckPace = AckPace {
        wait_us: 200_000,
        frames: 3,
    };

    fn head(lane: Lane, upto: u64) -> LaneHead {
        LaneHead {
            lane,
            chain: ChainId([1; 8]),
            upto,
            head: Some([9; 32]),
            broken_at: None,
            ended: false,
        }
    }

    #[test]
    fn the_alert_lane_is_acknowledged_at_once() {
        let mut plan = AckPlan::new(PACE);
        plan.note(head(Lane::Routine, 1), None, 10);
        plan.note(head(Lane::Alert, 4), None, 10);
        assert_eq!(plan.take_due(10).unwrap().head.upto, 4);
        assert_eq!(plan.take_due(10), None);
        assert_eq!(plan.next_due(), Some(200_010));
    }

    #[test]
    fn other_lanes_wait_for_time_or_for_frames_and_say_it_once() {
        let mut plan = AckPlan::new(PACE);
        plan.note(head(Lane::Routine, 1), None, 10);
        plan.note(head(Lane::Routine, 2), None, 20);
        assert_eq!(plan.take_due(100_000), None);
        plan.note(head(Lane::Routine, 3), None, 100_000);
        assert_eq!(plan.take_due(100_000).unwrap().head.upto, 3);
        assert_eq!(plan.take_due(u64::MAX), None);
        plan.note(head(Lane::Bulk, 1), None, 10);
        assert_eq!(plan.take_due(200_010).unwrap().head.upto, 1);
    }

    #[test]
    fn a_hello_is_answered_at_once_with_its_echo() {
        let mut plan = AckPlan::new(PACE);
        plan.answer(head(Lane::Log, 0), None, 77, 5);
        assert_eq!(plan.take_due(5).unwrap().echo_us, Some(77));
    }

    #[test]
    fn another_history_is_told_at_once_and_not_forgotten_before_it_is() {
        let mut plan = AckPlan::new(PACE);
        let other = Some(OtherHistory::Ended);
        plan.note(head(Lane::Bulk, 1), other, 10);
        plan.note(head(Lane::Bulk, 2), None, 10);
        let due = plan.take_due(10).unwrap();
        assert_eq!((due.head.upto, due.other), (2, other));
        assert_eq!(plan.next_due(), None);
    }
}
