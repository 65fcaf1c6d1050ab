//! `cardio-gateway chain verify`.
//!
//! Reads the inbox and changes nothing, whether a gateway runs or not.

use std::path::Path;

use cardio_gateway::chain::{self, ChainProof};
use serde_json::{Value, json};

use super::ask::configured;
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Walk every lane of every box over the stored frames: signatures, links, places.
    Verify {
        /// One box only.
        #[arg(long = "box", value_name = "NAME")]
        of: Option<String>,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(verb: &Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let Verb::Verify { of, json } = verb;
    let config = configured(config)?;
    let place = config
        .inbox_place()
        .map_err(|error| Failure::of(&error, error.code()))?;
    let proofs =
        chain::verify(&place, of.as_deref()).map_err(|error| Failure::of(&error, error.code()))?;
    let whole = proofs.iter().all(ChainProof::is_whole);
    let verdict = if whole { "WHOLE" } else { "BROKEN" };
    let document = json!({
        "schema": "chain-proof/1",
        "verdict": verdict,
        "chains": proofs.iter().map(ChainProof::shown).collect::<Vec<Value>>(),
    });
    if *json {
        out::document(&document);
    } else {
        out::result(&format!("{verdict}\n{}", table(&document)));
    }
    Ok(if whole { exit::WELL } else { exit::FAILING })
}

fn table(document: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(document, "chains")
        .map(|chain| {
            let count = |part| out::list(chain, part).count().to_string();
            let head = out::text(chain, "head");
            let mut row: Vec<String> = ["box", "lane", "chain", "frames", "upto"]
                .map(|part| out::text(chain, part))
                .to_vec();
            row.extend([count("missing"), out::text(chain, "conflicts")]);
            row.push(head.get(..16).unwrap_or(&head).to_owned());
            row.push(out::text(chain, "fault"));
            row.push(note(chain));
            row
        })
        .collect();
    out::table(
        &[
            "BOX",
            "LANE",
            "CHAIN",
            "FRAMES",
            "UPTO",
            "GAPS",
            "CONFLICTS",
            "HEAD",
            "FAULT",
            "",
        ],
        &rows,
    )
}

/// What a person must know of a chain that is whole all the same.
fn note(chain: &Value) -> String {
    let number = |part: &str| chain.get(part).and_then(Value::as_u64).unwrap_or(0);
    let mut said = Vec::new();
    if number("forked_at") > 0 {
        said.push(format!("forked at {}", number("forked_at")));
    }
    if chain.get("ended") == Some(&Value::Bool(true)) {
        said.push("ended".to_owned());
    }
    if number("carried") > 0 {
        said.push(format!("{} frame(s) carried over", number("carried")));
    }
    if number("conflicts_filed") > 0 {
        let filed = number("conflicts_filed");
        said.push(format!("{filed} filed beside another of their place"));
    }
    said.join(", ")
}
