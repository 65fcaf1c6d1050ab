//! One link to one connected sensor.
//!
//! Its task takes values off the bus as they come, stamps them, and puts them into a bounded
//! queue; meanwhile it listens for the end of the link and asks after it once a second,
//! because a link that ends with its daemon ends without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bluez_async::{BluetoothEvent, DeviceEvent, DeviceId};
use btleplug::api::{Characteristic, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::Peripheral;
use cardio_core::clock::{Clock, ClockReading};
use cardio_protocol::gatt::sig_hrs::{BATTERY_LEVEL, INFORMATION, SYSTEM_ID};
use cardio_protocol::gatt::{GattAction, GattProfile, Uuid};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::BleError;
use super::bus::{Bus, disconnect, within};

/// Values that may wait for the conversation: five seconds of the fastest sensor.
const WAITING_MAX: usize = 512;
/// For a read, a write or a subscription.
const ACT_LIMIT: Duration = Duration::from_secs(5);
/// How often the daemon is asked whether the link still stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For its answer.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// Values of reads that are also expected as notifications, at most.
const ECHOES_MAX: usize = 16;

/// Services whose characteristics every device may have.
const COMMON_SERVICES: [Uuid; 2] = [Uuid::short(0x180A), Uuid::short(0x180F)];

/// A value that a sensor sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The characteristic.
    pub from: Uuid,
    /// The value.
    pub value: Vec<u8>,
    /// When it came off the bus.
    pub at: ClockReading,
}

/// A link to a sensor whose services are those of its profile.
#[derive(Debug)]
pub struct Link {
    peripheral: Peripheral,
    characteristics: BTreeMap<Uuid, Characteristic>,
    subscribed: BTreeSet<Uuid>,
    /// BlueZ tells the value of a read as a notification too.
    echoes: Vec<(Uuid, Vec<u8>)>,
    values: mpsc::Receiver<Value>,
    dropped: Arc<AtomicU64>,
    end: Arc<Mutex<Option<BleError>>>,
    task: JoinHandle<()>,
}

type Notifications = Pin<Box<dyn Stream<Item = ValueNotification> + Send>>;

impl Link {
    /// Listens to a connected device, from before its first subscription on.
    pub(super) async fn open(
        bus: &Bus,
        peripheral: Peripheral,
        profile: &GattProfile,
        device: DeviceId,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BleError> {
        let call = bus.session().device_event_stream(&device);
        let events = within(ACT_LIMIT, "listening", call, BleError::of_bluez).await?;
        let call = peripheral.notifications();
        let notifications = within(ACT_LIMIT, "listening", call, BleError::of).await?;
        let (to, values) = mpsc::channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let end = Arc::new(Mutex::new(None));
        let task = tokio::spawn({
            let (dropped, end) = (Arc::clone(&dropped), Arc::clone(&end));
            let watch = watch(Box::pin(events), device, peripheral.clone());
            async move {
                let why = tokio::select! {
                    why = watch => why,
                    why = pump(notifications, &to, &dropped, &*clock) => why,
                };
                *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
        });
        Ok(Self {
            characteristics: characteristics(&peripheral, profile),
            peripheral,
            subscribed: BTreeSet::new(),
            echoes: Vec::new(),
            values,
            dropped,
            end,
            task,
        })
    }

    /// Waits for values, and gives all that wait. Dropping the future loses none.
    ///
    /// # Errors
    /// [`BleError`] once the link is of no use any more.
    pub async fn read(&mut self) -> Result<Vec<Value>, BleError> {
        let mut values = Vec::new();
        if self.values.recv_many(&mut values, WAITING_MAX).await == 0 {
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(end.clone().unwrap_or(BleError::Disconnected));
        }
        values.retain(|value| self.is_news(value));
        Ok(values)
    }

    /// Values that found no room since this was asked last.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Does what a conversation asks for. A read gives its value. What a device does not have
    /// is left out, unless its profile must have it.
    ///
    /// # Errors
    /// [`BleError`] when the device refuses it, or the link is of no use any more.
    pub async fn carry_out(
        &mut self,
        action: GattAction,
        clock: &dyn Clock,
    ) -> Result<Option<Value>, BleError> {
        match action {
            GattAction::Subscribe(uuid) => self.subscribe(uuid).await.map(|()| None),
            GattAction::Read(uuid) => self.read_value(uuid, clock).await,
            GattAction::Write {
                to,
                value,
                with_response,
            } => {
                let kind = if with_response {
                    WriteType::WithResponse
                } else {
                    WriteType::WithoutResponse
                };
                let to = self.characteristic(to)?;
                let call = self.peripheral.write(to, &value, kind);
                within(ACT_LIMIT, "writing", call, BleError::of).await?;
                Ok(None)
            }
        }
    }

    async fn subscribe(&mut self, uuid: Uuid) -> Result<(), BleError> {
        let to = match self.characteristic(uuid) {
            Err(_) if is_common(uuid) => return Ok(()),
            found => found?.clone(),
        };
        if self.subscribed.remove(&uuid) {
            // the device may have forgotten what BlueZ still holds for true
            let call = self.peripheral.unsubscribe(&to);
            let _ = within(ACT_LIMIT, "unsubscribing", call, BleError::of).await;
        }
        let call = self.peripheral.subscribe(&to);
        match within(ACT_LIMIT, "subscribing", call, BleError::of).await {
            // not every device notifies its battery
            Err(BleError::Failed { .. }) if is_common(uuid) => return Ok(()),
            done => done?,
        }
        self.subscribed.insert(uuid);
        Ok(())
    }

    async fn read_value(
        &mut self,
        uuid: Uuid,
        clock: &dyn Clock,
    ) -> Result<Option<Value>, BleError> {
        let from = match self.characteristic(uuid) {
            Err(_) if is_common(uuid) => return Ok(None),
            found => found?,
        };
        let call = self.peripheral.read(from);
        let value = match within(ACT_LIMIT, "reading", call, BleError::of).await {
            Err(BleError::Failed { .. }) if is_common(uuid) => return Ok(None),
            read => read?,
        };
        if self.echoes.len() >= ECHOES_MAX {
            self.echoes.remove(0);
        }
        self.echoes.push((uuid, value.clone()));
        Ok(Some(Value {
            from: uuid,
            value,
            at: clock.read(),
        }))
    }

    fn characteristic(&self, uuid: Uuid) -> Result<&Characteristic, BleError> {
        self.characteristics
            .get(&uuid)
            .ok_or(BleError::Lacks { uuid })
    }

    /// Whether a value was sent by the device, and not asked of it.
    fn is_news(&mut self, value: &Value) -> bool {
        if !self.subscribed.contains(&value.from) {
            return false;
        }
        let is_echo = |(from, told): &(Uuid, Vec<u8>)| *from == value.from && *told == value.value;
        match self.echoes.iter().position(is_echo) {
            Some(place) => {
                self.echoes.remove(place);
                false
            }
            None => true,
        }
    }

    /// Lets go of the device.
    pub async fn close(self) {
        disconnect(&self.peripheral).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_common(uuid: Uuid) -> bool {
    let is_text = INFORMATION.iter().any(|(known, _)| *known == uuid);
    is_text || uuid == BATTERY_LEVEL || uuid == SYSTEM_ID
}

/// The characteristics that a conversation may name: those of the profile's services and of
/// the common ones. A device may reuse their numbers elsewhere.
fn characteristics(
    peripheral: &Peripheral,
    profile: &GattProfile,
) -> BTreeMap<Uuid, Characteristic> {
    let of_profile = profile.services.iter().map(|service| service.uuid);
    let services: Vec<Uuid> = of_profile.chain(COMMON_SERVICES).collect();
    peripheral
        .characteristics()
        .into_iter()
        .filter(|one| services.contains(&Uuid(one.service_uuid.as_u128())))
        .map(|one| (Uuid(one.uuid.as_u128()), one))
        .collect()
}

/// Takes every value off the bus at once. A stream that is held and not polled grows without
/// bound.
async fn pump(
    mut notifications: Notifications,
    to: &mpsc::Sender<Value>,
    dropped: &AtomicU64,
    clock: &dyn Clock,
) -> BleError {
    while let Some(told) = notifications.next().await {
        let value = Value {
            at: clock.read(),
            from: Uuid(told.uuid.as_u128()),
            value: told.value,
        };
        if to.try_send(value).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
    BleError::Disconnected
}

/// Waits for the end of the link: the daemon says so, or does not answer for it any more.
async fn watch(
    mut events: Pin<Box<impl Stream<Item = BluetoothEvent>>>,
    device: DeviceId,
    peripheral: Peripheral,
) -> BleError {
    let is_end = |event: &BluetoothEvent| matches!(event, BluetoothEvent::Device { id, event: DeviceEvent::Connected { connected: false } } if *id == device);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) if !is_end(&event) => {}
                _ => return BleError::Disconnected,
            },
            _ = look.tick() => {
                let call = peripheral.is_connected();
                match within(LOOK_LIMIT, "asking after the link", call, BleError::of).await {
                    Ok(true) => {}
                    Ok(false) => return BleError::Disconnected,
                    Err(why) => return why,
                }
            }
        }
    }
}

/// The serial number that a device states, if it states one.
pub(super) async fn serial_of(peripheral: &Peripheral) -> Result<Option<String>, BleError> {
    let number = Uuid::short(0x2A25);
    let all = peripheral.characteristics();
    let is_it = |one: &&Characteristic| {
        Uuid(one.uuid.as_u128()) == number
            && COMMON_SERVICES.contains(&Uuid(one.service_uuid.as_u128()))
    };
    let Some(from) = all.iter().find(is_it) else {
        return Ok(None);
    };
    let call = peripheral.read(from);
    let value = within(ACT_LIMIT, "reading the serial number", call, BleError::of).await?;
    Ok(cardio_protocol::gatt::sig_hrs::text_of(&value))
}
