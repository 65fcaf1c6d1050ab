//! A recording that a sensor kept and gave, out of memory and through the same import.
//!
//! It is never written to the disk as it is: what of it is on this box is sealed. A box that
//! is cut off has it fetched again, and goes on from the outbox's own bookkeeping.

use std::sync::Arc;

use cardio_core::device::DeviceIdentity;
use cardio_core::ids::SourceId;
use cardio_core::subject::SubjectRef;
use cardio_formats::parts::PartError;
use cardio_formats::source::MemorySource;
use cardio_formats::survey::survey;
use cardio_formats::{ReadOptions, read};
use cardio_wire::record::ORIGINAL_MAX_BYTES;
use ring::digest::{Context, SHA256};
use tokio::sync::oneshot;

use super::{Import, ImportError, Keep, OneFile, start, told};

/// By what a recording is known again without its bytes, and nobody can tell what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(super) [u8; 32]);

impl Mark {
    /// The mark of a recording by all that its sensor says of it.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"cardio fetched 1");
        for part in parts {
            let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&len.to_be_bytes());
            context.update(part.as_bytes());
        }
        Self(digest(context))
    }
}

/// A recording that a sensor gave.
#[derive(Debug)]
pub struct Delivery {
    /// As a file of the sensor would be called; its extension tells the form.
    pub name: String,
    /// The bytes of that file.
    pub bytes: Arc<[u8]>,
    /// What the source is called.
    pub source: SourceId,
    /// The patient, as an opaque reference.
    pub subject: Option<SubjectRef>,
    /// Who the sensor says that it is.
    pub device: DeviceIdentity,
    /// By what it is known again, if that is sure.
    pub mark: Option<Mark>,
    /// Hears what became of it.
    pub answer: oneshot::Sender<Delivered>,
}

/// What became of a recording that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// All of it is durable in the outbox: every sample, and its bytes as they came.
    Stored {
        /// Samples over all rows.
        samples: u64,
    },
    /// It is not what this program can read.
    Refused {
        /// Stable code of the cause.
        code: &'static str,
    },
    /// It could not be stored now; later it may.
    NotNow {
        /// Stable code of the cause.
        code: &'static str,
    },
}

fn digest(context: Context) -> [u8; 32] {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    digest
}

/// As [`super::source::Noted::digest`] makes it: the same file in the drop folder is the same.
fn content(bytes: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(bytes);
    digest(context)
}

impl<K: Keep> Import<K> {
    /// Imports a recording that a sensor gave, and says what became of it.
    pub fn deliver(&mut self, delivery: Delivery, stopped: &dyn Fn() -> bool) {
        let done = self.import_delivery(&delivery, stopped);
        let told = match done {
            Ok(samples) => Delivered::Stored { samples },
            Err(ImportError::File(err)) => {
                let code = err.code();
                tracing::warn!(event = "ImportDeliveryRefused", code);
                // the sensor keeps it; that it was told of is worth a try and no more
                let _ = self.tell("import.refused", &delivery.source, code.to_owned());
                Delivered::Refused { code }
            }
            Err(err @ ImportError::TooLarge { .. }) => Delivered::Refused { code: err.code() },
            Err(err) => Delivered::NotNow { code: err.code() },
        };
        // whoever stopped waiting fetches it again
        let _ = delivery.answer.send(told);
    }

    fn import_delivery(
        &mut self,
        delivery: &Delivery,
        stopped: &dyn Fn() -> bool,
    ) -> Result<u64, ImportError> {
        let name = delivery.name.as_str();
        let size = delivery.bytes.len();
        if u64::try_from(size).is_ok_and(|size| size > ORIGINAL_MAX_BYTES) {
            return Err(ImportError::TooLarge { size });
        }
        let files = Arc::new(MemorySource::new().with(name, Arc::clone(&delivery.bytes)));
        let opened = read::open(files.clone(), name, ReadOptions::default());
        let found = opened.and_then(|reader| survey(reader, &mut |_| {}));
        let mut found = found.map_err(PartError::Format)?;
        found.recording.device = delivery.device.clone();
        let received_us = self.clock.read().utc.0;
        let file = OneFile {
            name,
            files,
            names: std::slice::from_ref(&delivery.name),
            content: content(&delivery.bytes),
            told: told(&delivery.source, delivery.subject.as_ref()),
            start: start(&found, received_us),
            found: &found,
        };
        let samples = self.take_in(&file, stopped)?;
        if let Some(mark) = &delivery.mark {
            self.ledger.fetched(mark)?;
        }
        Ok(samples)
    }
}
