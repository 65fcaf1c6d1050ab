//! What can be seen without beats: ventricular fibrillation or flutter, and asystole.
//!
//! Fibrillation is a wave without a resting line: at least two published measures must say
//! so at once, the leakage of a notch at its mean period (Kuo and Dillman 1978) and the share
//! of samples far from the line (Arafat 2011). Asystole is a line that rests but lives: an
//! electrode that is off holds one value, lies at a rail, jumps away or hums, and is never
//! called asystole. Deliberately absent: beats; a slow heart is [`super::RhythmTracker`]'s.

use std::collections::VecDeque;

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;

use super::{RhythmEvent, RhythmKind};
use crate::filter::{Biquad, Resampler};
use crate::num;
use crate::ring::Ring;

const WORK_HZ: u32 = 125;
/// The band in which fibrillation lies, in hertz.
const BAND_HZ: (f64, f64) = (1.0, 25.0);
/// Fibrillation is judged over four seconds, every second.
const WINDOW: u64 = 500;
const HOP: u64 = 125;
/// Windows in a row that must agree, and that may disagree before it is over.
const WINDOWS: usize = 2;
const LAPSES: usize = 4;
/// Largest leakage of a fibrillating wave: between the two published limits, 0.41 for waves
/// as large as beats were and 0.63 for smaller ones.
const LEAKAGE: f64 = 0.5;
/// Share of samples beyond a fifth of the largest.
const FAR_SHARE: f64 = 0.48;
const FAR: f64 = 0.2;
/// Half periods of two to nine waves a second, in samples.
const HALF_PERIOD: (f64, f64) = (6.5, 32.0);
/// A smaller wave is none, in millivolts from peak to peak.
const LEAST_MV: f64 = 0.2;

/// Rest is judged in slots of 0.2 s.
const SLOT: u64 = 25;
/// A slot rests when it moves less than this share of what beats do.
const REST_SHARE: f64 = 0.2;
/// A second is of beats when its middle slot moves less than this share of what its
/// largest does.
const NOISE_SHARE: f64 = 0.5;
/// Beats are what seconds with movement have: the middle of as many.
const SECONDS: usize = 9;
/// Rest of this many slots, with the T wave before it, is four seconds without a beat.
const ASYSTOLE_SLOTS: usize = 18;
/// An electrode on skin moves the converter in at least this share of the samples.
const LIVING_SHARE: f64 = 0.05;
/// And does not jump further than this, in millivolts.
const JUMP_MV: f64 = 5.0;
/// What moves this many slots after contact was lost is no swing of the loss itself.
const SWING: u64 = 12;

/// What a slot saw of the samples as they came.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    samples: f64,
    changes: f64,
    sum: f64,
}

/// Follows one lead.
#[derive(Clone, Debug)]
pub struct ArrestWatch {
    rate: SamplingRate,
    mv_per_adu: f64,
    resampler: Resampler,
    high: Biquad,
    low: Biquad,
    band: Ring,
    base: SampleIndex,
    end: SampleIndex,
    last: Option<i32>,
    slot: Slot,
    /// Movement of the slots of this second, and of the last seconds with beats.
    second: VecDeque<f64>,
    moved: VecDeque<f64>,
    /// Where the line lay in the last slot that moved, in millivolts.
    line_mv: f64,
    resting: usize,
    /// Slots since contact was lost.
    lost: Option<u64>,
    fibrillating: usize,
    lapses: usize,
    fibrillation: Option<RhythmEvent>,
}

impl ArrestWatch {
    /// A watch for a lead of any rate; see [`crate::qrs::QrsDetector::new`].
    pub fn new(rate: SamplingRate, gain_adu_per_mv: f64) -> Self {
        let hz = f64::from(WORK_HZ);
        Self {
            rate,
            mv_per_adu: crate::mv_per_adu(gain_adu_per_mv),
            resampler: Resampler::new(rate.as_ratio(), WORK_HZ),
            high: Biquad::high_pass(BAND_HZ.0, hz),
            low: Biquad::low_pass(BAND_HZ.1, hz),
            band: Ring::new(1_024),
            base: SampleIndex(0),
            end: SampleIndex(0),
            last: None,
            slot: Slot::default(),
            second: VecDeque::new(),
            moved: VecDeque::new(),
            line_mv: 0.0,
            resting: 0,
            lost: None,
            fibrillating: 0,
            lapses: 0,
            fibrillation: None,
        }
    }

    /// The instant after the newest sample.
    pub const fn end(&self) -> SampleIndex {
        self.end
    }

    /// Takes the next samples and gives the spans that ended with them.
    pub fn push(&mut self, samples: &[i32]) -> Vec<RhythmEvent> {
        let mut ended = Vec::new();
        for sample in samples {
            self.step(*sample, &mut ended);
        }
        self.end = self.end.after(SampleCount::of(samples));
        ended
    }

    /// Signal is missing: gives the spans that were open, and goes on after the gap.
    pub fn gap(&mut self, len: SampleCount) -> Vec<RhythmEvent> {
        let ended = self.finish();
        self.end = self.end.after(len);
        self.base = self.end;
        self.resampler = Resampler::new(self.rate.as_ratio(), WORK_HZ);
        self.band.clear();
        self.second.clear();
        self.slot = Slot::default();
        self.last = None;
        self.lost = None;
        ended
    }

    /// The signal has ended: gives the spans that were open.
    pub fn finish(&mut self) -> Vec<RhythmEvent> {
        let mut ended = Vec::new();
        self.end_rest(&mut ended);
        self.fibrillating = 0;
        ended.extend(self.fibrillation.take());
        ended
    }

    fn step(&mut self, sample: i32, ended: &mut Vec<RhythmEvent>) {
        let millivolts = f64::from(sample) * self.mv_per_adu;
        match self.last {
            None => {
                self.high.settle(millivolts, 0.0);
                self.low.settle(0.0, 1.0);
            }
            Some(last) if last != sample => self.slot.changes += 1.0,
            Some(_) => {}
        }
        self.last = Some(sample);
        self.slot.samples += 1.0;
        self.slot.sum += millivolts;
        self.resampler.push(millivolts);
        while let Some(x) = self.resampler.take() {
            self.band.push(self.low.step(self.high.step(x)));
            if self.band.end().is_multiple_of(SLOT) {
                self.rest(ended);
            }
            if self.band.end().is_multiple_of(HOP) && self.band.end() >= WINDOW {
                self.wave(ended);
            }
        }
    }

    /// The place of the source that belongs to a place on the working grid.
    fn at(&self, place: u64) -> SampleIndex {
        let offset = self.resampler.input_position(num::float_u64(place));
        self.base.after(SampleCount(num::round_u64(offset)))
    }

    /// Looks at the slot that just ended.
    fn rest(&mut self, ended: &mut Vec<RhythmEvent>) {
        let slot = std::mem::take(&mut self.slot);
        let end = self.band.end();
        let movement = range((end - SLOT..end).map(|n| self.band.at(n)));
        let line_mv = slot.sum / slot.samples.max(1.0);
        self.second.push_back(movement);
        if num::count(self.second.len()) > HOP / SLOT {
            self.second.pop_front();
        }
        let mut moved: Vec<f64> = self.moved.iter().copied().collect();
        let usual = num::median(&mut moved);
        let known = self.moved.len() >= SECONDS / 2;
        self.lost = self.lost.map(|slots| slots + 1);
        let alive = slot.changes >= LIVING_SHARE * slot.samples;
        let jumped = known && (line_mv - self.line_mv).abs() > JUMP_MV;
        if jumped {
            self.lost = Some(0);
            self.line_mv = line_mv;
        }
        if !known || movement >= REST_SHARE * usual {
            self.end_rest(ended);
            if self.lost.is_none_or(|slots| slots >= SWING) {
                self.lost = None;
                self.line_mv = line_mv;
            }
            if end.is_multiple_of(HOP) {
                let largest = self.second.iter().copied().fold(0.0, f64::max);
                let mut slots: Vec<f64> = self.second.iter().copied().collect();
                // Noise moves all the time and says nothing of the size of beats.
                let has_beats = num::median(&mut slots) < NOISE_SHARE * largest;
                if has_beats && largest > REST_SHARE * usual {
                    self.moved.push_back(largest);
                }
                if self.moved.len() > SECONDS {
                    self.moved.pop_front();
                }
            }
            return;
        }
        if alive && self.lost.is_none() {
            self.resting += 1;
        } else {
            // Once contact is lost, what looks like rest is none until something moves.
            self.end_rest(ended);
            self.lost = self.lost.or(Some(0));
        }
    }

    fn end_rest(&mut self, ended: &mut Vec<RhythmEvent>) {
        let slots = std::mem::take(&mut self.resting);
        if slots < ASYSTOLE_SLOTS {
            return;
        }
        let to = self.band.end().saturating_sub(SLOT);
        let from = to.saturating_sub(SLOT * num::count(slots));
        ended.push(RhythmEvent {
            kind: RhythmKind::Asystole,
            from: self.at(from),
            to: self.at(to),
            beats: 0,
            value: num::float_u64(to - from) / f64::from(WORK_HZ),
        });
    }

    /// Looks at the window that just ended.
    fn wave(&mut self, ended: &mut Vec<RhythmEvent>) {
        let end = self.band.end();
        let Some(per_minute) = self.fibrillates(end) else {
            self.fibrillating = 0;
            self.lapses += 1;
            if self.lapses > LAPSES {
                ended.extend(self.fibrillation.take());
            }
            return;
        };
        self.lapses = 0;
        self.fibrillating += 1;
        if self.fibrillating < WINDOWS {
            return;
        }
        let begin = end - WINDOW - HOP * (num::count(WINDOWS) - 1);
        let (from, to) = (self.at(begin), self.at(end));
        let event = self.fibrillation.get_or_insert(RhythmEvent {
            kind: RhythmKind::VfSuspected,
            from,
            to,
            beats: 0,
            value: per_minute,
        });
        event.to = to;
    }

    /// The rate of the wave, per minute, if the window before `end` fibrillates.
    fn fibrillates(&self, end: u64) -> Option<f64> {
        let window = || (end - WINDOW..end).map(|n| self.band.at(n));
        if range(window()) < LEAST_MV {
            return None;
        }
        let size: f64 = window().map(f64::abs).sum();
        let travel: f64 = window()
            .zip(window().skip(1))
            .map(|(one, two)| (two - one).abs())
            .sum();
        let half = core::f64::consts::PI * size / travel.max(1e-12);
        if half < HALF_PERIOD.0 || half > HALF_PERIOD.1 {
            return None;
        }
        let later = window().skip(num::round_usize(half));
        let (mut left, mut all) = (0.0, 0.0);
        for (one, two) in window().zip(later) {
            left += (one + two).abs();
            all += one.abs() + two.abs();
        }
        let top = window().fold(0.0, |top: f64, x| top.max(x.abs()));
        let far = window().filter(|x| x.abs() > FAR * top).count();
        let is = left < LEAKAGE * all && num::float(far) > FAR_SHARE * num::float_u64(WINDOW);
        is.then(|| 60.0 * f64::from(WORK_HZ) / (2.0 * half))
    }
}

/// Largest minus smallest.
fn range(values: impl Iterator<Item = f64>) -> f64 {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    high - low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ArrestWatch, RhythmEvent, RhythmKind, SampleIndex, SamplingRate};
    use crate::synth::{EcgSynth, SynthConfig, to_adu};
    use cardio_core::calibration::Calibration;

    const HZ: usize = 250;

    fn rate() -> SamplingRate {
        SamplingRate::hz(250).unwrap()
    }

    /// Twenty seconds of lead II of a calm heart.
    fn calm() -> Vec<i32> {
        let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
        let mut synth = EcgSynth::new(SynthConfig::calm(8, rate()));
        (0..20 * HZ)
            .map(|_| to_adu(synth.next_measured()[1], &calibration, (-32_768, 32_767)))
            .collect()
    }

    fn with(middle: impl Fn(usize) -> i32, seconds: usize) -> Vec<RhythmEvent> {
        let mut row = calm();
        row.extend((0..seconds * HZ).map(middle));
        row.extend(calm());
        follow(&row, 1_000)
    }

    fn follow(row: &[i32], block: usize) -> Vec<RhythmEvent> {
        let mut watch = ArrestWatch::new(rate(), 200.0);
        let mut told: Vec<RhythmEvent> = row
            .chunks(block)
            .flat_map(|block| watch.push(block))
            .collect();
        told.extend(watch.finish());
        told
    }

    /// A few counts of chance.
    fn whisper(n: usize) -> i32 {
        i32::try_from((n * 7_919) % 5).unwrap() - 2
    }

    #[test]
    fn a_calm_heart_has_neither() {
        assert!(follow(&calm(), 1_000).is_empty());
    }

    #[test]
    fn a_resting_line_with_the_whisper_of_skin_is_asystole() {
        let told = with(whisper, 8);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].kind, RhythmKind::Asystole);
        assert!((7.0..9.0).contains(&told[0].value), "{told:?}");
        assert!(told[0].from >= SampleIndex(4_800) && told[0].to <= SampleIndex(7_300));
        assert!(with(whisper, 2).is_empty());
    }

    #[test]
    fn an_electrode_that_is_off_is_never_asystole() {
        assert!(with(|_| 0, 10).is_empty());
        assert!(with(|_| 32_767, 10).is_empty());
        // At a new level, even when it whispers there.
        assert!(with(|n| 3_000 + whisper(n), 10).is_empty());
        // Mains hum on an open lead.
        let hum = |n| if n % 5 < 2 { 900 } else { -600 };
        assert!(with(hum, 10).is_empty());
    }

    #[test]
    fn waves_without_a_resting_line_are_fibrillation() {
        let wave = |n: usize| {
            let t = crate::num::float(n) / 250.0;
            let slow = 1.0 + 0.3 * libm::sin(1.9 * t);
            crate::num::round_i32(120.0 * slow * libm::sin(30.0 * t + libm::sin(2.0 * t)))
        };
        let told = with(wave, 12);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].kind, RhythmKind::VfSuspected);
        assert!((200.0..360.0).contains(&told[0].value), "{told:?}");
    }

    proptest! {
        #[test]
        fn any_counts_in_blocks_of_any_size_give_the_same(row in proptest::collection::vec(any::<i32>(), 0..4_000), block in 1_usize..900) {
            prop_assert_eq!(follow(&row, block), follow(&row, 4_000));
        }
    }
}
