//! Sections: where they are, whether they are whole, and the short ones' fields.

use std::collections::BTreeMap;

use cardio_core::index::SampleIndex;

use crate::crc::ccitt;
use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::sniff::FormatId;
use crate::warnings::Warnings;

/// Length of a section's identification header (EN 1064, 5.2.7).
pub const HEADER_BYTES: usize = 16;
/// Length of the record's own checksum and length (EN 1064, 5.2).
pub const RECORD_HEADER_BYTES: usize = 6;
/// The longest lead that is believed, in samples.
const LEAD_SAMPLES_MAX: u32 = 1 << 24;

/// The body of a section and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) at: u64,
}

impl<'a> Section<'a> {
    pub(crate) const fn fields(&self) -> Fields<'a> {
        Fields::new(FormatId::Scp, self.body, self.at)
    }
}

/// All sections of a record.
#[derive(Debug)]
pub(crate) struct Directory<'a> {
    sections: BTreeMap<u16, Section<'a>>,
}

impl<'a> Directory<'a> {
    /// Reads the pointers of section 0 and checks every checksum.
    pub(crate) fn read(bytes: &'a [u8], warnings: &mut Warnings) -> Result<Self, FormatError> {
        let mut fields = Fields::new(FormatId::Scp, bytes, 0);
        let crc = fields.u16("record checksum")?;
        let length = u64::from(fields.u32("record length")?);
        let have = len64(bytes.len());
        if length != have {
            let why = format!("{length} byte(s) stated, the file has {have}");
            warnings.tell("record length", 2, why)?;
        }
        let whole = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        check(crc, bytes.get(2..whole).unwrap_or_default(), 0, warnings)?;
        let mut directory = Self {
            sections: BTreeMap::new(),
        };
        let zero = section_at(bytes, len64(RECORD_HEADER_BYTES), None, warnings)?;
        let mut pointers = zero.fields();
        while pointers.rest().len() >= 10 {
            let at = pointers.offset();
            let id = pointers.u16("section id")?;
            let length = pointers.u32("section length")?;
            let index = u64::from(pointers.u32("section index")?);
            if length == 0 || id == 0 {
                continue;
            }
            // The index counts from 1 (EN 1064, 5.3).
            let Some(start) = index.checked_sub(1) else {
                warnings.tell("section index", at, format!("0 for section {id}"))?;
                continue;
            };
            let section = section_at(bytes, start, Some((id, length)), warnings)?;
            directory.sections.insert(id, section);
        }
        Ok(directory)
    }

    pub(crate) fn get(&self, id: u16) -> Option<Section<'a>> {
        self.sections.get(&id).copied()
    }

    pub(crate) fn require(&self, id: u16) -> Result<Section<'a>, FormatError> {
        self.get(id).ok_or_else(|| {
            let field = if id == 3 { "section 3" } else { "section 6" };
            invalid(
                field,
                0,
                "absent",
                "a section with leads and one with samples",
            )
        })
    }
}

fn check(crc: u16, bytes: &[u8], at: u64, warnings: &mut Warnings) -> Result<(), FormatError> {
    let found = ccitt(bytes);
    if found == crc {
        return Ok(());
    }
    let why = format!("{crc:04x} stated, the bytes give {found:04x}");
    warnings.tell("checksum", at, why)
}

/// Cuts one section out of the record. `stated` is what its pointer says.
fn section_at<'a>(
    bytes: &'a [u8],
    start: u64,
    stated: Option<(u16, u32)>,
    warnings: &mut Warnings,
) -> Result<Section<'a>, FormatError> {
    let from = usize::try_from(start).unwrap_or(usize::MAX);
    let rest = bytes.get(from..).unwrap_or_default();
    let mut fields = Fields::new(FormatId::Scp, rest, start);
    let crc = fields.u16("section checksum")?;
    let id = fields.u16("section id")?;
    let mut length = fields.u32("section length")?;
    fields.take("section header", HEADER_BYTES - 8)?;
    if let Some((wanted, pointed)) = stated {
        if wanted != id {
            let why = format!("section {wanted} is pointed at, {id} is there");
            warnings.tell("section id", start, why)?;
        }
        if pointed != length {
            let why = format!("{pointed} in section 0, {length} in section {wanted}");
            warnings.tell("section length", start, why)?;
            length = pointed;
        }
    }
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let cut = rest.get(..whole).unwrap_or(rest);
    if cut.len() < whole {
        let why = format!("{whole} byte(s) stated, {} remain", cut.len());
        warnings.tell("section length", start, why)?;
    }
    check(crc, cut.get(2..).unwrap_or_default(), start, warnings)?;
    Ok(Section {
        body: cut.get(HEADER_BYTES..).unwrap_or_default(),
        at: start.saturating_add(len64(HEADER_BYTES)),
    })
}

/// One lead of section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeadSpec {
    pub(crate) id: u8,
    start: u32,
    end: u32,
}

impl LeadSpec {
    /// First sample on the record's time line, from 0. Files count from 1, some from 0.
    pub(crate) fn first(&self) -> SampleIndex {
        SampleIndex(u64::from(self.start.saturating_sub(1)))
    }

    /// Just after the last sample.
    pub(crate) fn end(&self) -> SampleIndex {
        SampleIndex(u64::from(self.end.max(self.start.saturating_sub(1))))
    }

    /// How many samples the lead should have.
    pub(crate) fn samples(&self) -> usize {
        self.end()
            .since(self.first())
            .map_or(0, |count| count.len())
    }
}

/// Section 3: the leads.
#[derive(Debug)]
pub(crate) struct Leads {
    pub(crate) subtracted: bool,
    pub(crate) list: Vec<LeadSpec>,
}

impl Leads {
    pub(crate) fn read(section: Section<'_>) -> Result<Self, FormatError> {
        let mut fields = section.fields();
        let count = fields.u8("number of leads")?;
        let flags = fields.u8("lead flags")?;
        let mut list = Vec::new();
        for _ in 0..count {
            let at = fields.offset();
            let lead = LeadSpec {
                start: fields.u32("starting sample number")?,
                end: fields.u32("ending sample number")?,
                id: fields.u8("lead identification")?,
            };
            if lead.end > LEAD_SAMPLES_MAX {
                return Err(FormatError::TooLarge {
                    format: FormatId::Scp,
                    field: "ending sample number",
                    offset: at,
                    asked: u64::from(lead.end),
                    limit: u64::from(LEAD_SAMPLES_MAX),
                });
            }
            list.push(lead);
        }
        Ok(Self {
            subtracted: flags & 1 != 0,
            list,
        })
    }
}

/// One beat of section 4, sample numbers from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BeatZone {
    pub(crate) kind: u16,
    pub(crate) start: u32,
    pub(crate) fiducial: u32,
    pub(crate) end: u32,
    pub(crate) protected: Option<(u32, u32)>,
}

/// Section 4: where beats lie.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    pub(crate) fiducial: u16,
    pub(crate) zones: Vec<BeatZone>,
}

impl Beats {
    pub(crate) fn read(section: Section<'_>) -> Result<Self, FormatError> {
        let mut fields = section.fields();
        fields.u16("length of reference beat")?;
        let fiducial = fields.u16("fiducial sample of reference beat")?;
        let count = fields.u16("number of QRS complexes")?;
        let mut zones = Vec::new();
        for _ in 0..count {
            zones.push(BeatZone {
                kind: fields.u16("beat type")?,
                start: fields.u32("start of subtraction")?,
                fiducial: fields.u32("fiducial sample")?,
                end: fields.u32("end of subtraction")?,
                protected: None,
            });
        }
        for zone in &mut zones {
            if fields.rest().len() < 8 {
                break;
            }
            let start = fields.u32("start of protected zone")?;
            zone.protected = Some((start, fields.u32("end of protected zone")?));
        }
        Ok(Self { fiducial, zones })
    }
}

/// Names of leads by their identification (EN 1064, table of ECG leads).
const LEAD_NAMES: [(u8, &str); 34] = [
    (1, "I"),
    (2, "II"),
    (3, "V1"),
    (4, "V2"),
    (5, "V3"),
    (6, "V4"),
    (7, "V5"),
    (8, "V6"),
    (9, "V7"),
    (10, "V2R"),
    (11, "V3R"),
    (12, "V4R"),
    (13, "V5R"),
    (14, "V6R"),
    (15, "V7R"),
    (16, "X"),
    (17, "Y"),
    (18, "Z"),
    (19, "CC5"),
    (20, "CM5"),
    (21, "LA"),
    (22, "RA"),
    (23, "LL"),
    (61, "III"),
    (62, "aVR"),
    (63, "aVL"),
    (64, "aVF"),
    (65, "-aVR"),
    (66, "V8"),
    (67, "V9"),
    (68, "V8R"),
    (69, "V9R"),
    (70, "D"),
    (71, "A"),
];

/// What a lead is called.
pub fn lead_name(id: u8) -> String {
    LEAD_NAMES
        .iter()
        .find(|(known, _)| *known == id)
        .map_or_else(|| format!("lead {id}"), |(_, name)| (*name).to_owned())
}

/// The identification of a lead by its name.
pub fn lead_id(name: &str) -> Option<u8> {
    LEAD_NAMES
        .iter()
        .find(|(_, known)| known.eq_ignore_ascii_case(name))
        .map(|(id, _)| *id)
}

pub(crate) fn invalid(
    field: &'static str,
    offset: u64,
    found: &str,
    want: &'static str,
) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Scp,
        field,
        offset,
        found: found.to_owned(),
        want,
    }
}
