//! Where inbox and record are kept, and for how long.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use serde::Deserialize;

use super::{ConfigError, Span};
use crate::db::{Place, Server};

/// How long the server may take to answer a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long it may leave unanswered what was sent over a network.
const SILENT_LIMIT: Duration = Duration::from_secs(30);
const KEY: &str = "store.postgres";

/// Where inbox and record are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A PostgreSQL server; files of SQLite when absent.
    pub postgres: Option<String>,
    /// File of the authority that the server's certificate comes from, PEM. With it every
    /// connection is encrypted.
    pub ca: Option<PathBuf>,
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
        let (mut config, way) = read(address, self.ca.is_some())?;
        if let Some(password) = self.password()? {
            config.password(password.trim_end());
        }
        config.connect_timeout(CONNECT_LIMIT);
        // A server that vanished without a word is noticed, and a commit to it has failed.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENT_LIMIT);
        }
        config.application_name("cardio-gateway");
        let server = match (way, &self.ca) {
            (Way::Encrypted, Some(ca)) => {
                let pem = std::fs::read(ca).map_err(|source| ConfigError::Unreadable {
                    path: ca.clone(),
                    source,
                })?;
                Server::encrypted(config, &pem).map_err(|_| ConfigError::Impossible {
                    key: "store.ca",
                    value: format!("\"{}\"", ca.display()),
                    why: "the file holds no certificate of an authority (PEM)",
                })?
            }
            (Way::Encrypted, None) => {
                return Err(impossible(
                    "an encrypted server is checked: name its authority in `store.ca`",
                ));
            }
            (Way::Plain, _) => Server::plain(config),
        };
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

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Encrypted,
}

fn impossible(why: &'static str) -> ConfigError {
    ConfigError::Impossible {
        key: KEY,
        value: "an address".to_owned(),
        why,
    }
}

/// Reads an address, and whether what it says is encrypted.
fn read(address: &str, has_ca: bool) -> Result<(postgres::Config, Way), ConfigError> {
    // An encrypted connection is always checked in full; the library has no word for it.
    let full = "sslmode=verify-full";
    let config = postgres::Config::from_str(&address.replace(full, "sslmode=require"))
        .map_err(|_| impossible("it is no address such as postgresql://user@/name"))?;
    if config.get_password().is_some() {
        return Err(impossible(
            "a password must not stand in it; use `store.password_file` or PGPASSWORD",
        ));
    }
    let hosts = config.get_hosts();
    if hosts.is_empty() {
        return Err(impossible(
            "it names no host: a Unix socket (host=/folder), a name or an address",
        ));
    }
    let way = match config.get_ssl_mode() {
        SslMode::Require => Way::Encrypted,
        SslMode::Disable => Way::Plain,
        _ if has_ca => Way::Encrypted,
        _ if is_near(&config) => Way::Plain,
        _ => {
            return Err(impossible(
                "the server is not on this machine: add sslmode=verify-full and `store.ca`, or \
                 sslmode=disable where nobody else is on the network between",
            ));
        }
    };
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    if way == Way::Encrypted && hosts.iter().any(is_socket) {
        return Err(impossible(
            "a Unix socket is not encrypted: leave out sslmode and `store.ca`",
        ));
    }
    Ok((config, way))
}

/// Whether what is said to a server stays on this machine.
fn is_near(config: &postgres::Config) -> bool {
    let is_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|at| at.is_loopback())
        }
    };
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(is_here),
        // These are where it connects to; the hosts are only names for them.
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, StoreConfig};

    fn place_with(
        address: &str,
        ca: Option<&std::path::Path>,
    ) -> Result<Place, super::ConfigError> {
        StoreConfig {
            postgres: Some(address.to_owned()),
            ca: ca.map(std::path::Path::to_owned),
            password_file: None,
        }
        .place(std::path::Path::new("unused"))
    }

    fn is_encrypted(address: &str, ca: Option<&std::path::Path>) -> bool {
        match place_with(address, ca).unwrap() {
            Place::Postgres(server) => server.is_encrypted(),
            Place::Sqlite(path) => panic!("a file: {}", path.display()),
        }
    }

    fn refusal(address: &str, ca: Option<&std::path::Path>) -> String {
        place_with(address, ca).unwrap_err().to_string()
    }

    #[test]
    fn a_server_on_this_machine_is_taken_as_it_is() {
        for address in [
            "postgresql://cardio@/cardio?host=/run/postgresql",
            "postgresql://cardio@localhost/cardio",
            "postgresql://cardio@127.0.0.1:5433/cardio",
            "host=db.example hostaddr=127.0.0.1 user=cardio",
        ] {
            assert!(!is_encrypted(address, None), "{address}");
        }
    }

    #[test]
    fn a_server_elsewhere_is_encrypted_and_checked_unless_the_address_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        for address in [
            "postgresql://cardio@db.example/cardio",
            "postgresql://cardio@db.example/cardio?sslmode=require",
            "postgresql://cardio@db.example/cardio?sslmode=verify-full",
            "host=db.example sslmode=verify-full",
            "postgresql://cardio@localhost/cardio",
        ] {
            assert!(is_encrypted(address, Some(&ca)), "{address}");
        }
        let plain = "postgresql://cardio@db.example/cardio?sslmode=disable";
        assert!(!is_encrypted(plain, None));
        for address in [
            "postgresql://cardio@db.example/cardio",
            "host=localhost hostaddr=10.0.0.9",
            "postgresql://cardio@db.example/cardio?sslmode=prefer",
        ] {
            assert!(
                refusal(address, None).contains("sslmode=verify-full"),
                "{address}"
            );
        }
        let unchecked = "postgresql://cardio@db.example/cardio?sslmode=require";
        assert!(refusal(unchecked, None).contains("store.ca"));
        let socket = "postgresql://cardio@/cardio?host=/run/postgresql";
        assert!(refusal(socket, Some(&ca)).contains("Unix socket"));
        std::fs::write(&ca, "no certificate").unwrap();
        assert!(
            refusal(plain.trim_end_matches("?sslmode=disable"), Some(&ca)).contains("store.ca")
        );
    }

    #[test]
    fn a_password_and_nonsense_are_refused() {
        for address in [
            "postgresql://cardio:secret@localhost/cardio",
            "postgresql://cardio@/cardio",
            "::",
        ] {
            let err = refusal(address, None);
            assert!(
                err.contains("store.postgres") && !err.contains("secret"),
                "{err}"
            );
        }
    }
}
