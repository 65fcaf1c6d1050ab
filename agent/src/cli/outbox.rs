//! `outbox show`: the headers of what is stored, without opening anything. `outbox verify`:
//! the proof that nothing of it is missing or changed, in `verify`.

use std::collections::BTreeMap;

use crate::clock::rfc_3339;
use cardio_store::{OutboxRow, aside_read_only, rows_read_only};

use crate::config::Config;
use crate::service::OUTBOX;
use crate::status::AsideStatus;

use super::{ConfigArg, Failure, out};

mod verify;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Every stored frame: lane, place, size, time, and whether the gateway has it.
    Show(ShowArgs),
    /// Walk every chain and prove it: signatures, places, links, counters. Changes nothing.
    Verify(verify::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON document, `outbox/1`.
    #[arg(long)]
    json: bool,
    /// No more than this many frames of each lane, the newest.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
}

#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    lanes: Vec<Lane>,
    aside: AsideStatus,
}

#[derive(serde::Serialize)]
struct Lane {
    lane: &'static str,
    chain: String,
    frames: u64,
    bytes: u64,
    filed: u64,
    newest: Vec<Frame>,
}

#[derive(serde::Serialize)]
struct Frame {
    seq: u64,
    bytes: usize,
    stored: String,
    filed: bool,
    sealed_to: String,
    fingerprint: String,
}

pub(crate) fn run(verb: &Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Show(args) => show(args),
        Verb::Verify(args) => verify::run(args),
    }
}

fn show(args: &ShowArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let document = Document {
        schema: "outbox/1",
        lanes: lanes(args, &config)?,
        aside: aside_read_only(&config.site.state.join(OUTBOX))?.into(),
    };
    if args.json {
        out::json(&document)?;
    } else {
        out::text(&text(&document))?;
    }
    Ok(0)
}

fn lanes(args: &ShowArgs, config: &Config) -> Result<Vec<Lane>, Failure> {
    let mut lanes: BTreeMap<cardio_wire::lane::Lane, Lane> = BTreeMap::new();
    for row in rows_read_only(&config.site.state.join(OUTBOX))? {
        let row = row?;
        let lane = lanes.entry(row.header.lane).or_insert_with(|| Lane {
            lane: row.header.lane.name(),
            chain: row.header.chain.to_string(),
            frames: 0,
            bytes: 0,
            filed: 0,
            newest: Vec::new(),
        });
        lane.frames += 1;
        lane.bytes += u64::try_from(row.bytes).unwrap_or(0);
        lane.filed += u64::from(row.acked);
        lane.newest.push(frame(&row));
        // the rows come in order; twice the wanted number is kept at most
        if lane.newest.len() >= args.last.saturating_mul(2).max(1) {
            lane.newest
                .drain(..lane.newest.len().saturating_sub(args.last));
        }
    }
    let mut lanes: Vec<Lane> = lanes.into_values().collect();
    for lane in &mut lanes {
        lane.newest
            .drain(..lane.newest.len().saturating_sub(args.last));
    }
    Ok(lanes)
}

fn frame(row: &OutboxRow) -> Frame {
    Frame {
        seq: row.header.seq,
        bytes: row.bytes,
        stored: rfc_3339(row.stored_utc),
        filed: row.acked,
        sealed_to: row.header.recipient.to_string(),
        fingerprint: hex(&row.fingerprint),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(document: &Document) -> String {
    let Document { lanes, aside, .. } = document;
    let waiting: u64 = lanes.iter().map(|lane| lane.frames - lane.filed).sum();
    let word = if waiting == 0 { "FILED" } else { "WAITING" };
    let mut text = match lanes.is_empty() {
        true => "EMPTY   nothing is stored\n".to_owned(),
        false => format!("{word}   {waiting} frame(s) wait for the gateway\n"),
    };
    if aside.files > 0 {
        text += &format!("ASIDE   {aside}\n");
    }
    for lane in lanes {
        text += &format!(
            "\n{:<8} chain {}   {} frame(s), {} bytes, {} filed\n",
            lane.lane, lane.chain, lane.frames, lane.bytes, lane.filed
        );
        for frame in &lane.newest {
            text += &format!(
                "  {:>8}  {:>7} bytes  {:<28} {}  {}…\n",
                frame.seq,
                frame.bytes,
                frame.stored,
                if frame.filed { "filed  " } else { "waiting" },
                frame.fingerprint.get(..16).unwrap_or_default()
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{AsideStatus, Document, text};

    #[test]
    fn what_lies_beside_the_outbox_is_told_even_if_it_is_empty() {
        let mut document = Document {
            schema: "outbox/1",
            lanes: Vec::new(),
            aside: AsideStatus::default(),
        };
        assert_eq!(text(&document), "EMPTY   nothing is stored\n");
        document.aside = AsideStatus {
            files: 1,
            bytes: 2_048,
            waiting: 3,
            carried: 4,
            unreadable: 5,
        };
        let told = text(&document);
        for part in [
            "ASIDE   1 file(s)",
            "3 waiting",
            "4 frame(s) carried over",
            "5 unreadable",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
