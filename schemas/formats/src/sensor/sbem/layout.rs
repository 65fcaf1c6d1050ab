//! What the descriptors of a recording say of its chunks.

use std::collections::BTreeMap;

use cardio_core::sample::Adu;

/// Depth to which groups of groups are followed.
const GROUPS_MAX: usize = 8;
/// Descriptors that one layout may be made of.
const STEPS_MAX: usize = 4096;

/// What a chunk holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// A stretch of ECG.
    Ecg(Ecg),
    /// What the sensor's milliseconds are in microseconds of UTC.
    Clock { millis: u32, utc_us: u64 },
    /// Something else.
    Other,
    /// Bytes that no descriptor explains.
    Unexplained,
}

/// A stretch of ECG.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ecg {
    /// On the sensor's clock.
    pub(super) millis: u32,
    pub(super) samples: Vec<Adu>,
    /// Whether it is of the stream whose counts are microvolts.
    pub(super) is_mv: bool,
    /// Millivolts of one count, if stated.
    pub(super) mv_per_count: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Millis { is_mv: bool },
    Sample,
    Relative,
    Utc,
    Other,
}

/// How one value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    bytes: usize,
    is_signed: bool,
    is_whole: bool,
}

impl Format {
    fn from_name(name: &str) -> Option<Self> {
        let (bytes, is_signed, is_whole) = match name.split(',').next()?.trim() {
            "uint8" | "bool" | "enum" => (1, false, true),
            "uint16" => (2, false, true),
            "uint32" => (4, false, true),
            "uint64" | "utc64" | "local64" => (8, false, true),
            "int8" => (1, true, true),
            "int16" => (2, true, true),
            "int32" => (4, true, true),
            "int64" => (8, true, true),
            "float32" => (4, true, false),
            "float64" => (8, true, false),
            _ => return None,
        };
        Some(Self {
            bytes,
            is_signed,
            is_whole,
        })
    }

    /// The value as a whole number.
    fn value(self, stored: &[u8]) -> u64 {
        let mut wide = [0; 8];
        for (slot, byte) in wide.iter_mut().zip(stored) {
            *slot = *byte;
        }
        let raw = u64::from_le_bytes(wide);
        let unused = 64_u32.saturating_sub(8 * u32::try_from(self.bytes).unwrap_or(8));
        match self.is_signed {
            true => ((raw << unused).cast_signed() >> unused).cast_unsigned(),
            false => raw,
        }
    }
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
                let ids = ids.split(',').take(STEPS_MAX);
                descriptor.group = ids.filter_map(|id| id.trim().parse().ok()).collect();
            }
        }
        descriptor
    }

    /// A path without its root and its array marks.
    fn what(&self) -> What {
        let plain = self.path.trim_end_matches('+').replace('+', ".");
        let plain = plain.strip_prefix("Samples.").unwrap_or(&plain);
        match plain.strip_prefix("Array.").unwrap_or(plain) {
            "MeasECGmV.Timestamp" => What::Millis { is_mv: true },
            "MeasECG.Timestamp" => What::Millis { is_mv: false },
            "MeasECGmV.Samples" | "MeasECG.Samples" => What::Sample,
            "TimeDetailed.relativeTime" => What::Relative,
            "TimeDetailed.utcTime" => What::Utc,
            _ => What::Other,
        }
    }
}

/// How the chunks of one id are laid out.
#[derive(Clone, Debug, Default)]
struct Layout {
    values: Vec<(What, Format)>,
    bytes: usize,
    mv_per_count: Option<f64>,
}

/// The descriptors so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptors {
    known: BTreeMap<u16, Descriptor>,
    /// Layouts that explained a chunk; forgotten when there is a new descriptor.
    layouts: BTreeMap<u16, Layout>,
}

impl Descriptors {
    /// Takes the bytes of a descriptor.
    pub(super) fn learn(&mut self, bytes: &[u8]) {
        if let Some((own, text)) = bytes.split_first_chunk::<2>() {
            let text = String::from_utf8_lossy(text);
            let own = u16::from_le_bytes(*own);
            self.known.insert(own, Descriptor::parse(&text));
            self.layouts.clear();
        }
    }

    /// Reads a chunk of data.
    pub(super) fn read(&mut self, id: u16, bytes: &[u8]) -> Found {
        if !self.layouts.contains_key(&id) {
            let mut layout = Layout::default();
            let mut steps = 0;
            // one that does not fit is not kept: its size rests on the file's word alone
            if self
                .lay_out(id, GROUPS_MAX, &mut steps, &mut layout)
                .is_some()
                && layout.bytes == bytes.len()
            {
                self.layouts.insert(id, layout);
            }
        }
        match self.layouts.get(&id) {
            Some(layout) if layout.bytes == bytes.len() && !layout.values.is_empty() => {
                layout.read(bytes)
            }
            _ => Found::Unexplained,
        }
    }

    fn lay_out(&self, id: u16, depth: usize, steps: &mut usize, out: &mut Layout) -> Option<()> {
        *steps = steps.saturating_add(1);
        let descriptor = self.known.get(&id).filter(|_| *steps <= STEPS_MAX)?;
        if !descriptor.group.is_empty() {
            let depth = depth.checked_sub(1)?;
            let mut parts = descriptor.group.iter();
            return parts.try_for_each(|part| self.lay_out(*part, depth, steps, out));
        }
        // Brackets mark repetition, a leading plus marks a dummy; neither has bytes.
        if matches!(descriptor.path.as_str(), "[" | "]") || descriptor.path.starts_with('+') {
            return Some(());
        }
        let format = descriptor.format?;
        let what = descriptor.what();
        if what == What::Sample {
            out.mv_per_count = out.mv_per_count.or(descriptor.factor);
        }
        out.values.push((what, format));
        out.bytes = out.bytes.saturating_add(format.bytes);
        Some(())
    }
}

impl Layout {
    fn read(&self, mut bytes: &[u8]) -> Found {
        let (mut stamp, mut samples) = (None, Vec::new());
        let (mut relative, mut utc) = (None, None);
        for (what, format) in &self.values {
            let (stored, rest) = bytes.split_at_checked(format.bytes).unwrap_or((bytes, &[]));
            bytes = rest;
            let value = format.value(stored);
            match what {
                What::Other => {}
                _ if !format.is_whole => return Found::Unexplained,
                What::Millis { is_mv } => stamp = Some((low(value), *is_mv)),
                What::Relative => relative = Some(low(value)),
                What::Utc => utc = Some(value),
                What::Sample => match Adu::try_from(value.cast_signed()) {
                    Ok(count) => samples.push(count),
                    Err(_) => return Found::Unexplained,
                },
            }
        }
        match (stamp, relative, utc) {
            (Some((millis, is_mv)), ..) if !samples.is_empty() => Found::Ecg(Ecg {
                millis,
                samples,
                is_mv,
                mv_per_count: self.mv_per_count,
            }),
            (_, Some(millis), Some(utc_us)) => Found::Clock { millis, utc_us },
            _ => Found::Other,
        }
    }
}

/// The sensor's clock has 32 bits.
fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}
