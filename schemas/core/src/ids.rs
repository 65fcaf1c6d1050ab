//! Identifiers. All are opaque: none holds or reveals who a patient is.

/// Sixteen bytes that name one thing for ever, written as a UUID (RFC 9562).
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_uuid(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A box, as the gateway enrolled it.
    BoxId
);
uuid_id!(
    /// One act on one patient.
    AcquisitionId
);
uuid_id!(
    /// One record that left the box sealed.
    RecordId
);
uuid_id!(
    /// One run of the box's kernel.
    BootId
);

/// A sensor as the box's configuration calls it, for instance `ecg12-a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(String);

/// The longest name of a source, in bytes.
pub const SOURCE_ID_MAX_BYTES: usize = 64;

impl SourceId {
    /// A name of 1 to 64 ASCII letters, digits, `-`, `_` or `.`.
    ///
    /// # Errors
    /// [`IdError::BadSourceId`] otherwise.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !text.is_empty() && text.len() <= SOURCE_ID_MAX_BYTES && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::BadSourceId)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not 32 hexadecimal digits in the groups of a UUID.
    #[error("not a UUID: 32 hexadecimal digits in groups of 8-4-4-4-12 are expected")]
    BadUuid,
    /// Not a name that a source may have.
    #[error("not a source name: 1 to 64 ASCII letters, digits, '-', '_' or '.' are expected")]
    BadSourceId,
}

impl IdError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadUuid => "id.uuid",
            Self::BadSourceId => "id.source",
        }
    }
}

fn write_uuid(bytes: &[u8; 16], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Result<[u8; 16], IdError> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [8, 4, 4, 4, 12] {
        return Err(IdError::BadUuid);
    }
    let digits: Vec<u8> = groups
        .concat()
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or(IdError::BadUuid)?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    bytes.try_into().map_err(|_| IdError::BadUuid)
}

#[cfg(test)]
mod tests {
    use super::{BoxId, SourceId};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: [u8; 16]) {
            prop_assert_eq!(BoxId(bytes).to_string().parse::<BoxId>().unwrap(), BoxId(bytes));
        }

        #[test]
        fn any_text_is_an_identifier_or_an_error(text: String) {
            let _ = text.parse::<BoxId>();
            let _ = SourceId::new(&text);
        }
    }

    #[test]
    fn a_source_name_holds_nothing_a_path_or_a_log_could_trip_over() {
        assert!(SourceId::new("ecg12-a").is_ok());
        for bad in ["", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(SourceId::new(bad).is_err(), "{bad}");
        }
    }
}
