//! A PostgreSQL server of a rig's own: on a socket and on a loopback port, where it speaks TLS
//! only. It flushes what it commits, and can be killed.
//!
//! It refuses to run as root, so that its folder belongs to the user `postgres` where the rig is
//! root. Read with the `psql` command: the judge of a database is not its writer.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::child::Program;
use crate::clock::wait_for;
use crate::ports;

/// The name in its certificate.
pub(crate) const NAME: &str = "db.example";
/// Its one database, and the user to whom it belongs.
pub(crate) const DATABASE: &str = "cardio";
/// The user's password, asked for over TLS.
pub(crate) const PASSWORD: &str = "made-for-a-rig";

/// Whoever reaches the socket may be anybody; over the network only TLS and a password.
const ACCESS: &str = "local all all trust\nhostssl cardio cardio 127.0.0.1/32 scram-sha-256\n";
/// The same question is asked of both kinds of databases.
const WORDS: &str = "CREATE FUNCTION hex(bytea) RETURNS text LANGUAGE sql IMMUTABLE \
                     AS 'SELECT upper(encode($1, ''hex''))'";
/// How long it may take to come up, with what it must recover.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where Debian puts its programs, one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Why no server can be started on this machine, if none can.
pub(crate) fn obstacle() -> Option<String> {
    programs()
        .is_none()
        .then(|| "PostgreSQL is not installed (Debian package postgresql)".to_owned())
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.flatten();
    versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("postgres").is_file().then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
}

/// A server. Dropping it stops it and removes its folder.
pub(crate) struct Server {
    running: Program,
    bin: PathBuf,
    home: TempDir,
    port: u16,
}

/// Where a judge reads.
#[derive(Clone, Debug)]
pub(crate) struct Readable {
    socket: PathBuf,
    port: u16,
}

impl Server {
    /// Makes a new one and starts it.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let bin = programs().context("PostgreSQL is not installed")?;
        let home = tempfile::Builder::new()
            .prefix("cardio-postgres-")
            .tempdir()
            .context("no temporary folder can be had")?;
        let port = ports::free()?;
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755))
            .context("cannot open the server's folder")?;
        certify(home.path())?;
        give_away(home.path())?;
        let mut initdb = as_postgres(&bin.join("initdb"), home.path());
        initdb.args(["-U", "postgres", "-A", "trust", "--no-sync", "-D"]);
        run(initdb.arg(home.path().join("data")))?;
        std::fs::write(home.path().join("data/pg_hba.conf"), ACCESS)
            .context("cannot say who may connect")?;
        let server = Self {
            running: begin(&bin, home.path(), port)?,
            bin,
            home,
            port,
        };
        let admin = server.readable();
        server.answers()?;
        admin.tell(
            "postgres",
            &format!("CREATE ROLE {DATABASE} LOGIN PASSWORD '{PASSWORD}'"),
        )?;
        admin.tell(
            "postgres",
            &format!("CREATE DATABASE {DATABASE} OWNER {DATABASE}"),
        )?;
        admin.tell(DATABASE, WORDS)?;
        Ok(server)
    }

    /// Kills it (SIGKILL): what it had not flushed is gone, what runs for it ends by itself.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.running.kill()
    }

    /// Starts it again and waits until it has recovered.
    pub(crate) fn revive(&mut self) -> anyhow::Result<()> {
        self.running = wait_for("the database server to start again", START_LIMIT, || {
            // It refuses while what ran for the dead one has not noticed yet.
            let mut running = begin(&self.bin, self.home.path(), self.port)?;
            let up = wait_for("its answer", START_LIMIT, || {
                Ok((running.has_ended()? || self.readable().is_up()).then_some(()))
            });
            up.and_then(|()| Ok((!running.has_ended()?).then_some(running)))
        })?;
        Ok(())
    }

    fn answers(&self) -> anyhow::Result<()> {
        wait_for("the database server to answer", START_LIMIT, || {
            Ok(self.readable().is_up().then_some(()))
        })
        .with_context(|| self.running.last_words())
    }

    /// Fails when it has ended by itself.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        self.running.must_run()
    }

    /// Its address on the socket, for a user who may do everything.
    pub(crate) fn address(&self) -> String {
        format!(
            "postgresql://postgres@/postgres?host={}&port={}",
            self.home.path().display(),
            self.port
        )
    }

    /// What a gateway on this machine is told, without TLS.
    pub(crate) fn on_socket(&self) -> String {
        format!(
            "[store]\npostgres = \"postgresql://{DATABASE}@/{DATABASE}?host={}&port={}\"\n",
            self.home.path().display(),
            self.port
        )
    }

    /// What a gateway is told that is not on this machine, as far as it knows; the password is
    /// in the file `password`.
    pub(crate) fn over_tls(&self, name: &str, ca: &Path, password: &Path) -> String {
        format!(
            "[store]\npostgres = \"host={name} hostaddr=127.0.0.1 port={} user={DATABASE} \
             dbname={DATABASE} sslmode=verify-full\"\nca = \"{}\"\npassword_file = \"{}\"\n",
            self.port,
            ca.display(),
            password.display()
        )
    }

    /// Certificate of the authority that its certificate comes from.
    pub(crate) fn authority(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// For a judge.
    pub(crate) fn readable(&self) -> Readable {
        Readable {
            socket: self.home.path().to_owned(),
            port: self.port,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = as_postgres(&self.bin.join("pg_ctl"), self.home.path());
        stop.args(["stop", "-s", "-m", "immediate", "-D"]);
        // It may have ended before: then there is nothing to stop.
        let _ = stop.arg(self.home.path().join("data")).output();
    }
}

impl Readable {
    /// Reads rows.
    pub(crate) fn look(&self, question: &str) -> anyhow::Result<Vec<Value>> {
        let rows = format!("SELECT coalesce(json_agg(rows), '[]') FROM ({question}) AS rows");
        let said = self.tell(DATABASE, &rows)?;
        serde_json::from_slice(&said).context("psql gave no JSON")
    }

    fn is_up(&self) -> bool {
        self.tell("postgres", "SELECT 1").is_ok()
    }

    fn tell(&self, database: &str, sql: &str) -> anyhow::Result<Vec<u8>> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-U", "postgres", "-d", database, "-p"]);
        psql.arg(self.port.to_string());
        psql.arg("-h").arg(&self.socket).arg("-c").arg(sql);
        run(&mut psql)
    }
}

/// The server itself, as a child of this program.
fn begin(bin: &Path, home: &Path, port: u16) -> anyhow::Result<Program> {
    let mut command = as_postgres(&bin.join("postgres"), home);
    command.arg("-D").arg(home.join("data"));
    command.arg("-k").arg(home).args(["-p", &port.to_string()]);
    let set = |name: &str, value: &str| format!("{name}={value}");
    for setting in [
        set("listen_addresses", "127.0.0.1"),
        set("max_connections", "300"),
        set("ssl", "on"),
        set(
            "ssl_cert_file",
            &home.join("server.pem").display().to_string(),
        ),
        set(
            "ssl_key_file",
            &home.join("server.key").display().to_string(),
        ),
    ] {
        command.arg("-c").arg(setting);
    }
    Program::start("postgres", command, home)
}

/// Its certificate, for a name that is not this machine's.
fn certify(home: &Path) -> anyhow::Result<()> {
    let authority = Authority::new("database authority")?;
    let identity = authority.server(NAME)?;
    for (file, text, mode) in [
        ("ca.pem", authority.pem(), 0o644),
        ("server.pem", &identity.certificate, 0o644),
        ("server.key", &identity.key, 0o600),
    ] {
        let path = home.join(file);
        std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets the user `postgres` own the folder, where this program is root.
fn give_away(home: &Path) -> anyhow::Result<()> {
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres:"]).arg(home))?;
    }
    Ok(())
}

/// A program of the server, as its user. The process is the program itself and nothing around it.
fn as_postgres(program: &Path, home: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(home);
    command
}

/// Runs a command that must be content; gives what it said.
fn run(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(output.stdout)
}

/// Runs a command with the address of a server of its own in `CARDIO_TEST_POSTGRES`. `true`
/// when it succeeds.
pub(crate) fn lend(command: &[String]) -> anyhow::Result<bool> {
    let (program, arguments) = command.split_first().context("no command")?;
    let server = Server::start()?;
    let mut command = Command::new(program);
    crate::programs::keep_own_package(&mut command);
    let status = command
        .args(arguments)
        .env("CARDIO_TEST_POSTGRES", server.address())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    Ok(status.success())
}
