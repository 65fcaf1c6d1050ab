//! The address of a Bluetooth device.

use std::fmt;
use std::str::FromStr;

use bluez_async::MacAddress;

/// Six bytes that tell one device from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 6]);

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no Bluetooth address: six pairs of digits as in A0:9E:1A:00:00:01 are expected"
)]
pub struct AddressError {
    /// What was written.
    pub text: String,
}

impl AddressError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "ble.address"
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError {
            text: text.to_owned(),
        };
        let pairs: Vec<u8> = text
            .split(':')
            .map(|pair| match pair.len() {
                2 if pair.chars().all(|c| c.is_ascii_hexdigit()) => {
                    u8::from_str_radix(pair, 16).map_err(|_| bad())
                }
                _ => Err(bad()),
            })
            .collect::<Result<_, _>>()?;
        pairs.try_into().map(Self).map_err(|_| bad())
    }
}

impl From<MacAddress> for Address {
    fn from(address: MacAddress) -> Self {
        Self(address.into())
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "A0:9E:1A:00:00",
            "A0:9E:1A:00:00:001",
            "Polar H10",
            "A0:9E:1A:00:00:+1",
        ] {
            assert_eq!(
                bad.parse::<Address>().unwrap_err().code(),
                "ble.address",
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_any_text_is_read_or_refused(bytes: [u8; 6], text: String) {
            let written = Address(bytes).to_string();
            prop_assert_eq!(written.parse::<Address>().unwrap(), Address(bytes));
            prop_assert_eq!(written.to_lowercase().parse::<Address>().unwrap(), Address(bytes));
            let _ = text.parse::<Address>();
        }
    }
}
