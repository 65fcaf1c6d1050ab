//! A recording as an annotated ECG: one rhythm series, one set of sequences.

use std::fmt::Write as _;

use cardio_core::recording::{Recording, Waveform};
use cardio_core::samples::SampleSlice;
use quick_xml::escape::escape;

use super::LEAD_PREFIX;
use crate::error::FormatError;
use crate::identity::uuid;
use crate::write::{Facts, Files, Moment, triple};

/// Code system of acts (HL7 ActCode).
const ACT_CODE: &str = "2.16.840.1.113883.5.4";
/// Code system of leads (ISO/IEEE 11073-10101).
const MDC: &str = "2.16.840.1.113883.6.24";
/// Code system of sexes (HL7 AdministrativeGender).
const GENDER: &str = "2.16.840.1.113883.5.1";

/// One document.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let rows = facts.even_rows(recording)?;
    facts.lose_annotations(recording)?;
    facts.lose_remarks(recording)?;
    facts.lose_text("age", recording.patient.age.as_ref())?;
    let zone = recording
        .start
        .as_ref()
        .and_then(|start| start.utc_offset_minutes);
    if let Some(minutes) = zone {
        facts.lose("offset from UTC", &format!("{minutes} min"))?;
    }
    let Some(first) = recording.waveforms.first() else {
        return Ok(Vec::new());
    };
    let moment = Moment::of(recording);
    let (Some(date), Some(time)) = (moment.date, moment.time) else {
        return Err(facts.refuse("start", "a document needs a date and a time".to_owned()));
    };
    let point = if moment.fraction.is_empty() { "" } else { "." };
    let [year, month, day] = date;
    let [hour, minute, second] = time;
    let start = format!(
        "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{point}{}",
        moment.fraction
    );
    let (samples, seconds) = first.rate.as_ratio();
    let count = u64::try_from(rows.first().map_or(0, |row| row.len())).unwrap_or(u64::MAX);
    let lasting = count
        .saturating_mul(u64::from(seconds))
        .div_ceil(u64::from(samples));
    let end = later(date, time, lasting);
    let increment = f64::from(seconds) / f64::from(samples);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    head(recording, &start, facts, &mut out)?;
    let _ = write!(
        out,
        "<component><series><id root=\"{}\"/><code code=\"RHYTHM\" codeSystem=\"{ACT_CODE}\"/>\
         <effectiveTime><low value=\"{start}\"/><high value=\"{end}\"/></effectiveTime>",
        uuid(recording, "series"),
    );
    author(recording, facts, &mut out)?;
    let _ = writeln!(
        out,
        "<component><sequenceSet>\n<component><sequence>\
         <code code=\"TIME_ABSOLUTE\" codeSystem=\"{ACT_CODE}\"/>\
         <value xsi:type=\"GLIST_TS\"><head value=\"{start}\"/>\
         <increment value=\"{increment}\" unit=\"s\"/></value></sequence></component>"
    );
    for (row, samples) in recording.waveforms.iter().zip(rows) {
        sequence(row, samples, facts, &mut out)?;
    }
    out.push_str("</sequenceSet></component></series></component>\n</AnnotatedECG>\n");
    Ok(vec![(format!("{name}.xml"), out.into_bytes())])
}

/// Document, time, subject and trial; the last two are required by the schema.
fn head(
    recording: &Recording,
    start: &str,
    facts: &mut Facts,
    out: &mut String,
) -> Result<(), FormatError> {
    let patient = &recording.patient;
    let _ = write!(
        out,
        "<AnnotatedECG xmlns=\"urn:hl7-org:v3\" xmlns:voc=\"urn:hl7-org:v3/voc\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" type=\"Observation\">\n\
         <id root=\"{}\"/>\
         <code code=\"93000\" codeSystem=\"2.16.840.1.113883.6.12\" codeSystemName=\"CPT-4\"/>\
         <effectiveTime><center value=\"{start}\"/></effectiveTime>\n\
         <componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>",
        uuid(recording, "document"),
    );
    let id = patient.id.as_deref().unwrap_or_default();
    let _ = write!(
        out,
        "<id root=\"{}\" extension=\"{}\"/><subjectDemographicPerson>",
        uuid(recording, "subject"),
        escape(id)
    );
    if let Some(name) = &patient.name {
        let _ = write!(out, "<name>{}</name>", escape(name.as_str()));
    }
    match patient.sex.as_deref() {
        Some("M" | "m" | "Male" | "male" | "MALE") => gender("M", out),
        Some("F" | "f" | "Female" | "female" | "FEMALE") => gender("F", out),
        other => facts.lose("sex", other.unwrap_or_default())?,
    }
    if let Some(birth) = &patient.birth_date {
        match triple(birth, '-') {
            Some([year, month, day]) => {
                let _ = write!(out, "<birthTime value=\"{year:04}{month:02}{day:02}\"/>");
            }
            None => facts.lose("birth date", birth)?,
        }
    }
    let _ = writeln!(
        out,
        "</subjectDemographicPerson></trialSubject></subject><componentOf><clinicalTrial>\
         <id root=\"{}\"/></clinicalTrial></componentOf></subjectAssignment></componentOf>\
         </timepointEvent></componentOf>",
        uuid(recording, "trial"),
    );
    Ok(())
}

fn gender(code: &str, out: &mut String) {
    let _ = write!(
        out,
        "<administrativeGenderCode code=\"{code}\" codeSystem=\"{GENDER}\"/>"
    );
}

/// The device, when it is known.
fn author(recording: &Recording, facts: &mut Facts, out: &mut String) -> Result<(), FormatError> {
    let device = &recording.device;
    let known = [
        &device.maker,
        &device.model,
        &device.serial,
        &device.firmware,
    ];
    if known.into_iter().all(Option::is_none) {
        return Ok(());
    }
    let text = |text: &Option<String>| escape(text.as_deref().unwrap_or_default()).into_owned();
    if device.system_id.is_some() {
        facts.lose("system id", "of the device")?;
    }
    let _ = write!(
        out,
        "<author><seriesAuthor><manufacturedSeriesDevice><id root=\"{}\" extension=\"{}\"/>\
         <code/><manufacturerModelName>{}</manufacturerModelName>\
         <softwareName>{}</softwareName></manufacturedSeriesDevice>\
         <manufacturerOrganization><name>{}</name></manufacturerOrganization>\
         </seriesAuthor></author>",
        uuid(recording, "device"),
        text(&device.serial),
        text(&device.model),
        text(&device.firmware),
        text(&device.maker)
    );
    Ok(())
}

/// One lead, in microvolts.
fn sequence(
    row: &Waveform,
    samples: SampleSlice<'_>,
    facts: &Facts,
    out: &mut String,
) -> Result<(), FormatError> {
    if crate::scp::section::lead_id(&row.label).is_none() {
        return Err(facts.refuse("label", format!("{:?} has no code", row.label)));
    }
    let Some(gain) = row.calibration.gain_adu_per_mv() else {
        let why = format!("{} is in {}", row.label, row.calibration.unit().ucum());
        return Err(facts.refuse("unit", why));
    };
    let scale = 1e3 / gain;
    let zero = row.calibration.baseline_adu();
    let origin = if zero == 0.0 { 0.0 } else { -zero * scale };
    let _ = write!(
        out,
        "<component><sequence><code code=\"{LEAD_PREFIX}{}\" codeSystem=\"{MDC}\"/>\
         <value xsi:type=\"SLIST_PQ\"><origin value=\"{origin}\" unit=\"uV\"/>\
         <scale value=\"{scale}\" unit=\"uV\"/><digits>",
        row.label.to_ascii_uppercase()
    );
    for (position, sample) in samples.iter().enumerate() {
        let before = if position == 0 { "" } else { " " };
        let _ = write!(out, "{before}{sample}");
    }
    out.push_str("</digits></value></sequence></component>\n");
    Ok(())
}

/// A moment some seconds later, as `YYYYMMDDHHMMSS`.
fn later([year, month, day]: [u16; 3], [hour, minute, second]: [u16; 3], seconds: u64) -> String {
    let clock = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
    let total = clock.saturating_add(seconds);
    let mut left = total / 86_400;
    let (mut year, mut month, mut day) = (u64::from(year), u64::from(month), u64::from(day));
    while left > 0 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 31,
        };
        day += 1;
        if day > days {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
        left -= 1;
    }
    let rest = total % 86_400;
    format!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::later;

    #[test]
    fn a_recording_ends_after_midnight_of_a_leap_day() {
        assert_eq!(later([2024, 2, 28], [23, 59, 55], 86_410), "20240301000005");
    }
}
