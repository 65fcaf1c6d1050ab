//! Recordings of every format: any bytes are a recording or an error that says where, in bounded
//! memory; what is read strictly is read leniently too, and the same.
//!
//! Input: the file, then files beside it, each after `NEXT_FILE` and its name.
#![no_main]

use std::sync::Arc;

use cardio_formats::source::MemorySource;
use cardio_formats::survey::survey;
use cardio_formats::{ReadOptions, read};
use cardio_fuzz::{MIB, NEXT_FILE, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let source = Arc::new(source(input));
    let limit = 128 * input.len() + 64 * MIB;
    let options = |strict| ReadOptions {
        strict,
        max_samples: 1 << 20,
    };
    let read = |strict| read::read(source.clone(), "r", options(strict));
    let lenient = within(limit, || read(false));
    let strict = within(limit, || read(true));
    match (&lenient, &strict) {
        (Ok(lenient), Ok(strict)) => assert_eq!(lenient.waveforms, strict.waveforms),
        (Err(error), Ok(_)) => panic!("read strictly, refused leniently: {error}"),
        (_, Err(error)) => assert!(error.code().starts_with("format.")),
    }
    if let Ok(reader) = read::open(source, "r", options(false)) {
        let surveyed = within(limit, || survey(reader, &mut |_| {}));
        let _ = surveyed.map(|survey| survey.recording.name);
    }
});

fn source(input: &[u8]) -> MemorySource {
    let mut name = "r".to_owned();
    let mut source = MemorySource::new();
    let mut rest = input;
    while let Some(at) = rest.windows(NEXT_FILE.len()).position(|w| w == NEXT_FILE) {
        source = source.with(&name, &rest[..at]);
        rest = &rest[at + NEXT_FILE.len()..];
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len());
        name = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    source.with(&name, rest)
}
