//! What a configuration names in files of their own: alert rules, and the duty roster.

use std::path::Path;
use std::sync::Arc;

use cardio_alert::{Roster, RuleSet};
use cardio_core::clock::Clock;

use super::RunError;
use crate::alerting::courier::Duty;
use crate::config::Config;
use crate::delivery::Delivery;

/// The alert rules of a configuration.
///
/// # Errors
/// [`RunError::Rules`] when the file cannot be read or a rule is impossible.
pub fn rules(config: &Config) -> Result<RuleSet, RunError> {
    match &config.alerts.rules {
        Some(path) => rules_of(path),
        None => RuleSet::standard().map_err(|error| RunError::Rules {
            path: None,
            source: Box::new(error),
        }),
    }
}

/// The alert rules of a file.
///
/// # Errors
/// [`RunError::Rules`] when the file cannot be read or a rule is impossible.
pub fn rules_of(path: &Path) -> Result<RuleSet, RunError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| RunError::Rules {
        path: Some(path.to_owned()),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(Box::new(error)))?;
    RuleSet::from_toml(&text).map_err(|error| failed(Box::new(error)))
}

/// The duty roster and the channels of a configuration that names a roster.
pub(super) fn duty(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Duty>, RunError> {
    let Some(path) = &config.alerts.duty else {
        return Ok(None);
    };
    let roster = roster(path)?;
    let delivery = Delivery::new(&config.delivery, clock).map_err(RunError::Delivery)?;
    delivery.reaches(&roster).map_err(RunError::Delivery)?;
    Ok(Some(Duty {
        roster: Arc::new(roster),
        delivery: Arc::new(delivery),
    }))
}

/// The duty roster of a file.
///
/// # Errors
/// [`RunError::Duty`] when the file cannot be read or the roster is impossible.
pub fn roster(path: &Path) -> Result<Roster, RunError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| RunError::Duty {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(Box::new(error)))?;
    Roster::from_toml(&text).map_err(|error| failed(Box::new(error)))
}
