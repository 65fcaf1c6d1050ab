//! The import on a thread of its own, which reads files and waits for the outbox.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use cardio_core::ids::SourceId;
use tokio::sync::oneshot;

use super::{Delivery, Import, Keep, Mark};

/// The thread that imports.
#[derive(Debug)]
pub struct ImportThread {
    /// The way to it.
    pub deliveries: Sender<Delivery>,
    /// Sources whose acquisitions it makes.
    pub sources: Vec<SourceId>,
    /// Recordings of sensors that were in the outbox when it began.
    pub fetched: BTreeSet<Mark>,
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl ImportThread {
    /// Starts it.
    ///
    /// # Errors
    /// What the system says when there can be no more threads.
    pub fn start<K: Keep + 'static>(import: Import<K>) -> std::io::Result<Self> {
        let plan = &import.plan;
        let folder = plan.folder.is_some().then(|| plan.source.clone());
        let sources = plan.sensors.iter().cloned().chain(folder).collect();
        let fetched = import.ledger.all_fetched();
        let (deliveries, delivered) = channel();
        let (ending, ended) = oneshot::channel::<()>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("import".to_owned())
            .spawn(move || {
                import.run(&delivered, &|| stopped.load(Ordering::Relaxed));
                drop(ending);
            })?;
        Ok(Self {
            deliveries,
            sources,
            fetched,
            stop,
            ended,
        })
    }

    /// Ends it between two records, and waits for that.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.deliveries);
        // it says nothing, it goes
        let _ = self.ended.await;
    }
}
