//! Frames: as anybody sends them, and as a stolen box signs them.
#![no_main]

use cardio_fuzz::{MIB, SECRET, SIGNER, signed, within};
use cardio_wire::envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let key = SIGNER.verifying_key();
    within(64 * bytes.len() + MIB, || {
        let _ = envelope::peek(bytes);
        let _ = envelope::verify(bytes, &key);
        let _ = envelope::verify_to_store(bytes, &key);
        let frame = signed(bytes, b"ecg/1 frame");
        let Ok(verified) = envelope::verify(&frame, &key) else {
            return;
        };
        assert_eq!(envelope::peek(&frame).as_ref(), Ok(&verified.header));
        let (header, fingerprint) =
            envelope::verify_to_store(&frame, &key).expect("what verifies can be stored");
        assert_eq!(header, verified.header);
        assert_eq!(fingerprint, envelope::fingerprint(&frame));
        let _ = envelope::open(&verified, &SECRET);
    });
});
