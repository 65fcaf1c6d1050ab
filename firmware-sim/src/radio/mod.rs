//! A radio that does not exist: a private D-Bus with a stand-in of the BlueZ daemon on it, and
//! sensors in the air.
//!
//! A program that uses BlueZ (through btleplug, for instance) finds it when
//! `DBUS_SYSTEM_BUS_ADDRESS` in its environment is [`Radio::address`]. That variable is read
//! **once in a process**, with the first connection: in process, one test program has one
//! radio; a box in a program of its own gets it with its environment.
//!
//! Nothing happens by itself and nothing waits: a sensor sends when [`SensorHandle::send`] is
//! called, a link breaks with [`SensorHandle::disconnect`], the daemon ends with
//! [`Radio::stop_daemon`]. Each call has taken effect, and its signals are on their way in
//! order, when it returns. Deliberately absent: kernel, radio waves, time. A sensor on a real
//! radio is [`AdapterSensor`], which needs none of this.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use cardio_firmware_sim::radio::{Radio, Sensor};
//! use cardio_protocol::decoder::FrameRows;
//! use cardio_protocol::gatt::{GattPeripheral, polar_pmd};
//!
//! let radio = Radio::start()?; // with one adapter, hci0
//! // The process under test: DBUS_SYSTEM_BUS_ADDRESS = radio.address()
//! assert!(radio.address().starts_with("unix:abstract="));
//!
//! let strap = Arc::new(Mutex::new(polar_pmd::PolarPeripheral::default()));
//! let shown = Sensor::of(&polar_pmd::PROFILE, "C0:00:00:00:00:01", "Polar H10 0A0B0C0D");
//! let sensor = radio.add(shown, strap.clone());
//!
//! // What the strap would do every 0.56 s: nothing is lost in silence.
//! let mut values = Vec::new();
//! let rows = FrameRows::planar(73, &[0; 73]);
//! strap.lock().unwrap().frame(&rows, &mut values);
//! for value in &values {
//!     let what_became_of_it = sensor.send(value);
//! }
//!
//! sensor.set_in_range(false); // the link is lost, and connecting fails
//! sensor.set_in_range(true); // it is heard again by who scans
//! sensor.vanish(); // an unpaired device that was not heard for 30 s
//! radio.stop_daemon(); // silent: clients see the name org.bluez lose its owner
//! radio.start_daemon();
//! radio.unplug_adapter("hci0");
//! radio.plug_adapter("hci0");
//! radio.lose_bus(); // every connection is cut
//! radio.restore_bus()?;
//! # Ok::<(), cardio_firmware_sim::radio::RadioError>(())
//! ```

mod adapter;
mod bluez;
mod bus;
mod sensor;
mod server;

use std::path::Path;
use std::sync::Arc;

use cardio_protocol::gatt::Notification;

use bluez::SensorId;
use server::{Listening, Shared};

pub use adapter::{AdapterError, AdapterSensor};
pub use bluez::Sent;
pub use sensor::{AttError, Characteristic, GattServer, Sensor, Service};
pub use server::RadioError;

/// A bus, a daemon and the air around its adapters. Ends with its last handle dropped.
#[derive(Debug)]
pub struct Radio {
    shared: Arc<Shared>,
    address: String,
}

impl Radio {
    /// A radio with one adapter, `hci0`, on a socket without a file.
    ///
    /// # Errors
    /// [`RadioError`] when the socket cannot be made.
    pub fn start() -> Result<Self, RadioError> {
        Self::listen(Listening::nowhere_else())
    }

    /// A radio whose socket is a file, for programs that are told its path beforehand. A
    /// socket that is left there from before is replaced.
    ///
    /// # Errors
    /// [`RadioError`] when the socket cannot be made.
    pub fn start_at(socket: &Path) -> Result<Self, RadioError> {
        Self::listen(Listening::file(socket)?)
    }

    fn listen(listening: Listening) -> Result<Self, RadioError> {
        let address = listening.address();
        let shared = Shared::start(listening)?;
        let radio = Self { shared, address };
        radio.plug_adapter("hci0");
        Ok(radio)
    }

    /// What `DBUS_SYSTEM_BUS_ADDRESS` has to be. The same after [`Radio::restore_bus`].
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a sensor into the air, within reach of all adapters.
    pub fn add(&self, sensor: Sensor, server: impl GattServer + 'static) -> SensorHandle {
        let id = self
            .shared
            .with(|daemon| daemon.add_sensor(sensor, Box::new(server)));
        let shared = Arc::clone(&self.shared);
        SensorHandle { shared, id }
    }

    /// Plugs an adapter in, such as `hci1`.
    pub fn plug_adapter(&self, name: &str) {
        self.shared.with(|daemon| daemon.plug_adapter(name));
    }

    /// Pulls an adapter: links are lost and its devices are gone.
    pub fn unplug_adapter(&self, name: &str) {
        self.shared.with(|daemon| daemon.unplug_adapter(name));
    }

    /// Ends the daemon: links are lost and its name has no owner. No other signal says so.
    pub fn stop_daemon(&self) {
        self.shared.set_daemon(false);
    }

    /// Starts the daemon again. It remembers pairings, and nothing else.
    pub fn start_daemon(&self) {
        self.shared.set_daemon(true);
    }

    /// Ends the bus: all connections are cut and no new one is taken.
    pub fn lose_bus(&self) {
        self.shared.close();
    }

    /// Opens the bus again, at the same address. A client that had a connection has none.
    ///
    /// # Errors
    /// [`RadioError`] when the socket cannot be made again.
    pub fn restore_bus(&self) -> Result<(), RadioError> {
        Shared::open(&self.shared)
    }

    /// Match rules of all clients: what a client that forgets its streams runs out of at 512.
    pub fn match_rules(&self) -> usize {
        self.shared.match_rules()
    }
}

impl Drop for Radio {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A sensor in the air.
#[derive(Clone, Debug)]
pub struct SensorHandle {
    shared: Arc<Shared>,
    id: SensorId,
}

impl SensorHandle {
    /// Sends a value, and says what became of it.
    pub fn send(&self, notification: &Notification) -> Sent {
        let (from, value) = (notification.from, &notification.value);
        self.shared
            .with(|daemon| daemon.notify(self.id, from, value))
    }

    /// The sensor advertises once more: new to who scans, or a new signal strength.
    pub fn advertise(&self) {
        self.shared.with(|daemon| daemon.advertise(self.id));
    }

    /// Changes what it says of itself; seen with the next advertisement or connection.
    pub fn change(&self, change: impl FnOnce(&mut Sensor)) {
        self.shared
            .with(|daemon| daemon.with_sensor(self.id, change));
    }

    /// Whether a host is connected.
    pub fn is_connected(&self) -> bool {
        self.shared.with(|daemon| daemon.is_connected(self.id))
    }

    /// The sensor ends the connection.
    pub fn disconnect(&self) {
        self.shared.with(|daemon| daemon.drop_link(self.id, None));
    }

    /// Carries the sensor out of reach, or back.
    pub fn set_in_range(&self, in_range: bool) {
        self.shared
            .with(|daemon| daemon.set_in_range(self.id, in_range));
    }

    /// The daemon drops the unpaired device, as it does some 30 s after it was last heard.
    pub fn vanish(&self) {
        self.shared.with(|daemon| daemon.vanish(self.id));
    }

    /// The next connections fail with `le-connection-abort-by-local`.
    pub fn refuse_connections(&self, times: u32) {
        self.shared
            .with(|daemon| daemon.refuse_connections(self.id, times));
    }

    /// Holds the services of further connections back until they are let go with `false`.
    pub fn hold_services(&self, hold: bool) {
        self.shared
            .with(|daemon| daemon.hold_services(self.id, hold));
    }

    /// New firmware with other services; the daemon shows the old ones until the device is
    /// removed.
    pub fn replace_services(&self, services: Vec<Service>) {
        self.shared
            .with(|daemon| daemon.set_services(self.id, services));
    }

    /// Changes the MTU. A client sees it only in the length of values.
    pub fn set_mtu(&self, mtu: u16) {
        self.shared.with(|daemon| daemon.set_mtu(self.id, mtu));
    }
}
