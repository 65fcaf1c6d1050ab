use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Value, json};

use super::facts::gathered;
use super::*;

fn config() -> MssanteConfig {
    #[derive(serde::Deserialize)]
    struct File {
        mssante: MssanteConfig,
    }
    let file: File = toml::from_str(include_str!("../../tests/mssante.toml")).unwrap();
    file.mssante
}

fn patient(ins: &str, status: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "extension": [
            {"url": "urn:other"},
            {"url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability",
             "extension": [{"url": "identityStatus", "valueCoding": {"code": status}}]},
        ],
        "identifier": [{"system": format!("urn:oid:{ins}"), "value": "123456789012212"}],
        "name": [{"use": "usual", "family": "USAGE"},
                 {"use": "official", "family": "TEST&PATIENT", "given": ["PREMIER", "SECOND"]}],
        "gender": "male", "birthDate": "1974-12-25",
        "managingOrganization": {"reference": "Organization/t"},
    })
}

/// A record with a signed report.
fn record(patient: Value) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        (
            "DiagnosticReport/r",
            json!({
                "resourceType": "DiagnosticReport", "id": "r", "status": "final",
                "meta": {"versionId": "3"}, "issued": "2026-03-02T09:26:00.000Z",
                "subject": {"reference": "Patient/p"},
                "effectivePeriod": {"start": "2026-03-02T08:15:00.000Z",
                                    "end": "2026-03-02T08:15:10.000Z"},
                "resultsInterpreter": [{"reference": "PractitionerRole/d"}],
                "conclusion": "Rythme sinusal < 60.\n\nAucune interruption du tracé.",
            }),
        ),
        ("Patient/p", patient),
        (
            "PractitionerRole/d",
            json!({"practitioner": {"reference": "Practitioner/d"}}),
        ),
        (
            "Practitioner/d",
            json!({"name": [{"family": "DOCTEUR", "given": ["ESSAI"]}],
                   "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10101010101"}]}),
        ),
        (
            "Organization/t",
            json!({"name": "Équipe", "identifier": [
                {"system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1750000000"}]}),
        ),
    ])
}

fn gather_from(record: &BTreeMap<&'static str, Value>) -> Result<Gathered, MssanteError> {
    gathered("r", &mut |address| Ok(record.get(address).cloned())).unwrap()
}

fn message(record: &BTreeMap<&'static str, Value>) -> String {
    let gathered = gather_from(record).unwrap();
    let message = write(&gathered, "medecin@autre.mssante.example", &config()).unwrap();
    String::from_utf8(message.bytes).unwrap()
}

fn files(record: &BTreeMap<&'static str, Value>) -> BTreeMap<String, Vec<u8>> {
    let gathered = gather_from(record).unwrap();
    let document = cda::document(&gathered, &config());
    let archive = xdm::archive(&gathered, &config(), &document).unwrap();
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut all = BTreeMap::new();
    for at in 0..zip.len() {
        let mut file = zip.by_index(at).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let name = file.name().unwrap().into_owned();
        all.insert(name, bytes);
    }
    all
}

/// The paths of a document's elements, each with its attributes and text.
fn read(bytes: &[u8]) -> Vec<(String, String)> {
    let mut reader = Reader::from_reader(bytes);
    let (mut path, mut found) = (Vec::new(), Vec::new());
    loop {
        let event = reader.read_event().unwrap();
        if let Event::Start(element) | Event::Empty(element) = &event {
            path.push(element.name().as_ref().to_owned());
            let attributes = element.attributes_raw().to_owned();
            found.push((path.join("/"), attributes));
        }
        match event {
            Event::Empty(_) | Event::End(_) => {
                path.pop();
            }
            Event::Text(text) => {
                let text = text.to_string();
                found.push((path.join("/"), text));
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn value<'d>(document: &'d [(String, String)], path: &str) -> Vec<&'d str> {
    let of = document.iter().filter(|(at, _)| at == path);
    of.map(|(_, value)| value.as_str()).collect()
}

const REAL: &str = "1.2.250.1.213.1.4.8";
const TEST: &str = "1.2.250.1.213.1.4.10";

#[test]
fn the_headers_say_what_the_document_is_and_only_a_qualified_identity_counts() {
    let headers = |ins, status| {
        let text = message(&record(patient(ins, status)));
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        head.to_owned()
    };
    let head = headers(REAL, "QUAL");
    for line in [
        "X-MSS-CODECDA: 11524-6",
        "X-MSS-INS: O",
        "X-MSS-NIL: 000000",
        "To: medecin@autre.mssante.example",
        "Date: Mon, 02 Mar 2026 09:26:00 +0000",
    ] {
        assert!(head.lines().any(|one| one == line), "{line}\n{head}");
    }
    for (ins, status) in [(REAL, "PROV"), (TEST, "VALI")] {
        assert!(
            headers(ins, status).contains("X-MSS-INS: N"),
            "{ins} {status}"
        );
    }
}

#[test]
fn the_subject_is_one_that_clients_file_by() {
    let gathered = gather_from(&record(patient(REAL, "QUAL"))).unwrap();
    let text = message(&record(patient(REAL, "QUAL")));
    assert!(text.contains("Subject: "), "{text}");
    assert_eq!(
        super::message::subject(&gathered, &config()),
        "XDM/1.0/DDM+Électrocardiogramme TEST&PATIENT PREMIER 25/12/1974"
    );
}

#[test]
fn the_document_names_patient_doctor_and_team_by_their_national_numbers() {
    let files = files(&record(patient(REAL, "QUAL")));
    let document = read(&files["IHE_XDM/SUBSET01/DOC0001.XML"]);
    let at = |path: &str| value(&document, &format!("ClinicalDocument/{path}")).join("|");
    let ids = at("recordTarget/patientRole/id");
    assert!(
        ids.contains(&format!("root=\"{REAL}\" extension=\"123456789012212\"")),
        "{ids}"
    );
    let family = at("recordTarget/patientRole/patient/name/family");
    assert!(family.contains("qualifier=\"BR\"|TEST"), "{family}");
    let doctor = at("legalAuthenticator/assignedEntity/id");
    assert!(doctor.contains("extension=\"810101010101\""), "{doctor}");
    let team = at("custodian/assignedCustodian/representedCustodianOrganization/id");
    assert!(team.contains("extension=\"1750000000\""), "{team}");
    let span = at("documentationOf/serviceEvent/effectiveTime/low");
    assert!(span.contains("value=\"20260302081500+0000\""), "{span}");
    let text = at("component/nonXMLBody/text");
    let text = text.rsplit('|').next().unwrap();
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    let want = "Rythme sinusal < 60.\r\n\r\nAucune interruption du tracé.\r\n";
    assert_eq!(String::from_utf8(text).unwrap(), want);
}

#[test]
fn the_archive_registers_the_very_bytes_of_the_document() {
    let files = files(&record(patient(TEST, "VALI")));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "IHE_XDM/SUBSET01/DOC0001.XML",
            "IHE_XDM/SUBSET01/METADATA.XML",
            "INDEX.HTM",
            "README.TXT"
        ]
    );
    let document = &files["IHE_XDM/SUBSET01/DOC0001.XML"];
    let metadata = String::from_utf8(files["IHE_XDM/SUBSET01/METADATA.XML"].clone()).unwrap();
    read(metadata.as_bytes());
    let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, document);
    let sha1: String = sha1
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for value in [sha1, document.len().to_string()] {
        assert!(
            metadata.contains(&format!("<rim:Value>{value}</rim:Value>")),
            "{value}"
        );
    }
    assert!(metadata.contains("TEST&amp;PATIENT^PREMIER"), "{metadata}");
    read(&files["INDEX.HTM"]);
}

#[test]
fn the_same_signed_version_is_the_same_document() {
    let one = files(&record(patient(REAL, "QUAL")));
    assert_eq!(one, files(&record(patient(REAL, "QUAL"))));
    let mut later = record(patient(REAL, "QUAL"));
    later.get_mut("DiagnosticReport/r").unwrap()["meta"]["versionId"] = json!("5");
    let document = |files: &BTreeMap<String, Vec<u8>>| read(&files["IHE_XDM/SUBSET01/DOC0001.XML"]);
    let (one, other) = (document(&one), document(&files(&later)));
    let at = |of: &[(String, String)], path| value(of, path).join("");
    assert_ne!(
        at(&one, "ClinicalDocument/id"),
        at(&other, "ClinicalDocument/id")
    );
    assert_eq!(
        at(&one, "ClinicalDocument/setId"),
        at(&other, "ClinicalDocument/setId")
    );
}

#[test]
fn what_the_document_must_say_and_nobody_filed_is_named() {
    let of = |address: &'static str, without: &str| {
        let mut record = record(patient(REAL, "QUAL"));
        let resource = record.get_mut(address).unwrap();
        resource.as_object_mut().unwrap().remove(without);
        gather_from(&record).unwrap_err().to_string()
    };
    for (address, without, said) in [
        ("Practitioner/d", "name", "Practitioner/d says no name"),
        (
            "Practitioner/d",
            "identifier",
            "Practitioner/d says no RPPS number",
        ),
        ("Patient/p", "birthDate", "Patient/p says no birth date"),
        ("Organization/t", "name", "Organization/t says no name"),
        (
            "Patient/p",
            "managingOrganization",
            "Patient.managingOrganization says no name",
        ),
    ] {
        let told = of(address, without);
        assert!(told.starts_with(said), "{told}");
    }
    let mut unsigned = record(patient(REAL, "QUAL"));
    for status in ["preliminary", "appended", "partial"] {
        unsigned.get_mut("DiagnosticReport/r").unwrap()["status"] = json!(status);
        let error = gather_from(&unsigned).unwrap_err();
        assert!(matches!(error, MssanteError::NotSigned { .. }), "{error}");
    }
    let gathered = gather_from(&record(patient(REAL, "QUAL"))).unwrap();
    for address in ["", "nobody", "a@b\r\nBcc: c@d"] {
        let error = write(&gathered, address, &config()).unwrap_err();
        assert!(
            matches!(error, MssanteError::Address { .. }),
            "{address:?}: {error}"
        );
    }
}

#[test]
fn a_line_of_the_text_is_never_too_long() {
    let long = "mot ".repeat(60);
    let text = cda::wrapped(&format!("{long}\n\n{}", "x".repeat(100)));
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(
        lines
            .iter()
            .all(|line| line.len() <= 80 || line.len() == 100)
    );
    assert_eq!(text.matches("mot").count(), 60);
}
