//! What a box publishes, and what it is told in answer.

use bytes::Bytes;
use cardio_core::clock::UtcMicros;
use cardio_wire::envelope;
use cardio_wire::lane::{FrameIdentity, Lane};
use cardio_wire::message::{Ack, Command, CommandAction, Hello, LaneState};
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::{DisconnectReasonCode, PubAckReason};
use tokio::io::{AsyncRead, AsyncWrite};

use super::session::{Answer, End, Outcome, Pending, Session};
use crate::ack::DueAck;
use crate::db::DbError;
use crate::inbox::{Arrived, LaneHead, Receipt, Stored};

/// How long a command holds.
const COMMAND_LIFE_US: i64 = 3_600_000_000;
/// Longest text that a box may publish as its state.
const STATE_MAX_BYTES: usize = 256;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn on_topic(
        &mut self,
        topic: Topic,
        payload: Bytes,
        packet_id: Option<u16>,
    ) -> Result<(), End> {
        match topic {
            Topic::UpLane(_, lane) => self.on_frame(lane, payload, packet_id).await,
            Topic::UpHello(_) => self.on_hello(&payload, packet_id).await,
            Topic::State(_) => self.on_state(&payload, packet_id),
            Topic::DownAck(_) | Topic::DownCommand(_) => {
                Err(End::Close(DisconnectReasonCode::NotAuthorized))
            }
        }
    }

    /// Signature, then store. PUBACK follows in [`Self::on_answered`].
    async fn on_frame(
        &mut self,
        lane: Lane,
        payload: Bytes,
        packet_id: Option<u16>,
    ) -> Result<(), End> {
        let verified = match envelope::verify(&payload, &self.known.frame_key) {
            Ok(verified) => verified,
            Err(error) => {
                self.shared.counters.frames_refused.add_one();
                tracing::warn!(
                    event = "InboxFrameRefused",
                    code = error.code(),
                    box_name = %self.known.name,
                    "{error}"
                );
                self.decide(packet_id, PubAckReason::PayloadFormatInvalid);
                return self.count_refused();
            }
        };
        let header = &verified.header;
        if header.device != self.known.id || header.lane != lane || header.seq == 0 {
            self.shared.counters.frames_refused.add_one();
            tracing::warn!(event = "InboxFrameRefused", code = "inbox.header", box_name = %self.known.name);
            self.decide(packet_id, PubAckReason::NotAuthorized);
            return self.count_refused();
        }
        let arrived = Arrived {
            identity: FrameIdentity {
                device: header.device,
                lane: header.lane,
                chain: header.chain,
                seq: header.seq,
            },
            prev: header.prev,
            fingerprint: verified.fingerprint,
            bytes: payload,
            at: self.shared.clock.read().utc,
        };
        let receipt = self.shared.inbox.store(arrived).await;
        self.pending.push_back(Pending {
            packet_id,
            answer: Answer::Storing(receipt),
        });
        Ok(())
    }

    /// The oldest publish is decided: its frame is on disk, or is not.
    pub(super) fn on_answered(&mut self, outcome: Outcome) -> Result<(), End> {
        let packet_id = self.pending.pop_front().and_then(|done| done.packet_id);
        match outcome {
            Outcome::Decided(reason) => self.puback(packet_id, reason),
            Outcome::Stored(outcome) => self.on_stored(packet_id, outcome),
        }
    }

    fn on_stored(
        &mut self,
        packet_id: Option<u16>,
        outcome: Result<Receipt, DbError>,
    ) -> Result<(), End> {
        let counters = &self.shared.counters;
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(error) => {
                counters.frames_not_stored.add_one();
                tracing::error!(
                    event = "InboxFrameStoredError",
                    code = error.code(),
                    "{error}"
                );
                return Err(End::Close(DisconnectReasonCode::ServerBusy));
            }
        };
        match receipt.stored {
            Stored::New => counters.frames_stored.add_one(),
            Stored::Duplicate => counters.frames_repeated.add_one(),
            Stored::Conflict => {
                counters.frames_conflicting.add_one();
                tracing::error!(
                    event = "InboxFrameConflicted",
                    code = "inbox.conflict",
                    box_name = %self.known.name,
                    lane = %receipt.head.lane
                );
                self.count_refused()?;
                return self.puback(packet_id, PubAckReason::ImplementationSpecificError);
            }
            Stored::TooFarAhead | Stored::TooManyChains => {
                counters.frames_refused.add_one();
                tracing::warn!(
                    event = "InboxFrameRefused",
                    code = "inbox.bounds",
                    box_name = %self.known.name,
                    why = ?receipt.stored
                );
                self.count_refused()?;
                return self.puback(packet_id, PubAckReason::QuotaExceeded);
            }
        }
        if let Some(seq) = receipt.head.broken_at {
            tracing::error!(
                event = "InboxChainBroken",
                code = "inbox.chain.broken",
                box_name = %self.known.name,
                lane = %receipt.head.lane,
                seq
            );
        }
        let now_us = self.now_us();
        self.plan.note(receipt.head, now_us);
        self.puback(packet_id, PubAckReason::Success)
    }

    async fn on_hello(&mut self, payload: &[u8], packet_id: Option<u16>) -> Result<(), End> {
        let hello = Hello::verify(payload, &self.known.frame_key)
            .ok()
            .filter(|hello| hello.device == self.known.id);
        let Some(hello) = hello else {
            self.shared.counters.hellos_refused.add_one();
            tracing::warn!(event = "BoxHelloRefused", code = "inbox.hello", box_name = %self.known.name);
            self.decide(packet_id, PubAckReason::PayloadFormatInvalid);
            return self.count_refused();
        };
        let now = self.shared.clock.read();
        let (said, echo_us) = (hello.lanes.clone(), hello.at.box_instant.micros);
        let heads = match self.shared.inbox.hello(hello, now.utc).await {
            Ok(heads) => heads,
            Err(error) => {
                tracing::error!(event = "BoxHelloError", code = error.code(), "{error}");
                return Err(End::Close(DisconnectReasonCode::ServerBusy));
            }
        };
        self.shared.counters.hellos.add_one();
        for head in heads {
            self.plan.answer(head, echo_us, now.box_instant.micros);
            if let Some(resend) = self.resend(&head, &said, now.utc) {
                self.commands.push_back(resend);
            }
        }
        self.decide(packet_id, PubAckReason::Success);
        Ok(())
    }

    /// The box believes more acknowledged than is stored here: this inbox was restored from
    /// a backup. Asks for what is missing.
    fn resend(&self, head: &LaneHead, said: &[LaneState], now: UtcMicros) -> Option<Vec<u8>> {
        let behind = said.iter().any(|state| {
            state.lane == head.lane && state.chain == head.chain && state.acked > head.upto
        });
        if !behind {
            return None;
        }
        let command = Command {
            device: self.known.id,
            number: self.shared.inbox.counter().next(now),
            expires: UtcMicros(now.0.saturating_add(COMMAND_LIFE_US)),
            action: CommandAction::Resend {
                lane: head.lane,
                chain: head.chain,
                from_seq: head.upto.saturating_add(1),
            },
        };
        Some(command.sign(&self.shared.keys.control))
    }

    fn on_state(&mut self, payload: &[u8], packet_id: Option<u16>) -> Result<(), End> {
        match std::str::from_utf8(payload) {
            Ok(state) if state.len() <= STATE_MAX_BYTES => {
                self.presence.note_state(state.to_owned());
                self.decide(packet_id, PubAckReason::Success);
                Ok(())
            }
            _ => {
                self.decide(packet_id, PubAckReason::PayloadFormatInvalid);
                self.count_refused()
            }
        }
    }

    /// The signed acknowledgement, or `None` when the hash at that place is not known.
    pub(super) fn signed_ack(&self, due: DueAck, now: UtcMicros) -> Option<Vec<u8>> {
        let ack = Ack {
            device: self.known.id,
            lane: due.head.lane,
            chain: due.head.chain,
            upto: due.head.upto,
            head: due.head.head?,
            gateway_utc: now,
            echo_us: due.echo_us,
            counter: self.shared.inbox.counter().next(now),
        };
        Some(ack.sign(&self.shared.keys.control))
    }
}
