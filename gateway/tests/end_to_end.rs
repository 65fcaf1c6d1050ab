//! A box and the gateway over real TLS: frames in, acknowledgements out, the record read back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;
#[path = "support/visit.rs"]
mod visit;

use cardio_core::annotation::Beat;
use cardio_core::clock::Clock as _;
use cardio_core::index::SampleIndex;
use cardio_gateway::clock::SystemClock;
use cardio_wire::lane::Lane;
use cardio_wire::record::Record;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::PubAckReason;
use serde_json::{Value, json};
use support::{Bench, Client, until};
use visit::{RATE, Visit, reading, sample};

const PATIENT: &str = "p-test-1";

fn patient() -> Value {
    json!({
        "resourceType": "Patient", "id": PATIENT, "active": true,
        "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "123456789012212"}],
        "name": [{"use": "official", "family": "ESSAI", "given": ["VISITE"]}],
        "gender": "unknown", "birthDate": "1974-12-25",
    })
}

/// Exports the record for a data warehouse, twice with one key and once with another.
async fn bulk_holds_no_name(bench: &Bench) {
    let mut exports = Vec::new();
    for (number, key) in ["k", "k", "l"].into_iter().enumerate() {
        let file = bench.dir.path().join("bulk.key");
        std::fs::write(&file, key.repeat(32)).unwrap();
        let folder = bench.dir.path().join(format!("bulk-{number}"));
        let asked = json!({"verb": "records-bulk", "folder": folder, "key": file});
        let counts = bench.asked(asked).await["ok"]["resources"].take();
        assert_eq!(counts["Patient"], 1);
        assert_eq!(counts["Device"], 2);
        let mut text = String::new();
        for (kind, count) in counts.as_object().unwrap() {
            let lines = std::fs::read_to_string(folder.join(format!("{kind}.ndjson"))).unwrap();
            assert_eq!(json!(lines.lines().count()), *count);
            text.push_str(&lines);
        }
        exports.push(text);
    }
    let family = &patient()["name"][0]["family"];
    for name in [
        PATIENT,
        "123456789012212",
        "1974-12-25",
        "FR75-012",
        family.as_str().unwrap(),
    ] {
        assert!(!exports[0].contains(name), "{name}");
    }
    assert!(exports[0].contains("\"birthDate\":\"1974\""));
    assert!(exports[0].contains("valueSampledData"));
    assert_eq!(exports[0], exports[1]);
    let id = |text: &str| serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
    assert_ne!(id(&exports[0])["id"], id(&exports[2])["id"]);
}

async fn wait_for_report(bench: &Bench, status: &str) -> Value {
    let fhir = bench.fhir();
    until("the report", || async {
        let found = fhir.all("/fhir/DiagnosticReport?_count=10").await;
        found.into_iter().find(|report| report["status"] == status)
    })
    .await
}

/// Waits until so many records are filed, and reports name all that is filed of them.
async fn wait_for_records(bench: &Bench, count: usize) {
    until("every record to be filed", || async {
        let status = bench.asked(json!({"verb": "status"})).await;
        let record = &status["ok"]["record"];
        (record["records"] == count && record["reports_due"] == 0).then_some(())
    })
    .await;
}

/// Samples of a lead as the record shows them: first index by time, then counts.
fn filed_counts(spans: &[Value], mdc: &str) -> Vec<i64> {
    let mut spans: Vec<&Value> = spans.iter().collect();
    spans.sort_by_key(|span| {
        span["effectivePeriod"]["start"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    let mut counts = Vec::new();
    for span in spans {
        let component = span["component"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["code"]["coding"][0]["code"] == mdc)
            .unwrap();
        let data = component["valueSampledData"]["data"].as_str().unwrap();
        counts.extend(data.split(' ').map(|n| n.parse::<i64>().unwrap()));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_is_acknowledged_filed_and_read_back_sample_by_sample() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let (status, _) = fhir
        .put(
            &format!("/fhir/Patient/{PATIENT}"),
            "application/fhir+json",
            &patient(),
        )
        .await;
    assert_eq!(status, 201);

    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let begun = SystemClock::new().read().box_instant;
    let hello = of.hello(reading(5), 1, 0);
    let packet = client
        .publish(&Topic::UpHello(of.id).to_string(), hello)
        .await;
    let first = client.acked(&of, Lane::Routine, 0).await;
    assert_eq!(
        (first.upto, first.head, first.echo_us),
        (0, [0; 32], Some(5))
    );
    let _ = packet;

    let (routine, alert) = Visit::new().whole(Some(PATIENT));
    let frames = client.send_all(&mut of, Lane::Routine, &routine).await;
    client.send_all(&mut of, Lane::Alert, &alert).await;
    let (seq, head) = of.head(Lane::Alert);
    // A frame sent again is acknowledged again, and filed once.
    let again = client
        .publish_frame(&of, Lane::Routine, frames[3].clone())
        .await;
    assert_eq!(client.puback(again).await.reason, PubAckReason::Success);
    drop(client);
    let mut client = Client::connect(&bench, &of).await;
    let since = SystemClock::new().read().box_instant.micros_since(&begun);
    client
        .publish(
            &Topic::UpHello(of.id).to_string(),
            of.hello(reading(5 + since.unwrap()), 1, 0),
        )
        .await;
    let ack = client.acked(&of, Lane::Alert, seq).await;
    assert_eq!((ack.upto, ack.head), (seq, head));
    assert!(ack.counter > first.counter);

    wait_for_records(&bench, routine.len() + alert.len()).await;
    let report = wait_for_report(&bench, "preliminary").await;
    assert_eq!(report["subject"]["reference"], format!("Patient/{PATIENT}"));
    let all = fhir
        .all(&format!("/fhir/Observation?patient={PATIENT}&_count=3"))
        .await;
    let spans: Vec<Value> = all
        .iter()
        .filter(|one| one["component"][0].get("valueSampledData").is_some())
        .cloned()
        .collect();
    // 0-10 s, 10-13 s, 14-20 s, 20-25 s.
    assert_eq!(spans.len(), 4);
    for (lead, mdc) in [(0, "131329"), (1, "131330"), (2, "131331")] {
        let sent: Vec<i64> = (0..25 * RATE)
            .filter(|at| at / RATE != 13)
            .map(|at| i64::from(sample(lead, at)))
            .collect();
        assert_eq!(filed_counts(&spans, mdc), sent, "lead {mdc}");
    }
    let results = report["result"].as_array().unwrap();
    assert_eq!(results.len(), all.len(), "the report lists everything");
    assert!(all.iter().all(|one| {
        one["meta"]["security"]
            .as_array()
            .is_some_and(|labels| labels.iter().any(|l| l["code"] == "HTEST"))
    }));
    // One rate per slot that has a window (at 10, 20 s) and the last one, at 25 s.
    let rates = fhir
        .all("/fhir/Observation?code=http://loinc.org|8867-4")
        .await;
    assert_eq!(rates.len(), 3);

    let documents = fhir.all("/fhir/DocumentReference").await;
    let url = documents[0]["content"][0]["attachment"]["url"]
        .as_str()
        .unwrap();
    let original = fhir
        .bytes(&format!("/fhir/{url}"), "application/cbor-seq")
        .await;
    let sent: Vec<u8> = alert
        .iter()
        .chain(&routine)
        .flat_map(Record::encode)
        .collect();
    assert_eq!(original, sent, "exactly what the box sealed");
    assert_eq!(fhir.all("/fhir/Provenance").await.len(), 1);
    assert_eq!(fhir.all("/fhir/Device").await.len(), 2);

    let asked = json!({"verb": "indicators", "from_us": visit::START, "to_us": i64::MAX});
    let figures = bench.asked(asked).await["ok"].take();
    let figure = |indicator: &str| {
        let groups = figures["group"].as_array().unwrap();
        let group = groups
            .iter()
            .find(|one| one["code"]["coding"][0]["code"] == indicator);
        group.unwrap()["stratifier"][0]["stratum"][0].clone()
    };
    assert_eq!(figure("exams")["population"][0]["count"], 1);
    assert_eq!(figure("first-try-acceptable")["measureScore"]["value"], 1.0);
    assert_eq!(figure("time-to-first-good")["measureScore"]["value"], 10.0);
    let nobody = figures.to_string();
    assert!(!nobody.contains(PATIENT), "{nobody}");

    bulk_holds_no_name(&bench).await;
    let status = bench.asked(json!({"verb": "status"})).await;
    assert_eq!(status["ok"]["verdict"], "RECEIVING");
    assert_eq!(status["ok"]["counters"]["frames_repeated"], 1);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_lanes_and_a_restart_in_between_give_the_same_resources() {
    let mut shown: Vec<Vec<Value>> = Vec::new();
    for alert_first in [true, false] {
        let mut bench = Bench::start().await;
        let mut of = bench.enrol("FR75-012").await;
        let mut client = Client::connect(&bench, &of).await;
        let (routine, alert) = Visit::new().whole(Some(PATIENT));
        let halves = if alert_first {
            [(Lane::Alert, &alert), (Lane::Routine, &routine)]
        } else {
            [(Lane::Routine, &routine), (Lane::Alert, &alert)]
        };
        client.send_all(&mut of, halves[0].0, halves[0].1).await;
        bench = bench.restart().await;
        let mut client = Client::connect(&bench, &of).await;
        client.send_all(&mut of, halves[1].0, halves[1].1).await;
        wait_for_records(&bench, routine.len() + alert.len()).await;
        let fhir = bench.fhir();
        let observations = until("every window and span", || async {
            let all = fhir.all("/fhir/Observation").await;
            (all.len() == 4 + 1 + 3 + 3).then_some(all)
        })
        .await;
        let mut resources: Vec<Value> = observations;
        for one in &mut resources {
            one.as_object_mut().unwrap().remove("meta");
            let id = one["device"]["reference"].take();
            assert!(id.as_str().unwrap().starts_with("Device/"));
            one["extension"] = Value::Null;
        }
        resources.sort_by_key(|one| one["id"].as_str().unwrap().to_owned());
        // The report of an acquisition that has ended follows when all of it is filed.
        let results = until("a report of everything", || async {
            let reports = fhir.all("/fhir/DiagnosticReport").await;
            let results = reports.into_iter().next()?["result"].take();
            (results.as_array()?.len() == resources.len()).then_some(results)
        })
        .await;
        resources.push(results);
        shown.push(resources);
        bench.gateway.stop().await;
    }
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_restart() {
    let mut bench = Bench::start().await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut visit = Visit::new();
    let records = [visit.started(None), visit.segment(0, RATE)];
    client.send_all(&mut of, Lane::Routine, &records).await;
    let before = client.acked(&of, Lane::Routine, 2).await;
    bench = bench.restart().await;
    let mut client = Client::connect(&bench, &of).await;
    client
        .publish(
            &Topic::UpHello(of.id).to_string(),
            of.hello(reading(1), 1, 2),
        )
        .await;
    let after = client.acked(&of, Lane::Routine, 2).await;
    assert_eq!((after.upto, after.head), (before.upto, before.head));
    assert!(
        after.counter > before.counter,
        "acknowledgements rise for ever"
    );
    let report = wait_for_report(&bench, "partial").await;
    assert!(
        report["subject"].to_string().contains("UNASSIGNED"),
        "{}",
        report["subject"]
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quality_insufficient_for_a_time_is_an_alert_with_notice_and_task() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let (routine, alert) = Visit::new().insufficient(Some(PATIENT), 90);
    client.send_all(&mut of, Lane::Routine, &routine).await;
    client.send_all(&mut of, Lane::Alert, &alert).await;
    let fhir = bench.fhir();
    let issues = until("an alert", || async {
        let issues = fhir.all("/fhir/DetectedIssue").await;
        (!issues.is_empty()).then_some(issues)
    })
    .await;
    assert!(
        issues
            .iter()
            .any(|issue| issue["code"].to_string().contains("quality-insufficient"))
    );
    assert_eq!(fhir.all("/fhir/Communication").await.len(), issues.len());
    assert_eq!(fhir.all("/fhir/Task").await.len(), issues.len());
    let listed = bench.asked(json!({"verb": "alerts-list"})).await;
    assert_eq!(
        listed["ok"]["alerts"].as_array().unwrap().len(),
        issues.len()
    );
    bench.gateway.stop().await;
}

async fn explained(bench: &Bench, id: &str) -> Value {
    let asked = json!({"verb": "alerts-explain", "id": id});
    bench.asked(asked).await["ok"].take()
}

fn rules(limit: &str, version: u32) -> String {
    format!(
        "schema = \"rules/1\"\nextends = \"default\"\n[[rule]]\nname = \"tachycardia\"\n\
         version = {version}\n[[patient]]\nsubject = \"{PATIENT}\"\n\
         set_by = \"PractitionerRole/cardio1\"\nversion = {version}\n\
         [patient.rule.tachycardia]\nenabled = true\nfor = \"10 s\"\nlimit = \"{limit}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_explained_from_stored_bytes_whatever_holds_today() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.toml");
    std::fs::write(&file, rules("120/min", 3)).unwrap();
    let more = format!("[alerts]\nrules = \"{}\"\n", file.display());
    let bench = Bench::start_in(dir, more, std::sync::Arc::new(SystemClock::new())).await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut visit = Visit::new();
    client
        .send_all(&mut of, Lane::Routine, &[visit.started(Some(PATIENT))])
        .await;
    let windows: Vec<Record> = (10..40)
        .map(|end| {
            visit.assessment(
                (end - 10) * RATE,
                10 * RATE,
                140.0 + f64::from(u32::try_from(end % 7).unwrap()),
            )
        })
        .collect();
    client.send_all(&mut of, Lane::Alert, &windows).await;
    let alert = until("an alert", || async {
        let listed = bench.asked(json!({"verb": "alerts-list"})).await;
        let mut alerts = listed["ok"]["alerts"].as_array()?.iter();
        alerts.find(|one| one["rule"] == "tachycardia").cloned()
    })
    .await;
    let id = alert["id"].as_str().unwrap().to_owned();
    let then = explained(&bench, &id).await;
    assert_eq!(then["recomputed"]["same"], true, "{then:#}");
    assert_eq!(then["rule_version"], 3);
    assert_eq!(then["recomputed"]["sha256"].as_str().unwrap().len(), 64);

    // A year later: other rules, other algorithms, and the box went on.
    std::fs::write(&file, rules("200/min", 9)).unwrap();
    let bench = bench.restart().await;
    let mut client = Client::connect(&bench, &of).await;
    let later: Vec<Record> = (40..110)
        .map(|end| {
            let mut window = visit.assessment((end - 10) * RATE, 10 * RATE, 70.0);
            if let Record::Assessment(window) = &mut window {
                window.heart_rate.algorithm.1 = 99;
            }
            window
        })
        .collect();
    client.send_all(&mut of, Lane::Alert, &later).await;
    let now = until("the end of the condition", || async {
        Some(explained(&bench, &id).await).filter(|now| now["ended"].is_string())
    })
    .await;
    for told in [
        "conditions",
        "rule",
        "rule_version",
        "rule_applied",
        "prescription",
        "evidence",
        "algorithms",
        "recomputed",
    ] {
        assert_eq!(now[told], then[told], "{told}");
    }
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_heart_rate_strap_told_is_filed_once_and_is_no_asystole() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let (routine, alert) = Visit::new().told_rates(Some(PATIENT));
    client.send_all(&mut of, Lane::Alert, &alert).await;
    client.send_all(&mut of, Lane::Routine, &routine).await;
    wait_for_records(&bench, routine.len() + alert.len()).await;
    let report = wait_for_report(&bench, "preliminary").await;
    assert_eq!(report["code"]["coding"][0]["code"], "8867-4");
    let fhir = bench.fhir();
    let of_code = |all: &[Value], code: &str| -> Vec<Value> {
        let is = |one: &&Value| one["code"]["coding"][0]["code"] == code;
        all.iter().filter(is).cloned().collect()
    };
    let all = fhir.all("/fhir/Observation?_count=50").await;
    let mut intervals = of_code(&all, "147240");
    intervals.sort_by_key(|one| one["effectivePeriod"]["start"].to_string());
    let found: Vec<f64> = intervals
        .iter()
        .flat_map(|one| one["component"].as_array().unwrap())
        .map(|part| part["valueQuantity"]["value"].as_f64().unwrap())
        .collect();
    // All but those that were told without contact.
    let sent = (0_u16..25).filter(|second| !(10..12).contains(second));
    let sent: Vec<f64> = sent.map(|n| f64::from(900 + n) * 1000.0 / 1024.0).collect();
    assert_eq!((intervals.len(), found), (3, sent));
    let rates = of_code(&all, "8867-4");
    let values = rates
        .iter()
        .filter(|one| one["valueQuantity"]["value"] == 68);
    assert!(values.count() >= 2, "{rates:?}");
    let battery = of_code(&all, "67996");
    assert_eq!(battery.len(), 1);
    assert_eq!(battery[0]["valueQuantity"]["value"], 14);
    // Windows without beats, of a sensor that tells none: nobody's heart stands still.
    assert_eq!(fhir.all("/fhir/DetectedIssue").await, Vec::<Value>::new());
    bench.gateway.stop().await;
}

/// Beats of a heart whose intervals follow no pattern, in samples.
fn irregular_beats(seconds: u64) -> Vec<u64> {
    let (mut state, mut at, mut beats) = (7_u32, 0, Vec::new());
    while at < seconds * RATE {
        beats.push(at);
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        at += (475 + u64::from(state >> 8) * 450 / (1 << 24)) * RATE / 1000;
    }
    beats
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fibrillation_is_suspected_over_many_windows_and_explained_as_long_as_they_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.toml");
    let text = format!(
        "schema = \"rules/1\"\nextends = \"default\"\n[[patient]]\nsubject = \"{PATIENT}\"\n\
         set_by = \"PractitionerRole/cardio1\"\nversion = 1\n\
         [patient.rule.af-suspected]\nenabled = true\n"
    );
    std::fs::write(&file, text).unwrap();
    let more = format!("[alerts]\nrules = \"{}\"\n", file.display());
    let bench = Bench::start_in(dir, more, std::sync::Arc::new(SystemClock::new())).await;
    let mut of = bench.enrol("FR75-012").await;
    let mut visit = Visit::new();
    let beats = irregular_beats(110);
    let windows: Vec<Record> = (10..=100)
        .map(|end| {
            let span = (end - 10) * RATE..end * RATE;
            let mut window = visit.assessment(span.start, 10 * RATE, 85.0);
            if let Record::Assessment(window) = &mut window {
                let beats = beats.iter().filter(|beat| span.contains(beat));
                let beats = beats.map(|at| Beat {
                    at: SampleIndex(*at),
                    class: None,
                });
                window.heart_rate.beats = beats.collect();
            }
            window
        })
        .collect();
    let started = [visit.started(Some(PATIENT))];
    let (first, rest) = windows.split_at(35);
    let mut client = Client::connect(&bench, &of).await;
    client.send_all(&mut of, Lane::Routine, &started).await;
    client.send_all(&mut of, Lane::Alert, first).await;
    wait_for_records(&bench, 1 + first.len()).await;
    // What the windows before say is read again: nothing is forgotten with the program.
    let bench = bench.restart().await;
    let mut client = Client::connect(&bench, &of).await;
    client.send_all(&mut of, Lane::Alert, rest).await;
    let alert = until("an alert", || async {
        let listed = bench.asked(json!({"verb": "alerts-list"})).await;
        let mut alerts = listed["ok"]["alerts"].as_array()?.iter();
        alerts.find(|one| one["rule"] == "af-suspected").cloned()
    })
    .await;
    let id = alert["id"].as_str().unwrap().to_owned();
    let told = explained(&bench, &id).await;
    assert_eq!(told["recomputed"]["same"], true, "{told:#}");
    assert!(
        told["evidence"]["seconds"].as_f64().unwrap() >= 30.0,
        "{told:#}"
    );
    let algorithms = told["algorithms"].as_array().unwrap();
    assert!(
        algorithms.iter().any(|one| one["name"] == "rhythm"),
        "{told:#}"
    );
    if bench.is_on_a_server() {
        bench.gateway.stop().await;
        return;
    }

    // Behind the program's back: a frame that this very version has set aside, and after it a
    // window that is damaged.
    let changed = |change: &'static str| {
        move |folder: &std::path::Path| {
            let record = folder.join("state/record.sqlite");
            let connection = rusqlite::Connection::open(record).unwrap();
            assert_eq!(connection.execute(change, []).unwrap(), 1);
        }
    };
    let bench = bench
        .restart_after(changed(concat!(
            "INSERT INTO quarantine (box, lane, chain, seq, code, why, program, noticed_us) ",
            "SELECT box, lane, chain, seq, 'frame.sealed', '', '",
            env!("CARGO_PKG_VERSION"),
            "', 0 FROM records WHERE kind = 'acquisition-started'"
        )))
        .await;
    until("the frame to be filed after all", || async {
        let told = bench.asked(json!({"verb": "records-quarantine"})).await;
        (told["ok"]["total"] == 0).then_some(())
    })
    .await;
    let bench = bench
        .restart_after(changed(concat!(
            "UPDATE records SET bytes = zeroblob(length(bytes)) WHERE kind = 'assessment' ",
            "AND first = (SELECT min(first) FROM records WHERE kind = 'assessment')"
        )))
        .await;
    let told = explained(&bench, &id).await;
    assert_eq!(told["recomputed"]["same"], Value::Null, "{told:#}");
    let why = told["recomputed"]["why"].as_str().unwrap();
    assert!(why.contains("damaged"), "{why}");
    assert_eq!(told["rule"], "af-suspected");
    bench.gateway.stop().await;
}
