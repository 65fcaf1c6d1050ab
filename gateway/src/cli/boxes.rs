//! `cardio-gateway boxes add|list|invite|pending|confirm|refuse|team|pause|revoke`.
//!
//! A running gateway is asked over its socket; without one the work is done on the state
//! directory, under its lock.

mod invite;

use std::path::{Path, PathBuf};

use cardio_core::clock::Clock as _;
use cardio_gateway::clock::SystemClock;
use cardio_gateway::config::Config;
use cardio_gateway::control::{Request, shown_box};
use cardio_gateway::enrol;
use cardio_gateway::gateway::StateLock;
use cardio_gateway::inbox::{EnrolError, Inbox};
use cardio_gateway::keys::{GatewayKeys, write_private};
use serde_json::{Value, json};

use super::ask::{ask, configured, is_running};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Enrol a new box: write everything that it needs into one file.
    Add {
        /// What people call the box.
        #[arg(long)]
        name: String,
        /// The file to write (mode 0600). It holds the box's secrets: move it, do not copy it.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Where the box connects, if not where this gateway listens.
        #[arg(long, value_name = "HOST:PORT")]
        endpoint: Option<String>,
    },
    /// All boxes that were ever enrolled.
    List {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Invite a new box: print the claim code that it enrols with over the network, once.
    Invite {
        /// What people will call the box.
        name: String,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Invitations, and requests that wait for a decision with the six words of each.
    Pending {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Let a box in whose request is pending.
    Confirm {
        /// The name in its invitation.
        name: String,
        /// The six words that the box shows, as they were read to you.
        #[arg(long)]
        words: String,
    },
    /// Refuse a request, or take an invitation back.
    Refuse {
        /// The name in the invitation.
        name: String,
    },
    /// Say which team carries a box: it is told the visits of the day of that team's patients.
    Team {
        /// The box's name.
        name: String,
        /// The team, such as Organization/equipe1.
        #[arg(required_unless_present = "none")]
        team: Option<String>,
        /// No team carries it; it forgets its visits.
        #[arg(long, conflicts_with = "team")]
        none: bool,
    },
    /// Ask a connected box to stop sending until it connects again.
    Pause {
        /// The box's name.
        name: String,
    },
    /// Take a box off the allow-list, have it wipe its keys, and end its connection.
    Revoke {
        /// The box's name.
        #[arg(long)]
        name: String,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    match verb {
        Verb::Add {
            name,
            out,
            endpoint,
        } => add(&config, &name, &out, endpoint),
        Verb::List { json } => {
            let boxes = list(&config)?;
            if json {
                out::document(&boxes);
            } else {
                out::result(&table(&boxes));
            }
            Ok(exit::WELL)
        }
        Verb::Invite { name, json } => invite::invite(&config, name, json),
        Verb::Pending { json } => invite::pending(&config, json),
        Verb::Confirm { name, words } => invite::confirm(&config, name, words),
        Verb::Refuse { name } => invite::refuse(&config, name),
        Verb::Team { name, team, .. } => {
            let (of, to) = (name.clone(), team.clone());
            ask(&config, &Request::BoxesTeam { name, team })?;
            out::narrate(&match to {
                Some(team) => format!("{of} is told the visits of {team}.\n"),
                None => format!("{of} is told no visits any more.\n"),
            });
            Ok(exit::WELL)
        }
        Verb::Pause { name } => {
            ask(&config, &Request::BoxesPause { name: name.clone() })?;
            out::narrate(&format!("{name} was asked to pause.\n"));
            Ok(exit::WELL)
        }
        Verb::Revoke { name, yes } => {
            if !yes {
                return Err(Failure::new(
                    format!("revoking {name} needs --yes: the box cannot connect any more"),
                    "boxes.revoke.unconfirmed",
                )
                .usage());
            }
            revoke(&config, &name)
        }
    }
}

fn add(config: &Config, name: &str, path: &Path, endpoint: Option<String>) -> Result<u8, Failure> {
    // The place for the file is taken first: a box without its file would be of no use.
    write_private(path, b"").map_err(|error| Failure::of(&error, error.code()))?;
    let made = make(config, name, endpoint).and_then(|text| {
        std::fs::write(path, text.as_bytes()).map_err(|error| Failure::of(&error, "keys.io"))
    });
    if let Err(failure) = made {
        // Empty, or cut off: of no use either way.
        let _ = std::fs::remove_file(path);
        return Err(failure);
    }
    out::narrate(&format!(
        "{name} may connect now. Move {} to the box; it holds its secrets.\n",
        path.display()
    ));
    Ok(exit::WELL)
}

fn make(config: &Config, name: &str, endpoint: Option<String>) -> Result<String, Failure> {
    if !is_running(config) {
        return add_offline(config, name, endpoint);
    }
    let request = Request::BoxesAdd {
        name: name.to_owned(),
        endpoint,
    };
    Ok(out::text(&ask(config, &request)?, "file"))
}

fn add_offline(config: &Config, name: &str, endpoint: Option<String>) -> Result<String, Failure> {
    let listen = config.mqtt.listen.address();
    let is_known = endpoint.is_some()
        || config.mqtt.endpoint.is_some()
        || config.broker.is_some()
        || listen.is_some_and(|at| at.port() != 0);
    if !is_known {
        return Err(Failure::new(
            "where boxes connect is not known: the port is chosen when the gateway starts",
            "boxes.endpoint",
        ));
    }
    let now = SystemClock::new().read().utc;
    let (_lock, inbox) = offline(config)?;
    let keys = GatewayKeys::open_or_create(&config.key_folder(), config.enrol.certificate.0, now)
        .map_err(|error| Failure::of(&error, error.code()))?;
    let meeting = enrol::Meeting::of(config, &keys, listen, config.enrol.listen)
        .map_err(|error| Failure::of(&error, error.code()))?
        .moved_to(endpoint);
    let made = enrol::file::make(&keys, name, &meeting, now)
        .map_err(|error| Failure::of(&error, error.code()))?;
    wait(inbox.enrol(made.new.clone()))?.map_err(refused)?;
    Ok(made.file.as_str().to_owned())
}

fn list(config: &Config) -> Result<Value, Failure> {
    if is_running(config) {
        return ask(config, &Request::BoxesList);
    }
    let (_lock, inbox) = offline(config)?;
    let rows = inbox
        .boxes()
        .map_err(|error| Failure::of(&error, error.code()))?;
    let boxes: Vec<Value> = rows.iter().map(shown_box).collect();
    Ok(json!({"schema": "boxes/1", "boxes": boxes}))
}

fn revoke(config: &Config, name: &str) -> Result<u8, Failure> {
    if is_running(config) {
        ask(
            config,
            &Request::BoxesRevoke {
                name: name.to_owned(),
            },
        )?;
    } else {
        let (_lock, inbox) = offline(config)?;
        let now = SystemClock::new().read().utc;
        wait(inbox.revoke(name.to_owned(), now))?.map_err(refused)?;
    }
    out::narrate(&format!("{name} cannot connect any more.\n"));
    Ok(exit::WELL)
}

fn refused(error: EnrolError) -> Failure {
    Failure::of(&error, error.code())
}

/// The inbox of a gateway that does not run, under the lock that keeps it from starting.
fn offline(config: &Config) -> Result<(StateLock, Inbox), Failure> {
    let lock = StateLock::take(&config.state).map_err(|error| Failure::of(&error, error.code()))?;
    let now = SystemClock::new().read().utc;
    let place = config
        .inbox_place()
        .map_err(|error| Failure::of(&error, error.code()))?;
    let inbox = Inbox::open(&place, config.mqtt.queue, now)
        .map_err(|error| Failure::of(&error, error.code()))?;
    Ok((lock, inbox))
}

fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::of(&error, "run.runtime"))?;
    Ok(runtime.block_on(work))
}

/// The boxes of a document as rows.
pub(super) fn table(document: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(document, "boxes")
        .map(|one| {
            let heard = one.get("heard_age_s").and_then(Value::as_i64);
            let state = match (
                one.get("revoked").and_then(Value::as_str),
                one.get("connected").and_then(Value::as_bool),
            ) {
                (Some(_), _) => "revoked",
                (None, Some(true)) => "connected",
                (None, Some(false)) => "away",
                (None, None) => "enrolled",
            };
            vec![
                out::text(one, "name"),
                state.to_owned(),
                heard.map_or_else(|| out::text(one, "heard"), |age| out::age(age) + " ago"),
                out::text(one, "agent_version"),
                out::text(one, "team"),
                out::text(one, "id"),
            ]
        })
        .collect();
    out::table(&["BOX", "STATE", "HELLO", "PROGRAM", "TEAM", "ID"], &rows)
}
