//! SBEM, the form of a fetched recording, read by the descriptors that it carries.
//!
//! ```text
//! "SBEM" and four digits, then chunks: id, length, bytes
//!   id      u8, or FF and u16        length  u8, or FF and u32
//!   id 0    a descriptor: u16 the id it describes, then lines <PTH> <FRM> <MOD> <GRP>
//!   others  data, laid out as their descriptor says
//! ```
//! A chunk whose length its descriptor does not explain is left out and counted.
//! Deliberately absent: companion files with descriptors.

use std::collections::BTreeMap;

use crate::fields::Fields;

/// Depth to which groups of groups are followed.
const GROUPS_MAX: usize = 8;
/// Values that one layout may have.
const VALUES_MAX: usize = 4096;

/// Why bytes are not SBEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SbemError {
    /// The first bytes are others.
    #[error("a recording starts with SBEM and four digits, which this one does not")]
    Header,
    /// It ends inside a chunk.
    #[error("the recording ends inside the chunk at offset {offset}")]
    Cut {
        /// Offset of the chunk.
        offset: u64,
    },
}

impl SbemError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Header => "sbem.header",
            Self::Cut { .. } => "sbem.cut",
        }
    }
}

/// How one value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Unsigned(usize),
    Signed(usize),
    Float32,
    Float64,
}

impl Format {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name.split(',').next()?.trim() {
            "uint8" | "bool" | "enum" => Self::Unsigned(1),
            "uint16" => Self::Unsigned(2),
            "uint32" => Self::Unsigned(4),
            "uint64" | "utc64" | "local64" => Self::Unsigned(8),
            "int8" => Self::Signed(1),
            "int16" => Self::Signed(2),
            "int32" => Self::Signed(4),
            "int64" => Self::Signed(8),
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) => bytes,
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    fn value(self, bytes: &[u8]) -> SbemValue {
        let mut wide = [0; 8];
        for (slot, byte) in wide.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        let raw = u64::from_le_bytes(wide);
        let low = u32::try_from(raw & u64::from(u32::MAX)).unwrap_or(0);
        match self {
            Self::Unsigned(_) => SbemValue::Unsigned(raw),
            Self::Signed(bytes) => {
                let unused = 64_u32.saturating_sub(8 * u32::try_from(bytes).unwrap_or(8));
                SbemValue::Signed((raw << unused).cast_signed() >> unused)
            }
            Self::Float32 => SbemValue::Float(f64::from(f32::from_bits(low))),
            Self::Float64 => SbemValue::Float(f64::from_bits(raw)),
        }
    }
}

/// One value, as stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SbemValue {
    /// A number without sign.
    Unsigned(u64),
    /// A number with sign.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
}

#[derive(Clone, Debug, Default)]
struct Descriptor {
    path: String,
    format: Option<Format>,
    /// Factor of the `<MOD>` line: physical value by stored value.
    factor: Option<f64>,
    group: Vec<u16>,
}

impl Descriptor {
    fn parse(text: &str) -> Self {
        let mut descriptor = Self::default();
        for line in text.trim_end_matches('\0').lines() {
            if let Some(path) = line.strip_prefix("<PTH>") {
                path.trim().clone_into(&mut descriptor.path);
            } else if let Some(name) = line.strip_prefix("<FRM>") {
                descriptor.format = Format::from_name(name);
            } else if let Some(rule) = line.strip_prefix("<MOD>") {
                let factor = rule.trim().strip_prefix("x*");
                descriptor.factor = factor
                    .and_then(|rest| rest.split(',').next())
                    .and_then(|number| number.trim().parse().ok());
            } else if let Some(ids) = line.strip_prefix("<GRP>") {
                descriptor.group = ids
                    .split(',')
                    .filter_map(|id| id.trim().parse().ok())
                    .collect();
            }
        }
        descriptor
    }
}

/// One value of a layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Path without array marks, for instance `MeasECGmV.Timestamp`.
    pub path: String,
    /// Physical value by stored value, if the descriptor states it.
    pub factor: Option<f64>,
    format: Format,
}

/// One chunk of data: its values in order, each with its layout.
#[derive(Clone, Debug, PartialEq)]
pub struct SbemChunk {
    /// Values in order.
    pub values: Vec<(Layout, SbemValue)>,
}

/// A stretch of ECG of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct SbemEcg {
    /// Milliseconds on the sensor's clock.
    pub millis: u64,
    /// Counts.
    pub samples: Vec<i64>,
    /// Millivolts of one count, if stated.
    pub mv_per_count: Option<f64>,
}

/// A recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sbem {
    /// Chunks that could be read.
    pub chunks: Vec<SbemChunk>,
    /// Chunks that no descriptor explains.
    pub unexplained: u64,
}

impl Sbem {
    /// Reads a whole recording.
    ///
    /// # Errors
    /// [`SbemError`]; what stands before a cut is lost with it, so fetch again.
    pub fn decode(bytes: &[u8]) -> Result<Self, SbemError> {
        let mut fields = Fields::new(bytes);
        let head = fields.take("header", 8).map_err(|_| SbemError::Header)?;
        let digits = head.strip_prefix(b"SBEM").ok_or(SbemError::Header)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(SbemError::Header);
        }
        let mut descriptors = BTreeMap::new();
        let mut sbem = Self::default();
        while fields.left() > 0 {
            let offset = fields.offset();
            let (id, chunk) = next_chunk(&mut fields).ok_or(SbemError::Cut { offset })?;
            if id == 0 {
                if let Some((own, text)) = chunk.split_first_chunk::<2>() {
                    let text = String::from_utf8_lossy(text);
                    descriptors.insert(u16::from_le_bytes(*own), Descriptor::parse(&text));
                }
                continue;
            }
            match read_chunk(&descriptors, id, chunk) {
                Some(values) => sbem.chunks.push(SbemChunk { values }),
                None => sbem.unexplained = sbem.unexplained.saturating_add(1),
            }
        }
        Ok(sbem)
    }

    /// The ECG of the recording, in order.
    pub fn ecg(&self) -> Vec<SbemEcg> {
        self.chunks.iter().filter_map(SbemChunk::ecg).collect()
    }

    /// Pairs of milliseconds on the sensor's clock and microseconds of UTC.
    pub fn times(&self) -> Vec<(u64, u64)> {
        self.chunks
            .iter()
            .filter_map(|chunk| {
                let relative = chunk.unsigned("TimeDetailed.relativeTime")?;
                Some((relative, chunk.unsigned("TimeDetailed.utcTime")?))
            })
            .collect()
    }
}

impl SbemChunk {
    fn unsigned(&self, path: &str) -> Option<u64> {
        self.values.iter().find_map(|(layout, value)| match value {
            SbemValue::Unsigned(value) if layout.path == path => Some(*value),
            _ => None,
        })
    }

    fn ecg(&self) -> Option<SbemEcg> {
        let stream = ["MeasECGmV", "MeasECG"].into_iter().find(|stream| {
            self.values
                .iter()
                .any(|(layout, _)| layout.path == format!("{stream}.Timestamp"))
        })?;
        let path = format!("{stream}.Samples");
        let mut of_path = self.values.iter().filter(|(layout, _)| layout.path == path);
        let mv_per_count = of_path.clone().find_map(|(layout, _)| layout.factor);
        let samples = of_path.try_fold(Vec::new(), |mut samples, (_, value)| match value {
            SbemValue::Signed(count) => {
                samples.push(*count);
                Some(samples)
            }
            _ => None,
        })?;
        Some(SbemEcg {
            millis: self.unsigned(&format!("{stream}.Timestamp"))?,
            samples,
            mv_per_count,
        })
    }
}

fn next_chunk<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let id = match fields.u8("chunk id").ok()? {
        0xFF => fields.u16("chunk id").ok()?,
        short => u16::from(short),
    };
    let len = match fields.u8("chunk length").ok()? {
        0xFF => usize::try_from(fields.u32("chunk length").ok()?).ok()?,
        short => usize::from(short),
    };
    Some((id, fields.take("chunk", len).ok()?))
}

fn read_chunk(
    descriptors: &BTreeMap<u16, Descriptor>,
    id: u16,
    bytes: &[u8],
) -> Option<Vec<(Layout, SbemValue)>> {
    let mut layouts = Vec::new();
    lay_out(descriptors, id, GROUPS_MAX, &mut layouts)?;
    let total: usize = layouts.iter().map(|layout| layout.format.bytes()).sum();
    if layouts.is_empty() || total != bytes.len() {
        return None;
    }
    let mut fields = Fields::new(bytes);
    layouts
        .into_iter()
        .map(|layout| {
            let stored = fields.take("value", layout.format.bytes()).ok()?;
            let value = layout.format.value(stored);
            Some((layout, value))
        })
        .collect()
}

fn lay_out(
    descriptors: &BTreeMap<u16, Descriptor>,
    id: u16,
    depth: usize,
    out: &mut Vec<Layout>,
) -> Option<()> {
    let descriptor = descriptors.get(&id)?;
    if !descriptor.group.is_empty() {
        let depth = depth.checked_sub(1)?;
        return descriptor
            .group
            .iter()
            .try_for_each(|part| lay_out(descriptors, *part, depth, out));
    }
    // Brackets mark repetition, a leading plus marks a dummy; neither has bytes.
    if matches!(descriptor.path.as_str(), "[" | "]") || descriptor.path.starts_with('+') {
        return Some(());
    }
    if out.len() >= VALUES_MAX {
        return None;
    }
    out.push(Layout {
        path: plain_path(&descriptor.path),
        factor: descriptor.factor,
        format: descriptor.format?,
    });
    Some(())
}

/// A path without its root and its array marks.
fn plain_path(path: &str) -> String {
    let plain = path.trim_end_matches('+').replace('+', ".");
    let plain = plain.strip_prefix("Samples.").unwrap_or(&plain);
    plain.strip_prefix("Array.").unwrap_or(plain).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Sbem, SbemError};
    use proptest::prelude::*;

    fn descriptor(id: u16, text: &str) -> Vec<u8> {
        let len = u8::try_from(text.len() + 2).unwrap();
        [&[0, len][..], &id.to_le_bytes(), text.as_bytes()].concat()
    }

    fn recording() -> Vec<u8> {
        let mut bytes = b"SBEM0112".to_vec();
        bytes.extend(descriptor(
            13,
            "<PTH>Samples+Array.MeasECGmV.Timestamp\n<FRM>uint32\0",
        ));
        bytes.extend(descriptor(
            14,
            "<PTH>Samples.Array.MeasECGmV.Samples+\n<FRM>int16\n<MOD>x*0.001,roundf(y)",
        ));
        bytes.extend(descriptor(54, "<PTH>["));
        bytes.extend(descriptor(55, "<PTH>]"));
        bytes.extend(descriptor(300, "<GRP>13,54,14,14,14,55"));
        bytes.extend(descriptor(
            60,
            "<PTH>Samples.TimeDetailed.relativeTime\n<FRM>uint32",
        ));
        bytes.extend(descriptor(
            61,
            "<PTH>Samples.TimeDetailed.utcTime\n<FRM>utc64",
        ));
        bytes.extend(descriptor(62, "<GRP>60,61"));
        // Id beyond a byte: FF and sixteen bits.
        bytes.extend_from_slice(&[
            0xFF, 0x2C, 0x01, 10, 0xE8, 3, 0, 0, 1, 0, 0xFF, 0xFF, 0, 0x80,
        ]);
        bytes.extend_from_slice(&[62, 12, 5, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn an_ecg_is_read_by_its_descriptors() {
        let sbem = Sbem::decode(&recording()).unwrap();
        let ecg = sbem.ecg();
        assert_eq!(ecg.len(), 1);
        assert_eq!(
            (ecg[0].millis, ecg[0].samples.as_slice()),
            (1000, &[1, -1, -32768][..])
        );
        assert_eq!(ecg[0].mv_per_count, Some(0.001));
        assert_eq!(sbem.times(), [(5, 7)]);
    }

    #[test]
    fn a_chunk_that_no_descriptor_explains_is_counted() {
        let mut bytes = recording();
        bytes.extend_from_slice(&[99, 2, 1, 2]);
        bytes.extend_from_slice(&[62, 3, 1, 2, 3]);
        assert_eq!(Sbem::decode(&bytes).unwrap().unexplained, 2);
    }

    #[test]
    fn a_recording_that_is_cut_says_where() {
        let mut bytes = recording();
        let offset = u64::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(&[62, 12, 5]);
        assert_eq!(Sbem::decode(&bytes), Err(SbemError::Cut { offset }));
        assert_eq!(Sbem::decode(b"SBEMx").unwrap_err().code(), "sbem.header");
    }

    #[test]
    fn groups_that_hold_themselves_end() {
        let mut bytes = b"SBEM0112".to_vec();
        bytes.extend(descriptor(7, "<GRP>7,7,7,7,7,7,7,7"));
        bytes.extend_from_slice(&[7, 1, 0]);
        assert_eq!(Sbem::decode(&bytes).unwrap().unexplained, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_recording_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..200, flip: u8) {
            let _ = Sbem::decode(&bytes);
            bytes.splice(0..0, *b"SBEM0112");
            let _ = Sbem::decode(&bytes);
            let mut damaged = recording();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            let _ = Sbem::decode(&damaged);
        }
    }
}
