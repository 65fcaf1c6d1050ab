//! Records after opening, packed samples among them: what decodes encodes and decodes again.
#![no_main]

use cardio_fuzz::{MIB, within};
use cardio_wire::record::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = within(64 * bytes.len() + MIB, || Record::decode(bytes)) {
        let again = record.encode();
        assert_eq!(Record::decode(&again).as_ref(), Ok(&record));
    }
});
