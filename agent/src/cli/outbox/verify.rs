//! `outbox verify`: walks every chain of the outbox with the box's own public key and prints
//! the proof, or the place where it breaks. Reads only, so the agent may run meanwhile.

use std::path::PathBuf;

use cardio_store::{LaneProof, aside_read_only, verify_read_only};

use crate::cli::{ConfigArg, Failure, out};
use crate::config::Config;
use crate::enrolment::EnrolmentFile;
use crate::service::OUTBOX;
use crate::status::AsideStatus;

use super::hex;

/// Exit code when a chain is broken.
const BROKEN: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON document, `outbox-proof/1`.
    #[arg(long)]
    json: bool,
    /// Another database than the outbox of the state directory, for instance one that was set
    /// aside.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    verdict: &'static str,
    #[serde(rename = "box")]
    site: String,
    signed_by: String,
    lanes: Vec<Lane>,
    /// Files beside the outbox, of which this proof says nothing; `--file` proves one of them.
    aside: AsideStatus,
}

#[derive(serde::Serialize)]
struct Lane {
    lane: &'static str,
    chain: String,
    oldest: u64,
    next: u64,
    frames: u64,
    acknowledged_upto: u64,
    head: String,
    verdict: &'static str,
    fault: Option<Fault>,
}

#[derive(serde::Serialize)]
struct Fault {
    code: &'static str,
    why: String,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let enrolment = EnrolmentFile::open(&config.site.enrolment_file())
        .and_then(|file| file.enrolment())
        .map_err(|err| Failure::new(&err, err.code()))?;
    let key = enrolment.signer.verifying_key();
    let outbox = config.site.state.join(OUTBOX);
    let proofs = verify_read_only(args.file.as_deref().unwrap_or(&outbox), &key)?;
    let whole = proofs.iter().all(|proof| proof.fault.is_none());
    let document = Document {
        schema: "outbox-proof/1",
        verdict: verdict(whole),
        site: enrolment.id.to_string(),
        signed_by: key.key_id().to_string(),
        lanes: proofs.iter().map(lane).collect(),
        aside: aside_read_only(&outbox)?.into(),
    };
    if args.json {
        out::json(&document)?;
    } else {
        out::text(&text(&document))?;
    }
    Ok(if whole { 0 } else { BROKEN })
}

const fn verdict(whole: bool) -> &'static str {
    if whole { "whole" } else { "broken" }
}

fn lane(proof: &LaneProof) -> Lane {
    Lane {
        lane: proof.lane.name(),
        chain: proof.chain.to_string(),
        oldest: proof.oldest,
        next: proof.next,
        frames: proof.frames,
        acknowledged_upto: proof.acked,
        head: hex(&proof.head),
        verdict: verdict(proof.fault.is_none()),
        fault: proof.fault.as_ref().map(|fault| Fault {
            code: fault.code(),
            why: crate::telemetry::Chain(fault).to_string(),
        }),
    }
}

fn text(document: &Document) -> String {
    let frames: u64 = document.lanes.iter().map(|lane| lane.frames).sum();
    let mut text = format!(
        "{}   box {} · key {} · {frames} frame(s) signed, in their place, each naming the one before\n\n",
        document.verdict.to_uppercase(),
        document.site,
        document.signed_by
    );
    if document.aside.files > 0 {
        text += &format!("ASIDE   {}; not part of this proof\n\n", document.aside);
    }
    for lane in &document.lanes {
        text += &format!(
            "{:<8} {:<6}  chain {}  from {} to {}, acknowledged up to {}\n         head {}\n",
            lane.lane,
            lane.verdict,
            lane.chain,
            lane.oldest,
            lane.next.saturating_sub(1),
            lane.acknowledged_upto,
            lane.head
        );
        if let Some(fault) = &lane.fault {
            text += &format!("         {} ({})\n", fault.why, fault.code);
        }
    }
    text
}
