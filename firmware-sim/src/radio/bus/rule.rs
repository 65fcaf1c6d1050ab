//! Which signals a client asked for.
//!
//! Source: D-Bus Specification 0.43, "Match Rules". Of the keys, those that clients of BlueZ
//! use; a rule with another key is refused, so that nothing is matched by accident.

use super::message::{Kind, Message};
use super::value::Value;

/// One rule, with the text by which it is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    text: String,
    keys: Vec<(Key, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Type,
    Sender,
    Interface,
    Member,
    Path,
    PathNamespace,
    Destination,
    Arg0,
}

impl Rule {
    /// Reads a rule; `None` when it is none, or has a key that is not known here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut keys = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=')?;
            let (value, behind) = match behind.strip_prefix('\'') {
                Some(quoted) => quoted.split_once('\'')?,
                None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
            };
            let key = match name.trim() {
                "type" => Key::Type,
                "sender" => Key::Sender,
                "interface" => Key::Interface,
                "member" => Key::Member,
                "path" => Key::Path,
                "path_namespace" => Key::PathNamespace,
                "destination" => Key::Destination,
                "arg0" => Key::Arg0,
                _ => return None,
            };
            keys.push((key, value.to_owned()));
            rest = match behind.strip_prefix(',') {
                Some(next) => next,
                None if behind.is_empty() => behind,
                None => return None,
            };
        }
        let text = text.to_owned();
        Some(Self { text, keys })
    }

    /// The text that it was made from.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a message is one of those asked for. `names` are the names of its sender.
    pub(crate) fn matches(&self, message: &Message, names: &[&str]) -> bool {
        self.keys.iter().all(|(key, wanted)| match key {
            Key::Type => wanted == "signal" && message.kind == Kind::Signal,
            Key::Sender => names.contains(&wanted.as_str()),
            Key::Interface => message.interface == *wanted,
            Key::Member => message.member == *wanted,
            Key::Path => message.path == *wanted,
            Key::PathNamespace => is_under(&message.path, wanted),
            Key::Destination => message.destination == *wanted,
            Key::Arg0 => message.values().is_ok_and(
                |values| matches!(values.first(), Some(Value::Text(text)) if text == wanted),
            ),
        })
    }
}

fn is_under(path: &str, root: &str) -> bool {
    root == "/"
        || path
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::Rule;
    use crate::radio::bus::message::Message;
    use crate::radio::bus::value::Value;

    fn matches(rule: &str, message: &Message) -> bool {
        Rule::parse(rule)
            .unwrap()
            .matches(message, &[":1.1", "org.bluez"])
    }

    #[test]
    fn a_rule_of_a_device_takes_what_is_below_it_and_nothing_beside_it() {
        let rule = "type='signal',sender='org.bluez',path_namespace='/org/bluez/hci0/dev_A',\
                    interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'";
        let changed = |path: &str| {
            let interface = "org.freedesktop.DBus.Properties";
            Message::signal(path, interface, "PropertiesChanged", &[])
        };
        assert!(matches(rule, &changed("/org/bluez/hci0/dev_A")));
        assert!(matches(rule, &changed("/org/bluez/hci0/dev_A/service0001")));
        assert!(!matches(rule, &changed("/org/bluez/hci0/dev_AB")));
        assert!(!matches("sender='org.other'", &changed("/")));
    }

    #[test]
    fn a_rule_can_name_the_first_argument() {
        let signal = Message::signal("/", "a.b", "C", &[Value::text("org.bluez")]);
        assert!(matches("arg0='org.bluez',type=signal", &signal));
        assert!(!matches("arg0='org.other'", &signal));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["type", "type='signal", "colour='red'", "type='signal'x"] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
        assert!(Rule::parse("").is_some());
    }
}
