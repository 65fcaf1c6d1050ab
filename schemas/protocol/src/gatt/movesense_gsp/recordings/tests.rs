use super::super::{DATA, MovesensePeripheral};
use super::MovesenseRecordings;
use crate::gatt::GattPeripheral;
use crate::gatt::movesense_gsp::{COMMAND, Command};
use crate::kept::test_support::{Fate, Fetching, reading};
use crate::kept::{Kept, KeptError, KeptSession, KeptState};
use crate::session::SessionTiming;
use proptest::prelude::*;

fn log(id: u32) -> Vec<u8> {
    (0..500 + id * 100)
        .map(|n| (n * 7 + id).to_le_bytes()[0])
        .collect()
}

fn sensor(logs: u32) -> MovesensePeripheral {
    let mut sensor = MovesensePeripheral::default();
    for id in 1..=logs {
        sensor.keep_log(id, log(id));
    }
    sensor
}

fn session() -> MovesenseRecordings {
    MovesenseRecordings::new(SessionTiming::default())
}

fn are_the_logs(stored: &[Kept], logs: u32) -> bool {
    let is_there = |id: u32| {
        let name = format!("log-{id}.sbem");
        stored
            .iter()
            .any(|kept| kept.file_name == name && kept.bytes == log(id))
    };
    (1..=logs).all(is_there) && stored.len() == usize::try_from(logs).unwrap()
}

#[test]
fn logs_behind_the_end_of_the_list_are_fetched_too_and_the_logbook_is_cleared_at_last() {
    for logs in [1, 4, 5, 9] {
        let (mut session, mut sensor) = (session(), sensor(logs));
        let mut fetching = Fetching::new(&mut session, &mut sensor);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(are_the_logs(&fetching.stored, logs), "{logs}");
        assert!(sensor.kept().is_empty(), "{logs}: {:?}", sensor.kept());
    }
}

#[test]
fn a_log_that_is_left_keeps_the_whole_logbook() {
    let (mut session, mut sensor) = (session(), sensor(2));
    let now = reading(0);
    let (mut actions, mut left) = (session.start(now), 0);
    while *session.state() != KeptState::Done {
        match session.state() {
            KeptState::Offering(_) => actions = session.want(now.box_instant),
            KeptState::Holding(_) if left == 0 => {
                left += 1;
                actions = session.leave(now.box_instant);
            }
            KeptState::Holding(_) => actions = session.stored(now.box_instant),
            _ => {}
        }
        let mut sent = Vec::new();
        for action in std::mem::take(&mut actions) {
            sensor.obey(action, &mut sent);
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
    assert_eq!(sensor.kept(), [1, 2]);
}

#[test]
fn a_sensor_that_records_is_left_alone() {
    let (mut session, mut sensor) = (session(), sensor(1));
    sensor.write(COMMAND, &Command::LoggerState(3).encode(9), &mut Vec::new());
    Fetching::new(&mut session, &mut sensor).run(|_| Fate::Arrives, 1);
    assert_eq!(session.state(), &KeptState::Failed(KeptError::Recording));
    assert!(sensor.is_recording());
    assert_eq!(sensor.kept(), [1, 2]);
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Break),
        1 => Just(Fate::Reboot),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_on_the_way_every_log_arrives_once_and_whole(fates in proptest::collection::vec(fate(), 0..80), mtu in 23_u16..300) {
        let (mut session, mut sensor) = (session(), sensor(3));
        sensor.set_mtu(mtu);
        let mut fetching = Fetching::new(&mut session, &mut sensor);
        fetching.run(|place| fates.get(place).copied().unwrap_or(Fate::Arrives), 80);
        prop_assert!(are_the_logs(&fetching.stored, 3), "{:?}", fetching.given_up);
        prop_assert!(sensor.kept().is_empty());
    }

    #[test]
    fn values_that_are_damaged_never_clear_what_was_not_stored(damage in proptest::collection::vec((any::<bool>(), 0_usize..300), 0..80)) {
        let (mut session, mut sensor) = (session(), sensor(3));
        let mut fetching = Fetching::new(&mut session, &mut sensor);
        let fate = |place: usize| match damage.get(place) {
            Some((true, at)) => Fate::Damaged(*at),
            _ => Fate::Arrives,
        };
        fetching.run(fate, 20);
        let stored = fetching.stored.len();
        prop_assert!(!sensor.kept().is_empty() || stored >= 1);
    }

    #[test]
    fn any_values_leave_the_session_in_order(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..30)) {
        let mut session = session();
        session.start(reading(0));
        for value in values {
            session.on_value(DATA, &value, reading(0).box_instant, &mut Vec::new());
        }
    }
}
