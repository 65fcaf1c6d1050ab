//! From the bytes of a frame to samples of sixteen bits, and back.

/// How sound is coded, by the number that the device states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// 16-bit little-endian samples at this rate.
    Pcm16 {
        /// Samples per second.
        rate_hz: u32,
    },
    /// µ-law at this rate.
    MuLaw {
        /// Samples per second.
        rate_hz: u32,
    },
    /// IMA ADPCM at this rate; every frame begins with its own state.
    Adpcm {
        /// Samples per second.
        rate_hz: u32,
    },
}

impl Codec {
    /// The codec of a number. Numbers 30 and 31 for ADPCM are this product's own.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Pcm16 { rate_hz: 16_000 },
            1 => Self::Pcm16 { rate_hz: 8_000 },
            10 => Self::MuLaw { rate_hz: 16_000 },
            11 => Self::MuLaw { rate_hz: 8_000 },
            30 => Self::Adpcm { rate_hz: 16_000 },
            31 => Self::Adpcm { rate_hz: 8_000 },
            _ => return None,
        })
    }

    /// The number of the codec at 8 kHz or 16 kHz.
    pub const fn number(self) -> u8 {
        match self {
            Self::Pcm16 { rate_hz: 16_000 } => 0,
            Self::Pcm16 { .. } => 1,
            Self::MuLaw { rate_hz: 16_000 } => 10,
            Self::MuLaw { .. } => 11,
            Self::Adpcm { rate_hz: 16_000 } => 30,
            Self::Adpcm { .. } => 31,
        }
    }

    /// Samples per second.
    pub const fn rate_hz(self) -> u32 {
        match self {
            Self::Pcm16 { rate_hz } | Self::MuLaw { rate_hz } | Self::Adpcm { rate_hz } => rate_hz,
        }
    }

    /// Bytes of a frame of `samples`.
    pub const fn frame_bytes(self, samples: usize) -> usize {
        match self {
            Self::Pcm16 { .. } => samples * 2,
            Self::MuLaw { .. } => samples,
            Self::Adpcm { .. } => AdpcmState::BYTES + samples.div_ceil(2),
        }
    }

    /// Samples of a frame; `None` when the bytes are no whole frame.
    pub fn decode(self, bytes: &[u8]) -> Option<Vec<i32>> {
        match self {
            Self::Pcm16 { .. } => match bytes.as_chunks() {
                (pairs, []) => Some(
                    pairs
                        .iter()
                        .map(|p| i32::from(i16::from_le_bytes(*p)))
                        .collect(),
                ),
                _ => None,
            },
            Self::MuLaw { .. } => Some(
                bytes
                    .iter()
                    .map(|byte| i32::from(ulaw_decode(*byte)))
                    .collect(),
            ),
            Self::Adpcm { .. } => {
                let (state, codes) = bytes.split_first_chunk::<{ AdpcmState::BYTES }>()?;
                let state = AdpcmState::from_bytes(*state)?;
                Some(
                    adpcm_decode(state, codes)
                        .into_iter()
                        .map(i32::from)
                        .collect(),
                )
            }
        }
    }

    /// Bytes of a frame. Samples beyond sixteen bits are taken to the limit.
    pub fn encode(self, samples: &[i32], state: &mut AdpcmState) -> Vec<u8> {
        let narrow = samples.iter().map(|sample| {
            let held = (*sample).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
            i16::try_from(held).unwrap_or(0)
        });
        match self {
            Self::Pcm16 { .. } => narrow.flat_map(i16::to_le_bytes).collect(),
            Self::MuLaw { .. } => narrow.map(ulaw_encode).collect(),
            Self::Adpcm { .. } => {
                let head = state.to_bytes();
                let codes = adpcm_encode(state, &narrow.collect::<Vec<i16>>());
                [&head[..], &codes].concat()
            }
        }
    }
}

const ULAW_BIAS: i32 = 0x84;
const ULAW_CLIP: i32 = 32_635;

/// One µ-law byte to a sample (G.711).
pub fn ulaw_decode(byte: u8) -> i16 {
    let code = !byte;
    let exponent = u32::from(code >> 4 & 0x07);
    let mantissa = i32::from(code & 0x0F);
    let size = ((mantissa << 3 | ULAW_BIAS) << exponent) - ULAW_BIAS;
    let value = if code & 0x80 == 0 { size } else { -size };
    i16::try_from(value).unwrap_or(0)
}

/// One sample to its µ-law byte (G.711).
pub fn ulaw_encode(sample: i16) -> u8 {
    let wide = i32::from(sample);
    let size = wide.abs().min(ULAW_CLIP) + ULAW_BIAS;
    // The bias makes the size at least 2^7, so that the exponent is 0 to 7.
    let exponent = size.ilog2().saturating_sub(7).min(7);
    let mantissa = size >> (exponent + 3) & 0x0F;
    let sign = if wide < 0 { 0x80 } else { 0 };
    let code = sign | i32::try_from(exponent).unwrap_or(0) << 4 | mantissa;
    !u8::try_from(code).unwrap_or(0)
}

/// Sizes of a step (IMA, table of 89).
const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66,
    73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449,
    494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272,
    2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493,
    10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
];

/// State at the start of a frame: the last sample and the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdpcmState {
    predictor: i16,
    index: u8,
}

impl AdpcmState {
    /// Bytes of the state at the start of a frame.
    pub const BYTES: usize = 3;

    fn from_bytes([low, high, index]: [u8; Self::BYTES]) -> Option<Self> {
        (usize::from(index) < STEPS.len()).then_some(Self {
            predictor: i16::from_le_bytes([low, high]),
            index,
        })
    }

    const fn to_bytes(self) -> [u8; Self::BYTES] {
        let [low, high] = self.predictor.to_le_bytes();
        [low, high, self.index]
    }

    fn step(self) -> i32 {
        STEPS
            .get(usize::from(self.index))
            .copied()
            .unwrap_or_default()
    }

    /// Takes one code and gives the sample.
    fn advance(&mut self, code: u8) -> i16 {
        let step = self.step();
        let mut difference = step >> 3;
        for (bit, part) in [(4, step), (2, step >> 1), (1, step >> 2)] {
            if code & bit != 0 {
                difference += part;
            }
        }
        let signed = if code & 8 == 0 {
            difference
        } else {
            -difference
        };
        let value =
            (i32::from(self.predictor) + signed).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
        self.predictor = i16::try_from(value).unwrap_or(0);
        let change = [-1_i8, -1, -1, -1, 2, 4, 6, 8]
            .get(usize::from(code & 7))
            .copied()
            .unwrap_or(0);
        self.index = self.index.saturating_add_signed(change).min(88);
        self.predictor
    }

    /// The code that comes nearest to a sample.
    fn code_for(self, sample: i16) -> u8 {
        let step = self.step();
        let wanted = i32::from(sample) - i32::from(self.predictor);
        let mut rest = wanted.abs();
        let mut code = if wanted < 0 { 8 } else { 0 };
        for (bit, part) in [(4, step), (2, step >> 1), (1, step >> 2)] {
            if rest >= part {
                code |= bit;
                rest -= part;
            }
        }
        code
    }
}

/// Codes to samples, high nibble first; two samples per byte.
pub fn adpcm_decode(mut state: AdpcmState, codes: &[u8]) -> Vec<i16> {
    codes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0F])
        .map(|code| state.advance(code))
        .collect()
}

/// Samples to codes; an odd number is filled up with its last sample.
pub fn adpcm_encode(state: &mut AdpcmState, samples: &[i16]) -> Vec<u8> {
    samples
        .chunks(2)
        .map(|pair| {
            pair.iter()
                .chain(pair.last())
                .take(2)
                .fold(0, |byte, sample| {
                    let code = state.code_for(*sample);
                    state.advance(code);
                    byte << 4 | code
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{AdpcmState, Codec, STEPS, ulaw_decode, ulaw_encode};
    use proptest::prelude::*;

    #[test]
    fn mu_law_bytes_are_those_of_the_standard() {
        for (byte, sample) in [
            (0xFF, 0),
            (0x7F, 0),
            (0x00, -32_124),
            (0x80, 32_124),
            (0xF0, 120),
            (0x70, -120),
        ] {
            assert_eq!(ulaw_decode(byte), sample, "{byte:#x}");
        }
        for byte in 0..=255_u8 {
            let sample = ulaw_decode(byte);
            // Zero has two codes.
            assert_eq!(ulaw_decode(ulaw_encode(sample)), sample);
        }
    }

    #[test]
    fn steps_grow_by_a_tenth_from_one_to_the_next() {
        for pair in STEPS.windows(2) {
            let ratio = f64::from(pair[1]) / f64::from(pair[0]);
            assert!((1.0..1.2).contains(&ratio), "{pair:?}");
        }
    }

    #[test]
    fn a_tone_survives_adpcm_with_little_noise() {
        // A triangle of 125 samples and 8000 counts.
        let tone: Vec<i32> = (0..1600_i32)
            .map(|n| ((n % 125) * 256 - 16_000).abs() - 8000)
            .collect();
        let codec = Codec::Adpcm { rate_hz: 8000 };
        let mut state = AdpcmState::default();
        let (mut noise, mut signal) = (0.0, 0.0);
        for frame in tone.chunks(160) {
            let bytes = codec.encode(frame, &mut state);
            assert_eq!(bytes.len(), codec.frame_bytes(160));
            for (got, sent) in codec.decode(&bytes).unwrap().iter().zip(frame) {
                noise += f64::from(got - sent).powi(2);
                signal += f64::from(*sent).powi(2);
            }
        }
        let ratio_db = 10.0 * (signal / noise).log10();
        assert!(ratio_db > 20.0, "{ratio_db} dB");
    }

    proptest! {
        #[test]
        fn sixteen_bits_are_kept_to_the_bit_and_mu_law_to_its_step(samples in proptest::collection::vec(any::<i16>(), 0..200)) {
            let wide: Vec<i32> = samples.iter().map(|s| i32::from(*s)).collect();
            let mut state = AdpcmState::default();
            let pcm = Codec::Pcm16 { rate_hz: 8000 };
            prop_assert_eq!(pcm.decode(&pcm.encode(&wide, &mut state)).unwrap(), wide.clone());
            let law = Codec::MuLaw { rate_hz: 8000 };
            for (got, sent) in law.decode(&law.encode(&wide, &mut state)).unwrap().iter().zip(&wide) {
                prop_assert!((got - sent).abs() <= 4 + sent.abs() / 16, "{} {}", got, sent);
            }
        }

        #[test]
        fn any_bytes_are_samples_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), number: u8) {
            if let Some(codec) = Codec::from_number(number) {
                prop_assert_eq!(codec.number(), number);
                let _ = codec.decode(&bytes);
            }
        }
    }
}
