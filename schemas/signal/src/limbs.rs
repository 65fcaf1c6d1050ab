//! Whether limb electrodes look swapped.
//!
//! A swap among the two arms and the left leg turns the limb leads into each other and leaves
//! the chest leads as they are (Wilson's terminal is the same sum). So each way of turning
//! them back is weighed: do the limb leads then follow from the chest leads, and do P, QRS
//! and T then point where they usually do? With the neutral electrode on an arm, the lead
//! between the legs is nearly flat. Deliberately absent: swapped chest electrodes, and both
//! legs swapped, which changes nothing.

use std::sync::OnceLock;

use cardio_core::electrode::Electrode;
use cardio_core::lead::Lead;
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;

use crate::delineation::{BeatLead, BeatMarks, MedianBeat, STEP_MS, lead_marks, median_beats};
use crate::num;

/// Who says so.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "limb-swap",
    version: 1,
};

/// Two electrodes that look swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimbSwap {
    /// Right arm and left arm.
    Arms,
    /// Right arm and left leg.
    RightArmLeftLeg,
    /// Left arm and left leg.
    LeftArmLeftLeg,
    /// Right arm and right leg, the neutral electrode.
    RightArmRightLeg,
    /// Left arm and right leg, the neutral electrode.
    LeftArmRightLeg,
}

impl LimbSwap {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Arms,
        Self::RightArmLeftLeg,
        Self::LeftArmLeftLeg,
        Self::RightArmRightLeg,
        Self::LeftArmRightLeg,
    ];

    /// Stable name in JSON: the letters of the AHA.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arms => "ra-la",
            Self::RightArmLeftLeg => "ra-ll",
            Self::LeftArmLeftLeg => "la-ll",
            Self::RightArmRightLeg => "ra-rl",
            Self::LeftArmRightLeg => "la-rl",
        }
    }

    /// The two electrodes.
    pub const fn electrodes(self) -> (Electrode, Electrode) {
        match self {
            Self::Arms => (Electrode::RightArm, Electrode::LeftArm),
            Self::RightArmLeftLeg => (Electrode::RightArm, Electrode::LeftLeg),
            Self::LeftArmLeftLeg => (Electrode::LeftArm, Electrode::LeftLeg),
            Self::RightArmRightLeg => (Electrode::RightArm, Electrode::RightLeg),
            Self::LeftArmRightLeg => (Electrode::LeftArm, Electrode::RightLeg),
        }
    }

    /// What I and II would be without the swap; those with the neutral electrode cannot be
    /// turned back, since one potential is not there.
    const fn turned_back(self, i: f64, ii: f64) -> (f64, f64) {
        match self {
            Self::Arms => (-i, ii - i),
            Self::RightArmLeftLeg => (i - ii, -ii),
            Self::LeftArmLeftLeg => (ii, i),
            Self::RightArmRightLeg | Self::LeftArmRightLeg => (i, ii),
        }
    }
}

/// The ways that are weighed: none swapped, then three pairs.
pub const WAYS: [Option<LimbSwap>; 4] = [
    None,
    Some(LimbSwap::Arms),
    Some(LimbSwap::RightArmLeftLeg),
    Some(LimbSwap::LeftArmLeftLeg),
];
/// Chest leads that the limb leads are foretold from.
pub const CHEST: [Lead; 6] = [Lead::V1, Lead::V2, Lead::V3, Lead::V4, Lead::V5, Lead::V6];
/// What is weighed of each way: cosine and sine of the axes of P, QRS and T, how well I and
/// II are foretold, and the logarithm of what is left.
pub const EVIDENCE: usize = 9;
/// Beats of one form that are needed.
const LEAST_BEATS: usize = 4;
/// A lead this much smaller than the others is one between the legs, if it is below the
/// second in millivolts root mean square.
const FLAT_SHARE: f64 = 0.09;
const FLAT_MV: f64 = 0.03;

/// Median beats of the limb and the chest leads of one stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct LimbBeats {
    i: Vec<f64>,
    ii: Vec<f64>,
    chest: Vec<Vec<f64>>,
    r: usize,
    marks: BeatMarks,
}

impl LimbBeats {
    /// Those of a stretch of `leads` with R peaks at the samples `r`. `None` when two limb
    /// leads, or beats, are not there.
    pub fn of(leads: &[BeatLead], r: &[f64], rate: SamplingRate) -> Option<Self> {
        let (medians, kept) = median_beats(leads, r, rate);
        if kept.len() < LEAST_BEATS {
            return None;
        }
        let find = |lead: Lead| {
            let rows = leads.iter().zip(&medians);
            rows.clone()
                .find(|(row, _)| row.lead == Some(lead) && row.good)
                .map(|(_, beat)| beat)
        };
        let (i, ii) = limb_leads(find)?;
        let interval = num::float(r.len().saturating_sub(1)).max(1.0);
        let span = r.last()? - r.first()?;
        let rr_s = span / interval / rate.as_hz();
        let chest = CHEST
            .iter()
            .map_while(|lead| find(*lead).map(|beat| beat.mv.clone()))
            .collect();
        Some(Self {
            i,
            ii,
            chest,
            r: medians.first()?.r,
            marks: lead_marks(&medians, rr_s),
        })
    }

    /// What is weighed of each of [`WAYS`], when all chest leads are there.
    pub fn evidence(&self, model: &LimbModel) -> Option<[[f64; EVIDENCE]; WAYS.len()]> {
        if self.chest.len() < CHEST.len() {
            return None;
        }
        let foretold = [
            foretell(&self.chest, &model.i),
            foretell(&self.chest, &model.ii),
        ];
        Some(WAYS.map(|way| self.weigh(way, &foretold)))
    }

    /// I and II of the beat's QRS and T, and the chest leads there: what the limb leads are
    /// foretold from is learnt on these.
    pub fn rows(&self) -> Vec<([f64; 2], Vec<f64>)> {
        let levels: Vec<f64> = self.chest.iter().map(|row| self.level(row)).collect();
        let (i_level, ii_level) = (self.level(&self.i), self.level(&self.ii));
        self.stretch(self.marks.qrs_on_ms, self.marks.t_off_ms)
            .filter_map(|at| {
                let own = [self.i.get(at)? - i_level, self.ii.get(at)? - ii_level];
                let chest = self.chest.iter().zip(&levels);
                let chest = chest.filter_map(|(row, level)| Some(row.get(at)? - level));
                Some((own, chest.collect()))
            })
            .collect()
    }

    fn weigh(&self, way: Option<LimbSwap>, foretold: &[Vec<f64>; 2]) -> [f64; EVIDENCE] {
        let turned = self.i.iter().zip(&self.ii).map(|(i, ii)| match way {
            Some(swap) => swap.turned_back(*i, *ii),
            None => (*i, *ii),
        });
        let (i, ii): (Vec<f64>, Vec<f64>) = turned.unzip();
        let marks = &self.marks;
        let (p_cos, p_sin) = self.axis(&i, &ii, marks.p_on_ms, marks.p_off_ms);
        let (q_cos, q_sin) = self.axis(&i, &ii, marks.qrs_on_ms, marks.qrs_off_ms);
        let t_on = marks.qrs_off_ms.map(|off| off + 60.0);
        let (t_cos, t_sin) = self.axis(&i, &ii, t_on, marks.t_off_ms);
        let [like_i, like_ii] = [(&i, 0), (&ii, 1)].map(|(lead, row)| {
            let told = foretold.get(row).map_or(&[][..], Vec::as_slice);
            self.sums(lead, told)
        });
        let left = like_i.left + like_ii.left;
        let own = like_i.own + like_ii.own;
        [
            p_cos,
            p_sin,
            q_cos,
            q_sin,
            t_cos,
            t_sin,
            like_i.correlation(),
            like_ii.correlation(),
            libm::log((left + 1e-6) / (own + 1e-6)),
        ]
    }

    /// Direction of the mean vector between two marks in the frontal plane: cosine and sine,
    /// zero when there is no wave.
    fn axis(&self, i: &[f64], ii: &[f64], from: Option<f64>, to: Option<f64>) -> (f64, f64) {
        let area = |row: &[f64]| {
            let level = self.level(row);
            self.stretch(from, to)
                .filter_map(|at| row.get(at))
                .map(|value| value - level)
                .sum::<f64>()
        };
        let (i, ii) = (area(i), area(ii));
        // aVF over its scale, as the vertical axis of the plane.
        let (x, y) = (i, (2.0 * ii - i) / 3.0_f64.sqrt());
        let length = (x * x + y * y).sqrt();
        if length < 1e-9 {
            (0.0, 0.0)
        } else {
            (x / length, y / length)
        }
    }

    /// The level before the P wave, or before the QRS.
    fn level(&self, row: &[f64]) -> f64 {
        let end = self.marks.p_on_ms.or(self.marks.qrs_on_ms);
        let mut part: Vec<f64> = self
            .stretch(end.map(|end| end - 20.0), end)
            .filter_map(|at| row.get(at).copied())
            .collect();
        num::median(&mut part)
    }

    fn stretch(&self, from: Option<f64>, to: Option<f64>) -> std::ops::Range<usize> {
        let place = |ms: f64| num::round_usize(num::float(self.r) + ms / STEP_MS);
        match (from, to) {
            (Some(from), Some(to)) => place(from)..place(to),
            _ => 0..0,
        }
    }

    fn sums(&self, lead: &[f64], told: &[f64]) -> Sums {
        let mut sums = Sums::default();
        let (own_level, told_level) = (self.level(lead), self.level(told));
        for at in self.stretch(self.marks.qrs_on_ms, self.marks.t_off_ms) {
            let (Some(own), Some(told)) = (lead.get(at), told.get(at)) else {
                continue;
            };
            let (own, told) = (own - own_level, told - told_level);
            sums.own += own * own;
            sums.told += told * told;
            sums.both += own * told;
            sums.left += (own - told) * (own - told);
        }
        sums
    }

    /// Which limb lead is nearly flat beside the other two: that between the legs.
    fn flat(&self) -> Option<LimbSwap> {
        let size = |value: fn(f64, f64) -> f64| {
            let row: Vec<f64> = self
                .i
                .iter()
                .zip(&self.ii)
                .map(|(i, ii)| value(*i, *ii))
                .collect();
            let level = self.level(&row);
            let part = self.stretch(self.marks.qrs_on_ms, self.marks.qrs_off_ms);
            let length = num::float(part.len()).max(1.0);
            let square = part
                .filter_map(|at| row.get(at))
                .map(|x| (x - level) * (x - level));
            (square.sum::<f64>() / length).sqrt()
        };
        let (i, ii, iii) = (size(|i, _| i), size(|_, ii| ii), size(|i, ii| ii - i));
        let is_flat =
            |own: f64, one: f64, two: f64| own < FLAT_MV && own < FLAT_SHARE * one.min(two);
        if is_flat(ii, i, iii) {
            Some(LimbSwap::RightArmRightLeg)
        } else if is_flat(iii, i, ii) {
            Some(LimbSwap::LeftArmRightLeg)
        } else {
            None
        }
    }
}

/// I and II from any two limb leads that are there.
fn limb_leads<'a>(find: impl Fn(Lead) -> Option<&'a MedianBeat>) -> Option<(Vec<f64>, Vec<f64>)> {
    let sum = |one: &MedianBeat, two: &MedianBeat, sign: f64| {
        let pairs = one.mv.iter().zip(&two.mv);
        pairs.map(|(x, y)| x + sign * y).collect::<Vec<f64>>()
    };
    match (find(Lead::I), find(Lead::II), find(Lead::III)) {
        (Some(i), Some(ii), _) => Some((i.mv.clone(), ii.mv.clone())),
        (Some(i), None, Some(iii)) => Some((i.mv.clone(), sum(i, iii, 1.0))),
        (None, Some(ii), Some(iii)) => Some((sum(ii, iii, -1.0), ii.mv.clone())),
        _ => None,
    }
}

#[derive(Default)]
struct Sums {
    own: f64,
    told: f64,
    both: f64,
    left: f64,
}

impl Sums {
    fn correlation(&self) -> f64 {
        self.both / (self.own * self.told).sqrt().max(1e-12)
    }
}

/// A limb lead as the chest leads foretell it.
fn foretell(chest: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let length = chest.first().map_or(0, Vec::len);
    (0..length)
        .map(|at| {
            let terms = chest.iter().zip(weights);
            terms
                .map(|(row, weight)| row.get(at).copied().unwrap_or(0.0) * weight)
                .sum()
        })
        .collect()
}

/// What was learnt: how the chest leads foretell I and II, what the evidence weighs, and how
/// far a swap must outweigh none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimbModel {
    /// Weights of the chest leads for I.
    pub i: Vec<f64>,
    /// Weights of the chest leads for II.
    pub ii: Vec<f64>,
    /// For each swap of [`WAYS`] the weights of the evidence, then by how much it must
    /// outweigh none to be suspected.
    pub swaps: [Vec<f64>; WAYS.len() - 1],
}

impl LimbModel {
    /// Reads the file's text: `#` begins a remark, every other line is a name and numbers.
    /// `None` when a line is something else, or one is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut model = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            let numbers: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
            let swaps = WAYS.iter().skip(1).zip(&mut model.swaps);
            let named = |(way, _): &(&Option<LimbSwap>, _)| way.map(LimbSwap::name) == Some(name);
            match (name, { swaps }.find(named)) {
                ("i", _) => model.i = numbers,
                ("ii", _) => model.ii = numbers,
                (_, Some((_, swap))) => *swap = numbers,
                _ => return None,
            }
        }
        let whole = model.i.len() == CHEST.len()
            && model.ii.len() == CHEST.len()
            && model.swaps.iter().all(|swap| swap.len() == EVIDENCE + 1);
        whole.then_some(model)
    }

    /// By how much each swap of [`WAYS`] is above what it must outweigh none by.
    fn excess(&self, evidence: &[[f64; EVIDENCE]; WAYS.len()]) -> Vec<(LimbSwap, f64)> {
        let Some((none, ways)) = evidence.split_first() else {
            return Vec::new();
        };
        let swaps = WAYS.iter().skip(1).zip(ways).zip(&self.swaps);
        swaps
            .filter_map(|((way, own), weights)| {
                let (limit, weights) = weights.split_last()?;
                let terms = own.iter().zip(none).zip(weights);
                let sum: f64 = terms
                    .map(|((own, none), weight)| (own - none) * weight)
                    .sum();
                Some(((*way)?, sum - limit))
            })
            .collect()
    }
}

fn reviewed() -> Option<&'static LimbModel> {
    static MODEL: OnceLock<Option<LimbModel>> = OnceLock::new();
    MODEL
        .get_or_init(|| LimbModel::parse(include_str!("../models/limb-swap.txt")))
        .as_ref()
}

/// The swap that explains these beats better than none does.
pub fn suspect(beats: &LimbBeats) -> Option<LimbSwap> {
    if let Some(flat) = beats.flat() {
        return Some(flat);
    }
    let model = reviewed()?;
    let excess = model.excess(&beats.evidence(model)?);
    excess
        .into_iter()
        .filter(|(_, excess)| *excess > 0.0)
        .max_by(|one, two| one.1.total_cmp(&two.1))
        .map(|(swap, _)| swap)
}
