//! A link over which recordings are fetched: characteristics of a radio sensor, or messages
//! on the console of one that is plugged in.

use cardio_core::clock::{Clock, ClockReading};
use cardio_protocol::gatt::{GattAction, GattProfile, Uuid};
use cardio_protocol::smp_records::{CHARACTERISTIC, ConsoleReader, SmpMessage, console_frames};

use crate::adapters::ble::Link;
use crate::adapters::serial::Port;
use crate::capture::{BleReach, Lost, PortName};

/// Speed of the console; its line is USB throughout, and any would do.
const CONSOLE_BAUD: u32 = 115_200;

/// How the sensor is reached.
#[derive(Debug)]
pub enum FetchReach {
    /// On the radio.
    Ble(BleReach),
    /// On a serial console.
    Console {
        /// Which port it is.
        port: PortName,
        /// What it speaks.
        profile: &'static GattProfile,
    },
}

/// A connected sensor.
pub(super) enum FetchLink {
    Radio(Box<Link>),
    Console(Console),
}

/// A console and what is put together of it.
pub(super) struct Console {
    port: Port,
    reader: ConsoleReader,
}

/// What the sensor said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) from: Uuid,
    pub(super) value: Vec<u8>,
    pub(super) at: ClockReading,
}

impl FetchReach {
    /// Connects the sensor: the link, and what tells it from another one of its kind.
    pub(super) async fn open(&self) -> Result<(FetchLink, String), Lost> {
        match self {
            Self::Ble(reach) => {
                let (link, address) = reach.connect().await?;
                Ok((FetchLink::Radio(Box::new(link)), address.to_string()))
            }
            Self::Console { port, .. } => {
                let (port, _) = port.open(CONSOLE_BAUD)?;
                let console = Console {
                    port,
                    reader: ConsoleReader::default(),
                };
                Ok((FetchLink::Console(console), String::new()))
            }
        }
    }
}

impl FetchLink {
    /// Does what a conversation asks for. A read gives its value. A console has messages only.
    pub(super) async fn carry_out(
        &mut self,
        action: GattAction,
        clock: &dyn Clock,
    ) -> Result<Option<Said>, Lost> {
        match self {
            Self::Radio(link) => {
                let read = link.carry_out(action, clock).await?;
                Ok(read.map(|read| Said {
                    from: read.from,
                    value: read.value,
                    at: read.at,
                }))
            }
            Self::Console(console) => {
                if let GattAction::Write { value, .. } = action
                    && let Some(message) = SmpMessage::decode(&value)
                {
                    console.port.write(&console_frames(&message)).await?;
                }
                Ok(None)
            }
        }
    }

    /// Waits for what the sensor says. Dropping the future loses nothing.
    pub(super) async fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Said>, Lost> {
        match self {
            Self::Radio(link) => {
                let values = link.read().await?;
                Ok(values
                    .into_iter()
                    .map(|value| Said {
                        from: value.from,
                        value: value.value,
                        at: value.at,
                    })
                    .collect())
            }
            Self::Console(Console { port, reader }) => {
                let arrival = port.read(clock).await?;
                let mut messages = Vec::new();
                reader.push(arrival.bytes, &mut messages);
                let said = |message: &SmpMessage| Said {
                    from: CHARACTERISTIC,
                    value: message.encode(),
                    at: arrival.at,
                };
                Ok(messages.iter().map(said).collect())
            }
        }
    }

    /// Lets go of the sensor.
    pub(super) async fn close(self) {
        if let Self::Radio(link) = self {
            link.close().await;
        }
    }
}
