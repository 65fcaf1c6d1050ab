//! What a person reads: results on standard output, narration on standard error.

use std::io::Write as _;

/// One line of a result.
pub(crate) fn result(line: impl std::fmt::Display) {
    // A reader that has gone away is no failure of the rig.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// One line of narration.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
