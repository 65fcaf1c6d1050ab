//! What the gateway takes, keeps and says, and what somebody says in its name.
//!
//! Deliberately absent: the decisions, which are those of `cardio_wire::intake`, and the box's
//! own side.

use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, AckRefusal, Resent};
use cardio_wire::envelope::{self, NO_PREVIOUS};
use cardio_wire::intake::{self, Arrival, ChainKey, Holdings, NamedGap, Stored};
use cardio_wire::lane::ChainId;
use cardio_wire::message::{Ack, LaneState, OtherHistory};
use cardio_wire::record::{LaneGapV1, Record};

use crate::World;
use crate::support::Ends;

impl World {
    /// The gateway answers a hello lane by lane; one that went back asks for what it lost.
    pub(crate) fn hello(&mut self) {
        for state in self.states() {
            let device = self.ends.device;
            let Some(greeting) = intake::greet(&mut self.gateway, device, &state).unwrap() else {
                panic!("{state:?} is not answered");
            };
            if let Some(from) = greeting.resend_from {
                let resent = self.outbox().resend(state.lane, state.chain, from).unwrap();
                let Resent::From { seq, .. } = resent else {
                    panic!("{resent:?}");
                };
                self.scheduler.resend(state.lane, state.chain, seq);
            }
            if let Some(other) = greeting.other {
                self.others.insert(state.chain, other);
            }
            self.ack(usize::from(state.lane.number()));
            if self.states().iter().all(|now| now.chain != state.chain) {
                return;
            }
        }
    }

    /// Everything that has arrived becomes durable; then the transport says so.
    pub(crate) fn commit(&mut self) {
        for (identity, frame) in std::mem::take(&mut self.arrived) {
            self.take(&frame, false);
            self.scheduler
                .confirmed(identity.lane, identity.seq, self.now);
        }
    }

    /// One frame becomes durable, and what it tells of others is done.
    fn take(&mut self, frame: &[u8], carried: bool) {
        let key = self.ends.signer.verifying_key();
        let verified = envelope::verify(frame, &key).unwrap();
        let identity = verified.header.identity();
        let arrival = Arrival {
            identity,
            prev: verified.header.prev,
            fingerprint: verified.fingerprint,
            frame,
        };
        let receipt = match carried {
            true => intake::take_carried(&mut self.gateway, &arrival).unwrap(),
            false => intake::take(&mut self.gateway, &arrival).unwrap(),
        };
        let fits = match receipt.stored {
            Stored::New | Stored::Duplicate => receipt.head.broken_at.is_none(),
            _ => false,
        };
        assert!(fits || self.went_back, "{identity}: {receipt:?}");
        if let Some(other) = receipt.other {
            self.others.insert(identity.chain, other);
        }
        match self.ends.read(frame) {
            Record::LaneGap(gap) => self.name(&gap),
            Record::CarriedFrame(inner) => self.take(&inner.frame, true),
            _ => {}
        }
    }

    fn name(&mut self, gap: &LaneGapV1) {
        let key = ChainKey {
            device: self.ends.device,
            lane: gap.lane,
            chain: gap.chain,
        };
        let named = NamedGap {
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
            ends_chain: gap.ends_chain(),
        };
        intake::name_gap(&mut self.gateway, key, &named).unwrap();
    }

    /// The gateway says how far it is, out of what is durable.
    pub(crate) fn ack(&mut self, lane: usize) {
        let state = self.states()[lane];
        let head = self.gateway.head(self.key(&state)).unwrap();
        let (upto, head) = head.map_or((0, Some(NO_PREVIOUS)), |head| (head.upto, head.head));
        let other = self.others.remove(&state.chain);
        let (upto, head) = match (head, other) {
            (Some(head), _) => (upto, head),
            (None, Some(_)) => (0, NO_PREVIOUS),
            (None, None) => return,
        };
        self.counter += 1;
        let ack = Ack {
            other,
            ..self.make_ack(&state, upto, head)
        };
        self.acks.push(ack);
        let outcome = self.outbox().acked(&ack).unwrap();
        self.hear(&ack, outcome);
        // it was restored, and has not asked yet: that comes with the next hello
        if let AckOutcome::Refused { why } = outcome {
            assert_eq!(
                (why, upto < state.acked),
                (AckRefusal::Behind, true),
                "{state:?} {upto}"
            );
        }
    }

    fn hear(&mut self, ack: &Ack, outcome: AckOutcome) {
        match outcome {
            AckOutcome::Accepted { upto, .. } => {
                let covered = self.covered.entry(ack.chain).or_default();
                *covered = upto.max(*covered);
                self.scheduler.ack(ack.lane, ack.chain, upto, self.now);
            }
            AckOutcome::Forked { sign } => {
                let may = std::mem::take(&mut self.may_fork);
                assert!(may, "no card went back: {sign:?} by {ack:?}");
            }
            AckOutcome::Refused { .. } => {}
        }
    }

    fn make_ack(&self, state: &LaneState, upto: u64, head: [u8; 32]) -> Ack {
        Ack {
            device: self.ends.device,
            lane: state.lane,
            chain: state.chain,
            upto,
            head,
            gateway_utc: cardio_core::clock::UtcMicros(0),
            echo_us: None,
            counter: self.counter,
            other: None,
        }
    }

    /// Claims everything: without the gateway's key, for another chain, for another box.
    pub(crate) fn forge(&mut self, lane: usize) {
        let state = self.states()[lane];
        let ack = Ack {
            counter: self.counter + 1,
            ..self.make_ack(&state, state.next, [0xEE; 32])
        };
        let forger = Ends::new().control;
        let known = self.ends.control.verifying_key();
        assert!(Ack::verify(&ack.sign(&forger), &known).is_err());
        let chain = ChainId([0xEE; 8]);
        let device = BoxId([0xEE; 16]);
        let other = Some(OtherHistory::Ended);
        let forged = [
            (Ack { chain, ..ack }, AckRefusal::OtherChain),
            (Ack { device, ..ack }, AckRefusal::OtherBox),
            (
                Ack {
                    counter: 0,
                    other,
                    ..ack
                },
                AckRefusal::NotNewer,
            ),
        ];
        for (ack, why) in forged {
            let outcome = self.outbox().acked(&ack).unwrap();
            assert_eq!(outcome, AckOutcome::Refused { why });
        }
    }

    /// An old acknowledgement comes again, after everything that happened since. A card that
    /// went back has not heard it.
    pub(crate) fn replay(&mut self) {
        let Some(old) = self.acks.first().copied() else {
            return;
        };
        let newer = self.acks.iter().rev().find(|ack| ack.lane == old.lane);
        if newer.is_some_and(|ack| ack.counter > old.counter) {
            let outcome = self.outbox().acked(&old).unwrap();
            let refused = matches!(outcome, AckOutcome::Refused { .. });
            assert!(refused || self.went_back, "{outcome:?}");
            self.hear(&old, outcome);
        }
    }
}
