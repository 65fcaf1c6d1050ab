//! One thing that goes wrong at a given time, and what kind of thing it is.

use serde::{Deserialize, Serialize};

use super::Span;

/// One fault at a given time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Frames are lost on the way; the device's counter moves on.
    Drop {
        /// When.
        at: Span,
        /// How many frames.
        #[serde(default)]
        frames: Option<u64>,
        /// Or for how long.
        #[serde(default, rename = "for")]
        lasting: Option<Span>,
    },
    /// Frames are sent twice.
    Repeat {
        /// When.
        at: Span,
        /// How many frames.
        #[serde(default = "one")]
        frames: u64,
    },
    /// The last byte of frames is inverted, so that they are no frames any more.
    Corrupt {
        /// When.
        at: Span,
        /// How many frames.
        #[serde(default = "one")]
        frames: u64,
    },
    /// Frames lose their last bytes.
    Truncate {
        /// When.
        at: Span,
        /// How many frames.
        #[serde(default = "one")]
        frames: u64,
        /// How many bytes of each.
        bytes: usize,
    },
    /// A frame arrives behind the one that follows it.
    Swap {
        /// When.
        at: Span,
    },
    /// Nothing arrives for a time, then all of it at once.
    Stall {
        /// When.
        at: Span,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// Bytes that belong to no frame come in between.
    Garbage {
        /// When.
        at: Span,
        /// How many.
        bytes: usize,
    },
    /// An electrode loses contact: the leads that rest on it go to the rail.
    ElectrodeOff {
        /// Which, in IEC or AHA letters.
        electrode: String,
        /// When.
        at: Span,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// A lead stays at the rail.
    Saturate {
        /// Which; all that the device has without it.
        #[serde(default)]
        lead: Option<String>,
        /// When.
        at: Span,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The plug is pulled and put back; the device starts anew.
    Unplug {
        /// When.
        at: Span,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The device starts anew by itself: it stops streaming and its counter starts at zero.
    Reboot {
        /// When.
        at: Span,
    },
    /// Frames come in bunches, as over a link with a long interval.
    Burst {
        /// When.
        at: Span,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
        /// How many frames make a bunch.
        frames: u64,
    },
    /// Values come faster than the daemon serves its bus: of so many frames only the last is
    /// shown, and it is shown twice.
    Coalesce {
        /// When.
        at: Span,
        /// How many frames.
        frames: u64,
    },
    /// The link is lost, and the device returns; its stream goes on or not as the device does it.
    Disconnect {
        /// When.
        at: Span,
        /// How long it is out of reach.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The MTU of the link changes.
    Mtu {
        /// When.
        at: Span,
        /// Size of a value plus three.
        mtu: u16,
    },
    /// The device's own clock jumps.
    ClockJump {
        /// When.
        at: Span,
        /// How far.
        by: Span,
        /// Whether it jumps back.
        #[serde(default)]
        back: bool,
    },
    /// The battery is nearly empty.
    LowBattery {
        /// When.
        at: Span,
        /// What is left of its charge.
        percent: u8,
    },
    /// The line runs at another speed for a time: noise, both ways.
    WrongBaud {
        /// When.
        at: Span,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The firmware refuses commands.
    Errors {
        /// When.
        at: Span,
        /// How many of those that follow.
        commands: u32,
    },
}

/// What can go wrong, without when and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Frames are lost on the way; the device's counter moves on.
    Drop,
    /// Frames are sent twice.
    Repeat,
    /// The last byte of frames is inverted, so that they are no frames any more.
    Corrupt,
    /// Frames lose their last bytes.
    Truncate,
    /// A frame arrives behind the one that follows it.
    Swap,
    /// Nothing arrives for a time, then all of it at once.
    Stall,
    /// Bytes that belong to no frame come in between.
    Garbage,
    /// An electrode loses contact: the leads that rest on it go to the rail.
    ElectrodeOff,
    /// A lead stays at the rail.
    Saturate,
    /// The plug is pulled and put back; the device starts anew.
    Unplug,
    /// The device starts anew by itself: it stops streaming and its counter starts at zero.
    Reboot,
    /// Frames come in bunches, as over a link with a long interval.
    Burst,
    /// Values come faster than the daemon serves its bus: of so many frames only the last is
    Coalesce,
    /// The link is lost, and the device returns; its stream goes on or not as the device does it.
    Disconnect,
    /// The MTU of the link changes.
    Mtu,
    /// The device's own clock jumps.
    ClockJump,
    /// The battery is nearly empty.
    LowBattery,
    /// The line runs at another speed for a time: noise, both ways.
    WrongBaud,
    /// The firmware refuses commands.
    Errors,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::Drop,
        Self::Repeat,
        Self::Corrupt,
        Self::Truncate,
        Self::Swap,
        Self::Stall,
        Self::Garbage,
        Self::ElectrodeOff,
        Self::Saturate,
        Self::Unplug,
        Self::Reboot,
        Self::Burst,
        Self::Coalesce,
        Self::Disconnect,
        Self::Mtu,
        Self::ClockJump,
        Self::LowBattery,
        Self::WrongBaud,
        Self::Errors,
    ];

    /// As a scenario calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Repeat => "repeat",
            Self::Corrupt => "corrupt",
            Self::Truncate => "truncate",
            Self::Swap => "swap",
            Self::Stall => "stall",
            Self::Garbage => "garbage",
            Self::ElectrodeOff => "electrode-off",
            Self::Saturate => "saturate",
            Self::Unplug => "unplug",
            Self::Reboot => "reboot",
            Self::Burst => "burst",
            Self::Coalesce => "coalesce",
            Self::Disconnect => "disconnect",
            Self::Mtu => "mtu",
            Self::ClockJump => "clock-jump",
            Self::LowBattery => "low-battery",
            Self::WrongBaud => "wrong-baud",
            Self::Errors => "errors",
        }
    }
}

impl Fault {
    /// What kind of thing goes wrong.
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Drop { .. } => FaultKind::Drop,
            Self::Repeat { .. } => FaultKind::Repeat,
            Self::Corrupt { .. } => FaultKind::Corrupt,
            Self::Truncate { .. } => FaultKind::Truncate,
            Self::Swap { .. } => FaultKind::Swap,
            Self::Stall { .. } => FaultKind::Stall,
            Self::Garbage { .. } => FaultKind::Garbage,
            Self::ElectrodeOff { .. } => FaultKind::ElectrodeOff,
            Self::Saturate { .. } => FaultKind::Saturate,
            Self::Unplug { .. } => FaultKind::Unplug,
            Self::Reboot { .. } => FaultKind::Reboot,
            Self::Burst { .. } => FaultKind::Burst,
            Self::Coalesce { .. } => FaultKind::Coalesce,
            Self::Disconnect { .. } => FaultKind::Disconnect,
            Self::Mtu { .. } => FaultKind::Mtu,
            Self::ClockJump { .. } => FaultKind::ClockJump,
            Self::LowBattery { .. } => FaultKind::LowBattery,
            Self::WrongBaud { .. } => FaultKind::WrongBaud,
            Self::Errors { .. } => FaultKind::Errors,
        }
    }
}

const fn one() -> u64 {
    1
}
