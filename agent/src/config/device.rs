//! The devices that a box can capture, whichever link they are on.
//!
//! Deliberately absent: how a device is talked to ([`crate::capture`]).

use cardio_core::acquisition::WaveformSpec;
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::Adu;
use cardio_protocol::gatt::{self, GattProfile};
use cardio_protocol::kept::KeptSession;
use cardio_protocol::profile::{self, Profile};
use cardio_protocol::session::SessionTiming;
use cardio_protocol::smp_records;

use super::SourceKind;

/// One kind of device.
#[derive(Clone, Copy, Debug)]
pub enum Device {
    /// On a serial line.
    Serial(&'static Profile),
    /// On Bluetooth Low Energy.
    Ble(&'static GattProfile),
    /// On a serial console over which its recordings are fetched as over the air.
    Console(&'static GattProfile),
}

/// Makes the box's side of a device's memory.
pub type MakeKept = fn(SessionTiming) -> Box<dyn KeptSession>;

/// How a device samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// Samples per second of every row.
    pub rate: SamplingRate,
    /// How a loss can be noticed.
    pub integrity: IntegrityClass,
    /// How many values the frame counter has, if there is one.
    pub modulus: Option<u32>,
    /// Lowest and highest count.
    pub rails: (Adu, Adu),
}

impl Device {
    /// Every device that sends something by itself or keeps recordings.
    pub fn all() -> impl Iterator<Item = Self> {
        let serial = profile::ALL.into_iter().map(Self::Serial);
        let console = [Self::Console(&smp_records::PROFILE)];
        let ble = gatt::ALL.into_iter().map(Self::Ble);
        let all = serial.chain(console).chain(ble);
        all.filter(|device| device.signal().is_some() || device.keeps().is_some())
    }

    /// The device of a stable name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|device| device.name() == name)
    }

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial(profile) => profile.name,
            Self::Ble(profile) => profile.name,
            Self::Console(_) => "smp-console",
        }
    }

    /// How its recordings are fetched; `None` for one that keeps none.
    pub fn keeps(self) -> Option<MakeKept> {
        match self {
            Self::Serial(_) => None,
            Self::Ble(profile) | Self::Console(profile) => profile.kept,
        }
    }

    /// The link that it is on.
    pub const fn kind(self) -> SourceKind {
        match self {
            Self::Serial(_) | Self::Console(_) => SourceKind::Serial,
            Self::Ble(_) => SourceKind::Ble,
        }
    }

    /// How it samples; `None` for one that sends nothing by itself.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Serial(profile) => Some(Signal {
                rate: profile.rate(),
                integrity: profile.integrity,
                modulus: profile.modulus,
                rails: profile.rails,
            }),
            Self::Console(_) => None,
            Self::Ble(profile) => profile.signal.map(|signal| Signal {
                rate: signal.rate(),
                integrity: signal.integrity,
                modulus: signal.modulus,
                rails: signal.rails,
            }),
        }
    }

    /// How it samples when it is asked for this rate; `None` for one that does not have it.
    pub fn signal_at(self, rate_hz: Option<u32>) -> Option<Signal> {
        let signal = self.signal()?;
        let Some(asked) = rate_hz else {
            return Some(signal);
        };
        let rate = SamplingRate::hz(asked).ok()?;
        self.rates_hz()
            .contains(&asked)
            .then_some(Signal { rate, ..signal })
    }

    /// The samples per second that it can be asked for; none where it has only one rate.
    pub fn rates_hz(self) -> &'static [u32] {
        match self {
            Self::Ble(profile) => profile
                .signal
                .as_ref()
                .map_or(&[], |signal| signal.rates_hz),
            Self::Serial(_) | Self::Console(_) => &[],
        }
    }

    /// The rows of a frame, as the device is usually wired.
    pub fn waveforms(self) -> Vec<WaveformSpec> {
        match self {
            Self::Serial(profile) => profile.waveforms(),
            Self::Ble(profile) | Self::Console(profile) => profile
                .signal
                .map(|signal| signal.waveforms())
                .unwrap_or_default(),
        }
    }

    /// Identity as far as the profile knows it.
    pub fn identity(self) -> DeviceIdentity {
        match self {
            Self::Serial(profile) => profile.identity(),
            Self::Ble(profile) | Self::Console(profile) => DeviceIdentity {
                maker: Some(profile.maker.to_owned()).filter(|maker| !maker.is_empty()),
                model: Some(profile.model.to_owned()),
                ..DeviceIdentity::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Device, SourceKind};

    #[test]
    fn devices_of_both_links_are_found_by_name() {
        let kind = |name| Device::by_name(name).map(Device::kind);
        assert_eq!(kind("openbci-cyton"), Some(SourceKind::Serial));
        assert_eq!(kind("polar-pmd"), Some(SourceKind::Ble));
        assert_eq!(kind("smp-console"), Some(SourceKind::Serial));
        assert_eq!(kind("smp-records"), Some(SourceKind::Ble));
        assert_eq!(kind("sig-hrs"), Some(SourceKind::Ble));
        assert_eq!(kind("sig-hrx"), None);
    }

    #[test]
    fn only_a_rate_that_the_device_has_can_be_asked_for() {
        let rate = |name, rate_hz| {
            let signal = Device::by_name(name).unwrap().signal_at(rate_hz);
            signal.map(|signal| signal.rate.as_hz())
        };
        assert_eq!(rate("movesense-gsp", None), Some(250.0));
        assert_eq!(rate("movesense-gsp", Some(500)), Some(500.0));
        assert_eq!(rate("movesense-gsp", Some(1000)), None);
        assert_eq!(rate("polar-pmd", Some(500)), None);
    }

    #[test]
    fn every_device_has_rows_or_tells_rates_or_keeps_recordings() {
        for device in Device::all() {
            if device.signal().is_none() {
                assert!(device.keeps().is_some(), "{}", device.name());
                continue;
            }
            let tells_rates = device.name() == "sig-hrs";
            assert_eq!(device.waveforms().is_empty(), tells_rates);
            assert!(device.signal().unwrap().rate.as_hz() > 0.0);
        }
    }
}
