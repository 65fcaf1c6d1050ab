//! Another FHIR server that holds the record too, and misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cardio_gateway::clock::SystemClock;

use super::support::DEADLINE;
use super::support::other::Other;
use super::*;

async fn pushing(other: &Other, more: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock::new());
    Bench::start_in(dir, other.config(more), clock).await
}

async fn write(fhir: &Fhir, id: &str, number: &str) {
    let path = format!("/fhir/Patient/{id}");
    fhir.write("PUT", &path, &[], &patient(id, number)).await;
}

/// Waits until the standing of the other server is as it should be.
async fn standing(bench: &Bench, is_so: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let told = bench.asked(json!({"verb": "push-list"})).await;
            let one = told["ok"]["push"][0].clone();
            if is_so(&one) {
                return one;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap()
}

fn is_level(one: &Value) -> bool {
    one["behind"] == 0 && one["refused"] == 0
}

/// Address and number of each version that it took.
fn told(other: &Other) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let taken = other.taken();
    taken
        .iter()
        .map(|one| (text(&one["id"]), text(&one["identifier"][0]["value"])))
        .collect()
}

fn versions(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(id, number)| ((*id).to_owned(), (*number).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_gets_every_version_in_order_through_outages_and_stops() {
    let other = Other::open().await;
    other.wants("open-sesame");
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "open-sesame\n").unwrap();
    let more = other.config(&format!("token_file = \"{}\"\n", token.display()));
    let bench = Bench::start_in(dir, more, Arc::new(SystemClock::new())).await;
    let fhir = bench.fhir();
    // It is away, overloaded, and breaks down, before it takes anything.
    other.answers(&[503, 429]);
    write(&fhir, "a", "1").await;
    write(&fhir, "b", "1").await;
    write(&fhir, "a", "2").await;
    let one = standing(&bench, is_level).await;
    assert!(one["failure"].is_null() && one["failing_since_us"].is_null());
    assert_eq!(
        told(&other),
        versions(&[("a", "1"), ("b", "1"), ("a", "2")])
    );
    assert!(
        other
            .taken()
            .iter()
            .all(|one| one["meta"]["versionId"].is_null())
    );

    let bench = bench.restart().await;
    let fhir = bench.fhir();
    write(&fhir, "b", "2").await;
    standing(&bench, is_level).await;
    assert_eq!(told(&other).len(), 4, "nothing is sent twice for a stop");
    assert_eq!(told(&other)[3], ("b".to_owned(), "2".to_owned()));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_refuses_is_in_sight_and_holds_up_nothing() {
    let other = Other::open().await;
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    other.refuses(move |one| {
        (one["id"] == "bad" && !is_mended.load(Ordering::SeqCst)).then_some(422)
    });
    let bench = pushing(&other, "").await;
    let fhir = bench.fhir();
    let entry = |id: &str| {
        json!({
            "resource": patient(id, "1"), "fullUrl": format!("urn:team:{id}"),
            "request": {"method": "PUT", "url": format!("Patient/{id}")},
        })
    };
    let entries = ["a", "b", "bad", "c", "d"].map(entry);
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let answer = fhir.write("POST", "/fhir", &[], &bundle).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let one = standing(&bench, |one| one["behind"] == 0).await;
    assert_eq!(one["refused"], 1);
    assert_eq!(one["refusals"][0]["resource"], "Patient/bad");
    let why = one["refusals"][0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("422 ") && why.contains("so it was asked to say"),
        "{why}"
    );
    let ones = |ids: &[&str]| {
        ids.iter()
            .map(|id| ((*id).to_owned(), "1".to_owned()))
            .collect()
    };
    let expected: Vec<(String, String)> = ones(&["a", "b", "c", "d"]);
    assert_eq!(told(&other), expected);
    let status = bench.asked(json!({"verb": "status"})).await;
    assert_eq!(status["ok"]["verdict"], "DEGRADED");

    mended.store(true, Ordering::SeqCst);
    let retried = bench
        .asked(json!({"verb": "push-retry", "name": "other"}))
        .await;
    assert_eq!(retried["ok"]["known"], true);
    standing(&bench, is_level).await;
    assert_eq!(told(&other).last().unwrap().0, "bad");
    let status = bench.asked(json!({"verb": "status"})).await;
    assert_eq!(status["ok"]["verdict"], "RECEIVING");
    let unknown = bench
        .asked(json!({"verb": "push-retry", "name": "nobody"}))
        .await;
    assert_eq!(unknown["ok"]["known"], false);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lets_nobody_in_is_waited_for_and_loses_nothing() {
    let other = Other::open().await;
    other.wants("another token");
    let bench = pushing(&other, "batch = 2\n").await;
    let fhir = bench.fhir();
    for id in ["a", "b", "c"] {
        write(&fhir, id, "1").await;
    }
    let one = standing(&bench, |one| one["failure"].is_string()).await;
    assert!(
        one["failure"].as_str().unwrap().starts_with("401 "),
        "{one}"
    );
    assert_eq!((&one["behind"], &one["refused"]), (&json!(3), &json!(0)));
    assert!(one["failing_since_us"].is_i64());
    assert!(other.taken().is_empty());
    other.lets_in();
    bench
        .asked(json!({"verb": "push-retry", "name": "other"}))
        .await;
    let one = standing(&bench, is_level).await;
    assert!(one["failing_since_us"].is_null());
    assert_eq!(
        told(&other),
        versions(&[("a", "1"), ("b", "1"), ("c", "1")])
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_came_together_travel_together() {
    let other = Other::open().await;
    let bench = pushing(&other, "batch = 3\n").await;
    let fhir = bench.fhir();
    let all: Vec<Value> = (0..7)
        .map(|n| {
            let id = format!("p{n}");
            json!({"resource": patient(&id, "1"), "fullUrl": format!("urn:team:{id}"),
                "request": {"method": "PUT", "url": format!("Patient/{id}")}})
        })
        .collect();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": all});
    fhir.write("POST", "/fhir", &[], &bundle).await;
    standing(&bench, is_level).await;
    assert_eq!(other.groups(), [3, 3, 1]);
    bench.gateway.stop().await;
}
