//! Recordings that come as files: uploaded over real HTTPS, or sent by a box in parts.

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

use std::fmt::Write as _;
use std::sync::Arc;

use cardio_core::ids::RecordId;
use cardio_formats::source::MemorySource;
use cardio_formats::write::{WriteOptions, write};
use cardio_formats::{FormatId, ReadOptions, read};
use cardio_wire::lane::Lane;
use cardio_wire::record::{ORIGINAL_PART_BYTES, OriginalPartV1, Record, RecordHead};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use support::{Bench, Client, Fhir, until};
use visit::{ACQUISITION, Visit, reading};

const OCTETS: &str = "application/octet-stream";
/// Samples of each lead: 75 s at 250 Hz.
const SAMPLES: i64 = 18_750;

fn sample(lead: i64, at: i64) -> i64 {
    (at * (lead + 3)) % 997 - 498
}

/// An EDF+ file of leads I and II.
fn edf() -> Vec<u8> {
    let mut text = "# rate_hz: 250\n# gain_adu_per_mv: 200\nI,II\n".to_owned();
    for at in 0..SAMPLES {
        writeln!(text, "{},{}", sample(0, at), sample(1, at)).unwrap();
    }
    let source = MemorySource::new().with("a.csv", text.into_bytes());
    let recording = read::read(Arc::new(source), "a.csv", ReadOptions::default()).unwrap();
    let options = WriteOptions { drop_facts: true };
    let written = write(&recording, FormatId::Edf, "a", options).unwrap();
    written.files.into_iter().next().unwrap().1
}

async fn with_patients(bench: &Bench) -> Fhir {
    let fhir = bench.fhir();
    for (id, number) in [
        ("p-test-1", "123456789012212"),
        ("p-test-2", "223456789012259"),
    ] {
        let patient = json!({
            "resourceType": "Patient", "id": id, "active": true,
            "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": number}],
            "name": [{"use": "official", "family": "ESSAI", "given": ["FICHIER"]}],
            "gender": "unknown", "birthDate": "1974-12-25",
        });
        let (status, said) = fhir
            .put(
                &format!("/fhir/Patient/{id}"),
                "application/fhir+json",
                &patient,
            )
            .await;
        assert_eq!(status, 201, "{said}");
    }
    fhir
}

/// The report when the file is filed whole, and the counts of a lead that it leads to.
async fn filed(fhir: &Fhir) -> Value {
    until("the report of the whole file", || async {
        let found = fhir.all("/fhir/DiagnosticReport?patient=p-test-1").await;
        found.into_iter().find(|one| one["status"] == "preliminary")
    })
    .await
}

async fn counts(fhir: &Fhir, report: &Value, lead: usize) -> Vec<i64> {
    let mut counts = Vec::new();
    for result in report["result"].as_array().unwrap() {
        let path = format!("/fhir/{}", result["reference"].as_str().unwrap());
        let (status, span) = fhir.get(&path).await;
        assert_eq!(status, 200);
        assert!(span["component"].is_array(), "{span}");
        let data = &span["component"][lead]["valueSampledData"]["data"];
        let numbers = data.as_str().unwrap().split(' ');
        counts.extend(numbers.map(|number| number.parse::<i64>().unwrap()));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploaded_file_is_filed_sample_by_sample_once_and_given_back() {
    let bench = Bench::start().await;
    let fhir = with_patients(&bench).await;
    let file = edf();
    let (status, said, place) = fhir.upload(OCTETS, Some("Patient/p-test-1"), &file).await;
    assert_eq!(status, 201, "{said}");
    let report = filed(&fhir).await;
    for lead in 0..2_i64 {
        let sent: Vec<i64> = (0..SAMPLES).map(|at| sample(lead, at)).collect();
        let read = counts(&fhir, &report, usize::try_from(lead).unwrap()).await;
        assert!(read == sent, "lead {lead}");
    }

    let binary = place.unwrap().split("/_history").next().unwrap().to_owned();
    let binary = &binary[binary.find("/fhir/").unwrap()..];
    assert_eq!(fhir.bytes(binary, OCTETS).await, file, "the very file");
    let documents = fhir.all("/fhir/DocumentReference?patient=p-test-1").await;
    assert_eq!(documents.len(), 1);
    let attachment = &documents[0]["content"][0]["attachment"];
    assert_eq!(
        format!("/fhir/{}", attachment["url"].as_str().unwrap()),
        binary
    );
    assert_eq!(attachment["size"], file.len());
    assert_eq!(
        documents[0]["context"]["related"][0]["reference"],
        format!("DiagnosticReport/{}", report["id"].as_str().unwrap())
    );
    let origin = fhir.all("/fhir/Provenance").await;
    let chain = origin[0]["entity"][0]["what"]["identifier"]["value"]
        .as_str()
        .unwrap();
    let hash = ring::digest::digest(&ring::digest::SHA256, &file);
    let hash: String = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    assert!(chain.ends_with(&format!("sha256:{hash}")), "{chain}");

    // The same file again is the same recording.
    let before = bench.asked(json!({"verb": "status"})).await["ok"]["record"].clone();
    let (status, _, again) = fhir.upload(OCTETS, Some("Patient/p-test-1"), &file).await;
    assert_eq!(status, 200);
    assert!(again.unwrap().contains(binary));
    assert_eq!(
        bench.asked(json!({"verb": "status"})).await["ok"]["record"],
        before
    );
    // For somebody else it is a mistake.
    let (status, said, _) = fhir.upload(OCTETS, Some("Patient/p-test-2"), &file).await;
    assert_eq!(
        (status, &said["issue"][0]["code"]),
        (409, &json!("duplicate"))
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_taken_is_filed_whole_after_a_stop_in_between() {
    let bench = Bench::start().await;
    let fhir = with_patients(&bench).await;
    let (status, _, _) = fhir.upload(OCTETS, Some("Patient/p-test-1"), &edf()).await;
    assert_eq!(status, 201);
    let bench = bench.restart().await.restart().await;
    let fhir = bench.fhir();
    let report = filed(&fhir).await;
    let sent: Vec<i64> = (0..SAMPLES).map(|at| sample(1, at)).collect();
    assert!(counts(&fhir, &report, 1).await == sent);
    assert_eq!(fhir.all("/fhir/DocumentReference").await.len(), 1);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_filed_is_refused_with_its_reason() {
    let bench = Bench::start().await;
    let fhir = with_patients(&bench).await;
    let file = edf();
    let mut cut = file.clone();
    cut.truncate(300);
    let patient = Some("Patient/p-test-1");
    type Case<'a> = (&'a str, Option<&'a str>, &'a [u8], u16, &'a str);
    let header = b"100 2 360 650000\n100.dat 212 200 11 1024 995 -22131 0 MLII\n\
        100.dat 212 200 11 1024 1011 20052 0 V5\n";
    let cases: [Case<'_>; 8] = [
        (OCTETS, None, &file, 400, "X-Security-Context"),
        (OCTETS, Some("Group/1"), &file, 400, "X-Security-Context"),
        (OCTETS, Some("Patient/nobody"), &file, 422, "Patient/nobody"),
        (
            OCTETS,
            patient,
            b"%PDF-1.7 nothing",
            422,
            "format.unrecognised",
        ),
        (OCTETS, patient, &cut, 422, "format."),
        (
            "text/csv",
            patient,
            b"# rate_hz: 250\nI,II\n",
            422,
            "import.empty",
        ),
        ("application/fhir+json", patient, b"{}", 415, "Content-Type"),
        (OCTETS, patient, header, 422, "convert RECORD OUT.edf"),
    ];
    for (media_type, subject, bytes, expected, why) in cases {
        let (status, said, _) = fhir.upload(media_type, subject, bytes).await;
        assert_eq!(status, expected, "{said}");
        let text = said["issue"][0]["diagnostics"].as_str().unwrap();
        assert!(text.contains(why), "{text}");
    }
    assert!(fhir.all("/fhir/DocumentReference").await.is_empty());
    let counters = bench.asked(json!({"verb": "status"})).await["ok"]["counters"].clone();
    assert_eq!(counters["uploads_refused"], 8);
    bench.gateway.stop().await;
}

/// The records that bring a file; `name` tells those of one file from those of another.
fn parts_of(file: &[u8], name: u8) -> Vec<Record> {
    let hash = digest(&SHA256, file).as_ref().try_into().unwrap();
    let parts = file.chunks(usize::try_from(ORIGINAL_PART_BYTES).unwrap());
    let part = |(number, part): (u8, &[u8])| {
        Record::OriginalPart(OriginalPartV1 {
            head: RecordHead {
                id: RecordId(
                    [[name; 15].as_slice(), &[number]]
                        .concat()
                        .try_into()
                        .unwrap(),
                ),
                at: reading(90_000_000),
            },
            file: hash,
            size: u64::try_from(file.len()).unwrap(),
            from: u64::from(number) * ORIGINAL_PART_BYTES,
            part: part.to_vec(),
            acquisitions: vec![ACQUISITION],
            media_type: OCTETS.to_owned(),
        })
    };
    (0..).zip(parts).map(part).collect()
}

/// The documents that are not what the box made of the exam.
async fn originals(fhir: &Fhir) -> Vec<Value> {
    let mut all = fhir.all("/fhir/DocumentReference").await;
    all.retain(|one| one["description"].is_string());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_a_box_sends_in_parts_is_read_back_byte_for_byte_in_any_order() {
    let bench = Bench::start().await;
    let fhir = with_patients(&bench).await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let file: Vec<u8> = (0..40_000_u32)
        .map(|at| (at * at / 7).to_le_bytes()[0])
        .collect();
    let mut parts = parts_of(&file, 0xE0);
    assert_eq!(parts.len(), 5);
    let last = parts.remove(2);
    parts.reverse();
    // The same file once more under other records: a box that was cut off sends again.
    parts.extend(parts_of(&file, 0xE1).drain(..2));
    client.send_all(&mut of, Lane::Bulk, &parts).await;
    let (routine, alert) = Visit::new().whole(Some("p-test-1"));
    client.send_all(&mut of, Lane::Routine, &routine).await;
    client.send_all(&mut of, Lane::Alert, &alert).await;
    let report = filed(&fhir).await;
    assert!(originals(&fhir).await.is_empty(), "a part is missing");

    client.send_all(&mut of, Lane::Bulk, &[last]).await;
    let found = until("the document", || async { originals(&fhir).await.pop() }).await;
    let attachment = &found["content"][0]["attachment"];
    assert_eq!(attachment["size"], file.len());
    let url = format!("/fhir/{}", attachment["url"].as_str().unwrap());
    assert_eq!(fhir.bytes(&url, OCTETS).await, file, "the very file");
    assert_eq!(
        found["context"]["related"][0]["reference"],
        format!("DiagnosticReport/{}", report["id"].as_str().unwrap())
    );
    assert_eq!(found["subject"]["reference"], "Patient/p-test-1");
    let id = found["id"].as_str().unwrap();
    let origin = fhir
        .all(&format!("/fhir/Provenance?target=DocumentReference/{id}"))
        .await;
    let chain = origin[0]["entity"][0]["what"]["identifier"]["value"].as_str();
    assert!(chain.unwrap().contains("/2/"), "the bulk lane: {chain:?}");

    // Whose exam it is was wrong: the file goes with it.
    let acquisition = ACQUISITION.to_string();
    let asked = json!({"verb": "records-assign", "acquisition": acquisition,
                       "patient": "p-test-2", "by": "desk", "why": "wrong patient"});
    let told = bench.asked(asked).await;
    assert!(told.get("ok").is_some(), "{told}");
    let found = originals(&fhir).await;
    assert_eq!(found[0]["subject"]["reference"], "Patient/p-test-2");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_not_the_file_whose_hash_they_bear_are_set_aside_and_no_document() {
    let bench = Bench::start().await;
    let fhir = with_patients(&bench).await;
    let mut of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let (routine, alert) = Visit::new().whole(Some("p-test-1"));
    client.send_all(&mut of, Lane::Routine, &routine).await;
    client.send_all(&mut of, Lane::Alert, &alert).await;
    let mut parts = parts_of(&[7; 20_000], 0xE0);
    if let Record::OriginalPart(part) = &mut parts[1] {
        part.part[5] = 8;
    }
    client.send_all(&mut of, Lane::Bulk, &parts).await;
    let set_aside = until("the quarantine", || async {
        let told = bench.asked(json!({"verb": "records-quarantine"})).await;
        let list = told["ok"]["quarantine"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.into_iter().next()
    })
    .await;
    assert_eq!(set_aside["code"], "original.other-bytes");
    assert!(originals(&fhir).await.is_empty());
    bench.gateway.stop().await;
}
