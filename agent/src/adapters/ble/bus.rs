//! The two connections to the system bus, and what the radio asks over them.
//!
//! Made once per process: neither library gives a connection back. Every call has a limit of
//! its own, because on a bus that is lost each would wait for half a minute.

use std::time::Duration;

use bluez_async::{BluetoothSession, DeviceInfo};
use btleplug::api::{Central as _, Manager as _, Peripheral as _, ScanFilter};
use btleplug::platform::{Adapter, Manager, Peripheral};
use cardio_protocol::gatt::Uuid;
use tokio::sync::watch;

use super::bond::Agent;
use super::{Address, BleError};

/// For a question to the daemon itself.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// For a connection, with the discovery of its services by the daemon.
const CONNECT_LIMIT: Duration = Duration::from_secs(12);
/// For reading out what the daemon discovered: some hundred questions.
const DISCOVER_LIMIT: Duration = Duration::from_secs(15);
/// For a bond; a person may have to press a button.
const PAIR_LIMIT: Duration = Duration::from_secs(30);
/// How often a connection that failed is tried again at once.
const CONNECT_TRIES: u32 = 2;

/// What the daemon tells of a device.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) info: DeviceInfo,
    pub(super) address: Address,
}

impl Known {
    /// Whether it was heard since the scan began, or is connected already.
    pub(super) const fn is_within_reach(&self) -> bool {
        self.info.rssi.is_some() || self.info.connected
    }
}

/// The connections to the bus.
#[derive(Debug)]
pub(super) struct Bus {
    manager: Manager,
    session: BluetoothSession,
    /// The adapters to use, such as `hci0`; all if none is named.
    adapters: Vec<String>,
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T, E>(
    limit: Duration,
    act: &'static str,
    call: impl Future<Output = Result<T, E>>,
    named: impl Fn(&'static str, &E) -> BleError,
) -> Result<T, BleError> {
    match tokio::time::timeout(limit, call).await {
        Ok(done) => done.map_err(|err| named(act, &err)),
        Err(_) => Err(BleError::NoAnswer { act }),
    }
}

impl Bus {
    /// Connects, to use `adapters`, all if none is named; `lost` becomes true when the bus is gone for
    /// good.
    pub(super) async fn open(
        adapters: Vec<String>,
        lost: watch::Sender<bool>,
    ) -> Result<Self, BleError> {
        let no_bus = |why: &dyn std::error::Error| BleError::NoBus {
            why: why.to_string(),
        };
        let (ends, session) = BluetoothSession::new().await.map_err(|err| no_bus(&err))?;
        let manager = Manager::new().await.map_err(|err| no_bus(&err))?;
        tokio::spawn(async move {
            // it ends only with the connection, and says nothing but that
            let _ = ends.await;
            lost.send_replace(true);
        });
        Ok(Self {
            manager,
            session,
            adapters,
        })
    }

    /// The second connection.
    pub(super) const fn session(&self) -> &BluetoothSession {
        &self.session
    }

    /// Whether a scan runs. An error when there is no adapter.
    pub(super) async fn scan_runs(&self) -> Result<bool, BleError> {
        let asked = self.session.get_adapters();
        let mut adapters =
            within(ASK_LIMIT, "asking for adapters", asked, BleError::of_bluez).await?;
        adapters.retain(|adapter| self.uses(&adapter.id.to_string()));
        if adapters.is_empty() {
            return Err(BleError::NoAdapter);
        }
        Ok(adapters.iter().any(|adapter| adapter.discovering))
    }

    /// What the daemon knows of devices now.
    pub(super) async fn devices(&self) -> Result<Vec<Known>, BleError> {
        let asked = self.session.get_devices();
        let devices = within(ASK_LIMIT, "asking for devices", asked, BleError::of_bluez).await?;
        let known = |info: DeviceInfo| Known {
            address: info.mac_address.into(),
            info,
        };
        let is_ours = |info: &DeviceInfo| self.uses(&info.id.adapter().to_string());
        Ok(devices.into_iter().filter(is_ours).map(known).collect())
    }

    /// Whether an adapter, such as `hci0`, is one to use.
    fn uses(&self, adapter: &str) -> bool {
        self.adapters.is_empty() || self.adapters.iter().any(|used| used == adapter)
    }

    /// What the daemon knows of one device now.
    pub(super) async fn device(&self, address: Address) -> Result<Known, BleError> {
        let devices = self.devices().await?;
        let is_it = |known: &Known| known.address == address;
        devices.into_iter().find(is_it).ok_or(BleError::Gone)
    }

    async fn adapters(&self) -> Result<Vec<Adapter>, BleError> {
        let asked = self.manager.adapters();
        let all = within(ASK_LIMIT, "asking for adapters", asked, BleError::of).await?;
        let mut ours = Vec::new();
        for adapter in all {
            let asked = adapter.adapter_info();
            let info = within(ASK_LIMIT, "asking for adapters", asked, BleError::of).await?;
            // "hci0 (usb:v1D6Bp0246d0542)"
            if self.uses(info.split(' ').next().unwrap_or_default()) {
                ours.push(adapter);
            }
        }
        Ok(ours)
    }

    /// Scans on every adapter that is to be used. It is no error that one does so already.
    pub(super) async fn start_scan(&self) -> Result<(), BleError> {
        for adapter in self.adapters().await? {
            let call = adapter.start_scan(ScanFilter::default());
            match within(ASK_LIMIT, "beginning to scan", call, BleError::of).await {
                Err(BleError::Failed { why, .. }) if why.contains("InProgress") => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Ends the scan. That none runs any more is as good.
    pub(super) async fn stop_scan(&self) {
        for adapter in self.adapters().await.unwrap_or_default() {
            let call = adapter.stop_scan();
            let _ = within(ASK_LIMIT, "ending the scan", call, BleError::of).await;
        }
    }

    /// Connects a device that is within reach. The handle is new, and knows its services.
    pub(super) async fn connect(&self, address: Address) -> Result<Peripheral, BleError> {
        let peripheral = self.peripheral(address).await?;
        let mut tries = 1;
        while let Err(err) = link_up(&peripheral).await {
            // stops a connection that may still be under way
            disconnect(&peripheral).await;
            if !err.is_transient() || tries >= CONNECT_TRIES {
                return Err(err);
            }
            tries += 1;
        }
        Ok(peripheral)
    }

    async fn peripheral(&self, address: Address) -> Result<Peripheral, BleError> {
        for adapter in self.adapters().await? {
            let asked = adapter.peripherals();
            let all = within(ASK_LIMIT, "asking for devices", asked, BleError::of).await?;
            let is_it = |one: &Peripheral| Address(one.address().into_inner()) == address;
            if let Some(found) = all.into_iter().find(is_it) {
                return Ok(found);
            }
        }
        Err(BleError::Gone)
    }

    /// Makes a bond with a device, which it may ask for before it talks.
    pub(super) async fn bond(&self, address: Address) -> Result<(), BleError> {
        let known = self.device(address).await?;
        if known.info.paired {
            return Ok(());
        }
        let _agent = Agent::register(known.info.id.clone()).await?;
        let call = self.session.pair_with_timeout(&known.info.id, PAIR_LIMIT);
        let limit = PAIR_LIMIT.saturating_add(ASK_LIMIT);
        within(limit, "making a bond", call, BleError::of_bluez).await
    }
}

async fn link_up(peripheral: &Peripheral) -> Result<(), BleError> {
    let call = peripheral.connect();
    within(CONNECT_LIMIT, "connecting", call, BleError::of).await?;
    let call = peripheral.discover_services();
    within(DISCOVER_LIMIT, "discovering services", call, BleError::of).await
}

/// Lets go of a device, whether it is connected or about to be.
pub(super) async fn disconnect(peripheral: &Peripheral) {
    let call = peripheral.disconnect();
    let _ = within(ASK_LIMIT, "disconnecting", call, BleError::of).await;
}

/// Service and characteristic of everything that was discovered.
pub(super) fn discovered(peripheral: &Peripheral) -> Vec<(Uuid, Uuid)> {
    peripheral
        .characteristics()
        .iter()
        .map(|one| (Uuid(one.service_uuid.as_u128()), Uuid(one.uuid.as_u128())))
        .collect()
}
