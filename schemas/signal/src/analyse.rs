//! Everything that can be told of a whole recording: pure data, ready to be written out.
//!
//! Deliberately absent: files and JSON; what cannot be analysed is named, not left out.

use cardio_core::acquisition::WaveformKind;
use cardio_core::annotation::Beat;
use cardio_core::calibration::Calibration;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{AlgorithmId, LeadQuality, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};
use cardio_core::units::PhysicalUnit;

use crate::beat::{self, BeatDetector};
use crate::num;
use crate::qrs;
use crate::rhythm::{
    EVENT_ALGORITHM, HeartRate, RATE_ALGORITHM, RhythmEvent, RhythmTracker, Undetermined,
    heart_rate,
};
use crate::sqi::{self, EcgQuality, LeadSpec, QualityConfig};

/// The rates at which an ECG can be analysed, in hertz.
pub const RATES_HZ: (f64, f64) = (100.0, 2_000.0);
/// Windows are told this far apart, in seconds.
const WINDOW_STEP_S: u64 = 10;
/// Samples are handed on in blocks of this length.
const BLOCK: usize = 4_096;

/// Why a waveform, or a recording, was not analysed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanalysed {
    /// No waveform is an ECG.
    #[error("cannot analyse: the recording holds no ECG")]
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
    /// Middle of the probabilities of its windows to be insufficient.
    pub badness: f64,
    /// The verdict over the whole recording.
    pub acceptable: bool,
}

/// The beats of one lead.
#[derive(Clone, Debug, PartialEq)]
pub struct BeatTrain {
    /// The lead, as a place among the recording's waveforms.
    pub waveform: usize,
    /// Its label.
    pub label: String,
    /// The beats, in order of time, on the lead's own time line.
    pub beats: Vec<Beat>,
    /// Who found them.
    pub algorithm: AlgorithmId,
    /// Who says of which class they are.
    pub class_algorithm: AlgorithmId,
}

/// What was recorded, and how much of it can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Length of the time line, gaps included, in seconds.
    pub planned_s: f64,
    /// Seconds in windows that are good or acceptable over all leads.
    pub analysable_s: f64,
    /// The longest stretch without samples, in seconds.
    pub longest_gap_s: f64,
    /// Analysable seconds of each whole or begun hour.
    pub hours_s: Vec<f64>,
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
    /// Beats of the first lead.
    pub beats: Option<BeatTrain>,
    /// Mean heart rate over all beats.
    pub heart_rate: Result<HeartRate, Undetermined>,
    /// Spans of rhythm of those beats, where the signal was good enough.
    pub events: Vec<RhythmEvent>,
    /// Spans that were left out because the signal was not.
    pub doubtful_events: Vec<RhythmEvent>,
    /// How much can be used.
    pub coverage: Coverage,
    /// From 0 to 1: how sure it is that the recording is not good enough.
    pub unacceptable: f64,
    /// Whether the recording as a whole is good enough to be read.
    pub acceptable: bool,
    /// Who said all this.
    pub algorithms: Vec<AlgorithmId>,
}

/// Analyses a whole recording.
pub fn analyse(recording: &Recording) -> Analysis {
    let (chosen, mut unanalysed) = choose(recording);
    let Some((_, first)) = chosen.first() else {
        if unanalysed.is_empty() {
            unanalysed.push(Unanalysed::NoEcg);
        }
        return nothing(unanalysed);
    };
    let rate = first.rate;
    let specs: Vec<LeadSpec> = chosen.iter().map(|(_, wave)| lead_spec(wave)).collect();
    let windows = windows(&chosen, rate, &specs);
    let train = train(&chosen);
    let leads = lead_summaries(&chosen, &windows);
    let heart_rate = mean_rate(train.as_ref(), rate);
    let (events, doubtful_events) = rhythm(train.as_ref(), first, &windows, rate);
    let coverage = coverage(&chosen, &windows, rate);
    let unacceptable = unacceptable(&leads);
    Analysis {
        rate: Some(rate),
        leads,
        unanalysed,
        windows,
        beats: train,
        heart_rate,
        events,
        doubtful_events,
        coverage,
        unacceptable,
        acceptable: unacceptable < 0.5,
        algorithms: vec![
            qrs::ALGORITHM,
            beat::ALGORITHM,
            sqi::ALGORITHM,
            RATE_ALGORITHM,
            EVENT_ALGORITHM,
        ],
    }
}

fn nothing(unanalysed: Vec<Unanalysed>) -> Analysis {
    Analysis {
        rate: None,
        leads: Vec::new(),
        unanalysed,
        windows: Vec::new(),
        beats: None,
        heart_rate: Err(Undetermined::TooFewBeats { have: 0 }),
        events: Vec::new(),
        doubtful_events: Vec::new(),
        coverage: Coverage {
            planned_s: 0.0,
            analysable_s: 0.0,
            longest_gap_s: 0.0,
            hours_s: Vec::new(),
        },
        unacceptable: 1.0,
        acceptable: false,
        algorithms: Vec::new(),
    }
}

type Chosen<'a> = Vec<(usize, &'a Waveform)>;

/// The ECG leads that share the rate of the first one, and what is left out.
fn choose(recording: &Recording) -> (Chosen<'_>, Vec<Unanalysed>) {
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
fn gain_adu_per_mv(calibration: &Calibration) -> f64 {
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

/// A stretch in which every chosen lead has samples, or in which one has none.
enum Stretch<'a> {
    Signal(Vec<&'a [i32]>),
    Gap(SampleCount),
}

/// The common time line of the chosen leads.
fn stretches<'a>(chosen: &Chosen<'a>) -> Vec<Stretch<'a>> {
    let mut edges: Vec<u64> = chosen
        .iter()
        .flat_map(|(_, wave)| &wave.runs)
        .flat_map(|run| [run.first.0, run.end().0])
        .collect();
    edges.push(0);
    edges.sort_unstable();
    edges.dedup();
    let mut all = Vec::new();
    for pair in edges.windows(2) {
        let [from, to] = pair else { continue };
        let rows: Option<Vec<&[i32]>> = chosen
            .iter()
            .map(|(_, wave)| slice(wave, *from, *to))
            .collect();
        match rows {
            Some(rows) => all.push(Stretch::Signal(rows)),
            None => all.push(Stretch::Gap(SampleCount(to - from))),
        }
    }
    all
}

fn slice(wave: &Waveform, from: u64, to: u64) -> Option<&[i32]> {
    let run = wave
        .runs
        .iter()
        .find(|run| run.first.0 <= from && run.end().0 >= to)?;
    let start = SampleCount(from - run.first.0).len();
    let end = SampleCount(to - run.first.0).len();
    run.samples.get(start..end)
}

fn windows(chosen: &Chosen<'_>, rate: SamplingRate, specs: &[LeadSpec]) -> Vec<SignalQuality> {
    let mut quality = EcgQuality::new(
        rate,
        specs,
        QualityConfig {
            forget_lost_contact: false,
            ..QualityConfig::default()
        },
    );
    let mut told: Vec<SignalQuality> = Vec::new();
    let mut latest: Option<SignalQuality> = None;
    for stretch in stretches(chosen) {
        match stretch {
            Stretch::Gap(len) => {
                told.extend(latest.take());
                quality.gap(len);
            }
            Stretch::Signal(rows) => {
                let length = rows.first().map_or(0, |row| row.len());
                let mut from = 0;
                while from < length {
                    let to = length.min(from + BLOCK);
                    let block: Vec<&[i32]> = rows
                        .iter()
                        .map(|row| row.get(from..to).unwrap_or_default())
                        .collect();
                    for window in quality.push(&block) {
                        keep_window(&mut told, &mut latest, window, rate);
                    }
                    from = to;
                }
            }
        }
    }
    told.extend(latest);
    told
}

/// Keeps the windows that end a step after the one kept before; the newest waits in case it
/// is the last.
fn keep_window(
    told: &mut Vec<SignalQuality>,
    latest: &mut Option<SignalQuality>,
    window: SignalQuality,
    rate: SamplingRate,
) {
    let end = window.first.after(window.len);
    let before = told
        .last()
        .map_or(SampleIndex(0), |kept| kept.first.after(kept.len));
    let start = before.max(window.first);
    let step = rate.count_in_micros(WINDOW_STEP_S * 1_000_000);
    if end.since(start).is_some_and(|span| span >= step) {
        *latest = None;
        told.push(window);
    } else {
        *latest = Some(window);
    }
}

fn train(chosen: &Chosen<'_>) -> Option<BeatTrain> {
    let (waveform, wave) = chosen.first()?;
    let mut detector = BeatDetector::new(wave.rate, gain_adu_per_mv(&wave.calibration));
    let mut found = Vec::new();
    for run in &wave.runs {
        if let Some(len) = run
            .first
            .since(detector.end())
            .filter(|len| !len.is_empty())
        {
            found.extend(detector.gap(len));
        }
        found.extend(detector.push(&run.samples));
    }
    found.extend(detector.finish());
    Some(BeatTrain {
        waveform: *waveform,
        label: wave.label.clone(),
        beats: found,
        algorithm: qrs::ALGORITHM,
        class_algorithm: beat::ALGORITHM,
    })
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
            let mut bad: Vec<f64> = told.iter().map(|lead| 1.0 - lead.index.get()).collect();
            let badness = if bad.is_empty() {
                1.0
            } else {
                num::median(&mut bad)
            };
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

/// The spans of rhythm, and those that rest on windows that are insufficient.
fn rhythm(
    train: Option<&BeatTrain>,
    wave: &Waveform,
    windows: &[SignalQuality],
    rate: SamplingRate,
) -> (Vec<RhythmEvent>, Vec<RhythmEvent>) {
    let mut tracker = RhythmTracker::new(rate);
    let mut events = Vec::new();
    let mut gaps = wave.gaps().into_iter().peekable();
    for beat in train
        .map(|train| train.beats.as_slice())
        .unwrap_or_default()
    {
        while gaps.next_if(|gap| gap.from <= beat.at).is_some() {
            events.extend(tracker.finish());
        }
        events.extend(tracker.push(*beat));
    }
    events.extend(tracker.finish());
    events.sort_by_key(|event| (event.from, event.kind));
    let insufficient = |event: &RhythmEvent| {
        let (mut bad, mut all) = (0, 0);
        for window in windows {
            let end = window.first.after(window.len).min(event.to);
            let shared = end.0.saturating_sub(window.first.max(event.from).0);
            let first_lead = window.per_lead.first();
            all += shared;
            if first_lead.is_some_and(|lead| lead.verdict == QualityVerdict::Insufficient) {
                bad += shared;
            }
        }
        // More than a third of the evidence.
        3 * bad > all
    };
    events.into_iter().partition(|event| !insufficient(event))
}

/// What can be used, in all and hour by hour.
fn coverage(chosen: &Chosen<'_>, windows: &[SignalQuality], rate: SamplingRate) -> Coverage {
    let hz = rate.as_hz();
    let seconds = |samples: u64| num::float_u64(samples) / hz;
    let end = chosen
        .iter()
        .map(|(_, wave)| wave.end())
        .max()
        .unwrap_or_default();
    let longest = chosen
        .iter()
        .flat_map(|(_, wave)| wave.gaps())
        .map(|gap| gap.len.0)
        .max();
    let mut hours_s = vec![0.0; num::round_usize((seconds(end.0) / 3_600.0).ceil())];
    let mut counted = SampleIndex(0);
    let mut analysable_s = 0.0;
    for window in windows {
        let to = window.first.after(window.len);
        let from = counted.max(window.first);
        counted = counted.max(to);
        if window.overall.verdict == QualityVerdict::Insufficient {
            continue;
        }
        let span_s = seconds(to.0.saturating_sub(from.0));
        analysable_s += span_s;
        let hour = num::round_usize((seconds(from.0) / 3_600.0).floor());
        if let Some(sum) = hours_s.get_mut(hour) {
            *sum += span_s;
        }
    }
    Coverage {
        planned_s: seconds(end.0),
        analysable_s,
        longest_gap_s: seconds(longest.unwrap_or(0)),
        hours_s,
    }
}

fn mean_rate(train: Option<&BeatTrain>, rate: SamplingRate) -> Result<HeartRate, Undetermined> {
    let beats: Vec<SampleIndex> = train
        .map(|train| train.beats.iter().map(|beat| beat.at).collect())
        .unwrap_or_default();
    let (Some(first), Some(last)) = (beats.first(), beats.last()) else {
        return Err(Undetermined::TooFewBeats { have: 0 });
    };
    if beats.len() <= 9 {
        return heart_rate(&beats, rate, *last);
    }
    let intervals = beats.len() - 1;
    let span_us = num::float_u64(rate.micros_at(*last) - rate.micros_at(*first));
    let mut each: Vec<f64> = cardio_core::rr::intervals(&beats, rate)
        .iter()
        .map(|interval| interval.millis.max(1.0))
        .collect();
    let fast = 60_000.0 / num::quantile(&mut each, 0.05);
    let slow = 60_000.0 / num::quantile(&mut each, 0.95);
    Ok(HeartRate {
        bpm: 60e6 * num::float(intervals) / span_us.max(1.0),
        spread: fast - slow,
        intervals,
    })
}

#[cfg(test)]
mod tests {
    use super::{Recording, SamplingRate, Unanalysed, Waveform, WaveformKind, analyse};
    use crate::synth::{EcgSynth, SynthConfig, to_adu, twelve};
    use cardio_core::calibration::Calibration;
    use cardio_core::index::SampleIndex;
    use cardio_core::lead::Lead;
    use cardio_core::recording::Run;

    fn recording(config: SynthConfig, seconds: u32) -> Recording {
        let rate = config.rate;
        let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
        let mut synth = EcgSynth::new(config);
        let count = crate::num::round_usize(rate.as_hz() * f64::from(seconds));
        let mut rows = vec![Vec::new(); 12];
        for _ in 0..count {
            for (row, value) in rows.iter_mut().zip(twelve(&synth.next_measured())) {
                row.push(to_adu(value, &calibration, (-32_768, 32_767)));
            }
        }
        Recording {
            format: "test",
            waveforms: Lead::ALL
                .into_iter()
                .zip(rows)
                .map(|(lead, samples)| Waveform {
                    label: lead.name().to_owned(),
                    kind: WaveformKind::Ecg(lead),
                    rate,
                    calibration: calibration.clone(),
                    runs: vec![Run {
                        first: SampleIndex(0),
                        samples,
                    }],
                })
                .collect(),
            ..Recording::default()
        }
    }

    fn calm() -> Recording {
        recording(SynthConfig::calm(5, SamplingRate::hz(500).unwrap()), 10)
    }

    #[test]
    fn a_calm_strip_is_acceptable_with_its_rate_and_beats() {
        let told = analyse(&calm());
        assert!(told.acceptable, "{:?}", told.windows);
        assert_eq!(told.windows.len(), 1);
        let rate = told.heart_rate.unwrap();
        assert!((rate.bpm - 70.0).abs() < 5.0, "{rate:?}");
        assert!(told.beats.unwrap().beats.len() >= 10);
    }

    #[test]
    fn two_flat_leads_make_a_strip_unacceptable() {
        let mut flat = calm();
        for wave in flat.waveforms.iter_mut().skip(7).take(2) {
            wave.runs[0].samples.fill(0);
        }
        assert!(!analyse(&flat).acceptable);
    }

    #[test]
    fn what_cannot_be_analysed_is_named() {
        let told = analyse(&Recording::default());
        assert_eq!(told.unanalysed, [Unanalysed::NoEcg]);
        let mut slow = calm();
        for wave in &mut slow.waveforms {
            wave.rate = SamplingRate::hz(50).unwrap();
        }
        slow.waveforms[0].runs.clear();
        let told = analyse(&slow);
        assert_eq!(told.unanalysed.len(), 12);
        assert_eq!(told.unanalysed[0].code(), "analyse.empty");
        assert_eq!(told.unanalysed[1].code(), "analyse.rate");
    }

    #[test]
    fn a_gap_in_one_lead_parts_the_windows() {
        let mut gapped = recording(SynthConfig::calm(5, SamplingRate::hz(250).unwrap()), 30);
        let late: Vec<i32> = gapped.waveforms[2].runs[0].samples.split_off(3_000);
        gapped.waveforms[2].runs.push(Run {
            first: SampleIndex(3_500),
            samples: late[500..].to_vec(),
        });
        let told = analyse(&gapped);
        assert!(told.windows.iter().all(|window| {
            let end = window.first.after(window.len);
            end.0 <= 3_000 || window.first.0 >= 3_500
        }));
        assert!(told.windows.len() >= 2);
    }

    #[test]
    fn one_sample_is_a_result() {
        let mut tiny = calm();
        for wave in &mut tiny.waveforms {
            wave.runs[0].samples.truncate(1);
        }
        let told = analyse(&tiny);
        assert!(!told.acceptable);
        assert!(told.windows.is_empty());
    }
}
