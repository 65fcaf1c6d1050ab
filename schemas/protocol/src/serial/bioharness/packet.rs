//! Messages and the ECG packet, and back.

use nom::bytes::streaming::{tag, take};
use nom::combinator::verify;
use nom::number::complete;
use nom::number::streaming::u8;
use nom::{IResult, Parser};

/// Samples in one ECG packet.
pub const SAMPLES: usize = 63;

pub(super) const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
/// Longest payload.
const PAYLOAD_MAX: u8 = 128;
/// Longest message: framing and payload.
pub(super) const LONGEST: usize = 5 + 128;

/// Id of the ECG packet.
pub(super) const ID_ECG: u8 = 0x22;
/// Id of the command that switches the ECG packet on or off.
pub(super) const ID_ENABLE_ECG: u8 = 0x16;
/// Bytes before the samples, and of the samples: 63 x 10 bits.
const HEAD_BYTES: usize = 9;
const PACKED_BYTES: usize = (SAMPLES * 10).div_ceil(8);
/// Ten bits, of which the middle stands for zero.
const MIDDLE: i32 = 512;

/// How a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Plain end of a message.
    Text,
    /// The command with this id was accepted.
    Accepted,
    /// The command with this id was refused.
    Refused,
}

/// One framed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub id: u8,
    /// Its payload.
    pub payload: Vec<u8>,
    /// How it ends.
    pub ending: Ending,
}

/// CRC-8 with polynomial 0x8C reflected, from zero.
pub fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| {
            if crc & 1 == 0 {
                crc >> 1
            } else {
                crc >> 1 ^ 0x8C
            }
        })
    })
}

impl Message {
    /// Reads a message at the front of the bytes: the message and whether its checksum
    /// agrees. Incomplete is not an error.
    pub fn parse(input: &[u8]) -> IResult<&[u8], (Self, u8)> {
        let (rest, _) = tag(&[STX][..]).parse(input)?;
        let (rest, id) = u8(rest)?;
        let (rest, len) = verify(u8, |len| *len <= PAYLOAD_MAX).parse(rest)?;
        let (rest, payload) = take(len).parse(rest)?;
        let (rest, crc) = u8(rest)?;
        let (rest, end) = verify(u8, |end| matches!(*end, ETX | ACK | NAK)).parse(rest)?;
        let ending = match end {
            ACK => Ending::Accepted,
            NAK => Ending::Refused,
            _ => Ending::Text,
        };
        let payload = payload.to_vec();
        let message = Self {
            id,
            payload,
            ending,
        };
        Ok((rest, (message, crc)))
    }

    /// Appends the bytes of the message. A payload longer than 128 bytes is cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        let payload = self
            .payload
            .get(..self.payload.len().min(usize::from(PAYLOAD_MAX)))
            .unwrap_or_default();
        let len = u8::try_from(payload.len()).unwrap_or(PAYLOAD_MAX);
        out.extend_from_slice(&[STX, self.id, len]);
        out.extend_from_slice(payload);
        out.push(crc8(payload));
        out.push(match self.ending {
            Ending::Text => ETX,
            Ending::Accepted => ACK,
            Ending::Refused => NAK,
        });
    }
}

/// The unit's own clock: local date and time, without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitTime {
    /// Year.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Milliseconds since midnight.
    pub ms_of_day: u32,
}

impl UnitTime {
    /// Nanoseconds since 2000-03-01 on the unit's calendar, for differences; `None` for a
    /// date that no calendar has, and for one before.
    pub fn nanos(&self) -> Option<u64> {
        let valid = (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && self.ms_of_day < 86_400_000;
        if !valid {
            return None;
        }
        // Days by the usual civil calendar, years starting in March.
        let month = u64::from(self.month);
        let year = u64::from(self.year).checked_sub(2000 + u64::from(month <= 2))?;
        let shifted = (month + 9) % 12;
        let day_of_year = (153 * shifted + 2) / 5 + u64::from(self.day) - 1;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
        let millis = days * 86_400_000 + u64::from(self.ms_of_day);
        millis.checked_mul(1_000_000)
    }
}

/// Days by the usual civil calendar, in years that start in March.
const DAYS_OF_FOUR_CENTURIES: u64 = 146_097;
const DAY_MS: u64 = 86_400_000;

impl UnitTime {
    /// The date and time so many milliseconds later. A date that no calendar has stays as it is.
    #[must_use]
    pub fn later(self, by_ms: u64) -> Self {
        let Some(nanos) = self.nanos() else {
            return self;
        };
        let millis = (nanos / 1_000_000).saturating_add(by_ms);
        let of_day = u32::try_from(millis % DAY_MS).unwrap_or(0);
        let days = millis / DAY_MS;
        let (eras, of_era) = (days / DAYS_OF_FOUR_CENTURIES, days % DAYS_OF_FOUR_CENTURIES);
        let of_century = of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096;
        let year_of_era = of_century / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = 2000 + eras * 400 + year_of_era + u64::from(month <= 2);
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
            ms_of_day: of_day,
        }
    }
}

/// Payload of the ECG packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcgPacket {
    /// Counter, wraps at 256.
    pub sequence: u8,
    /// The unit's clock at the first sample.
    pub time: UnitTime,
    /// Counts, −512 to 511.
    pub samples: [i32; SAMPLES],
}

impl EcgPacket {
    /// Reads the payload of an ECG packet.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != HEAD_BYTES + PACKED_BYTES {
            return None;
        }
        let head = |input| -> IResult<&[u8], (u8, UnitTime)> {
            let (rest, sequence) = complete::u8(input)?;
            let (rest, year) = complete::le_u16(rest)?;
            let (rest, month) = complete::u8(rest)?;
            let (rest, day) = complete::u8(rest)?;
            let (rest, ms_of_day) = complete::le_u32(rest)?;
            let time = UnitTime {
                year,
                month,
                day,
                ms_of_day,
            };
            Ok((rest, (sequence, time)))
        };
        let (packed, (sequence, time)) = head(payload).ok()?;
        let mut samples = [0; SAMPLES];
        let (mut bits, mut have) = (0_u32, 0_u32);
        let mut bytes = packed.iter();
        for sample in &mut samples {
            while have < 10 {
                bits |= u32::from(*bytes.next()?) << have;
                have += 8;
            }
            *sample = i32::try_from(bits & 0x3FF).ok()? - MIDDLE;
            bits >>= 10;
            have -= 10;
        }
        Some(Self {
            sequence,
            time,
            samples,
        })
    }

    /// The payload's bytes. Counts beyond ten bits are sent at the limit.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.sequence];
        out.extend_from_slice(&self.time.year.to_le_bytes());
        out.extend_from_slice(&[self.time.month, self.time.day]);
        out.extend_from_slice(&self.time.ms_of_day.to_le_bytes());
        let (mut bits, mut have) = (0_u32, 0_u32);
        for sample in self.samples {
            let code = u32::try_from((sample + MIDDLE).clamp(0, 1023)).unwrap_or(0);
            bits |= code << have;
            have += 10;
            while have >= 8 {
                out.push(bits.to_le_bytes()[0]);
                bits >>= 8;
                have -= 8;
            }
        }
        if have > 0 {
            out.push(bits.to_le_bytes()[0]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{EcgPacket, Ending, Message, SAMPLES, UnitTime};
    use proptest::prelude::*;

    #[test]
    fn the_known_commands_are_written() {
        let mut bytes = Vec::new();
        let command = |id, payload: &[u8]| Message {
            id,
            payload: payload.to_vec(),
            ending: Ending::Text,
        };
        command(0x16, &[1]).write(&mut bytes);
        assert_eq!(bytes, [0x02, 0x16, 0x01, 0x01, 0x5E, 0x03]);
        bytes.clear();
        command(0xBD, &[1, 0]).write(&mut bytes);
        assert_eq!(bytes, [0x02, 0xBD, 0x02, 0x01, 0x00, 0xC4, 0x03]);
    }

    #[test]
    fn a_later_time_is_the_next_day_of_the_calendar() {
        let last = UnitTime {
            year: 2027,
            month: 12,
            day: 31,
            ms_of_day: 86_399_999,
        };
        let next = last.later(1);
        let told = (next.year, next.month, next.day, next.ms_of_day);
        assert_eq!(told, (2028, 1, 1, 0));
        let leap = next.later(59 * 86_400_000);
        assert_eq!((leap.year, leap.month, leap.day), (2028, 2, 29));
    }

    proptest! {
        #[test]
        fn time_passes_as_it_is_told(by_ms in 0_u64..6_000_000_000_000) {
            let start = UnitTime { year: 2026, month: 1, day: 1, ms_of_day: 5 };
            let passed = start.later(by_ms).nanos().unwrap() - start.nanos().unwrap();
            prop_assert_eq!(passed, by_ms * 1_000_000);
        }
    }

    #[test]
    fn samples_are_packed_ten_bits_each_from_the_lowest_bit() {
        let mut packet = EcgPacket {
            sequence: 9,
            time: UnitTime {
                year: 2026,
                month: 3,
                day: 1,
                ms_of_day: 1000,
            },
            samples: [-512; SAMPLES],
        };
        packet.samples[0] = -511;
        packet.samples[1] = 511;
        let bytes = packet.encode();
        assert_eq!(bytes.len(), 88);
        assert_eq!(bytes[..9], [9, 0xEA, 0x07, 3, 1, 0xE8, 0x03, 0, 0]);
        // 0b00_0000_0001, then 0b11_1111_1111 behind it.
        assert_eq!(bytes[9..12], [0x01, 0xFC, 0x0F]);
    }

    #[test]
    fn days_and_years_follow_each_other_and_no_date_is_invented() {
        let at = |year, month, day| {
            UnitTime {
                year,
                month,
                day,
                ms_of_day: 0,
            }
            .nanos()
        };
        let day = 86_400_000_000_000;
        assert_eq!(at(2024, 3, 1).unwrap() - at(2024, 2, 28).unwrap(), 2 * day);
        assert_eq!(at(2025, 3, 1).unwrap() - at(2025, 2, 28).unwrap(), day);
        assert_eq!(at(2026, 1, 1).unwrap() - at(2025, 12, 31).unwrap(), day);
        assert_eq!(at(2026, 13, 1), None);
        assert_eq!(at(1999, 1, 1), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(sequence: u8, year in 2001_u16..2100, month in 1_u8..=12, day in 1_u8..=28, ms_of_day in 0_u32..86_400_000, counts in proptest::collection::vec(-512_i32..=511, SAMPLES)) {
            let mut samples = [0; SAMPLES];
            samples.copy_from_slice(&counts);
            let packet = EcgPacket { sequence, time: UnitTime { year, month, day, ms_of_day }, samples };
            prop_assert_eq!(EcgPacket::decode(&packet.encode()), Some(packet));
        }

        #[test]
        fn any_message_is_read_back_and_any_bytes_are_read_or_refused(id: u8, payload in proptest::collection::vec(any::<u8>(), 0..=128), noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let message = Message { id, payload, ending: Ending::Accepted };
            let mut bytes = Vec::new();
            message.write(&mut bytes);
            let (rest, (read, crc)) = Message::parse(&bytes).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(crc, super::crc8(&read.payload));
            prop_assert_eq!(read, message);
            let _ = Message::parse(&noise);
            let _ = EcgPacket::decode(&noise);
        }
    }
}
