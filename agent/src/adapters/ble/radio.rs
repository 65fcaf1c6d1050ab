//! The task that finds and connects sensors, and the handle to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use btleplug::platform::Peripheral;
use cardio_core::clock::Clock;
use cardio_protocol::gatt::GattProfile;
use tokio::sync::{mpsc, oneshot, watch};

use super::bus::{Bus, disconnect, discovered};
use super::link::{Link, serial_of};
use super::seeker::{Seeker, Step};
use super::{Address, BleError};

/// How often the daemon is asked whom it hears, while a sensor is missing.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Requests that may wait: each source has at most one.
const REQUESTS_MAX: usize = 16;

/// The sensor that is to be connected, as it was when it was paired.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its address.
    pub address: Address,
    /// What it speaks.
    pub profile: &'static GattProfile,
    /// Its serial number, if it stated one.
    pub serial: Option<String>,
    /// Whether it was bonded with this box.
    pub bonded: bool,
}

struct Request {
    expected: Expected,
    answer: oneshot::Sender<Result<Link, BleError>>,
}

/// The handle to the radio. One per process.
#[derive(Clone, Debug)]
pub struct Radio {
    requests: mpsc::Sender<Request>,
    lost: watch::Receiver<bool>,
}

impl Radio {
    /// Starts the task, which uses `adapters`, such as `hci0`, or all if none is named; it ends
    /// when every handle is dropped.
    pub fn start(adapters: Vec<String>, clock: Arc<dyn Clock>) -> Self {
        let (to, requests) = mpsc::channel(REQUESTS_MAX);
        let (tell_lost, lost) = watch::channel(false);
        let task = Task {
            clock,
            adapters,
            tell_lost,
            bus: None,
            seeker: Seeker::default(),
            waiting: BTreeMap::new(),
        };
        tokio::spawn(task.run(requests));
        Self { requests: to, lost }
    }

    /// Looks for the sensor and connects it, when its turn comes. Dropping the future gives
    /// the sensor up.
    ///
    /// # Errors
    /// [`BleError`] says why not; asking again may help.
    pub async fn connect(&self, expected: Expected) -> Result<Link, BleError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { expected, answer };
        if self.requests.send(request).await.is_err() {
            return Err(BleError::BusLost);
        }
        answered.await.unwrap_or(Err(BleError::BusLost))
    }

    /// Waits until the bus is lost for good.
    pub async fn bus_lost(&mut self) {
        if self.lost.wait_for(|lost| *lost).await.is_err() {
            // the task has ended, and with it everybody who could tell
            std::future::pending::<()>().await;
        }
    }
}

struct Task {
    clock: Arc<dyn Clock>,
    adapters: Vec<String>,
    tell_lost: watch::Sender<bool>,
    bus: Option<Bus>,
    seeker: Seeker,
    waiting: BTreeMap<Address, Request>,
}

impl Task {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            if self.seeker.is_idle() {
                match requests.recv().await {
                    Some(request) => self.want(request),
                    None => return,
                }
            }
            while let Ok(request) = requests.try_recv() {
                self.want(request);
            }
            self.forget_who_left();
            if let Err(err) = self.turn().await {
                self.fail_all(&err);
            }
            if !self.seeker.is_idle() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    fn now_us(&self) -> u64 {
        self.clock.read().box_instant.micros
    }

    fn want(&mut self, request: Request) {
        let address = request.expected.address;
        self.seeker.want(address, self.now_us());
        self.waiting.insert(address, request);
    }

    fn answer(&mut self, address: Address, result: Result<Link, BleError>) {
        self.seeker.settled(address, self.now_us());
        if let Some(request) = self.waiting.remove(&address) {
            // whoever asked may have left meanwhile; the link then ends by being dropped
            let _ = request.answer.send(result);
        }
    }

    fn forget_who_left(&mut self) {
        let left: Vec<Address> = self
            .waiting
            .iter()
            .filter(|(_, request)| request.answer.is_closed())
            .map(|(address, _)| *address)
            .collect();
        for address in left {
            self.waiting.remove(&address);
            self.seeker.settled(address, self.now_us());
        }
    }

    /// The daemon or the adapter is away: everybody is told, and asks again.
    fn fail_all(&mut self, err: &BleError) {
        self.seeker.scan_runs(false);
        let all: Vec<Address> = self.waiting.keys().copied().collect();
        for address in all {
            self.answer(address, Err(err.clone()));
        }
    }

    async fn turn(&mut self) -> Result<(), BleError> {
        let bus = match self.bus.take() {
            Some(bus) => bus,
            None => Bus::open(self.adapters.clone(), self.tell_lost.clone()).await?,
        };
        let done = self.turn_on(&bus).await;
        self.bus = Some(bus);
        done
    }

    async fn turn_on(&mut self, bus: &Bus) -> Result<(), BleError> {
        let runs = bus.scan_runs().await?;
        self.seeker.scan_runs(self.seeker.scans() && runs);
        let known = bus.devices().await?;
        let within_reach = known.iter().filter(|one| one.is_within_reach());
        let heard: Vec<Address> = within_reach.map(|one| one.address).collect();
        match self.seeker.step(&heard, self.now_us()) {
            Step::Wait => {}
            Step::StartScan => {
                bus.start_scan().await?;
                self.seeker.scan_runs(true);
            }
            Step::StopScan => self.stop_scan(bus).await,
            Step::GiveUp(address) => self.answer(address, Err(BleError::NotHeard { address })),
            Step::Connect(address) => {
                self.stop_scan(bus).await;
                if let Some(request) = self.waiting.get(&address) {
                    let expected = request.expected.clone();
                    let link = self.connect(bus, &expected).await;
                    self.answer(address, link);
                }
            }
        }
        Ok(())
    }

    async fn stop_scan(&mut self, bus: &Bus) {
        if self.seeker.scans() {
            bus.stop_scan().await;
            self.seeker.scan_runs(false);
        }
    }

    async fn connect(&self, bus: &Bus, expected: &Expected) -> Result<Link, BleError> {
        let peripheral = bus.connect(expected.address).await?;
        match self.link(bus, &peripheral, expected).await {
            Ok(link) => Ok(link),
            Err(err) => {
                disconnect(&peripheral).await;
                Err(err)
            }
        }
    }

    async fn link(
        &self,
        bus: &Bus,
        peripheral: &Peripheral,
        expected: &Expected,
    ) -> Result<Link, BleError> {
        let address = expected.address;
        let known = bus.device(address).await?;
        if !expected.profile.fits(&discovered(peripheral)) {
            let profile = expected.profile.name;
            return Err(BleError::NotTheDevice { address, profile });
        }
        if expected.bonded && !known.info.paired {
            return Err(BleError::BondMissing { address });
        }
        if expected.serial.is_some() && serial_of(peripheral).await? != expected.serial {
            return Err(BleError::Impostor { address });
        }
        let (device, clock) = (known.info.id, Arc::clone(&self.clock));
        Link::open(bus, peripheral.clone(), expected.profile, device, clock).await
    }
}
