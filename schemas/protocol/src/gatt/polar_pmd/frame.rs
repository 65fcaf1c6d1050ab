//! A data frame of the ECG, and back.

use crate::decoder::{DecodeError, DeviceTicks, Frame, FrameRows};
use crate::fields::{Fields, i24_le, to_i24_le};

use super::ECG;

/// Seconds from 1970 to 2000, where the strap counts from.
pub const POLAR_EPOCH_UNIX_S: u64 = 946_684_800;

/// Low six bits of the first byte hold the measurement.
const TYPE_BITS: u8 = 0x3F;
/// Bytes of a sample.
const SAMPLE_BYTES: usize = 3;

/// One frame of ECG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcgFrame {
    /// Time of the last sample, in nanoseconds since 2000-01-01T00:00:00Z by the strap.
    pub nanos: u64,
    /// Microvolts.
    pub samples: Vec<i32>,
}

impl EcgFrame {
    /// Reads one notification of the data characteristic.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset; a frame of another measurement or of a form
    /// that the ECG never has is refused by its kind.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(value);
        let kind = fields.u8("measurement type")? & TYPE_BITS;
        if kind != ECG {
            return Err(DecodeError::Kind {
                offset: 0,
                found: kind,
            });
        }
        let nanos = fields.u64("time stamp")?;
        let offset = fields.offset();
        let form = fields.u8("frame type")?;
        if form != 0 {
            return Err(DecodeError::Value {
                field: "frame type",
                offset,
                found: u64::from(form),
            });
        }
        let offset = fields.offset();
        let body = fields.rest();
        let (samples, []) = body.as_chunks::<SAMPLE_BYTES>() else {
            return Err(DecodeError::Length {
                offset,
                found: u64::try_from(body.len()).unwrap_or(u64::MAX),
            });
        };
        Ok(Self {
            nanos,
            samples: samples.iter().map(|bytes| i24_le(*bytes)).collect(),
        })
    }

    /// The bytes of the notification.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![ECG];
        out.extend_from_slice(&self.nanos.to_le_bytes());
        out.push(0);
        for sample in &self.samples {
            out.extend_from_slice(&to_i24_le(*sample));
        }
        out
    }

    /// As a frame of samples.
    pub fn into_frame(self) -> Frame {
        Frame {
            seq: None,
            ticks: Some(DeviceTicks { nanos: self.nanos }),
            asked: None,
            rows: FrameRows::planar(self.samples.len(), &self.samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EcgFrame;
    use proptest::prelude::*;

    const KNOWN: [u8; 16] = [
        0x00, 0xDA, 0xEB, 0xC3, 0x9E, 0x98, 0x43, 0x52, 0x08, 0x00, 0x02, 0x80, 0xFF, 0x02, 0x80,
        0x00,
    ];

    #[test]
    fn the_known_frame_is_read_and_written() {
        let frame = EcgFrame::decode(&KNOWN).unwrap();
        assert_eq!(frame.nanos, 599_616_023_171_427_290);
        assert_eq!(frame.samples, [-32766, 32770]);
        assert_eq!(frame.encode(), KNOWN);
    }

    #[test]
    fn half_a_sample_is_an_error_of_length() {
        assert_eq!(
            EcgFrame::decode(&KNOWN[..15]).unwrap_err().code(),
            "frame.length"
        );
    }

    #[test]
    fn a_compressed_frame_is_refused_by_its_form() {
        let mut other = KNOWN;
        other[9] = 0x80;
        assert_eq!(EcgFrame::decode(&other).unwrap_err().code(), "frame.value");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos: u64, samples in proptest::collection::vec(-8_388_608_i32..8_388_608, 0..80)) {
            let frame = EcgFrame { nanos, samples };
            prop_assert_eq!(EcgFrame::decode(&frame.encode()).unwrap(), frame);
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = EcgFrame::decode(&bytes);
        }
    }
}
