//! From a stored frame to a record, or to the reason why not.

use cardio_core::clock::UtcMicros;
use cardio_wire::envelope;
use cardio_wire::intake::ChainKey;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::lane::FrameIdentity;
use cardio_wire::record::Record;
use zeroize::Zeroizing;

use crate::inbox::StoredFrame;
use crate::keys::GatewayKeys;

/// A record with the bytes that it was sealed as.
#[derive(Debug)]
pub(crate) struct OpenedRecord {
    pub(crate) record: Record,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Why a frame is not a record.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

/// A frame that filing has looked at.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) identity: FrameIdentity,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) received: UtcMicros,
    /// Whether it came in a frame of a newer chain.
    pub(crate) carried: bool,
    pub(crate) outcome: Result<OpenedRecord, Refused>,
}

/// Opens one frame.
pub(crate) fn open(
    of: ChainKey,
    frame: StoredFrame,
    key: Option<&VerifyingKey>,
    keys: &GatewayKeys,
) -> Opened {
    Opened {
        identity: of.frame(frame.seq),
        fingerprint: envelope::fingerprint(&frame.bytes),
        received: frame.received,
        carried: frame.carried,
        outcome: read(&frame.bytes, key, keys),
    }
}

fn read(
    bytes: &[u8],
    key: Option<&VerifyingKey>,
    keys: &GatewayKeys,
) -> Result<OpenedRecord, Refused> {
    let key = key.ok_or_else(|| Refused {
        code: "filing.box.unknown",
        why: "the box is not enrolled".to_owned(),
    })?;
    let sealed = envelope::verify(bytes, key).map_err(|error| Refused {
        code: error.code(),
        why: error.to_string(),
    })?;
    let recipient = keys
        .recipient(sealed.header.recipient)
        .map_err(|error| Refused {
            code: error.code(),
            why: error.to_string(),
        })?;
    let plain = envelope::open(&sealed, &recipient).map_err(|error| Refused {
        code: error.code(),
        why: error.to_string(),
    })?;
    match Record::decode(&plain) {
        Ok(record) => Ok(OpenedRecord {
            record,
            bytes: plain,
        }),
        Err(error) => Err(Refused {
            code: error.code(),
            why: error.to_string(),
        }),
    }
}
