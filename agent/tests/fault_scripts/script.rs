//! Scripts of faults by chance, of every kind that a device can have.

use std::fmt::Write as _;

use cardio_firmware_sim::device::{Device, Transport};
use cardio_firmware_sim::faults::obstacle;
use cardio_firmware_sim::scenario::FaultKind;

use crate::wide;

/// A small source of chance (SplitMix64, Steele and others 2014).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Seconds at which a fault may begin.
const PLACES: [u64; 5] = [2, 5, 8, 11, 14];
/// Each of them lasts as long as it may without meeting the next place but one.
const MS: u64 = 900;

/// Up to five faults, three seconds apart, and a clock that is a little off.
pub(crate) fn script(device: &Device, chance: &mut Chance) -> String {
    let kinds: Vec<FaultKind> = FaultKind::ALL
        .into_iter()
        .filter(|kind| obstacle(*kind, device).is_none())
        .collect();
    let ppm = i64::try_from(chance.below(401)).unwrap() - 200;
    let mut text = format!("[device]\nclock_ppm = {ppm}\n");
    let mut free_from = 0;
    for at in PLACES {
        if chance.below(4) == 0 {
            continue;
        }
        let kind = kinds[usize::try_from(chance.below(wide(kinds.len()))).unwrap()];
        let at_ms = at * 1000 + chance.below(MS);
        if at_ms < free_from {
            continue;
        }
        let (more, until_ms) = details(kind, at_ms, device, chance);
        free_from = until_ms;
        writeln!(
            text,
            "[[fault]]\nkind = \"{}\"\nat = \"{at_ms}ms\"\n{more}",
            kind.name()
        )
        .unwrap();
    }
    text
}

/// The other keys of a fault, and until when no other one may begin.
fn details(kind: FaultKind, at_ms: u64, device: &Device, chance: &mut Chance) -> (String, u64) {
    // losses of less than a turn of the counter, which it proves alone
    let turn = device.modulus.map_or(u64::MAX, u64::from);
    let half_s = u64::from((device.rate_hz / 2).max(1)) / device.per_frame();
    // a strap tells once a second
    let longest = if device.sees_beats() { 6 } else { half_s };
    let frames = 1 + chance.below(longest.clamp(1, 20).min(turn / 2));
    let is_on_air = matches!(device.transport, Transport::Bluetooth(_));
    let more = match kind {
        FaultKind::Drop | FaultKind::Repeat => format!("frames = {frames}\n"),
        FaultKind::Corrupt => "frames = 1\n".to_owned(),
        // a value that lost whole samples is a shorter one: on the air that does not happen
        FaultKind::Truncate if is_on_air => "bytes = 1\n".to_owned(),
        FaultKind::Truncate => format!("bytes = {}\n", 1 + chance.below(3)),
        FaultKind::Stall => format!("for = \"{}ms\"\n", 200 + chance.below(400)),
        FaultKind::Garbage => format!("bytes = {}\n", 1 + chance.below(60)),
        FaultKind::Coalesce => format!("frames = {}\n", 2 + chance.below(3)),
        FaultKind::Burst => "for = \"2s\"\nframes = 3\n".to_owned(),
        FaultKind::Disconnect | FaultKind::Unplug => {
            format!("for = \"{}ms\"\n", 300 + chance.below(1500))
        }
        FaultKind::LowBattery => format!("percent = {}\n", 1 + chance.below(20)),
        FaultKind::Errors => format!("commands = {}\n", 1 + chance.below(3)),
        FaultKind::ClockJump => {
            let by = ["10s", "1h", "48h", "300ms", "1s", "3s"];
            let by = by[usize::try_from(chance.below(6)).unwrap()];
            let back = chance.below(2) == 0;
            format!("by = \"{by}\"\nback = {back}\n")
        }
        FaultKind::ElectrodeOff => {
            let of_many = ["R", "L", "F", "C1", "C3", "C6"];
            let many = if device.waves.len() > 1 { 6 } else { 1 };
            let electrode = of_many[usize::try_from(chance.below(many)).unwrap()];
            let ms = 1500 + chance.below(4000);
            format!("electrode = \"{electrode}\"\nfor = \"{ms}ms\"\n")
        }
        FaultKind::Saturate => format!("for = \"{}ms\"\n", 1500 + chance.below(4000)),
        // noticed as a source that is lost only when it lasts: clearly less, or clearly more
        FaultKind::WrongBaud => {
            let ms = [300, 3500][usize::try_from(chance.below(2)).unwrap()] + chance.below(900);
            return (format!("for = \"{ms}ms\"\n"), at_ms + ms + 1500);
        }
        FaultKind::Mtu => {
            let mtu = [23, 60, 100, 180][usize::try_from(chance.below(4)).unwrap()];
            let back_ms =
                at_ms + [500, 4500][usize::try_from(chance.below(2)).unwrap()] + chance.below(900);
            let back = format!(
                "mtu = {mtu}\n[[fault]]\nkind = \"mtu\"\nat = \"{back_ms}ms\"\nmtu = {MTU}\n"
            );
            return (back, back_ms + 1500);
        }
        FaultKind::Swap | FaultKind::Reboot => String::new(),
    };
    (more, 0)
}

/// What the box asks for when it connects.
pub(crate) const MTU: u16 = 247;
