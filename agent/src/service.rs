//! The running agent: opens what it needs, starts one task per sensor, the uplink and the
//! control socket, and ends them in order.
//!
//! Ending: the sensors end their acquisitions, the recorders finish, the uplink sends what
//! it can for a limited time, the outbox closes. What is not sent stays in the outbox.

mod error;
mod given;
mod start;

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_store::{KeyRing, Outbox, OutboxConfig};
use cardio_wire::record::EndReason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::adapters::ble::Radio;
use crate::capture::Stop;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::control;
use crate::enrolment::{Enrolment, EnrolmentFile};
use crate::renewal::Renewal;
use crate::sink::OutboxSink;
use crate::status::Board;
use crate::telling::Telling;
use crate::uplink::commands::Trust;
use crate::uplink::mqtt::Mqtt;
use crate::uplink::session::{UplinkFacts, UplinkPlan, UplinkTask};
use crate::worklist::Worklist;

pub use error::RunError;
use error::process;
pub(crate) use given::{ble_reach, plan_of, reach_of};

/// Name of the outbox in the state directory.
pub const OUTBOX: &str = "outbox.sqlite";

/// Threads of the runtime, and threads that wait for the outbox: each has its own heap, and
/// a stream needs a fiftieth of one core.
const WORKERS: usize = 1;
/// How long ended acquisitions may take to reach the disk.
const RECORD_LIMIT: Duration = Duration::from_secs(10);
/// How long the uplink may go on after a run of a given length.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// The same after a signal: whoever sent it waits.
const DRAIN_LIMIT_SIGNAL: Duration = Duration::from_secs(10);
/// The same while the gateway does not answer; it may be about to.
const DRAIN_LIMIT_OFFLINE: Duration = Duration::from_secs(3);

/// Runs until a signal, or for `limit`.
///
/// # Errors
/// [`RunError`] when it cannot start, when the gateway revokes the box, or when the radio is
/// lost to this process: whoever supervises it starts the next one.
pub fn run(config: &Config, limit: Option<Duration>) -> Result<(), RunError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::open().map_err(RunError::Clock)?);
    let file = EnrolmentFile::open(&config.site.enrolment_file()).map_err(RunError::Enrolment)?;
    let file = Arc::new(file);
    let enrolment = file.enrolment().map_err(RunError::Enrolment)?;
    let mqtt = Mqtt::new(&enrolment, Arc::clone(&file), Arc::clone(&clock));
    let mqtt = mqtt.map_err(RunError::Tls)?;
    make_state(&config.site.state)?;
    let outbox = Outbox::open(
        OutboxConfig::new(&config.site.state.join(OUTBOX), config.store.cap.0),
        KeyRing {
            device: enrolment.id,
            signer: enrolment.signer.clone(),
            recipient: enrolment.trusted.recipient,
        },
        Arc::clone(&clock),
    )
    .map_err(RunError::Outbox)?;
    let worklist = Worklist::new(enrolment.id, Arc::clone(&clock)).map_err(RunError::Visits)?;
    let worklist = Arc::new(worklist);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(process("start the runtime"))?;
    let service = Service {
        config,
        enrolment: &enrolment,
        file: Arc::clone(&file),
        clock,
        outbox,
        board: Arc::new(Board::default()),
        worklist,
        stored: Arc::new(Notify::new()),
    };
    let done = runtime.block_on(service.run(mqtt, limit));
    if matches!(done, Err(RunError::Revoked)) {
        match file.wipe() {
            Ok(()) => tracing::warn!(event = "AgentKeysWiped"),
            Err(_) => tracing::error!(event = "AgentKeysWipeError", code = "enrolment.not_wiped"),
        }
    }
    done
}

pub(crate) fn make_state(path: &Path) -> Result<(), RunError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| RunError::State {
            path: path.to_owned(),
            source,
        })
}

struct Service<'a> {
    config: &'a Config,
    enrolment: &'a Enrolment,
    file: Arc<EnrolmentFile>,
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    board: Arc<Board>,
    worklist: Arc<Worklist>,
    stored: Arc<Notify>,
}

/// Why the run is over.
enum Over {
    Time,
    Signal,
    Revoked,
    BusLost,
}

impl Service<'_> {
    async fn run(self, mqtt: Mqtt, limit: Option<Duration>) -> Result<(), RunError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(process("hear SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(process("hear SIGINT"))?;
        let listener = control::listen(&self.config.site.state).map_err(RunError::Control)?;
        self.begin_board();
        let mut background = JoinSet::new();
        background.spawn(control::serve(
            listener,
            Arc::clone(&self.board),
            self.outbox.clone(),
            Arc::clone(&self.worklist),
            Arc::clone(&self.clock),
        ));
        let (stop_uplink, uplink_stops) = watch::channel(false);
        let (facts, mut facts_seen) = watch::channel(UplinkFacts::default());
        let uplink = tokio::spawn(self.uplink(mqtt, uplink_stops, facts).run());
        let renewal = Renewal {
            file: Arc::clone(&self.file),
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            tell: self.recorder_of_the_box(),
            stop: stop_uplink.subscribe(),
        };
        background.spawn(renewal.run());
        let telling = Telling {
            board: Arc::clone(&self.board),
            outbox: self.outbox.clone(),
            clock: Arc::clone(&self.clock),
            tell: self.recorder_of_the_box(),
            stop: stop_uplink.subscribe(),
        };
        background.spawn(telling.run());
        background.spawn(Arc::clone(&self.worklist).run(stop_uplink.subscribe()));
        let (stop_sources, sources_stop) = watch::channel(None);
        let mut radio = self.start_radio();
        let import = self.start_import()?;
        let mut sources = self.start_sources(&sources_stop, radio.as_ref(), import.as_ref())?;
        tracing::info!(event = "AgentStarted", sources = self.config.sources.len());

        let over = tokio::select! {
            _ = terminate.recv() => Over::Signal,
            _ = interrupt.recv() => Over::Signal,
            () = until(limit) => Over::Time,
            _ = facts_seen.wait_for(|facts| facts.revoked) => Over::Revoked,
            () = bus_lost(radio.as_mut()) => Over::BusLost,
        };
        let (stop, drain) = match over {
            Over::Time => (Stop::End(EndReason::Completed), DRAIN_LIMIT),
            Over::Signal | Over::Revoked => (Stop::End(EndReason::BoxStopped), DRAIN_LIMIT_SIGNAL),
            Over::BusLost => (Stop::Leave, Duration::ZERO),
        };
        stop_sources.send_replace(Some(stop));
        let finished = async {
            while sources.join_next().await.is_some() {}
            if let Some(import) = import {
                import.end().await;
            }
        };
        if tokio::time::timeout(RECORD_LIMIT, finished).await.is_err() {
            tracing::error!(event = "AgentStopError", code = "agent.recorders_slow");
        }
        // what is not sent waits for the next process, which shall start soon
        if !matches!(over, Over::Revoked | Over::BusLost) {
            let connected = self.board.lines().uplink.connected;
            let limit = if connected {
                drain
            } else {
                DRAIN_LIMIT_OFFLINE
            };
            self.drain(&mut facts_seen, limit).await;
        }
        stop_uplink.send_replace(true);
        let _ = tokio::time::timeout(DRAIN_LIMIT_OFFLINE, uplink).await;
        background.shutdown().await;
        let _ = std::fs::remove_file(self.config.site.state.join(control::SOCKET));
        tracing::info!(event = "AgentStopped");
        match over {
            Over::Revoked => Err(RunError::Revoked),
            Over::BusLost => Err(RunError::BusLost),
            Over::Time | Over::Signal => Ok(()),
        }
    }

    fn begin_board(&self) {
        let mut lines = self.board.lines();
        lines.started_us = self.clock.read().box_instant.micros;
        lines.site.id = self.enrolment.id.to_string();
        lines.site.name.clone_from(&self.enrolment.name);
        lines.site.version = env!("CARGO_PKG_VERSION").to_owned();
        lines.store.cap_bytes = self.config.store.cap.0;
    }

    fn uplink(
        &self,
        mqtt: Mqtt,
        stop: watch::Receiver<bool>,
        facts: watch::Sender<UplinkFacts>,
    ) -> UplinkTask<Mqtt, Outbox> {
        let settings = &self.config.uplink;
        UplinkTask {
            uplink: mqtt,
            shelf: self.outbox.clone(),
            plan: UplinkPlan {
                device: self.enrolment.id,
                signer: self.enrolment.signer.clone(),
                trust: Trust {
                    device: self.enrolment.id,
                    keys: self.enrolment.trusted,
                    last_command: self.enrolment.last_command,
                    log: Arc::<EnrolmentFile>::clone(&self.file),
                },
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                worklist: Arc::clone(&self.worklist),
                retry_first: settings.retry_first.0,
                retry_last: settings.retry_last.0,
                stalled_after: settings.stalled_after.0,
            },
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            stored: Arc::clone(&self.stored),
            stop,
            facts,
        }
    }

    fn recorder_of_the_box(&self) -> OutboxSink {
        OutboxSink {
            outbox: self.outbox.clone(),
            stored: Arc::clone(&self.stored),
        }
    }

    async fn drain(&self, facts: &mut watch::Receiver<UplinkFacts>, limit: Duration) {
        self.stored.notify_one();
        let stored = |state: &cardio_wire::message::LaneState| state.acked + 1 >= state.next;
        let empty = async {
            loop {
                match crate::uplink::shelf::ask(&self.outbox, Outbox::lane_states).await {
                    Ok(lanes) if lanes.iter().all(stored) => return,
                    _ => {}
                }
                if facts.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(limit, empty).await.is_err() {
            tracing::warn!(event = "AgentDrainError", code = "uplink.not_drained");
        }
    }
}

/// Waits until the radio is lost to this process; a box without one cannot lose it.
async fn bus_lost(radio: Option<&mut Radio>) {
    match radio {
        Some(radio) => radio.bus_lost().await,
        None => std::future::pending().await,
    }
}

async fn until(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
