//! The strap's side.

use crate::decoder::FrameRows;
use crate::gatt::sig_hrs::{BATTERY_LEVEL, read_information};
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::control::{GET_SETTINGS, GET_STATUS, START, STOP, ecg_settings, settings_bytes};
use super::{CONTROL, ControlMessage, DATA, ECG, EcgFrame, PROFILE, Response, Status};

/// Where the strap's clock starts when it has been off: 2019-01-01.
const CLOCK_START_NANOS: u64 = 599_616_000_000_000_000;
const RATE_HZ: u64 = 130;

/// A simulated Polar H10.
#[derive(Clone, Debug)]
pub struct PolarPeripheral {
    running: bool,
    control: bool,
    data: bool,
    /// Samples taken since the clock started.
    taken: u64,
    mtu: u16,
    /// How far the clock was set since it started.
    shift_ns: i64,
}

impl Default for PolarPeripheral {
    fn default() -> Self {
        Self {
            running: false,
            control: false,
            data: false,
            taken: 0,
            mtu: PROFILE.min_mtu,
            shift_ns: 0,
        }
    }
}

impl PolarPeripheral {
    /// The strap stops measuring by itself, as it does off the skin or in its charger.
    pub fn stop_by_itself(&mut self, out: &mut Vec<Notification>) {
        self.running = false;
        self.indicate(&ControlMessage::Stopped(vec![ECG]), out);
    }

    fn indicate(&self, message: &ControlMessage, out: &mut Vec<Notification>) {
        if self.control {
            out.push(Notification {
                from: CONTROL,
                value: message.encode(),
            });
        }
    }

    fn answer(&mut self, op: u8, measurement: Option<u8>) -> Response {
        let mut answer = Response {
            op,
            measurement: measurement.unwrap_or(0),
            status: Status::OK,
            more: false,
            parameters: Vec::new(),
        };
        match (op, measurement) {
            (GET_STATUS, _) => {
                answer.parameters = vec![if self.running { 0x40 | ECG } else { ECG }]
            }
            (_, None) => answer.status = Status(4),
            (_, Some(other)) if other != ECG => answer.status = Status(3),
            (GET_SETTINGS, _) => answer.parameters = settings_bytes(&ecg_settings()),
            (START, _) if self.mtu < PROFILE.min_mtu => answer.status = Status::BAD_MTU,
            (START, _) if self.running => answer.status = Status::ALREADY,
            (START, _) => self.running = true,
            (STOP, _) if !self.running => answer.status = Status::ALREADY,
            (STOP, _) => self.running = false,
            _ => answer.status = Status(1),
        }
        answer
    }
}

impl GattPeripheral for PolarPeripheral {
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        match from {
            CONTROL => Some(vec![0x0F, 0x05, 0x00]),
            BATTERY_LEVEL => Some(vec![80]),
            _ => read_information(from, "Polar Electro Oy", "H10"),
        }
    }

    fn write(&mut self, to: Uuid, value: &[u8], out: &mut Vec<Notification>) {
        if let (CONTROL, Some(op)) = (to, value.first()) {
            let answer = self.answer(*op, value.get(1).copied());
            self.indicate(&ControlMessage::Response(answer), out);
        }
    }

    fn subscribe(&mut self, to: Uuid, on: bool) {
        match to {
            CONTROL => self.control = on,
            DATA => self.data = on,
            _ => {}
        }
    }

    fn is_streaming(&self) -> bool {
        self.running
    }

    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<Notification>) {
        let samples: Vec<i32> = rows.row(0).unwrap_or_default().to_vec();
        let len = u64::try_from(samples.len()).unwrap_or(0);
        self.taken = self.taken.saturating_add(len);
        if self.data && self.running {
            let nanos = u128::from(self.taken) * 1_000_000_000 / u128::from(RATE_HZ);
            let since = CLOCK_START_NANOS.saturating_add(u64::try_from(nanos).unwrap_or(0));
            let value = EcgFrame {
                nanos: since.saturating_add_signed(self.shift_ns),
                samples,
            }
            .encode();
            out.push(Notification { from: DATA, value });
        }
    }

    fn skip(&mut self, frames: u64) {
        let usual = PROFILE.signal.map_or(0, |signal| signal.samples_per_frame);
        let samples = frames.saturating_mul(u64::try_from(usual).unwrap_or(0));
        self.taken = self.taken.saturating_add(samples);
    }

    fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
    }

    fn shift_clock(&mut self, by_ms: i64) {
        let by_ns = by_ms.saturating_mul(1_000_000);
        self.shift_ns = self.shift_ns.saturating_add(by_ns);
    }

    fn disconnect(&mut self) {
        (self.control, self.data) = (false, false);
    }

    fn power_cycle(&mut self) {
        *self = Self::default();
    }
}
