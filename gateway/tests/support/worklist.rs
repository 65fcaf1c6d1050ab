//! The visits of the day, from a request in the record to a box, and an exam back to its request.

use std::sync::Arc;

use cardio_core::clock::{Clock as _, ClockReading, ManualClock, UtcMicros};
use cardio_core::request::RequestRef;
use cardio_gateway::clock::SystemClock;
use cardio_wire::keys::RecipientSecretKey;
use cardio_wire::lane::Lane;
use cardio_wire::message::{Command, CommandAction};
use cardio_wire::record::Record;
use cardio_wire::topic::Topic;
use cardio_wire::visits::VisitList;
use ring::rand::SystemRandom;
use rumqttc::mqttbytes::v5::Packet;
use serde_json::{Value, json};

use crate::send_all;
use crate::support::{Bench, Client, Fhir, TestBox, until};
use crate::visit::{RATE, Visit};

const DAY_US: i64 = 24 * 3_600_000_000;

/// A box that listens for visits.
struct Nurse {
    of: TestBox,
    client: Client,
    key: RecipientSecretKey,
    heard: u64,
}

impl Nurse {
    /// A program that has just started on the box.
    async fn start(bench: &Bench, mut of: TestBox) -> Self {
        let key = RecipientSecretKey::generate(&SystemRandom::new()).unwrap();
        of.visits_key = Some(key.public());
        let mut client = Client::connect(bench, &of).await;
        let hello = of.hello(now(), 1, 0);
        let topic = Topic::UpHello(of.id).to_string();
        client.publish(&topic, hello).await;
        Self {
            of,
            client,
            key,
            heard: 0,
        }
    }

    /// The next list; its number is higher than all before.
    async fn list(&mut self) -> VisitList {
        let topic = Topic::DownCommand(self.of.id).to_string();
        loop {
            let packet = self.client.next().await.expect("the connection stays");
            let Packet::Publish(publish) = packet else {
                continue;
            };
            self.client.answer(&publish).await;
            if publish.topic != topic {
                continue;
            }
            let command = Command::verify(&publish.payload, &self.of.control).unwrap();
            assert_eq!(command.device, self.of.id);
            assert!(command.number > self.heard && command.expires > now().utc);
            self.heard = command.number;
            if let CommandAction::Visits(sealed) = command.action {
                return sealed.open(self.of.id, &self.key).unwrap();
            }
        }
    }

    /// Waits for the list that has these requests and no others.
    async fn has(&mut self, requests: &[&str]) -> VisitList {
        loop {
            let list = self.list().await;
            let mut found: Vec<&str> = list.visits.iter().map(|v| v.request.as_str()).collect();
            found.sort_unstable();
            if found == requests {
                return list;
            }
        }
    }
}

fn now() -> ClockReading {
    SystemClock::new().read()
}

/// A day that is so many days from now, as a date of UTC.
fn date(days: i64) -> String {
    let at = UtcMicros(now().utc.0 + days * DAY_US);
    cardio_gateway::clock::rfc3339(at)[..10].to_owned()
}

/// From the day before yesterday to the day after tomorrow: midnight may pass meanwhile.
fn order(patient: &str, status: &str) -> Value {
    json!({
        "resourceType": "ServiceRequest", "status": status, "intent": "order",
        "subject": {"reference": patient}, "code": {"text": "ECG 12 dérivations"},
        "occurrencePeriod": {"start": date(-2), "end": date(2)},
    })
}

fn patient(team: &str, family: &str) -> Value {
    json!({
        "resourceType": "Patient", "active": true, "gender": "unknown", "birthDate": "1950-01-31",
        "name": [{"use": "official", "family": family, "given": ["Visite"]}],
        "managingOrganization": {"reference": team},
    })
}

async fn put(fhir: &Fhir, kind: &str, id: &str, mut resource: Value) {
    resource["id"] = json!(id);
    resource["resourceType"] = json!(kind);
    let told = fhir
        .write("PUT", &format!("/fhir/{kind}/{id}"), &[], &resource)
        .await;
    assert!([200, 201].contains(&told.status), "{}", told.body);
}

/// Two teams with a patient each, and a box with its team.
async fn teams(bench: &Bench, fhir: &Fhir, boxes: &[(&str, &str)]) -> Vec<TestBox> {
    for (team, family) in [("one", "ESSAI-UN"), ("two", "ESSAI-DEUX")] {
        put(fhir, "Organization", team, json!({"name": team})).await;
        let of = patient(&format!("Organization/{team}"), family);
        put(fhir, "Patient", &format!("p-{team}"), of).await;
    }
    let mut enrolled = Vec::new();
    for (name, team) in boxes {
        enrolled.push(bench.enrol(name).await);
        let told = set_team(bench, name, &format!("Organization/{team}")).await;
        assert_eq!(told["ok"]["name"], **name, "{told}");
    }
    enrolled
}

/// A request for the patient of each team: `r1` and `r2`.
async fn one_visit_of_each_team(fhir: &Fhir) {
    for (id, patient) in [("r1", "Patient/p-one"), ("r2", "Patient/p-two")] {
        put(fhir, "ServiceRequest", id, order(patient, "active")).await;
    }
}

async fn set_team(bench: &Bench, name: &str, team: &str) -> Value {
    bench
        .asked(json!({"verb": "boxes-team", "name": name, "team": team}))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_box_of_a_team_is_told_its_visits_and_that_one_was_cancelled() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let boxes = [("A", "one"), ("B", "one"), ("C", "two")];
    let mut boxes = teams(&bench, &fhir, &boxes).await.into_iter();
    one_visit_of_each_team(&fhir).await;
    let mut old = order("Patient/p-one", "active");
    old["occurrencePeriod"] = json!({"start": date(-20), "end": date(-10)});
    put(&fhir, "ServiceRequest", "old", old).await;
    let mut plan = order("Patient/p-one", "active");
    plan["intent"] = json!("plan");
    put(&fhir, "ServiceRequest", "plan", plan).await;

    let mut a = Nurse::start(&bench, boxes.next().unwrap()).await;
    let mut b = Nurse::start(&bench, boxes.next().unwrap()).await;
    let mut c = Nurse::start(&bench, boxes.next().unwrap()).await;
    let list = a.has(&["r1"]).await;
    assert_eq!(list.visits[0].subject.as_str(), "p-one");
    assert_eq!(*list.visits[0].name, "ESSAI-UN Visite");
    assert_eq!(
        list.visits[0].what.as_ref().unwrap().as_str(),
        "ECG 12 dérivations"
    );
    assert!(list.issued < list.until && list.until.0 - list.issued.0 <= 25 * DAY_US / 24);
    b.has(&["r1"]).await;
    assert_eq!(*c.has(&["r2"]).await.visits[0].name, "ESSAI-DEUX Visite");

    // A transaction makes a patient and their request at once.
    let person = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a";
    let entry = |kind: &str, resource: Value| json!({"resource": resource, "fullUrl": if kind == "Patient" { person } else { "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0" }, "request": {"method": "POST", "url": kind}});
    let new = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry("Patient", patient("Organization/one", "ESSAI-TROIS")),
        entry("ServiceRequest", order(person, "active")),
    ]});
    let told = fhir
        .write(
            "POST",
            "/fhir",
            &[("Prefer", "return=representation")],
            &new,
        )
        .await;
    let made = told.body["entry"][1]["resource"]["id"].as_str().unwrap();
    let mut both = [made, "r1"];
    both.sort_unstable();
    for nurse in [&mut a, &mut b] {
        let list = nurse.has(&both).await;
        assert!(
            list.visits
                .iter()
                .any(|visit| *visit.name == "ESSAI-TROIS Visite")
        );
    }
    put(
        &fhir,
        "ServiceRequest",
        "r1",
        order("Patient/p-one", "revoked"),
    )
    .await;
    a.has(&[made]).await;
    b.has(&[made]).await;

    // A program that starts anew holds another key; the old one opens nothing of the new list.
    let before = a.key;
    let mut a = Nurse::start(&bench, a.of).await;
    assert_ne!(before.public(), a.key.public());
    a.has(&[made]).await;
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_changes_its_team_forgets_the_visits_of_the_first() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let of = teams(&bench, &fhir, &[("A", "one")]).await.pop().unwrap();
    one_visit_of_each_team(&fhir).await;
    let mut a = Nurse::start(&bench, of).await;
    a.has(&["r1"]).await;
    let told = set_team(&bench, "A", "Organization/nobody").await;
    assert_eq!(told["error"]["code"], "boxes.team.unknown", "{told}");
    set_team(&bench, "A", "Organization/two").await;
    a.has(&["r2"]).await;
    bench
        .asked(json!({"verb": "boxes-team", "name": "A", "team": null}))
        .await;
    a.has(&[]).await;
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_visits_than_a_list_holds_are_counted() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let of = teams(&bench, &fhir, &[("A", "one")]).await.pop().unwrap();
    let entries: Vec<Value> = (0..103)
        .map(|_| {
            json!({"resource": order("Patient/p-one", "active"), "request": {"method": "POST", "url": "ServiceRequest"}})
        })
        .collect();
    for half in entries.chunks(60) {
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": half});
        let told = fhir.write("POST", "/fhir", &[], &bundle).await;
        assert_eq!(told.status, 200, "{}", told.body);
    }
    let mut a = Nurse::start(&bench, of).await;
    let list = a.list().await;
    assert_eq!((list.visits.len(), list.left_out), (100, 3));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exam_for_a_chosen_visit_is_based_on_its_request() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let mut boxes = teams(&bench, &fhir, &[("A", "one"), ("B", "one")]).await;
    one_visit_of_each_team(&fhir).await;
    // The second box names a request of another patient: a person must look at that exam.
    for (of, request) in boxes.iter_mut().zip(["r1", "r2"]) {
        let mut visit = Visit::new();
        let mut started = visit.started(Some("p-one"));
        if let Record::AcquisitionStarted(started) = &mut started {
            started.acquisition.request = Some(RequestRef::new(request).unwrap());
            if request == "r2" {
                started.acquisition.id.0[15] ^= 1;
            }
        }
        let mut client = Client::connect(&bench, of).await;
        send_all(&mut client, of, Lane::Routine, &[started]).await;
        if request == "r1" {
            let rest = [visit.segment(0, RATE), visit.ended(RATE)];
            send_all(&mut client, of, Lane::Routine, &rest).await;
        }
    }
    let path = "/fhir/DiagnosticReport?based-on=ServiceRequest/r1";
    until("the report", || async {
        let found = fhir.all(path).await;
        (found.len() == 1 && found[0]["status"] == "preliminary").then_some(())
    })
    .await;
    let orphans = until("the exam of no request", || async {
        let told = bench.asked(json!({"verb": "records-orphans"})).await;
        let found = told["ok"]["acquisitions"].as_array().unwrap().clone();
        (found.len() == 1).then_some(found)
    })
    .await;
    assert_eq!(orphans[0]["subject"], "p-one");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_midnight_in_paris_a_box_is_told_the_visits_of_the_next_day() {
    let clock = Arc::new(ManualClock::at(now()));
    let bench = Bench::start_at(clock.clone()).await;
    let fhir = bench.fhir();
    let of = teams(&bench, &fhir, &[("A", "one")]).await.pop().unwrap();
    let mut a = Nurse::start(&bench, of).await;
    let today = a.has(&[]).await;
    for (id, at) in [
        ("today", today.until.0 - 1_000_000),
        ("tomorrow", today.until.0),
    ] {
        let mut order = order("Patient/p-one", "active");
        order.as_object_mut().unwrap().remove("occurrencePeriod");
        order["occurrenceDateTime"] = json!(cardio_gateway::clock::rfc3339(UtcMicros(at)));
        put(&fhir, "ServiceRequest", id, order).await;
    }
    a.has(&["today"]).await;
    let left = u64::try_from(today.until.0 - today.issued.0).unwrap();
    clock.advance_micros(left);
    let mut a = Nurse::start(&bench, a.of).await;
    let next = a.has(&["tomorrow"]).await;
    assert!(next.day > today.day && next.issued == today.until);
    bench.gateway.stop().await;
}
