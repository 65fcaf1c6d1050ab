//! Synthetic heart sounds at a stethoscope.

use cardio_core::index::SampleIndex;
use cardio_protocol::gatt::ble_audio::{ulaw_decode, ulaw_encode};
use cardio_signal::pcg::synth::{SoundSynth, SoundSynthConfig};

use super::{Mark, SignalSource};

/// Samples made at a time.
const BLOCK: usize = 160;

/// Endless heart sounds, in counts that µ-law carries without a change: what the stethoscope
/// takes is what it can send.
#[derive(Debug)]
pub struct SoundSource {
    heart: SoundSynth,
    block: [i32; BLOCK],
    at: usize,
}

impl SoundSource {
    /// The sounds of a heart.
    pub fn new(config: SoundSynthConfig) -> Self {
        Self {
            heart: SoundSynth::new(config),
            block: [0; BLOCK],
            at: BLOCK,
        }
    }
}

impl SignalSource for SoundSource {
    fn next_row(&mut self, row: &mut [f64]) -> bool {
        if self.at >= BLOCK {
            self.heart.fill(&mut self.block);
            self.at = 0;
        }
        let count = self.block.get(self.at).copied().unwrap_or(0);
        self.at = self.at.saturating_add(1);
        let held = count.clamp(i32::from(i16::MIN), i32::from(i16::MAX));
        let carried = ulaw_decode(ulaw_encode(i16::try_from(held).unwrap_or(0)));
        row.fill(f64::from(carried));
        true
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        self.heart
            .take_sounds()
            .iter()
            .map(|sound| Mark {
                at: SampleIndex(sound.first.0),
                code: sound.kind.name().to_owned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{SignalSource as _, SoundSource};
    use cardio_core::rate::SamplingRate;
    use cardio_protocol::gatt::ble_audio::{ulaw_decode, ulaw_encode};
    use cardio_signal::pcg::synth::SoundSynthConfig;

    #[test]
    fn every_count_survives_mu_law_and_both_sounds_are_marked() {
        let rate = SamplingRate::hz(8000).unwrap();
        let mut source = SoundSource::new(SoundSynthConfig::clean(1, rate));
        let mut row = [0.0];
        let mut loud = 0;
        for _ in 0..16_000 {
            assert!(source.next_row(&mut row));
            let count = i16::try_from(row[0].round().to_string().parse::<i32>().unwrap()).unwrap();
            assert_eq!(ulaw_decode(ulaw_encode(count)), count);
            loud += i32::from(count.abs() > 1000);
        }
        assert!(loud > 100);
        let codes: Vec<String> = source.take_marks().into_iter().map(|m| m.code).collect();
        assert!(codes.contains(&"S1".to_owned()) && codes.contains(&"S2".to_owned()));
    }
}
