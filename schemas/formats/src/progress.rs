//! How far a long read is, in words: how much, how fast, how long still.
//!
//! Nothing is said in the first second, so a short file stays quiet. On a terminal one line
//! is written over itself ten times a second; elsewhere there is a line every ten seconds.
//! Deliberately absent: where the words go, and any call to a clock of its own.

use cardio_core::clock::{BoxInstant, Clock};

use crate::read::Done;

const SECOND_US: u64 = 1_000_000;

/// Follows one read.
pub struct Progress<'a> {
    clock: &'a dyn Clock,
    on_terminal: bool,
    began: BoxInstant,
    told: Option<BoxInstant>,
}

impl<'a> Progress<'a> {
    /// Of a read that begins now.
    pub fn new(clock: &'a dyn Clock, on_terminal: bool) -> Self {
        Self {
            began: clock.read().box_instant,
            clock,
            on_terminal,
            told: None,
        }
    }

    /// What to write now, if anything.
    pub fn step(&mut self, done: Done) -> Option<String> {
        let now = self.clock.read().box_instant;
        let since = |earlier: &BoxInstant| now.micros_since(earlier).unwrap_or(0);
        let elapsed = since(&self.began);
        let pause = if self.on_terminal {
            SECOND_US / 10
        } else {
            10 * SECOND_US
        };
        let due = match &self.told {
            None => elapsed >= pause.max(SECOND_US),
            Some(told) => since(told) >= pause,
        };
        if !due {
            return None;
        }
        self.told = Some(now);
        let words = words(done, elapsed);
        Some(if self.on_terminal {
            format!("\r\x1b[K{words}")
        } else {
            format!("{words}\n")
        })
    }

    /// What to write when the read is over, so that the next line begins where it should.
    pub fn end(&self) -> Option<String> {
        (self.on_terminal && self.told.is_some()).then(|| "\r\x1b[K".to_owned())
    }
}

fn words(done: Done, elapsed_us: u64) -> String {
    let millions = |count: u64| {
        let tenths = count / 100_000;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    let wide = |count: u64| u128::from(count);
    let per_second = wide(done.samples) * wide(SECOND_US) / wide(elapsed_us.max(1));
    let rate = millions(u64::try_from(per_second).unwrap_or(u64::MAX));
    let so_far = millions(done.samples);
    match done.of.filter(|of| *of >= done.samples && *of > 0) {
        Some(of) => {
            let percent = wide(done.samples) * 100 / wide(of);
            let left = wide(of - done.samples) / per_second.max(1);
            let all = millions(of);
            format!(
                "{so_far} of {all} million samples ({percent} %), {rate} million/s, {left} s left"
            )
        }
        None => format!("{so_far} million samples, {rate} million/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, Progress};
    use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, ManualClock, UtcMicros};
    use cardio_core::ids::BootId;

    fn clock() -> ManualClock {
        ManualClock::at(ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: 0,
            },
            utc: UtcMicros(0),
            quality: ClockQuality::Unsynchronised,
        })
    }

    fn half() -> Done {
        Done {
            samples: 30_000_000,
            of: Some(60_000_000),
        }
    }

    #[test]
    fn a_short_read_says_nothing() {
        let clock = clock();
        let mut progress = Progress::new(&clock, true);
        clock.advance_micros(900_000);
        assert_eq!(progress.step(half()), None);
        assert_eq!(progress.end(), None);
    }

    #[test]
    fn a_long_read_says_how_much_how_fast_and_how_long_still() {
        let clock = clock();
        let mut progress = Progress::new(&clock, true);
        clock.advance_micros(2_000_000);
        let line = progress.step(half()).unwrap();
        let want = "30.0 of 60.0 million samples (50 %), 15.0 million/s, 2 s left";
        assert_eq!(line, format!("\r\x1b[K{want}"));
        assert_eq!(progress.step(half()), None);
        assert!(progress.end().is_some());
    }

    #[test]
    fn a_log_gets_a_line_every_ten_seconds() {
        let clock = clock();
        let mut progress = Progress::new(&clock, false);
        clock.advance_micros(9_000_000);
        assert_eq!(progress.step(half()), None);
        clock.advance_micros(2_000_000);
        assert!(progress.step(half()).unwrap().ends_with("left\n"));
        clock.advance_micros(9_000_000);
        assert_eq!(progress.step(half()), None);
        assert_eq!(progress.end(), None);
    }

    #[test]
    fn without_a_known_end_only_what_was_done_is_told() {
        let clock = clock();
        let mut progress = Progress::new(&clock, false);
        clock.advance_micros(10_000_000);
        let done = Done {
            samples: 5_000_000,
            of: None,
        };
        assert_eq!(
            progress.step(done).unwrap(),
            "5.0 million samples, 0.5 million/s\n"
        );
    }
}
