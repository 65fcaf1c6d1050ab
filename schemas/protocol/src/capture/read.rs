//! Bytes as items.

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;

use super::{
    ANSWER, ASKED_READ, ASKED_SUBSCRIBE, ASKED_WRITE, BODY_MAX, CLOCK, CLOSED, CONNECTED, CROWDED,
    CaptureEntry, CaptureError, CaptureEvent, CaptureHead, CaptureItem, ENDED, FRAMING, HEAD,
    HEARD, MAGIC, SAID, VALUE, VERSION_1,
};
use crate::decoder::DecodeError;
use crate::fields::Fields;
use crate::gatt::{GattAction, Uuid};
use crate::smp_records::crc32;

/// Reads a log that arrives in pieces of any size. It holds what was pushed and is not read yet,
/// so read until there is nothing before pushing more.
#[derive(Debug, Default)]
pub struct CaptureReader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are read.
    read: usize,
    /// Place in the log of the first byte that is not read.
    offset: u64,
    has_head: bool,
    /// The log is of the first version.
    is_first: bool,
    /// Why nothing more can be read.
    over: Option<CaptureError>,
}

impl CaptureReader {
    /// A reader at the beginning of a log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more of the log.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.over.is_none() {
            self.buffer.drain(..self.read);
            self.read = 0;
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next item; `None` while more of the log is needed.
    ///
    /// # Errors
    /// [`CaptureError`], from then on always the same: nothing behind it can be believed.
    pub fn next_item(&mut self) -> Result<Option<CaptureItem>, CaptureError> {
        if let Some(err) = self.over {
            return Err(err);
        }
        let item = self.take_item();
        if let Err(err) = item {
            self.over = Some(err);
        }
        item
    }

    /// The log has ended.
    ///
    /// # Errors
    /// [`CaptureError`] when an item, or the head, is not whole.
    pub fn finish(&self) -> Result<(), CaptureError> {
        match self.over {
            Some(err) => Err(err),
            None if !self.has_head && self.rest().len() < MAGIC.len() && self.offset == 0 => {
                Err(CaptureError::NotACapture)
            }
            None if !self.has_head || !self.rest().is_empty() => Err(CaptureError::Cut {
                offset: self.offset,
            }),
            None => Ok(()),
        }
    }

    /// Place in the log of the first byte that is not read.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(bytes);
    }

    fn take_item(&mut self) -> Result<Option<CaptureItem>, CaptureError> {
        if self.offset == 0 && !self.take_magic()? {
            return Ok(None);
        }
        let offset = self.offset;
        let Some((len, rest)) = self.rest().split_first_chunk::<2>() else {
            return Ok(None);
        };
        let body_len = usize::from(u16::from_le_bytes(*len));
        if body_len > BODY_MAX {
            return Err(CaptureError::Damaged { offset });
        }
        let Some((crc, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some(body) = rest.get(..body_len) else {
            return Ok(None);
        };
        let checked = [len.as_slice(), body].concat();
        if crc32(&checked) != u32::from_le_bytes(*crc) {
            return Err(CaptureError::Damaged { offset });
        }
        let item =
            item(body, self.is_first).map_err(|field| CaptureError::Malformed { offset, field })?;
        if matches!(item, CaptureItem::Head(_)) == self.has_head {
            let field = "place";
            return Err(CaptureError::Malformed { offset, field });
        }
        self.has_head = true;
        self.advance(FRAMING + body_len);
        Ok(Some(item))
    }

    fn take_magic(&mut self) -> Result<bool, CaptureError> {
        let [word @ .., version] = MAGIC;
        let Some((found, [found_version, ..])) = self.rest().split_at_checked(word.len()) else {
            let differs = self.rest().iter().zip(&word).any(|(a, b)| a != b);
            return if differs {
                Err(CaptureError::NotACapture)
            } else {
                Ok(false)
            };
        };
        if found != word {
            return Err(CaptureError::NotACapture);
        }
        let found = *found_version;
        if found != version && found != VERSION_1 {
            return Err(CaptureError::Version { found });
        }
        self.is_first = found == VERSION_1;
        self.advance(MAGIC.len());
        Ok(true)
    }
}

/// The item of a body, or the name of the field that is wrong.
fn item(body: &[u8], is_first: bool) -> Result<CaptureItem, &'static str> {
    let mut fields = Fields::new(body);
    let kind = fields.u8("kind").map_err(field_of)?;
    let at_us = fields.u64("time").map_err(field_of)?;
    let item = match kind {
        HEAD => CaptureItem::Head(head(at_us, &mut fields, is_first)?),
        CLOCK if is_first => return Err("kind"),
        _ => CaptureItem::Entry(CaptureEntry {
            at_us,
            event: event(kind, at_us, &mut fields)?,
        }),
    };
    fields.end().map_err(|_| "end")?;
    Ok(item)
}

const fn field_of(err: DecodeError) -> &'static str {
    match err {
        DecodeError::Truncated { field, .. } => field,
        _ => "form",
    }
}

fn reading(at_us: u64, fields: &mut Fields<'_>) -> Result<ClockReading, &'static str> {
    let boot = *fields
        .take("boot", 16)
        .map_err(field_of)?
        .first_chunk()
        .ok_or("boot")?;
    let utc = fields.u64("wall time").map_err(field_of)?.cast_signed();
    let quality = match fields.u64("clock quality").map_err(field_of)? {
        u64::MAX => ClockQuality::Unsynchronised,
        error_us => ClockQuality::Synchronised { error_us },
    };
    Ok(ClockReading {
        box_instant: BoxInstant {
            boot: BootId(boot),
            micros: at_us,
        },
        utc: UtcMicros(utc),
        quality,
    })
}

fn head(at_us: u64, fields: &mut Fields<'_>, is_first: bool) -> Result<CaptureHead, &'static str> {
    let began = reading(at_us, fields)?;
    let silent_after_ms = fields.u32("silence").map_err(field_of)?;
    let resume_within_ms = fields.u32("absence").map_err(field_of)?;
    let profile = text("profile", fields)?;
    let writer = text("writer", fields)?;
    let count = fields.u8("leads").map_err(field_of)?;
    let leads = (0..count).map(|_| text("lead", fields));
    let leads = leads.collect::<Result<_, _>>()?;
    let rate_hz = match is_first {
        true => None,
        false => Some(fields.u32("rate").map_err(field_of)?).filter(|rate| *rate > 0),
    };
    Ok(CaptureHead {
        leads,
        rate_hz,
        began,
        profile,
        writer,
        silent_after_ms,
        resume_within_ms,
    })
}

fn event(kind: u8, at_us: u64, fields: &mut Fields<'_>) -> Result<CaptureEvent, &'static str> {
    Ok(match kind {
        CLOCK => CaptureEvent::Clock(reading(at_us, fields)?),
        CONNECTED => CaptureEvent::Connected {
            via: text("way", fields)?,
        },
        CLOSED => CaptureEvent::Closed {
            code: text("cause", fields)?,
        },
        HEARD => CaptureEvent::Heard(fields.rest().to_vec()),
        SAID => CaptureEvent::Said(fields.rest().to_vec()),
        VALUE => CaptureEvent::Value {
            from: uuid(fields)?,
            value: fields.rest().to_vec(),
        },
        ANSWER => CaptureEvent::Answer {
            from: uuid(fields)?,
            value: fields.rest().to_vec(),
        },
        ASKED_SUBSCRIBE => CaptureEvent::Asked(GattAction::Subscribe(uuid(fields)?)),
        ASKED_READ => CaptureEvent::Asked(GattAction::Read(uuid(fields)?)),
        ASKED_WRITE => CaptureEvent::Asked(GattAction::Write {
            to: uuid(fields)?,
            with_response: match fields.u8("confirmation").map_err(field_of)? {
                0 => false,
                1 => true,
                _ => return Err("confirmation"),
            },
            value: fields.rest().to_vec(),
        }),
        CROWDED => CaptureEvent::Crowded {
            values: fields.u64("count").map_err(field_of)?,
        },
        ENDED => CaptureEvent::Ended,
        _ => return Err("kind"),
    })
}

fn uuid(fields: &mut Fields<'_>) -> Result<Uuid, &'static str> {
    let bytes = fields.take("characteristic", 16).map_err(field_of)?;
    let bytes = bytes.first_chunk().ok_or("characteristic")?;
    Ok(Uuid(u128::from_le_bytes(*bytes)))
}

fn text(field: &'static str, fields: &mut Fields<'_>) -> Result<String, &'static str> {
    let len = usize::from(fields.u8(field).map_err(field_of)?);
    let bytes = fields.take(field, len).map_err(field_of)?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| field)
}
