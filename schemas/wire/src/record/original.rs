//! A file as a recorder or a sensor made it, in parts.

use cardio_core::ids::AcquisitionId;
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Field, Fields, bytes, text};

/// The bytes of every part but the last: as many as a few seconds of samples have, so that an
/// alert never waits longer behind parts than behind samples.
pub const ORIGINAL_PART_BYTES: u64 = 8 * 1024;

/// The largest file that travels, in bytes: twice what the largest sensor's memory holds.
pub const ORIGINAL_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The most acquisitions that a file becomes.
pub const ORIGINAL_ACQUISITIONS_MAX: usize = 256;

/// The longest media type, in bytes.
const MEDIA_TYPE_MAX: usize = 127;

/// One part of a file from which acquisitions were made.
///
/// A file can be cut in one way only: every part begins at a multiple of
/// [`ORIGINAL_PART_BYTES`] and is that long, but for the last. So parts that come twice are
/// equal, and any order makes the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalPartV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// SHA-256 of the whole file.
    pub file: [u8; 32],
    /// Size of the whole file in bytes, up to [`ORIGINAL_MAX_BYTES`].
    pub size: u64,
    /// Where the part begins, in bytes.
    pub from: u64,
    /// The bytes of the part.
    pub part: Vec<u8>,
    /// What the file became, in its own order: up to [`ORIGINAL_ACQUISITIONS_MAX`].
    pub acquisitions: Vec<AcquisitionId>,
    /// Media type of the file, for instance `application/octet-stream`.
    pub media_type: String,
}

impl OriginalPartV1 {
    /// How many parts a file of that size has.
    pub const fn parts_of(size: u64) -> u64 {
        size.div_ceil(ORIGINAL_PART_BYTES)
    }

    /// How long the part is that begins there, in bytes.
    pub const fn len_at(size: u64, from: u64) -> u64 {
        let left = size.saturating_sub(from);
        if left < ORIGINAL_PART_BYTES {
            left
        } else {
            ORIGINAL_PART_BYTES
        }
    }
}

impl Body for OriginalPartV1 {
    const KIND: u8 = 12;
    const NAME: &'static str = "original-part";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        let acquisitions = self.acquisitions.iter().map(|id| bytes(&id.0)).collect();
        vec![
            (4, Some(bytes(&self.file))),
            (5, Some(Value::from(self.size))),
            (6, Some(Value::from(self.from))),
            (7, Some(bytes(&self.part))),
            (8, Some(Value::Array(acquisitions))),
            (9, Some(text(&self.media_type))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        let file = fields.required(4, "file")?.array("a SHA-256 of 32 bytes")?;
        let size = fields.required(5, "size")?;
        let wrong_size = size.wrong("a size from 1 byte to 256 MiB");
        let size = size.u64()?;
        if size == 0 || size > ORIGINAL_MAX_BYTES {
            return Err(wrong_size);
        }
        let from = fields.required(6, "from")?;
        let wrong_from = from.wrong("a multiple of 8192 within the file");
        let from = from.u64()?;
        if !from.is_multiple_of(ORIGINAL_PART_BYTES) || from >= size {
            return Err(wrong_from);
        }
        let part = fields.required(7, "part")?;
        let wrong_part = part.wrong("8192 bytes, or the rest of the file");
        let part = part.bytes()?;
        if u64::try_from(part.len()) != Ok(Self::len_at(size, from)) {
            return Err(wrong_part);
        }
        Ok(Self {
            head,
            file,
            size,
            from,
            part,
            acquisitions: read_acquisitions(fields.required(8, "acquisitions")?)?,
            media_type: read_media_type(fields.required(9, "media type")?)?,
        })
    }
}

fn read_acquisitions(field: Field) -> Result<Vec<AcquisitionId>, CborError> {
    let wrong = field.wrong("from 1 to 256 acquisitions");
    let all = field
        .items()?
        .map("acquisition", words::read_acquisition_id)?;
    match all.len() {
        1..=ORIGINAL_ACQUISITIONS_MAX => Ok(all),
        _ => Err(wrong),
    }
}

fn read_media_type(field: Field) -> Result<String, CborError> {
    let wrong = field.wrong("a media type such as audio/wav");
    let text = field.text()?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_of_a_word);
    let is_one = text.len() <= MEDIA_TYPE_MAX
        && text
            .split_once('/')
            .is_some_and(|(kind, name)| is_word(kind) && is_word(name));
    match is_one {
        true => Ok(text),
        false => Err(wrong),
    }
}

/// Characters of a restricted name (RFC 6838, 4.2).
const fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+'
        )
}

#[cfg(test)]
mod tests {
    use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
    use cardio_core::ids::{BootId, RecordId};

    use super::{
        AcquisitionId, ORIGINAL_MAX_BYTES, ORIGINAL_PART_BYTES, OriginalPartV1, RecordHead,
    };
    use crate::record::Record;

    /// The last part of a file of two.
    fn part() -> OriginalPartV1 {
        let box_instant = BoxInstant {
            boot: BootId([1; 16]),
            micros: 5,
        };
        OriginalPartV1 {
            head: RecordHead {
                id: RecordId([7; 16]),
                at: ClockReading {
                    box_instant,
                    utc: UtcMicros(0),
                    quality: ClockQuality::Unsynchronised,
                },
            },
            file: [9; 32],
            size: ORIGINAL_PART_BYTES + 3,
            from: ORIGINAL_PART_BYTES,
            part: vec![1, 2, 3],
            acquisitions: vec![AcquisitionId([2; 16])],
            media_type: "application/octet-stream".to_owned(),
        }
    }

    /// What is said of a part that was changed.
    fn refused(change: impl Fn(&mut OriginalPartV1)) -> String {
        let mut part = part();
        change(&mut part);
        let refused = Record::decode(&Record::OriginalPart(part).encode()).unwrap_err();
        assert_eq!(refused.code(), "record.field");
        std::error::Error::source(&refused).unwrap().to_string()
    }

    #[test]
    fn a_file_is_cut_in_one_way_only() {
        let sizes = [1, 8_192, 8_193, 16_384, ORIGINAL_MAX_BYTES];
        let parts = sizes.map(OriginalPartV1::parts_of);
        assert_eq!(parts, [1, 1, 2, 2, 32_768]);
        assert_eq!(OriginalPartV1::len_at(8_193, 0), 8_192);
        assert_eq!(OriginalPartV1::len_at(8_193, 8_192), 1);
        let moved = refused(|part| part.from -= 1);
        assert!(moved.starts_with("from is not"), "{moved}");
        let cut = refused(|part| part.part.truncate(2));
        assert!(cut.starts_with("part is not"), "{cut}");
        let beyond = refused(|part| part.from += ORIGINAL_PART_BYTES);
        assert!(beyond.starts_with("from is not"), "{beyond}");
    }

    #[test]
    fn a_part_of_nothing_for_nobody_or_of_too_much_is_refused() {
        for size in [0, ORIGINAL_MAX_BYTES + 1] {
            let said = refused(|part| part.size = size);
            assert!(said.starts_with("size is not"), "{said}");
        }
        let said = refused(|part| part.acquisitions.clear());
        assert!(said.starts_with("acquisitions is not"), "{said}");
        let said = refused(|part| part.acquisitions = vec![AcquisitionId([2; 16]); 257]);
        assert!(said.starts_with("acquisitions is not"), "{said}");
        for text in ["", "wav", "audio/", "audio/wav\r\nx: y", "audio/x/y"] {
            let said = refused(|part| part.media_type = text.to_owned());
            assert!(said.starts_with("media type is not"), "{said}");
        }
    }
}
