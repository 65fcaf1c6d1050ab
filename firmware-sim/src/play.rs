//! The loop that ties device, pseudo-terminal, clock and ledger together.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use cardio_protocol::profile::Profile;

use crate::clock::Stopwatch;
use crate::ledger::{EndReason, Entry, Header, Ledger, LedgerError, LinkChange, LossCause};
use crate::player::{Line, Next, Outgoing, Player};
use crate::pty::{Heard, Pty, PtyError};

/// Bytes that wait for a slow reader before frames are lost to an overrun.
const QUEUE_MAX_BYTES: usize = 64 * 1024;
/// Longest sleep of the loop: commands are answered at least this soon.
const TICK: Duration = Duration::from_millis(2);
/// How long a pulled plug stays in, so that what was sent before can be read.
const SETTLE_US: u64 = 150_000;

/// Where and how long.
#[derive(Clone, Debug)]
pub struct PlayOptions {
    /// Stable link to the pseudo-terminal.
    pub link: Option<PathBuf>,
    /// Speed of the line, if it is another than the one that the device is sold with.
    pub baud: Option<u32>,
    /// Where the ledger goes.
    pub ledger: Option<PathBuf>,
    /// How long the silent device stays plugged in after the last sample, unless the port is
    /// closed before.
    pub linger: Duration,
}

/// What was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// Frames sent, repeats not counted.
    pub frames: u64,
    /// Samples per lead in them.
    pub samples: u64,
    /// Why it ended.
    pub reason: EndReason,
}

/// Why playing stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The pseudo-terminal.
    #[error("the simulated port failed")]
    Port(#[source] PtyError),
    /// The ledger.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
}

impl PlayError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Port(err) => err.code(),
            Self::Ledger(err) => err.code(),
        }
    }
}

struct Stage {
    profile: &'static Profile,
    player: Player,
    ledger: Ledger,
    options: PlayOptions,
    watch: Stopwatch,
    pty: Option<Pty>,
    open: bool,
    unplugged_at: Option<u64>,
    queue: VecDeque<Outgoing>,
    /// Bytes of the first entry that are on the line already.
    written: usize,
    queued_bytes: usize,
}

/// Plays a visit in real time; `ready` is told the path once a box can open it.
///
/// # Errors
/// [`PlayError`] when the port or the ledger fails.
pub fn play(
    profile: &'static Profile,
    player: Player,
    header: Header,
    options: PlayOptions,
    ready: impl FnOnce(&std::path::Path),
) -> Result<Played, PlayError> {
    let mut ledger = Ledger::open(options.ledger.as_deref()).map_err(PlayError::Ledger)?;
    ledger
        .write(&Entry::Header(Box::new(header)))
        .and_then(|()| ledger.flush())
        .map_err(PlayError::Ledger)?;
    let pty = Pty::plug_in(options.link.as_deref()).map_err(PlayError::Port)?;
    ready(pty.path());
    let mut stage = Stage {
        profile,
        player,
        ledger,
        options,
        watch: Stopwatch::start(),
        pty: Some(pty),
        open: false,
        unplugged_at: None,
        queue: VecDeque::new(),
        written: 0,
        queued_bytes: 0,
    };
    let reason = stage.perform()?;
    stage.finish(reason)
}

impl Stage {
    fn perform(&mut self) -> Result<EndReason, PlayError> {
        loop {
            let now = self.watch.micros();
            self.listen(now)?;
            let next = self.player.poll(now, self.line());
            self.take_out();
            self.send()?;
            self.move_plug(now)?;
            self.ledger.flush().map_err(PlayError::Ledger)?;
            let until = match next {
                Next::Ended(reason) => return Ok(reason),
                Next::At(due) => Duration::from_micros(due.saturating_sub(now)),
                Next::Idle => TICK,
            };
            std::thread::sleep(until.clamp(Duration::from_micros(100), TICK));
        }
    }

    fn line(&self) -> Line {
        let any_speed = self.profile.any_speed && self.options.baud.is_none();
        let baud = self.options.baud.unwrap_or(self.profile.baud);
        let right_speed = any_speed || self.pty.as_ref().and_then(Pty::speed) == Some(baud);
        Line {
            heard: self.open && self.pty.is_some(),
            right_speed,
        }
    }

    fn listen(&mut self, now: u64) -> Result<(), PlayError> {
        let mut buffer = [0; 256];
        loop {
            let Some(pty) = &self.pty else {
                return Ok(());
            };
            match pty.read(&mut buffer).map_err(PlayError::Port)? {
                Heard::Closed => return self.set_open(false, now),
                Heard::Nothing => return self.set_open(true, now),
                Heard::Bytes(len) => {
                    self.set_open(true, now)?;
                    let line = self.line();
                    let bytes = buffer.get(..len).unwrap_or_default();
                    self.player.on_bytes(bytes, now, line);
                }
            }
        }
    }

    fn set_open(&mut self, open: bool, now: u64) -> Result<(), PlayError> {
        if self.open == open {
            return Ok(());
        }
        self.open = open;
        if open {
            return self.tell_link(LinkChange::Opened, now);
        }
        if let Some(pty) = &self.pty {
            pty.forget_unread();
        }
        self.forget_queue(LossCause::PortClosed)?;
        self.tell_link(LinkChange::Closed, now)?;
        let link = self.options.link.as_deref();
        let is_held = |pty: &Pty| pty.is_held_by_the_dead();
        if link.is_some() && self.pty.as_ref().is_some_and(is_held) {
            self.pty = Some(Pty::plug_in(link).map_err(PlayError::Port)?);
        }
        Ok(())
    }

    fn tell_link(&mut self, state: LinkChange, t_us: u64) -> Result<(), PlayError> {
        let i = self.player.position();
        self.write(&Entry::Link { state, i, t_us })
    }

    fn write(&mut self, entry: &Entry) -> Result<(), PlayError> {
        self.ledger.write(entry).map_err(PlayError::Ledger)
    }

    fn take_out(&mut self) {
        for mut outgoing in self.player.take_out() {
            if self.queued_bytes.saturating_add(outgoing.bytes.len()) > QUEUE_MAX_BYTES {
                outgoing.bytes.clear();
                outgoing.entry = unsent(outgoing.entry, LossCause::Overrun);
            }
            self.queued_bytes = self.queued_bytes.saturating_add(outgoing.bytes.len());
            self.queue.push_back(outgoing);
        }
    }

    /// Puts on the line what fits; a line of the ledger is written when its bytes are.
    fn send(&mut self) -> Result<(), PlayError> {
        while let Some(first) = self.queue.front() {
            let rest = first.bytes.get(self.written..).unwrap_or_default();
            if !rest.is_empty() {
                let Some(pty) = self.pty.as_ref().filter(|_| self.open) else {
                    return self.forget_queue(LossCause::PortClosed);
                };
                let sent = pty.write(rest).map_err(PlayError::Port)?;
                self.written = self.written.saturating_add(sent);
                if sent < rest.len() {
                    return Ok(());
                }
            }
            let done = self.queue.pop_front();
            self.written = 0;
            if let Some(done) = done {
                self.queued_bytes = self.queued_bytes.saturating_sub(done.bytes.len());
                if let Some(entry) = done.entry {
                    self.write(&entry)?;
                }
            }
        }
        Ok(())
    }

    fn forget_queue(&mut self, cause: LossCause) -> Result<(), PlayError> {
        self.written = 0;
        self.queued_bytes = 0;
        for outgoing in std::mem::take(&mut self.queue) {
            let entry = if outgoing.bytes.is_empty() {
                outgoing.entry
            } else {
                unsent(outgoing.entry, cause)
            };
            if let Some(entry) = entry {
                self.write(&entry)?;
            }
        }
        Ok(())
    }

    fn move_plug(&mut self, now: u64) -> Result<(), PlayError> {
        match (self.player.is_unplugged(), self.pty.is_some()) {
            (true, true) => {
                let since = *self.unplugged_at.get_or_insert(now);
                if now.saturating_sub(since) >= SETTLE_US {
                    self.forget_queue(LossCause::Unplug)?;
                    self.pty = None;
                    self.open = false;
                    self.tell_link(LinkChange::Unplugged, now)?;
                }
            }
            (false, false) => {
                let link = self.options.link.as_deref();
                self.pty = Some(Pty::plug_in(link).map_err(PlayError::Port)?);
                self.unplugged_at = None;
                self.tell_link(LinkChange::Plugged, now)?;
            }
            (false, true) => self.unplugged_at = None,
            (true, false) => {}
        }
        Ok(())
    }

    fn finish(mut self, reason: EndReason) -> Result<Played, PlayError> {
        let ended = self.watch.micros();
        let linger = u64::try_from(self.options.linger.as_micros()).unwrap_or(u64::MAX);
        let mut told = false;
        loop {
            let now = self.watch.micros();
            self.listen(now)?;
            self.send()?;
            if self.queue.is_empty() && !told {
                told = true;
                let (frames, samples) = self.ledger.sent();
                let i = self.player.position();
                self.write(&Entry::End {
                    samples,
                    frames,
                    i,
                    reason,
                })?;
                self.ledger.flush().map_err(PlayError::Ledger)?;
            }
            let waited = now.saturating_sub(ended) >= linger;
            if told && (waited || !self.open) {
                break;
            }
            if waited {
                self.forget_queue(LossCause::Overrun)?;
            }
            std::thread::sleep(TICK);
        }
        let (frames, samples) = self.ledger.sent();
        Ok(Played {
            frames,
            samples,
            reason,
        })
    }
}

/// What the ledger says of bytes that never got onto the line.
pub(crate) fn unsent(entry: Option<Entry>, cause: LossCause) -> Option<Entry> {
    match entry {
        Some(Entry::Frame { i, rows, .. }) => Some(Entry::Lost {
            from: i,
            len: u64::try_from(rows.first().map_or(0, Vec::len)).unwrap_or(0),
            cause,
        }),
        Some(Entry::Repeat { .. } | Entry::Garbage { .. }) => None,
        other => other,
    }
}
