//! Heart sounds in the document. Indexes are those of the sound itself.

use cardio_core::rate::SamplingRate;
use cardio_signal::analyse::{AnalysedSounds, SoundsFound};
use cardio_signal::pcg::{self, RateSource, SoundRate, SoundWindow};

use super::document::{Quality, Statement, quality};

/// The heart sounds of one waveform.
#[derive(serde::Serialize)]
pub(super) struct Sounds {
    waveform: usize,
    label: String,
    rate_hz: f64,
    /// Why it was not analysed.
    unanalysed: Option<Statement>,
    #[serde(flatten)]
    found: Option<Found>,
}

#[derive(serde::Serialize)]
struct Found {
    algorithm: String,
    quality: Quality,
    heart_rate: Rate,
    usable_windows: u64,
    windows: Vec<Window>,
    sounds: Vec<Sound>,
}

#[derive(serde::Serialize)]
struct Window {
    first: u64,
    len: u64,
    start_s: f64,
    length_s: f64,
    quality: Quality,
    heart_rate: Rate,
}

#[derive(serde::Serialize)]
struct Rate {
    bpm: Option<f64>,
    /// `sound`, or `beats` of the ECG beside it.
    source: Option<&'static str>,
    undetermined: Option<Statement>,
}

#[derive(serde::Serialize)]
struct Sound {
    kind: &'static str,
    first: u64,
    len: u64,
}

impl Sounds {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let why = self.unanalysed.as_ref().map(|why| why.text.clone());
        let found = self.found.as_ref().map(|found| {
            let rate = match (&found.heart_rate.bpm, &found.heart_rate.undetermined) {
                (Some(bpm), _) => format!("{bpm:.0} /min"),
                (None, why) => why.as_ref().map_or("", |why| why.text.as_str()).to_owned(),
            };
            format!(
                "{} {}, {rate}, {} first and second sounds",
                self.label,
                found.quality.verdict,
                found.sounds.len()
            )
        });
        found.or(why).unwrap_or_default()
    }
}

pub(super) fn sounds(sounds: &AnalysedSounds) -> Sounds {
    let told = sounds.told.as_ref();
    Sounds {
        waveform: sounds.waveform,
        label: sounds.label.clone(),
        rate_hz: sounds.rate.as_hz(),
        unanalysed: told.err().map(|why| Statement {
            code: why.code(),
            text: why.to_string(),
        }),
        found: told.ok().map(|told| found(told, sounds.rate)),
    }
}

fn found(found: &SoundsFound, rate: SamplingRate) -> Found {
    Found {
        algorithm: pcg::ALGORITHM.to_string(),
        quality: quality(&found.summary.quality),
        heart_rate: heart_rate(&found.summary.rate),
        usable_windows: found.summary.usable_windows,
        windows: found
            .windows
            .iter()
            .map(|told| window(told, rate))
            .collect(),
        sounds: found
            .sounds
            .iter()
            .map(|sound| Sound {
                kind: sound.kind.name(),
                first: sound.first.0,
                len: sound.len.0,
            })
            .collect(),
    }
}

fn window(window: &SoundWindow, rate: SamplingRate) -> Window {
    let told = &window.quality;
    let seconds = |samples: u64| {
        let micros = rate.micros_at(cardio_core::index::SampleIndex(samples));
        std::time::Duration::from_micros(micros).as_secs_f64()
    };
    Window {
        first: told.first.0,
        len: told.len.0,
        start_s: seconds(told.first.0),
        length_s: seconds(told.len.0),
        quality: quality(&told.overall),
        heart_rate: heart_rate(&window.rate),
    }
}

fn heart_rate(rate: &Result<SoundRate, pcg::Unanalysed>) -> Rate {
    Rate {
        bpm: rate.as_ref().ok().map(|rate| rate.bpm),
        source: rate.as_ref().ok().map(|rate| match rate.source {
            RateSource::Sound => "sound",
            RateSource::Beats => "beats",
        }),
        undetermined: rate.as_ref().err().map(|why| Statement {
            code: why.code(),
            text: why.to_string(),
        }),
    }
}
