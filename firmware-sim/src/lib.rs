//! Devices that do not exist, and their faults.
