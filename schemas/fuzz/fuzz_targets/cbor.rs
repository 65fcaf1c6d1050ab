//! CBOR: what decodes has this one encoding.
#![no_main]

use cardio_fuzz::{MIB, within};
use cardio_wire::cbor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = within(64 * bytes.len() + MIB, || cbor::decode(bytes)) {
        assert_eq!(cbor::encode(&value), bytes);
    }
});
