//! `analyse FILE`: quality, beats and heart rate of a recording. Indexes are those of the
//! file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cardio_core::quality::{LeadQuality, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_formats::facts::RecordFacts;
use cardio_formats::survey::Extents;
use cardio_formats::{ReadOptions, read_path};
use cardio_signal::analyse::{AnalysedLead, Analysis, BeatTrain, analyse};
use cardio_signal::rhythm::RhythmEvent;

use super::{Failure, out};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording; a WFDB record with or without `.hea`.
    file: PathBuf,
    /// One JSON document, `analysis/1`.
    #[arg(long)]
    json: bool,
    /// Refuse what would otherwise be read with warnings.
    #[arg(long)]
    strict: bool,
    /// Print what scorers of beats or of quality read instead of a document.
    #[arg(long, value_enum, conflicts_with = "json")]
    exchange: Option<Exchange>,
}

/// A file that scorers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Exchange {
    /// JSON by record: rate, R peaks and their classes.
    Beats,
    /// CSV: the record, each lead and each window, with verdict, badness and first cause.
    Quality,
}

#[derive(serde::Serialize)]
struct ExchangedBeats {
    fs: f64,
    samples: Vec<u64>,
    labels: Vec<char>,
}

#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    record: RecordFacts,
    acceptable: bool,
    /// From 0 to 1: how sure it is that the recording is not good enough.
    unacceptable: f64,
    rate_hz: Option<f64>,
    leads: Vec<Lead>,
    windows: Vec<Window>,
    beats: Option<Beats>,
    heart_rate: HeartRate,
    /// Statements on the rhythm where the signal is good enough for them.
    rhythm: Vec<Event>,
    /// The same where it is not; not to be relied upon.
    doubtful_rhythm: Vec<Event>,
    coverage: Coverage,
    unanalysed: Vec<Statement>,
    algorithms: Vec<String>,
}

#[derive(serde::Serialize)]
struct Lead {
    waveform: usize,
    label: String,
    acceptable: bool,
    analysable_share: f64,
    /// From 0 to 1: how sure it is that the lead is not good enough.
    unacceptable: f64,
}

#[derive(serde::Serialize)]
struct Event {
    kind: &'static str,
    /// First and last beat that it rests on, in samples of the file.
    from: u64,
    to: u64,
    from_s: f64,
    to_s: f64,
    beats: usize,
    value: f64,
}

#[derive(serde::Serialize)]
struct Coverage {
    planned_s: f64,
    analysable_s: f64,
    longest_gap_s: f64,
    analysable_s_by_hour: Vec<f64>,
}

#[derive(serde::Serialize)]
struct Window {
    first: u64,
    len: u64,
    start_s: f64,
    length_s: f64,
    overall: Quality,
    per_lead: Vec<LabelledQuality>,
}

#[derive(serde::Serialize)]
struct Quality {
    index: f64,
    verdict: &'static str,
    flags: Vec<&'static str>,
}

#[derive(serde::Serialize)]
struct LabelledQuality {
    label: String,
    #[serde(flatten)]
    quality: Quality,
}

#[derive(serde::Serialize)]
struct Beats {
    waveform: usize,
    lead: String,
    algorithm: String,
    samples: Vec<u64>,
    /// Classes of EC57, or `null` for a beat that nothing classified.
    labels: Vec<Option<char>>,
}

#[derive(serde::Serialize)]
struct HeartRate {
    mean_bpm: Option<f64>,
    spread_bpm: Option<f64>,
    intervals: Option<usize>,
    undetermined: Option<Statement>,
}

#[derive(serde::Serialize)]
struct Statement {
    code: &'static str,
    text: String,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let options = ReadOptions {
        strict: args.strict,
        ..ReadOptions::default()
    };
    let recording = read_path(&args.file, options)?;
    let rows: Vec<Extents> = recording.waveforms.iter().map(Extents::of).collect();
    let record = RecordFacts::of(&recording, &rows, &args.file.display().to_string());
    let document = document(record, &analyse(&recording));
    match args.exchange {
        Some(Exchange::Beats) => out::json(&exchanged_beats(&document))?,
        Some(Exchange::Quality) => out::text(&exchanged_quality(&document))?,
        None if args.json => out::json(&document)?,
        None => out::text(&text(&document))?,
    }
    Ok(0)
}

fn document(record: RecordFacts, analysis: &Analysis) -> Document {
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
        heart_rate: heart_rate(analysis),
        rhythm: events(&analysis.events, analysis),
        doubtful_rhythm: events(&analysis.doubtful_events, analysis),
        coverage: Coverage {
            planned_s: analysis.coverage.planned_s,
            analysable_s: analysis.coverage.analysable_s,
            longest_gap_s: analysis.coverage.longest_gap_s,
            analysable_s_by_hour: analysis.coverage.hours_s.clone(),
        },
        unanalysed: analysis
            .unanalysed
            .iter()
            .map(|why| Statement {
                code: why.code(),
                text: why.to_string(),
            })
            .collect(),
        algorithms: analysis
            .algorithms
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
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

fn quality(told: &LeadQuality) -> Quality {
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

fn text(document: &Document) -> String {
    let word = if document.acceptable {
        "ACCEPTABLE"
    } else {
        "NOT ACCEPTABLE"
    };
    let record = &document.record;
    let mut text = format!(
        "{word}   {} {}, {:.1} s, {} window(s)\n\n",
        record.format,
        record.name,
        record.duration_s,
        document.windows.len()
    );
    for lead in &document.leads {
        text += &format!(
            "{:<16} {:<15} {:>5.1} % of windows can be used\n",
            lead.label,
            if lead.acceptable {
                "acceptable"
            } else {
                "not acceptable"
            },
            lead.analysable_share * 100.0
        );
    }
    if let Some(beats) = &document.beats {
        text += &format!("\nBEATS   {} in lead {}\n", beats.samples.len(), beats.lead);
    }
    text += &match (
        &document.heart_rate.mean_bpm,
        &document.heart_rate.undetermined,
    ) {
        (Some(bpm), _) => format!("RATE    {bpm:.0} /min on average\n"),
        (None, Some(why)) => format!("RATE    {}\n", why.text),
        (None, None) => String::new(),
    };
    for event in &document.rhythm {
        text += &format!(
            "RHYTHM  {} from {:.1} s to {:.1} s, {:.1}\n",
            event.kind, event.from_s, event.to_s, event.value
        );
    }
    for why in &document.unanalysed {
        text += &format!("left out: {}\n", why.text);
    }
    text
}

/// One record under its name; a beat that nothing classified counts as normal there.
fn exchanged_beats(document: &Document) -> BTreeMap<String, ExchangedBeats> {
    let beats = document.beats.as_ref();
    let labels = beats.map_or(&[][..], |beats| &beats.labels);
    let exchanged = ExchangedBeats {
        fs: document.rate_hz.unwrap_or_default(),
        samples: beats.map_or_else(Vec::new, |beats| beats.samples.clone()),
        labels: labels.iter().map(|label| label.unwrap_or('N')).collect(),
    };
    BTreeMap::from([(document.record.name.clone(), exchanged)])
}

fn exchanged_quality(document: &Document) -> String {
    let name = &document.record.name;
    let word = |acceptable: bool| {
        if acceptable {
            "acceptable"
        } else {
            "unacceptable"
        }
    };
    let mut text = format!(
        "id,label,score,cause\n{name},{},{:.6},\n",
        word(document.acceptable),
        document.unacceptable
    );
    for (place, lead) in document.leads.iter().enumerate() {
        text += &format!(
            "{name}/{},{},{:.6},\n",
            lead.waveform,
            word(lead.acceptable),
            lead.unacceptable
        );
        for window in &document.windows {
            if let Some(told) = window.per_lead.get(place) {
                let quality = &told.quality;
                text += &format!(
                    "{name}/{}/{},{},{:.6},{}\n",
                    lead.waveform,
                    window.start_s,
                    word(quality.verdict != QualityVerdict::Insufficient.name()),
                    1.0 - quality.index,
                    quality.flags.first().copied().unwrap_or_default()
                );
            }
        }
    }
    text
}
