//! One table from the code of an error to the next step. The library reports; the program
//! advises. Where the cause is not known, the hint says what to check.

const HINTS: &[(&str, &str)] = &[
    (
        "config.unreadable",
        "name the file with --config, or write one: cardio-agent config default > FILE",
    ),
    ("config.syntax", "compare with: cardio-agent config default"),
    (
        "config.key.missing",
        "see which keys there are: cardio-agent config default",
    ),
    (
        "config.value",
        "see what the key may hold: cardio-agent config default",
    ),
    (
        "enrolment.unreadable",
        "check the path and the owner of the file; without one, enrol the box: cardio-agent enrol --help",
    ),
    (
        "enrol.enrolled",
        "nothing is to do; to enrol anew, revoke the box at its gateway and remove the file",
    ),
    (
        "enrol.nothing_begun",
        "begin with what the operator gives: cardio-agent enrol --gateway ... --ca-sha256 ... --code -",
    ),
    (
        "gate.turned_away",
        "check the code with the operator: cardio-gateway boxes pending says what is wrong with it",
    ),
    (
        "gate.untrusted",
        "check the address and the SHA-256 with the operator; somebody else may be answering",
    ),
    (
        "gate.unreachable",
        "check the address and the network, then give the same command again",
    ),
    (
        "enrolment.exposed",
        "chmod 600 the file; if others could read it, enrol the box anew",
    ),
    (
        "enrolment.form",
        "enrol the box anew: cardio-agent enrol --help",
    ),
    (
        "enrolment.key",
        "enrol the box anew: cardio-agent enrol --help",
    ),
    (
        "worklist.unknown",
        "see which visits there are: cardio-agent visits list",
    ),
    (
        "worklist.none",
        "the list comes with the next contact; an exam without a request can be made, and be given to one at the gateway: cardio-gateway records orphans",
    ),
    (
        "outbox.in-use",
        "another agent runs with this state directory: cardio-agent status",
    ),
    (
        "outbox.newer",
        "install the version of cardio-agent that made the outbox, or a later one",
    ),
    (
        "outbox.disk-full",
        "make room on the disk that holds the state directory; nothing stored is lost",
    ),
    (
        "outbox.file",
        "check that the state directory belongs to the user that runs the agent",
    ),
    (
        "outbox.database",
        "check the path: the outbox is `outbox.sqlite` in the state directory",
    ),
    (
        "state.directory",
        "check that the parent of the state directory belongs to the user that runs the agent",
    ),
    (
        "control.not_running",
        "start it: cardio-agent run --config FILE",
    ),
    (
        "control.socket",
        "ask as the user that runs the agent; the path of the socket may have 107 bytes",
    ),
    (
        "uplink.revoked",
        "ask the operator of the gateway; what is stored stays sealed in the outbox",
    ),
    (
        "format.open",
        "check the path; a WFDB record is named without .hea or by its header file",
    ),
    (
        "format.unrecognised",
        "see what the file is: cardio-agent inspect FILE",
    ),
    (
        "format.cannot-carry",
        "choose another format, or leave facts beside the samples behind: --drop-facts",
    ),
    (
        "format.exists",
        "choose another name, or write over the file: --force",
    ),
    (
        "format.write",
        "check that the folder exists and can be written",
    ),
    (
        "convert.no-format",
        "give OUT an extension (.edf .hea .dcm .scp .xml .ecg .wav .csv), or name the format: --to",
    ),
    (
        "convert.contradiction",
        "give OUT the extension of the format, or leave out --to",
    ),
    (
        "serial.open.denied",
        "put the user into the group of the port: usermod --append --groups dialout USER",
    ),
    (
        "ble.no_bus",
        "check that D-Bus runs: systemctl status dbus; without one there is no radio",
    ),
    (
        "ble.bus_lost",
        "start the agent again, as its service does by itself; what was captured is stored",
    ),
    (
        "ble.no_daemon",
        "start the Bluetooth daemon: systemctl start bluetooth",
    ),
    (
        "ble.no_adapter",
        "plug in the Bluetooth adapter, or see whether it is blocked: rfkill list",
    ),
    (
        "ble.not_heard",
        "put the sensor on or switch it on, close to the box, and see that no telephone holds it",
    ),
    (
        "ble.not_the_device",
        "choose another sensor: cardio-agent sources scan --all; after new firmware: bluetoothctl remove ADDRESS",
    ),
    (
        "ble.impostor",
        "if the sensor was exchanged, pair it anew: cardio-agent sources pair SOURCE ADDRESS",
    ),
    (
        "ble.bond_missing",
        "pair the sensor anew: cardio-agent sources pair --bond SOURCE ADDRESS",
    ),
    (
        "ble.needs_bond",
        "make a bond: cardio-agent sources pair --bond SOURCE ADDRESS",
    ),
    (
        "pairings.taken",
        "unbind it first: cardio-agent sources forget SOURCE",
    ),
    (
        "pairings.form",
        "remove the file and pair the sensors anew: cardio-agent sources pair SOURCE ADDRESS",
    ),
    (
        "sources.unknown",
        "see which sources there are: cardio-agent sources list",
    ),
    (
        "sources.not_on_radio",
        "change the path of the source in the configuration",
    ),
    (
        "sources.ambiguous",
        "name the sensor by its address: cardio-agent sources scan",
    ),
    (
        "sources.none_called",
        "see whom the box hears: cardio-agent sources scan --all",
    ),
    (
        "sources.not_paired",
        "see which sensors are paired: cardio-agent sources list",
    ),
    (
        "sources.in_use",
        "stop the agent first: systemctl stop cardio-agent",
    ),
    (
        "holter.not_a_holter",
        "see which sources there are: cardio-agent sources list; only movesense-gsp takes orders",
    ),
    (
        "holter.no_answer",
        "put the sensor on, close to the box, and see that no telephone holds it; then try again",
    ),
    (
        "holter.recording",
        "let it go on, or end that recording first: cardio-agent sources holter stop SOURCE",
    ),
    (
        "holter.rate",
        "choose another rate: cardio-agent sources holter start --help",
    ),
    (
        "holter.not_now",
        "put the sensor on the patient, so that it measures; if it is on, charge or exchange its battery",
    ),
    (
        "holter.no_room",
        "take the battery out and put it back, so that the sensor forgets what others asked of it",
    ),
    (
        "holter.refused",
        "400 and 404: the sensor's firmware is too old to record; others: start the sensor anew",
    ),
    (
        "capture.create",
        "choose another name: a capture is never written over",
    ),
    (
        "capture.not_a_capture",
        "make one: cardio-agent sources record SOURCE FILE",
    ),
    (
        "capture.version",
        "replay it with the version of cardio-agent that made it, or a later one",
    ),
    (
        "replay.device",
        "replay it with the version of cardio-agent that made it, or a later one",
    ),
    ("io", "check that the output can be written"),
];

/// The next step for an error of this code, if there is one.
pub(crate) fn of(code: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .find_map(|(known, hint)| (*known == code).then_some(*hint))
}

#[cfg(test)]
mod tests {
    use super::{HINTS, of};

    #[test]
    fn no_code_has_two_hints_and_every_hint_is_found() {
        for (code, hint) in HINTS {
            assert_eq!(of(code), Some(*hint), "{code}");
        }
        assert_eq!(of("no.such.code"), None);
    }
}
