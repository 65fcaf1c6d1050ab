use super::{Recording, SamplingRate, Unanalysed, Waveform, WaveformKind, analyse};
use crate::rhythm::{IntervalKind, RhythmEvent, RhythmKind};
use crate::synth::{EcgSynth, SynthConfig, to_adu, twelve};
use cardio_core::annotation::BeatClass;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::quality::QualityVerdict;
use cardio_core::recording::Run;
use proptest::prelude::*;

pub(crate) fn recording(config: SynthConfig, seconds: u32) -> Recording {
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
                    samples: samples.into(),
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
fn a_calm_strip_is_measured_and_says_on_which_beats() {
    let told = analyse(&calm());
    let [measured] = told.measured.as_slice() else {
        panic!("{:?}", told.measured)
    };
    let found = measured.told.as_ref().unwrap();
    let (pr, qrs, qt) = (
        found.pr_ms.unwrap(),
        found.qrs_ms.unwrap(),
        found.qt_ms.unwrap(),
    );
    assert!((120.0..200.0).contains(&pr), "PR {pr}");
    assert!((60.0..120.0).contains(&qrs), "QRS {qrs}");
    assert!((330.0..430.0).contains(&qt), "QT {qt}");
    assert!(found.qtc_bazett_ms().unwrap() > found.qtc_fridericia_ms().unwrap());
    assert!(
        found.beats.len() >= 8 && found.leads.len() >= 10,
        "{found:?}"
    );
    let st = found.leads[1].st.unwrap();
    assert!(st.mv.abs() < 0.1 && st.after_j_ms == 80.0, "{st:?}");
}

#[test]
fn intervals_are_the_same_at_other_rates() {
    let qt = |hz| {
        let told = analyse(&recording(
            SynthConfig::calm(5, SamplingRate::hz(hz).unwrap()),
            10,
        ));
        told.measured[0].told.clone().unwrap().qt_ms.unwrap()
    };
    let at_500 = qt(500);
    for hz in [200, 250, 360, 1_000, 2_000] {
        assert!(
            (qt(hz) - at_500).abs() <= 10.0,
            "{hz} Hz: {} {at_500}",
            qt(hz)
        );
    }
}

#[test]
fn what_is_not_good_is_not_measured_and_says_why() {
    let mut flat = calm();
    for wave in &mut flat.waveforms {
        wave.runs[0].samples = vec![0; 5_000].into();
    }
    let why = analyse(&flat).measured[0].told.clone().unwrap_err();
    assert_eq!(why.code(), "measure.quality");
}

#[test]
fn swapped_arms_are_suspected_and_named_as_a_cause() {
    let mut swapped = calm();
    assert_eq!(analyse(&swapped).limb_swap, None);
    // I is turned round, II and III, and aVR and aVL, change places.
    let turned = swapped.waveforms[0].runs[0]
        .samples
        .iter()
        .map(|adu| -adu)
        .collect();
    swapped.waveforms[0].runs[0].samples = turned;
    for (one, two) in [(1, 2), (3, 4)] {
        let runs = std::mem::take(&mut swapped.waveforms[one].runs);
        let other = std::mem::replace(&mut swapped.waveforms[two].runs, runs);
        swapped.waveforms[one].runs = other;
    }
    let told = analyse(&swapped);
    assert_eq!(told.limb_swap, Some(crate::limbs::LimbSwap::Arms));
    let causes = &told.windows[0].per_lead[0].causes;
    assert!(causes.contains(&cardio_core::quality::QualityCause::LimbSwap));
}

#[test]
fn two_flat_leads_make_a_strip_unacceptable() {
    let mut flat = calm();
    for wave in flat.waveforms.iter_mut().skip(7).take(2) {
        wave.runs[0].samples = vec![0; wave.runs[0].samples.len()].into();
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
    let runs = &mut gapped.waveforms[2].runs;
    let all = runs[0].samples.as_slice().to_vec();
    runs[0].samples = all[..3_000].into();
    runs.push(Run {
        first: SampleIndex(3_500),
        samples: all[3_500..].into(),
    });
    let told = analyse(&gapped);
    assert!(told.windows.iter().all(|window| {
        let end = window.first.after(window.len);
        end.0 <= 3_000 || window.first.0 >= 3_500
    }));
    assert!(told.windows.len() >= 2);
}

#[test]
fn a_holter_tells_usable_time_by_lead_and_hour_and_its_longest_gap() {
    let mut holter = recording(SynthConfig::calm(5, SamplingRate::hz(100).unwrap()), 60);
    holter.waveforms.truncate(2);
    for wave in &mut holter.waveforms {
        let all = wave.runs[0].samples.as_slice().to_vec();
        wave.runs[0].samples = all[..3_000].into();
        // The second half begins ten seconds before the second hour.
        wave.runs.push(Run {
            first: SampleIndex(359_000),
            samples: all[3_000..].into(),
        });
    }
    holter.waveforms[1].runs[1].samples = vec![0; 3_000].into();
    let told = analyse(&holter).coverage;
    assert_eq!(told.planned_s, 3_620.0);
    assert_eq!(told.longest_gap_s, 3_560.0);
    assert_eq!(told.per_lead[0].analysable.hours_s, [40.0, 20.0]);
    assert_eq!(told.per_lead[1].analysable.hours_s, [30.0, 0.0]);
    assert_eq!(told.analysable.longest_without_s, 3_560.0);
    assert_eq!(
        told.verdict(),
        cardio_core::quality::QualityVerdict::Insufficient
    );
}

#[test]
fn beats_that_the_first_lead_does_not_show_are_found_in_others_and_stay_unclassified() {
    let whole = recording(SynthConfig::calm(5, SamplingRate::hz(250).unwrap()), 60);
    let mut torn = whole.clone();
    let mut first = whole.waveforms[0].runs[0].samples.as_slice().to_vec();
    first[5_000..10_000].fill(0);
    torn.waveforms[0].runs[0].samples = first.into();
    let within = |told: super::Analysis| {
        let train = told.beats.unwrap();
        assert_eq!(train.heard.len(), 3);
        let inside = |beat: &super::Beat| (5_500..9_500).contains(&beat.at.0);
        let beats: Vec<super::Beat> = train.beats.into_iter().filter(inside).collect();
        (beats, told.intervals)
    };
    let (expected, calm) = within(analyse(&whole));
    let (found, intervals) = within(analyse(&torn));
    assert!(expected.len() > 15);
    assert_eq!(found.len(), expected.len());
    let unknown = |beat: &super::Beat| beat.class == Some(BeatClass::Unknown);
    assert!(found.iter().all(unknown), "{found:?}");
    assert!(calm.iter().all(|one| one.kind == IntervalKind::Normal));
    let inside = |one: &&super::Interval| (5_500..9_500).contains(&one.ends_at.0);
    let kinds = intervals.iter().filter(inside).map(|one| one.kind);
    assert!(kinds.count() + 1 >= found.len());
    let normal = |one: &super::Interval| one.kind == IntervalKind::Normal;
    assert!(!intervals.iter().filter(inside).any(normal));
}

#[test]
fn nothing_is_told_of_the_rhythm_in_seconds_that_are_insufficient() {
    let rate = SamplingRate::hz(250).unwrap();
    let mut noisy = SynthConfig::calm(7, rate);
    noisy.noise.motion_mv = 3.0;
    noisy.noise.muscle_mv = 1.0;
    let mut mixed = recording(SynthConfig::calm(7, rate), 60);
    let noise = recording(noisy, 120);
    for (wave, noise) in mixed.waveforms.iter_mut().zip(&noise.waveforms) {
        let calm = wave.runs[0].samples.as_slice().to_vec();
        let noise = noise.runs[0].samples.as_slice().to_vec();
        wave.runs[0].samples = [calm.clone(), noise, calm].concat().into();
    }
    mixed.waveforms.truncate(1);
    let told = analyse(&mixed);
    let (from, to) = (SampleIndex(70 * 250), SampleIndex(175 * 250));
    let windows = told.windows.iter().filter(|window| window.first >= from);
    let inside: Vec<_> = windows.filter(|window| window.first < to).collect();
    let bad = |window: &&&cardio_core::quality::SignalQuality| {
        window.overall.verdict == cardio_core::quality::QualityVerdict::Insufficient
    };
    assert!(inside.iter().filter(bad).count() >= 9, "{inside:?}");
    assert!(told.events.is_empty(), "{:?}", told.events);
}

#[test]
fn an_electrode_that_comes_off_is_no_asystole() {
    let rate = SamplingRate::hz(250).unwrap();
    for held in [0, 32_767, -700] {
        let mut one = recording(SynthConfig::calm(9, rate), 40);
        one.waveforms.truncate(1);
        let calm = one.waveforms[0].runs[0].samples.as_slice().to_vec();
        let off = vec![held; 20 * 250];
        one.waveforms[0].runs[0].samples = [calm.clone(), off, calm].concat().into();
        let told = analyse(&one);
        let asystole = |event: &&RhythmEvent| event.kind == RhythmKind::Asystole;
        assert_eq!(told.events.iter().find(asystole), None, "held at {held}");
    }
}

#[test]
fn a_heart_that_stops_is_told_however_long_and_whatever_the_skin_whispers() {
    let rate = SamplingRate::hz(250).unwrap();
    let mut state = 3_u32;
    for (size, seconds) in [(1, 20), (2, 6), (2, 12), (2, 20), (4, 20), (2, 60)] {
        let mut one = recording(SynthConfig::calm(9, rate), 40);
        one.waveforms.truncate(1);
        let calm = one.waveforms[0].runs[0].samples.as_slice().to_vec();
        let level = *calm.last().unwrap();
        let whisper = (0..seconds * 250).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            level + i32::try_from((state >> 16) % (2 * size + 1)).unwrap()
                - i32::try_from(size).unwrap()
        });
        let stopped = [calm.clone(), whisper.collect(), calm].concat();
        one.waveforms[0].runs[0].samples = stopped.into();
        let events = analyse(&one).events;
        let arrest = events
            .iter()
            .find(|event| event.kind == RhythmKind::Asystole);
        let Some(arrest) = arrest else {
            panic!("{seconds} s of {size} counts: {events:?}");
        };
        assert!((9_900..11_500).contains(&arrest.from.0), "{arrest:?}");
        assert!(arrest.value >= 4.0, "{arrest:?}");
    }
}

/// What may befall a stretch of a lead.
fn disturb(samples: &mut [i32], kind: u8, size: i32) {
    let first = samples.first().copied().unwrap_or(0);
    let mut state = 3_u32;
    for (place, sample) in (0_i32..).zip(samples) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = i32::try_from(state >> 16).unwrap() - 32_768;
        *sample = match kind {
            0 => first,
            1 => 32_767,
            2 => *sample + noise * size / 32_768,
            3 => *sample + size * ((place / 30) % 2),
            _ => *sample / 20,
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_disturbs_no_statement_rests_on_insufficient_seconds_alone(
        seed in 0_u64..1_000,
        disturbed in proptest::collection::vec((0_usize..45, 2_usize..30, 0_u8..5, 20_i32..2_000), 0..5),
    ) {
        let rate = SamplingRate::hz(250).unwrap();
        let mut one = recording(SynthConfig::calm(seed, rate), 50);
        one.waveforms.truncate(1);
        let mut samples = one.waveforms[0].runs[0].samples.as_slice().to_vec();
        for (from_s, len_s, kind, size) in disturbed {
            let to = samples.len().min((from_s + len_s) * 250);
            disturb(&mut samples[from_s * 250..to], kind, size);
        }
        one.waveforms[0].runs[0].samples = samples.into();
        let told = analyse(&one);
        // Arrest takes the beats away, and with them the quality: only lost contact speaks
        // against it.
        let arrest = [RhythmKind::VfSuspected, RhythmKind::Asystole];
        for event in told.events.iter().filter(|event| !arrest.contains(&event.kind)) {
            let mut touched = told.windows.iter().filter(|window| {
                window.first <= event.to && window.first.after(window.len) >= event.from
            }).peekable();
            let insufficient = |verdict| verdict == QualityVerdict::Insufficient;
            let alone = touched.peek().is_some()
                && touched.all(|window| insufficient(window.per_lead[0].verdict));
            prop_assert!(!alone, "{event:?}");
        }
    }
}

#[test]
fn a_sound_file_is_analysed_by_its_sound() {
    use crate::pcg::synth::{SoundSynth, SoundSynthConfig};
    let rate = SamplingRate::hz(2_000).unwrap();
    let mut synth = SoundSynth::new(SoundSynthConfig::clean(3, rate));
    let sound = Recording {
        format: "wav",
        waveforms: vec![Waveform {
            label: "1".to_owned(),
            kind: WaveformKind::Other("1".to_owned()),
            rate,
            calibration: Calibration::millivolts(1.0, 0.0).unwrap(),
            runs: vec![Run {
                first: SampleIndex(0),
                samples: synth.seconds(20.0).into(),
            }],
        }],
        ..Recording::default()
    };
    let told = analyse(&sound);
    assert!(told.unanalysed.is_empty() && told.acceptable, "{told:?}");
    let found = told.sounds[0].told.as_ref().unwrap();
    assert!(found.summary.rate.is_ok() && found.windows.len() >= 3);
    assert!(found.sounds.len() > 20);
}

#[test]
fn one_sample_is_a_result() {
    let mut tiny = calm();
    for wave in &mut tiny.waveforms {
        wave.runs[0].samples = wave.runs[0].samples.iter().take(1).collect();
    }
    let told = analyse(&tiny);
    assert!(!told.acceptable);
    assert!(told.windows.is_empty());
}
