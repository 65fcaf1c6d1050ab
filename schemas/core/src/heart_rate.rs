//! What a heart-rate sensor tells: rates and intervals that it has worked out itself.
//!
//! Deliberately absent: what is worked out from samples here (`cardio-signal`).

use crate::clock::TimeAnchor;
use crate::ids::AcquisitionId;
use crate::index::{SampleCount, SampleIndex};

/// Units of an RR interval in a second. An acquisition of told rates has this many places on its
/// time line per second, so that an interval and a place are counted in one unit.
pub const RR_UNITS_PER_S: u32 = 1024;

/// An RR interval of 1/1024 s units in milliseconds, exact.
pub fn rr_millis(units: u16) -> f64 {
    f64::from(units) * 1000.0 / f64::from(RR_UNITS_PER_S)
}

/// Whether a sensor sees skin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkinContact {
    /// It cannot tell. Not the same as off.
    Unknown,
    /// It can tell, and sees no skin.
    Off,
    /// It can tell, and sees skin.
    On,
}

/// What a sensor tells at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldRate {
    /// Beats per minute, as sent; zero is what sensors send while they have none.
    pub bpm: u16,
    /// Whether it touches skin.
    pub contact: SkinContact,
    /// RR intervals as sent, oldest first, in 1/1024 s.
    pub rr: Vec<u16>,
}

impl ToldRate {
    /// Beats per minute that can be relied on as far as the sensor itself can tell: none without
    /// contact, none for zero.
    pub fn usable_bpm(&self) -> Option<u16> {
        (self.contact != SkinContact::Off && self.bpm > 0).then_some(self.bpm)
    }
}

/// What a sensor told within a stretch of an acquisition, sealed and sent as one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateStretch {
    /// The acquisition it belongs to.
    pub acquisition: AcquisitionId,
    /// Its place among the acquisition's stretches, from 0, without holes.
    pub ordinal: u64,
    /// Where it begins, in 1/1024 s.
    pub first: SampleIndex,
    /// How long it is, in 1/1024 s. What was told last was told at its end.
    pub len: SampleCount,
    /// When its first instant was.
    pub anchor: TimeAnchor,
    /// What was told, and how long after `first` it came.
    pub told: Vec<(SampleCount, ToldRate)>,
}

impl RateStretch {
    /// The instant just after it.
    pub const fn end(&self) -> SampleIndex {
        self.first.after(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::{SkinContact, ToldRate, rr_millis};

    #[test]
    fn a_rate_without_contact_or_of_zero_is_none() {
        let told = |bpm, contact| ToldRate {
            bpm,
            contact,
            rr: Vec::new(),
        };
        assert_eq!(told(72, SkinContact::On).usable_bpm(), Some(72));
        assert_eq!(told(72, SkinContact::Unknown).usable_bpm(), Some(72));
        assert_eq!(told(72, SkinContact::Off).usable_bpm(), None);
        assert_eq!(told(0, SkinContact::On).usable_bpm(), None);
    }

    #[test]
    fn intervals_are_exact_in_milliseconds() {
        assert_eq!(rr_millis(1024), 1000.0);
        assert_eq!(rr_millis(870), 849.609_375);
        assert_eq!(rr_millis(u16::MAX), 63_999.023_437_5);
    }
}
