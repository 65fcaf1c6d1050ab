//! Beats of one lead, or of several together, with their classes, sample by sample.
//!
//! A class rests on when the beat comes and on what it looks like beside the patient's
//! usual beat: two sums of small trees, learnt by `examples/train`, say whether it is
//! ventricular or supraventricular. Deliberately absent: fusion and paced beats, which one
//! lead does not tell apart well enough; those stay what they look most like.

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

/// Who says of which class a beat is.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "beat-class",
    version: 3,
};

/// What is looked at, in this order: times over the usual interval, then form beside the
/// patient's reference form, then the history of the form that the beat has.
pub const FEATURES: usize = 32;

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
                ventricular: read(include_str!("../models/beat-v.txt")),
                supraventricular: read(include_str!("../models/beat-s.txt")),
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
    explained: Option<Vec<(SampleIndex, [f64; FEATURES])>>,
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
    pub fn take_explained(&mut self) -> Vec<(SampleIndex, [f64; FEATURES])> {
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
    pub fn push(&mut self, samples: &[i32]) -> Vec<Beat> {
        self.push_rows(&[samples])
    }

    /// As [`BeatDetector::push`], a row for each lead; see [`FusedDetector::push`].
    pub fn push_rows(&mut self, rows: &[&[i32]]) -> Vec<Beat> {
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
    pub fn gap(&mut self, len: SampleCount) -> Vec<Beat> {
        let told = self.finish();
        self.detector.gap(len);
        self.before = None;
        self.before_shape = None;
        self.before_rr_s = 0.0;
        told
    }

    /// The signal has ended: gives what is left.
    pub fn finish(&mut self) -> Vec<Beat> {
        let peaks = self.detector.finish();
        let mut told = Vec::new();
        self.take(peaks, &mut told);
        told.extend(self.tell(self.usual_s()));
        told
    }

    fn take(&mut self, peaks: Vec<FusedPeak>, told: &mut Vec<Beat>) {
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
    fn tell(&mut self, next_s: f64) -> Option<Beat> {
        let FusedPeak { at, peak } = self.pending.take()?;
        let usual_s = self.usual_s();
        let before = self.before.replace(at);
        let rr_s = before
            .map_or(usual_s, |before| self.apart_s(before, at))
            .min(LONGEST_S);
        let times = [rr_s, next_s, usual_s.max(0.1)];
        let class = peak.map_or(BeatClass::Unknown, |peak| self.classify(&peak, times));
        if before.is_some() {
            if self.intervals.len() == REMEMBERED {
                self.intervals.pop_front();
            }
            self.intervals.push_back(rr_s);
        }
        self.before_rr_s = rr_s;
        Some(Beat {
            at,
            class: Some(class),
        })
    }

    /// The class of a beat by its times (before, after, usual) and its form.
    fn classify(&mut self, peak: &Peak, times: [f64; 3]) -> BeatClass {
        let [rr_s, _, usual_s] = times;
        let form = self.forms.learn(&peak.shape, &peak.wide, rr_s / usual_s);
        self.follow(peak, &form);
        let features = self.features(peak, &form, times);
        let alone = self.forests.ventricular.score(&features);
        let ventricular = self.forms.weigh(&form, alone);
        if let Some(list) = &mut self.explained {
            list.push((peak.at, features));
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

    fn features(&self, peak: &Peak, form: &Form, times: [f64; 3]) -> [f64; FEATURES] {
        let [rr_s, next_s, usual_s] = times;
        let with_before = self
            .before_shape
            .as_ref()
            .map_or(0.0, |before| peak.shape.likeness(before));
        let (shape, reference) = (&peak.shape, &form.reference);
        let [whole, p_wave, t_wave] = peak.wide.likeness(&form.reference_wide);
        let likeness = shape.likeness(reference);
        let difference = peak.wide.difference(&form.reference_wide);
        let (usual_likeness, usual_difference) = self.likeness_of_better_beats();
        let t_before = form.reference_wide.t_size();
        [
            rr_s / usual_s,
            next_s / usual_s,
            rr_s / next_s.max(0.1),
            self.before_rr_s / usual_s,
            likeness,
            shape.width_ms(),
            shape.width_ms() - reference.width_ms(),
            size(shape) / size(reference).max(1e-6),
            area_over_top(shape),
            area_over_top(shape) - area_over_top(reference),
            lean(shape) - lean(reference),
            form.share,
            form.early,
            form.likeness,
            with_before,
            steepest(shape) / steepest(reference).max(1e-6),
            projection(shape, reference),
            if form.is_reference { 1.0 } else { 0.0 },
            self.irregularity(),
            self.shortest_s() / usual_s,
            whole,
            difference,
            p_wave,
            t_wave,
            peak.wide.t_size() / size(shape).max(1e-6),
            peak.wide.t_size() / t_before.max(1e-6),
            shape.span_ms(),
            shape.span_ms() - reference.span_ms(),
            usual_likeness,
            libm::log((1.02 - likeness) / (1.02 - usual_likeness)),
            libm::log((0.1 + difference) / (0.1 + usual_difference)),
            libm::log((peak.fast_mv + 1e-6) / (size(shape) + 1e-6)),
        ]
    }
}

/// Mean size of a form over its largest value: large for wide beats.
fn area_over_top(shape: &Shape) -> f64 {
    let sum: f64 = shape.0.iter().map(|x| x.abs()).sum();
    sum / num::float(shape.0.len()) / size(shape).max(1e-6)
}

fn size(shape: &Shape) -> f64 {
    shape.0.iter().fold(0.0, |top: f64, x| top.max(x.abs()))
}

/// How far the slope's energy lies after the peak, in milliseconds.
fn lean(shape: &Shape) -> f64 {
    let (_, centre) = shape.slope_centre();
    8.0 * (centre - num::float(shape.0.len()) / 2.0 + 1.0)
}

fn steepest(shape: &Shape) -> f64 {
    shape.slopes().fold(0.0, |top, slope| top.max(slope.abs()))
}

/// How much of the reference form is in a form: one for the same beat, negative upside down.
fn projection(shape: &Shape, reference: &Shape) -> f64 {
    let (mut together, mut own) = (0.0, 0.0);
    for (x, y) in shape.0.iter().zip(reference.0) {
        together += x * y;
        own += y * y;
    }
    (together / f64::max(own, 1e-12)).clamp(-10.0, 10.0)
}

#[cfg(test)]
mod tests {
    use super::{BeatClass, BeatDetector, BeatForests, FEATURES};
    use crate::synth::{EcgSynth, Ectopics, SynthConfig, to_adu};
    use cardio_core::calibration::Calibration;
    use cardio_core::index::SampleCount;
    use cardio_core::rate::SamplingRate;

    fn ectopic_ii(seconds: usize) -> (SamplingRate, Vec<i32>, Vec<(f64, BeatClass)>) {
        let rate = SamplingRate::hz(360).unwrap();
        let mut config = SynthConfig::calm(17, rate);
        config.ectopics = Ectopics {
            ventricular_per_min: 6.0,
            supraventricular_per_min: 0.0,
        };
        let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
        let mut synth = EcgSynth::new(config);
        let row = (0..seconds * 360)
            .map(|_| to_adu(synth.next_measured()[1], &calibration, (-2_000, 2_000)))
            .collect();
        let beats = synth.take_beats();
        let truth = beats
            .iter()
            .map(|beat| (beat.at_s * 360.0, beat.class))
            .collect();
        (rate, row, truth)
    }

    #[test]
    fn wide_early_beats_of_a_synthetic_heart_are_ventricular() {
        let (rate, row, truth) = ectopic_ii(120);
        let mut detector = BeatDetector::new(rate, 200.0);
        let mut told = detector.push(&row);
        told.extend(detector.finish());
        let called = |at: f64| {
            told.iter()
                .find(|beat| (crate::num::float_u64(beat.at.0) - at).abs() < 54.0)
                .and_then(|beat| beat.class)
        };
        let ventricular: Vec<_> = truth
            .iter()
            .filter(|(at, class)| *class == BeatClass::Ventricular && *at > 3_600.0)
            .collect();
        let right = ventricular
            .iter()
            .filter(|(at, _)| called(*at) == Some(BeatClass::Ventricular))
            .count();
        assert!(ventricular.len() > 5);
        assert!(
            10 * right >= 8 * ventricular.len(),
            "{right} of {}",
            ventricular.len()
        );
        let calm = truth
            .iter()
            .filter(|(_, class)| *class == BeatClass::Normal);
        let wrong = calm
            .filter(|(at, _)| called(*at) == Some(BeatClass::Ventricular))
            .count();
        assert!(wrong <= 2, "{wrong} normal beats called ventricular");
    }

    #[test]
    fn blocks_of_any_size_and_the_plain_detector_give_the_same_beats() {
        let (rate, row, _) = ectopic_ii(40);
        let mut whole = BeatDetector::new(rate, 200.0);
        let mut told = whole.push(&row);
        told.extend(whole.finish());
        for size in [1, 37, 1_000] {
            let mut parts = BeatDetector::new(rate, 200.0);
            let mut again = Vec::new();
            for block in row.chunks(size) {
                again.extend(parts.push(block));
            }
            again.extend(parts.finish());
            assert_eq!(again, told, "blocks of {size}");
        }
        let mut plain = crate::qrs::QrsDetector::new(rate, 200.0);
        let mut peaks = plain.push(&row);
        peaks.extend(plain.finish());
        assert_eq!(told.iter().map(|beat| beat.at).collect::<Vec<_>>(), peaks);
    }

    #[test]
    fn a_beat_before_a_gap_is_told_at_the_gap() {
        let (rate, row, _) = ectopic_ii(10);
        let mut detector = BeatDetector::new(rate, 200.0);
        let mut told = detector.push(&row);
        told.extend(detector.gap(SampleCount(3_600)));
        assert!(told.last().is_some_and(|beat| beat.at.0 > 3_000));
        assert_eq!(detector.end().0, 7_200);
    }

    #[test]
    fn the_reviewed_files_of_trees_are_read_whole() {
        let forests = BeatForests::reviewed();
        for forest in [forests.ventricular, forests.supraventricular] {
            assert!(forest.score(&[0.0; FEATURES]) != 0.0);
        }
    }
}
