//! `cardio-gateway inspect|convert`: files of recordings, without the record of the gateway.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use cardio_formats::convert::{Conversion, Target, TargetError};
use cardio_formats::facts::Inspection;
use cardio_formats::fsource::save;
use cardio_formats::progress::Progress;
use cardio_formats::read::read_path_told;
use cardio_formats::sniff::FormatId;
use cardio_formats::survey::survey;
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use cardio_formats::{Done, FormatError, ReadOptions, open_path};
use cardio_gateway::clock::SystemClock;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The recording; a WFDB record with or without `.hea`.
    file: PathBuf,
    /// One JSON document, `inspect/1`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Debug, clap::Args)]
pub(super) struct Convert {
    /// The recording; a WFDB record with or without `.hea`.
    input: PathBuf,
    /// The file to write; its extension says the format unless --to does.
    output: PathBuf,
    /// The format to write.
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    to: Option<FormatId>,
    /// Leave behind, and list, facts beside the samples that the format cannot carry.
    #[arg(long)]
    drop_facts: bool,
    /// Write over files that are there already.
    #[arg(long)]
    force: bool,
    /// One JSON document, `convert/1`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Reading {
    /// Refuse what would otherwise be read with warnings.
    #[arg(long)]
    strict: bool,
    /// Say how far it is even when standard error is no terminal.
    #[arg(long)]
    progress: bool,
}

impl From<Reading> for ReadOptions {
    fn from(reading: Reading) -> Self {
        Self {
            strict: reading.strict,
            ..Self::default()
        }
    }
}

fn formats() -> impl TypedValueParser<Value = FormatId> {
    PossibleValuesParser::new(WRITABLE.map(FormatId::name))
        .try_map(|name| FormatId::from_name(&name).ok_or("no such format"))
}

pub(super) fn inspect(arguments: &Inspect) -> Result<u8, Failure> {
    let reader = open_path(&arguments.file, arguments.reading.into()).map_err(unreadable)?;
    let found = told(arguments.reading, |tell| survey(reader, tell)).map_err(unreadable)?;
    let document = Inspection::of(&found, &arguments.file.display().to_string());
    show(arguments.json, &document, document.text())
}

pub(super) fn convert(arguments: &Convert) -> Result<u8, Failure> {
    let refused = |error: TargetError| Failure::of(&error, error.code()).usage();
    let target = Target::of(&arguments.output, arguments.to).map_err(refused)?;
    let read = |tell: &mut dyn FnMut(Done)| {
        read_path_told(&arguments.input, arguments.reading.into(), tell)
    };
    let recording = told(arguments.reading, read).map_err(unreadable)?;
    let options = WriteOptions {
        drop_facts: arguments.drop_facts,
    };
    let written = write(&recording, target.format, &target.stem, options).map_err(unreadable)?;
    save(&target.folder, &written.files, arguments.force).map_err(unreadable)?;
    let document = Conversion::of(&recording, target.format, &written);
    show(arguments.json, &document, document.text())
}

fn unreadable(error: FormatError) -> Failure {
    Failure::of(&error, error.code())
}

/// Runs a read and tells on standard error how far it is.
fn told<T>(reading: Reading, read: impl FnOnce(&mut dyn FnMut(Done)) -> T) -> T {
    let clock = SystemClock::new();
    let on_terminal = std::io::stderr().is_terminal();
    if !on_terminal && !reading.progress {
        return read(&mut |_| {});
    }
    let mut progress = Progress::new(&clock, on_terminal);
    let done = read(&mut |done| {
        if let Some(text) = progress.step(done) {
            out::narrate(&text);
        }
    });
    if let Some(text) = progress.end() {
        out::narrate(&text);
    }
    done
}

fn show(json: bool, document: &impl serde::Serialize, text: String) -> Result<u8, Failure> {
    if json {
        let value = serde_json::to_value(document).map_err(|error| Failure::of(&error, "json"))?;
        out::document(&value);
    } else {
        out::result(&text);
    }
    Ok(exit::WELL)
}
