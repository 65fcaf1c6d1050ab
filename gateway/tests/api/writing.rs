//! What other systems write, one by one and in bundles.

use super::*;

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
