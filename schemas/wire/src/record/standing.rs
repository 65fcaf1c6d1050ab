//! How the box and its sensors are at one moment, told now and then and when something changes.

use cardio_core::ids::{AcquisitionId, SourceId};
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Field, Fields, bytes, text};

/// How the box is. Its clock stands in the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxStatusV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// Seconds that capture can go on if nothing leaves the box; absent while nothing is
    /// captured and while it is not known yet.
    pub autonomy_s: Option<u64>,
    /// Charge of the box's own battery in percent, if it has one.
    pub battery_percent: Option<u8>,
    /// Its sensors.
    pub sources: Vec<SourceStatusV1>,
}

/// How a sensor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatusV1 {
    /// The sensor as the box's configuration calls it.
    pub source: SourceId,
    /// What it is recording, if it is.
    pub acquisition: Option<AcquisitionId>,
    /// Seconds since it last sent a frame; absent when it never did.
    pub silent_s: Option<u64>,
    /// Charge of its battery in percent, if it says so.
    pub battery_percent: Option<u8>,
}

impl Body for BoxStatusV1 {
    const KIND: u8 = 10;
    const NAME: &'static str = "box-status";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, self.autonomy_s.map(Value::from)),
            (5, self.battery_percent.map(Value::from)),
            (
                6,
                Some(Value::Array(self.sources.iter().map(source).collect())),
            ),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            autonomy_s: fields
                .optional(4, "autonomy")
                .map(|field| field.u64())
                .transpose()?,
            battery_percent: fields
                .optional(5, "battery")
                .map(|field| percent(&field))
                .transpose()?,
            sources: fields
                .required(6, "sources")?
                .items()?
                .map("source status", read_source)?,
        })
    }
}

fn source(of: &SourceStatusV1) -> Value {
    Value::Array(vec![
        text(of.source.as_str()),
        of.acquisition.map_or(Value::Null, |id| bytes(&id.0)),
        of.silent_s.map_or(Value::Null, Value::from),
        of.battery_percent.map_or(Value::Null, Value::from),
    ])
}

fn read_source(field: Field) -> Result<SourceStatusV1, CborError> {
    fn known<T>(
        field: Field,
        read: impl FnOnce(Field) -> Result<T, CborError>,
    ) -> Result<Option<T>, CborError> {
        (!field.is_null()).then(|| read(field)).transpose()
    }
    let mut items = field.items()?;
    let of = SourceStatusV1 {
        source: words::read_source(items.required("source")?)?,
        acquisition: known(items.required("acquisition")?, words::read_acquisition_id)?,
        silent_s: known(items.required("silence")?, |field| field.u64())?,
        battery_percent: known(items.required("battery")?, |field| percent(&field))?,
    };
    items.finish()?;
    Ok(of)
}

fn percent(field: &Field) -> Result<u8, CborError> {
    match field.u8()? {
        percent @ 0..=100 => Ok(percent),
        _ => Err(field.wrong("a percentage")),
    }
}
