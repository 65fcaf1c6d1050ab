//! `convert IN OUT`: the same recording in another format. Samples are carried exactly or
//! not at all; facts beside them are left behind only with leave, and then listed.

use std::path::PathBuf;

use cardio_formats::Done;
use cardio_formats::convert::{Conversion, Target};
use cardio_formats::fsource::save;
use cardio_formats::read::read_path_told;
use cardio_formats::sniff::FormatId;
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::reading::Reading;
use super::{Failure, out};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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

fn formats() -> impl clap::builder::TypedValueParser<Value = FormatId> {
    PossibleValuesParser::new(WRITABLE.map(FormatId::name))
        .try_map(|name| FormatId::from_name(&name).ok_or("no such format"))
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let target = Target::of(&args.output, args.to)?;
    let read =
        |tell: &mut dyn FnMut(Done)| read_path_told(&args.input, args.reading.options(), tell);
    let recording = args.reading.told(read)??;
    let options = WriteOptions {
        drop_facts: args.drop_facts,
    };
    let written = write(&recording, target.format, &target.stem, options)?;
    save(&target.folder, &written.files, args.force)?;
    let document = Conversion::of(&recording, target.format, &written);
    if args.json {
        out::json(&document)?;
    } else {
        out::text(&document.text())?;
    }
    Ok(0)
}
