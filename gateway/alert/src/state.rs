//! What the engine remembers: small, bounded, serialisable, and sufficient to go on after a
//! restart as if nothing had happened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;

/// Most acquisitions that are remembered for one subject.
pub const MAX_ACQUISITIONS: usize = 64;

/// What is remembered of one patient, box or sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectState {
    /// Facts that came again or too late and changed nothing.
    pub repeated: u64,
    pub(crate) acquisitions: BTreeMap<String, Acquisition>,
    pub(crate) rules: BTreeMap<String, RuleState>,
    pub(crate) touched: u64,
}

impl SubjectState {
    /// The alerts whose condition goes on.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.rules
            .values()
            .filter_map(|rule| rule.open.as_ref().map(|open| &open.alert))
    }

    /// The acquisition's memory, started if need be; the one that was quiet longest makes room.
    pub(crate) fn acquisition(&mut self, name: &str) -> &mut Acquisition {
        if !self.acquisitions.contains_key(name) && self.acquisitions.len() >= MAX_ACQUISITIONS {
            let quiet = self.acquisitions.iter().min_by_key(|(_, one)| one.touched);
            if let Some(quiet) = quiet.map(|(name, _)| name.clone()) {
                self.acquisitions.remove(&quiet);
            }
        }
        self.touched = self.touched.saturating_add(1);
        let touched = self.touched;
        let one = self.acquisitions.entry(name.to_owned()).or_default();
        one.touched = touched;
        one
    }

    /// Whether a rule's condition goes on in any acquisition.
    pub(crate) fn is_active(&self, rule: &str) -> bool {
        self.acquisitions
            .values()
            .any(|one| one.tracks.get(rule).is_some_and(|track| track.active))
    }

    /// Whether a rule stands in any acquisition.
    pub(crate) fn tracks_any(&self, rule: &str) -> bool {
        self.acquisitions
            .values()
            .any(|one| one.tracks.contains_key(rule))
    }
}

/// What is remembered of one acquisition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Acquisition {
    /// End of the last window, on the recording's own time line.
    pub(crate) seen_us: Option<i64>,
    pub(crate) touched: u64,
    pub(crate) minutes: Minutes,
    pub(crate) tracks: BTreeMap<String, Track>,
}

/// How one rule stands in one acquisition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Track {
    /// The stretch in which the condition holds, if it does.
    pub(crate) run: Option<Run>,
    /// Whether the condition has held long enough.
    pub(crate) active: bool,
    /// Since when the value is well within its limit.
    pub(crate) well_since_us: Option<i64>,
    /// Whether the last window could not be analysed.
    pub(crate) blind: bool,
    /// Whether this run was counted as held back.
    pub(crate) counted: bool,
}

/// A stretch in which a condition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// End of the first window in which it held.
    pub(crate) began_us: i64,
    /// Wall time of that.
    pub(crate) began_at: i64,
    /// Start of that window.
    pub(crate) from_us: i64,
    /// End of the last window in which it held.
    pub(crate) last_us: i64,
    /// The worst value, for conditions with a limit.
    pub(crate) worst: Option<f64>,
}

/// How one rule stands for one subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RuleState {
    pub(crate) open: Option<Open>,
    /// Wall time of the last alert.
    pub(crate) raised_at: Option<i64>,
    /// Firings since that were held back.
    pub(crate) held: u64,
}

/// An alert whose condition goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) alert: Alert,
    /// Firings of the same rule, or of its group, while it was open.
    pub(crate) repeats: u64,
}

/// The share of the last ten minutes that could not be analysed, minute by minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Minutes {
    began: Option<i64>,
    last: Vec<Minute>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Minute {
    minute: i64,
    windows: u32,
    unanalysed: u32,
}

const MINUTES: i64 = 10;

impl Minutes {
    /// Counts a window; gives the share in percent once ten minutes are there.
    pub(crate) fn count(&mut self, to_us: i64, analysed: bool) -> Option<f64> {
        let minute = to_us.div_euclid(60_000_000);
        let began = *self.began.get_or_insert(minute);
        self.last
            .retain(|one| one.minute > minute.saturating_sub(MINUTES));
        if self.last.last().is_none_or(|one| one.minute != minute) {
            self.last.push(Minute {
                minute,
                windows: 0,
                unanalysed: 0,
            });
        }
        if let Some(one) = self.last.last_mut() {
            one.windows = one.windows.saturating_add(1);
            one.unanalysed = one.unanalysed.saturating_add(u32::from(!analysed));
        }
        let windows: u64 = self.last.iter().map(|one| u64::from(one.windows)).sum();
        let unanalysed: u64 = self.last.iter().map(|one| u64::from(one.unanalysed)).sum();
        let percent = u32::try_from(unanalysed * 100 / windows.max(1)).ok()?;
        (minute.saturating_sub(began) >= MINUTES).then(|| f64::from(percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_ten_minutes_needs_ten_minutes() {
        let mut minutes = Minutes::default();
        for second in 0..600 {
            assert_eq!(minutes.count(second * 1_000_000, second % 2 == 0), None);
        }
        assert_eq!(minutes.count(600_000_000, true), Some(49.0));
        assert!(minutes.last.len() <= 10);
    }

    #[test]
    fn the_acquisition_that_was_quiet_longest_makes_room() {
        let mut state = SubjectState::default();
        for number in 0..=MAX_ACQUISITIONS {
            state.acquisition(&number.to_string()).seen_us = Some(1);
        }
        assert_eq!(state.acquisitions.len(), MAX_ACQUISITIONS);
        assert!(!state.acquisitions.contains_key("0"));
    }
}
