//! Hello, acknowledgement, command and state: as anybody sends them, and signed by their author;
//! and the visits of a day, as they are sealed in a command. The first byte chooses among them.
#![no_main]

use cardio_fuzz::{MIB, SIGNER, signed, within};
use cardio_wire::message::{Ack, Command, Hello, State};
use cardio_wire::visits::VisitList;
use libfuzzer_sys::fuzz_target;

macro_rules! author {
    ($message:ident, $purpose:literal, $payload:expr) => {{
        let key = SIGNER.verifying_key();
        let _ = $message::verify($payload, &key);
        let bytes = signed($payload, $purpose);
        if let Ok(message) = $message::verify(&bytes, &key) {
            assert_eq!(message.sign(&SIGNER), bytes, "one encoding");
        }
    }};
}

fuzz_target!(|input: &[u8]| {
    let Some((which, payload)) = input.split_first() else {
        return;
    };
    within(64 * payload.len() + MIB, || match which % 5 {
        0 => author!(Hello, b"ecg/1 hello", payload),
        1 => author!(Ack, b"ecg/1 ack", payload),
        2 => author!(Command, b"ecg/1 cmd", payload),
        3 => author!(State, b"ecg/1 state", payload),
        _ => {
            if let Ok(list) = VisitList::decode(payload) {
                assert_eq!(*list.encode(), payload, "one encoding");
            }
        }
    });
});
