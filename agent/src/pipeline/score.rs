//! What the box finds second by second, as it tells the gateway.
//!
//! Deliberately absent: the finding, which the gateway does too when it tries rules
//! ([`cardio_signal::assess`]).

use cardio_core::acquisition::WaveformSpec;
use cardio_core::annotation::Beat;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::sample::{Adu, SampleBlock};
use cardio_signal::assess::{Assessed, Assessor};
use cardio_signal::rhythm::RATE_ALGORITHM;
use cardio_wire::record::{HeartRateFactsV1, QualityFactsV1};

use super::Assessment;
use super::align::Tie;

/// Scores the ECG rows of one source.
#[derive(Debug)]
pub(crate) struct Scorer {
    assessor: Assessor,
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
        let assessor = Assessor::new(rate, waveforms, Some(rails), start)?;
        Some(Self { assessor })
    }

    /// Takes a block and gives an assessment for each second that it completes. A block
    /// that does not follow the one before begins a new window.
    pub(crate) fn push(&mut self, block: &SampleBlock, tie: &Tie) -> Vec<Assessment> {
        let found = self.assessor.push(block);
        found
            .into_iter()
            .map(|found| self.assessment(found, tie))
            .collect()
    }

    fn assessment(&self, found: Assessed, tie: &Tie) -> Assessment {
        let quality = found.quality;
        let labels = self.assessor.labels().iter().cloned();
        let beat = |at| Beat { at, class: None };
        Assessment {
            window_start: tie.anchor(quality.first),
            suspect_electrode: found.suspect_electrode,
            heart_rate: HeartRateFactsV1 {
                bpm: found.heart_rate.as_ref().ok().map(|rate| rate.bpm),
                undetermined: found.heart_rate.err().map(|why| why.code().to_owned()),
                beats: found.beats.into_iter().map(beat).collect(),
                algorithm: (RATE_ALGORITHM.name.to_owned(), RATE_ALGORITHM.version),
            },
            quality: QualityFactsV1 {
                first: quality.first,
                len: quality.len,
                overall: quality.overall,
                per_lead: labels.zip(quality.per_lead).collect(),
                algorithm: (quality.algorithm.name.to_owned(), quality.algorithm.version),
            },
        }
    }
}
