//! Section 1: patient, device, date and time, as far as the neutral form holds them.

use cardio_core::recording::{Recording, StatedStart};

use super::section::Section;
use crate::error::FormatError;
use crate::fields::Fields;
use crate::sniff::FormatId;
use crate::text::lossless;
use crate::warnings::Warnings;

/// Ends the list of tags (EN 1064, 5.4).
const END: u8 = 255;

/// Reads the tags into the recording.
pub(crate) fn read(
    section: Section<'_>,
    recording: &mut Recording,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    let mut fields = section.fields();
    let mut names: [Option<String>; 3] = [None, None, None];
    let (mut date, mut time, mut zone) = (None, None, None);
    while !fields.rest().is_empty() {
        let at = fields.offset();
        let tag = fields.u8("tag")?;
        if tag == END {
            break;
        }
        let length = usize::from(fields.u16("tag length")?);
        if length > fields.rest().len() {
            let why = format!(
                "tag {tag} states {length} byte(s), {} remain",
                fields.rest().len()
            );
            warnings.tell("tag length", at, why)?;
            break;
        }
        let value = fields.take("tag value", length)?;
        let mut inner = Fields::new(FormatId::Scp, value, at.saturating_add(3));
        let patient = &mut recording.patient;
        match tag {
            0 => names[2] = text(value),
            1 => names[0] = text(value),
            3 => names[1] = text(value),
            2 => patient.id = text(value),
            4 => patient.age = age(&mut inner).ok().flatten(),
            5 => patient.birth_date = day(&mut inner).ok().flatten(),
            8 => patient.sex = value.first().and_then(|code| sex(*code)),
            14 => device(value, recording),
            25 => date = day(&mut inner).ok().flatten(),
            26 => {
                if let [hour, minute, second, ..] = value {
                    time = Some(format!("{hour:02}:{minute:02}:{second:02}"));
                }
            }
            34 => {
                zone = inner
                    .i16("time zone")
                    .ok()
                    .filter(|zone| zone.abs() <= 14 * 60)
            }
            _ => remark(tag, value, recording),
        }
    }
    let name: Vec<String> = names.into_iter().flatten().collect();
    recording.patient.name = (!name.is_empty()).then(|| name.join(" "));
    let local = match (date, time) {
        (Some(date), Some(time)) => Some(format!("{date}T{time}")),
        (date, time) => date.or(time),
    };
    recording.start = local.map(|local| StatedStart {
        local,
        utc_offset_minutes: zone.map(i32::from),
    });
    Ok(())
}

/// Text up to its terminating zero.
fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0);
    let text = lossless(value.get(..end.unwrap_or(value.len())).unwrap_or_default());
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn day(fields: &mut Fields<'_>) -> Result<Option<String>, FormatError> {
    let year = fields.u16("year")?;
    let (month, day) = (fields.u8("month")?, fields.u8("day")?);
    let fits = year > 0 && (1..=12).contains(&month) && (1..=31).contains(&day);
    Ok(fits.then(|| format!("{year:04}-{month:02}-{day:02}")))
}

fn age(fields: &mut Fields<'_>) -> Result<Option<String>, FormatError> {
    let number = fields.u16("age")?;
    let unit = match fields.u8("age unit")? {
        1 => "years",
        2 => "months",
        3 => "weeks",
        4 => "days",
        5 => "hours",
        _ => return Ok(None),
    };
    Ok(Some(format!("{number} {unit}")))
}

fn sex(code: u8) -> Option<String> {
    match code {
        1 => Some("M".to_owned()),
        2 => Some("F".to_owned()),
        _ => None,
    }
}

/// The model is the text at bytes 8 to 13 of the machine's identification; the serial
/// number and the maker follow as texts behind the fixed part.
fn device(value: &[u8], recording: &mut Recording) {
    recording.device.model = value.get(8..14).and_then(text);
    let rest = value.get(36..).unwrap_or_default();
    let skip = value.get(35).map_or(0, |length| usize::from(*length));
    let texts: Vec<Option<String>> = rest
        .get(skip..)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .map(text)
        .collect();
    let at = |position: usize| texts.get(position).cloned().flatten();
    recording.device.serial = at(0);
    recording.device.firmware = at(1);
    recording.device.maker = at(3);
}

/// Tags that are texts and have no field of their own.
fn remark(tag: u8, value: &[u8], recording: &mut Recording) {
    let key = match tag {
        13 => "diagnosis or referral indication",
        16 => "acquiring institution",
        17 => "analysing institution",
        18 => "acquiring department",
        20 => "referring physician",
        21 => "latest confirming physician",
        22 => "technician",
        23 => "room",
        30 => "free text",
        31 => "sequence number",
        35 => "medical history",
        _ => return,
    };
    if let Some(text) = text(value) {
        recording.remarks.push((key.to_owned(), text));
    }
}
