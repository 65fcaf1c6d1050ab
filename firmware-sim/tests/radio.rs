//! The radio that does not exist, as unmodified btleplug sees it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use btleplug::api::{
    Central as _, CentralEvent, Characteristic, Manager as _, Peripheral as _, ScanFilter,
    WriteType,
};
use btleplug::platform::{Adapter, Peripheral};
use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_firmware_sim::radio::{Radio, Sensor, SensorHandle, Sent};
use cardio_protocol::decoder::{DecoderEvent, FrameRows};
use cardio_protocol::gatt::{
    ALL, GattAction, GattPeripheral, GattSession, Notification, Uuid, movesense_gsp, polar_pmd,
    sig_hrs,
};
use cardio_protocol::session::{SessionState, SessionTiming};
use futures_util::{Stream, StreamExt as _};
use support::{PATIENCE, Values, adapter, alone, characteristic, connect, find, next_value, soon};

const STRAP: &str = "C0:00:00:00:00:01";
const NAME: &str = "Polar H10 0A0B0C0D";

fn strap(radio: &Radio) -> (SensorHandle, Arc<Mutex<polar_pmd::PolarPeripheral>>) {
    let device = Arc::new(Mutex::new(polar_pmd::PolarPeripheral::default()));
    let mut shown = Sensor::of(&polar_pmd::PROFILE, STRAP, NAME);
    shown.manufacturer_data.insert(0x006B, vec![0x33, 0x00]);
    (radio.add(shown, Arc::clone(&device)), device)
}

/// The strap, found by a scan and connected.
async fn connected(adapter: &Adapter) -> Peripheral {
    let found = find(adapter, NAME).await;
    connect(&found).await;
    found
}

/// Subscribes to what the strap measures, with the stream of its values from before that on.
async fn listen(found: &Peripheral) -> (Values, Characteristic) {
    let values = found.notifications().await.unwrap();
    let data = characteristic(found, polar_pmd::DATA);
    found.subscribe(&data).await.unwrap();
    (values, data)
}

/// Waits for an event of the adapter.
async fn event(
    adapter: &mut (impl Stream<Item = CentralEvent> + Unpin),
    wanted: fn(&CentralEvent) -> bool,
) {
    while !wanted(&soon("an event", adapter.next()).await.unwrap()) {}
}

#[test]
fn what_a_sensor_advertises_is_found_by_a_scan() {
    alone(
        "what_a_sensor_advertises_is_found_by_a_scan",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            let found = find(&adapter, NAME).await;
            let properties = found.properties().await.unwrap().unwrap();
            assert_eq!(found.address().to_string(), STRAP);
            assert_eq!(properties.rssi, Some(-60));
            assert_eq!(properties.manufacturer_data[&0x006B], [0x33, 0x00]);
            let service = uuid::Uuid::from_u128(polar_pmd::SERVICE.0);
            assert_eq!(properties.services, [service]);
            // It comes nearer while somebody scans.
            adapter.start_scan(ScanFilter::default()).await.unwrap();
            let mut events = adapter.events().await.unwrap();
            sensor.change(|shown| shown.rssi_dbm = -41);
            sensor.advertise();
            event(&mut events, |event| {
                matches!(event, CentralEvent::RssiUpdate { rssi: -41, .. })
            })
            .await;
            assert_eq!(found.properties().await.unwrap().unwrap().rssi, Some(-41));
        },
    );
}

#[test]
fn every_profile_has_the_services_that_it_must_have() {
    alone(
        "every_profile_has_the_services_that_it_must_have",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            for (number, profile) in ALL.into_iter().enumerate() {
                let address = format!("C0:00:00:00:01:{number:02X}");
                let name = format!("{} {number}", profile.name);
                radio.add(
                    Sensor::of(profile, &address, &name),
                    Arc::new(Mutex::new(sig_hrs::HrsPeripheral::default())),
                );
                let found = find(&adapter, &name).await;
                connect(&found).await;
                let discovered: Vec<(Uuid, Uuid)> = found
                    .characteristics()
                    .iter()
                    .map(|c| (Uuid(c.service_uuid.as_u128()), Uuid(c.uuid.as_u128())))
                    .collect();
                assert!(profile.fits(&discovered), "{}", profile.name);
            }
        },
    );
}

fn now() -> BoxInstant {
    BoxInstant {
        boot: BootId([1; 16]),
        micros: 0,
    }
}

#[test]
fn the_box_s_side_of_a_strap_reaches_streaming_over_the_bus() {
    alone(
        "the_box_s_side_of_a_strap_reaches_streaming_over_the_bus",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, device) = strap(&radio);
            let found = connected(&adapter).await;
            let mut values: Values = found.notifications().await.unwrap();
            let mut session = polar_pmd::PolarSession::new(SessionTiming::default());
            let mut actions = session.start(now());
            let mut events = Vec::new();
            let samples: Vec<i32> = (0..73).map(|n| n * 100 - 4000).collect();
            while session.state() != SessionState::Streaming {
                for action in std::mem::take(&mut actions) {
                    match action {
                        GattAction::Subscribe(to) => {
                            found.subscribe(&characteristic(&found, to)).await.unwrap();
                        }
                        // What is read shows as a notification too, and is taken from there.
                        GattAction::Read(from) => {
                            found.read(&characteristic(&found, from)).await.unwrap();
                        }
                        GattAction::Write { to, value, .. } => {
                            let to = characteristic(&found, to);
                            found
                                .write(&to, &value, WriteType::WithResponse)
                                .await
                                .unwrap();
                        }
                    }
                }
                if device.lock().unwrap().is_streaming() {
                    let mut sent = Vec::new();
                    let rows = FrameRows::planar(73, &samples);
                    device.lock().unwrap().frame(&rows, &mut sent);
                    assert_eq!(sensor.send(&sent[0]), Sent::Delivered);
                }
                let (from, value) = next_value(&mut values).await;
                actions = session.on_value(Uuid(from), &value, now(), &mut events);
            }
            let frame = events.iter().find_map(|event| match event {
                DecoderEvent::Frame(frame) => Some(frame.rows.samples().to_vec()),
                _ => None,
            });
            assert_eq!(frame, Some(samples));
        },
    );
}

/// A value of so many bytes that no other has.
fn numbered(number: u32, len: usize) -> Notification {
    let mark = number.to_le_bytes();
    let rest = (0..=u8::MAX).cycle().skip(usize::from(mark[0]));
    let value = mark.into_iter().chain(rest).take(len).collect();
    Notification {
        from: polar_pmd::DATA,
        value,
    }
}

#[test]
fn values_arrive_whole_and_in_order_at_130_and_500_a_second_and_as_fast_as_they_come() {
    alone(
        "values_arrive_whole_and_in_order_at_130_and_500_a_second_and_as_fast_as_they_come",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            let found = connected(&adapter).await;
            let (mut values, _) = listen(&found).await;
            for (count, len, per_second) in [
                (130, 229, Some(130)),
                (500, 28, Some(500)),
                (10_000, 244, None),
            ] {
                let sender = sensor.clone();
                let sending = std::thread::spawn(move || {
                    for number in 0..count {
                        assert_eq!(sender.send(&numbered(number, len)), Sent::Delivered);
                        if let Some(rate) = per_second {
                            std::thread::sleep(Duration::from_secs(1) / rate);
                        }
                    }
                });
                for number in 0..count {
                    let (_, value) = next_value(&mut values).await;
                    assert_eq!(value, numbered(number, len).value, "value {number}");
                }
                sending.join().unwrap();
            }
        },
    );
}

#[test]
fn a_lost_link_is_told_and_subscriptions_end_with_it() {
    alone(
        "a_lost_link_is_told_and_subscriptions_end_with_it",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, device) = strap(&radio);
            let found = connected(&adapter).await;
            let (mut values, data) = listen(&found).await;
            let mut events = adapter.events().await.unwrap();
            sensor.set_in_range(false);
            event(&mut events, |event| {
                matches!(event, CentralEvent::DeviceDisconnected(_))
            })
            .await;
            assert_eq!(sensor.send(&numbered(1, 8)), Sent::NotConnected);
            let refused = found.connect().await.unwrap_err().to_string();
            assert!(
                refused.contains("le-connection-abort-by-local"),
                "{refused}"
            );
            sensor.set_in_range(true);
            connect(&found).await;
            assert_eq!(sensor.send(&numbered(2, 8)), Sent::NotSubscribed);
            found.subscribe(&data).await.unwrap();
            assert_eq!(sensor.send(&numbered(3, 8)), Sent::Delivered);
            assert_eq!(next_value(&mut values).await.1, numbered(3, 8).value);
            assert_eq!(sensor.send(&numbered(4, 245)), Sent::TooLong);
            drop(device);
        },
    );
}

#[test]
fn a_daemon_that_starts_again_is_silent_and_forgets_all_but_pairings() {
    alone(
        "a_daemon_that_starts_again_is_silent_and_forgets_all_but_pairings",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            let found = connected(&adapter).await;
            let (mut values, data) = listen(&found).await;
            radio.stop_daemon();
            assert!(!sensor.is_connected());
            let gone = found.is_connected().await.unwrap_err().to_string();
            assert!(gone.contains("org.bluez was not provided"), "{gone}");
            radio.start_daemon();
            assert_eq!(sensor.send(&numbered(0, 8)), Sent::NotConnected);
            assert!(adapter.peripherals().await.unwrap().is_empty());
            // The streams of before work again, once all is asked for anew.
            let again = find(&adapter, NAME).await;
            connect(&again).await;
            again.subscribe(&data).await.unwrap();
            sensor.send(&numbered(1, 8));
            assert_eq!(next_value(&mut values).await.1, numbered(1, 8).value);
        },
    );
}

#[test]
fn an_adapter_that_is_pulled_takes_its_devices_with_it() {
    alone(
        "an_adapter_that_is_pulled_takes_its_devices_with_it",
        |radio| async move {
            let (manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            let found = connected(&adapter).await;
            radio.unplug_adapter("hci0");
            assert!(!sensor.is_connected());
            assert!(manager.adapters().await.unwrap().is_empty());
            assert!(found.is_connected().await.is_err());
            radio.plug_adapter("hci0");
            radio.plug_adapter("hci1");
            assert_eq!(manager.adapters().await.unwrap().len(), 2);
            connect(&find(&adapter, NAME).await).await;
        },
    );
}

#[test]
fn services_that_are_slow_hold_the_connection_up_and_one_that_fails_can_be_tried_again() {
    alone(
        "services_that_are_slow_hold_the_connection_up_and_one_that_fails_can_be_tried_again",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            let found = find(&adapter, NAME).await;
            sensor.refuse_connections(1);
            assert!(found.connect().await.is_err());
            sensor.hold_services(true);
            let mut events = adapter.events().await.unwrap();
            let connecting = tokio::spawn({
                let found = found.clone();
                async move { found.connect().await }
            });
            event(&mut events, |event| {
                matches!(event, CentralEvent::DeviceConnected(_))
            })
            .await;
            assert!(sensor.is_connected() && !connecting.is_finished());
            sensor.hold_services(false);
            soon("the connection", connecting).await.unwrap().unwrap();
        },
    );
}

#[test]
fn what_is_read_shows_as_a_notification_too() {
    alone(
        "what_is_read_shows_as_a_notification_too",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            strap(&radio);
            let found = connected(&adapter).await;
            let mut values: Values = found.notifications().await.unwrap();
            let battery = characteristic(&found, sig_hrs::BATTERY_LEVEL);
            let read = found.read(&battery).await.unwrap();
            assert_eq!(
                next_value(&mut values).await,
                (battery.uuid.as_u128(), read)
            );
        },
    );
}

#[test]
fn old_services_are_shown_until_the_device_is_removed() {
    alone(
        "old_services_are_shown_until_the_device_is_removed",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            let found = connected(&adapter).await;
            sensor.disconnect();
            let updated = Sensor::of(&movesense_gsp::PROFILE, STRAP, "");
            sensor.replace_services(updated.services);
            connect(&found).await;
            let control = characteristic(&found, polar_pmd::CONTROL);
            let refused = found.read(&control).await.unwrap_err().to_string();
            assert!(refused.contains("ATT error: 0x01"), "{refused}");
            remove(&found).await;
            let found = connected(&adapter).await;
            characteristic(&found, movesense_gsp::DATA);
        },
    );
}

/// What a box does when a cache is stale: it asks the daemon to forget the device.
async fn remove(peripheral: &Peripheral) {
    let device = format!("/org/bluez/{}", peripheral.id());
    let adapter = device.rsplit_once('/').unwrap().0.to_owned();
    let connection = dbus::blocking::Connection::new_system().unwrap();
    let proxy = connection.with_proxy("org.bluez", adapter, PATIENCE);
    let path = dbus::Path::new(device).unwrap();
    proxy
        .method_call::<(), _, _, _>("org.bluez.Adapter1", "RemoveDevice", (path,))
        .unwrap();
}

#[test]
fn a_sensor_that_wants_pairing_is_used_after_it_and_stays_known() {
    alone(
        "a_sensor_that_wants_pairing_is_used_after_it_and_stays_known",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            let (sensor, _) = strap(&radio);
            sensor.change(|shown| shown.needs_pairing = true);
            let found = connected(&adapter).await;
            let control = characteristic(&found, polar_pmd::CONTROL);
            let refused = found.read(&control).await.unwrap_err().to_string();
            assert!(refused.contains("Not paired"), "{refused}");
            let (_lost, session) = bluez_async::BluetoothSession::new().await.unwrap();
            let known = session.get_devices().await.unwrap().remove(0);
            let pairing = session.pair_with_timeout(&known.id, PATIENCE).await;
            assert!(pairing.is_err(), "without an agent nobody can be asked");
            let agent = dbus::blocking::Connection::new_system().unwrap();
            let manager = agent.with_proxy("org.bluez", "/org/bluez", PATIENCE);
            let path = dbus::Path::new("/agent").unwrap();
            manager
                .method_call::<(), _, _, _>(
                    "org.bluez.AgentManager1",
                    "RegisterAgent",
                    (path, "NoInputNoOutput"),
                )
                .unwrap();
            session
                .pair_with_timeout(&known.id, PATIENCE)
                .await
                .unwrap();
            assert!(found.read(&control).await.is_ok());
            let known = session.get_device_info(&known.id).await.unwrap();
            assert!(known.paired && known.bonded);
            // A paired device does not vanish, and outlives the daemon.
            sensor.disconnect();
            sensor.vanish();
            radio.stop_daemon();
            radio.start_daemon();
            assert_eq!(session.get_devices().await.unwrap().len(), 1);
            remove(&found).await;
            assert!(session.get_devices().await.unwrap().is_empty());
        },
    );
}

#[test]
fn an_unpaired_device_vanishes() {
    alone("an_unpaired_device_vanishes", |radio| async move {
        let (_manager, adapter) = adapter().await;
        let (sensor, _) = strap(&radio);
        let found = find(&adapter, NAME).await;
        sensor.vanish();
        assert!(adapter.peripherals().await.unwrap().is_empty());
        assert!(found.connect().await.is_err());
        find(&adapter, NAME).await;
    });
}

#[test]
fn a_lost_bus_cuts_every_connection_and_can_be_had_again() {
    alone(
        "a_lost_bus_cuts_every_connection_and_can_be_had_again",
        |radio| async move {
            let watcher = dbus::blocking::Connection::new_system().unwrap();
            radio.lose_bus();
            let lost = watcher
                .with_proxy("org.bluez", "/", PATIENCE)
                .method_call::<(), _, _, _>("org.freedesktop.DBus.Peer", "Ping", ());
            assert!(lost.is_err());
            assert!(dbus::blocking::Connection::new_system().is_err());
            radio.restore_bus().unwrap();
            let (_manager, adapter) = adapter().await;
            strap(&radio);
            connect(&find(&adapter, NAME).await).await;
        },
    );
}

#[test]
fn who_watches_the_name_of_the_daemon_sees_it_go_and_return() {
    alone(
        "who_watches_the_name_of_the_daemon_sees_it_go_and_return",
        |radio| async move {
            let watcher = dbus::blocking::Connection::new_system().unwrap();
            let rule =
                dbus::message::MatchRule::new_signal("org.freedesktop.DBus", "NameOwnerChanged");
            let seen = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&seen);
            watcher
                .add_match(
                    rule,
                    move |(name, before, after): (String, String, String), _, _| {
                        told.lock()
                            .unwrap()
                            .push((name, before.is_empty(), after.is_empty()));
                        true
                    },
                )
                .unwrap();
            radio.stop_daemon();
            radio.start_daemon();
            while seen.lock().unwrap().len() < 2 {
                assert!(
                    watcher.process(PATIENCE).unwrap(),
                    "the name did not change"
                );
            }
            let name = || "org.bluez".to_owned();
            assert_eq!(
                *seen.lock().unwrap(),
                [(name(), false, true), (name(), true, false)]
            );
        },
    );
}

#[test]
fn streams_that_are_dropped_give_their_match_rules_back() {
    alone(
        "streams_that_are_dropped_give_their_match_rules_back",
        |radio| async move {
            let (_manager, adapter) = adapter().await;
            strap(&radio);
            let found = find(&adapter, NAME).await;
            // A dropped stream gives its rule back by a task of its own; each call to the
            // daemon lets it run.
            let until = async |rules: usize| {
                while radio.match_rules() != rules {
                    found.is_connected().await.unwrap();
                }
            };
            soon("the rules of the scan", until(0)).await;
            let values = found.notifications().await.unwrap();
            assert_eq!(radio.match_rules(), 1);
            drop(values);
            soon("the rule of the stream", until(0)).await;
        },
    );
}
