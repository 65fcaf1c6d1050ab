//! The fixed header, the same in data and annotation files.

use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, StatedStart};

use crate::error::FormatError;
use crate::fields::Fields;
use crate::sniff::FormatId;
use crate::text::lossless;

/// Begins a data file.
pub const MAGIC: &[u8; 8] = b"ISHNE1.0";
/// Begins an annotation file.
pub const MARKS_MAGIC: &[u8; 8] = b"ANN  1.0";
/// Where the checksum ends and what it covers begins.
pub const CHECKED_FROM: usize = 10;
/// Length of the fixed header, magic and checksum included.
pub const FIXED_BYTES: usize = 522;
/// Offset of the resolutions.
pub(super) const RESOLUTION_AT: u64 = 206;
/// The most leads of a file.
pub const LEADS_MAX: usize = 12;
/// What stands for "not stated".
const ABSENT: i16 = -9;

/// Names of leads by their code (table 2 of the paper).
const LEAD_NAMES: [&str; 20] = [
    "unknown", "bipolar", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3",
    "V4", "V5", "V6", "ES", "AS", "AI",
];

/// What a lead is called.
pub fn lead_name(code: i16) -> String {
    usize::try_from(code)
        .ok()
        .and_then(|code| LEAD_NAMES.get(code))
        .map_or_else(|| format!("lead {code}"), |name| (*name).to_owned())
}

/// The code of a lead by its name.
pub fn lead_code(name: &str) -> Option<i16> {
    LEAD_NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))
        .and_then(|code| i16::try_from(code).ok())
}

/// One lead of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// What it is.
    pub code: i16,
    /// How good it is, by the recorder's judgement.
    pub quality: i16,
    /// Nanovolts per count.
    pub nanovolts: i16,
}

/// A header as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The checksum.
    pub crc: u16,
    /// Length of the variable block.
    pub variable_bytes: i32,
    /// Stated number of samples, of one lead or of all.
    pub samples: i32,
    /// Where the variable block begins.
    pub variable_at: i32,
    /// Where the samples or marks begin.
    pub data_at: u64,
    /// Version of the file.
    pub version: i16,
    /// First and last name.
    pub names: [String; 2],
    /// Identification of the patient.
    pub id: String,
    /// 0 unknown, 1 male, 2 female.
    pub sex: i16,
    /// Birth, recording and file date: day, month, year.
    pub dates: [[i16; 3]; 3],
    /// Start: hour, minute, second.
    pub time: [i16; 3],
    /// The leads.
    pub leads: Vec<Lead>,
    /// Code of the pacemaker.
    pub pacemaker: i16,
    /// Recorder, proprietary, copyright.
    pub texts: [String; 3],
    /// Samples per second of each lead.
    pub rate: SamplingRate,
}

impl Header {
    /// Reads the fixed header.
    ///
    /// # Errors
    /// [`FormatError`] with field and offset.
    pub fn parse(bytes: &[u8], format: FormatId) -> Result<Self, FormatError> {
        let mut fields = Fields::new(format, bytes, 0);
        fields.take("magic", 8)?;
        let crc = fields.u16("checksum")?;
        let variable_bytes = fields.i32("size of variable block")?;
        let samples = fields.i32("size of ECG")?;
        let variable_at = fields.i32("offset of variable block")?;
        let at = fields.offset();
        let data_at = fields.i32("offset of ECG block")?;
        let data_at = u64::try_from(data_at)
            .map_err(|_| invalid("offset of ECG block", at, &data_at.to_string(), "an offset"))?;
        let version = fields.i16("version")?;
        let names = [text(&mut fields, 40)?, text(&mut fields, 40)?];
        let id = text(&mut fields, 20)?;
        let sex = fields.i16("sex")?;
        fields.i16("race")?;
        let dates = [
            triple(&mut fields)?,
            triple(&mut fields)?,
            triple(&mut fields)?,
        ];
        let time = triple(&mut fields)?;
        let at = fields.offset();
        let count = fields.i16("number of leads")?;
        let lead_count = usize::try_from(count)
            .ok()
            .filter(|count| (1..=LEADS_MAX).contains(count))
            .ok_or_else(|| invalid("number of leads", at, &count.to_string(), "1 to 12"))?;
        let mut table = [[0_i16; LEADS_MAX]; 3];
        for value in table.iter_mut().flatten() {
            *value = fields.i16("lead table")?;
        }
        let [codes, qualities, resolutions] = table;
        let leads = codes
            .iter()
            .zip(qualities)
            .zip(resolutions)
            .take(lead_count)
            .map(|((code, quality), nanovolts)| Lead {
                code: *code,
                quality,
                nanovolts,
            })
            .collect();
        let pacemaker = fields.i16("pacemaker code")?;
        let recorder = text(&mut fields, 40)?;
        let at = fields.offset();
        let hz = fields.i16("sampling rate")?;
        let rate = u32::try_from(hz)
            .ok()
            .and_then(|hz| SamplingRate::hz(hz).ok());
        let rate =
            rate.ok_or_else(|| invalid("sampling rate", at, &hz.to_string(), "above zero"))?;
        let texts = [recorder, text(&mut fields, 80)?, text(&mut fields, 80)?];
        fields.take("reserved", 88)?;
        Ok(Self {
            crc,
            variable_bytes,
            samples,
            variable_at,
            data_at,
            version,
            names,
            id,
            sex,
            dates,
            time,
            leads,
            pacemaker,
            texts,
            rate,
        })
    }

    /// Writes patient, device and time into the recording.
    pub(super) fn identify(&self, recording: &mut Recording) {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let name: Vec<&str> = self.names.iter().map(String::as_str).collect();
        recording.patient.name = known(name.join(" ").trim());
        recording.patient.id = known(&self.id);
        recording.patient.sex = match self.sex {
            1 => Some("M".to_owned()),
            2 => Some("F".to_owned()),
            _ => None,
        };
        let [birth, recorded, written] = self.dates;
        recording.patient.birth_date = iso_date(birth);
        let [hour, minute, second] = self.time;
        let time = (0..24).contains(&hour) && (0..60).contains(&minute);
        let time = time && (0..=60).contains(&second);
        let time = time.then(|| format!("{hour:02}:{minute:02}:{second:02}"));
        let local = match (iso_date(recorded), time) {
            (Some(date), Some(time)) => Some(format!("{date}T{time}")),
            (date, time) => date.or(time),
        };
        recording.start = local.map(|local| StatedStart {
            local,
            utc_offset_minutes: None,
        });
        let [recorder, proprietary, copyright] = &self.texts;
        recording.device.model = known(recorder);
        let mut remark = |key: &str, text: Option<String>| {
            if let Some(text) = text {
                recording.remarks.push((key.to_owned(), text));
            }
        };
        remark("proprietary", known(proprietary));
        remark("copyright", known(copyright));
        remark("file date", iso_date(written));
        if self.pacemaker > 0 {
            remark("pacemaker code", Some(self.pacemaker.to_string()));
        }
        let lead_quality = self.leads.iter().filter(|lead| lead.quality > 0);
        for lead in lead_quality {
            let key = format!("recorder's quality of {}", lead_name(lead.code));
            remark(&key, Some(lead.quality.to_string()));
        }
    }
}

fn text(fields: &mut Fields<'_>, length: usize) -> Result<String, FormatError> {
    let bytes = fields.take("text", length)?;
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = lossless(bytes.get(..end.unwrap_or(length)).unwrap_or_default());
    Ok(text.trim().to_owned())
}

fn triple(fields: &mut Fields<'_>) -> Result<[i16; 3], FormatError> {
    let mut values = [0_i16; 3];
    for value in &mut values {
        *value = fields.i16("date or time")?;
    }
    Ok(values)
}

fn iso_date([day, month, year]: [i16; 3]) -> Option<String> {
    let fits = (1..=31).contains(&day) && (1..=12).contains(&month) && year > 0;
    (fits && year != ABSENT).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

pub(super) fn invalid(
    field: &'static str,
    offset: u64,
    found: &str,
    want: &'static str,
) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Ishne,
        field,
        offset,
        found: found.to_owned(),
        want,
    }
}
