//! Heart Rate Measurement: one notification's bytes to one value, and back.

use cardio_core::heart_rate::{SkinContact, ToldRate};

use crate::decoder::DecodeError;
use crate::fields::Fields;

// Bits of the flags field (HRS 3.1.1.1).
const RATE_IS_U16: u8 = 1 << 0;
const CONTACT_DETECTED: u8 = 1 << 1;
const CONTACT_SUPPORTED: u8 = 1 << 2;
const HAS_ENERGY: u8 = 1 << 3;
const HAS_RR: u8 = 1 << 4;

/// One Heart Rate Measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartRateMeasurement {
    /// Rate, contact and intervals.
    pub told: ToldRate,
    /// Energy since the last reset, in kilojoules, if sent.
    pub energy_kj: Option<u16>,
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
            (0, _) => SkinContact::Unknown,
            (_, 0) => SkinContact::Off,
            _ => SkinContact::On,
        };
        let energy_kj = (flags & HAS_ENERGY != 0)
            .then(|| fields.u16("Energy Expended"))
            .transpose()?;
        let mut rr = Vec::new();
        if flags & HAS_RR != 0 {
            while fields.left() > 0 {
                rr.push(fields.u16("RR-Interval")?);
            }
        }
        fields.end()?;
        Ok(Self {
            told: ToldRate { bpm, contact, rr },
            energy_kj,
        })
    }

    /// The bytes of the notification, in the shortest form.
    pub fn encode(&self) -> Vec<u8> {
        let mut flags = match self.told.contact {
            SkinContact::Unknown => 0,
            SkinContact::Off => CONTACT_SUPPORTED,
            SkinContact::On => CONTACT_SUPPORTED | CONTACT_DETECTED,
        };
        let mut out = vec![0];
        if let Ok(bpm) = u8::try_from(self.told.bpm) {
            out.push(bpm);
        } else {
            flags |= RATE_IS_U16;
            out.extend_from_slice(&self.told.bpm.to_le_bytes());
        }
        if let Some(energy) = self.energy_kj {
            flags |= HAS_ENERGY;
            out.extend_from_slice(&energy.to_le_bytes());
        }
        for interval in &self.told.rr {
            flags |= HAS_RR;
            out.extend_from_slice(&interval.to_le_bytes());
        }
        if let Some(first) = out.first_mut() {
            *first = flags;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{HeartRateMeasurement, SkinContact, ToldRate};
    use proptest::prelude::*;

    #[test]
    fn the_known_notification_is_read_and_written() {
        let known = [0x16, 0x48, 0x66, 0x03];
        let value = HeartRateMeasurement::decode(&known).unwrap();
        assert_eq!((value.told.bpm, value.told.contact), (72, SkinContact::On));
        assert_eq!(value.told.rr, [870]);
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
            let contact = [SkinContact::Unknown, SkinContact::Off, SkinContact::On][contact];
            let value = HeartRateMeasurement { told: ToldRate { bpm, contact, rr }, energy_kj };
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
