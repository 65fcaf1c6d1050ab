//! The advertisement of a sensor, begun anew every second while no host is connected.
//!
//! A virtual controller (`btvirt` of BlueZ 5.66) tells a host of an advertisement once, where it
//! begins or where the host begins to scan, and the kernel drops what comes before its scan is
//! under way: about every other scan heard nothing. A radio tells of it again and again, and so
//! does this.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::application::ADVERTISEMENT_PATH;
use super::{ADVERTISING_MANAGER, Shared};
use crate::radio::bus::{Client, ClientError, SERVICE, Value};

const EVERY: Duration = Duration::from_secs(1);

/// Advertises anew until the other end of `ended` is dropped.
pub(super) fn go_on(shared: Arc<Shared>, client: Arc<Client>, ended: Receiver<()>) {
    std::thread::spawn(move || {
        while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let in_range = shared.in_range.lock();
            let in_range = in_range.unwrap_or_else(PoisonError::into_inner);
            if *in_range && shared.link().hosts.is_empty() {
                // What BlueZ refuses now it may take in a second.
                let _ = shared.fall_silent(&client);
                let _ = shared.advertise(&client);
            }
        }
    });
}

impl Shared {
    /// Whether the sensor is to be heard. What is so already is as it should be.
    pub(super) fn set_in_range(&self, client: &Client, in_range: bool) {
        let mut now = self.in_range.lock().unwrap_or_else(PoisonError::into_inner);
        *now = in_range;
        let _ = match in_range {
            true => self.advertise(client),
            false => self.fall_silent(client),
        };
    }

    pub(super) fn advertise(&self, client: &Client) -> Result<(), ClientError> {
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
        let adapter = &self.adapter;
        client
            .call(SERVICE, adapter, ADVERTISING_MANAGER, member, arguments)
            .map(|_| ())
    }
}
