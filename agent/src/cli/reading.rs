//! What every verb that reads a long recording has in common: how strictly it reads, and
//! that it says how far it is.

use std::io::{IsTerminal as _, Write as _};

use cardio_formats::progress::Progress;
use cardio_formats::{Done, ReadOptions};

use super::Failure;
use crate::clock::SystemClock;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Reading {
    /// Refuse what would otherwise be read with warnings.
    #[arg(long)]
    strict: bool,
    /// Say how far it is even when standard error is no terminal.
    #[arg(long)]
    progress: bool,
}

impl Reading {
    /// How to read.
    pub(crate) fn options(self) -> ReadOptions {
        ReadOptions {
            strict: self.strict,
            ..ReadOptions::default()
        }
    }

    /// Runs a read and tells on standard error how far it is.
    pub(crate) fn told<T>(
        self,
        read: impl FnOnce(&mut dyn FnMut(Done)) -> T,
    ) -> Result<T, Failure> {
        let on_terminal = std::io::stderr().is_terminal();
        if !on_terminal && !self.progress {
            return Ok(read(&mut |_| {}));
        }
        let clock = SystemClock::open().map_err(|err| Failure::new(&err, err.code()))?;
        let mut progress = Progress::new(&clock, on_terminal);
        let done = read(&mut |done| narrate(progress.step(done)));
        narrate(progress.end());
        Ok(done)
    }
}

fn narrate(text: Option<String>) {
    if let Some(text) = text {
        // nowhere is left to say that standard error is closed
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
    }
}
