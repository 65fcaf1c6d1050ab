//! An alert on its way to the people on duty, over real mail and HTTPS on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

#[path = "support/post.rs"]
mod post;
mod support;
#[path = "support/visit.rs"]
#[allow(dead_code, reason = "other test files use the rest")]
mod visit;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cardio_core::clock::{Clock as _, ManualClock};
use cardio_gateway::clock::SystemClock;
use cardio_wire::lane::Lane;
use post::Post;
use ring::hmac;
use serde_json::{Value, json};
use support::{Bench, Client, Fhir, until};
use visit::Visit;

const PATIENT: &str = "p-test-1";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// People who are always on duty, `a` first, who has a mail address, and `b` a program.
fn duty(dir: &Path, post: &Post, mail: &str) -> String {
    let roster = format!(
        r#"
        schema = "duty/1"
        time_zone = "Europe/Paris"
        [[person]]
        who = "PractitionerRole/a"
        mail = "{mail}@cardio.example"
        [[person]]
        who = "PractitionerRole/b"
        webhook = "https://127.0.0.1:{}/alerts"
        [[shift]]
        days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        from = "00:00"
        to = "24:00"
        people = ["PractitionerRole/a", "PractitionerRole/b"]
        [outside]
        people = []
        least_priority = "high"
        [escalation]
        high = "5 min"
        medium = "30 min"
        low = "2 h"
        rounds = 1
        "#,
        post.web
    );
    std::fs::write(dir.join("duty.toml"), roster).unwrap();
    std::fs::write(dir.join("secret"), SECRET).unwrap();
    let dir = dir.display();
    format!(
        r#"
        [alerts]
        duty = "{dir}/duty.toml"
        [delivery]
        link = "https://cardio.example/alerts"
        [delivery.mail]
        server = "127.0.0.1:{}"
        from = "Cardio <alertes@cardio.example>"
        ca = "{dir}/post-ca.pem"
        [delivery.webhook]
        secret_file = "{dir}/secret"
        ca = "{dir}/post-ca.pem"
        "#,
        post.mail
    )
}

struct Stage {
    bench: Bench,
    post: Post,
    clock: Arc<ManualClock>,
}

impl Stage {
    async fn open(mail: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let post = Post::open(&dir.path().join("post-ca.pem")).await;
        let clock = Arc::new(ManualClock::at(SystemClock::new().read()));
        let more = duty(dir.path(), &post, mail);
        let bench = Bench::start_in(dir, more, clock.clone()).await;
        Self { bench, post, clock }
    }

    /// Raises one alert: the signal of a recording is insufficient for a minute.
    async fn raise(&self) -> Value {
        let mut of = self.bench.enrol("FR75-012").await;
        let mut client = Client::connect(&self.bench, &of).await;
        let (routine, alert) = Visit::new().insufficient(Some(PATIENT), 60);
        client.send_all(&mut of, Lane::Routine, &routine).await;
        client.send_all(&mut of, Lane::Alert, &alert).await;
        until("an alert", || self.alert()).await
    }

    async fn alert(&self) -> Option<Value> {
        let listed = self.bench.asked(json!({"verb": "alerts-list"})).await;
        let alerts = listed["ok"]["alerts"].as_array().unwrap();
        alerts
            .iter()
            .find(|one| one["rule"] == "quality-insufficient")
            .cloned()
    }

    async fn wait_for_stage(&self, stage: &str) {
        until(stage, || async {
            (self.alert().await?["stage"] == stage).then_some(())
        })
        .await;
    }

    /// The message of the alert to a person, or to the duty.
    async fn communication(&self, to: &str) -> Value {
        let all = self.bench.fhir().all("/fhir/Communication").await;
        let reference = format!("PractitionerRole/{to}");
        all.into_iter()
            .find(|one| one["recipient"][0]["reference"] == reference)
            .unwrap()
    }

    /// Waits until the task says that so many seconds are left to take it.
    async fn wait_for_time_left(&self, seconds: i64) {
        until("the end of the task's time", || async {
            let task = self.task().await;
            let end = task["restriction"]["period"]["end"].as_str()?;
            let end = end.parse::<jiff::Timestamp>().unwrap().as_millisecond();
            let now = self.clock.read().utc.0.div_euclid(1_000);
            (end - now == seconds * 1_000).then_some(())
        })
        .await;
    }

    async fn task(&self) -> Value {
        self.bench.fhir().all("/fhir/Task").await.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_mailed_passed_on_taken_by_a_named_person_and_closed() {
    let stage = Stage::open("a").await;
    let alert = stage.raise().await;
    let id = alert["id"].as_str().unwrap().to_owned();
    stage.wait_for_stage("delivered").await;
    let mails = stage.post.mails();
    assert_eq!(mails.len(), 1);
    let link = format!("https://cardio.example/alerts/{id}");
    assert!(mails[0].contains(&link), "{}", mails[0]);
    let found = alert["text_en"].as_str().unwrap();
    for secret in [PATIENT, found, "quality", "FR75-012"] {
        assert!(!mails[0].contains(secret), "{secret} in {}", mails[0]);
    }
    let whole = stage.communication("cardiologist-on-duty").await;
    let told = stage.communication("a").await;
    assert!(told["received"].is_string() && told["status"] == "completed");
    let part_of = format!("Communication/{}", whole["id"].as_str().unwrap());
    assert_eq!(told["partOf"][0]["reference"], part_of);
    stage.wait_for_time_left(2 * 3_600).await;

    // Who opens it has the time of its priority again.
    stage.clock.advance_micros(3_600_000_000);
    stage.wait_for_time_left(3_600).await;
    let seen = json!({"verb": "alerts-seen", "id": id, "by": "PractitionerRole/a"});
    assert_eq!(stage.bench.asked(seen).await["ok"]["id"], json!(id));
    stage.wait_for_stage("seen").await;
    stage.wait_for_time_left(2 * 3_600).await;
    assert!(stage.post.posts().is_empty());
    stage.clock.advance_micros(2 * 3_600_000_000);
    stage.wait_for_stage("escalated").await;
    let posts = until("the webhook", || async {
        let posts = stage.post.posts();
        (!posts.is_empty()).then_some(posts)
    })
    .await;
    until("the webhook to be noted", || async {
        let b = stage.communication("b").await;
        (b["status"] == "completed").then_some(())
    })
    .await;
    let (headers, body) = &posts[0];
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let signature = header("x-cardio-signature");
    let (at, tag) = signature.split_once(",v1=").unwrap();
    let signed = [at.strip_prefix("t=").unwrap().as_bytes(), b".", body].concat();
    let want = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), &signed);
    let want: String = want.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(tag, want);
    let notice: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(notice["alert"], json!(id));
    assert_eq!(notice["recipient"], "PractitionerRole/b");

    let by = "PractitionerRole/b";
    let taken = stage
        .bench
        .asked(json!({"verb": "alerts-acknowledge", "id": id[..8], "by": by}))
        .await;
    assert_eq!(taken["ok"]["id"], json!(id));
    let late = json!({"verb": "alerts-acknowledge", "id": id, "by": "PractitionerRole/a"});
    assert_eq!(
        stage.bench.asked(late).await["error"]["code"],
        "alert.taken"
    );
    assert_eq!(stage.task().await["owner"]["reference"], by);
    let close = json!({"verb": "alerts-close", "id": id, "by": by, "reason": "care-given",
        "note": "vue avec l'infirmière"});
    assert_eq!(stage.bench.asked(close).await["ok"]["id"], json!(id));
    let task = stage.task().await;
    assert_eq!(task["status"], "completed");
    assert_eq!(task["statusReason"]["coding"][0]["code"], "care-given");

    let asked = json!({"verb": "alerts-explain", "id": id});
    let explained = &stage.bench.asked(asked).await["ok"];
    assert_eq!(explained["rule"], "quality-insufficient");
    assert!(explained["evidence"]["seconds"].as_f64().unwrap() >= 30.0);
    let life: Vec<&str> = explained["life"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["step"]["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        life,
        [
            "told",
            "delivered",
            "seen",
            "told",
            "delivered",
            "acknowledged",
            "closed"
        ]
    );
    stage.bench.gateway.stop().await;
}

/// Somebody with an account that sees every patient, and a token.
async fn account(stage: &Stage, name: &str, role: &str, person: Option<&str>) -> Fhir {
    let account = json!({"name": name, "role": role, "practitioner": person,
        "all_patients": true, "teams": []});
    let added = json!({"verb": "accounts-add", "account": account, "password": null});
    assert!(stage.bench.asked(added).await["error"].is_null());
    let token = json!({"verb": "accounts-token", "name": name, "label": "test", "role": null,
        "days": 1});
    let made = stage.bench.asked(token).await;
    let fhir = stage.bench.fhir();
    fhir.with_token(made["ok"]["token"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cardiologist_takes_an_alert_over_https_in_their_own_name_only() {
    let stage = Stage::open("a").await;
    stage.raise().await;
    stage.wait_for_stage("delivered").await;
    let task = stage.task().await;
    let address = |verb: &str| format!("/fhir/Task/{}/${verb}", task["id"].as_str().unwrap());
    let nurse = account(&stage, "nurse", "nurse", Some("Practitioner/n")).await;
    let nobody = account(&stage, "nobody", "cardiologist", None).await;
    let a = account(&stage, "a", "cardiologist", Some("PractitionerRole/a")).await;
    let b = account(&stage, "b", "cardiologist", Some("PractitionerRole/b")).await;
    for other in [&nurse, &nobody] {
        for verb in ["seen", "acknowledge"] {
            let told = other.send("POST", &address(verb), &[], "").await;
            assert_eq!(told.status, 403, "{}", told.body);
        }
    }
    let unknown = a.send("POST", "/fhir/Task/none/$seen", &[], "").await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    assert_eq!(a.send("POST", &address("seen"), &[], "").await.status, 200);
    let taken = a.send("POST", &address("acknowledge"), &[], "").await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert_eq!(taken.body["owner"]["reference"], "PractitionerRole/a");
    let late = b.send("POST", &address("acknowledge"), &[], "").await;
    assert_eq!(late.status, 409, "{}", late.body);

    let with = |parts: Value| json!({"resourceType": "Parameters", "parameter": parts});
    let reason = |code: &str| json!({"name": "reason", "valueCode": code});
    for wrong in [
        with(json!([])),
        with(json!([reason("bored")])),
        with(json!([reason("care-given"), reason("other")])),
        with(json!([reason("care-given"), {"name": "note", "valueString": " "}])),
        json!({"resourceType": "Patient"}),
    ] {
        let told = a.write("POST", &address("close"), &[], &wrong).await;
        assert_eq!(told.status, 400, "{}", told.body);
    }
    let note = json!({"name": "note", "valueString": "vue avec l'infirmière"});
    let right = with(json!([reason("care-given"), note]));
    let closed = a.write("POST", &address("close"), &[], &right).await;
    assert_eq!(
        (closed.status, &closed.body["status"]),
        (200, &json!("completed"))
    );
    let again = a.send("POST", &address("acknowledge"), &[], "").await;
    assert_eq!(again.status, 409, "{}", again.body);
    stage.bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_is_passed_over_and_the_record_says_so() {
    let stage = Stage::open("nobody").await;
    stage.raise().await;
    until("the next person's notice", || async {
        (!stage.post.posts().is_empty()).then_some(())
    })
    .await;
    until("the record of both", || async {
        let (a, b) = (
            stage.communication("a").await,
            stage.communication("b").await,
        );
        (a["status"] == "not-done" && b["status"] == "completed").then_some(())
    })
    .await;
    let unknown = json!({"verb": "alerts-close", "id": "00000000", "by": "PractitionerRole/a",
        "reason": "duplicate", "note": null});
    assert_eq!(
        stage.bench.asked(unknown).await["error"]["code"],
        "alert.unknown"
    );
    let nobody = json!({"verb": "alerts-acknowledge", "id": "0", "by": "a"});
    assert_eq!(
        stage.bench.asked(nobody).await["error"]["code"],
        "alert.person"
    );
    stage.bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_did_not_arrive_is_late_news_and_arrives_after_a_restart() {
    let mut stage = Stage::open("nobody").await;
    stage.post.status.store(503, Ordering::SeqCst);
    stage.raise().await;
    until("a first try", || async {
        (!stage.post.posts().is_empty()).then_some(())
    })
    .await;
    // Nobody has it for a quarter of an hour: that is an alert in its turn.
    stage.clock.advance_micros(16 * 60_000_000);
    stage.bench = stage.bench.restart_at(stage.clock.clone()).await;
    until("an alert about the message", || async {
        let listed = stage.bench.asked(json!({"verb": "alerts-list"})).await;
        let alerts = listed["ok"]["alerts"].as_array().unwrap().clone();
        alerts
            .iter()
            .any(|one| one["rule"] == "delivery-unconfirmed")
            .then_some(())
    })
    .await;
    stage.post.status.store(200, Ordering::SeqCst);
    until("the message", || async {
        // A try that was under way may fail yet, and the next one is minutes later.
        stage.clock.advance_micros(6 * 60_000_000);
        let b = stage.communication("b").await;
        (b["status"] == "completed").then_some(())
    })
    .await;
    stage.bench.gateway.stop().await;
}
