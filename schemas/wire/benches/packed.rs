//! What packing gains on real recordings: bytes of the samples against 24-bit samples (what
//! this product would store otherwise) and 16-bit samples (what the recordings hold), in
//! segments of 1 s and 5 s. The recordings are read from `CARDIO_DATA`.
//!
//! Then why it packs as it does: the bits per sample of the alternatives on the same segments
//! of 5 s. One fixed order of differences or the best of several for each block, and blocks of
//! several sizes, each with the Rice parameter that suits it best.
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

/// Bits of a block whose differences of one order have the best Rice parameter.
fn rice_bits(folded: &[u64]) -> u64 {
    let cost = |k: u32| {
        folded
            .iter()
            .map(|number| (number >> k) + 1 + u64::from(k))
            .sum()
    };
    (0..20).map(cost).min().unwrap_or(0)
}

/// Bits of a row in blocks, each with the order that takes the fewest, and its head of 7.
fn row_bits(row: &[i32], orders: &[usize], block: usize) -> u64 {
    let at = |index: usize, back: usize| i64::from(row[index.saturating_sub(back)]);
    let difference = |order: usize, index: usize| match order {
        0 => at(index, 0),
        1 => at(index, 0) - at(index, 1),
        2 => at(index, 0) - 2 * at(index, 1) + at(index, 2),
        _ => at(index, 0) - 3 * at(index, 1) + 3 * at(index, 2) - at(index, 3),
    };
    let fold = |number: i64| ((number << 1) ^ (number >> 63)).cast_unsigned();
    let block_bits = |start: usize| {
        let end = row.len().min(start + block);
        let bits = |order: &usize| {
            let folded: Vec<u64> = (start..end).map(|i| fold(difference(*order, i))).collect();
            rice_bits(&folded)
        };
        7 + orders.iter().map(bits).min().unwrap_or(0)
    };
    32 + (0..row.len()).step_by(block).map(block_bits).sum::<u64>()
}

/// Bits per sample of each alternative on the first minutes of the recordings of a set.
fn alternatives(recordings: &[(Vec<Vec<i32>>, usize)], set: &str) {
    const SEGMENTS: usize = 24;
    const CASES: [(&str, &[usize], usize); 9] = [
        ("order 0", &[0], 256),
        ("order 1", &[1], 256),
        ("order 2", &[2], 256),
        ("order 3", &[3], 256),
        ("orders 1-2", &[1, 2], 256),
        ("orders 0-3", &[0, 1, 2, 3], 256),
        ("the same, 64", &[0, 1, 2, 3], 64),
        ("the same, 128", &[0, 1, 2, 3], 128),
        ("the same, 1024", &[0, 1, 2, 3], 1024),
    ];
    for (name, orders, block) in CASES {
        let (mut bits, mut samples) = (0, 0_u32);
        for (rows, rate) in recordings {
            for part in rows
                .iter()
                .flat_map(|row| row.chunks(rate * 5).take(SEGMENTS))
            {
                bits += row_bits(part, orders, block);
                samples += u32::try_from(part.len()).unwrap();
            }
        }
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a ratio"
        )]
        let each = bits as f64 / f64::from(samples);
        println!("{set:9} {name:15} {each:.3} bits per sample");
    }
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
    if !recordings.is_empty() {
        alternatives(&recordings, set);
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
