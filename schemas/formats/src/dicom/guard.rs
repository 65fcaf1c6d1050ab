//! A look at every length of a data set before the library reads it: the library reserves
//! memory for what a length says, so a length must not say more than the file holds.
//!
//! Deliberately absent: meaning. Only tags, lengths and nesting are looked at.

use dicom_core::DataDictionary;
use dicom_core::dictionary::DataDictionaryEntry;
use dicom_object::{StandardDataDictionary, Tag};

use super::{MAGIC, MAGIC_AT, invalid};
use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::sniff::FormatId;

const IMPLICIT: &str = "1.2.840.10008.1.2";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// A length that is told by a delimiter (PS3.5, 7.1.1).
const UNDEFINED: u32 = u32::MAX;
/// The deepest nesting that is read.
const DEPTH_MAX: usize = 32;
/// Representations whose length has 16 bits (PS3.5, table 7.1-2).
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
    b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];
const ITEM: u16 = 0xE000;
const ITEM_END: u16 = 0xE00D;
const SEQUENCE_END: u16 = 0xE0DD;
const DELIMITERS: u16 = 0xFFFE;

/// Refuses a file in which some length leads beyond its end.
pub(super) fn check(bytes: &[u8]) -> Result<(), FormatError> {
    let mut fields = Fields::new(FormatId::Dicom, bytes, 0);
    fields.take("preamble", MAGIC_AT)?;
    if fields.take("prefix", MAGIC.len())? != MAGIC {
        return Err(invalid("prefix", "other letters", "DICM at offset 128"));
    }
    let syntax = transfer_syntax(&mut fields)?;
    if matches!(syntax.as_str(), BIG_ENDIAN | DEFLATED) {
        return Err(FormatError::Unsupported {
            format: FormatId::Dicom,
            field: "Transfer Syntax UID",
            offset: fields.offset(),
            found: syntax,
        });
    }
    elements(&mut fields, syntax != IMPLICIT, 0)
}

/// Walks the file meta information, whose first element states its length.
fn transfer_syntax(fields: &mut Fields<'_>) -> Result<String, FormatError> {
    let head = Head::read(fields, true)?;
    let at = fields.offset();
    let value = fields.take("file meta information", head.defined()?)?;
    let first = (head.group, head.element, value.first_chunk::<4>());
    let (0x0002, 0x0000, Some(length)) = first else {
        let found = format!("({:04X},{:04X}) at offset {at}", head.group, head.element);
        return Err(invalid(
            "File Meta Information Group Length",
            &found,
            "(0002,0000)",
        ));
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let at = fields.offset();
    let meta = fields.take("file meta information", length)?;
    let mut meta = Fields::new(FormatId::Dicom, meta, at);
    let mut syntax = String::new();
    while !meta.rest().is_empty() {
        let head = Head::read(&mut meta, true)?;
        let value = meta.take("file meta information", head.defined()?)?;
        if (head.group, head.element) == (0x0002, 0x0010) {
            let text = crate::text::lossless(value);
            text.trim_matches(['\0', ' ']).clone_into(&mut syntax);
        }
    }
    Ok(syntax)
}

/// The head of an element.
struct Head {
    group: u16,
    element: u16,
    kind: Option<[u8; 2]>,
    length: u32,
    at: u64,
}

impl Head {
    fn read(fields: &mut Fields<'_>, explicit: bool) -> Result<Self, FormatError> {
        let at = fields.offset();
        let group = fields.u16("tag")?;
        let element = fields.u16("tag")?;
        let mut head = Self {
            group,
            element,
            kind: None,
            length: 0,
            at,
        };
        if explicit && group != DELIMITERS {
            let kind = [
                fields.u8("value representation")?,
                fields.u8("value representation")?,
            ];
            head.kind = Some(kind);
            if SHORT.contains(&&kind) {
                head.length = u32::from(fields.u16("value length")?);
                return Ok(head);
            }
            fields.u16("reserved")?;
        }
        head.length = fields.u32("value length")?;
        if !explicit && group != DELIMITERS {
            let entry = StandardDataDictionary.by_tag(Tag(group, element));
            head.kind = entry.map(|entry| entry.vr().relaxed().to_bytes());
        }
        Ok(head)
    }

    /// The library reads whole numbers only and then stands beside the rest, so a length
    /// must be a multiple of its number's.
    fn whole_numbers(&self) -> Result<(), FormatError> {
        let unit = match self.kind.as_ref() {
            Some(b"US" | b"SS" | b"OW") => 2,
            Some(b"UL" | b"SL" | b"FL" | b"AT" | b"OF" | b"OL") => 4,
            Some(b"FD" | b"SV" | b"UV" | b"OD" | b"OV") => 8,
            _ => 1,
        };
        if self.length == UNDEFINED || self.length.is_multiple_of(unit) {
            return Ok(());
        }
        let found = format!("{} at offset {}", self.length, self.at);
        Err(invalid(
            "value length",
            &found,
            "a multiple of its number's length",
        ))
    }

    fn defined(&self) -> Result<usize, FormatError> {
        usize::try_from(self.length).map_err(|_| FormatError::TooLarge {
            format: FormatId::Dicom,
            field: "value length",
            offset: self.at,
            asked: u64::from(self.length),
            limit: len64(usize::MAX),
        })
    }

    /// Whether fragments of pixels follow instead of items with elements.
    fn is_fragments(&self) -> bool {
        let pixels = self.group == 0x7FE0 && self.element == 0x0010;
        pixels
            || self
                .kind
                .is_some_and(|kind| &kind == b"OB" || &kind == b"OW")
    }
}

/// Elements up to the end of the fields, or to the delimiter of their item.
fn elements(fields: &mut Fields<'_>, explicit: bool, depth: usize) -> Result<(), FormatError> {
    if depth > DEPTH_MAX {
        return Err(FormatError::TooLarge {
            format: FormatId::Dicom,
            field: "nesting",
            offset: fields.offset(),
            asked: len64(depth),
            limit: len64(DEPTH_MAX),
        });
    }
    while !fields.rest().is_empty() {
        let head = Head::read(fields, explicit)?;
        head.whole_numbers()?;
        if head.group == DELIMITERS {
            if depth > 0 && head.element == ITEM_END {
                return Ok(());
            }
            let found = format!("a delimiter at offset {}", head.at);
            return Err(invalid("tag", &found, "an element"));
        }
        if head.length == UNDEFINED {
            // Unknown content of undefined length is implicit inside (PS3.5, 6.2.2).
            let unknown = head.kind.is_some_and(|kind| &kind == b"UN");
            items(fields, explicit && !unknown, head.is_fragments(), depth)?;
            continue;
        }
        let at = fields.offset();
        let value = fields.take("value", head.defined()?)?;
        if head.kind.is_some_and(|kind| &kind == b"SQ") {
            let mut inner = Fields::new(FormatId::Dicom, value, at);
            items(&mut inner, explicit, false, depth)?;
        }
    }
    Ok(())
}

/// Items up to the end of the fields, or to the delimiter of their sequence.
fn items(
    fields: &mut Fields<'_>,
    explicit: bool,
    fragments: bool,
    depth: usize,
) -> Result<(), FormatError> {
    while !fields.rest().is_empty() {
        let head = Head::read(fields, explicit)?;
        match (head.group, head.element) {
            (DELIMITERS, SEQUENCE_END) => return Ok(()),
            (DELIMITERS, ITEM) => {}
            (group, element) => {
                let found = format!("({group:04X},{element:04X}) at offset {}", head.at);
                return Err(invalid(
                    "item",
                    &found,
                    "an item or the end of the sequence",
                ));
            }
        }
        if head.length == UNDEFINED && !fragments {
            elements(fields, explicit, depth.saturating_add(1))?;
            continue;
        }
        let at = fields.offset();
        let value = fields.take("item", head.defined()?)?;
        if !fragments {
            let mut inner = Fields::new(FormatId::Dicom, value, at);
            elements(&mut inner, explicit, depth.saturating_add(1))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use proptest::prelude::*;

    fn file(data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\0\0UL\x04\0\x1C\0\0\0");
        bytes.extend(b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_with_its_place() {
        let error = check(&file(b"\0\x54\x10\x10OW\0\0\xFE\xFF\xFF\x7F12")).unwrap_err();
        assert_eq!(
            (error.code(), error.offset()),
            ("format.truncated", Some(184))
        );
    }

    #[test]
    fn nested_items_of_both_kinds_are_walked() {
        let inner = b"\x08\0\x60\0CS\x02\0EC";
        let mut data = b"\0\x54\0\x01SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\x0A\0\0\0".to_vec();
        data.extend(inner);
        data.extend(b"\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF");
        data.extend(inner);
        data.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
        data.extend(inner);
        check(&file(&data)).unwrap();
    }

    #[test]
    fn endless_nesting_is_refused() {
        let level = b"\0\x54\0\x01SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";
        let error = check(&file(&level.repeat(5000))).unwrap_err();
        assert_eq!(error.code(), "format.too-large");
    }

    proptest! {
        #[test]
        fn any_data_set_is_walked_or_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&file(&data));
        }
    }
}
