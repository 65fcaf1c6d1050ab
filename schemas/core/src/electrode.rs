//! Electrodes: the contacts on the skin, with the letters of both standards.
//!
//! The same wire colour means different limbs in the two standards, so a person is always
//! told the letter and the place.

use crate::lead::Lead;

/// One contact on the skin of a 12-lead ECG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Electrode {
    /// Right arm: IEC R, AHA RA.
    RightArm,
    /// Left arm: IEC L, AHA LA.
    LeftArm,
    /// Left leg: IEC F, AHA LL.
    LeftLeg,
    /// Right leg, the neutral electrode: IEC N, AHA RL.
    RightLeg,
    /// Chest position 1: IEC C1, AHA V1.
    C1,
    /// Chest position 2.
    C2,
    /// Chest position 3.
    C3,
    /// Chest position 4.
    C4,
    /// Chest position 5.
    C5,
    /// Chest position 6.
    C6,
}

impl Electrode {
    /// All ten, limbs first.
    pub const ALL: [Self; 10] = [
        Self::RightArm,
        Self::LeftArm,
        Self::LeftLeg,
        Self::RightLeg,
        Self::C1,
        Self::C2,
        Self::C3,
        Self::C4,
        Self::C5,
        Self::C6,
    ];

    /// Letter of IEC 60601-2-25, as used in France.
    pub const fn iec(self) -> &'static str {
        match self {
            Self::RightArm => "R",
            Self::LeftArm => "L",
            Self::LeftLeg => "F",
            Self::RightLeg => "N",
            Self::C1 => "C1",
            Self::C2 => "C2",
            Self::C3 => "C3",
            Self::C4 => "C4",
            Self::C5 => "C5",
            Self::C6 => "C6",
        }
    }

    /// Letters of the AHA.
    pub const fn aha(self) -> &'static str {
        match self {
            Self::RightArm => "RA",
            Self::LeftArm => "LA",
            Self::LeftLeg => "LL",
            Self::RightLeg => "RL",
            Self::C1 => "V1",
            Self::C2 => "V2",
            Self::C3 => "V3",
            Self::C4 => "V4",
            Self::C5 => "V5",
            Self::C6 => "V6",
        }
    }

    /// The leads, of the eight measured ones, that the device reads through this contact.
    /// A chest lead also rests on the three limb contacts (Wilson's terminal), which are
    /// seen in I and II first.
    pub fn measured_leads(self) -> &'static [Lead] {
        match self {
            Self::RightArm => &[Lead::I, Lead::II],
            Self::LeftArm => &[Lead::I],
            Self::LeftLeg => &[Lead::II],
            Self::RightLeg => &Lead::MEASURED_EIGHT,
            Self::C1 => &[Lead::V1],
            Self::C2 => &[Lead::V2],
            Self::C3 => &[Lead::V3],
            Self::C4 => &[Lead::V4],
            Self::C5 => &[Lead::V5],
            Self::C6 => &[Lead::V6],
        }
    }

    /// The electrode of an IEC or AHA letter.
    pub fn from_letter(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|e| e.iec().eq_ignore_ascii_case(text) || e.aha().eq_ignore_ascii_case(text))
    }

    /// The one contact that explains best why exactly these measured leads fail, if one does.
    pub fn suspect(failing: &[Lead]) -> Option<Self> {
        let mut failing = failing.to_vec();
        failing.retain(|lead| Lead::MEASURED_EIGHT.contains(lead));
        failing.sort_unstable();
        failing.dedup();
        Self::ALL
            .into_iter()
            .find(|electrode| electrode.measured_leads() == failing)
    }
}

impl std::fmt::Display for Electrode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.iec())
    }
}

#[cfg(test)]
mod tests {
    use super::{Electrode, Lead};

    #[test]
    fn leads_that_fail_together_name_the_contact_they_share() {
        assert_eq!(
            Electrode::suspect(&[Lead::II, Lead::I]),
            Some(Electrode::RightArm)
        );
        assert_eq!(Electrode::suspect(&[Lead::V3]), Some(Electrode::C3));
        assert_eq!(
            Electrode::suspect(&Lead::MEASURED_EIGHT),
            Some(Electrode::RightLeg)
        );
        assert_eq!(Electrode::suspect(&[Lead::V1, Lead::V5]), None);
        assert_eq!(Electrode::suspect(&[]), None);
    }

    #[test]
    fn letters_of_both_standards_are_understood() {
        assert_eq!(Electrode::from_letter("F"), Some(Electrode::LeftLeg));
        assert_eq!(Electrode::from_letter("ll"), Some(Electrode::LeftLeg));
        assert_eq!(Electrode::from_letter("V7"), None);
    }
}
