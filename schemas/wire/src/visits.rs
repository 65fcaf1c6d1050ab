//! The visits of a day, as a box is told them.
//!
//! - A list is sealed to a key that one run of the box's program made and holds in memory only:
//!   nothing on the box's disk opens it, and a restart makes it unreadable.
//! - It travels in a command ([`crate::message::CommandAction::Visits`]), which is signed, numbered
//!   and for one box; the sealed bytes are bound to that box and that key as well.
//! - A list replaces the one before it as a whole.
//!
//! What is known of a patient here is wiped from memory when it is dropped; copies that the CBOR
//! library makes while it reads are freed, not wiped. Deliberately absent: which visits belong on
//! a list, and what a box does with them.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_core::request::RequestRef;
use cardio_core::subject::SubjectRef;
use hpke::Serializable;
use hpke::rand_core::CryptoRng;
use serde_cbor::Value;
use zeroize::Zeroizing;

use crate::cbor::{self, CborError, Field};
use crate::keys::{KeyId, RecipientPublicKey, RecipientSecretKey};
use crate::record::{read_request, read_subject};
use crate::sealing::{self, SystemRng, padded, without_padding};

/// The most visits on a list.
pub const VISITS_MAX: usize = 100;
/// Where a day begins and ends: the zone of the team.
pub const TIME_ZONE: &str = "Europe/Paris";
/// The longest text about a visit, in bytes.
pub const VISIT_TEXT_MAX_BYTES: usize = 200;

const INFO: &[u8] = b"ecg/1 visits";
const VERSION: u8 = 1;
/// A day, as `2026-01-31`.
const DAY_BYTES: usize = 10;

/// A text about a patient.
pub type PatientText = Zeroizing<String>;

/// One visit: an exam that somebody asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit {
    /// The request.
    pub request: RequestRef,
    /// The patient.
    pub subject: SubjectRef,
    /// What the patient is called.
    pub name: PatientText,
    /// When the patient was born, as the record writes it.
    pub born: Option<PatientText>,
    /// What is asked for.
    pub what: Option<PatientText>,
    /// From when it is due, if the request says so to the minute.
    pub from: Option<UtcMicros>,
    /// Until when.
    pub until: Option<UtcMicros>,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The visits of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitList {
    /// The day in the team's time zone, as `2026-01-31`.
    pub day: String,
    /// When the list was made, by the gateway's clock.
    pub issued: UtcMicros,
    /// When the day ends: nothing of the list is kept longer.
    pub until: UtcMicros,
    /// The visits, at most [`VISITS_MAX`].
    pub visits: Vec<Visit>,
    /// Visits of the day that found no place on the list.
    pub left_out: u64,
}

/// A list as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedVisits {
    /// The key that it is sealed to.
    pub recipient: KeyId,
    /// The encapsulated key.
    pub enc: [u8; 32],
    /// The sealed bytes.
    pub ct: Vec<u8>,
}

/// Why a list cannot be sealed or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VisitsError {
    /// The box's key is no point that a secret can be agreed with.
    #[error("cannot seal the visits: the box's key {recipient} is unusable")]
    Unusable {
        /// Which key.
        recipient: KeyId,
    },
    /// The system gave no random bytes.
    #[error("cannot seal the visits: the system gave no random bytes")]
    Randomness,
    /// Sealed to another key: that of an earlier run of the program, or of another box.
    #[error("the visits are sealed to the key {have}, not to {want}")]
    Recipient {
        /// The key that was given.
        want: KeyId,
        /// The key that the list names.
        have: KeyId,
    },
    /// The sealed bytes do not open: damaged, or sealed for another box.
    #[error("the visits do not open")]
    Sealed,
    /// A list of a later version.
    #[error("the visits have version {version}, which this version does not know")]
    Version {
        /// The number under key 0.
        version: u64,
    },
    /// Opened, but not a list of visits.
    #[error("cannot read the visits")]
    Unreadable(#[source] CborError),
}

impl VisitsError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => "visits.key",
            Self::Randomness => "visits.randomness",
            Self::Recipient { .. } => "visits.recipient",
            Self::Sealed => "visits.sealed",
            Self::Version { .. } => "visits.version",
            Self::Unreadable(_) => "visits.unreadable",
        }
    }
}

impl VisitList {
    /// The list's one encoding.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let visits = self.visits.iter().map(visit).collect();
        let map = cbor::map([
            (0, Some(Value::from(VERSION))),
            (1, Some(cbor::text(&self.day))),
            (2, Some(Value::from(self.issued.0))),
            (3, Some(Value::from(self.until.0))),
            (4, Some(Value::Array(visits))),
            (5, Some(Value::from(self.left_out))),
        ]);
        Zeroizing::new(cbor::encode(&map))
    }

    /// Reads a list. Total: every input gives a list within the limits or a [`VisitsError`].
    ///
    /// # Errors
    /// [`VisitsError`] says which field.
    pub fn decode(bytes: &[u8]) -> Result<Self, VisitsError> {
        let value = cbor::decode(bytes).map_err(VisitsError::Unreadable)?;
        let mut fields = Field::new("visits", value)
            .fields()
            .map_err(VisitsError::Unreadable)?;
        let version = fields.required(0, "version").and_then(|field| field.u64());
        let version = version.map_err(VisitsError::Unreadable)?;
        if version != u64::from(VERSION) {
            return Err(VisitsError::Version { version });
        }
        let mut read = || {
            let day = fields.required(1, "day")?;
            let issued = UtcMicros(fields.required(2, "issued")?.i64()?);
            let until = UtcMicros(fields.required(3, "until")?.i64()?);
            let visits = fields.required(4, "visits")?;
            let too_many = visits.wrong("at most 100 visits");
            let visits = visits.items()?.map("visit", read_visit)?;
            if visits.len() > VISITS_MAX {
                return Err(too_many);
            }
            Ok(Self {
                day: read_day(day)?,
                issued,
                until,
                visits,
                left_out: fields.required(5, "left out")?.u64()?,
            })
        };
        let list = read().map_err(VisitsError::Unreadable)?;
        fields.finish().map_err(VisitsError::Unreadable)?;
        Ok(list)
    }

    /// Seals the list to the key of one run of the program of `device`.
    ///
    /// # Errors
    /// [`VisitsError::Unusable`], [`VisitsError::Randomness`].
    pub fn seal(
        &self,
        device: BoxId,
        to: &RecipientPublicKey,
    ) -> Result<SealedVisits, VisitsError> {
        let mut rng = SystemRng::new();
        let sealed = self.seal_with(device, to, &mut rng);
        if rng.has_failed() {
            return Err(VisitsError::Randomness);
        }
        sealed
    }

    fn seal_with(
        &self,
        device: BoxId,
        to: &RecipientPublicKey,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedVisits, VisitsError> {
        let recipient = to.key_id();
        let unusable = VisitsError::Unusable { recipient };
        let (enc, mut context) = sealing::encapsulate(to, INFO, rng).ok_or(unusable.clone())?;
        let ct = context
            .seal(&padded(&self.encode()), &bound(device, recipient))
            .map_err(|_| unusable)?;
        let mut raw = [0; 32];
        enc.write_exact(&mut raw);
        Ok(SealedVisits {
            recipient,
            enc: raw,
            ct,
        })
    }
}

impl SealedVisits {
    /// Opens the list of `device` with the key that its program made when it started.
    ///
    /// # Errors
    /// [`VisitsError`] when it is sealed to another key or for another box, damaged, or not a
    /// list within the limits.
    pub fn open(
        &self,
        device: BoxId,
        secret: &RecipientSecretKey,
    ) -> Result<VisitList, VisitsError> {
        let (want, have) = (secret.key_id(), self.recipient);
        if want != have {
            return Err(VisitsError::Recipient { want, have });
        }
        let block = sealing::open(secret, INFO, &self.enc, &self.ct, &bound(device, have));
        let plaintext = block.and_then(without_padding).ok_or(VisitsError::Sealed)?;
        VisitList::decode(&plaintext)
    }
}

/// What the sealed bytes are bound to.
fn bound(device: BoxId, recipient: KeyId) -> Vec<u8> {
    cbor::encode(&Value::Array(vec![
        Value::from(VERSION),
        cbor::bytes(&device.0),
        cbor::bytes(&recipient.0),
    ]))
}

fn visit(visit: &Visit) -> Value {
    let optional = |text: &Option<PatientText>| text.as_ref().map(|text| cbor::text(text));
    cbor::map([
        (1, Some(cbor::text(visit.request.as_str()))),
        (2, Some(cbor::text(visit.subject.as_str()))),
        (3, Some(cbor::text(&visit.name))),
        (4, optional(&visit.born)),
        (5, optional(&visit.what)),
        (6, visit.from.map(|at| Value::from(at.0))),
        (7, visit.until.map(|at| Value::from(at.0))),
    ])
}

fn read_visit(field: Field) -> Result<Visit, CborError> {
    let mut fields = field.fields()?;
    let request = read_request(fields.required(1, "request")?)?;
    let subject = read_subject(fields.required(2, "subject")?)?;
    let name = read_text(fields.required(3, "name")?)?;
    let mut text = |key, name| fields.optional(key, name).map(read_text).transpose();
    let (born, what) = (text(4, "born")?, text(5, "what")?);
    let mut time = |key, name| {
        let at = fields.optional(key, name).map(|at| at.i64()).transpose()?;
        Ok::<_, CborError>(at.map(UtcMicros))
    };
    let (from, until) = (time(6, "from")?, time(7, "until")?);
    fields.finish()?;
    Ok(Visit {
        request,
        subject,
        name,
        born,
        what,
        from,
        until,
    })
}

fn read_text(field: Field) -> Result<PatientText, CborError> {
    let wrong = field.wrong("a text of at most 200 bytes");
    let text = Zeroizing::new(field.text()?);
    if text.len() > VISIT_TEXT_MAX_BYTES {
        return Err(wrong);
    }
    Ok(text)
}

fn read_day(field: Field) -> Result<String, CborError> {
    let wrong = field.wrong("a day such as 2026-01-31");
    let day = field.text()?;
    let fits = day.len() == DAY_BYTES && day.chars().all(|c| c.is_ascii_digit() || c == '-');
    fits.then_some(day).ok_or(wrong)
}

#[cfg(test)]
mod tests;
