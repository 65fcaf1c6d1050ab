//! Reading, writing and notifying.

use cardio_protocol::gatt::{Property, Uuid};

use super::known::{Attribute, Known};
use super::world::{Daemon, SensorId, Station, device_path};
use super::{CHARACTERISTIC, Refusal};
use crate::radio::bus::{ClientId, Value};
use crate::radio::sensor::AttError;

/// Bytes of a notification or of a write without response beside its value.
const ATT_BYTES: usize = 3;

/// What became of a value that a sensor sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The daemon has it, and whoever asked for it.
    Delivered,
    /// No host is connected.
    NotConnected,
    /// Nobody has subscribed, or the daemon knows no such characteristic.
    NotSubscribed,
    /// It is longer than the MTU lets pass.
    TooLong,
}

/// Where a client's call goes.
pub(super) struct Place {
    pub(super) id: SensorId,
    pub(super) adapter: String,
    pub(super) handle: u16,
}

impl From<AttError> for Refusal {
    fn from(error: AttError) -> Self {
        match error {
            AttError(0x02 | 0x03) => Self::new(
                "org.bluez.Error.NotPermitted",
                "Read or write not permitted",
            ),
            AttError(0x05 | 0x0F) => Self::new("org.bluez.Error.NotPermitted", "Not paired"),
            AttError(0x06) => Self::not_supported(),
            AttError(0x08) => Self::new("org.bluez.Error.NotAuthorized", "Not authorized"),
            AttError(0x0D) => Self::new("org.bluez.Error.InvalidValueLength", "Invalid length"),
            AttError(code) => {
                Self::failed(format!("Operation failed with ATT error: 0x{code:02x}"))
            }
        }
    }
}

impl Daemon {
    /// The place that a path below a device names.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        let (id, adapter, below) = self.locate(path)?;
        let known = self.stations.get(&id)?.known.get(&adapter)?;
        let mut handles = known.attributes.keys();
        let handle = handles.find(|h| known.path_of(**h).as_deref() == Some(&below))?;
        Some(Place {
            id,
            handle: *handle,
            adapter,
        })
    }

    fn known_mut(&mut self, place: &Place) -> Result<(&mut Station, Uuid, Vec<Property>), Refusal> {
        let found = self.stations.get_mut(&place.id);
        let station = found.ok_or_else(Refusal::unknown_object)?;
        let known = station.known.get(&place.adapter);
        let attribute = known.and_then(|known| known.attributes.get(&place.handle));
        match attribute {
            Some(Attribute::Characteristic {
                uuid, properties, ..
            }) => {
                let (uuid, properties) = (*uuid, properties.clone());
                Ok((station, uuid, properties))
            }
            _ => Err(Refusal::unknown_object()),
        }
    }

    /// What stands between a client and a characteristic, if anything does.
    fn hindrance(&self, place: &Place, uuid: Uuid) -> Option<Refusal> {
        let station = self.stations.get(&place.id)?;
        let known = station.known.get(&place.adapter)?;
        if !known.connected || !known.resolved {
            return Some(Refusal::not_connected());
        }
        if station.sensor.needs_pairing && !known.paired {
            return Some(AttError::INSUFFICIENT_AUTHENTICATION.into());
        }
        // The daemon asks for a handle of old; the sensor knows nothing of it.
        (!self.still_has(place.id, uuid)).then(|| AttError::INVALID_HANDLE.into())
    }

    /// Reads a characteristic. The value also shows as a changed property, as in BlueZ.
    pub(super) fn read(&mut self, place: &Place) -> Result<Vec<u8>, Refusal> {
        let (_, uuid, properties) = self.known_mut(place)?;
        if !properties.contains(&Property::Read) {
            return Err(Refusal::not_supported());
        }
        if let Some(refusal) = self.hindrance(place, uuid) {
            return Err(refusal);
        }
        let (station, ..) = self.known_mut(place)?;
        let value = station.server.read(uuid)?;
        self.show_value(place, value.clone());
        Ok(value)
    }

    /// Writes a characteristic.
    pub(super) fn write(
        &mut self,
        place: &Place,
        value: &[u8],
        without_response: bool,
    ) -> Result<(), Refusal> {
        let (station, uuid, properties) = self.known_mut(place)?;
        let room = usize::from(station.sensor.mtu).saturating_sub(ATT_BYTES);
        let wanted = match without_response {
            true => Property::WriteWithoutResponse,
            false => Property::Write,
        };
        if !properties.contains(&wanted) {
            return Err(Refusal::not_supported());
        }
        if let Some(refusal) = self.hindrance(place, uuid) {
            return Err(refusal);
        }
        if without_response && value.len() > room {
            return Err(AttError(0x0D).into());
        }
        let (station, ..) = self.known_mut(place)?;
        let sent = match station.server.write(uuid, value) {
            Ok(sent) => sent,
            // Nobody hears of the failure of what is not confirmed.
            Err(_) if without_response => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for notification in sent {
            self.notify(place.id, notification.from, &notification.value);
        }
        Ok(())
    }

    /// Subscribes a client.
    pub(super) fn subscribe(&mut self, place: &Place, client: ClientId) -> Result<(), Refusal> {
        let (_, uuid, properties) = self.known_mut(place)?;
        if !properties.contains(&Property::Notify) && !properties.contains(&Property::Indicate) {
            return Err(Refusal::not_supported());
        }
        if let Some(refusal) = self.hindrance(place, uuid) {
            return Err(refusal);
        }
        let (station, ..) = self.known_mut(place)?;
        let Some(known) = station.known.get_mut(&place.adapter) else {
            return Err(Refusal::unknown_object());
        };
        let clients = known.subscribers.entry(place.handle).or_default();
        let is_first = clients.is_empty();
        clients.insert(client);
        if is_first {
            station.server.subscribe(uuid, true);
            self.tell_notifying(place, true);
        }
        Ok(())
    }

    /// Ends a client's subscription. `false` when it had none.
    pub(super) fn unsubscribe(
        &mut self,
        id: SensorId,
        adapter: &str,
        handle: u16,
        client: ClientId,
    ) -> bool {
        let place = Place {
            id,
            adapter: adapter.to_owned(),
            handle,
        };
        let Ok((station, uuid, _)) = self.known_mut(&place) else {
            return false;
        };
        let Some(known) = station.known.get_mut(adapter) else {
            return false;
        };
        let Some(clients) = known.subscribers.get_mut(&handle) else {
            return false;
        };
        let was_subscribed = clients.remove(&client);
        if clients.is_empty() {
            known.subscribers.remove(&handle);
            station.server.subscribe(uuid, false);
            self.tell_notifying(&place, false);
        }
        was_subscribed
    }

    fn tell_notifying(&mut self, place: &Place, on: bool) {
        if let Some(path) = self.path_of(place) {
            self.tell_changed(&path, CHARACTERISTIC, [("Notifying", Value::Bool(on))]);
        }
    }

    fn path_of(&self, place: &Place) -> Option<String> {
        let station = self.stations.get(&place.id)?;
        let below = station.known.get(&place.adapter)?.path_of(place.handle)?;
        let device = device_path(&place.adapter, &station.sensor.address);
        Some(format!("{device}{below}"))
    }

    fn show_value(&mut self, place: &Place, value: Vec<u8>) {
        let known = self
            .stations
            .get_mut(&place.id)
            .and_then(|station| station.known.get_mut(&place.adapter));
        if let Some(known) = known {
            known.values.insert(place.handle, value.clone());
        }
        if let Some(path) = self.path_of(place) {
            self.tell_changed(&path, CHARACTERISTIC, [("Value", Value::Bytes(value))]);
        }
    }

    /// A sensor sends a value by itself.
    pub(crate) fn notify(&mut self, id: SensorId, from: Uuid, value: &[u8]) -> Sent {
        let Some(adapter) = self.linked(id) else {
            return Sent::NotConnected;
        };
        let station = self.stations.get(&id);
        let found = station.and_then(|station| Some((station, station.known.get(&adapter)?)));
        let Some((station, known)) = found else {
            return Sent::NotConnected;
        };
        let handle = known.handle_of(from);
        let subscribed = |known: &Known, handle: &u16| known.subscribers.contains_key(handle);
        let Some(handle) = handle.filter(|handle| subscribed(known, handle)) else {
            return Sent::NotSubscribed;
        };
        if value.len().saturating_add(ATT_BYTES) > usize::from(station.sensor.mtu) {
            return Sent::TooLong;
        }
        let place = Place {
            id,
            adapter,
            handle,
        };
        self.show_value(&place, value.to_vec());
        Sent::Delivered
    }
}
