//! From exams and alerts to figures.
//!
//! A *visit* is one patient's exams of one kind with a person attending, each begun within two
//! hours of the end of the one before. Its first exam is the *first try*; an exam counts as
//! acceptable when one whole window of it is. An exam without a patient is a visit of its own.

use std::collections::BTreeMap;

use cardio_fhir::indicator::Figure;

/// How long after an exam another one is still the same visit, in microseconds.
const VISIT_US: i64 = 2 * 3_600_000_000;

/// One exam.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ExamFacts {
    /// ecg-12, ecg, holter, auscultation or file.
    pub(super) kind: &'static str,
    /// The patient, to tell visits apart.
    pub(super) subject: Option<String>,
    /// Whether a person attended.
    pub(super) attended: bool,
    /// Its start and end, in microseconds of wall time.
    pub(super) start_us: i64,
    pub(super) end_us: i64,
    /// When its first whole acceptable window ended.
    pub(super) good_us: Option<i64>,
    /// Windows of each contact, as model and lead, and for each cause how many were insufficient
    /// because of it.
    pub(super) contacts: BTreeMap<String, ContactFacts>,
    /// From the making of each segment to its receipt, in microseconds, where vouched for.
    pub(super) delays_us: Vec<i64>,
}

/// The windows of one lead of one model of sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContactFacts {
    pub(super) windows: u64,
    pub(super) causes: BTreeMap<&'static str, u64>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlertFacts {
    pub(super) priority: String,
    /// From raising to acknowledging, in microseconds.
    pub(super) taken_us: Option<i64>,
}

/// All figures, those of one indicator together.
pub(super) fn figures(exams: &[ExamFacts], alerts: &[AlertFacts]) -> Vec<Figure> {
    let mut figures = counts(exams);
    let visits = visits(exams);
    figures.extend(tries(&visits));
    figures.extend(causes(exams));
    figures.extend(times(
        ["time-to-first-good", "time-to-first-good-p90"],
        visits.iter().filter_map(|visit| {
            let first = visit.first()?;
            let good = visit.iter().find_map(|exam| exam.good_us)?;
            Some((first.kind.to_owned(), good.saturating_sub(first.start_us)))
        }),
    ));
    figures.extend(times(
        ["capture-to-receipt", "capture-to-receipt-p90"],
        exams.iter().flat_map(|exam| {
            let delays = exam.delays_us.iter();
            delays.map(|delay| (exam.kind.to_owned(), *delay))
        }),
    ));
    figures.extend(taken(alerts));
    figures.extend(times(
        ["acknowledgement-time", "acknowledgement-time-p90"],
        alerts
            .iter()
            .filter_map(|alert| Some((alert.priority.clone(), alert.taken_us?))),
    ));
    figures
}

fn counts(exams: &[ExamFacts]) -> Vec<Figure> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for exam in exams {
        *counts.entry(exam.kind).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(kind, count)| Figure {
            indicator: "exams",
            stratum: kind.to_owned(),
            denominator: count,
            numerator: None,
            value: u32::try_from(count).ok().map(f64::from),
            unit: "{exam}",
        })
        .collect()
}

/// Exams with a person attending, visit by visit, each in the order of time.
fn visits(exams: &[ExamFacts]) -> Vec<Vec<&ExamFacts>> {
    let mut attended: Vec<&ExamFacts> = exams.iter().filter(|exam| exam.attended).collect();
    attended.sort_by_key(|exam| (exam.kind, &exam.subject, exam.start_us));
    let mut visits: Vec<Vec<&ExamFacts>> = Vec::new();
    for exam in attended {
        let goes_on = |before: &&ExamFacts| {
            before.kind == exam.kind
                && before.subject.is_some()
                && before.subject == exam.subject
                && exam.start_us.saturating_sub(before.end_us) <= VISIT_US
        };
        match visits.last_mut() {
            Some(visit) if visit.last().is_some_and(goes_on) => visit.push(exam),
            _ => visits.push(vec![exam]),
        }
    }
    visits
}

/// How often the first try is acceptable, and how often trying again helped.
fn tries(visits: &[Vec<&ExamFacts>]) -> Vec<Figure> {
    let mut first: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut again: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for visit in visits {
        let Some((begin, rest)) = visit.split_first() else {
            continue;
        };
        let good = begin.good_us.is_some();
        let (all, well) = first.entry(begin.kind).or_default();
        *all += 1;
        *well += u64::from(good);
        if !good && !rest.is_empty() {
            let (all, well) = again.entry(begin.kind).or_default();
            *all += 1;
            *well += u64::from(rest.iter().any(|exam| exam.good_us.is_some()));
        }
    }
    let rows = |indicator, of: BTreeMap<&str, (u64, u64)>| -> Vec<Figure> {
        of.into_iter()
            .map(|(kind, (all, well))| share(indicator, kind.to_owned(), well, all))
            .collect()
    };
    let mut figures = rows("first-try-acceptable", first);
    figures.extend(rows("retake-gain", again));
    figures
}

fn causes(exams: &[ExamFacts]) -> Vec<Figure> {
    let mut contacts: BTreeMap<&str, ContactFacts> = BTreeMap::new();
    for (name, facts) in exams.iter().flat_map(|exam| &exam.contacts) {
        let sum = contacts.entry(name).or_default();
        sum.windows += facts.windows;
        for (cause, count) in &facts.causes {
            *sum.causes.entry(cause).or_default() += count;
        }
    }
    let of = |(name, facts): (&str, ContactFacts)| {
        let all = facts.windows;
        let rows: Vec<Figure> = facts
            .causes
            .into_iter()
            .map(|(cause, count)| {
                share("poor-quality-cause", format!("{name} {cause}"), count, all)
            })
            .collect();
        rows
    };
    contacts.into_iter().flat_map(of).collect()
}

fn taken(alerts: &[AlertFacts]) -> Vec<Figure> {
    let mut of: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for alert in alerts {
        let (all, taken) = of.entry(&alert.priority).or_default();
        *all += 1;
        *taken += u64::from(alert.taken_us.is_some());
    }
    of.into_iter()
        .map(|(priority, (all, taken))| {
            share("alerts-acknowledged", priority.to_owned(), taken, all)
        })
        .collect()
}

/// Median and 90th percentile of times, in seconds, per stratum.
fn times(
    [median, most]: [&'static str; 2],
    of: impl Iterator<Item = (String, i64)>,
) -> Vec<Figure> {
    let mut strata: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (stratum, time) in of {
        strata.entry(stratum).or_default().push(time);
    }
    strata.values_mut().for_each(|times| times.sort_unstable());
    let figure = |indicator, percent: usize| {
        move |(stratum, times): (&String, &Vec<i64>)| Figure {
            indicator,
            stratum: stratum.clone(),
            denominator: u64::try_from(times.len()).unwrap_or(u64::MAX),
            numerator: None,
            value: rank(times, percent).map(seconds),
            unit: "s",
        }
    };
    let mut figures: Vec<Figure> = strata.iter().map(figure(median, 50)).collect();
    figures.extend(strata.iter().map(figure(most, 90)));
    figures
}

/// The value at a percentage of a sorted list (nearest rank).
fn rank(sorted: &[i64], percent: usize) -> Option<i64> {
    let place = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied()
}

fn seconds(micros: i64) -> f64 {
    let tenths = micros.div_euclid(100_000);
    i32::try_from(tenths).map_or(f64::from(i32::MAX), f64::from) / 10.0
}

fn share(indicator: &'static str, stratum: String, part: u64, all: u64) -> Figure {
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    Figure {
        indicator,
        stratum,
        denominator: all,
        numerator: Some(part),
        value: (all > 0).then(|| (number(part) / number(all) * 1e4).round() / 1e4),
        unit: "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exam(subject: Option<&str>, start_s: i64, good_s: Option<i64>) -> ExamFacts {
        ExamFacts {
            kind: "ecg-12",
            subject: subject.map(str::to_owned),
            attended: true,
            start_us: start_s * 1_000_000,
            end_us: (start_s + 60) * 1_000_000,
            good_us: good_s.map(|good| good * 1_000_000),
            ..ExamFacts::default()
        }
    }

    fn found<'a>(figures: &'a [Figure], indicator: &str) -> &'a Figure {
        figures
            .iter()
            .find(|one| one.indicator == indicator)
            .unwrap()
    }

    #[test]
    fn a_second_try_within_the_visit_is_a_gain_and_not_a_first_try() {
        let exams = [
            exam(Some("a"), 0, None),
            exam(Some("a"), 600, Some(620)),
            exam(Some("b"), 0, Some(15)),
            exam(Some("a"), 90_000, Some(90_012)),
            exam(None, 0, None),
            exam(None, 300, None),
        ];
        let figures = figures(&exams, &[]);
        let first = found(&figures, "first-try-acceptable");
        assert_eq!((first.numerator, first.denominator), (Some(2), 5));
        assert_eq!(first.value, Some(0.4));
        let again = found(&figures, "retake-gain");
        assert_eq!((again.numerator, again.denominator), (Some(1), 1));
        // 620 s in the first visit, 15 s, and 12 s a day later.
        assert_eq!(found(&figures, "time-to-first-good").value, Some(15.0));
        assert_eq!(found(&figures, "time-to-first-good-p90").value, Some(620.0));
        assert_eq!(found(&figures, "exams").denominator, 6);
    }

    #[test]
    fn causes_are_counted_over_the_windows_of_their_contact() {
        let mut one = exam(Some("a"), 0, None);
        let facts = ContactFacts {
            windows: 8,
            causes: BTreeMap::from([("lead-off", 2)]),
        };
        one.contacts.insert("ECG12 V2".to_owned(), facts);
        let figures = figures(&[one.clone(), one], &[]);
        let cause = found(&figures, "poor-quality-cause");
        assert_eq!(cause.stratum, "ECG12 V2 lead-off");
        assert_eq!(cause.value, Some(0.25));
    }

    #[test]
    fn an_alert_that_nobody_took_counts_against_the_share_and_not_into_the_time() {
        let alert = |taken: Option<i64>| AlertFacts {
            priority: "high".to_owned(),
            taken_us: taken.map(|s| s * 1_000_000),
        };
        let figures = figures(&[], &[alert(Some(30)), alert(None), alert(Some(90))]);
        let taken = found(&figures, "alerts-acknowledged");
        assert_eq!((taken.numerator, taken.denominator), (Some(2), 3));
        assert_eq!(found(&figures, "acknowledgement-time").value, Some(30.0));
        assert_eq!(
            found(&figures, "acknowledgement-time-p90").value,
            Some(90.0)
        );
    }
}
