//! MQTT topics under the root `ecg/1`.
//!
//! A box publishes below its own `up` and `state` and subscribes below its own `down`;
//! nothing else. Topics hold the box's number and nothing about a patient.

use std::str::FromStr;

use cardio_core::ids::BoxId;

use crate::lane::{Lane, parse_hex, write_hex};

/// The root of all topics; the number is the version of the topic scheme.
pub const ROOT: &str = "ecg/1";

/// Where a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Frames of a lane, from the box.
    UpLane(BoxId, Lane),
    /// What the box holds, said on every connection.
    UpHello(BoxId),
    /// Whether the box is connected; retained, also its will.
    State(BoxId),
    /// Acknowledgements to the box.
    DownAck(BoxId),
    /// Commands to the box.
    DownCommand(BoxId),
}

impl Topic {
    /// The box that publishes or receives here.
    pub const fn device(&self) -> BoxId {
        match self {
            Self::UpLane(device, _)
            | Self::UpHello(device)
            | Self::State(device)
            | Self::DownAck(device)
            | Self::DownCommand(device) => *device,
        }
    }

    /// Whether the box may publish here; otherwise only the gateway does.
    pub const fn is_from_box(&self) -> bool {
        matches!(self, Self::UpLane(..) | Self::UpHello(_) | Self::State(_))
    }

    /// The box as topics name it, which is also the name in its TLS certificate: a broker can
    /// tell by the name alone where a box may publish and listen.
    pub fn box_name(device: BoxId) -> String {
        Digits(device).to_string()
    }

    /// The one filter that a box subscribes to.
    pub fn down_filter(device: BoxId) -> String {
        format!("{ROOT}/{}/down/+", Digits(device))
    }
}

struct Digits(BoxId);

impl std::fmt::Display for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.0.0, f)
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{ROOT}/{}/", Digits(self.device()))?;
        match self {
            Self::UpLane(_, lane) => write!(f, "up/{lane}"),
            Self::UpHello(_) => f.write_str("up/hello"),
            Self::State(_) => f.write_str("state"),
            Self::DownAck(_) => f.write_str("down/ack"),
            Self::DownCommand(_) => f.write_str("down/cmd"),
        }
    }
}

/// Why a text is not one of our topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// It does not start with the root.
    #[error("the topic is not below {ROOT}")]
    Root,
    /// The level after the root is no box.
    #[error("the topic names no box: 32 lower-case hexadecimal digits are expected after {ROOT}")]
    Device,
    /// What follows the box is unknown.
    #[error("the topic is none of up/<lane>, up/hello, state, down/ack, down/cmd")]
    Leaf,
}

impl TopicError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Root => "topic.root",
            Self::Device => "topic.device",
            Self::Leaf => "topic.leaf",
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let below = text
            .strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(TopicError::Root)?;
        let (digits, leaf) = below.split_once('/').ok_or(TopicError::Device)?;
        let device = BoxId(parse_hex(digits).ok_or(TopicError::Device)?);
        match leaf {
            "up/hello" => Ok(Self::UpHello(device)),
            "state" => Ok(Self::State(device)),
            "down/ack" => Ok(Self::DownAck(device)),
            "down/cmd" => Ok(Self::DownCommand(device)),
            _ => leaf
                .strip_prefix("up/")
                .and_then(Lane::from_name)
                .map(|lane| Self::UpLane(device, lane))
                .ok_or(TopicError::Leaf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxId, Lane, Topic, TopicError};
    use proptest::prelude::*;

    #[test]
    fn topics_read_as_the_scheme_says() {
        let device = BoxId([0x0F; 16]);
        let digits = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
        let cases = [
            (Topic::UpLane(device, Lane::Alert), "up/alert"),
            (Topic::UpHello(device), "up/hello"),
            (Topic::State(device), "state"),
            (Topic::DownAck(device), "down/ack"),
            (Topic::DownCommand(device), "down/cmd"),
        ];
        for (topic, leaf) in cases {
            let text = format!("ecg/1/{digits}/{leaf}");
            assert_eq!(topic.to_string(), text);
            assert_eq!(text.parse(), Ok(topic));
        }
        assert_eq!(Topic::down_filter(device), format!("ecg/1/{digits}/down/+"));
    }

    #[test]
    fn a_foreign_topic_is_refused_with_the_level_that_is_wrong() {
        let digits = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
        for (text, why) in [
            ("ecg/2/x/state".to_owned(), TopicError::Root),
            ("ecg/1".to_owned(), TopicError::Root),
            (
                format!("ecg/1/{}/state", digits.to_uppercase()),
                TopicError::Device,
            ),
            (format!("ecg/1/{digits}"), TopicError::Device),
            (format!("ecg/1/{digits}/up/+"), TopicError::Leaf),
            (format!("ecg/1/{digits}/up/alert/x"), TopicError::Leaf),
        ] {
            assert_eq!(text.parse::<Topic>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_topic_or_an_error(text: String) {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text);
            }
        }
    }
}
