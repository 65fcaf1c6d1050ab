//! Lanes, chains, and what identifies a frame.
//!
//! A lane is one of four ordered streams of a box. A chain is the life of a lane's database:
//! a new database starts new chains. Deliberately absent: what a lane carries, and when.

use std::str::FromStr;

use cardio_core::ids::BoxId;

/// One of four ordered streams of a box. The order of the variants is the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// What a person must see at once.
    Alert = 0,
    /// A visit: segments, gaps and assessments while a person attends.
    Routine = 1,
    /// Long unattended recordings.
    Bulk = 2,
    /// Events of the box itself.
    Log = 3,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Routine, Self::Bulk, Self::Log];

    /// What belongs to this lane, of things in the order of [`Lane::ALL`].
    pub const fn of<T>(self, each: &[T; 4]) -> &T {
        let [alert, routine, bulk, log] = each;
        match self {
            Self::Alert => alert,
            Self::Routine => routine,
            Self::Bulk => bulk,
            Self::Log => log,
        }
    }

    /// As [`Lane::of`], to be changed.
    pub const fn of_mut<T>(self, each: &mut [T; 4]) -> &mut T {
        let [alert, routine, bulk, log] = each;
        match self {
            Self::Alert => alert,
            Self::Routine => routine,
            Self::Bulk => bulk,
            Self::Log => log,
        }
    }

    /// Number on the wire.
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a fieldless repr(u8) enum"
    )]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The lane of a number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Alert),
            1 => Some(Self::Routine),
            2 => Some(Self::Bulk),
            3 => Some(Self::Log),
            _ => None,
        }
    }

    /// Stable name in topics, logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Routine => "routine",
            Self::Bulk => "bulk",
            Self::Log => "log",
        }
    }

    /// The lane of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Eight random bytes that name the life of a lane's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub [u8; 8]);

/// The first eight bytes of the SHA-256 of a raw public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl std::fmt::Display for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.0, f)
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.0, f)
    }
}

/// What makes a frame that frame and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameIdentity {
    /// The box that made it.
    pub device: BoxId,
    /// Its lane.
    pub lane: Lane,
    /// The life of the lane's database.
    pub chain: ChainId,
    /// Its place in the chain, from 1, without holes.
    pub seq: u64,
}

impl std::fmt::Display for FrameIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.device.0, f)?;
        write!(f, "/{}/{}/{}", self.lane, self.chain, self.seq)
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes from lower-case hexadecimal digits.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.as_bytes().iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The text is not sixteen lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a chain: 16 lower-case hexadecimal digits are expected")]
pub struct ChainIdError;

impl ChainIdError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "id.chain"
    }
}

impl FromStr for ChainId {
    type Err = ChainIdError;
    fn from_str(text: &str) -> Result<Self, ChainIdError> {
        parse_hex(text).map(Self).ok_or(ChainIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxId, ChainId, FrameIdentity, Lane};

    #[test]
    fn every_lane_is_found_again_by_number_and_by_name() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_number(lane.number()), Some(lane));
            assert_eq!(Lane::from_name(lane.name()), Some(lane));
            assert_eq!(*lane.of(&Lane::ALL), lane);
            assert_eq!(*lane.of_mut(&mut Lane::ALL.clone()), lane);
        }
        assert_eq!(Lane::from_number(4), None);
        assert!(Lane::Alert < Lane::Log);
    }

    #[test]
    fn an_identity_reads_as_a_path() {
        let identity = FrameIdentity {
            device: BoxId([0xAB; 16]),
            lane: Lane::Bulk,
            chain: ChainId([1; 8]),
            seq: 7,
        };
        assert_eq!(
            identity.to_string(),
            "abababababababababababababababab/bulk/0101010101010101/7"
        );
        assert_eq!("0101010101010101".parse(), Ok(identity.chain));
        assert!("01010101010101G1".parse::<ChainId>().is_err());
        assert!("+101010101010101".parse::<ChainId>().is_err());
    }
}
