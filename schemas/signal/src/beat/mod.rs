//! Beats of one lead, or of several together, with their classes, sample by sample.
//!
//! A class rests on when the beat comes and on what it looks like beside the patient's
//! usual beat: two sums of small trees, learnt by `examples/train`, say whether it is
//! ventricular or supraventricular. Deliberately absent: fusion and paced beats, which one
//! lead does not tell apart well enough; those stay what they look most like.

mod atrial;
mod look;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;

use crate::forest::Forest;
use crate::num;
use crate::qrs::{Form, Forms, FusedDetector, FusedPeak, Peak, QrsDetector, Shape};
use crate::rhythm::relative_difference;
use atrial::Atria;
use look::Look;

pub use look::FEATURES;

/// Who says of which class a beat is.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "beat-class",
    version: 3,
};

/// The next beat is waited for this long, in seconds.
const LONGEST_S: f64 = 2.0;
/// Beats over which likeness to the reference form is followed.
const FOLLOWED: usize = 256;
/// Intervals that make up the usual one.
const REMEMBERED: usize = 10;

/// The two learnt functions.
#[derive(Clone, Debug)]
pub struct BeatForests {
    /// Whether a beat is ventricular.
    pub ventricular: Arc<Forest>,
    /// Whether a beat is supraventricular and premature.
    pub supraventricular: Arc<Forest>,
}

impl BeatForests {
    /// The reviewed ones.
    pub fn reviewed() -> Self {
        static FORESTS: OnceLock<BeatForests> = OnceLock::new();
        let read = |text| Arc::new(Forest::parse(text).unwrap_or_default());
        FORESTS
            .get_or_init(|| Self {
                ventricular: read(include_str!("../../models/beat-v.txt")),
                supraventricular: read(include_str!("../../models/beat-s.txt")),
            })
            .clone()
    }
}

/// Where beats come from.
#[derive(Clone, Debug)]
enum Source {
    One(Box<QrsDetector>),
    Several(Box<FusedDetector>),
}

impl Source {
    const fn end(&self) -> SampleIndex {
        match self {
            Self::One(detector) => detector.end(),
            Self::Several(detector) => detector.end(),
        }
    }

    fn push(&mut self, rows: &[&[i32]]) -> Vec<FusedPeak> {
        match self {
            Self::One(detector) => {
                let row = rows.first().copied().unwrap_or_default();
                seen(detector.push_peaks(row))
            }
            Self::Several(detector) => detector.push_peaks(rows),
        }
    }

    fn finish(&mut self) -> Vec<FusedPeak> {
        match self {
            Self::One(detector) => seen(detector.finish_peaks()),
            Self::Several(detector) => detector.finish_peaks(),
        }
    }

    fn gap(&mut self, len: SampleCount) {
        match self {
            Self::One(detector) => drop(detector.gap(len)),
            Self::Several(detector) => drop(detector.gap(len)),
        }
    }
}

/// What the lead shows is there for every beat that it finds itself.
fn seen(peaks: Vec<Peak>) -> Vec<FusedPeak> {
    let own = peaks.into_iter().map(|peak| FusedPeak {
        at: peak.at,
        peak: Some(Box::new(peak)),
    });
    own.collect()
}

/// Finds the beats of one lead, or of several together, and classifies them by the first.
///
/// A beat is told when the next one is known, or two seconds after it. One that the first
/// lead does not show is unclassified.
#[derive(Clone, Debug)]
pub struct BeatDetector {
    detector: Source,
    hz: f64,
    forests: BeatForests,
    pending: Option<FusedPeak>,
    before: Option<SampleIndex>,
    before_shape: Option<Shape>,
    before_rr_s: f64,
    intervals: VecDeque<f64>,
    forms: Forms,
    /// Likeness to the reference form, and difference from it, of the last beats.
    likenesses: VecDeque<(f64, f64)>,
    atria: Atria,
    explained: Option<Vec<Explained>>,
}

/// A beat with its class, and what its P wave says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToldBeat {
    /// The beat.
    pub beat: Beat,
    /// How like its P wave is to those of the beats before it, from -1 to 1; zero when that
    /// is not known. In sinus rhythm most are near one, in atrial fibrillation few.
    pub p_wave: f64,
}

/// What a beat looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explained {
    /// Its R peak.
    pub at: SampleIndex,
    /// What it looked like.
    pub features: [f64; FEATURES],
}

impl BeatDetector {
    /// A detector with the reviewed trees; see [`QrsDetector::new`].
    pub fn new(rate: SamplingRate, gain_adu_per_mv: f64) -> Self {
        Self::with(
            QrsDetector::new(rate, gain_adu_per_mv),
            rate,
            BeatForests::reviewed(),
        )
    }

    /// A detector that finds and judges beats by other trees, to measure them.
    pub fn with(detector: QrsDetector, rate: SamplingRate, forests: BeatForests) -> Self {
        Self::of(Source::One(Box::new(detector)), rate, forests)
    }

    /// A detector that listens to several leads of one rate, with the reviewed trees; see
    /// [`FusedDetector::new`].
    pub fn fused(rate: SamplingRate, gains_adu_per_mv: &[f64]) -> Self {
        let detector = FusedDetector::new(rate, gains_adu_per_mv);
        Self::of(
            Source::Several(Box::new(detector)),
            rate,
            BeatForests::reviewed(),
        )
    }

    fn of(detector: Source, rate: SamplingRate, forests: BeatForests) -> Self {
        Self {
            detector,
            hz: rate.as_hz(),
            forests,
            pending: None,
            before: None,
            before_shape: None,
            before_rr_s: 0.0,
            intervals: VecDeque::new(),
            forms: Forms::default(),
            likenesses: VecDeque::new(),
            atria: Atria::default(),
            explained: None,
        }
    }

    /// From now on keeps what every beat looked like.
    #[must_use]
    pub fn explaining(mut self) -> Self {
        self.explained = Some(Vec::new());
        self
    }

    /// What the beats told since the last call looked like.
    pub fn take_explained(&mut self) -> Vec<Explained> {
        self.explained
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The instant after the newest sample.
    pub const fn end(&self) -> SampleIndex {
        self.detector.end()
    }

    /// Takes the next samples and gives the beats that are sure by now.
    pub fn push(&mut self, samples: &[i32]) -> Vec<ToldBeat> {
        self.push_rows(&[samples])
    }

    /// As [`BeatDetector::push`], a row for each lead; see [`FusedDetector::push`].
    pub fn push_rows(&mut self, rows: &[&[i32]]) -> Vec<ToldBeat> {
        let peaks = self.detector.push(rows);
        let mut told = Vec::new();
        self.take(peaks, &mut told);
        let waited = self.pending.as_ref().map_or(0.0, |pending| {
            num::float_u64(self.end().0.saturating_sub(pending.at.0)) / self.hz
        });
        // The detector itself lags by a second: wait until it cannot find a nearer beat.
        if waited > LONGEST_S + 1.5 {
            told.extend(self.tell(LONGEST_S));
        }
        told
    }

    /// Signal is missing: gives what is left before the gap and goes on after it.
    pub fn gap(&mut self, len: SampleCount) -> Vec<ToldBeat> {
        let told = self.finish();
        self.detector.gap(len);
        self.before = None;
        self.before_shape = None;
        self.before_rr_s = 0.0;
        self.atria.restart();
        told
    }

    /// The signal has ended: gives what is left.
    pub fn finish(&mut self) -> Vec<ToldBeat> {
        let peaks = self.detector.finish();
        let mut told = Vec::new();
        self.take(peaks, &mut told);
        told.extend(self.tell(self.usual_s()));
        told
    }

    fn take(&mut self, peaks: Vec<FusedPeak>, told: &mut Vec<ToldBeat>) {
        for peak in peaks {
            if let Some(pending) = &self.pending {
                let next_s = self.apart_s(pending.at, peak.at).min(LONGEST_S);
                told.extend(self.tell(next_s));
            }
            self.pending = Some(peak);
        }
    }

    fn apart_s(&self, before: SampleIndex, after: SampleIndex) -> f64 {
        num::float_u64(after.0.saturating_sub(before.0)) / self.hz
    }

    /// The usual interval: the middle of the means of two neighbours, which a premature
    /// beat and the pause after it leave as it was.
    fn usual_s(&self) -> f64 {
        let mut means: Vec<f64> = self
            .intervals
            .iter()
            .zip(self.intervals.iter().skip(1))
            .map(|(one, two)| f64::midpoint(*one, *two))
            .collect();
        if means.is_empty() {
            0.8
        } else {
            num::median(&mut means)
        }
    }

    /// How uneven the last intervals are, this one not counted.
    fn irregularity(&self) -> f64 {
        let intervals: Vec<f64> = self.intervals.iter().copied().collect();
        relative_difference(&intervals)
    }

    /// The shortest of the last intervals.
    fn shortest_s(&self) -> f64 {
        self.intervals.iter().copied().fold(LONGEST_S, f64::min)
    }

    /// Classifies the pending beat when the next one is `next_s` away.
    fn tell(&mut self, next_s: f64) -> Option<ToldBeat> {
        let FusedPeak { at, peak } = self.pending.take()?;
        let usual_s = self.usual_s();
        let before = self.before.replace(at);
        let rr_s = before
            .map_or(usual_s, |before| self.apart_s(before, at))
            .min(LONGEST_S);
        let times = [rr_s, next_s, usual_s.max(0.1)];
        let (class, p_wave) = peak.map_or((BeatClass::Unknown, 0.0), |peak| {
            let p_wave = self.atria.likeness(&peak.wide);
            let class = self.classify(&peak, times);
            if class != BeatClass::Ventricular {
                self.atria.learn(&peak.wide);
            }
            (class, p_wave)
        });
        if before.is_some() {
            if self.intervals.len() == REMEMBERED {
                self.intervals.pop_front();
            }
            self.intervals.push_back(rr_s);
        }
        self.before_rr_s = rr_s;
        Some(ToldBeat {
            beat: Beat {
                at,
                class: Some(class),
            },
            p_wave,
        })
    }

    /// The class of a beat by its times (before, after, usual) and its form.
    fn classify(&mut self, peak: &Peak, times: [f64; 3]) -> BeatClass {
        let [rr_s, next_s, usual_s] = times;
        let form = self.forms.learn(&peak.shape, &peak.wide, rr_s / usual_s);
        self.follow(peak, &form);
        let (usual_likeness, usual_difference) = self.likeness_of_better_beats();
        let look = Look {
            peak,
            form: &form,
            rr_s,
            next_s,
            usual_s,
            before_rr_s: self.before_rr_s,
            shortest_s: self.shortest_s(),
            irregularity: self.irregularity(),
            before: self.before_shape.as_ref(),
            usual_likeness,
            usual_difference,
        };
        let features = look.row();
        let alone = self.forests.ventricular.score(&features);
        let ventricular = self.forms.weigh(&form, alone);
        if let Some(list) = &mut self.explained {
            list.push(Explained {
                at: peak.at,
                features,
            });
        }
        self.before_shape = Some(peak.shape);
        if ventricular > 0.0 {
            BeatClass::Ventricular
        } else if self.forests.supraventricular.score(&features) > 0.0 {
            BeatClass::Supraventricular
        } else {
            BeatClass::Normal
        }
    }

    /// Remembers how like the reference a beat is.
    fn follow(&mut self, peak: &Peak, form: &Form) {
        if self.likenesses.len() == FOLLOWED {
            self.likenesses.pop_front();
        }
        self.likenesses.push_back((
            peak.shape.likeness(&form.reference),
            peak.wide.difference(&form.reference_wide),
        ));
    }

    /// How like the reference the better beats are: likeness and difference.
    fn likeness_of_better_beats(&self) -> (f64, f64) {
        let (mut likenesses, mut differences): (Vec<f64>, Vec<f64>) =
            self.likenesses.iter().copied().unzip();
        (
            num::quantile(&mut likenesses, 0.75),
            num::quantile(&mut differences, 0.25),
        )
    }
}

#[cfg(test)]
mod tests;
