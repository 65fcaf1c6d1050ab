//! Looking around, and getting to know one device: for the command that pairs a sensor.
//!
//! Deliberately absent: choosing. A device is known by its address; the strongest signal may
//! be that of the patient next door.

use std::time::Duration;

use cardio_protocol::gatt::{self, Advertisement, GattProfile, Uuid};
use tokio::sync::watch;

use super::bus::{Bus, Known, disconnect, discovered};
use super::link::serial_of;
use super::{Address, BleError};

/// How often the daemon is asked whom it hears.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// A device that is heard.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Its address.
    pub address: Address,
    /// What it calls itself.
    pub name: Option<String>,
    /// The profile that its advertisement fits.
    pub profile: Option<&'static GattProfile>,
    /// How strong it is heard, in dBm.
    pub rssi_dbm: Option<i16>,
    /// Whether it is connected now.
    pub connected: bool,
}

/// A device as it is found once it is connected.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its serial number, if it states one.
    pub serial: Option<String>,
    /// Whether it is bonded with this box.
    pub bonded: bool,
}

/// The radio, for one command.
#[derive(Debug)]
pub struct Survey {
    bus: Bus,
}

impl Survey {
    /// Connects to the bus, to use `adapters`, such as `hci0`, or all if none is named.
    ///
    /// # Errors
    /// [`BleError`] when there is none.
    pub async fn open(adapters: Vec<String>) -> Result<Self, BleError> {
        let (lost, _) = watch::channel(false);
        let bus = Bus::open(adapters, lost).await?;
        Ok(Self { bus })
    }

    /// Scans for `span`, or until `enough` is heard, and says whom it heard.
    ///
    /// # Errors
    /// [`BleError`] when daemon or adapter are missing.
    pub async fn scan(
        &self,
        span: Duration,
        enough: Option<Address>,
    ) -> Result<Vec<Sighting>, BleError> {
        let ran_before = self.bus.scan_runs().await?;
        self.bus.start_scan().await?;
        let looked = tokio::time::timeout(span, async {
            loop {
                let known = self.bus.devices().await?;
                let is_it = |one: &Known| Some(one.address) == enough && one.is_within_reach();
                if known.iter().any(is_it) {
                    return Ok::<_, BleError>(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        if let Ok(Err(err)) = looked.await {
            return Err(err);
        }
        let known = self.bus.devices().await;
        if !ran_before {
            self.bus.stop_scan().await;
        }
        let within_reach = |one: &Known| one.is_within_reach();
        let all = known?.into_iter().filter(within_reach);
        Ok(all.map(|one| sighting(&one)).collect())
    }

    /// Connects a device that was heard just now, makes a bond with it if `bond`, and lets go
    /// of it again.
    ///
    /// # Errors
    /// [`BleError`] when it cannot be connected, or is not what `profile` says.
    pub async fn meet(
        &self,
        address: Address,
        profile: &GattProfile,
        bond: bool,
    ) -> Result<Found, BleError> {
        let was_connected = self.bus.device(address).await?.info.connected;
        let peripheral = self.bus.connect(address).await?;
        let met = async {
            if !profile.fits(&discovered(&peripheral)) {
                let profile = profile.name;
                return Err(BleError::NotTheDevice { address, profile });
            }
            if bond {
                self.bus.bond(address).await?;
            }
            Ok(Found {
                serial: serial_of(&peripheral).await?,
                bonded: self.bus.device(address).await?.info.paired,
            })
        };
        let met = met.await;
        if !was_connected {
            disconnect(&peripheral).await;
        }
        met
    }
}

fn sighting(known: &Known) -> Sighting {
    let services: Vec<Uuid> = known
        .info
        .services
        .iter()
        .map(|uuid| Uuid(uuid.as_u128()))
        .collect();
    let name = known.info.name.clone();
    Sighting {
        address: known.address,
        profile: gatt::recognise(&Advertisement {
            name: name.as_deref(),
            services: &services,
        }),
        name,
        rssi_dbm: known.info.rssi,
        connected: known.info.connected,
    }
}
