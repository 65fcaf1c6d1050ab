//! Frames: `A5, command, ~command, kind, sequence, u16 length, data, CRC-8`.

use crate::fields::Fields;

const START: u8 = 0xA5;
/// Bytes beside the data.
const FRAMING_BYTES: usize = 8;
/// Longest data that is waited for.
const DATA_MAX: u16 = 4096;

/// Commands that this product sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Who are you.
    Information = 0xE1,
    /// Live data since the last time.
    Live = 0x03,
    /// Names of the recordings.
    ListFiles = 0xF1,
    /// Open a recording at an offset.
    OpenFile = 0xF2,
    /// The next bytes.
    ReadFile = 0xF3,
    /// Close it.
    CloseFile = 0xF4,
}

impl Command {
    /// The command of a byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0xE1 => Self::Information,
            0x03 => Self::Live,
            0xF1 => Self::ListFiles,
            0xF2 => Self::OpenFile,
            0xF3 => Self::ReadFile,
            0xF4 => Self::CloseFile,
            _ => return None,
        })
    }

    /// The byte of the command.
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a fieldless repr(u8) enum"
    )]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// CRC-8 with polynomial 0x07, from zero.
pub fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| {
            if crc & 0x80 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x07
            }
        })
    })
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViatomFrame {
    /// The command, or the command that is answered.
    pub command: u8,
    /// 0 from the host; 1 for a good answer.
    pub kind: u8,
    /// Repeated in the answer.
    pub sequence: u8,
    /// Data.
    pub data: Vec<u8>,
}

impl ViatomFrame {
    /// A command of the host.
    pub const fn request(command: Command, sequence: u8, data: Vec<u8>) -> Self {
        Self {
            command: command.byte(),
            kind: 0,
            sequence,
            data,
        }
    }

    /// The bytes of the frame. Data beyond 64 kB are cut.
    pub fn encode(&self) -> Vec<u8> {
        let len = u16::try_from(self.data.len()).unwrap_or(u16::MAX);
        let mut out = vec![START, self.command, !self.command, self.kind, self.sequence];
        out.extend_from_slice(&len.to_le_bytes());
        out.extend(self.data.iter().take(usize::from(len)));
        out.push(crc8(&out));
        out
    }
}

/// Joins notifications and finds the frames in them.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    pending: Vec<u8>,
    skipped: usize,
}

impl Assembler {
    /// Takes a notification and appends the frames that it completes.
    pub fn push(&mut self, value: &[u8], out: &mut Vec<ViatomFrame>) {
        self.pending.extend_from_slice(value);
        loop {
            match front(&self.pending) {
                Front::Frame(frame, len) => {
                    self.pending.drain(..len);
                    out.push(frame);
                }
                Front::NeedMore => return,
                Front::Not => {
                    let next = self.pending.iter().skip(1).position(|byte| *byte == START);
                    let len = next.map_or(self.pending.len(), |next| next + 1);
                    self.pending.drain(..len);
                    self.skipped = self.skipped.saturating_add(len);
                }
            }
        }
    }

    /// Bytes so far that belong to no frame.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// Forgets a frame that will not be completed.
    pub fn forget(&mut self) {
        self.pending.clear();
    }
}

enum Front {
    Frame(ViatomFrame, usize),
    NeedMore,
    Not,
}

fn front(bytes: &[u8]) -> Front {
    let mut fields = Fields::new(bytes);
    let Ok(start) = fields.u8("start") else {
        return Front::NeedMore;
    };
    if start != START {
        return Front::Not;
    }
    let head = (fields.u8("command"), fields.u8("complement"));
    if let (Ok(command), Ok(complement)) = head
        && command != !complement
    {
        return Front::Not;
    }
    let (Ok(command), Ok(kind), Ok(sequence), Ok(len)) = (
        head.0,
        fields.u8("kind"),
        fields.u8("sequence"),
        fields.u16("length"),
    ) else {
        return Front::NeedMore;
    };
    if len > DATA_MAX {
        return Front::Not;
    }
    let whole = FRAMING_BYTES + usize::from(len);
    let (Ok(data), Ok(crc)) = (fields.take("data", usize::from(len)), fields.u8("CRC")) else {
        return Front::NeedMore;
    };
    if bytes.get(..whole - 1).map(crc8) != Some(crc) {
        return Front::Not;
    }
    let data = data.to_vec();
    let frame = ViatomFrame {
        command,
        kind,
        sequence,
        data,
    };
    Front::Frame(frame, whole)
}

#[cfg(test)]
mod tests {
    use super::{Assembler, Command, ViatomFrame};
    use proptest::prelude::*;

    #[test]
    fn the_known_commands_are_written() {
        let bytes = |command, sequence, data: &[u8]| {
            ViatomFrame::request(command, sequence, data.to_vec()).encode()
        };
        assert_eq!(
            bytes(Command::Information, 0, &[]),
            [0xA5, 0xE1, 0x1E, 0, 0, 0, 0, 0x69]
        );
        assert_eq!(
            bytes(Command::ListFiles, 1, &[]),
            [0xA5, 0xF1, 0x0E, 0, 1, 0, 0, 0xAE]
        );
        assert_eq!(
            bytes(Command::ReadFile, 2, &0x1000_u32.to_le_bytes()),
            [0xA5, 0xF3, 0x0C, 0, 2, 4, 0, 0, 0x10, 0, 0, 0x79]
        );
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_split_and_whatever_is_between(frames in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..6), noise in proptest::collection::vec(0_u8..0xA5, 0..10), mtu in 1_usize..40) {
            let want: Vec<ViatomFrame> = frames.into_iter().map(|(command, sequence, data)| ViatomFrame { command, kind: 1, sequence, data }).collect();
            let mut bytes = Vec::new();
            for frame in &want {
                bytes.extend_from_slice(&noise);
                bytes.extend(frame.encode());
            }
            let (mut assembler, mut found) = (Assembler::default(), Vec::new());
            for part in bytes.chunks(mtu) {
                assembler.push(part, &mut found);
            }
            prop_assert_eq!(assembler.skipped(), noise.len() * want.len());
            prop_assert_eq!(found, want);
        }

        #[test]
        fn any_bytes_are_frames_or_skipped_and_little_is_kept(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let (mut assembler, mut found) = (Assembler::default(), Vec::new());
            assembler.push(&bytes, &mut found);
            prop_assert!(assembler.pending.len() <= 4096 + 8);
        }
    }
}
