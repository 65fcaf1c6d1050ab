//! The sensor against a bus and a BlueZ that the test plays itself.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt::{GattPeripheral as _, Notification, polar_pmd};

use super::{AdapterSensor, CHARACTERISTIC, DEVICE, GATT_MANAGER, OBJECTS, PROPERTIES};
use crate::radio::bus::{Kind, Message, Value, authenticate, read_message};
use crate::radio::{Sensor, Sent};

const HOST: &str = "/org/bluez/hci1/dev_00_AA_01_00_00_00";
const BOX: &str = "/org/bluez/hci0/dev_00_AA_01_01_00_01";

/// The other end of the bus.
struct BlueZ {
    reading: BufReader<UnixStream>,
    writing: UnixStream,
    serial: u32,
}

impl BlueZ {
    /// Lets one client in, and says yes to everything that it asks for before it is ready.
    fn attend(listener: &UnixListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        let mut writing = stream.try_clone().unwrap();
        let mut reading = BufReader::new(stream);
        assert!(authenticate(&mut reading, &mut writing, "f00d"));
        let mut bluez = Self {
            reading,
            writing,
            serial: 0,
        };
        while bluez.answer_one() != "RegisterAdvertisement" {}
        bluez
    }

    fn send(&mut self, mut message: Message) {
        self.serial += 1;
        message.serial = self.serial;
        message.sender = ":1.7".to_owned();
        self.writing.write_all(&message.encode()).unwrap();
    }

    fn answer_one(&mut self) -> String {
        let call = read_message(&mut self.reading).unwrap();
        if call.member == "RegisterApplication" {
            assert_eq!(call.interface, GATT_MANAGER);
            // BlueZ reads what it is offered before it agrees.
            let tree = self.ask("/cardio/sensor", OBJECTS, "GetManagedObjects", &[]);
            assert!(matches!(&tree[0], Value::Array(_, all) if all.len() > 4));
        }
        let body = match call.member.as_str() {
            "Get" => vec![Value::text("00:AA:01:01:00:01").boxed()],
            "GetManagedObjects" => vec![Value::dict("o", "a{sa{sv}}", [])],
            _ => Vec::new(),
        };
        self.send(Message::answer(&call, &body));
        call.member
    }

    /// The next message but what concerns the advertisement, which comes every second.
    fn next(&mut self) -> Message {
        loop {
            let message = read_message(&mut self.reading).unwrap();
            if !message.member.ends_with("registerAdvertisement")
                && !message.member.ends_with("RegisterAdvertisement")
            {
                return message;
            }
            self.send(Message::answer(&message, &[]));
        }
    }

    /// The answer of the sensor.
    fn ask(&mut self, path: &str, interface: &str, member: &str, body: &[Value]) -> Vec<Value> {
        self.send(Message::call(":1.8", path, interface, member, body));
        let answer = self.next();
        assert_eq!(answer.reply_to, Some(self.serial), "{answer:?}");
        assert_eq!(answer.destination, ":1.7");
        match answer.kind {
            Kind::Return => answer.values().unwrap(),
            _ => vec![Value::text(answer.error)],
        }
    }

    fn connected(&mut self, path: &str, connected: bool) {
        let changed = Value::named([("Connected", Value::Bool(connected))]);
        let body = [Value::text(DEVICE), changed, Value::texts::<String>([])];
        self.send(Message::signal(
            path,
            PROPERTIES,
            "PropertiesChanged",
            &body,
        ));
    }

    /// The next value that the sensor sends, and the path of its characteristic.
    fn value(&mut self) -> (String, Vec<u8>) {
        let signal = self.next();
        assert_eq!(signal.member, "PropertiesChanged");
        let values = signal.values().unwrap();
        let value = values[1].get("Value").and_then(Value::as_bytes).unwrap();
        (signal.path, value.to_vec())
    }
}

fn with_mtu(mtu: u16) -> Value {
    Value::named([("mtu", Value::U16(mtu))])
}

/// A strap on an adapter, and the BlueZ that has it.
fn strap() -> (AdapterSensor, BlueZ, Arc<Mutex<polar_pmd::PolarPeripheral>>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let listener = UnixListener::bind(&socket).unwrap();
    let bluez = std::thread::spawn(move || BlueZ::attend(&listener));
    let device = Arc::new(Mutex::new(polar_pmd::PolarPeripheral::default()));
    let shown = Sensor::of(&polar_pmd::PROFILE, "", "Polar H10 1");
    let bus = format!("unix:path={}", socket.display());
    let sensor = AdapterSensor::begin_at(&bus, "hci1", shown, Arc::clone(&device)).unwrap();
    (sensor, bluez.join().unwrap(), device)
}

/// Drops the sensor while its last wish is granted.
fn part(sensor: AdapterSensor, mut bluez: BlueZ) {
    let granting = std::thread::spawn(move || while bluez.answer_one() != "Set" {});
    drop(sensor);
    granting.join().unwrap();
}

#[test]
fn a_strap_on_an_adapter_is_started_by_its_host_and_sends_what_fits_the_link() {
    let (sensor, mut bluez, device) = strap();
    assert_eq!(sensor.address(), "00:AA:01:01:00:01");
    let places: BTreeMap<_, _> = [polar_pmd::CONTROL, polar_pmd::DATA]
        .map(|uuid| {
            (
                uuid,
                sensor.shared.application.path_of(uuid).unwrap().to_owned(),
            )
        })
        .into();
    let (control, data) = (&places[&polar_pmd::CONTROL], &places[&polar_pmd::DATA]);
    let frame = Notification {
        from: polar_pmd::DATA,
        value: vec![0; 229],
    };
    assert_eq!(sensor.send(&frame), Sent::NotConnected);

    // That this machine's box connects from another adapter is no host of the strap.
    bluez.connected(BOX, true);
    bluez.connected(HOST, true);
    for path in [control, data] {
        assert_eq!(bluez.ask(path, CHARACTERISTIC, "StartNotify", &[]), []);
    }
    assert!(sensor.is_connected());
    assert_eq!(sensor.send(&frame), Sent::TooLong);

    let start = Value::Bytes(vec![
        0x02, 0x00, 0x00, 0x01, 0x82, 0x00, 0x01, 0x01, 0x0E, 0x00,
    ]);
    let options = with_mtu(247);
    assert_eq!(
        bluez.ask(control, CHARACTERISTIC, "WriteValue", &[start, options]),
        []
    );
    let (path, answer) = bluez.value();
    assert_eq!((&path, answer.first()), (control, Some(&0xF0)));
    assert!(device.lock().unwrap().is_streaming());

    let mut values = Vec::new();
    let rows = FrameRows::planar(73, &[7; 73]);
    device.lock().unwrap().frame(&rows, &mut values);
    assert_eq!(sensor.send(&values[0]), Sent::Delivered);
    assert_eq!(bluez.value(), (data.clone(), values[0].value.clone()));

    sensor.set_mtu(100);
    assert_eq!(sensor.send(&values[0]), Sent::TooLong);
    bluez.connected(HOST, false);
    // An answer means that everything before it was heeded.
    let nothing = bluez.ask("/nowhere", CHARACTERISTIC, "StartNotify", &[]);
    assert!(nothing[0].as_text().unwrap().ends_with("UnknownObject"));
    assert_eq!(sensor.send(&values[0]), Sent::NotConnected);
    part(sensor, bluez);
}

#[test]
fn while_no_host_is_connected_the_advertisement_begins_anew() {
    let (sensor, mut bluez, _) = strap();
    for _ in 0..2 {
        assert_eq!(bluez.answer_one(), "UnregisterAdvertisement");
        assert_eq!(bluez.answer_one(), "RegisterAdvertisement");
    }
    part(sensor, bluez);
}

#[test]
fn a_long_value_is_read_in_parts() {
    let (sensor, mut bluez, _) = strap();
    let path = sensor
        .shared
        .application
        .path_of(polar_pmd::CONTROL)
        .unwrap();
    let path = path.to_owned();
    bluez.connected(HOST, true);
    let from =
        |offset: u16| Value::named([("offset", Value::U16(offset)), ("mtu", Value::U16(23))]);
    let whole = bluez.ask(&path, CHARACTERISTIC, "ReadValue", &[from(0)]);
    let rest = bluez.ask(&path, CHARACTERISTIC, "ReadValue", &[from(1)]);
    let beyond = bluez.ask(&path, CHARACTERISTIC, "ReadValue", &[from(99)]);
    let bytes = |answer: &[Value]| answer[0].as_bytes().unwrap().to_vec();
    assert_eq!(bytes(&whole)[1..], bytes(&rest));
    assert!(bytes(&beyond).is_empty());
    part(sensor, bluez);
}

#[test]
fn where_no_bus_is_it_is_said_which_adapter_cannot_be_had() {
    let shown = Sensor::of(&polar_pmd::PROFILE, "", "Polar H10 1");
    let device = Arc::new(Mutex::new(polar_pmd::PolarPeripheral::default()));
    let err = AdapterSensor::begin_at("unix:path=/nowhere/bus", "hci1", shown, device).unwrap_err();
    assert_eq!(err.code(), "adapter.bluez");
    assert_eq!(err.to_string(), "cannot ask for hci1");
    let source = std::error::Error::source(&err).unwrap().to_string();
    assert_eq!(source, "cannot reach the bus at unix:path=/nowhere/bus");
}
