//! `cardio-gateway run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardio_gateway::clock::SystemClock;
use cardio_gateway::config::Config;
use cardio_gateway::gateway::Gateway;
use cardio_gateway::hygiene;
use tokio::signal::unix::{SignalKind, signal};

use super::ask::configured;
use super::failure::Failure;
use super::{exit, telemetry};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write the addresses that were chosen to this file once everything listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<u8, Failure> {
    hygiene::close_leaks().map_err(|error| Failure::of(&error, "run.leaks"))?;
    let config = configured(config)?;
    telemetry::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(&error, "run.runtime"))?;
    runtime.block_on(serve(arguments, config))
}

async fn serve(arguments: &Arguments, config: Config) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::of(&error, "run.signals");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let gateway = Gateway::start(config, Arc::new(SystemClock::new()))
        .await
        .map_err(|error| Failure::of(&error, error.code()))?;
    if let Some(path) = &arguments.ready_file {
        gateway
            .write_ready(path)
            .map_err(|error| Failure::of(&error, error.code()))?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    gateway.stop().await;
    Ok(exit::WELL)
}
