//! One act on one patient: who, when, with which device, which leads.

use crate::calibration::Calibration;
use crate::device::{DeviceIdentity, IntegrityClass};
use crate::ids::{AcquisitionId, SourceId};
use crate::lead::Lead;
use crate::rate::SamplingRate;
use crate::request::RequestRef;
use crate::site::AuscultationSite;
use crate::subject::SubjectRef;

/// What one row of samples shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaveformKind {
    /// A standard ECG lead.
    Ecg(Lead),
    /// An ECG lead that is none of the twelve (a modified or Holter lead), by its label.
    EcgOther(String),
    /// Heart sounds, at a site if the operator named one.
    HeartSound(Option<AuscultationSite>),
    /// Anything else, by its label.
    Other(String),
}

impl WaveformKind {
    /// The standard lead, if it is one.
    pub const fn lead(&self) -> Option<Lead> {
        match self {
            Self::Ecg(lead) => Some(*lead),
            _ => None,
        }
    }

    /// What a person calls it.
    pub fn label(&self) -> &str {
        match self {
            Self::Ecg(lead) => lead.name(),
            Self::EcgOther(label) | Self::Other(label) => label,
            Self::HeartSound(Some(site)) => site.name(),
            Self::HeartSound(None) => "heart sound",
        }
    }
}

/// One row of samples of a source: what it shows and what a count means.
#[derive(Clone, Debug, PartialEq)]
pub struct WaveformSpec {
    /// What it shows.
    pub kind: WaveformKind,
    /// What a count means.
    pub calibration: Calibration,
}

/// How long a segment is, and how soon a person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attendance {
    /// A person stands beside the patient: segments of 1 s.
    Attended,
    /// A long recording without a person: segments of 5 s.
    Unattended,
}

/// What is known when an acquisition starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Acquisition {
    /// Its name for ever.
    pub id: AcquisitionId,
    /// The patient, or `None` while unassigned.
    pub subject: Option<SubjectRef>,
    /// The request that it is made for, if a person chose one at the box.
    pub request: Option<RequestRef>,
    /// The sensor as the box's configuration calls it.
    pub source: SourceId,
    /// The sensor as it identifies itself.
    pub device: DeviceIdentity,
    /// How a loss can be noticed.
    pub integrity: IntegrityClass,
    /// The rate of every row.
    pub rate: SamplingRate,
    /// The rows, in the order of the samples.
    pub waveforms: Vec<WaveformSpec>,
    /// Whether a person attends.
    pub attendance: Attendance,
}
