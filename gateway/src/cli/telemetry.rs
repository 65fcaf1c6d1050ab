//! Log lines on stderr: events by name, never an identity, never a key, never a signal.

use cardio_gateway::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// Starts logging as configured.
pub(super) fn start(config: &LogConfig) -> Result<(), Failure> {
    let level: tracing::Level = config.level.parse().map_err(|_| {
        Failure::new(
            format!(
                "`log.level` is `{}`, which is none of error, warn, info, debug, trace",
                config.level
            ),
            "config.value.bad",
        )
    })?;
    let filter = EnvFilter::new(format!(
        "warn,cardio_gateway={0},cardio_alert={0},cardio_fhir={0},cardio_wire={0}",
        level.as_str().to_ascii_lowercase()
    ));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text => lines.with_ansi(false).try_init(),
    };
    started.map_err(|error| Failure::of(error.as_ref(), "run.log"))
}
