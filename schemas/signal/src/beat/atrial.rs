//! Whether the atria beat before the ventricles: how alike the P waves are.
//!
//! In sinus rhythm the stretch before the QRS looks the same beat after beat; in atrial
//! fibrillation it never does. Deliberately absent: where a P wave begins and ends; see
//! [`crate::delineation`].

use std::collections::VecDeque;

use crate::num;
use crate::qrs::{P_POINTS, Wide};

/// Beats that a beat is compared with.
const COMPARED: usize = 8;
/// Fewer say nothing.
const LEAST: usize = 3;

/// The stretches before the last beats of the heart's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Atria(VecDeque<[f64; P_POINTS]>);

impl Atria {
    /// How like the stretch before a beat is to those before the last ones: the middle
    /// correlation, from -1 to 1; zero as long as there are too few.
    pub(super) fn likeness(&self, wide: &Wide) -> f64 {
        if self.0.len() < LEAST {
            return 0.0;
        }
        let own = wide.before_qrs();
        let with = |other: &[f64; P_POINTS]| own.iter().zip(other).map(|(x, y)| x * y).sum();
        let mut each: Vec<f64> = self.0.iter().map(with).collect();
        num::median(&mut each).clamp(-1.0, 1.0)
    }

    /// Keeps the stretch before a beat.
    pub(super) fn learn(&mut self, wide: &Wide) {
        if self.0.len() == COMPARED {
            self.0.pop_front();
        }
        self.0.push_back(wide.before_qrs());
    }

    /// Signal is missing: what was before says little of what comes.
    pub(super) fn restart(&mut self) {
        self.0.clear();
    }
}
