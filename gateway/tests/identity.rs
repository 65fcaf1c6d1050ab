//! Identities are corrected while exams arrive: nothing is lost, nothing stays with the wrong
//! patient, and the history says what was.

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
#[path = "support/worklist.rs"]
mod worklist;

use cardio_wire::lane::Lane;
use cardio_wire::record::Record;
use serde_json::{Value, json};
use support::{Bench, Client, Fhir, TestBox, until};
use visit::{RATE, Visit};

async fn send_all(client: &mut Client, of: &mut TestBox, lane: Lane, records: &[Record]) {
    for record in records {
        let frame = of.frame(lane, record);
        let packet = client.publish_frame(of, lane, frame).await;
        client.puback(packet).await;
    }
}

async fn write_patients(fhir: &Fhir, ids: &[&str]) {
    for id in ids {
        let patient =
            json!({"resourceType": "Patient", "id": id, "active": true, "gender": "unknown"});
        let told = fhir
            .write("PUT", &format!("/fhir/Patient/{id}"), &[], &patient)
            .await;
        assert_eq!(told.status, 201, "{}", told.body);
    }
}

async fn filed(fhir: &Fhir, patient: &str) -> usize {
    let mut all = 0;
    for kind in [
        "Observation",
        "DiagnosticReport",
        "DocumentReference",
        "DetectedIssue",
        "Communication",
        "Task",
        "ServiceRequest",
    ] {
        all += fhir
            .all(&format!("/fhir/{kind}?patient={patient}"))
            .await
            .len();
    }
    all
}

/// A visit whose quality is bad enough for an alert, up to a second.
fn visit(visit: &mut Visit, patient: &str, from: u64, to: u64) -> (Vec<Record>, Vec<Record>) {
    let mut routine = Vec::new();
    let mut alert = Vec::new();
    if from == 0 {
        routine.push(visit.started(Some(patient)));
    }
    for second in from..to {
        routine.push(visit.segment(second * RATE, RATE));
        if second >= 9 {
            let mut window = visit.assessment((second - 9) * RATE, 10 * RATE, 72.0);
            if let Record::Assessment(window) = &mut window {
                window.quality.overall.verdict = cardio_core::quality::QualityVerdict::Insufficient;
                window.heart_rate.bpm = None;
                window.heart_rate.undetermined = Some("noise".to_owned());
            }
            alert.push(window);
        }
    }
    (routine, alert)
}

fn merge_of(source: &str, target: &str) -> Value {
    json!({"resourceType": "Parameters", "parameter": [
        {"name": "source-patient", "valueReference": {"reference": format!("Patient/{source}")}},
        {"name": "target-patient", "valueReference": {"reference": format!("Patient/{target}")}},
        {"name": "by", "valueString": "identity desk"},
        {"name": "why", "valueString": "the same person, written twice"},
    ]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_records_of_one_patient_become_one_while_an_exam_arrives() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    write_patients(&fhir, &["old", "new", "third"]).await;
    let order = json!({"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": {"reference": "Patient/old"}});
    assert_eq!(
        fhir.write("POST", "/fhir/ServiceRequest", &[], &order)
            .await
            .status,
        201
    );
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut maker = Visit::new();
    let (routine, alert) = visit(&mut maker, "old", 0, 80);
    send_all(&mut client, &mut of, Lane::Routine, &routine).await;
    send_all(&mut client, &mut of, Lane::Alert, &alert).await;
    until("an alert", || async {
        (!fhir.all("/fhir/Task?patient=old").await.is_empty()).then_some(())
    })
    .await;

    let told = fhir
        .write("POST", "/fhir/Patient/$merge", &[], &merge_of("old", "new"))
        .await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(filed(&fhir, "old").await, 0);
    let (_, old) = fhir.get("/fhir/Patient/old").await;
    assert_eq!(
        (&old["active"], &old["link"][0]["type"]),
        (&json!(false), &json!("replaced-by"))
    );
    let (_, new) = fhir.get("/fhir/Patient/new").await;
    assert_eq!(
        new["link"][0],
        json!({"other": {"reference": "Patient/old"}, "type": "replaces"})
    );
    let (_, before) = fhir.get("/fhir/Patient/old/_history/1").await;
    assert_eq!(before["active"], true);

    // The box knows nothing of it: what follows, and the whole visit sent again, is filed right.
    let before = filed(&fhir, "new").await;
    let (routine, alert) = visit(&mut maker, "old", 80, 100);
    send_all(&mut client, &mut of, Lane::Routine, &routine).await;
    send_all(&mut client, &mut of, Lane::Alert, &alert).await;
    until("the rest of the exam", || async {
        (filed(&fhir, "new").await >= before + 4).then_some(())
    })
    .await;
    assert_eq!(filed(&fhir, "old").await, 0);
    let listed = bench.asked(json!({"verb": "alerts-list"})).await;
    assert!(
        listed["ok"]["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["subject"] == "new")
    );

    // Again is nothing; the survivor may be merged in turn, and what was merged follows.
    let told = fhir
        .write("POST", "/fhir/Patient/$merge", &[], &merge_of("old", "new"))
        .await;
    let said = told.body["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(
        told.status == 200 && said.contains("nothing was changed"),
        "{said}"
    );
    for (source, target, status) in [
        ("new", "old", 409),
        ("old", "third", 409),
        ("new", "none", 422),
        ("new", "new", 422),
    ] {
        let told = fhir
            .write(
                "POST",
                "/fhir/Patient/$merge",
                &[],
                &merge_of(source, target),
            )
            .await;
        assert_eq!(told.status, status, "{}", told.body);
    }
    let told = fhir
        .write(
            "PUT",
            "/fhir/Patient/old",
            &[],
            &json!({"resourceType": "Patient", "id": "old"}),
        )
        .await;
    assert_eq!(told.status, 409, "{}", told.body);
    let told = fhir
        .write(
            "PUT",
            "/fhir/Patient/new",
            &[],
            &json!({"resourceType": "Patient", "id": "new"}),
        )
        .await;
    assert_eq!(told.status, 422, "{}", told.body);
    let answer = bench
        .asked(json!({"verb": "records-merge", "patient": "new", "into": "third", "by": "desk", "why": "the same"}))
        .await;
    assert_eq!(answer["ok"]["acquisitions"], 1, "{answer}");
    let moved = fhir
        .write("POST", "/fhir/ServiceRequest", &[], &order)
        .await;
    assert_eq!(moved.body["subject"]["reference"], "Patient/third");
    assert_eq!(
        (filed(&fhir, "old").await, filed(&fhir, "new").await),
        (0, 0)
    );
    let said = fhir.all("/fhir/Provenance?target=Patient/third").await;
    assert_eq!(said[0]["reason"][0]["text"], "the same");
    let bench = bench.restart().await;
    assert_eq!(filed(&bench.fhir(), "old").await, 0);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exam_of_the_wrong_patient_moves_with_all_that_was_made_of_it() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    write_patients(&fhir, &["wrong", "right"]).await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let (routine, alert) = visit(&mut Visit::new(), "wrong", 0, 90);
    send_all(&mut client, &mut of, Lane::Routine, &routine).await;
    send_all(&mut client, &mut of, Lane::Alert, &alert).await;
    until("an alert and every window", || async {
        let alerts = fhir.all("/fhir/Task?patient=wrong").await.len();
        let all = routine.len() + alert.len();
        let status = bench.asked(json!({"verb": "status"})).await;
        let record = &status["ok"]["record"];
        let written = record["records"] == all && record["reports_due"] == 0;
        (alerts > 0 && written).then_some(())
    })
    .await;
    let before = filed(&fhir, "wrong").await;
    let found = bench
        .asked(json!({"verb": "records-find", "patient": "wrong"}))
        .await;
    let acquisition = found["ok"]["acquisitions"][0]["acquisition"].clone();
    let assign = |patient: &str| json!({"verb": "records-assign", "acquisition": acquisition, "patient": patient, "by": "desk", "why": "the label was another's"});
    for (patient, code) in [("none", "identity.no-patient"), ("a b", "subject.invalid")] {
        let answer = bench.asked(assign(patient)).await;
        assert!(answer["error"]["code"].is_string(), "{code}: {answer}");
    }
    let answer = bench.asked(assign("right")).await;
    assert_eq!(answer["ok"]["acquisitions"], 1, "{answer}");
    assert_eq!(
        (filed(&fhir, "wrong").await, filed(&fhir, "right").await),
        (0, before)
    );
    let report = &fhir.all("/fhir/DiagnosticReport?patient=right").await[0];
    let id = report["id"].as_str().unwrap();
    let (_, was) = fhir
        .get(&format!("/fhir/DiagnosticReport/{id}/_history/1"))
        .await;
    assert_eq!(was["subject"]["reference"], "Patient/wrong");
    let said = fhir
        .all(&format!("/fhir/Provenance?target=DiagnosticReport/{id}"))
        .await;
    assert!(
        said.iter()
            .any(|one| one["entity"][0]["what"]["reference"] == "Patient/wrong")
    );
    let again = bench.asked(assign("right")).await;
    assert_eq!(again["ok"]["provenance"], Value::Null);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exam_without_a_request_is_an_orphan_until_a_person_names_it() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    write_patients(&fhir, &["p1", "p2"]).await;
    for (id, patient, status) in [
        ("mine", "p1", "active"),
        ("gone", "p1", "revoked"),
        ("other", "p2", "active"),
    ] {
        let order = json!({"resourceType": "ServiceRequest", "id": id, "status": status, "intent": "order", "subject": {"reference": format!("Patient/{patient}")}});
        let told = fhir
            .write("PUT", &format!("/fhir/ServiceRequest/{id}"), &[], &order)
            .await;
        assert_eq!(told.status, 201, "{}", told.body);
    }
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut maker = Visit::new();
    let (routine, _) = visit(&mut maker, "p1", 0, 12);
    send_all(&mut client, &mut of, Lane::Routine, &routine).await;
    let orphans = || async {
        let asked = json!({"verb": "records-orphans"});
        let told = bench.asked(asked).await;
        told["ok"]["acquisitions"].as_array().unwrap().clone()
    };
    let orphan = until("the exam", || async { orphans().await.pop() }).await;
    let acquisition = orphan["acquisition"].as_str().unwrap().to_owned();
    let name = |request: &str| {
        bench.asked(json!({"verb": "records-request", "acquisition": acquisition, "request": request, "by": "desk", "why": "asked by phone"}))
    };
    for (request, code) in [
        ("none", "identity.no-request"),
        ("gone", "identity.request-status"),
        ("other", "identity.request-of-another"),
    ] {
        let told = name(request).await;
        assert_eq!(told["error"]["code"], code, "{told}");
    }
    assert_eq!(orphans().await.len(), 1);

    let told = name("mine").await;
    let provenance = told["ok"]["provenance"].as_str().unwrap();
    let (_, why) = fhir.get(&format!("/fhir/Provenance/{provenance}")).await;
    assert_eq!(why["entity"][0]["what"]["reference"], "ServiceRequest/mine");
    assert_eq!(orphans().await, Vec::<Value>::new());
    assert!(name("mine").await["ok"]["provenance"].is_null());
    // The exam goes on, ends, and keeps its request.
    let mut rest = visit(&mut maker, "p1", 12, 20).0;
    rest.push(maker.ended(20 * RATE));
    send_all(&mut client, &mut of, Lane::Routine, &rest).await;
    let path = "/fhir/DiagnosticReport?based-on=ServiceRequest/mine";
    until("the report of the whole exam", || async {
        let found = fhir.all(path).await;
        (found.len() == 1 && found[0]["status"] == "preliminary").then_some(())
    })
    .await;

    // It was of somebody else: what was asked for the first patient is not its request.
    let assigned = bench
        .asked(json!({"verb": "records-assign", "acquisition": acquisition, "patient": "p2", "by": "desk", "why": "wrong patient"}))
        .await;
    assert_eq!(assigned["ok"]["acquisitions"], 1, "{assigned}");
    assert_eq!(orphans().await.len(), 1);
    assert!(fhir.all(path).await.is_empty());
    bench.gateway.stop().await;
}
