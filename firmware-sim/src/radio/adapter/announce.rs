//! The advertisement of a sensor, begun anew every second while no host is connected.
//!
//! A virtual controller (`btvirt` of BlueZ 5.66) tells a host of an advertisement once, where it
//! begins or where the host begins to scan, and the kernel drops what comes before its scan is
//! under way: about every other scan heard nothing. A radio tells of it again and again, and so
//! does this.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::application::ADVERTISEMENT_PATH;
use super::{ADVERTISING_MANAGER, Shared};
use crate::radio::bus::{Client, ClientError, SERVICE, Value};

const EVERY: Duration = Duration::from_secs(1);

/// Advertises until it is dropped.
pub(super) struct Announcer {
    shared: Arc<Shared>,
    client: Arc<Client>,
    /// Held by whoever changes it.
    in_range: Arc<Mutex<bool>>,
    _until: Sender<()>,
}

impl Announcer {
    /// Advertises from now on.
    pub(super) fn begin(shared: Arc<Shared>, client: Arc<Client>) -> Result<Self, ClientError> {
        let (_until, ended) = channel();
        let announcer = Self {
            shared,
            client,
            in_range: Arc::new(Mutex::new(true)),
            _until,
        };
        announcer.shared.advertise(&announcer.client)?;
        announcer.go_on(ended);
        Ok(announcer)
    }

    fn go_on(&self, ended: Receiver<()>) {
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        let in_range = Arc::clone(&self.in_range);
        std::thread::spawn(move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let in_range = in_range.lock().unwrap_or_else(PoisonError::into_inner);
                if *in_range && shared.link().hosts.is_empty() {
                    // What BlueZ refuses now it may take in a second.
                    let _ = shared.fall_silent(&client);
                    let _ = shared.advertise(&client);
                }
            }
        });
    }

    /// Whether it is to be heard. What is so already is as it should be.
    pub(super) fn set_in_range(&self, in_range: bool) {
        let mut now = self.in_range.lock().unwrap_or_else(PoisonError::into_inner);
        *now = in_range;
        let _ = match in_range {
            true => self.shared.advertise(&self.client),
            false => self.shared.fall_silent(&self.client),
        };
    }
}

impl Shared {
    fn advertise(&self, client: &Client) -> Result<(), ClientError> {
        let path = Value::Path(ADVERTISEMENT_PATH.to_owned());
        self.manage_advertising(client, "RegisterAdvertisement", &[path, Value::named([])])
    }

    fn fall_silent(&self, client: &Client) -> Result<(), ClientError> {
        let path = Value::Path(ADVERTISEMENT_PATH.to_owned());
        self.manage_advertising(client, "UnregisterAdvertisement", &[path])
    }

    fn manage_advertising(
        &self,
        client: &Client,
        member: &str,
        arguments: &[Value],
    ) -> Result<(), ClientError> {
        client
            .call(
                SERVICE,
                &self.adapter,
                ADVERTISING_MANAGER,
                member,
                arguments,
            )
            .map(|_| ())
    }
}
