//! When the next beat is due, by the beats that were sure.
//!
//! Deliberately absent: beats that were doubtful, which noise may have made.

use super::decide::Memory;
use crate::num;

/// A beat with at least these odds' logarithm is sure.
const SURE: f64 = 2.5;
/// Cycles are counted up to this.
const MOST_CYCLES: f64 = 12.0;

/// The pace that sure beats keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    last: Option<u64>,
    /// Whether the last beat of all was sure.
    unbroken: bool,
    intervals: Memory,
    /// How far the newest intervals were from the middle one, as a share of it.
    uneven: Memory,
}

/// How a place stands to the pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Due {
    /// How far it is from when a beat is due, as a share of the interval.
    pub(crate) away: f64,
    /// Intervals since the last sure beat.
    pub(crate) cycles: f64,
    /// How uneven the intervals are.
    pub(crate) uneven: f64,
}

impl Pace {
    /// Takes a beat and the logarithm of its odds.
    pub(crate) fn learn(&mut self, at: u64, odds: f64) {
        let is_sure = odds >= SURE;
        if is_sure {
            if let Some(last) = self.last.filter(|_| self.unbroken) {
                let interval = num::float_u64(at.saturating_sub(last));
                if let Some(middle) = self.intervals.median() {
                    let away = (interval - middle).abs() / middle.max(1.0);
                    self.uneven.push(away.min(1.0));
                }
                self.intervals.push(interval);
            }
            self.last = Some(at);
        }
        self.unbroken = is_sure;
    }

    /// Nothing is known of when the last beat was.
    pub(crate) fn restart(&mut self) {
        self.last = None;
        self.unbroken = false;
    }

    /// How a place stands to the pace; a quarter away when there is none yet.
    pub(crate) fn look(&self, at: u64) -> Due {
        let uneven = self.uneven.median().unwrap_or(1.0);
        let (Some(last), Some(interval)) = (self.last, self.intervals.median()) else {
            return Due {
                away: 0.25,
                cycles: MOST_CYCLES,
                uneven,
            };
        };
        let cycles = num::float_u64(at.saturating_sub(last)) / interval.max(1.0);
        Due {
            away: (cycles - cycles.round().max(1.0)).abs().min(1.0),
            cycles: cycles.min(MOST_CYCLES),
            uneven,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn a_beat_is_due_at_whole_intervals_after_the_last_sure_one() {
        let mut pace = Pace::default();
        for beat in 1..=10_u64 {
            pace.learn(200 * beat, 5.0);
        }
        pace.learn(2_050, 0.5);
        assert!(pace.look(2_200).away < 1e-9);
        assert!((pace.look(2_050).away - 0.75).abs() < 1e-9);
        let later = pace.look(2_700);
        assert!((later.away - 0.5).abs() < 1e-9 && (later.cycles - 3.5).abs() < 1e-9);
        assert!(later.uneven < 1e-9);
    }

    #[test]
    fn after_a_gap_no_beat_is_due_and_the_pace_is_kept() {
        let mut pace = Pace::default();
        for beat in 1..=10_u64 {
            pace.learn(200 * beat, 5.0);
        }
        pace.restart();
        assert_eq!(pace.look(2_200).away, 0.25);
        pace.learn(3_000, 5.0);
        assert!(pace.look(3_200).away < 1e-9);
    }
}
