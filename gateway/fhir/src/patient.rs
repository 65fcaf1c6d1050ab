//! The patient, with the French rules of identity.
//!
//! Profiles fr-core-patient and fr-core-patient-ins 2.1.0, claimed only when what they demand
//! is known. A national number leaves this module only with a qualified identity; a simulated
//! patient carries only a fictitious one.

use cardio_core::clock::UtcMicros;
use cardio_core::subject::SubjectRef;
use serde_json::{Value, json};

use crate::codes::{
    EXT_BIRTH_PLACE, EXT_FR_BIRTH_GIVEN, EXT_FR_IDENTITY, EXT_FR_INSEE, FR_COMMUNE,
    FR_IDENTIFIER_TYPE, FR_IDENTITY_STATUS, FR_IDENTITY_STATUS_2_2, PROFILE_FR_PATIENT,
    PROFILE_FR_PATIENT_INS, V2_IDENTIFIER_TYPE, own,
};
use crate::element::{
    concept, meta, push, reference, reference_to, resource, set, shown, test_label,
};
use crate::ins::Ins;

/// How far an identity may be trusted. The four exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityStatus {
    /// Local, unchecked.
    Provisional,
    /// Checked against a strong identity document.
    Validated,
    /// Fetched from the national service, unchecked.
    Recovered,
    /// Fetched and checked: the national number may travel.
    Qualified,
}

impl IdentityStatus {
    /// System and code. The release in use has one word for a checked identity, with or
    /// without its national number, and none for a fetched, unchecked one.
    const fn coding(self) -> (&'static str, &'static str) {
        match self {
            Self::Provisional => (FR_IDENTITY_STATUS, "PROV"),
            Self::Validated | Self::Qualified => (FR_IDENTITY_STATUS, "VALI"),
            Self::Recovered => (FR_IDENTITY_STATUS_2_2, "RECUP"),
        }
    }
}

/// Administrative gender, as far as French records know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// Male.
    Male,
    /// Female.
    Female,
    /// Not known.
    Unknown,
}

impl Gender {
    const fn code(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
            Self::Unknown => "unknown",
        }
    }
}

/// Where somebody was born.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BirthPlace {
    /// INSEE code of the commune or country.
    pub insee: String,
    /// Name of the commune, if known.
    pub city: Option<String>,
}

/// What is known of a patient.
#[derive(Clone, Debug)]
pub struct PatientFacts {
    /// Logical id.
    pub id: SubjectRef,
    /// How far the identity may be trusted.
    pub status: IdentityStatus,
    /// National number.
    pub ins: Option<Ins>,
    /// Record number of the team.
    pub local_number: Option<String>,
    /// Family name at birth.
    pub birth_family: Option<String>,
    /// Given names of the birth certificate, in order.
    pub birth_given: Vec<String>,
    /// Family and given name in daily use, where they differ.
    pub used_name: Option<(String, String)>,
    /// Administrative gender.
    pub gender: Gender,
    /// Date of birth, `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Place of birth.
    pub birth_place: Option<BirthPlace>,
    /// Whether the record is in use.
    pub active: bool,
    /// Whether it is a fictitious patient.
    pub simulated: bool,
}

/// Why a patient cannot be filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatientError {
    /// A real number on a fictitious patient, or the reverse.
    #[error("Patient.identifier: a {kind} number cannot stand on a {patient} patient")]
    Register {
        /// Kind of the number.
        kind: &'static str,
        /// What the patient is.
        patient: &'static str,
    },
    /// A number with an identity that is not qualified.
    #[error("Patient.identifier: a national number travels only with a qualified identity")]
    NotQualified,
    /// A date of birth that is no date.
    #[error("Patient.birthDate: not a date of the form YYYY-MM-DD")]
    BirthDate,
}

impl PatientError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Register { .. } => "patient.register",
            Self::NotQualified => "patient.not-qualified",
            Self::BirthDate => "patient.birth-date",
        }
    }
}

/// The patient.
///
/// # Errors
/// [`PatientError`] when a rule of identity forbids to file these facts.
pub fn patient(facts: &PatientFacts) -> Result<Value, PatientError> {
    check(facts)?;
    let mut patient = resource("Patient", facts.id.as_str());
    meta(&mut patient, profiles(facts), test_label(facts.simulated));
    let (system, code) = facts.status.coding();
    push(
        &mut patient,
        "extension",
        json!({
            "url": EXT_FR_IDENTITY,
            "extension": [{"url": "identityStatus", "valueCoding": {"system": system, "code": code}}],
        }),
    );
    if let Some(place) = &facts.birth_place {
        push(&mut patient, "extension", birth_place(place));
    }
    if let Some(ins) = &facts.ins {
        push(&mut patient, "identifier", ins_identifier(ins));
    }
    if let Some(number) = &facts.local_number {
        push(
            &mut patient,
            "identifier",
            json!({"use": "usual", "type": concept(V2_IDENTIFIER_TYPE, "PI"), "system": own::SID_IPP, "value": number}),
        );
    }
    patient.insert("active".to_owned(), json!(facts.active));
    if let Some(name) = birth_name(facts) {
        push(&mut patient, "name", name);
    }
    if let Some((family, given)) = &facts.used_name {
        let name = json!({"use": "usual", "family": family, "given": [given]});
        push(&mut patient, "name", name);
    }
    patient.insert("gender".to_owned(), json!(facts.gender.code()));
    set(
        &mut patient,
        "birthDate",
        facts.birth_date.as_ref().map(|date| json!(date)),
    );
    Ok(Value::Object(patient))
}

fn check(facts: &PatientFacts) -> Result<(), PatientError> {
    if let Some(ins) = &facts.ins {
        if ins.kind().is_fictitious() != facts.simulated {
            return Err(PatientError::Register {
                kind: ins.kind().code(),
                patient: if facts.simulated {
                    "fictitious"
                } else {
                    "real"
                },
            });
        }
        if facts.status != IdentityStatus::Qualified {
            return Err(PatientError::NotQualified);
        }
    }
    match &facts.birth_date {
        Some(date) if date.len() != 10 || crate::time::covered(date).is_none() => {
            Err(PatientError::BirthDate)
        }
        _ => Ok(()),
    }
}

fn profiles(facts: &PatientFacts) -> &'static [&'static str] {
    let named = facts.birth_family.is_some() && !facts.birth_given.is_empty();
    let identified = facts.ins.is_some() || facts.local_number.is_some();
    let born = facts.birth_date.is_some() && facts.birth_place.is_some();
    let validated = facts.status == IdentityStatus::Qualified;
    match (
        named && identified,
        born && facts.ins.is_some() && validated,
    ) {
        (true, true) => &[PROFILE_FR_PATIENT_INS],
        (true, false) if facts.status != IdentityStatus::Recovered => &[PROFILE_FR_PATIENT],
        _ => &[],
    }
}

fn ins_identifier(ins: &Ins) -> Value {
    json!({
        "use": ins.kind().identifier_use(),
        "type": concept(FR_IDENTIFIER_TYPE, ins.kind().code()),
        "system": ins.kind().system(),
        "value": ins.value(),
    })
}

fn birth_place(place: &BirthPlace) -> Value {
    let mut address = serde_json::Map::new();
    address.insert(
        "extension".to_owned(),
        json!([{"url": EXT_FR_INSEE, "valueCoding": {"system": FR_COMMUNE, "code": place.insee}}]),
    );
    set(
        &mut address,
        "city",
        place.city.as_ref().map(|city| json!(city)),
    );
    json!({"url": EXT_BIRTH_PLACE, "valueAddress": address})
}

/// The official name has exactly one given name; all of them go in the extension.
fn birth_name(facts: &PatientFacts) -> Option<Value> {
    let family = facts.birth_family.as_ref()?;
    let first = facts.birth_given.first()?;
    Some(json!({
        "extension": [{"url": EXT_FR_BIRTH_GIVEN, "valueString": facts.birth_given.join(" ")}],
        "use": "official",
        "family": family,
        "given": [first],
    }))
}

/// How two patients' records belong together (FHIR R4, link-type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// The other continues this record, which is no longer in use.
    ReplacedBy,
    /// This continues the other's record.
    Replaces,
}

impl LinkKind {
    /// Its code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ReplacedBy => "replaced-by",
            Self::Replaces => "replaces",
        }
    }
}

/// A patient with a link to another; one whose record is continued elsewhere is not active.
pub fn linked(mut patient: Value, kind: LinkKind, other: &str) -> Value {
    if let Some(map) = patient.as_object_mut() {
        let link = json!({"other": reference("Patient", other), "type": kind.code()});
        let there = |links: &Value| links.as_array().is_some_and(|links| links.contains(&link));
        if !map.get("link").is_some_and(there) {
            push(map, "link", link);
        }
        if kind == LinkKind::ReplacedBy {
            map.insert("active".to_owned(), json!(false));
        }
    }
    patient
}

/// The links of a patient that a merge made, which nobody else writes.
pub fn merge_links(patient: &Value) -> Vec<&Value> {
    let links = patient.get("link").and_then(Value::as_array);
    let of_a_merge = |link: &&Value| {
        let kind = link.get("type").and_then(Value::as_str);
        [LinkKind::ReplacedBy, LinkKind::Replaces]
            .iter()
            .any(|merge| kind == Some(merge.code()))
    };
    links.into_iter().flatten().filter(of_a_merge).collect()
}

/// What is known of a correction: whose something is, or what it was made for.
#[derive(Clone, Copy, Debug)]
pub struct CorrectionFacts<'a> {
    /// Logical id of the Provenance.
    pub id: &'a str,
    /// Type of `before` and `after`: Patient or ServiceRequest.
    pub kind: &'a str,
    /// Logical id of what it was taken to belong to, if to anything.
    pub before: Option<&'a str>,
    /// Logical id of what it belongs to.
    pub after: &'a str,
    /// What was corrected, as references.
    pub targets: &'a [String],
    /// The person who answers for it.
    pub by: &'a str,
    /// Why, in words.
    pub why: &'a str,
    /// When.
    pub recorded: UtcMicros,
}

/// That something was corrected: what, from whom to whom, when, by whom and why.
pub fn correction(facts: &CorrectionFacts<'_>) -> Value {
    let mut provenance = resource("Provenance", facts.id);
    for target in facts.targets {
        push(&mut provenance, "target", reference_to(target));
    }
    let recorded = json!(crate::time::instant(facts.recorded));
    provenance.insert("recorded".to_owned(), recorded);
    push(&mut provenance, "reason", json!({"text": facts.why}));
    let update = shown(
        "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
        "UPDATE",
        "revise",
    );
    provenance.insert("activity".to_owned(), update);
    let kind = shown(
        "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
        "author",
        "Author",
    );
    let agent = json!({"type": kind, "who": {"display": facts.by}});
    push(&mut provenance, "agent", agent);
    let roles = [("revision", facts.before), ("source", Some(facts.after))];
    for (role, id) in roles {
        if let Some(id) = id {
            let what = reference(facts.kind, id);
            push(
                &mut provenance,
                "entity",
                json!({"role": role, "what": what}),
            );
        }
    }
    Value::Object(provenance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ins::InsKind;

    fn facts() -> PatientFacts {
        PatientFacts {
            id: SubjectRef::new("p1").unwrap(),
            status: IdentityStatus::Qualified,
            ins: Some(Ins::new(InsKind::Test, "123456789012212").unwrap()),
            local_number: Some("ESS-000123".to_owned()),
            birth_family: Some("TESTPATIENT".to_owned()),
            birth_given: vec!["PREMIER".to_owned(), "SECOND".to_owned()],
            used_name: None,
            gender: Gender::Male,
            birth_date: Some("1974-12-25".to_owned()),
            birth_place: Some(BirthPlace {
                insee: "01006".to_owned(),
                city: Some("Ambléon".to_owned()),
            }),
            active: true,
            simulated: true,
        }
    }

    #[test]
    fn a_qualified_test_patient_has_the_shape_of_the_reference() {
        assert_eq!(
            patient(&facts()).unwrap(),
            json!({
                "resourceType": "Patient",
                "id": "p1",
                "meta": {
                    "profile": ["https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-ins"],
                    "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}],
                },
                "extension": [
                    {"url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability", "extension": [{"url": "identityStatus", "valueCoding": {"system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445", "code": "VALI"}}]},
                    {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"extension": [{"url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code", "valueCoding": {"system": "https://mos.esante.gouv.fr/NOS/TRE_R13-Commune/FHIR/TRE-R13-Commune", "code": "01006"}}], "city": "Ambléon"}},
                ],
                "identifier": [
                    {"use": "official", "type": {"coding": [{"system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203", "code": "INS-NIR-TEST"}]}, "system": "urn:oid:1.2.250.1.213.1.4.10", "value": "123456789012212"},
                    {"use": "usual", "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PI"}]}, "system": "https://ess-cardio.example/fhir/sid/ipp", "value": "ESS-000123"},
                ],
                "active": true,
                "name": [{"extension": [{"url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-birth-list-given-name", "valueString": "PREMIER SECOND"}], "use": "official", "family": "TESTPATIENT", "given": ["PREMIER"]}],
                "gender": "male",
                "birthDate": "1974-12-25",
            })
        );
    }

    #[test]
    fn a_national_number_travels_only_with_a_qualified_identity() {
        for status in [
            IdentityStatus::Provisional,
            IdentityStatus::Validated,
            IdentityStatus::Recovered,
        ] {
            let got = patient(&PatientFacts { status, ..facts() });
            assert_eq!(got.unwrap_err(), PatientError::NotQualified, "{status:?}");
        }
    }

    #[test]
    fn a_fictitious_patient_never_carries_a_real_number_nor_the_reverse() {
        let real = Ins::new(InsKind::Nir, "123456789012212").unwrap();
        let err = patient(&PatientFacts {
            ins: Some(real),
            ..facts()
        })
        .unwrap_err();
        assert_eq!(err.code(), "patient.register");
        let err = patient(&PatientFacts {
            simulated: false,
            ..facts()
        })
        .unwrap_err();
        assert_eq!(err.code(), "patient.register");
    }

    #[test]
    fn a_provisional_identity_from_the_box_claims_only_what_it_holds() {
        let got = patient(&PatientFacts {
            status: IdentityStatus::Provisional,
            ins: None,
            birth_place: None,
            ..facts()
        })
        .unwrap();
        assert_eq!(got["meta"]["profile"], json!([PROFILE_FR_PATIENT]));
        assert_eq!(
            got["extension"][0]["extension"][0]["valueCoding"]["code"],
            json!("PROV")
        );
        let nameless = patient(&PatientFacts {
            status: IdentityStatus::Provisional,
            ins: None,
            birth_family: None,
            birth_given: Vec::new(),
            ..facts()
        })
        .unwrap();
        assert_eq!(nameless["meta"].get("profile"), None);
        assert_eq!(nameless.get("name"), None);
    }

    #[test]
    fn a_record_that_is_continued_elsewhere_says_where_once_and_is_not_active() {
        let old = patient(&facts()).unwrap();
        let old = linked(old, LinkKind::ReplacedBy, "p2");
        let old = linked(old, LinkKind::ReplacedBy, "p2");
        let link = json!({"other": {"reference": "Patient/p2"}, "type": "replaced-by"});
        assert_eq!(
            (&old["link"], &old["active"]),
            (&json!([link]), &json!(false))
        );
        assert_eq!(merge_links(&old), [&link]);
        let new = linked(patient(&facts()).unwrap(), LinkKind::Replaces, "p1");
        assert_eq!(new["active"], json!(true));
    }

    #[test]
    fn a_date_of_birth_that_is_no_date_is_refused() {
        for date in ["1974", "25/12/1974", "1974-02-30", "1974-12-25T00:00:00Z"] {
            let got = patient(&PatientFacts {
                birth_date: Some(date.to_owned()),
                ..facts()
            });
            assert_eq!(got.unwrap_err(), PatientError::BirthDate, "{date}");
        }
    }
}
