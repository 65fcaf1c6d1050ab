//! Encapsulations made ahead: half of the work of sealing depends on the recipient alone, so
//! a thread does it while nothing waits.
//!
//! - At most 64 are kept, in memory only; each seals one frame, and is wiped after it or with
//!   the outbox. Why they may be kept at all: [`Encapsulation`].
//! - A burst that takes them all makes its own; nothing waits for the thread.
//! - Another recipient means another thread: what was made for the old one is thrown away.

use std::sync::mpsc::{Receiver, sync_channel};

use cardio_wire::envelope::{Encapsulation, SealError};
use cardio_wire::keys::RecipientPublicKey;

/// One group of records.
const KEPT: usize = 64;

/// The encapsulations that are ready.
#[derive(Default)]
pub(crate) struct Ahead(Option<(RecipientPublicKey, Receiver<Encapsulation>)>);

impl Ahead {
    /// One encapsulation to `to`.
    pub(crate) fn take(&mut self, to: &RecipientPublicKey) -> Result<Encapsulation, SealError> {
        match &self.0 {
            Some((recipient, ready)) if recipient == to => {
                if let Ok(made) = ready.try_recv() {
                    return Ok(made);
                }
            }
            _ => self.0 = begin(*to).map(|ready| (*to, ready)),
        }
        Encapsulation::new(to)
    }
}

/// Starts the thread. It ends with its receiver, or when the system gives no random bytes:
/// whoever needs an encapsulation then says so. Without a thread none are made ahead.
fn begin(to: RecipientPublicKey) -> Option<Receiver<Encapsulation>> {
    let (made, ready) = sync_channel(KEPT);
    let work = move || {
        while let Ok(next) = Encapsulation::new(&to) {
            if made.send(next).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("outbox-ahead".to_owned());
    thread.spawn(work).ok().map(|_| ready)
}

#[cfg(test)]
mod tests {
    use super::Ahead;
    use cardio_wire::keys::RecipientSecretKey;
    use ring::rand::SystemRandom;

    #[test]
    fn whatever_was_made_ahead_the_recipient_is_the_one_that_was_asked_for() {
        let key = || {
            let secret = RecipientSecretKey::generate(&SystemRandom::new()).unwrap();
            secret.public()
        };
        let (first, second) = (key(), key());
        let mut ahead = Ahead::default();
        for to in [first, first, second, first] {
            for _ in 0..70 {
                assert_eq!(ahead.take(&to).unwrap().recipient(), to.key_id());
            }
        }
    }
}
