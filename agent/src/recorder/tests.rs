use std::sync::{Arc, Mutex};

use cardio_core::clock::{Clock, TimeAnchor};
use cardio_core::gap::GapCause;
use cardio_core::ids::{AcquisitionId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_store::OpenAcquisition;
use cardio_wire::lane::Lane;
use cardio_wire::record::{EndReason, Record};

use super::{Recorder, Refused, Sink};
use crate::pipeline::{Captured, ClosedSegment, SourcePipeline};
use crate::testing::{CountingIds, Sensor, cyton_plan, manual_clock, start_of_time};

/// Keeps everything, or refuses as told.
#[derive(Clone, Default)]
struct Shelf {
    kept: Arc<Mutex<Vec<(Lane, Record)>>>,
    is_full: Arc<Mutex<bool>>,
}

impl Sink for Shelf {
    async fn append(&self, lane: Lane, record: Record) -> Result<(), Refused> {
        if *self.is_full.lock().unwrap() {
            return Err(Refused {
                code: "outbox.full",
            });
        }
        self.kept.lock().unwrap().push((lane, record));
        Ok(())
    }
}

impl Shelf {
    fn fill(&self, is_full: bool) {
        *self.is_full.lock().unwrap() = is_full;
    }

    fn tells(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        kept.iter()
            .map(|(lane, record)| match record {
                Record::Segment(one) => format!(
                    "{lane} segment #{} {}+{}",
                    one.segment.ordinal,
                    one.segment.first().0,
                    one.segment.block.count().0
                ),
                Record::Gap(one) => format!(
                    "{lane} gap {}+{} {}",
                    one.gap.from.0,
                    one.gap.len.0,
                    one.gap.cause.name()
                ),
                Record::AcquisitionEnded(one) => format!(
                    "{lane} ended: {} segments, {} samples, {} gaps, {} missing",
                    one.segments, one.samples.0, one.gaps, one.missing.0
                ),
                other => format!("{lane} {}", other.kind_name()),
            })
            .collect()
    }
}

fn recorder(shelf: &Shelf) -> Recorder<Shelf> {
    Recorder::new(
        shelf.clone(),
        manual_clock(),
        Box::new(CountingIds::default()),
        SourceId::new("ecg12-a").unwrap(),
    )
}

fn started() -> Captured {
    let mut pipeline = SourcePipeline::new(cyton_plan(), Box::new(CountingIds::default()), None);
    let rate = SamplingRate::hz(250).unwrap();
    let mut sensor = Sensor::new(cardio_signal::synth::SynthConfig::calm(1, rate));
    let mut out = Vec::new();
    pipeline.take(&[sensor.frame()], manual_clock().read(), &mut out);
    out.remove(0)
}

fn segment(first: u64) -> Captured {
    let index = SampleIndex(first);
    Captured::Segment(ClosedSegment {
        block: SampleBlock::new(index, vec![vec![5; 250]; 8]).unwrap(),
        anchor: TimeAnchor {
            index,
            at: start_of_time(),
            uncertainty_us: 0,
        },
        closed_at: start_of_time().box_instant,
    })
}

fn ended(end: u64) -> Captured {
    Captured::Ended {
        reason: EndReason::Completed,
        end: SampleIndex(end),
        repeated_frames: 0,
    }
}

#[tokio::test]
async fn an_attended_acquisition_travels_on_the_routine_lane_in_order() {
    let shelf = Shelf::default();
    let mut recorder = recorder(&shelf);
    for one in [started(), segment(0), segment(250), ended(500)] {
        assert_eq!(recorder.keep(one).await.refused, None);
    }
    assert_eq!(
        shelf.tells(),
        [
            "routine acquisition-started",
            "routine segment #0 0+250",
            "routine segment #1 250+250",
            "routine ended: 2 segments, 500 samples, 0 gaps, 0 missing"
        ]
    );
}

#[tokio::test]
async fn what_a_full_outbox_refused_is_one_gap_and_leaves_no_hole_in_the_ordinals() {
    let shelf = Shelf::default();
    let mut recorder = recorder(&shelf);
    recorder.keep(started()).await;
    recorder.keep(segment(0)).await;
    shelf.fill(true);
    assert_eq!(
        recorder.keep(segment(250)).await.refused,
        Some("outbox.full")
    );
    assert_eq!(
        recorder.keep(segment(500)).await.refused,
        Some("outbox.full")
    );
    shelf.fill(false);
    assert_eq!(recorder.keep(segment(750)).await.refused, None);
    recorder.keep(ended(1000)).await;
    assert_eq!(
        shelf.tells(),
        [
            "routine acquisition-started",
            "routine segment #0 0+250",
            "routine gap 250+500 not-stored",
            "routine segment #1 750+250",
            "routine ended: 2 segments, 500 samples, 1 gaps, 500 missing"
        ]
    );
}

#[tokio::test]
async fn an_acquisition_that_began_while_the_outbox_was_full_is_still_begun_first() {
    let shelf = Shelf::default();
    let mut recorder = recorder(&shelf);
    shelf.fill(true);
    recorder.keep(started()).await;
    recorder.keep(segment(0)).await;
    shelf.fill(false);
    recorder.keep(segment(250)).await;
    assert_eq!(
        shelf.tells(),
        [
            "routine acquisition-started",
            "routine gap 0+250 not-stored",
            "routine segment #0 250+250"
        ]
    );
}

#[tokio::test]
async fn an_acquisition_that_nothing_continues_is_ended_with_what_was_stored_of_it() {
    let shelf = Shelf::default();
    let note = OpenAcquisition {
        acquisition: AcquisitionId([9; 16]),
        source: SourceId::new("gone").unwrap(),
        subject: None,
        rate: SamplingRate::hz(250).unwrap(),
        next_sample: SampleIndex(600),
        next_ordinal: 2,
        samples: SampleCount(500),
        gaps: 1,
        missing: SampleCount(100),
        last_anchor: None,
    };
    recorder(&shelf).give_up(&note).await;
    assert_eq!(
        shelf.tells(),
        ["routine ended: 2 segments, 500 samples, 1 gaps, 100 missing"]
    );
}

#[tokio::test]
async fn the_end_names_what_was_refused_before_it() {
    let shelf = Shelf::default();
    let mut recorder = recorder(&shelf);
    recorder.keep(started()).await;
    shelf.fill(true);
    recorder.keep(segment(0)).await;
    shelf.fill(false);
    recorder.keep(ended(250)).await;
    let kept = shelf.kept.lock().unwrap();
    let Record::Gap(gap) = &kept[1].1 else {
        panic!("the gap comes before the end");
    };
    assert_eq!(gap.gap.cause, GapCause::NotStored);
}
