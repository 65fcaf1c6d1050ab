//! What networks do: they go silent, reset, slow down, delay, falsify and deliver late.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::ground::{Ground, Play, count, resident_kib};
use super::{Case, Observed, Place};
use crate::chance::Chance;
use crate::clock::StopWatch;
use crate::cuts::OUTBOX;
use crate::cuts::word::Word;
use crate::proxy::{Road, Weather};
use crate::sql;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "half-open",
        does: "the cable is out and nobody says so, for both ends",
        run: half_open,
    },
    Case {
        name: "forgotten",
        does: "a NAT box forgets the connection; new ones pass",
        run: forgotten,
    },
    Case {
        name: "reset",
        does: "the connection is reset again and again, and the door is closed for a while",
        run: reset,
    },
    Case {
        name: "far",
        does: "everything takes 600 to 900 ms each way",
        run: far,
    },
    Case {
        name: "falsified",
        does: "bits change on the way, both ways",
        run: falsified,
    },
    Case {
        name: "late",
        does: "what the box sent before it was killed arrives after what it sends anew",
        run: late,
    },
    Case {
        name: "slow",
        does: "30 kbit/s and a backlog of long recordings, while alerts are raised",
        run: slow,
    },
    Case {
        name: "offline",
        does: "no network for a minute of a long recording, then 300 kbit/s",
        run: offline,
    },
];

/// The box gives up 75 s after something of which nothing was heard; the rest is for a busy
/// machine.
const BOX_NOTICES: Duration = Duration::from_secs(100);

/// One and a half keep-alives, and some time for a busy machine.
const GATEWAY_NOTICES: Duration = Duration::from_secs(60);

fn pause(time: Duration) {
    StopWatch::start().sleep_until(time);
}

fn half_open(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(25))?;
    ground.connected()?;
    ground.proxy.set(Weather::both(Road::lost()));
    let watch = StopWatch::start();
    let silent = ground.counter_until("sessions_silent", 1, GATEWAY_NOTICES)?;
    let gateway_s = watch.elapsed().as_secs();
    let status = ground.box_until("the box to notice", BOX_NOTICES, |status| {
        status["uplink"]["connected"] == false
    })?;
    let box_s = watch.elapsed().as_secs();
    ground.proxy.set(Weather::default());
    ground.connected()?;
    Ok(vec![
        format!("the gateway ended {silent} silent session after {gateway_s} s"),
        format!(
            "the box noticed within {box_s} s: {}",
            status["uplink"]["code"]
        ),
        ground.judge_whole()?,
    ])
}

fn forgotten(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(25))?;
    let before = count(&ground.connected()?["uplink"]["connections"]);
    ground.proxy.set(Weather::both(Road::lost()));
    let watch = StopWatch::start();
    crate::clock::wait_for("bytes to vanish", BOX_NOTICES, || {
        Ok((ground.proxy.traffic().lost_bytes > 0).then_some(()))
    })?;
    ground.proxy.set(Weather::default());
    let status = ground.box_until("another connection", BOX_NOTICES, |status| {
        status["uplink"]["connected"] == true && count(&status["uplink"]["connections"]) > before
    })?;
    let lost_bytes = ground.proxy.traffic().lost_bytes;
    Ok(vec![
        format!(
            "the box connected anew after {} s, {lost_bytes} bytes had vanished, {} frames sent in all",
            watch.elapsed().as_secs(),
            status["uplink"]["sent"]
        ),
        ground.judge_whole()?,
    ])
}

fn reset(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(20))?;
    ground.connected()?;
    let mut chance = Chance::new(place.seed);
    for _ in 0..8 {
        pause(Duration::from_millis(chance.between((100, 900))));
        ground.proxy.cut();
    }
    ground.proxy.set(Weather::closed());
    ground.proxy.cut();
    let status = ground.box_until("the closed door to be noticed", BOX_NOTICES, |status| {
        status["uplink"]["connected"] == false
    })?;
    pause(Duration::from_secs(2));
    ground.proxy.set(Weather::default());
    let traffic = ground.proxy.traffic();
    ground.connected()?;
    Ok(vec![
        format!(
            "9 resets, {} connections turned away, {} at the closed door",
            traffic.turned_away, status["uplink"]["code"]
        ),
        ground.judge_whole()?,
    ])
}

fn far(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(20))?;
    ground.connected()?;
    let road = Road::far(Duration::from_millis(600), Duration::from_millis(300));
    ground.proxy.set(Weather::both(road));
    let status = ground.box_until(
        "an acknowledgement over the far road",
        BOX_NOTICES,
        |status| {
            status["latency"]["sent_to_filed"]["p99_ms"]
                .as_f64()
                .is_some_and(|ms| ms >= 1_200.0)
        },
    )?;
    Ok(vec![
        format!(
            "acknowledged after {:.0} ms (p99)",
            status["latency"]["sent_to_filed"]["p99_ms"]
                .as_f64()
                .unwrap_or_default()
        ),
        ground.judge_whole()?,
    ])
}

fn falsified(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(20))?;
    let before = count(&ground.connected()?["uplink"]["connections"]);
    ground.proxy.set(Weather::both(Road::falsifying(20)));
    ground.box_until("connections to break", BOX_NOTICES, |status| {
        count(&status["uplink"]["connections"]) > before
    })?;
    let flipped = ground.proxy.traffic().flipped_bits;
    ground.proxy.set(Weather::default());
    ground.connected()?;
    let refused = ground.counter("frames_refused")?;
    if refused > 0 {
        bail!("{refused} falsified frames got through TLS");
    }
    Ok(vec![
        format!("{flipped} bits changed, no falsified frame came through"),
        ground.judge_whole()?,
    ])
}

fn late(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(20))?;
    ground.connected()?;
    ground.proxy.strand();
    pause(Duration::from_secs(2));
    ground.agent.kill()?;
    ground.agent = ground.stage.start_agent()?;
    ground.connected()?;
    ground.proxy.release();
    let repeated = ground.counter("frames_repeated")?;
    let judged = ground.judge()?;
    Ok(vec![format!(
        "{} of {} samples filed once, {} named in gaps while the box was dead; {repeated} frames came twice",
        judged.equal, judged.sent, judged.named
    )])
}

/// What the link carries.
const SLOW_BIT_PER_S: u64 = 30_000;

/// Lanes by number.
const ALERT: u64 = 0;
const BULK: u64 = 2;

/// How long an alert may take beyond its own and one bulk frame's way: the acknowledgement's
/// way back, the instants at which this rig looks, and a busy machine. It is less than a second
/// bulk frame would take.
const ALERT_MARGIN: Duration = Duration::from_secs(3);

/// How long alerts are watched.
const WATCHED: Duration = Duration::from_secs(40);

fn slow(place: &Place) -> anyhow::Result<Observed> {
    let play = Play {
        seconds: 75,
        speed: 1,
        unattended: true,
    };
    let mut ground = Ground::begin(place, &play)?;
    ground.connected()?;
    ground.proxy.set(Weather::closed());
    ground.proxy.cut();
    pause(Duration::from_secs(20));
    ground.proxy.set(Weather::both(Road::slow(SLOW_BIT_PER_S)));
    let outbox = ground.stage.agent_state().join(OUTBOX);
    let backlog = Word::of(&outbox)?;
    let behind = waiting(&backlog, BULK);
    if behind < 2 {
        bail!("a backlog of {behind} bulk frame(s) proves nothing");
    }
    // What waited meanwhile is not what is measured: from here on, alerts are new.
    ground.box_until("the box to come back", BOX_NOTICES, |status| {
        status["uplink"]["connected"] == true
    })?;
    crate::clock::wait_for("the old alerts to be acknowledged", BOX_NOTICES, || {
        Ok((waiting(&Word::of(&outbox)?, ALERT) <= 1).then_some(()))
    })?;
    let still_behind = waiting(&Word::of(&outbox)?, BULK);
    if still_behind < 2 {
        bail!("a backlog of {still_behind} bulk frame(s) proves nothing");
    }
    let waits = watch_alerts(&outbox)?;
    let worst = waits.iter().max().copied().unwrap_or_default();
    let largest = largest_frames(&outbox)?;
    let on_the_way = |bytes: u64| Duration::from_millis(bytes * 8_000 / SLOW_BIT_PER_S);
    let bound = on_the_way(largest.0 + largest.1) + ALERT_MARGIN;
    ground.proxy.set(Weather::default());
    let observed = format!(
        "{behind} bulk frames waited, the largest {} bytes ({} ms on this link); {} alerts took {} ms at most, {} ms are allowed",
        largest.1,
        on_the_way(largest.1).as_millis(),
        waits.len(),
        worst.as_millis(),
        bound.as_millis()
    );
    if waits.is_empty() || worst > bound {
        bail!("{observed}");
    }
    Ok(vec![observed, ground.judge_whole()?])
}

/// A long recording, in real time: faster than life a stall of the machine is a stall of many
/// seconds to the sensor's small frame counter, and gaps can no longer be told.
const OFFLINE: Play = Play {
    seconds: 60,
    speed: 1,
    unattended: true,
};

/// How much more memory the box may hold at the end of the time offline, in KiB.
const MORE_KIB: u64 = 16 * 1024;

fn offline(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &OFFLINE)?;
    ground.connected()?;
    ground.proxy.set(Weather::closed());
    ground.proxy.cut();
    pause(Duration::from_secs(5));
    let before = resident_kib(&ground.agent)?;
    let status = ground.offline_to_the_end(BOX_NOTICES * 4)?;
    let after = resident_kib(&ground.agent)?;
    if after > before + MORE_KIB {
        bail!("the box's memory grew from {before} to {after} KiB while it was offline");
    }
    ground.proxy.set(Weather::both(Road::slow(300_000)));
    let outbox = ground.stage.agent_state().join(OUTBOX);
    let (alerts, bulk) = crate::clock::wait_for("the alerts to be sent", BOX_NOTICES * 4, || {
        let word = Word::of(&outbox)?;
        let bulk = waiting(&word, BULK);
        if bulk == 0 {
            bail!("the long recording was sent before the alerts");
        }
        let saved = |lane: u64| word.lanes.iter().find(|said| said.lane == lane);
        let alerts = saved(ALERT).map_or(0, |lane| lane.saved);
        Ok((waiting(&word, ALERT) == 0).then_some((alerts, bulk)))
    })?;
    ground.proxy.set(Weather::default());
    Ok(vec![
        format!(
            "{} records waited in {} bytes, room for {:.0} h more; the box held {} MiB when it went offline and {} MiB at the end",
            status["store"]["waiting"],
            status["store"]["bytes"],
            status["store"]["autonomy"]["hours"]
                .as_f64()
                .unwrap_or_default(),
            before / 1024,
            after / 1024
        ),
        format!(
            "all {alerts} alert frames were acknowledged while {bulk} bulk frames still waited"
        ),
        ground.judge_whole()?,
    ])
}

fn waiting(word: &Word, lane: u64) -> u64 {
    let lane = word.lanes.iter().find(|said| said.lane == lane);
    lane.map_or(0, |lane| lane.saved - lane.acked)
}

/// From when an alert is seen stored until it is seen acknowledged, for all that are stored
/// while this watches.
fn watch_alerts(outbox: &std::path::Path) -> anyhow::Result<Vec<Duration>> {
    let watch = StopWatch::start();
    let mut stored: BTreeMap<u64, Duration> = BTreeMap::new();
    let mut waits = Vec::new();
    let mut known = None;
    while watch.elapsed() < WATCHED || !stored.is_empty() {
        let word = Word::of(outbox)?;
        let now = watch.elapsed();
        let alert = word.lanes.iter().find(|lane| lane.lane == ALERT);
        let alert = alert.context("the box has no alert lane")?;
        let first = known.unwrap_or(alert.saved);
        if now < WATCHED {
            stored.extend((first + 1..=alert.saved).map(|seq| (seq, now)));
        }
        known = Some(alert.saved);
        let still = stored.split_off(&(alert.acked + 1));
        waits.extend(stored.into_values().map(|at| now.saturating_sub(at)));
        stored = still;
        if now > WATCHED * 3 {
            bail!("{} alerts are still not acknowledged", stored.len());
        }
        pause(Duration::from_millis(50));
    }
    Ok(waits)
}

/// Bytes of the largest frame of the alert lane and of the bulk lane.
fn largest_frames(outbox: &std::path::Path) -> anyhow::Result<(u64, u64)> {
    let rows = sql::look(
        outbox,
        "SELECT place >> 48 AS lane, max(length(bytes)) AS largest FROM frame GROUP BY 1",
    )?;
    let largest = |lane: u64| {
        let row = rows.iter().find(|row| sql::number(row, "lane") == lane);
        row.map_or(0, |row| sql::number(row, "largest"))
    };
    Ok((largest(ALERT), largest(BULK)))
}
