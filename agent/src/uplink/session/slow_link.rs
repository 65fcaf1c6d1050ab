//! The real task on a link of 30 kbit/s whose buffers take everything at once: what stands
//! in the way of an alert is then decided by the box alone. Time is a number here.

use std::collections::VecDeque;

use cardio_core::clock::Clock;
use cardio_wire::lane::Lane;
use cardio_wire::topic::Topic;

use super::testing::{DEVICE, Frames, Gateway, Rig};
use crate::uplink::LinkEvent;

const BITS_PER_SECOND: u64 = 30_000;
/// From the last bit of a frame to the return of its PUBACK.
const THERE_AND_BACK_US: u64 = 150_000;
/// A gateway gathers acknowledgements of all lanes but the alert lane for so long.
const ACK_WAIT_US: u64 = 200_000;
const ALERT_EVERY_US: u64 = 7_300_000;
const ALERTS: u64 = 40;

/// What happens on the link, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Taken(Lane, u64),
    Acknowledged(Lane, u64),
    AlertStored,
}

struct SlowLink {
    rig: Rig,
    gateway: Gateway,
    /// Frames that the box gave to the transport: when the link has carried the last bit.
    queue: VecDeque<(u64, Lane, u64)>,
    carried_until_us: u64,
    busy_us: u64,
    due: Vec<(u64, Due)>,
    alert_waits_since: Option<u64>,
    bulk_before_alert: Vec<u64>,
    alert_waited_us: Vec<u64>,
}

impl SlowLink {
    fn now_us(&self) -> u64 {
        self.rig.clock.read().box_instant.micros
    }

    /// Lets the task do everything that it can do now, and takes what it publishes.
    async fn settle(&mut self) {
        for _ in 0..32 {
            tokio::task::yield_now().await;
            while let Ok(out) = self.gateway.published.try_recv() {
                let Some((lane, seq)) = out.frame else {
                    continue;
                };
                let carry_us =
                    u64::try_from(out.payload.len()).unwrap() * 8_000_000 / BITS_PER_SECOND;
                let from = self.now_us().max(self.carried_until_us);
                self.carried_until_us = from + carry_us;
                self.busy_us += carry_us;
                self.queue.push_back((self.carried_until_us, lane, seq));
            }
        }
    }

    /// Goes to the next thing that happens, and lets it happen.
    async fn next(&mut self) {
        let carried = self.queue.front().map(|(at, _, _)| *at);
        let due = self.due.iter().map(|(at, _)| *at).min();
        let at = carried.into_iter().chain(due).min().unwrap();
        self.rig.clock.advance_micros(at - self.now_us());
        if carried == Some(at) {
            let (_, lane, seq) = self.queue.pop_front().unwrap();
            self.arrived(lane, seq, at);
        }
        self.due.sort_unstable();
        while self.due.first().is_some_and(|(due, _)| *due <= at) {
            let (_, what) = self.due.remove(0);
            self.happen(what, at).await;
        }
        self.settle().await;
    }

    fn arrived(&mut self, lane: Lane, seq: u64, at: u64) {
        self.due
            .push((at + THERE_AND_BACK_US, Due::Taken(lane, seq)));
        let wait_us = if lane == Lane::Alert { 0 } else { ACK_WAIT_US };
        let acked = Due::Acknowledged(lane, seq);
        self.due.push((at + THERE_AND_BACK_US + wait_us, acked));
        match (lane, self.alert_waits_since) {
            (Lane::Alert, Some(since)) => {
                self.alert_waited_us.push(at - since);
                self.alert_waits_since = None;
                self.due.push((at + ALERT_EVERY_US, Due::AlertStored));
            }
            (_, Some(_)) => *self.bulk_before_alert.last_mut().unwrap() += 1,
            (_, None) => {}
        }
    }

    async fn happen(&mut self, what: Due, at: u64) {
        match what {
            Due::Taken(lane, seq) => {
                let delivered = LinkEvent::Delivered { lane, seq };
                self.gateway.say.send(delivered).await.unwrap();
            }
            Due::Acknowledged(lane, seq) => {
                let ack = self.rig.ack(lane, seq);
                self.gateway.say(Topic::DownAck(DEVICE), ack).await;
            }
            Due::AlertStored => {
                self.rig.frames.hold(Lane::Alert, 1);
                self.rig.stored.notify_one();
                self.alert_waits_since = Some(at);
                self.bulk_before_alert.push(0);
            }
        }
    }
}

#[tokio::test]
async fn a_holter_on_30_kbit_s_delays_an_alert_by_one_frame_at_most() {
    let frames = Frames::default();
    frames.hold(Lane::Alert, 0);
    frames.hold(Lane::Bulk, 10_000);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    for lane in [Lane::Alert, Lane::Bulk] {
        gateway.say(Topic::DownAck(DEVICE), rig.ack(lane, 0)).await;
    }
    let began_us = rig.clock.read().box_instant.micros;
    let mut link = SlowLink {
        rig,
        gateway,
        queue: VecDeque::new(),
        carried_until_us: began_us,
        busy_us: 0,
        due: vec![(began_us + ALERT_EVERY_US, Due::AlertStored)],
        alert_waits_since: None,
        bulk_before_alert: Vec::new(),
        alert_waited_us: Vec::new(),
    };
    link.settle().await;
    while u64::try_from(link.alert_waited_us.len()).unwrap() < ALERTS {
        link.next().await;
    }
    let most = link.bulk_before_alert.iter().max().unwrap();
    assert_eq!(*most, 1, "{:?}", link.bulk_before_alert);
    // a bulk frame of 6 kB, then the alert of as much again
    let longest = link.alert_waited_us.iter().max().unwrap();
    assert!(*longest <= 3_300_000, "{longest} µs");
    // and the link is not left idle for that
    let took_us = link.now_us() - began_us;
    assert!(
        link.busy_us * 100 / took_us >= 80,
        "{} of {took_us}",
        link.busy_us
    );
}
