//! What a nurse or a doctor reads of an alert, in French and English.
//!
//! One whole sentence per condition and language. Deliberately absent: names of people, and
//! any advice.

use crate::alert::Alert;
use crate::kind::{Family, Kind};

/// A language of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// French.
    French,
    /// English.
    English,
}

impl Alert {
    /// The alert in one sentence; one about a patient says that a physician has to confirm it.
    pub fn text(&self, language: Language) -> String {
        let mut text = match language {
            Language::French => self.french(),
            Language::English => self.english(),
        };
        if self.family() == Family::Physiological {
            text.push_str(match language {
                Language::French => " À confirmer par un médecin.",
                Language::English => " To be confirmed by a physician.",
            });
        }
        text
    }

    fn french(&self) -> String {
        let value = fr(self.value);
        let limit = fr(self.limit);
        let held = fr(Some(self.held_s));
        match self.kind {
            Kind::HeartRateHigh => format!(
                "Fréquence cardiaque {value}/min, au-dessus de {limit}/min depuis {held}\u{a0}s."
            ),
            Kind::HeartRateLow => format!(
                "Fréquence cardiaque {value}/min, au-dessous de {limit}/min depuis {held}\u{a0}s."
            ),
            Kind::Pause => {
                format!("Pause de {value}\u{a0}s, limite {limit}\u{a0}s.")
            }
            Kind::Asystole => {
                format!("Aucun battement pendant {value}\u{a0}s, limite {limit}\u{a0}s.")
            }
            Kind::AfSuspected => format!("FA suspectée depuis {held}\u{a0}s."),
            Kind::HeartRateMissing => format!(
                "Analyse impossible pendant {value}\u{a0}% des 10\u{a0}dernières minutes, limite {limit}\u{a0}%."
            ),
            Kind::QualityInsufficient => {
                format!("Qualité du signal insuffisante depuis {held}\u{a0}s.")
            }
            Kind::ElectrodeOff => format!(
                "Électrode {} décollée depuis {held}\u{a0}s.",
                self.electrode.as_deref().unwrap_or("?")
            ),
            Kind::SourceSilent => format!(
                "Le capteur n'envoie plus rien depuis {value}\u{a0}s, limite {limit}\u{a0}s."
            ),
            Kind::BoxSilent => format!(
                "Le boîtier n'envoie plus rien depuis {value}\u{a0}s, limite {limit}\u{a0}s."
            ),
            Kind::BatteryLow => {
                format!("Batterie à {value}\u{a0}%, limite {limit}\u{a0}%.")
            }
            Kind::StoreFilling => format!(
                "Le boîtier ne peut plus enregistrer que {value}\u{a0}h, limite {limit}\u{a0}h."
            ),
            Kind::ClockBad => {
                format!("L'horloge du boîtier est fausse de {value}\u{a0}s, limite {limit}\u{a0}s.")
            }
            Kind::DeliveryUnconfirmed => format!(
                "Une alerte envoyée n'est pas confirmée depuis {value}\u{a0}s, limite {limit}\u{a0}s."
            ),
            Kind::ChainBroken => {
                "Un enregistrement reçu ne correspond pas à sa signature.".to_owned()
            }
        }
    }

    fn english(&self) -> String {
        let value = en(self.value);
        let limit = en(self.limit);
        let held = en(Some(self.held_s));
        match self.kind {
            Kind::HeartRateHigh => {
                format!("Heart rate {value}/min, above {limit}/min for {held} s.")
            }
            Kind::HeartRateLow => {
                format!("Heart rate {value}/min, below {limit}/min for {held} s.")
            }
            Kind::Pause => format!("Pause of {value} s, limit {limit} s."),
            Kind::Asystole => format!("No beat for {value} s, limit {limit} s."),
            Kind::AfSuspected => format!("AF suspected for {held} s."),
            Kind::HeartRateMissing => {
                format!("Could not analyse {value} % of the last 10 minutes, limit {limit} %.")
            }
            Kind::QualityInsufficient => {
                format!("Signal quality insufficient for {held} s.")
            }
            Kind::ElectrodeOff => format!(
                "Electrode {} off for {held} s.",
                self.electrode.as_deref().unwrap_or("?")
            ),
            Kind::SourceSilent => {
                format!("The sensor has sent nothing for {value} s, limit {limit} s.")
            }
            Kind::BoxSilent => {
                format!("The box has sent nothing for {value} s, limit {limit} s.")
            }
            Kind::BatteryLow => format!("Battery at {value} %, limit {limit} %."),
            Kind::StoreFilling => {
                format!("The box can store {value} h more, limit {limit} h.")
            }
            Kind::ClockBad => {
                format!("The box's clock is wrong by {value} s, limit {limit} s.")
            }
            Kind::DeliveryUnconfirmed => format!(
                "An alert that was sent has not been confirmed for {value} s, limit {limit} s."
            ),
            Kind::ChainBroken => "A received record does not match its signature.".to_owned(),
        }
    }
}

fn en(value: Option<f64>) -> String {
    value.map_or_else(
        || "–".to_owned(),
        |value| {
            let text = format!("{value:.1}");
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        },
    )
}

fn fr(value: Option<f64>) -> String {
    en(value).replace('.', ",")
}
