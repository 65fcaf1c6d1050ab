//! Stories: what a sensor does, and what is kept of it, event by event.

mod stamped;

use std::time::Duration;

use cardio_core::clock::{BoxInstant, Clock, ManualClock, TimeAnchor};
use cardio_core::electrode::Electrode;
use cardio_core::gap::GapCause;
use cardio_core::ids::{AcquisitionId, BootId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityCause, QualityVerdict};
use cardio_core::rate::SamplingRate;
use cardio_core::request::RequestRef;
use cardio_core::subject::SubjectRef;
use cardio_signal::synth::{ElectrodeOff, SpanSeconds, SynthConfig};
use cardio_store::OpenAcquisition;
use cardio_wire::record::EndReason;

use super::{Captured, SourcePipeline};
use crate::testing::{CountingIds, Sensor, cyton_plan, manual_clock, start_of_time};
use crate::worklist::{Assigned, Choice};

const SAMPLE_US: u64 = 4_000;

struct Story {
    clock: std::sync::Arc<ManualClock>,
    sensor: Sensor,
    pipeline: SourcePipeline,
    out: Vec<Captured>,
}

impl Story {
    fn new() -> Self {
        Self::of(calm(), None)
    }

    fn of(config: SynthConfig, note: Option<OpenAcquisition>) -> Self {
        Self {
            clock: manual_clock(),
            sensor: Sensor::new(config),
            pipeline: SourcePipeline::new(cyton_plan(), Box::new(CountingIds::default()), note),
            out: Vec::new(),
        }
    }

    /// The sensor sends this many samples, one frame per read.
    fn sends(&mut self, samples: u64) -> &mut Self {
        for _ in 0..samples {
            self.clock.advance_micros(SAMPLE_US);
            let frame = self.sensor.frame();
            self.pipeline
                .take(&[frame], self.clock.read(), &mut self.out);
        }
        self
    }

    /// The sensor sends, and nothing arrives.
    fn is_not_heard_for(&mut self, samples: u64) -> &mut Self {
        for _ in 0..samples {
            self.clock.advance_micros(SAMPLE_US);
            self.sensor.frame();
        }
        self
    }

    fn time_passes(&mut self, span: Duration) -> &mut Self {
        self.clock
            .advance_micros(u64::try_from(span.as_micros()).unwrap());
        self.pipeline.tick(self.clock.read(), &mut self.out);
        self
    }

    fn chooses(&mut self, assigned: Option<Assigned>, at_once: bool) -> &mut Self {
        let choice = Choice { assigned, at_once };
        self.pipeline.assign(&choice, &mut self.out);
        self
    }

    fn is_lost(&mut self) -> &mut Self {
        self.pipeline.lost(self.clock.read(), &mut self.out);
        self
    }

    fn ends(&mut self) -> &mut Self {
        self.pipeline.end(EndReason::Completed, &mut self.out);
        self
    }

    /// The events as lines, assessments left out.
    fn tells(&self) -> Vec<String> {
        self.out.iter().filter_map(line).collect()
    }
}

fn line(captured: &Captured) -> Option<String> {
    Some(match captured {
        Captured::Started(_) => "started".to_owned(),
        Captured::Continued(_, tally) => format!("continued after {}", tally.segments),
        Captured::Segment(segment) => {
            format!(
                "segment {}+{}",
                segment.block.first.0,
                segment.block.count().0
            )
        }
        Captured::Gap { gap, .. } => {
            format!("gap {}+{} {}", gap.from.0, gap.len.0, gap.cause.name())
        }
        Captured::Ended { reason, end, .. } => format!("ended {reason:?} at {}", end.0),
        Captured::Event { code, .. } => format!("event {code}"),
        Captured::Rates(rates) => format!("rates {}+{}", rates.first.0, rates.len.0),
        Captured::Battery { percent } => format!("battery {percent}"),
        Captured::Assessment(_) => return None,
    })
}

fn calm() -> SynthConfig {
    SynthConfig::calm(7, SamplingRate::hz(250).unwrap())
}

fn note(next: u64, at_us: u64) -> OpenAcquisition {
    let mut at = start_of_time();
    at.box_instant.micros = at_us;
    OpenAcquisition {
        acquisition: AcquisitionId([9; 16]),
        source: SourceId::new("ecg12-a").unwrap(),
        subject: None,
        rate: SamplingRate::hz(250).unwrap(),
        next_sample: SampleIndex(next),
        next_ordinal: 2,
        samples: SampleCount(next),
        gaps: 0,
        missing: SampleCount(0),
        last_anchor: Some(TimeAnchor {
            index: SampleIndex(next - 250),
            at,
            uncertainty_us: 1_000,
        }),
    }
}

#[test]
fn a_calm_stream_is_segments_of_a_second() {
    let mut story = Story::new();
    story.sends(600).ends();
    assert_eq!(
        story.tells(),
        [
            "started",
            "segment 0+250",
            "segment 250+250",
            "segment 500+100",
            "ended Completed at 600"
        ]
    );
}

#[test]
fn a_chosen_visit_begins_an_exam_of_its_own_and_its_end_is_a_persons_word() {
    let visit = |name: &str| Assigned {
        subject: SubjectRef::new(name).unwrap(),
        request: RequestRef::new(&format!("for-{name}")).unwrap(),
    };
    let mut story = Story::new();
    story.sends(10);
    story.chooses(Some(visit("a")), true).sends(10);
    // the same visit again, and a list that has lost it: the exam goes on
    story.chooses(Some(visit("a")), true).sends(10);
    story.chooses(None, false).sends(10);
    story.chooses(None, true).sends(10).ends();
    let whose: Vec<_> = story
        .out
        .iter()
        .filter_map(|one| match one {
            Captured::Started(acquisition) => Some((
                acquisition.subject.as_ref().map(SubjectRef::as_str),
                acquisition.request.as_ref().map(RequestRef::as_str),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        whose,
        [(None, None), (Some("a"), Some("for-a")), (None, None)]
    );
    let ends = story.tells();
    let ends: Vec<&String> = ends
        .iter()
        .filter(|line| line.starts_with("ended"))
        .collect();
    assert_eq!(
        ends,
        [
            "ended OperatorStopped at 10",
            "ended OperatorStopped at 30",
            "ended Completed at 10"
        ]
    );
}

#[test]
fn a_visit_that_is_chosen_after_a_restart_does_not_go_on_with_the_exam_before_it() {
    let mut story = Story::of(calm(), Some(note(500, 1_000_000)));
    let visit = Assigned {
        subject: SubjectRef::new("a").unwrap(),
        request: RequestRef::new("r").unwrap(),
    };
    story.chooses(Some(visit), true).sends(10).ends();
    assert_eq!(
        story.tells(),
        [
            "continued after 2",
            "ended BoxStopped at 500",
            "started",
            "segment 0+10",
            "ended Completed at 10"
        ]
    );
}

#[test]
fn samples_are_the_integers_that_the_sensor_sent() {
    let mut story = Story::new();
    story.sends(250);
    let mut again = Sensor::new(calm());
    let want: Vec<i32> = (0..250).map(|_| again.frame().rows.samples()[1]).collect();
    let Some(Captured::Segment(segment)) = story
        .out
        .iter()
        .find(|one| line(one).is_some_and(|text| text.starts_with("segment")))
    else {
        panic!("a second makes a segment");
    };
    assert_eq!(segment.block.leads.len(), 8);
    assert_eq!(segment.block.leads[1], want);
}

#[test]
fn frames_that_are_lost_are_a_gap_at_their_place_and_of_their_length() {
    let mut story = Story::new();
    story.sends(300).is_not_heard_for(40).sends(200).ends();
    assert_eq!(
        story.tells(),
        [
            "started",
            "segment 0+250",
            "segment 250+50",
            "gap 300+40 frames-lost",
            "segment 340+160",
            "segment 500+40",
            "ended Completed at 540"
        ]
    );
}

#[test]
fn a_segment_is_anchored_to_when_its_first_sample_was_taken() {
    let mut story = Story::new();
    story.sends(500);
    let anchors: Vec<u64> = story
        .out
        .iter()
        .filter_map(|one| match one {
            Captured::Segment(segment) => Some(segment.anchor.at.box_instant.micros),
            _ => None,
        })
        .collect();
    assert_eq!(anchors[1] - anchors[0], 1_000_000);
    assert!(anchors[0].abs_diff(1_004_000) <= 4_000, "{anchors:?}");
}

#[test]
fn a_source_that_leaves_and_returns_goes_on_with_a_gap() {
    let mut story = Story::new();
    story.sends(300).is_lost();
    story.time_passes(Duration::from_secs(4)).sends(250).ends();
    let tells = story.tells();
    assert_eq!(tells[..3], ["started", "segment 0+250", "segment 250+50"]);
    let Some(Captured::Gap { gap, near }) = story
        .out
        .iter()
        .find(|one| matches!(one, Captured::Gap { .. }))
    else {
        panic!("an absence is a gap: {tells:?}");
    };
    assert_eq!((gap.from.0, gap.cause), (300, GapCause::SourceLost));
    assert!(gap.len.0.abs_diff(1000) <= gap.uncertainty.0, "{gap:?}");
    assert_eq!(near.unwrap().index, gap.end());
    assert!(tells.last().unwrap().starts_with("ended Completed"));
}

#[test]
fn a_source_that_stays_away_ends_its_acquisition_and_the_next_is_another() {
    let mut story = Story::new();
    story.sends(250).is_lost();
    story.time_passes(Duration::from_secs(601)).sends(250);
    assert_eq!(
        story.tells(),
        [
            "started",
            "segment 0+250",
            "ended SourceLost at 250",
            "started",
            "segment 0+250"
        ]
    );
}

#[test]
fn an_agent_that_was_killed_goes_on_with_a_gap_of_box_time() {
    // 500 samples were stored up to 3.0 s; the first frame comes at 5.0 s
    let mut story = Story::of(calm(), Some(note(500, 2_000_000)));
    story.clock.advance_micros(4_000_000 - SAMPLE_US);
    story.sends(250).ends();
    let tells = story.tells();
    assert_eq!(tells[0], "continued after 2");
    let Captured::Gap { gap, .. } = &story.out[1] else {
        panic!("the absence comes next: {tells:?}");
    };
    assert_eq!((gap.from.0, gap.cause), (500, GapCause::BoxStopped));
    assert!(gap.len.0.abs_diff(500) <= gap.uncertainty.0, "{gap:?}");
    assert!(gap.uncertainty.0 <= 25, "{gap:?}");
}

#[test]
fn after_a_new_boot_the_old_acquisition_is_ended_and_a_new_one_begins() {
    let mut old = note(500, 2_000_000);
    let anchor = old.last_anchor.as_mut().unwrap();
    anchor.at.box_instant = BoxInstant {
        boot: BootId([1; 16]),
        micros: 0,
    };
    let mut story = Story::of(calm(), Some(old));
    story.sends(250);
    assert_eq!(
        story.tells(),
        [
            "continued after 2",
            "ended BoxStopped at 500",
            "started",
            "segment 0+250"
        ]
    );
}

#[test]
fn an_old_acquisition_whose_sensor_never_returns_is_ended() {
    let mut story = Story::of(calm(), Some(note(500, 2_000_000)));
    story.time_passes(Duration::from_secs(700));
    assert_eq!(
        story.tells(),
        ["continued after 2", "ended BoxStopped at 500"]
    );
}

#[test]
fn an_electrode_that_comes_off_is_named_within_two_seconds() {
    let mut config = calm();
    config.electrode_off = vec![ElectrodeOff {
        electrode: Electrode::C3,
        span: SpanSeconds {
            start_s: 12.0,
            end_s: 20.0,
        },
    }];
    let mut story = Story::of(config, None);
    story.sends(250 * 15);
    let named: Vec<(u64, Option<Electrode>)> = story
        .out
        .iter()
        .filter_map(|one| match one {
            Captured::Assessment(found) => Some((
                found.quality.first.after(found.quality.len).0,
                found.suspect_electrode,
            )),
            _ => None,
        })
        .collect();
    let at = |second: u64| {
        named
            .iter()
            .find(|(end, _)| *end == second * 250)
            .unwrap()
            .1
    };
    assert_eq!(at(12), None);
    assert_eq!(at(14), Some(Electrode::C3));
}

#[test]
fn a_calm_heart_is_usable_on_twelve_leads_and_its_rate_is_told() {
    let mut story = Story::new();
    story.sends(250 * 15);
    let Some(Captured::Assessment(found)) = story
        .out
        .iter()
        .rev()
        .find(|one| matches!(one, Captured::Assessment(_)))
    else {
        panic!("fifteen seconds are scored");
    };
    assert_eq!(found.quality.per_lead.len(), 12);
    assert_ne!(found.quality.overall.verdict, QualityVerdict::Insufficient);
    let bpm = found.heart_rate.bpm.unwrap();
    assert!((bpm - calm().heart_rate_bpm).abs() < 8.0, "{bpm}");
    assert!(!found.heart_rate.beats.is_empty());
}

#[test]
fn no_window_is_scored_across_a_gap() {
    let mut story = Story::new();
    story.sends(250 * 12).is_not_heard_for(100).sends(250 * 5);
    let after = 250 * 12 + 100;
    for one in &story.out {
        if let Captured::Assessment(found) = one {
            let (first, end) = (
                found.quality.first.0,
                found.quality.first.after(found.quality.len).0,
            );
            assert!(end <= 250 * 12 || first >= after, "{first}..{end}");
            assert!(
                !found
                    .quality
                    .overall
                    .causes
                    .contains(&QualityCause::LeadOff)
            );
        }
    }
}

#[test]
fn frames_that_waited_in_a_buffer_are_no_gap() {
    let mut story = Story::new();
    story.sends(500);
    let burst: Vec<_> = (0..200).map(|_| story.sensor.frame()).collect();
    story.clock.advance_micros(200 * SAMPLE_US);
    let now = story.clock.read();
    story.pipeline.take(&burst, now, &mut story.out);
    story.sends(50);
    assert!(story.tells().iter().all(|line| !line.starts_with("gap")));
    assert_eq!(story.pipeline.facts().counts.samples.0, 750);
}
