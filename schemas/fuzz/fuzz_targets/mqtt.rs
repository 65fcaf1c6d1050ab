//! The gateway's listener: any bytes, arriving in pieces, are packets or a reason to hang up.
#![no_main]

use bytes::BytesMut;
use cardio_fuzz::{MIB, within};
use libfuzzer_sys::fuzz_target;

#[path = "../../../gateway/src/mqtt/packet.rs"]
mod packet;

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else {
        return;
    };
    within(64 * bytes.len() + MIB, || {
        let mut buffer = BytesMut::new();
        for part in bytes.chunks(usize::from(*piece).max(1)) {
            buffer.extend_from_slice(part);
            loop {
                let before = buffer.len();
                match packet::next(&mut buffer) {
                    Ok(Some(_)) => assert!(buffer.len() < before, "a packet takes bytes"),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    });
});
