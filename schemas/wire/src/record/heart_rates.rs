//! What a heart-rate sensor told, as it told it.

use cardio_core::heart_rate::{RateStretch, SkinContact, ToldRate};
use cardio_core::index::{SampleCount, SampleIndex};
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Field, Fields, bytes};

/// Rates, intervals and contact of a stretch of time, as the sensor sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartRatesV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// What was told, placed in time.
    pub stretch: RateStretch,
}

impl Body for HeartRatesV1 {
    const KIND: u8 = 9;
    const NAME: &'static str = "heart-rates";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        let stretch = &self.stretch;
        vec![
            (4, Some(bytes(&stretch.acquisition.0))),
            (5, Some(Value::from(stretch.ordinal))),
            (6, Some(Value::from(stretch.first.0))),
            (7, Some(Value::from(stretch.len.0))),
            (8, Some(words::anchor(&stretch.anchor))),
            (
                9,
                Some(Value::Array(stretch.told.iter().map(told).collect())),
            ),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        let acquisition = words::read_acquisition_id(fields.required(4, "acquisition")?)?;
        let ordinal = fields.required(5, "ordinal")?.u64()?;
        let first = SampleIndex(fields.required(6, "first")?.u64()?);
        let len = SampleCount(fields.required(7, "length")?.u64()?);
        let anchor = words::read_anchor(fields.required(8, "anchor")?)?;
        let told = fields.required(9, "told")?;
        let wrong = told.wrong("rates in the order of time within the stretch");
        let told = told.items()?.map("told rate", read_told)?;
        let in_order = told.is_sorted_by_key(|(at, _)| at.0);
        if !in_order || told.last().is_some_and(|(at, _)| *at > len) {
            return Err(wrong);
        }
        Ok(Self {
            head,
            stretch: RateStretch {
                acquisition,
                ordinal,
                first,
                len,
                anchor,
                told,
            },
        })
    }
}

fn told((at, rate): &(SampleCount, ToldRate)) -> Value {
    Value::Array(vec![
        Value::from(at.0),
        Value::from(rate.bpm),
        match rate.contact {
            SkinContact::Unknown => Value::Null,
            SkinContact::Off => Value::Bool(false),
            SkinContact::On => Value::Bool(true),
        },
        Value::Array(rate.rr.iter().map(|rr| Value::from(*rr)).collect()),
    ])
}

fn read_told(field: Field) -> Result<(SampleCount, ToldRate), CborError> {
    let mut items = field.items()?;
    let at = SampleCount(items.required("told at")?.u64()?);
    let bpm = items.required("beats per minute")?.u16()?;
    let contact = items.required("contact")?;
    let contact = if contact.is_null() {
        SkinContact::Unknown
    } else if contact.bool()? {
        SkinContact::On
    } else {
        SkinContact::Off
    };
    let rr = items.required("intervals")?.items()?;
    let rr = rr.map("interval", |interval| interval.u16())?;
    items.finish()?;
    Ok((at, ToldRate { bpm, contact, rr }))
}
