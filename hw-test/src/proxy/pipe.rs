//! One direction of one connection: a thread that reads, a thread that writes, and between them
//! a bounded queue, so that a slow road is felt by the sender.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Link, Passage, Road, Shared, lock};
use crate::chance::Chance;
use crate::clock::StopWatch;

/// How soon a thread sees that the weather has changed or that it shall end.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The largest piece that travels at once: what one Ethernet frame carries of a TCP stream.
const PIECE_BYTES: usize = 1_460;

/// What may be under way on a road without a rate.
const ROOM_BYTES: usize = 256 * 1024;

/// What may be under way on a slow road: a quarter of a second.
const ROOM_PER_S: u64 = 4;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the one who connects.
    Up,
    /// To the one who connects.
    Down,
}

/// What the reader saw.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// The sender has said all.
    End,
    /// The sender has broken off.
    Reset,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<(Duration, Piece)>,
    bytes: usize,
}

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Pipe {
    link: Arc<Link>,
    shared: Arc<Shared>,
    direction: Direction,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Pipe {
    /// Starts both threads.
    pub(super) fn start(
        link: Arc<Link>,
        shared: Arc<Shared>,
        direction: Direction,
        chance: Chance,
    ) -> io::Result<()> {
        let pipe = Arc::new(Self {
            link,
            shared,
            direction,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let reader = Arc::clone(&pipe);
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        spawn("proxy-read").spawn(move || reader.read())?;
        spawn("proxy-write").spawn(move || pipe.write(chance))?;
        Ok(())
    }

    fn road(&self) -> Road {
        let weather = lock(&self.shared.weather);
        match self.direction {
            Direction::Up => weather.up,
            Direction::Down => weather.down,
        }
    }

    fn ends(&self) -> (&TcpStream, &TcpStream) {
        match self.direction {
            Direction::Up => (&self.link.client, &self.link.server),
            Direction::Down => (&self.link.server, &self.link.client),
        }
    }

    fn read(&self) {
        let (mut from, _) = self.ends();
        let mut buffer = [0; PIECE_BYTES];
        while !self.link.is_broken() {
            let piece = match from.read(&mut buffer) {
                Ok(0) => Piece::End,
                Ok(count) => Piece::Bytes(buffer.get(..count).unwrap_or_default().to_vec()),
                Err(err) if is_pause(&err) => continue,
                Err(_) => Piece::Reset,
            };
            let is_last = !matches!(piece, Piece::Bytes(_));
            self.put(piece);
            if is_last {
                return;
            }
        }
    }

    /// Appends, and waits while more is under way than the road holds.
    fn put(&self, piece: Piece) {
        let arrived = self.shared.epoch.elapsed();
        let mut queue = lock(&self.queue);
        if let Piece::Bytes(bytes) = &piece {
            queue.bytes += bytes.len();
        }
        queue.pieces.push_back((arrived, piece));
        self.changed.notify_all();
        while queue.bytes > room(self.road()) && !self.link.is_broken() {
            queue = self.wait(queue);
        }
    }

    fn next(&self) -> Option<(Duration, Piece)> {
        let mut queue = lock(&self.queue);
        loop {
            if self.link.is_broken() {
                return None;
            }
            if let Some(next) = queue.pieces.pop_front() {
                return Some(next);
            }
            queue = self.wait(queue);
        }
    }

    fn wait<'q>(
        &self,
        queue: std::sync::MutexGuard<'q, Queue>,
    ) -> std::sync::MutexGuard<'q, Queue> {
        let (queue, _) = self
            .changed
            .wait_timeout(queue, LOOK_EVERY)
            .unwrap_or_else(PoisonError::into_inner);
        queue
    }

    fn write(&self, mut chance: Chance) {
        let mut last = Duration::ZERO;
        while let Some((arrived, piece)) = self.next() {
            let road = self.road();
            let jitter_us = u64::try_from(road.jitter.as_micros()).unwrap_or(u64::MAX);
            let late = Duration::from_micros(chance.below(jitter_us.saturating_add(1)));
            last = last.max(arrived + road.delay + late);
            self.travel(last);
            if self.road().passage == Passage::Lost {
                self.link.silent.store(true, Ordering::Relaxed);
            }
            if let Piece::Bytes(bytes) = &piece {
                let mut queue = lock(&self.queue);
                queue.bytes = queue.bytes.saturating_sub(bytes.len());
                self.changed.notify_all();
            }
            self.deliver(piece, &mut chance);
        }
    }

    fn deliver(&self, piece: Piece, chance: &mut Chance) {
        let (_, to) = self.ends();
        let is_silent = self.link.silent.load(Ordering::Relaxed);
        match piece {
            Piece::Bytes(bytes) if is_silent => self
                .shared
                .count(|traffic| traffic.lost_bytes += length(&bytes)),
            Piece::End | Piece::Reset if is_silent => {}
            Piece::Bytes(mut bytes) => {
                self.falsify(&mut bytes, chance);
                self.send(to, &bytes);
            }
            Piece::End => {
                // Fails when the other end has gone, and then there is nobody to tell.
                let _ = to.shutdown(Shutdown::Write);
                self.link.finished.fetch_add(1, Ordering::Relaxed);
            }
            Piece::Reset => self.link.cut(),
        }
    }

    /// Waits until the instant `at`, and for as long as the passage is held.
    fn travel(&self, at: Duration) {
        while !self.link.is_broken() {
            let rest = at.saturating_sub(self.shared.epoch.elapsed());
            let is_held =
                self.road().passage == Passage::Held || self.link.stranded.load(Ordering::Relaxed);
            if rest.is_zero() && !is_held {
                return;
            }
            let pause = if rest.is_zero() { LOOK_EVERY } else { rest };
            StopWatch::start().sleep_until(pause.min(LOOK_EVERY));
        }
    }

    fn falsify(&self, bytes: &mut [u8], chance: &mut Chance) {
        let Some(pieces) = self.road().flip_one_in else {
            return;
        };
        if chance.below(pieces.get()) != 0 {
            return;
        }
        let at = usize::try_from(chance.below(length(bytes))).unwrap_or(0);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << chance.below(8);
            self.shared.count(|traffic| traffic.flipped_bits += 1);
        }
    }

    fn send(&self, mut to: &TcpStream, bytes: &[u8]) {
        if let Some(rate) = self.road().bit_per_s {
            let through = self.shared.take(self.direction, bytes.len(), rate);
            self.travel(through);
        }
        let mut rest = bytes;
        while !rest.is_empty() && !self.link.is_broken() {
            match to.write(rest) {
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.shared.count(|traffic| match self.direction {
                        Direction::Up => traffic.up_bytes += u64::try_from(count).unwrap_or(0),
                        Direction::Down => traffic.down_bytes += u64::try_from(count).unwrap_or(0),
                    });
                }
                Err(err) if is_pause(&err) => {}
                Err(_) => self.link.cut(),
            }
        }
    }
}

/// What may be under way on `road`.
fn room(road: Road) -> usize {
    road.bit_per_s.map_or(ROOM_BYTES, |rate| {
        usize::try_from(rate.get() / 8 / ROOM_PER_S)
            .unwrap_or(ROOM_BYTES)
            .clamp(PIECE_BYTES, ROOM_BYTES)
    })
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn is_pause(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
