//! ECG leads: the twelve standard views, by name and by code.
//!
//! Deliberately absent: electrodes (see [`crate::electrode`]) and derivation (see
//! [`crate::limb`]).

/// A standard ECG view. The order of the variants is the order on paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lead {
    /// Limb lead I: left arm minus right arm.
    I,
    /// Limb lead II: left leg minus right arm.
    II,
    /// Limb lead III: left leg minus left arm.
    III,
    /// Augmented limb lead aVR.
    Avr,
    /// Augmented limb lead aVL.
    Avl,
    /// Augmented limb lead aVF.
    Avf,
    /// Precordial lead V1.
    V1,
    /// Precordial lead V2.
    V2,
    /// Precordial lead V3.
    V3,
    /// Precordial lead V4.
    V4,
    /// Precordial lead V5.
    V5,
    /// Precordial lead V6.
    V6,
}

impl Lead {
    /// The twelve leads, in the order of the paper sheet.
    pub const ALL: [Self; 12] = [
        Self::I,
        Self::II,
        Self::III,
        Self::Avr,
        Self::Avl,
        Self::Avf,
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
    ];

    /// The eight leads that a 12-lead device measures; the other four follow from I and II.
    pub const MEASURED_EIGHT: [Self; 8] = [
        Self::I,
        Self::II,
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
    ];

    /// The name as cardiologists write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I => "I",
            Self::II => "II",
            Self::III => "III",
            Self::Avr => "aVR",
            Self::Avl => "aVL",
            Self::Avf => "aVF",
            Self::V1 => "V1",
            Self::V2 => "V2",
            Self::V3 => "V3",
            Self::V4 => "V4",
            Self::V5 => "V5",
            Self::V6 => "V6",
        }
    }

    /// Code in the ECG partition of ISO/IEEE 11073-10101 (`MDC_ECG_ELEC_POTL_*`):
    /// 2 x 65536 + term. III, aVR, aVL and aVF do not follow II.
    pub const fn mdc_code(self) -> u32 {
        match self {
            Self::I => 131_329,
            Self::II => 131_330,
            Self::III => 131_389,
            Self::Avr => 131_390,
            Self::Avl => 131_391,
            Self::Avf => 131_392,
            Self::V1 => 131_331,
            Self::V2 => 131_332,
            Self::V3 => 131_333,
            Self::V4 => 131_334,
            Self::V5 => 131_335,
            Self::V6 => 131_336,
        }
    }

    /// The lead of a code of ISO/IEEE 11073-10101, if it is one of the twelve.
    pub fn from_mdc_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|lead| lead.mdc_code() == code)
    }

    /// The lead that a file or device calls by `label`: case, spaces and a leading
    /// `ECG` or `lead` are ignored. A modified lead such as `MLII` is not lead II and
    /// gives `None`.
    pub fn from_label(label: &str) -> Option<Self> {
        let mut text = label.trim();
        for prefix in ["ecg", "ekg", "lead"] {
            let (Some(head), Some(rest)) = (text.get(..prefix.len()), text.get(prefix.len()..))
            else {
                continue;
            };
            if head.eq_ignore_ascii_case(prefix) {
                text = rest.trim_start_matches([' ', '_', '-', ':']);
            }
        }
        Self::ALL
            .into_iter()
            .find(|lead| lead.name().eq_ignore_ascii_case(text))
    }
}

impl std::fmt::Display for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Lead;

    #[test]
    fn every_lead_is_found_again_by_its_code_and_by_its_name() {
        for lead in Lead::ALL {
            assert_eq!(Lead::from_mdc_code(lead.mdc_code()), Some(lead));
            assert_eq!(Lead::from_label(lead.name()), Some(lead));
        }
    }

    #[test]
    fn labels_of_files_are_read_as_people_write_them() {
        assert_eq!(Lead::from_label("ECG aVR"), Some(Lead::Avr));
        assert_eq!(Lead::from_label("lead ii"), Some(Lead::II));
        assert_eq!(Lead::from_label("AVF"), Some(Lead::Avf));
    }

    #[test]
    fn a_modified_lead_is_not_the_standard_one() {
        assert_eq!(Lead::from_label("MLII"), None);
        assert_eq!(Lead::from_label("V7"), None);
    }
}
