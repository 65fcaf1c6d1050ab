//! Synthetic heart sounds with seeded faults, for simulators and tests.
//!
//! Deliberately absent: physiology beyond rate, systole and the sounds' own bands. The same
//! configuration gives the same samples on every architecture and in blocks of any size.

use std::collections::VecDeque;

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;

use crate::filter::Biquad;
use crate::num;
use crate::pcg::envelope::{FRAMES_PER_MIN, expected_systole};
use crate::pcg::{HeartSound, SoundKind};
use crate::synth::random::Chance;

/// How long a first and a second sound last, in seconds (Schmidt 2010).
const FIRST_S: f64 = 0.122;
const SECOND_S: f64 = 0.092;
/// Two tones of each sound, in hertz.
const FIRST_HZ: [f64; 2] = [42.0, 68.0];
const SECOND_HZ: [f64; 2] = [58.0, 96.0];
/// Noise of body and room ends here, in hertz.
const NOISE_HZ: f64 = 400.0;
/// Speech begins here, in hertz, and has this many syllables a second.
const SPEECH_HZ: f64 = 300.0;
const SYLLABLES_HZ: f64 = 3.0;
/// A murmur lies above this, in hertz.
const MURMUR_HZ: f64 = 100.0;
/// A rub of the stethoscope dies away with this time constant, in seconds, and is this many
/// times as loud as the first sound.
const RUB_S: f64 = 0.03;
const RUB_TIMES: f64 = 12.0;

/// What to synthesise. Levels are shares of the first sound's amplitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoundSynthConfig {
    /// Seed of all chance.
    pub seed: u64,
    /// Rate of the sound.
    pub rate: SamplingRate,
    /// Mean heart rate, in beats per minute, kept within 20 to 250.
    pub heart_rate_bpm: f64,
    /// Deviation of an interval, as a share of the mean: 0.03 is sinus rhythm, 0.2 is
    /// atrial fibrillation.
    pub variability: f64,
    /// Amplitude of the first sound, in counts; zero is silence.
    pub amplitude_adu: f64,
    /// Level of the second sound.
    pub second_sound: f64,
    /// Level of a systolic murmur.
    pub murmur: f64,
    /// Root mean square of the noise of body and room.
    pub noise: f64,
    /// Root mean square of speech.
    pub speech: f64,
    /// Rubs of the stethoscope, per minute.
    pub rubs_per_min: f64,
    /// The converter's limit either way, in counts.
    pub limit_adu: i32,
}

impl SoundSynthConfig {
    /// A clean recording of a heart at rest.
    pub const fn clean(seed: u64, rate: SamplingRate) -> Self {
        Self {
            seed,
            rate,
            heart_rate_bpm: 70.0,
            variability: 0.03,
            amplitude_adu: 6_000.0,
            second_sound: 0.7,
            murmur: 0.0,
            noise: 0.01,
            speech: 0.0,
            rubs_per_min: 0.0,
            limit_adu: 32_767,
        }
    }
}

/// An endless recording.
#[derive(Clone, Debug)]
pub struct SoundSynth {
    config: SoundSynthConfig,
    hz: f64,
    sample: u64,
    beats: Chance,
    next_beat_s: f64,
    active: VecDeque<Sounding>,
    begun: Vec<HeartSound>,
    noise: Noise,
    murmur: Noise,
    speech: Noise,
    rubs: Chance,
    rub_texture: Noise,
    rub: f64,
}

/// A beat on its way.
#[derive(Clone, Copy, Debug)]
struct Sounding {
    first_s: f64,
    second_s: f64,
}

/// White noise between two corners, of the root mean square one at any rate.
#[derive(Clone, Debug)]
struct Noise {
    chance: Chance,
    high_pass: Biquad,
    low_pass: Biquad,
    gain: f64,
}

impl Noise {
    fn new(seed: u64, stream: u64, (from_hz, to_hz): (f64, f64), rate_hz: f64) -> Self {
        let top_hz = to_hz.min(0.45 * rate_hz);
        Self {
            chance: Chance::new(seed, stream),
            high_pass: Biquad::high_pass(from_hz, rate_hz),
            low_pass: Biquad::low_pass(top_hz, rate_hz),
            gain: (0.5 * rate_hz / (top_hz - from_hz).max(1.0)).sqrt(),
        }
    }

    fn step(&mut self) -> f64 {
        let white = self.gain * self.chance.normal();
        self.low_pass.step(self.high_pass.step(white))
    }
}

impl SoundSynth {
    /// A recording that starts now; its first beat comes within half a second.
    pub fn new(config: SoundSynthConfig) -> Self {
        let hz = config.rate.as_hz();
        let noise = |stream, band| Noise::new(config.seed, stream, band, hz);
        Self {
            config,
            hz,
            sample: 0,
            beats: Chance::new(config.seed, 0),
            next_beat_s: 0.3,
            active: VecDeque::new(),
            begun: Vec::new(),
            noise: noise(1, (10.0, NOISE_HZ)),
            murmur: noise(2, (MURMUR_HZ, NOISE_HZ)),
            speech: noise(3, (SPEECH_HZ, 3_000.0)),
            rubs: Chance::new(config.seed, 4),
            rub_texture: noise(5, (10.0, NOISE_HZ)),
            rub: 0.0,
        }
    }

    /// The next samples.
    pub fn fill(&mut self, samples: &mut [i32]) {
        for sample in samples {
            *sample = self.step();
        }
    }

    /// So many seconds of samples.
    pub fn seconds(&mut self, seconds: f64) -> Vec<i32> {
        let mut samples = vec![0; num::round_usize(seconds * self.hz).min(1 << 28)];
        self.fill(&mut samples);
        samples
    }

    /// The sounds that began since the last call, as they truly are.
    pub fn take_sounds(&mut self) -> Vec<HeartSound> {
        std::mem::take(&mut self.begun)
    }

    fn step(&mut self) -> i32 {
        let now = num::float_u64(self.sample) / self.hz;
        self.sample += 1;
        while now >= self.next_beat_s {
            self.begin_beat();
        }
        while self
            .active
            .front()
            .is_some_and(|beat| now > beat.second_s + 0.5)
        {
            self.active.pop_front();
        }
        let mut level = self.config.noise * self.noise.step();
        for beat in &self.active {
            level += tone(now - beat.first_s, FIRST_S, FIRST_HZ);
            level += self.config.second_sound * tone(now - beat.second_s, SECOND_S, SECOND_HZ);
        }
        level += self.faults(now);
        let counts = num::round_i32(self.config.amplitude_adu * level);
        counts.clamp(-self.config.limit_adu, self.config.limit_adu)
    }

    fn begin_beat(&mut self) {
        let mean = 60.0 / self.config.heart_rate_bpm.clamp(20.0, 250.0);
        let spread = self.config.variability * self.beats.normal();
        let period = mean * (1.0 + spread.clamp(-0.5, 0.8));
        let first_s = self.next_beat_s;
        let systole = expected_systole(FRAMES_PER_MIN * mean / 60.0) / 100.0;
        let second_s = first_s + systole.min(0.6 * period);
        self.next_beat_s += period;
        self.active.push_back(Sounding { first_s, second_s });
        for (kind, start, length) in [
            (SoundKind::S1, first_s, FIRST_S),
            (SoundKind::S2, second_s, SECOND_S),
        ] {
            self.begun.push(HeartSound {
                kind,
                first: SampleIndex(num::round_u64(start * self.hz)),
                len: SampleCount(num::round_u64(length * self.hz)),
            });
        }
    }

    /// What hides the sounds.
    fn faults(&mut self, now: f64) -> f64 {
        let murmur = self.murmur.step() * self.config.murmur * self.in_systole(now);
        let syllable = libm::sin(core::f64::consts::PI * SYLLABLES_HZ * now).abs();
        let speech = self.speech.step() * self.config.speech * syllable;
        if self.rubs.uniform() < self.config.rubs_per_min / 60.0 / self.hz {
            self.rub = RUB_TIMES;
        }
        self.rub *= 1.0 - 1.0 / (RUB_S * self.hz).max(2.0);
        murmur + speech + self.rub * self.rub_texture.step()
    }

    /// A diamond between the sounds of the newest beat.
    fn in_systole(&self, now: f64) -> f64 {
        self.active.back().map_or(0.0, |beat| {
            let start = beat.first_s + FIRST_S;
            let share = (now - start) / (beat.second_s - start).max(0.01);
            (1.0 - (2.0 * share - 1.0).abs()).max(0.0)
        })
    }
}

/// A sound of two tones under an envelope that rises in a quarter of its length.
fn tone(since: f64, length: f64, [low_hz, high_hz]: [f64; 2]) -> f64 {
    if !(0.0..length).contains(&since) {
        return 0.0;
    }
    let share = since / length;
    let envelope = if share < 0.25 {
        libm::sin(core::f64::consts::PI * 2.0 * share)
    } else {
        libm::cos(core::f64::consts::PI * (share - 0.25) / 1.5)
    };
    let wave = |hz: f64| libm::sin(core::f64::consts::TAU * hz * since);
    envelope * (0.6 * wave(low_hz) + 0.4 * wave(high_hz))
}

#[cfg(test)]
mod tests {
    use super::{SoundSynth, SoundSynthConfig};
    use crate::pcg::SoundKind;
    use cardio_core::rate::SamplingRate;

    fn clean() -> SoundSynthConfig {
        SoundSynthConfig::clean(1, SamplingRate::hz(2_000).unwrap())
    }

    #[test]
    fn a_seed_gives_the_same_samples_in_blocks_of_any_size() {
        let whole = SoundSynth::new(clean()).seconds(3.0);
        let mut synth = SoundSynth::new(clean());
        let mut parts = vec![0; whole.len()];
        for block in parts.chunks_mut(7) {
            synth.fill(block);
        }
        assert_eq!(whole, parts);
        let other = SoundSynthConfig { seed: 2, ..clean() };
        assert_ne!(whole, SoundSynth::new(other).seconds(3.0));
    }

    #[test]
    fn sounds_alternate_at_the_rate_that_was_asked_for() {
        let mut synth = SoundSynth::new(SoundSynthConfig {
            variability: 0.0,
            ..clean()
        });
        let _ = synth.seconds(60.0);
        let sounds = synth.take_sounds();
        let firsts = sounds.iter().filter(|s| s.kind == SoundKind::S1).count();
        assert!((69..=71).contains(&firsts), "{firsts}");
        for pair in sounds.windows(2) {
            assert!(pair[0].first < pair[1].first && pair[0].kind != pair[1].kind);
        }
        assert!(synth.take_sounds().is_empty());
    }

    #[test]
    fn the_converter_has_a_limit() {
        let loud = SoundSynthConfig {
            amplitude_adu: 90_000.0,
            ..clean()
        };
        let samples = SoundSynth::new(loud).seconds(2.0);
        assert_eq!(samples.iter().max(), Some(&32_767));
        assert_eq!(samples.iter().min(), Some(&-32_767));
    }
}
