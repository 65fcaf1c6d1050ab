//! What runs for the sensors of the configuration: the radio, a task and a recorder for each, and
//! the import.
//!
//! Deliberately absent: ending them, which is the service's.

use std::sync::Arc;

use cardio_core::ids::SourceId;
use cardio_protocol::session::SessionTiming;
use cardio_store::OpenAcquisition;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Service;
use super::error::{RunError, process};
use super::given::{ble_reach, fetch_line, import_plan, plan_of, port_of, reach_of, subject_of};
use crate::adapters::ble::Radio;
use crate::capture::{SourceTask, Stop, Tape, WAITING_MAX, line_of};
use crate::config::device::Device;
use crate::config::{RecordingsName, SourceConfig, SourceKind};
use crate::fetch::{FetchReach, FetchTask};
use crate::ids::RandomIds;
use crate::import::{Import, ImportThread, OutboxKeep};
use crate::pipeline::Captured;
use crate::recorder::{Kept, Recorder};
use crate::sink::OutboxSink;
use crate::status::Board;

impl Service<'_> {
    /// Starts the radio if a source needs it.
    pub(super) fn start_radio(&self) -> Option<Radio> {
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
    pub(super) fn start_sources(
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
    pub(super) fn start_import(&self) -> Result<Option<ImportThread>, RunError> {
        let Some(plan) = import_plan(self.config, self.enrolment, self.worklist.choice()) else {
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
