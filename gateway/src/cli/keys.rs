//! `cardio-gateway keys list|rotate-recipient|rotate-control|retire`.
//!
//! A running gateway is asked: it has to tell the boxes.

use std::path::Path;

use cardio_gateway::control::Request;
use cardio_gateway::keys::ring::Purpose;
use serde_json::Value;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The keys, what each is for, and which boxes have not said that they know the newest.
    List {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Make a new key that boxes seal to. The one before is kept and still opens its frames.
    RotateRecipient,
    /// Make the next control key the current one. The one before is kept for boxes that are away.
    RotateControl,
    /// Wipe a kept key. Frames sealed to it can never be opened again.
    Retire {
        /// The key's id, as `keys list` shows it.
        id: String,
        /// Even if boxes may still need it.
        #[arg(long)]
        anyway: bool,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    let rotate = |purpose| {
        let done = ask(&config, &Request::KeysRotate { purpose })?;
        let told = out::text(&done, "told");
        out::narrate(&format!(
            "{} is in use now; {told} connected box(es) were told, the others learn it when \
             they connect.\n",
            out::text(&done, "id")
        ));
        Ok(exit::WELL)
    };
    match verb {
        Verb::List { json } => {
            let keys = ask(&config, &Request::KeysList)?;
            if json {
                out::document(&keys);
            } else {
                out::result(&table(&keys));
            }
            Ok(exit::WELL)
        }
        Verb::RotateRecipient => rotate(Purpose::Recipient),
        Verb::RotateControl => rotate(Purpose::Control),
        Verb::Retire { id, anyway, yes } => {
            if !yes {
                return Err(Failure::new(
                    format!("retiring {id} needs --yes: what was sealed to it stays closed"),
                    "keys.retire.unconfirmed",
                )
                .usage());
            }
            let request = Request::KeysRetire {
                id: id.clone(),
                anyway,
            };
            ask(&config, &request)?;
            out::narrate(&format!("{id} is wiped.\n"));
            Ok(exit::WELL)
        }
    }
}

fn table(keys: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(keys, "keys")
        .map(|key| {
            ["id", "purpose", "role", "made"]
                .map(|part| out::text(key, part))
                .to_vec()
        })
        .collect();
    let behind: Vec<&str> = out::list(keys, "boxes_behind")
        .filter_map(Value::as_str)
        .collect();
    let mut text = out::table(&["KEY", "FOR", "ROLE", "MADE"], &rows);
    if !behind.is_empty() {
        text += &format!("not known to have the newest keys: {}\n", behind.join(", "));
    }
    text
}
