//! Capture logs, as a cut card or anybody else may leave them.
//!
//! Input: a byte with the size of the pieces in which the log arrives, then the log; or, where the
//! byte is above 127, the bodies of items, each behind its length: checksums are made for them,
//! because no chance finds them.
#![no_main]

use cardio_fuzz::{MIB, within};
use cardio_protocol::capture::{CaptureError, CaptureItem, CaptureReader, MAGIC};
use cardio_protocol::smp_records::crc32;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, log)) = bytes.split_first() else {
        return;
    };
    let framed = piece & 0x80 != 0;
    let log = if framed { frame(log) } else { log.to_vec() };
    let log = log.as_slice();
    let piece = usize::from(piece & 0x7F).max(1);
    let (items, end) = within(MIB + 16 * bytes.len(), || read(log, piece));
    assert_eq!((&items, end), (&read(log, log.len().max(1)).0, end));
    // what was read is written as it was
    let mut written = Vec::new();
    for item in &items {
        match item {
            CaptureItem::Head(head) => head.encode(&mut written),
            CaptureItem::Entry(entry) => entry.encode(&mut written),
        }
        .expect("what was read fits");
    }
    assert_eq!(log.get(..written.len()), Some(written.as_slice()));
    assert_eq!(end.is_ok(), !items.is_empty() && written.len() == log.len());
});

fn frame(mut bodies: &[u8]) -> Vec<u8> {
    let mut log = MAGIC.to_vec();
    while let [len, rest @ ..] = bodies {
        let (body, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bodies = rest;
        let len = u16::try_from(body.len()).unwrap_or(0).to_le_bytes();
        let checked = [&len, body].concat();
        log.extend(len);
        log.extend(crc32(&checked).to_le_bytes());
        log.extend(body);
    }
    log
}

fn read(log: &[u8], piece: usize) -> (Vec<CaptureItem>, Result<(), CaptureError>) {
    let (mut reader, mut items) = (CaptureReader::new(), Vec::new());
    for piece in log.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(err) => return (items, Err(err)),
            }
        }
    }
    (items, reader.finish())
}
