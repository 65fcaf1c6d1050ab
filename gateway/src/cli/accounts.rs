//! `cardio-gateway accounts add|list|disable|enable|password|token|revoke`.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use cardio_gateway::access::{NewAccount, Role, Secret};
use cardio_gateway::control::Request;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Make an account. Its password is read from the terminal, or from the first line of stdin.
    Add(Add),
    /// The accounts, their roles, teams and tokens.
    List {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Shut an account: its sessions end, its tokens and its password open nothing.
    Disable {
        /// The account.
        name: String,
    },
    /// Open an account again that was shut.
    Enable {
        /// The account.
        name: String,
    },
    /// Set another password; whoever is logged in has to do so again.
    Password {
        /// The account.
        name: String,
    },
    /// Make a token for a program; it is printed now and never again.
    Token {
        /// The account.
        name: String,
        /// What the token is for; a token of the same label ends.
        #[arg(long, value_name = "LABEL")]
        label: String,
        /// How many days it holds.
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// What it may do at most: nurse, cardiologist, technician, admin; as much as the account
        /// when absent.
        #[arg(long, value_parser = role)]
        role: Option<Role>,
    },
    /// End a token.
    Revoke {
        /// The account.
        name: String,
        /// The token.
        #[arg(long, value_name = "LABEL")]
        label: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its name, by which a person logs in.
    name: String,
    /// nurse, cardiologist, technician or admin.
    #[arg(long, value_parser = role)]
    role: Role,
    /// An organization whose patients it sees; may be repeated.
    #[arg(long = "team", value_name = "Organization/ID")]
    teams: Vec<String>,
    /// It sees every patient, and exams that are not assigned yet.
    #[arg(long)]
    all_patients: bool,
    /// Whom it belongs to.
    #[arg(long, value_name = "Practitioner/ID")]
    practitioner: Option<String>,
    /// No password: nobody logs in, programs use its tokens.
    #[arg(long)]
    no_password: bool,
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| {
        let names = Role::OF_ACCOUNTS.map(Role::name).join(", ");
        format!("the roles are {names}")
    })
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    let said = match verb {
        Verb::Add(add) => {
            let mut account = NewAccount::new(add.name, add.role);
            account.teams = add.teams;
            account.all_patients = add.all_patients;
            account.practitioner = add.practitioner;
            let password = match add.no_password {
                true => None,
                false => Some(password()?),
            };
            let done = ask(&config, &Request::AccountsAdd { account, password })?;
            format!("{} added\n", out::text(&done, "name"))
        }
        Verb::List { json } => {
            let accounts = ask(&config, &Request::AccountsList)?;
            match json {
                true => format!("{accounts:#}\n"),
                false => table(&accounts),
            }
        }
        Verb::Disable { name } => {
            ask(&config, &Request::AccountsDisable { name: name.clone() })?;
            format!("{name} shut\n")
        }
        Verb::Enable { name } => {
            ask(&config, &Request::AccountsEnable { name: name.clone() })?;
            format!("{name} open\n")
        }
        Verb::Password { name } => {
            let password = password()?;
            let request = Request::AccountsPassword {
                name: name.clone(),
                password,
            };
            ask(&config, &request)?;
            format!("{name} has another password\n")
        }
        Verb::Token {
            name,
            label,
            days,
            role,
        } => {
            let request = Request::AccountsToken {
                name,
                label,
                role,
                days,
            };
            let made = ask(&config, &request)?;
            format!("{}\n", out::text(&made, "token"))
        }
        Verb::Revoke { name, label } => {
            let request = Request::AccountsRevoke {
                name,
                label: label.clone(),
            };
            ask(&config, &request)?;
            format!("{label} revoked\n")
        }
    };
    out::result(&said);
    Ok(exit::WELL)
}

fn table(accounts: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(accounts, "accounts").map(row).collect();
    let head = ["ACCOUNT", "ROLE", "SEES", "BELONGS TO", "STATE", "TOKENS"];
    out::table(&head, &rows)
}

fn row(one: &Value) -> Vec<String> {
    let texts = |name| {
        let all = out::list(one, name).filter_map(Value::as_str);
        all.collect::<Vec<_>>().join(" ")
    };
    let flag = |name| one.get(name).and_then(Value::as_bool) == Some(true);
    let sees = match (flag("all_patients"), texts("teams")) {
        (true, _) => "all patients".to_owned(),
        (false, teams) if teams.is_empty() => "directory".to_owned(),
        (false, teams) => teams,
    };
    let state = match (one.get("disabled"), flag("password")) {
        (Some(Value::String(_)), _) => "shut",
        (_, true) => "open",
        (_, false) => "open, no password",
    };
    let tokens = out::list(one, "tokens");
    let tokens = tokens.map(|token| {
        let ends: String = out::text(token, "ends").chars().take(10).collect();
        format!("{} until {ends}", out::text(token, "label"))
    });
    vec![
        out::text(one, "name"),
        out::text(one, "role"),
        sees,
        out::text(one, "practitioner"),
        state.to_owned(),
        tokens.collect::<Vec<_>>().join(", "),
    ]
}

/// A password: typed twice on a terminal, unseen, or the first line of stdin.
fn password() -> Result<Secret, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return line();
    }
    let unreadable = |error: rustix::io::Errno| Failure::of(&error, "access.terminal");
    let shown = tcgetattr(&stdin).map_err(unreadable)?;
    let mut unseen = shown.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &unseen).map_err(unreadable)?;
    let typed = typed_twice();
    // Whatever was typed, the terminal shows again what is typed next.
    let restored = tcsetattr(&stdin, OptionalActions::Now, &shown).map_err(unreadable);
    let typed = typed?;
    restored.map(|()| typed)
}

fn typed_twice() -> Result<Secret, Failure> {
    out::narrate("Password: ");
    let first = line()?;
    out::narrate("\nOnce more: ");
    let second = line()?;
    out::narrate("\n");
    match first == second {
        true => Ok(first),
        false => Err(Failure::new("the two differ; nothing was changed", "access.typed").usage()),
    }
}

fn line() -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text);
    read.map_err(|error| Failure::of(&error, "access.terminal"))?;
    let secret = Secret::new(text.trim_end_matches(['\n', '\r']).to_owned());
    match secret.text().is_empty() {
        true => Err(Failure::new("no password was given", "access.typed").usage()),
        false => Ok(secret),
    }
}
