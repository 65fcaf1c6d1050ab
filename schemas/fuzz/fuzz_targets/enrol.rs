//! Enrolment: the bodies that strangers post, a certificate request among them, and what a box
//! is answered or scans.
#![no_main]

use cardio_fuzz::{MIB, SIGNER, within};
use cardio_wire::enrol::{Answer, Ask, ClaimCode, ClaimKey, Posted, Scan, Session};
use libfuzzer_sys::fuzz_target;

#[path = "../../../gateway/src/keys/requested.rs"]
#[expect(dead_code, reason = "the gateway uses the key; here it is only read")]
mod requested;

fuzz_target!(|bytes: &[u8]| {
    let session = Session {
        authority: [3; 32],
        binding: [4; 32],
    };
    within(64 * bytes.len() + MIB, || {
        if let Ok(posted) = Posted::read(bytes) {
            let _ = posted.is_claimed_with(&session, &ClaimKey([5; 32]));
            if let Some(key) = requested::Requested::read(&posted.request.csr) {
                let _ = posted.is_signed_with_both(&session, &key.point);
            }
        }
        let _ = requested::Requested::read(bytes);
        if let Ok(ask) = Ask::read(bytes) {
            let _ = ask.is_signed_with(&session, &SIGNER.verifying_key());
        }
        if let Ok(answer) = Answer::read(bytes) {
            assert_eq!(answer.encode(), bytes, "one encoding");
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            if let Ok(code) = text.parse::<ClaimCode>() {
                let again = code.to_text().parse::<ClaimCode>();
                assert!(again.is_ok_and(|again| again == code));
            }
            let _ = text.parse::<Scan>();
        }
    });
});
