//! Body of the live ECG: milliseconds since boot and 16 samples.

use crate::decoder::{DecodeError, DeviceTicks, Frame, FrameRows};
use crate::fields::Fields;

/// Samples of a body.
pub const BODY_SAMPLES: usize = 16;

/// One body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcgBody {
    /// Milliseconds since the sensor started, at the last sample. Wraps after 49.7 days.
    pub millis: u32,
    /// Counts.
    pub samples: [i32; BODY_SAMPLES],
}

impl EcgBody {
    /// Bytes of a body.
    pub const BYTES: usize = 4 + 4 * BODY_SAMPLES;

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(body);
        let millis = fields.u32("time stamp")?;
        let mut samples = [0; BODY_SAMPLES];
        for sample in &mut samples {
            *sample = fields.u32("sample")?.cast_signed();
        }
        fields.end()?;
        Ok(Self { millis, samples })
    }

    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.millis.to_le_bytes().to_vec();
        for sample in self.samples {
            out.extend_from_slice(&sample.to_le_bytes());
        }
        out
    }

    /// As a frame, with the time that a clock of 64 bits would show.
    pub(super) fn into_frame(self, millis: u64) -> Frame {
        Frame {
            seq: None,
            ticks: Some(DeviceTicks {
                nanos: millis.saturating_mul(1_000_000),
            }),
            asked: None,
            rows: FrameRows::planar(BODY_SAMPLES, &self.samples),
        }
    }
}

/// Milliseconds that wrap at 32 bits, made to go on. A restart of the sensor stays one: time
/// goes back, and the time line sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Millis {
    turns: u64,
    last: u32,
}

/// How near to its end a counter of 32 bits must have been to have wrapped: one hour.
const NEAR_WRAP_MS: u32 = 3_600_000;

impl Millis {
    pub(super) fn extend(&mut self, millis: u32) -> u64 {
        if self.last > u32::MAX - NEAR_WRAP_MS && millis < NEAR_WRAP_MS {
            self.turns += 1;
        }
        self.last = millis;
        (self.turns << 32) + u64::from(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::{BODY_SAMPLES, EcgBody, Millis};
    use proptest::prelude::*;

    #[test]
    fn milliseconds_go_on_over_the_wrap_and_back_at_a_restart() {
        let mut millis = Millis::default();
        assert_eq!(millis.extend(u32::MAX - 10), u64::from(u32::MAX) - 10);
        assert_eq!(millis.extend(54), (1 << 32) + 54);
        let mut restarted = Millis::default();
        restarted.extend(5_000_000);
        assert_eq!(restarted.extend(100), 100);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis: u32, counts in proptest::collection::vec(any::<i32>(), BODY_SAMPLES), cut in 0_usize..68) {
            let mut samples = [0; BODY_SAMPLES];
            samples.copy_from_slice(&counts);
            let body = EcgBody { millis, samples };
            let bytes = body.encode();
            prop_assert_eq!(bytes.len(), EcgBody::BYTES);
            prop_assert_eq!(EcgBody::decode(&bytes).unwrap(), body);
            prop_assert_eq!(EcgBody::decode(&bytes[..cut]).unwrap_err().code(), "frame.truncated");
        }
    }
}
