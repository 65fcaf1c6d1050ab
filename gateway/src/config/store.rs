//! Where inbox and record are kept, and for how long.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::Host;
use serde::Deserialize;

use super::{ConfigError, Span};
use crate::db::Place;

/// How long the server may take to answer a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const KEY: &str = "store.postgres";

/// Where inbox and record are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A PostgreSQL server; files of SQLite when absent.
    pub postgres: Option<String>,
    /// File that holds the password for it.
    pub password_file: Option<PathBuf>,
}

/// How long sealed frames stay.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// After they came, once they are filed; for ever when absent.
    pub frames: Option<Span>,
}

impl StoreConfig {
    /// The server, or the file when there is none.
    pub(super) fn place(&self, file: &Path) -> Result<Place, ConfigError> {
        let Some(address) = &self.postgres else {
            return Ok(Place::Sqlite(file.to_owned()));
        };
        let impossible = |why| ConfigError::Impossible {
            key: KEY,
            value: "an address".to_owned(),
            why,
        };
        let mut server = postgres::Config::from_str(address)
            .map_err(|_| impossible("it is no address such as postgresql://user@/name"))?;
        if server.get_password().is_some() {
            return Err(impossible(
                "a password must not stand in it; use `store.password_file` or PGPASSWORD",
            ));
        }
        if server.get_hosts().is_empty() || !server.get_hosts().iter().all(is_near) {
            return Err(impossible(
                "the server must be on this machine: a Unix socket (host=/folder) or a loopback address",
            ));
        }
        if let Some(password) = self.password()? {
            server.password(password.trim_end());
        }
        server.connect_timeout(CONNECT_LIMIT);
        server.application_name("cardio-gateway");
        Ok(Place::Postgres(Arc::new(server)))
    }

    fn password(&self) -> Result<Option<String>, ConfigError> {
        match &self.password_file {
            Some(path) => {
                std::fs::read_to_string(path)
                    .map(Some)
                    .map_err(|source| ConfigError::Unreadable {
                        path: path.clone(),
                        source,
                    })
            }
            None => Ok(std::env::var("PGPASSWORD").ok()),
        }
    }
}

/// The connection is not encrypted: it must not leave this machine.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|at| at.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, StoreConfig};

    fn place(address: &str) -> Result<Place, super::ConfigError> {
        StoreConfig {
            postgres: Some(address.to_owned()),
            password_file: None,
        }
        .place(std::path::Path::new("unused"))
    }

    #[test]
    fn a_server_on_this_machine_is_taken() {
        for address in [
            "postgresql://cardio@/cardio?host=/run/postgresql",
            "postgresql://cardio@localhost/cardio",
            "postgresql://cardio@127.0.0.1:5433/cardio",
        ] {
            assert!(place(address).unwrap().is_shared(), "{address}");
        }
    }

    #[test]
    fn a_server_elsewhere_a_password_and_nonsense_are_refused() {
        for address in [
            "postgresql://cardio@db.example/cardio",
            "postgresql://cardio:secret@localhost/cardio",
            "postgresql://cardio@/cardio",
            "::",
        ] {
            let err = place(address).unwrap_err().to_string();
            assert!(
                err.contains("store.postgres") && !err.contains("secret"),
                "{err}"
            );
        }
    }
}
