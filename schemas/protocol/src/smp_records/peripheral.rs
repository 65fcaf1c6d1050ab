//! The device's side: recordings that can be listed, read and acknowledged.

use std::collections::BTreeMap;

use crate::decoder::FrameRows;
use crate::gatt::sig_hrs::{BATTERY_LEVEL, read_information};
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::{
    Assembler, CHARACTERISTIC, CHUNK_MAX, CMD_HELLO, CMD_RECORDS, GROUP, Op, SmpMessage, Value,
    crc32,
};

/// Entries of the list in one answer.
const PAGE: usize = 6;
const ENOENT: i128 = -2;
const EINVAL: i128 = -22;

/// A simulated device with recordings.
#[derive(Clone, Debug)]
pub struct RecordsPeripheral {
    records: BTreeMap<u32, Vec<u8>>,
    /// Answers that are still to be damaged.
    flips: u32,
    mtu: usize,
    notify: bool,
    assembler: Assembler,
}

impl Default for RecordsPeripheral {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            flips: 0,
            mtu: 247,
            notify: false,
            assembler: Assembler::default(),
        }
    }
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
                    ("fmt", Value::Integer(0)),
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

impl GattPeripheral for RecordsPeripheral {
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        if from == BATTERY_LEVEL {
            return Some(vec![70]);
        }
        read_information(from, "ProtoCentral", "HealthyPi Move")
    }

    fn write(&mut self, to: Uuid, value: &[u8], out: &mut Vec<Notification>) {
        if to != CHARACTERISTIC {
            return;
        }
        let Some(request) = self.assembler.push(value) else {
            return;
        };
        let answer = self.answer(&request).encode();
        let room = self.mtu.saturating_sub(3).max(1);
        if self.notify {
            out.extend(answer.chunks(room).map(|part| Notification {
                from: CHARACTERISTIC,
                value: part.to_vec(),
            }));
        }
    }

    fn subscribe(&mut self, to: Uuid, on: bool) {
        if to == CHARACTERISTIC {
            self.notify = on;
        }
    }

    fn is_streaming(&self) -> bool {
        false
    }

    fn frame(&mut self, _: &FrameRows, _: &mut Vec<Notification>) {}

    fn skip(&mut self, _: u64) {}

    fn set_mtu(&mut self, mtu: u16) {
        self.mtu = usize::from(mtu);
    }

    fn disconnect(&mut self) {
        self.notify = false;
        self.assembler.forget();
    }

    fn power_cycle(&mut self) {
        self.disconnect();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RecordsSession, Value, crc32};
    use super::{GROUP, Op, RecordsPeripheral, SmpMessage};
    use crate::gatt::{GattAction, GattPeripheral, Notification, Uuid};
    use crate::kept::test_support::{Fate, Fetching, reading};
    use crate::kept::{Kept, KeptError, KeptSession, KeptState};
    use crate::session::SessionTiming;
    use crate::smp_records::CHARACTERISTIC;
    use proptest::prelude::*;

    fn payload(id: u32) -> Vec<u8> {
        (0..1300 + id)
            .map(|n| (n * 7 + id).to_le_bytes()[0])
            .collect()
    }

    fn device(records: u32) -> RecordsPeripheral {
        let mut device = RecordsPeripheral::default();
        for id in 0..records {
            device.keep(id, payload(id));
        }
        device
    }

    fn session() -> RecordsSession {
        RecordsSession::new(SessionTiming::default())
    }

    fn is_record(kept: &Kept, id: u32) -> bool {
        kept.file_name == format!("r{id:06}.hpi") && kept.bytes[30..] == payload(id)
    }

    #[test]
    fn the_checksum_is_that_of_ieee() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_recording_is_fetched_checked_stored_and_only_then_dropped() {
        let (mut session, mut device) = (session(), device(9));
        let mut fetching = Fetching::new(&mut session, &mut device);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(
            (0..)
                .zip(&fetching.stored)
                .all(|(id, kept)| is_record(kept, id))
        );
        assert_eq!(fetching.stored.len(), 9);
        assert!(device.kept().is_empty());
        assert_eq!(session.state(), &KeptState::Done);
    }

    #[test]
    fn a_recording_is_kept_by_the_device_until_it_hears_that_it_is_stored() {
        let (mut session, mut device) = (session(), device(1));
        let now = reading(0);
        let mut actions = session.start(now);
        while !matches!(session.state(), KeptState::Holding(_)) {
            if let KeptState::Offering(label) = session.state() {
                assert_eq!(label.unit, "00000001");
                actions = session.want(now.box_instant);
            }
            let mut sent = Vec::new();
            for action in std::mem::take(&mut actions) {
                device.obey(action, &mut sent);
            }
            for value in sent {
                actions.extend(session.on_value(
                    value.from,
                    &value.value,
                    now.box_instant,
                    &mut vec![],
                ));
            }
        }
        assert!(session.take().is_some() && session.take().is_none());
        assert_eq!(device.kept(), [0]);
        assert!(session.leave(now.box_instant).is_empty());
        assert_eq!(
            (session.state(), device.kept()),
            (&KeptState::Done, vec![0])
        );
    }

    #[test]
    fn a_damaged_recording_is_read_again_and_at_last_left_where_it_is() {
        let (mut session, mut once) = (session(), device(1));
        once.damage(1);
        let mut fetching = Fetching::new(&mut session, &mut once);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(is_record(&fetching.stored[0], 0));
        let (mut session, mut always) = (self::session(), device(1));
        always.damage(1000);
        let mut fetching = Fetching::new(&mut session, &mut always);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(fetching.stored.is_empty());
        assert!(matches!(
            fetching.given_up[..],
            [KeptError::Checksum { reads: 3, .. }]
        ));
        assert_eq!(always.kept(), [0]);
    }

    #[test]
    fn after_a_reboot_the_bytes_that_are_there_are_not_asked_for_again() {
        let (mut session, mut device) = (session(), device(1));
        let mut fetching = Fetching::new(&mut session, &mut device);
        let mut most = 0;
        fetching.run(
            |place| {
                most = most.max(place);
                // within the third chunk
                if place == 17 {
                    Fate::Reboot
                } else {
                    Fate::Arrives
                }
            },
            1,
        );
        assert!(is_record(&fetching.stored[0], 0));
        let mut whole = 0;
        let (mut session, mut device) = (self::session(), self::device(1));
        Fetching::new(&mut session, &mut device).run(
            |place| {
                whole = whole.max(place);
                Fate::Arrives
            },
            1,
        );
        // hello, list and what every device is asked come again, chunks do not
        assert!(
            most <= whole + 12,
            "{most} values, {whole} without a reboot"
        );
    }

    /// A device that lists for ever, lies about sizes, and sends what was not asked for.
    struct Liar {
        inner: RecordsPeripheral,
        lie: fn(&SmpMessage, SmpMessage) -> SmpMessage,
    }

    impl GattPeripheral for Liar {
        fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
            self.inner.read(from)
        }
        fn write(&mut self, _: Uuid, value: &[u8], out: &mut Vec<Notification>) {
            let asked = SmpMessage::decode(value).unwrap();
            let answer = (self.lie)(&asked, self.inner.answer(&asked));
            out.push(Notification {
                from: CHARACTERISTIC,
                value: answer.encode(),
            });
        }
        fn subscribe(&mut self, _: Uuid, _: bool) {}
        fn is_streaming(&self) -> bool {
            false
        }
        fn frame(&mut self, _: &crate::decoder::FrameRows, _: &mut Vec<Notification>) {}
        fn skip(&mut self, _: u64) {}
        fn disconnect(&mut self) {}
        fn power_cycle(&mut self) {}
    }

    /// The answer with other fields.
    fn instead(answer: &SmpMessage, changes: &[(&str, i128)]) -> SmpMessage {
        let Ok(Value::Map(fields)) = answer.value() else {
            panic!("{answer:?}");
        };
        let changed = fields.into_iter().map(|(key, value)| {
            let number = changes.iter().find(|(name, _)| key == Value::text(name));
            (
                key,
                number.map_or(value, |(_, number)| Value::Integer(*number)),
            )
        });
        let value = Value::Map(changed.collect());
        SmpMessage::new(
            Op::ReadAnswer,
            GROUP,
            answer.command,
            answer.sequence,
            &value,
        )
    }

    fn asked_for(message: &SmpMessage, op: &str) -> bool {
        message.value().unwrap().get("op") == Some(&Value::text(op))
    }

    #[test]
    fn a_list_without_end_is_given_up() {
        let lie = |asked: &SmpMessage, answer: SmpMessage| {
            let from: u32 = asked.value().unwrap().number("from").unwrap_or(0);
            match asked_for(asked, "list") {
                true => instead(
                    &answer,
                    &[
                        ("next", i128::from(from) + 1),
                        ("total", i128::from(u32::MAX)),
                    ],
                ),
                false => answer,
            }
        };
        let (mut session, mut device) = (
            session(),
            Liar {
                inner: device(3),
                lie,
            },
        );
        Fetching::new(&mut session, &mut device).run(|_| Fate::Arrives, 1);
        assert_eq!(session.state(), &KeptState::Failed(KeptError::Endless));
    }

    #[test]
    fn offsets_that_go_back_and_chunks_of_nothing_do_not_hold_the_box_up() {
        let back = |asked: &SmpMessage, answer: SmpMessage| match asked_for(asked, "get") {
            true => instead(&answer, &[("off", 0)]),
            false => answer,
        };
        let (mut session, mut device) = (
            session(),
            Liar {
                inner: device(1),
                lie: back,
            },
        );
        let mut fetching = Fetching::new(&mut session, &mut device);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(fetching.stored.is_empty());
        assert!(matches!(
            fetching.given_up[..],
            [KeptError::Checksum { .. }]
        ));
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Arrives),
            1 => Just(Fate::Lost),
            1 => Just(Fate::Twice),
            1 => Just(Fate::Break),
            1 => Just(Fate::Reboot),
        ]
    }

    fn all(stored: &[Kept]) -> Vec<u32> {
        let is_there = |id: &u32| stored.iter().any(|kept| is_record(kept, *id));
        (0..3).filter(is_there).collect()
    }

    proptest! {
        // An answer is one value here: nothing guards a list of which one part is lost and
        // another comes twice.
        #[test]
        fn whatever_happens_on_the_way_every_recording_arrives_once_and_whole(fates in proptest::collection::vec(fate(), 0..60)) {
            let (mut session, mut device) = (session(), device(3));
            device.set_mtu(800);
            let mut fetching = Fetching::new(&mut session, &mut device);
            fetching.run(|place| fates.get(place).copied().unwrap_or(Fate::Arrives), 50);
            prop_assert_eq!((all(&fetching.stored), fetching.stored.len()), (vec![0, 1, 2], 3));
            prop_assert!(device.kept().is_empty());
        }

        #[test]
        fn however_answers_are_cut_up_no_recording_is_dropped_unread(fates in proptest::collection::vec(fate(), 0..60), mtu in 30_u16..300) {
            let (mut session, mut device) = (session(), device(3));
            device.set_mtu(mtu);
            let mut fetching = Fetching::new(&mut session, &mut device);
            fetching.run(|place| fates.get(place).copied().unwrap_or(Fate::Arrives), 50);
            let mut somewhere = all(&fetching.stored);
            somewhere.extend(device.kept());
            prop_assert!((0..3).all(|id| somewhere.contains(&id)), "{:?}", somewhere);
        }

        #[test]
        fn values_that_are_damaged_never_cost_a_recording(damage in proptest::collection::vec((any::<bool>(), 0_usize..300), 0..80)) {
            let (mut session, mut device) = (session(), device(3));
            let mut fetching = Fetching::new(&mut session, &mut device);
            let fate = |place: usize| match damage.get(place) {
                Some((true, at)) => Fate::Damaged(*at),
                _ => Fate::Arrives,
            };
            fetching.run(fate, 50);
            let mut somewhere = all(&fetching.stored);
            somewhere.extend(device.kept());
            prop_assert!((0..3).all(|id| somewhere.contains(&id)), "{:?}", somewhere);
        }

        #[test]
        fn any_values_leave_the_session_in_order(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..30)) {
            let mut session = session();
            let now = reading(0).box_instant;
            session.start(reading(0));
            for value in values {
                let actions = session.on_value(CHARACTERISTIC, &value, now, &mut Vec::new());
                let writes = |action: &GattAction| matches!(action, GattAction::Write { .. });
                prop_assert!(actions.iter().all(writes));
            }
        }
    }
}
