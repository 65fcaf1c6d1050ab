//! Log lines on standard error, for the journal: events by name, never identity or signal.

use std::error::Error;
use std::fmt;

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` narrows or widens it; without it, what a person should know.
pub fn start() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,cardio_agent=info"));
    // A second start in one process keeps the first; only tests do that.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}

/// An error with all its causes, each said once.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            let words = err.to_string();
            // libraries repeat their source in their own words
            if !said.contains(&words) {
                write!(f, ": {words}")?;
                said = words;
            }
            cause = err.source();
        }
        Ok(())
    }
}
