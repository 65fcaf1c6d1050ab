//! Where a listener is, if it is on at all.

use std::net::SocketAddr;

use serde::Deserialize;

/// The word for a listener that is not wanted.
const OFF: &str = "off";

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// Nobody listens.
    Off,
    /// Port 0 lets the system choose.
    At(SocketAddr),
}

/// Why a text is no [`Listen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address with its port is expected, as in \"127.0.0.1:8883\", or \"{OFF}\"")]
pub struct ListenError;

impl Listen {
    /// The address, unless it is off.
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        match text.as_str() {
            OFF => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| ListenError),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn boxes_that_come_through_a_broker_need_no_listener_here() {
        let config = |text: &str| Config::from_toml(text, "t");
        let broker = "[broker]\naddress = \"b.example:8883\"\n";
        let off = "[mqtt]\nlisten = \"off\"\n";
        let both = config(&format!("{off}{broker}")).unwrap();
        assert!(both.mqtt.listen.address().is_none());
        assert!(config(broker).unwrap().mqtt.listen.address().is_some());
        let err = config(off).unwrap_err().to_string();
        assert!(
            err.contains("mqtt.listen") && err.contains("[broker]"),
            "{err}"
        );
        let err = config("[mqtt]\nlisten = \"of\"").unwrap_err().to_string();
        assert!(
            err.contains("mqtt.listen") && err.contains("\"off\""),
            "{err}"
        );
    }
}
