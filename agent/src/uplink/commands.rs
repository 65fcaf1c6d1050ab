//! Commands of the gateway: each is carried out at most once, and never after its time.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::message::{Command, CommandAction, MessageError};

/// Remembers the last command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commands {
    device: BoxId,
    control: VerifyingKey,
    last: u64,
}

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandRefused {
    #[error("the command cannot be read")]
    Unreadable(#[source] MessageError),
    #[error("the command is for another box")]
    Foreign,
    #[error("command {number} is not newer than command {last}")]
    Old { number: u64, last: u64 },
    #[error("command {number} has expired")]
    Expired { number: u64 },
}

impl CommandRefused {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "command.unreadable",
            Self::Foreign => "command.foreign",
            Self::Old { .. } => "command.old",
            Self::Expired { .. } => "command.expired",
        }
    }
}

impl Commands {
    pub(crate) const fn new(device: BoxId, control: VerifyingKey) -> Self {
        Self {
            device,
            control,
            last: 0,
        }
    }

    /// The action of a command that is to be carried out now.
    pub(crate) fn accept(
        &mut self,
        bytes: &[u8],
        now: UtcMicros,
    ) -> Result<CommandAction, CommandRefused> {
        let command = Command::verify(bytes, &self.control).map_err(CommandRefused::Unreadable)?;
        let number = command.number;
        if command.device != self.device {
            return Err(CommandRefused::Foreign);
        }
        if number <= self.last {
            let last = self.last;
            return Err(CommandRefused::Old { number, last });
        }
        if command.expires < now {
            return Err(CommandRefused::Expired { number });
        }
        self.last = number;
        Ok(command.action)
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxId, Command, CommandAction, Commands, UtcMicros};
    use cardio_wire::keys::SigningKey;

    fn command(device: u8, number: u64) -> Command {
        Command {
            device: BoxId([device; 16]),
            number,
            expires: UtcMicros(1_000),
            action: CommandAction::Pause,
        }
    }

    #[test]
    fn a_command_is_carried_out_once_and_in_time_and_by_its_box() {
        let rng = ring::rand::SystemRandom::new();
        let (control, _) = SigningKey::generate(&rng).unwrap();
        let (forger, _) = SigningKey::generate(&rng).unwrap();
        let mut commands = Commands::new(BoxId([1; 16]), control.verifying_key());
        let mut code = |bytes: &[u8], now| {
            commands
                .accept(bytes, UtcMicros(now))
                .map_err(|why| why.code())
        };
        let good = command(1, 4).sign(&control);
        assert_eq!(code(&good, 1), Ok(CommandAction::Pause));
        assert_eq!(code(&good, 1), Err("command.old"));
        assert_eq!(
            code(&command(2, 5).sign(&control), 1),
            Err("command.foreign")
        );
        assert_eq!(
            code(&command(1, 5).sign(&control), 1_001),
            Err("command.expired")
        );
        assert_eq!(
            code(&command(1, 5).sign(&forger), 1),
            Err("command.unreadable")
        );
    }
}
