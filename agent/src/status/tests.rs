use super::{Board, LinkState, QualityStatus, SourceLine, Status, Verdict, as_text};
use crate::testing::start_of_time;
use cardio_store::Autonomy;

fn board() -> Board {
    let board = Board::default();
    {
        let mut lines = board.lines();
        lines.site.name = "FR75-012".to_owned();
        lines.started_us = 0;
        lines.store.cap_bytes = 8 << 30;
        lines.sources.push(SourceLine::default());
    }
    board.source(0, |line| {
        line.last_frame_us = Some(800_000);
        line.status.name = "ecg12-a".to_owned();
        line.status.state = LinkState::Streaming;
        line.status.stream = "ECG 12 leads".to_owned();
        line.status.rate_hz = 250.0;
    });
    board
}

fn electrode_off() -> QualityStatus {
    QualityStatus {
        verdict: "insufficient".to_owned(),
        index: 0.12,
        causes: vec!["lead-off".to_owned()],
        failing_leads: vec!["V3".to_owned()],
        electrode_iec: Some("C3".to_owned()),
        electrode_aha: Some("V3".to_owned()),
        algorithm: "sqi-ecg/1".to_owned(),
    }
}

#[test]
fn the_first_line_is_the_verdict() {
    let status = board().document(&start_of_time());
    assert_eq!(status.verdict, Verdict::Capturing);
    let text = as_text(&status);
    assert!(
        text.starts_with("CAPTURING   box FR75-012 · patient UNASSIGNED · up 1.0 s\n"),
        "{text}"
    );
    assert!(text.contains("0.2 s ago"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn a_sensor_whose_battery_is_low_is_named_with_what_is_left() {
    let board = board();
    let told = |percent| {
        board.source(0, |line| line.status.battery_percent = Some(percent));
        as_text(&board.document(&start_of_time()))
    };
    assert!(!told(21).contains("battery"));
    assert!(told(20).contains("battery 20 %"), "{}", told(20));
}

#[test]
fn an_electrode_that_is_off_is_named_and_degrades_the_verdict() {
    let board = board();
    board.source(0, |line| line.status.quality = Some(electrode_off()));
    let status = board.document(&start_of_time());
    assert_eq!(status.verdict.exit_code(), 1);
    assert_eq!(status.warnings[0].text, "ecg12-a: electrode C3 off");
    assert!(as_text(&status).contains("poor 0.12"));
}

#[test]
fn an_outbox_that_keeps_nothing_fails() {
    let board = board();
    board.lines().store.code = Some("outbox.full".to_owned());
    let status = board.document(&start_of_time());
    assert_eq!(
        (status.verdict, status.verdict.exit_code()),
        (Verdict::Failing, 2)
    );
}

#[test]
fn the_document_names_its_schema_and_is_read_back() {
    let status = board().document(&start_of_time());
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["schema"], "status/1");
    assert_eq!(json["sources"][0]["state"], "streaming");
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
}

#[test]
fn how_long_the_space_lasts_is_told_with_what_is_stored() {
    let board = board();
    let stored = |board: &Board| {
        let text = as_text(&board.document(&start_of_time()));
        let line = text.lines().find(|line| line.starts_with("STORED"));
        line.unwrap().to_owned()
    };
    assert!(stored(&board).ends_with(" · not capturing"));
    board.lines().store.autonomy = Autonomy::Measuring.into();
    assert!(stored(&board).ends_with(" · room not known yet"));
    board.lines().store.autonomy = Autonomy::Lasts {
        seconds: 211 * 3600,
        bytes_per_hour: 40_000_000,
    }
    .into();
    assert!(stored(&board).ends_with(" · room for 8 d 19 h of capture"));
    let json = serde_json::to_value(board.document(&start_of_time())).unwrap();
    assert_eq!(json["store"]["autonomy"]["state"], "lasts");
    assert_eq!(json["store"]["autonomy"]["hours"], 211.0);
}
