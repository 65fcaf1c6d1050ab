//! An alert as what was found, who was told, and what is to be done.
//!
//! DetectedIssue, Communication and Task share the alert's id in their identifiers. The
//! priority of the three follows one table; which condition has which priority is data of the
//! alert rules. Deliberately absent: names of people and of patients in any text.

use cardio_core::clock::UtcMicros;
use cardio_core::subject::SubjectRef;
use serde_json::{Value, json};

use crate::codes::own;
use crate::element::{
    concept, meta, push, reference, reference_to, resource, set, shown, test_label,
};
use crate::time::{instant, period};

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertPriority {
    /// No response needed.
    Information,
    /// Be aware.
    Low,
    /// Prompt.
    Medium,
    /// Someone must look now.
    High,
}

impl AlertPriority {
    /// Code of the FHIR request priority. FHIR orders routine, urgent, asap, stat: `urgent`
    /// is the second lowest.
    pub const fn request_priority(self) -> &'static str {
        match self {
            Self::High => "stat",
            Self::Medium => "asap",
            Self::Low => "urgent",
            Self::Information => "routine",
        }
    }

    const fn severity(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "moderate",
            Self::Low | Self::Information => "low",
        }
    }
}

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// Raised, not yet with anybody.
    Raised,
    /// With its recipient.
    Delivered,
    /// Opened by somebody.
    Seen,
    /// A named person has it.
    Acknowledged,
    /// Passed on to the next person.
    Escalated,
    /// Closed with a reason.
    Closed,
}

impl AlertState {
    const fn code(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Delivered => "delivered",
            Self::Seen => "seen",
            Self::Acknowledged => "acknowledged",
            Self::Escalated => "escalated",
            Self::Closed => "closed",
        }
    }

    const fn task_status(self) -> &'static str {
        match self {
            Self::Raised | Self::Escalated => "requested",
            Self::Delivered | Self::Seen => "received",
            Self::Acknowledged => "in-progress",
            Self::Closed => "completed",
        }
    }

    const fn communication_status(self) -> &'static str {
        match self {
            Self::Raised | Self::Escalated => "in-progress",
            Self::Delivered | Self::Seen | Self::Acknowledged | Self::Closed => "completed",
        }
    }
}

/// The sentence that goes with every alert about a patient, in French and English.
pub const NOT_AN_EMERGENCY_SERVICE: &str = "La télésurveillance n'est pas un service \
    d'urgence. En cas d'urgence, appelez le 15 ou le 112. / Remote monitoring is not an \
    emergency service. In an emergency, call 15 or 112.";

/// What is known of an alert.
#[derive(Clone, Debug)]
pub struct AlertFacts<'a> {
    /// The alert's name for ever.
    pub alert: &'a str,
    /// The condition, as a stable word.
    pub code: &'a str,
    /// How urgent it is.
    pub priority: AlertPriority,
    /// Whether it is about the exam, a sensor, a link or a clock instead of the patient.
    pub technical: bool,
    /// Where it is in its life.
    pub state: AlertState,
    /// What a French reader reads.
    pub text_fr: &'a str,
    /// What an English reader reads.
    pub text_en: &'a str,
    /// The patient; `None` while unassigned, or when it is about a box.
    pub patient: Option<&'a SubjectRef>,
    /// Logical id of the box's Device.
    pub box_device: &'a str,
    /// When the condition began.
    pub began: UtcMicros,
    /// When the condition ended, if it did.
    pub ended: Option<UtcMicros>,
    /// When the alert was raised.
    pub raised: UtcMicros,
    /// When its state last changed.
    pub modified: UtcMicros,
    /// What it is about, as references such as `Observation/hr`.
    pub implicated: &'a [String],
    /// What shows it, as references such as `Observation/quality`.
    pub evidence: &'a [String],
    /// Whether no patient's body made the data.
    pub simulated: bool,
}

impl AlertFacts<'_> {
    fn text(&self) -> String {
        format!("{} / {}", self.text_fr, self.text_en)
    }

    fn about(&self) -> Option<Value> {
        let references: Vec<Value> = self.implicated.iter().map(|to| reference_to(to)).collect();
        (!references.is_empty()).then_some(Value::Array(references))
    }

    fn subject(&self) -> Option<Value> {
        self.patient
            .map(|patient| reference("Patient", patient.as_str()))
    }
}

/// What was found.
pub fn detected_issue(facts: &AlertFacts<'_>) -> Value {
    let mut issue = resource("DetectedIssue", &crate::ids::detected_issue(facts.alert));
    meta(&mut issue, &[], test_label(facts.simulated));
    let identifier = json!({"system": own::SID_ALERT, "value": facts.alert});
    push(&mut issue, "identifier", identifier);
    let closed = facts.state == AlertState::Closed;
    issue.insert(
        "status".to_owned(),
        json!(if closed { "final" } else { "preliminary" }),
    );
    issue.insert("code".to_owned(), concept(own::ALERT_CODE, facts.code));
    issue.insert("severity".to_owned(), json!(facts.priority.severity()));
    set(&mut issue, "patient", facts.subject());
    match facts.ended {
        Some(ended) => issue.insert("identifiedPeriod".to_owned(), period(facts.began, ended)),
        None => issue.insert("identifiedDateTime".to_owned(), json!(instant(facts.began))),
    };
    issue.insert("author".to_owned(), reference("Device", facts.box_device));
    set(&mut issue, "implicated", facts.about());
    let details: Vec<Value> = facts.evidence.iter().map(|to| reference_to(to)).collect();
    if !details.is_empty() {
        issue.insert("evidence".to_owned(), json!([{"detail": details}]));
    }
    issue.insert("detail".to_owned(), json!(facts.text()));
    Value::Object(issue)
}

/// Who was told.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// The recipient, as a reference such as `PractitionerRole/cardio1`.
    pub recipient: &'a str,
    /// When it was sent.
    pub sent: UtcMicros,
    /// When it was confirmed to have arrived.
    pub received: Option<UtcMicros>,
    /// The recipient of the message that this one is a part of, as a person on duty is told
    /// what the duty is told.
    pub part_of: Option<&'a str>,
    /// Why it cannot arrive, if it cannot.
    pub lost: Option<&'a str>,
}

/// The message to one recipient.
pub fn communication(facts: &AlertFacts<'_>, delivery: &Delivery<'_>) -> Value {
    let id = crate::ids::communication(facts.alert, delivery.recipient);
    let mut message = resource("Communication", &id);
    meta(&mut message, &[], test_label(facts.simulated));
    let identifier = json!({"system": own::SID_ALERT, "value": facts.alert});
    push(&mut message, "identifier", identifier);
    let status = match (delivery.received, delivery.lost) {
        (Some(_), _) => "completed",
        (None, Some(_)) => "not-done",
        (None, None) => facts.state.communication_status(),
    };
    message.insert("status".to_owned(), json!(status));
    if let (None, Some(why)) = (delivery.received, delivery.lost) {
        message.insert("statusReason".to_owned(), json!({"text": why}));
    }
    set(
        &mut message,
        "partOf",
        delivery.part_of.map(|whole| {
            let whole = crate::ids::communication(facts.alert, whole);
            json!([reference("Communication", &whole)])
        }),
    );
    let category = "http://terminology.hl7.org/CodeSystem/communication-category";
    message.insert(
        "category".to_owned(),
        json!([shown(category, "alert", "Alert")]),
    );
    message.insert(
        "priority".to_owned(),
        json!(facts.priority.request_priority()),
    );
    let mode = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode";
    let electronic = shown(mode, "ELECTRONIC", "electronic data");
    message.insert("medium".to_owned(), json!([electronic]));
    set(&mut message, "subject", facts.subject());
    let found = reference("DetectedIssue", &crate::ids::detected_issue(facts.alert));
    let mut about = vec![found];
    about.extend(facts.implicated.iter().map(|to| reference_to(to)));
    message.insert("about".to_owned(), Value::Array(about));
    message.insert("topic".to_owned(), concept(own::ALERT_CODE, facts.code));
    message.insert("sent".to_owned(), json!(instant(delivery.sent)));
    set(
        &mut message,
        "received",
        delivery.received.map(|at| json!(instant(at))),
    );
    message.insert(
        "recipient".to_owned(),
        json!([reference_to(delivery.recipient)]),
    );
    message.insert("sender".to_owned(), reference("Device", facts.box_device));
    push(
        &mut message,
        "payload",
        json!({"contentString": facts.text()}),
    );
    for to in facts.implicated {
        push(
            &mut message,
            "payload",
            json!({"contentReference": reference_to(to)}),
        );
    }
    if !facts.technical {
        message.insert(
            "note".to_owned(),
            json!([{"text": NOT_AN_EMERGENCY_SERVICE}]),
        );
    }
    Value::Object(message)
}

/// Whose work it is.
#[derive(Clone, Debug)]
pub struct Assignment<'a> {
    /// The recipient of the message that the work follows from.
    pub recipient: &'a str,
    /// The person who has taken it.
    pub taken_by: Option<&'a str>,
    /// How it was closed.
    pub closing: Option<Closing<'a>>,
    /// Until when somebody must have taken it, if there is such a limit.
    pub until: Option<UtcMicros>,
}

/// How an alert was closed.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// Who closed it.
    pub by: &'a str,
    /// When.
    pub at: UtcMicros,
    /// Why, as a stable word.
    pub reason: &'a str,
    /// In the person's words.
    pub note: Option<&'a str>,
}

/// The work of acknowledging and closing an alert.
pub fn task(facts: &AlertFacts<'_>, assignment: &Assignment<'_>) -> Value {
    let mut task = resource("Task", &crate::ids::task(facts.alert));
    meta(&mut task, &[], test_label(facts.simulated));
    let identifier = json!({"system": own::SID_ALERT_TASK, "value": facts.alert});
    push(&mut task, "identifier", identifier);
    task.insert("status".to_owned(), json!(facts.state.task_status()));
    task.insert("intent".to_owned(), json!("order"));
    task.insert(
        "priority".to_owned(),
        json!(facts.priority.request_priority()),
    );
    task.insert(
        "code".to_owned(),
        json!({
            "coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}],
            "text": "Prendre en charge l'alerte / Acknowledge alert",
        }),
    );
    let message = crate::ids::communication(facts.alert, assignment.recipient);
    task.insert("focus".to_owned(), reference("Communication", &message));
    set(&mut task, "for", facts.subject());
    task.insert("authoredOn".to_owned(), json!(instant(facts.raised)));
    task.insert("lastModified".to_owned(), json!(instant(facts.modified)));
    task.insert(
        "requester".to_owned(),
        reference("Device", facts.box_device),
    );
    let owner = assignment.taken_by.unwrap_or(assignment.recipient);
    task.insert("owner".to_owned(), reference_to(owner));
    if let Some(closing) = &assignment.closing {
        let reason = concept(own::ALERT_CLOSE_REASON, closing.reason);
        task.insert("statusReason".to_owned(), reason);
        // A note's author may be a Practitioner, and no PractitionerRole: so the name stands.
        let note = json!({
            "authorString": closing.by,
            "time": instant(closing.at),
            "text": closing.note.unwrap_or(closing.reason),
        });
        push(&mut task, "note", note);
    }
    if let Some(until) = assignment.until {
        let end = json!({"period": {"end": instant(until)}});
        task.insert("restriction".to_owned(), end);
    }
    task.insert(
        "businessStatus".to_owned(),
        concept(own::ALERT_STATUS, facts.state.code()),
    );
    Value::Object(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: UtcMicros = UtcMicros(1_772_439_313_000_000);

    fn facts<'a>(patient: &'a SubjectRef, implicated: &'a [String]) -> AlertFacts<'a> {
        AlertFacts {
            alert: "AL-0002",
            code: "heart-rate-high",
            priority: AlertPriority::Medium,
            technical: false,
            state: AlertState::Raised,
            text_fr: "Fréquence cardiaque 132/min",
            text_en: "Heart rate 132/min",
            patient: Some(patient),
            box_device: "phg",
            began: SENT,
            ended: None,
            raised: SENT,
            modified: SENT,
            implicated,
            evidence: implicated,
            simulated: false,
        }
    }

    fn assigned(recipient: &str, until: Option<UtcMicros>) -> Assignment<'_> {
        Assignment {
            recipient,
            taken_by: None,
            closing: None,
            until,
        }
    }

    #[test]
    fn what_was_found_has_the_shape_of_the_reference() {
        let patient = SubjectRef::new("p1").unwrap();
        let implicated = ["Observation/hr".to_owned()];
        let want = json!({
            "resourceType": "DetectedIssue",
            "id": crate::ids::detected_issue("AL-0002"),
            "identifier": [{"system": "https://ess-cardio.example/fhir/sid/alert", "value": "AL-0002"}],
            "status": "preliminary",
            "code": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/alert-code", "code": "heart-rate-high"}]},
            "severity": "moderate",
            "patient": {"reference": "Patient/p1"},
            "identifiedDateTime": "2026-03-02T08:15:13.000Z",
            "author": {"reference": "Device/phg"},
            "implicated": [{"reference": "Observation/hr"}],
            "evidence": [{"detail": [{"reference": "Observation/hr"}]}],
            "detail": "Fréquence cardiaque 132/min / Heart rate 132/min",
        });
        assert_eq!(detected_issue(&facts(&patient, &implicated)), want);
    }

    #[test]
    fn the_message_and_the_work_have_the_shape_of_the_reference() {
        let patient = SubjectRef::new("p1").unwrap();
        let implicated = ["Observation/hr".to_owned()];
        let facts = facts(&patient, &implicated);
        let recipient = "PractitionerRole/cardio1";
        let delivery = Delivery {
            recipient,
            sent: SENT,
            received: None,
            part_of: None,
            lost: None,
        };
        let message = communication(&facts, &delivery);
        let want = json!({
            "resourceType": "Communication",
            "id": crate::ids::communication("AL-0002", recipient),
            "identifier": [{"system": "https://ess-cardio.example/fhir/sid/alert", "value": "AL-0002"}],
            "status": "in-progress",
            "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "alert", "display": "Alert"}]}],
            "priority": "asap",
            "medium": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "ELECTRONIC", "display": "electronic data"}]}],
            "subject": {"reference": "Patient/p1"},
            "about": [{"reference": format!("DetectedIssue/{}", crate::ids::detected_issue("AL-0002"))}, {"reference": "Observation/hr"}],
            "topic": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/alert-code", "code": "heart-rate-high"}]},
            "sent": "2026-03-02T08:15:13.000Z",
            "recipient": [{"reference": "PractitionerRole/cardio1"}],
            "sender": {"reference": "Device/phg"},
            "payload": [{"contentString": "Fréquence cardiaque 132/min / Heart rate 132/min"}, {"contentReference": {"reference": "Observation/hr"}}],
            "note": [{"text": NOT_AN_EMERGENCY_SERVICE}],
        });
        assert_eq!(message, want);
        let until = Some(UtcMicros(SENT.0 + 600_000_000));
        let work = task(&facts, &assigned(recipient, until));
        let want = json!({
            "resourceType": "Task",
            "id": crate::ids::task("AL-0002"),
            "identifier": [{"system": "https://ess-cardio.example/fhir/sid/alert-task", "value": "AL-0002"}],
            "status": "requested",
            "intent": "order",
            "priority": "asap",
            "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}], "text": "Prendre en charge l'alerte / Acknowledge alert"},
            "focus": {"reference": format!("Communication/{}", message["id"].as_str().unwrap())},
            "for": {"reference": "Patient/p1"},
            "authoredOn": "2026-03-02T08:15:13.000Z",
            "lastModified": "2026-03-02T08:15:13.000Z",
            "requester": {"reference": "Device/phg"},
            "owner": {"reference": "PractitionerRole/cardio1"},
            "restriction": {"period": {"end": "2026-03-02T08:25:13.000Z"}},
            "businessStatus": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/alert-status", "code": "raised"}]},
        });
        assert_eq!(work, want);
    }

    #[test]
    fn low_is_urgent_in_the_words_of_fhir_and_high_is_stat() {
        assert_eq!(AlertPriority::High.request_priority(), "stat");
        assert_eq!(AlertPriority::Medium.request_priority(), "asap");
        assert_eq!(AlertPriority::Low.request_priority(), "urgent");
        assert_eq!(AlertPriority::Information.request_priority(), "routine");
    }

    #[test]
    fn a_closed_alert_is_final_and_its_work_is_done() {
        let patient = SubjectRef::new("p1").unwrap();
        let facts = AlertFacts {
            state: AlertState::Closed,
            ended: Some(UtcMicros(SENT.0 + 1)),
            ..facts(&patient, &[])
        };
        let issue = detected_issue(&facts);
        assert_eq!(issue["status"], json!("final"));
        assert!(issue.get("identifiedPeriod").is_some());
        assert_eq!(issue.get("implicated"), None);
        let recipient = "PractitionerRole/cardio1";
        let work = task(&facts, &assigned(recipient, None));
        assert_eq!(work["status"], json!("completed"));
    }
}
