//! A fresh database for a test: a file, or a database of the server that `CARDIO_TEST_POSTGRES`
//! names, so that one suite holds for both.

use std::str::FromStr as _;
use std::sync::Arc;

use super::{Connection, Place, Schema, Server};

/// A database that goes with it.
pub(crate) struct Fresh {
    dir: tempfile::TempDir,
    server: Option<(postgres::Config, String)>,
}

impl Fresh {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = std::env::var("CARDIO_TEST_POSTGRES").ok().map(|address| {
            let config = postgres::Config::from_str(&address).unwrap();
            let name = format!("cardio_test_{}", uuid::Uuid::new_v4().simple());
            run(&config, format!("CREATE DATABASE {name}"));
            (config, name)
        });
        Self { dir, server }
    }

    pub(crate) fn place(&self) -> Place {
        match &self.server {
            None => Place::Sqlite(self.dir.path().join("a.sqlite")),
            Some((config, name)) => {
                let server = Server::plain(config.clone());
                Place::Postgres(Arc::new(server.other_database(name)))
            }
        }
    }

    /// Ends every connection, as a server that stops does. A file has none to end.
    pub(crate) fn cut_connections(&self) {
        if let Some((config, name)) = &self.server {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            );
            run(config, sql);
        }
    }

    /// Makes the server answer commits that it has not flushed; `false` where there is none.
    pub(crate) fn stop_flushing(&self) -> bool {
        if let Some((config, name)) = &self.server {
            let sql = format!("ALTER DATABASE {name} SET synchronous_commit = off");
            run(config, sql);
        }
        self.server.is_some()
    }

    /// What a statement on one connection answers, on a thread that may wait for a server.
    pub(crate) fn on<T: Send>(
        steps: &'static [&'static str],
        work: impl FnOnce(&Connection) -> T + Send,
    ) -> T {
        let fresh = Self::new();
        let schema = Schema {
            place: fresh.place(),
            part: "test",
            steps,
        };
        let connection = Connection::open(&schema).unwrap();
        work(&connection)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some((config, name)) = self.server.take() {
            run(&config, format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// On a thread of its own: tests run within an event loop.
fn run(config: &postgres::Config, sql: String) {
    let config = config.clone();
    std::thread::spawn(move || {
        let mut client = config.connect(postgres::NoTls).unwrap();
        client.batch_execute(&sql).unwrap();
    })
    .join()
    .unwrap();
}
