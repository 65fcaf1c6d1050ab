//! The analyser: samples in, a verdict every second, sounds as soon as they are sure.
//!
//! Deliberately absent: how a verdict is reached (see the quality module) and how a course
//! is found (see the segment module).

use std::collections::VecDeque;

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;

use crate::num;
use crate::pcg::envelope::{Likeness, Period, expected_systole};
use crate::pcg::features::{Measured, measure};
use crate::pcg::front::{FRAMES_PER_S, Frame, Front};
use crate::pcg::model::QualityModel;
use crate::pcg::quality::{self, MIN_FRAMES};
use crate::pcg::segment::{FIRST, Lengths, SECOND, Segmenter, Stretch, evidence};
use crate::pcg::summary::Totals;
use crate::pcg::{
    ALGORITHM, HeartSound, PcgError, RATES_HZ, RateSource, SoundKind, SoundRate, SoundSummary,
    SoundWindow, Unanalysed,
};

/// Frames of a window: ten seconds.
const WINDOW: usize = 1_000;
/// Frames of the first window: two seconds.
const FIRST_WINDOW: u64 = 200;
/// Frames that the search for sounds stays behind, so that R peaks can come: two seconds.
const LAG: u64 = 200;
/// Frames before the end of the search that may still be read otherwise: one second and a half.
const UNSURE: u64 = 150;
/// R peaks that are kept.
const BEATS_KEPT: usize = 64;
/// How fast the long likeness follows the window's: a memory of about seven seconds more.
const FOLLOW: f64 = 0.15;
/// Before any period is known the search assumes 75 beats per minute.
const ASSUMED_PERIOD: f64 = 80.0;

/// The envelope's smoothing lets a sound seem this much longer at each end, in frames.
const BLUR: f64 = 1.5;
/// What an R peak adds to the evidence for the first sound around it, as a logarithm.
const BEAT_WEIGHT: f64 = 0.3;
/// Frames around an R peak in which the first sound lies.
const BEAT_ZONE: (f64, f64) = (-1.0, 14.0);
/// Without an R peak this near, in frames, the ECG says nothing.
const BEAT_REACH: f64 = 200.0;

/// Analyses one recording of heart sounds.
///
/// A window is told after two seconds of sound and then every second; the first and second
/// sounds in it are told about four seconds after they were heard. Blocks of any size give
/// the same answers, and memory does not grow.
#[derive(Clone, Debug)]
pub struct HeartSounds {
    rate: SamplingRate,
    rails: Option<(i32, i32)>,
    front: Front,
    /// The instant of the first sample since the last gap, and after the newest one.
    base: SampleIndex,
    end: SampleIndex,
    pub(super) frames: VecDeque<Frame>,
    frame_count: u64,
    long: Likeness,
    pub(super) search: Search,
    beats: VecDeque<SampleIndex>,
    totals: Totals,
    believed: bool,
    heard: u64,
    model: QualityModel,
}

/// The search for sounds since the last gap.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) segmenter: Segmenter,
    lengths: Lengths,
    /// Sounds up to this frame have been told.
    told: u64,
}

impl Search {
    fn new() -> Self {
        Self {
            segmenter: Segmenter::default(),
            lengths: Lengths::of(&period_of(ASSUMED_PERIOD)),
            told: 0,
        }
    }
}

fn period_of(frames: f64) -> Period {
    Period {
        frames,
        height: 0.0,
        systole: expected_systole(frames),
        systole_height: 0.0,
    }
}

impl HeartSounds {
    /// An analyser for sound of 1 to 48 kHz. `rails` are the converter's lowest and highest
    /// count where they are known; clipping is noticed without them too.
    ///
    /// # Errors
    /// [`PcgError`] when the rate is outside of that.
    pub fn new(rate: SamplingRate, rails: Option<(i32, i32)>) -> Result<Self, PcgError> {
        let rate_hz = rate.as_hz();
        if !(RATES_HZ.0..=RATES_HZ.1).contains(&rate_hz) {
            return Err(PcgError::Rate { rate_hz });
        }
        Ok(Self {
            rate,
            rails,
            front: Front::new(rate, rails),
            base: SampleIndex(0),
            end: SampleIndex(0),
            frames: VecDeque::with_capacity(WINDOW),
            frame_count: 0,
            long: Likeness::default(),
            search: Search::new(),
            beats: VecDeque::new(),
            totals: Totals::default(),
            believed: false,
            heard: 0,
            model: QualityModel::reviewed(),
        })
    }

    /// The instant after the newest sample.
    pub const fn end(&self) -> SampleIndex {
        self.end
    }

    /// An R peak of the ECG that runs beside, on the time line of the sound. It helps when
    /// it comes within two seconds of its instant; peaks come in order of time.
    pub fn beat(&mut self, at: SampleIndex) {
        if self.beats.back().is_some_and(|last| at <= *last) {
            return;
        }
        if self.beats.len() >= BEATS_KEPT {
            self.beats.pop_front();
        }
        self.beats.push_back(at);
    }

    /// Takes the next samples and gives the windows that they complete.
    pub fn push(&mut self, samples: &[i32]) -> Vec<SoundWindow> {
        let mut windows = Vec::new();
        for sample in samples {
            self.end = self.end.after(SampleCount(1));
            self.heard = self.heard.saturating_add(1);
            let mut done = None;
            self.front.step(*sample, |frame| done = Some(frame));
            if let Some(frame) = done {
                windows.extend(self.frame(frame));
            }
        }
        windows
    }

    /// Sound is missing: gives the sounds before the gap that were not told yet, and goes on
    /// after it without looking across.
    pub fn gap(&mut self, len: SampleCount) -> Vec<HeartSound> {
        let sounds = self.finish();
        self.end = self.end.after(len);
        self.base = self.end;
        self.front = Front::new(self.rate, self.rails);
        self.frames.clear();
        self.frame_count = 0;
        self.long = Likeness::default();
        self.search = Search::new();
        self.believed = false;
        sounds
    }

    /// The sound has ended: gives the sounds that were not told yet.
    pub fn finish(&mut self) -> Vec<HeartSound> {
        if self.frame_count < MIN_FRAMES {
            return Vec::new();
        }
        let measured = measure(self.frames.make_contiguous());
        self.search_to(self.frame_count, &measured);
        let course = self.search.segmenter.course(&self.search.lengths);
        let sounds = self.tell(&course, self.frame_count.saturating_sub(1));
        self.totals.sounds(&sounds);
        sounds
    }

    /// What can be said of all that was heard so far.
    pub fn summary(&self) -> SoundSummary {
        self.totals.summary(&self.model, SampleCount(self.heard))
    }

    fn frame(&mut self, frame: Frame) -> Option<SoundWindow> {
        if self.frames.len() >= WINDOW {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
        self.frame_count += 1;
        let whole_second = self.frame_count.is_multiple_of(FRAMES_PER_S);
        (whole_second && self.frame_count >= FIRST_WINDOW).then(|| self.window())
    }

    fn window(&mut self) -> SoundWindow {
        let mut measured = measure(self.frames.make_contiguous());
        self.long.follow(&measured.likeness, FOLLOW);
        let oldest = self.frame_count - num::count(self.frames.len());
        let first = self.place(num::float_u64(oldest));
        let len = self.end.since(first).unwrap_or_default();
        let beat_period = self.beat_period(first);
        let period = beat_period.or_else(|| self.long.period());
        if let Some(period) = &period {
            self.search.lengths = Lengths::of(period);
        }
        let mut course = Vec::new();
        if self.frame_count >= MIN_FRAMES {
            self.search_to(self.frame_count - LAG, &measured);
            course = self.search.segmenter.course(&self.search.lengths);
            measured.features.sound_snr_db = self.sound_snr_db(&course, &measured);
        }
        let quality = quality::judge(
            &self.model,
            &measured.features,
            num::count(self.frames.len()),
        );
        self.believed = quality.verdict != QualityVerdict::Insufficient;
        let sounds = self.tell(&course, self.search.segmenter.end().saturating_sub(UNSURE));
        let rate = self.rate_of(&quality, period, beat_period.is_some());
        let frames = num::count(self.frames.len());
        self.totals.window(&measured, &quality, &rate, frames);
        self.totals.sounds(&sounds);
        SoundWindow {
            quality: SignalQuality {
                first,
                len,
                overall: quality.clone(),
                per_lead: vec![quality],
                algorithm: ALGORITHM,
            },
            features: measured.features,
            rate,
            sounds,
        }
    }

    fn rate_of(
        &self,
        quality: &LeadQuality,
        period: Option<Period>,
        from_beats: bool,
    ) -> Result<SoundRate, Unanalysed> {
        if self.frame_count < MIN_FRAMES {
            return Err(Unanalysed::TooShort {
                have_ms: self.frame_count * 10,
            });
        }
        let period = period.ok_or(Unanalysed::NoRhythm)?;
        if from_beats {
            return Ok(SoundRate {
                bpm: period.bpm(),
                source: RateSource::Beats,
            });
        }
        if quality.verdict == QualityVerdict::Insufficient {
            return Err(Unanalysed::Insufficient);
        }
        if quality.causes.contains(&QualityCause::NoRhythm) {
            return Err(Unanalysed::NoRhythm);
        }
        Ok(SoundRate {
            bpm: period.bpm(),
            source: RateSource::Sound,
        })
    }

    /// The period of the R peaks in the window, if there are enough of them.
    fn beat_period(&self, first: SampleIndex) -> Option<Period> {
        let inside: Vec<f64> = self
            .beats
            .iter()
            .filter(|at| **at >= first && **at < self.end)
            .map(|at| self.frame_at(*at))
            .collect();
        let (oldest, newest) = (inside.first()?, inside.last()?);
        let intervals = inside.len().checked_sub(1).filter(|n| *n >= 3)?;
        let frames = (newest - oldest) / num::float(intervals);
        (20.0..=300.0).contains(&frames).then(|| Period {
            systole: self.long.systole(frames).0,
            ..period_of(frames)
        })
    }

    /// Goes on with the search up to a frame, with what this window knows of it.
    fn search_to(&mut self, frame: u64, measured: &Measured) {
        let held = num::count(self.frames.len());
        let oldest = self.frame_count - held;
        let border = measured.border(self.search.lengths.sound_share());
        while self.search.segmenter.end() < frame {
            let at = self.search.segmenter.end();
            let place = at
                .checked_sub(oldest)
                .and_then(|at| usize::try_from(at).ok());
            let steps = place.map_or(0.0, |place| measured.steps(border, place));
            let bright = place.map_or(0.0, |place| measured.brightness(place));
            let mut said = evidence(steps, bright);
            self.beat_evidence(at, &mut said);
            self.search.segmenter.push(said, &self.search.lengths);
        }
    }
}

impl HeartSounds {
    /// Lets the R peaks near a frame speak for or against the first sound.
    fn beat_evidence(&self, frame: u64, said: &mut [f64; 4]) {
        let at = num::float_u64(frame);
        let mut near = false;
        let mut inside = false;
        for beat in self.beats.iter().rev() {
            let distance = at - self.frame_at(*beat);
            near |= distance.abs() < BEAT_REACH;
            inside |= (BEAT_ZONE.0..BEAT_ZONE.1).contains(&distance);
        }
        if let Some(first) = said.get_mut(FIRST).filter(|_| near) {
            *first += if inside { BEAT_WEIGHT } else { -BEAT_WEIGHT };
        }
    }

    /// Gives the sounds of a course that end by `until` and were not told, if they are
    /// believed.
    fn tell(&mut self, course: &[Stretch], until: u64) -> Vec<HeartSound> {
        let mut sounds = Vec::new();
        for stretch in course {
            let kind = match stretch.state {
                FIRST => SoundKind::S1,
                SECOND => SoundKind::S2,
                _ => continue,
            };
            if stretch.from <= self.search.told || stretch.to > until {
                continue;
            }
            self.search.told = stretch.to;
            if self.believed {
                let first = self.place(num::float_u64(stretch.from) + BLUR);
                let end = self.place(num::float_u64(stretch.to) - BLUR);
                let len = end.since(first).unwrap_or_default();
                sounds.push(HeartSound { kind, first, len });
            }
        }
        sounds
    }

    /// Level of the sounds above the level of the silence between them, in decibels.
    fn sound_snr_db(&self, course: &[Stretch], measured: &Measured) -> f64 {
        let oldest = self.frame_count - num::count(self.frames.len());
        let mut sums = [(0.0, 0.0); 2];
        for stretch in course {
            let silent = usize::from(stretch.state != FIRST && stretch.state != SECOND);
            let levels = measured.levels(
                stretch.from.saturating_sub(oldest),
                stretch.to.saturating_sub(oldest),
            );
            if let Some((sum, count)) = sums.get_mut(silent) {
                *sum += levels.iter().sum::<f64>();
                *count += num::float(levels.len());
            }
        }
        let [sound, silence] = sums.map(|(sum, count)| (count > 0.0).then(|| sum / count));
        sound.zip(silence).map_or(0.0, |(a, b)| a - b)
    }

    fn place(&self, frame: f64) -> SampleIndex {
        let offset = self.front.input_position(frame);
        let at = self.base.after(SampleCount(num::round_u64(offset)));
        at.min(self.end)
    }

    fn frame_at(&self, at: SampleIndex) -> f64 {
        let offset = num::float_u64(at.0) - num::float_u64(self.base.0);
        self.front.frame_position(offset)
    }
}
