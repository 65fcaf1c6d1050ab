//! What clients may ask the daemon for.

use super::gatt::Place;
use super::world::{Daemon, SensorId, adapter_path, device_path};
use super::{
    ADAPTER, AGENTS, CHARACTERISTIC, DESCRIPTOR, DEVICE, INTROSPECTABLE, OBJECTS, PROPERTIES,
    Refusal,
};
use crate::radio::bus::{ClientId, Message, Value};

/// The values of an answer, or a refusal.
type Answer = Result<Vec<Value>, Refusal>;

impl Daemon {
    /// Takes a call; its answer stands in order among the signals that it caused.
    pub(crate) fn serve(&mut self, from: ClientId, call: &Message) {
        let arguments = call.values().unwrap_or_default();
        let answer = self.answer(from, call, &arguments);
        if call.wants_answer() {
            self.out.push(match &answer {
                Ok(values) => Message::answer(call, values),
                Err(refusal) => Message::refusal(call, refusal.name, &refusal.text),
            });
        }
        // A device is connected first; its services are found afterwards.
        let connects = matches!(call.member.as_str(), "Connect" | "Pair");
        if let (true, Ok(_), Some((id, ..))) = (connects, &answer, self.locate(&call.path)) {
            self.resolve(id);
        }
    }

    fn answer(&mut self, from: ClientId, call: &Message, arguments: &[Value]) -> Answer {
        let path = call.path.as_str();
        match (call.interface.as_str(), call.member.as_str()) {
            (INTROSPECTABLE, "Introspect") => Ok(vec![Value::Text(self.introspect(path))]),
            (OBJECTS, "GetManagedObjects") if path == "/" => Ok(vec![self.managed()]),
            (PROPERTIES, member) => self.properties(path, member, arguments),
            ("org.freedesktop.DBus.Peer", "Ping") => Ok(Vec::new()),
            (ADAPTER, member) => self.adapter_call(from, path, member, arguments),
            (DEVICE, member) => self.device_call(path, member),
            (CHARACTERISTIC, member) => self.characteristic_call(from, path, member, arguments),
            (DESCRIPTOR, "ReadValue") if self.place(path).is_some() => {
                Ok(vec![Value::Bytes(vec![0, 0])])
            }
            (AGENTS, member) => self.agent_call(from, member, arguments),
            _ => Err(unknown_method(call)),
        }
    }

    fn properties(&mut self, path: &str, member: &str, arguments: &[Value]) -> Answer {
        let mut texts = arguments.iter().filter_map(Value::as_text);
        let interface = texts.next().unwrap_or("");
        let name = texts.next().unwrap_or("");
        let found = self.properties_at(path, interface);
        let found = found.ok_or_else(Refusal::unknown_object)?;
        match member {
            "GetAll" => Ok(vec![Value::named(found)]),
            "Get" => match found.into_iter().find(|(known, _)| *known == name) {
                Some((_, value)) => Ok(vec![value.boxed()]),
                None => Err(no_such_property(name)),
            },
            "Set" => self.set_property(path, interface, name, arguments.get(2)),
            _ => Err(Refusal::not_supported()),
        }
    }

    fn set_property(
        &mut self,
        path: &str,
        interface: &str,
        name: &str,
        value: Option<&Value>,
    ) -> Answer {
        let on = match value {
            Some(Value::Variant(inner)) => matches!(inner.as_ref(), Value::Bool(true)),
            _ => false,
        };
        let changed = match (interface, name) {
            (ADAPTER, "Powered") => {
                let adapter = self.adapter_at(path)?;
                self.set_powered(&adapter, on)
            }
            (DEVICE, "Trusted") => {
                let (id, adapter, _) = self.locate(path).ok_or_else(Refusal::unknown_object)?;
                let station = self.stations.get_mut(&id);
                let known = station.and_then(|station| station.known.get_mut(&adapter));
                known.is_some_and(|known| std::mem::replace(&mut known.trusted, on) != on)
            }
            _ => return Err(no_such_property(name)),
        };
        if changed {
            let (interface, name) = match interface {
                ADAPTER => (ADAPTER, "Powered"),
                _ => (DEVICE, "Trusted"),
            };
            self.tell_changed(path, interface, [(name, Value::Bool(on))]);
        }
        Ok(Vec::new())
    }

    fn set_powered(&mut self, adapter: &str, on: bool) -> bool {
        if !on {
            let ids: Vec<SensorId> = self.stations.keys().copied().collect();
            for id in ids {
                self.drop_link(id, Some(adapter));
            }
        }
        self.adapters
            .get_mut(adapter)
            .is_some_and(|adapter| std::mem::replace(&mut adapter.powered, on) != on)
    }

    fn adapter_at(&self, path: &str) -> Result<String, Refusal> {
        let mut names = self.adapters.keys();
        let found = names.find(|name| adapter_path(name) == path);
        found.cloned().ok_or_else(Refusal::unknown_object)
    }

    fn adapter_call(
        &mut self,
        from: ClientId,
        path: &str,
        member: &str,
        arguments: &[Value],
    ) -> Answer {
        let adapter = self.adapter_at(path)?;
        match member {
            "SetDiscoveryFilter" => {}
            "StartDiscovery" => self.start_scan(&adapter, from)?,
            "StopDiscovery" => {
                if !self.stop_scan(&adapter, from) {
                    return Err(Refusal::failed("No discovery started"));
                }
            }
            "RemoveDevice" => {
                let device = arguments.first().and_then(Value::as_text).unwrap_or("");
                self.remove_device(&adapter, device)?;
            }
            _ => return Err(Refusal::not_supported()),
        }
        Ok(Vec::new())
    }

    fn start_scan(&mut self, name: &str, from: ClientId) -> Result<(), Refusal> {
        let adapter = self.adapters.get_mut(name);
        let adapter = adapter.ok_or_else(Refusal::unknown_object)?;
        if !adapter.powered {
            let error = "org.bluez.Error.NotReady";
            return Err(Refusal::new(error, "Resource Not Ready"));
        }
        let is_first = adapter.scanners.is_empty();
        if !adapter.scanners.insert(from) {
            let error = "org.bluez.Error.InProgress";
            return Err(Refusal::new(error, "Operation already in progress"));
        }
        if is_first {
            let on = [("Discovering", Value::Bool(true))];
            self.tell_changed(&adapter_path(name), ADAPTER, on);
        }
        let ids: Vec<SensorId> = self.stations.keys().copied().collect();
        for id in ids {
            self.hear(id, name);
        }
        Ok(())
    }

    fn remove_device(&mut self, adapter: &str, path: &str) -> Result<(), Refusal> {
        let found = self
            .locate(path)
            .filter(|(_, at, rest)| at == adapter && rest.is_empty());
        let Some((id, ..)) = found else {
            let error = "org.bluez.Error.DoesNotExist";
            return Err(Refusal::new(error, "Does Not Exist"));
        };
        self.drop_link(id, Some(adapter));
        self.forget(id, adapter);
        if let Some(station) = self.stations.get_mut(&id) {
            station.bonds.remove(adapter);
        }
        Ok(())
    }

    fn device_call(&mut self, path: &str, member: &str) -> Answer {
        let found = self.locate(path).filter(|(_, _, rest)| rest.is_empty());
        let (id, adapter, _) = found.ok_or_else(Refusal::unknown_object)?;
        match member {
            "Connect" => self.connect(id, &adapter)?,
            "Disconnect" => {
                if self.linked(id).as_deref() != Some(adapter.as_str()) {
                    let error = "org.bluez.Error.NotConnected";
                    return Err(Refusal::new(error, "Not Connected"));
                }
                self.drop_link(id, Some(&adapter));
            }
            "Pair" => self.pair(id, &adapter)?,
            "CancelPairing" => {
                let error = "org.bluez.Error.DoesNotExist";
                return Err(Refusal::new(error, "Does Not Exist"));
            }
            _ => return Err(Refusal::not_supported()),
        }
        Ok(Vec::new())
    }

    fn pair(&mut self, id: SensorId, adapter: &str) -> Result<(), Refusal> {
        let is_paired = |daemon: &Self| {
            let station = daemon.stations.get(&id);
            station.is_some_and(|station| station.bonds.contains(adapter))
        };
        if is_paired(self) {
            let error = "org.bluez.Error.AlreadyExists";
            return Err(Refusal::new(error, "Already Exists"));
        }
        self.connect(id, adapter)?;
        if self.agents.is_empty() {
            // Nobody can be asked.
            let error = "org.bluez.Error.AuthenticationFailed";
            return Err(Refusal::new(error, "Authentication Failed"));
        }
        let Some(station) = self.stations.get_mut(&id) else {
            return Err(Refusal::unknown_object());
        };
        station.bonds.insert(adapter.to_owned());
        let path = device_path(adapter, &station.sensor.address);
        if let Some(known) = station.known.get_mut(adapter) {
            known.paired = true;
        }
        let changed = [("Paired", Value::Bool(true)), ("Bonded", Value::Bool(true))];
        self.tell_changed(&path, DEVICE, changed);
        Ok(())
    }

    fn characteristic_call(
        &mut self,
        from: ClientId,
        path: &str,
        member: &str,
        arguments: &[Value],
    ) -> Answer {
        let place = self.place(path).ok_or_else(Refusal::unknown_object)?;
        match member {
            "ReadValue" => return Ok(vec![Value::Bytes(self.read(&place)?)]),
            "WriteValue" => {
                let value = arguments.first().and_then(Value::as_bytes);
                let kind = arguments.get(1).and_then(|options| options.get("type"));
                let without_response = kind.and_then(Value::as_text) == Some("command");
                self.write(&place, value.unwrap_or_default(), without_response)?;
            }
            "StartNotify" => self.subscribe(&place, from)?,
            "StopNotify" => self.stop_notify(&place, from)?,
            _ => return Err(Refusal::not_supported()),
        }
        Ok(Vec::new())
    }

    fn stop_notify(&mut self, place: &Place, from: ClientId) -> Result<(), Refusal> {
        if self.unsubscribe(place.id, &place.adapter, place.handle, from) {
            return Ok(());
        }
        Err(Refusal::failed("No notify session started"))
    }

    fn agent_call(&mut self, from: ClientId, member: &str, arguments: &[Value]) -> Answer {
        match (member, arguments.first().and_then(Value::as_text)) {
            ("RegisterAgent", Some(path)) => {
                if self.agents.insert(from, path.to_owned()).is_some() {
                    let error = "org.bluez.Error.AlreadyExists";
                    return Err(Refusal::new(error, "Already Exists"));
                }
            }
            ("UnregisterAgent" | "RequestDefaultAgent", Some(path)) => {
                if self.agents.get(&from).map(String::as_str) != Some(path) {
                    let error = "org.bluez.Error.DoesNotExist";
                    return Err(Refusal::new(error, "Does Not Exist"));
                }
                if member == "UnregisterAgent" {
                    self.agents.remove(&from);
                }
            }
            _ => return Err(Refusal::not_supported()),
        }
        Ok(Vec::new())
    }
}

fn unknown_method(call: &Message) -> Refusal {
    let text = format!("there is no {}.{} here", call.interface, call.member);
    Refusal::new("org.freedesktop.DBus.Error.UnknownMethod", text)
}

fn no_such_property(name: &str) -> Refusal {
    let error = "org.freedesktop.DBus.Error.InvalidArgs";
    Refusal::new(error, format!("No such property '{name}'"))
}
