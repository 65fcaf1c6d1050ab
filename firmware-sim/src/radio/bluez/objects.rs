//! The tree of objects: paths, interfaces and properties.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cardio_protocol::gatt::Property;

use super::known::{Attribute, Known};
use super::world::{Adapter, Daemon, Station, adapter_path, device_path};
use super::{
    ADAPTER, AGENTS, CHARACTERISTIC, DESCRIPTOR, DEVICE, GATT_SERVICE, INTROSPECTABLE, OBJECTS,
    PROPERTIES,
};
use crate::radio::bus::{Message, Value};
use crate::radio::sensor::Sensor;

/// Properties by name.
type Named = Vec<(&'static str, Value)>;

/// The interface of an attribute.
pub(super) const fn interface_of(attribute: &Attribute) -> &'static str {
    match attribute {
        Attribute::Service { .. } => GATT_SERVICE,
        Attribute::Characteristic { .. } => CHARACTERISTIC,
        Attribute::Descriptor { .. } => DESCRIPTOR,
    }
}

/// What a device says its services are: those found, or those advertised before that.
pub(super) fn service_uuids(known: &Known, sensor: &Sensor) -> Value {
    let found = known.attributes.values().filter_map(|found| match found {
        Attribute::Service { uuid } => Some(*uuid),
        _ => None,
    });
    let all: BTreeSet<_> = found.chain(sensor.advertised.iter().copied()).collect();
    Value::texts(all.iter().map(ToString::to_string))
}

fn adapter_properties(name: &str, adapter: &Adapter) -> Named {
    vec![
        ("Address", Value::text(&adapter.address)),
        ("AddressType", Value::text("public")),
        ("Name", Value::text(name)),
        ("Alias", Value::text(name)),
        ("Class", Value::U32(0)),
        ("Powered", Value::Bool(adapter.powered)),
        ("Discoverable", Value::Bool(false)),
        ("Pairable", Value::Bool(true)),
        ("Discovering", Value::Bool(!adapter.scanners.is_empty())),
        ("UUIDs", Value::texts::<String>([])),
        ("Modalias", Value::text("usb:v1D6Bp0246d0542")),
    ]
}

fn device_properties(adapter: &str, known: &Known, sensor: &Sensor, in_range: bool) -> Named {
    let kind = if sensor.random_address {
        "random"
    } else {
        "public"
    };
    let mut found = vec![
        ("Address", Value::text(&sensor.address)),
        ("AddressType", Value::text(kind)),
        ("Name", Value::text(&sensor.name)),
        ("Alias", Value::text(&sensor.name)),
        ("Paired", Value::Bool(known.paired)),
        ("Bonded", Value::Bool(known.paired)),
        ("Trusted", Value::Bool(known.trusted)),
        ("Blocked", Value::Bool(false)),
        ("LegacyPairing", Value::Bool(false)),
        ("Connected", Value::Bool(known.connected)),
        ("ServicesResolved", Value::Bool(known.resolved)),
        ("UUIDs", service_uuids(known, sensor)),
        ("Adapter", Value::Path(adapter_path(adapter))),
    ];
    if in_range && !known.connected {
        found.push(("RSSI", Value::I16(sensor.rssi_dbm)));
    }
    if !sensor.manufacturer_data.is_empty() {
        let entries = sensor
            .manufacturer_data
            .iter()
            .map(|(company, data)| (Value::U16(*company), Value::Bytes(data.clone()).boxed()));
        found.push(("ManufacturerData", Value::dict("q", "v", entries)));
    }
    found
}

pub(in crate::radio) const fn flag(property: Property) -> &'static str {
    match property {
        Property::Read => "read",
        Property::Write => "write",
        Property::WriteWithoutResponse => "write-without-response",
        Property::Notify => "notify",
        Property::Indicate => "indicate",
    }
}

fn attribute_properties(device: &str, known: &Known, handle: u16, mtu: u16) -> Named {
    let parent = |handle: u16| {
        let below = known.path_of(handle).unwrap_or_default();
        Value::Path(format!("{device}{below}"))
    };
    let value = || Value::Bytes(known.values.get(&handle).cloned().unwrap_or_default());
    match known.attributes.get(&handle) {
        None => Vec::new(),
        Some(Attribute::Service { uuid }) => vec![
            ("UUID", Value::text(uuid.to_string())),
            ("Primary", Value::Bool(true)),
            ("Device", Value::Path(device.to_owned())),
            ("Includes", Value::Array("o".to_owned(), Vec::new())),
        ],
        Some(Attribute::Characteristic {
            service,
            uuid,
            properties,
        }) => vec![
            ("UUID", Value::text(uuid.to_string())),
            ("Service", parent(*service)),
            ("Value", value()),
            (
                "Notifying",
                Value::Bool(known.subscribers.contains_key(&handle)),
            ),
            ("Flags", Value::texts(properties.iter().map(|p| flag(*p)))),
            ("MTU", Value::U16(mtu)),
        ],
        Some(Attribute::Descriptor {
            characteristic,
            uuid,
            ..
        }) => vec![
            ("UUID", Value::text(uuid.to_string())),
            ("Characteristic", parent(*characteristic)),
            ("Value", value()),
        ],
    }
}

impl Daemon {
    /// All objects below and at a path prefix, with their interface and properties.
    pub(super) fn objects(&self) -> Vec<(String, &'static str, Named)> {
        let mut all = vec![("/org/bluez".to_owned(), AGENTS, Vec::new())];
        for (name, adapter) in &self.adapters {
            let properties = adapter_properties(name, adapter);
            all.push((adapter_path(name), ADAPTER, properties));
        }
        for station in self.stations.values() {
            for (adapter, known) in &station.known {
                if self.adapters.contains_key(adapter) {
                    station_objects(station, adapter, known, &mut all);
                }
            }
        }
        all
    }

    /// The properties of an interface at a path.
    pub(super) fn properties_at(&self, path: &str, interface: &str) -> Option<Named> {
        self.objects()
            .into_iter()
            .find(|(found, offered, _)| found == path && *offered == interface)
            .map(|(_, _, properties)| properties)
    }

    /// What is at a path and directly below it, as introspection tells it.
    pub(super) fn introspect(&self, path: &str) -> String {
        let root = if path == "/" { "" } else { path };
        let objects = self.objects();
        let children: BTreeSet<&str> = objects
            .iter()
            .filter_map(|(found, _, _)| found.strip_prefix(root)?.strip_prefix('/'))
            .filter_map(|below| below.split('/').next())
            .filter(|name| !name.is_empty())
            .collect();
        let mut text = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection \
                        1.0//EN\"\n\"http://www.freedesktop.org/standards/dbus/1.0/\
                        introspect.dtd\">\n<node>\n"
            .to_owned();
        let own = objects
            .iter()
            .filter(|(found, _, _)| found == path)
            .map(|(_, interface, _)| *interface);
        let manager = (path == "/").then_some(OBJECTS);
        for interface in own.chain(manager).chain([PROPERTIES, INTROSPECTABLE]) {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  <interface name=\"{interface}\"/>");
        }
        for child in children {
            let _ = writeln!(text, "  <node name=\"{child}\"/>");
        }
        text += "</node>\n";
        text
    }

    /// All objects in the form of the object manager.
    pub(super) fn managed(&self) -> Value {
        let objects = self.objects().into_iter().map(|(path, interface, named)| {
            (Value::Path(path), interfaces_value(interface, named))
        });
        Value::dict("o", "a{sa{sv}}", objects)
    }

    /// Tells that an object has come.
    pub(super) fn tell_added(&mut self, path: &str) {
        let found = self
            .objects()
            .into_iter()
            .find(|(found, _, _)| found == path);
        if let Some((path, interface, named)) = found {
            let body = [Value::Path(path), interfaces_value(interface, named)];
            self.out
                .push(Message::signal("/", OBJECTS, "InterfacesAdded", &body));
        }
    }

    /// Tells that an object has gone.
    pub(super) fn tell_removed(&mut self, path: &str, interfaces: &[&'static str]) {
        let names = Value::texts(interfaces.iter().copied());
        let body = [Value::Path(path.to_owned()), names];
        self.out
            .push(Message::signal("/", OBJECTS, "InterfacesRemoved", &body));
    }

    /// Tells that properties have changed.
    pub(super) fn tell_changed<const N: usize>(
        &mut self,
        path: &str,
        interface: &str,
        changed: [(&'static str, Value); N],
    ) {
        let body = [
            Value::text(interface),
            Value::named(changed),
            Value::texts::<String>([]),
        ];
        let signal = Message::signal(path, PROPERTIES, "PropertiesChanged", &body);
        self.out.push(signal);
    }
}

fn interfaces_value(interface: &str, named: Named) -> Value {
    let entry = (Value::text(interface), Value::named(named));
    Value::dict("s", "a{sv}", [entry])
}

fn station_objects(
    station: &Station,
    adapter: &str,
    known: &Known,
    all: &mut Vec<(String, &'static str, Named)>,
) {
    let sensor = &station.sensor;
    let device = device_path(adapter, &sensor.address);
    let properties = device_properties(adapter, known, sensor, station.in_range);
    all.push((device.clone(), DEVICE, properties));
    for (handle, attribute) in &known.attributes {
        if let Some(below) = known.path_of(*handle) {
            let properties = attribute_properties(&device, known, *handle, sensor.mtu);
            all.push((
                format!("{device}{below}"),
                interface_of(attribute),
                properties,
            ));
        }
    }
}
