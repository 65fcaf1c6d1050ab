//! Whatever is done, tried or denied is written down, and can be found and proved.

use super::access::{add, asking, cookie, done, log_in, of_team, two_teams};
use super::*;

/// All events that an admin finds, oldest first.
async fn events(admin: &Fhir, search: &str) -> Vec<Value> {
    admin
        .all(&format!("/fhir/AuditEvent?_sort=date&_count=100{search}"))
        .await
}

fn code<'e>(event: &'e Value, of: &str) -> &'e str {
    event
        .pointer(of)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What an event says, in one line.
fn line(event: &Value) -> String {
    let entities = event["entity"].as_array().into_iter().flatten();
    let about: Vec<&str> = entities
        .map(|one| match one["what"]["reference"].as_str() {
            Some(reference) => reference,
            None => one["name"].as_str().unwrap_or("?"),
        })
        .collect();
    let mut about = about.join(" ");
    if about.len() > 60 {
        about.truncate(60);
    }
    format!(
        "{} {} {} {}: {about}",
        code(event, "/agent/0/altId"),
        code(event, "/type/code"),
        code(event, "/subtype/0/code"),
        code(event, "/outcome"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_is_written_down_with_whom_it_was_about() {
    let bench = Bench::start().await;
    two_teams(&bench).await;
    let admin = asking(&bench, "boss", "admin", &[]).await;
    let nurse = asking(&bench, "nurse", "nurse", &["Organization/team-a"]).await;
    add(
        &bench,
        "guest",
        "nurse",
        &["Organization/team-a"],
        Some("a long enough secret"),
    )
    .await;
    let report = nurse.all("/fhir/DiagnosticReport?patient=pa").await;
    let report = format!("DiagnosticReport/{}", report[0]["id"].as_str().unwrap());

    assert_eq!(nurse.get("/fhir/Patient/pa").await.0, 200);
    assert_eq!(nurse.get(&format!("/fhir/{report}")).await.0, 200);
    assert_eq!(nurse.get("/fhir/Patient/pb").await.0, 404);
    assert_eq!(nurse.get("/fhir/AuditEvent").await.0, 403);
    assert_eq!(nurse.get("/fhir/Patient/pa/_history").await.0, 200);
    let told = nurse
        .write("PUT", "/fhir/Patient/pa", &[], &of_team("pa", "team-a"))
        .await;
    assert_eq!(told.status, 200);
    let request = created(&nurse, &request("Patient/pa", "9")).await;
    let request = request.body["id"].as_str().unwrap().to_owned();
    let page = nurse.with_token("");
    assert_eq!(page.get_with("/fhir/Patient", "*/*", false).await.0, 401);
    assert_eq!(log_in(&page, "guest", "wrong password").await.status, 401);
    assert_eq!(log_in(&page, "my secret typed here", "x").await.status, 401);
    let told = log_in(&page, "guest", "a long enough secret").await;
    assert_eq!(told.status, 200);
    let held = cookie(&told);
    let elsewhere = [
        ("Cookie", held.as_str()),
        ("Origin", "https://evil.example"),
    ];
    let told = page.send("DELETE", "/session", &elsewhere, "").await;
    assert_eq!(told.status, 403);

    let told: Vec<String> = events(&admin, "&altid=nurse")
        .await
        .iter()
        .map(line)
        .collect();
    let request =
        format!("nurse rest create 0: Patient/pa ServiceRequest ServiceRequest/{request}");
    let expected = [
        "nurse rest search-type 0: Patient/pa DiagnosticReport ?".to_owned(),
        "nurse rest read 0: Patient/pa".to_owned(),
        format!("nurse rest read 0: Patient/pa {report}"),
        "nurse rest read 4: Patient/pb".to_owned(),
        "nurse rest search-type 8: ".to_owned(),
        "nurse rest history-instance 0: Patient/pa".to_owned(),
        "nurse rest update 0: Patient/pa".to_owned(),
        request,
    ];
    let short = |line: &String| -> String {
        let (head, about) = line.split_once(": ").unwrap();
        let about: String = about.chars().take(60).collect();
        format!("{head}: {about}")
    };
    assert_eq!(told, expected.iter().map(short).collect::<Vec<_>>());

    let others = events(&admin, "").await;
    let others: Vec<String> = others.iter().map(line).collect();
    for expected in [
        "cardio-gateway 110100 110120 0: ",
        "unknown 110114  8: ",
        "guest 110114 110122 8: ",
        "unknown 110114 110122 8: ",
        "guest 110114 110122 0: ",
        "guest 110114  8: ",
        "operator 110113 110129 0: Practitioner",
    ] {
        assert!(
            others.iter().any(|one| one == expected),
            "{expected}: {others:#?}"
        );
    }
    assert!(!format!("{others:?}").contains("my secret"));

    // Found by what an admin asks for.
    let of_b = events(&admin, "&patient=pb&altid=nurse").await;
    assert_eq!(of_b.len(), 1);
    let denied = events(&admin, "&outcome=8&altid=nurse").await;
    assert_eq!(denied.len(), 1);
    let written = events(&admin, "&action=C,U&altid=nurse").await;
    assert_eq!(written.len(), 2);
    let id = of_b[0]["id"].as_str().unwrap();
    let (status, one) = admin.get(&format!("/fhir/AuditEvent/{id}")).await;
    assert_eq!((status, &one), (200, &of_b[0]));
    let told = events(&admin, &format!("&_id={id}")).await;
    assert_eq!(told.len(), 1);
    let at = one["recorded"].as_str().unwrap();
    assert!(
        !events(&admin, &format!("&date=ge{at}&altid=nurse"))
            .await
            .is_empty()
    );
    assert!(events(&admin, "&date=lt2020-01-01").await.is_empty());
    assert!(events(&admin, "&date=gt2020-01-01").await.len() > 10);
    for (path, status) in [
        ("/fhir/AuditEvent/0", 404),
        ("/fhir/AuditEvent/01", 404),
        ("/fhir/AuditEvent/x", 404),
        ("/fhir/AuditEvent?action:not=R", 400),
        ("/fhir/AuditEvent?_include=AuditEvent:patient", 400),
        ("/fhir/AuditEvent?unknown=1", 400),
        ("/fhir/AuditEvent?patient=%27%20OR%201=1", 200),
        ("/fhir/AuditEvent?action=%27", 200),
    ] {
        let (got, body) = admin.get(path).await;
        assert_eq!(got, status, "{path}: {body}");
    }
    // Nothing of what was written or found is in it.
    let all = serde_json::to_string(&events(&admin, "").await).unwrap();
    for clinical in ["number-pa", "urn:team:ipp", "valueSampledData", "birthDate"] {
        assert!(!all.contains(clinical), "{clinical}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_is_whole_after_a_stop_and_a_noted_head_stays_in_it() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let asking: Vec<_> = (0..40)
        .map(|n| {
            let fhir = fhir.clone();
            tokio::spawn(async move { fhir.get(&format!("/fhir/Patient/p{n}")).await.0 })
        })
        .collect();
    for one in asking {
        assert_eq!(one.await.unwrap(), 404);
    }
    let verify = |noted: Value| json!({"verb": "audit-verify", "noted": noted});
    let proof = done(&bench, verify(Value::Null)).await;
    assert_eq!(proof["verdict"], "WHOLE", "{proof}");
    assert!(proof["head"]["seq"].as_u64().unwrap() >= 41, "{proof}");
    done(&bench, json!({"verb": "keys-rotate", "purpose": "control"})).await;
    let bench = bench.restart().await;
    let later = done(&bench, verify(proof["head"].clone())).await;
    assert_eq!(later["verdict"], "WHOLE", "{later}");
    assert!(later["head"]["seq"].as_u64() > proof["head"]["seq"].as_u64());
    assert_ne!(later["key"], proof["key"], "signed with the key of today");
    let mut other = proof["head"].clone();
    other["hash"] = json!("0".repeat(64));
    let denied = done(&bench, verify(other)).await;
    assert_eq!(denied["verdict"], "BROKEN", "{denied}");
}
