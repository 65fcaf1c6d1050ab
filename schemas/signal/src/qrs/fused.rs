//! R peaks of several leads at once.
//!
//! Each lead judges its own candidates; what they say of the same instant is added up as
//! logarithms of odds, each lead by how sure it has lately been. Deliberately absent: leads
//! of different rates, which belong to different fusions.

use std::collections::VecDeque;

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;

use super::{Peak, QrsDetector};
use crate::num;

/// Who says where the R peaks of several leads are.
pub const FUSED_ALGORITHM: AlgorithmId = AlgorithmId {
    name: "qrs-fused",
    version: 2,
};

/// Candidates this near are of one beat: 150 ms, which the R peaks of two leads are not
/// apart.
const TOGETHER_S: f64 = 0.15;
/// A lead judges within this time, and places a peak that much before its candidate.
const LAG_S: f64 = 1.2;
/// What a lead says where it sees no candidate at all.
const SILENCE: f64 = -3.0;
/// How sure a single lead can be.
const SUREST: f64 = 4.0;
/// How much a candidate changes the trust in its lead, and the least trust.
const LEARN: f64 = 0.1;
const LEAST_TRUST: f64 = 0.05;
/// Two beats are not nearer than this: 200 ms.
const REFRACTORY_S: f64 = 0.2;

/// What a lead said of a place.
#[derive(Clone, Debug)]
struct Said {
    lead: usize,
    at: SampleIndex,
    odds: f64,
    /// What the first lead measured there.
    peak: Option<Box<Peak>>,
}

/// A beat, and what the first lead shows at it, if it shows anything.
#[derive(Clone, Debug)]
pub(crate) struct FusedPeak {
    pub(crate) at: SampleIndex,
    pub(crate) peak: Option<Box<Peak>>,
}

fn places(found: Vec<FusedPeak>) -> Vec<SampleIndex> {
    found.into_iter().map(|peak| peak.at).collect()
}

#[derive(Clone, Debug)]
struct Lead {
    detector: QrsDetector,
    trust: f64,
}

/// Finds the R peaks of leads that were recorded together.
///
/// A peak is told 1.3 s after it, at the place that the first lead that sees it gives.
#[derive(Clone, Debug)]
pub struct FusedDetector {
    hz: f64,
    leads: Vec<Lead>,
    waiting: VecDeque<Said>,
    end: SampleIndex,
    last: Option<SampleIndex>,
}

impl FusedDetector {
    /// A detector for leads of one rate; see [`QrsDetector::new`] for their gains.
    pub fn new(rate: SamplingRate, gains_adu_per_mv: &[f64]) -> Self {
        let leads = gains_adu_per_mv.iter().map(|gain| Lead {
            detector: QrsDetector::new(rate, *gain).scoring(),
            trust: 1.0,
        });
        Self {
            hz: rate.as_hz(),
            leads: leads.collect(),
            waiting: VecDeque::new(),
            end: SampleIndex(0),
            last: None,
        }
    }

    /// The instant after the newest sample.
    pub const fn end(&self) -> SampleIndex {
        self.end
    }

    /// Takes the next samples, a row for each lead, and gives the R peaks that are sure by
    /// now. Rows are cut to the shortest; a lead without a row has none.
    pub fn push(&mut self, rows: &[&[i32]]) -> Vec<SampleIndex> {
        places(self.push_peaks(rows))
    }

    /// As [`FusedDetector::push`], with what the first lead shows.
    pub(crate) fn push_peaks(&mut self, rows: &[&[i32]]) -> Vec<FusedPeak> {
        let length = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        for (place, (lead, row)) in self.leads.iter_mut().zip(rows).enumerate() {
            lead.detector.push(row.get(..length).unwrap_or_default());
            Self::listen(&mut self.waiting, place, lead);
        }
        self.end = self.end.after(SampleCount(num::count(length)));
        let lag = num::round_u64(LAG_S * self.hz);
        self.decide(SampleIndex(self.end.0.saturating_sub(lag)))
    }

    /// Signal is missing from all leads: gives the peaks before the gap that were not told
    /// yet, and goes on after it.
    pub fn gap(&mut self, len: SampleCount) -> Vec<SampleIndex> {
        let found = places(self.finish_peaks());
        for lead in &mut self.leads {
            lead.detector.gap(len);
            lead.detector.take_scored();
        }
        self.end = self.end.after(len);
        found
    }

    /// The signal has ended: gives the peaks that were not told yet.
    pub fn finish(&mut self) -> Vec<SampleIndex> {
        places(self.finish_peaks())
    }

    /// As [`FusedDetector::finish`], with what the first lead shows.
    pub(crate) fn finish_peaks(&mut self) -> Vec<FusedPeak> {
        for (place, lead) in self.leads.iter_mut().enumerate() {
            lead.detector.finish();
            Self::listen(&mut self.waiting, place, lead);
        }
        let mut found = self.decide(SampleIndex(u64::MAX));
        found.retain(|peak| peak.at < self.end);
        found
    }

    /// Takes what a lead said, in order of time.
    fn listen(waiting: &mut VecDeque<Said>, place: usize, lead: &mut Lead) {
        for peak in lead.detector.take_scored() {
            let at = peak.at;
            let after = waiting.partition_point(|other| (other.at, other.lead) < (at, place));
            waiting.insert(
                after,
                Said {
                    lead: place,
                    at,
                    odds: peak.odds.clamp(-SUREST, SUREST),
                    peak: (place == 0).then(|| Box::new(peak)),
                },
            );
        }
    }

    /// Decides what is together, up to `until`.
    fn decide(&mut self, until: SampleIndex) -> Vec<FusedPeak> {
        let together = num::round_u64(TOGETHER_S * self.hz);
        let mut found = Vec::new();
        while let Some(first) = self.waiting.front().map(|said| said.at) {
            if first.0.saturating_add(together) >= until.0 {
                break;
            }
            let near = |said: &Said| said.at.0 - first.0 <= together;
            let count = self.waiting.iter().take_while(|said| near(said)).count();
            let mut group: Vec<Said> = self.waiting.drain(..count).collect();
            if let Some(at) = self.judge(&group) {
                self.last = Some(at);
                group.retain(|said| said.peak.is_some());
                let own = group.into_iter().max_by(|a, b| a.odds.total_cmp(&b.odds));
                let peak = own.and_then(|said| said.peak);
                found.push(FusedPeak { at, peak });
            }
        }
        found
    }

    /// Whether a group is a beat, and where.
    fn judge(&mut self, group: &[Said]) -> Option<SampleIndex> {
        let mut sum = 0.0;
        let is_seen = group.iter().any(|said| said.odds > 0.0);
        for (place, lead) in self.leads.iter_mut().enumerate() {
            let of_lead = group.iter().filter(|said| said.lead == place);
            let odds = of_lead.map(|said| said.odds).reduce(f64::max);
            sum += lead.trust * lead.trust * odds.unwrap_or(SILENCE);
            // A lead that sees nothing where others see a beat may have no contact.
            let sure = odds.map(|odds| odds.abs() / SUREST);
            if let Some(sure) = sure.or(is_seen.then_some(0.0)) {
                lead.trust += LEARN * (sure.max(LEAST_TRUST) - lead.trust);
            }
        }
        let seen = group.iter().filter(|said| said.odds > 0.0);
        let at = seen.min_by_key(|said| said.lead)?.at;
        let refractory = num::round_u64(REFRACTORY_S * self.hz);
        let apart = |last: SampleIndex| at.0.saturating_sub(last.0) >= refractory;
        (sum > 0.0 && self.last.is_none_or(apart)).then_some(at)
    }
}
