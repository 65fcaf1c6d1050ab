//! Devices that do not exist, and their faults.
//!
//! A simulated device plays the far end of a real one's protocol, byte for byte, and writes
//! a ledger of every sample that it sent and every fault that it played: the truth that a
//! test holds a recording against. Deliberately absent: the near end; nothing in here reads
//! what a box makes of the bytes.
//!
//! | module | holds |
//! | --- | --- |
//! | [`source`] | where the signal comes from: a synthetic heart, or a recording |
//! | [`scenario`] | what the heart does and what goes wrong, as TOML |
//! | [`faults`] | which fault meets which frame |
//! | [`player`] | the device itself: commands in, bytes out, by a time that is an argument |
//! | [`device`] | what a player has to know of a device |
//! | [`ledger`] | the truth, as JSON lines |
//! | [`pty`] | a pseudo-terminal that behaves like a serial adapter |
//! | [`clock`] | the only place that reads a clock |
//! | [`radio`] | a private D-Bus with a stand-in of BlueZ, for sensors on Bluetooth |
//! | [`play`] | the loop that ties them together for a serial line |
//! | [`on_air`] | the same for a sensor on Bluetooth |

pub mod clock;
pub mod device;
pub mod faults;
pub mod ledger;
pub mod on_air;
pub mod play;
pub mod player;
pub mod pty;
pub mod radio;
pub mod scenario;
pub mod source;
