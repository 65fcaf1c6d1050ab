//! Bytes between a sensor and the box, both directions, without IO.
//!
//! A profile is one kind of device: data that describes it, a [`decoder::Decoder`] and a
//! [`session::Session`] for the box, an [`decoder::Encoder`] and a [`session::Peripheral`]
//! for the simulator. Deliberately absent: ports, radios, clocks, files, and any opinion on
//! what the samples mean for a patient.
//!
//! | module | holds |
//! | --- | --- |
//! | [`decoder`] | frames, events and errors that every profile shares |
//! | [`session`] | the sans-IO state machines: box side and device side |
//! | [`profile`] | the list of known devices, by stable name |
//! | [`recognise`] | noticing a wrong speed, a silent device, or another device |
//! | [`serial`] | devices on a serial line |
//! | [`gatt`] | devices on Bluetooth Low Energy |
//! | [`kept`] | recordings that a device keeps: the conversation that fetches them |
//! | [`smp_records`] | recordings fetched over SMP, by radio or by wire |
//! | [`capture`] | the log of what passed between the box and a sensor |

pub mod capture;
pub mod decoder;
pub mod gatt;
pub mod kept;
pub mod profile;
pub mod recognise;
pub mod serial;
pub mod session;
pub mod smp_records;

mod fields;
