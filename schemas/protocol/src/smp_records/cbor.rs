//! The little CBOR (RFC 8949) that SMP answers are made of: read with bounds, written in the
//! shortest form. Not the product's own contract; that is `cardio-wire`'s, in another crate.

use crate::fields::Fields;

/// Depth of arrays in maps in arrays.
const DEPTH_MAX: usize = 8;
/// Entries of one map or array.
const ENTRIES_MAX: usize = 1024;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Integer(i128),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A list.
    Array(Vec<Value>),
    /// Keys and values, in the order sent.
    Map(Vec<(Value, Value)>),
    /// True or false.
    Bool(bool),
    /// Nothing, or a value that this product has no use for (floats, other simple values).
    Other,
}

/// Why bytes are not such a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// They end inside a value.
    #[error("the value ends inside an item at offset {offset}")]
    Cut {
        /// Offset at which more was expected.
        offset: u64,
    },
    /// An item that CBOR does not have.
    #[error("no item starts with byte {found:#04x}, at offset {offset}")]
    Item {
        /// Offset of the byte.
        offset: u64,
        /// The byte.
        found: u8,
    },
    /// Too deep or too long for an answer of a sensor.
    #[error("the item at offset {offset} is deeper or longer than any answer")]
    Limit {
        /// Offset of the item.
        offset: u64,
    },
}

impl CborError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "smp.cbor.cut",
            Self::Item { .. } => "smp.cbor.item",
            Self::Limit { .. } => "smp.cbor.limit",
        }
    }
}

impl Value {
    /// A map with texts as keys.
    pub fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (Self::Text(key.to_owned()), value))
                .collect(),
        )
    }

    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Reads one value that fills the bytes.
    ///
    /// # Errors
    /// [`CborError`] with the offset.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut fields = Fields::new(bytes);
        let value = item(&mut fields, DEPTH_MAX)?;
        match fields.u8("nothing") {
            Err(_) => Ok(value),
            Ok(found) => Err(CborError::Item {
                offset: fields.offset().saturating_sub(1),
                found,
            }),
        }
    }

    /// Appends the bytes of the value.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) if *number < 0 => {
                head(1, u64::try_from(-1 - number).unwrap_or(u64::MAX), out);
            }
            Self::Integer(number) => head(0, u64::try_from(*number).unwrap_or(u64::MAX), out),
            Self::Bytes(bytes) => {
                head(2, length(bytes.len()), out);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => {
                head(3, length(text.len()), out);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Array(items) => {
                head(4, length(items.len()), out);
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(entries) => {
                head(5, length(entries.len()), out);
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
            }
            Self::Bool(value) => out.push(0xF4 | u8::from(*value)),
            Self::Other => out.push(0xF6),
        }
    }

    /// The value of a text key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries
                .iter()
                .find(|(name, _)| matches!(name, Self::Text(text) if text == key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// A number under a text key.
    pub fn number<T: TryFrom<i128>>(&self, key: &str) -> Option<T> {
        match self.get(key)? {
            Self::Integer(number) => T::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Bytes under a text key.
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        match self.get(key)? {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    if let Ok(small) = u8::try_from(argument) {
        if small < 24 {
            out.push(major | small);
        } else {
            out.extend_from_slice(&[major | 24, small]);
        }
    } else if let Ok(two) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend_from_slice(&two.to_be_bytes());
    } else if let Ok(four) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend_from_slice(&four.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}

/// Argument of an item, or `None` for one of indefinite length.
fn argument(fields: &mut Fields<'_>, info: u8) -> Result<Option<u64>, CborError> {
    let cut = CborError::Cut {
        offset: fields.offset(),
    };
    let bytes = match info {
        0..24 => return Ok(Some(u64::from(info))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        31 => return Ok(None),
        _ => {
            return Err(CborError::Item {
                offset: fields.offset().saturating_sub(1),
                found: info,
            });
        }
    };
    let stored = fields.take("argument", bytes).map_err(|_| cut)?;
    Ok(Some(
        stored
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    ))
}

fn item(fields: &mut Fields<'_>, depth: usize) -> Result<Value, CborError> {
    let offset = fields.offset();
    let first = fields.u8("item").map_err(|_| CborError::Cut { offset })?;
    let depth = depth.checked_sub(1).ok_or(CborError::Limit { offset })?;
    let (major, info) = (first >> 5, first & 0x1F);
    let count = argument(fields, info)?;
    let refused = CborError::Item {
        offset,
        found: first,
    };
    match (major, count) {
        (0, Some(number)) => Ok(Value::Integer(i128::from(number))),
        (1, Some(number)) => Ok(Value::Integer(-1 - i128::from(number))),
        (2, Some(len)) => string(fields, len, offset).map(|bytes| Value::Bytes(bytes.to_vec())),
        (3, Some(len)) => string(fields, len, offset)
            .map(|bytes| Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        (4, count) => {
            let mut items = Vec::new();
            while more(fields, count, items.len(), offset)? {
                items.push(item(fields, depth)?);
            }
            Ok(Value::Array(items))
        }
        (5, count) => {
            let mut entries = Vec::new();
            while more(fields, count, entries.len(), offset)? {
                entries.push((item(fields, depth)?, item(fields, depth)?));
            }
            Ok(Value::Map(entries))
        }
        // A tag says nothing that this product needs.
        (6, Some(_)) => item(fields, depth),
        (7, Some(_)) => Ok(match info {
            20 | 21 => Value::Bool(info == 21),
            _ => Value::Other,
        }),
        _ => Err(refused),
    }
}

fn string<'a>(fields: &mut Fields<'a>, len: u64, offset: u64) -> Result<&'a [u8], CborError> {
    let len = usize::try_from(len).map_err(|_| CborError::Limit { offset })?;
    fields
        .take("string", len)
        .map_err(|_| CborError::Cut { offset })
}

/// Whether another entry follows. Consumes the end mark of an indefinite length.
fn more(
    fields: &mut Fields<'_>,
    count: Option<u64>,
    have: usize,
    offset: u64,
) -> Result<bool, CborError> {
    if have > ENTRIES_MAX {
        return Err(CborError::Limit { offset });
    }
    if let Some(count) = count {
        return Ok(length(have) < count);
    }
    let mut ahead = *fields;
    let at_end = ahead.u8("end").map_err(|_| CborError::Cut { offset })? == 0xFF;
    if at_end {
        *fields = ahead;
    }
    Ok(!at_end)
}

#[cfg(test)]
mod tests {
    use super::Value;
    use proptest::prelude::*;

    #[test]
    fn maps_of_known_and_of_unknown_length_are_read_alike() {
        let definite = [0xA1, 0x62, b'i', b'd', 0x18, 0x2A];
        let indefinite = [0xBF, 0x62, b'i', b'd', 0x18, 0x2A, 0xFF];
        for bytes in [&definite[..], &indefinite] {
            assert_eq!(Value::decode(bytes).unwrap().number::<u32>("id"), Some(42));
        }
        let mut out = Vec::new();
        Value::map([("id", Value::Integer(42))]).write(&mut out);
        assert_eq!(out, definite);
    }

    #[test]
    fn what_is_cut_or_nested_without_end_is_an_error() {
        assert_eq!(
            Value::decode(&[0xA1, 0x62]).unwrap_err().code(),
            "smp.cbor.cut"
        );
        assert_eq!(
            Value::decode(&[0x81; 64]).unwrap_err().code(),
            "smp.cbor.limit"
        );
        assert_eq!(
            Value::decode(&[0x00, 0x00]).unwrap_err().code(),
            "smp.cbor.item"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in i64::MIN..=i64::MAX, bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[a-z]{0,40}", flag: bool) {
            let value = Value::map([
                ("number", Value::Integer(i128::from(number))),
                ("list", Value::Array(vec![Value::Bytes(bytes), Value::Bool(flag), Value::Other])),
                ("text", Value::Text(text)),
            ]);
            let mut out = Vec::new();
            value.write(&mut out);
            prop_assert_eq!(Value::decode(&out).unwrap(), value);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::decode(&bytes);
        }
    }
}
