//! The loop that ties a device, its radio, the clock and the ledger together.
//!
//! The same player and ledger as on a serial line; a value counts as sent when the radio's
//! daemon has it for a host that subscribed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardio_protocol::gatt::{GattProfile, Notification, Uuid};

use crate::clock::Stopwatch;
use crate::ledger::{EndReason, Entry, Header, Ledger, LedgerError, LossCause};
use crate::play::{Played, unsent};
use crate::player::{Line, LinkFault, Next, Outgoing, Player};
use crate::radio::{AttError, GattServer, Radio, Sensor, SensorHandle, Sent};

/// Longest sleep of the loop.
const TICK: Duration = Duration::from_millis(2);

/// A device as the radio sees it: what a host asks goes to the player.
#[derive(Clone)]
struct Shown {
    player: Arc<Mutex<Player>>,
    watch: Stopwatch,
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, Player> {
        self.player.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GattServer for Shown {
    fn read(&mut self, from: Uuid) -> Result<Vec<u8>, AttError> {
        self.lock().read(from).ok_or(AttError::READ_NOT_PERMITTED)
    }

    fn write(&mut self, to: Uuid, value: &[u8]) -> Result<Vec<Notification>, AttError> {
        let now = self.watch.micros();
        let answer = self.lock().write(to, value, now);
        answer.map_err(|_| AttError::APPLICATION)
    }

    fn subscribe(&mut self, to: Uuid, on: bool) {
        self.lock().subscribe(to, on);
    }

    fn link(&mut self, mtu: Option<u16>) {
        let now = self.watch.micros();
        self.lock().link(mtu, now);
    }
}

/// The sensor of a profile as it advertises itself; `number` tells several apart.
pub fn sensor_of(profile: &GattProfile, number: u8) -> Sensor {
    let address = format!("C0:DE:CA:FE:00:{number:02X}");
    let name = match profile.name {
        "polar-pmd" => format!("Polar H10 {number:08X}"),
        "movesense-gsp" => format!("Movesense {number:012}"),
        _ => format!("Stethoscope {number}"),
    };
    Sensor::of(profile, &address, &name)
}

/// A device that is being played on a radio.
#[derive(Debug)]
pub struct OnAir {
    shown: ShownHandle,
    sensor: SensorHandle,
    ledger: Ledger,
    linger: Duration,
}

/// Keeps `Shown` out of the debug output: a signal is of no use there.
struct ShownHandle(Shown);

impl std::fmt::Debug for ShownHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl OnAir {
    /// Puts a device into the air.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger cannot be begun.
    pub fn begin(
        radio: &Radio,
        sensor: Sensor,
        player: Player,
        header: Header,
        ledger: Option<PathBuf>,
        linger: Duration,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Ledger::open(ledger.as_deref())?;
        ledger.write(&Entry::Header(Box::new(header)))?;
        ledger.flush()?;
        let shown = Shown {
            player: Arc::new(Mutex::new(player)),
            watch: Stopwatch::start(),
        };
        let sensor = radio.add(sensor, shown.clone());
        Ok(Self {
            shown: ShownHandle(shown),
            sensor,
            ledger,
            linger,
        })
    }

    /// The sensor in the air, for faults that a scenario does not hold.
    pub const fn sensor(&self) -> &SensorHandle {
        &self.sensor
    }

    /// Plays the visit in real time.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger cannot be written.
    pub fn play(mut self) -> Result<Played, LedgerError> {
        loop {
            let (now, next) = self.step()?;
            let until = match next {
                Next::Ended(reason) => return self.finish(reason),
                Next::At(due) => Duration::from_micros(due.saturating_sub(now)),
                Next::Idle => TICK,
            };
            std::thread::sleep(until.clamp(Duration::from_micros(100), TICK));
        }
    }

    fn step(&mut self) -> Result<(u64, Next), LedgerError> {
        let now = self.shown.0.watch.micros();
        let (next, out) = {
            let mut player = self.shown.0.lock();
            let line = Line {
                heard: player.is_linked(),
                right_speed: true,
            };
            (player.poll(now, line), player.take_out())
        };
        // The radio calls the player: it must not be held while the radio is called.
        for outgoing in out {
            self.send(outgoing)?;
        }
        self.ledger.flush()?;
        Ok((now, next))
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<(), LedgerError> {
        match outgoing.change {
            Some(LinkFault::Drop) => self.sensor.disconnect(),
            Some(LinkFault::Away(away)) => self.sensor.set_in_range(!away),
            Some(LinkFault::Mtu(mtu)) => self.sensor.set_mtu(mtu),
            None => {}
        }
        let entry = match outgoing.from {
            None => outgoing.entry,
            Some(from) => {
                let value = outgoing.bytes;
                match self.sensor.send(&Notification { from, value }) {
                    Sent::Delivered => outgoing.entry,
                    Sent::TooLong => unsent(outgoing.entry, LossCause::Mtu),
                    Sent::NotConnected | Sent::NotSubscribed => {
                        unsent(outgoing.entry, LossCause::NotConnected)
                    }
                }
            }
        };
        match entry {
            Some(entry) => self.ledger.write(&entry),
            None => Ok(()),
        }
    }

    /// Stays in the air, silent, until the host is gone or has had its time.
    fn finish(mut self, reason: EndReason) -> Result<Played, LedgerError> {
        let (frames, samples) = self.ledger.sent();
        let i = self.shown.0.lock().position();
        self.ledger.write(&Entry::End {
            samples,
            frames,
            i,
            reason,
        })?;
        self.ledger.flush()?;
        let ended = self.shown.0.watch.micros();
        let linger = u64::try_from(self.linger.as_micros()).unwrap_or(u64::MAX);
        while self.sensor.is_connected()
            && self.shown.0.watch.micros().saturating_sub(ended) < linger
        {
            std::thread::sleep(TICK);
        }
        self.sensor.set_in_range(false);
        Ok(Played {
            frames,
            samples,
            reason,
        })
    }
}
