//! What the tests of the radio share: a process and a bus for each, and a client.
//!
//! libdbus reads the address of its bus once in a process, so each test runs in a process of
//! its own: the test starts itself again with the address in its environment.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, of which no test needs all"
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use btleplug::api::{
    Central as _, Characteristic, Manager as _, Peripheral as _, ScanFilter, ValueNotification,
};
use btleplug::platform::{Adapter, Manager, Peripheral};
use cardio_firmware_sim::radio::Radio;
use cardio_protocol::gatt::Uuid;
use futures_util::{Stream, StreamExt as _};

const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const INSIDE: &str = "CARDIO_RADIO_INSIDE";
/// Longer than anything here takes; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test in a process of its own, with a radio of its own.
pub(crate) fn alone<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Radio) -> F) {
    alone_with_bus(name, |socket| {
        let radio = Radio::start_at(&socket).unwrap();
        assert_eq!(radio.address(), format!("unix:path={}", socket.display()));
        test(radio)
    });
}

/// Runs a test in a process of its own, whose bus is to be at a path.
pub(crate) fn alone_with_bus<F: Future<Output = ()>>(name: &str, test: impl FnOnce(PathBuf) -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let address = std::env::var(BUS).unwrap();
        let socket = Path::new(address.strip_prefix("unix:path=").unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(async { test(socket.to_owned()).await });
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .env(
            BUS,
            format!("unix:path={}", folder.path().join("bus").display()),
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

pub(crate) async fn adapter() -> (Manager, Adapter) {
    let manager = Manager::new().await.unwrap();
    let mut adapters = manager.adapters().await.unwrap();
    assert_eq!(adapters.len(), 1);
    (manager, adapters.remove(0))
}

/// Scans until a sensor of this name is found.
pub(crate) async fn find(adapter: &Adapter, name: &str) -> Peripheral {
    let mut events = adapter.events().await.unwrap();
    adapter.start_scan(ScanFilter::default()).await.unwrap();
    loop {
        for peripheral in adapter.peripherals().await.unwrap() {
            let properties = peripheral.properties().await.unwrap().unwrap();
            if properties.local_name.as_deref() == Some(name) {
                adapter.stop_scan().await.unwrap();
                return peripheral;
            }
        }
        soon("an event of the scan", events.next()).await;
    }
}

pub(crate) fn characteristic(peripheral: &Peripheral, wanted: Uuid) -> Characteristic {
    let wanted = uuid::Uuid::from_u128(wanted.0);
    let mut all = peripheral.characteristics().into_iter();
    all.find(|found| found.uuid == wanted).unwrap()
}

pub(crate) async fn connect(peripheral: &Peripheral) {
    peripheral.connect().await.unwrap();
    peripheral.discover_services().await.unwrap();
}

pub(crate) type Values = std::pin::Pin<Box<dyn Stream<Item = ValueNotification> + Send>>;

pub(crate) async fn next_value(values: &mut Values) -> (u128, Vec<u8>) {
    let value = soon("a value", values.next()).await.unwrap();
    (value.uuid.as_u128(), value.value)
}
