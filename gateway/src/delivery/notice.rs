//! What a message about an alert says: that there is one, how urgent, since when, where to
//! look; in French and English, and never what was found, or of whom.

use cardio_alert::Priority;
use cardio_core::clock::UtcMicros;
use cardio_fhir::alert::NOT_AN_EMERGENCY_SERVICE;
use serde_json::{Value, json};

use crate::clock::rfc3339;

/// What a message says.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// The alert.
    pub(crate) alert: String,
    /// How urgent it is.
    pub(crate) priority: Priority,
    /// Whether it is about equipment.
    pub(crate) technical: bool,
    /// When it was raised.
    pub(crate) raised: UtcMicros,
    /// The hours of the duty, in French and in English.
    pub(crate) hours: [String; 2],
}

impl Notice {
    /// The subject of a mail.
    pub(super) fn subject(&self) -> String {
        let (french, english) = match self.priority {
            Priority::High => ("urgente", "high priority"),
            Priority::Medium => ("à voir rapidement", "medium priority"),
            Priority::Low | Priority::Information => ("pour information", "low priority"),
        };
        let (what_fr, what_en) = if self.technical {
            ("Alerte technique", "Technical alert")
        } else {
            ("Alerte", "Alert")
        };
        format!("{what_fr} {french} / {what_en}, {english}")
    }

    /// The text of a mail.
    pub(super) fn body(&self, link: Option<&str>) -> String {
        let [hours_fr, hours_en] = &self.hours;
        let (alert, raised) = (&self.alert, rfc3339(self.raised));
        let place = link.map_or_else(|| alert.clone(), |link| address(link, alert));
        format!(
            "Une alerte de télésurveillance attend votre réponse.\n\
             A remote monitoring alert waits for you.\n\n\
             Émise / raised: {raised}\n\
             Consulter / look here: {place}\n\n\
             {NOT_AN_EMERGENCY_SERVICE}\n\
             Permanence : {hours_fr}\n\
             On duty: {hours_en}\n"
        )
    }

    /// The body of a webhook (`alert-notice/1`).
    pub(super) fn document(&self, who: &str, link: Option<&str>) -> Value {
        json!({
            "schema": "alert-notice/1",
            "alert": self.alert,
            "recipient": who,
            "priority": self.priority.name(),
            "technical": self.technical,
            "raised": rfc3339(self.raised),
            "link": link.map(|link| address(link, &self.alert)),
        })
    }
}

fn address(link: &str, alert: &str) -> String {
    format!("{}/{alert}", link.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_where_to_look_and_that_nobody_waits_at_night() {
        let notice = Notice {
            alert: "0b2c".to_owned(),
            priority: Priority::High,
            technical: false,
            raised: UtcMicros(1_772_439_313_000_000),
            hours: [
                "lundi 08:00–19:00".to_owned(),
                "Monday 08:00–19:00".to_owned(),
            ],
        };
        let body = notice.body(Some("https://cardio.example/alerts/"));
        assert!(
            body.contains("https://cardio.example/alerts/0b2c\n"),
            "{body}"
        );
        assert!(body.contains("15 ou le 112") && body.contains("lundi 08:00–19:00"));
        assert!(notice.subject().starts_with("Alerte urgente"));
        assert_eq!(notice.document("Practitioner/a", None)["link"], Value::Null);
    }
}
