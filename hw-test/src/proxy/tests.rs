use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Proxy, Road, Traffic, Weather};
use crate::clock::{StopWatch, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// The other end: sends back what it gets, and tells how each connection ended.
fn echo() -> (std::net::SocketAddr, Receiver<std::io::Result<Vec<u8>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let mut buffer = [0; 4096];
                let end = loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => break Ok(all),
                        Ok(count) => {
                            all.extend_from_slice(&buffer[..count]);
                            let _ = stream.write_all(&buffer[..count]);
                        }
                        Err(err) => break Err(err),
                    }
                };
                let _ = tell.send(end);
            });
        }
    });
    (addr, told)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn say_and_hear(mut stream: &TcpStream, words: &[u8]) -> Vec<u8> {
    stream.write_all(words).unwrap();
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).unwrap();
    heard
}

fn until(proxy: &Proxy, what: &str, is: impl Fn(Traffic) -> bool) {
    wait_for(what, LIMIT, || Ok(is(proxy.traffic()).then_some(()))).unwrap();
}

#[test]
fn in_calm_weather_every_byte_passes_both_ways_and_so_does_the_end() {
    let (upstream, ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    let stream = connect(&proxy);
    let words: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    assert_eq!(say_and_hear(&stream, &words), words);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(ends.recv_timeout(LIMIT).unwrap().unwrap(), words);
    // Bytes are counted once they were passed on.
    let bytes = |of: Traffic| (of.up_bytes, of.down_bytes);
    until(&proxy, "every byte to be counted", |of| {
        bytes(of) == (100_000, 100_000)
    });
}

#[test]
fn a_far_road_takes_its_time_and_no_less() {
    let (upstream, _ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    proxy.set(Weather::both(Road::far(
        Duration::from_millis(150),
        Duration::from_millis(20),
    )));
    let stream = connect(&proxy);
    let watch = StopWatch::start();
    assert_eq!(say_and_hear(&stream, b"there and back"), b"there and back");
    assert!(watch.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_slow_road_carries_no_more_than_its_rate_shared_by_all_connections() {
    let (upstream, _ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    proxy.set(Weather {
        up: Road::slow(80_000),
        ..Weather::default()
    });
    let (one, other) = (connect(&proxy), connect(&proxy));
    let watch = StopWatch::start();
    std::thread::scope(|scope| {
        scope.spawn(|| say_and_hear(&one, &[1; 5_000]));
        scope.spawn(|| say_and_hear(&other, &[2; 5_000]));
    });
    // 10,000 bytes at 10,000 bytes a second.
    assert!(watch.elapsed() >= Duration::from_secs(1));
}

#[test]
fn what_is_held_arrives_when_the_road_opens() {
    let (upstream, _ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    let stream = connect(&proxy);
    proxy.set(Weather::both(Road::held()));
    (&stream).write_all(b"patience").unwrap();
    until(&proxy, "the connection", |traffic| traffic.open == 1);
    assert_eq!(proxy.traffic().up_bytes, 0);
    proxy.set(Weather::default());
    let mut heard = [0; 8];
    (&stream).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"patience");
}

#[test]
fn a_connection_that_lost_bytes_stays_silent_while_a_new_one_passes() {
    let (upstream, ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    let old = connect(&proxy);
    assert_eq!(say_and_hear(&old, b"hello"), b"hello");
    proxy.set(Weather::both(Road::lost()));
    (&old).write_all(b"vanishes").unwrap();
    until(&proxy, "eight bytes to vanish", |traffic| {
        traffic.lost_bytes == 8
    });
    proxy.set(Weather::default());
    (&old).write_all(b"too").unwrap();
    until(&proxy, "three more to vanish", |traffic| {
        traffic.lost_bytes == 11
    });
    let new = connect(&proxy);
    assert_eq!(say_and_hear(&new, b"again"), b"again");
    drop(old);
    drop(new);
    // The new connection's end is heard; of the old one nothing, not even that.
    assert_eq!(ends.recv_timeout(LIMIT).unwrap().unwrap(), b"again");
    assert!(ends.try_recv().is_err());
}

#[test]
fn what_was_sent_on_a_stranded_connection_arrives_after_what_a_newer_one_sent() {
    let (upstream, ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    let old = connect(&proxy);
    assert_eq!(say_and_hear(&old, b"old"), b"old");
    proxy.strand();
    (&old).write_all(b" and late").unwrap();
    drop(old);
    let new = connect(&proxy);
    assert_eq!(say_and_hear(&new, b"new"), b"new");
    drop(new);
    assert_eq!(ends.recv_timeout(LIMIT).unwrap().unwrap(), b"new");
    proxy.release();
    assert_eq!(ends.recv_timeout(LIMIT).unwrap().unwrap(), b"old and late");
}

#[test]
fn a_cut_is_a_reset_at_both_ends() {
    let (upstream, ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    let stream = connect(&proxy);
    assert_eq!(say_and_hear(&stream, b"hello"), b"hello");
    proxy.cut();
    let mut rest = [0; 1];
    let here = (&stream).read(&mut rest).unwrap_err();
    let there = ends.recv_timeout(LIMIT).unwrap().unwrap_err();
    for end in [here, there] {
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(proxy.traffic().open, 0);
}

#[test]
fn who_is_turned_away_is_told_so_and_who_is_in_goes_on() {
    let (upstream, _ends) = echo();
    let proxy = Proxy::start(upstream, 1).unwrap();
    let inside = connect(&proxy);
    assert_eq!(say_and_hear(&inside, b"in"), b"in");
    proxy.set(Weather::closed());
    let outside = connect(&proxy);
    let mut rest = [0; 1];
    assert!((&outside).read(&mut rest).is_err());
    assert_eq!(say_and_hear(&inside, b"still"), b"still");
    assert_eq!(proxy.traffic().turned_away, 1);
}

#[test]
fn falsified_bits_follow_from_the_seed() {
    let heard = |seed| {
        let (upstream, _ends) = echo();
        let proxy = Proxy::start(upstream, seed).unwrap();
        proxy.set(Weather {
            up: Road::falsifying(1),
            ..Weather::default()
        });
        let stream = connect(&proxy);
        // One piece each, so that how TCP cuts the stream plays no part.
        (0..20)
            .map(|_| say_and_hear(&stream, &[0; 100]))
            .collect::<Vec<_>>()
    };
    let first = heard(1);
    for piece in &first {
        let ones: u32 = piece.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(ones, 1);
    }
    assert_eq!(first, heard(1));
    assert_ne!(first, heard(2));
}

#[test]
fn a_proxy_without_anybody_behind_turns_away() {
    let nobody = {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        probe.local_addr().unwrap()
    };
    let proxy = Proxy::start(nobody, 1).unwrap();
    let stream = connect(&proxy);
    assert!((&stream).read(&mut [0; 1]).is_err());
    assert_eq!(proxy.traffic().turned_away, 1);
}
