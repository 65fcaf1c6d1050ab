//! Stories of a sensor whose frames carry its own time, and of what a sensor says of itself.

use cardio_core::clock::Clock;
use cardio_core::gap::GapCause;
use cardio_core::rate::SamplingRate;
use cardio_protocol::decoder::{Aside, DeviceTicks, Frame, FrameRows};

use super::{Captured, SourcePipeline, Story};
use crate::testing::{CountingIds, plan_of};

/// A strap of 130 Hz whose frames of 73 samples are stamped by its own clock.
struct Strap {
    story: Story,
    nanos: u64,
}

const STRAP_PERIOD_NS: u64 = 7_692_308;

impl Strap {
    fn new() -> Self {
        let mut story = Story::new();
        let ids = Box::new(CountingIds::default());
        story.pipeline = SourcePipeline::new(plan_of("polar-pmd"), ids, None);
        Self {
            story,
            nanos: 599_616_000_000_000_000,
        }
    }

    /// Time passes, and the strap measures.
    fn measures(&mut self, frames: u64) -> &mut Self {
        self.nanos += frames * 73 * STRAP_PERIOD_NS;
        self.story
            .clock
            .advance_micros(frames * 73 * 1_000_000 / 130);
        self
    }

    fn is_heard(&mut self) -> &mut Self {
        let frame = Frame {
            seq: None,
            ticks: Some(DeviceTicks { nanos: self.nanos }),
            asked: None,
            rows: FrameRows::planar(73, &[7; 73]),
        };
        let now = self.story.clock.read();
        self.story.pipeline.take(&[frame], now, &mut self.story.out);
        self
    }

    fn sends(&mut self, frames: u64) -> &mut Self {
        for _ in 0..frames {
            self.measures(1).is_heard();
        }
        self
    }

    fn gaps(&self) -> Vec<(u64, u64, GapCause)> {
        let gap = |one: &Captured| match one {
            Captured::Gap { gap, .. } => Some((gap.from.0, gap.len.0, gap.cause)),
            _ => None,
        };
        self.story.out.iter().filter_map(gap).collect()
    }

    fn tells(&self, event: &str) -> bool {
        self.story
            .tells()
            .iter()
            .any(|line| *line == format!("event {event}"))
    }
}

#[test]
fn the_clock_of_a_sensor_proves_how_much_was_lost() {
    let mut strap = Strap::new();
    strap.sends(3).measures(2).sends(2);
    assert_eq!(strap.gaps(), [(219, 146, GapCause::FramesLost)]);
}

#[test]
fn the_clock_of_a_sensor_that_went_on_measuring_tells_how_long_it_was_away() {
    let mut strap = Strap::new();
    strap.sends(20);
    strap.story.is_lost();
    strap.measures(53).sends(2);
    assert_eq!(strap.gaps(), [(20 * 73, 53 * 73, GapCause::SourceLost)]);
}

#[test]
fn a_sensor_that_comes_back_with_nothing_lost_leaves_no_gap() {
    let mut strap = Strap::new();
    strap.sends(20);
    strap.story.is_lost();
    strap.sends(2);
    assert_eq!(strap.gaps(), []);
    assert_eq!(strap.story.pipeline.facts().counts.samples.0, 22 * 73);
}

#[test]
fn a_sensor_whose_clock_began_anew_is_a_new_time_line_and_no_gap_of_years() {
    let mut strap = Strap::new();
    strap.nanos += 220_000_000_000_000_000;
    strap.sends(20);
    strap.story.is_lost();
    strap.measures(9);
    strap.nanos = 599_616_000_000_000_000;
    strap.sends(3);
    let gaps = strap.gaps();
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].1.abs_diff(9 * 73) < 73, "{gaps:?}");
    assert!(strap.tells("source.clock_reset"));
}

#[test]
fn a_sensor_that_starts_anew_seconds_after_its_start_is_not_taken_for_late() {
    let mut strap = Strap::new();
    let origin = strap.nanos;
    strap.sends(4);
    strap.story.is_lost();
    strap.measures(2);
    strap.nanos = origin;
    strap.sends(6);
    let gaps = strap.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].1.abs_diff(2 * 73) <= 10, "{gaps:?}");
    let counts = strap.story.pipeline.facts().counts;
    assert_eq!((counts.samples.0, counts.late_frames), (10 * 73, 0));
    assert!(strap.tells("source.clock_reset"));
}

#[test]
fn a_frame_that_comes_twice_is_dropped_and_counted() {
    let mut strap = Strap::new();
    strap.sends(3).is_heard().sends(1);
    let counts = strap.story.pipeline.facts().counts;
    assert_eq!((counts.samples.0, counts.repeated_frames), (4 * 73, 1));
    assert_eq!(strap.gaps(), []);
}

#[test]
fn how_fast_the_clock_of_a_sensor_runs_is_told_at_the_end() {
    let mut strap = Strap::new();
    strap.sends(160);
    strap.story.ends();
    assert!(strap.tells("source.drift"));
}

#[test]
fn who_a_sensor_says_it_is_stands_in_its_acquisition() {
    let mut strap = Strap::new();
    let field = |field, text: &str| Aside::Identity {
        field,
        text: text.to_owned(),
    };
    for aside in [
        field("serial", "1A2B3C4D"),
        field("firmware", "3.3.1"),
        Aside::SystemId([0xA0, 0x22, 0xD0, 0xFF, 0xFE, 0, 0, 1]),
        Aside::Battery { percent: 80 },
    ] {
        strap.story.pipeline.note(&aside);
    }
    strap.sends(1);
    let Captured::Started(started) = &strap.story.out[0] else {
        panic!("{:?}", strap.story.out);
    };
    assert_eq!(started.device.maker.as_deref(), Some("Polar Electro"));
    assert_eq!(started.device.serial.as_deref(), Some("1A2B3C4D"));
    assert_eq!(started.device.system_id.unwrap()[0], 0xA0);
    let facts = strap.story.pipeline.facts();
    assert_eq!(facts.battery_percent, Some(80));
}

#[test]
fn an_agent_that_leaves_hands_on_what_it_has_and_does_not_end_the_acquisition() {
    let mut story = Story::new();
    story.sends(300);
    story.pipeline.leave(&mut story.out);
    assert_eq!(
        story.tells(),
        ["started", "segment 0+250", "segment 250+50"]
    );
}

#[test]
fn a_stethoscope_that_states_another_rate_begins_another_acquisition() {
    let mut story = Story::new();
    story.sends(300);
    let rate = SamplingRate::hz(500).unwrap();
    story.pipeline.set_rate(rate, &mut story.out);
    story.pipeline.set_rate(rate, &mut story.out);
    story.sends(1);
    let tells = story.tells();
    assert_eq!(tells[3..], ["ended SourceLost at 300", "started"]);
}
