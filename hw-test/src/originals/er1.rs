//! Recordings of an ER1: what the simulator says that it kept, and what is in a file.
//!
//! Source: `viatomEcho/LepuBle`, the maker's published code: 10 bytes of head, differences of one
//! byte, 20 bytes of tail.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

const HEAD: usize = 10;
const TAIL: usize = 20;
const MAGIC: [u8; 4] = [0x38, 0x04, 0x5A, 0xA5];

/// What the simulator put into the sensor's memory, each a row of samples.
pub(super) fn kept(ledger: &Path) -> anyhow::Result<Vec<Vec<i64>>> {
    let text = std::fs::read_to_string(ledger).context("no ledger")?;
    let mut kept = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).context("a line of the ledger")?;
        if line.get("event").is_some_and(|event| event == "kept") {
            let row = line.get("row").and_then(Value::as_array);
            let counts = row.into_iter().flatten().filter_map(Value::as_i64);
            kept.push(counts.collect());
        }
    }
    Ok(kept)
}

/// The samples of a file, if it is one of an ER1.
pub(super) fn samples(file: &[u8]) -> Option<Vec<i64>> {
    let body = file.get(HEAD..file.len().checked_sub(TAIL)?)?;
    if !file.ends_with(&MAGIC) {
        return None;
    }
    let mut bytes = body.iter().copied();
    let (mut now, mut samples) = (0_i64, Vec::new());
    while let Some(byte) = bytes.next() {
        let step = i64::from(i8::from_le_bytes([byte]));
        now = match step {
            -128 => i64::from(i16::from_le_bytes([bytes.next()?, bytes.next()?])),
            127 => now + 127 + i64::from(bytes.next()?),
            -127 => now - 127 - i64::from(bytes.next()?),
            _ => now + step,
        };
        samples.push(now);
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::samples;

    #[test]
    fn steps_of_every_size_are_followed_and_another_file_is_none() {
        let mut file = vec![0; 10];
        file.extend([0x80, 0xE8, 0x03, 0x05, 0xFF, 0x7F, 0x03, 0x81, 0x00]);
        file.extend([0; 16]);
        file.extend([0x38, 0x04, 0x5A, 0xA5]);
        assert_eq!(
            samples(&file),
            Some(vec![1_000, 1_005, 1_004, 1_134, 1_007])
        );
        file.pop();
        assert_eq!(samples(&file), None);
    }
}
