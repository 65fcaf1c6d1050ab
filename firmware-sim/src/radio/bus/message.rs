//! Messages of D-Bus: a header that says what and for whom, and a body that is passed on.
//!
//! Source: D-Bus Specification 0.43, "Message Format".

use super::value::{self, Value, ValueError, signature_of};

/// Longest message that a client may send. Nothing that a box sends comes near.
pub(crate) const MESSAGE_MAX: usize = 1 << 20;
/// Bytes of the header before its fields.
pub(crate) const PREAMBLE: usize = 16;
/// The sender expects no answer.
const NO_REPLY_EXPECTED: u8 = 1;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Return => 2,
            Self::Error => 3,
            Self::Signal => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Call,
            2 => Self::Return,
            3 => Self::Error,
            4 => Self::Signal,
            _ => return None,
        })
    }
}

/// A message. Texts that a message of its kind does not carry are empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) serial: u32,
    pub(crate) reply_to: Option<u32>,
    pub(crate) path: String,
    pub(crate) interface: String,
    pub(crate) member: String,
    pub(crate) error: String,
    pub(crate) destination: String,
    pub(crate) sender: String,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    fn empty(kind: Kind) -> Self {
        Self {
            kind,
            flags: 0,
            serial: 0,
            reply_to: None,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            destination: String::new(),
            sender: String::new(),
            signature: String::new(),
            body: Vec::new(),
        }
    }

    fn with_body(mut self, values: &[Value]) -> Self {
        self.signature = signature_of(values);
        value::write(values, &mut self.body);
        self
    }

    /// A call that is to be answered.
    pub(crate) fn call(
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: &[Value],
    ) -> Self {
        Self {
            destination: destination.to_owned(),
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            ..Self::empty(Kind::Call)
        }
        .with_body(body)
    }

    /// A signal to everybody who asked for it.
    pub(crate) fn signal(path: &str, interface: &str, member: &str, body: &[Value]) -> Self {
        Self {
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            ..Self::empty(Kind::Signal)
        }
        .with_body(body)
    }

    /// The answer to a call.
    pub(crate) fn answer(call: &Self, body: &[Value]) -> Self {
        Self {
            reply_to: Some(call.serial),
            destination: call.sender.clone(),
            ..Self::empty(Kind::Return)
        }
        .with_body(body)
    }

    /// The refusal of a call.
    pub(crate) fn refusal(call: &Self, name: &str, text: &str) -> Self {
        Self {
            reply_to: Some(call.serial),
            destination: call.sender.clone(),
            error: name.to_owned(),
            ..Self::empty(Kind::Error)
        }
        .with_body(&[Value::text(text)])
    }

    /// Whether the sender waits for an answer.
    pub(crate) fn wants_answer(&self) -> bool {
        self.kind == Kind::Call && self.flags & NO_REPLY_EXPECTED == 0
    }

    /// The values of the body.
    pub(crate) fn values(&self) -> Result<Vec<Value>, ValueError> {
        value::read(&self.signature, &self.body)
    }

    /// The bytes of the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let field = |code: u8, value: Value| Value::Struct(vec![Value::U8(code), value.boxed()]);
        let text = |code: u8, text: &String| {
            (!text.is_empty()).then(|| {
                let value = match code {
                    1 => Value::Path(text.clone()),
                    8 => Value::Signature(text.clone()),
                    _ => Value::Text(text.clone()),
                };
                field(code, value)
            })
        };
        let fields = [
            text(1, &self.path),
            text(2, &self.interface),
            text(3, &self.member),
            text(4, &self.error),
            self.reply_to.map(|serial| field(5, Value::U32(serial))),
            text(6, &self.destination),
            text(7, &self.sender),
            text(8, &self.signature),
        ];
        let mut out = Vec::new();
        value::write(
            &[
                Value::U8(b'l'),
                Value::U8(self.kind.code()),
                Value::U8(self.flags),
                Value::U8(1),
                Value::U32(u32::try_from(self.body.len()).unwrap_or(u32::MAX)),
                Value::U32(self.serial),
                Value::Array("(yv)".to_owned(), fields.into_iter().flatten().collect()),
            ],
            &mut out,
        );
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend_from_slice(&self.body);
        out
    }

    /// How long the message is whose first [`PREAMBLE`] bytes these are.
    pub(crate) fn length(preamble: &[u8; PREAMBLE]) -> Result<usize, ValueError> {
        let [endian, _, _, version, rest @ ..] = preamble;
        let too_long = ValueError { offset: 4 };
        if (*endian, *version) != (b'l', 1) {
            return Err(ValueError { offset: 0 });
        }
        let word = |at: usize| {
            rest.get(at..)
                .and_then(|tail| tail.first_chunk())
                .and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok())
                .filter(|len| *len <= MESSAGE_MAX)
                .ok_or(too_long)
        };
        let (body, fields) = (word(0)?, word(8)?);
        Ok(PREAMBLE
            .saturating_add(fields)
            .next_multiple_of(8)
            .saturating_add(body))
    }

    /// Reads a whole message. Total: any bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let preamble: &[u8; PREAMBLE] = bytes.first_chunk().ok_or(ValueError {
            offset: bytes.len(),
        })?;
        if Self::length(preamble)? != bytes.len() {
            return Err(ValueError {
                offset: bytes.len(),
            });
        }
        let header = value::read("yyyyuua(yv)", bytes)?;
        let [
            _,
            Value::U8(kind),
            Value::U8(flags),
            _,
            Value::U32(body),
            Value::U32(serial),
            fields,
        ] = header.as_slice()
        else {
            return Err(ValueError { offset: 0 });
        };
        let kind = Kind::from_code(*kind).ok_or(ValueError { offset: 1 })?;
        let mut message = Self::empty(kind);
        (message.flags, message.serial) = (*flags, *serial);
        if let Value::Array(_, fields) = fields {
            for field in fields {
                message.take_field(field);
            }
        }
        let start = bytes
            .len()
            .saturating_sub(usize::try_from(*body).unwrap_or(0));
        message.body = bytes.get(start..).unwrap_or_default().to_vec();
        Ok(message)
    }

    fn take_field(&mut self, field: &Value) {
        let Value::Struct(parts) = field else {
            return;
        };
        let [Value::U8(code), Value::Variant(value)] = parts.as_slice() else {
            return;
        };
        if let (5, Value::U32(serial)) = (code, value.as_ref()) {
            self.reply_to = Some(*serial);
        }
        let place = match code {
            1 => &mut self.path,
            2 => &mut self.interface,
            3 => &mut self.member,
            4 => &mut self.error,
            6 => &mut self.destination,
            8 => &mut self.signature,
            7 => &mut self.sender,
            _ => return,
        };
        if let Some(text) = value.as_text() {
            text.clone_into(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, PREAMBLE};
    use crate::radio::bus::value::Value;
    use proptest::prelude::*;

    #[test]
    fn a_call_is_read_back_as_it_was_sent() {
        let body = [Value::text("x"), Value::U16(7)];
        let mut call = Message::call("org.bluez", "/a", "b.c", "D", &body);
        call.serial = 9;
        call.sender = ":1.99".to_owned();
        let bytes = call.encode();
        let preamble = bytes.first_chunk::<PREAMBLE>().unwrap();
        assert_eq!(Message::length(preamble), Ok(bytes.len()));
        let found = Message::decode(&bytes).unwrap();
        assert_eq!(found, call);
        assert_eq!(found.values().unwrap(), [Value::text("x"), Value::U16(7)]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
            whole in any::<bool>(),
        ) {
            if let (true, [endian, _, _, version, ..]) = (whole, bytes.as_mut_slice()) {
                (*endian, *version) = (b'l', 1);
            }
            if let Ok(message) = Message::decode(&bytes) {
                let _ = message.values();
            }
        }
    }
}
