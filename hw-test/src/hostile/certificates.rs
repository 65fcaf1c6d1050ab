//! Certificates that end: before the visit, and during a session.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::time::Duration;

use anyhow::bail;

use super::certify::{Life, certify_box, hide_renewal};
use super::ground::{Ground, Opened, Play, count};
use super::{Case, Observed, Place};
use crate::clock::StopWatch;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ended-certificate",
        does: "the box's certificate has ended before it starts; later it gets a good one",
        run: ended,
    },
    Case {
        name: "ending-certificate",
        does: "the box's certificate ends during a session, then the connection breaks",
        run: ending,
    },
];

const LIMIT: Duration = Duration::from_secs(40);

/// Samples that may be on the line when a port is closed: a tenth of a second.
const ON_THE_LINE: u64 = 25;

/// A good life for the rest of the case.
const GOOD: Life = Life::For(Duration::from_secs(86_400));

fn ended(place: &Place) -> anyhow::Result<Observed> {
    let opened = Opened::open(place)?;
    let upstream = opened.stage.gateway_address();
    let ready = opened.ready(&Play::visit(20), upstream)?;
    certify_box(&ready.stage, Life::Ended)?;
    let mut ground = ready.start()?;
    let refused = refused(&mut ground)?;
    let waiting = ground.box_until("records that wait", LIMIT, |status| {
        count(&status["store"]["waiting"]) >= 5
    })?;
    certify_box(&ground.stage, GOOD)?;
    ground.restart_box()?;
    ground.connected()?;
    Ok(vec![
        format!(
            "the box says {refused}, and keeps what it captures: {} records waited",
            waiting["store"]["waiting"]
        ),
        whole_but_for_the_restart(ground)?,
    ])
}

fn ending(place: &Place) -> anyhow::Result<Observed> {
    let opened = Opened::open(place)?;
    let upstream = opened.stage.gateway_address();
    let ready = opened.ready(&Play::visit(35), upstream)?;
    let life = Duration::from_secs(12);
    certify_box(&ready.stage, Life::For(life))?;
    hide_renewal(&ready.stage)?;
    let watch = StopWatch::start();
    let mut ground = ready.start()?;
    let before = ground.connected()?;
    watch.sleep_until(life + Duration::from_secs(3));
    let after = ground.box_until("more acknowledgements", LIMIT, |status| {
        count(&status["store"]["filed"]) > count(&before["store"]["filed"])
    })?;
    let session = if after["uplink"]["connections"] == before["uplink"]["connections"] {
        "the session outlived the certificate"
    } else {
        "the session did not outlive the certificate"
    };
    ground.proxy.cut();
    let refused = refused(&mut ground)?;
    certify_box(&ground.stage, GOOD)?;
    ground.restart_box()?;
    ground.connected()?;
    Ok(vec![
        format!("{session}; after a break the box says {refused}"),
        whole_but_for_the_restart(ground)?,
    ])
}

/// The code under which the box says that it is not let in.
fn refused(ground: &mut Ground) -> anyhow::Result<String> {
    let is_code = |status: &serde_json::Value| {
        let code = status["uplink"]["code"].as_str();
        code.is_some_and(|code| matches!(code, "uplink.untrusted" | "uplink.refused"))
    };
    let status = ground.box_until("the box to say that it is refused", LIMIT, |status| {
        status["uplink"]["connected"] == false && is_code(status)
    })?;
    let failed = ground.counter("tls_handshakes_failed")?;
    Ok(format!(
        "{} (the gateway counts {failed} failed handshakes)",
        status["uplink"]["code"]
    ))
}

/// Nothing is lost but what the sensor sent while the box was started again: a gap names it, or
/// it was on the line when a box that was told to stop closed its port.
fn whole_but_for_the_restart(ground: Ground) -> anyhow::Result<String> {
    let judged = ground.judge()?;
    if judged.equal == 0 || judged.equal + judged.named + ON_THE_LINE < judged.sent {
        bail!(
            "{} sent, {} filed, {} named",
            judged.sent,
            judged.equal,
            judged.named
        );
    }
    Ok(format!(
        "{} of {} samples filed once, {} named in a gap while the box was started again",
        judged.equal, judged.sent, judged.named
    ))
}
