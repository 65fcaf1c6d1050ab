//! The exam as a whole: its report, its original file, and where both come from.
//!
//! A report stays preliminary until a doctor signs; then the doctor's words lead its conclusion. The original file is exactly what the box
//! sent; nothing is encoded again. The SHA-1 of an attachment is a field of the format and
//! proves nothing: integrity is the chain that the Provenance names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cardio_core::clock::UtcMicros;
use cardio_core::gap::Gap;
use cardio_core::ids::AcquisitionId;
use cardio_core::rate::SamplingRate;
use serde_json::{Value, json};

use crate::codes::{CONFIDENTIALITY, DIAGNOSTIC_SECTION, LOINC, own};
use crate::element::{
    coding, meta, push, reference, reference_to, resource, set, shown, test_label,
};
use crate::measure::gap_micros;
use crate::time::{Effective, instant, period};
use crate::waveform::{Context, subject};

/// How far a report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportStatus {
    /// The recording goes on.
    Partial,
    /// The recording is complete, nobody has read it.
    Preliminary,
    /// A doctor signed it.
    Final,
    /// A doctor signed it again, over what was signed before.
    Amended,
    /// A doctor signed it, and since then more was filed that no doctor has read.
    Appended,
}

impl ReportStatus {
    const fn code(self) -> &'static str {
        match self {
            Self::Partial => "partial",
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Amended => "amended",
            Self::Appended => "appended",
        }
    }
}

/// Which exam a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExamKind {
    /// An ECG of any number of leads.
    Ecg,
    /// A 12-lead ECG.
    Ecg12,
    /// A Holter recording.
    Holter,
    /// Heart rates and intervals that a sensor told, without a waveform.
    HeartRate,
}

impl ExamKind {
    fn concept(self) -> Value {
        match self {
            Self::Ecg => shown(LOINC, "11524-6", "EKG study"),
            Self::Ecg12 => json!({"coding": [
                coding(LOINC, "11524-6", "EKG study"),
                coding(LOINC, "34534-8", "12 lead EKG panel"),
            ]}),
            Self::HeartRate => shown(LOINC, "8867-4", "Heart rate"),
            Self::Holter => shown(LOINC, "18754-2", "Holter monitor study"),
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Ecg => ("Enregistrement ECG", "ECG recording"),
            Self::Ecg12 => ("ECG 12 dérivations", "12-lead ECG"),
            Self::HeartRate => (
                "Enregistrement de fréquence cardiaque",
                "Heart rate recording",
            ),
            Self::Holter => ("Enregistrement Holter", "Holter recording"),
        }
    }
}

/// What a doctor concluded and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The doctor, as a reference such as `Practitioner/d1`.
    pub who: &'a str,
    /// The conclusion, in the doctor's words.
    pub conclusion: &'a str,
    /// When it was signed.
    pub signed: UtcMicros,
}

/// What is known of an exam.
#[derive(Clone, Debug)]
pub struct ReportFacts<'a> {
    /// Logical id, see [`crate::ids::report`].
    pub id: String,
    /// The acquisition.
    pub acquisition: AcquisitionId,
    /// Which exam it is.
    pub kind: ExamKind,
    /// Who and what it is about.
    pub context: &'a Context,
    /// How far it has come.
    pub status: ReportStatus,
    /// What a doctor said of it, if one did.
    pub reading: Option<Reading<'a>>,
    /// When it was recorded.
    pub effective: Effective,
    /// When this version was made.
    pub issued: UtcMicros,
    /// The team, as a reference such as `Organization/ess`.
    pub organisation: Option<&'a str>,
    /// The request, as a reference such as `ServiceRequest/req1`.
    pub request: Option<&'a str>,
    /// Logical ids of the observations: spans, rates, qualities, gaps.
    pub results: &'a [String],
    /// What is missing.
    pub gaps: &'a [Gap],
    /// The rate of the acquisition.
    pub rate: SamplingRate,
}

/// The report of an exam. Its conclusion is the doctor's, if one has signed, and states in French
/// and English what is missing and what nobody has confirmed.
pub fn diagnostic_report(facts: &ReportFacts<'_>) -> Value {
    let mut report = resource("DiagnosticReport", &facts.id);
    meta(&mut report, &[], test_label(facts.context.simulated));
    let exam = json!({"system": own::SID_EXAM, "value": facts.acquisition.to_string()});
    push(&mut report, "identifier", exam);
    set(
        &mut report,
        "basedOn",
        facts.request.map(|request| json!([reference_to(request)])),
    );
    report.insert("status".to_owned(), json!(facts.status.code()));
    let display = "Electrocardiac (e.g., EKG,  EEC, Holter)";
    report.insert(
        "category".to_owned(),
        json!([shown(DIAGNOSTIC_SECTION, "EC", display)]),
    );
    report.insert("code".to_owned(), facts.kind.concept());
    set(&mut report, "subject", subject(facts.context));
    facts.effective.write_into(&mut report);
    report.insert("issued".to_owned(), json!(instant(facts.issued)));
    set(
        &mut report,
        "performer",
        facts.organisation.map(|who| json!([reference_to(who)])),
    );
    if let Some(reading) = &facts.reading {
        push(&mut report, "resultsInterpreter", reference_to(reading.who));
    }
    for id in facts.results {
        push(&mut report, "result", reference("Observation", id));
    }
    report.insert("conclusion".to_owned(), json!(conclusion(facts)));
    Value::Object(report)
}

fn conclusion(facts: &ReportFacts<'_>) -> String {
    let total: u64 = facts
        .gaps
        .iter()
        .map(|gap| gap_micros(*gap, facts.rate))
        .sum();
    let count = facts.gaps.len();
    let (fr_total, en_total) = seconds(total);
    let (fr_gaps, en_gaps) = match count {
        0 => (
            "Aucune interruption du tracé.".to_owned(),
            "No gap in the recording.".to_owned(),
        ),
        1 => (
            format!("1 interruption du tracé, {fr_total}\u{a0}s."),
            format!("1 gap in the recording, {en_total} s."),
        ),
        _ => (
            format!("{count} interruptions du tracé, {fr_total}\u{a0}s au total."),
            format!("{count} gaps in the recording, {en_total} s in all."),
        ),
    };
    let (fr_read, en_read) = match facts.status {
        ReportStatus::Final | ReportStatus::Amended => ("", ""),
        ReportStatus::Appended => (
            " Complété après la signature\u{a0}: la suite n'est pas validée par un médecin.",
            " Completed after it was signed: what came since is not confirmed by a physician.",
        ),
        ReportStatus::Partial => (
            " Enregistrement en cours. Non validé par un médecin.",
            " Recording in progress. Not confirmed by a physician.",
        ),
        ReportStatus::Preliminary => (
            " Non validé par un médecin.",
            " Not confirmed by a physician.",
        ),
    };
    let stated = format!("{fr_gaps}{fr_read} / {en_gaps}{en_read}");
    match &facts.reading {
        Some(reading) => format!("{}\n\n{stated}", reading.conclusion),
        None => stated,
    }
}

/// Seconds to a thousandth, with the decimal sign of French and of English.
fn seconds(micros: u64) -> (String, String) {
    let english = format!("{}.{:03}", micros / 1_000_000, micros / 1_000 % 1_000);
    let english = english
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned();
    (english.replace('.', ","), english)
}

/// An original file.
#[derive(Clone, Debug)]
pub struct DocumentFacts<'a> {
    /// Logical id, see [`crate::ids::document`].
    pub id: String,
    /// Logical id of the Binary, see [`crate::ids::binary`].
    pub binary: String,
    /// The acquisition.
    pub acquisition: AcquisitionId,
    /// Which exam it is.
    pub kind: ExamKind,
    /// Who and what it is about.
    pub context: &'a Context,
    /// What tells it from the other documents of the exam, where there are others.
    pub description: Option<&'a str>,
    /// Media type, for instance `application/cbor-seq`.
    pub media_type: &'a str,
    /// Size in bytes.
    pub size: u64,
    /// SHA-1 of the bytes.
    pub sha1: [u8; 20],
    /// When the file was complete.
    pub created: UtcMicros,
    /// What it covers, when a clock vouches for it.
    pub period: Option<(UtcMicros, UtcMicros)>,
    /// The team, as a reference such as `Organization/ess`.
    pub organisation: Option<&'a str>,
    /// Logical ids of the reports that it belongs to.
    pub reports: &'a [String],
}

/// The reference to an original file, with the fields of French document sharing.
pub fn document_reference(facts: &DocumentFacts<'_>) -> Value {
    let mut document = resource("DocumentReference", &facts.id);
    meta(&mut document, &[], test_label(facts.context.simulated));
    document.insert(
        "masterIdentifier".to_owned(),
        json!({"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", facts.id)}),
    );
    let exam = json!({"system": own::SID_EXAM, "value": facts.acquisition.to_string()});
    push(&mut document, "identifier", exam);
    document.insert("status".to_owned(), json!("current"));
    document.insert("docStatus".to_owned(), json!("preliminary"));
    let (french, english) = facts.kind.words();
    document.insert(
        "type".to_owned(),
        json!({
            "coding": [{"system": own::DOCUMENT_TYPE, "code": "ecg-recording"}],
            "text": format!("{french} / {english}"),
        }),
    );
    let display = "Electrocardiac (e.g., EKG,  EEC, Holter)";
    document.insert(
        "category".to_owned(),
        json!([shown(DIAGNOSTIC_SECTION, "EC", display)]),
    );
    set(&mut document, "subject", subject(facts.context));
    document.insert("date".to_owned(), json!(instant(facts.created)));
    push(
        &mut document,
        "author",
        reference("Device", &facts.context.box_device),
    );
    if let Some(who) = &facts.context.performer {
        push(&mut document, "author", reference_to(who));
    }
    set(
        &mut document,
        "custodian",
        facts.organisation.map(reference_to),
    );
    let description = facts.description.map(|text| json!(text));
    set(&mut document, "description", description);
    let normal = shown(CONFIDENTIALITY, "N", "normal");
    document.insert("securityLabel".to_owned(), json!([normal]));
    document.insert(
        "content".to_owned(),
        json!([{"attachment": attachment(facts)}]),
    );
    document.insert("context".to_owned(), document_context(facts));
    Value::Object(document)
}

fn attachment(facts: &DocumentFacts<'_>) -> Value {
    let (french, english) = facts.kind.words();
    json!({
        "contentType": facts.media_type,
        "language": "fr-FR",
        "url": format!("Binary/{}", facts.binary),
        "size": facts.size,
        "hash": STANDARD.encode(facts.sha1),
        "title": format!("{french} / {english}"),
        "creation": instant(facts.created),
    })
}

fn document_context(facts: &DocumentFacts<'_>) -> Value {
    let mut context = serde_json::Map::new();
    let covered = facts.period.map(|(start, end)| period(start, end));
    set(&mut context, "period", covered);
    set(&mut context, "sourcePatientInfo", subject(facts.context));
    for report in facts.reports {
        push(
            &mut context,
            "related",
            reference("DiagnosticReport", report),
        );
    }
    Value::Object(context)
}

/// The bytes of a file as a resource. Whoever can, serves the bytes themselves instead.
pub fn binary(id: &str, media_type: &str, security_context: &str, bytes: &[u8]) -> Value {
    json!({
        "resourceType": "Binary",
        "id": id,
        "contentType": media_type,
        "securityContext": reference("DocumentReference", security_context),
        "data": STANDARD.encode(bytes),
    })
}

/// That a doctor signed this version of a report: what, when, who. The signature is that of the
/// account under which it was given; the trace of accesses, which is chained and signed, has it too.
///
/// `version` is a reference such as `DiagnosticReport/ecg/_history/3`.
pub fn attestation(id: &str, version: &str, reading: &Reading<'_>, simulated: bool) -> Value {
    let mut provenance = resource("Provenance", id);
    meta(&mut provenance, &[], test_label(simulated));
    push(&mut provenance, "target", reference_to(version));
    let recorded = json!(instant(reading.signed));
    provenance.insert("recorded".to_owned(), recorded);
    let system = "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion";
    let activity = shown(system, "LA", "legally authenticated");
    provenance.insert("activity".to_owned(), activity);
    let system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
    let kind = shown(system, "legal", "Legal Authenticator");
    let agent = json!({"type": kind, "who": reference_to(reading.who)});
    push(&mut provenance, "agent", agent);
    Value::Object(provenance)
}

/// A stretch of a box's chain, as proof of origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStretch {
    /// Box, lane, chain and sequence numbers, for instance `<box>/1/<chain>/17-203`.
    pub position: String,
    /// SHA-256 of the last frame, which covers all before it.
    pub head: [u8; 32],
    /// Whether frames of it came in frames of a newer chain, after this one had ended.
    pub carried: bool,
}

/// Where resources come from.
#[derive(Clone, Debug)]
pub struct ProvenanceFacts<'a> {
    /// Logical id, see [`crate::ids::provenance`].
    pub id: String,
    /// Who and what it is about.
    pub context: &'a Context,
    /// The resources, as references such as `DiagnosticReport/ecg`.
    pub targets: &'a [String],
    /// When it was recorded, if a clock vouches for it.
    pub period: Option<(UtcMicros, UtcMicros)>,
    /// When it was filed.
    pub recorded: UtcMicros,
    /// The stretches of chain that hold it.
    pub chain: &'a [ChainStretch],
}

/// What is said of a stretch of chain whose frames came in frames of a newer one.
const CARRIED: &str = "carried over from a chain that has ended";

/// Where resources come from: who recorded, which box assembled, where in its chain.
pub fn provenance(facts: &ProvenanceFacts<'_>) -> Value {
    let mut provenance = resource("Provenance", &facts.id);
    meta(&mut provenance, &[], test_label(facts.context.simulated));
    for target in facts.targets {
        push(&mut provenance, "target", reference_to(target));
    }
    let covered = facts.period.map(|(start, end)| period(start, end));
    set(&mut provenance, "occurredPeriod", covered);
    provenance.insert("recorded".to_owned(), json!(instant(facts.recorded)));
    let create = shown(
        "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
        "CREATE",
        "create",
    );
    provenance.insert("activity".to_owned(), create);
    let box_device = reference("Device", &facts.context.box_device);
    push(
        &mut provenance,
        "agent",
        agent("assembler", "Assembler", box_device),
    );
    if let Some(who) = &facts.context.performer {
        push(
            &mut provenance,
            "agent",
            agent("performer", "Performer", reference_to(who)),
        );
    }
    for stretch in facts.chain {
        let head = crate::device::hex(&stretch.head, "").to_lowercase();
        let value = format!("{}:sha256:{head}", stretch.position);
        let mut what = json!({"identifier": {"system": own::SID_CHAIN, "value": value}});
        if stretch.carried
            && let Some(what) = what.as_object_mut()
        {
            what.insert("display".to_owned(), json!(CARRIED));
        }
        push(
            &mut provenance,
            "entity",
            json!({"role": "source", "what": what}),
        );
    }
    Value::Object(provenance)
}

fn agent(code: &str, display: &str, who: Value) -> Value {
    let system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
    json!({"type": shown(system, code, display), "who": who})
}

#[cfg(test)]
mod tests;
