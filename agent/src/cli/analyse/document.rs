//! The document `analysis/1`. Indexes are those of the file.

use std::collections::BTreeMap;

use cardio_core::quality::{LeadQuality, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::words::{Language, swapped};
use cardio_formats::facts::RecordFacts;
use cardio_signal::analyse::{self, AnalysedLead, Analysis, BeatTrain};
use cardio_signal::delineation::{Measurements, Unmeasured};
use cardio_signal::limbs::LimbSwap;
use cardio_signal::rhythm::{Interval, RhythmEvent, variability};

use super::sounds;

#[derive(serde::Serialize)]
pub(super) struct Document {
    pub(super) schema: &'static str,
    pub(super) record: RecordFacts,
    pub(super) acceptable: bool,
    /// From 0 to 1: how sure it is that the recording is not good enough.
    pub(super) unacceptable: f64,
    pub(super) rate_hz: Option<f64>,
    pub(super) leads: Vec<Lead>,
    pub(super) windows: Vec<Window>,
    pub(super) beats: Option<Beats>,
    /// The intervals between those beats, and the variability of the heart's own ones.
    pub(super) intervals: Intervals,
    pub(super) heart_rate: HeartRate,
    /// Intervals and ST levels, once for each whole or begun hour.
    pub(super) measurements: Vec<Measured>,
    /// Limb electrodes that look swapped.
    pub(super) limb_swap: Option<Swap>,
    /// Statements on the rhythm where the signal is good enough for them.
    pub(super) rhythm: Vec<Event>,
    /// The same where it is not; not to be relied upon.
    pub(super) doubtful_rhythm: Vec<Event>,
    pub(super) coverage: Coverage,
    /// Heart sounds, waveform by waveform.
    pub(super) sounds: Vec<sounds::Sounds>,
    pub(super) unanalysed: Vec<Statement>,
    /// What a nurse reads of each cause that occurs, by its name.
    pub(super) words: BTreeMap<&'static str, Words>,
    pub(super) algorithms: Vec<String>,
}

#[derive(serde::Serialize)]
pub(super) struct Lead {
    pub(super) waveform: usize,
    pub(super) label: String,
    pub(super) acceptable: bool,
    pub(super) analysable_share: f64,
    /// From 0 to 1: how sure it is that the lead is not good enough.
    pub(super) unacceptable: f64,
}

#[derive(serde::Serialize)]
pub(super) struct Event {
    pub(super) kind: &'static str,
    /// First and last beat that it rests on, in samples of the file.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) from_s: f64,
    pub(super) to_s: f64,
    pub(super) beats: usize,
    pub(super) value: f64,
}

#[derive(serde::Serialize)]
pub(super) struct Coverage {
    pub(super) planned_s: f64,
    /// Good from nine tenths of the planned time on, insufficient below three quarters.
    pub(super) verdict: &'static str,
    pub(super) analysable_share: f64,
    #[serde(flatten)]
    pub(super) time: Time,
    pub(super) longest_gap_s: f64,
    pub(super) per_lead: Vec<LeadCoverage>,
}

#[derive(serde::Serialize)]
pub(super) struct LeadCoverage {
    pub(super) label: String,
    #[serde(flatten)]
    pub(super) time: Time,
    pub(super) longest_gap_s: f64,
}

#[derive(serde::Serialize)]
pub(super) struct Time {
    pub(super) analysable_s: f64,
    pub(super) analysable_s_by_hour: Vec<f64>,
    pub(super) longest_unusable_s: f64,
}

#[derive(serde::Serialize)]
pub(super) struct Measured {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) from_s: f64,
    pub(super) to_s: f64,
    /// Why nothing was measured.
    pub(super) unmeasured: Option<Statement>,
    #[serde(flatten)]
    pub(super) values: Option<Values>,
}

#[derive(serde::Serialize)]
pub(super) struct Values {
    pub(super) algorithm: String,
    /// The beats that the median beat is made of.
    pub(super) beats: Vec<u64>,
    pub(super) rate_bpm: f64,
    pub(super) pr_ms: Value,
    pub(super) qrs_ms: Value,
    pub(super) qt_ms: Value,
    pub(super) qtc_bazett_ms: Value,
    pub(super) qtc_fridericia_ms: Value,
    pub(super) leads: Vec<LeadValues>,
}

/// A number, or why there is none.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(f64),
    None(Statement),
}

#[derive(serde::Serialize)]
pub(super) struct LeadValues {
    pub(super) label: String,
    /// From the R peak, in milliseconds.
    pub(super) p_on_ms: Option<f64>,
    pub(super) p_off_ms: Option<f64>,
    pub(super) qrs_on_ms: Option<f64>,
    pub(super) qrs_off_ms: Option<f64>,
    pub(super) t_peak_ms: Option<f64>,
    pub(super) t_off_ms: Option<f64>,
    pub(super) st_mv: Option<f64>,
    pub(super) st_after_j_ms: Option<f64>,
}

#[derive(serde::Serialize)]
pub(super) struct Swap {
    pub(super) code: &'static str,
    /// Letters of IEC 60601-2-25.
    pub(super) electrodes: [&'static str; 2],
    #[serde(flatten)]
    pub(super) words: Words,
}

#[derive(serde::Serialize)]
pub(super) struct Words {
    pub(super) fr: String,
    pub(super) en: String,
}

#[derive(serde::Serialize)]
pub(super) struct Window {
    pub(super) first: u64,
    pub(super) len: u64,
    pub(super) start_s: f64,
    pub(super) length_s: f64,
    pub(super) overall: Quality,
    pub(super) per_lead: Vec<LabelledQuality>,
}

#[derive(serde::Serialize)]
pub(super) struct Quality {
    pub(super) index: f64,
    pub(super) verdict: &'static str,
    pub(super) flags: Vec<&'static str>,
}

#[derive(serde::Serialize)]
pub(super) struct LabelledQuality {
    pub(super) label: String,
    #[serde(flatten)]
    pub(super) quality: Quality,
}

#[derive(serde::Serialize)]
pub(super) struct Beats {
    pub(super) waveform: usize,
    pub(super) lead: String,
    /// All waveforms that were listened to.
    pub(super) heard: Vec<usize>,
    pub(super) algorithm: String,
    pub(super) samples: Vec<u64>,
    /// Classes of EC57, or `null` for a beat that nothing classified.
    pub(super) labels: Vec<Option<char>>,
}

/// Rows of one length, an interval in each place.
#[derive(serde::Serialize)]
pub(super) struct Intervals {
    /// The beat that ends it, in samples of the file.
    pub(super) ends_at: Vec<u64>,
    pub(super) millis: Vec<f64>,
    /// `normal`, `ectopic` (beside such a beat) or `unclassified`.
    pub(super) kinds: Vec<&'static str>,
    /// Over the intervals between normal beats; `null` when there are too few.
    pub(super) variability: Option<Variability>,
}

#[derive(serde::Serialize)]
pub(super) struct Variability {
    pub(super) normal: usize,
    pub(super) left_out: usize,
    pub(super) mean_ms: f64,
    pub(super) sdnn_ms: f64,
    pub(super) rmssd_ms: f64,
    /// From 0 to 1.
    pub(super) pnn50: f64,
}

#[derive(serde::Serialize)]
pub(super) struct HeartRate {
    pub(super) mean_bpm: Option<f64>,
    pub(super) spread_bpm: Option<f64>,
    pub(super) intervals: Option<usize>,
    pub(super) undetermined: Option<Statement>,
}

#[derive(serde::Serialize)]
pub(super) struct Statement {
    pub(super) code: &'static str,
    pub(super) text: String,
}

pub(super) fn document(record: RecordFacts, analysis: &Analysis) -> Document {
    Document {
        schema: "analysis/1",
        record,
        acceptable: analysis.acceptable,
        unacceptable: analysis.unacceptable,
        rate_hz: analysis.rate.map(SamplingRate::as_hz),
        leads: analysis.leads.iter().map(lead).collect(),
        windows: analysis
            .windows
            .iter()
            .map(|window_of| window(window_of, analysis))
            .collect(),
        beats: analysis.beats.as_ref().map(beats),
        intervals: intervals(&analysis.intervals),
        heart_rate: heart_rate(analysis),
        measurements: analysis
            .measured
            .iter()
            .map(|measured| measurement(measured, analysis))
            .collect(),
        limb_swap: analysis.limb_swap.map(swap),
        rhythm: events(&analysis.events, analysis),
        doubtful_rhythm: events(&analysis.doubtful_events, analysis),
        coverage: coverage(&analysis.coverage),
        sounds: analysis.sounds.iter().map(sounds::sounds).collect(),
        unanalysed: analysis
            .unanalysed
            .iter()
            .map(|why| Statement {
                code: why.code(),
                text: why.to_string(),
            })
            .collect(),
        words: words(analysis),
        algorithms: analysis
            .algorithms
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn intervals(series: &[Interval]) -> Intervals {
    Intervals {
        ends_at: series.iter().map(|one| one.ends_at.0).collect(),
        millis: series.iter().map(|one| one.millis).collect(),
        kinds: series.iter().map(|one| one.kind.name()).collect(),
        variability: variability(series).map(|found| Variability {
            normal: found.normal,
            left_out: found.left_out,
            mean_ms: found.mean_ms,
            sdnn_ms: found.sdnn_ms,
            rmssd_ms: found.rmssd_ms,
            pnn50: found.pnn50,
        }),
    }
}

fn coverage(coverage: &analyse::Coverage) -> Coverage {
    Coverage {
        planned_s: coverage.planned_s,
        verdict: coverage.verdict().name(),
        analysable_share: coverage.analysable_share(),
        time: time(&coverage.analysable),
        longest_gap_s: coverage.longest_gap_s,
        per_lead: coverage
            .per_lead
            .iter()
            .map(|lead| LeadCoverage {
                label: lead.label.clone(),
                time: time(&lead.analysable),
                longest_gap_s: lead.longest_gap_s,
            })
            .collect(),
    }
}

fn time(time: &analyse::AnalysableTime) -> Time {
    Time {
        analysable_s: time.total_s,
        analysable_s_by_hour: time.hours_s.clone(),
        longest_unusable_s: time.longest_without_s,
    }
}

fn measurement(measured: &analyse::Measured, analysis: &Analysis) -> Measured {
    let told = measured.told.as_ref();
    Measured {
        from: measured.from.0,
        to: measured.to.0,
        from_s: seconds(measured.from.0, analysis),
        to_s: seconds(measured.to.0, analysis),
        unmeasured: told.err().map(unmeasured),
        values: told.ok().map(values),
    }
}

fn unmeasured(why: &Unmeasured) -> Statement {
    Statement {
        code: why.code(),
        text: why.to_string(),
    }
}

fn values(found: &Measurements) -> Values {
    let value = |told: Result<f64, Unmeasured>| match told {
        Ok(number) => Value::Number(number),
        Err(why) => Value::None(unmeasured(&why)),
    };
    Values {
        algorithm: found.algorithm.to_string(),
        beats: found.beats.iter().map(|at| at.0).collect(),
        rate_bpm: found.rate_bpm(),
        pr_ms: value(found.pr_ms),
        qrs_ms: value(found.qrs_ms),
        qt_ms: value(found.qt_ms),
        qtc_bazett_ms: value(found.qtc_bazett_ms()),
        qtc_fridericia_ms: value(found.qtc_fridericia_ms()),
        leads: found
            .leads
            .iter()
            .map(|lead| LeadValues {
                label: lead.label.clone(),
                p_on_ms: lead.marks.p_on_ms,
                p_off_ms: lead.marks.p_off_ms,
                qrs_on_ms: lead.marks.qrs_on_ms,
                qrs_off_ms: lead.marks.qrs_off_ms,
                t_peak_ms: lead.marks.t_peak_ms,
                t_off_ms: lead.marks.t_off_ms,
                st_mv: lead.st.map(|st| st.mv),
                st_after_j_ms: lead.st.map(|st| st.after_j_ms),
            })
            .collect(),
    }
}

fn swap(swap: LimbSwap) -> Swap {
    let (one, two) = swap.electrodes();
    Swap {
        code: swap.name(),
        electrodes: [one.iec(), two.iec()],
        words: Words {
            fr: swapped(one, two, Language::French),
            en: swapped(one, two, Language::English),
        },
    }
}

/// The words of all causes that occur.
fn words(analysis: &Analysis) -> BTreeMap<&'static str, Words> {
    let ecg = analysis
        .windows
        .iter()
        .flat_map(|window| &window.overall.causes);
    let sounds = analysis
        .sounds
        .iter()
        .filter_map(|sounds| sounds.told.as_ref().ok());
    let sounds = sounds.flat_map(|found| {
        let windows = found
            .windows
            .iter()
            .flat_map(|window| &window.quality.overall.causes);
        found.summary.quality.causes.iter().chain(windows)
    });
    ecg.chain(sounds)
        .map(|cause| {
            let words = Words {
                fr: cause.advice(Language::French).to_owned(),
                en: cause.advice(Language::English).to_owned(),
            };
            (cause.name(), words)
        })
        .collect()
}

fn lead(lead: &AnalysedLead) -> Lead {
    Lead {
        waveform: lead.waveform,
        label: lead.label.clone(),
        acceptable: lead.acceptable,
        analysable_share: lead.analysable_share,
        unacceptable: lead.badness,
    }
}

fn events(events: &[RhythmEvent], analysis: &Analysis) -> Vec<Event> {
    events
        .iter()
        .map(|event| Event {
            kind: event.kind.name(),
            from: event.from.0,
            to: event.to.0,
            from_s: seconds(event.from.0, analysis),
            to_s: seconds(event.to.0, analysis),
            beats: event.beats,
            value: event.value,
        })
        .collect()
}

/// The time of a sample of the analysed leads.
fn seconds(samples: u64, analysis: &Analysis) -> f64 {
    let micros = analysis.rate.map_or(0, |rate| {
        rate.micros_at(cardio_core::index::SampleIndex(samples))
    });
    std::time::Duration::from_micros(micros).as_secs_f64()
}

fn window(window: &SignalQuality, analysis: &Analysis) -> Window {
    Window {
        first: window.first.0,
        len: window.len.0,
        start_s: seconds(window.first.0, analysis),
        length_s: seconds(window.len.0, analysis),
        overall: quality(&window.overall),
        per_lead: analysis
            .leads
            .iter()
            .zip(&window.per_lead)
            .map(|(lead, told)| LabelledQuality {
                label: lead.label.clone(),
                quality: quality(told),
            })
            .collect(),
    }
}

pub(super) fn quality(told: &LeadQuality) -> Quality {
    Quality {
        index: told.index.get(),
        verdict: told.verdict.name(),
        flags: told.causes.iter().map(|cause| cause.name()).collect(),
    }
}

fn beats(train: &BeatTrain) -> Beats {
    Beats {
        waveform: train.waveform,
        lead: train.label.clone(),
        heard: train.heard.clone(),
        algorithm: train.algorithm.to_string(),
        samples: train.beats.iter().map(|beat| beat.at.0).collect(),
        labels: train
            .beats
            .iter()
            .map(|beat| beat.class.map(|class| class.letter()))
            .collect(),
    }
}

fn heart_rate(analysis: &Analysis) -> HeartRate {
    match &analysis.heart_rate {
        Ok(rate) => HeartRate {
            mean_bpm: Some(rate.bpm),
            spread_bpm: Some(rate.spread),
            intervals: Some(rate.intervals),
            undetermined: None,
        },
        Err(why) => HeartRate {
            mean_bpm: None,
            spread_bpm: None,
            intervals: None,
            undetermined: Some(Statement {
                code: why.code(),
                text: why.to_string(),
            }),
        },
    }
}
