//! Adapters, sensors and what happens to them.

use std::collections::{BTreeMap, BTreeSet};

use cardio_protocol::gatt::Uuid;

use super::known::{Known, attributes_of};
use super::{ADAPTER, CHARACTERISTIC, DEVICE, Refusal, objects};
use crate::radio::bus::{ClientId, Message, Value};
use crate::radio::sensor::{GattServer, Sensor, Service};

/// Number of a sensor in the air.
pub(crate) type SensorId = u64;

/// An adapter.
#[derive(Clone, Debug, Default)]
pub(super) struct Adapter {
    pub(super) address: String,
    pub(super) powered: bool,
    /// Who scans.
    pub(super) scanners: BTreeSet<ClientId>,
}

/// A sensor with all that surrounds it.
pub(super) struct Station {
    pub(super) sensor: Sensor,
    pub(super) server: Box<dyn GattServer>,
    pub(super) in_range: bool,
    /// Connections that are still to fail.
    pub(super) refusals: u32,
    /// Whether the services are found only when somebody says so.
    pub(super) holds_services: bool,
    /// What the daemon knows, by adapter.
    pub(super) known: BTreeMap<String, Known>,
    /// Keys of a pairing: they outlive the daemon.
    pub(super) bonds: BTreeSet<String>,
}

/// The daemon and the world around its adapters.
#[derive(Default)]
pub(crate) struct Daemon {
    pub(super) adapters: BTreeMap<String, Adapter>,
    pub(super) stations: BTreeMap<SensorId, Station>,
    /// Pairing agents by client.
    pub(super) agents: BTreeMap<ClientId, String>,
    next: SensorId,
    pub(super) out: Vec<Message>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("adapters", &self.adapters)
            .field("sensors", &self.stations.len())
            .finish_non_exhaustive()
    }
}

/// Path of an adapter.
pub(super) fn adapter_path(adapter: &str) -> String {
    format!("/org/bluez/{adapter}")
}

/// Path of a device.
pub(super) fn device_path(adapter: &str, address: &str) -> String {
    let digits = address.replace(':', "_");
    format!("/org/bluez/{adapter}/dev_{digits}")
}

impl Daemon {
    /// What is to be sent, in order.
    pub(crate) fn take_out(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.out)
    }

    /// Plugs an adapter in.
    pub(crate) fn plug_adapter(&mut self, name: &str) {
        let number = u8::try_from(self.adapters.len()).unwrap_or(u8::MAX);
        let adapter = Adapter {
            address: format!("00:00:5E:00:53:{number:02X}"),
            powered: true,
            scanners: BTreeSet::new(),
        };
        self.adapters.insert(name.to_owned(), adapter);
        self.tell_added(&adapter_path(name));
    }

    /// Pulls an adapter: its devices are gone with it, and links are lost.
    pub(crate) fn unplug_adapter(&mut self, name: &str) {
        let ids: Vec<SensorId> = self.stations.keys().copied().collect();
        for id in ids {
            self.drop_link(id, Some(name));
            self.forget(id, name);
        }
        self.tell_removed(&adapter_path(name), &[ADAPTER]);
        self.adapters.remove(name);
    }

    /// Puts a sensor into the air.
    pub(crate) fn add_sensor(&mut self, sensor: Sensor, server: Box<dyn GattServer>) -> SensorId {
        self.next = self.next.saturating_add(1);
        let id = self.next;
        self.stations.insert(
            id,
            Station {
                sensor,
                server,
                in_range: true,
                refusals: 0,
                holds_services: false,
                known: BTreeMap::new(),
                bonds: BTreeSet::new(),
            },
        );
        self.advertise(id);
        id
    }

    /// The sensor is heard by all adapters that scan.
    pub(crate) fn advertise(&mut self, id: SensorId) {
        let scanning: Vec<String> = self
            .adapters
            .iter()
            .filter(|(_, adapter)| !adapter.scanners.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for adapter in scanning {
            self.hear(id, &adapter);
        }
    }

    /// An adapter hears a sensor: a new device, or a new signal strength of a known one.
    pub(super) fn hear(&mut self, id: SensorId, adapter: &str) {
        let Some(station) = self.stations.get_mut(&id) else {
            return;
        };
        let is_linked = station.known.values().any(|known| known.connected);
        // A connected sensor does not advertise.
        if !station.in_range || is_linked {
            return;
        }
        let path = device_path(adapter, &station.sensor.address);
        if station.known.contains_key(adapter) {
            let rssi = Value::I16(station.sensor.rssi_dbm);
            return self.tell_changed(&path, DEVICE, [("RSSI", rssi)]);
        }
        let known = Known {
            paired: station.bonds.contains(adapter),
            ..Known::default()
        };
        station.known.insert(adapter.to_owned(), known);
        self.tell_added(&path);
    }

    /// The sensor comes into reach or leaves it; a link is lost then.
    pub(crate) fn set_in_range(&mut self, id: SensorId, in_range: bool) {
        if let Some(station) = self.stations.get_mut(&id) {
            station.in_range = in_range;
        }
        match in_range {
            true => self.advertise(id),
            false => self.drop_link(id, None),
        }
    }

    /// The daemon drops an unpaired device that it has not heard for long.
    pub(crate) fn vanish(&mut self, id: SensorId) {
        let adapters: Vec<String> = self.adapters.keys().cloned().collect();
        for adapter in adapters {
            let known = self.stations.get(&id).and_then(|s| s.known.get(&adapter));
            if known.is_some_and(|known| !known.paired && !known.connected) {
                self.forget(id, &adapter);
            }
        }
    }

    /// Changes a sensor's traits.
    pub(crate) fn with_sensor(&mut self, id: SensorId, change: impl FnOnce(&mut Sensor)) {
        if let Some(station) = self.stations.get_mut(&id) {
            change(&mut station.sensor);
        }
    }

    /// The next connections fail.
    pub(crate) fn refuse_connections(&mut self, id: SensorId, times: u32) {
        if let Some(station) = self.stations.get_mut(&id) {
            station.refusals = times;
        }
    }

    /// Holds back the services of further connections, or lets them be found.
    pub(crate) fn hold_services(&mut self, id: SensorId, hold: bool) {
        if let Some(station) = self.stations.get_mut(&id) {
            station.holds_services = hold;
        }
        if !hold {
            self.resolve(id);
        }
    }

    /// New firmware with other services; the daemon goes on with what it knew.
    pub(crate) fn set_services(&mut self, id: SensorId, services: Vec<Service>) {
        self.with_sensor(id, |sensor| sensor.services = services);
    }

    /// The MTU of the link changes while it is up.
    pub(crate) fn set_mtu(&mut self, id: SensorId, mtu: u16) {
        if let Some(station) = self.stations.get_mut(&id) {
            station.sensor.mtu = mtu;
            if station.known.values().any(|known| known.connected) {
                station.server.link(Some(mtu));
            }
        }
    }

    /// Whether a host is connected.
    pub(crate) fn is_connected(&self, id: SensorId) -> bool {
        self.linked(id).is_some()
    }

    /// The adapter that a sensor is connected to.
    pub(super) fn linked(&self, id: SensorId) -> Option<String> {
        let station = self.stations.get(&id)?;
        let found = station.known.iter().find(|(_, known)| known.connected);
        found.map(|(adapter, _)| adapter.clone())
    }

    /// Connects a sensor.
    pub(super) fn connect(&mut self, id: SensorId, adapter: &str) -> Result<(), Refusal> {
        let powered = self.adapters.get(adapter).is_some_and(|a| a.powered);
        if !powered {
            let name = "org.bluez.Error.NotReady";
            return Err(Refusal::new(name, "Resource Not Ready"));
        }
        let elsewhere = self.linked(id).is_some_and(|linked| linked != adapter);
        let Some(station) = self.stations.get_mut(&id) else {
            return Err(Refusal::unknown_object());
        };
        let Some(known) = station.known.get_mut(adapter) else {
            return Err(Refusal::unknown_object());
        };
        if known.connected {
            return Ok(());
        }
        if !station.in_range || elsewhere || station.refusals > 0 {
            station.refusals = station.refusals.saturating_sub(1);
            return Err(Refusal::failed("le-connection-abort-by-local"));
        }
        known.connected = true;
        station.server.link(Some(station.sensor.mtu));
        let path = device_path(adapter, &station.sensor.address);
        self.tell_changed(&path, DEVICE, [("Connected", Value::Bool(true))]);
        Ok(())
    }

    /// Finds the services of a connected sensor, unless they are held back.
    pub(super) fn resolve(&mut self, id: SensorId) {
        let Some(adapter) = self.linked(id) else {
            return;
        };
        let Some(station) = self.stations.get_mut(&id) else {
            return;
        };
        let Some(known) = station.known.get_mut(&adapter) else {
            return;
        };
        if station.holds_services || known.resolved {
            return;
        }
        known.resolved = true;
        let is_new = known.attributes.is_empty();
        if is_new {
            known.attributes = attributes_of(&station.sensor.services);
        }
        let path = device_path(&adapter, &station.sensor.address);
        let uuids = objects::service_uuids(known, &station.sensor);
        let handles: Vec<u16> = known.attributes.keys().copied().collect();
        let paths: Vec<String> = handles
            .iter()
            .filter_map(|handle| Some(format!("{path}{}", known.path_of(*handle)?)))
            .collect();
        if is_new {
            for path in paths {
                self.tell_added(&path);
            }
            self.tell_changed(&path, DEVICE, [("UUIDs", uuids)]);
        }
        self.tell_changed(&path, DEVICE, [("ServicesResolved", Value::Bool(true))]);
    }

    /// The link is lost, or given up by the host.
    pub(crate) fn drop_link(&mut self, id: SensorId, only: Option<&str>) {
        let Some(adapter) = self.linked(id) else {
            return;
        };
        if only.is_some_and(|only| only != adapter) {
            return;
        }
        let Some(station) = self.stations.get_mut(&id) else {
            return;
        };
        station.server.link(None);
        let path = device_path(&adapter, &station.sensor.address);
        let Some(known) = station.known.get_mut(&adapter) else {
            return;
        };
        let was_resolved = std::mem::take(&mut known.resolved);
        known.connected = false;
        known.values.clear();
        let subscribed: Vec<String> = std::mem::take(&mut known.subscribers)
            .into_keys()
            .filter_map(|handle| Some(format!("{path}{}", known.path_of(handle)?)))
            .collect();
        for path in subscribed {
            self.tell_changed(&path, CHARACTERISTIC, [("Notifying", Value::Bool(false))]);
        }
        if was_resolved {
            self.tell_changed(&path, DEVICE, [("ServicesResolved", Value::Bool(false))]);
        }
        self.tell_changed(&path, DEVICE, [("Connected", Value::Bool(false))]);
    }

    /// Forgets a device with its services.
    pub(super) fn forget(&mut self, id: SensorId, adapter: &str) {
        let Some(station) = self.stations.get_mut(&id) else {
            return;
        };
        let Some(known) = station.known.remove(adapter) else {
            return;
        };
        let path = device_path(adapter, &station.sensor.address);
        let below: Vec<(String, &'static str)> = known
            .attributes
            .iter()
            .rev()
            .filter_map(|(handle, attribute)| {
                let below = known.path_of(*handle)?;
                Some((format!("{path}{below}"), objects::interface_of(attribute)))
            })
            .collect();
        for (path, interface) in below {
            self.tell_removed(&path, &[interface]);
        }
        self.tell_removed(&path, &[DEVICE]);
    }

    /// The daemon ends and starts again: all that it held in memory is gone.
    pub(crate) fn restart(&mut self) {
        let ids: Vec<SensorId> = self.stations.keys().copied().collect();
        for id in ids {
            self.drop_link(id, None);
            if let Some(station) = self.stations.get_mut(&id) {
                // Paired devices are read back from disk, without their services.
                station.known = station
                    .bonds
                    .iter()
                    .map(|adapter| {
                        let known = Known {
                            paired: true,
                            trusted: station.known.get(adapter).is_some_and(|k| k.trusted),
                            ..Known::default()
                        };
                        (adapter.clone(), known)
                    })
                    .collect();
            }
        }
        for adapter in self.adapters.values_mut() {
            adapter.scanners.clear();
        }
        self.agents.clear();
        // Nobody is told of the end of a daemon by the daemon.
        self.out.clear();
    }

    /// A client is gone: its scans and subscriptions end, links stay.
    pub(crate) fn client_left(&mut self, client: ClientId) {
        self.agents.remove(&client);
        let scanning: Vec<String> = self.adapters.keys().cloned().collect();
        for adapter in scanning {
            self.stop_scan(&adapter, client);
        }
        let subscribed: Vec<(SensorId, String, u16)> = self
            .stations
            .iter()
            .flat_map(|(id, station)| {
                station.known.iter().flat_map(move |(adapter, known)| {
                    let mine = known.subscribers.iter();
                    mine.filter(move |(_, clients)| clients.contains(&client))
                        .map(move |(handle, _)| (*id, adapter.clone(), *handle))
                })
            })
            .collect();
        for (id, adapter, handle) in subscribed {
            self.unsubscribe(id, &adapter, handle, client);
        }
    }

    /// Ends a client's scan. `false` when it did not scan.
    pub(super) fn stop_scan(&mut self, adapter: &str, client: ClientId) -> bool {
        let Some(found) = self.adapters.get_mut(adapter) else {
            return false;
        };
        let was_scanning = found.scanners.remove(&client);
        if was_scanning && found.scanners.is_empty() {
            let off = [("Discovering", Value::Bool(false))];
            self.tell_changed(&adapter_path(adapter), ADAPTER, off);
        }
        was_scanning
    }

    /// The sensor whose device has this path, and the rest of the path behind the device.
    pub(super) fn locate(&self, path: &str) -> Option<(SensorId, String, String)> {
        self.stations.iter().find_map(|(id, station)| {
            station.known.keys().find_map(|adapter| {
                let device = device_path(adapter, &station.sensor.address);
                let rest = path.strip_prefix(&device)?;
                let is_below = rest.is_empty() || rest.starts_with('/');
                is_below.then(|| (*id, adapter.clone(), rest.to_owned()))
            })
        })
    }

    /// Whether a sensor still has a characteristic that the daemon shows.
    pub(super) fn still_has(&self, id: SensorId, wanted: Uuid) -> bool {
        self.stations.get(&id).is_some_and(|station| {
            let services = station.sensor.services.iter();
            services
                .flat_map(|service| &service.characteristics)
                .any(|found| found.uuid == wanted)
        })
    }
}
