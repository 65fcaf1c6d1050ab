//! A sensor on a real adapter: a GATT server of the system's BlueZ.
//!
//! - An adapter is one sensor: to a host that connects, all services of an adapter belong to
//!   one device.
//! - A value counts as sent when BlueZ has it for a host that subscribed. What is on its way
//!   when the host goes out of reach is known to be lost by nobody.
//! - The MTU is the host's affair; a fault that lowers it lowers what this side sends.
//!
//! Deliberately absent: pairing, several hosts with different wishes, what a stand-in can do and
//! a real radio cannot (vanishing, slow services).
//!
//! Source: BlueZ 5.66 `doc/{adapter,device,gatt,advertising}-api.txt`.

mod announce;
mod application;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardio_protocol::gatt::{Notification, Uuid};

use super::bluez::{ADAPTER, CHARACTERISTIC, DEVICE, OBJECTS, PROPERTIES, Refusal};
use super::bus::{BUS, Client, ClientError, Kind, Message, SERVICE, Value, system_bus};
use super::{GattServer, Sensor, Sent};
use application::{ADVERTISEMENT, ADVERTISEMENT_PATH, Application, ROOT, advertisement};

const GATT_MANAGER: &str = "org.bluez.GattManager1";
const ADVERTISING_MANAGER: &str = "org.bluez.LEAdvertisingManager1";
/// The MTU of a link on which nobody has asked for another (Core Specification 5.4, vol 3
/// part F, 3.2.8: `ATT_MTU`).
const MTU_AT_FIRST: u16 = 23;
/// Bytes of a notification beside its value.
const ATT_BYTES: usize = 3;

/// Why a sensor cannot be on an adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// BlueZ does not do what it is asked for, or is not there.
    #[error("cannot {act} {adapter}")]
    BlueZ {
        /// What was tried.
        act: &'static str,
        /// The adapter.
        adapter: String,
        /// What stood against it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AdapterError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BlueZ { .. } => "adapter.bluez",
        }
    }
}

/// The link to the host.
#[derive(Debug, Default)]
struct Link {
    /// Paths of the hosts that are connected.
    hosts: BTreeSet<String>,
    subscribed: BTreeSet<Uuid>,
    /// What the host asked for.
    mtu: u16,
    /// What a fault lowers it to.
    mtu_at_most: Option<u16>,
}

impl Link {
    fn mtu(&self) -> u16 {
        self.mtu_at_most
            .map_or(self.mtu, |limit| limit.min(self.mtu))
    }
}

/// What the thread that listens and the one that plays share.
struct Shared {
    /// Path of the adapter.
    adapter: String,
    application: Application,
    shown: Sensor,
    link: Mutex<Link>,
    /// Held by whoever begins or ends the advertisement.
    in_range: Mutex<bool>,
    server: Mutex<Box<dyn GattServer>>,
}

/// A sensor on an adapter, until it is dropped.
pub struct AdapterSensor {
    shared: Arc<Shared>,
    client: Arc<Client>,
    address: String,
    /// The advertisement goes on as long as this lives.
    _advertising: Sender<()>,
}

impl std::fmt::Debug for AdapterSensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdapterSensor")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl AdapterSensor {
    /// Puts a sensor on an adapter of the system, such as `hci1`: its services, its name, and
    /// an advertisement. The address of the sensor is the adapter's own.
    ///
    /// # Errors
    /// [`AdapterError`] when there is no BlueZ, no such adapter, or one that cannot advertise.
    pub fn begin(
        adapter: &str,
        sensor: Sensor,
        server: impl GattServer + 'static,
    ) -> Result<Self, AdapterError> {
        Self::begin_at(&system_bus(), adapter, sensor, server)
    }

    fn begin_at(
        bus: &str,
        adapter: &str,
        sensor: Sensor,
        server: impl GattServer + 'static,
    ) -> Result<Self, AdapterError> {
        let failed = |act| {
            move |source: ClientError| AdapterError::BlueZ {
                act,
                adapter: adapter.to_owned(),
                source: Box::new(source),
            }
        };
        let shared = Arc::new(Shared {
            adapter: format!("/org/bluez/{adapter}"),
            application: Application::of(&sensor),
            shown: sensor,
            link: Mutex::default(),
            in_range: Mutex::new(true),
            server: Mutex::new(Box::new(server)),
        });
        let listening = Arc::clone(&shared);
        let client = Client::connect(bus, move |client, message| {
            listening.take(client, &message);
        })
        .map_err(failed("ask for"))?;
        let (_advertising, ended) = channel();
        let mut found = Self {
            shared,
            client,
            address: String::new(),
            _advertising,
        };
        found.address = found.take_adapter().map_err(failed("prepare"))?;
        found.watch_hosts().map_err(failed("watch"))?;
        found.offer().map_err(failed("register services on"))?;
        let (shared, client) = (Arc::clone(&found.shared), Arc::clone(&found.client));
        shared.advertise(&client).map_err(failed("advertise on"))?;
        announce::go_on(shared, client, ended);
        Ok(found)
    }

    /// The address under which a host finds the sensor.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a value, and says what became of it.
    pub fn send(&self, notification: &Notification) -> Sent {
        let link = self.shared.link();
        if link.hosts.is_empty() {
            return Sent::NotConnected;
        }
        if !link.subscribed.contains(&notification.from) {
            return Sent::NotSubscribed;
        }
        if notification.value.len().saturating_add(ATT_BYTES) > usize::from(link.mtu()) {
            return Sent::TooLong;
        }
        drop(link);
        match self.shared.notify(&self.client, notification) {
            Ok(()) => Sent::Delivered,
            Err(_) => Sent::NotConnected,
        }
    }

    /// Whether a host is connected.
    pub fn is_connected(&self) -> bool {
        !self.shared.link().hosts.is_empty()
    }

    /// Ends the connection.
    pub fn disconnect(&self) {
        let hosts = self.shared.link().hosts.clone();
        for host in hosts {
            // One that has gone by itself cannot be sent away.
            let _ = self.client.call(SERVICE, &host, DEVICE, "Disconnect", &[]);
            self.shared.host(&host, false);
        }
    }

    /// Out of reach is: no advertisement, and no link. Or the way back.
    pub fn set_in_range(&self, in_range: bool) {
        self.shared.set_in_range(&self.client, in_range);
        if !in_range {
            self.disconnect();
        }
    }

    /// Lowers what one value may hold.
    pub fn set_mtu(&self, mtu: u16) {
        self.shared.link().mtu_at_most = Some(mtu);
    }

    fn manage(
        &self,
        interface: &str,
        member: &str,
        arguments: &[Value],
    ) -> Result<Vec<Value>, ClientError> {
        let path = &self.shared.adapter;
        self.client
            .call(SERVICE, path, interface, member, arguments)
    }

    fn set(&self, name: &str, value: Value) -> Result<Vec<Value>, ClientError> {
        let arguments = [Value::text(ADAPTER), Value::text(name), value.boxed()];
        self.manage(PROPERTIES, "Set", &arguments)
    }

    /// Switches the adapter on and gives it the sensor's name; its address.
    fn take_adapter(&self) -> Result<String, ClientError> {
        self.set("Powered", Value::Bool(true))?;
        // The name that a host reads once it is connected is the adapter's.
        self.set("Alias", Value::text(&self.shared.shown.name))?;
        let asked = [Value::text(ADAPTER), Value::text("Address")];
        let found = self.manage(PROPERTIES, "Get", &asked)?;
        let address = found.first().and_then(Value::as_text);
        Ok(address.unwrap_or_default().to_owned())
    }

    fn watch_hosts(&self) -> Result<(), ClientError> {
        let adapter = &self.shared.adapter;
        for rule in [
            format!(
                "type='signal',sender='{SERVICE}',interface='{PROPERTIES}',\
                 path_namespace='{adapter}',arg0='{DEVICE}'"
            ),
            format!("type='signal',sender='{SERVICE}',interface='{OBJECTS}'"),
        ] {
            let rule = [Value::text(rule)];
            self.client
                .call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", &rule)?;
        }
        let objects = self
            .client
            .call(SERVICE, "/", OBJECTS, "GetManagedObjects", &[])?;
        if let Some(Value::Array(_, objects)) = objects.first() {
            for object in objects {
                if let Value::Entry(path, interfaces) = object {
                    self.shared.seen(path, interfaces);
                }
            }
        }
        Ok(())
    }

    fn offer(&self) -> Result<(), ClientError> {
        let what = [Value::Path(ROOT.to_owned()), Value::named([])];
        self.manage(GATT_MANAGER, "RegisterApplication", &what)?;
        Ok(())
    }
}

impl Drop for AdapterSensor {
    fn drop(&mut self) {
        // BlueZ itself forgets services and advertisement of a program that has gone.
        let _ = self.set("Alias", Value::text(""));
    }
}

impl Shared {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self) -> MutexGuard<'_, Box<dyn GattServer>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call or a signal from the bus.
    fn take(&self, client: &Client, message: &Message) {
        match message.kind {
            Kind::Signal => self.heed(message),
            Kind::Call => self.serve(client, message),
            Kind::Return | Kind::Error => {}
        }
    }

    fn heed(&self, signal: &Message) {
        let values = signal.values().unwrap_or_default();
        match (signal.member.as_str(), values.as_slice()) {
            ("PropertiesChanged", [_, changed, ..]) => {
                if let Some(Value::Bool(connected)) = changed.get("Connected") {
                    self.host(&signal.path, *connected);
                }
            }
            ("InterfacesAdded", [path, interfaces]) => self.seen(path, interfaces),
            ("InterfacesRemoved", [path, ..]) => {
                self.host(path.as_text().unwrap_or_default(), false);
            }
            _ => {}
        }
    }

    /// An object of BlueZ: perhaps a host that is connected.
    fn seen(&self, path: &Value, interfaces: &Value) {
        let device = interfaces.get(DEVICE);
        let connected = device.and_then(|device| device.get("Connected"));
        if let (Some(path), Some(Value::Bool(true))) = (path.as_text(), connected) {
            self.host(path, true);
        }
    }

    /// A host is connected, or gone.
    fn host(&self, path: &str, connected: bool) {
        let below = path.strip_prefix(self.adapter.as_str());
        if !below.is_some_and(|below| below.starts_with("/dev_")) {
            return;
        }
        let mut link = self.link();
        let was_linked = !link.hosts.is_empty();
        if connected {
            link.hosts.insert(path.to_owned());
        } else {
            link.hosts.remove(path);
        }
        let is_linked = !link.hosts.is_empty();
        if is_linked == was_linked {
            return;
        }
        link.subscribed.clear();
        link.mtu = MTU_AT_FIRST;
        let mtu = is_linked.then(|| link.mtu());
        drop(link);
        self.server().link(mtu);
    }

    /// The MTU of the link, which BlueZ tells with each request only.
    fn note_mtu(&self, options: Option<&Value>) {
        let Some(Value::U16(mtu)) = options.and_then(|options| options.get("mtu")) else {
            return;
        };
        let mut link = self.link();
        if link.hosts.is_empty() || link.mtu == *mtu {
            return;
        }
        link.mtu = *mtu;
        let mtu = link.mtu();
        drop(link);
        self.server().link(Some(mtu));
    }

    fn serve(&self, client: &Client, call: &Message) {
        let mut sends = Vec::new();
        let answer = match self.answer(call, &mut sends) {
            Ok(values) => Message::answer(call, &values),
            Err(refusal) => Message::refusal(call, refusal.name, &refusal.text),
        };
        // A bus that is gone is noticed by who plays.
        if call.wants_answer() {
            let _ = client.send(answer);
        }
        for notification in &sends {
            let _ = self.notify(client, notification);
        }
    }

    fn answer(&self, call: &Message, sends: &mut Vec<Notification>) -> Result<Vec<Value>, Refusal> {
        let arguments = call.values().unwrap_or_default();
        match (call.path.as_str(), call.member.as_str()) {
            (ROOT, "GetManagedObjects") => return Ok(vec![self.application.objects()]),
            (ADVERTISEMENT_PATH, "GetAll") => {
                let interface = arguments.first().and_then(Value::as_text);
                if interface != Some(ADVERTISEMENT) {
                    return Ok(vec![Value::named([])]);
                }
                return Ok(vec![Value::named(advertisement(&self.shown))]);
            }
            (ADVERTISEMENT_PATH, "Release") => return Ok(Vec::new()),
            _ => {}
        }
        let uuid = self
            .application
            .at(&call.path)
            .filter(|_| call.interface == CHARACTERISTIC)
            .ok_or_else(Refusal::unknown_object)?;
        match (call.member.as_str(), arguments.as_slice()) {
            ("ReadValue", [options]) => {
                self.note_mtu(Some(options));
                let value = self.server().read(uuid)?;
                let from = match options.get("offset") {
                    Some(Value::U16(offset)) => usize::from(*offset),
                    _ => 0,
                };
                let rest = value.get(from..).unwrap_or_default().to_vec();
                Ok(vec![Value::Bytes(rest)])
            }
            ("WriteValue", [value, options]) => {
                self.note_mtu(Some(options));
                let bytes = value.as_bytes().unwrap_or_default();
                *sends = self.server().write(uuid, bytes)?;
                Ok(Vec::new())
            }
            ("StartNotify", _) => {
                self.link().subscribed.insert(uuid);
                self.server().subscribe(uuid, true);
                Ok(Vec::new())
            }
            ("StopNotify", _) => {
                self.link().subscribed.remove(&uuid);
                self.server().subscribe(uuid, false);
                Ok(Vec::new())
            }
            // An indication has arrived.
            ("Confirm", _) => Ok(Vec::new()),
            _ => Err(Refusal::not_supported()),
        }
    }

    fn notify(&self, client: &Client, notification: &Notification) -> Result<(), ClientError> {
        let Some(path) = self.application.path_of(notification.from) else {
            return Ok(());
        };
        let changed = Value::named([("Value", Value::Bytes(notification.value.clone()))]);
        let body = [
            Value::text(CHARACTERISTIC),
            changed,
            Value::texts::<String>([]),
        ];
        client.send(Message::signal(
            path,
            PROPERTIES,
            "PropertiesChanged",
            &body,
        ))
    }
}
