//! Databases as somebody else's program reads them: the `sqlite3` command, and `psql`.
//!
//! Deliberately absent: any library of the product. The judge of a database is not its writer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::postgres::Readable;

/// Where a gateway keeps what it was sent.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// A file of SQLite.
    File(PathBuf),
    /// A server of PostgreSQL.
    Server(Readable),
}

impl Database {
    /// Reads rows without changing it, also while a program uses it. The question is in words
    /// that both kinds know: `hex` gives the digits of bytes.
    pub(crate) fn look(&self, question: &str) -> anyhow::Result<Vec<Value>> {
        match self {
            Self::File(path) => look(path, question),
            Self::Server(server) => server.look(question),
        }
    }
}

/// Reads rows of a database without changing it, also while a program uses it.
pub(crate) fn look(database: &Path, question: &str) -> anyhow::Result<Vec<Value>> {
    ask(database, question, &["-readonly"])
}

/// Reads rows of a database that nobody uses; what a crash left is recovered first.
pub(crate) fn read(database: &Path, question: &str) -> anyhow::Result<Vec<Value>> {
    ask(database, question, &[])
}

/// What SQLite says of the whole file: `ok`, or what is wrong.
pub(crate) fn integrity(database: &Path) -> anyhow::Result<String> {
    let rows = read(database, "PRAGMA integrity_check")?;
    let said: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.get("integrity_check")?.as_str())
        .collect();
    Ok(said.join("; "))
}

/// A number of a row; 0 when it is not there.
pub(crate) fn number(row: &Value, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// A text of a row; empty when it is not there.
pub(crate) fn text(row: &Value, name: &str) -> String {
    let text = row.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn ask(database: &Path, question: &str, flags: &[&str]) -> anyhow::Result<Vec<Value>> {
    if !database.is_file() {
        bail!("{} is not there", database.display());
    }
    let output = Command::new("sqlite3")
        .args(flags)
        .args(["-batch", "-json", "-cmd", ".timeout 2000"])
        .arg(database)
        .arg(question)
        .output()
        .context("cannot run sqlite3")?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            database.display(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    if output.stdout.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&output.stdout).context("sqlite3 gave no JSON")
}
