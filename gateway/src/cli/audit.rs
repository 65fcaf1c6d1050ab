//! `cardio-gateway audit verify`.

use std::path::Path;

use cardio_gateway::access::audit::Head;
use cardio_gateway::control::Request;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Walk the whole trace of who did what: numbers, hashes, the signature of its end.
    Verify {
        /// A head that was noted before: all up to it must still be the same.
        #[arg(long, value_name = "NUMBER:HASH", value_parser = head)]
        noted: Option<Head>,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

fn head(text: &str) -> Result<Head, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seq = seq.parse().ok()?;
        is_hash.then(|| Head {
            seq,
            hash: hash.to_ascii_lowercase(),
        })
    });
    parts.ok_or_else(|| "a head as `audit verify` prints it: its number, `:`, its hash".to_owned())
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let Verb::Verify { noted, json } = verb;
    let config = configured(config)?;
    let proof = ask(&config, &Request::AuditVerify { noted })?;
    let whole = out::text(&proof, "verdict") == "WHOLE";
    if json {
        out::document(&proof);
    } else {
        let head = proof.get("head").cloned().unwrap_or_default();
        out::result(&format!(
            "{}\n{} events, head {}:{}\nsigned by {}\n",
            out::text(&proof, "verdict"),
            out::text(&head, "seq"),
            out::text(&head, "seq"),
            out::text(&head, "hash"),
            out::text(&proof, "key"),
        ));
        if !whole {
            out::result(&format!("first fault: {}\n", out::text(&proof, "broken")));
        }
    }
    Ok(if whole { exit::WELL } else { exit::FAILING })
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn a_head_is_a_number_and_a_hash() {
        let hash = "aB".repeat(32);
        assert_eq!(head(&format!("7:{hash}")).unwrap().hash, "ab".repeat(32));
        for wrong in ["7", "7:", "x:00", ":", &hash] {
            assert!(head(wrong).is_err(), "{wrong}");
        }
    }
}
