//! Reads a file several times in one process and prints the least processor time of one
//! read in nanoseconds, and the number of samples: `clock FILE ROUNDS [stream]`.
//!
//! With `stream` the file is read block by block and nothing is kept.
#![expect(clippy::print_stdout, reason = "this program prints what it measures")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cardio_formats::rows::Rows;
use cardio_formats::{FormatError, ReadOptions, open_path, read_path};
use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (Some(path), Some(rounds)) = (words.first(), words.get(1)) else {
        eprintln!("usage: clock FILE ROUNDS [stream]");
        return ExitCode::from(64);
    };
    let stream = words.get(2).is_some_and(|word| word == "stream");
    let mut least_ns = u64::MAX;
    let mut samples = 0;
    for _ in 0..rounds.parse().unwrap_or(1_u32) {
        let start = processor_ns();
        let read = if stream {
            in_blocks(path)
        } else {
            at_once(path)
        };
        least_ns = least_ns.min(processor_ns() - start);
        match read {
            Ok(count) => samples = count,
            Err(error) => {
                eprintln!("{}: {error}", error.code());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{least_ns} {samples}");
    ExitCode::SUCCESS
}

/// Time that this process has spent on a processor, in nanoseconds. Other programs that run
/// on the machine do not count.
fn processor_ns() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let now = Duration::try_from(now).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn at_once(path: &str) -> Result<u64, FormatError> {
    let recording = read_path(Path::new(path), ReadOptions::default())?;
    let rows = recording.waveforms.iter();
    Ok(rows.map(|row| row.sample_count().0).sum())
}

fn in_blocks(path: &str) -> Result<u64, FormatError> {
    let mut reader = open_path(Path::new(path), ReadOptions::default())?;
    let mut rows = Rows::new(reader.header().waveforms.len());
    let mut samples = 0;
    while reader.next_block(&mut rows)? {
        rows.drain(|_, _, part| samples += u64::try_from(part.len()).unwrap_or(0));
    }
    Ok(samples)
}
