//! Items as bytes.

use cardio_core::clock::{ClockQuality, ClockReading};

use super::{
    ANSWER, ASKED_READ, ASKED_SUBSCRIBE, ASKED_WRITE, BODY_MAX, CLOCK, CLOSED, CONNECTED, CROWDED,
    CaptureEntry, CaptureError, CaptureEvent, CaptureHead, ENDED, HEAD, HEARD, MAGIC, SAID, VALUE,
};
use crate::gatt::{GattAction, Uuid};
use crate::smp_records::crc32;

impl CaptureHead {
    /// Appends the beginning of a log.
    ///
    /// # Errors
    /// [`CaptureError::TooLong`]; then nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CaptureError> {
        let mut body = vec![HEAD];
        body.extend(self.began.box_instant.micros.to_le_bytes());
        reading(&self.began, &mut body);
        body.extend(self.silent_after_ms.to_le_bytes());
        body.extend(self.resume_within_ms.to_le_bytes());
        text("the profile's name", &self.profile, &mut body)?;
        text("the writer's name", &self.writer, &mut body)?;
        let count = small("the list of leads", self.leads.len())?;
        body.push(count);
        for lead in &self.leads {
            text("a lead's label", lead, &mut body)?;
        }
        body.extend(self.rate_hz.unwrap_or(0).to_le_bytes());
        let mut whole = MAGIC.to_vec();
        item(&body, &mut whole)?;
        out.extend(whole);
        Ok(())
    }
}

impl CaptureEntry {
    /// Appends the entry to a log.
    ///
    /// # Errors
    /// [`CaptureError::TooLong`]; then nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CaptureError> {
        let mut body = vec![self.event.kind()];
        body.extend(self.at_us.to_le_bytes());
        match &self.event {
            CaptureEvent::Connected { via } => text("the way to the sensor", via, &mut body)?,
            CaptureEvent::Closed { code } => text("the code of a cause", code, &mut body)?,
            CaptureEvent::Heard(bytes) | CaptureEvent::Said(bytes) => body.extend(bytes),
            CaptureEvent::Value { from, value } | CaptureEvent::Answer { from, value } => {
                body.extend(uuid(*from));
                body.extend(value);
            }
            CaptureEvent::Asked(GattAction::Subscribe(to) | GattAction::Read(to)) => {
                body.extend(uuid(*to));
            }
            CaptureEvent::Asked(GattAction::Write {
                to,
                value,
                with_response,
            }) => {
                body.extend(uuid(*to));
                body.push(u8::from(*with_response));
                body.extend(value);
            }
            CaptureEvent::Crowded { values } => body.extend(values.to_le_bytes()),
            CaptureEvent::Clock(at) => reading(at, &mut body),
            CaptureEvent::Ended => {}
        }
        item(&body, out)
    }
}

impl CaptureEvent {
    const fn kind(&self) -> u8 {
        match self {
            Self::Connected { .. } => CONNECTED,
            Self::Closed { .. } => CLOSED,
            Self::Heard(_) => HEARD,
            Self::Said(_) => SAID,
            Self::Value { .. } => VALUE,
            Self::Answer { .. } => ANSWER,
            Self::Asked(GattAction::Subscribe(_)) => ASKED_SUBSCRIBE,
            Self::Asked(GattAction::Read(_)) => ASKED_READ,
            Self::Asked(GattAction::Write { .. }) => ASKED_WRITE,
            Self::Crowded { .. } => CROWDED,
            Self::Ended => ENDED,
            Self::Clock(_) => CLOCK,
        }
    }
}

/// A reading without its box time, which is the item's own.
fn reading(at: &ClockReading, body: &mut Vec<u8>) {
    body.extend(at.box_instant.boot.0);
    body.extend(at.utc.0.to_le_bytes());
    let error_us = match at.quality {
        ClockQuality::Unsynchronised => u64::MAX,
        ClockQuality::Synchronised { error_us } => error_us.min(u64::MAX - 1),
    };
    body.extend(error_us.to_le_bytes());
}

const fn uuid(uuid: Uuid) -> [u8; 16] {
    uuid.0.to_le_bytes()
}

fn small(field: &'static str, len: usize) -> Result<u8, CaptureError> {
    u8::try_from(len).map_err(|_| CaptureError::TooLong {
        field,
        len,
        max: usize::from(u8::MAX),
    })
}

fn text(field: &'static str, text: &str, body: &mut Vec<u8>) -> Result<(), CaptureError> {
    body.push(small(field, text.len())?);
    body.extend(text.as_bytes());
    Ok(())
}

fn item(body: &[u8], out: &mut Vec<u8>) -> Result<(), CaptureError> {
    let len = u16::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= BODY_MAX)
        .ok_or(CaptureError::TooLong {
            field: "an item",
            len: body.len(),
            max: BODY_MAX,
        })?
        .to_le_bytes();
    let checked = [&len, body].concat();
    out.extend(len);
    out.extend(crc32(&checked).to_le_bytes());
    out.extend(body);
    Ok(())
}
