//! What went wrong, as a person is told: what, because of what, what to try, and the code.

use super::exit;
use crate::cli::out;

/// From code to next step. If the cause is not known the hint says what to check.
const HINTS: &[(&str, &str)] = &[
    (
        "config.key.unknown",
        "compare with `cardio-gateway config default`",
    ),
    (
        "config.value",
        "compare with `cardio-gateway config default`",
    ),
    ("config.unreadable", "check the path given with --config"),
    (
        "state.in-use",
        "stop the other gateway, or set another `state` in the configuration",
    ),
    (
        "state.unusable",
        "check that the service user may create and write the directory",
    ),
    (
        "listen.taken",
        "stop what holds the port (see `ss -ltnp`), or set another address",
    ),
    (
        "listen.refused",
        "check the address and the length and rights of the path",
    ),
    (
        "keys.exposed",
        "run `chmod 600` on the file, and renew the key if others may have read it",
    ),
    (
        "state.half-restored",
        "run `cardio-gateway restore FOLDER` again, with the same backup",
    ),
    (
        "restore.keys",
        "put the folder `keys` of that gateway back first: nothing opens without it",
    ),
    ("restore.damaged", "use another backup; nothing was changed"),
    (
        "restore.server",
        "see `pg_dump` and `pg_restore`, or the server's own base backups",
    ),
    ("keys.damaged", "restore the key folder from its backup"),
    (
        "keys.io",
        "check that the file can be written and does not exist yet",
    ),
    (
        "store.full",
        "free space on the disk of the state directory",
    ),
    (
        "store.newer",
        "use the newer program, or restore the backup made before the upgrade",
    ),
    (
        "store.open",
        "check that the state directory can be written",
    ),
    ("alerts.rules", "correct the file named in `alerts.rules`"),
    (
        "boxes.name.taken",
        "choose another name, or see `cardio-gateway boxes list`",
    ),
    (
        "enrol.words",
        "have the words read again; if they still differ, `cardio-gateway boxes refuse NAME`",
    ),
    (
        "enrol.not-pending",
        "see `cardio-gateway boxes pending`, and invite the box (again) with `boxes invite`",
    ),
    (
        "enrol.invited",
        "take the invitation back first: `cardio-gateway boxes refuse NAME`",
    ),
    (
        "keys.needed",
        "wait until they have connected, revoke them, or give --anyway: they must then be enrolled anew",
    ),
    (
        "keys.in-use",
        "see `cardio-gateway keys list`; rotate first",
    ),
    ("boxes.name", "see `cardio-gateway boxes list`"),
    ("gateway.not-running", "start it with `cardio-gateway run`"),
    (
        "boxes.endpoint",
        "give --endpoint HOST:PORT, or set `mqtt.endpoint`",
    ),
    (
        "access.password",
        "choose a longer one: some words that belong together only for you",
    ),
    (
        "access.scope",
        "nurses and cardiologists need --team Organization/ID or --all-patients; others neither",
    ),
    ("access.unknown", "see `cardio-gateway accounts list`"),
    ("access.no-token", "see `cardio-gateway accounts list`"),
    (
        "access.vouched",
        "passwords are changed at the provider; `cardio-gateway accounts disable` shuts it here",
    ),
    ("export.exists", "choose another --out"),
    ("records.nothing", "see `cardio-gateway records find`"),
    (
        "format.open",
        "check the path; a WFDB record is named without .hea or by its header file",
    ),
    (
        "format.cannot-carry",
        "choose another format, or leave facts beside the samples behind: --drop-facts",
    ),
    (
        "format.exists",
        "choose another name, or write over the file: --force",
    ),
    (
        "convert.no-format",
        "give OUT an extension (.edf .hea .dcm .scp .xml .ecg .wav .csv), or name the format: --to",
    ),
    (
        "convert.contradiction",
        "give OUT the extension of the format, or leave out --to",
    ),
];

/// A verb that did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    /// What, then because of what.
    pub(super) chain: Vec<String>,
    /// Stable identifier.
    pub(super) code: String,
    /// Exit code.
    pub(super) exit: u8,
}

impl Failure {
    /// From an error and its sources.
    pub(super) fn of(error: &dyn std::error::Error, code: &str) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        Self {
            chain,
            code: code.to_owned(),
            exit: exit::FAILING,
        }
    }

    /// In words of its own.
    pub(super) fn new(what: impl Into<String>, code: &str) -> Self {
        Self {
            chain: vec![what.into()],
            code: code.to_owned(),
            exit: exit::FAILING,
        }
    }

    /// Wrong usage.
    pub(super) fn usage(mut self) -> Self {
        self.exit = exit::USAGE;
        self
    }

    /// Tells a person on stderr.
    pub(super) fn tell(&self) {
        out::narrate(&self.text());
    }

    fn text(&self) -> String {
        let mut parts = self.chain.iter();
        let mut text = format!(
            "error: {}\n",
            parts.next().map_or("unknown", String::as_str)
        );
        for cause in parts {
            text.push_str(&format!("  because: {cause}\n"));
        }
        if let Some(hint) = hint(&self.code) {
            text.push_str(&format!("  try:     {hint}\n"));
        }
        text.push_str(&format!("  code:    {}\n", self.code));
        text
    }
}

/// The hint of a code, or of the nearest code above it.
fn hint(code: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .filter(|(known, _)| {
            code.strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .max_by_key(|(known, _)| known.len())
        .map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::{Failure, hint};

    #[test]
    fn an_error_says_what_because_try_and_code() {
        let failure = Failure {
            chain: vec![
                "cannot listen on 127.0.0.1:1".to_owned(),
                "denied".to_owned(),
            ],
            code: "listen.taken".to_owned(),
            exit: 2,
        };
        let text = failure.text();
        let starts: Vec<&str> = text.lines().map(|l| l.split(':').next().unwrap()).collect();
        assert_eq!(starts, ["error", "  because", "  try", "  code"]);
    }

    #[test]
    fn the_nearest_code_above_gives_the_hint() {
        assert_eq!(hint("config.value.bad"), hint("config.value"));
        assert!(hint("config.value.bad").is_some());
        assert_ne!(hint("boxes.name.taken"), hint("boxes.name.unknown"));
        assert_eq!(hint("nothing.known"), None);
    }
}
