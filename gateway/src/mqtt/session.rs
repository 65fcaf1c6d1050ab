//! One connection of one box: from CONNECT to the end.
//!
//! One task owns the connection. It reads packets, waits for commits in order, and sends
//! PUBACKs, acknowledgements and commands. Every wait has an end: CONNECT, keep-alive, writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use cardio_wire::message::CommandAction;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{
    ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAck, PubAckReason, Publish,
    SubAck, Subscribe, SubscribeReasonCode, UnsubAck, UnsubAckReason, Unsubscribe,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::connect::{
    READ_CHUNK_BYTES, RECEIVE_MAX, WRITE_LIMIT, accept, connack, first_packet, send_all, write_all,
};
use super::packet;
use crate::boxes::KnownBox;
use crate::conversation::{Answer, Conversation, Outcome, Shared};

/// Publishes to a box that may wait for its PUBACK.
const DOWN_MAX: usize = 32;
/// Refused frames after which a connection is closed.
const REFUSED_MAX: u32 = 16;

/// A publish that is not answered yet. Answers go in the order of the publishes.
struct Pending {
    packet_id: Option<u16>,
    answer: Answer,
}

/// Which of its topics the box listens to.
#[derive(Clone, Copy, Debug, Default)]
struct Listening {
    acks: bool,
    commands: bool,
}

/// A connection's state.
struct Session<S> {
    stream: S,
    inbound: BytesMut,
    outbound: BytesMut,
    shared: Shared,
    conversation: Conversation,
    pending: VecDeque<Pending>,
    listening: Listening,
    down_window: usize,
    down_waiting: VecDeque<u16>,
    down_last: u16,
    silent_after_us: u64,
    heard_us: u64,
    refused: u32,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer said goodbye or went away.
    Gone,
    /// We close, with a reason.
    Close(DisconnectReasonCode),
}

enum Woken {
    Ended,
    Answered(Outcome),
    Read(std::io::Result<usize>),
    Ordered(CommandAction),
    Time,
}

/// Serves one connection to its end.
pub(super) async fn run<S>(mut stream: S, known: Arc<KnownBox>, shared: Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut inbound = BytesMut::with_capacity(READ_CHUNK_BYTES);
    let limit = shared.config.handshake.0;
    let hello = tokio::time::timeout(limit, first_packet(&mut stream, &mut inbound)).await;
    let accepted = match hello {
        Ok(Ok(Packet::Connect(connect, will, _))) => {
            let unnamed = connect.client_id.is_empty();
            accept(&connect, will.as_ref(), &known)
                .map(|(keep_alive_s, window)| (keep_alive_s, window, unnamed))
        }
        Ok(Ok(_)) => Err(ConnectReturnCode::ProtocolError),
        Ok(Err(code)) => Err(code),
        Err(_) => return,
    };
    let (keep_alive_s, window, unnamed) = match accepted {
        Ok(accepted) => accepted,
        Err(code) => {
            shared.counters.packets_refused.add_one();
            tracing::info!(event = "MqttConnectRefused", reason = ?code, box_name = %known.name);
            let refusal = connack(code, None, None);
            let _ = send_all(&mut stream, &[Packet::ConnAck(refusal)]).await;
            return;
        }
    };
    let mut conversation = Conversation::begin(&shared, Arc::clone(&known));
    if shared.boxes.admitted(&known.cert_key_hash).is_none() {
        return;
    }
    // MQTT 5, 3.2.2.3.7: a name is assigned only to a client that has none; a client that
    // has one may refuse to be renamed.
    let assigned = unnamed.then_some(known.id);
    conversation.greet();
    let welcome = connack(ConnectReturnCode::Success, Some(keep_alive_s), assigned);
    if send_all(&mut stream, &[Packet::ConnAck(welcome)])
        .await
        .is_err()
    {
        return;
    }
    shared.counters.sessions_begun.add_one();
    tracing::info!(event = "BoxConnected", box_name = %known.name);
    let mut session = Session {
        stream,
        inbound,
        outbound: BytesMut::new(),
        pending: VecDeque::new(),
        conversation,
        listening: Listening::default(),
        down_window: window.min(DOWN_MAX),
        down_waiting: VecDeque::new(),
        down_last: 0,
        silent_after_us: u64::from(keep_alive_s) * 1_500_000,
        heard_us: shared.now_us(),
        refused: 0,
        shared,
    };
    let end = session.serve().await;
    session.finish(end).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        while !self.reading_pauses() {
            match packet::next(&mut self.inbound).map_err(End::Close)? {
                Some(packet) => self.on_packet(packet).await?,
                None => break,
            }
        }
        self.send_down();
        self.flush().await?;
        match self.wait().await {
            Woken::Ended => {
                let reason = *self.conversation.presence.ended.borrow();
                Err(End::Close(
                    reason.unwrap_or(DisconnectReasonCode::ServerShuttingDown),
                ))
            }
            Woken::Answered(outcome) => self.on_answered(outcome),
            Woken::Ordered(action) => {
                self.conversation.order(action).await;
                Ok(())
            }
            Woken::Read(Ok(1..)) => {
                self.heard_us = self.now_us();
                Ok(())
            }
            Woken::Read(_) => Err(End::Gone),
            Woken::Time => {
                if self.now_us() >= self.heard_us.saturating_add(self.silent_after_us) {
                    self.shared.counters.sessions_silent.add_one();
                    return Err(End::Close(DisconnectReasonCode::KeepAliveTimeout));
                }
                Ok(())
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let now_us = self.now_us();
        let paused = self.conversation.budget.spent_until(now_us);
        let mut next_us = self.heard_us.saturating_add(self.silent_after_us);
        if let Some(end) = paused {
            next_us = next_us.min(end);
        }
        if let Some(due) = self.conversation.next_due()
            && self.may_send_down()
            && self.listening.acks
        {
            next_us = next_us.min(due);
        }
        let nap = Duration::from_micros(next_us.saturating_sub(now_us));
        self.inbound.reserve(READ_CHUNK_BYTES);
        tokio::select! {
            biased;
            _ = self.conversation.presence.ended.wait_for(Option::is_some) => Woken::Ended,
            outcome = front(&mut self.pending) => Woken::Answered(outcome),
            Some(action) = self.conversation.presence.orders.recv() => Woken::Ordered(action),
            read = self.stream.read_buf(&mut self.inbound), if paused.is_none() => Woken::Read(read),
            () = tokio::time::sleep(nap) => Woken::Time,
        }
    }

    fn reading_pauses(&self) -> bool {
        let budget = &self.conversation.budget;
        budget.spent_until(self.now_us()).is_some()
    }

    async fn on_packet(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish).await,
            Packet::PubAck(ack) => {
                self.down_waiting.retain(|id| *id != ack.pkid);
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.on_subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe),
            Packet::PingReq => self.queue(&Packet::PingResp),
            Packet::Disconnect(_) => Err(End::Gone),
            _ => Err(End::Close(DisconnectReasonCode::ProtocolError)),
        }
    }

    async fn on_publish(&mut self, publish: Publish) -> Result<(), End> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(End::Close(DisconnectReasonCode::QoSNotSupported));
        }
        if self.pending.len() >= usize::from(RECEIVE_MAX) {
            return Err(End::Close(DisconnectReasonCode::ReceiveMaximumExceeded));
        }
        let topic = std::str::from_utf8(&publish.topic)
            .ok()
            .and_then(|topic| topic.parse::<Topic>().ok())
            .filter(|topic| topic.device() == self.known().id && topic.is_from_box());
        let Some(topic) = topic else {
            self.shared.counters.topics_foreign.add_one();
            tracing::warn!(event = "MqttTopicRefused", code = "mqtt.topic.foreign", box_name = %self.known().name);
            return Err(End::Close(DisconnectReasonCode::NotAuthorized));
        };
        let packet_id = (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid);
        let answer = self.conversation.receive(topic, publish.payload).await;
        self.pending.push_back(Pending { packet_id, answer });
        Ok(())
    }

    /// What became of the oldest publish is known.
    fn on_answered(&mut self, outcome: Outcome) -> Result<(), End> {
        let packet_id = self.pending.pop_front().and_then(|done| done.packet_id);
        let settled = self.conversation.settle(outcome);
        let reason = settled.map_err(|_| End::Close(DisconnectReasonCode::ServerBusy))?;
        if reason != PubAckReason::Success {
            self.refused += 1;
            if self.refused >= REFUSED_MAX {
                return Err(End::Close(DisconnectReasonCode::PayloadFormatInvalid));
            }
        }
        self.puback(packet_id, reason)
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe) -> Result<(), End> {
        let (acks, commands) = (
            Topic::DownAck(self.known().id).to_string(),
            Topic::DownCommand(self.known().id).to_string(),
        );
        let both = Topic::down_filter(self.known().id);
        let mut answers = Vec::new();
        for filter in &subscribe.filters {
            let (to_acks, to_commands) = (
                filter.path == acks || filter.path == both,
                filter.path == commands || filter.path == both,
            );
            self.listening.acks |= to_acks;
            self.listening.commands |= to_commands;
            answers.push(if to_acks || to_commands {
                SubscribeReasonCode::Success(QoS::AtLeastOnce)
            } else {
                self.shared.counters.topics_foreign.add_one();
                SubscribeReasonCode::NotAuthorized
            });
        }
        self.queue(&Packet::SubAck(SubAck {
            pkid: subscribe.pkid,
            return_codes: answers,
            properties: None,
        }))
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), End> {
        let (acks, commands) = (
            Topic::DownAck(self.known().id).to_string(),
            Topic::DownCommand(self.known().id).to_string(),
        );
        let both = Topic::down_filter(self.known().id);
        let mut answers = Vec::new();
        for filter in &unsubscribe.filters {
            let (from_acks, from_commands) = (
                *filter == acks || *filter == both,
                *filter == commands || *filter == both,
            );
            self.listening.acks &= !from_acks;
            self.listening.commands &= !from_commands;
            answers.push(if from_acks || from_commands {
                UnsubAckReason::Success
            } else {
                UnsubAckReason::NoSubscriptionExisted
            });
        }
        self.queue(&Packet::UnsubAck(UnsubAck {
            pkid: unsubscribe.pkid,
            reasons: answers,
            properties: None,
        }))
    }

    fn puback(&mut self, packet_id: Option<u16>, reason: PubAckReason) -> Result<(), End> {
        let Some(packet_id) = packet_id else {
            return Ok(());
        };
        let mut ack = PubAck::new(packet_id, None);
        ack.reason = reason;
        self.queue(&Packet::PubAck(ack))
    }

    fn queue(&mut self, packet: &Packet) -> Result<(), End> {
        packet
            .write(&mut self.outbound, None)
            .map(|_| ())
            .map_err(|_| End::Close(DisconnectReasonCode::ImplementationSpecificError))
    }

    fn may_send_down(&self) -> bool {
        self.down_waiting.len() < self.down_window
    }

    /// Queues acknowledgements and commands that are due, as far as the box's window allows.
    fn send_down(&mut self) {
        while self.listening.acks
            && self.may_send_down()
            && let Some(bytes) = self.conversation.next_ack()
        {
            self.publish_down(&Topic::DownAck(self.known().id), bytes);
        }
        while self.listening.commands
            && self.may_send_down()
            && let Some(bytes) = self.conversation.next_command()
        {
            self.publish_down(&Topic::DownCommand(self.known().id), bytes);
        }
    }

    fn known(&self) -> &KnownBox {
        &self.conversation.known
    }

    fn publish_down(&mut self, topic: &Topic, payload: Vec<u8>) {
        self.down_last = self.down_last.checked_add(1).unwrap_or(1);
        let mut publish = Publish::new(topic.to_string(), QoS::AtLeastOnce, payload, None);
        publish.pkid = self.down_last;
        if publish.write(&mut self.outbound).is_ok() {
            self.down_waiting.push_back(self.down_last);
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.outbound.is_empty() {
            return Ok(());
        }
        let bytes = self.outbound.split();
        write_all(&mut self.stream, &bytes).await
    }

    fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    async fn finish(mut self, end: End) {
        self.conversation
            .presence
            .note_end(self.shared.clock.read().utc);
        if let End::Close(reason) = end {
            let counters = &self.shared.counters;
            match reason {
                DisconnectReasonCode::SessionTakenOver => counters.sessions_taken_over.add_one(),
                DisconnectReasonCode::KeepAliveTimeout
                | DisconnectReasonCode::ServerShuttingDown => {}
                _ => counters.packets_refused.add_one(),
            }
            // a box that is revoked is told to wipe its keys before it is cut off
            self.conversation.take_orders().await;
            self.send_down();
            let _ = self.queue(&Packet::Disconnect(Disconnect::new(reason)));
            let _ = self.flush().await;
        }
        let _ = tokio::time::timeout(WRITE_LIMIT, self.stream.shutdown()).await;
        tracing::info!(event = "BoxDisconnected", box_name = %self.known().name, end = ?end);
    }
}

async fn front(pending: &mut VecDeque<Pending>) -> Outcome {
    match pending.front_mut() {
        Some(first) => first.answer.outcome().await,
        None => std::future::pending().await,
    }
}
