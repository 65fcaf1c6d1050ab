//! `inspect FILE`: what a recording says of itself.

use std::path::PathBuf;

use cardio_formats::facts::Inspection;
use cardio_formats::open_path;
use cardio_formats::survey::survey;

use super::reading::Reading;
use super::{Failure, out};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording; a WFDB record with or without `.hea`.
    file: PathBuf,
    /// One JSON document, `inspect/1`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let reader = open_path(&args.file, args.reading.options())?;
    let found = args.reading.told(|tell| survey(reader, tell))??;
    let document = Inspection::of(&found, &args.file.display().to_string());
    if args.json {
        out::json(&document)?;
    } else {
        out::text(&document.text())?;
    }
    Ok(0)
}
