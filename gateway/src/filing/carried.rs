//! Frames that came in frames of newer chains: a box whose card was damaged, or forgot, brings
//! what it still has of a chain that has ended.
//!
//! A carried frame is signed by the same box as the one that carries it. It is given to the
//! inbox as if it had come itself; filing then finds it there. What it carries in turn is found
//! when it is filed itself, so nothing here goes deeper than one frame.

use bytes::Bytes;
use cardio_core::clock::UtcMicros;
use cardio_wire::envelope;
use cardio_wire::intake::Stored;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::record::Record;

use super::Filer;
use super::open::{Opened, Refused};
use crate::db::DbError;
use crate::inbox::Arrived;

impl Filer {
    /// Gives what a group carries to the inbox, before the group is filed. A frame that carries
    /// what cannot be stored is refused: it goes to quarantine.
    pub(super) fn take_carried(&self, group: &mut [Opened]) -> Result<(), DbError> {
        let carries = |frame: &&mut Opened| {
            let opened = frame.outcome.as_ref().map(|opened| &opened.record);
            matches!(opened, Ok(Record::CarriedFrame(_)))
        };
        let carriers: Vec<&mut Opened> = group.iter_mut().filter(carries).collect();
        if carriers.is_empty() {
            return Ok(());
        }
        let boxes = self.inbox.boxes()?;
        let now = self.clock.read().utc;
        let (mut taken, mut frames) = (Vec::new(), Vec::new());
        for carrier in carriers {
            let by = carrier.identity;
            let known = boxes.iter().find(|row| row.known.id == by.device);
            let key = known.map(|row| &row.known.frame_key);
            match unwrapped(carrier, key, now) {
                Ok(frame) => {
                    taken.push(carrier);
                    frames.push(frame);
                }
                Err(refused) => carrier.outcome = Err(refused),
            }
        }
        let receipts = self.inbox.take_carried(frames)?;
        for (carrier, receipt) in taken.into_iter().zip(receipts) {
            match receipt.stored {
                Stored::New | Stored::Conflict => self.counters.frames_carried.add_one(),
                Stored::Duplicate => {}
                Stored::TooFarAhead | Stored::TooManyChains => {
                    self.counters.frames_carried_refused.add_one();
                    carrier.outcome = Err(refused("the frame that it carries has no place"));
                }
            }
        }
        Ok(())
    }
}

fn refused(why: &str) -> Refused {
    Refused {
        code: "filing.carried",
        why: why.to_owned(),
    }
}

/// The frame that another one carries, checked as if it had come itself.
fn unwrapped(
    carrier: &Opened,
    key: Option<&VerifyingKey>,
    now: UtcMicros,
) -> Result<Arrived, Refused> {
    let key = key.ok_or_else(|| refused("the box is not enrolled"))?;
    let bytes = match carrier.outcome.as_ref().map(|opened| &opened.record) {
        Ok(Record::CarriedFrame(carried)) => &carried.frame,
        _ => return Err(refused("it carries no frame")),
    };
    let (header, fingerprint) = envelope::verify_to_store(bytes, key)
        .map_err(|error| refused(&format!("the frame that it carries: {error}")))?;
    let by = carrier.identity;
    if (header.device, header.lane) != (by.device, by.lane) || header.chain == by.chain {
        return Err(refused(
            "the frame that it carries is of another box or lane, or of the same chain",
        ));
    }
    Ok(Arrived {
        identity: header.identity(),
        prev: header.prev,
        fingerprint,
        bytes: Bytes::copy_from_slice(bytes),
        at: now,
    })
}
