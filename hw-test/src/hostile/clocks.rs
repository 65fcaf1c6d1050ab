//! Wall clocks that are wrong: at 1970, ten years ahead, and back one hour during a visit. The
//! record must show when things really happened, by this machine's clock.
//!
//! The box's wall clock is moved with libfaketime; the time since boot and the monotonic clock
//! stay what they are, as on a real machine whose wall clock is set.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::ground::{Ground, Opened, Play, count};
use super::{Case, Observed, Place};
use crate::clock::{StopWatch, since_1970};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "clock-1970",
        does: "the box believes that it is 1970",
        run: at_1970,
    },
    Case {
        name: "clock-ahead",
        does: "the box is ten years ahead; later its clock is set right",
        run: ahead,
    },
    Case {
        name: "clock-back",
        does: "the box's clock is set back one hour during the visit",
        run: back,
    },
];

/// How far the filed time of a visit may be from the real one: the sensor's first frame, the
/// way to the gateway, and a busy machine.
const TOLERANCE_MS: i128 = 3_000;

const LIMIT: Duration = Duration::from_secs(40);

/// Ten years, in seconds.
const TEN_YEARS_S: i64 = 3_650 * 86_400;

fn at_1970(place: &Place) -> anyhow::Result<Observed> {
    let (mut ground, began_ms) = begin(place, to_1970()?)?;
    let ahead = ground.connected()?["clock"]["gateway_ahead_ms"].clone();
    let shown = shown_ahead(&ahead, 50 * 365)?;
    Ok(vec![shown, judge(ground, began_ms)?])
}

fn ahead(place: &Place) -> anyhow::Result<Observed> {
    let (mut ground, began_ms) = begin(place, TEN_YEARS_S)?;
    let refused = ground.box_until("the box to refuse the gateway", LIMIT, |status| {
        status["uplink"]["code"] == "uplink.untrusted" && count(&status["store"]["waiting"]) >= 5
    })?;
    ground.stage.shift_wall_clock(0)?;
    ground.connected()?;
    Ok(vec![
        format!(
            "to a box that is ten years ahead the gateway's certificate has ended ({}): {} records waited until the clock was set",
            refused["uplink"]["code"], refused["store"]["waiting"]
        ),
        judge(ground, began_ms)?,
    ])
}

fn back(place: &Place) -> anyhow::Result<Observed> {
    let (mut ground, began_ms) = begin(place, 0)?;
    ground.connected()?;
    StopWatch::start().sleep_until(Duration::from_secs(5));
    ground.stage.shift_wall_clock(-3_600)?;
    let status = ground.box_until("the step to be seen", LIMIT, |status| {
        status["clock"]["gateway_ahead_ms"]
            .as_f64()
            .is_some_and(|ms| ms > 3_000_000.0)
    })?;
    let shown = shown_ahead(&status["clock"]["gateway_ahead_ms"], 0)?;
    Ok(vec![shown, judge(ground, began_ms)?])
}

/// From now back to ten seconds after the beginning of 1970.
fn to_1970() -> anyhow::Result<i64> {
    Ok(10 - i64::try_from(since_1970().as_secs())?)
}

/// How far the box sees the gateway ahead, which must be more than `days`.
fn shown_ahead(ahead: &serde_json::Value, days: u64) -> anyhow::Result<String> {
    let ms = ahead
        .as_f64()
        .context("the box has not heard the gateway's time")?;
    let day_ms = 86_400_000.0;
    let least: u32 = u32::try_from(days)?;
    if ms / day_ms < f64::from(least) {
        bail!("the box's clock was not wrong: the gateway is {ms} ms ahead");
    }
    Ok(format!(
        "the box saw the gateway {:.0} s ahead",
        ms / 1_000.0
    ))
}

/// A visit of a box whose wall clock is `shift_s` seconds from the truth; and when it really
/// began.
fn begin(place: &Place, shift_s: i64) -> anyhow::Result<(Ground, i128)> {
    let opened = Opened::open(place)?;
    let upstream = opened.stage.gateway_address();
    let mut ready = opened.ready(&Play::visit(20), upstream)?;
    if !ready.stage.bend_wall_clock()? {
        bail!("libfaketime is missing: apt-get install libfaketime");
    }
    ready.stage.shift_wall_clock(shift_s)?;
    let began = since_1970();
    Ok((ready.start()?, i128::try_from(began.as_millis())?))
}

/// The judge, and when the record says that the visit began.
fn judge(ground: Ground, began_ms: i128) -> anyhow::Result<String> {
    let (whole, starts) = ground.judge_with_starts()?;
    let first = starts
        .first()
        .context("the record shows no signal with a time")?;
    let last = starts.last().unwrap_or(first);
    let (late_ms, span_ms) = (first - began_ms, last - first);
    let observed = format!(
        "{whole}; the record begins {late_ms} ms after the box was started, by this machine's clock, and its last stretch {span_ms} ms later"
    );
    if !(0..=TOLERANCE_MS).contains(&late_ms) || !(0..=25_000).contains(&span_ms) {
        bail!("{observed}");
    }
    Ok(observed)
}
