//! Who may see and do what, over real HTTPS: every denial, and nothing told of what lies outside.

use super::support::until;
use super::*;
use cardio_core::clock::{Clock as _, ManualClock};
use cardio_formats::FormatId;
use cardio_gateway::clock::SystemClock;
use std::sync::Arc;

const OCTETS: &str = "application/octet-stream";

/// A request to the operator's socket that must be done.
pub(super) async fn done(bench: &Bench, request: Value) -> Value {
    let answer = bench.asked(request).await;
    answer
        .get("ok")
        .unwrap_or_else(|| panic!("{answer}"))
        .clone()
}

pub(super) async fn add(
    bench: &Bench,
    name: &str,
    role: &str,
    teams: &[&str],
    password: Option<&str>,
) {
    let account = json!({
        "name": name, "role": role, "practitioner": null, "all_patients": false,
        "teams": teams,
    });
    let request = json!({"verb": "accounts-add", "account": account, "password": password});
    done(bench, request).await;
}

pub(super) async fn token(bench: &Bench, name: &str, role: Option<&str>) -> String {
    let request = json!({
        "verb": "accounts-token", "name": name, "label": "test", "role": role, "days": 1,
    });
    let made = done(bench, request).await;
    made["token"].as_str().unwrap().to_owned()
}

pub(super) async fn asking(bench: &Bench, name: &str, role: &str, teams: &[&str]) -> Fhir {
    add(bench, name, role, teams, None).await;
    bench.fhir().with_token(&token(bench, name, None).await)
}

/// A clock that the test moves, from now on.
pub(super) fn by_hand() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemClock::new().read()))
}

pub(super) fn of_team(id: &str, team: &str) -> Value {
    let mut one = patient(id, &format!("number-{id}"));
    one["managingOrganization"] = json!({"reference": format!("Organization/{team}")});
    one
}

pub(super) async fn log_in(fhir: &Fhir, account: &str, password: &str) -> Told {
    let body = json!({"account": account, "password": password}).to_string();
    let headers = [("Content-Type", "application/json")];
    fhir.send("POST", "/session", &headers, &body).await
}

pub(super) fn cookie(told: &Told) -> String {
    let whole = told.header("Set-Cookie");
    whole.split(';').next().unwrap().to_owned()
}

/// A file of a second and a half of two leads.
fn file(first: i64) -> Vec<u8> {
    use cardio_formats::source::MemorySource;
    use cardio_formats::write::{WriteOptions, write};
    use cardio_formats::{ReadOptions, read};
    let mut text = "# rate_hz: 250\n# gain_adu_per_mv: 200\nI,II\n".to_owned();
    for at in 0..375 {
        text.push_str(&format!("{},{}\n", first + at % 100, at));
    }
    let source = MemorySource::new().with("a.csv", text.into_bytes());
    let recording = read::read(Arc::new(source), "a.csv", ReadOptions::default()).unwrap();
    let options = WriteOptions { drop_facts: true };
    let written = write(&recording, FormatId::Edf, "a", options).unwrap();
    written.files.into_iter().next().unwrap().1
}

/// Two teams with a patient each, an exam and a request of each, and a patient of no team.
pub(super) async fn two_teams(bench: &Bench) -> Fhir {
    let fhir = bench.fhir();
    for (id, team) in [("pa", "team-a"), ("pb", "team-b")] {
        let path = format!("/fhir/Patient/{id}");
        let told = fhir.write("PUT", &path, &[], &of_team(id, team)).await;
        assert_eq!(told.status, 201, "{}", told.body);
        created(&fhir, &request(&format!("Patient/{id}"), "1")).await;
        let subject = format!("Patient/{id}");
        let first = if id == "pa" { 1 } else { 7 };
        let (status, said, _) = fhir.upload(OCTETS, Some(&subject), &file(first)).await;
        assert_eq!(status, 201, "{said}");
        until("the whole file is filed", || async {
            let path = format!("/fhir/DiagnosticReport?patient={id}");
            let found = fhir.all(&path).await;
            found.into_iter().find(|one| one["status"] == "preliminary")
        })
        .await;
    }
    let nobody = patient("pn", "number-pn");
    let told = fhir.write("PUT", "/fhir/Patient/pn", &[], &nobody).await;
    assert_eq!(told.status, 201);
    fhir
}

/// Addresses of everything that is filed, by what the whole record says.
async fn everything_of(fhir: &Fhir, patient: &str) -> Vec<String> {
    let path = format!("/fhir/Patient/{patient}/$everything?_count=500");
    let told = fhir.send("GET", &path, &[], "").await;
    assert_eq!(told.status, 200, "{}", told.body);
    let all = told.entries().into_iter();
    let about = all.filter(|address| !address.starts_with("Device/"));
    let mut about: Vec<String> = about.collect();
    let documents = fhir
        .all(&format!("/fhir/DocumentReference?patient={patient}"))
        .await;
    let binaries = documents.iter().map(|document| {
        let url = &document["content"][0]["attachment"]["url"];
        url.as_str().unwrap().to_owned()
    });
    about.extend(binaries);
    about
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_sees_its_patients_and_of_others_not_even_that_they_exist() {
    let bench = Bench::start().await;
    let all = two_teams(&bench).await;
    let (own, other) = (
        everything_of(&all, "pa").await,
        everything_of(&all, "pb").await,
    );
    for kind in [
        "Patient/",
        "Observation/",
        "DiagnosticReport/",
        "Provenance/",
        "Binary/",
    ] {
        for of in [&own, &other] {
            assert!(of.iter().any(|one| one.starts_with(kind)), "{kind} {of:?}");
        }
    }
    let nurse = asking(&bench, "nurse-a", "nurse", &["Organization/team-a"]).await;

    // Reading: what is there for others is as absent as what was never there.
    for address in &own {
        assert_eq!(
            nurse.get(&format!("/fhir/{address}")).await.0,
            200,
            "{address}"
        );
    }
    for address in other.iter().map(String::as_str).chain(["Patient/pn"]) {
        let kind = address.split('/').next().unwrap();
        let never = address
            .split('/')
            .next_back()
            .unwrap()
            .replace(|_: char| true, "x");
        for (there, not_there) in [
            (format!("/fhir/{address}"), format!("/fhir/{kind}/{never}")),
            (
                format!("/fhir/{address}/_history"),
                format!("/fhir/{kind}/{never}/_history"),
            ),
            (
                format!("/fhir/{address}/_history/1"),
                format!("/fhir/{kind}/{never}/_history/1"),
            ),
        ] {
            let (there, not_there) = (nurse.get(&there).await, nurse.get(&not_there).await);
            assert_eq!(there.0, 404, "{address}: {}", there.1);
            let without_id = |answer: Value| {
                let id = address.split('/').next_back().unwrap();
                answer.to_string().replace(id, &never)
            };
            assert_eq!(without_id(there.1), without_id(not_there.1), "{address}");
        }
    }
    for path in [
        "/fhir/Patient/pb/$everything",
        "/fhir/Patient/pn/$everything",
    ] {
        assert_eq!(nurse.get(path).await.0, 404);
    }

    // Searching: by every type, by what comes along, by counts.
    let forbidden: Vec<&String> = other.iter().collect();
    let check = |told: &Told, path: &str| {
        assert_eq!(told.status, 200, "{path}: {}", told.body);
        for address in told.entries() {
            assert!(!forbidden.contains(&&address), "{path} tells {address}");
            assert_ne!(address, "Patient/pn", "{path}");
        }
        let text = told.body.to_string();
        assert!(
            !text.contains("Patient/pb") && !text.contains("number-pb"),
            "{path}"
        );
    };
    for kind in [
        "Patient",
        "Observation",
        "DiagnosticReport",
        "DocumentReference",
        "Binary",
        "Provenance",
        "ServiceRequest",
        "Device",
    ] {
        let path = format!("/fhir/{kind}?_count=500");
        let told = nurse.send("GET", &path, &[], "").await;
        check(&told, &path);
        if kind != "Binary" {
            let total = told.body["total"].as_u64().unwrap();
            assert_eq!(
                usize::try_from(total).unwrap(),
                told.entries().len(),
                "{path}"
            );
        }
        let own_of_kind = own
            .iter()
            .filter(|one| one.starts_with(&format!("{kind}/")));
        if kind != "Device" && kind != "Binary" {
            assert_eq!(told.entries().len(), own_of_kind.count(), "{path}");
        }
    }
    for path in [
        "/fhir/Observation?patient=pb",
        "/fhir/Patient?identifier=urn:team:ipp|number-pb",
        "/fhir/Patient?_id=pb",
        "/fhir/ServiceRequest?patient=pb&_summary=count",
        "/fhir/Patient?organization=Organization/team-b",
    ] {
        let (status, found) = nurse.get(path).await;
        assert_eq!((status, found["total"].as_u64()), (200, Some(0)), "{path}");
    }
    for path in [
        "/fhir/Device?_revinclude=Observation:device&_count=500",
        "/fhir/Patient?_revinclude=Observation:patient&_revinclude=DocumentReference:patient",
        "/fhir/DiagnosticReport?_include=DiagnosticReport:*&_count=500",
        "/fhir/_history?_count=500",
        "/fhir/_history?_count=500&_sort=_lastUpdated",
        "/fhir/Observation/_history?_count=500",
        "/fhir/Patient/_history",
        "/fhir/Patient/pa/$everything?_count=500",
    ] {
        check(&nurse.send("GET", path, &[], "").await, path);
    }

    // Bundles and bytes.
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": "Patient/pb"}},
        {"request": {"method": "GET", "url": "Observation?patient=pb"}},
        {"request": {"method": "GET", "url": "Patient/pa"}},
    ]});
    let told = nurse.write("POST", "/fhir", &[], &batch).await;
    assert_eq!(told.body["entry"][0]["response"]["status"], "404");
    assert_eq!(told.body["entry"][1]["resource"]["total"], 0);
    assert_eq!(told.body["entry"][2]["resource"]["id"], "pa");
    let binary = other.iter().find(|one| one.starts_with("Binary/")).unwrap();
    let accept = [("Accept", OCTETS)];
    let bytes = nurse
        .send("GET", &format!("/fhir/{binary}"), &accept, "")
        .await;
    assert_eq!(bytes.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_writes_for_its_patients_and_changes_nothing_of_others() {
    let bench = Bench::start().await;
    let all = two_teams(&bench).await;
    let nurse = asking(&bench, "nurse-a", "nurse", &["Organization/team-a"]).await;

    // Its own: a patient of the team, a request for them, both at once, a new version.
    created(&nurse, &of_team("ignored", "team-a")).await;
    created(&nurse, &request("Patient/pa", "2")).await;
    let mut patient = of_team("pa", "team-a");
    patient["birthDate"] = json!("1950-01-01");
    let told = nurse.write("PUT", "/fhir/Patient/pa", &[], &patient).await;
    assert_eq!(told.status, 200, "{}", told.body);
    let both = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": of_team("n", "team-a"),
         "request": {"method": "POST", "url": "Patient"}},
        {"resource": request("urn:uuid:1", "3"),
         "request": {"method": "POST", "url": "ServiceRequest"}},
    ]});
    let told = nurse.write("POST", "/fhir", &[], &both).await;
    assert_eq!(told.status, 200, "{}", told.body);

    // Of others: denied, as is what would be about nobody, and nothing is changed.
    let denied = [
        ("POST", "/fhir/Patient", of_team("x", "team-b"), 403),
        ("POST", "/fhir/Patient", super::patient("x", "1"), 403),
        ("PUT", "/fhir/Patient/pa", of_team("pa", "team-b"), 403),
        (
            "POST",
            "/fhir/ServiceRequest",
            request("Patient/pb", "1"),
            403,
        ),
        (
            "POST",
            "/fhir/ServiceRequest",
            request("Patient/nobody", "1"),
            403,
        ),
        ("PUT", "/fhir/Patient/pb", of_team("pb", "team-a"), 404),
        (
            "PUT",
            "/fhir/Patient/nobody",
            of_team("nobody", "team-a"),
            404,
        ),
        ("PUT", "/fhir/Patient/pn", of_team("pn", "team-a"), 404),
    ];
    for (method, path, body, status) in denied {
        let told = nurse.write(method, path, &[], &body).await;
        assert_eq!(told.status, status, "{method} {path} {body}: {}", told.body);
        assert!(is_outcome(&told), "{}", told.body);
    }
    let found = [("If-None-Exist", "identifier=urn:team:ipp|number-pb")];
    let body = of_team("x", "team-a");
    let told = nurse.write("POST", "/fhir/Patient", &found, &body).await;
    assert_eq!(told.status, 201, "a condition finds nothing of others");

    // A file for somebody else, and the very file that is filed for somebody else.
    let (status, said, _) = nurse.upload(OCTETS, Some("Patient/pb"), &file(50)).await;
    assert_eq!(status, 422, "{said}");
    let (never, same, _) = nurse.upload(OCTETS, Some("Patient/px"), &file(50)).await;
    let replaced = said.to_string().replace("pb", "px");
    assert_eq!((never, same.to_string()), (422, replaced));
    let (status, said, _) = nurse.upload(OCTETS, Some("Patient/pa"), &file(7)).await;
    assert_eq!(status, 409, "{said}");
    assert!(!said.to_string().contains("pb"), "{said}");
    let after = all.get("/fhir/Patient/pb/_history").await.1;
    assert_eq!(after["total"], 1);
}

/// Every address with what it takes, and who may use it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_does_what_its_row_says_and_nothing_else() {
    let bench = Bench::start().await;
    two_teams(&bench).await;
    let team = ["Organization/team-a"];
    let nurse = asking(&bench, "n", "nurse", &team).await;
    let cardiologist = asking(&bench, "c", "cardiologist", &team).await;
    let technician = asking(&bench, "t", "technician", &[]).await;
    let admin = asking(&bench, "a", "admin", &[]).await;
    let organization = json!({"resourceType": "Organization", "name": "Team"});
    let merge = json!({"resourceType": "Parameters"});
    // Refused by the gate is 403; whatever else an answer says, the gate let it through.
    let rows = [
        (
            "GET",
            "/fhir/metadata",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        (
            "GET",
            "/session",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        (
            "GET",
            "/fhir/Device",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        (
            "GET",
            "/fhir/Organization/o",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        (
            "GET",
            "/fhir/Practitioner/_history",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        (
            "GET",
            "/fhir/Device/d/_history",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        (
            "GET",
            "/fhir/Device/d/_history/1",
            json!(null),
            "nurse cardiologist technician admin",
        ),
        ("GET", "/fhir/Patient", json!(null), "nurse cardiologist"),
        ("GET", "/fhir/Patient/pa", json!(null), "nurse cardiologist"),
        (
            "GET",
            "/fhir/Patient/pa/_history",
            json!(null),
            "nurse cardiologist",
        ),
        (
            "GET",
            "/fhir/Patient/pa/_history/1",
            json!(null),
            "nurse cardiologist",
        ),
        (
            "GET",
            "/fhir/Patient/pa/$everything",
            json!(null),
            "nurse cardiologist",
        ),
        (
            "GET",
            "/fhir/Observation",
            json!(null),
            "nurse cardiologist",
        ),
        (
            "GET",
            "/fhir/Observation/_history",
            json!(null),
            "nurse cardiologist",
        ),
        ("GET", "/fhir/Binary", json!(null), "nurse cardiologist"),
        ("GET", "/fhir/Binary/b", json!(null), "nurse cardiologist"),
        ("GET", "/fhir/_history", json!(null), "nurse cardiologist"),
        (
            "POST",
            "/fhir/Patient/_search",
            json!(null),
            "nurse cardiologist",
        ),
        (
            "POST",
            "/fhir/Patient",
            of_team("x", "team-a"),
            "nurse cardiologist",
        ),
        (
            "PUT",
            "/fhir/Patient/pa",
            of_team("pa", "team-a"),
            "nurse cardiologist",
        ),
        ("POST", "/fhir/Binary", json!(null), "nurse cardiologist"),
        ("POST", "/fhir/Organization", organization.clone(), "admin"),
        ("POST", "/fhir/Patient/$merge", merge, "admin"),
        (
            "POST",
            "/fhir/Task/none/$close",
            json!(null),
            "cardiologist",
        ),
    ];
    let roles = [
        ("nurse", &nurse),
        ("cardiologist", &cardiologist),
        ("technician", &technician),
        ("admin", &admin),
    ];
    for (method, path, body, allowed) in rows {
        let stranger = bench.fhir().with_token("");
        let told = stranger.write(method, path, &[], &body).await;
        assert_eq!(told.status, 401, "{method} {path}");
        for (role, fhir) in roles {
            let told = fhir.write(method, path, &[], &body).await;
            let may = allowed.split(' ').any(|one| one == role);
            assert_eq!(
                told.status != 403,
                may,
                "{role} {method} {path}: {}",
                told.body
            );
            assert_ne!(told.status, 401, "{role} {method} {path}");
            if !may {
                assert_eq!(told.body["issue"][0]["code"], "forbidden", "{path}");
            }
        }
    }
    // The entries of a bundle are asked one by one.
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": "Patient/pa"}},
        {"request": {"method": "GET", "url": "Device"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": of_team("x", "team-a")},
        {"request": {"method": "POST", "url": "Organization"}, "resource": organization},
    ]});
    for (fhir, expected) in [
        (&nurse, ["200", "200", "201", "403"]),
        (&technician, ["403", "200", "403", "403"]),
        (&admin, ["403", "200", "403", "201"]),
    ] {
        let told = fhir.write("POST", "/fhir", &[], &batch).await;
        for (at, status) in expected.into_iter().enumerate() {
            let said = &told.body["entry"][at]["response"]["status"];
            assert_eq!(*said, json!(status), "entry {at}: {}", told.body);
        }
    }
    let mut transaction = batch.clone();
    transaction["type"] = json!("transaction");
    transaction["entry"] = json!([batch["entry"][2], batch["entry"][3]]);
    for fhir in [&nurse, &technician, &admin] {
        let told = fhir.write("POST", "/fhir", &[], &transaction).await;
        assert_eq!(told.status, 403, "{}", told.body);
    }
}
