//! `sources record SOURCE FILE`: what passes between the box and one sensor, into a capture log.
//!
//! An engineer's tool for a defect met in the field. The service never writes such a file: it
//! holds the patient's signal in clear.

use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_protocol::capture::CaptureHead;
use cardio_wire::record::EndReason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::adapters::ble::Radio;
use crate::capture::{SourceTask, Stop, Tape, TapeError, WAITING_MAX, line_of};
use crate::cli::{ConfigArg, Failure, out};
use crate::clock::SystemClock;
use crate::config::{Config, SourceConfig, Span};
use crate::control::{self, ControlError};
use crate::ids::RandomIds;
use crate::replay::{ReplayDocument, as_text, replay};
use crate::service::{plan_of, reach_of};
use crate::status::Board;
use crate::worklist::Choice;

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("the agent that runs captures {name}")]
    InUse { name: String },
    #[error("cannot make the capture {}", path.display())]
    Create {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the capture {} is not whole", path.display())]
    Tape { path: PathBuf, source: TapeError },
    #[error("the connection to the system bus is lost, and with it the radio")]
    BusLost,
}

impl RecordError {
    const fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "sources.in_use",
            Self::Create { .. } => "capture.create",
            Self::Tape { source, .. } => source.code(),
            Self::BusLost => "ble.bus_lost",
        }
    }
}

impl From<RecordError> for Failure {
    fn from(err: RecordError) -> Self {
        Self::new(&err, err.code())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The source, as the configuration calls it.
    source: String,
    /// The file to make. It will hold the patient's signal in clear, and nobody but you may read
    /// it; it must not exist yet.
    file: PathBuf,
    /// How long to record.
    #[arg(long = "for", value_name = "SPAN", default_value = "60s")]
    span: Span,
    /// One JSON document, `sources-record/1`.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct RecordDocument {
    schema: &'static str,
    file: PathBuf,
    /// What replaying the file finds.
    found: ReplayDocument,
}

pub(super) async fn record(args: &RecordArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let source = super::source_of(&config, &args.source)?;
    refuse_if_captured(&config, source)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::open().map_err(|err| {
        let code = err.code();
        Failure::new(&err, code)
    })?);
    let path = || args.file.clone();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.file)
        .map_err(|source| RecordError::Create {
            path: path(),
            source,
        })?;
    out::narrate(&format!(
        "{} will hold the patient's signal in clear: keep it to yourself, and remove it when the \
         defect is found\n",
        args.file.display()
    ));
    let untold = |source| RecordError::Tape {
        path: path(),
        source,
    };
    let head = head_of(&config, source, &*clock);
    let to = Box::new(BufWriter::new(file));
    let tape = Tape::begin(to, &head, Arc::clone(&clock)).map_err(untold)?;
    let captured = capture(&config, source, clock, tape.clone(), args.span.0).await;
    tape.end().map_err(untold)?;
    captured?;
    let found = replay(&args.file)?;
    let code = u8::from(found.acquisitions.is_empty());
    if args.json {
        out::json(&RecordDocument {
            schema: "sources-record/1",
            file: path(),
            found,
        })?;
    } else {
        out::text(&format!("RECORDED {}\n", args.file.display()))?;
        out::text(&as_text(&found))?;
    }
    Ok(code)
}

/// A source that the running service captures is its own.
pub(super) fn refuse_if_captured(config: &Config, source: &SourceConfig) -> Result<(), Failure> {
    match control::ask_status(&config.site.state) {
        Err(ControlError::NotRunning { .. }) => Ok(()),
        Err(err) => Err(err.into()),
        Ok(status) => {
            let name = &source.name;
            if status.sources.iter().any(|one| one.name == *name) {
                let name = name.clone();
                return Err(RecordError::InUse { name }.into());
            }
            Ok(())
        }
    }
}

fn head_of(config: &Config, source: &SourceConfig, clock: &dyn Clock) -> CaptureHead {
    let millis = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
    CaptureHead {
        began: clock.read(),
        profile: source.device.clone(),
        writer: concat!("cardio-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
        leads: source.leads.clone().unwrap_or_default(),
        silent_after_ms: millis(config.capture.silent_after.0),
        resume_within_ms: millis(config.capture.resume_within.0),
        rate_hz: source.rate_hz,
    }
}

/// Captures as the service does, but into nothing beside the tape, until the time is over or a
/// signal ends it.
async fn capture(
    config: &Config,
    source: &SourceConfig,
    clock: Arc<dyn Clock>,
    tape: Tape,
    span: Duration,
) -> Result<(), Failure> {
    let unknown = || super::SourcesError::UnknownSource {
        name: source.name.clone(),
    };
    let plan = plan_of(source, config.capture.resume_within.0).ok_or_else(unknown)?;
    let radio = Radio::start(config.capture.adapters.clone(), Arc::clone(&clock));
    let reach = reach_of(&config.site.state, source, &plan, Some(&radio)).ok_or_else(unknown)?;
    let board = Arc::new(Board::default());
    board.lines().sources.push(line_of(&plan));
    let (to_nobody, mut captured) = mpsc::channel(WAITING_MAX);
    let (stop, stops) = watch::channel(None);
    let task = SourceTask {
        place: 0,
        plan,
        reach,
        silent_after: config.capture.silent_after.0,
        clock,
        ids: Box::new(RandomIds::new()),
        note: None,
        board,
        recorder: to_nobody,
        stop: stops,
        choice: watch::channel(Choice::default()).1,
        tape,
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut radio = radio;
    let task = tokio::spawn(task.run());
    let forget = tokio::spawn(async move { while captured.recv().await.is_some() {} });
    let lost = tokio::select! {
        () = tokio::time::sleep(span) => false,
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
        () = radio.bus_lost() => true,
    };
    stop.send_replace(Some(Stop::End(EndReason::Completed)));
    // a task that broke has written what it had heard
    let _ = task.await;
    let _ = forget.await;
    if lost {
        return Err(RecordError::BusLost.into());
    }
    Ok(())
}
