//! Strict CBOR: every value has one encoding, and only that one is accepted.
//!
//! The library underneath accepts duplicate keys, long integers, indefinite lengths and
//! floats wider than needed; a decoded value is therefore encoded again and compared with
//! what came. Deliberately absent: serde derives; records convert by hand, so that a renamed
//! field in Rust never changes a byte.
//!
//! Source: RFC 8949, *Concise Binary Object Representation*, section 4.2.1 (core
//! deterministic encoding).

use std::collections::BTreeMap;

use serde_cbor::Value;

/// Why bytes are not the CBOR that was expected. Every variant says which field, or where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// Not CBOR at all, or more than one item.
    #[error("cannot read CBOR at offset {offset}: {why}")]
    Malformed {
        /// Where the library stopped.
        offset: u64,
        /// What it said.
        why: String,
    },
    /// Valid CBOR, but not the one encoding of its value.
    #[error("CBOR is not in canonical form at offset {offset}")]
    NotCanonical {
        /// The first byte that differs from the canonical encoding.
        offset: usize,
    },
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Field name as in the CDDL.
        field: &'static str,
    },
    /// A field holds another type or a number out of range.
    #[error("{field} is not {want}")]
    Wrong {
        /// Field name as in the CDDL.
        field: &'static str,
        /// What was expected.
        want: &'static str,
    },
    /// A map holds a key, or an array an item, that this version does not know.
    #[error("{field} holds {extra} item(s) that this version does not know")]
    Unknown {
        /// Name of the map or array as in the CDDL.
        field: &'static str,
        /// How many items are left over.
        extra: usize,
    },
}

impl CborError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "cbor.malformed",
            Self::NotCanonical { .. } => "cbor.not-canonical",
            Self::Missing { .. } => "cbor.missing",
            Self::Wrong { .. } => "cbor.wrong",
            Self::Unknown { .. } => "cbor.unknown",
        }
    }
}

/// The canonical encoding of a value.
pub fn encode(value: &Value) -> Vec<u8> {
    serde_cbor::to_vec(value)
        .expect("invariant: integers come from 64-bit types and memory takes every write")
}

/// Reads exactly one value in its canonical encoding.
///
/// # Errors
/// [`CborError::Malformed`] or [`CborError::NotCanonical`].
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let value: Value = serde_cbor::from_slice(bytes).map_err(|err| CborError::Malformed {
        offset: err.offset(),
        why: err.to_string(),
    })?;
    let canonical = encode(&value);
    if canonical == bytes {
        return Ok(value);
    }
    let same = canonical.iter().zip(bytes).take_while(|(a, b)| a == b);
    Err(CborError::NotCanonical {
        offset: same.count(),
    })
}

/// A map with small integer keys; fields that are absent leave no key.
pub(crate) fn map(fields: impl IntoIterator<Item = (u8, Option<Value>)>) -> Value {
    Value::Map(
        fields
            .into_iter()
            .filter_map(|(key, value)| Some((Value::from(key), value?)))
            .collect(),
    )
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

/// A length as an integer.
pub(crate) fn count(len: usize) -> Value {
    Value::Integer(i128::try_from(len).unwrap_or(i128::MAX))
}

/// One value, with the name of the field that it was found in.
pub(crate) struct Field {
    name: &'static str,
    value: Value,
}

impl Field {
    pub(crate) const fn new(name: &'static str, value: Value) -> Self {
        Self { name, value }
    }

    /// The error that says what was expected here.
    pub(crate) const fn wrong(&self, want: &'static str) -> CborError {
        CborError::Wrong {
            field: self.name,
            want,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn u64(&self) -> Result<u64, CborError> {
        self.integer("an unsigned integer of at most 64 bits")
    }

    pub(crate) fn u32(&self) -> Result<u32, CborError> {
        self.integer("an unsigned integer of at most 32 bits")
    }

    pub(crate) fn u16(&self) -> Result<u16, CborError> {
        self.integer("an unsigned integer of at most 16 bits")
    }

    pub(crate) fn u8(&self) -> Result<u8, CborError> {
        self.integer("an unsigned integer of at most 8 bits")
    }

    pub(crate) fn i64(&self) -> Result<i64, CborError> {
        self.integer("an integer of at most 64 bits")
    }

    fn integer<T: TryFrom<i128>>(&self, want: &'static str) -> Result<T, CborError> {
        match self.value {
            Value::Integer(number) => T::try_from(number).map_err(|_| self.wrong(want)),
            _ => Err(self.wrong(want)),
        }
    }

    /// A number that is neither infinite nor not-a-number.
    pub(crate) fn f64(&self) -> Result<f64, CborError> {
        match self.value {
            Value::Float(number) if number.is_finite() => Ok(number),
            _ => Err(self.wrong("a finite floating-point number")),
        }
    }

    pub(crate) fn bool(&self) -> Result<bool, CborError> {
        match self.value {
            Value::Bool(yes) => Ok(yes),
            _ => Err(self.wrong("true or false")),
        }
    }

    pub(crate) fn text(self) -> Result<String, CborError> {
        match self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong("a text")),
        }
    }

    pub(crate) fn bytes(self) -> Result<Vec<u8>, CborError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong("a byte string")),
        }
    }

    pub(crate) fn array<const N: usize>(self, want: &'static str) -> Result<[u8; N], CborError> {
        let wrong = self.wrong(want);
        self.bytes()?.try_into().map_err(|_| wrong)
    }

    pub(crate) fn items(self) -> Result<Items, CborError> {
        match self.value {
            Value::Array(items) => Ok(Items {
                name: self.name,
                items: items.into_iter(),
            }),
            _ => Err(self.wrong("an array")),
        }
    }

    pub(crate) fn fields(self) -> Result<Fields, CborError> {
        match self.value {
            Value::Map(map) => Ok(Fields {
                name: self.name,
                map,
            }),
            _ => Err(self.wrong("a map")),
        }
    }
}

/// The fields of a map, taken one by one; [`Fields::finish`] refuses what nobody took.
pub(crate) struct Fields {
    name: &'static str,
    map: BTreeMap<Value, Value>,
}

impl Fields {
    pub(crate) fn optional(&mut self, key: u8, name: &'static str) -> Option<Field> {
        self.map
            .remove(&Value::from(key))
            .map(|value| Field { name, value })
    }

    pub(crate) fn required(&mut self, key: u8, name: &'static str) -> Result<Field, CborError> {
        self.optional(key, name)
            .ok_or(CborError::Missing { field: name })
    }

    pub(crate) fn finish(self) -> Result<(), CborError> {
        left_over(self.name, self.map.len())
    }
}

/// The items of an array, taken in order; [`Items::finish`] refuses what nobody took.
pub(crate) struct Items {
    name: &'static str,
    items: std::vec::IntoIter<Value>,
}

impl Items {
    pub(crate) fn required(&mut self, name: &'static str) -> Result<Field, CborError> {
        self.optional(name)
            .ok_or(CborError::Missing { field: name })
    }

    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Field> {
        self.items.next().map(|value| Field { name, value })
    }

    pub(crate) fn finish(self) -> Result<(), CborError> {
        left_over(self.name, self.items.len())
    }

    /// All remaining items through one function.
    pub(crate) fn map<T>(
        self,
        name: &'static str,
        read: impl FnMut(Field) -> Result<T, CborError>,
    ) -> Result<Vec<T>, CborError> {
        self.items
            .map(|value| Field { name, value })
            .map(read)
            .collect()
    }
}

const fn left_over(field: &'static str, extra: usize) -> Result<(), CborError> {
    match extra {
        0 => Ok(()),
        extra => Err(CborError::Unknown { field, extra }),
    }
}

#[cfg(test)]
mod tests {
    use super::{CborError, Value, decode, encode};
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_accepted() {
        assert_eq!(
            decode(&[0xA1, 0x01, 0x02]).unwrap(),
            super::map([(1, Some(Value::from(2_u8)))])
        );
        let refused: [(&str, &[u8]); 9] = [
            ("a long integer", &[0x18, 0x05]),
            ("a long length", &[0x58, 0x01, 0x00]),
            ("a duplicate key", &[0xA2, 0x01, 0x00, 0x01, 0x00]),
            ("unsorted keys", &[0xA2, 0x02, 0x00, 0x01, 0x00]),
            ("an indefinite byte string", &[0x5F, 0x41, 0x00, 0xFF]),
            ("an indefinite array", &[0x9F, 0x01, 0xFF]),
            ("a wide float", &[0xFB, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("undefined", &[0xF7]),
            ("another bit pattern of not-a-number", &[0xF9, 0x7E, 0x01]),
        ];
        for (what, bytes) in refused {
            assert!(
                matches!(decode(bytes), Err(CborError::NotCanonical { .. })),
                "{what}: {:?}",
                decode(bytes)
            );
        }
        assert!(matches!(
            decode(&[0x01, 0x01]),
            Err(CborError::Malformed { .. })
        ));
        assert!(matches!(decode(&[]), Err(CborError::Malformed { .. })));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        assert!(decode(&vec![0x81; 200_000]).is_err());
        assert!(decode(&vec![0xC1; 200_000]).is_err());
    }

    #[test]
    fn a_claimed_length_beyond_the_end_takes_no_memory() {
        assert!(decode(&[0x5B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
        assert!(decode(&[0x9B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
    }

    proptest! {
        #[test]
        fn what_decodes_reencodes_to_the_same_bytes(bytes: Vec<u8>) {
            if let Ok(value) = decode(&bytes) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
