use std::sync::Arc;

use proptest::prelude::*;

use crate::ReadOptions;
use crate::read::read;
use crate::source::MemorySource;
use crate::{FormatError, FormatId};
use cardio_core::recording::Recording;

fn chunk(id: u16, bytes: &[u8]) -> Vec<u8> {
    let mut out = match u8::try_from(id) {
        Ok(short) if short < 0xFF => vec![short],
        _ => [&[0xFF][..], &id.to_le_bytes()].concat(),
    };
    match u8::try_from(bytes.len()) {
        Ok(short) if short < 0xFF => out.push(short),
        _ => {
            out.push(0xFF);
            out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        }
    }
    out.extend(bytes);
    out
}

fn descriptor(id: u16, text: &str) -> Vec<u8> {
    chunk(0, &[&id.to_le_bytes()[..], text.as_bytes()].concat())
}

/// A recording's head: ECG of three samples under 300, times under 62.
fn head() -> Vec<u8> {
    let mut bytes = b"SBEM0112".to_vec();
    bytes.extend(descriptor(
        13,
        "<PTH>Samples+Array.MeasECGmV.Timestamp\n<FRM>uint32\0",
    ));
    bytes.extend(descriptor(
        14,
        "<PTH>Samples.Array.MeasECGmV.Samples+\n<FRM>int16\n<MOD>x*0.001,roundf(y)",
    ));
    bytes.extend(descriptor(54, "<PTH>["));
    bytes.extend(descriptor(55, "<PTH>]"));
    bytes.extend(descriptor(300, "<GRP>13,54,14,14,14,14,55"));
    bytes.extend(descriptor(
        60,
        "<PTH>Samples.TimeDetailed.relativeTime\n<FRM>uint32",
    ));
    bytes.extend(descriptor(
        61,
        "<PTH>Samples.TimeDetailed.utcTime\n<FRM>utc64",
    ));
    bytes.extend(descriptor(62, "<GRP>60,61"));
    bytes
}

fn ecg(millis: u32, counts: [i16; 4]) -> Vec<u8> {
    let counts = counts.iter().flat_map(|count| count.to_le_bytes());
    let bytes: Vec<u8> = millis.to_le_bytes().into_iter().chain(counts).collect();
    chunk(300, &bytes)
}

fn clock(millis: u32, utc_us: u64) -> Vec<u8> {
    chunk(
        62,
        &[&millis.to_le_bytes()[..], &utc_us.to_le_bytes()].concat(),
    )
}

fn attempt(bytes: &[u8], strict: bool) -> Result<Recording, FormatError> {
    let source = MemorySource::new().with("a.bin", bytes.to_vec());
    let options = ReadOptions {
        strict,
        ..ReadOptions::default()
    };
    read(Arc::new(source), "a.bin", options)
}

#[test]
fn an_ecg_is_read_by_its_descriptors_and_dated_by_the_sensors_clock() {
    let bytes = [
        head(),
        ecg(1000, [1, -1, 2, -32768]),
        clock(500, 1_000_000),
        ecg(1016, [3, 4, 5, 6]),
    ]
    .concat();
    let recording = attempt(&bytes, true).unwrap();
    assert_eq!(recording.format, FormatId::Sbem.name());
    assert_eq!(recording.start.unwrap().local, "1970-01-01T00:00:01.500000");
    let row = &recording.waveforms[0];
    assert_eq!(row.rate.as_ratio(), (250, 1));
    assert_eq!(row.calibration.gain_adu_per_mv(), Some(1000.0));
    let counts = row.contiguous().unwrap().to_vec();
    assert_eq!(counts, [1, -1, 2, -32768, 3, 4, 5, 6]);
}

#[test]
fn a_stretch_that_is_missing_is_a_gap_and_one_that_comes_again_is_left_out() {
    let bytes = [
        head(),
        ecg(0, [1; 4]),
        ecg(16, [2; 4]),
        ecg(16, [2; 4]),
        ecg(48, [3; 4]),
        ecg(64, [4; 4]),
    ]
    .concat();
    let recording = attempt(&bytes, false).unwrap();
    let gaps = recording.waveforms[0].gaps();
    assert_eq!((gaps.len(), gaps[0].from.0, gaps[0].len.0), (1, 8, 4));
    assert_eq!(recording.warnings.len(), 1);
    assert_eq!(attempt(&bytes, true).unwrap_err().code(), "format.strict");
}

#[test]
fn what_no_descriptor_explains_and_a_cut_are_told() {
    let whole = [head(), ecg(0, [1; 4]), ecg(16, [2; 4])].concat();
    let more = [&whole[..], &chunk(99, &[1, 2]), &chunk(62, &[1, 2, 3])].concat();
    assert!(attempt(&more, false).unwrap().warnings[0].contains("2 chunk(s)"));
    let cut = attempt(&[&whole[..], &[62, 12, 5]].concat(), false).unwrap();
    assert!(
        cut.warnings[0].contains("ends inside"),
        "{:?}",
        cut.warnings
    );
    assert_eq!(cut.waveforms[0].sample_count().0, 8);
}

#[test]
fn a_recording_without_ecg_or_of_one_stretch_is_refused() {
    for bytes in [head(), [head(), ecg(0, [1; 4])].concat()] {
        assert_eq!(attempt(&bytes, false).unwrap_err().code(), "format.invalid");
    }
}

#[test]
fn groups_that_hold_themselves_end() {
    let mut bytes = head();
    bytes.extend(descriptor(7, "<GRP>7,7,7,7,7,7,7,7"));
    bytes.extend(chunk(7, &[0]));
    assert!(attempt(&bytes, false).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_recording_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..500, flip: u8) {
        bytes.splice(0..0, *b"SBEM0112");
        let _ = attempt(&bytes, false);
        let mut damaged = [head(), ecg(0, [1; 4]), ecg(16, [2; 4]), clock(0, 1)].concat();
        let at = at % damaged.len();
        damaged[at] ^= flip;
        let _ = attempt(&damaged, false);
    }
}
