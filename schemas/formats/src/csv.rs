//! Comma-separated values: one line per instant, one column per lead.
//!
//! What is read: comment lines `# key: value` before the header (`rate_hz`,
//! `gain_adu_per_mv`, `baseline_adu`, `unit`, `start`, `record`; a gain or baseline may list one
//! number per column), a header line with the names of the leads (a unit may follow in
//! brackets: `II [mV]`), then numbers separated by comma, semicolon or tab. An empty cell
//! or `nan` is absence. A first column `sample` or `index` places each line, and a jump is
//! a gap; a first column `time_s` does the same in seconds and gives the rate when no
//! comment states one. Whole numbers are counts. Decimal numbers become counts without
//! rounding: a column with three decimals is kept in thousandths. Beside semicolons or
//! tabs a comma is a decimal point. A last line without its line end may be cut in the middle of
//! a number and is left out.
//!
//! Deliberately absent: quoting, exponents beyond nine decimals, several rates in a file.

mod cell;
mod table;
pub(crate) mod write;

use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, StatedStart, Waveform};

use crate::error::FormatError;
use crate::fields::len64;
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::text::lossless;
use crate::warnings::Warnings;
use table::Table;

/// The longest file that is read.
const FILE_LIMIT: u64 = 1 << 30;

/// Opens a table; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::Csv, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&lossless(&bytes), stem, options)?;
    Ok(Box::new(Whole::new(FormatId::Csv, recording)))
}

/// Reads a table.
///
/// # Errors
/// [`FormatError`] with the line as its offset.
pub fn decode(text: &str, name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::Csv, options.strict);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (text, cut) = whole_lines(text);
    let table = Table::parse(text)?;
    if cut {
        let why = "it has no line end, may be cut, and is left out".to_owned();
        let number = text.lines().count().saturating_add(1);
        warnings.tell("last line", len64(number), why)?;
    }
    let rate = table.rate()?;
    let decimals = table.decimals()?;
    let mut waveforms = Vec::new();
    for (position, (label, decimals)) in table.labels.iter().zip(&decimals).enumerate() {
        waveforms.push(row(
            &table,
            position,
            label,
            *decimals,
            rate,
            &mut warnings,
        )?);
    }
    let mut rows = Rows::new(waveforms.len());
    table.fill(&decimals, rate, &mut rows)?;
    for (waveform, runs) in waveforms.iter_mut().zip(rows.take()) {
        waveform.runs = runs;
    }
    Ok(Recording {
        format: FormatId::Csv.name(),
        name: table.comment("record").unwrap_or(name).to_owned(),
        start: table.comment("start").map(|local| StatedStart {
            local: local.to_owned(),
            utc_offset_minutes: None,
        }),
        waveforms,
        remarks: table.other_comments(),
        warnings: warnings.take(),
        ..Recording::default()
    })
}

/// The lines that have an end, and whether anything follows them.
fn whole_lines(text: &str) -> (&str, bool) {
    let end = text.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let (lines, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (lines, !rest.trim().is_empty())
}

/// A row without samples.
fn row(
    table: &Table<'_>,
    position: usize,
    label: &str,
    decimals: u32,
    rate: SamplingRate,
    warnings: &mut Warnings,
) -> Result<Waveform, FormatError> {
    let (label, bracketed) = match label.split_once(['[', '(']) {
        Some((label, unit)) => (label.trim(), Some(unit.trim_end_matches([']', ')']))),
        None => (label, None),
    };
    let per_mv = table.number_for("gain_adu_per_mv", position)?;
    let baseline = table.number_for("baseline_adu", position)?.unwrap_or(0.0);
    let unit = match (per_mv, bracketed, table.comment("unit")) {
        (Some(_), _, _) => "mV",
        (None, Some(unit), _) | (None, None, Some(unit)) => unit,
        (None, None, None) => {
            let why = format!("no gain and no unit stated for {label:?}");
            warnings.tell("gain_adu_per_mv", table.header_line, why)?;
            ""
        }
    };
    let fine = 10_f64.powi(i32::try_from(decimals).unwrap_or(0));
    let gain = per_mv.unwrap_or(1.0) * fine;
    let calibration = calibration(gain, baseline * fine, unit).map_err(|error| {
        table.invalid(
            "gain_adu_per_mv",
            table.header_line,
            &error.gain.to_string(),
            "a finite number other than zero",
        )
    })?;
    Ok(Waveform {
        label: label.to_owned(),
        kind: kind_of(label, calibration.unit()),
        rate,
        calibration,
        runs: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::table::Place;
    use super::{Table, decode};
    use crate::read::ReadOptions;
    use cardio_core::index::SampleIndex;
    use proptest::prelude::*;

    #[test]
    fn counts_are_kept_with_the_stated_rate_and_gain() {
        let text = "# rate_hz: 500\n# gain_adu_per_mv: 200\nI,V2\n1,-2\n3,\n5,6\n";
        let recording = decode(text, "x", ReadOptions::default()).unwrap();
        assert_eq!(recording.waveforms.len(), 2);
        let first = &recording.waveforms[0];
        assert_eq!(first.contiguous().unwrap(), [1, 3, 5]);
        assert_eq!(first.calibration.gain_adu_per_mv(), Some(200.0));
        assert_eq!(first.rate.as_hz(), 500.0);
        let gaps = recording.waveforms[1].gaps();
        assert_eq!((gaps[0].from, gaps[0].len.0), (SampleIndex(1), 1));
        assert!(recording.warnings.is_empty());
    }

    #[test]
    fn decimals_become_counts_without_rounding() {
        let text = "time_s;II [mV]\r\n0;0,125\r\n0,002;-1,5\r\n0,008;2\r\n";
        let recording = decode(text, "x", ReadOptions::default()).unwrap();
        let row = &recording.waveforms[0];
        assert_eq!(row.rate.as_hz(), 500.0);
        assert_eq!(row.runs[0].samples, [125, -1500]);
        assert_eq!(row.runs[1].first, SampleIndex(4));
        assert_eq!(row.calibration.gain_adu_per_mv(), Some(1000.0));
    }

    #[test]
    fn a_last_line_without_its_end_is_left_out_and_told() {
        let text = "# rate_hz: 500\n# gain_adu_per_mv: 200\nI,II\n1,2\n3,45";
        let recording = decode(text, "x", ReadOptions::default()).unwrap();
        assert_eq!(recording.waveforms[1].contiguous().unwrap(), [2]);
        assert_eq!(recording.warnings.len(), 1, "{:?}", recording.warnings);
        let strict = ReadOptions {
            strict: true,
            ..ReadOptions::default()
        };
        let error = decode(text, "x", strict).unwrap_err();
        assert_eq!((error.code(), error.offset()), ("format.strict", Some(5)));
    }

    #[test]
    fn a_table_without_a_rate_says_what_to_add() {
        let error = decode("I,II\n1,2\n", "x", ReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("rate_hz"), "{error}");
    }

    #[test]
    fn a_word_among_the_numbers_names_its_line() {
        let text = "# rate_hz: 500\nI,II\n1,2\n3,oops\n";
        let error = decode(text, "x", ReadOptions::default()).unwrap_err();
        assert_eq!((error.code(), error.offset()), ("format.invalid", Some(4)));
    }

    #[test]
    fn a_first_column_of_indexes_places_each_line() {
        let table = Table::parse("# rate_hz: 10\nsample\tI\n0\t1\n7\t2\n").unwrap();
        assert_eq!(table.place, Place::Index);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[#a-z0-9 .,;:\\-\n\t]{0,200}") {
            let _ = decode(&text, "x", ReadOptions::default());
        }
    }
}
