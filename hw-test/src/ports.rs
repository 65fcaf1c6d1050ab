//! Ports for the programs that the rigs start.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};

/// Where they are looked for: below those that the system gives to connections of its own accord,
/// so that none takes one between looking and listening.
const PORTS: std::ops::Range<u32> = 10_240..32_000;

/// A loopback port that nobody listens on; another one each time.
pub(crate) fn free() -> anyhow::Result<u16> {
    static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    for _ in 0..count {
        let next = LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        // Several rigs at once begin at different places.
        let place = std::process::id().wrapping_mul(61).wrapping_add(next) % count;
        let port = u16::try_from(PORTS.start + place).context("no such port")?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port is taken")
}
