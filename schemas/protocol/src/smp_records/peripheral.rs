//! The device's side: recordings that can be listed, read and acknowledged.

use std::collections::BTreeMap;

use super::{CHUNK_MAX, CMD_HELLO, CMD_RECORDS, GROUP, Op, SmpMessage, Value, crc32};

/// Entries of the list in one answer.
const PAGE: usize = 6;
const ENOENT: i128 = -2;
const EINVAL: i128 = -22;

/// A simulated device with recordings.
#[derive(Clone, Debug, Default)]
pub struct RecordsPeripheral {
    records: BTreeMap<u32, Vec<u8>>,
    /// Answers that are still to be damaged.
    flips: u32,
}

impl RecordsPeripheral {
    /// Puts a recording into memory.
    pub fn keep(&mut self, id: u32, bytes: Vec<u8>) {
        self.records.insert(id, bytes);
    }

    /// Damages the data of the next so many answers.
    pub const fn damage(&mut self, answers: u32) {
        self.flips = answers;
    }

    /// Recordings that were not acknowledged yet.
    pub fn kept(&self) -> Vec<u32> {
        self.records.keys().copied().collect()
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &SmpMessage) -> SmpMessage {
        let value = match (request.group, request.command, request.value()) {
            (GROUP, CMD_HELLO, Ok(_)) => Value::map([
                ("schema", Value::Integer(1)),
                ("group", Value::Integer(2)),
                ("dev", Value::text("healthypi-move")),
                ("uid", Value::text("00000001")),
            ]),
            (GROUP, CMD_RECORDS, Ok(asked)) => self.records(&asked),
            _ => rc(EINVAL),
        };
        let op = match request.op {
            Op::Write => Op::WriteAnswer,
            _ => Op::ReadAnswer,
        };
        SmpMessage::new(op, request.group, request.command, request.sequence, &value)
    }

    fn records(&mut self, asked: &Value) -> Value {
        let id = asked.number::<u32>("id").unwrap_or(0);
        match asked.get("op") {
            Some(Value::Text(op)) if op == "get" => self.get(id, asked),
            Some(Value::Text(op)) if op == "ack" => match self.records.remove(&id) {
                Some(_) => rc(0),
                None => rc(ENOENT),
            },
            _ => self.list(asked.number("from").unwrap_or(0)),
        }
    }

    fn list(&self, from: usize) -> Value {
        let page = self.records.iter().skip(from).take(PAGE);
        let entries: Vec<Value> = page
            .map(|(id, bytes)| {
                let len = i128::try_from(bytes.len()).unwrap_or(0);
                Value::map([
                    ("id", Value::Integer(i128::from(*id))),
                    ("sig", Value::Integer(1)),
                    ("fmt", Value::Integer(1)),
                    ("ch", Value::Integer(1)),
                    ("rate", Value::Integer(128)),
                    ("ns", Value::Integer(len / 4)),
                    ("len", Value::Integer(len)),
                    ("crc", Value::Integer(i128::from(crc32(bytes)))),
                    ("flags", Value::Integer(1)),
                    ("ts", Value::Integer(1_767_225_600)),
                ])
            })
            .collect();
        let next = from.saturating_add(entries.len());
        let total = self.records.len();
        Value::map([
            ("next", Value::Integer(i128::try_from(next).unwrap_or(0))),
            ("total", Value::Integer(i128::try_from(total).unwrap_or(0))),
            ("recs", Value::Array(entries)),
        ])
    }

    fn get(&mut self, id: u32, asked: &Value) -> Value {
        let Some(bytes) = self.records.get(&id) else {
            return rc(ENOENT);
        };
        let offset: usize = asked.number("off").unwrap_or(0);
        let len: usize = asked.number("len").unwrap_or(0);
        let part = bytes.iter().skip(offset).take(len.min(CHUNK_MAX));
        let mut data: Vec<u8> = part.copied().collect();
        let eof = offset.saturating_add(data.len()) >= bytes.len();
        if let (Some(first), true) = (data.first_mut(), self.flips > 0) {
            *first = !*first;
            self.flips -= 1;
        }
        Value::map([
            ("id", Value::Integer(i128::from(id))),
            ("off", Value::Integer(i128::try_from(offset).unwrap_or(0))),
            ("data", Value::Bytes(data)),
            ("eof", Value::Bool(eof)),
        ])
    }
}

fn rc(number: i128) -> Value {
    Value::map([("rc", Value::Integer(number))])
}

#[cfg(test)]
mod tests {
    use super::super::{FetchState, Fetched, Fetcher, RecordError, crc32};
    use super::{RecordsPeripheral, SmpMessage};
    use crate::session::SessionTiming;
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn device(records: u32) -> RecordsPeripheral {
        let mut device = RecordsPeripheral::default();
        for id in 0..records {
            let bytes = (0..1300 + id)
                .map(|n| (n * 7 + id).to_le_bytes()[0])
                .collect();
            device.keep(id, bytes);
        }
        device
    }

    /// Carries messages until the fetcher waits for its caller; drops the answer of these
    /// places.
    fn carry(
        fetcher: &mut Fetcher,
        device: &mut RecordsPeripheral,
        mut messages: Vec<SmpMessage>,
        lost: &[usize],
    ) {
        let mut now = 0;
        for place in 0.. {
            now += 10;
            let Some(message) = messages.pop() else {
                if *fetcher.state() != FetchState::Running {
                    return;
                }
                now += 5000;
                messages = fetcher.on_tick(at(now));
                continue;
            };
            let answer = device.answer(&SmpMessage::decode(&message.encode()).unwrap());
            if !lost.contains(&place) {
                messages = fetcher.on_message(&answer, at(now));
            }
        }
    }

    fn fetch_all(
        fetcher: &mut Fetcher,
        device: &mut RecordsPeripheral,
        lost: &[usize],
    ) -> Vec<Fetched> {
        let mut all = Vec::new();
        let mut messages = fetcher.start(at(0));
        loop {
            carry(fetcher, device, messages, lost);
            let Some(record) = fetcher.take() else {
                return all;
            };
            assert!(
                device.kept().contains(&record.header.id),
                "kept until stored"
            );
            messages = fetcher.stored(record.header.id, at(0));
            all.push(record);
        }
    }

    #[test]
    fn the_checksum_is_that_of_ieee() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_recording_is_fetched_checked_stored_and_only_then_dropped() {
        let mut device = device(9);
        let mut fetcher = Fetcher::new(SessionTiming::default());
        let all = fetch_all(&mut fetcher, &mut device, &[]);
        assert_eq!(all.len(), 9);
        assert!(
            all.iter()
                .all(|record| crc32(&record.bytes) == record.header.crc)
        );
        assert_eq!(
            (device.kept(), fetcher.state()),
            (vec![], &FetchState::Done)
        );
        assert_eq!(fetcher.device(), Some("00000001"));
    }

    #[test]
    fn lost_answers_are_asked_for_again_from_where_they_were() {
        let mut device = device(3);
        let mut fetcher = Fetcher::new(SessionTiming::default());
        let all = fetch_all(&mut fetcher, &mut device, &[0, 2, 5, 9]);
        assert_eq!(all.len(), 3);
        assert_eq!(fetcher.given_up(), []);
    }

    #[test]
    fn a_damaged_recording_is_read_again_and_at_last_left_where_it_is() {
        let mut once = device(1);
        once.damage(1);
        let mut fetcher = Fetcher::new(SessionTiming::default());
        assert_eq!(fetch_all(&mut fetcher, &mut once, &[]).len(), 1);
        let mut always = device(1);
        always.damage(1000);
        let mut fetcher = Fetcher::new(SessionTiming::default());
        assert_eq!(fetch_all(&mut fetcher, &mut always, &[]), []);
        assert!(matches!(
            fetcher.given_up(),
            [RecordError::Checksum { id: 0, .. }]
        ));
        assert_eq!(always.kept(), [0]);
    }

    #[test]
    fn a_device_that_reboots_in_the_middle_is_gone_on_with_where_it_was() {
        let mut device = device(1);
        let mut fetcher = Fetcher::new(SessionTiming::default());
        let mut messages = fetcher.start(at(0));
        for _ in 0..4 {
            messages = fetcher.on_message(&device.answer(&messages[0]), at(1));
        }
        for millis in (1..20).map(|n| n * 1000) {
            fetcher.on_tick(at(millis));
        }
        assert!(matches!(
            fetcher.state(),
            FetchState::Failed(RecordError::NoAnswer { .. })
        ));
        let before = fetcher.current_len();
        assert_eq!(before, 1024);
        assert_eq!(fetch_all(&mut fetcher, &mut device, &[]).len(), 1);
    }
}
