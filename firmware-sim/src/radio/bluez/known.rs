//! What the daemon remembers of a sensor, on one adapter.

use std::collections::{BTreeMap, BTreeSet};

use cardio_protocol::gatt::{Property, Uuid};

use crate::radio::bus::ClientId;
use crate::radio::sensor::Service;

/// Client Characteristic Configuration (Core Specification 5.4, vol 3 part G, 3.3.3.3).
const CONFIGURATION: Uuid = Uuid::short(0x2902);

/// What a handle stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// A service.
    Service { uuid: Uuid },
    /// A characteristic of the service with this handle.
    Characteristic {
        service: u16,
        uuid: Uuid,
        properties: Vec<Property>,
    },
    /// A descriptor of the characteristic with this handle.
    Descriptor {
        service: u16,
        characteristic: u16,
        uuid: Uuid,
    },
}

/// A sensor that the daemon knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) connected: bool,
    pub(super) resolved: bool,
    pub(super) paired: bool,
    pub(super) trusted: bool,
    /// What was found when the services were last resolved; kept over disconnects, and shown
    /// even if the sensor has other services by now.
    pub(super) attributes: BTreeMap<u16, Attribute>,
    /// Last value of each characteristic by handle.
    pub(super) values: BTreeMap<u16, Vec<u8>>,
    /// Who is subscribed to which handle.
    pub(super) subscribers: BTreeMap<u16, BTreeSet<ClientId>>,
}

impl Known {
    /// The handle of a characteristic.
    pub(super) fn handle_of(&self, wanted: Uuid) -> Option<u16> {
        self.attributes.iter().find_map(|(handle, found)| {
            matches!(found, Attribute::Characteristic { uuid, .. } if *uuid == wanted)
                .then_some(*handle)
        })
    }

    /// Path of an attribute below the device.
    pub(super) fn path_of(&self, handle: u16) -> Option<String> {
        Some(match self.attributes.get(&handle)? {
            Attribute::Service { .. } => format!("/service{handle:04x}"),
            Attribute::Characteristic { service, .. } => {
                format!("/service{service:04x}/char{handle:04x}")
            }
            Attribute::Descriptor {
                service,
                characteristic,
                ..
            } => format!("/service{service:04x}/char{characteristic:04x}/desc{handle:04x}"),
        })
    }
}

/// The handles of a sensor's services, as its attribute table gives them: each service, each
/// characteristic with its value behind it, and the configuration of those that send.
pub(super) fn attributes_of(services: &[Service]) -> BTreeMap<u16, Attribute> {
    let mut table = BTreeMap::new();
    // The first handles are those of the Generic Access and Generic Attribute services.
    let mut next: u16 = 0x0010;
    let mut take = |count: u16| {
        let handle = next;
        next = next.saturating_add(count);
        handle
    };
    for found in services {
        let service = take(1);
        table.insert(service, Attribute::Service { uuid: found.uuid });
        for characteristic in &found.characteristics {
            let handle = take(2);
            let properties = characteristic.properties.clone();
            let sends =
                properties.contains(&Property::Notify) || properties.contains(&Property::Indicate);
            let uuid = characteristic.uuid;
            table.insert(
                handle,
                Attribute::Characteristic {
                    service,
                    uuid,
                    properties,
                },
            );
            if sends {
                table.insert(
                    take(1),
                    Attribute::Descriptor {
                        service,
                        characteristic: handle,
                        uuid: CONFIGURATION,
                    },
                );
            }
        }
    }
    table
}
