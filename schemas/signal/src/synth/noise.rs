//! Disturbances, made at the electrodes so that every lead shows the same one.

use core::f64::consts::TAU;

use super::config::Noise;
use super::random::Chance;

/// The nine contacts that carry signal: RA, LA, LL, C1 to C6.
pub(crate) const ELECTRODES: usize = 9;

const WANDER_WAVES: usize = 3;
/// How often a contact moves, per second.
const MOTION_PER_S: f64 = 0.25;
/// How fast its potential dies away.
const MOTION_DECAY_S: f64 = 0.6;

#[derive(Clone, Debug)]
struct Contact {
    wander: [(f64, f64); WANDER_WAVES],
    mains_size: f64,
    mains_phase: f64,
    muscle_before: f64,
    muscle: f64,
    motion_mv: f64,
    chance: Chance,
}

/// The disturbance of every contact, sample by sample.
#[derive(Clone, Debug)]
pub(crate) struct NoiseSource {
    noise: Noise,
    contacts: Vec<Contact>,
    hz: f64,
}

impl NoiseSource {
    pub(crate) fn new(noise: Noise, seed: u64, hz: f64) -> Self {
        let contacts = (0..ELECTRODES)
            .map(|number| {
                let mut chance = Chance::new(seed, 16 + crate::num::count(number));
                Contact {
                    wander: core::array::from_fn(|_| {
                        (chance.between(0.05, 0.45), chance.between(0.0, TAU))
                    }),
                    mains_size: chance.between(0.6, 1.4),
                    mains_phase: chance.between(-0.6, 0.6),
                    muscle_before: 0.0,
                    muscle: 0.0,
                    motion_mv: 0.0,
                    chance,
                }
            })
            .collect();
        Self {
            noise,
            contacts,
            hz,
        }
    }

    /// The disturbance of each contact at the next sample, whose instant is `at_s`.
    pub(crate) fn next(&mut self, at_s: f64) -> [f64; ELECTRODES] {
        let mut potentials = [0.0; ELECTRODES];
        for (potential, contact) in potentials.iter_mut().zip(&mut self.contacts) {
            *potential = contact.next(&self.noise, at_s, self.hz);
        }
        potentials
    }
}

impl Contact {
    fn next(&mut self, noise: &Noise, at_s: f64, hz: f64) -> f64 {
        let mut sum = 0.0;
        if noise.baseline_mv > 0.0 {
            // Three waves of one deviation each have a deviation of sqrt(3) over sqrt(2).
            let waves: f64 = self
                .wander
                .iter()
                .map(|(wave_hz, phase)| libm::sin(TAU * wave_hz * at_s + phase))
                .sum();
            sum += noise.baseline_mv * waves * 0.816_5;
        }
        if noise.mains_mv > 0.0 {
            let angle = TAU * noise.mains_hz * at_s + self.mains_phase;
            sum += noise.mains_mv * self.mains_size * core::f64::consts::SQRT_2 * libm::sin(angle);
        }
        if noise.muscle_mv > 0.0 {
            sum += noise.muscle_mv * self.muscle(at_s);
        }
        if noise.motion_mv > 0.0 {
            sum += self.motion(noise.motion_mv, hz);
        }
        if noise.white_mv > 0.0 {
            sum += noise.white_mv * self.chance.normal();
        }
        sum
    }

    /// Wide noise with little below 20 Hz, swelling and fading.
    fn muscle(&mut self, at_s: f64) -> f64 {
        let white = self.chance.normal();
        self.muscle = 0.3 * self.muscle + white - 0.9 * self.muscle_before;
        self.muscle_before = white;
        let swell = 1.0 + 0.5 * libm::sin(TAU * 0.31 * at_s + self.mains_phase);
        0.83 * self.muscle * swell
    }

    fn motion(&mut self, size_mv: f64, hz: f64) -> f64 {
        if self.chance.uniform() < MOTION_PER_S / hz {
            self.motion_mv += size_mv * 2.0 * self.chance.normal();
        }
        self.motion_mv *= 1.0 - 1.0 / (MOTION_DECAY_S * hz).max(1.0);
        self.motion_mv
    }
}
