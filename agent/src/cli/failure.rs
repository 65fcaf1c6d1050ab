//! Errors as people read them: what, because, try, code.

use std::error::Error;
use std::io::Write;

use super::hints;
use crate::config::ConfigError;
use crate::control::ControlError;
use crate::service::RunError;

/// The exit code of a failure that is none of the special ones.
const FAILING: u8 = 2;
const NOT_RUNNING: u8 = 3;

/// A failure, ready to be printed.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    because: Vec<String>,
    hint: Option<String>,
    code: String,
    /// The process ends with it.
    pub(crate) exit: u8,
}

impl Failure {
    /// A failure with the code that its error gives.
    pub(crate) fn new(err: &dyn Error, code: &str) -> Self {
        let mut because = Vec::new();
        let mut said = err.to_string();
        let mut cause = err.source();
        while let Some(err) = cause {
            let words = err.to_string();
            // libraries repeat their source in their own words
            if !said.contains(&words) {
                because.push(words.clone());
                said = words;
            }
            cause = err.source();
        }
        Self {
            what: err.to_string(),
            because,
            hint: hints::of(code).map(str::to_owned),
            code: code.to_owned(),
            exit: FAILING,
        }
    }

    /// Prints it on standard error.
    pub(crate) fn print(&self) {
        let mut text = format!("\x1b[31merror\x1b[0m: {}\n", self.what);
        for because in &self.because {
            text += &format!("  because: {because}\n");
        }
        if let Some(hint) = &self.hint {
            text += &format!("  try:     {hint}\n");
        }
        text += &format!("  code:    {}\n", self.code);
        // nowhere is left to say that standard error is closed
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
    }
}

impl From<ConfigError> for Failure {
    fn from(err: ConfigError) -> Self {
        let failure = Self::new(&err, err.code());
        Self {
            hint: err.suggestion().or(failure.hint),
            ..failure
        }
    }
}

impl From<ControlError> for Failure {
    fn from(err: ControlError) -> Self {
        let exit = match err {
            ControlError::NotRunning { .. } => NOT_RUNNING,
            _ => FAILING,
        };
        Self {
            exit,
            ..Self::new(&err, err.code())
        }
    }
}

impl From<crate::enrolment::request::RequestError> for Failure {
    fn from(err: crate::enrolment::request::RequestError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<RunError> for Failure {
    fn from(err: RunError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<crate::replay::ReplayError> for Failure {
    fn from(err: crate::replay::ReplayError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<cardio_store::OutboxError> for Failure {
    fn from(err: cardio_store::OutboxError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<cardio_formats::convert::TargetError> for Failure {
    fn from(err: cardio_formats::convert::TargetError) -> Self {
        Self {
            exit: super::USAGE,
            ..Self::new(&err, err.code())
        }
    }
}

impl From<cardio_formats::FormatError> for Failure {
    fn from(err: cardio_formats::FormatError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<std::io::Error> for Failure {
    fn from(err: std::io::Error) -> Self {
        Self::new(&err, "io")
    }
}
