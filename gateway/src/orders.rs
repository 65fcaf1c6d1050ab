//! What a box is to be told: commands, signed so that this box believes them.
//!
//! A command goes out when a person asks for it, to a box that is connected, and again at each
//! hello of a box that has not done it: its hello says which keys it has pinned and how far it
//! believes to be acknowledged. So no command needs to be remembered for a box that is away.
//! Deliberately absent: how a command travels.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::intake::Greeting;
use cardio_wire::keys::TrustedKeyIds;
use cardio_wire::message::{Command, CommandAction, Hello};

use crate::keys::GatewayKeys;

/// How long a command holds.
const LIFE_US: i64 = 3_600_000_000;

/// The command `number` to a box with these pins. `None` when no key is left whose word it
/// believes: it must be enrolled anew.
pub fn command(
    keys: &GatewayKeys,
    device: BoxId,
    pinned: &TrustedKeyIds,
    action: CommandAction,
    number: u64,
    now: UtcMicros,
) -> Option<Vec<u8>> {
    let command = Command {
        device,
        number,
        expires: UtcMicros(now.0.saturating_add(LIFE_US)),
        action,
    };
    Some(command.sign(&keys.speaker(pinned)?))
}

/// What a hello shows that its box must do: pin other keys, send frames again that this inbox
/// has lost.
pub fn owed(keys: &GatewayKeys, hello: &Hello, greetings: &[Greeting]) -> Vec<CommandAction> {
    let mut actions = Vec::new();
    match keys.trusted() {
        Ok(trusted) if trusted.ids() != hello.keys => {
            actions.push(CommandAction::Rotate(trusted));
        }
        _ => {}
    }
    actions.extend(greetings.iter().filter_map(resend));
    actions
}

/// The box believes more acknowledged than is stored here: this inbox was restored from a
/// backup. Asks for what is missing.
fn resend(greeting: &Greeting) -> Option<CommandAction> {
    greeting.resend_from.map(|from_seq| CommandAction::Resend {
        lane: greeting.head.lane,
        chain: greeting.head.chain,
        from_seq,
    })
}
