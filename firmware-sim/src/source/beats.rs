//! The beats of a heart, for a device that sees nothing else: one at the instant of each beat that
//! another source marks, zero everywhere else.

use std::collections::BTreeSet;

use super::{Mark, SignalSource};

/// The marks that are beats, as annotation files write them.
const BEATS: [&str; 19] = [
    "N", "L", "R", "B", "A", "a", "J", "S", "V", "r", "F", "e", "j", "n", "E", "/", "f", "Q", "?",
];

/// The beats of another source.
pub struct BeatSource {
    heart: Box<dyn SignalSource>,
    shown: Vec<f64>,
    at: u64,
    /// Beats that lie ahead: a source may tell of one when its first wave begins.
    ahead: BTreeSet<u64>,
    marks: Vec<Mark>,
}

impl BeatSource {
    /// The beats of a source that shows one row.
    pub fn new(heart: Box<dyn SignalSource>) -> Self {
        Self {
            heart,
            shown: vec![0.0],
            at: 0,
            ahead: BTreeSet::new(),
            marks: Vec::new(),
        }
    }
}

impl SignalSource for BeatSource {
    fn next_row(&mut self, row: &mut [f64]) -> bool {
        if !self.heart.next_row(&mut self.shown) {
            return false;
        }
        for mark in self.heart.take_marks() {
            if BEATS.contains(&mark.code.as_str()) {
                self.ahead.insert(mark.at.0);
            }
            self.marks.push(mark);
        }
        let beats = self.ahead.remove(&self.at);
        row.fill(f64::from(u8::from(beats)));
        self.at = self.at.saturating_add(1);
        true
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.marks)
    }
}

#[cfg(test)]
mod tests {
    use super::{BeatSource, SignalSource};
    use crate::source::SynthSource;
    use cardio_core::lead::Lead;
    use cardio_core::rate::SamplingRate;
    use cardio_signal::synth::SynthConfig;

    #[test]
    fn every_beat_that_is_marked_is_seen_in_its_place_and_nothing_else() {
        let config = SynthConfig::calm(7, SamplingRate::hz(1024).unwrap());
        let heart = SynthSource::new(config, &[Some(Lead::I)]);
        let mut beats = BeatSource::new(Box::new(heart));
        let (mut row, mut seen, mut marked) = ([0.0], Vec::new(), Vec::new());
        for at in 0..10 * 1024_u64 {
            assert!(beats.next_row(&mut row));
            if row[0] > 0.0 {
                seen.push(at);
            }
            marked.extend(beats.take_marks().into_iter().map(|mark| mark.at.0));
        }
        marked.retain(|at| *at < 10 * 1024);
        assert!(seen.len() > 8, "{seen:?}");
        assert_eq!(seen, marked);
    }
}
