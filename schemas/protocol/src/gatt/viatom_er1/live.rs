//! Body of the live answer: twenty bytes of parameters, then samples.

use crate::decoder::DecodeError;
use crate::fields::Fields;

/// A sample that says "nothing here": the electrode is off.
pub const SAMPLE_ABSENT: i16 = 0x7FFF;

/// What the recorder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Idle, or no contact.
    Idle,
    /// About to record.
    Preparing,
    /// Recording.
    Recording,
    /// Saving, or saved.
    Saving,
    /// No contact.
    LeadOff,
    /// A state that is not documented.
    Unclassified(u8),
}

impl RunState {
    fn from_byte(byte: u8) -> Self {
        match byte & 0x0F {
            0 => Self::Idle,
            1 => Self::Preparing,
            2 => Self::Recording,
            3 | 4 => Self::Saving,
            7 => Self::LeadOff,
            other => Self::Unclassified(other),
        }
    }

    /// Whether the electrodes have contact, as far as the state tells.
    pub const fn has_contact(self) -> bool {
        !matches!(self, Self::Idle | Self::LeadOff)
    }
}

/// One live answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBody {
    /// Heart rate, per minute; 0 when unknown.
    pub bpm: u16,
    /// Flags: R wave, bad signal, weak signal, battery state.
    pub flags: u8,
    /// Charge of the battery, percent.
    pub battery: u8,
    /// Seconds recorded.
    pub seconds: u32,
    /// State byte, as sent.
    pub run: u8,
    /// Counts since the last answer.
    pub samples: Vec<i16>,
}

/// Bytes of the parameters that are not documented.
const RESERVED: usize = 11;

impl LiveBody {
    /// Reads the data of a live answer.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(data);
        let bpm = fields.u16("heart rate")?;
        let flags = fields.u8("flags")?;
        let battery = fields.u8("battery")?;
        let seconds = fields.u32("recording time")?;
        let run = fields.u8("run state")?;
        fields.take("reserved", RESERVED)?;
        let count = fields.u16("sample count")?;
        let samples = (0..count)
            .map(|_| fields.u16("sample").map(u16::cast_signed))
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Self {
            bpm,
            flags,
            battery,
            seconds,
            run,
            samples,
        })
    }

    /// The bytes of the answer's data.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.bpm.to_le_bytes().to_vec();
        out.extend_from_slice(&[self.flags, self.battery]);
        out.extend_from_slice(&self.seconds.to_le_bytes());
        out.push(self.run);
        out.extend_from_slice(&[0; RESERVED]);
        let count = u16::try_from(self.samples.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for sample in self.samples.iter().take(usize::from(count)) {
            out.extend_from_slice(&sample.to_le_bytes());
        }
        out
    }

    /// What the recorder does.
    pub fn run_state(&self) -> RunState {
        RunState::from_byte(self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::{LiveBody, RunState};
    use proptest::prelude::*;

    #[test]
    fn a_body_without_contact_says_so() {
        let body = LiveBody {
            bpm: 0,
            flags: 0,
            battery: 55,
            seconds: 9,
            run: 0x17,
            samples: vec![0x7FFF; 3],
        };
        let bytes = body.encode();
        assert_eq!(bytes.len(), 20 + 2 + 6);
        let read = LiveBody::decode(&bytes).unwrap();
        assert_eq!(read.run_state(), RunState::LeadOff);
        assert!(!read.run_state().has_contact());
        assert_eq!(read, body);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_any_bytes_are_read_or_refused(bpm: u16, flags: u8, battery: u8, seconds: u32, run: u8, samples in proptest::collection::vec(any::<i16>(), 0..80), noise in proptest::collection::vec(any::<u8>(), 0..80)) {
            let body = LiveBody { bpm, flags, battery, seconds, run, samples };
            prop_assert_eq!(LiveBody::decode(&body.encode()).unwrap(), body);
            let _ = LiveBody::decode(&noise);
        }
    }
}
