//! The inlet from an external MQTT 5 broker: boxes connect there, and so does this gateway.
//!
//! * Frames, acknowledgements and commands are the same as on the built-in listener
//!   ([`crate::mqtt`]), and so are the checks: a topic belongs to the box whose signature its
//!   frame bears, and a box that is not on the allow-list is not heard.
//! * What boxes send is divided among the gateways of one share. PUBACK follows COMMIT, but
//!   nothing rests on it: neither on the broker's order nor on its sending again. A box sends
//!   again until it has the signed acknowledgement.
//! * Every connection starts clean, with a new client. What was under way is forgotten with
//!   the old one.
//!
//! Deliberately absent: what the broker must refuse. Its configuration says who may publish
//! where (`hw-test/broker/mosquitto.conf`); what passes it all the same is refused here.

mod inlet;
mod link;

use std::time::Duration;

use tokio::sync::watch;

use crate::conversation::Shared;
use crate::db::DbError;

pub(crate) use link::authority;
pub use link::{Broker, BrokerError, Standing};

/// First wait before another try; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait before another try.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Why a connection to the broker ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// It cannot be reached, or the connection broke.
    #[error("the connection to the broker failed")]
    Connection(#[source] Box<rumqttc::ConnectionError>),
    /// Somebody else connected under our name.
    #[error(
        "another client connected to the broker as {user}: give each gateway a `broker.user` of its own"
    )]
    TakenOver {
        /// Our name.
        user: String,
    },
    /// It took too long to accept connection and subscriptions.
    #[error("the broker did not accept the subscriptions within {limit_s} s")]
    Slow {
        /// The limit.
        limit_s: u64,
    },
    /// It does not let us listen.
    #[error("the broker refused the subscription {filter}: {reason}")]
    Forbidden {
        /// To what.
        filter: String,
        /// Its reason code.
        reason: String,
    },
    /// It sends more than it was allowed to.
    #[error("the broker sends more at once than it was allowed to")]
    Flooded,
    /// What it brought cannot be stored now.
    #[error("what the broker brought cannot be stored")]
    Store(#[source] DbError),
    /// The client has stopped.
    #[error("the connection to the broker was closed")]
    Closed,
}

impl Lost {
    /// Stable identifier for logs.
    const fn code(&self) -> &'static str {
        match self {
            Self::Connection(_) => "broker.connection",
            Self::TakenOver { .. } => "broker.taken-over",
            Self::Slow { .. } => "broker.slow",
            Self::Forbidden { .. } => "broker.forbidden",
            Self::Flooded => "broker.flooded",
            Self::Store(source) => source.code(),
            Self::Closed => "broker.closed",
        }
    }
}

/// Receives what boxes send through the broker until `stop` becomes true.
pub(crate) async fn receive(broker: Broker, shared: Shared, mut stop: watch::Receiver<bool>) {
    let mut wait = RETRY_FIRST;
    loop {
        let begun_us = shared.now_us();
        let lost = match inlet::serve(&broker, &shared, stop.clone()).await {
            Ok(()) => return,
            Err(lost) => lost,
        };
        broker.standing().set_connected(false);
        let now_us = shared.now_us();
        shared.counters.broker_connections_lost.add_one();
        tracing::warn!(
            event = "BrokerLost",
            code = lost.code(),
            broker = %broker.standing().address(),
            because = %chain(&lost),
            retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        );
        if Duration::from_micros(now_us.saturating_sub(begun_us)) > RETRY_LAST {
            wait = RETRY_FIRST;
        }
        // Gateways that lost the same broker do not all come back at the same instant.
        let jitter = wait.mul_f64(f64::from(u32::try_from(now_us % 1_000).unwrap_or(0)) / 2_000.0);
        tokio::select! {
            () = tokio::time::sleep(wait / 2 + jitter) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        wait = (wait * 2).min(RETRY_LAST);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
