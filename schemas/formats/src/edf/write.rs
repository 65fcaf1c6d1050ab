//! A recording as EDF+C, or as EDF+D when it has gaps.
//!
//! Records are as long as divides every run exactly, at most a second. When nothing does,
//! the last record is filled up and an annotation says where the recording ends; that counts
//! as a fact left behind and needs the caller's leave.

mod plan;
mod scale;

use cardio_core::recording::{Recording, Run, Waveform};

use super::END_MARK;
use super::tal::nanos;
use crate::error::FormatError;
use crate::write::{Facts, Files, Moment, triple};
use plan::{NANOS, Plan};
use scale::Scale;

/// Months as EDF+ writes them.
const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

/// One file.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let rows = &recording.waveforms;
    let plan = Plan::of(rows, facts)?;
    let scales = rows
        .iter()
        .map(|row| Scale::of(row, facts))
        .collect::<Result<Vec<_>, _>>()?;
    facts.lose_remarks(recording)?;
    let lists = lists(recording, &plan, facts)?;
    let list_bytes = lists.iter().map(Vec::len).max().unwrap_or(0).max(16);
    let list_bytes = list_bytes.next_multiple_of(2);
    let mut out = head(recording, &plan, &scales, list_bytes / 2, facts)?;
    let runs: Vec<Vec<&Run>> = rows.iter().map(plan::filled_runs).collect();
    for (record, list) in plan.records.iter().zip(&lists) {
        let each = rows.iter().zip(&runs).zip(&plan.per_record).zip(&scales);
        for (((row, runs), many), scale) in each {
            let run = runs.get(record.run).copied();
            let from = record.within.saturating_mul(*many);
            samples(run, from, *many, scale, row, facts, &mut out)?;
        }
        let end = out.len().saturating_add(list_bytes);
        out.extend(list);
        out.resize(end, 0);
    }
    Ok(vec![(format!("{name}.edf"), out)])
}

/// The samples of one row in one record; what lies behind the last is the lowest value.
fn samples(
    run: Option<&Run>,
    from: usize,
    many: usize,
    scale: &Scale,
    row: &Waveform,
    facts: &Facts,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    for at in from..from.saturating_add(many) {
        let sample = match run.and_then(|run| run.samples.get(at)) {
            Some(sample) => facts.narrow(row, sample)?,
            None => scale.low,
        };
        out.extend(sample.to_le_bytes());
    }
    Ok(())
}

/// The annotation lists of every record: its own time, then the marks that fall into it.
fn lists(
    recording: &Recording,
    plan: &Plan,
    facts: &mut Facts,
) -> Result<Vec<Vec<u8>>, FormatError> {
    let fraction = Moment::of(recording).fraction;
    let origin = nanos(&format!("0.{fraction}0")).unwrap_or(0);
    let mut lists: Vec<Vec<u8>> = plan
        .records
        .iter()
        .map(|record| {
            let mut list = onset(record.start_nanos.saturating_add(origin)).into_bytes();
            list.extend(b"\x14\x14\0");
            list
        })
        .collect();
    for mark in &recording.annotations {
        if (mark.subtype, mark.channel, mark.number) != (0, 0, 0) {
            facts.lose("annotation", "subtype, channel or number")?;
        }
        let words = mark.text.as_deref().unwrap_or_default();
        let word = |key: &str| words.split(' ').find_map(|word| word.strip_prefix(key));
        let (stated, lasting) = (word("onset_s="), word("duration_s="));
        let understood = usize::from(stated.is_some()) + usize::from(lasting.is_some());
        if words.split(' ').filter(|word| !word.is_empty()).count() > understood {
            facts.lose_text("annotation", mark.text.as_ref())?;
        }
        let at = plan.nanos_of(mark.at);
        let time = match stated {
            Some(stated) => stated.to_owned(),
            None => onset(at.saturating_add(origin)),
        };
        let mut text = time;
        if let Some(lasting) = lasting {
            text.push('\u{15}');
            text.push_str(lasting);
        }
        text.push('\u{14}');
        text.push_str(&mark.code.replace(['\u{14}', '\u{15}', '\0'], " "));
        text.push('\u{14}');
        put(&mut lists, plan, at, &text);
    }
    if let Some(end) = plan.padded_from_nanos {
        let text = format!(
            "{}\u{14}{END_MARK}\u{14}",
            onset(end.saturating_add(origin))
        );
        put(&mut lists, plan, end, &text);
    }
    Ok(lists)
}

/// Adds a list to the record that covers its time.
fn put(lists: &mut [Vec<u8>], plan: &Plan, at: i128, text: &str) {
    let after = plan
        .records
        .partition_point(|record| record.start_nanos <= at);
    if let Some(list) = lists.get_mut(after.saturating_sub(1)) {
        list.extend(text.as_bytes());
        list.push(0);
    }
}

/// Seconds with sign and as few decimals as are needed.
fn onset(nanos: i128) -> String {
    let sign = if nanos < 0 { '-' } else { '+' };
    let whole = nanos.unsigned_abs() / NANOS.unsigned_abs();
    let fraction = format!("{:09}", nanos.unsigned_abs() % NANOS.unsigned_abs());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// The header record.
fn head(
    recording: &Recording,
    plan: &Plan,
    scales: &[Scale],
    list_samples: usize,
    facts: &mut Facts,
) -> Result<Vec<u8>, FormatError> {
    let rows = &recording.waveforms;
    let signals = rows.len().saturating_add(1);
    let mut out = Vec::new();
    field(&mut out, "0", 8);
    let patient = patient(recording, facts)?;
    field(&mut out, &patient, 80);
    let (startdate, date, time) = start(recording, facts)?;
    let device = [&recording.device.maker, &recording.device.model];
    let device: Vec<&str> = device.into_iter().flatten().map(String::as_str).collect();
    facts.lose_text("serial number", recording.device.serial.as_ref())?;
    facts.lose_text("firmware", recording.device.firmware.as_ref())?;
    let device = subfield(&device.join("_"), "device", facts)?;
    let text = format!("Startdate {startdate} X X {device}");
    if text.len() > 80 {
        facts.lose("device", &device)?;
    }
    field(&mut out, &text, 80);
    field(&mut out, &date, 8);
    field(&mut out, &time, 8);
    field(&mut out, &(signals.saturating_add(1) * 256).to_string(), 8);
    field(&mut out, if plan.has_gaps { "EDF+D" } else { "EDF+C" }, 44);
    field(&mut out, &plan.records.len().to_string(), 8);
    field(&mut out, &plan.duration, 8);
    field(&mut out, &signals.to_string(), 4);
    for row in rows {
        let fits = row.label.is_ascii() && row.label.len() <= 16;
        if !fits {
            facts.lose("label", &row.label)?;
        }
        field(&mut out, &ascii(&row.label), 16);
    }
    field(&mut out, "EDF Annotations", 16);
    let mut column = |value: fn(&Scale) -> String, last: &str, len: usize| {
        scales
            .iter()
            .for_each(|scale| field(&mut out, &value(scale), len));
        field(&mut out, last, len);
    };
    column(|_| String::new(), "", 80);
    column(|scale| scale.unit.clone(), "", 8);
    column(|scale| scale.bottom.clone(), "-1", 8);
    column(|scale| scale.top.clone(), "1", 8);
    column(|scale| scale.low.to_string(), "-32768", 8);
    column(|scale| scale.high.to_string(), "32767", 8);
    column(|_| String::new(), "", 80);
    for many in plan.per_record.iter().chain([&list_samples]) {
        field(&mut out, &many.to_string(), 8);
    }
    (0..signals).for_each(|_| field(&mut out, "", 32));
    Ok(out)
}

/// A field of printable ASCII, cut or filled with blanks.
fn field(out: &mut Vec<u8>, text: &str, len: usize) {
    let end = out.len().saturating_add(len);
    out.extend(text.bytes().take(len));
    out.resize(end, b' ');
}

fn ascii(text: &str) -> String {
    let plain = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().map(plain).collect()
}

/// One word of an identification field.
fn subfield(text: &str, name: &'static str, facts: &mut Facts) -> Result<String, FormatError> {
    let plain = ascii(text);
    if plain != text {
        facts.lose(name, text)?;
    }
    let word = plain.trim().replace(' ', "_");
    Ok(if word.is_empty() {
        "X".to_owned()
    } else {
        word
    })
}

/// `code sex birthdate name`.
fn patient(recording: &Recording, facts: &mut Facts) -> Result<String, FormatError> {
    let patient = &recording.patient;
    facts.lose_text("age", patient.age.as_ref())?;
    let mut word =
        |text: &Option<String>| subfield(text.as_deref().unwrap_or_default(), "patient", facts);
    let (id, name) = (word(&patient.id)?, word(&patient.name)?);
    let sex = match patient.sex.as_deref() {
        Some("M" | "m" | "Male" | "male" | "MALE") => "M",
        Some("F" | "f" | "Female" | "female" | "FEMALE") => "F",
        other => {
            facts.lose("sex", other.unwrap_or_default())?;
            "X"
        }
    };
    let birth = match &patient.birth_date {
        Some(stated) => match triple(stated, '-').and_then(edf_date) {
            Some(date) => date,
            None => {
                facts.lose("birth date", stated)?;
                "X".to_owned()
            }
        },
        None => "X".to_owned(),
    };
    let text = format!("{id} {sex} {birth} {name}");
    if text.len() > 80 {
        facts.lose("patient", &text)?;
    }
    Ok(text)
}

/// `dd-MMM-yyyy`.
fn edf_date([year, month, day]: [u16; 3]) -> Option<String> {
    let month = MONTHS.get(usize::from(month).checked_sub(1)?)?;
    (1..=31)
        .contains(&day)
        .then(|| format!("{day:02}-{month}-{year:04}"))
}

/// Start as `dd-MMM-yyyy`, `dd.mm.yy` and `hh.mm.ss`.
fn start(
    recording: &Recording,
    facts: &mut Facts,
) -> Result<(String, String, String), FormatError> {
    let moment = Moment::of(recording);
    let zone = recording
        .start
        .as_ref()
        .and_then(|start| start.utc_offset_minutes);
    if let Some(minutes) = zone {
        facts.lose("offset from UTC", &format!("{minutes} min"))?;
    }
    if moment == Moment::default() {
        let start = recording.start.as_ref().map(|start| &start.local);
        facts.lose_text("start", start)?;
    }
    let [hour, minute, second] = moment.time.unwrap_or([0, 0, 0]);
    let time = format!("{hour:02}.{minute:02}.{second:02}");
    // Two digits stand for 1985 to 2084; other years are only in the recording field.
    let (long, short) = match moment.date {
        Some([year, month, day]) => {
            let long = edf_date([year, month, day]).unwrap_or_else(|| "X".to_owned());
            let short = if (1985..=2084).contains(&year) {
                format!("{day:02}.{month:02}.{:02}", year % 100)
            } else {
                format!("{day:02}.{month:02}.yy")
            };
            (long, short)
        }
        None => ("X".to_owned(), "01.01.85".to_owned()),
    };
    Ok((long, short, time))
}
