//! The outbox as a recorder sees it.

use std::sync::Arc;

use cardio_store::Outbox;
use cardio_wire::lane::Lane;
use cardio_wire::record::Record;
use tokio::sync::{Notify, oneshot};

use crate::recorder::{Refused, Sink};

/// Appends to the outbox and rings for the uplink.
#[derive(Clone, Debug)]
pub struct OutboxSink {
    /// The outbox.
    pub outbox: Outbox,
    /// Rings when something was stored.
    pub stored: Arc<Notify>,
}

impl Sink for OutboxSink {
    async fn append(&self, lane: Lane, record: Record) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        let reply = move |result| {
            // whoever stopped waiting does not hear it
            let _ = answer.send(result);
        };
        let refused = |err: cardio_store::OutboxError| Refused { code: err.code() };
        self.outbox
            .append_then(lane, record, reply)
            .map_err(refused)?;
        match answered.await {
            Ok(Ok(_)) => {
                self.stored.notify_one();
                Ok(())
            }
            Ok(Err(err)) => Err(refused(err)),
            Err(_) => Err(refused(cardio_store::OutboxError::Closed)),
        }
    }
}
