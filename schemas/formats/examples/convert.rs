//! Converts a recording: `convert IN FORMAT OUTDIR NAME` writes the files of one format and
//! prints their names; facts that the format does not carry go to the error stream.

#![expect(clippy::print_stdout, reason = "the names of the files are its output")]

use std::path::Path;
use std::process::ExitCode;

use cardio_formats::fsource::save;
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use cardio_formats::{FormatError, ReadOptions, read_path};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [input, format, folder, name] = words.as_slice() else {
        eprintln!("usage: convert IN FORMAT OUTDIR NAME");
        return ExitCode::from(64);
    };
    match convert(input, format, Path::new(folder), name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", error.code());
            ExitCode::FAILURE
        }
    }
}

fn convert(input: &str, format: &str, folder: &Path, name: &str) -> Result<(), FormatError> {
    let recording = read_path(Path::new(input), ReadOptions::default())?;
    let Some(format) = WRITABLE.into_iter().find(|id| id.name() == format) else {
        eprintln!("no writer for {format}");
        return Ok(());
    };
    let written = write(&recording, format, name, WriteOptions { drop_facts: true })?;
    save(folder, &written.files, true)?;
    for (name, _) in &written.files {
        println!("{name}");
    }
    for fact in &written.dropped {
        eprintln!("left behind: {fact}");
    }
    Ok(())
}
