//! What the sensor notifies.

use crate::decoder::DecodeError;
use crate::fields::Fields;

use super::command::texts;

/// Who a sensor is, as it answers to hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Version of the protocol.
    pub protocol: u8,
    /// Serial number.
    pub serial: String,
    /// Product.
    pub product: String,
    /// Application.
    pub app: String,
    /// Its version.
    pub version: String,
}

/// One notification, without its reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Answer to a command: status like that of HTTP, and data.
    Answer {
        /// 200 ok, 404 none, 503 cannot now, and so on.
        status: u16,
        /// Data, as sent.
        data: Vec<u8>,
    },
    /// Data of a subscription or a recording.
    Data(Vec<u8>),
    /// The rest of a body that did not fit.
    More(Vec<u8>),
}

impl Notice {
    /// Reads a notification: reference and notice.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(value: &[u8]) -> Result<(u8, Self), DecodeError> {
        let mut fields = Fields::new(value);
        let kind = fields.u8("kind")?;
        let reference = fields.u8("reference")?;
        let notice = match kind {
            1 => Self::Answer {
                status: fields.u16("status")?,
                data: fields.rest().to_vec(),
            },
            2 => Self::Data(fields.rest().to_vec()),
            3 => Self::More(fields.rest().to_vec()),
            found => return Err(DecodeError::Kind { offset: 0, found }),
        };
        Ok((reference, notice))
    }

    /// The bytes of the notification.
    pub fn encode(&self, reference: u8) -> Vec<u8> {
        match self {
            Self::Answer { status, data } => {
                [&[1, reference][..], &status.to_le_bytes(), data].concat()
            }
            Self::Data(body) => [&[2, reference][..], body].concat(),
            Self::More(body) => [&[3, reference][..], body].concat(),
        }
    }
}

impl Identity {
    /// Reads the answer to hello, which has no status: version, then five texts.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(value: &[u8]) -> Result<(u8, Self), DecodeError> {
        let mut fields = Fields::new(value);
        let kind = fields.u8("kind")?;
        if kind != 1 {
            return Err(DecodeError::Kind {
                offset: 0,
                found: kind,
            });
        }
        let reference = fields.u8("reference")?;
        let protocol = fields.u8("protocol version")?;
        let mut given = texts(fields.rest()).into_iter();
        let mut next = || given.next().unwrap_or_default();
        let (serial, product, _dfu, app, version) = (next(), next(), next(), next(), next());
        let identity = Self {
            protocol,
            serial,
            product,
            app,
            version,
        };
        Ok((reference, identity))
    }

    /// The bytes of the answer.
    pub fn encode(&self, reference: u8) -> Vec<u8> {
        let mut out = vec![1, reference, self.protocol];
        let dfu = "00:00:00:00:00:00";
        for text in [&self.serial, &self.product, dfu, &self.app, &self.version] {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Notice};
    use proptest::prelude::*;

    #[test]
    fn the_answer_to_hello_has_texts_and_no_status() {
        let identity = Identity {
            protocol: 1,
            serial: "000000000001".to_owned(),
            product: "Movesense".to_owned(),
            app: "GATT SensorData".to_owned(),
            version: "2.3.1".to_owned(),
        };
        let bytes = identity.encode(5);
        assert_eq!(bytes[..4], [1, 5, 1, b'0']);
        assert_eq!(Identity::decode(&bytes).unwrap(), (5, identity));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_any_bytes_are_read_or_refused(reference: u8, status: u16, data in proptest::collection::vec(any::<u8>(), 0..60)) {
            for notice in [Notice::Answer { status, data: data.clone() }, Notice::Data(data.clone()), Notice::More(data.clone())] {
                prop_assert_eq!(Notice::decode(&notice.encode(reference)).unwrap(), (reference, notice));
            }
            let _ = Notice::decode(&data);
            let _ = Identity::decode(&data);
        }
    }
}
