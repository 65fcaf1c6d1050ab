//! The elements of each type that others may write (FHIR R4, the type's own page).

use serde_json::{Map, Value};

use super::{Element, Form, ShapeError};

/// Elements that every resource may have.
pub(super) const EVERYWHERE: [&str; 9] = [
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "contained",
    "extension",
    "modifierExtension",
];

const GENDER: Form = Form::Code(&["male", "female", "other", "unknown"]);
const AT_LEAST: Form = Form::To(&[]);
const TEAM: Form = Form::To(&[
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "CareTeam",
    "HealthcareService",
    "Patient",
    "Device",
    "RelatedPerson",
]);

const fn one(name: &'static str, form: Form) -> Element {
    Element {
        name,
        form,
        list: false,
        required: false,
    }
}

const fn many(name: &'static str, form: Form) -> Element {
    Element {
        list: true,
        ..one(name, form)
    }
}

const fn must(element: Element) -> Element {
    Element {
        required: true,
        ..element
    }
}

const PATIENT: &[Element] = &[
    many("identifier", Form::Identifier),
    one("active", Form::Flag),
    many("name", Form::Part),
    many("telecom", Form::Part),
    one("gender", GENDER),
    one("birthDate", Form::Date),
    one("deceasedBoolean", Form::Flag),
    one("deceasedDateTime", Form::DateTime),
    many("address", Form::Part),
    one("maritalStatus", Form::Concept),
    one("multipleBirthBoolean", Form::Flag),
    one("multipleBirthInteger", Form::Number),
    many("photo", Form::Part),
    many("contact", Form::Part),
    many("communication", Form::Part),
    many(
        "generalPractitioner",
        Form::To(&["Organization", "Practitioner", "PractitionerRole"]),
    ),
    one("managingOrganization", Form::To(&["Organization"])),
    many("link", Form::Part),
];

const SERVICE_REQUEST: &[Element] = &[
    many("identifier", Form::Identifier),
    many("instantiatesCanonical", Form::Text),
    many("instantiatesUri", Form::Text),
    many("basedOn", AT_LEAST),
    many("replaces", Form::To(&["ServiceRequest"])),
    one("requisition", Form::Identifier),
    must(one(
        "status",
        Form::Code(&[
            "draft",
            "active",
            "on-hold",
            "revoked",
            "completed",
            "entered-in-error",
            "unknown",
        ]),
    )),
    must(one(
        "intent",
        Form::Code(&[
            "proposal",
            "plan",
            "directive",
            "order",
            "original-order",
            "reflex-order",
            "filler-order",
            "instance-order",
            "option",
        ]),
    )),
    many("category", Form::Concept),
    one(
        "priority",
        Form::Code(&["routine", "urgent", "asap", "stat"]),
    ),
    one("doNotPerform", Form::Flag),
    one("code", Form::Concept),
    many("orderDetail", Form::Concept),
    one("quantityQuantity", Form::Part),
    one("quantityRatio", Form::Part),
    one("quantityRange", Form::Part),
    must(one(
        "subject",
        Form::To(&["Patient", "Group", "Location", "Device"]),
    )),
    one("encounter", Form::To(&["Encounter"])),
    one("occurrenceDateTime", Form::DateTime),
    one("occurrencePeriod", Form::Period),
    one("occurrenceTiming", Form::Part),
    one("asNeededBoolean", Form::Flag),
    one("asNeededCodeableConcept", Form::Concept),
    one("authoredOn", Form::DateTime),
    one("requester", TEAM),
    one("performerType", Form::Concept),
    many("performer", TEAM),
    many("locationCode", Form::Concept),
    many("locationReference", Form::To(&["Location"])),
    many("reasonCode", Form::Concept),
    many("reasonReference", AT_LEAST),
    many("insurance", AT_LEAST),
    many("supportingInfo", AT_LEAST),
    many("specimen", Form::To(&["Specimen"])),
    many("bodySite", Form::Concept),
    many("note", Form::Part),
    one("patientInstruction", Form::Text),
    many("relevantHistory", Form::To(&["Provenance"])),
];

const PRACTITIONER: &[Element] = &[
    many("identifier", Form::Identifier),
    one("active", Form::Flag),
    many("name", Form::Part),
    many("telecom", Form::Part),
    many("address", Form::Part),
    one("gender", GENDER),
    one("birthDate", Form::Date),
    many("photo", Form::Part),
    many("qualification", Form::Part),
    many("communication", Form::Concept),
];

const PRACTITIONER_ROLE: &[Element] = &[
    many("identifier", Form::Identifier),
    one("active", Form::Flag),
    one("period", Form::Period),
    one("practitioner", Form::To(&["Practitioner"])),
    one("organization", Form::To(&["Organization"])),
    many("code", Form::Concept),
    many("specialty", Form::Concept),
    many("location", Form::To(&["Location"])),
    many("healthcareService", Form::To(&["HealthcareService"])),
    many("telecom", Form::Part),
    many("availableTime", Form::Part),
    many("notAvailable", Form::Part),
    one("availabilityExceptions", Form::Text),
    many("endpoint", Form::To(&["Endpoint"])),
];

const ORGANIZATION: &[Element] = &[
    many("identifier", Form::Identifier),
    one("active", Form::Flag),
    many("type", Form::Concept),
    one("name", Form::Text),
    many("alias", Form::Text),
    many("telecom", Form::Part),
    many("address", Form::Part),
    one("partOf", Form::To(&["Organization"])),
    many("contact", Form::Part),
    many("endpoint", Form::To(&["Endpoint"])),
];

const CONSENT: &[Element] = &[
    many("identifier", Form::Identifier),
    must(one(
        "status",
        Form::Code(&[
            "draft",
            "proposed",
            "active",
            "rejected",
            "inactive",
            "entered-in-error",
        ]),
    )),
    must(one("scope", Form::Concept)),
    must(many("category", Form::Concept)),
    one("patient", Form::To(&["Patient"])),
    one("dateTime", Form::DateTime),
    many("performer", TEAM),
    many("organization", Form::To(&["Organization"])),
    one("sourceAttachment", Form::Part),
    one("sourceReference", AT_LEAST),
    many("policy", Form::Part),
    one("policyRule", Form::Concept),
    many("verification", Form::Part),
    one("provision", Form::Part),
];

/// The name and the elements of a type.
pub(super) fn of(kind: &str) -> Option<(&'static str, &'static [Element])> {
    Some(match kind {
        "Patient" => ("Patient", PATIENT),
        "ServiceRequest" => ("ServiceRequest", SERVICE_REQUEST),
        "Practitioner" => ("Practitioner", PRACTITIONER),
        "PractitionerRole" => ("PractitionerRole", PRACTITIONER_ROLE),
        "Organization" => ("Organization", ORGANIZATION),
        "Consent" => ("Consent", CONSENT),
        _ => return None,
    })
}

/// What FHIR says of several elements together.
pub(super) fn invariants(kind: &str, map: &Map<String, Value>) -> Result<(), ShapeError> {
    let has = |name: &str| map.contains_key(name);
    let choices: &[&str] = &[
        "deceased",
        "multipleBirth",
        "occurrence",
        "asNeeded",
        "quantity",
        "source",
    ];
    for choice in choices {
        let given = map.keys().filter(|name| is_choice(name, choice)).count();
        if given > 1 {
            let place = format!("{kind}.{choice}[x]");
            return Err(ShapeError::new(place, "of one type only"));
        }
    }
    match kind {
        // org-1
        "Organization" if !has("name") && !has("identifier") => Err(ShapeError::new(
            "Organization",
            "a name or an identifier (org-1)",
        )),
        // ppc-1
        "Consent" if !has("policy") && !has("policyRule") => {
            Err(ShapeError::new("Consent", "policy or policyRule (ppc-1)"))
        }
        // prr-1
        "ServiceRequest" if has("orderDetail") && !has("code") => Err(ShapeError::new(
            "ServiceRequest.orderDetail",
            "a code beside it (prr-1)",
        )),
        _ => Ok(()),
    }
}

/// Whether an element is one of those that a choice offers.
fn is_choice(name: &str, choice: &str) -> bool {
    let rest = name.strip_prefix(choice).unwrap_or_default();
    rest.starts_with(|c: char| c.is_ascii_uppercase())
}
