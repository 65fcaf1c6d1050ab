//! Annotations of a rhythm series: marks where they have a place in time, remarks where they
//! have a value and no place.
//!
//! Deliberately absent: annotations of derived series (a representative beat has a time line of
//! its own), and who made them.

use cardio_core::annotation::Annotation;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;

use super::LEAD_PREFIX;
use crate::xml::Element;

const SECOND_US: i64 = 1_000_000;

/// Adds what the annotation sets of a series say to its recording, whose first row gives the time
/// line.
pub(super) fn read(series: &Element, recording: &mut Recording) {
    let Some(rate) = recording.waveforms.first().map(|row| row.rate) else {
        return;
    };
    let sets = series
        .all("component")
        .filter_map(|one| one.child("sequenceSet"));
    let heads: Vec<&Element> = sets
        .flat_map(|set| set.all("component"))
        .filter_map(|one| one.at(&["sequence", "value", "head"]))
        .collect();
    let begin = Begin {
        clock: heads
            .iter()
            .find_map(|head| clock_us(head.attribute("value")?)),
        offset_us: heads.iter().find_map(|head| quantity_us(head)).unwrap_or(0),
        rate,
    };
    let sets = series
        .all("subjectOf")
        .filter_map(|one| one.child("annotationSet"));
    sets.for_each(|set| begin.annotations(set, recording));
    recording.annotations.sort_by_key(|mark| mark.at);
}

/// Where the time line of a series begins.
struct Begin {
    clock: Option<i64>,
    offset_us: i64,
    rate: SamplingRate,
}

impl Begin {
    /// The annotations right below an element, and those below them.
    fn annotations(&self, parent: &Element, recording: &mut Recording) {
        let all = parent
            .all("component")
            .filter_map(|one| one.child("annotation"));
        for annotation in all {
            let code = annotation
                .child("code")
                .and_then(|code| code.attribute("code"));
            let value = annotation.child("value");
            let coded = value.and_then(|value| value.attribute("code"));
            if let (Some(code), Some(mark)) = (coded.or(code), self.mark(annotation)) {
                recording.annotations.push(Annotation {
                    code: code.to_owned(),
                    ..mark
                });
            } else if let (Some(code), Some(told)) = (code, value.and_then(told)) {
                recording.remarks.push((code.to_owned(), told));
            }
            self.annotations(annotation, recording);
        }
    }

    /// The place of an annotation, without its code. The end alone of a wave is its place too.
    fn mark(&self, annotation: &Element) -> Option<Annotation> {
        let region = annotation.at(&["support", "supportingROI"])?;
        let codes = region
            .all("component")
            .filter_map(|one| one.child("boundary"));
        let codes = codes.map(|boundary| (boundary, boundary.at(&["code"])));
        let (mut span, mut words) = (None, Vec::new());
        for (boundary, code) in codes {
            let code = code
                .and_then(|code| code.attribute("code"))
                .unwrap_or_default();
            if code.starts_with("TIME_") {
                span = span.or_else(|| self.span(boundary.child("value")?));
            } else if let Some(lead) = code.strip_prefix(LEAD_PREFIX) {
                words.push(format!("lead={lead}"));
            }
        }
        let at = match span? {
            (Some(low), high) => {
                let lasting = high.map(|high| high.saturating_sub(low));
                words.extend(
                    lasting
                        .filter(|us| *us >= 0)
                        .map(|us| format!("duration_s={}", seconds(us))),
                );
                low
            }
            (None, high) => {
                words.push("end".to_owned());
                high?
            }
        };
        let count = self.rate.count_in_micros(u64::try_from(at).ok()?);
        Some(Annotation {
            at: SampleIndex(count.0),
            code: String::new(),
            subtype: 0,
            channel: 0,
            number: 0,
            text: (!words.is_empty()).then(|| words.join(" ")),
        })
    }

    /// First and last instant of a boundary, in microseconds after the first sample.
    fn span(&self, value: &Element) -> Option<(Option<i64>, Option<i64>)> {
        let instant = |element: &Element| {
            let offset = quantity_us(element).map(|us| us.saturating_sub(self.offset_us));
            let clock = || {
                let stated = clock_us(element.attribute("value")?)?;
                Some(stated.saturating_sub(self.clock?))
            };
            offset.or_else(clock)
        };
        let low = instant(value).or_else(|| instant(value.child("low")?));
        let high = value.child("high").and_then(instant);
        (low.is_some() || high.is_some()).then_some((low, high))
    }
}

/// A value in words: a quantity with its unit, what a code is called, or a text.
fn told(value: &Element) -> Option<String> {
    let quantity = value.attribute("value").map(|number| {
        let unit = value.attribute("unit").unwrap_or_default();
        format!("{number} {unit}").trim().to_owned()
    });
    let coded = || {
        value
            .attribute("displayName")
            .or_else(|| value.attribute("code"))
    };
    let text = || Some(value.text.trim().to_owned());
    let told = quantity
        .or_else(|| coded().map(str::to_owned))
        .or_else(text);
    told.filter(|told| !told.is_empty())
}

/// A quantity of time in microseconds; `None` without a unit of time.
fn quantity_us(element: &Element) -> Option<i64> {
    let scale = match element.attribute("unit")? {
        "s" => 1e6,
        "ms" => 1e3,
        "us" => 1.0,
        _ => return None,
    };
    let number: f64 = element.attribute("value")?.trim().parse().ok()?;
    let us = (number * scale).round();
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "whole, and far below 2^63"
    )]
    (us.abs() < 1e15).then_some(us as i64)
}

/// `YYYYMMDDHHMMSS.ffffff` in microseconds after a day long ago; `None` with an offset from UTC,
/// which the other end of a difference might not have.
fn clock_us(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    // Years that begin in March end with the day that only some have.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let of_day = part(8, 10)? * 3600 + part(10, 12)? * 60 + part(12, 14)?;
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some((days * 86_400 + of_day) * SECOND_US + micros.parse::<i64>().ok()?)
}

/// Seconds with as few decimals as are needed.
fn seconds(us: i64) -> String {
    let text = format!("{}.{:06}", us / SECOND_US, us % SECOND_US);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::clock_us;
    use crate::ReadOptions;
    use crate::aecg::decode;

    const HEAD: &str = "<AnnotatedECG><component><series><component><sequenceSet>\
        <component><sequence><code code='TIME_ABSOLUTE'/><value><head value='20240228235959.500'/>\
        <increment value='2' unit='ms'/></value></sequence></component>\
        <component><sequence><code code='MDC_ECG_LEAD_II'/><value><origin value='0' unit='uV'/>\
        <scale value='5' unit='uV'/><digits>1 2 3</digits></value></sequence></component>\
        </sequenceSet></component><subjectOf><annotationSet>";
    const TAIL: &str = "</annotationSet></subjectOf></series></component></AnnotatedECG>";

    fn annotation(inner: &str) -> String {
        format!("<component><annotation>{inner}</annotation></component>")
    }

    fn boundary(code: &str, value: &str) -> String {
        format!("<component><boundary><code code='{code}'/>{value}</boundary></component>")
    }

    fn placed(code: &str, boundaries: &str) -> String {
        annotation(&format!(
            "<code code='MDC_ECG_WAVC'/><value code='{code}'/>\
             <support><supportingROI>{boundaries}</supportingROI></support>"
        ))
    }

    #[test]
    fn a_wave_is_a_mark_with_its_length_and_its_lead() {
        let ends =
            "<value><low value='20240229000000.1'/><high value='20240229000000.25'/></value>";
        let lead = boundary("MDC_ECG_LEAD_II", "");
        let late = "<value><high value='20240229000001'/></value>";
        let peak = "<value value='332' unit='ms'/>";
        let inner = placed("P", &(boundary("TIME_ABSOLUTE", ends) + &lead))
            + &placed("T", &boundary("TIME_ABSOLUTE", late))
            + &placed("PEAK", &boundary("TIME_RELATIVE", peak));
        let text = format!("{HEAD}{inner}{TAIL}");
        let read = decode(text.as_bytes(), "a", ReadOptions::default()).unwrap();
        let told = read.annotations.iter();
        let told: Vec<_> = told
            .map(|mark| (mark.at.0, mark.code.as_str(), mark.text.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                (166, "PEAK", None),
                (300, "P", Some("lead=II duration_s=0.15")),
                (750, "T", Some("end")),
            ]
        );
    }

    #[test]
    fn a_measurement_without_a_place_is_a_remark() {
        let inner = annotation(
            "<code code='MDC_ECG_BEAT'/><value code='MDC_ECG_BEAT_NORMAL'/>\
             <component><annotation><code code='MDC_ECG_TIME_PD_QT'/>\
             <value value='420' unit='ms'/></annotation></component>",
        );
        let text = format!("{HEAD}{inner}{TAIL}");
        let read = decode(text.as_bytes(), "a", ReadOptions::default()).unwrap();
        let pair = |code: &str, text: &str| (code.to_owned(), text.to_owned());
        let want = [
            pair("MDC_ECG_BEAT", "MDC_ECG_BEAT_NORMAL"),
            pair("MDC_ECG_TIME_PD_QT", "420 ms"),
        ];
        assert_eq!(read.remarks, want);
        assert!(read.annotations.is_empty());
    }

    #[test]
    fn times_go_on_over_the_end_of_a_year_and_a_leap_day() {
        let apart = |a: &str, b: &str| (clock_us(b).unwrap() - clock_us(a).unwrap()) / 1_000_000;
        assert_eq!(apart("20231231235959", "20240101000000"), 1);
        assert_eq!(apart("20240228000000", "20240301000000"), 2 * 86_400);
        assert_eq!(apart("21000228000000", "21000301000000"), 86_400);
        assert_eq!(clock_us("20240101000000+0100"), None);
    }
}
