//! `analyse FILE`: quality, beats, rhythm, intervals and heart sounds of a recording, as a
//! document, as lines, as a drawing.

mod document;
mod plot;
mod sounds;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cardio_core::quality::QualityVerdict;
use cardio_formats::facts::RecordFacts;
use cardio_formats::survey::Extents;
use cardio_formats::{ReadOptions, read_path};
use cardio_signal::analyse::analyse;

use self::document::{Document, document};
use self::text::text;
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
    /// Draw the ECG as SVG: 25 mm/s, 10 mm/mV, with beats, poor quality and intervals.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Draw from this second on.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, requires = "plot")]
    plot_from: f64,
    /// Draw this many seconds, 60 at most.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10.0,
        requires = "plot"
    )]
    plot_seconds: f64,
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

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let options = ReadOptions {
        strict: args.strict,
        ..ReadOptions::default()
    };
    let recording = read_path(&args.file, options)?;
    let rows: Vec<Extents> = recording.waveforms.iter().map(Extents::of).collect();
    let record = RecordFacts::of(&recording, &rows, &args.file.display().to_string());
    let analysis = analyse(&recording);
    if let Some(path) = &args.plot {
        let svg = plot::svg(&recording, &analysis, args.plot_from, args.plot_seconds)
            .map_err(|err| Failure::new(&err, err.code()))?;
        std::fs::write(path, svg).map_err(|err| {
            let text = format!("cannot write {}: {err}", path.display());
            Failure::new(&std::io::Error::new(err.kind(), text), "analyse.plot-file")
        })?;
    }
    let document = document(record, &analysis);
    match args.exchange {
        Some(Exchange::Beats) => out::json(&exchanged_beats(&document))?,
        Some(Exchange::Quality) => out::text(&exchanged_quality(&document))?,
        None if args.json => out::json(&document)?,
        None => out::text(&text(&document))?,
    }
    Ok(0)
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
