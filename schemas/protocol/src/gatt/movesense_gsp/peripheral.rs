//! The sensor's side: live ECG, and recordings that can be fetched.

use std::collections::BTreeMap;

use crate::decoder::FrameRows;
use crate::gatt::sig_hrs::{BATTERY_LEVEL, read_information};
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::sbem;
use super::{
    BODY_SAMPLES, COMMAND, Command, DATA, ECG_PATH, EcgBody, Identity, LOGBOOK_PATH, LogPiece,
    Notice, RATE_HZ, ecg_path,
};

/// Bytes of an ATT notification beside its value.
const ATT_BYTES: usize = 3;
/// The system mode that starts it anew.
const APPLICATION: u8 = 5;
/// Entries in one answer to the list; more are reached only by their id.
const LISTED: usize = 4;

/// A simulated Movesense sensor.
#[derive(Clone, Debug)]
pub struct MovesensePeripheral {
    mtu: usize,
    notify: bool,
    subscription: Option<u8>,
    refusal: Option<u16>,
    /// Samples per second.
    rate_hz: u32,
    /// Samples taken since the sensor started.
    taken: u64,
    /// How far the clock was set since the sensor started.
    shift_ms: i64,
    logs: BTreeMap<u32, Vec<u8>>,
    recording: bool,
    /// Microseconds since 1970 when the sensor started, once it was told.
    utc_us: Option<u64>,
}

impl Default for MovesensePeripheral {
    fn default() -> Self {
        Self::with_mtu(158)
    }
}

impl MovesensePeripheral {
    /// A sensor on a link with an MTU.
    pub const fn with_mtu(mtu: usize) -> Self {
        Self {
            mtu,
            notify: false,
            subscription: None,
            refusal: None,
            rate_hz: RATE_HZ,
            taken: 0,
            shift_ms: 0,
            logs: BTreeMap::new(),
            recording: false,
            utc_us: None,
        }
    }

    /// Whether it records.
    pub const fn is_recording(&self) -> bool {
        self.recording
    }

    /// The recordings that it keeps.
    pub fn kept(&self) -> Vec<u32> {
        self.logs.keys().copied().collect()
    }

    /// Milliseconds since it started.
    fn millis(&self) -> u32 {
        let millis = self.taken.saturating_mul(1000) / u64::from(self.rate_hz).max(1);
        let millis = millis.wrapping_add_signed(self.shift_ms);
        u32::try_from(millis & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// Begins a recording.
    fn record(&mut self) {
        let next = self
            .logs
            .keys()
            .next_back()
            .map_or(1, |last| last.saturating_add(1));
        let mut log = sbem::head();
        if let Some(started) = self.utc_us {
            let millis = self.millis();
            sbem::clock(
                millis,
                started.saturating_add(u64::from(millis) * 1000),
                &mut log,
            );
        }
        self.logs.insert(next, log);
        self.recording = true;
    }

    /// Answers every further subscription, and what to record, with this status.
    pub const fn refuse_with(&mut self, status: u16) {
        self.refusal = Some(status);
    }

    /// Puts a recording into the logbook.
    pub fn keep_log(&mut self, id: u32, bytes: Vec<u8>) {
        self.logs.insert(id, bytes);
    }

    fn notify(&self, value: Vec<u8>, out: &mut Vec<Notification>) {
        if self.notify {
            out.push(Notification { from: DATA, value });
        }
    }

    fn answer(&self, reference: u8, status: u16, data: Vec<u8>, out: &mut Vec<Notification>) {
        self.notify(Notice::Answer { status, data }.encode(reference), out);
    }

    /// A body in as many parts as the MTU needs: two at most.
    fn send_body(&self, reference: u8, body: &[u8], out: &mut Vec<Notification>) {
        let room = self.mtu.saturating_sub(ATT_BYTES + 2).min(body.len());
        let (first, rest) = body.split_at(room);
        self.notify(Notice::Data(first.to_vec()).encode(reference), out);
        if !rest.is_empty() {
            self.notify(Notice::More(rest.to_vec()).encode(reference), out);
        }
    }

    fn obey(&mut self, reference: u8, command: Command, out: &mut Vec<Notification>) {
        match command {
            Command::Hello => {
                let identity = Identity {
                    protocol: 1,
                    serial: "000000000001".to_owned(),
                    product: "Movesense".to_owned(),
                    app: "GATT SensorData".to_owned(),
                    version: "2.3.1".to_owned(),
                };
                self.notify(identity.encode(reference), out);
            }
            Command::Subscribe(path) => {
                let status = self.refusal.unwrap_or_else(|| self.status_of(&path));
                if status == 200 {
                    self.subscription = Some(reference);
                }
                self.answer(reference, status, Vec::new(), out);
            }
            Command::Unsubscribe => {
                self.subscription = None;
                self.answer(reference, 200, Vec::new(), out);
            }
            Command::Get(path) if path == LOGBOOK_PATH => self.list(reference, out),
            Command::ClearLogbook if self.recording => self.answer(reference, 409, Vec::new(), out),
            Command::FetchLog(id) => self.fetch(reference, id, out),
            Command::ClearLogbook => {
                self.logs.clear();
                self.answer(reference, 200, Vec::new(), out);
            }
            Command::LoggerState(state) => {
                match state {
                    3 if !self.recording => self.record(),
                    3 => {}
                    _ => self.recording = false,
                }
                self.answer(reference, 200, Vec::new(), out);
            }
            Command::ConfigureLogger(paths) => {
                let status = self.configured(&paths);
                self.answer(reference, status, Vec::new(), out);
            }
            Command::Get(_) => self.answer(reference, 404, Vec::new(), out),
            Command::SetTime(micros) => {
                let since = u64::from(self.millis()).saturating_mul(1000);
                self.utc_us = Some(micros.saturating_sub(since));
                self.answer(reference, 200, Vec::new(), out);
            }
            Command::SystemMode(mode) => {
                self.answer(reference, 200, Vec::new(), out);
                if mode == APPLICATION {
                    self.power_cycle();
                }
            }
        }
    }

    /// The status of a subscription: the ECG is measured at one rate here.
    fn status_of(&self, path: &str) -> u16 {
        if path == ecg_path(self.rate_hz) {
            200
        } else if path.starts_with(ECG_PATH) {
            501
        } else {
            404
        }
    }

    /// Whether these resources can be recorded: the ECG at the rate at which it is measured here,
    /// and the time of day.
    fn configured(&self, paths: &[String]) -> u16 {
        let own = ecg_path(self.rate_hz);
        let is_ecg = |path: &str| path == own || path == format!("{own}/mV");
        let is_known = |path: &str| is_ecg(path) || path == "/Time/Detailed";
        let rate = |path: &str| path.starts_with(ECG_PATH);
        match paths.iter().find(|path| !is_known(path)) {
            _ if self.recording => 409,
            _ if self.refusal.is_some() => self.refusal.unwrap_or(400),
            None => 200,
            Some(path) if rate(path) => 501,
            Some(_) => 404,
        }
    }

    fn list(&self, reference: u8, out: &mut Vec<Notification>) {
        let mut data = vec![0];
        for (id, log) in self.logs.iter().take(LISTED) {
            data.extend_from_slice(&id.to_le_bytes());
            data.extend_from_slice(&0_u32.to_le_bytes());
            let size = u64::try_from(log.len()).unwrap_or(u64::MAX);
            data.extend_from_slice(&size.to_le_bytes());
        }
        let status = if self.logs.len() > LISTED { 100 } else { 200 };
        self.answer(reference, status, data, out);
    }

    fn fetch(&self, reference: u8, id: u32, out: &mut Vec<Notification>) {
        if self.recording {
            return self.answer(reference, 409, Vec::new(), out);
        }
        let Some(log) = self.logs.get(&id) else {
            return self.answer(reference, 404, Vec::new(), out);
        };
        self.answer(reference, 200, Vec::new(), out);
        let room = self.mtu.saturating_sub(ATT_BYTES + 2 + 4).max(1);
        let mut offset = 0_u32;
        for bytes in log.chunks(room).chain([&[][..]]) {
            let piece = LogPiece {
                offset,
                bytes: bytes.to_vec(),
            };
            self.notify(Notice::Data(piece.encode()).encode(reference), out);
            offset = offset.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
    }
}

impl GattPeripheral for MovesensePeripheral {
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        if from == BATTERY_LEVEL {
            return Some(vec![85]);
        }
        read_information(from, "Movesense", "Movesense")
    }

    fn write(&mut self, to: Uuid, value: &[u8], out: &mut Vec<Notification>) {
        if to != COMMAND {
            return;
        }
        match Command::decode(value) {
            Ok((reference, command)) => self.obey(reference, command, out),
            Err(_) => {
                let reference = value.get(1).copied().unwrap_or(0);
                self.answer(reference, 400, Vec::new(), out);
            }
        }
    }

    fn subscribe(&mut self, to: Uuid, on: bool) {
        if to == DATA {
            self.notify = on;
        }
    }

    fn is_streaming(&self) -> bool {
        self.subscription.is_some() || self.recording
    }

    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<Notification>) {
        let mut samples = [0; BODY_SAMPLES];
        for (slot, count) in samples.iter_mut().zip(rows.row(0).unwrap_or_default()) {
            *slot = *count;
        }
        self.skip(1);
        let body = EcgBody {
            millis: self.millis(),
            samples,
        };
        if self.recording
            && let Some(mut log) = self.logs.last_entry()
        {
            sbem::ecg(&body.encode(), log.get_mut());
        }
        if let Some(reference) = self.subscription {
            self.send_body(reference, &body.encode(), out);
        }
    }

    fn skip(&mut self, frames: u64) {
        let samples = u64::try_from(BODY_SAMPLES).unwrap_or(0);
        self.taken = self.taken.saturating_add(frames.saturating_mul(samples));
    }

    fn set_rate(&mut self, rate_hz: u32) {
        self.rate_hz = rate_hz;
    }

    fn set_mtu(&mut self, mtu: u16) {
        self.mtu = usize::from(mtu);
    }

    fn shift_clock(&mut self, by_ms: i64) {
        self.shift_ms = self.shift_ms.saturating_add(by_ms);
    }

    fn disconnect(&mut self) {
        self.notify = false;
        self.subscription = None;
    }

    fn power_cycle(&mut self) {
        let logs = std::mem::take(&mut self.logs);
        *self = Self {
            rate_hz: self.rate_hz,
            ..Self::with_mtu(self.mtu)
        };
        self.logs = logs;
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMAND, Command, DATA, GattPeripheral, MovesensePeripheral, Notice};

    fn ask(sensor: &mut MovesensePeripheral, command: &Command) -> Vec<Notice> {
        let mut out = Vec::new();
        sensor.write(COMMAND, &command.encode(1), &mut out);
        out.iter()
            .map(|sent| Notice::decode(&sent.value).unwrap().1)
            .collect()
    }

    #[test]
    fn nothing_is_fetched_while_the_sensor_records() {
        let mut sensor = MovesensePeripheral::default();
        sensor.subscribe(DATA, true);
        ask(&mut sensor, &Command::LoggerState(3));
        let answer = ask(&mut sensor, &Command::FetchLog(1));
        assert!(matches!(answer[0], Notice::Answer { status: 409, .. }));
    }
}
