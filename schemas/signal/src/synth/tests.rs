use cardio_core::annotation::BeatClass;
use cardio_core::calibration::Calibration;
use cardio_core::electrode::Electrode;
use cardio_core::rate::SamplingRate;

use super::{
    EcgSynth, Ectopics, ElectrodeOff, Noise, Pause, RAIL_MV, SpanSeconds, SynthConfig, to_adu,
    twelve,
};

fn calm(seed: u64) -> SynthConfig {
    SynthConfig::calm(seed, SamplingRate::hz(250).unwrap())
}

fn rows(config: SynthConfig, seconds: usize) -> (Vec<[f64; 8]>, Vec<super::SynthBeat>) {
    let mut synth = EcgSynth::new(config);
    let rows = (0..seconds * 250).map(|_| synth.next_measured()).collect();
    (rows, synth.take_beats())
}

#[test]
fn the_same_seed_gives_the_same_samples_and_another_seed_gives_others() {
    assert_eq!(rows(calm(7), 5).0, rows(calm(7), 5).0);
    assert_ne!(rows(calm(7), 5).0, rows(calm(8), 5).0);
}

#[test]
fn samples_are_the_same_bits_on_every_architecture() {
    let mut config = calm(42);
    config.noise.muscle_mv = 0.02;
    config.af = vec![SpanSeconds {
        start_s: 2.0,
        end_s: 9.0,
    }];
    let calibration = Calibration::millivolts(1000.0, 0.0).unwrap();
    let (rows, _) = rows(config, 10);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for value in rows.iter().flatten() {
        for byte in to_adu(*value, &calibration, (-100_000, 100_000)).to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(format!("{hash:016x}"), include_str!("golden.txt").trim());
}

#[test]
fn twelve_leads_obey_einthoven() {
    for row in rows(calm(1), 3).0 {
        let all = twelve(&row);
        assert!((all[0] + all[2] - all[1]).abs() < 1e-12);
        assert!((all[3] + all[4] + all[5]).abs() < 1e-12);
    }
}

#[test]
fn the_mean_rate_is_the_configured_one() {
    for bpm in [40.0, 70.0, 150.0] {
        let mut config = calm(3);
        config.heart_rate_bpm = bpm;
        let beats = num_beats(config, 60);
        assert!((beats - bpm).abs() <= 0.04 * bpm + 1.0, "{bpm}: {beats}");
    }
}

fn num_beats(config: SynthConfig, seconds: usize) -> f64 {
    let count = rows(config, seconds).1.len();
    crate::num::float(count)
}

#[test]
fn a_pause_has_no_beat_for_its_length() {
    let mut config = calm(5);
    config.pauses = vec![Pause {
        at_s: 10.0,
        length_s: 4.0,
    }];
    let beats = rows(config, 30).1;
    let longest = beats
        .windows(2)
        .map(|pair| pair[1].at_s - pair[0].at_s)
        .fold(0.0, f64::max);
    assert!((longest - 4.0).abs() < 1e-9, "{longest}");
}

#[test]
fn premature_beats_come_as_often_as_asked() {
    let mut config = calm(6);
    config.ectopics = Ectopics {
        ventricular_per_min: 6.0,
        supraventricular_per_min: 0.0,
    };
    let ventricular = rows(config, 600)
        .1
        .iter()
        .filter(|beat| beat.class == BeatClass::Ventricular)
        .count();
    assert!((35..90).contains(&ventricular), "{ventricular}");
}

#[test]
fn an_electrode_off_takes_its_leads_to_the_rail_and_no_other() {
    let mut config = calm(9);
    config.electrode_off = vec![ElectrodeOff {
        electrode: Electrode::RightArm,
        span: SpanSeconds {
            start_s: 1.0,
            end_s: 2.0,
        },
    }];
    let rows = rows(config, 3).0;
    let off = &rows[375];
    assert_eq!((off[0], off[1]), (RAIL_MV, RAIL_MV));
    assert!(off[2..].iter().all(|value| value.abs() < 10.0));
    assert!(
        rows[200]
            .iter()
            .chain(&rows[600])
            .all(|value| value.abs() < 10.0)
    );
}

#[test]
fn a_silent_heart_without_noise_is_a_flat_line() {
    let mut config = calm(9);
    config.amplitude = 0.0;
    config.noise = Noise::NONE;
    assert!(
        rows(config, 2)
            .0
            .iter()
            .flatten()
            .all(|value| *value == 0.0)
    );
}
