//! SMP on a serial console: lines of base64 with a length and a CRC-16.
//!
//! A message is put behind its length and before its checksum, coded as base64, and sent in
//! lines of at most 127 bytes: the first begins with `06 09`, the others with `04 14`. Lines
//! without such a beginning are console output and passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SmpMessage;

const FIRST: [u8; 2] = [0x06, 0x09];
const NEXT: [u8; 2] = [0x04, 0x14];
/// Longest line, with its beginning and its end.
const LINE_MAX: usize = 127;
/// Longest coded message that is put together.
const CODED_MAX: usize = 8192;

/// CRC-16 XMODEM: polynomial 0x1021, from zero.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    })
}

/// The lines of a message.
pub fn console_frames(message: &SmpMessage) -> Vec<u8> {
    let body = message.encode();
    let len = u16::try_from(body.len() + 2).unwrap_or(u16::MAX);
    let mut packet = len.to_be_bytes().to_vec();
    packet.extend_from_slice(&body);
    packet.extend_from_slice(&crc16(&body).to_be_bytes());
    let coded = STANDARD.encode(packet);
    let mut out = Vec::new();
    for (at, part) in coded.as_bytes().chunks(LINE_MAX - 3).enumerate() {
        out.extend_from_slice(if at == 0 { &FIRST } else { &NEXT });
        out.extend_from_slice(part);
        out.push(b'\n');
    }
    out
}

/// Reads a console.
#[derive(Clone, Debug, Default)]
pub struct ConsoleReader {
    line: Vec<u8>,
    coded: Vec<u8>,
    damaged: u64,
}

impl ConsoleReader {
    /// Takes bytes and appends the messages that they complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<SmpMessage>) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                out.extend(self.on_line(&line));
            } else if self.line.len() < LINE_MAX {
                self.line.push(*byte);
            }
        }
    }

    /// Messages whose checksum or form was wrong.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    fn on_line(&mut self, line: &[u8]) -> Option<SmpMessage> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(part) = line.strip_prefix(&FIRST) {
            self.coded = part.to_vec();
        } else {
            let part = line.strip_prefix(&NEXT)?;
            if self.coded.is_empty() || self.coded.len() + part.len() > CODED_MAX {
                self.coded.clear();
                self.damaged = self.damaged.saturating_add(1);
                return None;
            }
            self.coded.extend_from_slice(part);
        }
        let packet = STANDARD.decode(&self.coded).ok()?;
        let (len, rest) = packet.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        if rest.len() < len {
            // More lines follow.
            return None;
        }
        self.coded.clear();
        let message = rest.split_last_chunk::<2>().and_then(|(body, crc)| {
            let agrees = rest.len() == len && crc16(body) == u16::from_be_bytes(*crc);
            agrees.then(|| SmpMessage::decode(body)).flatten()
        });
        if message.is_none() {
            self.damaged = self.damaged.saturating_add(1);
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::{ConsoleReader, console_frames};
    use crate::smp_records::{Op, SmpMessage, Value};
    use proptest::prelude::*;

    #[test]
    fn the_known_request_is_written_as_one_line() {
        let message = SmpMessage::new(Op::Read, 0x1000, 0, 1, &Value::Map(Vec::new()));
        let line = console_frames(&message);
        assert_eq!(line[..2], [0x06, 0x09]);
        assert_eq!(line[2..], *b"AAsIAAABEAABAKDq3w==\n");
    }

    #[test]
    fn console_output_in_between_is_passed_over_and_damage_is_counted() {
        let message = SmpMessage::new(Op::Read, 0x1000, 4, 1, &Value::Bytes(vec![7; 300]));
        let mut bytes = b"*** Booting Zephyr ***\r\n".to_vec();
        let mut lines = console_frames(&message);
        bytes.extend_from_slice(&lines);
        lines[20] ^= 0x01;
        bytes.extend_from_slice(&lines);
        let (mut reader, mut found) = (ConsoleReader::default(), Vec::new());
        reader.push(&bytes, &mut found);
        assert_eq!(found, [message]);
        assert_eq!(reader.damaged(), 1);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(body in proptest::collection::vec(any::<u8>(), 0..900), split in 1_usize..60) {
            let message = SmpMessage { op: Op::WriteAnswer, group: 0x1000, sequence: 9, command: 5, body };
            let (mut reader, mut found) = (ConsoleReader::default(), Vec::new());
            for part in console_frames(&message).chunks(split) {
                prop_assert!(part.iter().all(|byte| *byte != 0));
                reader.push(part, &mut found);
            }
            prop_assert_eq!(found, vec![message]);
        }

        #[test]
        fn any_bytes_are_messages_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (mut reader, mut found) = (ConsoleReader::default(), Vec::new());
            reader.push(&bytes, &mut found);
        }
    }
}
