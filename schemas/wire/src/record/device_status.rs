//! How a sensor is, beside what it measures.

use cardio_core::ids::{AcquisitionId, SourceId};
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Fields, bytes, text};

/// What a sensor said of itself at one time. Told when it becomes known and when it changes.
///
/// It belongs to the acquisition and stands in its original; how the box sees all of its sensors
/// at one moment is [`super::BoxStatusV1`], which the rules are shown.
///
/// A kind of its own and not a later version of the start of an acquisition: a charge changes while
/// the acquisition runs, and a reader that does not know this kind still reads all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatusV1 {
    /// What every record starts with; its time is when the sensor said it.
    pub head: RecordHead,
    /// The sensor.
    pub source: SourceId,
    /// The acquisition that runs.
    pub acquisition: AcquisitionId,
    /// Charge of its battery, from 0 to 100 per cent.
    pub battery_percent: u8,
}

impl Body for DeviceStatusV1 {
    const KIND: u8 = 11;
    const NAME: &'static str = "device-status";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, Some(bytes(&self.acquisition.0))),
            (5, Some(text(self.source.as_str()))),
            (6, Some(Value::from(self.battery_percent))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        let acquisition = words::read_acquisition_id(fields.required(4, "acquisition")?)?;
        let source = words::read_source(fields.required(5, "source")?)?;
        let battery = fields.required(6, "battery")?;
        let battery_percent = battery.u8()?;
        if battery_percent > 100 {
            return Err(battery.wrong("a charge from 0 to 100"));
        }
        Ok(Self {
            head,
            source,
            acquisition,
            battery_percent,
        })
    }
}
