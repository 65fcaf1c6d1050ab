//! Noticing that what arrives is not the device that was configured.
//!
//! Many bytes and no valid frame mean a wrong speed or another device; no bytes mean that it
//! is off. Silent retries would hide both. Deliberately absent: what to do about it.

use std::time::Duration;

use cardio_core::clock::BoxInstant;

use crate::decoder::DecoderEvent;
use crate::profile::{ALL, Profile};
use crate::session::has_passed;

/// How long bytes may come without a frame.
pub const NO_FRAME_LIMIT: Duration = Duration::from_secs(2);
/// Bytes that must have come before they count as many.
const MANY_BYTES: u64 = 64;
/// How much of the stream is kept to ask the other profiles about.
const KEPT_BYTES: usize = 2048;
/// Frames that another profile must find before it is named.
const SURE_FRAMES: usize = 3;

/// Why a stream is not the configured device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unrecognised {
    /// Bytes, and not one frame among them.
    #[error("{bytes} bytes came in {millis} ms and no frame of {profile} was among them")]
    NoFrames {
        /// The profile that was configured.
        profile: &'static str,
        /// How many bytes came.
        bytes: u64,
        /// In how many milliseconds.
        millis: u64,
    },
    /// The bytes are frames of another device.
    #[error("the bytes are frames of {found}, not of {profile}")]
    AnotherDevice {
        /// The profile that was configured.
        profile: &'static str,
        /// The profile that fits.
        found: &'static str,
    },
}

impl Unrecognised {
    /// Stable identifier for logs, metrics and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoFrames { .. } => "serial.no_frames",
            Self::AnotherDevice { .. } => "serial.another_device",
        }
    }

    /// What a person can check.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoFrames { .. } => {
                "wrong speed or wrong device: check the speed, the cable and the configured profile"
            }
            Self::AnotherDevice { .. } => {
                "configure the profile that fits, or plug in the other device"
            }
        }
    }
}

/// Watches one stream.
#[derive(Debug)]
pub struct Recogniser {
    profile: &'static Profile,
    since: Option<BoxInstant>,
    bytes: u64,
    kept: Vec<u8>,
}

impl Recogniser {
    /// A watch over a stream that should be `profile`'s.
    pub const fn new(profile: &'static Profile) -> Self {
        Self {
            profile,
            since: None,
            bytes: 0,
            kept: Vec::new(),
        }
    }

    /// Takes note of what arrived and what the decoder made of it; says so once the limit is
    /// reached, and again after each further period without a frame.
    pub fn note(
        &mut self,
        bytes: &[u8],
        events: &[DecoderEvent],
        now: BoxInstant,
    ) -> Option<Unrecognised> {
        let good = events
            .iter()
            .any(|event| matches!(event, DecoderEvent::Frame(_) | DecoderEvent::Aside(_)));
        if good {
            self.forget();
            return None;
        }
        if bytes.is_empty() && self.bytes == 0 {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let room = KEPT_BYTES.saturating_sub(self.kept.len());
        self.kept.extend(bytes.iter().take(room));
        if self.bytes < MANY_BYTES || !has_passed(since, now, NO_FRAME_LIMIT) {
            return None;
        }
        let profile = self.profile.name;
        let why = match self.other_profile() {
            Some(found) => Unrecognised::AnotherDevice { profile, found },
            None => Unrecognised::NoFrames {
                profile,
                bytes: self.bytes,
                millis: now.micros_since(&since).unwrap_or(0) / 1000,
            },
        };
        self.forget();
        Some(why)
    }

    /// Forgets everything, as after a new connection.
    pub fn forget(&mut self) {
        self.since = None;
        self.bytes = 0;
        self.kept.clear();
    }

    fn other_profile(&self) -> Option<&'static str> {
        let finds = |profile: &&&Profile| {
            let mut events = Vec::new();
            (profile.decoder)().push(&self.kept, &mut events);
            let frames = events
                .iter()
                .filter(|event| matches!(event, DecoderEvent::Frame(_)))
                .count();
            profile.name != self.profile.name && frames >= SURE_FRAMES
        };
        ALL.iter().find(finds).map(|profile| profile.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Recogniser, Unrecognised};
    use crate::decoder::{DecoderEvent, FrameRows};
    use crate::profile::by_name;
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn watch(sent: &[u8], configured: &str) -> Option<Unrecognised> {
        let profile = by_name(configured).unwrap();
        let mut recogniser = Recogniser::new(profile);
        let mut decoder = (profile.decoder)();
        let mut found = None;
        for (step, part) in sent.chunks(100).enumerate() {
            let mut events: Vec<DecoderEvent> = Vec::new();
            decoder.push(part, &mut events);
            let step = u64::try_from(step).unwrap();
            found = found.or(recogniser.note(part, &events, at(step * 100)));
        }
        found
    }

    fn frames_of(name: &str, count: usize) -> Vec<u8> {
        let profile = by_name(name).unwrap();
        let mut encoder = (profile.encoder)();
        let mut bytes = Vec::new();
        for _ in 0..count {
            encoder.frame(&FrameRows::planar(1, &[1, 2, 3]), &mut bytes);
        }
        bytes
    }

    #[test]
    fn two_seconds_of_bytes_without_a_frame_are_named() {
        let why = watch(&[0x55; 4000], "openbci-cyton").unwrap();
        assert_eq!(why.code(), "serial.no_frames");
        assert!(why.to_string().starts_with("2100 bytes came in 2000 ms"));
    }

    #[test]
    fn frames_of_another_device_name_that_device() {
        let why = watch(&frames_of("openbci-cyton", 100), "protocentral-openview").unwrap();
        assert_eq!(why.code(), "serial.another_device");
        assert!(why.to_string().contains("openbci-cyton"));
    }

    #[test]
    fn the_right_device_and_a_silent_one_are_not_complained_about() {
        assert_eq!(
            watch(&frames_of("openbci-cyton", 200), "openbci-cyton"),
            None
        );
        let mut recogniser = Recogniser::new(by_name("openbci-cyton").unwrap());
        assert_eq!(recogniser.note(&[], &[], at(0)), None);
        assert_eq!(recogniser.note(&[], &[], at(60_000)), None);
    }
}
