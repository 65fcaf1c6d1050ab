//! How soon: from the last frame of an exam to its report, and from the frame that shows an
//! electrode to be off to the alert, each as another system sees it that follows the record.
//!
//! First a few boxes alone, then all of them together at the rate that is asked for: every fifth
//! box records exams of 10 s, the others go on and on.
//! Deliberately absent: how soon a person looks.

mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::StopWatch;
use crate::load::client::{self, Pace};
use crate::load::fleet::Fleet;
use crate::load::receiver::Gateway;
use crate::load::recording::Recording;
use crate::load::table::spread;
use crate::out::{result, say};
use crate::programs;

use watch::{Seen, Watcher};

/// Within which an alert must be seen, but for one in a hundred.
const WORST_ALERT: Duration = Duration::from_secs(2);
/// Segments of an exam: 10 s.
const SEGMENTS: u64 = 5;
/// Frames of an exam: its start, its segments, a window without contact, its end.
const FRAMES: usize = 8;
/// Where the window and the end stand among them.
const WINDOW: usize = 6;
const END: usize = 7;
/// One box in so many records exams.
const EXAMINERS: usize = 5;
/// Boxes that are measured alone, and their frames per second together.
const ALONE: (usize, u32) = (4, 20);
const RULES: &str = "schema = \"rules/1\"\n\n[[rule]]\nname = \"electrode-off\"\n\
                     kind = \"electrode-off\"\nversion = 1\npriority = \"low\"\n";

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Boxes connected at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(5..=5_000))]
    boxes: u32,
    /// Frames per second of all boxes together.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// What was measured of one fleet, sorted.
struct Delays {
    /// From the acknowledgement of an exam's last frame to its report.
    reports: Vec<Duration>,
    /// From sending the frame that shows it to the alert.
    alerts: Vec<Duration>,
    /// Exams without a report or without an alert.
    lost: usize,
}

/// Runs both fleets and prints one table. `true` when every exam has its report and its alert,
/// and alerts came in time.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let program = programs::gateway(options.programs.as_deref())?;
    let all = (usize::try_from(options.boxes)?, options.rate);
    result(format!(
        "{:<28}{:>6}  {:>26}  {:>26}",
        "", "exams", "report after its last frame", "alert after its frame"
    ));
    let mut good = true;
    for (boxes, rate) in [ALONE, all] {
        let frames = usize::try_from(rate * options.seconds)?.div_ceil(boxes);
        let delays = of_fleet(&program, (boxes, rate), frames.max(FRAMES))?;
        result(format!(
            "{:<28}{:>6}  {:>26}  {:>26}",
            format!("{boxes} boxes, {rate} frames/s"),
            delays.reports.len(),
            spread(&delays.reports),
            spread(&delays.alerts)
        ));
        if delays.lost > 0 {
            say(format!("{} exams have no report or no alert", delays.lost));
        }
        let late = crate::load::table::percentile(&delays.alerts, 99);
        good &= delays.lost == 0 && !delays.alerts.is_empty() && late < WORST_ALERT;
    }
    say("ms: median / 99 of 100 / worst".to_owned());
    Ok(good)
}

fn of_fleet(
    program: &std::path::Path,
    (boxes, rate): (usize, u32),
    frames: usize,
) -> anyhow::Result<Delays> {
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, RULES).context("cannot write the rules")?;
    let further = format!("[alerts]\nrules = \"{}\"\n", rules.display());
    let gateway = Gateway::start(program, folder.path(), &further)?;
    let mut fleet = Fleet::enrol(&gateway, boxes)?;
    fleet.seal(frames)?;
    let exams = seal_exams(&mut fleet, frames / FRAMES)?;
    let watch = StopWatch::start();
    let watcher = Watcher::start(gateway.record()?, watch, exams.len());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the clients")?;
    let pace = Pace::over(boxes, rate);
    let sent = runtime.block_on(client::all(&fleet, &pace, &gateway, watch))?;
    let seen = watcher.end()?;
    let mut delays = Delays {
        reports: Vec::new(),
        alerts: Vec::new(),
        lost: 0,
    };
    for exam in &exams {
        let at = |frame| sent.of(exam.member, exam.first + frame);
        let Seen { report, alert } = seen.of(&exam.recording.acquisition.to_string());
        match (at(END), at(WINDOW), report, alert) {
            (Some((_, durable)), Some((shown, _)), Some(report), Some(alert)) => {
                delays.reports.push(report.saturating_sub(durable));
                delays.alerts.push(alert.saturating_sub(shown));
            }
            _ => delays.lost += 1,
        }
    }
    delays.reports.sort_unstable();
    delays.alerts.sort_unstable();
    Ok(delays)
}

/// One exam: whose, which, and where its frames begin among those of its box.
struct Exam {
    member: usize,
    recording: Recording,
    first: usize,
}

/// Gives every fifth box exams to record, one after the other.
fn seal_exams(fleet: &mut Fleet, count: usize) -> anyhow::Result<Vec<Exam>> {
    let mut exams = Vec::new();
    let examiners = fleet.members.iter_mut().enumerate().step_by(EXAMINERS);
    for (number, member) in examiners {
        let mut records = Vec::new();
        for exam in 0..count {
            let recording = Recording::new(member.id, u64::try_from(exam)? + 1);
            exams.push(Exam {
                member: number,
                recording,
                first: records.len(),
            });
            let seq = u64::try_from(records.len())? + 1;
            records.push(recording.started(seq));
            records.extend((0..SEGMENTS).map(|at| recording.segment(seq + 1 + at, at)));
            let after = seq + 1 + SEGMENTS;
            records.push(Ok(recording.window_without_contact(after, SEGMENTS)));
            records.push(Ok(recording.ended(after + 1, SEGMENTS)));
        }
        member.packets.clear();
        member.seal_all(records)?;
    }
    Ok(exams)
}
