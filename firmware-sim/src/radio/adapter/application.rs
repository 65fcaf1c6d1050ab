//! A sensor as BlueZ wants a program to show it: a tree of objects and an advertisement.
//!
//! Pure: what the objects are, and which characteristic a path names. Deliberately absent: the
//! bus, the sensor's state.
//!
//! Source: BlueZ 5.66 `doc/gatt-api.txt`, `doc/advertising-api.txt`.

use std::collections::BTreeMap;

use cardio_protocol::gatt::Uuid;

use crate::radio::bluez::objects::flag;
use crate::radio::bluez::{CHARACTERISTIC, GATT_SERVICE};
use crate::radio::bus::Value;
use crate::radio::sensor::{Sensor, Service};

/// Where the tree begins.
pub(super) const ROOT: &str = "/cardio/sensor";
/// Where the advertisement is.
pub(super) const ADVERTISEMENT_PATH: &str = "/cardio/advertisement";
/// Its interface.
pub(super) const ADVERTISEMENT: &str = "org.bluez.LEAdvertisement1";

/// Properties by name.
type Named = Vec<(&'static str, Value)>;

/// The tree of one sensor.
#[derive(Debug)]
pub(super) struct Application {
    services: Vec<Service>,
    /// Paths of the characteristics.
    places: BTreeMap<Uuid, String>,
}

fn service_path(number: usize) -> String {
    format!("{ROOT}/service{number:02}")
}

impl Application {
    pub(super) fn of(sensor: &Sensor) -> Self {
        let mut places = BTreeMap::new();
        for (number, service) in sensor.services.iter().enumerate() {
            for (below, found) in service.characteristics.iter().enumerate() {
                let path = format!("{}/char{below:02}", service_path(number));
                places.insert(found.uuid, path);
            }
        }
        let services = sensor.services.clone();
        Self { services, places }
    }

    /// Path of a characteristic.
    pub(super) fn path_of(&self, uuid: Uuid) -> Option<&str> {
        self.places.get(&uuid).map(String::as_str)
    }

    /// The characteristic of a path.
    pub(super) fn at(&self, path: &str) -> Option<Uuid> {
        let found = self.places.iter().find(|(_, place)| *place == path)?;
        Some(*found.0)
    }

    /// All objects with their interfaces and properties, `a{oa{sa{sv}}}`.
    pub(super) fn objects(&self) -> Value {
        let mut all = Vec::new();
        for (number, service) in self.services.iter().enumerate() {
            let parent = service_path(number);
            all.push(object(
                &parent,
                GATT_SERVICE,
                vec![
                    ("UUID", Value::text(service.uuid.to_string())),
                    ("Primary", Value::Bool(true)),
                ],
            ));
            for found in &service.characteristics {
                let flags = found.properties.iter().map(|property| flag(*property));
                let path = self.path_of(found.uuid).unwrap_or_default();
                all.push(object(
                    path,
                    CHARACTERISTIC,
                    vec![
                        ("UUID", Value::text(found.uuid.to_string())),
                        ("Service", Value::Path(parent.clone())),
                        ("Flags", Value::texts(flags)),
                    ],
                ));
            }
        }
        Value::dict("o", "a{sa{sv}}", all)
    }
}

fn object(path: &str, interface: &str, properties: Named) -> (Value, Value) {
    let interfaces = [(Value::text(interface), Value::named(properties))];
    let interfaces = Value::dict("s", "a{sv}", interfaces);
    (Value::Path(path.to_owned()), interfaces)
}

/// What the sensor says of itself before anybody connects.
pub(super) fn advertisement(sensor: &Sensor) -> Named {
    let advertised = sensor.advertised.iter().map(ToString::to_string);
    vec![
        ("Type", Value::text("peripheral")),
        ("ServiceUUIDs", Value::texts(advertised)),
        ("LocalName", Value::text(&sensor.name)),
        ("Discoverable", Value::Bool(true)),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Application, ROOT};
    use crate::radio::bus::Value;
    use crate::radio::sensor::Sensor;
    use cardio_protocol::gatt::polar_pmd;

    #[test]
    fn every_characteristic_has_a_path_of_its_own_below_its_service() {
        let sensor = Sensor::of(&polar_pmd::PROFILE, "", "Polar H10 1");
        let tree = Application::of(&sensor);
        let Value::Array(_, objects) = tree.objects() else {
            panic!("no dictionary");
        };
        let services = sensor.services.len();
        let characteristics: usize = sensor
            .services
            .iter()
            .map(|service| service.characteristics.len())
            .sum();
        assert_eq!(objects.len(), services + characteristics);
        let path = tree.path_of(polar_pmd::DATA).unwrap();
        assert_eq!(path, format!("{ROOT}/service00/char01"));
        assert_eq!(tree.at(path), Some(polar_pmd::DATA));
        assert_eq!(tree.at(&format!("{ROOT}/service00")), None);
    }
}
