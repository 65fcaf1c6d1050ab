//! The external broker: Debian's mosquitto, run with the configuration that is shipped as the
//! example (`hw-test/broker`), under an authority of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::authority::Authority;
use crate::child::Program;
use crate::clock::wait_for;
use crate::ports;

const CONFIGURATION: &str = include_str!("../broker/mosquitto.conf");
const ACL: &str = include_str!("../broker/acl");

/// The name in the broker's certificate: another than the gateway's.
pub(crate) const NAME: &str = "broker.example";

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Where Debian puts programs that are no user's.
const PLACES: [&str; 3] = [
    "/usr/sbin/mosquitto",
    "/usr/bin/mosquitto",
    "/usr/local/sbin/mosquitto",
];

/// Why no broker can be started on this machine, if none can.
pub(crate) fn obstacle() -> Option<String> {
    program()
        .is_none()
        .then(|| "mosquitto is not installed (Debian package mosquitto)".to_owned())
}

fn program() -> Option<&'static str> {
    PLACES.into_iter().find(|place| Path::new(place).is_file())
}

/// A broker's folder, port and certificates.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    port: u16,
}

impl Place {
    /// Prepares `folder`: a free port, the broker's authority and its certificate, the shipped
    /// access list with `further` lines.
    pub(crate) fn prepare(folder: &Path, further: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let place = Self {
            folder: folder.to_path_buf(),
            port: ports::free()?,
        };
        place.certify()?;
        place.widen(further)?;
        Ok(place)
    }

    /// Adds lines to the access list; they hold from the next start on.
    pub(crate) fn widen(&self, further: &str) -> anyhow::Result<()> {
        self.write("acl", &format!("{ACL}\n{further}"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Certificate of the authority that the broker's certificate comes from.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("broker-ca.pem")
    }

    fn certify(&self) -> anyhow::Result<()> {
        let authority = Authority::new("broker authority")?;
        let identity = authority.server(NAME)?;
        self.write("broker-ca.pem", authority.pem())?;
        self.write("broker.pem", &identity.certificate)?;
        self.write("broker.key.pem", &identity.key)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The shipped configuration with this place's port and paths.
    fn configuration(&self, boxes_ca: &Path, extra: &str) -> String {
        let own = |name: &str| self.folder.join(name).display().to_string();
        let mut text = String::new();
        for line in CONFIGURATION.lines() {
            let word = line.split(' ').next().unwrap_or_default();
            let value = match word {
                "listener" => format!("{} 127.0.0.1", self.port),
                "certfile" => own("broker.pem"),
                "keyfile" => own("broker.key.pem"),
                "cafile" => boxes_ca.display().to_string(),
                "acl_file" => own("acl"),
                "persistence_location" => format!("{}/", own("kept")),
                _ => {
                    text.push_str(line);
                    text.push('\n');
                    continue;
                }
            };
            text.push_str(&format!("{word} {value}\n"));
        }
        text.push_str(extra);
        if rustix::process::geteuid().is_root() {
            // It would become another user, who may not read a temporary folder.
            text.push_str("user root\n");
        }
        text
    }

    /// Starts the broker for boxes and gateways whose certificates come from `boxes_ca`.
    /// `extra` are further lines of its configuration.
    pub(crate) fn start(&self, boxes_ca: &Path, extra: &str) -> anyhow::Result<Program> {
        let Some(program) = program() else {
            bail!("mosquitto is not installed");
        };
        let kept = self.folder.join("kept");
        std::fs::create_dir_all(&kept)
            .with_context(|| format!("cannot create {}", kept.display()))?;
        self.write("mosquitto.conf", &self.configuration(boxes_ca, extra))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        let mut broker = Program::start("mosquitto", command, &self.folder)?;
        wait_for("the broker to listen", START_LIMIT, || {
            broker.must_run()?;
            Ok(TcpStream::connect(self.address()).is_ok().then_some(()))
        })?;
        Ok(broker)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use std::path::Path;

    #[test]
    fn the_shipped_configuration_is_what_runs_but_for_port_and_paths() {
        let place = Place {
            folder: "/tmp/b".into(),
            port: 4711,
        };
        let text = place.configuration(Path::new("/tmp/ca.pem"), "");
        assert!(text.contains("listener 4711 127.0.0.1\n"));
        assert!(text.contains("cafile /tmp/ca.pem\n"));
        assert!(text.contains("acl_file /tmp/b/acl\n"));
        assert!(text.contains("require_certificate true\n"));
        assert!(!text.contains("/etc/"), "{text}");
        assert!(!text.contains("/var/"), "{text}");
    }
}
