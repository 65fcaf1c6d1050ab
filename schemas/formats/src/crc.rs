//! CRC-CCITT as SCP-ECG and ISHNE use it: polynomial 0x1021, start 0xFFFF, no reflection.

const POLYNOMIAL: u16 = 0x1021;

/// Remainders of all single bytes.
const TABLE: [u16; 256] = table();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "computed by the compiler: an index out of bounds does not compile"
)]
const fn table() -> [u16; 256] {
    let mut table = [0_u16; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ POLYNOMIAL
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The remainder before the first byte.
pub(crate) const START: u16 = 0xFFFF;

/// The remainder after more bytes.
pub(crate) fn update(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        let [high, low] = crc.to_be_bytes();
        let step = TABLE.get(usize::from(high ^ byte)).copied().unwrap_or(0);
        step ^ (u16::from(low) << 8)
    })
}

/// The remainder of all bytes.
pub(crate) fn ccitt(bytes: &[u8]) -> u16 {
    update(START, bytes)
}

#[cfg(test)]
mod tests {
    use super::ccitt;

    #[test]
    fn the_check_value_of_the_published_algorithm() {
        assert_eq!(ccitt(b"123456789"), 0x29B1);
    }
}
