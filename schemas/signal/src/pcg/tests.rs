use super::synth::{SoundSynth, SoundSynthConfig};
use super::{HeartSound, HeartSounds, RateSource, SoundKind, SoundWindow, Unanalysed};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityCause, QualityVerdict};
use cardio_core::rate::SamplingRate;
use proptest::prelude::*;

fn hz(rate: u32) -> SamplingRate {
    SamplingRate::hz(rate).unwrap()
}

fn clean(rate: u32) -> SoundSynthConfig {
    SoundSynthConfig::clean(7, hz(rate))
}

fn heard(config: SoundSynthConfig, seconds: f64) -> (HeartSounds, Vec<SoundWindow>) {
    let samples = SoundSynth::new(config).seconds(seconds);
    let mut analyser = HeartSounds::new(config.rate, None).unwrap();
    let windows = analyser.push(&samples);
    (analyser, windows)
}

fn all_sounds(analyser: &mut HeartSounds, windows: &[SoundWindow]) -> Vec<HeartSound> {
    let mut sounds: Vec<HeartSound> = windows.iter().flat_map(|w| w.sounds.clone()).collect();
    sounds.extend(analyser.finish());
    sounds
}

fn causes(windows: &[SoundWindow]) -> Vec<QualityCause> {
    windows.last().unwrap().quality.overall.causes.clone()
}

#[test]
fn a_clean_heart_is_good_at_every_rate_and_its_rate_is_told() {
    for rate in [1_000, 2_000, 4_000, 8_000, 44_100, 48_000] {
        let (analyser, _) = heard(clean(rate), 8.0);
        let summary = analyser.summary();
        assert_eq!(
            summary.quality.verdict,
            QualityVerdict::Good,
            "{rate}: {summary:?}"
        );
        assert_eq!(summary.quality.causes, [], "{rate}");
        let told = summary.rate.unwrap();
        assert!((told.bpm - 70.0).abs() < 3.0, "{rate}: {told:?}");
        assert_eq!(told.source, RateSource::Sound);
    }
}

#[test]
fn slow_and_fast_hearts_are_neither_halved_nor_doubled() {
    for bpm in [40.0, 55.0, 90.0, 120.0, 150.0] {
        let config = SoundSynthConfig {
            heart_rate_bpm: bpm,
            ..clean(2_000)
        };
        let told = heard(config, 12.0).0.summary().rate.unwrap();
        assert!((told.bpm - bpm).abs() < 5.0, "{bpm}: {told:?}");
    }
}

#[test]
fn first_and_second_sounds_lie_where_they_are() {
    let mut synth = SoundSynth::new(clean(4_000));
    let samples = synth.seconds(20.0);
    let truth = synth.take_sounds();
    let mut analyser = HeartSounds::new(hz(4_000), None).unwrap();
    let windows = analyser.push(&samples);
    let sounds = all_sounds(&mut analyser, &windows);
    let near = |sound: &&HeartSound| {
        let same = truth.iter().filter(|t| t.kind == sound.kind);
        same.map(|t| t.first.0.abs_diff(sound.first.0))
            .min()
            .unwrap()
            < 4_000 * 50 / 1_000
    };
    let matched = sounds.iter().filter(near).count();
    assert!(matched >= truth.len() - 3, "{matched} of {}", truth.len());
    assert_eq!(matched, sounds.len());
    assert!(sounds.windows(2).all(|pair| pair[0].first < pair[1].first));
    let summary = analyser.summary();
    let firsts = sounds.iter().filter(|s| s.kind == SoundKind::S1).count();
    assert_eq!(summary.first_sounds, u64::try_from(firsts).unwrap());
}

#[test]
fn a_short_piece_says_that_it_is_too_short() {
    let (mut analyser, windows) = heard(clean(2_000), 3.5);
    assert_eq!(windows.len(), 2, "a first verdict after two seconds");
    assert_eq!(causes(&windows), [QualityCause::TooShort]);
    assert!(analyser.finish().is_empty());
    let why = analyser.summary().rate.unwrap_err();
    assert_eq!(
        (why, why.code()),
        (Unanalysed::TooShort { have_ms: 3_000 }, "pcg.too-short")
    );
    let (analyser, windows) = heard(clean(2_000), 0.5);
    assert!(windows.is_empty());
    let quality = analyser.summary().quality;
    assert_eq!(quality.verdict, QualityVerdict::Insufficient);
    assert!(quality.causes.contains(&QualityCause::TooShort));
}

#[test]
fn what_hides_the_sounds_is_named() {
    let faults = [
        (
            SoundSynthConfig {
                amplitude_adu: 120_000.0,
                ..clean(2_000)
            },
            QualityCause::Saturation,
        ),
        (
            SoundSynthConfig {
                amplitude_adu: 2.0,
                ..clean(2_000)
            },
            QualityCause::TooQuiet,
        ),
        (
            SoundSynthConfig {
                rubs_per_min: 40.0,
                ..clean(2_000)
            },
            QualityCause::Friction,
        ),
        (
            SoundSynthConfig {
                speech: 1.5,
                ..clean(8_000)
            },
            QualityCause::Ambient,
        ),
        (
            SoundSynthConfig {
                second_sound: 0.0,
                amplitude_adu: 50.0,
                noise: 40.0,
                ..clean(2_000)
            },
            QualityCause::NoRhythm,
        ),
    ];
    for (config, cause) in faults {
        let (analyser, windows) = heard(config, 12.0);
        let told = windows
            .iter()
            .any(|w| w.quality.overall.causes.contains(&cause));
        assert!(told, "{cause:?}: {:?}", analyser.summary());
    }
}

#[test]
fn a_constant_is_flat_and_has_no_rate() {
    let mut analyser = HeartSounds::new(hz(4_000), None).unwrap();
    let windows = analyser.push(&vec![1_234; 4_000 * 8]);
    assert_eq!(causes(&windows).first(), Some(&QualityCause::Flat));
    assert!(
        windows
            .iter()
            .all(|w| w.rate.is_err() && w.sounds.is_empty())
    );
    assert!(analyser.finish().is_empty());
}

#[test]
fn stated_rails_show_clipping_that_never_repeats() {
    let samples: Vec<i32> = (0..20_000)
        .map(|n| if n % 2 == 0 { 8_388_607 } else { -8_388_608 })
        .collect();
    let mut analyser = HeartSounds::new(hz(2_000), Some((-8_388_608, 8_388_607))).unwrap();
    let windows = analyser.push(&samples);
    assert!(causes(&windows).contains(&QualityCause::Saturation));
}

#[test]
fn nothing_is_told_across_a_gap() {
    let samples = SoundSynth::new(clean(2_000)).seconds(10.0);
    let mut analyser = HeartSounds::new(hz(2_000), None).unwrap();
    let mut sounds: Vec<HeartSound> = analyser
        .push(&samples)
        .into_iter()
        .flat_map(|w| w.sounds)
        .collect();
    sounds.extend(analyser.gap(SampleCount(100_000)));
    assert!(
        sounds
            .iter()
            .all(|s| s.first.after(s.len) <= SampleIndex(20_000))
    );
    assert_eq!(analyser.end(), SampleIndex(120_000));
    let windows = analyser.push(&samples);
    assert_eq!(windows.len(), 8);
    assert!(
        windows
            .iter()
            .all(|w| w.quality.first >= SampleIndex(120_000))
    );
    let later = all_sounds(&mut analyser, &windows);
    assert!(!later.is_empty() && later.iter().all(|s| s.first >= SampleIndex(120_000)));
    assert_eq!(analyser.summary().heard, SampleCount(40_000));
}

#[test]
fn the_ecg_beside_it_gives_the_rate_and_the_first_sounds() {
    let noisy = SoundSynthConfig {
        noise: 0.05,
        variability: 0.06,
        ..clean(2_000)
    };
    let mut synth = SoundSynth::new(noisy);
    let samples = synth.seconds(30.0);
    let truth = synth.take_sounds();
    let firsts: Vec<u64> = truth
        .iter()
        .filter(|s| s.kind == SoundKind::S1)
        .map(|s| s.first.0)
        .collect();
    let mut analyser = HeartSounds::new(hz(2_000), None).unwrap();
    let mut waiting = firsts.iter().peekable();
    let mut windows = Vec::new();
    for block in samples.chunks(400) {
        windows.extend(analyser.push(block));
        while let Some(beat) = waiting.next_if(|beat| **beat + 1_600 <= analyser.end().0) {
            analyser.beat(SampleIndex(beat - 60));
        }
    }
    let rate = analyser.summary().rate.unwrap();
    assert_eq!(rate.source, RateSource::Beats);
    assert!((rate.bpm - 70.0).abs() < 5.0, "{rate:?}");
    let found = all_sounds(&mut analyser, &windows);
    let mine = found.iter().filter(|s| s.kind == SoundKind::S1);
    let near = mine
        .filter(|s| firsts.iter().any(|t| t.abs_diff(s.first.0) < 150))
        .count();
    assert!(near * 10 >= firsts.len() * 8, "{near} of {}", firsts.len());
}

#[test]
fn rates_outside_of_one_to_forty_eight_kilohertz_are_refused() {
    for rate in [1, 999, 48_001] {
        assert_eq!(
            HeartSounds::new(hz(rate), None).unwrap_err().code(),
            "pcg.rate-out-of-range"
        );
    }
}

#[test]
fn memory_does_not_grow_with_time() {
    let mut analyser = HeartSounds::new(hz(1_000), None).unwrap();
    let minute = SoundSynth::new(clean(1_000)).seconds(60.0);
    for _ in 0..3 {
        let _ = analyser.push(&minute);
        assert!(analyser.frames.len() <= 1_000);
        assert!(analyser.search.segmenter.held() <= 1_000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn blocks_of_any_size_give_the_same_answers(
        rate in 1_000_u32..48_000,
        seed: u64,
        cuts in proptest::collection::vec(1_usize..5_000, 1..20),
    ) {
        let config = SoundSynthConfig { seed, rubs_per_min: 10.0, ..clean(rate) };
        let samples = SoundSynth::new(config).seconds(6.2);
        let mut whole = HeartSounds::new(config.rate, None).unwrap();
        let at_once = whole.push(&samples);
        let mut parts = HeartSounds::new(config.rate, None).unwrap();
        let mut in_parts = Vec::new();
        let mut rest = samples.as_slice();
        for cut in cuts.iter().cycle() {
            let (block, after) = rest.split_at((*cut).min(rest.len()));
            in_parts.extend(parts.push(block));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(at_once, in_parts);
        prop_assert_eq!(whole.finish(), parts.finish());
        prop_assert_eq!(whole.summary(), parts.summary());
    }

    #[test]
    fn any_samples_gaps_and_beats_give_a_result(
        rate in 1_000_u32..48_000,
        pieces in proptest::collection::vec(
            (proptest::collection::vec(any::<i32>(), 1..50), 1_usize..400, any::<u32>(), any::<u64>()),
            1..6,
        ),
    ) {
        let mut analyser = HeartSounds::new(hz(rate), Some((i32::MIN, i32::MAX))).unwrap();
        for (samples, times, gap, beat) in pieces {
            for _ in 0..times {
                for window in analyser.push(&samples) {
                    let index = window.quality.overall.index.get();
                    prop_assert!((0.0..=1.0).contains(&index));
                    prop_assert!(window.features.values().iter().all(|value| value.is_finite()));
                }
                analyser.beat(SampleIndex(beat));
            }
            let _ = analyser.gap(SampleCount(u64::from(gap)));
        }
        prop_assert!((0.0..=1.0).contains(&analyser.summary().quality.index.get()));
        let _ = analyser.finish();
    }
}
