//! Asks the running gateway over its local socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use cardio_gateway::config::Config;
use cardio_gateway::control::{Answer, Request};
use serde_json::Value;

use super::exit;
use super::failure::Failure;

const LIMIT: Duration = Duration::from_secs(60);

/// Reads the configuration.
pub(super) fn configured(path: Option<&Path>) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| Failure::of(&error, error.code()))
}

/// Whether a gateway listens on the socket of this configuration.
pub(super) fn is_running(config: &Config) -> bool {
    UnixStream::connect(config.control_socket()).is_ok()
}

/// Asks, and waits for the answer.
pub(super) fn ask(config: &Config, request: &Request) -> Result<Value, Failure> {
    let path = config.control_socket();
    let stream = UnixStream::connect(&path).map_err(|error| Failure {
        chain: vec![
            format!("no gateway answers on {}", path.display()),
            error.to_string(),
        ],
        code: "gateway.not-running".to_owned(),
        exit: exit::NOT_RUNNING,
    })?;
    let broken = |error: &dyn std::error::Error| Failure {
        chain: vec!["the gateway did not answer".to_owned(), error.to_string()],
        code: "gateway.no-answer".to_owned(),
        exit: exit::NOT_RUNNING,
    };
    let mut line = serde_json::to_string(request).map_err(|e| broken(&e))?;
    line.push('\n');
    stream
        .set_read_timeout(Some(LIMIT))
        .map_err(|e| broken(&e))?;
    (&stream)
        .write_all(line.as_bytes())
        .map_err(|e| broken(&e))?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .map_err(|e| broken(&e))?;
    match serde_json::from_str(&answer).map_err(|e| broken(&e))? {
        Answer::Ok(value) => Ok(value),
        Answer::Error(refused) => Err(Failure {
            chain: refused.chain,
            code: refused.code,
            exit: exit::FAILING,
        }),
    }
}
