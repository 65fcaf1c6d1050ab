//! What the host writes.

use crate::decoder::DecodeError;
use crate::fields::Fields;

/// One command; the reference goes beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Who are you.
    Hello,
    /// Send a resource whenever it has news.
    Subscribe(String),
    /// No longer; the reference is that of the subscription.
    Unsubscribe,
    /// Send a recording.
    FetchLog(u32),
    /// Send a resource once.
    Get(String),
    /// Forget all recordings.
    ClearLogbook,
    /// Choose what is recorded.
    ConfigureLogger(Vec<String>),
    /// 1 off, 5 application (reboot), 12 firmware update.
    SystemMode(u8),
    /// Microseconds since 1970.
    SetTime(u64),
    /// 3 records, 2 stops.
    LoggerState(u8),
}

impl Command {
    const fn number(&self) -> u8 {
        match self {
            Self::Hello => 0,
            Self::Subscribe(_) => 1,
            Self::Unsubscribe => 2,
            Self::FetchLog(_) => 3,
            Self::Get(_) => 4,
            Self::ClearLogbook => 5,
            Self::ConfigureLogger(_) => 6,
            Self::SystemMode(_) => 7,
            Self::SetTime(_) => 8,
            Self::LoggerState(_) => 9,
        }
    }

    /// The name in logs and ledgers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::FetchLog(_) => "fetch-log",
            Self::Get(_) => "get",
            Self::ClearLogbook => "clear-logbook",
            Self::ConfigureLogger(_) => "configure-logger",
            Self::SystemMode(_) => "system-mode",
            Self::SetTime(_) => "set-time",
            Self::LoggerState(_) => "logger-state",
        }
    }

    /// The bytes with a reference, which must not be zero.
    pub fn encode(&self, reference: u8) -> Vec<u8> {
        let mut out = vec![self.number(), reference];
        match self {
            Self::Hello | Self::Unsubscribe | Self::ClearLogbook => {}
            Self::Subscribe(path) => out.extend_from_slice(path.as_bytes()),
            Self::Get(path) => {
                out.extend_from_slice(path.as_bytes());
                out.push(0);
            }
            Self::FetchLog(id) => out.extend_from_slice(&id.to_le_bytes()),
            Self::ConfigureLogger(paths) => {
                for path in paths {
                    out.extend_from_slice(path.as_bytes());
                    out.push(0);
                }
            }
            Self::SystemMode(value) | Self::LoggerState(value) => out.push(*value),
            Self::SetTime(micros) => out.extend_from_slice(&micros.to_le_bytes()),
        }
        out
    }

    /// Reads what a host wrote: the reference and the command.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(value: &[u8]) -> Result<(u8, Self), DecodeError> {
        let mut fields = Fields::new(value);
        let number = fields.u8("command")?;
        let reference = fields.u8("reference")?;
        let command = match number {
            0 => Self::Hello,
            1 => Self::Subscribe(text(fields.rest())),
            2 => Self::Unsubscribe,
            3 => Self::FetchLog(fields.u32("log id")?),
            4 => Self::Get(text(fields.rest())),
            5 => Self::ClearLogbook,
            6 => Self::ConfigureLogger(texts(fields.rest())),
            7 => Self::SystemMode(fields.u8("system mode")?),
            8 => Self::SetTime(fields.u64("time")?),
            9 => Self::LoggerState(fields.u8("logger state")?),
            found => return Err(DecodeError::Kind { offset: 0, found }),
        };
        fields.end()?;
        Ok((reference, command))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

/// Texts that each end with a NUL.
pub(super) fn texts(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes
        .split(|byte| *byte == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Command;
    use proptest::prelude::*;

    #[test]
    fn commands_are_written_as_the_document_has_them() {
        assert_eq!(Command::Hello.encode(7), [0, 7]);
        assert_eq!(
            Command::Subscribe("/Meas/ECG/250".to_owned()).encode(9),
            b"\x01\x09/Meas/ECG/250"
        );
        assert_eq!(
            Command::Get("/Time".to_owned()).encode(1),
            b"\x04\x01/Time\0"
        );
        assert_eq!(Command::FetchLog(258).encode(1), [3, 1, 2, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(reference in 1_u8.., number: u32, micros: u64, small: u8, path in "/[A-Za-z/0-9]{1,30}") {
            let commands = [
                Command::Hello, Command::Subscribe(path.clone()), Command::Unsubscribe,
                Command::FetchLog(number), Command::Get(path.clone()), Command::ClearLogbook,
                Command::ConfigureLogger(vec![path.clone(), "/Time/Detailed".to_owned()]),
                Command::SystemMode(small), Command::SetTime(micros), Command::LoggerState(small),
            ];
            for command in commands {
                prop_assert_eq!(Command::decode(&command.encode(reference)).unwrap(), (reference, command));
            }
        }

        #[test]
        fn any_bytes_are_a_command_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Command::decode(&bytes);
        }
    }
}
