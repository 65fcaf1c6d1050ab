//! The ECG as a drawing: one row for each lead on the standard grid, with what was found.
//!
//! A millimetre of the drawing is a unit of the SVG: 25 mm are a second, 10 mm a millivolt.
//! Every row is moved so that its middle value lies on its line; nothing is filtered or made
//! to fit. Deliberately absent: whole Holters (a span of at most a minute is drawn, and the
//! drawing says which), and heart sounds.

use std::fmt::Write;

use cardio_core::acquisition::WaveformKind;
use cardio_core::quality::QualityVerdict;
use cardio_core::recording::{Recording, Run, Waveform};
use cardio_core::units::PhysicalUnit;
use cardio_signal::analyse::Analysis;
use cardio_signal::delineation::Measurements;

const MM_PER_S: f64 = 25.0;
const MM_PER_MV: f64 = 10.0;
/// Height of a row, and of the words above and below all rows, in millimetres.
const ROW_MM: f64 = 30.0;
const HEAD_MM: f64 = 20.0;
const FOOT_MM: f64 = 10.0;
/// Left of the trace: the lead's name and the calibration pulse.
const LEFT_MM: f64 = 22.0;
const PULSE_FROM_MM: f64 = 14.0;
/// The pulse is a millivolt for 200 ms.
const PULSE_MM: f64 = 5.0;
/// Most that is drawn.
const MOST_S: f64 = 60.0;
const MOST_ROWS: usize = 16;
/// Highest and lowest value are drawn for each of this width.
const COLUMN_MM: f64 = 0.1;

/// Why nothing was drawn.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(super) enum PlotError {
    /// There is no lead.
    #[error("cannot draw: no ECG lead of this recording was analysed")]
    NoEcg,
    /// The span lies outside of the recording or has no length.
    #[error("cannot draw from {from_s} s on: the recording ends at {end_s} s")]
    Span {
        /// Where it was to begin.
        from_s: f64,
        /// The recording's end.
        end_s: f64,
    },
}

impl PlotError {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NoEcg => "analyse.plot-no-ecg",
            Self::Span { .. } => "analyse.plot-span",
        }
    }
}

/// What is drawn of a recording.
struct Sheet<'a> {
    recording: &'a Recording,
    analysis: &'a Analysis,
    rows: Vec<(usize, &'a Waveform)>,
    hz: f64,
    from_s: f64,
    to_s: f64,
    svg: String,
}

/// Draws the span of up to `seconds` from `from_s` on.
pub(super) fn svg(
    recording: &Recording,
    analysis: &Analysis,
    from_s: f64,
    seconds: f64,
) -> Result<String, PlotError> {
    let hz = analysis.rate.ok_or(PlotError::NoEcg)?.as_hz();
    let rows: Vec<(usize, &Waveform)> = analysis
        .leads
        .iter()
        .enumerate()
        .filter_map(|(place, lead)| Some((place, recording.waveforms.get(lead.waveform)?)))
        .take(MOST_ROWS)
        .collect();
    let end_s = analysis.coverage.planned_s;
    let to_s = end_s.min(from_s + seconds.min(MOST_S));
    if !(from_s >= 0.0 && to_s > from_s) {
        return Err(PlotError::Span { from_s, end_s });
    }
    let mut sheet = Sheet {
        recording,
        analysis,
        rows,
        hz,
        from_s,
        to_s,
        svg: String::new(),
    };
    sheet.draw();
    Ok(sheet.svg)
}

impl Sheet<'_> {
    fn draw(&mut self) {
        let width = LEFT_MM + (self.to_s - self.from_s) * MM_PER_S + 5.0;
        let rows = u32::try_from(self.rows.len()).unwrap_or(0);
        let foot = HEAD_MM + f64::from(rows) * ROW_MM;
        let height = foot + FOOT_MM;
        let name = escaped(&self.recording.name);
        self.put(&format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.2}mm" height="{height:.2}mm" viewBox="0 0 {width:.2} {height:.2}" font-family="sans-serif" font-size="3">
<title>ECG {name}</title>
<defs><pattern id="mm" width="1" height="1" patternUnits="userSpaceOnUse"><path d="M1 0H0V1" fill="none" stroke="#F7C6C6" stroke-width="0.1"/></pattern>
<pattern id="grid" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" fill="url(#mm)"/><path d="M5 0H0V5" fill="none" stroke="#D46A6A" stroke-width="0.2"/></pattern></defs>
<rect width="{width:.2}" height="{height:.2}" fill="#FFF5F5"/>
<rect x="2" y="{HEAD_MM}" width="{:.2}" height="{:.2}" fill="url(#grid)"/>"##,
            width - 4.0,
            foot - HEAD_MM,
        ));
        self.head();
        let mut middle = HEAD_MM + ROW_MM / 2.0;
        for (place, wave) in self.rows.clone() {
            self.poor(place, middle);
            self.row(wave, middle);
            middle += ROW_MM;
        }
        self.beats(foot);
        self.marks(foot);
        let line = format!(
            "25 mm/s  10 mm/mV  no filter, each row moved to its middle value  {:.1} s to {:.1} s of {:.1} s  {}",
            self.from_s,
            self.to_s,
            self.analysis.coverage.planned_s,
            self.analysis
                .algorithms
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        );
        self.words(2.0, foot + 6.0, "foot", &line);
        self.put("</svg>");
    }

    fn put(&mut self, text: &str) {
        self.svg.push_str(text);
        self.svg.push('\n');
    }

    fn words(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escaped(text);
        self.put(&format!(
            r##"<text class="{class}" x="{x:.2}" y="{y:.2}" fill="#111111">{text}</text>"##
        ));
    }

    /// The place of a time of the recording, if it is drawn.
    fn x(&self, at_s: f64) -> Option<f64> {
        (at_s >= self.from_s && at_s <= self.to_s)
            .then_some(LEFT_MM + (at_s - self.from_s) * MM_PER_S)
    }

    fn seconds(&self, samples: u64) -> f64 {
        std::time::Duration::from_micros(self.analysis.rate.map_or(0, |rate| {
            rate.micros_at(cardio_core::index::SampleIndex(samples))
        }))
        .as_secs_f64()
    }

    fn head(&mut self) {
        let verdict = if self.analysis.acceptable {
            "acceptable"
        } else {
            "not acceptable"
        };
        let rate = self.analysis.heart_rate.as_ref().map_or_else(
            |_| "HR -".to_owned(),
            |rate| format!("HR {:.0} /min", rate.bpm),
        );
        self.words(
            2.0,
            5.0,
            "head",
            &format!(
                "{} {}  quality {verdict}  {rate}",
                self.recording.format, self.recording.name
            ),
        );
        let measured = self
            .measurements()
            .map_or_else(|| "not measured".to_owned(), intervals);
        self.words(2.0, 10.0, "measurements", &measured);
    }

    /// What was measured nearest to the span.
    fn measurements(&self) -> Option<&Measurements> {
        let told = self.analysis.measured.iter();
        told.filter_map(|measured| measured.told.as_ref().ok())
            .rfind(|found| self.seconds(found.from.0) < self.to_s)
    }

    /// Spans of a lead that are insufficient.
    fn poor(&mut self, place: usize, middle: f64) {
        let spans: Vec<(f64, f64, String)> = self
            .analysis
            .windows
            .iter()
            .filter_map(|window| {
                let told = window.per_lead.get(place)?;
                let poor = told.verdict == QualityVerdict::Insufficient;
                let causes: Vec<&str> = told.causes.iter().map(|cause| cause.name()).collect();
                let from = self.seconds(window.first.0).max(self.from_s);
                let to = self
                    .seconds(window.first.after(window.len).0)
                    .min(self.to_s);
                (poor && from < to).then(|| (from, to, causes.join(", ")))
            })
            .collect();
        for (from, to, causes) in spans {
            let x = LEFT_MM + (from - self.from_s) * MM_PER_S;
            let (y, width) = (middle - ROW_MM / 2.0, (to - from) * MM_PER_S);
            self.put(&format!(
                r##"<rect class="insufficient" x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{ROW_MM}" fill="#808080" fill-opacity="0.25"><title>{}</title></rect>"##,
                escaped(&causes)
            ));
        }
    }

    fn row(&mut self, wave: &Waveform, middle: f64) {
        let label = match &wave.kind {
            WaveformKind::Ecg(lead) => lead.name(),
            _ => wave.label.as_str(),
        };
        let short: String = label.chars().take(8).collect();
        self.words(2.5, middle - 4.0, "lead", &short);
        let top = middle - MM_PER_MV;
        self.put(&format!(
            r##"<path class="calibration" d="M{PULSE_FROM_MM} {middle:.2}h1V{top:.2}h{PULSE_MM}V{middle:.2}h1" fill="none" stroke="#111111" stroke-width="0.25"/>"##
        ));
        let zero = middle_value(wave, self.from_s, self.to_s, self.hz);
        for run in &wave.runs {
            self.trace(wave, run, zero, middle);
        }
        for gap in wave.gaps() {
            let from = self.seconds(gap.from.0).max(self.from_s);
            let to = self.seconds(gap.from.after(gap.len).0).min(self.to_s);
            if from < to {
                let x = LEFT_MM + (from - self.from_s) * MM_PER_S;
                let width = (to - from) * MM_PER_S;
                self.put(&format!(
                    r##"<rect class="gap" x="{x:.2}" y="{:.2}" width="{width:.2}" height="6" fill="none" stroke="#111111" stroke-width="0.2" stroke-dasharray="1 1"><title>gap of {:.2} s</title></rect>"##,
                    middle - 3.0,
                    to - from
                ));
            }
        }
    }

    /// One run of samples, the highest and lowest of each column where there are many.
    fn trace(&mut self, wave: &Waveform, run: &Run, zero: f64, middle: f64) {
        let mut path = String::new();
        let mut column: Option<(f64, f64, f64)> = None;
        let flush = |path: &mut String, (x, low, high): (f64, f64, f64)| {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{x:.2} {low:.2}");
            if high != low {
                let _ = write!(path, "L{x:.2} {high:.2}");
            }
        };
        let samples = run.samples.as_slice();
        for place in part(run, self.from_s, self.to_s, self.hz) {
            let (Some(adu), Ok(offset)) = (samples.get(place), u64::try_from(place)) else {
                continue;
            };
            let Some(x) = self.x(self.seconds(run.first.0 + offset)) else {
                continue;
            };
            let y = middle - (millivolts(wave, adu) - zero) * MM_PER_MV;
            column = match column {
                Some((start, low, high)) if x - start < COLUMN_MM => {
                    Some((start, low.min(y), high.max(y)))
                }
                done => {
                    done.into_iter().for_each(|done| flush(&mut path, done));
                    Some((x, y, y))
                }
            };
        }
        column.into_iter().for_each(|done| flush(&mut path, done));
        if !path.is_empty() {
            self.put(&format!(
                r##"<path class="trace" d="{path}" fill="none" stroke="#111111" stroke-width="0.25" stroke-linejoin="round"/>"##
            ));
        }
    }

    fn beats(&mut self, foot: f64) {
        let beats = self.analysis.beats.iter().flat_map(|train| &train.beats);
        let marks: Vec<(f64, u64, char)> = beats
            .filter_map(|beat| {
                let x = self.x(self.seconds(beat.at.0))?;
                Some((x, beat.at.0, beat.class.map_or('?', |class| class.letter())))
            })
            .collect();
        for (x, sample, letter) in marks {
            self.put(&format!(
                r##"<g class="beat" data-sample="{sample}"><line x1="{x:.2}" y1="{:.2}" x2="{x:.2}" y2="{foot:.2}" stroke="#0D47A1" stroke-width="0.15" stroke-dasharray="0.5 2"/><text x="{:.2}" y="{:.2}" fill="#0D47A1">{letter}</text></g>"##,
                HEAD_MM - 2.0,
                x - 1.0,
                HEAD_MM - 3.0,
            ));
        }
    }

    /// Beginning and end of the waves at the first beat that was measured and is drawn.
    fn marks(&mut self, foot: f64) {
        let Some((r_s, marks)) = self.measurements().and_then(|found| {
            let beat = found.beats.iter().map(|at| self.seconds(at.0));
            let r_s = beat.into_iter().find(|at| self.x(*at).is_some())?;
            Some((r_s, found.marks))
        }) else {
            return;
        };
        for (name, ms) in [
            ("P begins", marks.p_on_ms),
            ("QRS begins", marks.qrs_on_ms),
            ("QRS ends", marks.qrs_off_ms),
            ("T ends", marks.t_off_ms),
        ] {
            let Some(x) = ms.and_then(|ms| self.x(r_s + ms / 1_000.0)) else {
                continue;
            };
            self.put(&format!(
                r##"<line class="wave" x1="{x:.2}" y1="{HEAD_MM}" x2="{x:.2}" y2="{foot:.2}" stroke="#1B5E20" stroke-width="0.2"><title>{name}</title></line>"##
            ));
        }
    }
}

fn intervals(found: &Measurements) -> String {
    let number = |value: Result<f64, _>| {
        value.map_or_else(|_| "-".to_owned(), |ms: f64| format!("{ms:.0} ms"))
    };
    format!(
        "PR {}  QRS {}  QT {}  QTc Bazett {}  QTc Fridericia {}  median of {} beats  not confirmed",
        number(found.pr_ms),
        number(found.qrs_ms),
        number(found.qt_ms),
        number(found.qtc_bazett_ms()),
        number(found.qtc_fridericia_ms()),
        found.beats.len()
    )
}

/// Millivolts of a count, for the spellings of volts that files use.
fn millivolts(wave: &Waveform, adu: i32) -> f64 {
    let value = wave.calibration.value(adu);
    match wave.calibration.unit() {
        PhysicalUnit::Other(unit) => match unit.as_str() {
            "uV" | "µV" | "μV" => value / 1_000.0,
            "V" => value * 1_000.0,
            "nV" => value / 1_000_000.0,
            _ => value,
        },
        _ => value,
    }
}

/// The places of a run's samples that are drawn.
fn part(run: &Run, from_s: f64, to_s: f64, hz: f64) -> std::ops::Range<usize> {
    let place = |seconds: f64| {
        let micros = std::time::Duration::try_from_secs_f64(seconds * hz).unwrap_or_default();
        let from = micros.as_secs().saturating_sub(run.first.0);
        usize::try_from(from).unwrap_or(usize::MAX)
    };
    place(from_s)..place(to_s).saturating_add(1).min(run.samples.len())
}

/// The middle of what is drawn of a row, in millivolts.
fn middle_value(wave: &Waveform, from_s: f64, to_s: f64, hz: f64) -> f64 {
    let mut values: Vec<i32> = wave
        .runs
        .iter()
        .flat_map(|run| {
            let places = part(run, from_s, to_s, hz);
            places.filter_map(|place| run.samples.as_slice().get(place))
        })
        .collect();
    values.sort_unstable();
    let middle = values.get(values.len() / 2).copied();
    middle.map_or(0.0, |adu| millivolts(wave, adu))
}

/// Text that XML can hold, and nothing but text.
fn escaped(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control() && !matches!(letter, '\u{fffe}' | '\u{ffff}'))
        .fold(String::new(), |mut out, letter| {
            match letter {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                _ => out.push(letter),
            }
            out
        })
}

#[cfg(test)]
#[path = "plot_tests.rs"]
mod tests;
