//! The bounded way from a sensor's task to its recorder. What does not fit is not lost in
//! silence: samples and gaps become one gap that is handed on as soon as there is room.

use cardio_core::clock::TimeAnchor;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::missed::Missed;
use crate::pipeline::Captured;

/// Things that may wait for the recorder: about a quarter of a minute of one source.
pub const WAITING_MAX: usize = 32;

/// The sensor's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    to: Sender<Captured>,
    missed: Missed,
    dropped: u64,
}

impl Outlet {
    /// An outlet into `to`.
    pub(crate) fn new(to: Sender<Captured>) -> Self {
        Self {
            to,
            missed: Missed::default(),
            dropped: 0,
        }
    }

    /// Hands on what can be handed on without waiting.
    pub(crate) fn offer(&mut self, captured: Captured) {
        if !self.name_missed(anchor_of(&captured)) {
            self.miss(&captured);
            return;
        }
        if let Err(TrySendError::Full(captured) | TrySendError::Closed(captured)) =
            self.to.try_send(captured)
        {
            self.miss(&captured);
        }
    }

    /// Hands on what must not be missed, at the end of an acquisition: waits for room.
    pub(crate) async fn insist(&mut self, captured: Captured) {
        if let Some(gap) = self.missed.get() {
            let stretch = Captured::Gap { gap, near: None };
            if self.to.send(stretch).await.is_ok() {
                self.missed.clear();
            }
        }
        if let Err(refused) = self.to.send(captured).await {
            self.miss(&refused.0);
        }
    }

    /// How many things found no room so far.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn name_missed(&mut self, near: Option<TimeAnchor>) -> bool {
        let Some(gap) = self.missed.get() else {
            return true;
        };
        let named = self.to.try_send(Captured::Gap { gap, near }).is_ok();
        if named {
            self.missed.clear();
        }
        named
    }

    fn miss(&mut self, captured: &Captured) {
        self.dropped = self.dropped.saturating_add(1);
        match captured {
            Captured::Segment(segment) => self
                .missed
                .add_samples(segment.block.first, segment.block.count()),
            Captured::Rates(rates) => self.missed.add_samples(rates.first, rates.len),
            Captured::Gap { gap, .. } => self.missed.add_gap(gap),
            _ => {}
        }
    }
}

fn anchor_of(captured: &Captured) -> Option<TimeAnchor> {
    match captured {
        Captured::Segment(segment) => Some(segment.anchor),
        Captured::Rates(rates) => Some(rates.anchor),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Captured, Outlet};
    use crate::pipeline::ClosedSegment;
    use crate::testing::start_of_time;
    use cardio_core::clock::TimeAnchor;
    use cardio_core::gap::GapCause;
    use cardio_core::index::SampleIndex;
    use cardio_core::sample::SampleBlock;

    fn segment(first: u64) -> Captured {
        let index = SampleIndex(first);
        Captured::Segment(ClosedSegment {
            block: SampleBlock::new(index, vec![vec![0; 250]]).unwrap(),
            anchor: TimeAnchor {
                index,
                at: start_of_time(),
                uncertainty_us: 0,
            },
            closed_at: start_of_time().box_instant,
        })
    }

    #[test]
    fn what_finds_no_room_is_named_before_what_follows() {
        let (to, mut from) = tokio::sync::mpsc::channel(2);
        let mut outlet = Outlet::new(to);
        for place in 0..4 {
            outlet.offer(segment(place * 250));
        }
        assert_eq!(outlet.dropped(), 2);
        assert_eq!(from.try_recv().unwrap(), segment(0));
        assert_eq!(from.try_recv().unwrap(), segment(250));
        outlet.offer(segment(1000));
        let Captured::Gap { gap, near } = from.try_recv().unwrap() else {
            panic!("the gap comes first");
        };
        assert_eq!((gap.from.0, gap.end().0), (500, 1000));
        assert_eq!(gap.cause, GapCause::NotStored);
        assert_eq!(near.unwrap().index, SampleIndex(1000));
        assert_eq!(from.try_recv().unwrap(), segment(1000));
    }
}
