//! `analyse FILE`: quality, beats and heart rate of a recording. Indexes are those of the
//! file.

use std::path::PathBuf;

use cardio_core::quality::{LeadQuality, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_formats::{ReadOptions, read_path};
use cardio_signal::analyse::{AnalysedLead, Analysis, BeatTrain, analyse};

use super::inspect::{RecordFacts, facts};
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
}

#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    record: RecordFacts,
    acceptable: bool,
    rate_hz: Option<f64>,
    leads: Vec<Lead>,
    windows: Vec<Window>,
    beats: Option<Beats>,
    heart_rate: HeartRate,
    unanalysed: Vec<Statement>,
    algorithms: Vec<String>,
}

#[derive(serde::Serialize)]
struct Lead {
    waveform: usize,
    label: String,
    acceptable: bool,
    analysable_share: f64,
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
    let record = facts(&recording, &args.file);
    let document = document(record, &analyse(&recording));
    if args.json {
        out::json(&document)?;
    } else {
        out::text(&text(&document))?;
    }
    Ok(0)
}

fn document(record: RecordFacts, analysis: &Analysis) -> Document {
    Document {
        schema: "analysis/1",
        record,
        acceptable: analysis.acceptable,
        rate_hz: analysis.rate.map(SamplingRate::as_hz),
        leads: analysis.leads.iter().map(lead).collect(),
        windows: analysis
            .windows
            .iter()
            .map(|window_of| window(window_of, analysis))
            .collect(),
        beats: analysis.beats.as_ref().map(beats),
        heart_rate: heart_rate(analysis),
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
    }
}

fn window(window: &SignalQuality, analysis: &Analysis) -> Window {
    let seconds = |samples: u64| {
        let micros = analysis.rate.map_or(0, |rate| {
            rate.micros_at(cardio_core::index::SampleIndex(samples))
        });
        std::time::Duration::from_micros(micros).as_secs_f64()
    };
    Window {
        first: window.first.0,
        len: window.len.0,
        start_s: seconds(window.first.0),
        length_s: seconds(window.len.0),
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
    for why in &document.unanalysed {
        text += &format!("left out: {}\n", why.text);
    }
    text
}
