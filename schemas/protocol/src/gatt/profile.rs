//! The known devices on Bluetooth Low Energy, by stable name.

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::device::IntegrityClass;
use cardio_core::rate::SamplingRate;
use cardio_core::units::PhysicalUnit;

use crate::kept::KeptSession;
use crate::profile::WaveKind;
use crate::session::SessionTiming;
use crate::smp_records;

use super::{
    GattPeripheral, GattSession, Uuid, ble_audio, movesense_gsp, polar_pmd, sig_hrs, viatom_er1,
};

/// What can be done with a characteristic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Its value can be read.
    Read,
    /// A value can be written, and is confirmed.
    Write,
    /// A value can be written without confirmation.
    WriteWithoutResponse,
    /// It sends values.
    Notify,
    /// It sends values that are confirmed.
    Indicate,
}

/// A characteristic of a service.
#[derive(Clone, Copy, Debug)]
pub struct CharacteristicSpec {
    /// Its identifier.
    pub uuid: Uuid,
    /// What can be done with it.
    pub properties: &'static [Property],
}

/// A service of a device.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSpec {
    /// Its identifier.
    pub uuid: Uuid,
    /// Its characteristics.
    pub characteristics: &'static [CharacteristicSpec],
}

/// What a device says of itself before it is connected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Advertisement<'a> {
    /// Its local name.
    pub name: Option<&'a str>,
    /// The services that it names.
    pub services: &'a [Uuid],
}

/// The waveform that a device sends.
#[derive(Clone, Copy, Debug)]
pub struct SignalSpec {
    /// Samples per second, unless it is asked for others.
    pub rate_hz: u32,
    /// The samples per second that it can be asked for; none where it has only one rate.
    pub rates_hz: &'static [u32],
    /// Samples of each row in a usual frame.
    pub samples_per_frame: usize,
    /// How a loss can be noticed.
    pub integrity: IntegrityClass,
    /// How many values the frame counter has, if there is one.
    pub modulus: Option<u32>,
    /// Counts per millivolt; `None` where a count has no unit of voltage.
    pub gain_adu_per_mv: Option<f64>,
    /// Lowest and highest count.
    pub rails: (i32, i32),
    /// The count that says that there is nothing to measure, if there is one.
    pub absent_adu: Option<i32>,
    /// The rows of a frame; none for a device that tells heart rates instead of samples.
    pub waves: &'static [WaveKind],
}

impl SignalSpec {
    /// Samples per second.
    pub fn rate(&self) -> SamplingRate {
        SamplingRate::hz(self.rate_hz).expect("invariant: a profile's rate is above zero")
    }

    /// What a count means.
    pub fn calibration(&self) -> Calibration {
        self.gain_adu_per_mv
            .map_or_else(
                || Calibration::new(1.0, 0.0, PhysicalUnit::Dimensionless),
                |gain| Calibration::millivolts(gain, 0.0),
            )
            .expect("invariant: a profile's gain is finite and not zero")
    }

    /// The rows of a frame.
    pub fn waveforms(&self) -> Vec<WaveformSpec> {
        self.waves
            .iter()
            .map(|wave| WaveformSpec {
                kind: match wave {
                    WaveKind::Ecg(lead) => WaveformKind::Ecg(*lead),
                    WaveKind::EcgOther(label) => WaveformKind::EcgOther((*label).to_owned()),
                    WaveKind::HeartSound => WaveformKind::HeartSound(None),
                },
                calibration: self.calibration(),
            })
            .collect()
    }
}

/// One kind of device.
#[derive(Debug)]
pub struct GattProfile {
    /// Stable name.
    pub name: &'static str,
    /// Manufacturer; empty where the profile is a standard.
    pub maker: &'static str,
    /// Model.
    pub model: &'static str,
    /// What it sends by itself, if it does.
    pub signal: Option<SignalSpec>,
    /// The services that it must have.
    pub services: &'static [ServiceSpec],
    /// Smallest MTU with which it works.
    pub min_mtu: u16,
    /// Whether an advertisement is this device's.
    pub matches: fn(&Advertisement<'_>) -> bool,
    /// Makes the box's side of a stream; `None` for a device that only keeps recordings.
    pub session: Option<fn(SessionTiming) -> Box<dyn GattSession>>,
    /// Makes the box's side of the device's memory, if it keeps recordings.
    pub kept: Option<fn(SessionTiming) -> Box<dyn KeptSession>>,
    /// Makes the device's side.
    pub peripheral: fn() -> Box<dyn GattPeripheral>,
}

impl GattProfile {
    /// Whether all services and characteristics of the profile are among those discovered.
    pub fn fits(&self, discovered: &[(Uuid, Uuid)]) -> bool {
        self.services.iter().all(|service| {
            service
                .characteristics
                .iter()
                .all(|characteristic| discovered.contains(&(service.uuid, characteristic.uuid)))
        })
    }
}

/// Every known device, the most particular first: a Polar H10 is a heart-rate sensor too.
pub static ALL: [&GattProfile; 6] = [
    &polar_pmd::PROFILE,
    &movesense_gsp::PROFILE,
    &viatom_er1::PROFILE,
    &ble_audio::PROFILE,
    &smp_records::PROFILE,
    &sig_hrs::PROFILE,
];

/// The profile of a stable name.
pub fn by_name(name: &str) -> Option<&'static GattProfile> {
    ALL.into_iter().find(|profile| profile.name == name)
}

/// The first profile that an advertisement fits.
pub fn recognise(advertisement: &Advertisement<'_>) -> Option<&'static GattProfile> {
    ALL.into_iter()
        .find(|profile| (profile.matches)(advertisement))
}

#[cfg(test)]
mod tests {
    use super::{ALL, Advertisement, by_name, recognise};
    use crate::gatt::Uuid;

    #[test]
    fn every_profile_is_found_by_its_name() {
        for profile in ALL {
            assert_eq!(by_name(profile.name).unwrap().name, profile.name);
            if let Some(signal) = profile.signal {
                assert_eq!(signal.waveforms().len(), signal.waves.len());
                assert!(signal.rate().as_hz() > 0.0);
            }
        }
    }

    #[test]
    fn a_strap_is_known_by_name_and_service_and_a_stranger_is_not() {
        let heart_rate = [Uuid::short(0x180D)];
        let named = |name| {
            recognise(&Advertisement {
                name: Some(name),
                services: &heart_rate,
            })
            .map(|profile| profile.name)
        };
        assert_eq!(named("Polar H10 1A2B3C4D"), Some("polar-pmd"));
        assert_eq!(named("Some strap"), Some("sig-hrs"));
        assert!(recognise(&Advertisement::default()).is_none());
    }

    #[test]
    fn a_device_that_squats_on_a_standard_number_does_not_fit() {
        let strap = by_name("sig-hrs").unwrap();
        let service = Uuid::short(0x180D);
        assert!(strap.fits(&[(service, Uuid::short(0x2A37))]));
        assert!(!strap.fits(&[(Uuid::short(0x1859), Uuid::short(0x2A37))]));
    }
}
