//! Watches a 12-lead source for swapped limb electrodes while the samples come.
//!
//! Deliberately absent: the judgement itself ([`crate::limbs`]). A source without I, II and
//! the six chest leads is not watched, and costs nothing.

use std::collections::VecDeque;

use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict};
use cardio_core::rate::SamplingRate;

use super::ecg::LeadSpec;
use crate::delineation::BeatLead;
use crate::limbs::{CHEST, LimbBeats, LimbSwap, suspect};
use crate::num;

/// Looks are this far apart, in seconds: a swap does not come and go.
const EVERY_S: u64 = 5;

/// One lead that is watched: its row, its name, its gain, and the last window.
#[derive(Clone, Debug)]
struct Watched {
    row: usize,
    lead: Lead,
    mv_per_adu: f64,
    samples: VecDeque<i32>,
}

/// The last window of the leads that tell of a swap, and what it told.
#[derive(Clone, Debug)]
pub(super) struct LimbWatch {
    rate: SamplingRate,
    window_s: u64,
    length: usize,
    leads: Vec<Watched>,
    suspected: Option<LimbSwap>,
}

impl LimbWatch {
    pub(super) fn new(rate: SamplingRate, specs: &[LeadSpec], window_s: usize) -> Self {
        let window_s = num::count(window_s);
        let wanted = [Lead::I, Lead::II].into_iter().chain(CHEST);
        let leads: Option<Vec<Watched>> = wanted
            .map(|lead| {
                let row = specs.iter().position(|spec| spec.lead == Some(lead))?;
                Some(Watched {
                    row,
                    lead,
                    mv_per_adu: crate::mv_per_adu(specs.get(row)?.gain_adu_per_mv),
                    samples: VecDeque::new(),
                })
            })
            .collect();
        Self {
            rate,
            window_s,
            length: rate.count_in_micros(window_s * 1_000_000).len(),
            leads: leads.unwrap_or_default(),
            suspected: None,
        }
    }

    pub(super) const fn suspected(&self) -> Option<LimbSwap> {
        self.suspected
    }

    pub(super) fn restart(&mut self) {
        self.suspected = None;
        for lead in &mut self.leads {
            lead.samples.clear();
        }
    }

    pub(super) fn push(&mut self, rows: &[&[i32]], part: std::ops::Range<usize>) {
        for lead in &mut self.leads {
            let row = rows.get(lead.row).and_then(|row| row.get(part.clone()));
            lead.samples.extend(row.unwrap_or_default());
            let over = lead.samples.len().saturating_sub(self.length);
            lead.samples.drain(..over);
        }
    }

    /// Whether the second that ends now is one to look at.
    pub(super) fn is_due(&self, whole_seconds: u64) -> bool {
        whole_seconds >= self.window_s
            && (whole_seconds - self.window_s).is_multiple_of(EVERY_S)
            && self
                .leads
                .iter()
                .all(|lead| lead.samples.len() == self.length)
            && !self.leads.is_empty()
    }

    /// Looks at the window that ends at `end`; `peaks` gives the R peaks of a row.
    pub(super) fn look(
        &mut self,
        per_lead: &[LeadQuality],
        end: SampleIndex,
        peaks: impl Fn(usize) -> Vec<SampleIndex>,
    ) {
        self.suspected = None;
        let usable = |row: usize| {
            let told = per_lead.get(row);
            told.is_some_and(|told| told.verdict != QualityVerdict::Insufficient)
        };
        // The lead between the legs may be too small to be good: the other two tell then.
        let Some(first) = self.leads.iter().find(|lead| usable(lead.row)) else {
            return;
        };
        if self
            .leads
            .iter()
            .any(|lead| CHEST.contains(&lead.lead) && !usable(lead.row))
        {
            return;
        }
        let from = SampleIndex(end.0.saturating_sub(num::count(self.length)));
        let r: Vec<f64> = peaks(first.row)
            .into_iter()
            .filter_map(|at| at.since(from))
            .map(|place| num::float_u64(place.0))
            .collect();
        let leads: Vec<BeatLead> = self
            .leads
            .iter()
            .map(|lead| BeatLead {
                label: lead.lead.name().to_owned(),
                lead: Some(lead.lead),
                good: true,
                mv: lead
                    .samples
                    .iter()
                    .map(|adu| f64::from(*adu) * lead.mv_per_adu)
                    .collect(),
            })
            .collect();
        self.suspected = LimbBeats::of(&leads, &r, self.rate).and_then(|beats| suspect(&beats));
    }

    /// Names the cause in the limb leads while a swap is suspected.
    pub(super) fn name(&self, per_lead: &mut [LeadQuality], standard: &[Option<Lead>]) {
        if self.suspected.is_none() {
            return;
        }
        for (told, lead) in per_lead.iter_mut().zip(standard) {
            let is_limb = lead.is_some_and(|lead| !CHEST.contains(&lead));
            if is_limb && told.verdict != QualityVerdict::Insufficient {
                told.causes.push(QualityCause::LimbSwap);
                told.causes.sort_unstable();
                told.causes.dedup();
            }
        }
    }
}
