//! Encapsulations made ahead: half of the work of sealing depends on the recipient alone, so
//! a thread does it while nothing waits.
//!
//! - They are made by batches of 32, so that a box that stores now and then wakes one thread, not
//!   two. At most 64 are kept, in memory only; each seals one frame, and is wiped after it or with
//!   the outbox. Why they may be kept at all: [`Encapsulation`].
//! - A burst that takes them all makes its own; nothing waits for the thread.
//! - Another recipient means another thread: what was made for the old one is thrown away.

use std::sync::mpsc::{Receiver, sync_channel};

use cardio_wire::envelope::{Encapsulation, SealError};
use cardio_wire::keys::RecipientPublicKey;

/// Half a group of records: one batch is used while the next one waits.
const BATCH: usize = 32;

/// The encapsulations that are ready.
#[derive(Default)]
pub(crate) struct Ahead(Option<Batches>);

struct Batches {
    recipient: RecipientPublicKey,
    current: Vec<Encapsulation>,
    next: Receiver<Vec<Encapsulation>>,
}

impl Ahead {
    /// One encapsulation to `to`.
    pub(crate) fn take(&mut self, to: &RecipientPublicKey) -> Result<Encapsulation, SealError> {
        match &mut self.0 {
            Some(batches) if batches.recipient == *to => {
                if batches.current.is_empty() {
                    batches.current = batches.next.try_recv().unwrap_or_default();
                }
                if let Some(made) = batches.current.pop() {
                    return Ok(made);
                }
            }
            batches => *batches = Batches::begin(*to),
        }
        Encapsulation::new(to)
    }
}

impl Batches {
    /// Starts the thread. It ends with its receiver, or when the system gives no random bytes:
    /// whoever needs an encapsulation then says so. Without a thread none are made ahead.
    fn begin(recipient: RecipientPublicKey) -> Option<Self> {
        // without a place of its own: the thread keeps the next batch until it is asked for
        let (made, next) = sync_channel(0);
        let work = move || {
            let batch = || {
                let each = (0..BATCH).map(|_| Encapsulation::new(&recipient));
                each.collect::<Result<Vec<_>, SealError>>()
            };
            while let Ok(batch) = batch() {
                if made.send(batch).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("outbox-ahead".to_owned());
        let begun = thread.spawn(work).ok()?;
        drop(begun);
        Some(Self {
            recipient,
            current: Vec::new(),
            next,
        })
    }
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
