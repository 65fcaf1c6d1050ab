//! The marks of an annotation file: a class, a letter of the maker, samples since the
//! mark before.

use cardio_core::annotation::Annotation;
use cardio_core::index::{SampleCount, SampleIndex};

use super::header::Header;
use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::sniff::FormatId;
use crate::warnings::Warnings;

/// Bytes of one mark.
const MARK_BYTES: usize = 4;

/// Reads all marks; a cut one at the end is told.
pub(super) fn decode(
    bytes: &[u8],
    warnings: &mut Warnings,
) -> Result<Vec<Annotation>, FormatError> {
    let header = Header::parse(bytes, FormatId::IshneAnnotations)?;
    let from = usize::try_from(header.data_at).unwrap_or(usize::MAX);
    let body = bytes.get(from..).unwrap_or_default();
    let mut fields = Fields::new(FormatId::IshneAnnotations, body, header.data_at);
    let first = fields.i32("sample of the first mark's origin")?;
    let body = fields.rest();
    let (marks, rest) = body.as_chunks::<MARK_BYTES>();
    if !rest.is_empty() {
        let at = len64(bytes.len().saturating_sub(rest.len()));
        warnings.tell("mark", at, format!("{} byte(s) are left over", rest.len()))?;
    }
    let mut at = SampleIndex(u64::try_from(first).unwrap_or(0));
    Ok(marks
        .iter()
        .map(|[class, inner, low, high]| {
            let since = u16::from_le_bytes([*low, *high]);
            at = at.after(SampleCount(u64::from(since)));
            Annotation {
                at,
                code: char::from(*class).to_string(),
                subtype: 0,
                channel: 0,
                number: 0,
                text: inner
                    .is_ascii_graphic()
                    .then(|| char::from(*inner).to_string()),
            }
        })
        .collect())
}
