//! Hours of autonomy: how long the box can go on capturing if nothing leaves it any more.
//!
//! It is the room that is left over the rate at which capture fills it:
//! - The rate is measured over the last hour of capture. Pauses do not count: between two
//!   stored records of a recording that are a minute apart or more, nothing was captured.
//! - What is counted is by how much the database grew, in pages, so that what SQLite itself
//!   takes is in it.
//! - The room ends where the outbox refuses what is captured now ([`crate::space`]): bulk at
//!   92 %, everything else at 97 %, of the cap or of what the disk leaves. What the gateway
//!   has acknowledged counts as room, because it goes first.
//!
//! Deliberately absent: a forecast of the network. Pure: time is an argument.

use std::collections::VecDeque;

use cardio_core::clock::BoxInstant;
use cardio_wire::lane::Lane;

/// Longer between two records of recordings is a pause.
const PAUSE_US: u64 = 60_000_000;
/// Capture is summed in stretches of a minute, of which an hour is kept.
const STRETCH_US: u64 = 60_000_000;
const STRETCHES: usize = 60;
/// Less capture than this says nothing yet.
const ENOUGH_US: u64 = 30_000_000;
const HOUR_US: u128 = 3_600_000_000;

/// How long the box can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autonomy {
    /// Nothing is captured, so nothing fills.
    NotCapturing,
    /// Capture has only begun.
    Measuring,
    /// It goes on for so long.
    Lasts {
        /// Until the outbox refuses what is captured now, in seconds.
        seconds: u64,
        /// How fast it fills.
        bytes_per_hour: u64,
    },
}

/// Capture summed up: bytes and the time that they took.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    bytes: u64,
    span_us: u64,
}

/// How fast capture fills the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth {
    stretches: VecDeque<Stretch>,
    last: Option<BoxInstant>,
    bulk: bool,
}

impl Growth {
    /// Records of these lanes were stored, and the database grew.
    pub(crate) fn note(&mut self, lanes: &[Lane], bytes: u64, now: BoxInstant) {
        let recorded = |lane: &Lane| matches!(lane, Lane::Routine | Lane::Bulk);
        let passed = self.since_last(now).filter(|passed| *passed < PAUSE_US);
        if lanes.iter().any(recorded) {
            self.last = Some(now);
            if passed.is_none() {
                // the first record after a pause took a time that is not known
                self.bulk = lanes.contains(&Lane::Bulk);
                return;
            }
            self.bulk |= lanes.contains(&Lane::Bulk);
            self.add(bytes, passed.unwrap_or(0));
        } else if passed.is_some() {
            self.add(bytes, 0);
        }
    }

    fn add(&mut self, bytes: u64, span_us: u64) {
        match self.stretches.back_mut() {
            Some(stretch) if stretch.span_us < STRETCH_US => {
                stretch.bytes = stretch.bytes.saturating_add(bytes);
                stretch.span_us = stretch.span_us.saturating_add(span_us);
            }
            _ => {
                self.stretches.push_back(Stretch { bytes, span_us });
                if self.stretches.len() > STRETCHES {
                    self.stretches.pop_front();
                }
            }
        }
    }

    /// Microseconds since the last record of a recording; `None` before the first.
    fn since_last(&self, now: BoxInstant) -> Option<u64> {
        self.last.and_then(|last| now.micros_since(&last))
    }

    /// At which percentage the outbox refuses what is captured now.
    pub(crate) const fn refused_at_percent(&self) -> u64 {
        if self.bulk { 92 } else { 97 }
    }

    /// How long `room_bytes` last.
    pub(crate) fn autonomy(&self, room_bytes: u64, now: BoxInstant) -> Autonomy {
        if self.since_last(now).is_none_or(|passed| passed >= PAUSE_US) {
            return Autonomy::NotCapturing;
        }
        let span_us: u64 = self.stretches.iter().map(|s| s.span_us).sum();
        let bytes: u64 = self.stretches.iter().map(|s| s.bytes).sum();
        if span_us < ENOUGH_US || bytes == 0 {
            return Autonomy::Measuring;
        }
        let (span, bytes) = (u128::from(span_us), u128::from(bytes));
        let seconds = u128::from(room_bytes) * span / bytes / 1_000_000;
        Autonomy::Lasts {
            seconds: u64::try_from(seconds).unwrap_or(u64::MAX),
            bytes_per_hour: u64::try_from(bytes * HOUR_US / span).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Autonomy, BoxInstant, Growth, Lane};
    use cardio_core::ids::BootId;

    const SECOND: u64 = 1_000_000;

    fn at(seconds: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: seconds * SECOND,
        }
    }

    fn captured(growth: &mut Growth, from: u64, to: u64, bytes_per_s: u64) {
        for second in from..to {
            growth.note(&[Lane::Routine], bytes_per_s, at(second));
        }
    }

    #[test]
    fn the_room_lasts_as_long_as_capture_needs_to_fill_it() {
        let mut growth = Growth::default();
        captured(&mut growth, 0, 120, 1000);
        let lasts = Autonomy::Lasts {
            seconds: 7200,
            bytes_per_hour: 3_600_000,
        };
        assert_eq!(growth.autonomy(7_200_000, at(121)), lasts);
    }

    #[test]
    fn what_is_not_capturing_has_no_hours() {
        let mut growth = Growth::default();
        assert_eq!(growth.autonomy(1, at(5)), Autonomy::NotCapturing);
        growth.note(&[Lane::Log, Lane::Alert], 5000, at(6));
        assert_eq!(growth.autonomy(1, at(6)), Autonomy::NotCapturing);
        captured(&mut growth, 10, 100, 1000);
        assert!(matches!(
            growth.autonomy(1, at(158)),
            Autonomy::Lasts { .. }
        ));
        assert_eq!(growth.autonomy(1, at(159)), Autonomy::NotCapturing);
    }

    #[test]
    fn the_first_seconds_say_nothing_yet() {
        let mut growth = Growth::default();
        captured(&mut growth, 0, 30, 1000);
        assert_eq!(growth.autonomy(1, at(30)), Autonomy::Measuring);
        captured(&mut growth, 30, 32, 1000);
        assert!(matches!(growth.autonomy(1, at(32)), Autonomy::Lasts { .. }));
    }

    #[test]
    fn pauses_do_not_thin_the_rate() {
        let mut growth = Growth::default();
        captured(&mut growth, 0, 60, 1000);
        captured(&mut growth, 50_000, 50_060, 1000);
        let Autonomy::Lasts { bytes_per_hour, .. } = growth.autonomy(1, at(50_060)) else {
            panic!("{growth:?}");
        };
        assert_eq!(bytes_per_hour, 3_600_000);
    }

    #[test]
    fn only_the_last_hour_of_capture_counts_and_nothing_else_is_kept() {
        let mut growth = Growth::default();
        captured(&mut growth, 0, 3600, 9000);
        captured(&mut growth, 3600, 7400, 1000);
        let Autonomy::Lasts { bytes_per_hour, .. } = growth.autonomy(1, at(7400)) else {
            panic!("{growth:?}");
        };
        assert_eq!(bytes_per_hour, 3_600_000);
        assert_eq!(growth.stretches.len(), super::STRETCHES);
    }

    #[test]
    fn a_holter_ends_where_bulk_is_refused() {
        let mut growth = Growth::default();
        growth.note(&[Lane::Routine], 10, at(0));
        assert_eq!(growth.refused_at_percent(), 97);
        growth.note(&[Lane::Bulk, Lane::Alert], 10, at(1));
        assert_eq!(growth.refused_at_percent(), 92);
        growth.note(&[Lane::Routine], 10, at(1000));
        assert_eq!(growth.refused_at_percent(), 97);
    }

    #[test]
    fn assessments_beside_a_recording_are_part_of_what_fills() {
        let mut growth = Growth::default();
        for second in 0..61 {
            growth.note(&[Lane::Routine], 1000, at(second));
            growth.note(&[Lane::Alert], 500, at(second));
        }
        let Autonomy::Lasts { bytes_per_hour, .. } = growth.autonomy(1, at(61)) else {
            panic!("{growth:?}");
        };
        assert!(
            (5_400_000..5_500_000).contains(&bytes_per_hour),
            "{bytes_per_hour}"
        );
    }
}
