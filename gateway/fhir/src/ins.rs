//! The national health identity (INS): its kinds, and the check key of its number.
//!
//! Deliberately absent: any call to the national identity service. The box never asks it, and
//! a number is filed only as far as the identity's status allows (see [`crate::patient`]).

/// Which register a number is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsKind {
    /// From the national register (NIR).
    Nir,
    /// A waiting number (NIA).
    Nia,
    /// Fictitious, for tests.
    Test,
    /// Fictitious, for demonstrations.
    Demo,
}

impl InsKind {
    /// The assigning authority of the number, as an OID.
    pub const fn system(self) -> &'static str {
        match self {
            Self::Nir => "urn:oid:1.2.250.1.213.1.4.8",
            Self::Nia => "urn:oid:1.2.250.1.213.1.4.9",
            Self::Test => "urn:oid:1.2.250.1.213.1.4.10",
            Self::Demo => "urn:oid:1.2.250.1.213.1.4.11",
        }
    }

    /// The kind of identifier in the French table.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nir => "INS-NIR",
            Self::Nia => "INS-NIA",
            Self::Test => "INS-NIR-TEST",
            Self::Demo => "INS-NIR-DEMO",
        }
    }

    /// The use of the identifier: a waiting number is temporary.
    pub const fn identifier_use(self) -> &'static str {
        match self {
            Self::Nia => "temp",
            Self::Nir | Self::Test | Self::Demo => "official",
        }
    }

    /// Whether the number can belong to nobody.
    pub const fn is_fictitious(self) -> bool {
        matches!(self, Self::Test | Self::Demo)
    }
}

/// A number whose key is right.
#[derive(Clone, PartialEq, Eq)]
pub struct Ins {
    kind: InsKind,
    digits: String,
}

impl std::fmt::Debug for Ins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The number is an identity: it stays out of logs.
        f.debug_struct("Ins")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why a text is not a number of the national register. Says no digit of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsError {
    /// Not thirteen characters and a key of two.
    #[error("an INS number has 13 characters and a key of 2, but {have} character(s) were given")]
    Length {
        /// Characters given.
        have: usize,
    },
    /// A character that cannot stand at its place.
    #[error("character {position} of the INS number cannot stand there")]
    Character {
        /// Its position, from 1.
        position: usize,
    },
    /// The key does not belong to the number.
    #[error("the key of the INS number does not belong to its 13 characters")]
    Key,
}

impl InsError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "ins.length",
            Self::Character { .. } => "ins.character",
            Self::Key => "ins.key",
        }
    }
}

impl Ins {
    /// Reads thirteen characters and the key; spaces are ignored.
    ///
    /// # Errors
    /// [`InsError`] when the length, a character or the key is wrong.
    pub fn new(kind: InsKind, text: &str) -> Result<Self, InsError> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let have = digits.chars().count();
        if have != 15 {
            return Err(InsError::Length { have });
        }
        let (number, key) = digits
            .split_at_checked(13)
            .ok_or(InsError::Length { have })?;
        let key: u64 = key
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| key.parse().ok())
            .flatten()
            .ok_or(InsError::Character { position: 14 })?;
        if key == check_key(number)? {
            Ok(Self { kind, digits })
        } else {
            Err(InsError::Key)
        }
    }

    /// Which register it is from.
    pub const fn kind(&self) -> InsKind {
        self.kind
    }

    /// The thirteen characters and the key.
    pub fn value(&self) -> &str {
        &self.digits
    }
}

/// The key of thirteen characters: 97 less the number modulo 97. The departments of Corsica,
/// 2A and 2B, count as 19 and 18.
///
/// # Errors
/// [`InsError`] when the characters are not thirteen, or one cannot stand at its place.
pub fn check_key(number: &str) -> Result<u64, InsError> {
    let have = number.chars().count();
    if have != 13 {
        return Err(InsError::Length { have });
    }
    let mut value: u64 = 0;
    let mut previous = ' ';
    for (position, c) in (1..).zip(number.chars()) {
        let digit = match c {
            // The department stands at the sixth and seventh place.
            'A' | 'B' if position == 7 && previous == '2' => {
                // "2x" was counted as 2 tens; 19 and 18 are one ten and a unit.
                value = value.saturating_sub(1);
                if c == 'A' { 9 } else { 8 }
            }
            _ => c.to_digit(10).ok_or(InsError::Character { position })?,
        };
        value = value * 10 + u64::from(digit);
        previous = c;
    }
    Ok(97 - value % 97)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_of_the_published_sample_is_12_and_not_the_44_it_is_printed_with() {
        assert_eq!(check_key("1234567890122"), Ok(12));
        assert!(Ins::new(InsKind::Test, "1234567890122 12").is_ok());
        assert_eq!(
            Ins::new(InsKind::Test, "123456789012244"),
            Err(InsError::Key)
        );
    }

    #[test]
    fn the_departments_of_corsica_count_as_19_and_18() {
        assert_eq!(check_key("185052A123456"), check_key("1850519123456"));
        assert_eq!(check_key("185052B123456"), check_key("1850518123456"));
        assert_eq!(
            check_key("1850A2A123456"),
            Err(InsError::Character { position: 5 })
        );
    }

    #[test]
    fn an_error_and_a_debug_text_hold_no_digit_of_the_number() {
        let ins = Ins::new(InsKind::Demo, "123456789012212").unwrap();
        assert!(!format!("{ins:?}").contains("1234"));
        let err = Ins::new(InsKind::Demo, "1234567890122").unwrap_err();
        assert_eq!(err, InsError::Length { have: 13 });
        assert!(!err.to_string().contains("1234"));
    }

    proptest! {
        #[test]
        fn one_wrong_digit_is_always_noticed(number in 1_000_000_000_000_u64..3_000_000_000_000, place in 0_usize..13, by in 1_u8..10) {
            let right = number.to_string();
            let key = check_key(&right).unwrap();
            let mut wrong = right.clone().into_bytes();
            wrong[place] = b'0' + (wrong[place] - b'0' + by) % 10;
            let wrong = String::from_utf8(wrong).unwrap();
            let (right, wrong) = (format!("{right}{key:02}"), format!("{wrong}{key:02}"));
            prop_assert!(Ins::new(InsKind::Test, &right).is_ok());
            prop_assert_eq!(Ins::new(InsKind::Test, &wrong), Err(InsError::Key));
        }

        #[test]
        fn any_text_is_a_number_or_an_error(text: String) {
            let _ = Ins::new(InsKind::Nir, &text);
            let _ = check_key(&text);
        }
    }
}
