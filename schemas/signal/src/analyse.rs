//! Everything that can be told of a whole recording: pure data, ready to be written out.
//!
//! Deliberately absent: files and JSON; what cannot be analysed is named, not left out.

mod coverage;
mod measured;
mod rhythm;
mod sounds;
mod windows;

use cardio_core::acquisition::WaveformKind;
use cardio_core::annotation::Beat;
use cardio_core::calibration::Calibration;
use cardio_core::quality::{AlgorithmId, LeadQuality, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};
use cardio_core::units::PhysicalUnit;

use self::coverage::coverage;
pub use self::measured::Measured;
use self::measured::measured;
use self::rhythm::{intervals, mean_rate, rhythm, train};
use self::sounds::sounds;
pub use self::sounds::{AnalysedSounds, SoundsFound};
use self::windows::windows;
pub(crate) use self::windows::{Stretch, stretches};
use crate::beat;
use crate::delineation;
use crate::limbs::{self, LimbSwap};
use crate::num;
use crate::pcg;
use crate::qrs;
use crate::rhythm::{
    EVENT_ALGORITHM, HeartRate, Interval, RATE_ALGORITHM, RhythmEvent, SERIES_ALGORITHM,
    Undetermined,
};
use crate::sqi::{self, LeadSpec};

/// Samples of a lead are handed on in blocks of this length.
pub(crate) const BLOCK: usize = 4_096;

/// Shares of the time line that a Holter needs to be good, and to be used at all.
const GOOD_SHARE: f64 = 0.9;
const LEAST_SHARE: f64 = 0.75;

/// The rates at which an ECG can be analysed, in hertz.
pub const RATES_HZ: (f64, f64) = (100.0, 2_000.0);

/// Why a waveform, or a recording, was not analysed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanalysed {
    /// No waveform is an ECG or a heart sound.
    #[error("cannot analyse: the recording holds neither ECG nor heart sounds")]
    NoEcg,
    /// The rate is outside of what the methods were made for.
    #[error("cannot analyse {label}: {rate_hz} Hz is outside of 100 to 2000 Hz")]
    Rate {
        /// The waveform.
        label: String,
        /// Its rate.
        rate_hz: f64,
    },
    /// The rate differs from that of the first ECG lead.
    #[error("cannot analyse {label}: its {rate_hz} Hz differ from the first lead's rate")]
    OtherRate {
        /// The waveform.
        label: String,
        /// Its rate.
        rate_hz: f64,
    },
    /// There are no samples.
    #[error("cannot analyse {label}: it holds no samples")]
    Empty {
        /// The waveform.
        label: String,
    },
}

impl Unanalysed {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoEcg => "analyse.no-ecg",
            Self::Rate { .. } => "analyse.rate",
            Self::OtherRate { .. } => "analyse.other-rate",
            Self::Empty { .. } => "analyse.empty",
        }
    }
}

/// A lead that was analysed.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysedLead {
    /// Its place among the recording's waveforms.
    pub waveform: usize,
    /// Its label.
    pub label: String,
    /// Share of the windows in which it is good or acceptable.
    pub analysable_share: f64,
    /// Probability that it is insufficient as a whole, from those of its windows.
    pub badness: f64,
    /// The verdict over the whole recording.
    pub acceptable: bool,
}

/// The beats of the heart, as the first lead and others with it show them.
#[derive(Clone, Debug, PartialEq)]
pub struct BeatTrain {
    /// The lead that places and classes rest on, as a place among the recording's waveforms.
    pub waveform: usize,
    /// Its label.
    pub label: String,
    /// All leads that were listened to, as places among the recording's waveforms.
    pub heard: Vec<usize>,
    /// The beats, in order of time, on the lead's own time line.
    pub beats: Vec<Beat>,
    /// How like the P wave of each is to those before it; see [`crate::beat::ToldBeat`].
    pub p_waves: Vec<f64>,
    /// Who found them.
    pub algorithm: AlgorithmId,
    /// Who says of which class they are.
    pub class_algorithm: AlgorithmId,
}

/// Time in windows that are good or acceptable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalysableTime {
    /// In all, in seconds.
    pub total_s: f64,
    /// Of each whole or begun hour, in seconds.
    pub hours_s: Vec<f64>,
    /// The longest stretch outside of them, gaps included, in seconds.
    pub longest_without_s: f64,
}

/// How much of one lead can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct LeadCoverage {
    /// Its label.
    pub label: String,
    /// Time in which it is good or acceptable.
    pub analysable: AnalysableTime,
    /// The longest stretch without samples, in seconds.
    pub longest_gap_s: f64,
}

/// What was recorded, and how much of it can be used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Length of the time line, gaps included, in seconds.
    pub planned_s: f64,
    /// Time in which the leads together are good or acceptable.
    pub analysable: AnalysableTime,
    /// The longest stretch without samples in any lead, in seconds.
    pub longest_gap_s: f64,
    /// The same lead by lead, in the order of [`Analysis::leads`].
    pub per_lead: Vec<LeadCoverage>,
}

impl Coverage {
    /// Share of the time line that can be used; zero for an empty one.
    pub fn analysable_share(&self) -> f64 {
        self.analysable.total_s / self.planned_s.max(1e-9)
    }

    /// Whether that is enough: good from nine tenths on, insufficient below three quarters,
    /// which laboratories refuse.
    pub fn verdict(&self) -> QualityVerdict {
        match self.analysable_share() {
            share if share >= GOOD_SHARE => QualityVerdict::Good,
            share if share >= LEAST_SHARE => QualityVerdict::Acceptable,
            _ => QualityVerdict::Insufficient,
        }
    }
}

/// What was found in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// The rate of the leads below, if there are any.
    pub rate: Option<SamplingRate>,
    /// The leads, in the order of [`SignalQuality::per_lead`].
    pub leads: Vec<AnalysedLead>,
    /// What was left out, and why.
    pub unanalysed: Vec<Unanalysed>,
    /// Quality every ten seconds, and over the rest.
    pub windows: Vec<SignalQuality>,
    /// Limb electrodes that look swapped.
    pub limb_swap: Option<LimbSwap>,
    /// Beats of the first lead, found with the help of others.
    pub beats: Option<BeatTrain>,
    /// The intervals between those beats; none lies across a gap.
    pub intervals: Vec<Interval>,
    /// Mean heart rate over all beats.
    pub heart_rate: Result<HeartRate, Undetermined>,
    /// Spans of rhythm of those beats, where the signal was good enough.
    pub events: Vec<RhythmEvent>,
    /// Spans that were left out because the signal was not.
    pub doubtful_events: Vec<RhythmEvent>,
    /// Intervals and ST levels, once for each whole or begun hour.
    pub measured: Vec<Measured>,
    /// How much can be used.
    pub coverage: Coverage,
    /// Heart sounds, if there are any.
    pub sounds: Vec<AnalysedSounds>,
    /// From 0 to 1: how sure it is that the recording is not good enough.
    pub unacceptable: f64,
    /// Whether the recording as a whole is good enough to be read.
    pub acceptable: bool,
    /// Who said all this.
    pub algorithms: Vec<AlgorithmId>,
}

/// Analyses a whole recording.
pub fn analyse(recording: &Recording) -> Analysis {
    let (chosen, unanalysed) = choose(recording);
    let Some((_, first)) = chosen.first() else {
        return sound_only(sounds(recording, None), unanalysed);
    };
    let rate = first.rate;
    let specs: Vec<LeadSpec> = chosen.iter().map(|(_, wave)| lead_spec(wave)).collect();
    let (windows, limb_swap) = windows(&chosen, rate, &specs);
    let train = train(&chosen);
    let leads = lead_summaries(&chosen, &windows);
    let heart_rate = mean_rate(train.as_ref(), rate);
    let (events, doubtful_events) = rhythm(train.as_ref(), first, &windows, rate);
    let intervals = intervals(train.as_ref(), first, &windows, rate);
    let measured = measured(&chosen, &windows, train.as_ref(), &events, rate);
    let coverage = coverage(&chosen, &windows, rate);
    let sounds = sounds(recording, train.as_ref().map(|train| (train, rate)));
    let unacceptable = unacceptable(&leads);
    Analysis {
        rate: Some(rate),
        leads,
        unanalysed,
        windows,
        limb_swap,
        beats: train,
        intervals,
        heart_rate,
        events,
        doubtful_events,
        measured,
        coverage,
        sounds,
        unacceptable,
        acceptable: unacceptable < 0.5,
        algorithms: vec![
            qrs::ALGORITHM,
            qrs::FUSED_ALGORITHM,
            beat::ALGORITHM,
            sqi::ALGORITHM,
            RATE_ALGORITHM,
            SERIES_ALGORITHM,
            EVENT_ALGORITHM,
            delineation::ALGORITHM,
            limbs::ALGORITHM,
        ],
    }
}

/// Without an ECG: the sounds alone, of which the best one decides.
fn sound_only(sounds: Vec<AnalysedSounds>, mut unanalysed: Vec<Unanalysed>) -> Analysis {
    let best = sounds
        .iter()
        .filter_map(|sounds| sounds.told.as_ref().ok())
        .map(|found| found.summary.quality.index.get())
        .fold(0.0, f64::max);
    let (unacceptable, algorithms) = if sounds.is_empty() {
        (1.0, Vec::new())
    } else {
        (1.0 - best, vec![pcg::ALGORITHM])
    };
    if sounds.is_empty() && unanalysed.is_empty() {
        unanalysed.push(Unanalysed::NoEcg);
    }
    Analysis {
        rate: None,
        leads: Vec::new(),
        unanalysed,
        windows: Vec::new(),
        limb_swap: None,
        beats: None,
        intervals: Vec::new(),
        heart_rate: Err(Undetermined::TooFewBeats { have: 0 }),
        events: Vec::new(),
        doubtful_events: Vec::new(),
        measured: Vec::new(),
        coverage: Coverage::default(),
        sounds,
        unacceptable,
        acceptable: unacceptable < 0.5,
        algorithms,
    }
}

pub(crate) type Chosen<'a> = Vec<(usize, &'a Waveform)>;

/// The ECG leads that share the rate of the first one, and what is left out.
pub(crate) fn choose(recording: &Recording) -> (Chosen<'_>, Vec<Unanalysed>) {
    let mut chosen: Chosen<'_> = Vec::new();
    let mut unanalysed = Vec::new();
    for (place, wave) in recording.waveforms.iter().enumerate() {
        if !matches!(wave.kind, WaveformKind::Ecg(_) | WaveformKind::EcgOther(_)) {
            continue;
        }
        let rate_hz = wave.rate.as_hz();
        let label = wave.label.clone();
        if wave.sample_count().is_empty() {
            unanalysed.push(Unanalysed::Empty { label });
        } else if rate_hz < RATES_HZ.0 || rate_hz > RATES_HZ.1 {
            unanalysed.push(Unanalysed::Rate { label, rate_hz });
        } else if chosen
            .first()
            .is_some_and(|(_, first)| first.rate != wave.rate)
        {
            unanalysed.push(Unanalysed::OtherRate { label, rate_hz });
        } else {
            chosen.push((place, wave));
        }
    }
    (chosen, unanalysed)
}

/// What the quality needs to know of a waveform of a file, whose rails nobody states.
fn lead_spec(wave: &Waveform) -> LeadSpec {
    LeadSpec {
        label: wave.label.clone(),
        lead: wave.kind.lead(),
        gain_adu_per_mv: gain_adu_per_mv(&wave.calibration),
        baseline_adu: wave.calibration.baseline_adu(),
        rails: None,
    }
}

/// Counts per millivolt, for the spellings of volts that files use.
pub(crate) fn gain_adu_per_mv(calibration: &Calibration) -> f64 {
    let gain = calibration.gain_adu_per_unit();
    match calibration.unit() {
        PhysicalUnit::Other(unit) => match unit.as_str() {
            "uV" | "µV" | "μV" => gain * 1_000.0,
            "V" => gain / 1_000.0,
            "nV" => gain * 1_000_000.0,
            _ => gain,
        },
        _ => gain,
    }
}

fn lead_summaries(chosen: &Chosen<'_>, windows: &[SignalQuality]) -> Vec<AnalysedLead> {
    chosen
        .iter()
        .enumerate()
        .map(|(row, (waveform, wave))| {
            let told: Vec<&LeadQuality> = windows
                .iter()
                .filter_map(|window| window.per_lead.get(row))
                .collect();
            let usable = told
                .iter()
                .filter(|lead| lead.verdict > QualityVerdict::Insufficient)
                .count();
            let bad: Vec<f64> = told.iter().map(|lead| 1.0 - lead.index.get()).collect();
            let badness = sqi::over_windows(&bad);
            AnalysedLead {
                waveform: *waveform,
                label: wave.label.clone(),
                analysable_share: num::float(usable) / num::float(told.len().max(1)),
                badness,
                acceptable: badness < 0.5,
            }
        })
        .collect()
}

/// A recording of many leads is read as a whole; a Holter of up to three leads needs one
/// good one.
fn unacceptable(leads: &[AnalysedLead]) -> f64 {
    let bad: Vec<f64> = leads.iter().map(|lead| lead.badness).collect();
    if leads.len() > 3 {
        sqi::unacceptable(&bad)
    } else {
        bad.iter().copied().fold(1.0, f64::min)
    }
}

#[cfg(test)]
pub(crate) mod tests;
