//! Devices on a serial line: a byte stream without boundaries.

pub mod bioharness;
pub mod bitalino;
pub mod framing;
pub mod openbci_cyton;
pub mod protocentral_openview;
