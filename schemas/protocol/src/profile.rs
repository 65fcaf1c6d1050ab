//! The known devices, by stable name.
//!
//! A profile is data: who makes the device, how it samples, how a loss shows, and how to
//! make its decoder, encoder and both ends of the conversation.

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::units::PhysicalUnit;

use crate::decoder::{Decoder, Encoder};
use crate::serial::{bioharness, bitalino, openbci_cyton, protocentral_openview};
use crate::session::{Peripheral, Session, SessionTiming};

/// What a row of a device shows unless the configuration says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaveKind {
    /// A standard ECG lead.
    Ecg(Lead),
    /// An ECG between two electrodes of no standard place.
    EcgOther(&'static str),
    /// Heart sounds; the operator names the site.
    HeartSound,
}

/// One kind of device on a serial line.
#[derive(Debug)]
pub struct Profile {
    /// Stable name, for configurations and command lines.
    pub name: &'static str,
    /// Manufacturer.
    pub maker: &'static str,
    /// Model.
    pub model: &'static str,
    /// Speed of the line in baud.
    pub baud: u32,
    /// Whether the device answers at any speed, because its line is USB throughout.
    pub any_speed: bool,
    /// Samples per second of every lead.
    pub rate_hz: u32,
    /// Samples of each lead in one frame.
    pub samples_per_frame: usize,
    /// How a loss can be noticed.
    pub integrity: IntegrityClass,
    /// How many values the frame counter has, if there is one.
    pub modulus: Option<u32>,
    /// Counts per millivolt.
    pub gain_adu_per_mv: f64,
    /// The count that stands for zero.
    pub baseline_adu: f64,
    /// Whether the maker states what a count means. Otherwise the gain only serves the
    /// simulator, and counts are recorded without a unit.
    pub calibrated: bool,
    /// Lowest and highest count of the converter.
    pub rails: (i32, i32),
    /// The rows of a frame, in order, as a standard wiring gives them.
    pub waves: &'static [WaveKind],
    /// Makes a decoder at the start of a stream.
    pub decoder: fn() -> Box<dyn Decoder>,
    /// Makes an encoder whose counter stands at its start.
    pub encoder: fn() -> Box<dyn Encoder>,
    /// Makes the box's side of the conversation.
    pub session: fn(SessionTiming) -> Box<dyn Session>,
    /// Makes the device's side of the conversation.
    pub peripheral: fn() -> Box<dyn Peripheral>,
}

/// Every known device on a serial line.
pub static ALL: [&Profile; 4] = [
    &openbci_cyton::PROFILE,
    &protocentral_openview::PROFILE,
    &bioharness::PROFILE,
    &bitalino::PROFILE,
];

/// The profile of a stable name.
pub fn by_name(name: &str) -> Option<&'static Profile> {
    ALL.into_iter().find(|profile| profile.name == name)
}

impl Profile {
    /// Samples per second.
    pub fn rate(&self) -> SamplingRate {
        SamplingRate::hz(self.rate_hz).expect("invariant: a profile's rate is above zero")
    }

    /// What a count means, as far as the maker states it.
    pub fn calibration(&self) -> Calibration {
        if self.calibrated {
            return self.converter();
        }
        Calibration::new(1.0, self.baseline_adu, PhysicalUnit::Dimensionless)
            .expect("invariant: a profile's baseline is finite")
    }

    /// How the simulated device turns millivolts into counts.
    pub fn converter(&self) -> Calibration {
        Calibration::millivolts(self.gain_adu_per_mv, self.baseline_adu)
            .expect("invariant: a profile's gain is finite and not zero")
    }

    /// The rows of a frame with the standard wiring.
    pub fn waveforms(&self) -> Vec<WaveformSpec> {
        let calibration = self.calibration();
        self.waves
            .iter()
            .map(|wave| WaveformSpec {
                kind: match wave {
                    WaveKind::Ecg(lead) => WaveformKind::Ecg(*lead),
                    WaveKind::EcgOther(label) => WaveformKind::EcgOther((*label).to_owned()),
                    WaveKind::HeartSound => WaveformKind::HeartSound(None),
                },
                calibration: calibration.clone(),
            })
            .collect()
    }

    /// The standard leads of the rows; a row of another kind is left out.
    pub fn leads(&self) -> Vec<Lead> {
        self.waves
            .iter()
            .filter_map(|wave| match wave {
                WaveKind::Ecg(lead) => Some(*lead),
                _ => None,
            })
            .collect()
    }

    /// Identity as far as the profile knows it.
    pub fn identity(&self) -> DeviceIdentity {
        DeviceIdentity {
            maker: Some(self.maker.to_owned()),
            model: Some(self.model.to_owned()),
            ..DeviceIdentity::default()
        }
    }

    /// Bytes per second of a healthy stream.
    pub fn bytes_per_second(&self) -> usize {
        let mut frame = Vec::new();
        let zeros = vec![0; self.waves.len() * self.samples_per_frame];
        let rows = crate::decoder::FrameRows::planar(self.samples_per_frame, &zeros);
        (self.encoder)().frame(&rows, &mut frame);
        let frames = usize::try_from(self.rate_hz)
            .unwrap_or(usize::MAX)
            .checked_div(self.samples_per_frame)
            .unwrap_or(0);
        frame.len().saturating_mul(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, by_name};
    use crate::decoder::{DecoderEvent, FrameRows};

    #[test]
    fn every_profile_is_found_by_its_name_and_reads_what_it_writes() {
        for profile in ALL {
            assert_eq!(by_name(profile.name).unwrap().name, profile.name);
            assert_eq!(profile.waveforms().len(), profile.waves.len());
            assert!(profile.rate().as_hz() > 0.0);
            let samples: Vec<i32> = (0..)
                .take(profile.waves.len() * profile.samples_per_frame)
                .collect();
            let rows = FrameRows::planar(profile.samples_per_frame, &samples);
            let (mut bytes, mut events) = (Vec::new(), Vec::new());
            let mut encoder = (profile.encoder)();
            for _ in 0..8 {
                encoder.frame(&rows, &mut bytes);
            }
            (profile.decoder)().push(&bytes, &mut events);
            let found = events
                .iter()
                .filter(|event| matches!(event, DecoderEvent::Frame(frame) if frame.rows == rows))
                .count();
            // what proves its last frame would come behind it
            let waiting = usize::from(profile.name == "bitalino");
            assert_eq!(found + waiting, 8, "{}", profile.name);
        }
    }

    #[test]
    fn the_gains_are_those_of_the_data_sheets() {
        let cyton = by_name("openbci-cyton").unwrap();
        assert!((1000.0 / cyton.gain_adu_per_mv - 0.022_351_744_455).abs() < 1e-9);
        assert!((cyton.bytes_per_second(), cyton.modulus) == (8250, Some(256)));
        let openview = by_name("protocentral-openview").unwrap();
        assert!((openview.calibration().value(131_072) - 50.0).abs() < 1e-9);
        assert_eq!(openview.bytes_per_second(), 57 * 16);
    }
}
