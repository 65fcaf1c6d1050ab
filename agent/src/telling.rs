//! How the box is, told to the gateway: every five minutes, and within seconds when a sensor
//! falls silent or speaks again, a battery or the room in the outbox crosses a line, or the
//! clock is gained or lost.
//!
//! Deliberately absent: limits that call somebody; those are rules of the gateway. The lines
//! here only decide when a word is worth sending sooner.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, ClockQuality, ClockReading};
use cardio_core::ids::SourceId;
use cardio_store::Outbox;
use cardio_wire::lane::Lane;
use cardio_wire::record::{BoxStatusV1, Record, RecordHead, SourceStatusV1};
use tokio::sync::watch;

use crate::control::look_at_store;
use crate::ids::{Ids, RandomIds};
use crate::power;
use crate::recorder::Sink as _;
use crate::sink::OutboxSink;
use crate::status::{Board, Status};

/// How often the box looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks between two words when nothing changes: five minutes.
const QUIET_LOOKS: u32 = 60;
/// Looks after which a change is told once more, so that the gateway sees it hold.
const AGAIN_LOOKS: u32 = 3;
/// A recording sensor without a frame for so long is silent.
const SILENT_S: u64 = 10;

/// The task that tells how the box is.
pub struct Telling {
    /// What the box knows of itself.
    pub board: Arc<Board>,
    /// Asked how long it lasts.
    pub outbox: Outbox,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where the word goes.
    pub tell: OutboxSink,
    /// Becomes true when the task must end.
    pub stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for Telling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telling").finish_non_exhaustive()
    }
}

impl Telling {
    /// Runs until told to stop.
    pub async fn run(self) {
        let mut stop = self.stop.clone();
        let mut pace = Pace::default();
        loop {
            let stopped = stop.wait_for(|stop| *stop);
            if tokio::time::timeout(LOOK_EVERY, stopped).await.is_ok() {
                return;
            }
            look_at_store(&self.board, &self.outbox).await;
            let at = self.clock.read();
            let battery = power::battery_percent(Path::new(power::SUPPLIES));
            let status = status(&self.board.document(&at), battery, at);
            if pace.is_due(&status) {
                let told = self.tell.append(Lane::Alert, Record::BoxStatus(status));
                if let Err(refused) = told.await {
                    tracing::error!(event = "OutboxRecordRefused", code = refused.code);
                }
            }
        }
    }
}

/// What is told of the box's own document.
fn status(document: &Status, battery_percent: Option<u8>, at: ClockReading) -> BoxStatusV1 {
    let whole = |seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .map(|span| span.as_secs())
            .ok()
    };
    BoxStatusV1 {
        head: RecordHead {
            id: RandomIds::new().record(at.utc),
            at,
        },
        autonomy_s: document
            .store
            .autonomy
            .hours
            .and_then(|hours| whole(hours * 3_600.0)),
        battery_percent,
        sources: document
            .sources
            .iter()
            .filter_map(|line| {
                Some(SourceStatusV1 {
                    source: SourceId::new(&line.name).ok()?,
                    acquisition: line.acquisition.as_deref().and_then(|id| id.parse().ok()),
                    silent_s: line.last_age_s.and_then(whole),
                    battery_percent: line.battery_percent.filter(|charge| *charge <= 100),
                })
            })
            .collect(),
    }
}

/// What makes a word worth sending sooner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    silent: Vec<bool>,
    batteries: Vec<Option<u8>>,
    hours: Option<u64>,
    synchronised: bool,
}

impl Standing {
    fn of(status: &BoxStatusV1) -> Self {
        let charge = |percent: Option<u8>| percent.map(|percent| percent / 5);
        let of_sources = status.sources.iter().map(|one| one.battery_percent);
        Self {
            silent: status.sources.iter().map(is_silent).collect(),
            batteries: of_sources
                .chain([status.battery_percent])
                .map(charge)
                .collect(),
            // Below two hours, below a day, or more.
            hours: status
                .autonomy_s
                .map(|seconds| u64::from(seconds >= 7_200) + u64::from(seconds >= 86_400)),
            synchronised: matches!(status.head.at.quality, ClockQuality::Synchronised { .. }),
        }
    }
}

fn is_silent(source: &SourceStatusV1) -> bool {
    source.acquisition.is_some() && source.silent_s.is_some_and(|seconds| seconds >= SILENT_S)
}

/// When the next word is due.
#[derive(Debug, Default)]
struct Pace {
    told: Option<Standing>,
    quiet: u32,
    again: bool,
}

impl Pace {
    /// Whether this is to be told now; asked once a look.
    fn is_due(&mut self, status: &BoxStatusV1) -> bool {
        let standing = Standing::of(status);
        self.quiet += 1;
        // What a box is like when it starts is no change.
        let told = self.told.get_or_insert_with(|| standing.clone());
        let changed = *told != standing;
        let again = self.again && self.quiet >= AGAIN_LOOKS;
        if !changed && !again && self.quiet < QUIET_LOOKS {
            return false;
        }
        *told = standing;
        (self.quiet, self.again) = (0, changed);
        true
    }
}

#[cfg(test)]
mod tests {
    use cardio_core::clock::{BoxInstant, UtcMicros};
    use cardio_core::ids::{AcquisitionId, BootId, RecordId};

    use super::*;

    fn with(silent_s: u64, charge: u8) -> BoxStatusV1 {
        BoxStatusV1 {
            head: RecordHead {
                id: RecordId([1; 16]),
                at: ClockReading {
                    box_instant: BoxInstant {
                        boot: BootId([2; 16]),
                        micros: 1,
                    },
                    utc: UtcMicros(1),
                    quality: ClockQuality::Unsynchronised,
                },
            },
            autonomy_s: None,
            battery_percent: None,
            sources: vec![SourceStatusV1 {
                source: SourceId::new("ecg12-a").unwrap(),
                acquisition: Some(AcquisitionId([3; 16])),
                silent_s: Some(silent_s),
                battery_percent: Some(charge),
            }],
        }
    }

    #[test]
    fn a_sensor_that_falls_silent_is_told_at_once_and_once_more() {
        let mut pace = Pace::default();
        assert!(!pace.is_due(&with(0, 90)));
        assert!(!pace.is_due(&with(5, 90)));
        assert!(pace.is_due(&with(10, 90)), "silent");
        assert!(!pace.is_due(&with(15, 90)));
        assert!(!pace.is_due(&with(20, 90)));
        assert!(pace.is_due(&with(25, 90)), "still");
        assert!(!pace.is_due(&with(30, 90)));
        assert!(pace.is_due(&with(0, 90)), "back");
    }

    #[test]
    fn what_does_not_change_is_told_every_five_minutes() {
        let mut pace = Pace::default();
        let told = (0..240).filter(|_| pace.is_due(&with(0, 90))).count();
        assert_eq!(told, 4);
    }

    #[test]
    fn a_battery_is_told_when_it_crosses_a_step_of_five() {
        let mut pace = Pace::default();
        assert!(!pace.is_due(&with(0, 17)));
        assert!(!pace.is_due(&with(0, 15)));
        assert!(pace.is_due(&with(0, 14)));
    }
}
