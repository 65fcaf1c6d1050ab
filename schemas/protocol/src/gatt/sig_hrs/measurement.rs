//! Heart Rate Measurement: one notification's bytes to one value, and back.

use crate::decoder::DecodeError;
use crate::fields::Fields;

// Bits of the flags field (HRS 3.1.1.1).
const RATE_IS_U16: u8 = 1 << 0;
const CONTACT_DETECTED: u8 = 1 << 1;
const CONTACT_SUPPORTED: u8 = 1 << 2;
const HAS_ENERGY: u8 = 1 << 3;
const HAS_RR: u8 = 1 << 4;

/// Time between two R peaks, in the sensor's unit of 1/1024 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RrInterval(pub u16);

impl RrInterval {
    /// Milliseconds. 1024 ticks are exactly 1000 ms; nothing is rounded.
    pub fn millis(self) -> f64 {
        f64::from(self.0) * 1000.0 / 1024.0
    }
}

/// Sensor Contact Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorContact {
    /// The sensor cannot tell. Not the same as off.
    Unsupported,
    /// It can tell, and sees no skin.
    Off,
    /// It can tell, and sees skin.
    On,
}

/// One Heart Rate Measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartRateMeasurement {
    /// Beats per minute, as sent.
    pub bpm: u16,
    /// Whether the electrodes touch skin.
    pub contact: SensorContact,
    /// Energy since the last reset, in kilojoules, if sent.
    pub energy_kj: Option<u16>,
    /// RR intervals, oldest first.
    pub rr: Vec<RrInterval>,
}

impl HeartRateMeasurement {
    /// Reads one notification.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let flags = fields.u8("Flags")?;
        let bpm = if flags & RATE_IS_U16 != 0 {
            fields.u16("Heart Rate Measurement Value")?
        } else {
            u16::from(fields.u8("Heart Rate Measurement Value")?)
        };
        let contact = match (flags & CONTACT_SUPPORTED, flags & CONTACT_DETECTED) {
            (0, _) => SensorContact::Unsupported,
            (_, 0) => SensorContact::Off,
            _ => SensorContact::On,
        };
        let energy_kj = (flags & HAS_ENERGY != 0)
            .then(|| fields.u16("Energy Expended"))
            .transpose()?;
        let mut rr = Vec::new();
        if flags & HAS_RR != 0 {
            while fields.left() > 0 {
                rr.push(RrInterval(fields.u16("RR-Interval")?));
            }
        }
        fields.end()?;
        Ok(Self {
            bpm,
            contact,
            energy_kj,
            rr,
        })
    }

    /// The bytes of the notification, in the shortest form.
    pub fn encode(&self) -> Vec<u8> {
        let mut flags = match self.contact {
            SensorContact::Unsupported => 0,
            SensorContact::Off => CONTACT_SUPPORTED,
            SensorContact::On => CONTACT_SUPPORTED | CONTACT_DETECTED,
        };
        let mut out = vec![0];
        if let Ok(bpm) = u8::try_from(self.bpm) {
            out.push(bpm);
        } else {
            flags |= RATE_IS_U16;
            out.extend_from_slice(&self.bpm.to_le_bytes());
        }
        if let Some(energy) = self.energy_kj {
            flags |= HAS_ENERGY;
            out.extend_from_slice(&energy.to_le_bytes());
        }
        for interval in &self.rr {
            flags |= HAS_RR;
            out.extend_from_slice(&interval.0.to_le_bytes());
        }
        if let Some(first) = out.first_mut() {
            *first = flags;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{HeartRateMeasurement, RrInterval, SensorContact};
    use proptest::prelude::*;

    #[test]
    fn the_known_notification_is_read_and_written() {
        let known = [0x16, 0x48, 0x66, 0x03];
        let value = HeartRateMeasurement::decode(&known).unwrap();
        assert_eq!((value.bpm, value.contact), (72, SensorContact::On));
        assert_eq!(value.rr, [RrInterval(870)]);
        assert!((value.rr[0].millis() - 849.609_375).abs() < 1e-9);
        assert_eq!(value.encode(), known);
    }

    #[test]
    fn a_cut_interval_says_where() {
        let err = HeartRateMeasurement::decode(&[0x10, 0x3C, 0x00]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "RR-Interval needs 2 byte(s) at offset 2, but 1 remain"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bpm: u16, contact in 0_usize..3, energy_kj: Option<u16>, rr in proptest::collection::vec(any::<u16>(), 0..12)) {
            let contact = [SensorContact::Unsupported, SensorContact::Off, SensorContact::On][contact];
            let value = HeartRateMeasurement { bpm, contact, energy_kj, rr: rr.into_iter().map(RrInterval).collect() };
            prop_assert_eq!(HeartRateMeasurement::decode(&value.encode()).unwrap(), value);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeartRateMeasurement::decode(&bytes) {
                prop_assert_eq!(HeartRateMeasurement::decode(&value.encode()).unwrap(), value);
            }
        }
    }
}
