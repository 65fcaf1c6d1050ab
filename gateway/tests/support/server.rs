//! A fresh database of the PostgreSQL server that `CARDIO_TEST_POSTGRES` names, if one is
//! named: the same tests hold for files and for a server.

use std::str::FromStr as _;

/// A database that goes with it.
pub(crate) struct Server {
    address: String,
    name: String,
}

impl Server {
    pub(crate) fn fresh() -> Option<Self> {
        let address = std::env::var("CARDIO_TEST_POSTGRES").ok()?;
        let name = format!("cardio_test_{}", uuid::Uuid::new_v4().simple());
        run(&address, format!("CREATE DATABASE {name}"));
        Some(Self { address, name })
    }

    /// The part of a configuration that names it.
    pub(crate) fn config(&self) -> String {
        let (base, options) = self.address.split_once('?').unwrap_or((&self.address, ""));
        let (base, _) = base.rsplit_once('/').unwrap();
        format!("[store]\npostgres = \"{base}/{}?{options}\"\n", self.name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        run(&self.address, sql);
    }
}

/// On a thread of its own: tests run within an event loop.
fn run(address: &str, sql: String) {
    let config = postgres::Config::from_str(address).unwrap();
    let work = move || {
        let mut client = config.connect(postgres::NoTls).unwrap();
        client.batch_execute(&sql).unwrap();
    };
    std::thread::spawn(work).join().unwrap();
}
