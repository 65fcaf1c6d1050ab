//! Each second of a recording as it comes: quality of every lead, and the heart rate of the
//! best one. What the box tells while it records, and what the same rules are tried on later.
//!
//! Measured leads and the four that follow from I and II are scored. Nothing here changes a
//! sample: derived leads are made to be looked at and are not kept. Deliberately absent: what
//! can be told of a recording only as a whole ([`crate::analyse`]).

mod recorded;

use std::collections::VecDeque;

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::electrode::Electrode;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::limb;
use cardio_core::quality::{LeadQuality, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::{Adu, SampleBlock};

pub use self::recorded::{AssessedLeads, assess};
use crate::qrs::QrsDetector;
use crate::rhythm::{HeartRate, Undetermined, heart_rate};
use crate::sqi::{EcgQuality, LeadSpec, QualityConfig};

/// Beats of one lead that are kept: ten seconds at 360 beats per minute.
const BEATS_KEPT: usize = 60;

/// What is found in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessed {
    /// How good the signal is; leads in the order of [`Assessor::labels`].
    pub quality: SignalQuality,
    /// The one contact that explains best what is wrong.
    pub suspect_electrode: Option<Electrode>,
    /// How fast the heart beats, or why that is not known.
    pub heart_rate: Result<HeartRate, Undetermined>,
    /// The R peaks within the window, of the lead that is believed.
    pub beats: Vec<SampleIndex>,
}

/// Assesses the ECG rows of one source, second by second.
#[derive(Debug)]
pub struct Assessor {
    rate: SamplingRate,
    labels: Vec<String>,
    quality: EcgQuality,
    measured: Vec<Measured>,
    limbs: Option<(usize, usize)>,
    derived: Vec<Lead>,
    at: SampleIndex,
}

#[derive(Debug)]
struct Measured {
    row: usize,
    lead: Option<Lead>,
    detector: QrsDetector,
    beats: VecDeque<SampleIndex>,
}

impl Assessor {
    /// For the ECG rows among `waveforms`, whose first sample will be `start`; `rails` are the
    /// least and the greatest count, if they are known. `None` when no row is an ECG in
    /// millivolts.
    pub fn new(
        rate: SamplingRate,
        waveforms: &[WaveformSpec],
        rails: Option<(Adu, Adu)>,
        start: SampleIndex,
    ) -> Option<Self> {
        let mut specs = Vec::new();
        let mut measured = Vec::new();
        for (row, spec) in waveforms.iter().enumerate() {
            let (WaveformKind::Ecg(_) | WaveformKind::EcgOther(_), Some(gain)) =
                (&spec.kind, spec.calibration.gain_adu_per_mv())
            else {
                continue;
            };
            specs.push(LeadSpec {
                label: spec.kind.label().to_owned(),
                lead: spec.kind.lead(),
                gain_adu_per_mv: gain,
                baseline_adu: spec.calibration.baseline_adu(),
                rails,
            });
            measured.push(Measured {
                row,
                lead: spec.kind.lead(),
                detector: QrsDetector::new(rate, gain),
                beats: VecDeque::new(),
            });
        }
        if specs.is_empty() {
            return None;
        }
        let row_of = |wanted: Lead| {
            waveforms
                .iter()
                .position(|spec| spec.kind.lead() == Some(wanted))
        };
        let limbs = row_of(Lead::I).zip(row_of(Lead::II));
        let (derived, derived_specs) = derived(limbs, waveforms).into_iter().unzip();
        specs.extend::<Vec<LeadSpec>>(derived_specs);
        let mut assessor = Self {
            rate,
            labels: specs.iter().map(|spec| spec.label.clone()).collect(),
            quality: EcgQuality::new(rate, &specs, QualityConfig::default()),
            measured,
            limbs,
            derived,
            at: SampleIndex(0),
        };
        assessor.skip_to(start);
        Some(assessor)
    }

    /// Takes a block and gives an assessment for each second that it completes. A block
    /// that does not follow the one before begins a new window.
    pub fn push(&mut self, block: &SampleBlock) -> Vec<Assessed> {
        if block.first != self.at {
            self.skip_to(block.first);
        }
        let derived = self.derived_rows(block);
        let rows: Vec<&[Adu]> = self
            .measured
            .iter()
            .filter_map(|lead| block.leads.get(lead.row))
            .chain(&derived)
            .map(Vec::as_slice)
            .collect();
        for lead in &mut self.measured {
            let row = block.leads.get(lead.row).map_or(&[][..], Vec::as_slice);
            lead.beats.extend(lead.detector.push(row));
            while lead.beats.len() > BEATS_KEPT {
                lead.beats.pop_front();
            }
        }
        self.at = block.end();
        let told = self.quality.push(&rows);
        told.into_iter()
            .map(|quality| self.assessed(quality))
            .collect()
    }

    /// Labels of the leads that are scored, measured ones first.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    fn skip_to(&mut self, first: SampleIndex) {
        let missing = first.since(self.at).unwrap_or_default();
        self.quality.gap(missing);
        for lead in &mut self.measured {
            lead.detector.gap(missing);
            lead.beats.clear();
        }
        self.at = first;
    }

    fn derived_rows(&self, block: &SampleBlock) -> Vec<Vec<Adu>> {
        let row = |place: usize| block.leads.get(place);
        let Some((i, ii)) = self.limbs.and_then(|(i, ii)| row(i).zip(row(ii))) else {
            return Vec::new();
        };
        self.derived
            .iter()
            .map(|lead| {
                i.iter()
                    .zip(ii)
                    .map(|(i, ii)| limb::sample(*lead, *i, *ii).unwrap_or(Adu::MAX))
                    .collect()
            })
            .collect()
    }

    fn assessed(&self, quality: SignalQuality) -> Assessed {
        let now = quality.first.after(quality.len);
        let best = self.best_lead(&quality.per_lead);
        let beats: Vec<SampleIndex> = best
            .map(|lead| {
                let within = |at: &&SampleIndex| **at >= quality.first && **at < now;
                lead.beats.iter().filter(within).copied().collect()
            })
            .unwrap_or_default();
        Assessed {
            suspect_electrode: self.quality.suspect_electrode(&quality),
            heart_rate: match best {
                Some(_) => heart_rate(&beats, self.rate, now),
                None => Err(Undetermined::InsufficientSignal),
            },
            beats,
            quality,
        }
    }

    /// The measured lead whose beats are believed: II while it can be used, else the
    /// cleanest one that can.
    fn best_lead(&self, per_lead: &[LeadQuality]) -> Option<&Measured> {
        self.measured
            .iter()
            .zip(per_lead)
            .filter(|(_, quality)| quality.verdict != QualityVerdict::Insufficient)
            .max_by(|(lead, quality), (other, of_other)| {
                let is_ii = |lead: &Measured| lead.lead == Some(Lead::II);
                is_ii(lead)
                    .cmp(&is_ii(other))
                    .then(quality.index.get().total_cmp(&of_other.index.get()))
            })
            .map(|(lead, _)| lead)
    }
}

/// The derived leads that are not measured, when I and II are under one calibration.
fn derived(limbs: Option<(usize, usize)>, waveforms: &[WaveformSpec]) -> Vec<(Lead, LeadSpec)> {
    let spec = |place: usize| waveforms.get(place);
    let Some((i, ii)) = limbs.and_then(|(i, ii)| spec(i).zip(spec(ii))) else {
        return Vec::new();
    };
    if i.calibration != ii.calibration {
        return Vec::new();
    }
    let is_measured = |lead: &Lead| waveforms.iter().any(|row| row.kind.lead() == Some(*lead));
    limb::DERIVED
        .into_iter()
        .filter(|lead| !is_measured(lead))
        .filter_map(|lead| {
            let calibration = limb::calibration(lead, &i.calibration).ok()?;
            let spec = LeadSpec {
                label: lead.name().to_owned(),
                lead: Some(lead),
                gain_adu_per_mv: calibration.gain_adu_per_mv()?,
                baseline_adu: calibration.baseline_adu(),
                rails: None,
            };
            Some((lead, spec))
        })
        .collect()
}
