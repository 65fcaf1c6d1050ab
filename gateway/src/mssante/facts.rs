//! What the document says, gathered from the record: the report, the patient, the doctor, the team.

use cardio_core::clock::UtcMicros;
use cardio_fhir::codes::EXT_FR_IDENTITY;
use cardio_fhir::ids;
use serde_json::Value;

use super::MssanteError;
use crate::db::{Connection, DbError};
use crate::record;

/// The only authorities of the national identity: a number of the register, or one in waiting.
const REAL: [&str; 2] = ["1.2.250.1.213.1.4.8", "1.2.250.1.213.1.4.9"];
/// As [`REAL`], and the fictitious ones.
const INS: [&str; 4] = [
    REAL[0],
    REAL[1],
    "1.2.250.1.213.1.4.10",
    "1.2.250.1.213.1.4.11",
];
/// Numbers of professionals and of structures.
const RPPS: &str = "https://rpps.esante.gouv.fr";
pub(super) const PROFESSIONALS: &str = "1.2.250.1.71.4.2.1";
pub(super) const STRUCTURES: &str = "1.2.250.1.71.4.2.2";
/// What a number of the register of professionals begins with in the national identifier.
const RPPS_PREFIX: &str = "8";

/// Everything that the document says.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    /// UUID of this version of the document.
    pub(super) document: uuid::Uuid,
    /// UUID of the document whatever its version.
    pub(super) set: uuid::Uuid,
    pub(super) version: u64,
    /// When it was signed.
    pub(super) signed: UtcMicros,
    /// When the exam was, if a clock vouches for it: first and last instant as FHIR writes them.
    pub(super) period: Option<(String, String)>,
    pub(super) conclusion: String,
    pub(super) patient: Patient,
    pub(super) doctor: Person,
    pub(super) team: Team,
}

#[derive(Clone, Debug)]
pub(super) struct Patient {
    /// Authority and number of the national identity, if one is filed.
    pub(super) ins: Option<(String, String)>,
    /// UUID of the record that it is filed under.
    pub(super) local: uuid::Uuid,
    pub(super) name: Person,
    pub(super) birth_date: String,
    /// `M`, `F`, or nothing that CDA has a code for.
    pub(super) gender: Option<&'static str>,
    /// Whether the identity was checked and has all its traits.
    pub(super) is_qualified: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) family: String,
    pub(super) given: String,
    /// Number in the national register, with its prefix.
    pub(super) number: String,
}

#[derive(Clone, Debug)]
pub(super) struct Team {
    pub(super) name: String,
    pub(super) number: Option<String>,
}

/// Gathers what the report of that id says, as it is now.
///
/// # Errors
/// [`DbError`] when the store fails; what cannot be said is in the value.
pub(crate) fn gather(
    connection: &Connection,
    report: &str,
) -> Result<Result<Gathered, MssanteError>, DbError> {
    let mut read = |address: &str| -> Result<Option<Value>, DbError> {
        let Some((kind, id)) = address.split_once('/') else {
            return Ok(None);
        };
        Ok(record::read(connection, kind, id)?.map(|found| found.resource))
    };
    gathered(report, &mut read)
}

type Read<'r> = &'r mut dyn FnMut(&str) -> Result<Option<Value>, DbError>;

pub(super) fn gathered(
    report: &str,
    read: Read<'_>,
) -> Result<Result<Gathered, MssanteError>, DbError> {
    let address = format!("DiagnosticReport/{report}");
    let found = read(&address)?.unwrap_or_default();
    let status = text(&found, "/status").unwrap_or("absent");
    if !["final", "amended"].contains(&status) {
        let status = status.to_owned();
        return Ok(Err(MssanteError::NotSigned { status }));
    }
    let linked = |at: &str| text(&found, at).unwrap_or_default().to_owned();
    let of = linked("/subject/reference");
    let who = linked("/resultsInterpreter/0/reference");
    let patient = read(&of)?.unwrap_or_default();
    let mut doctor = (who.clone(), read(&who)?.unwrap_or_default());
    // A role names the person who fills it.
    if let Some(person) = text(&doctor.1, "/practitioner/reference").map(str::to_owned) {
        doctor = (person.clone(), read(&person)?.unwrap_or_default());
    }
    let team = text(&patient, "/managingOrganization/reference").unwrap_or_default();
    let team = (team.to_owned(), read(team)?.unwrap_or_default());
    Ok(all_of((&address, &found), (&of, &patient), &doctor, &team))
}

fn all_of(
    (address, report): (&str, &Value),
    (of, patient): (&str, &Value),
    (who, doctor): &(String, Value),
    (team_at, team): &(String, Value),
) -> Result<Gathered, MssanteError> {
    let version = text(report, "/meta/versionId").unwrap_or("1");
    let missing = |resource: &str, what| MssanteError::Missing {
        resource: match resource.is_empty() {
            true => "Patient.managingOrganization".to_owned(),
            false => resource.to_owned(),
        },
        what,
    };
    let rpps = identifier(doctor, RPPS).map(|number| format!("{RPPS_PREFIX}{number}"));
    let number = rpps.or_else(|| identifier(doctor, &oid(PROFESSIONALS)).map(str::to_owned));
    let (family, given) = name(doctor).ok_or_else(|| missing(who, "name"))?;
    let team_name = text(team, "/name").ok_or_else(|| missing(team_at, "name"))?;
    let period = ["/effectivePeriod/start", "/effectivePeriod/end"].map(|at| text(report, at));
    let at = text(report, "/effectiveDateTime");
    let period = match (period, at) {
        ([Some(start), Some(end)], _) => Some((start, end)),
        (_, Some(at)) => Some((at, at)),
        _ => None,
    };
    let signed = text(report, "/issued").and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let id = text(report, "/id").unwrap_or_default();
    Ok(Gathered {
        document: ids::clinical_document(id, version),
        set: ids::clinical_document(id, ""),
        version: version.parse().unwrap_or(1),
        signed: UtcMicros(signed.unwrap_or_default().as_microsecond()),
        period: period.map(|(start, end)| (start.to_owned(), end.to_owned())),
        conclusion: text(report, "/conclusion")
            .ok_or_else(|| missing(address, "conclusion"))?
            .to_owned(),
        patient: patient_of(of, patient)?,
        doctor: Person {
            family,
            given,
            number: number.ok_or_else(|| missing(who, "RPPS number"))?,
        },
        team: Team {
            name: team_name.to_owned(),
            number: identifier(team, &oid(STRUCTURES)).map(str::to_owned),
        },
    })
}

fn patient_of(address: &str, patient: &Value) -> Result<Patient, MssanteError> {
    let missing = |what| MssanteError::Missing {
        resource: address.to_owned(),
        what,
    };
    let (family, given) = name(patient).ok_or_else(|| missing("name"))?;
    let ins = INS.iter().find_map(|of| {
        let number = identifier(patient, &oid(of))?;
        Some(((*of).to_owned(), number.to_owned()))
    });
    let status = within(patient, EXT_FR_IDENTITY).and_then(|of| within(of, "identityStatus"));
    let status = status.and_then(|of| text(of, "/valueCoding/code"));
    let is_checked = ["VALI", "QUAL"].contains(&status.unwrap_or_default());
    let gender = match text(patient, "/gender") {
        Some("male") => Some("M"),
        Some("female") => Some("F"),
        _ => None,
    };
    let is_real = ins
        .as_ref()
        .is_some_and(|(of, _)| REAL.contains(&of.as_str()));
    Ok(Patient {
        is_qualified: is_checked && is_real && gender.is_some(),
        local: ids::patient_number(address),
        ins,
        name: Person {
            family,
            given,
            number: String::new(),
        },
        birth_date: text(patient, "/birthDate")
            .ok_or_else(|| missing("birth date"))?
            .to_owned(),
        gender,
    })
}

/// The official name, or the first one: family name and first given name.
fn name(resource: &Value) -> Option<(String, String)> {
    let names = resource.get("name")?.as_array()?;
    let official = names
        .iter()
        .find(|name| text(name, "/use") == Some("official"));
    let name = official.or_else(|| names.first())?;
    let family = text(name, "/family")?.to_owned();
    let given = text(name, "/given/0").unwrap_or_default().to_owned();
    Some((family, given))
}

/// The extension of that address.
fn within<'r>(of: &'r Value, url: &str) -> Option<&'r Value> {
    let all = of.get("extension")?.as_array()?;
    all.iter().find(|one| text(one, "/url") == Some(url))
}

fn identifier<'r>(resource: &'r Value, system: &str) -> Option<&'r str> {
    let all = resource.get("identifier")?.as_array()?;
    let found = all
        .iter()
        .find(|one| text(one, "/system") == Some(system))?;
    text(found, "/value")
}

fn oid(of: &str) -> String {
    format!("urn:oid:{of}")
}

fn text<'r>(resource: &'r Value, at: &str) -> Option<&'r str> {
    resource.pointer(at).and_then(Value::as_str)
}
