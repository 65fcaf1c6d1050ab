//! Comments, header and lines of a table, before they mean anything.

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;

use super::cell::{DECIMALS_MAX, Decimal, is_absent};
use crate::error::FormatError;
use crate::rows::Rows;
use crate::sniff::FormatId;

/// How lines are placed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One after another.
    InOrder,
    /// By a sample index in the first column.
    Index,
    /// By seconds in the first column.
    Seconds,
}

/// A table as text.
#[derive(Debug)]
pub(super) struct Table<'a> {
    comments: Vec<(&'a str, &'a str)>,
    pub(super) labels: Vec<&'a str>,
    pub(super) place: Place,
    pub(super) header_line: u64,
    separator: char,
    body: Vec<(u64, &'a str)>,
}

/// Comments that mean something.
const KNOWN: [&str; 6] = [
    "rate_hz",
    "gain_adu_per_mv",
    "baseline_adu",
    "unit",
    "start",
    "record",
];

impl<'a> Table<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, FormatError> {
        let mut table = Self {
            comments: Vec::new(),
            labels: Vec::new(),
            place: Place::InOrder,
            header_line: 1,
            separator: ',',
            body: Vec::new(),
        };
        for (number, line) in (1_u64..).zip(text.lines()) {
            let line = line.trim_end();
            if let Some(comment) = line.strip_prefix('#') {
                let (key, value) = comment.split_once(':').unwrap_or(("", comment));
                table.comments.push((key.trim(), value.trim()));
            } else if line.is_empty() {
            } else if table.labels.is_empty() {
                table.header(number, line)?;
            } else {
                table.body.push((number, line));
            }
        }
        if table.labels.is_empty() {
            let want = "a line with the names of the leads";
            return Err(table.invalid("header line", 1, "absent", want));
        }
        Ok(table)
    }

    fn header(&mut self, number: u64, line: &'a str) -> Result<(), FormatError> {
        let found = [';', '\t', ','].into_iter().find(|c| line.contains(*c));
        self.separator = found.unwrap_or(',');
        self.header_line = number;
        let mut labels: Vec<&str> = line.split(self.separator).map(str::trim).collect();
        if labels.iter().all(|label| label.parse::<f64>().is_ok()) {
            let want = "names of the leads, not numbers";
            return Err(self.invalid("header line", number, line, want));
        }
        let first = labels.first().map(|label| label.to_ascii_lowercase());
        self.place = match first.as_deref() {
            Some("sample" | "index") => Place::Index,
            Some("time_s" | "time [s]" | "time (s)" | "seconds") => Place::Seconds,
            _ => Place::InOrder,
        };
        if self.place != Place::InOrder {
            labels.remove(0);
        }
        if labels.is_empty() || labels.iter().any(|label| label.is_empty()) {
            return Err(self.invalid("header line", number, line, "a name for every column"));
        }
        self.labels = labels;
        Ok(())
    }

    pub(super) fn invalid(
        &self,
        field: &'static str,
        line: u64,
        found: &str,
        want: &'static str,
    ) -> FormatError {
        FormatError::Invalid {
            format: FormatId::Csv,
            field,
            offset: line,
            found: format!("{:?}", found.chars().take(60).collect::<String>()),
            want,
        }
    }

    pub(super) fn comment(&self, key: &str) -> Option<&'a str> {
        self.comments
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| *value)
    }

    pub(super) fn other_comments(&self) -> Vec<(String, String)> {
        self.comments
            .iter()
            .filter(|(name, _)| !KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)))
            .map(|(name, value)| {
                let name = if name.is_empty() { "comment" } else { name };
                (name.to_owned(), (*value).to_owned())
            })
            .collect()
    }

    /// A number that a comment states, for all columns or one for each.
    pub(super) fn number_for(
        &self,
        key: &'static str,
        position: usize,
    ) -> Result<Option<f64>, FormatError> {
        let Some(value) = self.comment(key) else {
            return Ok(None);
        };
        let words: Vec<&str> = value
            .split([',', ';', ' ', '\t'])
            .filter(|word| !word.is_empty())
            .collect();
        let word = match words.as_slice() {
            [only] => Some(only),
            many => many.get(position),
        };
        word.and_then(|word| word.parse::<f64>().ok())
            .map(Some)
            .ok_or_else(|| self.invalid(key, 1, value, "one number, or one for each column"))
    }

    /// The stated rate, or the one that the seconds of the first two lines give.
    pub(super) fn rate(&self) -> Result<SamplingRate, FormatError> {
        let want = "a comment line `# rate_hz: <number>` before the header";
        let hz = match self.number_for("rate_hz", 0)? {
            Some(hz) => Some(hz),
            None if self.place == Place::Seconds => self.rate_of_seconds(),
            None => None,
        };
        let hz = hz.ok_or_else(|| self.invalid("rate_hz", 1, "absent", want))?;
        SamplingRate::from_hz(hz)
            .map_err(|_| self.invalid("rate_hz", 1, &hz.to_string(), "a rate above zero"))
    }

    fn rate_of_seconds(&self) -> Option<f64> {
        let (first, second) = (self.body.first()?, self.body.get(1)?);
        let step = self.seconds(second.1)? - self.seconds(first.1)?;
        (step > 0.0).then(|| (1e3 / step).round() / 1e3)
    }

    fn seconds(&self, line: &str) -> Option<f64> {
        let cell = line.split(self.separator).next()?.trim();
        let plain = cell.replace(',', ".");
        plain
            .parse()
            .ok()
            .filter(|seconds: &f64| seconds.is_finite())
    }

    /// The most decimals in each column.
    pub(super) fn decimals(&self) -> Result<Vec<u32>, FormatError> {
        let mut most = vec![0_u32; self.labels.len()];
        for (number, line) in &self.body {
            let mut count = 0_usize;
            for (cell, most) in self.cells(line).zip(&mut most) {
                count += 1;
                if !is_absent(cell) {
                    *most = self.decimal(cell, *number)?.decimals.max(*most);
                }
            }
            if count < self.labels.len() || self.cells(line).count() > self.labels.len() {
                let want = "as many cells as the header has columns";
                return Err(self.invalid("line", *number, line, want));
            }
        }
        if let Some(many) = most.iter().find(|most| **most > DECIMALS_MAX) {
            return Err(FormatError::Unsupported {
                format: FormatId::Csv,
                field: "column",
                offset: self.header_line,
                found: format!("written with {many} decimals"),
            });
        }
        Ok(most)
    }

    /// The cells of the leads.
    fn cells(&self, line: &'a str) -> impl Iterator<Item = &'a str> {
        let placed = usize::from(self.place != Place::InOrder);
        line.split(self.separator).skip(placed).map(str::trim)
    }

    fn decimal(&self, cell: &str, line: u64) -> Result<Decimal, FormatError> {
        Decimal::parse(cell, self.separator != ',')
            .ok_or_else(|| self.invalid("sample", line, cell, "a number, or nothing"))
    }

    /// Puts every sample in its place.
    pub(super) fn fill(
        &self,
        decimals: &[u32],
        rate: SamplingRate,
        rows: &mut Rows,
    ) -> Result<(), FormatError> {
        let mut start = None;
        let mut at = SampleIndex(0);
        for (number, line) in &self.body {
            let index = self.index_of(line, *number, rate)?.unwrap_or(at.0);
            let origin = *start.get_or_insert(if self.place == Place::Seconds {
                index
            } else {
                0
            });
            let index = SampleIndex(index.saturating_sub(origin));
            if index < at {
                let want = "an instant after the line before";
                return Err(self.invalid("time", *number, line, want));
            }
            at = index.after(SampleCount(1));
            for (position, (cell, decimals)) in self.cells(line).zip(decimals).enumerate() {
                let Some(row) = rows.row(position) else {
                    continue;
                };
                if is_absent(cell) {
                    row.place(at, &[]);
                    continue;
                }
                let count = self.decimal(cell, *number)?.count(*decimals);
                let want = "a count of 32 bits";
                let sample = count.ok_or_else(|| self.invalid("sample", *number, cell, want))?;
                row.place(index, &[sample]);
            }
        }
        Ok(())
    }

    fn index_of(
        &self,
        line: &str,
        number: u64,
        rate: SamplingRate,
    ) -> Result<Option<u64>, FormatError> {
        let cell = line.split(self.separator).next().unwrap_or_default().trim();
        match self.place {
            Place::InOrder => Ok(None),
            Place::Index => cell
                .parse()
                .map(Some)
                .map_err(|_| self.invalid("sample", number, cell, "a sample index")),
            Place::Seconds => {
                let seconds = self.seconds(line).filter(|seconds| *seconds >= 0.0);
                let nearest = seconds.map(|seconds| (seconds * rate.as_hz()).round());
                #[expect(
                    clippy::as_conversions,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "not negative, and below 2^53: checked on the same line"
                )]
                let index = nearest.filter(|at| *at < 9e15).map(|at| at as u64);
                index
                    .map(Some)
                    .ok_or_else(|| self.invalid("time", number, cell, "seconds, not negative"))
            }
        }
    }
}
