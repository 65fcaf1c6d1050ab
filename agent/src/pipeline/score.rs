//! Quality of each lead and the heart rate, second by second, over the measured leads and
//! the four that follow from I and II.
//!
//! Nothing here changes a sample: derived leads are made to be looked at and are not kept.

use std::collections::VecDeque;

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::annotation::Beat;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::limb;
use cardio_core::quality::{LeadQuality, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::{Adu, SampleBlock};
use cardio_signal::qrs::QrsDetector;
use cardio_signal::rhythm::{RATE_ALGORITHM, Undetermined, heart_rate};
use cardio_signal::sqi::{EcgQuality, LeadSpec, QualityConfig};
use cardio_wire::record::{HeartRateFactsV1, QualityFactsV1};

use super::Assessment;
use super::align::Tie;

/// Beats of one lead that are kept: ten seconds at 360 beats per minute.
const BEATS_KEPT: usize = 60;

/// Scores the ECG rows of one source.
#[derive(Debug)]
pub(crate) struct Scorer {
    rate: SamplingRate,
    labels: Vec<String>,
    quality: EcgQuality,
    measured: Vec<Measured>,
    limbs: Option<(usize, usize)>,
    at: SampleIndex,
}

#[derive(Debug)]
struct Measured {
    row: usize,
    lead: Option<Lead>,
    detector: QrsDetector,
    beats: VecDeque<SampleIndex>,
}

impl Scorer {
    /// A scorer of the ECG rows among `waveforms`, whose first sample will be `start`.
    /// `None` when none of them is an ECG in millivolts.
    pub(crate) fn new(
        rate: SamplingRate,
        waveforms: &[WaveformSpec],
        rails: (Adu, Adu),
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
                rails: Some(rails),
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
        let derived = derived_specs(limbs, waveforms);
        let limbs = limbs.filter(|_| !derived.is_empty());
        specs.extend(derived);
        let mut scorer = Self {
            rate,
            labels: specs.iter().map(|spec| spec.label.clone()).collect(),
            quality: EcgQuality::new(rate, &specs, QualityConfig::default()),
            measured,
            limbs,
            at: SampleIndex(0),
        };
        scorer.skip_to(start);
        Some(scorer)
    }

    /// Takes a block and gives an assessment for each second that it completes. A block
    /// that does not follow the one before begins a new window.
    pub(crate) fn push(&mut self, block: &SampleBlock, tie: &Tie) -> Vec<Assessment> {
        if block.first != self.at {
            self.skip_to(block.first);
        }
        let derived = self.derived(block);
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
        told.iter()
            .map(|quality| self.assessment(quality, tie))
            .collect()
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

    fn derived(&self, block: &SampleBlock) -> Vec<Vec<Adu>> {
        let row = |place: usize| block.leads.get(place);
        let Some((i, ii)) = self.limbs.and_then(|(i, ii)| row(i).zip(row(ii))) else {
            return Vec::new();
        };
        limb::DERIVED
            .into_iter()
            .map(|lead| {
                i.iter()
                    .zip(ii)
                    .map(|(i, ii)| limb::sample(lead, *i, *ii).unwrap_or(Adu::MAX))
                    .collect()
            })
            .collect()
    }

    fn assessment(&self, quality: &SignalQuality, tie: &Tie) -> Assessment {
        let algorithm = quality.algorithm;
        Assessment {
            window_start: tie.anchor(quality.first),
            suspect_electrode: self.quality.suspect_electrode(quality),
            heart_rate: self.heart_rate(quality),
            quality: QualityFactsV1 {
                first: quality.first,
                len: quality.len,
                overall: quality.overall.clone(),
                per_lead: self
                    .labels
                    .iter()
                    .cloned()
                    .zip(quality.per_lead.iter().cloned())
                    .collect(),
                algorithm: (algorithm.name.to_owned(), algorithm.version),
            },
        }
    }

    fn heart_rate(&self, quality: &SignalQuality) -> HeartRateFactsV1 {
        let now = quality.first.after(quality.len);
        let best = self.best_lead(&quality.per_lead);
        let beats: Vec<SampleIndex> = best
            .map(|lead| {
                let within = |at: &&SampleIndex| **at >= quality.first && **at < now;
                lead.beats.iter().filter(within).copied().collect()
            })
            .unwrap_or_default();
        let told = match best {
            Some(_) => heart_rate(&beats, self.rate, now),
            None => Err(Undetermined::InsufficientSignal),
        };
        HeartRateFactsV1 {
            bpm: told.as_ref().ok().map(|rate| rate.bpm),
            undetermined: told.as_ref().err().map(|why| why.code().to_owned()),
            beats: beats
                .into_iter()
                .map(|at| Beat { at, class: None })
                .collect(),
            algorithm: (RATE_ALGORITHM.name.to_owned(), RATE_ALGORITHM.version),
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

/// The derived leads, when I and II are measured under one calibration.
fn derived_specs(limbs: Option<(usize, usize)>, waveforms: &[WaveformSpec]) -> Vec<LeadSpec> {
    let spec = |place: usize| waveforms.get(place);
    let Some((i, ii)) = limbs.and_then(|(i, ii)| spec(i).zip(spec(ii))) else {
        return Vec::new();
    };
    if i.calibration != ii.calibration {
        return Vec::new();
    }
    limb::DERIVED
        .into_iter()
        .filter_map(|lead| {
            let calibration = limb::calibration(lead, &i.calibration).ok()?;
            Some(LeadSpec {
                label: lead.name().to_owned(),
                lead: Some(lead),
                gain_adu_per_mv: calibration.gain_adu_per_mv()?,
                baseline_adu: calibration.baseline_adu(),
                rails: None,
            })
        })
        .collect()
}
