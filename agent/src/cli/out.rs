//! Standard output. A reader that has gone away is no failure.

use std::io::{ErrorKind, Write};

use super::Failure;

/// Writes `text`, colours only if the reader can show them.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    written(anstream::stdout().lock().write_all(text.as_bytes()))
}

/// Tells on standard error what a person should know meanwhile.
pub(crate) fn narrate(text: &str) {
    // nowhere is left to say that standard error is closed
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Writes one JSON document.
pub(crate) fn json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text =
        serde_json::to_string_pretty(document).map_err(|err| Failure::new(&err, "json"))?;
    text.push('\n');
    written(std::io::stdout().lock().write_all(text.as_bytes()))
}

fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
