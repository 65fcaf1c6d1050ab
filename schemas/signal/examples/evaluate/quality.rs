//! Quality: labelled strips, the noise stress test, injected faults.

use cardio_core::quality::QualityVerdict;
use cardio_signal::sqi::{EcgQuality, QualityConfig, over_windows, unacceptable};

use crate::beats::{self, Score, detect};
use crate::data::{Data, flutter, samples, truth};
use crate::noise::{SNR_DB, mixed};
use crate::strips::{self, LEADS};

/// Labelled strips by the reviewed trees, which saw set a: see `train` for unseen figures.
pub(crate) fn labelled(data: &Data) {
    println!("quality, labelled strips, reviewed trees (Challenge 2011 was learnt from)");
    let (mut leads, mut whole) = (Vec::new(), Vec::new());
    for strip in strips::challenge_2011(data) {
        let told = last_windows(&strip.rows, &LEADS.map(Some), 500, 200.0);
        let Some(window) = told.last() else { continue };
        let p: Vec<f64> = window.iter().map(|index| 1.0 - index).collect();
        whole.push((unacceptable(&p), strip.bad));
        if let Some(labels) = &strip.bad_leads {
            leads.extend(p.into_iter().zip(labels.iter().copied()));
        }
    }
    println!("{}", strips::line("Challenge 2011, leads", &leads));
    println!("{}", strips::line("Challenge 2011, strips", &whole));
    let mut handheld = Vec::new();
    for (_, row, label) in strips::challenge_2017(data) {
        let told = last_windows(&[row], &[None], 300, 1000.0);
        let bad: Vec<f64> = told.iter().map(|window| 1.0 - window[0]).collect();
        handheld.push((over_windows(&bad), label == "noisy"));
    }
    println!(
        "{}",
        strips::line("Challenge 2017, noisy, unseen", &handheld)
    );
}

/// Index of every lead in every window of ten seconds.
fn last_windows(
    rows: &[Vec<i32>],
    leads: &[Option<cardio_core::lead::Lead>],
    hz: u32,
    gain: f64,
) -> Vec<Vec<f64>> {
    let Ok(rate) = cardio_core::rate::SamplingRate::hz(hz) else {
        return Vec::new();
    };
    let mut quality = EcgQuality::new(rate, &strips::specs(leads, gain), strips::config());
    let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    let told = quality.push(&rows);
    told.iter()
        .filter(|window| window.len.0 >= u64::from(hz) * 8)
        .map(|window| {
            window
                .per_lead
                .iter()
                .map(|lead| lead.index.get())
                .collect()
        })
        .collect()
}

/// What quality makes of the noise stress test, second by second.
pub(crate) fn stress(data: &Data) {
    println!("quality in the noise stress test, record 119, share of seconds refused");
    let mut usable = Score::default();
    for (noise_name, factor) in [("em", 2.564_78), ("ma", 10.621_5), ("bw", 8.537_01)] {
        let (Some(recording), Some(noise)) = (
            data.read("wfdb/mitdb/119"),
            data.read(&format!("wfdb/nstdb/{noise_name}")),
        ) else {
            continue;
        };
        let wave = &recording.waveforms[0];
        let hz = wave.rate.as_hz();
        let gain = wave.calibration.gain_adu_per_unit();
        let mut line = noise_name.to_owned();
        for snr_db in SNR_DB {
            let factor = factor * 10f64.powf(-snr_db / 20.0);
            let row = mixed(&samples(wave), &samples(&noise.waveforms[0]), factor, hz);
            let mut quality = EcgQuality::new(
                wave.rate,
                &strips::specs(&[None], gain),
                QualityConfig::default(),
            );
            let mut refused: Vec<(f64, f64)> = Vec::new();
            let (mut noisy, mut noisy_refused, mut clean, mut clean_refused) = (0.0, 0.0, 0.0, 0.0);
            for window in quality.push(&[&row]) {
                let end_s = window.first.after(window.len).0 as f64 / hz;
                let bad = window.overall.verdict == QualityVerdict::Insufficient;
                if bad {
                    refused.push((end_s - 10.0, end_s));
                }
                let phase = (end_s - 300.0).rem_euclid(240.0);
                if end_s < 300.0 || phase > 131.0 {
                    clean += 1.0;
                    clean_refused += f64::from(u8::from(bad));
                } else if phase > 10.0 && phase < 120.0 {
                    noisy += 1.0;
                    noisy_refused += f64::from(u8::from(bad));
                }
            }
            line.push_str(&format!(
                "  {snr_db:>3} dB {:.3}/{:.3}",
                noisy_refused / f64::max(noisy, 1.0),
                clean_refused / f64::max(clean, 1.0)
            ));
            let found = detect(&row, wave.rate, gain);
            let mut left_out = flutter(&recording, hz);
            left_out.extend(refused);
            usable.add(&beats::score(
                &truth(&recording, hz),
                &found,
                300.0,
                &left_out,
            ));
        }
        println!("{line}  (noisy/clean)");
    }
    println!("{}", usable.line("usable"));
}
