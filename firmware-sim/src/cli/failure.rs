//! What went wrong, for a person: what, because, try, code.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

/// A failure on its way to the screen.
#[derive(Debug)]
pub(super) struct Failure {
    what: String,
    because: Vec<String>,
    code: &'static str,
    status: u8,
}

impl Failure {
    pub(super) fn new(what: impl Into<String>, code: &'static str) -> Self {
        Self {
            what: what.into(),
            because: Vec::new(),
            code,
            status: 2,
        }
    }

    /// An error of the library with its causes.
    pub(super) fn of(err: &(dyn Error + 'static), code: &'static str) -> Self {
        let failure = Self::new(err.to_string(), code);
        match err.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }

    pub(super) fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string().trim_end().replace('\n', "\n           ");
            self.because.push(text);
            next = cause.source();
        }
        self
    }

    pub(super) fn because_text(mut self, text: impl Into<String>) -> Self {
        self.because.push(text.into());
        self
    }

    pub(super) const fn wrong_usage(mut self) -> Self {
        self.status = super::USAGE;
        self
    }

    pub(super) fn report(&self) -> ExitCode {
        let mut text = format!("error: {}\n", self.what);
        for cause in &self.because {
            text += &format!("  because: {cause}\n");
        }
        if let Some(hint) = hint(self.code) {
            text += &format!("  try:     {hint}\n");
        }
        text += &format!("  code:    {}\n", self.code);
        // There is nowhere left to complain to.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(self.status)
    }
}

/// The next step for a code, where there is one.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "sim.device" | "sim.scenario" => "cardio-sim devices",
        "scenario.invalid" | "scenario.value" => {
            "compare with firmware-sim/scenarios/rough-line.toml"
        }
        "source.nothing-to-show" => "play the recording on another device: cardio-sim devices",
        "pty.not-a-link" => "choose another path for --link, or move the file away",
        "pty.link" => "check that the folder of --link exists and can be written to",
        "ledger.create" => "check that the folder of --ledger exists and can be written to",
        "ledger.write" => "check the free space of the disk",
        "format.open" => "check the path; a WFDB record is named without its extension",
        "format.unrecognised" | "format.misnamed" => {
            "check what the file is: cardio-agent inspect FILE"
        }
        _ => return None,
    })
}
