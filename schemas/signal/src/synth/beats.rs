//! When the heart beats, and of which kind: the RR process.
//!
//! Sinus rhythm has the two spectral bands of McSharry, Clifford, Tarassenko and Smith 2003
//! (around 0.1 Hz and around breathing), as a sum of waves with seeded phases. On top come
//! premature beats, fibrillation, ventricular runs and pauses.

use cardio_core::annotation::BeatClass;

use super::config::{HeartRateVariability, SynthConfig};
use super::random::Chance;
use crate::num;

/// A beat of the synthetic heart: the truth that a detector is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynthBeat {
    /// The instant of the R peak, in seconds from the start.
    pub at_s: f64,
    /// Its class.
    pub class: BeatClass,
    /// Whether atrial activity precedes it.
    pub has_p_wave: bool,
    /// The RR interval that the heart runs at, in seconds: it sets the place of the T wave.
    pub rr_s: f64,
}

const WAVES_PER_BAND: usize = 12;
const LF_CENTRE_HZ: f64 = 0.1;
const BAND_WIDTH_HZ: f64 = 0.01;
const BPM_RANGE: (f64, f64) = (15.0, 300.0);

/// One wave of the RR spectrum.
#[derive(Clone, Copy, Debug)]
struct RrWave {
    hz: f64,
    phase: f64,
    amplitude_s: f64,
}

/// The sequence of beats, endless.
#[derive(Clone, Debug)]
pub(crate) struct BeatProcess {
    config: SynthConfig,
    chance: Chance,
    waves: Vec<RrWave>,
    next: SynthBeat,
    owed_pause_s: f64,
    pauses_done: usize,
}

impl BeatProcess {
    pub(crate) fn new(config: &SynthConfig) -> Self {
        let mut chance = Chance::new(config.seed, 1);
        let waves = rr_waves(&config.hrv, &mut chance);
        let first_rr = rr_of(config.heart_rate_bpm);
        let next = SynthBeat {
            at_s: first_rr * chance.between(0.35, 0.9),
            class: BeatClass::Normal,
            has_p_wave: true,
            rr_s: first_rr,
        };
        Self {
            config: config.clone(),
            chance,
            waves,
            next,
            owed_pause_s: 0.0,
            pauses_done: 0,
        }
    }

    /// The next beat, without taking it.
    pub(crate) const fn peek(&self) -> &SynthBeat {
        &self.next
    }

    /// Takes the next beat and draws the one after it.
    pub(crate) fn take(&mut self) -> SynthBeat {
        let beat = self.next;
        self.next = self.after(&beat);
        beat
    }

    fn after(&mut self, beat: &SynthBeat) -> SynthBeat {
        if let Some(pause) = self.config.pauses.get(self.pauses_done)
            && beat.at_s >= pause.at_s
        {
            let length_s = pause.length_s.max(0.2);
            self.pauses_done += 1;
            self.owed_pause_s = 0.0;
            return self.beat(beat.at_s + length_s, BeatClass::Normal, true, 1.0);
        }
        let at = beat.at_s;
        if let Some(run) = self
            .config
            .ventricular_runs
            .iter()
            .find(|run| run.span.holds(at))
        {
            let rr = rr_of(run.bpm) * (1.0 + 0.02 * self.chance.normal());
            return self.beat(at + rr, BeatClass::Ventricular, false, rr);
        }
        if self.config.af.iter().any(|span| span.holds(at)) {
            let mean = rr_of(self.mean_bpm(at));
            let rr =
                (mean * libm::exp(0.2 * self.chance.normal())).clamp(0.28, 2.5 * mean.max(0.3));
            return self.beat(at + rr, BeatClass::Normal, false, rr);
        }
        self.sinus_or_premature(at)
    }

    fn sinus_or_premature(&mut self, at: f64) -> SynthBeat {
        let rr = self.sinus_rr(at);
        let owed = std::mem::take(&mut self.owed_pause_s);
        let draw = self.chance.uniform();
        let ventricular = self.config.ectopics.ventricular_per_min * rr / 60.0;
        let supraventricular = self.config.ectopics.supraventricular_per_min * rr / 60.0;
        if owed > 0.0 {
            return self.beat(at + owed, BeatClass::Normal, true, rr);
        }
        if draw < ventricular {
            let early = rr * self.chance.between(0.55, 0.72);
            self.owed_pause_s = 2.0 * rr - early;
            return self.beat(at + early, BeatClass::Ventricular, false, rr);
        }
        if draw < ventricular + supraventricular {
            let early = rr * self.chance.between(0.55, 0.72);
            self.owed_pause_s = rr * 1.05;
            return self.beat(at + early, BeatClass::Supraventricular, true, rr);
        }
        self.beat(at + rr, BeatClass::Normal, true, rr)
    }

    fn beat(&self, at_s: f64, class: BeatClass, has_p_wave: bool, rr_s: f64) -> SynthBeat {
        SynthBeat {
            at_s,
            class,
            has_p_wave,
            rr_s,
        }
    }

    fn mean_bpm(&self, at_s: f64) -> f64 {
        self.config
            .rate_changes
            .iter()
            .rfind(|change| change.from_s <= at_s)
            .map_or(self.config.heart_rate_bpm, |change| change.bpm)
    }

    fn sinus_rr(&self, at_s: f64) -> f64 {
        let mean = rr_of(self.mean_bpm(at_s));
        let swing: f64 = self
            .waves
            .iter()
            .map(|wave| {
                wave.amplitude_s * libm::sin(core::f64::consts::TAU * wave.hz * at_s + wave.phase)
            })
            .sum();
        // Faster hearts vary less: the swing is stated for 60 /min.
        (mean + swing * mean).clamp(0.6 * mean, 1.6 * mean)
    }
}

fn rr_of(bpm: f64) -> f64 {
    let (low, high) = BPM_RANGE;
    if bpm.is_nan() {
        1.0
    } else {
        60.0 / bpm.clamp(low, high)
    }
}

fn rr_waves(hrv: &HeartRateVariability, chance: &mut Chance) -> Vec<RrWave> {
    let ratio = hrv.lf_hf_ratio.max(0.0);
    let lf_share = ratio / (1.0 + ratio);
    let bands = [(LF_CENTRE_HZ, lf_share), (hrv.breathing_hz, 1.0 - lf_share)];
    let mut waves = Vec::with_capacity(2 * WAVES_PER_BAND);
    for (centre, share) in bands {
        let variance = share * (hrv.sd_ms / 1000.0) * (hrv.sd_ms / 1000.0);
        let amplitude_s = (2.0 * variance / num::float(WAVES_PER_BAND)).sqrt();
        for _ in 0..WAVES_PER_BAND {
            waves.push(RrWave {
                hz: centre + BAND_WIDTH_HZ * chance.normal(),
                phase: chance.between(0.0, core::f64::consts::TAU),
                amplitude_s,
            });
        }
    }
    waves
}
