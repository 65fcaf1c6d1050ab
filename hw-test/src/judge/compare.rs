//! Holds what was filed against what the sensor sent: every sample, every absence.
//!
//! Samples are matched by their values alone, in order: the judge believes neither side's
//! numbering. Deliberately absent: FHIR and the ledger's file format.

use std::collections::BTreeMap;

/// How many rows must agree to find a filed stretch again after an absence.
const ANCHOR_ROWS: usize = 25;

/// One row that the sensor put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentRow {
    /// Its place on the sensor's own time line, in samples since the visit began; samples that
    /// the sensor took and never sent leave holes in this numbering.
    pub(crate) at: u64,
    /// Counts of the measured leads, in the ledger's order.
    pub(crate) counts: Vec<i32>,
}

/// A contiguous stretch as the record shows it.
#[derive(Clone, Debug)]
pub(crate) struct FiledSpan {
    /// Where it is shown, for messages.
    pub(crate) reference: String,
    /// Counts by lead.
    pub(crate) leads: BTreeMap<String, Vec<i64>>,
}

/// An absence as the record states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatedGap {
    /// Samples that are missing.
    pub(crate) len: u64,
    /// How far `len` may be wrong.
    pub(crate) uncertainty: u64,
    /// Stable name of the cause.
    pub(crate) cause: String,
    /// Samples filed before it.
    pub(crate) after: u64,
}

/// How much longer than the truth a killed box may state its absence: it measures it by when the
/// first frame reached it, which on a machine with other work is late.
const STOPPED_BEYOND_MS: u64 = 500;

/// How much a box that could not look at its port may state as lost that came after all.
const STALLED_AT_MOST_MS: u64 = 5_000;

impl StatedGap {
    /// Whether it states a loss of whole turns of the sensor's counter, which begins again after
    /// `modulus` frames, of a few seconds in all: a box that was stalled cannot tell it from none.
    fn is_of_stalled_box(&self, rate_hz: u32, modulus: Option<u64>) -> bool {
        let turns = modulus.is_some_and(|turn| self.len.is_multiple_of(turn));
        self.cause == "frames-lost" && turns && self.len <= samples(STALLED_AT_MOST_MS, rate_hz)
    }

    /// Whether a killed box states this absence, and a little more of it than there is.
    fn exceeds(&self, found: &FoundGap, rate_hz: u32) -> bool {
        let beyond = self.len.checked_sub(found.len);
        self.cause == "box-stopped"
            && found.after == self.after
            && beyond.is_some_and(|more| more <= samples(STOPPED_BEYOND_MS, rate_hz))
    }
}

fn samples(ms: u64, rate_hz: u32) -> u64 {
    ms * u64::from(rate_hz) / 1_000
}

/// An absence as the comparison found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundGap {
    /// Samples filed before it.
    pub(crate) after: u64,
    /// The first of them on the sensor's time line.
    pub(crate) from: u64,
    /// Samples missing on the sensor's time line.
    pub(crate) len: u64,
    /// Rows of these that were on the wire.
    pub(crate) sent_unfiled: u64,
}

/// What the comparison says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Rows that were sent.
    pub(crate) sent: u64,
    /// Rows that were filed and are equal, every lead.
    pub(crate) equal: u64,
    /// Leads compared, the derived ones among them.
    pub(crate) leads: Vec<String>,
    /// Absences that were found.
    pub(crate) gaps: Vec<FoundGap>,
    /// Those of them that no gap states: wrong as well, unless something else explains them.
    pub(crate) unstated: Vec<FoundGap>,
    /// Stated gaps that fit no absence: wrong as well, unless they are part of a longer one.
    pub(crate) superfluous: Vec<StatedGap>,
    /// Rows at the end that were sent and not filed: wrong as well, unless the box was stopped.
    pub(crate) tail: u64,
    /// What else is wrong, one line each.
    pub(crate) differences: Vec<String>,
}

impl Verdict {
    /// Takes out what stalled or killed boxes state beyond the truth; how many stated gaps. Too much
    /// is said to be missing there, and not too little.
    pub(crate) fn forgive_overstated(&mut self, rate_hz: u32, modulus: Option<u64>) -> usize {
        let (stated, unstated) = (self.superfluous.clone(), &mut self.unstated);
        self.superfluous.retain(|gap| {
            !gap.is_of_stalled_box(rate_hz, modulus)
                && !unstated.iter().any(|found| gap.exceeds(found, rate_hz))
        });
        unstated.retain(|found| !stated.iter().any(|gap| gap.exceeds(found, rate_hz)));
        stated.len() - self.superfluous.len()
    }

    /// Everything that is wrong when nothing but the visit happened. Empty: all is well.
    pub(crate) fn all_differences(&self) -> Vec<String> {
        let mut all = self.differences.clone();
        all.extend(self.unstated.iter().map(|gap| {
            format!(
                "after sample {} {} sample(s) are missing and no gap says so",
                gap.after, gap.len
            )
        }));
        all.extend(self.superfluous.iter().map(|gap| {
            format!(
                "a gap of {} sample(s) ({}) is stated after sample {} where nothing is missing",
                gap.len, gap.cause, gap.after
            )
        }));
        if self.tail > 0 {
            all.push(format!(
                "the last {} sample(s) sent were not filed",
                self.tail
            ));
        }
        all
    }
}

/// Compares `sent`, in the order of sending, with `filed`, in the order of time. `measured`
/// names the leads of each row.
pub(crate) fn compare(
    measured: &[String],
    sent: &[SentRow],
    filed: &[FiledSpan],
    stated: &[StatedGap],
) -> Verdict {
    let mut verdict = Verdict {
        sent: count(sent.len()),
        ..Verdict::default()
    };
    let mut next = 0_usize;
    for span in filed {
        check_derived(span, &mut verdict);
        let Some(rows) = rows_of(span, measured, &mut verdict) else {
            continue;
        };
        let Some(found) = find(sent, next, &rows) else {
            verdict.differences.push(format!(
                "{}: {} sample(s) that the sensor never sent after sample {}",
                span.reference,
                rows.len(),
                verdict.equal
            ));
            continue;
        };
        note_gap(sent, next, found, &mut verdict);
        let equal = rows
            .iter()
            .zip(sent.iter().skip(found))
            .take_while(|(row, sent)| **row == sent.counts)
            .count();
        verdict.equal += count(equal);
        if equal < rows.len() {
            verdict.differences.push(format!(
                "{}: sample {} differs from what was sent",
                span.reference, equal
            ));
        }
        next = found + equal;
    }
    verdict.tail = count(sent.len().saturating_sub(next));
    check_gaps(stated, &mut verdict);
    verdict
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The measured leads of a span as rows, in the ledger's order.
fn rows_of(span: &FiledSpan, measured: &[String], verdict: &mut Verdict) -> Option<Vec<Vec<i32>>> {
    let mut columns = Vec::new();
    for lead in measured {
        let Some(column) = span.leads.get(lead) else {
            verdict
                .differences
                .push(format!("{}: lead {lead} is missing", span.reference));
            return None;
        };
        columns.push(column);
    }
    let len = columns.first().map_or(0, |column| column.len());
    if let Some((lead, _)) = measured
        .iter()
        .zip(&columns)
        .find(|(_, column)| column.len() != len)
    {
        verdict.differences.push(format!(
            "{}: lead {lead} has another length",
            span.reference
        ));
        return None;
    }
    (0..len)
        .map(|row| {
            columns
                .iter()
                .map(|column| column.get(row).and_then(|value| i32::try_from(*value).ok()))
                .collect()
        })
        .collect()
}

/// Where `rows` begin in `sent`, at `from` or later.
fn find(sent: &[SentRow], from: usize, rows: &[Vec<i32>]) -> Option<usize> {
    let anchor = rows.get(..ANCHOR_ROWS.min(rows.len()))?;
    let fits = |start: usize| {
        sent.get(start..start + anchor.len()).is_some_and(|run| {
            run.iter()
                .zip(anchor)
                .all(|(sent, row)| sent.counts == *row)
        })
    };
    // The next row in line first: nothing was lost. A flat lead fits everywhere.
    (from..sent.len()).find(|start| fits(*start))
}

fn note_gap(sent: &[SentRow], next: usize, found: usize, verdict: &mut Verdict) {
    let Some(begin) = sent.get(found) else { return };
    let from = match next.checked_sub(1).and_then(|last| sent.get(last)) {
        Some(previous) => previous.at + 1,
        None => sent.first().map_or(begin.at, |first| first.at),
    };
    let len = begin.at.saturating_sub(from);
    if len > 0 {
        verdict.gaps.push(FoundGap {
            after: verdict.equal,
            from,
            len,
            sent_unfiled: count(found - next),
        });
    }
}

/// Stated absences with nothing between them are one.
fn joined(stated: &[StatedGap]) -> Vec<StatedGap> {
    let mut joined: Vec<StatedGap> = Vec::new();
    for gap in stated {
        match joined.last_mut().filter(|last| last.after == gap.after) {
            Some(last) => {
                last.len += gap.len;
                last.uncertainty += gap.uncertainty;
            }
            None => joined.push(gap.clone()),
        }
    }
    joined
}

/// Every absence must be stated at its place and with its length, and no other may be.
fn check_gaps(stated: &[StatedGap], verdict: &mut Verdict) {
    let mut unmatched = joined(stated);
    let mut unstated = Vec::new();
    for found in &verdict.gaps {
        let matching = unmatched.iter().position(|gap| {
            gap.after == found.after && gap.len.abs_diff(found.len) <= gap.uncertainty
        });
        match matching {
            Some(position) => {
                unmatched.remove(position);
            }
            None => unstated.push(found.clone()),
        }
    }
    verdict.unstated = unstated;
    verdict.superfluous = unmatched;
}

/// The four limb leads that follow from I and II, in counts of twice the gain for the
/// augmented ones, computed here anew.
fn check_derived(span: &FiledSpan, verdict: &mut Verdict) {
    for lead in span.leads.keys() {
        if !verdict.leads.contains(lead) {
            verdict.leads.push(lead.clone());
        }
    }
    let (Some(one), Some(two)) = (span.leads.get("I"), span.leads.get("II")) else {
        return;
    };
    let weights = [
        ("III", -1, 1),
        ("aVR", -1, -1),
        ("aVL", 2, -1),
        ("aVF", -1, 2),
    ];
    for (lead, of_one, of_two) in weights {
        let Some(derived) = span.leads.get(lead) else {
            verdict
                .differences
                .push(format!("{}: lead {lead} is missing", span.reference));
            continue;
        };
        let right = one.len() == derived.len()
            && one
                .iter()
                .zip(two)
                .zip(derived)
                .all(|((one, two), got)| of_one * one + of_two * two == *got);
        if !right {
            verdict.differences.push(format!(
                "{}: lead {lead} does not follow from I and II",
                span.reference
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    /// What remains wrong of a stated gap where so much is missing, of a sensor of 250 Hz.
    fn unforgiven(missing: u64, stated: u64, cause: &str) -> (usize, usize) {
        let found = super::FoundGap {
            after: 1_000,
            from: 1_000,
            len: missing,
            sent_unfiled: missing,
        };
        let gap = super::StatedGap {
            len: stated,
            uncertainty: 10,
            cause: cause.to_owned(),
            after: 1_000,
        };
        let mut verdict = super::Verdict {
            unstated: Some(found).into_iter().filter(|gap| gap.len > 0).collect(),
            superfluous: vec![gap],
            ..super::Verdict::default()
        };
        let forgiven = verdict.forgive_overstated(250, Some(256));
        (forgiven, verdict.all_differences().len())
    }

    #[test]
    fn a_killed_box_may_state_a_little_too_much_and_never_too_little() {
        assert_eq!(unforgiven(544, 575, "box-stopped"), (1, 0));
        assert_eq!(unforgiven(544, 520, "box-stopped"), (0, 2));
        assert_eq!(unforgiven(544, 700, "box-stopped"), (0, 2));
        assert_eq!(unforgiven(544, 575, "frames-lost"), (0, 2));
    }

    #[test]
    fn a_stalled_box_may_state_a_few_whole_turns_and_nothing_else() {
        assert_eq!(unforgiven(0, 512, "frames-lost"), (1, 0));
        assert_eq!(unforgiven(0, 513, "frames-lost"), (0, 1));
        assert_eq!(unforgiven(0, 256 * 5, "frames-lost"), (0, 1));
        assert_eq!(unforgiven(0, 512, "box-stopped"), (0, 1));
    }

    use super::{FiledSpan, SentRow, StatedGap, Verdict, compare};

    fn sent(range: std::ops::Range<u64>) -> Vec<SentRow> {
        range
            .map(|at| SentRow {
                at,
                counts: vec![
                    i32::try_from(at * 7 % 101).unwrap(),
                    i32::try_from(at).unwrap(),
                ],
            })
            .collect()
    }

    fn filed(rows: &[SentRow]) -> FiledSpan {
        let column = |lead: usize| rows.iter().map(|row| i64::from(row.counts[lead])).collect();
        FiledSpan {
            reference: "Observation/x".to_owned(),
            leads: [("V1".to_owned(), column(0)), ("V2".to_owned(), column(1))].into(),
        }
    }

    fn judge(sent: &[SentRow], filed: &[FiledSpan], stated: &[StatedGap]) -> Verdict {
        compare(&["V1".to_owned(), "V2".to_owned()], sent, filed, stated)
    }

    #[test]
    fn the_same_samples_in_two_spans_are_equal() {
        let rows = sent(0..100);
        let verdict = judge(&rows, &[filed(&rows[..60]), filed(&rows[60..])], &[]);
        assert_eq!((verdict.equal, verdict.all_differences()), (100, vec![]));
    }

    #[test]
    fn one_changed_count_is_found() {
        let rows = sent(0..100);
        let mut span = filed(&rows);
        span.leads.get_mut("V2").unwrap()[70] += 1;
        assert!(!judge(&rows, &[span], &[]).all_differences().is_empty());
    }

    #[test]
    fn a_lost_tail_and_a_lost_head_are_found() {
        let rows = sent(0..100);
        assert!(
            !judge(&rows, &[filed(&rows[..99])], &[])
                .all_differences()
                .is_empty()
        );
        assert!(
            !judge(&rows, &[filed(&rows[1..])], &[])
                .all_differences()
                .is_empty()
        );
    }

    #[test]
    fn a_gap_must_be_stated_at_its_place_with_its_length() {
        let mut rows = sent(0..40);
        rows.extend(sent(50..100));
        let spans = [filed(&rows[..40]), filed(&rows[40..])];
        let gap = |after, len| StatedGap {
            len,
            uncertainty: 0,
            cause: "frames-lost".to_owned(),
            after,
        };
        assert_eq!(
            judge(&rows, &spans, &[gap(40, 10)]).all_differences(),
            Vec::<String>::new()
        );
        assert!(!judge(&rows, &spans, &[]).all_differences().is_empty());
        assert!(
            !judge(&rows, &spans, &[gap(40, 11)])
                .all_differences()
                .is_empty()
        );
        assert!(
            !judge(&rows, &spans, &[gap(39, 10)])
                .all_differences()
                .is_empty()
        );
        assert!(
            !judge(&rows, &spans, &[gap(40, 10), gap(60, 5)])
                .all_differences()
                .is_empty()
        );
    }

    #[test]
    fn samples_sent_but_not_filed_are_a_gap_that_must_be_stated() {
        let rows = sent(0..100);
        let spans = [filed(&rows[..40]), filed(&rows[50..])];
        assert!(!judge(&rows, &spans, &[]).all_differences().is_empty());
        let stated = StatedGap {
            len: 12,
            uncertainty: 3,
            cause: "box-stopped".to_owned(),
            after: 40,
        };
        assert_eq!(
            judge(&rows, &spans, &[stated]).all_differences(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn absences_with_nothing_between_them_are_one_and_a_head_may_be_stated() {
        let rows = sent(0..100);
        let gap = |after, len| StatedGap {
            len,
            uncertainty: 1,
            cause: "box-stopped".to_owned(),
            after,
        };
        let spans = [filed(&rows[10..40]), filed(&rows[70..])];
        let stated = [gap(0, 10), gap(30, 20), gap(30, 10)];
        assert_eq!(
            judge(&rows, &spans, &stated).all_differences(),
            Vec::<String>::new()
        );
        assert!(
            !judge(&rows, &spans, &stated[..2])
                .all_differences()
                .is_empty()
        );
        assert!(
            !judge(&rows, &spans, &stated[1..])
                .all_differences()
                .is_empty()
        );
    }

    #[test]
    fn derived_leads_are_computed_again() {
        let mut span = FiledSpan {
            reference: "Observation/x".to_owned(),
            leads: [
                ("I", vec![2]),
                ("II", vec![5]),
                ("III", vec![3]),
                ("aVR", vec![-7]),
                ("aVL", vec![-1]),
                ("aVF", vec![8]),
            ]
            .map(|(lead, counts)| (lead.to_owned(), counts))
            .into(),
        };
        let sent = [SentRow {
            at: 0,
            counts: vec![2, 5],
        }];
        let leads = ["I".to_owned(), "II".to_owned()];
        assert_eq!(
            compare(&leads, &sent, std::slice::from_ref(&span), &[]).all_differences(),
            Vec::<String>::new()
        );
        span.leads.insert("aVF".to_owned(), vec![9]);
        assert_eq!(
            compare(&leads, &sent, &[span], &[]).all_differences().len(),
            1
        );
    }
}
