//! What time it is for the gateway, as far as this box was told.
//!
//! A command ends by the gateway's clock. The wall clock of a box that was never set says
//! nothing about that: an hour ahead, it would refuse every command, and with them the request
//! to send again what a restored gateway has lost. Deliberately absent: how old a record is.

use cardio_core::clock::{ClockQuality, ClockReading, UtcMicros};

/// The gateway's clock on this box's boot clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GatewayTime {
    /// Microseconds from the box's boot to the gateway's epoch.
    ahead_us: Option<i64>,
}

impl GatewayTime {
    /// Hears what a signed message says. An older message that comes again takes nothing back.
    pub(crate) fn hear(&mut self, gateway: UtcMicros, now: &ClockReading) {
        let ahead_us = gateway.0.saturating_sub(boot_us(now));
        self.ahead_us = Some(self.ahead_us.map_or(ahead_us, |known| known.max(ahead_us)));
    }

    /// The gateway's time now, at the latest known; `None` when this box cannot tell.
    pub(crate) fn at(&self, now: &ClockReading) -> Option<UtcMicros> {
        let told = self.ahead_us.map(|us| us.saturating_add(boot_us(now)));
        let own = matches!(now.quality, ClockQuality::Synchronised { .. }).then_some(now.utc);
        told.map(UtcMicros).or(own)
    }
}

fn boot_us(now: &ClockReading) -> i64 {
    i64::try_from(now.box_instant.micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ClockQuality, ClockReading, GatewayTime, UtcMicros};
    use crate::testing::start_of_time;

    fn later(us: u64, utc: i64) -> ClockReading {
        let mut now = start_of_time();
        now.box_instant.micros += us;
        now.utc = UtcMicros(utc);
        now.quality = ClockQuality::Unsynchronised;
        now
    }

    #[test]
    fn a_box_that_was_told_nothing_and_is_not_synchronised_cannot_tell() {
        let mut time = GatewayTime::default();
        assert_eq!(time.at(&later(0, 5)), None);
        time.hear(UtcMicros(1_000), &later(0, 5));
        assert_eq!(time.at(&later(7, i64::MAX)), Some(UtcMicros(1_007)));
    }

    #[test]
    fn a_synchronised_clock_is_believed_until_the_gateway_speaks() {
        let mut now = later(0, 77);
        now.quality = ClockQuality::Synchronised { error_us: 1 };
        assert_eq!(GatewayTime::default().at(&now), Some(UtcMicros(77)));
    }

    #[test]
    fn an_old_word_that_comes_again_takes_nothing_back() {
        let mut time = GatewayTime::default();
        time.hear(UtcMicros(1_000), &later(0, 0));
        time.hear(UtcMicros(1_000), &later(50, 0));
        assert_eq!(time.at(&later(50, 0)), Some(UtcMicros(1_050)));
    }
}
