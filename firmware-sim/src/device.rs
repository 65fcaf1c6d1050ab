//! What the player has to know of a device, whatever it is connected by.
//!
//! Deliberately absent: devices that measure nothing while they are played, and only give what
//! they keep (`smp-records`).

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::device::IntegrityClass;
use cardio_core::rate::SamplingRate;
use cardio_protocol::decoder::{DecoderEvent, Encoder, FrameRows};
use cardio_protocol::gatt::ble_audio::{ulaw_decode, ulaw_encode};
use cardio_protocol::gatt::sig_hrs::BATTERY_LEVEL;
use cardio_protocol::gatt::{
    self, CharacteristicSpec, GattPeripheral, GattProfile, Property, SignalSpec, Uuid,
};
use cardio_protocol::profile::{self, Profile, WaveKind};
use cardio_protocol::session::Peripheral;

/// Profiles on Bluetooth that can be played.
const ON_BLUETOOTH: [&str; 5] = [
    "polar-pmd",
    "movesense-gsp",
    "viatom-er1",
    "ble-audio-packets",
    "sig-hrs",
];
/// The one row of a device that sees beats and sends what it makes of them.
const BEATS: [WaveKind; 1] = [WaveKind::EcgOther("beats")];

/// Samples that a device which must be asked takes at once: an answer carries what was measured up
/// to it, not up to the last whole usual frame.
const TAKEN_AT_ONCE: usize = 5;

/// How a device is connected.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// A serial line.
    Serial(&'static Profile),
    /// Bluetooth Low Energy.
    Bluetooth(&'static GattProfile),
}

/// One kind of device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Stable name of its profile.
    pub name: &'static str,
    /// Maker.
    pub maker: &'static str,
    /// Model.
    pub model: &'static str,
    /// How it is connected.
    pub transport: Transport,
    /// Samples per second of every row.
    pub rate_hz: u32,
    /// Samples of each row in one frame.
    pub samples_per_frame: usize,
    /// How a loss can be noticed.
    pub integrity: IntegrityClass,
    /// Number of values of the frame counter, if there is one.
    pub modulus: Option<u32>,
    /// How the device turns what it measures into counts.
    pub converter: Calibration,
    /// Lowest and highest count.
    pub rails: (i32, i32),
    /// The count that says that there is nothing to measure, if there is one.
    pub absent_adu: Option<i32>,
    /// The rows of a frame.
    pub waves: &'static [WaveKind],
}

impl Device {
    /// Every device that can be played.
    pub fn all() -> Vec<Self> {
        let serial = profile::ALL.into_iter().map(Self::on_serial);
        let on_air = ON_BLUETOOTH.into_iter().filter_map(Self::by_name);
        serial.chain(on_air).collect()
    }

    /// The device of a stable name; one that has several rates at another than its usual one as
    /// `movesense-gsp@500`.
    pub fn by_name(name: &str) -> Option<Self> {
        if let Some((name, rate)) = name.split_once('@') {
            let rate_hz = rate.parse().ok()?;
            let profile = gatt::by_name(name)?;
            let has_it = profile.signal.as_ref()?.rates_hz.contains(&rate_hz);
            let device = Self::by_name(name).filter(|_| has_it)?;
            return Some(Self { rate_hz, ..device });
        }
        if let Some(profile) = profile::by_name(name) {
            return Some(Self::on_serial(profile));
        }
        let profile = gatt::by_name(name).filter(|_| ON_BLUETOOTH.contains(&name))?;
        Some(Self::on_bluetooth(profile, profile.signal.as_ref()?))
    }

    fn on_serial(profile: &'static Profile) -> Self {
        Self {
            name: profile.name,
            maker: profile.maker,
            model: profile.model,
            transport: Transport::Serial(profile),
            rate_hz: profile.rate_hz,
            samples_per_frame: profile.samples_per_frame,
            integrity: profile.integrity,
            modulus: profile.modulus,
            converter: profile.converter(),
            rails: profile.rails,
            absent_adu: None,
            waves: profile.waves,
        }
    }

    fn on_bluetooth(profile: &'static GattProfile, signal: &'static SignalSpec) -> Self {
        Self {
            name: profile.name,
            maker: profile.maker,
            model: profile.model,
            transport: Transport::Bluetooth(profile),
            rate_hz: signal.rate_hz,
            samples_per_frame: match (profile.peripheral)().waiting() {
                Some(_) => TAKEN_AT_ONCE,
                None => signal.samples_per_frame,
            },
            integrity: signal.integrity,
            modulus: signal.modulus,
            converter: signal.calibration(),
            rails: signal.rails,
            absent_adu: signal.absent_adu,
            waves: if signal.waves.is_empty() {
                &BEATS
            } else {
                signal.waves
            },
        }
    }

    /// Samples per second.
    pub fn rate(&self) -> SamplingRate {
        SamplingRate::hz(self.rate_hz).expect("invariant: a profile's rate is above zero")
    }

    /// Samples of each row in one frame.
    pub fn per_frame(&self) -> u64 {
        u64::try_from(self.samples_per_frame).unwrap_or(1).max(1)
    }

    /// Whether it sees beats and nothing else of the heart.
    pub fn sees_beats(&self) -> bool {
        self.waves == BEATS
    }

    /// The highest count that it can send: a stethoscope's code has steps.
    pub fn highest(&self) -> i32 {
        match (self.waves, i16::try_from(self.rails.1)) {
            ([WaveKind::HeartSound], Ok(rail)) => ulaw_decode(ulaw_encode(rail)).into(),
            _ => self.rails.1,
        }
    }

    /// What it sends while an electrode is off.
    pub fn without_contact(&self) -> i32 {
        self.absent_adu.unwrap_or_else(|| self.highest())
    }

    /// Whether its samples wait until the box asks for them.
    pub fn must_be_asked(&self) -> bool {
        match self.transport {
            Transport::Serial(_) => false,
            Transport::Bluetooth(profile) => (profile.peripheral)().waiting().is_some(),
        }
    }

    /// Counts per millivolt; `None` for what is no voltage.
    pub fn gain_adu_per_mv(&self) -> Option<f64> {
        let is_sound = self.waves.contains(&WaveKind::HeartSound);
        (!is_sound && !self.sees_beats()).then(|| self.converter.gain_adu_per_unit())
    }

    /// The rows by name.
    pub fn labels(&self) -> Vec<String> {
        let kind = |wave: &WaveKind| match wave {
            WaveKind::Ecg(lead) => WaveformKind::Ecg(*lead),
            WaveKind::EcgOther(label) => WaveformKind::EcgOther((*label).to_owned()),
            WaveKind::HeartSound => WaveformKind::HeartSound(None),
        };
        self.waves
            .iter()
            .map(|wave| kind(wave).label().to_owned())
            .collect()
    }

    /// Whether its frames carry the time of a clock of its own.
    pub fn tells_time(&self) -> bool {
        let Transport::Serial(profile) = self.transport else {
            return self.integrity == IntegrityClass::TimeStamped;
        };
        let samples = vec![0; self.samples_per_frame.saturating_mul(self.waves.len())];
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        let frame = FrameRows::planar(self.samples_per_frame, &samples);
        (profile.encoder)().frame(&frame, &mut bytes);
        (profile.decoder)().push(&bytes, &mut events);
        events
            .iter()
            .any(|event| matches!(event, DecoderEvent::Frame(frame) if frame.ticks.is_some()))
    }

    /// Whether it says how full its battery is.
    pub fn states_battery(&self) -> bool {
        match self.transport {
            Transport::Serial(_) => false,
            Transport::Bluetooth(profile) => (profile.peripheral)().read(BATTERY_LEVEL).is_some(),
        }
    }

    /// Whether a host tells it to stream.
    pub fn takes_commands(&self) -> bool {
        let writes = |found: &CharacteristicSpec| {
            let kinds = [Property::Write, Property::WriteWithoutResponse];
            found.properties.iter().any(|found| kinds.contains(found))
        };
        match self.transport {
            Transport::Serial(profile) => !(profile.peripheral)().is_streaming(),
            Transport::Bluetooth(profile) => {
                let mut services = profile.services.iter();
                services.any(|service| service.characteristics.iter().any(writes))
            }
        }
    }

    /// A device of this kind, switched on.
    pub(crate) fn firmware(&self) -> Firmware {
        match self.transport {
            Transport::Serial(profile) => Firmware::Serial {
                encoder: (profile.encoder)(),
                peripheral: (profile.peripheral)(),
            },
            Transport::Bluetooth(profile) => {
                let mut device = (profile.peripheral)();
                device.set_rate(self.rate_hz);
                Firmware::Bluetooth(device)
            }
        }
    }
}

/// What a device sends at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The characteristic, where there is one.
    pub(crate) from: Option<Uuid>,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// What runs on a device.
pub(crate) enum Firmware {
    /// Frames on a line, and the commands for them.
    Serial {
        encoder: Box<dyn Encoder>,
        peripheral: Box<dyn Peripheral>,
    },
    /// Characteristics.
    Bluetooth(Box<dyn GattPeripheral>),
}

impl Firmware {
    pub(crate) fn is_streaming(&self) -> bool {
        match self {
            Self::Serial { peripheral, .. } => peripheral.is_streaming(),
            Self::Bluetooth(device) => device.is_streaming(),
        }
    }

    /// It is put on the skin or taken off.
    pub(crate) fn set_contact(&mut self, on: bool) {
        if let Self::Bluetooth(device) = self {
            device.set_contact(on);
        }
    }

    /// The charge of its battery.
    pub(crate) fn set_battery(&mut self, percent: u8) {
        if let Self::Bluetooth(device) = self {
            device.set_battery(percent);
        }
    }

    /// Samples of each lead that wait until they are asked for, if it works so.
    pub(crate) fn waiting(&self) -> Option<usize> {
        match self {
            Self::Serial { .. } => None,
            Self::Bluetooth(device) => device.waiting(),
        }
    }

    /// Its link is over.
    pub(crate) fn disconnect(&mut self) {
        if let Self::Bluetooth(device) = self {
            device.disconnect();
        }
    }

    /// Puts a recording into its memory; what it is called there.
    pub(crate) fn keep(&mut self, counts: &[i32]) -> Option<String> {
        match self {
            Self::Serial { .. } => None,
            Self::Bluetooth(device) => device.keep(counts),
        }
    }

    /// Lets frames count that were not sent.
    pub(crate) fn skip(&mut self, frames: u64) {
        match self {
            Self::Serial { encoder, .. } => encoder.skip(frames),
            Self::Bluetooth(device) => device.skip(frames),
        }
    }

    pub(crate) fn next_seq(&self) -> Option<u32> {
        match self {
            Self::Serial { encoder, .. } => encoder.next_seq().map(|seq| seq.0),
            Self::Bluetooth(_) => None,
        }
    }

    /// One frame, in the parts that it is sent in.
    pub(crate) fn frame(&mut self, rows: &FrameRows) -> Vec<Packet> {
        match self {
            Self::Serial { encoder, .. } => {
                let mut bytes = Vec::new();
                encoder.frame(rows, &mut bytes);
                vec![Packet { from: None, bytes }]
            }
            Self::Bluetooth(device) => {
                let mut sent = Vec::new();
                device.frame(rows, &mut sent);
                sent.into_iter()
                    .map(|sent| Packet {
                        from: Some(sent.from),
                        bytes: sent.value,
                    })
                    .collect()
            }
        }
    }

    /// The device's clock jumps.
    pub(crate) fn shift_clock(&mut self, by_ms: i64) {
        match self {
            Self::Serial { encoder, .. } => encoder.shift_clock(by_ms),
            Self::Bluetooth(device) => device.shift_clock(by_ms),
        }
    }

    /// The device is switched off and on.
    pub(crate) fn power_cycle(&mut self) {
        match self {
            Self::Serial {
                encoder,
                peripheral,
            } => {
                peripheral.power_cycle();
                encoder.reset();
            }
            Self::Bluetooth(device) => device.power_cycle(),
        }
    }
}
