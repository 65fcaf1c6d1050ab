//! The loop that ties a device, its radio, the clock and the ledger together.
//!
//! The same player and ledger as on a serial line, whether the radio exists or not; a value
//! counts as sent when the radio's daemon has it for a host that subscribed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardio_protocol::gatt::{GattProfile, Notification, Uuid};

use crate::clock::Stopwatch;
use crate::ledger::{EndReason, Entry, Header, Ledger, LedgerError, LossCause};
use crate::play::{Played, unsent};
use crate::player::{Line, LinkFault, Next, Outgoing, Player};
use crate::radio::{
    AdapterError, AdapterSensor, AttError, GattServer, Radio, Sensor, SensorHandle, Sent,
};

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
        "viatom-er1" => format!("ER1 {number:04}"),
        "sig-hrs" => format!("Belt {number}"),
        _ => format!("Stethoscope {number}"),
    };
    Sensor::of(profile, &address, &name)
}

/// What a device that is being played does to its link.
pub trait Transmitter {
    /// Sends a value, and says what became of it.
    fn send(&self, notification: &Notification) -> Sent;
    /// The sensor ends the connection.
    fn disconnect(&self);
    /// Out of reach of every host, or back.
    fn set_in_range(&self, in_range: bool);
    /// Values longer than this, less three, are not sent any more.
    fn set_mtu(&self, mtu: u16);
    /// Whether a host is connected.
    fn is_connected(&self) -> bool;
}

/// Each kind of sensor does what it can do by itself.
macro_rules! transmits {
    ($kind:ty) => {
        impl Transmitter for $kind {
            fn send(&self, notification: &Notification) -> Sent {
                <$kind>::send(self, notification)
            }
            fn disconnect(&self) {
                <$kind>::disconnect(self);
            }
            fn set_in_range(&self, in_range: bool) {
                <$kind>::set_in_range(self, in_range);
            }
            fn set_mtu(&self, mtu: u16) {
                <$kind>::set_mtu(self, mtu);
            }
            fn is_connected(&self) -> bool {
                <$kind>::is_connected(self)
            }
        }
    };
}
transmits!(SensorHandle);
transmits!(AdapterSensor);

/// A device that is being played on a radio.
#[derive(Debug)]
pub struct OnAir<S = SensorHandle> {
    shown: ShownHandle,
    sensor: S,
    ledger: Ledger,
    linger: Duration,
}

/// What is played, and where its truth goes.
#[derive(Debug)]
pub struct Part {
    /// The device.
    pub player: Player,
    /// The first line of its ledger.
    pub header: Header,
    /// The ledger, if one is kept.
    pub ledger: Option<PathBuf>,
    /// How long it stays within reach, silent, after the last sample.
    pub linger: Duration,
}

/// Why a device cannot be put into the air.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// Its ledger.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
    /// Its adapter.
    #[error("the adapter failed")]
    Adapter(#[source] AdapterError),
}

impl BeginError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(err) => err.code(),
            Self::Adapter(err) => err.code(),
        }
    }
}

/// Keeps `Shown` out of the debug output: a signal is of no use there.
struct ShownHandle(Shown);

impl std::fmt::Debug for ShownHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl OnAir {
    /// Puts a device into the air of a radio that does not exist.
    ///
    /// # Errors
    /// [`BeginError`] when the ledger cannot be begun.
    pub fn begin(radio: &Radio, sensor: Sensor, part: Part) -> Result<Self, BeginError> {
        Self::with(part, |shown| Ok(radio.add(sensor, shown)))
    }
}

impl OnAir<AdapterSensor> {
    /// Puts a device on an adapter of this machine, such as `hci1`.
    ///
    /// # Errors
    /// [`BeginError`] when the ledger cannot be begun, or the adapter cannot be a sensor.
    pub fn begin_on_adapter(adapter: &str, sensor: Sensor, part: Part) -> Result<Self, BeginError> {
        Self::with(part, |shown| AdapterSensor::begin(adapter, sensor, shown))
    }
}

impl<S: Transmitter> OnAir<S> {
    fn with(
        part: Part,
        add: impl FnOnce(Shown) -> Result<S, AdapterError>,
    ) -> Result<Self, BeginError> {
        let mut ledger = Ledger::open(part.ledger.as_deref()).map_err(BeginError::Ledger)?;
        ledger
            .write(&Entry::Header(Box::new(part.header)))
            .and_then(|()| ledger.flush())
            .map_err(BeginError::Ledger)?;
        let shown = Shown {
            player: Arc::new(Mutex::new(part.player)),
            watch: Stopwatch::start(),
        };
        let sensor = add(shown.clone()).map_err(BeginError::Adapter)?;
        Ok(Self {
            shown: ShownHandle(shown),
            sensor,
            ledger,
            linger: part.linger,
        })
    }

    /// The sensor in the air, for faults that a scenario does not hold.
    pub const fn sensor(&self) -> &S {
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
