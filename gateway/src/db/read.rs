//! Connections that only read, opened as they are needed.
//!
//! A file that is opened anew to write must not be open elsewhere in this program: whoever does
//! that shuts the readers out first. A reading that has begun goes on to its end.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use super::{Connection, DbError, Place};

const IDLE_READERS: usize = 4;

/// Connections that only read.
#[derive(Clone, Debug)]
pub struct Readers {
    place: Arc<Place>,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Shared while somebody reads.
    gate: Arc<RwLock<()>>,
}

impl Readers {
    /// Readers of a database that this program does not write; [`super::Writer::readers`] are
    /// those of one that it does.
    pub fn of(place: &Place) -> Self {
        Self {
            place: Arc::new(place.clone()),
            idle: Arc::default(),
            gate: Arc::default(),
        }
    }

    /// Closes every connection, and lets nobody read until the guard is dropped.
    pub(super) fn shut_out(&self) -> RwLockWriteGuard<'_, ()> {
        let alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.lock().clear();
        alone
    }

    /// Where they read.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Reads; the calling thread waits.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be opened or `work` fails.
    pub fn read<T: Send>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError> + Send,
    ) -> Result<T, DbError> {
        if !self.place.is_shared() {
            return self.read_here(work);
        }
        // A server's connection runs its own event loop, which must not stand in another one.
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| self.read_here(work));
            reading.join().unwrap_or(Err(DbError::Closed))
        })
    }

    fn read_here<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let _reading = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let taken = self.lock().pop();
        let connection = match taken.filter(Connection::is_alive) {
            Some(connection) => connection,
            None => Connection::open_to_read(&self.place)?,
        };
        let result = work(&connection);
        let mut idle = self.lock();
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        result
    }

    /// Reads on a thread that may block.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be opened or `work` fails.
    pub async fn read_async<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let readers = self.clone();
        tokio::task::spawn_blocking(move || readers.read(work))
            .await
            .unwrap_or(Err(DbError::Closed))
    }

    /// Copies the database as it is now into a new file while the program goes on.
    ///
    /// # Errors
    /// [`DbError::NotHere`] for a server, which has its own tools.
    pub fn copy_to(&self, path: &Path) -> Result<(), DbError> {
        self.read(|connection| connection.copy_to(&self.place, path))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
