//! Commands of the gateway: each is carried out at most once, and never after its time.
//!
//! The number of a command is on disk before the command is carried out, so that neither a
//! restart nor a power cut lets one through a second time. A command that is lost between
//! the two is asked for again by the gateway, which sees at the next hello what it changed.

use std::sync::Arc;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::TrustedKeys;
use cardio_wire::message::{Ack, Command, CommandAction, MessageError};

use crate::enrolment::{EnrolmentError, EnrolmentFile};

/// Where the number of the last command and the gateway's keys are kept.
pub trait CommandLog: Send + Sync {
    /// Keeps both, durably, before anything is done.
    ///
    /// # Errors
    /// [`EnrolmentError`] when the disk refuses.
    fn note(&self, number: u64, trusted: &TrustedKeys) -> Result<(), EnrolmentError>;
}

impl CommandLog for EnrolmentFile {
    fn note(&self, number: u64, trusted: &TrustedKeys) -> Result<(), EnrolmentError> {
        self.note_command(number, trusted)
    }
}

/// What the gateway's word is checked with.
#[derive(Clone)]
pub struct Trust {
    /// The box.
    pub device: BoxId,
    /// The gateway's keys.
    pub keys: TrustedKeys,
    /// The number of the last command that was carried out.
    pub last_command: u64,
    /// Where both are kept.
    pub log: Arc<dyn CommandLog>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("keys", &self.keys.ids())
            .field("last_command", &self.last_command)
            .finish_non_exhaustive()
    }
}

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandRefused {
    /// Not a command that the gateway signed.
    #[error("the command cannot be read")]
    Unreadable(#[source] MessageError),
    /// For another box.
    #[error("the command is for another box")]
    Foreign,
    /// Carried out before, or overtaken.
    #[error("command {number} is not newer than command {last}")]
    Old {
        /// Its number.
        number: u64,
        /// The number of the last one.
        last: u64,
    },
    /// Its time is over.
    #[error("command {number} has expired")]
    Expired {
        /// Its number.
        number: u64,
    },
    /// It cannot be written down, so it might be carried out again.
    #[error("command {number} cannot be written down")]
    NotKept {
        /// Its number.
        number: u64,
        /// Why not.
        source: EnrolmentError,
    },
}

impl CommandRefused {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "command.unreadable",
            Self::Foreign => "command.foreign",
            Self::Old { .. } => "command.old",
            Self::Expired { .. } => "command.expired",
            Self::NotKept { .. } => "command.not_kept",
        }
    }
}

impl Trust {
    /// The action of a command that is to be carried out now. The keys that it brings hold
    /// from here on.
    ///
    /// # Errors
    /// [`CommandRefused`].
    pub fn accept(
        &mut self,
        bytes: &[u8],
        now: UtcMicros,
    ) -> Result<CommandAction, CommandRefused> {
        let command = Command::verify_by_any(bytes, &self.keys.speakers())
            .map_err(CommandRefused::Unreadable)?;
        let (number, last) = (command.number, self.last_command);
        if command.device != self.device {
            return Err(CommandRefused::Foreign);
        }
        if number <= last {
            return Err(CommandRefused::Old { number, last });
        }
        if command.expires < now {
            return Err(CommandRefused::Expired { number });
        }
        let keys = match &command.action {
            CommandAction::Rotate(keys) => *keys,
            _ => self.keys,
        };
        self.log
            .note(number, &keys)
            .map_err(|source| CommandRefused::NotKept { number, source })?;
        (self.last_command, self.keys) = (number, keys);
        Ok(command.action)
    }

    /// Reads an acknowledgement that the gateway signed.
    ///
    /// # Errors
    /// [`MessageError`] when it did not.
    pub fn ack(&self, bytes: &[u8]) -> Result<Ack, MessageError> {
        Ack::verify_by_any(bytes, &self.keys.speakers())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{BoxId, Command, CommandAction, CommandLog, Trust, UtcMicros};
    use crate::enrolment::EnrolmentError;
    use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys};

    /// Keeps in memory, or refuses.
    #[derive(Default)]
    struct Log(Mutex<Vec<u64>>, bool);

    impl CommandLog for Log {
        fn note(&self, number: u64, _: &TrustedKeys) -> Result<(), EnrolmentError> {
            if self.1 {
                return Err(EnrolmentError::Unwritable {
                    path: "enrolment.toml".into(),
                    source: std::io::Error::other("full"),
                });
            }
            self.0.lock().unwrap().push(number);
            Ok(())
        }
    }

    fn key() -> SigningKey {
        let rng = ring::rand::SystemRandom::new();
        SigningKey::generate(&rng).unwrap().0
    }

    fn trusted(control: &SigningKey, next: &SigningKey) -> TrustedKeys {
        TrustedKeys {
            recipient: RecipientPublicKey([7; 32]),
            control: control.verifying_key(),
            control_next: next.verifying_key(),
        }
    }

    fn trust(keys: TrustedKeys, log: Arc<Log>) -> Trust {
        Trust {
            device: BoxId([1; 16]),
            keys,
            last_command: 0,
            log,
        }
    }

    fn command(device: u8, number: u64, action: CommandAction) -> Command {
        Command {
            device: BoxId([device; 16]),
            number,
            expires: UtcMicros(1_000),
            action,
        }
    }

    #[test]
    fn a_command_is_carried_out_once_and_in_time_and_by_its_box() {
        let (control, next, forger) = (key(), key(), key());
        let mut trust = trust(trusted(&control, &next), Arc::new(Log::default()));
        let mut code = |bytes: &[u8], now| {
            trust
                .accept(bytes, UtcMicros(now))
                .map_err(|why| why.code())
        };
        let pause = |device, number| command(device, number, CommandAction::Pause);
        let good = pause(1, 4).sign(&control);
        assert_eq!(code(&good, 1), Ok(CommandAction::Pause));
        assert_eq!(code(&good, 1), Err("command.old"));
        assert_eq!(code(&pause(2, 5).sign(&control), 1), Err("command.foreign"));
        assert_eq!(
            code(&pause(1, 5).sign(&control), 1_001),
            Err("command.expired")
        );
        assert_eq!(
            code(&pause(1, 5).sign(&forger), 1),
            Err("command.unreadable")
        );
    }

    #[test]
    fn a_rotation_pins_the_new_keys_and_forgets_the_old() {
        let (first, second, third) = (key(), key(), key());
        let log = Arc::new(Log::default());
        let mut trust = trust(trusted(&first, &second), Arc::clone(&log));
        let to = trusted(&second, &third);
        let rotate = command(1, 1, CommandAction::Rotate(to)).sign(&second);
        trust.accept(&rotate, UtcMicros(1)).unwrap();
        assert_eq!(trust.keys, to);
        assert_eq!(*log.0.lock().unwrap(), [1]);
        let by_the_first = command(1, 2, CommandAction::Pause).sign(&first);
        let err = trust.accept(&by_the_first, UtcMicros(1)).unwrap_err();
        assert_eq!(err.code(), "command.unreadable");
    }

    #[test]
    fn what_cannot_be_written_down_is_not_carried_out() {
        let (control, next) = (key(), key());
        let keys = trusted(&control, &next);
        let mut trust = trust(keys, Arc::new(Log(Mutex::default(), true)));
        let to = trusted(&next, &key());
        let rotate = command(1, 1, CommandAction::Rotate(to)).sign(&control);
        let err = trust.accept(&rotate, UtcMicros(1)).unwrap_err();
        assert_eq!(err.code(), "command.not_kept");
        assert_eq!((trust.keys, trust.last_command), (keys, 0));
    }
}
