//! A whole recording in a bounded place: sums over its windows.
//!
//! Deliberately absent: the windows themselves.

use cardio_core::index::SampleCount;
use cardio_core::quality::{LeadQuality, QualityVerdict};

use crate::num;
use crate::pcg::envelope::Likeness;
use crate::pcg::features::{Measured, SoundFeatures};
use crate::pcg::model::QualityModel;
use crate::pcg::quality;
use crate::pcg::{HeartSound, RateSource, SoundKind, SoundRate, SoundSummary, Unanalysed};

/// Width of a class of heart rates, in beats per minute, and how many there are.
const CLASS_BPM: f64 = 0.5;
const CLASSES: usize = 600;

/// Sums over windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    windows: u64,
    judged: u64,
    usable: u64,
    longest: u64,
    sums: SoundFeatures,
    likeness: Likeness,
    from_sound: Rates,
    from_beats: Rates,
    first_sounds: u64,
    second_sounds: u64,
}

/// How many windows had which rate.
#[derive(Clone, Debug, Default)]
struct Rates {
    classes: Vec<u32>,
    total: u64,
}

impl Rates {
    fn add(&mut self, bpm: f64) {
        if self.classes.is_empty() {
            self.classes = vec![0; CLASSES];
        }
        let class = num::round_usize(bpm / CLASS_BPM).min(CLASSES - 1);
        if let Some(count) = self.classes.get_mut(class) {
            *count = count.saturating_add(1);
            self.total += 1;
        }
    }

    /// The rate that half of the windows do not exceed.
    fn middle(&self) -> Option<f64> {
        let mut seen = 0;
        let class = self.classes.iter().position(|count| {
            seen += u64::from(*count);
            2 * seen >= self.total
        })?;
        Some(num::float(class) * CLASS_BPM)
    }
}

impl Totals {
    pub(crate) fn window(
        &mut self,
        measured: &Measured,
        verdict: &LeadQuality,
        rate: &Result<SoundRate, Unanalysed>,
        frames: u64,
    ) {
        self.windows += 1;
        self.longest = self.longest.max(frames);
        if frames < quality::MIN_FRAMES {
            return;
        }
        self.judged += 1;
        self.usable += u64::from(verdict.verdict != QualityVerdict::Insufficient);
        self.sums = self.sums.plus(&measured.features);
        let share = 1.0 / num::float_u64(self.judged);
        self.likeness.follow(&measured.likeness, share);
        match rate {
            Ok(SoundRate {
                bpm,
                source: RateSource::Beats,
            }) => self.from_beats.add(*bpm),
            Ok(SoundRate {
                bpm,
                source: RateSource::Sound,
            }) => self.from_sound.add(*bpm),
            Err(_) => {}
        }
    }

    pub(crate) fn sounds(&mut self, sounds: &[HeartSound]) {
        for sound in sounds {
            match sound.kind {
                SoundKind::S1 => self.first_sounds += 1,
                SoundKind::S2 => self.second_sounds += 1,
            }
        }
    }

    pub(crate) fn summary(&self, model: &QualityModel, heard: SampleCount) -> SoundSummary {
        let features = self.sums.times(1.0 / num::float_u64(self.judged.max(1)));
        let quality = quality::judge(model, &features, self.longest);
        let rate = self.rate(&quality);
        SoundSummary {
            heard,
            windows: self.windows,
            usable_windows: self.usable,
            quality,
            features,
            rate,
            first_sounds: self.first_sounds,
            second_sounds: self.second_sounds,
        }
    }

    fn rate(&self, quality: &LeadQuality) -> Result<SoundRate, Unanalysed> {
        if self.judged == 0 {
            return Err(Unanalysed::TooShort {
                have_ms: self.longest * 10,
            });
        }
        if let Some(bpm) = self.from_beats.middle() {
            return Ok(SoundRate {
                bpm,
                source: RateSource::Beats,
            });
        }
        if quality.verdict == QualityVerdict::Insufficient {
            return Err(Unanalysed::Insufficient);
        }
        let bpm = self.likeness.period().map(|period| period.bpm());
        let bpm = bpm.ok_or(Unanalysed::NoRhythm)?;
        Ok(SoundRate {
            bpm,
            source: RateSource::Sound,
        })
    }
}
