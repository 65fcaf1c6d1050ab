//! What others follow: the record as it changes, a patient as a whole, and answers made small.

use super::*;

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
