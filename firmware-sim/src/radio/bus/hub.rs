//! Who is connected, who asked for what, and who gets a message.
//!
//! Deliberately absent: policies, activation, names of clients; a private bus needs none.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::message::{Kind, Message};
use super::rule::Rule;
use super::value::Value;

/// Name of the bus itself.
pub(crate) const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// Name of the one service on this bus.
pub(crate) const SERVICE: &str = "org.bluez";
/// Messages that wait for a slow client before it is cut off, as the real bus does by bytes.
const WAITING_MAX: usize = 65_536;
/// Match rules of one client, as the real system bus limits them.
const RULES_MAX: usize = 512;

/// Refusals of the bus.
const UNKNOWN_SERVICE: &str = "org.freedesktop.DBus.Error.ServiceUnknown";
const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
const NO_OWNER: &str = "org.freedesktop.DBus.Error.NameHasNoOwner";

/// Number of a connection.
pub(crate) type ClientId = u64;

#[derive(Debug)]
struct Client {
    out: SyncSender<Vec<u8>>,
    stream: UnixStream,
    rules: Vec<Rule>,
}

/// The clients of the bus.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    clients: BTreeMap<ClientId, Client>,
    connections: u64,
    serial: u32,
    /// Unique name of the service while it runs.
    owner: Option<String>,
}

/// Unique name of a connection.
pub(crate) fn unique_name(client: ClientId) -> String {
    format!(":1.{client}")
}

fn client_of(name: &str) -> Option<ClientId> {
    name.strip_prefix(":1.")?.parse().ok()
}

impl Hub {
    /// Takes a connection that has said who it is; what comes out of the receiver is for it.
    pub(crate) fn join(&mut self, stream: UnixStream) -> (ClientId, Receiver<Vec<u8>>) {
        self.connections = self.connections.saturating_add(1);
        let (out, messages) = sync_channel(WAITING_MAX);
        let client = Client {
            out,
            stream,
            rules: Vec::new(),
        };
        self.clients.insert(self.connections, client);
        (self.connections, messages)
    }

    /// Forgets a connection.
    pub(crate) fn leave(&mut self, id: ClientId) {
        if let Some(client) = self.clients.remove(&id) {
            // It may be gone already.
            let _ = client.stream.shutdown(Shutdown::Both);
        }
    }

    /// Cuts all connections, as the end of a bus does.
    pub(crate) fn cut_all(&mut self) -> Vec<ClientId> {
        let ids: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in &ids {
            self.leave(*id);
        }
        ids
    }

    /// Whether the service runs.
    pub(crate) const fn has_service(&self) -> bool {
        self.owner.is_some()
    }

    /// Number of match rules of all clients.
    pub(crate) fn rules(&self) -> usize {
        self.clients.values().map(|client| client.rules.len()).sum()
    }

    /// The service comes or goes; everybody who watches its name is told.
    pub(crate) fn set_service(&mut self, runs: bool) {
        if runs == self.owner.is_some() {
            return;
        }
        let before = self.owner.take().unwrap_or_default();
        if runs {
            self.connections = self.connections.saturating_add(1);
            self.owner = Some(unique_name(self.connections));
        }
        let after = self.owner.clone().unwrap_or_default();
        let names = [SERVICE.to_owned(), before, after].map(Value::Text);
        let signal = Message::signal(BUS_PATH, BUS, "NameOwnerChanged", &names);
        self.send(BUS, signal);
    }

    /// Sends a message of the bus or of the service.
    pub(crate) fn send(&mut self, sender: &str, mut message: Message) {
        self.serial = self.serial.wrapping_add(1).max(1);
        message.serial = self.serial;
        message.sender = match (sender, &self.owner) {
            (SERVICE, Some(owner)) => owner.clone(),
            _ => sender.to_owned(),
        };
        self.route(&message, &[sender]);
    }

    /// Passes a client's message on: to another client, or as a signal to all.
    pub(crate) fn pass_on(&mut self, message: &Message) {
        let to = client_of(&message.destination);
        let is_known = to.is_some_and(|to| self.clients.contains_key(&to));
        if is_known || message.kind == Kind::Signal {
            return self.route(message, &[]);
        }
        if message.wants_answer() {
            let text = format!(
                "The name {} was not provided by any .service files",
                message.destination
            );
            self.send(BUS, Message::refusal(message, UNKNOWN_SERVICE, &text));
        }
    }

    fn route(&mut self, message: &Message, names: &[&str]) {
        let bytes = message.encode();
        let mut names = names.to_vec();
        names.push(&message.sender);
        let addressed = client_of(&message.destination);
        let lost: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(id, client)| match addressed {
                Some(to) => to == **id,
                None => client
                    .rules
                    .iter()
                    .any(|rule| rule.matches(message, &names)),
            })
            .filter(|(_, client)| client.out.try_send(bytes.clone()).is_err())
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.leave(id);
        }
    }

    /// Answers a call to the bus itself.
    pub(crate) fn serve(&mut self, from: ClientId, call: &Message) {
        let answer = self.answer(from, call);
        if call.wants_answer() {
            self.send(BUS, answer);
        }
        if call.member == "Hello" {
            let mut signal =
                Message::signal(BUS_PATH, BUS, "NameAcquired", &[Value::text(&call.sender)]);
            signal.destination.clone_from(&call.sender);
            self.send(BUS, signal);
        }
    }

    fn answer(&mut self, from: ClientId, call: &Message) -> Message {
        let arguments = call.values().unwrap_or_default();
        let first = arguments.first().and_then(Value::as_text).unwrap_or("");
        match call.member.as_str() {
            "Hello" => Message::answer(call, &[Value::text(&call.sender)]),
            "AddMatch" => self.add_rule(from, call, first),
            "RemoveMatch" => self.remove_rule(from, call, first),
            "NameHasOwner" => Message::answer(call, &[Value::Bool(self.owner_of(first).is_some())]),
            "GetNameOwner" => match self.owner_of(first) {
                Some(owner) => Message::answer(call, &[Value::Text(owner)]),
                None => {
                    let text = format!("Could not get owner of name '{first}': no such name");
                    Message::refusal(call, NO_OWNER, &text)
                }
            },
            "ListNames" => {
                let clients = self.clients.keys().map(|id| unique_name(*id));
                let service = self
                    .owner
                    .iter()
                    .flat_map(|o| [SERVICE.to_owned(), o.clone()]);
                let names = [BUS.to_owned()].into_iter().chain(clients).chain(service);
                Message::answer(call, &[Value::texts(names)])
            }
            "Ping" => Message::answer(call, &[]),
            other => {
                let text = format!("{BUS} does not understand message {other}");
                Message::refusal(call, UNKNOWN_METHOD, &text)
            }
        }
    }

    fn owner_of(&self, name: &str) -> Option<String> {
        match name {
            BUS => Some(BUS.to_owned()),
            SERVICE => self.owner.clone(),
            _ => {
                let is_known = client_of(name).is_some_and(|id| self.clients.contains_key(&id));
                is_known.then(|| name.to_owned())
            }
        }
    }

    fn add_rule(&mut self, from: ClientId, call: &Message, text: &str) -> Message {
        let Some(rule) = Rule::parse(text) else {
            let name = "org.freedesktop.DBus.Error.MatchRuleInvalid";
            return Message::refusal(call, name, text);
        };
        let Some(client) = self.clients.get_mut(&from) else {
            return Message::answer(call, &[]);
        };
        if client.rules.len() >= RULES_MAX {
            let name = "org.freedesktop.DBus.Error.LimitsExceeded";
            let text = "Connection is not allowed to add more match rules";
            return Message::refusal(call, name, text);
        }
        client.rules.push(rule);
        Message::answer(call, &[])
    }

    fn remove_rule(&mut self, from: ClientId, call: &Message, text: &str) -> Message {
        let rules = self.clients.get_mut(&from).map(|client| &mut client.rules);
        let found = rules.and_then(|rules| {
            let place = rules.iter().position(|rule| rule.text() == text)?;
            Some(rules.remove(place))
        });
        match found {
            Some(_) => Message::answer(call, &[]),
            None => {
                let name = "org.freedesktop.DBus.Error.MatchRuleNotFound";
                Message::refusal(call, name, "The given match rule wasn't found")
            }
        }
    }
}
