//! What a doctor concludes and signs, over real HTTPS.

use super::access::{add, done, token, two_teams};
use super::*;

const TEAM: &str = "Organization/team-a";

async fn doctor(bench: &Bench, name: &str, practitioner: Option<&str>) -> Fhir {
    let account = json!({"name": name, "role": "cardiologist", "practitioner": practitioner,
        "all_patients": false, "teams": [TEAM]});
    done(
        bench,
        json!({"verb": "accounts-add", "account": account, "password": null}),
    )
    .await;
    bench.fhir().with_token(&token(bench, name, None).await)
}

async fn report_of(fhir: &Fhir, patient: &str) -> Value {
    let path = format!("/fhir/DiagnosticReport?patient={patient}");
    fhir.all(&path).await.into_iter().next().unwrap()
}

fn path(report: &Value) -> String {
    format!(
        "/fhir/DiagnosticReport/{}/$sign",
        report["id"].as_str().unwrap()
    )
}

async fn sign(fhir: &Fhir, report: &Value, conclusion: &str) -> Told {
    let tag = format!("W/\"{}\"", report["meta"]["versionId"].as_str().unwrap());
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "conclusion", "valueString": conclusion}]});
    fhir.write("POST", &path(report), &[("If-Match", &tag)], &body)
        .await
}

fn begins(report: &Value, with: &str) -> bool {
    report["conclusion"].as_str().unwrap().starts_with(with)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doctor_signs_what_was_read_and_only_for_the_patient_it_was_read_of() {
    let bench = Bench::start().await;
    let all = two_teams(&bench).await;
    let a = doctor(&bench, "a", Some("Practitioner/a")).await;
    let read = report_of(&a, "pa").await;
    assert_eq!(read["status"], "preliminary");

    let signed = sign(&a, &read, " Rythme sinusal, pas d'anomalie. ").await;
    assert_eq!(signed.status, 200, "{}", signed.body);
    assert_eq!(signed.body["status"], "final");
    assert!(begins(&signed.body, "Rythme sinusal, pas d'anomalie.\n\n"));
    let who = &signed.body["resultsInterpreter"][0]["reference"];
    assert_eq!(who, "Practitioner/a");
    let version = signed.body["meta"]["versionId"].as_str().unwrap();
    let report = format!("DiagnosticReport/{}", read["id"].as_str().unwrap());
    let of = format!("{report}/_history/{version}");
    let origins = a.all(&format!("/fhir/Provenance?target={report}")).await;
    let attested = |one: &&Value| one["target"][0]["reference"] == json!(of);
    assert_eq!(origins.iter().filter(attested).count(), 1, "{origins:?}");

    // What was read before is not what stands there now; the newer one can be signed over it.
    assert_eq!(sign(&a, &read, "encore").await.status, 412);
    let again = sign(&a, &signed.body, "Rythme sinusal, une ESV.").await;
    assert_eq!(again.body["status"], "amended", "{}", again.body);
    let old = format!("/fhir/{of}");
    assert_eq!(a.get(&old).await.1["status"], "final", "it stays");

    // For another patient nobody has read it; for the first one somebody has.
    let exam = read["identifier"][0]["value"].as_str().unwrap();
    for (patient, status) in [("pb", "preliminary"), ("pa", "amended")] {
        let assign = json!({"verb": "records-assign", "acquisition": exam, "patient": patient,
            "by": "t", "why": "t"});
        done(&bench, assign).await;
        let (_, now) = all.get(&format!("/fhir/{report}")).await;
        assert_eq!(now["status"], status, "{now}");
        assert_eq!(begins(&now, "Rythme"), status == "amended");
    }

    // A merge leaves the word of the doctor where it is.
    let merge = json!({"verb": "records-merge", "patient": "pa", "into": "pn", "by": "t",
        "why": "t"});
    done(&bench, merge).await;
    let merged = report_of(&all, "pn").await;
    assert_eq!(merged["status"], "amended", "{merged}");
    bench.gateway.stop().await;
}

const MSSANTE: &str = include_str!("../mssante.toml");

async fn message(fhir: &Fhir, report: &Value, to: &str) -> Told {
    let path = path(report).replace("$sign", "$mssante");
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "to", "valueString": to}]});
    fhir.write("POST", &path, &[], &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_report_becomes_a_message_of_secure_health_mail() {
    let to = "medecin@autre.mssante.example";
    let dir = tempfile::tempdir().unwrap();
    let clock = super::access::by_hand();
    let bench = Bench::start_in(dir, MSSANTE.to_owned(), clock).await;
    let all = two_teams(&bench).await;
    let a = doctor(&bench, "a", Some("Practitioner/a")).await;
    let read = report_of(&a, "pa").await;
    let told = message(&a, &read, to).await;
    assert_eq!(told.status, 409, "nobody has read it: {}", told.body);
    let signed = sign(&a, &read, "Rythme sinusal.").await.body;
    let told = message(&a, &signed, to).await;
    assert_eq!(
        told.status, 422,
        "the doctor has no name here: {}",
        told.body
    );

    let mut whom = patient("pa", "number-pa");
    whom["name"] = json!([{"use": "official", "family": "TESTPATIENT", "given": ["PREMIER"]}]);
    whom["birthDate"] = json!("1974-12-25");
    whom["managingOrganization"] = json!({"reference": TEAM});
    let person = json!({"resourceType": "Practitioner", "id": "a",
        "name": [{"family": "DOCTEUR", "given": ["ESSAI"]}],
        "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10101010101"}]});
    let team = json!({"resourceType": "Organization", "id": "team-a", "name": "Team"});
    for resource in [whom, person, team] {
        let (kind, id) = (&resource["resourceType"], &resource["id"]);
        let path = format!("/fhir/{}/{}", kind.as_str().unwrap(), id.as_str().unwrap());
        let told = all.write("PUT", &path, &[], &resource).await;
        assert!(told.status < 300, "{}", told.body);
    }
    let told = message(&a, &signed, to).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.header("Content-Type"), "message/rfc822");
    let text = String::from_utf8(told.raw.clone()).unwrap();
    for line in [
        "X-MSS-CODECDA: 11524-6",
        "X-MSS-INS: N",
        "X-MSS-NIL: 000000",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    assert!(text.contains("IHE_XDM.ZIP"), "{text}");
    assert_eq!(message(&a, &signed, "nobody").await.status, 400);
    assert_eq!(message(&bench.fhir(), &signed, to).await.status, 403);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_signs_and_nothing_is_signed_unread() {
    let bench = Bench::start().await;
    two_teams(&bench).await;
    let a = doctor(&bench, "a", Some("Practitioner/a")).await;
    let read = report_of(&a, "pa").await;
    let nobody = doctor(&bench, "nobody", None).await;
    assert_eq!(sign(&nobody, &read, "x").await.status, 403);
    add(&bench, "nurse", "nurse", &[TEAM], None).await;
    let nurse = token(&bench, "nurse", None).await;
    let nurse = bench.fhir().with_token(&nurse);
    assert_eq!(sign(&nurse, &read, "x").await.status, 403);
    assert_eq!(sign(&bench.fhir(), &read, "x").await.status, 403, "the key");
    let other = report_of(&bench.fhir(), "pb").await;
    assert_eq!(sign(&a, &other, "x").await.status, 404, "of another team");

    for tag in [None, Some("*"), Some("W/\"1\", *")] {
        let body = json!({"resourceType": "Parameters", "parameter": [
            {"name": "conclusion", "valueString": "x"}]});
        let headers: Vec<(&str, &str)> = tag.map(|tag| ("If-Match", tag)).into_iter().collect();
        let told = a.write("POST", &path(&read), &headers, &body).await;
        assert_eq!(told.status, 428, "{tag:?}: {}", told.body);
        assert!(is_outcome(&told));
    }
    for conclusion in ["", "  ", &"x".repeat(17_000)] {
        let told = sign(&a, &read, conclusion).await;
        assert_eq!(told.status, 400, "{}", told.body);
    }
    let read = report_of(&a, "pa").await;
    assert_eq!(read["status"], "preliminary");
    let told = message(&a, &read, "a@b.example").await;
    assert_eq!(told.status, 501, "not set up: {}", told.body);
    bench.gateway.stop().await;
}
