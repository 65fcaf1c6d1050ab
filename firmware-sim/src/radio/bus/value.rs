//! Values of D-Bus in their marshalled form, little-endian.
//!
//! Only what the bus and the stand-in need: no file descriptors, and no big-endian messages,
//! because both ends run on one machine.
//!
//! Source: D-Bus Specification 0.43, "Type System" and "Marshaling" ("DBUS").

/// Deepest nesting that is read (DBUS "Valid Signatures": 32 arrays and 32 structures).
const DEPTH_MAX: usize = 64;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `y`
    U8(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a…`: the signature of an element, and the elements.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`, inside an array only.
    Entry(Box<Value>, Box<Value>),
    /// `v`
    Variant(Box<Value>),
}

/// Why bytes are not the values that their signature promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no valid D-Bus at byte {offset}")]
pub(crate) struct ValueError {
    /// Where.
    pub(crate) offset: usize,
}

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts, `as`.
    pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Array("s".to_owned(), texts.into_iter().map(Self::text).collect())
    }

    /// Named values, `a{sv}`.
    pub(crate) fn named(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(name, value)| (Self::text(name), value.boxed()));
        Self::dict("s", "v", entries)
    }

    /// A dictionary with the signatures of its keys and values.
    pub(crate) fn dict(
        key: &str,
        value: &str,
        entries: impl IntoIterator<Item = (Value, Value)>,
    ) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| Self::Entry(Box::new(key), Box::new(value)))
            .collect();
        Self::Array(format!("{{{key}{value}}}"), entries)
    }

    /// The value in a variant.
    pub(crate) fn boxed(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            Self::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }

    /// The bytes, if these are some.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// What a dictionary with texts as keys holds under a name, out of its variant.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let Self::Array(_, entries) = self else {
            return None;
        };
        entries.iter().find_map(|entry| match entry {
            Self::Entry(key, value) if key.as_text() == Some(name) => match value.as_ref() {
                Self::Variant(inner) => Some(inner.as_ref()),
                plain => Some(plain),
            },
            _ => None,
        })
    }

    /// Its signature.
    pub(crate) fn signature(&self) -> String {
        match self {
            Self::U8(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::I16(_) => "n".to_owned(),
            Self::U16(_) => "q".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::F64(_) => "d".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Bytes(_) => "ay".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", signature_of(fields)),
            Self::Entry(key, value) => format!("{{{}{}}}", key.signature(), value.signature()),
            Self::Variant(_) => "v".to_owned(),
        }
    }
}

/// The signature of several values.
pub(crate) fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// Marshals values. Offset zero of `out` must be aligned to eight bytes in the message.
pub(crate) fn write(values: &[Value], out: &mut Vec<u8>) {
    for value in values {
        write_one(value, out);
    }
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    pad(out, 4);
    out.extend_from_slice(&length(text.len()).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn write_signature(signature: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(signature.as_bytes());
    out.push(0);
}

fn write_one(value: &Value, out: &mut Vec<u8>) {
    pad(
        out,
        alignment(value.signature().as_bytes().first().copied()),
    );
    match value {
        Value::U8(n) => out.push(*n),
        Value::Bool(on) => out.extend_from_slice(&u32::from(*on).to_le_bytes()),
        Value::I16(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::U16(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::I32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::U32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::I64(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::U64(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::F64(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::Text(text) | Value::Path(text) => write_text(text, out),
        Value::Signature(text) => write_signature(text, out),
        Value::Bytes(bytes) => {
            out.extend_from_slice(&length(bytes.len()).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        Value::Array(element, items) => write_array(element, items, out),
        Value::Struct(fields) => write(fields, out),
        Value::Entry(key, value) => {
            write_one(key, out);
            write_one(value, out);
        }
        Value::Variant(inner) => {
            write_signature(&inner.signature(), out);
            write_one(inner, out);
        }
    }
}

fn write_array(element: &str, items: &[Value], out: &mut Vec<u8>) {
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    pad(out, alignment(element.as_bytes().first().copied()));
    let start = out.len();
    write(items, out);
    let len = length(out.len().saturating_sub(start)).to_le_bytes();
    for (slot, byte) in out.iter_mut().skip(place).zip(len) {
        *slot = byte;
    }
}

/// Alignment of a type by the first letter of its signature (DBUS "Marshaling").
const fn alignment(code: Option<u8>) -> usize {
    match code {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Reads the values of a signature. Total: any bytes and any signature.
pub(crate) fn read(signature: &str, bytes: &[u8]) -> Result<Vec<Value>, ValueError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut rest = signature.as_bytes();
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (one, behind) = split_one(rest).ok_or_else(|| reader.error())?;
        values.push(reader.value(one, 0)?);
        rest = behind;
    }
    Ok(values)
}

/// Splits the first complete type off a signature.
fn split_one(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut depth = 0_usize;
    for (at, code) in signature.iter().enumerate() {
        match code {
            b'a' => continue,
            b'(' | b'{' => depth = depth.saturating_add(1),
            b')' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return signature.split_at_checked(at.saturating_add(1));
        }
    }
    None
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    const fn error(&self) -> ValueError {
        ValueError { offset: self.at }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, len: usize) -> Result<&[u8], ValueError> {
        let end = self.at.checked_add(len).ok_or_else(|| self.error())?;
        let found = self
            .bytes
            .get(self.at..end)
            .ok_or(ValueError { offset: self.at })?;
        self.at = end;
        Ok(found)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        self.align(N);
        let error = self.error();
        self.take(N)?.first_chunk().copied().ok_or(error)
    }

    fn u32(&mut self) -> Result<u32, ValueError> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, ValueError> {
        let error = self.error();
        usize::try_from(self.u32()?).map_err(|_| error)
    }

    fn text(&mut self, len: usize) -> Result<String, ValueError> {
        let error = self.error();
        let text = String::from_utf8(self.take(len)?.to_vec()).map_err(|_| error)?;
        match self.take(1)? {
            [0] => Ok(text),
            _ => Err(error),
        }
    }

    fn long_text(&mut self) -> Result<String, ValueError> {
        let len = self.length()?;
        self.text(len)
    }

    fn short_text(&mut self) -> Result<String, ValueError> {
        let [len] = self.fixed::<1>()?;
        self.text(usize::from(len))
    }

    fn value(&mut self, signature: &[u8], depth: usize) -> Result<Value, ValueError> {
        let (Some((code, rest)), true) = (signature.split_first(), depth < DEPTH_MAX) else {
            return Err(self.error());
        };
        let deeper = depth.saturating_add(1);
        Ok(match code {
            b'y' => {
                let [n] = self.fixed::<1>()?;
                Value::U8(n)
            }
            b'b' => Value::Bool(self.u32()? != 0),
            b'n' => Value::I16(i16::from_le_bytes(self.fixed()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.fixed()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.fixed()?)),
            b'u' => Value::U32(self.u32()?),
            b'x' => Value::I64(i64::from_le_bytes(self.fixed()?)),
            b't' => Value::U64(u64::from_le_bytes(self.fixed()?)),
            b'd' => Value::F64(f64::from_le_bytes(self.fixed()?)),
            b's' => Value::Text(self.long_text()?),
            b'o' => Value::Path(self.long_text()?),
            b'g' => Value::Signature(self.short_text()?),
            b'v' => {
                let inner = self.short_text()?;
                self.value(inner.as_bytes(), deeper)?.boxed()
            }
            b'a' if rest == b"y" => {
                let len = self.length()?;
                Value::Bytes(self.take(len)?.to_vec())
            }
            b'a' => self.array(rest, deeper)?,
            b'(' => {
                self.align(8);
                Value::Struct(self.fields(rest, deeper)?)
            }
            b'{' => {
                self.align(8);
                let fields = self.fields(rest, deeper)?;
                let [key, value] = <[Value; 2]>::try_from(fields).map_err(|_| self.error())?;
                Value::Entry(Box::new(key), Box::new(value))
            }
            _ => return Err(self.error()),
        })
    }

    /// The members of a structure, up to its closing bracket.
    fn fields(&mut self, signature: &[u8], depth: usize) -> Result<Vec<Value>, ValueError> {
        let (_, mut rest) = signature.split_last().ok_or_else(|| self.error())?;
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (one, behind) = split_one(rest).ok_or_else(|| self.error())?;
            fields.push(self.value(one, depth)?);
            rest = behind;
        }
        Ok(fields)
    }

    fn array(&mut self, element: &[u8], depth: usize) -> Result<Value, ValueError> {
        let len = self.length()?;
        self.align(alignment(element.first().copied()));
        let end = self.at.checked_add(len).ok_or_else(|| self.error())?;
        if end > self.bytes.len() {
            return Err(self.error());
        }
        let mut items = Vec::new();
        while self.at < end {
            let before = self.at;
            items.push(self.value(element, depth)?);
            // An element without bytes would be read for ever.
            if self.at == before {
                return Err(self.error());
            }
        }
        let element = String::from_utf8_lossy(element).into_owned();
        Ok(Value::Array(element, items))
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, read, signature_of, write};
    use proptest::prelude::*;

    #[test]
    fn a_dictionary_of_variants_has_the_bytes_of_the_specification() {
        let mut bytes = Vec::new();
        write(&[Value::named([("On", Value::Bool(true))])], &mut bytes);
        let expected = [
            16, 0, 0, 0, 0, 0, 0, 0, // length, and padding to the first entry
            2, 0, 0, 0, b'O', b'n', 0, // key
            1, b'b', 0, 0, 0, // signature of the variant, and padding
            1, 0, 0, 0,
        ];
        assert_eq!(bytes[..8], expected[..8]);
        assert_eq!(bytes[8..], expected[8..]);
        let found = read("a{sv}", &bytes).unwrap();
        assert_eq!(found[0].get("On"), Some(&Value::Bool(true)));
    }

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u8>().prop_map(Value::U8),
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::I16),
            any::<u16>().prop_map(Value::U16),
            any::<i32>().prop_map(Value::I32),
            any::<u32>().prop_map(Value::U32),
            any::<i64>().prop_map(Value::I64),
            any::<u64>().prop_map(Value::U64),
            "[a-z]{0,12}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(Value::boxed),
                proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                proptest::collection::vec(("[a-z]{1,4}", inner), 0..4).prop_map(|entries| {
                    let entries = entries
                        .into_iter()
                        .map(|(key, value)| (Value::Text(key), value.boxed()));
                    Value::dict("s", "v", entries)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(values in proptest::collection::vec(any_value(), 0..4)) {
            let mut bytes = Vec::new();
            write(&values, &mut bytes);
            prop_assert_eq!(read(&signature_of(&values), &bytes).unwrap(), values);
        }

        #[test]
        fn no_bytes_and_no_signature_panic_or_hang(
            signature in "[ybnqiuxtdsogva(){}]{0,12}",
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = read(&signature, &bytes);
        }
    }
}
