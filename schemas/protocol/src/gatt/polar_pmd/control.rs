//! Control point: commands, responses, and what the strap says by itself.

use crate::decoder::DecodeError;
use crate::fields::Fields;

use super::ECG;

/// First byte of a response.
const RESPONSE: u8 = 0xF0;
/// First byte of the feature list that a read gives.
const FEATURES: u8 = 0x0F;
/// Ask which settings a measurement has.
pub(crate) const GET_SETTINGS: u8 = 0x01;
/// Start a measurement.
pub(crate) const START: u8 = 0x02;
/// Stop a measurement.
pub(crate) const STOP: u8 = 0x03;
/// Ask which measurements run.
pub(crate) const GET_STATUS: u8 = 0x05;
/// A message of the strap: it has stopped measurements by itself.
const STOPPED_BY_DEVICE: u8 = 0x01;

/// Bytes of one value of each kind of setting; kind 5 is a float, kind 6 a secret.
const fn setting_width(kind: u8) -> Option<usize> {
    match kind {
        0..=2 => Some(2),
        3 | 5 => Some(4),
        4 => Some(1),
        6 => Some(16),
        _ => None,
    }
}

/// What a strap can measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// One bit per measurement type.
    pub measurements: u8,
    /// Further bits.
    pub more: u8,
}

impl Features {
    /// Reads the value of the control point.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no feature list.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(value);
        let first = fields.u8("feature mark")?;
        if first != FEATURES {
            return Err(DecodeError::Value {
                field: "feature mark",
                offset: 0,
                found: u64::from(first),
            });
        }
        Ok(Self {
            measurements: fields.u8("measurements")?,
            more: fields.u8("more features").unwrap_or(0),
        })
    }

    /// Whether the strap can measure an ECG.
    pub const fn has_ecg(self) -> bool {
        self.measurements & 1 != 0
    }
}

/// One setting of a measurement, with the values that it can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Kind: 0 sample rate, 1 resolution, 2 range, and so on.
    pub kind: u8,
    /// Bytes of all values, as sent.
    pub values: Vec<u8>,
}

impl Setting {
    /// A setting of one value of sixteen bits.
    pub fn one(kind: u8, value: u16) -> Self {
        Self {
            kind,
            values: value.to_le_bytes().to_vec(),
        }
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut fields = Fields::new(bytes);
        let mut settings = Vec::new();
        while fields.left() > 0 {
            let offset = fields.offset();
            let kind = fields.u8("setting type")?;
            let count = usize::from(fields.u8("setting count")?);
            let width = setting_width(kind).ok_or(DecodeError::Kind {
                offset,
                found: kind,
            })?;
            let values = fields.take("setting values", count * width)?.to_vec();
            settings.push(Self { kind, values });
        }
        Ok(settings)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let width = setting_width(self.kind).unwrap_or(1);
        let count = u8::try_from(self.values.len() / width).unwrap_or(u8::MAX);
        out.extend_from_slice(&[self.kind, count]);
        out.extend_from_slice(&self.values);
    }
}

/// Outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// Done.
    pub const OK: Self = Self(0);
    /// The measurement runs already, as after an ungraceful disconnect.
    pub const ALREADY: Self = Self(6);
    /// The MTU is too small for a frame.
    pub const BAD_MTU: Self = Self(10);
}

/// A response to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The command that is answered.
    pub op: u8,
    /// The measurement.
    pub measurement: u8,
    /// Outcome.
    pub status: Status,
    /// Whether another part follows.
    pub more: bool,
    /// Parameters, as sent.
    pub parameters: Vec<u8>,
}

impl Response {
    /// The parameters as settings.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset within the parameters.
    pub fn settings(&self) -> Result<Vec<Setting>, DecodeError> {
        Setting::read_all(&self.parameters)
    }
}

/// What the control point indicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    /// An answer.
    Response(Response),
    /// The strap has stopped these measurements by itself.
    Stopped(Vec<u8>),
}

impl ControlMessage {
    /// Reads an indication.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(value);
        match fields.u8("message")? {
            RESPONSE => {
                let op = fields.u8("op code")?;
                let measurement = fields.u8("measurement type")?;
                let status = Status(fields.u8("status")?);
                let more = fields.left() > 0 && fields.u8("more")? != 0;
                let parameters = fields.rest().to_vec();
                Ok(Self::Response(Response {
                    op,
                    measurement,
                    status,
                    more,
                    parameters,
                }))
            }
            STOPPED_BY_DEVICE => Ok(Self::Stopped(fields.rest().to_vec())),
            found => Err(DecodeError::Kind { offset: 0, found }),
        }
    }

    /// The bytes of the indication.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Response(answer) => {
                let head = [
                    RESPONSE,
                    answer.op,
                    answer.measurement,
                    answer.status.0,
                    u8::from(answer.more),
                ];
                [&head[..], &answer.parameters].concat()
            }
            Self::Stopped(types) => [&[STOPPED_BY_DEVICE][..], types].concat(),
        }
    }
}

/// The command that starts the ECG: 130 Hz, 14 bit.
pub(crate) fn start_ecg() -> Vec<u8> {
    let mut bytes = vec![START, ECG];
    for setting in ecg_settings() {
        setting.write(&mut bytes);
    }
    bytes
}

/// The settings of the ECG, the only ones that the strap has.
pub(crate) fn ecg_settings() -> [Setting; 2] {
    [Setting::one(0, 130), Setting::one(1, 14)]
}

pub(crate) fn settings_bytes(settings: &[Setting]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for setting in settings {
        setting.write(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{ControlMessage, Features, Setting, Status, ecg_settings, start_ecg};
    use proptest::prelude::*;

    #[test]
    fn the_known_settings_answer_is_read_and_written() {
        let known = [
            0xF0, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x82, 0x00, 0x01, 0x01, 0x0E, 0x00,
        ];
        let message = ControlMessage::decode(&known).unwrap();
        let ControlMessage::Response(answer) = &message else {
            panic!("{message:?}");
        };
        assert_eq!((answer.status, answer.more), (Status::OK, false));
        assert_eq!(answer.settings().unwrap(), ecg_settings());
        assert_eq!(message.encode(), known);
    }

    #[test]
    fn the_start_command_is_that_of_the_document() {
        let known = [0x02, 0x00, 0x00, 0x01, 0x82, 0x00, 0x01, 0x01, 0x0E, 0x00];
        assert_eq!(start_ecg(), known);
    }

    #[test]
    fn features_tell_whether_there_is_an_ecg() {
        assert!(Features::decode(&[0x0F, 0x05, 0x00]).unwrap().has_ecg());
        assert!(!Features::decode(&[0x0F, 0x04]).unwrap().has_ecg());
        assert_eq!(
            Features::decode(&[0x0E, 1]).unwrap_err().code(),
            "frame.value"
        );
    }

    #[test]
    fn a_setting_that_is_cut_says_where() {
        let err = Setting::read_all(&[0, 2, 0x82, 0]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "setting values needs 4 byte(s) at offset 2, but 2 remain"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error_and_messages_reencode(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(message) = ControlMessage::decode(&bytes) {
                prop_assert_eq!(ControlMessage::decode(&message.encode()).unwrap(), message.clone());
                if let ControlMessage::Response(answer) = message {
                    let _ = answer.settings();
                }
            }
            let _ = Features::decode(&bytes);
        }
    }
}
