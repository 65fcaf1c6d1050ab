//! `replay CAPTURE`: a recorded sensor through the box's own conversation, decoder and pipeline,
//! faster than life.

use std::path::PathBuf;

use crate::hygiene;
use crate::replay::{as_text, replay};

use super::{Failure, out};

/// The capture is cut: what was found is that of its beginning.
const CUT: u8 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The capture, as `sources record` wrote it.
    capture: PathBuf,
    /// One JSON document, `replay/1`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    hygiene::close_leaks()?;
    let found = replay(&args.capture)?;
    if args.json {
        out::json(&found)?;
    } else {
        out::text(&as_text(&found))?;
    }
    Ok(if found.capture.cut.is_some() { CUT } else { 0 })
}
