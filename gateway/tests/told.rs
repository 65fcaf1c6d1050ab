//! What a hello tells the gateway, and what the gateway makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;
#[path = "support/visit.rs"]
#[allow(dead_code, reason = "other test files use the rest")]
mod visit;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock as _, ClockQuality, ManualClock, UtcMicros};
use cardio_core::ids::{RecordId, SourceId};
use cardio_gateway::clock::SystemClock;
use cardio_wire::lane::Lane;
use cardio_wire::message::{Command, CommandAction, State};
use cardio_wire::record::{BoxStatusV1, Record, RecordHead, SourceStatusV1};
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use serde_json::Value;
use support::{Bench, Client, until};
use visit::{RATE, Visit, reading};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_has_less_than_it_acknowledged_asks_the_box_to_send_again() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("FR75-012").await;
    let mut visit = Visit::new();
    // The box was acknowledged up to 2 by an inbox that a backup has replaced since.
    let frames = [visit.started(None), visit.segment(0, RATE)].map(|r| of.frame(Lane::Routine, &r));
    let mut client = Client::connect(&bench, &of).await;
    client
        .publish(
            &Topic::UpHello(of.id).to_string(),
            of.hello(reading(1), 1, 2),
        )
        .await;
    let command = loop {
        match client.next().await {
            Some(Packet::Publish(publish))
                if publish.topic == Topic::DownCommand(of.id).to_string() =>
            {
                break Command::verify(&publish.payload, &of.control).unwrap();
            }
            Some(Packet::Publish(_) | Packet::PubAck(_)) => {}
            other => panic!("no command but {other:?}"),
        }
    };
    assert_eq!(command.device, of.id);
    assert_eq!(
        command.action,
        CommandAction::Resend {
            lane: Lane::Routine,
            chain: of.chain,
            from_seq: 1
        }
    );
    for frame in frames {
        let packet = client.publish_frame(&of, Lane::Routine, frame).await;
        assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    }
    assert_eq!(client.acked(&of, Lane::Routine, 2).await.upto, 2);
    bench.gateway.stop().await;
}

/// The same records from a box whose wall clock stands at 1970.
fn at_1970(record: Record) -> Record {
    let unset = |at: &mut cardio_core::clock::ClockReading| {
        at.utc = UtcMicros(0);
        at.quality = ClockQuality::Unsynchronised;
    };
    match record {
        Record::AcquisitionStarted(mut started) => {
            unset(&mut started.head.at);
            Record::AcquisitionStarted(started)
        }
        Record::Segment(mut segment) => {
            unset(&mut segment.head.at);
            unset(&mut segment.segment.anchor.at);
            Record::Segment(segment)
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_without_a_clock_is_filed_by_the_gateways_once_it_was_heard_in_the_same_boot() {
    for heard in [true, false] {
        let bench = Bench::start().await;
        let mut of = bench.enrol("FR75-012").await;
        let mut client = Client::connect(&bench, &of).await;
        // The box is 30 s old, by its own boot clock, when it says hello.
        let mut at = reading(30_000_000);
        at.utc = UtcMicros(0);
        at.quality = ClockQuality::Unsynchronised;
        let now = SystemClock::new().read().utc;
        if heard {
            client
                .publish(&Topic::UpHello(of.id).to_string(), of.hello(at, 1, 0))
                .await;
        }
        let mut visit = Visit::new();
        let records = [
            visit.started(None),
            visit.segment(0, 10 * RATE),
            visit.segment(10 * RATE, RATE),
        ];
        for record in records {
            let frame = of.frame(Lane::Routine, &at_1970(record));
            let packet = client.publish_frame(&of, Lane::Routine, frame).await;
            assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
        }
        let fhir = bench.fhir();
        let span = until("the first span", || async {
            fhir.all("/fhir/Observation").await.into_iter().next()
        })
        .await;
        let start = span["effectivePeriod"]["start"].as_str();
        if heard {
            // The first sample was taken 30 s before the hello.
            assert_is_dated(&span, UtcMicros(now.0 - 30_000_000));
        } else {
            assert_eq!(start, None, "1970 is filed as a time: {span}");
        }
        bench.gateway.stop().await;
    }
}

/// The stated time of a span lies no farther from the true one than the span says.
fn assert_is_dated(span: &Value, truth: UtcMicros) {
    let start = span["effectivePeriod"]["start"].as_str();
    let start: jiff::Timestamp = start.unwrap().parse().unwrap();
    let off = start.as_microsecond().abs_diff(truth.0);
    let extensions = span["extension"].as_array().unwrap();
    let error = extensions
        .iter()
        .find(|one| one["url"].as_str().unwrap().ends_with("/time-error"))
        .and_then(|one| one["valueQuantity"]["value"].as_f64());
    let error = Duration::from_secs_f64(error.unwrap());
    assert!(u128::from(off) <= error.as_micros(), "{off} us off: {span}");
    assert!(error < Duration::from_secs(5), "{span}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_filed_without_a_time_gets_it_once_the_box_is_heard_in_the_same_boot() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut visit = Visit::new();
    let records = [visit.started(None), visit.segment(0, 11 * RATE)];
    for record in records {
        let frame = of.frame(Lane::Routine, &at_1970(record));
        let packet = client.publish_frame(&of, Lane::Routine, frame).await;
        assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    }
    let fhir = bench.fhir();
    let undated = until("the first span", || async {
        fhir.all("/fhir/Observation").await.into_iter().next()
    })
    .await;
    assert_eq!(undated["effectivePeriod"].get("start"), None);
    let mut at = reading(60_000_000);
    at.utc = UtcMicros(60_000_000);
    at.quality = ClockQuality::Unsynchronised;
    let now = SystemClock::new().read().utc;
    client
        .publish(&Topic::UpHello(of.id).to_string(), of.hello(at, 1, 0))
        .await;
    let path = format!("/fhir/Observation/{}", undated["id"].as_str().unwrap());
    let dated = until("the span to be dated", || async {
        let (_, span) = fhir.get(&path).await;
        span["effectivePeriod"]
            .get("start")
            .is_some()
            .then_some(span)
    })
    .await;
    assert_is_dated(&dated, UtcMicros(now.0 - 60_000_000));
    assert_eq!(dated["meta"]["versionId"], "2");
    assert_eq!(dated["component"], undated["component"]);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_says_that_it_is_connected_in_words_that_it_signed() {
    let bench = Bench::start().await;
    let of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let state = State {
        device: of.id,
        online: true,
        at: reading(5),
    };
    let topic = Topic::State(of.id).to_string();
    let packet = client.publish(&topic, state.sign(&of.signer)).await;
    assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    let packet = client.publish(&topic, b"online".to_vec()).await;
    assert_eq!(
        client.puback(packet).await.reason,
        PubAckReason::PayloadFormatInvalid
    );
    bench.gateway.stop().await;
}

async fn next_command(client: &mut Client, of: &support::TestBox) -> Option<Command> {
    loop {
        match client.next().await? {
            Packet::Publish(publish) if publish.topic == Topic::DownCommand(of.id).to_string() => {
                let pinned = [of.control, of.control_next];
                return Some(Command::verify_by_any(&publish.payload, &pinned).unwrap());
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_box_is_told_new_keys_at_once_and_one_that_was_away_at_its_hello() {
    let bench = Bench::start().await;
    let (here, away) = (bench.enrol("FR75-012").await, bench.enrol("FR75-013").await);
    let mut client = Client::connect(&bench, &here).await;
    let hello = Topic::UpHello(here.id).to_string();
    client.publish(&hello, here.hello(reading(1), 1, 0)).await;
    let rotate = |purpose: &str| serde_json::json!({"verb": "keys-rotate", "purpose": purpose});
    bench.asked(rotate("recipient")).await;
    let keys = bench.gateway.keys().trusted().unwrap();
    assert_ne!(keys.recipient, here.recipient);
    let command = next_command(&mut client, &here).await.unwrap();
    assert_eq!(command.action, CommandAction::Rotate(keys));

    bench.asked(rotate("control")).await;
    let keys = bench.gateway.keys().trusted().unwrap();
    let mut late = Client::connect(&bench, &away).await;
    let hello = Topic::UpHello(away.id).to_string();
    late.publish(&hello, away.hello(reading(1), 1, 0)).await;
    let command = next_command(&mut late, &away).await.unwrap();
    assert_eq!(command.action, CommandAction::Rotate(keys));

    let list = bench.asked(serde_json::json!({"verb": "keys-list"})).await;
    assert_eq!(list["ok"]["keys"].as_array().unwrap().len(), 5);
    let old = here.recipient.key_id().to_string();
    let retire = serde_json::json!({"verb": "keys-retire", "id": old, "anyway": false});
    let refused = bench.asked(retire).await;
    assert_eq!(refused["error"]["code"], "keys.needed");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_is_revoked_is_told_to_wipe_its_keys_before_it_is_cut_off() {
    let bench = Bench::start().await;
    let of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let hello = Topic::UpHello(of.id).to_string();
    client.publish(&hello, of.hello(reading(1), 1, 0)).await;
    let revoke = serde_json::json!({"verb": "boxes-revoke", "name": "FR75-012"});
    bench.asked(revoke).await;
    let command = next_command(&mut client, &of).await.unwrap();
    assert_eq!(command.action, CommandAction::Revoke);
    while let Some(packet) = client.next().await {
        assert!(!matches!(packet, Packet::Publish(_)), "{packet:?}");
    }
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_proved_and_a_byte_that_changed_is_found() {
    let bench = Bench::start().await;
    if bench.is_on_a_server() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped on a server: this test changes bytes of the file behind the program's back"
        );
        return;
    }
    let mut of = bench.enrol("FR75-012").await;
    let mut visit = Visit::new();
    let records = [
        visit.started(None),
        visit.segment(0, RATE),
        visit.segment(1, RATE),
    ];
    let frames = records.map(|record| of.frame(Lane::Routine, &record));
    let mut client = Client::connect(&bench, &of).await;
    for frame in frames {
        let packet = client.publish_frame(&of, Lane::Routine, frame).await;
        assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    }
    let file = bench.dir.path().join("state/inbox.sqlite");
    let proofs = cardio_gateway::chain::verify(
        &cardio_gateway::db::Place::Sqlite(file.clone()),
        Some("FR75-012"),
    )
    .unwrap();
    assert_eq!((proofs.len(), proofs[0].frames), (1, 3));
    assert!(proofs[0].is_whole(), "{:?}", proofs[0]);
    bench.gateway.stop().await;

    let connection = rusqlite::Connection::open(&file).unwrap();
    let fault = |change: &str| {
        connection.execute(change, []).unwrap();
        let proofs =
            cardio_gateway::chain::verify(&cardio_gateway::db::Place::Sqlite(file.clone()), None)
                .unwrap();
        let fault = proofs[0].fault.as_ref().map(|fault| fault.code);
        fault.expect("a fault")
    };
    assert_eq!(fault("UPDATE lanes SET head = zeroblob(32)"), "chain.head");
    assert_eq!(fault("DELETE FROM frames WHERE seq = 2"), "chain.hole");
    assert_eq!(
        fault("UPDATE frames SET bytes = zeroblob(length(bytes)) WHERE seq = 1"),
        "chain.frame"
    );
}

/// What a box says of itself `seconds` after it booted, when its wall clock is wrong by some.
fn standing(booted: UtcMicros, seconds: u64, wrong_s: i64, silent_s: u64, charge: u8) -> Record {
    let mut at = reading(seconds * 1_000_000);
    at.utc =
        UtcMicros(booted.0 + i64::try_from(seconds).unwrap() * 1_000_000 + wrong_s * 1_000_000);
    at.quality = ClockQuality::Unsynchronised;
    let number = u8::try_from(seconds / 60).unwrap();
    Record::BoxStatus(BoxStatusV1 {
        head: RecordHead {
            id: RecordId([number; 16]),
            at,
        },
        autonomy_s: Some(u64::from(charge) * 3_600),
        battery_percent: Some(charge.min(70) + 30),
        sources: vec![SourceStatusV1 {
            source: SourceId::new("ecg12-a").unwrap(),
            acquisition: Some(visit::ACQUISITION),
            silent_s: Some(silent_s),
            battery_percent: Some(charge),
        }],
    })
}

/// The open technical alerts, by rule and text.
async fn technical(bench: &Bench) -> Vec<(String, String)> {
    let listed = bench
        .asked(serde_json::json!({"verb": "alerts-list"}))
        .await;
    let alerts = listed["ok"]["alerts"].as_array().unwrap().iter();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let mut open: Vec<_> = alerts
        .filter(|one| one["technical"] == true && one["ended"].is_null())
        .map(|one| (text(one, "rule"), text(one, "text_en")))
        .collect();
    open.sort();
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_box_tells_of_itself_reaches_the_technical_rules() {
    let clock = Arc::new(ManualClock::at(SystemClock::new().read()));
    let booted = clock.read().utc;
    let bench = Bench::start_at(clock.clone()).await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut at = 0;
    // A silent sensor, low batteries, little room: told in the first minute, and the wrong
    // clock once it has been wrong for an hour.
    let low = vec!["battery-low", "source-silent", "store-filling"];
    let with_clock = vec!["battery-low", "clock-bad", "source-silent", "store-filling"];
    let mut turns = vec![(60, (300, 12, 14), low.clone())];
    turns.extend((1..6).map(|n| (60 + n * 600, (300, 12, 14), low.clone())));
    turns.push((4_200, (300, 12, 14), with_clock.clone()));
    turns.push((4_260, (0, 0, 90), with_clock));
    turns.push((4_320, (0, 0, 90), Vec::new()));
    for (seconds, (wrong_s, silent_s, charge), expected) in turns {
        clock.advance_micros((seconds - at) * 1_000_000);
        at = seconds;
        let mut now = reading(seconds * 1_000_000);
        now.quality = ClockQuality::Unsynchronised;
        let topic = Topic::UpHello(of.id).to_string();
        client.publish(&topic, of.hello(now, 1, 0)).await;
        let record = standing(booted, seconds, wrong_s, silent_s, charge);
        client.send_all(&mut of, Lane::Alert, &[record]).await;
        let what = format!("{expected:?} at {seconds} s");
        until(&what, || async {
            let open = technical(&bench).await;
            open.iter()
                .map(|(rule, _)| rule.as_str())
                .eq(expected.iter().copied())
                .then_some(())
        })
        .await;
        if seconds == 60 {
            let told: Vec<String> = technical(&bench)
                .await
                .into_iter()
                .map(|(_, text)| text)
                .collect();
            assert_eq!(
                told,
                [
                    "Battery at 14 %, limit 15 %.",
                    "The sensor has sent nothing for 12 s, limit 10 s.",
                    "The box can store 14 h more, limit 24 h.",
                ]
            );
        }
    }
    // What was said long ago and comes only now calls nobody.
    clock.advance_micros(3_600_000_000);
    let late = standing(booted, 4_380, 300, 12, 5);
    client.send_all(&mut of, Lane::Alert, &[late]).await;
    until("the late word to be filed", || async {
        let status = bench.asked(serde_json::json!({"verb": "status"})).await;
        (status["ok"]["counters"]["records_filed"] == 10).then_some(())
    })
    .await;
    assert_eq!(technical(&bench).await, []);
    bench.gateway.stop().await;
}
