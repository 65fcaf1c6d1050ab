//! Names for documents that need one: the same recording always gets the same name.
//!
//! Deliberately absent: chance, clocks, and any secrecy; the name only tells documents apart.

use cardio_core::recording::Recording;

/// 128-bit FNV-1a: offset basis and prime.
const BASIS: u128 = 0x6C62_272E_07BB_0142_62B8_2175_6295_C58D;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;

/// A number made of a recording's samples, labels, start, and a word that tells names of one
/// recording apart.
pub(crate) fn number(recording: &Recording, word: &str) -> u128 {
    let mut hash = BASIS;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    add(word.as_bytes());
    add(recording.name.as_bytes());
    if let Some(start) = &recording.start {
        add(start.local.as_bytes());
    }
    for row in &recording.waveforms {
        add(row.label.as_bytes());
        for run in &row.runs {
            add(&run.first.0.to_le_bytes());
            run.samples
                .iter()
                .for_each(|sample| add(&sample.to_le_bytes()));
        }
    }
    hash
}

/// The number as a UUID of version 8 (RFC 9562, section 5.8).
pub(crate) fn uuid(recording: &Recording, word: &str) -> String {
    let marked = number(recording, word) & !(0xF << 76) & !(0x3 << 62);
    let hex = format!("{:032x}", marked | (0x8 << 76) | (0x2 << 62));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let groups = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    groups.join("-")
}

/// The number as a UID below the arc of UUIDs (PS3.5, B.2).
pub(crate) fn uid(recording: &Recording, word: &str) -> String {
    format!("2.25.{}", number(recording, word))
}

#[cfg(test)]
mod tests {
    use super::{uid, uuid};
    use cardio_core::recording::Recording;

    #[test]
    fn names_are_well_formed_and_repeatable() {
        let recording = Recording::default();
        let name = uuid(&recording, "x");
        assert_eq!(name, uuid(&recording, "x"));
        assert_ne!(name, uuid(&recording, "y"));
        assert_eq!((name.len(), &name[14..15]), (36, "8"));
        assert!(uid(&recording, "x").len() <= 64);
    }
}
