//! The report as a CDA document (HL7 CDA R2; header by the French frame of interoperability, CI-SIS
//! "structuration minimale"; body as plain text, IHE XDS-SD).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::facts::{Gathered, PROFESSIONALS, STRUCTURES};
use super::xml::{Element, el};
use crate::config::{Code, MssanteConfig};

const LOINC: &str = "2.16.840.1.113883.6.1";
/// Longest line of a plain-text document (IHE XDS-SD).
const LINE_MAX: usize = 80;
const NAMESPACE: &str = "urn:hl7-org:v3";

/// A UUID as an object identifier (ITU-T X.667, 2.25).
pub(super) fn oid(of: uuid::Uuid) -> String {
    format!("2.25.{}", of.as_u128())
}

/// A time as HL7 writes it, in UTC and to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y%m%d%H%M%S").to_string()
}

/// As [`time`] of an instant as FHIR writes it.
pub(super) fn time_of(at: &str) -> Option<String> {
    at.parse().ok().map(time)
}

/// The document in UTF-8.
pub(super) fn document(of: &Gathered, config: &MssanteConfig) -> Vec<u8> {
    let signed = Timestamp::from_microsecond(of.signed.0).unwrap_or_default();
    let signed = format!("{}+0000", time(signed));
    el("ClinicalDocument")
        .at("xmlns", NAMESPACE)
        .with(el("realmCode").at("code", "FR"))
        .with(
            el("typeId")
                .at("root", "2.16.840.1.113883.1.3")
                .at("extension", "POCD_HD000040"),
        )
        // HL7 France, CI-SIS, IHE XDS-SD.
        .all(
            [
                "2.16.840.1.113883.2.8.2.1",
                "1.2.250.1.213.1.1.1.1",
                "1.3.6.1.4.1.19376.1.2.20",
            ]
            .map(|root| el("templateId").at("root", root)),
        )
        .with(el("id").at("root", oid(of.document)))
        .with(coded("code", &config.document))
        .with(el("title").text(config.document.name.clone()))
        .with(el("effectiveTime").at("value", signed.clone()))
        .with(
            el("confidentialityCode")
                .at("code", "N")
                .at("displayName", "Normal")
                .at("codeSystem", "2.16.840.1.113883.5.25"),
        )
        .with(el("languageCode").at("code", "fr-FR"))
        .with(el("setId").at("root", oid(of.set)))
        .with(el("versionNumber").at("value", of.version.to_string()))
        .with(patient(of))
        .with(
            el("author")
                .with(el("time").at("value", signed.clone()))
                .with(assigned("assignedAuthor", of)),
        )
        .with(custodian(of))
        .with(
            el("legalAuthenticator")
                .with(el("time").at("value", signed))
                .with(el("signatureCode").at("code", "S"))
                .with(assigned("assignedEntity", of)),
        )
        .with(event(of))
        .with(encounter(of, config))
        .with(body(of))
        .document()
}

pub(super) fn coded(name: &'static str, code: &Code) -> Element {
    el(name)
        .at("code", code.code.clone())
        .at(
            "codeSystem",
            code.system.clone().unwrap_or_else(|| LOINC.to_owned()),
        )
        .at("displayName", code.name.clone())
}

fn patient(of: &Gathered) -> Element {
    let patient = &of.patient;
    let national = patient.ins.iter().map(|(system, number)| {
        el("id")
            .at("root", system.clone())
            .at("extension", number.clone())
    });
    let gender = match patient.gender {
        Some(code) => el("administrativeGenderCode")
            .at("code", code)
            .at("codeSystem", "2.16.840.1.113883.5.1"),
        None => el("administrativeGenderCode").at("nullFlavor", "UNK"),
    };
    let name = el("name")
        .with(el("given").text(patient.name.given.clone()))
        .with(
            el("family")
                .at("qualifier", "BR")
                .text(patient.name.family.clone()),
        );
    let role = el("patientRole")
        .all(national)
        .with(el("id").at("root", oid(patient.local)))
        .with(el("addr").at("nullFlavor", "NASK"))
        .with(el("telecom").at("nullFlavor", "NASK"))
        .with(
            el("patient")
                .with(name)
                .with(gender)
                .with(el("birthTime").at("value", patient.birth_date.replace('-', ""))),
        );
    el("recordTarget").with(role)
}

/// The doctor, as author or as who answers for it.
fn assigned(name: &'static str, of: &Gathered) -> Element {
    let doctor = &of.doctor;
    let person = el("name")
        .with(el("given").text(doctor.given.clone()))
        .with(el("family").text(doctor.family.clone()));
    el(name)
        .with(
            el("id")
                .at("root", PROFESSIONALS)
                .at("extension", doctor.number.clone()),
        )
        .with(el("addr").at("nullFlavor", "NASK"))
        .with(el("telecom").at("nullFlavor", "NASK"))
        .with(el("assignedPerson").with(person))
        .with(organization("representedOrganization", of))
}

fn organization(name: &'static str, of: &Gathered) -> Element {
    let number = of.team.number.iter().map(|number| {
        el("id")
            .at("root", STRUCTURES)
            .at("extension", number.clone())
    });
    el(name)
        .all(number)
        .with(el("name").text(of.team.name.clone()))
}

fn custodian(of: &Gathered) -> Element {
    let id = match &of.team.number {
        Some(number) => el("id")
            .at("root", STRUCTURES)
            .at("extension", number.clone()),
        None => el("id").at("nullFlavor", "UNK"),
    };
    let kept = el("representedCustodianOrganization")
        .with(id)
        .with(el("name").text(of.team.name.clone()))
        .with(el("telecom").at("nullFlavor", "NASK"))
        .with(el("addr").at("nullFlavor", "NASK"));
    el("custodian").with(el("assignedCustodian").with(kept))
}

/// When the exam was; of unknown length when no clock vouches for it.
fn span(of: &Gathered) -> Element {
    let ends = of.period.as_ref();
    let ends = ends.and_then(|(start, end)| Some((time_of(start)?, time_of(end)?)));
    match ends {
        Some((start, end)) => el("effectiveTime")
            .with(el("low").at("value", format!("{start}+0000")))
            .with(el("high").at("value", format!("{end}+0000"))),
        None => el("effectiveTime").with(el("low").at("nullFlavor", "UNK")),
    }
}

fn event(of: &Gathered) -> Element {
    let performer = el("performer")
        .at("typeCode", "PRF")
        .with(assigned("assignedEntity", of));
    let event = el("serviceEvent").with(span(of)).with(performer);
    el("documentationOf").with(event)
}

fn encounter(of: &Gathered, config: &MssanteConfig) -> Element {
    let place = el("healthCareFacility").with(coded("code", &config.facility));
    let encounter = el("encompassingEncounter")
        .with(span(of))
        .with(el("location").with(place));
    el("componentOf").with(encounter)
}

fn body(of: &Gathered) -> Element {
    let text = el("text")
        .at("mediaType", "text/plain")
        .at("representation", "B64")
        .text(STANDARD.encode(wrapped(&of.conclusion)));
    el("component").with(el("nonXMLBody").with(text))
}

/// A text in lines of at most [`LINE_MAX`] characters; a longer word stands alone.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let length = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && length > LINE_MAX {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    let mut text = lines.join("\r\n");
    text.push_str("\r\n");
    text
}
