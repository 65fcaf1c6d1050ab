//! How long a record is, and where each one begins.

use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Run, Waveform};

use crate::edf::tal::nanos;
use crate::error::FormatError;
use crate::fields::len64;
use crate::write::Facts;

pub(super) const NANOS: i128 = 1_000_000_000;
/// The longest record in bytes that EDF recommends.
const RECORD_BYTES_MAX: usize = 61_440;

/// One record: which run, how many records of it lie before, and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) run: usize,
    pub(super) within: usize,
    pub(super) start_nanos: i128,
}

/// The records of a file.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) per_record: Vec<usize>,
    pub(super) duration: String,
    pub(super) records: Vec<Record>,
    pub(super) has_gaps: bool,
    pub(super) padded_from_nanos: Option<i128>,
    rate: SamplingRate,
}

impl Plan {
    /// Chooses the longest record up to a second that divides every run.
    pub(super) fn of(rows: &[Waveform], facts: &mut Facts) -> Result<Self, FormatError> {
        let Some(first) = rows.first() else {
            return Err(facts.refuse("recording", "it has no waveform".to_owned()));
        };
        let runs = filled_runs(first);
        for row in rows {
            same_places(first, row, facts)?;
        }
        if runs.first().is_none_or(|run| run.first != SampleIndex(0)) {
            return Err(facts.refuse("gap", "before the first sample".to_owned()));
        }
        let last_end = runs.last().map_or(SampleIndex(0), |run| run.end());
        if first.end() > last_end {
            facts.lose("gap", "behind the last sample")?;
        }
        let lengths: Vec<usize> = runs.iter().map(|run| run.samples.len()).collect();
        let (before, last) = match lengths.split_last() {
            Some((last, before)) => (before, *last),
            None => (&[][..], 0),
        };
        let fits = |length: &usize, many: usize| length.is_multiple_of(many);
        let works = |many: usize| before.iter().all(|length| fits(length, many));
        let choices = choices(rows, first.rate);
        let exact = choices
            .iter()
            .find(|choice| works(choice.0) && fits(&last, choice.0));
        let chosen = match exact {
            Some(chosen) => chosen,
            None => {
                let padded = choices
                    .iter()
                    .find(|choice| works(choice.0))
                    .ok_or_else(|| {
                        let why =
                            "no record duration divides all stretches between gaps".to_owned();
                        facts.refuse("gap", why)
                    })?;
                let extra = padded.0 - last % padded.0;
                let why = format!("the last record is filled up with {extra} value(s)");
                facts.lose("end of the recording", &why)?;
                padded
            }
        };
        let (many, per_record, duration) = chosen;
        let mut records = Vec::new();
        for (position, run) in runs.iter().enumerate() {
            for within in 0..run.samples.len().div_ceil(*many) {
                let offset = len64(within.saturating_mul(*many));
                let index = SampleIndex(run.first.0.saturating_add(offset));
                records.push(Record {
                    run: position,
                    within,
                    start_nanos: nanos_at(first.rate, index),
                });
            }
        }
        Ok(Self {
            per_record: per_record.clone(),
            duration: duration.clone(),
            records,
            has_gaps: runs.len() > 1,
            padded_from_nanos: exact.is_none().then(|| nanos_at(first.rate, last_end)),
            rate: first.rate,
        })
    }

    /// The time of an instant on the first row's time line.
    pub(super) fn nanos_of(&self, at: SampleIndex) -> i128 {
        nanos_at(self.rate, at)
    }
}

fn nanos_at(rate: SamplingRate, at: SampleIndex) -> i128 {
    let (samples, seconds) = rate.as_ratio();
    let above = i128::from(at.0)
        .saturating_mul(i128::from(seconds))
        .saturating_mul(NANOS);
    (above + i128::from(samples) / 2) / i128::from(samples)
}

pub(super) fn filled_runs(row: &Waveform) -> Vec<&Run> {
    row.runs.iter().filter(|run| !run.is_empty()).collect()
}

/// All rows must have their gaps at the same times, or one record cannot hold them.
fn same_places(first: &Waveform, row: &Waveform, facts: &Facts) -> Result<(), FormatError> {
    let place = |row: &Waveform, at: SampleIndex| {
        let (samples, seconds) = row.rate.as_ratio();
        (u128::from(at.0) * u128::from(seconds), u128::from(samples))
    };
    let same = |a: SampleIndex, b: SampleIndex| {
        let (above, below) = place(first, a);
        let (other_above, other_below) = place(row, b);
        above * other_below == other_above * below
    };
    let (runs, others) = (filled_runs(first), filled_runs(row));
    let equal = runs.len() == others.len()
        && runs
            .iter()
            .zip(&others)
            .all(|(a, b)| same(a.first, b.first) && same(a.end(), b.end()));
    if equal {
        return Ok(());
    }
    let why = format!(
        "{} and {} have samples at different times",
        first.label, row.label
    );
    Err(facts.refuse("gap", why))
}

/// Record sizes: samples of the first row, of every row, and the duration as text; the
/// longest first.
fn choices(rows: &[Waveform], rate: SamplingRate) -> Vec<(usize, Vec<usize>, String)> {
    let (samples, seconds) = rate.as_ratio();
    let most = usize::try_from((samples / seconds).max(1)).unwrap_or(1);
    let size = |many: usize| {
        let duration = duration(many, rate)?;
        let per_record = rows
            .iter()
            .map(|row| {
                let (own, own_seconds) = row.rate.as_ratio();
                let above = len64(many) * u64::from(own) * u64::from(seconds);
                let below = u64::from(own_seconds) * u64::from(samples);
                above
                    .is_multiple_of(below)
                    .then(|| usize::try_from(above / below).ok())?
            })
            .collect::<Option<Vec<usize>>>()?;
        let bytes = per_record.iter().sum::<usize>().saturating_mul(2);
        (bytes <= RECORD_BYTES_MAX).then_some((many, per_record, duration))
    };
    (1..=most.min(1 << 16)).rev().filter_map(size).collect()
}

/// The duration of a record in at most eight characters, if that is exact.
fn duration(many: usize, rate: SamplingRate) -> Option<String> {
    let (samples, seconds) = rate.as_ratio();
    let above = i128::from(len64(many)) * i128::from(seconds) * NANOS;
    let exact = above / i128::from(samples);
    if above % i128::from(samples) != 0 {
        return None;
    }
    let text = super::onset(exact);
    let text = text.trim_start_matches('+').to_owned();
    (text.len() <= 8 && nanos(&text) == Some(exact)).then_some(text)
}
