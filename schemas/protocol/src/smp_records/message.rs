//! Messages: a header of eight bytes, big-endian, and one CBOR map.

use super::{CborError, Value};

/// Longest message that is waited for.
const MESSAGE_MAX: usize = 8 + 4096;
/// Version 2 of the protocol, in bits 3 and 4 of the first byte.
const VERSION_BITS: u8 = 1 << 3;

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Ask.
    Read = 0,
    /// Answer to a read.
    ReadAnswer = 1,
    /// Change.
    Write = 2,
    /// Answer to a write.
    WriteAnswer = 3,
}

impl Op {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Read,
            1 => Self::ReadAnswer,
            2 => Self::Write,
            _ => Self::WriteAnswer,
        }
    }

    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a fieldless repr(u8) enum"
    )]
    const fn bits(self) -> u8 {
        self as u8
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmpMessage {
    /// What it does.
    pub op: Op,
    /// Group of commands.
    pub group: u16,
    /// Repeated in the answer.
    pub sequence: u8,
    /// Command.
    pub command: u8,
    /// CBOR.
    pub body: Vec<u8>,
}

impl SmpMessage {
    /// A message with a map.
    pub fn new(op: Op, group: u16, command: u8, sequence: u8, value: &Value) -> Self {
        let mut body = Vec::new();
        value.write(&mut body);
        Self {
            op,
            group,
            sequence,
            command,
            body,
        }
    }

    /// The map.
    ///
    /// # Errors
    /// [`CborError`] with the offset within the body.
    pub fn value(&self) -> Result<Value, CborError> {
        Value::decode(&self.body)
    }

    /// The bytes of the message. A body beyond 64 kB is cut.
    pub fn encode(&self) -> Vec<u8> {
        let len = u16::try_from(self.body.len()).unwrap_or(u16::MAX);
        let mut out = vec![VERSION_BITS | self.op.bits(), 0];
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&self.group.to_be_bytes());
        out.extend_from_slice(&[self.sequence, self.command]);
        out.extend(self.body.iter().take(usize::from(len)));
        out
    }

    /// Reads a message at the front of the bytes: the message and its length, or `None` when
    /// more bytes are needed.
    fn front(bytes: &[u8]) -> Option<(Self, usize)> {
        let ([first, _, l1, l2, g1, g2, sequence, command], rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([*l1, *l2]));
        let body = rest.get(..len)?.to_vec();
        let message = Self {
            op: Op::from_bits(*first),
            group: u16::from_be_bytes([*g1, *g2]),
            sequence: *sequence,
            command: *command,
            body,
        };
        Some((message, 8 + len))
    }

    /// Reads a message that fills the bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::front(bytes)
            .filter(|(_, len)| *len == bytes.len())
            .map(|(message, _)| message)
    }
}

/// Joins notifications by the length that the header states.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    pending: Vec<u8>,
}

impl Assembler {
    /// Takes a notification and gives the message that it completes.
    pub fn push(&mut self, value: &[u8]) -> Option<SmpMessage> {
        self.pending.extend_from_slice(value);
        if let Some((message, len)) = SmpMessage::front(&self.pending) {
            self.pending.drain(..len);
            return Some(message);
        }
        if self.pending.len() > MESSAGE_MAX {
            self.pending.clear();
        }
        None
    }

    /// Forgets a message that will not be completed.
    pub fn forget(&mut self) {
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Assembler, Op, SmpMessage, Value};
    use proptest::prelude::*;

    #[test]
    fn the_known_request_is_written() {
        let message = SmpMessage::new(Op::Read, 0x1000, 0, 1, &Value::Map(Vec::new()));
        assert_eq!(message.encode(), [0x08, 0, 0, 1, 0x10, 0, 1, 0, 0xA0]);
    }

    proptest! {
        #[test]
        fn messages_are_joined_however_they_are_split(group: u16, sequence: u8, command: u8, body in proptest::collection::vec(any::<u8>(), 0..700), mtu in 1_usize..200) {
            let message = SmpMessage { op: Op::ReadAnswer, group, sequence, command, body };
            let bytes = message.encode();
            prop_assert_eq!(SmpMessage::decode(&bytes), Some(message.clone()));
            let mut assembler = Assembler::default();
            let found: Vec<SmpMessage> = bytes.chunks(mtu).filter_map(|part| assembler.push(part)).collect();
            prop_assert_eq!(found, vec![message]);
        }

        #[test]
        fn any_bytes_stay_bounded(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..40)) {
            let mut assembler = Assembler::default();
            for part in parts {
                assembler.push(&part);
                prop_assert!(assembler.pending.len() <= 66_000);
            }
        }
    }
}
