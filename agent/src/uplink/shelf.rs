//! What the uplink needs of the outbox: what is stored, the next frame, and where to bring
//! an acknowledgement.

use std::future::Future;

use cardio_store::{AckOutcome, OutFrame, Outbox, OutboxError, Resent};
use cardio_wire::keys::RecipientPublicKey;
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::{Ack, LaneState};

/// A shelf of frames that wait for the gateway.
pub trait Shelf: Send + Sync {
    /// Where every lane stands.
    fn lanes(&self) -> impl Future<Output = Result<Vec<LaneState>, OutboxError>> + Send;

    /// The oldest frame after a place that is still held.
    fn after(
        &self,
        lane: Lane,
        seq: u64,
    ) -> impl Future<Output = Result<Option<OutFrame>, OutboxError>> + Send;

    /// Brings a verified acknowledgement.
    fn acked(&self, ack: Ack) -> impl Future<Output = Result<AckOutcome, OutboxError>> + Send;

    /// Takes back acknowledgements, because the gateway lost the frames from a place on.
    fn resend(
        &self,
        lane: Lane,
        chain: ChainId,
        from_seq: u64,
    ) -> impl Future<Output = Result<Resent, OutboxError>> + Send;

    /// Seals what comes from now on to another key.
    fn seal_to(
        &self,
        recipient: RecipientPublicKey,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// Bytes that can still be stored.
    fn free_bytes(&self) -> impl Future<Output = Result<u64, OutboxError>> + Send;
}

/// Largest answer to one question for a frame.
const FRAME_BYTES_MAX: usize = cardio_wire::MAX_FRAME_BYTES;

/// Asks the outbox's thread without blocking a task of the runtime.
pub(crate) async fn ask<T: Send + 'static>(
    outbox: &Outbox,
    question: impl FnOnce(&Outbox) -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, OutboxError> {
    let outbox = outbox.clone();
    tokio::task::spawn_blocking(move || question(&outbox))
        .await
        .unwrap_or(Err(OutboxError::Closed))
}

impl Shelf for Outbox {
    async fn lanes(&self) -> Result<Vec<LaneState>, OutboxError> {
        ask(self, Outbox::lane_states).await
    }

    async fn after(&self, lane: Lane, seq: u64) -> Result<Option<OutFrame>, OutboxError> {
        let frames = ask(self, move |outbox| {
            outbox.next_to_send(lane, seq, 1, FRAME_BYTES_MAX)
        });
        Ok(frames.await?.into_iter().next())
    }

    async fn acked(&self, ack: Ack) -> Result<AckOutcome, OutboxError> {
        ask(self, move |outbox| outbox.acked(&ack)).await
    }

    async fn resend(
        &self,
        lane: Lane,
        chain: ChainId,
        from_seq: u64,
    ) -> Result<Resent, OutboxError> {
        ask(self, move |outbox| outbox.resend(lane, chain, from_seq)).await
    }

    async fn seal_to(&self, recipient: RecipientPublicKey) -> Result<(), OutboxError> {
        ask(self, move |outbox| outbox.seal_to(recipient)).await
    }

    async fn free_bytes(&self) -> Result<u64, OutboxError> {
        Ok(ask(self, Outbox::space).await?.free_bytes())
    }
}
