//! What packing gains on real recordings: bytes of the samples against 24-bit samples (what
//! this product would store otherwise) and 16-bit samples (what the recordings hold), in
//! segments of 1 s and 5 s. The recordings are read from `CARDIO_DATA`.
//!
//! Budget: a segment of 1 s of eight leads at 250 Hz is encoded in less than 200 µs.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench: it prints, and stops at what is unexpected"
)]

use std::path::{Path, PathBuf};

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::ids::{AcquisitionId, BootId, RecordId};
use cardio_core::index::SampleIndex;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use cardio_wire::record::{Record, RecordHead, SegmentV1};
use divan::Bencher;

fn record(leads: Vec<Vec<i32>>) -> Record {
    let at = ClockReading {
        box_instant: BoxInstant {
            boot: BootId([1; 16]),
            micros: 0,
        },
        utc: UtcMicros(0),
        quality: ClockQuality::Unsynchronised,
    };
    Record::Segment(SegmentV1 {
        head: RecordHead {
            id: RecordId([2; 16]),
            at,
        },
        segment: Segment {
            acquisition: AcquisitionId([3; 16]),
            ordinal: 0,
            block: SampleBlock::new(SampleIndex(0), leads).unwrap(),
            anchor: TimeAnchor {
                index: SampleIndex(0),
                at,
                uncertainty_us: 0,
            },
        },
    })
}

/// Eight leads of a slow wave with noise of about four bits.
fn second() -> Record {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i32::try_from(state >> 28).unwrap()
    };
    let row = |lead: i32, noise: &mut dyn FnMut() -> i32| {
        (0..250)
            .map(|at| (at - 125) * (at - 125) * lead / 8 + noise())
            .collect()
    };
    record((1..9).map(|lead| row(lead, &mut noise)).collect())
}

#[divan::bench]
fn encode_8_leads_1_s(bencher: Bencher<'_, '_>) {
    let record = second();
    bencher.bench(|| record.encode());
}

#[divan::bench]
fn decode_8_leads_1_s(bencher: Bencher<'_, '_>) {
    let bytes = second().encode();
    bencher.bench(|| Record::decode(&bytes).unwrap());
}

/// Rows and rate of a WFDB record in one file of format 212 or 16; other records give none.
fn read_wfdb(header: &Path) -> Option<(Vec<Vec<i32>>, usize)> {
    let text = std::fs::read_to_string(header).ok()?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut first = lines.next()?.split_whitespace();
    let rows: usize = first.nth(1)?.parse().ok()?;
    let rate: f64 = first.next()?.split('/').next()?.parse().ok()?;
    let signal: Vec<Vec<&str>> = lines
        .take(rows)
        .map(|line| line.split_whitespace().take(2).collect())
        .collect();
    let format = *signal.first()?.get(1)?;
    let one_file = signal.iter().all(|fields| fields == &signal[0]);
    let bytes = std::fs::read(header.with_file_name(signal[0][0])).ok()?;
    let samples: Vec<i32> = match format {
        "212" => bytes
            .chunks_exact(3)
            .flat_map(|b| {
                let [a, mid, c] = [b[0], b[1], b[2]].map(i32::from);
                let wide = [a | (mid & 0x0F) << 8, c | (mid & 0xF0) << 4];
                wide.map(|sample| sample << 20 >> 20)
            })
            .collect(),
        "16" | "16x1+24" => bytes[if format == "16" { 0 } else { 24 }..]
            .chunks_exact(2)
            .map(|b| i32::from(i16::from_le_bytes([b[0], b[1]])))
            .collect(),
        _ => return None,
    };
    let row = |at| samples.iter().skip(at).step_by(rows).copied().collect();
    let whole = samples.len() / rows * rows;
    let rows: Vec<Vec<i32>> = (0..rows).map(row).collect();
    let len = whole / rows.len();
    let rows = rows.into_iter().map(|mut row: Vec<i32>| {
        row.truncate(len);
        row
    });
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate that a header states"
    )]
    one_file.then(|| (rows.collect(), rate.round() as usize))
}

/// Bytes of the records of a recording cut into segments, and how many samples that is.
fn measure(rows: &[Vec<i32>], per_segment: usize) -> (usize, usize) {
    let len = rows.first().map_or(0, Vec::len);
    let (mut bytes, mut samples) = (0, 0);
    for start in (0..len).step_by(per_segment) {
        let end = len.min(start + per_segment);
        let part: Vec<_> = rows.iter().map(|row| row[start..end].to_vec()).collect();
        samples += part.len() * (end - start);
        bytes += record(part).encode().len();
    }
    (bytes, samples)
}

fn headers(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut headers: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    headers.retain(|path| path.extension().is_some_and(|ext| ext == "hea"));
    headers.sort();
    headers
}

fn ratios(data: &Path, set: &str) {
    let recordings: Vec<_> = headers(&data.join("wfdb").join(set))
        .iter()
        .filter_map(|header| read_wfdb(header))
        .collect();
    for seconds in [1, 5] {
        let (mut bytes, mut samples) = (0, 0);
        for (rows, rate) in &recordings {
            let (more, count) = measure(rows, rate * seconds);
            bytes += more;
            samples += count;
        }
        let ratio = |width: u32| {
            #[expect(
                clippy::as_conversions,
                clippy::cast_precision_loss,
                reason = "a ratio"
            )]
            let ratio = samples as f64 * f64::from(width) / bytes as f64;
            ratio
        };
        println!(
            "{set:9} {:2} recording(s), segments of {seconds} s: {:.2} of 24 bits, {:.2} of 16 bits, head included",
            recordings.len(),
            ratio(3),
            ratio(2)
        );
    }
}

fn main() {
    divan::main();
    match std::env::var_os("CARDIO_DATA").map(PathBuf::from) {
        Some(data) => {
            for set in ["mitdb", "svdb", "nstdb", "cinc2021", "cpsc2021"] {
                ratios(&data, set);
            }
        }
        None => println!("skipped: CARDIO_DATA not set"),
    }
}
