//! The FHIR interface as other systems use it: written, searched and followed over real HTTPS.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;

use serde_json::{Value, json};
use support::Bench;
use support::fhir::{Fhir, Told};

fn patient(id: &str, number: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "active": true, "gender": "unknown",
        "identifier": [{"system": "urn:team:ipp", "value": number}],
    })
}

fn request(subject: &str, code: &str) -> Value {
    json!({
        "resourceType": "ServiceRequest", "status": "active", "intent": "order",
        "subject": {"reference": subject}, "authoredOn": "2026-03-02T09:00:00Z",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
    })
}

fn is_outcome(told: &Told) -> bool {
    told.body["resourceType"] == "OperationOutcome"
        && told.body["issue"][0]["diagnostics"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
}

async fn created(fhir: &Fhir, resource: &Value) -> Told {
    let kind = resource["resourceType"].as_str().unwrap();
    let told = fhir
        .write("POST", &format!("/fhir/{kind}"), &[], resource)
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_an_exam_is_written_found_and_updated_only_over_its_version() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    assert_eq!(
        fhir.write("PUT", "/fhir/Patient/p1", &[], &patient("p1", "1"))
            .await
            .status,
        201
    );
    let told = created(&fhir, &request("Patient/p1", "268400002")).await;
    let id = told.body["id"].as_str().unwrap().to_owned();
    assert_eq!(told.header("ETag"), "W/\"1\"");
    assert!(
        told.header("Location")
            .ends_with(&format!("/fhir/ServiceRequest/{id}/_history/1"))
    );

    let path = format!("/fhir/ServiceRequest/{id}");
    let mut changed = told.body.clone();
    changed["status"] = json!("completed");
    for (tag, wanted) in [
        ("W/\"7\"", 412),
        ("nonsense", 412),
        ("W/\"1\"", 200),
        ("W/\"1\"", 412),
    ] {
        let told = fhir
            .write("PUT", &path, &[("If-Match", tag)], &changed)
            .await;
        assert_eq!(told.status, wanted, "{tag}: {}", told.body);
        assert_eq!(is_outcome(&told), wanted != 200);
    }
    let (_, now) = fhir.get(&path).await;
    assert_eq!(
        (&now["status"], &now["meta"]["versionId"]),
        (&json!("completed"), &json!("2"))
    );
    let found = fhir
        .all("/fhir/ServiceRequest?patient=p1&status=completed&code=268400002")
        .await;
    assert_eq!(found.len(), 1);
    let told = fhir
        .send(
            "GET",
            "/fhir/ServiceRequest?_include=ServiceRequest:subject",
            &[],
            "",
        )
        .await;
    assert_eq!(
        told.entries(),
        [format!("ServiceRequest/{id}"), "Patient/p1".to_owned()]
    );
    assert_eq!(told.body["entry"][1]["search"]["mode"], "include");
    let told = fhir
        .send(
            "GET",
            "/fhir/Patient?_revinclude=ServiceRequest:patient&_elements=gender",
            &[],
            "",
        )
        .await;
    assert_eq!(told.entries().len(), 2);
    assert_eq!(told.body["entry"][0]["resource"].get("active"), None);
    assert_eq!(
        told.body["entry"][0]["resource"]["meta"]["tag"][0]["code"],
        "SUBSETTED"
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_is_told_as_much_as_it_prefers() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let team = json!({"resourceType": "Organization", "name": "Team"});
    let of = |prefer: &'static str| {
        let (fhir, team) = (fhir.clone(), team.clone());
        async move {
            fhir.write("POST", "/fhir/Organization", &[("Prefer", prefer)], &team)
                .await
        }
    };
    let told = of("return=minimal").await;
    assert_eq!((told.status, told.raw.len()), (201, 0));
    assert!(told.header("Location").contains("/fhir/Organization/"));
    let told = of("respond-async, return=OperationOutcome").await;
    assert!(told.status == 201 && is_outcome(&told));
    assert_eq!(of("return=representation").await.body["name"], "Team");
    let told = of("return=everything").await;
    assert!(told.status == 400 && is_outcome(&told));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_conditional_create_makes_one_resource() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let mut nurse = json!({"resourceType": "Practitioner", "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10101010101"}]});
    let unless = [(
        "If-None-Exist",
        "identifier=https://rpps.esante.gouv.fr|10101010101",
    )];
    let first = fhir
        .write("POST", "/fhir/Practitioner", &unless, &nurse)
        .await;
    assert_eq!(first.status, 201, "{}", first.body);
    // At once from several sides: the look and the writing are one.
    let many = (0..8).map(|_| {
        let (fhir, nurse) = (fhir.clone(), nurse.clone());
        tokio::spawn(async move {
            fhir.write("POST", "/fhir/Practitioner", &unless, &nurse)
                .await
        })
    });
    for again in many.collect::<Vec<_>>() {
        let again = again.await.unwrap();
        assert_eq!((again.status, &again.body["id"]), (200, &first.body["id"]));
    }
    assert_eq!(created(&fhir, &nurse).await.status, 201);
    let told = fhir
        .write("POST", "/fhir/Practitioner", &unless, &nurse)
        .await;
    assert!(told.status == 412 && is_outcome(&told), "{}", told.body);
    for wrong in ["", "_count=1", "pateint=1", "identifier"] {
        let told = fhir
            .write(
                "POST",
                "/fhir/Practitioner",
                &[("If-None-Exist", wrong)],
                &nurse,
            )
            .await;
        assert!(
            told.status == 400 && is_outcome(&told),
            "{wrong}: {}",
            told.body
        );
    }
    nurse["id"] = json!("n1");
    let told = fhir
        .write("PUT", "/fhir/Practitioner/n1", &unless, &nurse)
        .await;
    assert!(told.status == 400 && is_outcome(&told));
    bench.gateway.stop().await;
}

fn entry(method: &str, url: &str, resource: &Value) -> Value {
    json!({"resource": resource, "request": {"method": method, "url": url}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_written_as_a_whole_or_not_at_all() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let person = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a";
    let mut new = entry("POST", "Patient", &patient("ignored", "42"));
    new["fullUrl"] = json!(person);
    new["request"]["ifNoneExist"] = json!("identifier=urn:team:ipp|42");
    let order = entry("POST", "ServiceRequest", &request(person, "268400002"));
    let good = json!({"resourceType": "Bundle", "type": "transaction", "entry": [order, new]});
    let told = fhir
        .write(
            "POST",
            "/fhir",
            &[("Prefer", "return=representation")],
            &good,
        )
        .await;
    assert_eq!(told.status, 200, "{}", told.body);
    let entries = told.body["entry"].as_array().unwrap();
    assert!(entries.iter().all(|one| one["response"]["status"] == "201"));
    let id = entries[1]["resource"]["id"].as_str().unwrap();
    assert_eq!(
        entries[0]["resource"]["subject"]["reference"],
        format!("Patient/{id}")
    );
    // Again: the patient is found, and the new request is theirs.
    let told = fhir.write("POST", "/fhir/", &[], &good).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["entry"][1]["response"]["status"], "200");
    assert_eq!(
        fhir.all(&format!("/fhir/ServiceRequest?patient={id}"))
            .await
            .len(),
        2
    );

    let team = json!({"resourceType": "Organization", "name": "Team"});
    let first = entry("POST", "Organization", &team);
    let mut stale = entry("PUT", &format!("Patient/{id}"), &patient(id, "43"));
    stale["request"]["ifMatch"] = json!("W/\"9\"");
    let cases = [
        (stale, 412, "Bundle.entry[1]"),
        (
            entry(
                "POST",
                "Organization",
                &json!({"resourceType": "Organization"}),
            ),
            400,
            "Bundle.entry[1].Organization",
        ),
        (
            entry(
                "POST",
                "Observation",
                &json!({"resourceType": "Observation"}),
            ),
            405,
            "Bundle.entry[1]",
        ),
        (
            entry("DELETE", "Patient/x", &team),
            405,
            "Bundle.entry[1].request.method",
        ),
        (entry("GET", "Patient/x", &team), 405, "Bundle.entry[1]"),
        (
            entry("POST", "ServiceRequest", &request("urn:uuid:none", "1")),
            400,
            "Bundle.entry[1]",
        ),
        (
            json!({"resource": team}),
            400,
            "Bundle.entry[1].request.method",
        ),
        (json!("entry"), 400, "Bundle.entry[1].request.method"),
    ];
    for (second, status, place) in cases {
        let bundle =
            json!({"resourceType": "Bundle", "type": "transaction", "entry": [first, second]});
        let told = fhir.write("POST", "/fhir", &[], &bundle).await;
        assert_eq!(
            (told.status, is_outcome(&told)),
            (status, true),
            "{}",
            told.body
        );
        assert_eq!(told.body["issue"][0]["expression"][0], place);
    }
    let many: Vec<Value> = (0..201).map(|_| first.clone()).collect();
    let told = fhir
        .write(
            "POST",
            "/fhir",
            &[],
            &json!({"resourceType": "Bundle", "type": "transaction", "entry": many}),
        )
        .await;
    assert_eq!((told.status, is_outcome(&told)), (413, true));
    assert!(
        fhir.all("/fhir/Organization").await.is_empty(),
        "nothing of what was refused"
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_entry_of_a_batch_stands_alone() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        entry("PUT", "Patient/p1", &patient("p1", "1")),
        entry("PUT", "Patient/p2", &patient("other", "1")),
        {"request": {"method": "GET", "url": "Patient/p1"}},
        {"request": {"method": "GET", "url": "Patient?identifier=urn:team:ipp|1"}},
        {"request": {"method": "GET", "url": "Patient/none"}},
        {"request": {"method": "GET", "url": "Patient?colour=1"}},
    ]});
    let told = fhir.write("POST", "/fhir", &[], &bundle).await;
    let entries = told.body["entry"].as_array().unwrap();
    let status: Vec<&str> = entries
        .iter()
        .map(|one| one["response"]["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        status,
        ["201", "400", "200", "200", "404", "400"],
        "{}",
        told.body
    );
    assert_eq!(entries[3]["resource"]["total"], 1);
    assert_eq!(
        entries[5]["response"]["outcome"]["issue"][0]["expression"][0],
        "colour"
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_to_the_end_and_goes_on_from_there() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    for n in 0..5 {
        fhir.write(
            "PUT",
            &format!("/fhir/Patient/p{n}"),
            &[],
            &patient(&format!("p{n}"), "1"),
        )
        .await;
    }
    let mut next =
        "/fhir/_history?_sort=_lastUpdated&_count=2&_since=2020-01-01T00:00:00Z".to_owned();
    let mut seen = Vec::new();
    for round in 0..3 {
        loop {
            let told = fhir.send("GET", &next, &[], "").await;
            assert_eq!(
                (told.status, &told.body["type"]),
                (200, &json!("history")),
                "{}",
                told.body
            );
            seen.extend(told.entries());
            match (told.link("next"), told.link("monitor")) {
                (Some(link), None) => next = link,
                (None, Some(link)) => {
                    next = link;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        fhir.write(
            "PUT",
            "/fhir/Patient/p0",
            &[],
            &patient("p0", &format!("round {round}")),
        )
        .await;
    }
    let told: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        [
            "Patient/p0",
            "Patient/p1",
            "Patient/p2",
            "Patient/p3",
            "Patient/p4",
            "Patient/p0",
            "Patient/p0"
        ]
    );

    // Newest first, as the standard says, and of one type or of one resource.
    for path in [
        "/fhir/_history?_count=1",
        "/fhir/Patient/_history?_count=1",
        "/fhir/Patient/p0/_history?_count=1",
    ] {
        let mut versions = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let told = fhir.send("GET", &path, &[], "").await;
            versions.push(
                told.body["entry"][0]["response"]["etag"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
            next = told.link("next");
        }
        let newest: Vec<&str> = versions.iter().take(3).map(String::as_str).collect();
        assert_eq!(newest, ["W/\"4\"", "W/\"3\"", "W/\"2\""], "{path}");
        assert_eq!(versions.len(), if path.contains("p0") { 4 } else { 8 });
    }
    for wrong in [
        "_since=yesterday",
        "_count=0",
        "_sort=date",
        "_after=x",
        "code=1",
    ] {
        let told = fhir
            .send("GET", &format!("/fhir/_history?{wrong}"), &[], "")
            .await;
        assert!(told.status == 400 && is_outcome(&told), "{wrong}");
    }
    let told = fhir
        .send("GET", "/fhir/Patient/none/_history", &[], "")
        .await;
    assert!(told.status == 404 && is_outcome(&told));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_of_a_patient_comes_in_pages() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    for id in ["p1", "p2"] {
        fhir.write(
            "PUT",
            &format!("/fhir/Patient/{id}"),
            &[],
            &patient(id, "1"),
        )
        .await;
        for code in ["1", "2", "3"] {
            created(&fhir, &request(&format!("Patient/{id}"), code)).await;
        }
    }
    let all = fhir.all("/fhir/Patient/p1/$everything?_count=2").await;
    let kinds: Vec<&Value> = all.iter().map(|one| &one["resourceType"]).collect();
    assert_eq!(
        json!(kinds),
        json!([
            "Patient",
            "ServiceRequest",
            "ServiceRequest",
            "ServiceRequest"
        ])
    );
    assert!(
        all.iter()
            .all(|one| one["id"] == "p1" || one["subject"]["reference"] == "Patient/p1")
    );
    assert_eq!(
        fhir.all("/fhir/Patient/p1/$everything?_type=Patient")
            .await
            .len(),
        1
    );
    for (wrong, status) in [
        ("p1/$everything?_type=Planet", 404),
        ("p1/$everything?_count=x", 400),
        ("p9/$everything", 404),
    ] {
        let told = fhir
            .send("GET", &format!("/fhir/Patient/{wrong}"), &[], "")
            .await;
        assert_eq!((told.status, is_outcome(&told)), (status, true), "{wrong}");
    }
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_made_smaller_for_who_takes_it() {
    use std::io::Read as _;
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let plain = fhir.send("GET", "/fhir/metadata", &[], "").await;
    let small = fhir
        .send(
            "GET",
            "/fhir/metadata",
            &[("Accept-Encoding", "br, gzip")],
            "",
        )
        .await;
    assert_eq!(small.header("Content-Encoding"), "gzip");
    assert_eq!(
        (plain.header("Content-Encoding"), plain.header("Vary")),
        ("", "Accept-Encoding")
    );
    assert!(small.raw.len() * 4 < plain.raw.len());
    let mut whole = String::new();
    flate2::read::GzDecoder::new(small.raw.as_slice())
        .read_to_string(&mut whole)
        .unwrap();
    let read: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(read["rest"], plain.body["rest"]);
    bench.gateway.stop().await;
}

/// Whatever stands in a parameter, the answer is a bundle or says what is wrong, and nothing of
/// it becomes part of a statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_search_parameter_of_every_type_withstands_odd_values() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    assert_eq!(
        fhir.write("PUT", "/fhir/Patient/p1", &[], &patient("p1", "1"))
            .await
            .status,
        201
    );
    let (_, statement) = fhir.get("/fhir/metadata").await;
    let values = [
        "%27%20OR%20%271%27=%271",
        "x%27;DROP%20TABLE%20resources;--",
        "%00",
        "%FF",
        "\\",
        "%5C",
        "|",
        "%7C%7C",
        ",",
        ",,,,",
        "$",
        "-1",
        "9999999999999999999999",
        "ge",
        "ge2026-13-01",
        "../../etc/passwd",
        "%E2%80%AE",
        "Patient/",
        "/",
        "a%2Cb%7Cc",
        "*",
        "%25",
        "1e309",
        "null",
        "",
    ];
    let own = [
        "_count",
        "_sort",
        "_after",
        "_include",
        "_revinclude",
        "_elements",
        "_summary",
        "_total",
        "_format",
    ];
    let mut asked = 0;
    for served in statement["rest"][0]["resource"].as_array().unwrap() {
        let kind = served["type"].as_str().unwrap();
        let params = served["searchParam"].as_array().into_iter().flatten();
        let params: Vec<&str> = params
            .map(|one| one["name"].as_str().unwrap())
            .chain(own)
            .collect();
        let entries: Vec<Value> = params
            .iter()
            .flat_map(|param| values.map(|value| format!("{kind}?{param}={value}")))
            .map(|url| json!({"request": {"method": "GET", "url": url}}))
            .collect();
        for chunk in entries.chunks(200) {
            let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": chunk});
            let told = fhir.write("POST", "/fhir", &[], &bundle).await;
            assert_eq!(told.status, 200, "{}", told.body);
            for (entry, answer) in chunk.iter().zip(told.body["entry"].as_array().unwrap()) {
                let status = answer["response"]["status"].as_str().unwrap();
                let said = match status {
                    "200" => answer["resource"]["type"] == "searchset",
                    "400" => answer["response"]["outcome"]["issue"][0]["diagnostics"].is_string(),
                    _ => false,
                };
                assert!(said, "{entry}: {answer}");
                asked += 1;
            }
        }
    }
    assert!(asked > 2_000, "{asked}");
    assert_eq!(fhir.all("/fhir/Patient").await.len(), 1);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_body_and_any_header_are_answered_with_what_is_wrong() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let wide = format!(
        "{{\"resourceType\":\"Patient\",\"name\":[{}]}}",
        vec!["{}"; 1_000].join(",")
    );
    let bodies = [
        "",
        "{",
        "null",
        "[]",
        "1",
        "\"Patient\"",
        "\u{0}",
        "{\"resourceType\":[]}",
        "{\"resourceType\":\"Patient\",\"id\":{}}",
        "{\"resourceType\":\"Patient\",\"meta\":[]}",
        "{\"resourceType\":\"Patient\",\"contact\":[null]}",
        deep.as_str(),
        wide.as_str(),
    ];
    let json_type = [("Content-Type", "application/fhir+json")];
    for body in bodies {
        for (method, path) in [
            ("POST", "/fhir/Patient"),
            ("PUT", "/fhir/Patient/p1"),
            ("POST", "/fhir"),
            ("POST", "/fhir/Patient/$merge"),
            ("POST", "/fhir/Consent"),
        ] {
            let told = fhir.send(method, path, &json_type, body).await;
            assert!(
                told.status == 400 && is_outcome(&told),
                "{method} {path} {body:.40}: {} {}",
                told.status,
                told.body
            );
        }
    }
    let body = patient("p1", "1").to_string();
    for (name, value) in [
        ("Prefer", "return=\u{e9}"),
        ("If-Match", "\u{e9}"),
        ("Prefer", "return=all"),
        ("If-None-Exist", "identifier=a|b"),
    ] {
        let headers = [json_type[0], (name, value)];
        let told = fhir.send("PUT", "/fhir/Patient/p1", &headers, &body).await;
        assert!(
            told.status == 400 && is_outcome(&told),
            "{name}: {} {}",
            told.status,
            told.body
        );
    }
    for (method, path, status) in [
        ("DELETE", "/fhir/Patient/p1", 405),
        ("PATCH", "/fhir/Patient/p1", 405),
        ("POST", "/fhir/Observation", 405),
        ("PUT", "/fhir/Task/t", 405),
        ("GET", "/fhir/%00", 404),
        ("GET", "/fhir/Patient/%FF", 400),
    ] {
        let told = fhir.send(method, path, &json_type, &body).await;
        assert_eq!(
            (told.status, is_outcome(&told)),
            (status, true),
            "{method} {path}: {}",
            told.body
        );
    }
    assert!(fhir.all("/fhir/Patient").await.is_empty());
    bench.gateway.stop().await;
}
