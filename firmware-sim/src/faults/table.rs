//! Which device can have which fault, and why not where it cannot.
//!
//! What follows from the device's own description is not written down again: whether it is on the
//! air, counts or stamps its frames, tells the time, takes commands, states its battery.

use cardio_core::device::IntegrityClass;
use cardio_protocol::profile::WaveKind;

use crate::device::{Device, Transport};
use crate::scenario::FaultKind;

/// Why a device cannot have a fault of this kind; `None` when it can.
pub fn obstacle(kind: FaultKind, device: &Device) -> Option<&'static str> {
    let is_on_air = matches!(device.transport, Transport::Bluetooth(_));
    let (has_it, why) = match kind {
        FaultKind::Drop
        | FaultKind::Corrupt
        | FaultKind::Truncate
        | FaultKind::Stall
        | FaultKind::Burst
        | FaultKind::Garbage
        | FaultKind::Unplug
        | FaultKind::Reboot
        | FaultKind::Saturate => return None,
        FaultKind::Repeat | FaultKind::Swap | FaultKind::Coalesce if device.must_be_asked() => {
            return Some("it answers one question at a time: no answer meets another");
        }
        FaultKind::Repeat => (
            is_told_apart(device),
            "a frame that comes again is a new one to anybody, without counter and time",
        ),
        FaultKind::Swap => (
            is_told_apart(device),
            "nobody can tell the order of its frames, without counter and time",
        ),
        FaultKind::ElectrodeOff => (has_electrodes(device), "it has no electrodes"),
        FaultKind::Coalesce => (is_on_air, "no daemon stands between its line and the box"),
        FaultKind::Disconnect => (is_on_air, "a line is lost with its plug: unplug"),
        FaultKind::Mtu => (is_on_air, "a line has no MTU"),
        FaultKind::ClockJump => (device.tells_time(), "it does not tell the time"),
        FaultKind::LowBattery => (
            device.states_battery(),
            "it does not state its battery on this link",
        ),
        FaultKind::WrongBaud => (
            has_speed(device),
            "its link has no speed that could be wrong",
        ),
        FaultKind::Errors => (device.takes_commands(), "it takes no commands"),
    };
    (!has_it).then_some(why)
}

fn is_told_apart(device: &Device) -> bool {
    device.integrity != IntegrityClass::Uncounted
}

fn has_electrodes(device: &Device) -> bool {
    let is_sound = |wave: &WaveKind| matches!(wave, WaveKind::HeartSound);
    !device.waves.iter().all(is_sound)
}

const fn has_speed(device: &Device) -> bool {
    match device.transport {
        Transport::Serial(profile) => !profile.any_speed,
        Transport::Bluetooth(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::obstacle;
    use crate::device::Device;
    use crate::scenario::FaultKind;

    #[test]
    fn who_cannot_have_which_fault_is_known_by_name() {
        let without: Vec<(&str, Vec<&str>)> = FaultKind::ALL
            .into_iter()
            .map(|kind| {
                let mut all = Device::all();
                // a strap that tells heart rates has no frames of samples
                all.retain(|one| !one.sees_beats());
                let spared = all.iter().filter(|one| obstacle(kind, one).is_some());
                (kind.name(), spared.map(|one| one.name).collect())
            })
            .filter(|(_, spared): &(_, Vec<_>)| !spared.is_empty())
            .collect();
        let serial = [
            "openbci-cyton",
            "protocentral-openview",
            "bioharness",
            "bitalino",
        ];
        let on_air = [
            "polar-pmd",
            "movesense-gsp",
            "viatom-er1",
            "ble-audio-packets",
        ];
        assert_eq!(
            without,
            [
                ("repeat", vec!["protocentral-openview", "viatom-er1"]),
                ("swap", vec!["protocentral-openview", "viatom-er1"]),
                ("electrode-off", vec!["ble-audio-packets"]),
                ("coalesce", [&serial[..], &on_air[2..3]].concat()),
                ("disconnect", serial.to_vec()),
                ("mtu", serial.to_vec()),
                (
                    "clock-jump",
                    vec![
                        "openbci-cyton",
                        "protocentral-openview",
                        "bitalino",
                        "viatom-er1",
                        "ble-audio-packets"
                    ]
                ),
                ("low-battery", serial.to_vec()),
                ("wrong-baud", [&serial[1..2], &on_air].concat()),
                ("errors", vec!["protocentral-openview", "ble-audio-packets"]),
            ]
        );
    }
}
