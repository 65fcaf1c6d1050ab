//! The running agent: opens what it needs, starts one task per sensor, the uplink and the
//! control socket, and ends them in order.
//!
//! Ending: the sensors end their acquisitions, the recorders finish, the uplink sends what
//! it can for a limited time, the outbox closes. What is not sent stays in the outbox.

mod given;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_core::ids::SourceId;
use cardio_protocol::session::SessionTiming;
use cardio_store::{KeyRing, OpenAcquisition, Outbox, OutboxConfig, OutboxError};
use cardio_wire::keys::KeyError;
use cardio_wire::record::EndReason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::adapters::ble::Radio;
use crate::capture::{SourceTask, Stop, Tape, WAITING_MAX, line_of};
use crate::clock::{ClockError, SystemClock};
use crate::config::device::Device;
use crate::config::{Config, RecordingsName, SourceConfig, SourceKind};
use crate::control::{self, ControlError};
use crate::enrolment::{Enrolment, EnrolmentError, EnrolmentFile};
use crate::fetch::{FetchReach, FetchTask};
use crate::ids::RandomIds;
use crate::import::{Import, ImportError, ImportThread, OutboxKeep};
use crate::pipeline::Captured;
use crate::recorder::{Kept, Recorder};
use crate::renewal::Renewal;
use crate::sink::OutboxSink;
use crate::status::Board;
use crate::telling::Telling;
use crate::tls::TlsError;
use crate::uplink::commands::Trust;
use crate::uplink::mqtt::Mqtt;
use crate::uplink::session::{UplinkFacts, UplinkPlan, UplinkTask};
use crate::worklist::Worklist;

use given::{ble_reach, fetch_line, import_plan, port_of, subject_of};
pub(crate) use given::{plan_of, reach_of};

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

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The clock.
    #[error("cannot use the system's clock")]
    Clock(#[source] ClockError),
    /// The enrolment.
    #[error("this box is not enrolled")]
    Enrolment(#[source] EnrolmentError),
    /// The certificates in it.
    #[error("the enrolment cannot be used to connect")]
    Tls(#[source] TlsError),
    /// The outbox.
    #[error("cannot open the outbox")]
    Outbox(#[source] OutboxError),
    /// The control socket.
    #[error("cannot be asked for status")]
    Control(#[source] ControlError),
    /// The state directory.
    #[error("cannot make the state directory {}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Threads or signals of the process.
    #[error("cannot {act}")]
    Process {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The import of files.
    #[error("cannot import files")]
    Import(#[source] ImportError),
    /// No key for the visits of the day could be made.
    #[error("cannot make the key that visits are sealed to")]
    Visits(#[source] KeyError),
    /// The gateway no longer trusts this box.
    #[error("the gateway has revoked this box")]
    Revoked,
    /// The radio cannot be had again by this process; the next one goes on with what runs.
    #[error("the connection to the system bus is lost, and with it the radio")]
    BusLost,
}

impl RunError {
    /// Stable identifier for logs and `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Clock(err) => err.code(),
            Self::Enrolment(err) => err.code(),
            Self::Tls(err) => err.code(),
            Self::Outbox(err) => err.code(),
            Self::Control(err) => err.code(),
            Self::State { .. } => "state.directory",
            Self::Process { .. } => "process",
            Self::Import(err) => err.code(),
            Self::Visits(err) => err.code(),
            Self::Revoked => "uplink.revoked",
            Self::BusLost => "ble.bus_lost",
        }
    }
}

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

fn process(act: &'static str) -> impl Fn(std::io::Error) -> RunError {
    move |source| RunError::Process { act, source }
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

    /// Starts the radio if a source needs it.
    fn start_radio(&self) -> Option<Radio> {
        let on_radio = |source: &SourceConfig| source.kind == SourceKind::Ble;
        let needed = self.config.sources.iter().any(on_radio);
        let adapters = self.config.capture.adapters.clone();
        needed.then(|| Radio::start(adapters, Arc::clone(&self.clock)))
    }

    /// The task that fetches the recordings that a sensor keeps; `None` for a source that the
    /// configuration's own check would have refused.
    fn fetch_task(
        &self,
        source: &SourceConfig,
        radio: Option<&Radio>,
        import: &ImportThread,
        to_recorder: mpsc::Sender<Captured>,
        stop: &watch::Receiver<Option<Stop>>,
    ) -> Option<FetchTask> {
        let device = Device::by_name(&source.device)?;
        let name = SourceId::new(&source.name).ok()?;
        let reach = match device {
            Device::Ble(profile) => {
                FetchReach::Ble(ble_reach(&self.config.site.state, &name, profile, radio?))
            }
            Device::Console(profile) => FetchReach::Console {
                port: port_of(source)?,
                profile,
            },
            Device::Serial(_) => return None,
        };
        let mut lines = self.board.lines();
        let place = lines.sources.len();
        lines.sources.push(fetch_line(source, device));
        Some(FetchTask {
            place,
            source: name,
            subject: subject_of(source),
            identity: device.identity(),
            reach,
            session: device.keeps()?(SessionTiming::default()),
            every: self.config.capture.recordings_every.0,
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            fetched: import.fetched.clone(),
            import: import.deliveries.clone(),
            recorder: to_recorder,
            stop: stop.clone(),
        })
    }

    /// Starts a task and a recorder per sensor, and ends what no sensor of this
    /// configuration continues.
    fn start_sources(
        &self,
        stop: &watch::Receiver<Option<Stop>>,
        radio: Option<&Radio>,
        import: Option<&ImportThread>,
    ) -> Result<JoinSet<()>, RunError> {
        let mut notes = self.outbox.open_acquisitions().map_err(RunError::Outbox)?;
        if let Some(import) = import {
            notes.retain(|note| !import.sources.contains(&note.source));
        }
        let mut tasks = JoinSet::new();
        for (place, source) in self.config.sources.iter().enumerate() {
            if let (RecordingsName::Fetch, Some(import)) = (source.recordings, import) {
                let (to_recorder, captured) = mpsc::channel(WAITING_MAX);
                if let Some(task) = self.fetch_task(source, radio, import, to_recorder, stop) {
                    let recorder = self.recorder(task.source.clone());
                    let board = Arc::clone(&self.board);
                    tasks.spawn(record(recorder, captured, board, place));
                    tasks.spawn(task.run());
                }
                continue;
            }
            let Some(plan) = plan_of(source, self.config.capture.resume_within.0) else {
                continue;
            };
            let Some(reach) = reach_of(&self.config.site.state, source, &plan, radio) else {
                continue;
            };
            self.board.lines().sources.push(line_of(&plan));
            let mut mine: Vec<OpenAcquisition> = Vec::new();
            notes.retain(|note| {
                let is_mine = note.source == plan.source;
                if is_mine {
                    mine.push(note.clone());
                }
                !is_mine
            });
            let (to_recorder, captured) = mpsc::channel(WAITING_MAX);
            tasks.spawn(record(
                self.recorder(plan.source.clone()),
                captured,
                Arc::clone(&self.board),
                place,
            ));
            let task = SourceTask {
                place,
                reach,
                silent_after: self.config.capture.silent_after.0,
                clock: Arc::clone(&self.clock),
                ids: Box::new(RandomIds::new()),
                note: mine.pop(),
                board: Arc::clone(&self.board),
                recorder: to_recorder,
                stop: stop.clone(),
                choice: self.worklist.choice(),
                tape: Tape::off(),
                plan,
            };
            tasks.spawn(task.run());
            notes.extend(mine);
        }
        for note in notes {
            let mut recorder = self.recorder(note.source.clone());
            tasks.spawn(async move {
                let kept = recorder.give_up(&note).await;
                if let Some(code) = kept.refused {
                    tracing::error!(event = "OutboxRecordRefused", code);
                }
            });
        }
        Ok(tasks)
    }

    /// Starts the thread that imports files, if there is a folder for them or a sensor whose
    /// recordings are fetched.
    fn start_import(&self) -> Result<Option<ImportThread>, RunError> {
        let Some(plan) = import_plan(self.config, self.enrolment) else {
            return Ok(None);
        };
        let keep = OutboxKeep {
            outbox: self.outbox.clone(),
            stored: Arc::clone(&self.stored),
        };
        let ids = Box::new(RandomIds::new());
        let import = Import::new(plan, keep, Arc::clone(&self.clock), ids);
        let import = import.map_err(RunError::Import)?;
        ImportThread::start(import)
            .map(Some)
            .map_err(process("start the import"))
    }

    fn recorder(&self, source: SourceId) -> Recorder<OutboxSink> {
        let sink = OutboxSink {
            outbox: self.outbox.clone(),
            stored: Arc::clone(&self.stored),
        };
        Recorder::new(
            sink,
            Arc::clone(&self.clock),
            Box::new(RandomIds::new()),
            source,
        )
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

/// Keeps what one sensor captures until its task is done.
async fn record(
    mut recorder: Recorder<OutboxSink>,
    mut captured: mpsc::Receiver<Captured>,
    board: Arc<Board>,
    place: usize,
) {
    while let Some(one) = captured.recv().await {
        let kept = recorder.keep(one).await;
        note(
            &board,
            place,
            &kept,
            recorder.tally().map(|tally| tally.segments),
        );
    }
}

fn note(board: &Board, place: usize, kept: &Kept, segments: Option<u64>) {
    if let Some(code) = kept.refused {
        let mut lines = board.lines();
        if lines.store.code.as_deref() != Some(code) {
            tracing::error!(event = "OutboxRecordRefused", code);
            lines.store.code = Some(code.to_owned());
        }
    }
    if let Some(taken_us) = kept.segment_us {
        let mut lines = board.lines();
        lines.store.code = None;
        lines.captured_to_stored.note(taken_us);
    }
    if let Some(segments) = segments {
        board.source(place, |line| line.status.segments = segments);
    }
}
