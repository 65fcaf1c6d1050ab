//! R peaks of one lead, or of several together, sample by sample.
//!
//! Deliberately absent: beat classes (see [`crate::beat`]), rhythm, and whether the signal
//! is good enough to be believed (see [`crate::sqi`]).

mod decide;
mod forms;
mod front;
mod fused;
mod shape;

use std::sync::Arc;

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;

use crate::filter::Resampler;
use crate::forest::{Forest, probability};
use crate::num;
pub use decide::FEATURES;
use decide::Judge;
pub(crate) use forms::{Form, Forms};
pub(crate) use front::Band;
use front::{Front, WORK_HZ};
pub(crate) use fused::FusedPeak;
pub use fused::{FUSED_ALGORITHM, FusedDetector};
pub(crate) use shape::{P_POINTS, Shape, Wide};

/// Who says where the R peaks are.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "qrs",
    version: 3,
};

/// An R peak and what was measured at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Peak {
    /// Where it is.
    pub(crate) at: SampleIndex,
    /// Peak to peak of the QRS in 5 to 20 Hz, in millivolts.
    pub(crate) span_mv: f64,
    /// Likeness to the nearest form that beats have had.
    pub(crate) likeness: f64,
    /// Logarithm of the odds of a beat.
    pub(crate) odds: f64,
    /// What lies above the band of the QRS within 100 ms, in millivolts.
    pub(crate) fast_mv: f64,
    /// Its form.
    pub(crate) shape: Shape,
    /// The same with P and T waves.
    pub(crate) wide: Wide,
}

/// A candidate, what it looked like, and what was said of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explained {
    /// Its R peak.
    pub at: SampleIndex,
    /// What it looked like, in the order of [`FEATURES`].
    pub features: [f64; FEATURES.len()],
    /// Logarithm of the odds of a beat.
    pub score: f64,
    /// Whether it was taken for a beat.
    pub is_beat: bool,
}

fn places(peaks: Vec<Peak>) -> Vec<SampleIndex> {
    peaks.into_iter().map(|peak| peak.at).collect()
}

/// Finds the R peaks of one lead.
///
/// A peak is told 0.9 s after it, and those of the first seconds once 2.4 s are there;
/// always in order of time, and the same whatever the size of the blocks.
#[derive(Clone, Debug)]
pub struct QrsDetector {
    rate: SamplingRate,
    mv_per_adu: f64,
    resampler: Resampler,
    front: Front,
    judge: Judge,
    /// The instant of the first sample since the last gap, and after the newest sample.
    base: SampleIndex,
    end: SampleIndex,
    last_sample: f64,
    last_peak: Option<SampleIndex>,
    explained: Option<Vec<Explained>>,
    /// Every candidate, for those who listen to several leads.
    scored: Option<Vec<Peak>>,
    doubt: f64,
}

impl QrsDetector {
    /// A detector for a lead of any rate. A gain that is not a number, or is zero, counts
    /// as 1000 adu/mV; the detector adapts to the size of the beats.
    pub fn new(rate: SamplingRate, gain_adu_per_mv: f64) -> Self {
        Self::with_forest(rate, gain_adu_per_mv, decide::reviewed_forest())
    }

    /// A detector that judges by other trees than the reviewed ones, to measure them.
    pub fn with_forest(rate: SamplingRate, gain_adu_per_mv: f64, forest: Arc<Forest>) -> Self {
        Self {
            rate,
            mv_per_adu: crate::mv_per_adu(gain_adu_per_mv),
            resampler: Resampler::new(rate.as_ratio(), WORK_HZ),
            front: Front::new(),
            judge: Judge::new(forest),
            base: SampleIndex(0),
            end: SampleIndex(0),
            last_sample: 0.0,
            last_peak: None,
            explained: None,
            scored: None,
            doubt: 0.0,
        }
    }

    /// From now on keeps what every candidate looked like, for [`QrsDetector::take_explained`].
    #[must_use]
    pub fn explaining(mut self) -> Self {
        self.explained = Some(Vec::new());
        self
    }

    /// The candidates judged since the last call, beats and others.
    pub fn take_explained(&mut self) -> Vec<Explained> {
        self.explained
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// From now on keeps every candidate, for [`QrsDetector::take_scored`].
    pub(crate) fn scoring(mut self) -> Self {
        self.scored = Some(Vec::new());
        self
    }

    /// The candidates judged since the last call, beats and others.
    pub(crate) fn take_scored(&mut self) -> Vec<Peak> {
        self.scored.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The instant after the newest sample.
    pub const fn end(&self) -> SampleIndex {
        self.end
    }

    /// Takes the next samples and gives the R peaks that are sure by now.
    pub fn push(&mut self, samples: &[i32]) -> Vec<SampleIndex> {
        places(self.push_peaks(samples))
    }

    /// As [`QrsDetector::push`], with what was measured at each peak.
    pub(crate) fn push_peaks(&mut self, samples: &[i32]) -> Vec<Peak> {
        let mut found = Vec::new();
        for sample in samples {
            self.step(f64::from(*sample) * self.mv_per_adu, &mut found);
        }
        self.end = self.end.after(SampleCount::of(samples));
        found
    }

    /// Signal is missing: gives the peaks before the gap that were not told yet, and goes
    /// on after it without looking across.
    pub fn gap(&mut self, len: SampleCount) -> Vec<SampleIndex> {
        let found = self.finish();
        self.end = self.end.after(len);
        self.base = self.end;
        self.resampler = Resampler::new(self.rate.as_ratio(), WORK_HZ);
        self.front.clear();
        self.judge.restart();
        found
    }

    /// The signal has ended: gives the peaks that were not told yet.
    pub fn finish(&mut self) -> Vec<SampleIndex> {
        places(self.finish_peaks())
    }

    /// As [`QrsDetector::finish`], with what was measured at each peak.
    pub(crate) fn finish_peaks(&mut self) -> Vec<Peak> {
        let mut found = Vec::new();
        // Enough of the last value for the last peak to pass the filters.
        let span = num::float_u64(2 * front::APART) / f64::from(WORK_HZ);
        let extra = num::round_usize(span * self.rate.as_hz()).min(4_000_000);
        let last = self.last_sample;
        for _ in 0..extra {
            self.step(last, &mut found);
        }
        self.tell(true, &mut found);
        found.retain(|peak| peak.at < self.end);
        found
    }

    /// The band of the QRS since the last call.
    pub(crate) fn take_band(&mut self) -> Band {
        self.front.take_band()
    }

    /// Doubt since the last call: the sum of `4 p (1 - p)` over all candidates, where `p` is
    /// the probability of a beat.
    pub(crate) fn take_doubt(&mut self) -> f64 {
        std::mem::take(&mut self.doubt)
    }

    /// Takes one sample in millivolts.
    fn step(&mut self, millivolts: f64, found: &mut Vec<Peak>) {
        self.last_sample = millivolts;
        self.resampler.push(millivolts);
        while let Some(x) = self.resampler.take() {
            if let Some(candidate) = self.front.push(x) {
                self.judge.push(candidate);
            }
            self.tell(false, found);
        }
    }

    fn tell(&mut self, all: bool, found: &mut Vec<Peak>) {
        let (base, resampler, front) = (self.base, &self.resampler, &self.front);
        let previous = &mut self.last_peak;
        let (explained, scored) = (&mut self.explained, &mut self.scored);
        let doubt = &mut self.doubt;
        self.judge.judge(self.front.end(), all, |judged| {
            let candidate = &judged.candidate;
            let p = probability(judged.score);
            *doubt += 4.0 * p * (1.0 - p);
            let offset = num::round_u64(resampler.input_position(candidate.peak));
            let at = base.after(SampleCount(offset));
            if let Some(list) = explained {
                list.push(Explained {
                    at,
                    features: judged.features,
                    score: judged.score,
                    is_beat: judged.is_beat,
                });
            }
            let is_beat = judged.is_beat && previous.is_none_or(|before| at > before);
            if !is_beat && scored.is_none() {
                return;
            }
            let peak = Peak {
                at,
                span_mv: candidate.span,
                likeness: judged.likeness(),
                odds: judged.score,
                fast_mv: candidate.fast,
                shape: candidate.shape,
                wide: front.wide(candidate.peak),
            };
            if let Some(list) = scored {
                list.push(peak);
            }
            if is_beat {
                *previous = Some(at);
                found.push(peak);
            }
        });
    }
}

#[cfg(test)]
mod tests;
