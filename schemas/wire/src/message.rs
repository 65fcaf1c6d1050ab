//! What box and gateway say to each other about frames: hello, acknowledgement, command,
//! state. Each is a canonical CBOR map, signed for its own purpose (`schemas/cddl/message.cddl`).
//!
//! Deliberately absent: what either end does when it hears one of them.

use cardio_core::clock::{ClockReading, UtcMicros};
use cardio_core::ids::BoxId;
use serde_cbor::Value;

pub use crate::cose::SignedError;

use crate::cbor::{self, CborError, Field, Fields, Items};
use crate::cose::{self, Unchecked};
use crate::keys::{RecipientPublicKey, SigningKey, TrustedKeyIds, TrustedKeys, VerifyingKey};
use crate::lane::{ChainId, KeyId, Lane};
use crate::record::{clock_reading, read_clock_reading, read_lane};
use crate::visits::SealedVisits;

/// Why bytes are not the message that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not signed as the message must be.
    #[error("cannot accept the {message}")]
    Signed {
        /// Which message.
        message: &'static str,
        /// What is wrong.
        source: SignedError,
    },
    /// A field is wrong.
    #[error("cannot read the {message}")]
    Unreadable {
        /// Which message.
        message: &'static str,
        /// Which field, and what is wrong with it.
        source: CborError,
    },
    /// A message of a later version.
    #[error("the {message} has version {version}, which this version does not know")]
    Version {
        /// Which message.
        message: &'static str,
        /// The number under key 0.
        version: u64,
    },
}

impl MessageError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signed { source, .. } => source.code(),
            Self::Unreadable { .. } => "message.unreadable",
            Self::Version { .. } => "message.version",
        }
    }
}

/// What a box holds of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Which lane.
    pub lane: Lane,
    /// The life of its database.
    pub chain: ChainId,
    /// The oldest frame that the box still holds; `next` when it holds none.
    pub oldest: u64,
    /// The place of the next frame to be made.
    pub next: u64,
    /// Fingerprint of the frame before `next`; 32 zero bytes when there is none.
    pub head: [u8; 32],
    /// Everything up to here is acknowledged; 0 for nothing.
    pub acked: u64,
}

/// What a box says first on every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who speaks.
    pub device: BoxId,
    /// What it holds, lane by lane.
    pub lanes: Vec<LaneState>,
    /// The version of its program.
    pub agent_version: String,
    /// Its clocks.
    pub at: ClockReading,
    /// Bytes that it can still store.
    pub free_bytes: u64,
    /// Which keys of the gateway it has pinned; a gateway that has others says so.
    pub keys: TrustedKeyIds,
    /// When its certificate ends.
    pub certificate_until: UtcMicros,
    /// What it last heard of the gateway's clock, in the boot of `at`.
    pub heard: Option<HeardClock>,
    /// The key that the visits of the day may be sealed to: this run of the program holds its
    /// other half in memory, and nothing else does.
    pub visits_key: Option<RecipientPublicKey>,
}

/// A gateway's time in an acknowledgement, and when the box had read it. The acknowledgement
/// was under way in between, so the gateway's clock had passed `gateway_utc` at `micros`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardClock {
    /// [`Ack::gateway_utc`].
    pub gateway_utc: UtcMicros,
    /// When it was read, in microseconds since the box's boot.
    pub micros: u64,
}

/// The gateway holds everything of a lane up to a place, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Whose frames.
    pub device: BoxId,
    /// Which lane.
    pub lane: Lane,
    /// The life of its database.
    pub chain: ChainId,
    /// The last place without holes before it; 0 for nothing.
    pub upto: u64,
    /// Fingerprint of the frame at `upto`; 32 zero bytes when it is 0.
    pub head: [u8; 32],
    /// The gateway's wall clock.
    pub gateway_utc: UtcMicros,
    /// The box's own clock from its latest hello, in microseconds since its boot.
    pub echo_us: Option<u64>,
    /// Rises with every acknowledgement to the same box, so that an older one is known.
    pub counter: u64,
    /// What the gateway holds of the chain that does not fit what the box sent.
    pub other: Option<OtherHistory>,
}

/// What a gateway holds of a chain beside what a box sends of it. A box that made something
/// else, or nothing, at that place has lost what it once had stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherHistory {
    /// A frame of the chain, signed by the box.
    Frame {
        /// Its place in the chain.
        seq: u64,
        /// Its fingerprint; 32 zero bytes when the box itself said that it had been made and
        /// is gone.
        fingerprint: [u8; 32],
    },
    /// The box's own signed word that the chain has ended.
    Ended,
}

/// What the gateway asks a box to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandAction {
    /// Send frames of a chain again, from a place on: the gateway lost them.
    Resend {
        /// Which lane.
        lane: Lane,
        /// The life of its database.
        chain: ChainId,
        /// From which place.
        from_seq: u64,
    },
    /// Pin these keys of the gateway from now on, and no others.
    Rotate(TrustedKeys),
    /// Stop sending until the next connection.
    Pause,
    /// Wipe the keys and stop: the box is no longer trusted.
    Revoke,
    /// These are the visits of the day now, and no others.
    Visits(SealedVisits),
}

/// A command to one box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// To whom.
    pub device: BoxId,
    /// Rises with every command to the same box, so that a repeated one is known.
    pub number: u64,
    /// After this it must not be carried out.
    pub expires: UtcMicros,
    /// What to do.
    pub action: CommandAction,
}

/// Whether a box is connected. The box leaves the offline one as its will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Who speaks.
    pub device: BoxId,
    /// Whether it is connected.
    pub online: bool,
    /// When the connection was made, by the box's clocks.
    pub at: ClockReading,
}

/// How a message becomes signed bytes and back.
trait Message: Sized {
    const NAME: &'static str;
    const PURPOSE: &'static [u8];

    /// The fields from key 1 on.
    fn fields(&self) -> Vec<(u8, Option<Value>)>;
    /// Takes its fields out of the map.
    fn take(fields: &mut Fields) -> Result<Self, CborError>;

    fn sign_as(&self, key: &SigningKey) -> Vec<u8> {
        let version = [(0, Some(Value::from(1_u8)))];
        let map = cbor::map(version.into_iter().chain(self.fields()));
        cose::sign(cbor::encode(&map), Self::PURPOSE, key)
    }

    fn verify_as(bytes: &[u8], keys: &[VerifyingKey]) -> Result<Self, MessageError> {
        let message = Self::NAME;
        let payload = Unchecked::parse(bytes)
            .and_then(|unchecked| {
                let named = keys.iter().find(|key| key.key_id() == unchecked.signer());
                let key = named.or(keys.first()).ok_or(SignedError::Signature)?;
                unchecked.verify(Self::PURPOSE, key)
            })
            .map_err(|source| MessageError::Signed { message, source })?;
        let unreadable = |source| MessageError::Unreadable { message, source };
        let value = cbor::decode(&payload).map_err(unreadable)?;
        let mut fields = Field::new(message, value).fields().map_err(unreadable)?;
        let version = fields.required(0, "version").and_then(|field| field.u64());
        let version = version.map_err(unreadable)?;
        if version != 1 {
            return Err(MessageError::Version { message, version });
        }
        let body = Self::take(&mut fields).map_err(unreadable)?;
        fields.finish().map_err(unreadable)?;
        Ok(body)
    }
}

macro_rules! signed_message {
    ($($message:ident),*) => {$(
        impl $message {
            /// The one encoding, signed for this kind of message only.
            pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
                self.sign_as(key)
            }

            /// Checks the signature, then reads.
            ///
            /// # Errors
            /// [`MessageError`] when the bytes are not this message signed with `key`.
            pub fn verify(bytes: &[u8], key: &VerifyingKey) -> Result<Self, MessageError> {
                Self::verify_as(bytes, std::slice::from_ref(key))
            }

            /// As [`Self::verify`], for a signer who may use any of `keys`.
            ///
            /// # Errors
            /// [`MessageError`] when the bytes are not this message signed with one of them.
            pub fn verify_by_any(
                bytes: &[u8],
                keys: &[VerifyingKey],
            ) -> Result<Self, MessageError> {
                Self::verify_as(bytes, keys)
            }
        }
    )*};
}
signed_message!(Hello, Ack, Command, State);

fn lane_state(state: &LaneState) -> Value {
    Value::Array(vec![
        Value::from(state.lane.number()),
        cbor::bytes(&state.chain.0),
        Value::from(state.oldest),
        Value::from(state.next),
        cbor::bytes(&state.head),
        Value::from(state.acked),
    ])
}

fn read_lane_state(field: Field) -> Result<LaneState, CborError> {
    let mut items = field.items()?;
    let state = LaneState {
        lane: read_lane(&items.required("lane")?)?,
        chain: read_chain(items.required("chain")?)?,
        oldest: items.required("oldest")?.u64()?,
        next: items.required("next")?.u64()?,
        head: items.required("head")?.array("32 bytes")?,
        acked: items.required("acked")?.u64()?,
    };
    items.finish()?;
    Ok(state)
}

fn key_ids(ids: &TrustedKeyIds) -> Value {
    let ids = [ids.recipient, ids.control, ids.control_next];
    Value::Array(ids.iter().map(|id| cbor::bytes(&id.0)).collect())
}

fn read_key_ids(field: Field) -> Result<TrustedKeyIds, CborError> {
    let mut items = field.items()?;
    let mut id = |name| {
        let field: Field = items.required(name)?;
        field.array("a key id of 8 bytes").map(KeyId)
    };
    let ids = TrustedKeyIds {
        recipient: id("recipient key id")?,
        control: id("control key id")?,
        control_next: id("next control key id")?,
    };
    items.finish()?;
    Ok(ids)
}

fn read_key(items: &mut Items, name: &'static str) -> Result<[u8; 32], CborError> {
    items.required(name)?.array("a public key of 32 bytes")
}

fn heard_clock(heard: HeardClock) -> Value {
    Value::Array(vec![
        Value::from(heard.gateway_utc.0),
        Value::from(heard.micros),
    ])
}

fn read_heard_clock(field: Field) -> Result<HeardClock, CborError> {
    let mut items = field.items()?;
    let heard = HeardClock {
        gateway_utc: UtcMicros(items.required("gateway utc")?.i64()?),
        micros: items.required("micros")?.u64()?,
    };
    items.finish()?;
    Ok(heard)
}

fn other_history(other: OtherHistory) -> Value {
    Value::Array(match other {
        OtherHistory::Frame { seq, fingerprint } => {
            vec![Value::from(seq), cbor::bytes(&fingerprint)]
        }
        OtherHistory::Ended => Vec::new(),
    })
}

fn read_other_history(field: Field) -> Result<OtherHistory, CborError> {
    let mut items = field.items()?;
    let other = match items.optional("seq") {
        None => OtherHistory::Ended,
        Some(seq) => OtherHistory::Frame {
            seq: seq.u64()?,
            fingerprint: items.required("fingerprint")?.array("32 bytes")?,
        },
    };
    items.finish()?;
    Ok(other)
}

fn read_chain(field: Field) -> Result<ChainId, CborError> {
    field.array("a chain of 8 bytes").map(ChainId)
}

fn read_device(fields: &mut Fields) -> Result<BoxId, CborError> {
    let device = fields.required(1, "device")?;
    device.array("a box id of 16 bytes").map(BoxId)
}

impl Message for Hello {
    const NAME: &'static str = "hello";
    const PURPOSE: &'static [u8] = b"ecg/1 hello";

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        let lanes = self.lanes.iter().map(lane_state).collect();
        vec![
            (1, Some(cbor::bytes(&self.device.0))),
            (2, Some(Value::Array(lanes))),
            (3, Some(cbor::text(&self.agent_version))),
            (4, Some(clock_reading(&self.at))),
            (5, Some(Value::from(self.free_bytes))),
            (6, Some(key_ids(&self.keys))),
            (7, Some(Value::from(self.certificate_until.0))),
            (8, self.heard.map(heard_clock)),
            (9, self.visits_key.map(|key| cbor::bytes(&key.0))),
        ]
    }

    fn take(fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            device: read_device(fields)?,
            lanes: fields
                .required(2, "lanes")?
                .items()?
                .map("lane state", read_lane_state)?,
            agent_version: fields.required(3, "agent version")?.text()?,
            at: read_clock_reading(fields.required(4, "at")?)?,
            free_bytes: fields.required(5, "free bytes")?.u64()?,
            keys: read_key_ids(fields.required(6, "keys")?)?,
            certificate_until: UtcMicros(fields.required(7, "certificate until")?.i64()?),
            heard: fields
                .optional(8, "heard")
                .map(read_heard_clock)
                .transpose()?,
            visits_key: fields
                .optional(9, "visits key")
                .map(|field| field.array("a public key of 32 bytes"))
                .transpose()?
                .map(RecipientPublicKey),
        })
    }
}

impl Message for Ack {
    const NAME: &'static str = "ack";
    const PURPOSE: &'static [u8] = b"ecg/1 ack";

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (1, Some(cbor::bytes(&self.device.0))),
            (2, Some(Value::from(self.lane.number()))),
            (3, Some(cbor::bytes(&self.chain.0))),
            (4, Some(Value::from(self.upto))),
            (5, Some(cbor::bytes(&self.head))),
            (6, Some(Value::from(self.gateway_utc.0))),
            (7, self.echo_us.map(Value::from)),
            (8, Some(Value::from(self.counter))),
            (9, self.other.map(other_history)),
        ]
    }

    fn take(fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            device: read_device(fields)?,
            lane: read_lane(&fields.required(2, "lane")?)?,
            chain: read_chain(fields.required(3, "chain")?)?,
            upto: fields.required(4, "upto")?.u64()?,
            head: fields.required(5, "head")?.array("32 bytes")?,
            gateway_utc: UtcMicros(fields.required(6, "gateway utc")?.i64()?),
            echo_us: fields.optional(7, "echo").map(|f| f.u64()).transpose()?,
            counter: fields.required(8, "counter")?.u64()?,
            other: fields
                .optional(9, "other")
                .map(read_other_history)
                .transpose()?,
        })
    }
}

impl Message for Command {
    const NAME: &'static str = "command";
    const PURPOSE: &'static [u8] = b"ecg/1 cmd";

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        let action = match &self.action {
            CommandAction::Resend {
                lane,
                chain,
                from_seq,
            } => vec![
                Value::from(1_u8),
                Value::from(lane.number()),
                cbor::bytes(&chain.0),
                Value::from(*from_seq),
            ],
            CommandAction::Rotate(keys) => vec![
                Value::from(2_u8),
                cbor::bytes(&keys.recipient.0),
                cbor::bytes(&keys.control.0),
                cbor::bytes(&keys.control_next.0),
            ],
            CommandAction::Pause => vec![Value::from(4_u8)],
            CommandAction::Revoke => vec![Value::from(5_u8)],
            CommandAction::Visits(sealed) => vec![
                Value::from(6_u8),
                cbor::bytes(&sealed.recipient.0),
                cbor::bytes(&sealed.enc),
                cbor::bytes(&sealed.ct),
            ],
        };
        vec![
            (1, Some(cbor::bytes(&self.device.0))),
            (2, Some(Value::from(self.number))),
            (3, Some(Value::from(self.expires.0))),
            (4, Some(Value::Array(action))),
        ]
    }

    fn take(fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            device: read_device(fields)?,
            number: fields.required(2, "number")?.u64()?,
            expires: UtcMicros(fields.required(3, "expires")?.i64()?),
            action: read_action(fields.required(4, "action")?)?,
        })
    }
}

fn read_action(field: Field) -> Result<CommandAction, CborError> {
    let mut items = field.items()?;
    let code = items.required("action code")?;
    let action = match code.u8()? {
        1 => CommandAction::Resend {
            lane: read_lane(&items.required("lane")?)?,
            chain: read_chain(items.required("chain")?)?,
            from_seq: items.required("from seq")?.u64()?,
        },
        2 => CommandAction::Rotate(TrustedKeys {
            recipient: RecipientPublicKey(read_key(&mut items, "recipient key")?),
            control: VerifyingKey(read_key(&mut items, "control key")?),
            control_next: VerifyingKey(read_key(&mut items, "next control key")?),
        }),
        4 => CommandAction::Pause,
        5 => CommandAction::Revoke,
        6 => CommandAction::Visits(SealedVisits {
            recipient: KeyId(items.required("recipient")?.array("a key id of 8 bytes")?),
            enc: items.required("enc")?.array("32 bytes")?,
            ct: items.required("ct")?.bytes()?,
        }),
        _ => return Err(code.wrong("one of the actions 1, 2, 4, 5 and 6")),
    };
    items.finish()?;
    Ok(action)
}

impl Message for State {
    const NAME: &'static str = "state";
    const PURPOSE: &'static [u8] = b"ecg/1 state";

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (1, Some(cbor::bytes(&self.device.0))),
            (2, Some(Value::from(self.online))),
            (3, Some(clock_reading(&self.at))),
        ]
    }

    fn take(fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            device: read_device(fields)?,
            online: fields.required(2, "online")?.bool()?,
            at: read_clock_reading(fields.required(3, "at")?)?,
        })
    }
}

#[cfg(test)]
mod tests;
