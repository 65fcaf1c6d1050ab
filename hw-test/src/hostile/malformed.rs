//! Bytes that are no TLS, no MQTT, or the wrong MQTT, and clients that take for ever, while
//! another box is served. Memory is looked at before and after.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::ground::{Ground, Play, count, resident_kib};
use super::wire::{Client, Identity, connect, packet, publish};
use super::{Case, Observed, Place};
use crate::chance::Chance;
use crate::clock::{StopWatch, wait_for};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "malformed",
        does: "garbage, old TLS, plaintext and wrong MQTT, while another box is served",
        run: malformed,
    },
    Case {
        name: "crowd",
        does: "10,000 connections, 800 that say nothing, and slow ones, while a box is served",
        run: crowd,
    },
];

/// How much more memory the gateway may hold afterwards, in KiB.
const MORE_KIB: u64 = 64 * 1024;

/// The gateway closes within its handshake limit of 10 s; a busy machine takes some more.
const CLOSED_LIMIT: Duration = Duration::from_secs(25);

/// One thing that is said on a connection that the gateway has accepted.
fn wrong_packets() -> Vec<(&'static str, Vec<u8>)> {
    let topic = "ecg/1/x/state";
    vec![
        ("a packet of kind 0", vec![0x00, 0x00]),
        ("a packet of kind 15", vec![0xF0, 0x00]),
        ("a second CONNECT", connect("again", 60, None)),
        ("CONNACK from a client", vec![0x20, 0x03, 0, 0, 0]),
        ("SUBACK from a client", vec![0x90, 0x04, 0, 1, 0, 0]),
        ("256 MB announced", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        (
            "a length of five bytes",
            vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ),
        ("QoS 3", publish(topic, 1, b"x", 0x06)),
        ("packet id 0", publish(topic, 0, b"x", 0x02)),
        ("an empty topic", publish("", 1, b"x", 0x02)),
        (
            "a topic that is not UTF-8",
            packet(0x32, &[0, 2, 0xC3, 0x28, 0, 1, 0]),
        ),
        (
            "a topic longer than its packet",
            packet(0x32, &[0xFF, 0xFF, b'e']),
        ),
        (
            "properties longer than the packet",
            packet(0x32, &[0, 1, b'e', 0, 1, 0x7F]),
        ),
        (
            "an unknown property",
            packet(0x32, &[0, 1, b'e', 0, 1, 2, 0x7E, 0]),
        ),
        ("SUBSCRIBE without a filter", packet(0x82, &[0, 1, 0])),
        (
            "SUBSCRIBE with wrong flags",
            packet(0x80, &[0, 1, 0, 0, 1, b'#', 0]),
        ),
    ]
}

fn malformed(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(20))?;
    ground.connected()?;
    ground.stage.add_box("FR75-099", "stranger.toml")?;
    let identity = Identity::read(&ground.stage.folder().join("stranger.toml"))?;
    let gateway = ground.stage.gateway_address();
    let before = resident_kib(&ground.gateway)?;
    let mut reasons = Vec::new();
    let wrong = wrong_packets();
    for (what, bytes) in &wrong {
        let (mut client, reason) = Client::connect(gateway, &identity, None)?;
        if reason != 0 {
            bail!("before {what}: CONNECT was refused with {reason:#04x}");
        }
        client.send(bytes)?;
        let end = client
            .end()
            .with_context(|| format!("{what} did not end the connection"))?;
        reasons.push(end.map_or_else(|| "-".to_owned(), |reason| format!("{reason:#04x}")));
    }
    let firsts: [(&str, Vec<u8>); 5] = [
        ("PINGREQ first", vec![0xC0, 0x00]),
        ("PUBLISH first", publish("ecg/1/x/state", 1, b"x", 0x02)),
        (
            "MQTT 3.1.1",
            vec![
                0x10, 0x0D, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'a',
            ],
        ),
        (
            "another protocol",
            vec![
                0x10, 0x0D, 0, 4, b'H', b'T', b'T', b'P', 5, 2, 0, 60, 0, 0, 0,
            ],
        ),
        ("300 kB of CONNECT", packet(0x10, &[0; 300_000])),
    ];
    for (what, bytes) in &firsts {
        let mut client = Client::tls(gateway, &identity)?;
        // The gateway may have closed before all of it was said.
        let _ = client.send(bytes);
        client
            .end()
            .with_context(|| format!("{what} did not end the connection"))?;
    }
    let no_tls = not_tls(gateway, &identity, place.seed)?;
    let after = resident_kib(&ground.gateway)?;
    still_served(&mut ground)?;
    Ok(vec![
        format!(
            "{} wrong packets, closed with {}; {} wrong beginnings; {no_tls} that were no TLS 1.3",
            wrong.len(),
            reasons.join(" "),
            firsts.len()
        ),
        memory(before, after)?,
        ground.judge_whole()?,
    ])
}

/// What is no TLS 1.3 with a client certificate: each is closed without an answer that means
/// anything.
fn not_tls(gateway: SocketAddr, identity: &Identity, seed: u64) -> anyhow::Result<usize> {
    let mut chance = Chance::new(seed);
    let mut garbage = || -> Vec<u8> {
        (0..4_000)
            .map(|_| u8::try_from(chance.below(256)).unwrap_or_default())
            .collect()
    };
    let said = [
        connect("in the clear", 60, None),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        garbage(),
        garbage(),
        client_hello(0x0302),
        client_hello(0x0301),
        client_hello(0x0300),
    ];
    for bytes in &said {
        let mut socket = TcpStream::connect(gateway)?;
        socket.set_read_timeout(Some(CLOSED_LIMIT))?;
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        // A reset is as good an end as any.
        let _ = socket.read_to_end(&mut answer);
        let is_alert = answer.first().is_none_or(|first| *first == 0x15);
        if !is_alert {
            bail!(
                "{:02x?}… was answered with {:02x?}",
                &bytes[..4],
                &answer[..1]
            );
        }
    }
    let mut old = identity.client(&[&rustls::version::TLS12])?;
    let mut socket = TcpStream::connect(gateway)?;
    socket.set_read_timeout(Some(CLOSED_LIMIT))?;
    if old.complete_io(&mut socket).is_ok() && !old.is_handshaking() {
        bail!("TLS 1.2 was accepted");
    }
    Ok(said.len() + 1)
}

/// A ClientHello of an old version with one cipher suite of its time (RFC 4346, 7.4.1.2).
fn client_hello(version: u16) -> Vec<u8> {
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    // no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression
    hello.extend([0, 0, 2, 0x00, 0x2F, 1, 0]);
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
    let mut handshake = vec![1, 0];
    handshake.extend(length(&hello));
    handshake.extend(hello);
    let mut record = vec![0x16];
    record.extend(version.to_be_bytes());
    record.extend(length(&handshake));
    record.extend(handshake);
    record
}

/// Connections that come and go, and those that stay and say nothing.
const COME_AND_GO: usize = 10_000;
const STAY: usize = 800;

fn crowd(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(30))?;
    ground.connected()?;
    ground.stage.add_box("FR75-099", "stranger.toml")?;
    let identity = Identity::read(&ground.stage.folder().join("stranger.toml"))?;
    let gateway = ground.stage.gateway_address();
    let before = resident_kib(&ground.gateway)?;
    let watch = StopWatch::start();
    let mut silent = Vec::new();
    for _ in 0..STAY {
        silent.push(TcpStream::connect(gateway).context("no room for a silent connection")?);
    }
    let slow = std::thread::scope(|scope| {
        let slow = scope.spawn(|| slow_connect(gateway, &identity));
        for _ in 0..COME_AND_GO {
            // Refused is as good as accepted here.
            drop(TcpStream::connect(gateway));
        }
        slow.join().ok()
    });
    let slow = slow.context("the slow client broke down")??;
    let came_s = watch.elapsed().as_secs();
    for socket in &mut silent {
        socket.set_read_timeout(Some(CLOSED_LIMIT))?;
        let mut answer = [0; 1];
        if !matches!(socket.read(&mut answer), Ok(0)) {
            bail!("a connection that said nothing was not closed");
        }
    }
    let shut = ground.counter("tls_handshakes_failed")?;
    let after = wait_for("memory to settle", CLOSED_LIMIT, || {
        let now = resident_kib(&ground.gateway)?;
        Ok((now < before + MORE_KIB).then_some(now))
    })?;
    still_served(&mut ground)?;
    Ok(vec![
        format!(
            "{COME_AND_GO} came and went in {came_s} s; {STAY} silent ones were closed; a CONNECT of one byte a second was closed after {} s; {shut} handshakes counted as failed",
            slow.as_secs()
        ),
        memory(before, after)?,
        ground.judge_whole()?,
    ])
}

/// Says CONNECT one byte a second; how long the gateway bore it.
fn slow_connect(gateway: SocketAddr, identity: &Identity) -> anyhow::Result<Duration> {
    let mut client = Client::tls(gateway, identity)?;
    let watch = StopWatch::start();
    for byte in connect(&identity.digits, 60, None) {
        if client.send(&[byte]).is_err() {
            return Ok(watch.elapsed());
        }
        watch.sleep_until(watch.elapsed() + Duration::from_secs(1));
        if watch.elapsed() > CLOSED_LIMIT {
            bail!("a slow CONNECT is borne for ever");
        }
    }
    bail!("a slow CONNECT was said to its end")
}

fn still_served(ground: &mut Ground) -> anyhow::Result<()> {
    let status = ground.box_until("the box's word", CLOSED_LIMIT, |_| true)?;
    if count(&status["uplink"]["connections"]) != 1 {
        bail!("the other box lost its connection: {}", status["uplink"]);
    }
    Ok(())
}

fn memory(before: u64, after: u64) -> anyhow::Result<String> {
    if after > before + MORE_KIB {
        bail!("the gateway's memory grew from {before} to {after} KiB");
    }
    Ok(format!(
        "gateway resident {} MiB before, {} MiB after; the other box kept its one connection",
        before / 1024,
        after / 1024
    ))
}
