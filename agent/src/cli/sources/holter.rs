//! `sources holter start|stop|status SOURCE`: the recording in a sensor's own memory.
//!
//! A person decides when a sensor records; the service only fetches what it recorded. The sensor
//! has one link, so the service must not run meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_core::ids::SourceId;
use cardio_protocol::gatt::movesense_gsp::{
    self, HOLTER_RATES_HZ, HolterError, HolterFound, HolterOrder, HolterState, MovesenseHolter,
};
use cardio_protocol::session::SessionTiming;

use super::record::refuse_if_captured;
use super::{SourcesError, source_of};
use crate::adapters::ble::{Link, Radio};
use crate::capture::{BleReach, Lost};
use crate::cli::{ConfigArg, Failure, out};
use crate::clock::SystemClock;
use crate::config::device::Device;
use crate::config::{Config, SourceConfig};
use crate::service::ble_reach;

/// How often the conversation hears that time passes.
const TICK: Duration = Duration::from_millis(100);
/// How long letting go of a sensor may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Holter {
    /// Set the sensor's clock and let it record, by itself, until `stop`.
    Start(StartArgs),
    /// End the recording. The sensor keeps it until the service has fetched it.
    Stop(HolterArgs),
    /// Say whether it records, and what it keeps.
    Status(HolterArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    sensor: HolterArgs,
    /// Samples per second.
    #[arg(long, value_name = "HZ", default_value_t = 250, value_parser = rate)]
    rate: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HolterArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The source, as the configuration calls it.
    source: String,
    /// One JSON document, `sources-holter/1`.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<u32, String> {
    let known = text.parse().ok().filter(|hz| HOLTER_RATES_HZ.contains(hz));
    known.ok_or_else(|| {
        let rates = HOLTER_RATES_HZ.map(|hz| hz.to_string()).join(", ");
        format!("one of {rates} is expected")
    })
}

/// Why a sensor's recording was not begun, ended or asked after.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("{name} is no sensor that records by itself at a command")]
    NotHolter { name: String },
    #[error("cannot reach the sensor of {name}: {}", lost.detail)]
    Lost { name: String, lost: Lost },
    #[error("{name}: {why}")]
    Refused { name: String, why: HolterError },
}

impl OrderError {
    const fn code(&self) -> &'static str {
        match self {
            Self::NotHolter { .. } => "holter.not_a_holter",
            Self::Lost { lost, .. } => lost.code,
            Self::Refused { why, .. } => why.code(),
        }
    }
}

impl From<OrderError> for Failure {
    fn from(err: OrderError) -> Self {
        Self::new(&err, err.code())
    }
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: &'static str,
    source: &'a str,
    serial: &'a str,
    firmware: &'a str,
    /// `null` where the sensor's answer does not tell.
    recording: Option<bool>,
    /// Recordings that it lists; `null` where it gives no list.
    recordings: Option<Vec<Row>>,
    /// Whether it keeps more than it lists.
    has_more: bool,
}

#[derive(serde::Serialize)]
struct Row {
    id: u32,
    bytes: u64,
}

pub(super) async fn holter(verb: &Holter) -> Result<u8, Failure> {
    let (args, order) = match verb {
        Holter::Start(start) => {
            let rate_hz = start.rate;
            (&start.sensor, HolterOrder::Start { rate_hz })
        }
        Holter::Stop(args) => (args, HolterOrder::Stop),
        Holter::Status(args) => (args, HolterOrder::Status),
    };
    let config = Config::load(&args.config.config)?;
    let source = source_of(&config, &args.source)?;
    let found = carry_out(&config, source, order).await?;
    if args.json {
        let row = |log: &movesense_gsp::LogEntry| Row {
            id: log.id,
            bytes: log.size,
        };
        let logs = found.logs.as_ref();
        out::json(&Document {
            schema: "sources-holter/1",
            source: &source.name,
            serial: &found.identity.serial,
            firmware: &found.identity.version,
            recording: found.recording,
            recordings: logs.map(|logs| logs.iter().map(row).collect()),
            has_more: found.has_more,
        })?;
    } else {
        out::text(&as_text(&source.name, order, &found))?;
    }
    Ok(0)
}

fn as_text(name: &str, order: HolterOrder, found: &HolterFound) -> String {
    let (word, advice) = match (order, found.recording) {
        (HolterOrder::Start { .. }, _) => (
            "STARTED",
            "fr: le capteur enregistre seul ; le boîtier n'est plus nécessaire jusqu'à l'arrêt\n\
             en: the sensor records by itself; the box is not needed until it is stopped\n",
        ),
        (HolterOrder::Stop, _) => (
            "STOPPED",
            "fr: relancez le service : il récupère l'enregistrement avant que le capteur ne l'efface\n\
             en: start the service again: it fetches the recording before the sensor drops it\n",
        ),
        (HolterOrder::Status, Some(true)) => ("RECORDING", ""),
        (HolterOrder::Status, Some(false)) => ("NOT RECORDING", ""),
        (HolterOrder::Status, None) => ("NOT KNOWN", ""),
    };
    let identity = &found.identity;
    let mut text = format!(
        "{word}   {name}: sensor {}, firmware {}\n",
        identity.serial, identity.version
    );
    for log in found.logs.iter().flatten() {
        text += &format!("recording {:>4}  {:>10} bytes\n", log.id, log.size);
    }
    if found.has_more {
        text += "fr: le capteur en garde d'autres, qu'il ne liste pas\n\
                 en: the sensor keeps more, which it does not list\n";
    }
    text + advice
}

async fn carry_out(
    config: &Config,
    source: &SourceConfig,
    order: HolterOrder,
) -> Result<HolterFound, Failure> {
    let not_holter = || OrderError::NotHolter {
        name: source.name.clone(),
    };
    let profile = match Device::by_name(&source.device) {
        Some(Device::Ble(profile)) if profile.name == movesense_gsp::PROFILE.name => profile,
        _ => return Err(not_holter().into()),
    };
    let name = SourceId::new(&source.name).map_err(|_| SourcesError::UnknownSource {
        name: source.name.clone(),
    })?;
    refuse_if_captured(config, source)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::open().map_err(|err| {
        let code = err.code();
        Failure::new(&err, code)
    })?);
    let radio = Radio::start(config.capture.adapters.clone(), Arc::clone(&clock));
    let reach = ble_reach(&config.site.state, &name, profile, &radio);
    let mut session = MovesenseHolter::new(order, SessionTiming::default());
    converse(&reach, &mut session, &*clock)
        .await
        .map_err(|lost| OrderError::Lost {
            name: source.name.clone(),
            lost,
        })?;
    match session.state() {
        HolterState::Failed(why) => Err(OrderError::Refused {
            name: source.name.clone(),
            why,
        }
        .into()),
        _ => Ok(session.found().clone()),
    }
}

/// Talks to the sensor until the order is carried out or refused.
async fn converse(
    reach: &BleReach,
    session: &mut MovesenseHolter,
    clock: &dyn Clock,
) -> Result<(), Lost> {
    let (mut link, _) = reach.connect().await?;
    let talked = talk(&mut link, session, clock).await;
    let _ = tokio::time::timeout(CLOSE_LIMIT, link.close()).await;
    if talked.is_err() {
        session.on_lost();
    }
    match session.state() {
        HolterState::Running => talked,
        _ => Ok(()),
    }
}

async fn talk(
    link: &mut Link,
    session: &mut MovesenseHolter,
    clock: &dyn Clock,
) -> Result<(), Lost> {
    let mut actions: VecDeque<_> = session.start(clock.read()).into();
    let mut ticks = tokio::time::interval(TICK);
    while session.state() == HolterState::Running {
        if let Some(action) = actions.pop_front() {
            link.carry_out(action, clock).await?;
            continue;
        }
        tokio::select! {
            values = link.read() => {
                for value in values? {
                    let now = value.at.box_instant;
                    actions.extend(session.on_value(value.from, &value.value, now));
                }
            }
            _ = ticks.tick() => actions.extend(session.on_tick(clock.read().box_instant)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{HolterFound, HolterOrder, as_text, rate};
    use cardio_protocol::gatt::movesense_gsp::LogEntry;

    #[test]
    fn what_a_nurse_reads_is_there_in_both_languages_and_names_what_is_kept() {
        let found = HolterFound {
            recording: Some(false),
            logs: Some(vec![LogEntry {
                id: 3,
                modified: 0,
                size: 4096,
            }]),
            has_more: true,
            ..HolterFound::default()
        };
        for order in [HolterOrder::Start { rate_hz: 250 }, HolterOrder::Stop] {
            let text = as_text("holter-a", order, &found);
            assert!(text.contains("fr: ") && text.contains("en: "), "{text}");
            assert!(text.contains("4096 bytes"), "{text}");
        }
        let text = as_text("holter-a", HolterOrder::Status, &found);
        assert!(text.starts_with("NOT RECORDING   holter-a"), "{text}");
    }

    #[test]
    fn a_rate_that_no_sensor_has_is_wrong_usage() {
        assert_eq!(rate("500"), Ok(500));
        assert!(rate("333").unwrap_err().contains("512"));
    }
}
