//! The heart as one electric dipole, and the leads that see it.
//!
//! The waves are Gaussian kernels as in McSharry and others 2003, in the three-dimensional
//! form of Sameni, Clifford, Jutten and Shamsollahi 2007; the kernels stand in time, not in
//! phase, so that a QRS keeps its width when the rate changes, while P and T move with the
//! square root of RR. Dower's matrix (Dower, Machado and Osborne 1980) gives the leads, so
//! all of them are views of the same heart and obey Einthoven exactly.

use cardio_core::annotation::BeatClass;

use super::beats::SynthBeat;

/// A vector in the body: left, down, back, in millivolts.
pub(crate) type Dipole = [f64; 3];

/// One wave of a beat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    centre_s: f64,
    width_s: f64,
    dipole: Dipole,
}

/// A kernel further than this many widths away adds less than a ten-thousandth.
const REACH_IN_WIDTHS: f64 = 4.5;

/// Dower's matrix: rows I, II, V1 to V6; columns left, down, back.
const DOWER: [Dipole; 8] = [
    [0.632, -0.235, 0.059],
    [0.235, 1.066, -0.132],
    [-0.515, 0.157, -0.917],
    [0.044, 0.164, -1.387],
    [0.882, 0.098, -1.277],
    [1.213, 0.127, -0.601],
    [1.125, 0.127, -0.086],
    [0.831, 0.076, 0.230],
];

/// What the eight measured leads see of a dipole, in the order I, II, V1 to V6.
pub(crate) fn leads(dipole: Dipole) -> [f64; 8] {
    let [left, down, back] = dipole;
    DOWER.map(|[x, y, z]| x * left + y * down + z * back)
}

/// The waves of one beat.
pub(crate) fn kernels(beat: &SynthBeat) -> Vec<Kernel> {
    // Bazett's square root, bounded so that no wave leaves its beat.
    let stretch = beat.rr_s.clamp(0.25, 1.6).sqrt();
    let mut waves = Vec::with_capacity(8);
    if beat.has_p_wave {
        let p_dipole = if beat.class == BeatClass::Supraventricular {
            [0.05, -0.08, 0.03]
        } else {
            [0.07, 0.11, -0.02]
        };
        let lead_in = (0.16 * stretch).clamp(0.10, 0.18);
        waves.push(kernel(-lead_in, 0.020, p_dipole));
    }
    if beat.class == BeatClass::Ventricular {
        waves.extend([
            kernel(-0.035, 0.022, [0.25, -0.30, 0.20]),
            kernel(0.0, 0.028, [-0.90, 1.10, -1.00]),
            kernel(0.050, 0.025, [0.20, -0.35, 0.30]),
            kernel(0.26 * stretch.max(0.75), 0.055, [0.35, -0.40, 0.30]),
        ]);
    } else {
        waves.extend([
            kernel(-0.022, 0.007, [-0.12, -0.05, -0.25]),
            kernel(0.0, 0.0105, [1.05, 0.85, 0.40]),
            kernel(0.022, 0.009, [-0.20, -0.22, 0.55]),
            kernel(0.235 * stretch, 0.045, [0.09, 0.08, -0.07]),
            kernel(0.285 * stretch, 0.030, [0.17, 0.16, -0.12]),
        ]);
    }
    waves
}

const fn kernel(centre_s: f64, width_s: f64, dipole: Dipole) -> Kernel {
    Kernel {
        centre_s,
        width_s,
        dipole,
    }
}

impl Kernel {
    /// Adds this wave at `offset_s` from the R peak to a dipole.
    pub(crate) fn add_to(&self, sum: &mut Dipole, offset_s: f64, size: f64) {
        let widths = (offset_s - self.centre_s) / self.width_s;
        if widths.abs() > REACH_IN_WIDTHS {
            return;
        }
        let height = size * libm::exp(-0.5 * widths * widths);
        for (total, part) in sum.iter_mut().zip(self.dipole) {
            *total += height * part;
        }
    }
}

/// Fibrillatory waves at an instant: an uneven wave of about six per second.
pub(crate) fn fibrillation(at_s: f64, size: f64) -> Dipole {
    let tau = core::f64::consts::TAU;
    let drift = 0.35 * libm::sin(tau * 0.23 * at_s);
    let wave = libm::sin(tau * 6.1 * at_s + 3.0 * drift)
        + 0.4 * libm::sin(tau * 12.2 * at_s + 6.0 * drift + 0.7);
    let height = size * 0.045 * (1.0 + drift) * wave;
    [0.4 * height, 0.8 * height, -0.9 * height]
}
