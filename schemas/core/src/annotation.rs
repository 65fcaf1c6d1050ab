//! Marks in time, with a code from a list.

use crate::index::SampleIndex;

/// Beat classes of ANSI/AAMI EC57.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BeatClass {
    /// Any beat that is none of the others, bundle branch block included.
    Normal,
    /// Supraventricular ectopic.
    Supraventricular,
    /// Ventricular ectopic.
    Ventricular,
    /// Fusion of a ventricular and a normal beat.
    Fusion,
    /// Paced, or cannot be classified.
    Unknown,
}

impl BeatClass {
    /// The letter of EC57: N S V F Q.
    pub const fn letter(self) -> char {
        match self {
            Self::Normal => 'N',
            Self::Supraventricular => 'S',
            Self::Ventricular => 'V',
            Self::Fusion => 'F',
            Self::Unknown => 'Q',
        }
    }

    /// The class of a letter.
    pub const fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'N' => Some(Self::Normal),
            'S' => Some(Self::Supraventricular),
            'V' => Some(Self::Ventricular),
            'F' => Some(Self::Fusion),
            'Q' => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// A beat found in the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The instant of the R peak, in the lead's own rate.
    pub at: SampleIndex,
    /// Its class; `None` when nothing classified it.
    pub class: Option<BeatClass>,
}

/// A mark of any kind, as a file or a person made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// When.
    pub at: SampleIndex,
    /// The source's code: a WFDB mnemonic, an EDF+ text, an MDC code.
    pub code: String,
    /// Sub-code, channel and number of WFDB, zero where the source has none.
    pub subtype: i32,
    /// The row it belongs to, as the source counts them.
    pub channel: u32,
    /// The source's number field.
    pub number: i32,
    /// Free text, if any.
    pub text: Option<String>,
}
