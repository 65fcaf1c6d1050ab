//! What a nurse reads of signal quality, in French and English: what is wrong, and what to do.
//!
//! The key is the name of the cause ([`QualityCause::name`]). Deliberately absent: alerts,
//! whose words stand with them, and anything of a diagnosis.

use crate::electrode::Electrode;
use crate::quality::QualityCause;

/// A language of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// French.
    French,
    /// English.
    English,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::French, Self::English];

    /// Code of ISO 639-1.
    pub const fn code(self) -> &'static str {
        match self {
            Self::French => "fr",
            Self::English => "en",
        }
    }
}

impl QualityCause {
    /// What is wrong and what to do about it, in one or two short sentences.
    pub const fn advice(self, language: Language) -> &'static str {
        match language {
            Language::French => self.french(),
            Language::English => self.english(),
        }
    }

    const fn french(self) -> &'static str {
        match self {
            Self::LeadOff => "Électrode sans contact. Nettoyez la peau et appuyez à nouveau.",
            Self::Flat => "Tracé plat. Vérifiez le câble et l'électrode.",
            Self::Saturation => {
                "Signal saturé. Remplacez l'électrode et attendez quelques secondes."
            }
            Self::Baseline => {
                "La ligne de base ondule. Demandez au patient de ne pas bouger et de respirer calmement."
            }
            Self::Muscle => {
                "Tremblement musculaire. Détendez et réchauffez le patient, soutenez ses bras."
            }
            Self::Mains => "Parasites du secteur. Éloignez câbles et appareils électriques.",
            Self::Spikes => "Sauts du signal. Fixez les câbles et vérifiez les électrodes.",
            Self::LowAmplitude => {
                "Signal de faible amplitude. Vérifiez la position des électrodes."
            }
            Self::Noise => {
                "Les battements se perdent dans le bruit. Refaites la préparation de la peau."
            }
            Self::LimbSwap => "Électrodes des membres peut-être inversées. Vérifiez leur place.",
            Self::Gap => "Une partie du signal manque. Rapprochez le capteur du boîtier.",
            Self::TooShort => "Enregistrement trop court. Continuez encore quelques secondes.",
            Self::TooQuiet => {
                "Bruits du cœur trop faibles. Appuyez davantage ou déplacez le stéthoscope."
            }
            Self::Friction => "Frottement. Tenez le stéthoscope immobile, directement sur la peau.",
            Self::Ambient => "Voix ou bruit ambiant. Faites le silence dans la pièce.",
            Self::NoRhythm => "Aucun rythme cardiaque reconnu. Changez de foyer d'auscultation.",
        }
    }

    const fn english(self) -> &'static str {
        match self {
            Self::LeadOff => "An electrode has no contact. Clean the skin and press again.",
            Self::Flat => "The trace is flat. Check the cable and the electrode.",
            Self::Saturation => {
                "The signal is at its limit. Replace the electrode and wait a few seconds."
            }
            Self::Baseline => {
                "The baseline wanders. Ask the patient to lie still and breathe calmly."
            }
            Self::Muscle => {
                "Muscle tremor. Help the patient to relax and keep warm, support the arms."
            }
            Self::Mains => "Mains hum. Move cables and electrical devices away.",
            Self::Spikes => "The signal jumps. Fasten the cables and check the electrodes.",
            Self::LowAmplitude => "The signal is small. Check where the electrodes are placed.",
            Self::Noise => "Noise hides the beats. Prepare the skin again.",
            Self::LimbSwap => "Limb electrodes may be swapped. Check where they are placed.",
            Self::Gap => "Part of the signal is missing. Bring the sensor nearer to the box.",
            Self::TooShort => "The recording is too short. Go on for a few seconds.",
            Self::TooQuiet => {
                "The heart sounds are too faint. Press more firmly or move the stethoscope."
            }
            Self::Friction => "Friction. Hold the stethoscope still, on bare skin.",
            Self::Ambient => "Voices or noise in the room. Ask for silence.",
            Self::NoRhythm => "No heart rhythm was recognised. Try another place on the chest.",
        }
    }
}

impl Electrode {
    /// Where it belongs, for the limbs; chest electrodes go by their letter alone.
    const fn limb(self, language: Language) -> Option<&'static str> {
        Some(match (self, language) {
            (Self::RightArm, Language::French) => "bras droit",
            (Self::LeftArm, Language::French) => "bras gauche",
            (Self::LeftLeg, Language::French) => "jambe gauche",
            (Self::RightLeg, Language::French) => "jambe droite",
            (Self::RightArm, Language::English) => "right arm",
            (Self::LeftArm, Language::English) => "left arm",
            (Self::LeftLeg, Language::English) => "left leg",
            (Self::RightLeg, Language::English) => "right leg",
            _ => return None,
        })
    }

    /// Its letter with the place on the body, as a person is told of it.
    fn place(self, language: Language) -> String {
        match self.limb(language) {
            Some(limb) => format!("{} ({limb})", self.iec()),
            None => self.iec().to_owned(),
        }
    }
}

/// That two electrodes look swapped, and what to do.
pub fn swapped(one: Electrode, two: Electrode, language: Language) -> String {
    let (one, two) = (one.place(language), two.place(language));
    match language {
        Language::French => format!(
            "Les électrodes {one} et {two} semblent inversées. Vérifiez-les et recommencez."
        ),
        Language::English => {
            format!("The electrodes {one} and {two} look swapped. Check them and record again.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Electrode, Language, QualityCause, swapped};

    #[test]
    fn every_cause_has_its_own_words_in_each_language_and_they_end_as_sentences() {
        let mut seen = std::collections::BTreeSet::new();
        for language in Language::ALL {
            for cause in QualityCause::ALL {
                let words = cause.advice(language);
                assert!(words.ends_with('.') && words.len() < 110, "{words}");
                assert!(seen.insert(words), "{words} is said twice");
            }
        }
    }

    #[test]
    fn swapped_electrodes_are_told_by_letter_and_place() {
        let (one, two) = (Electrode::RightArm, Electrode::LeftArm);
        assert_eq!(
            swapped(one, two, Language::French),
            "Les électrodes R (bras droit) et L (bras gauche) semblent inversées. Vérifiez-les et recommencez."
        );
        assert!(swapped(Electrode::C1, two, Language::English).contains("C1 and L (left arm)"));
    }
}
