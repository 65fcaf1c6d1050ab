//! The archive: the document, what it is (ebRIM, as XDS registers it), and where it lies (IHE ITI
//! XDM, profile "ZIP over e-mail").

use std::io::{Cursor, Write as _};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::MssanteError;
use super::cda::{oid, time, time_of};
use super::facts::{Gathered, PROFESSIONALS, STRUCTURES};
use super::xml::{Element, el};
use crate::config::{Code, MssanteConfig};

const FOLDER: &str = "IHE_XDM/SUBSET01";
const DOCUMENT: &str = "DOC0001.XML";
/// Names of the things that are registered, within the file.
const ENTRY: &str = "Document01";
const SET: &str = "SubmissionSet01";

/// The archive's bytes.
pub(super) fn archive(
    of: &Gathered,
    config: &MssanteConfig,
    document: &[u8],
) -> Result<Vec<u8>, MssanteError> {
    let metadata = metadata(of, config, document).document();
    let index = index(config).document();
    let readme = "Archive IHE XDM. Ouvrir INDEX.HTM.\r\nIHE XDM archive. Open INDEX.HTM.\r\n";
    let files: [(String, &[u8]); 4] = [
        ("README.TXT".to_owned(), readme.as_bytes()),
        ("INDEX.HTM".to_owned(), &index),
        (format!("{FOLDER}/METADATA.XML"), &metadata),
        (format!("{FOLDER}/{DOCUMENT}"), document),
    ];
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let failed = |error: &dyn std::fmt::Display| MssanteError::Unwritable(error.to_string());
    // No time of its own: the same report gives the same bytes.
    let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(name, options)
            .map_err(|error| failed(&error))?;
        zip.write_all(bytes).map_err(|error| failed(&error))?;
    }
    let written = zip.finish().map_err(|error| failed(&error))?;
    Ok(written.into_inner())
}

fn index(config: &MssanteConfig) -> Element {
    let link = el("a")
        .at("href", format!("{FOLDER}/{DOCUMENT}"))
        .text(config.document.name.clone());
    el("html")
        .at("xmlns", "http://www.w3.org/1999/xhtml")
        .with(el("head").with(el("title").text("IHE XDM")))
        .with(el("body").with(el("p").with(link)))
}

fn metadata(of: &Gathered, config: &MssanteConfig, document: &[u8]) -> Element {
    let member = el("rim:Association")
        .at("id", "Association01")
        .at(
            "associationType",
            "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember",
        )
        .at("sourceObject", SET)
        .at("targetObject", ENTRY)
        .with(slot("SubmissionSetStatus", ["Original".to_owned()]));
    let all = el("rim:RegistryObjectList")
        .with(entry(of, config, document))
        .with(set(of, config))
        .with(classified(
            SET,
            "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd",
        ))
        .with(member);
    el("lcm:SubmitObjectsRequest")
        .at("xmlns:lcm", "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0")
        .at("xmlns:rim", "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0")
        .with(all)
}

fn entry(of: &Gathered, config: &MssanteConfig, document: &[u8]) -> Element {
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, document);
    let sha1: String = sha1
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let patient = &of.patient;
    let info = [
        format!("PID-5|{}^{}", patient.name.family, patient.name.given),
        format!("PID-7|{}", patient.birth_date.replace('-', "")),
        format!("PID-8|{}", patient.gender.unwrap_or("U")),
    ];
    let times = of.period.as_ref();
    let times = times.and_then(|(start, end)| Some([time_of(start)?, time_of(end)?]));
    let [start, end] = times.map_or([None, None], |ends| ends.map(Some));
    let service = [("serviceStartTime", start), ("serviceStopTime", end)];
    let service = service
        .into_iter()
        .filter_map(|(name, at)| Some(slot(name, [at?])));
    let codes = [
        (
            "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a",
            &config.class,
        ),
        (
            "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
            &config.document,
        ),
        (
            "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
            &config.format,
        ),
        (
            "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
            &config.facility,
        ),
        (
            "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
            &config.practice,
        ),
    ];
    let confidentiality = Code {
        code: "N".to_owned(),
        name: "Normal".to_owned(),
        system: Some("2.16.840.1.113883.5.25".to_owned()),
    };
    let confidential = (
        "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
        &confidentiality,
    );
    let codes = codes.into_iter().chain([confidential]);
    el("rim:ExtrinsicObject")
        .at("id", ENTRY)
        .at("mimeType", "text/xml")
        .at(
            "objectType",
            "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1",
        )
        .with(slot("creationTime", [signed(of)]))
        .with(slot("languageCode", ["fr-FR".to_owned()]))
        .all(service)
        .with(slot("sourcePatientId", [local(of)]))
        .with(slot("sourcePatientInfo", info))
        .with(slot("legalAuthenticator", [doctor(of)]))
        .with(slot("URI", [DOCUMENT.to_owned()]))
        .with(slot("hash", [sha1]))
        .with(slot("size", [document.len().to_string()]))
        .with(named(&config.document.name))
        .with(author(
            of,
            ENTRY,
            "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d",
        ))
        .all(codes.map(|(scheme, code)| coded(ENTRY, scheme, code)))
        .with(external(
            ENTRY,
            "58a6f841-87b3-4a3e-92fd-a8ffeff98427",
            "XDSDocumentEntry.patientId",
            identity(of),
        ))
        .with(external(
            ENTRY,
            "2e82c1f6-a085-4c72-9da3-8640a32e42ab",
            "XDSDocumentEntry.uniqueId",
            oid(of.document),
        ))
}

fn set(of: &Gathered, config: &MssanteConfig) -> Element {
    let unique = oid(uuid::Uuid::new_v5(&of.document, b"submission-set"));
    let source = oid(uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_URL,
        config.from.as_bytes(),
    ));
    el("rim:RegistryPackage")
        .at("id", SET)
        .with(slot("submissionTime", [signed(of)]))
        .with(named(&config.document.name))
        .with(author(
            of,
            SET,
            "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d",
        ))
        .with(coded(
            SET,
            "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500",
            &config.class,
        ))
        .with(external(
            SET,
            "6b5aea1a-874d-4603-a4bc-96a0a7b38446",
            "XDSSubmissionSet.patientId",
            identity(of),
        ))
        .with(external(
            SET,
            "554ac39e-e3fe-47fe-b233-965d2a147832",
            "XDSSubmissionSet.sourceId",
            source,
        ))
        .with(external(
            SET,
            "96fdda7c-d067-4183-912e-bf5ee74998a8",
            "XDSSubmissionSet.uniqueId",
            unique,
        ))
}

fn signed(of: &Gathered) -> String {
    time(jiff::Timestamp::from_microsecond(of.signed.0).unwrap_or_default())
}

/// The patient as HL7 CX: by the national identity, else by the number of this record.
fn identity(of: &Gathered) -> String {
    match &of.patient.ins {
        Some((system, number)) => format!("{number}^^^&{system}&ISO^NH"),
        None => local(of),
    }
}

fn local(of: &Gathered) -> String {
    format!("{}^^^&{}&ISO^PI", of.patient.local, oid(of.patient.local))
}

/// The doctor as HL7 XCN.
fn doctor(of: &Gathered) -> String {
    let doctor = &of.doctor;
    let (number, family, given) = (&doctor.number, &doctor.family, &doctor.given);
    format!("{number}^{family}^{given}^^^^^^&{PROFESSIONALS}&ISO^D^^^IDNPS")
}

/// The team as HL7 XON.
fn institution(of: &Gathered) -> String {
    let name = &of.team.name;
    match &of.team.number {
        Some(number) => format!("{name}^^^^^&{STRUCTURES}&ISO^IDNST^^^{number}"),
        None => name.clone(),
    }
}

fn author(of: &Gathered, object: &'static str, scheme: &'static str) -> Element {
    classification(object, scheme)
        .at("nodeRepresentation", "")
        .with(slot("authorInstitution", [institution(of)]))
        .with(slot("authorPerson", [doctor(of)]))
}

fn coded(object: &'static str, scheme: &'static str, code: &Code) -> Element {
    let system = code
        .system
        .clone()
        .unwrap_or_else(|| "2.16.840.1.113883.6.1".to_owned());
    classification(object, scheme)
        .at("nodeRepresentation", code.code.clone())
        .with(slot("codingScheme", [system]))
        .with(named(&code.name))
}

fn classification(object: &'static str, scheme: &'static str) -> Element {
    let id = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_URL,
        format!("{object}{scheme}").as_bytes(),
    );
    el("rim:Classification")
        .at("id", format!("urn:uuid:{id}"))
        .at("classificationScheme", scheme)
        .at("classifiedObject", object)
}

fn classified(object: &'static str, node: &'static str) -> Element {
    el("rim:Classification")
        .at("id", "Classification01")
        .at("classifiedObject", object)
        .at("classificationNode", node)
}

fn external(object: &'static str, scheme: &'static str, name: &str, value: String) -> Element {
    el("rim:ExternalIdentifier")
        .at("id", format!("{object}.{scheme}"))
        .at("registryObject", object)
        .at("identificationScheme", format!("urn:uuid:{scheme}"))
        .at("value", value)
        .with(named(name))
}

fn named(name: &str) -> Element {
    el("rim:Name").with(el("rim:LocalizedString").at("value", name))
}

fn slot(name: &'static str, values: impl IntoIterator<Item = String>) -> Element {
    let values = values.into_iter().map(|value| el("rim:Value").text(value));
    el("rim:Slot")
        .at("name", name)
        .with(el("rim:ValueList").all(values))
}
