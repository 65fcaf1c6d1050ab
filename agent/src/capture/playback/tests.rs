use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardio_core::clock::{ClockQuality, ClockReading, UtcMicros};
use cardio_protocol::capture::{
    CaptureEntry, CaptureEvent, CaptureHead, CaptureItem, CaptureReader,
};
use cardio_protocol::gatt::GattAction;
use cardio_protocol::gatt::movesense_gsp::DATA;
use cardio_protocol::profile::by_name;
use cardio_signal::synth::SynthConfig;
use tokio::sync::{mpsc, watch};

use super::Playback;
use crate::capture::{PortName, Reach, SerialReach, SourceTask, Stop, Tape, line_of};
use crate::pipeline::Captured;
use crate::status::Board;
use crate::testing::{CountingIds, Pty, Sensor, capture_head, cyton_plan, start_of_time};

/// A file in memory.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A Cyton that sends a little over two seconds, loses five frames early, and is unplugged.
fn lives(pty: &Pty) {
    let profile = by_name("openbci-cyton").unwrap();
    let (mut device, mut encoder) = ((profile.peripheral)(), (profile.encoder)());
    let mut out = Vec::new();
    while !device.is_streaming() {
        let command = pty.read(1);
        device.on_bytes(&command, &mut out, &mut Vec::new());
        pty.write(&std::mem::take(&mut out));
    }
    let rate = cardio_core::rate::SamplingRate::hz(250).unwrap();
    let mut sensor = Sensor::new(SynthConfig::calm(3, rate));
    for number in 0..600 {
        encoder.frame(&sensor.frame().rows, &mut out);
        if !(40..45).contains(&number) {
            pty.write(&out);
        }
        out.clear();
        if number % 5 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Everything that a service would keep of a live sensor, and the log of it.
async fn live(head: &CaptureHead) -> (Vec<Captured>, Vec<u8>) {
    let log = Shared::default();
    let clock = Arc::new(crate::clock::SystemClock::open().unwrap());
    let tape = Tape::begin(Box::new(log.clone()), head, clock.clone()).unwrap();
    let plan = cyton_plan();
    let board = Arc::new(Board::default());
    board.lines().sources.push(line_of(&plan));
    let pty = Pty::open();
    let port = PortName::Path(pty.path().to_owned());
    let sensor = std::thread::spawn(move || lives(&pty));
    let (recorder, mut captured) = mpsc::channel(super::super::WAITING_MAX);
    let (stop, stops) = watch::channel(None);
    let profile = by_name("openbci-cyton").unwrap();
    let task = SourceTask {
        place: 0,
        plan,
        reach: Reach::Serial(SerialReach { port, profile }),
        silent_after: Duration::from_millis(head.silent_after_ms.into()),
        clock,
        ids: Box::new(CountingIds::default()),
        note: None,
        board,
        recorder,
        stop: stops,
        choice: tokio::sync::watch::channel(crate::worklist::Choice::default()).1,
        tape: tape.clone(),
    };
    let running = tokio::spawn(task.run());
    let mut kept = Vec::new();
    while let Some(one) = captured.recv().await {
        let is_lost = matches!(&one, Captured::Event { code, .. } if code.starts_with("serial."));
        kept.push(one);
        if is_lost {
            let reason = cardio_wire::record::EndReason::Completed;
            stop.send_replace(Some(Stop::End(reason)));
        }
    }
    running.await.unwrap();
    sensor.join().unwrap();
    tape.end().unwrap();
    let log = log.0.lock().unwrap().clone();
    (kept, log)
}

/// Without names, which are made anew, and words, which a log does not hold.
fn comparable(captured: Vec<Captured>) -> Vec<Captured> {
    let same = |one: Captured| match one {
        Captured::Started(_) => None,
        Captured::Event { code, .. } => Some(Captured::Event {
            code,
            detail: String::new(),
        }),
        other => Some(other),
    };
    captured.into_iter().filter_map(same).collect()
}

fn played(log: &[u8]) -> Vec<Captured> {
    let mut reader = CaptureReader::new();
    reader.push(log);
    let Some(CaptureItem::Head(head)) = reader.next_item().unwrap() else {
        panic!("a log begins with its head");
    };
    let mut playback = Playback::new(&head).unwrap();
    while let Some(CaptureItem::Entry(entry)) = reader.next_item().unwrap() {
        playback.take(&entry);
    }
    playback.end();
    assert_eq!(playback.differs_at_us(), None);
    assert_eq!(playback.misplaced_entries(), 0);
    playback.drain()
}

#[tokio::test]
async fn a_replay_gives_segment_by_segment_what_the_live_sensor_gave() {
    let clock = crate::clock::SystemClock::open().unwrap();
    let head = CaptureHead {
        began: cardio_core::clock::Clock::read(&clock),
        ..capture_head("openbci-cyton")
    };
    let (live, log) = live(&head).await;
    let gaps = live
        .iter()
        .filter(|one| matches!(one, Captured::Gap { .. }));
    assert_eq!(gaps.count(), 1);
    assert!(
        live.iter()
            .any(|one| matches!(one, Captured::Assessment(_)))
    );
    let (live, played) = (comparable(live), comparable(played(&log)));
    // wall time is told from the head on; the box's own clock is the log's
    assert_eq!(without_utc(played), without_utc(live));
}

fn without_utc(captured: Vec<Captured>) -> Vec<Captured> {
    let zero = cardio_core::clock::UtcMicros(0);
    let cleared = |mut one: Captured| {
        match &mut one {
            Captured::Segment(segment) => segment.anchor.at.utc = zero,
            Captured::Gap {
                near: Some(near), ..
            } => near.at.utc = zero,
            Captured::Assessment(found) => found.window_start.at.utc = zero,
            _ => {}
        }
        one
    };
    captured.into_iter().map(cleared).collect()
}

fn entry(at_us: u64, event: CaptureEvent) -> CaptureEntry {
    CaptureEntry { at_us, event }
}

#[test]
fn a_sensor_that_answers_nothing_is_asked_again_as_it_was_then() {
    let mut playback = Playback::new(&capture_head("openbci-cyton")).unwrap();
    let via = String::new();
    playback.take(&entry(1_000_000, CaptureEvent::Connected { via }));
    // far more than any session waits, then a time that no clock reaches
    playback.take(&entry(60_000_000, CaptureEvent::Said(b"x".to_vec())));
    assert_eq!(playback.differs_at_us(), Some(60_000_000));
    playback.take(&entry(u64::MAX, CaptureEvent::Heard(vec![0; 9])));
    let codes: Vec<&str> = playback
        .drain()
        .iter()
        .filter_map(|one| match one {
            Captured::Event { code, .. } => Some(*code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, ["session.no_answer"]);
    assert_eq!(playback.misplaced_entries(), 1);
}

/// The session of a Movesense sends the time that it was told, not the one that would follow from
/// the head of the log: the box's clock was corrected in between.
#[test]
fn a_replay_sets_a_sensors_clock_to_the_time_that_the_session_used() {
    let synchronised = ClockQuality::Synchronised { error_us: 900 };
    let began = ClockReading {
        quality: synchronised,
        ..start_of_time()
    };
    let head = CaptureHead {
        began,
        rate_hz: Some(500),
        ..capture_head("movesense-gsp")
    };
    let mut playback = Playback::new(&head).unwrap();
    let begun_us = began.box_instant.micros;
    let via = String::new();
    playback.take(&entry(begun_us + 10, CaptureEvent::Connected { via }));
    let told = ClockReading {
        box_instant: began.box_instant.plus_micros(40),
        utc: UtcMicros(1_790_000_000_000_000),
        quality: synchronised,
    };
    playback.take(&entry(begun_us + 40, CaptureEvent::Clock(told)));
    for wanted in playback.wanted() {
        playback.take(&entry(begun_us + 50, wanted));
    }
    let hello = b"\x01\x01\x011\x00M\x002\x00A\x002.3\x00".to_vec();
    let value = |value| CaptureEvent::Value { from: DATA, value };
    playback.take(&entry(begun_us + 250_040, value(hello)));
    let written = |playback: &Playback| {
        let wanted = playback.wanted();
        let [CaptureEvent::Asked(GattAction::Write { value, .. })] = &wanted[..] else {
            panic!("one write: {wanted:?}");
        };
        value.clone()
    };
    let time = 1_790_000_000_250_000_u64.to_le_bytes();
    assert_eq!(written(&playback), [&[8, 2][..], &time].concat());
    for wanted in playback.wanted() {
        playback.take(&entry(begun_us + 250_060, wanted));
    }
    playback.take(&entry(begun_us + 260_000, value(vec![1, 2, 200, 0])));
    let subscribed = written(&playback);
    assert_eq!(subscribed, [&[1, 3][..], b"/Meas/ECG/500"].concat());
    assert_eq!(playback.differs_at_us(), None);
    assert_eq!(playback.misplaced_entries(), 0);
}

#[test]
fn a_device_that_nobody_knows_and_leads_that_do_not_fit_are_refused() {
    let code = |head: CaptureHead| Playback::new(&head).err().map(|err| err.code());
    assert_eq!(code(capture_head("no-such")), Some("replay.device"));
    let leads = vec!["I".to_owned(); 9];
    let head = CaptureHead {
        leads,
        ..capture_head("openbci-cyton")
    };
    assert_eq!(code(head), Some("replay.leads"));
}
