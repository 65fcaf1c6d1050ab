//! Who made the signal: identity of sensors.

/// Identity of a sensor, as far as it states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// Manufacturer's name.
    pub maker: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// IEEE EUI-64 System ID, if the device has one (GATT 0x2A23).
    pub system_id: Option<[u8; 8]>,
}

/// How a source lets missing data be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IntegrityClass {
    /// Frames carry a device time stamp.
    TimeStamped = 1,
    /// Frames carry a counter that wraps: a loss of a whole turn shows only against time.
    Counted = 2,
    /// Frames carry neither: a loss shows only as fewer samples than time demands.
    Uncounted = 3,
    /// The source is a file: complete or not as it says.
    File = 4,
}

impl IntegrityClass {
    /// Stable name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeStamped => "time-stamped",
            Self::Counted => "counted",
            Self::Uncounted => "uncounted",
            Self::File => "file",
        }
    }
}
