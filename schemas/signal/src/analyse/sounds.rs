//! Heart sounds of a recording, with the beats of the ECG beside them when there is one.
//!
//! Deliberately absent: the methods ([`crate::pcg`]).

use cardio_core::acquisition::WaveformKind;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};

use super::{BLOCK, BeatTrain};
use crate::pcg::{HeartSound, HeartSounds, PcgError, SoundSummary, SoundWindow};

/// Windows are told this far apart, in seconds.
const WINDOW_STEP_S: u64 = 5;

/// The heart sounds of one waveform.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysedSounds {
    /// Its place among the recording's waveforms.
    pub waveform: usize,
    /// Its label.
    pub label: String,
    /// Its rate.
    pub rate: SamplingRate,
    /// What was found, or why it was not analysed.
    pub told: Result<SoundsFound, PcgError>,
}

/// What was found in heart sounds.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundsFound {
    /// All of it together.
    pub summary: SoundSummary,
    /// A window every five seconds.
    pub windows: Vec<SoundWindow>,
    /// First and second sounds, in order of time.
    pub sounds: Vec<HeartSound>,
}

/// Whether a waveform holds heart sounds: it says so, or a file that is nothing but sound
/// holds it.
pub(super) fn is_sound(recording: &Recording, wave: &Waveform) -> bool {
    match wave.kind {
        WaveformKind::HeartSound(_) => true,
        WaveformKind::Other(_) => recording.format == "wav",
        _ => false,
    }
}

pub(super) fn sounds(
    recording: &Recording,
    ecg: Option<(&BeatTrain, SamplingRate)>,
) -> Vec<AnalysedSounds> {
    recording
        .waveforms
        .iter()
        .enumerate()
        .filter(|(_, wave)| is_sound(recording, wave) && !wave.sample_count().is_empty())
        .map(|(waveform, wave)| AnalysedSounds {
            waveform,
            label: wave.label.clone(),
            rate: wave.rate,
            told: found(wave, beats(ecg, wave.rate)),
        })
        .collect()
}

/// The beats of the ECG on the time line of the sound.
fn beats(ecg: Option<(&BeatTrain, SamplingRate)>, rate: SamplingRate) -> Vec<SampleIndex> {
    let Some((train, ecg_rate)) = ecg else {
        return Vec::new();
    };
    let on_sound = |at| SampleIndex(rate.count_in_micros(ecg_rate.micros_at(at)).0);
    train.beats.iter().map(|beat| on_sound(beat.at)).collect()
}

fn found(wave: &Waveform, beats: Vec<SampleIndex>) -> Result<SoundsFound, PcgError> {
    let mut analyser = HeartSounds::new(wave.rate, None)?;
    let mut beats = beats.into_iter().peekable();
    let (mut windows, mut sounds) = (Vec::new(), Vec::new());
    let mut latest: Option<SoundWindow> = None;
    let step = wave.rate.count_in_micros(WINDOW_STEP_S * 1_000_000);
    for run in &wave.runs {
        let gap = run.first.since(analyser.end());
        if let Some(len) = gap.filter(|len| !len.is_empty()) {
            sounds.extend(analyser.gap(len));
        }
        for block in run.samples.as_slice().chunks(BLOCK) {
            let end = analyser
                .end()
                .after(SampleCount(crate::num::count(block.len())));
            while let Some(beat) = beats.next_if(|beat| *beat < end) {
                analyser.beat(beat);
            }
            for mut window in analyser.push(&block.to_vec()) {
                sounds.append(&mut window.sounds);
                keep(&mut windows, &mut latest, window, step);
            }
        }
    }
    windows.extend(latest);
    sounds.extend(analyser.finish());
    Ok(SoundsFound {
        summary: analyser.summary(),
        windows,
        sounds,
    })
}

/// Keeps the windows that end a step after the one kept before; the newest waits in case it
/// is the last.
fn keep(
    windows: &mut Vec<SoundWindow>,
    latest: &mut Option<SoundWindow>,
    window: SoundWindow,
    step: SampleCount,
) {
    let end = |window: &SoundWindow| window.quality.first.after(window.quality.len);
    let before = windows.last().map_or(SampleIndex(0), end);
    if end(&window).since(before).is_some_and(|span| span >= step) {
        *latest = None;
        windows.push(window);
    } else {
        *latest = Some(window);
    }
}
