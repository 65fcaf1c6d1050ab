use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use proptest::prelude::*;

use super::{
    BODY_MAX, CaptureEntry, CaptureError, CaptureEvent, CaptureHead, CaptureItem, CaptureReader,
    MAGIC,
};
use crate::gatt::{GattAction, Uuid};
use crate::smp_records::crc32;

fn head() -> CaptureHead {
    CaptureHead {
        began: ClockReading {
            box_instant: BoxInstant {
                boot: BootId([7; 16]),
                micros: 1_000_000,
            },
            utc: UtcMicros(1_790_000_000_000_000),
            quality: ClockQuality::Unsynchronised,
        },
        profile: "openbci-cyton".to_owned(),
        writer: "test 1".to_owned(),
        leads: vec!["I".to_owned(), "-".to_owned()],
        silent_after_ms: 3000,
        resume_within_ms: 600_000,
        rate_hz: Some(500),
    }
}

fn log(entries: &[CaptureEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    head().encode(&mut bytes).unwrap();
    for entry in entries {
        entry.encode(&mut bytes).unwrap();
    }
    bytes
}

/// What a log gives, pushed in pieces of `piece` bytes, and how it ends.
fn read(bytes: &[u8], piece: usize) -> (Vec<CaptureItem>, Result<(), CaptureError>) {
    let (mut reader, mut items) = (CaptureReader::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
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

fn heard(at_us: u64, bytes: &[u8]) -> CaptureEntry {
    CaptureEntry {
        at_us,
        event: CaptureEvent::Heard(bytes.to_vec()),
    }
}

#[test]
fn an_entry_is_these_bytes() {
    let mut bytes = Vec::new();
    heard(258, &[0xA0, 0xC0]).encode(&mut bytes).unwrap();
    // length 11; CRC-32 over length and body, made with another program; kind 3; 258 us; bytes
    assert_eq!(bytes[..2], [11, 0]);
    assert_eq!(bytes[6..], [3, 2, 1, 0, 0, 0, 0, 0, 0, 0xA0, 0xC0]);
    assert_eq!(
        u32::from_le_bytes(*bytes[2..].first_chunk().unwrap()),
        0x57B2_2507
    );
}

#[test]
fn a_cut_log_gives_everything_before_the_cut_and_says_where_it_is() {
    let whole = log(&[heard(1, b"abc"), heard(2, b"def")]);
    let one_less = log(&[heard(1, b"abc")]);
    for cut in one_less.len() + 1..whole.len() {
        let (items, end) = read(&whole[..cut], 7);
        assert_eq!(items.len(), 2, "cut at {cut}");
        let offset = u64::try_from(one_less.len()).unwrap();
        assert_eq!(end, Err(CaptureError::Cut { offset }), "cut at {cut}");
    }
    assert_eq!(read(&whole, 7).1, Ok(()));
}

#[test]
fn what_is_no_log_or_a_later_one_is_told_apart_from_a_cut_one() {
    assert_eq!(
        read(b"%PDF-1.7 and more", 3).1,
        Err(CaptureError::NotACapture)
    );
    assert_eq!(read(b"", 3).1, Err(CaptureError::NotACapture));
    let mut later = log(&[]);
    later[7] = 3;
    assert_eq!(read(&later, 100).1, Err(CaptureError::Version { found: 3 }));
    let cut = CaptureError::Cut { offset: 8 };
    assert_eq!(read(&log(&[])[..12], 100).1, Err(cut));
    assert_eq!(read(&MAGIC, 100).1, Err(cut));
}

#[test]
fn a_log_of_the_first_version_is_read_and_asks_for_no_rate() {
    let written = log(&[heard(1, b"abc")]);
    let mut first = MAGIC[..7].to_vec();
    first.push(1);
    // the head without its last four bytes, which are the rate
    let head_len = usize::from(u16::from_le_bytes([written[8], written[9]]));
    let body = &written[14..14 + head_len - 4];
    let len = u16::try_from(body.len()).unwrap().to_le_bytes();
    first.extend(len);
    first.extend(crc32(&[&len, body].concat()).to_le_bytes());
    first.extend(body);
    first.extend(&written[14 + head_len..]);
    let (items, end) = read(&first, 5);
    assert_eq!(end, Ok(()));
    let head = CaptureHead {
        rate_hz: None,
        ..head()
    };
    let entry = CaptureItem::Entry(heard(1, b"abc"));
    assert_eq!(items, [CaptureItem::Head(head), entry]);
}

#[test]
fn what_a_session_was_told_of_the_time_is_kept_to_the_microsecond() {
    let told = ClockReading {
        box_instant: BoxInstant {
            boot: BootId([7; 16]),
            micros: 1_250_007,
        },
        utc: UtcMicros(1_790_000_000_250_009),
        quality: ClockQuality::Synchronised { error_us: 1_500 },
    };
    let entry = CaptureEntry {
        at_us: 1_250_007,
        event: CaptureEvent::Clock(told),
    };
    let (items, end) = read(&log(std::slice::from_ref(&entry)), 9);
    assert_eq!(
        (items.last(), end),
        (Some(&CaptureItem::Entry(entry)), Ok(()))
    );
}

#[test]
fn a_second_head_and_an_entry_before_the_head_have_no_place() {
    let mut bytes = log(&[]);
    let offset = u64::try_from(bytes.len()).unwrap();
    bytes.extend_from_slice(&log(&[])[MAGIC.len()..]);
    let field = "place";
    let misplaced = |offset| Err(CaptureError::Malformed { offset, field });
    assert_eq!(read(&bytes, 100).1, misplaced(offset));
    let mut bytes = MAGIC.to_vec();
    heard(1, b"a").encode(&mut bytes).unwrap();
    assert_eq!(read(&bytes, 100).1, misplaced(8));
}

#[test]
fn more_than_an_item_holds_is_refused_and_leaves_the_log_as_it_was() {
    let mut bytes = log(&[]);
    let before = bytes.clone();
    let err = heard(1, &vec![0; BODY_MAX]).encode(&mut bytes).unwrap_err();
    assert_eq!(err.code(), "capture.too_long");
    let long = CaptureHead {
        profile: "p".repeat(256),
        ..head()
    };
    assert!(long.encode(&mut bytes).is_err());
    assert_eq!(bytes, before);
}

fn texts() -> impl Strategy<Value = String> {
    "[ -~é]{0,60}"
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid)
}

fn events() -> impl Strategy<Value = CaptureEvent> {
    let write = (uuids(), values(), any::<bool>()).prop_map(|(to, value, with_response)| {
        CaptureEvent::Asked(GattAction::Write {
            to,
            value,
            with_response,
        })
    });
    prop_oneof![
        texts().prop_map(|via| CaptureEvent::Connected { via }),
        texts().prop_map(|code| CaptureEvent::Closed { code }),
        values().prop_map(CaptureEvent::Heard),
        values().prop_map(CaptureEvent::Said),
        (uuids(), values()).prop_map(|(from, value)| CaptureEvent::Value { from, value }),
        (uuids(), values()).prop_map(|(from, value)| CaptureEvent::Answer { from, value }),
        uuids().prop_map(|to| CaptureEvent::Asked(GattAction::Subscribe(to))),
        uuids().prop_map(|to| CaptureEvent::Asked(GattAction::Read(to))),
        write,
        any::<u64>().prop_map(|values| CaptureEvent::Crowded { values }),
        Just(CaptureEvent::Ended),
    ]
}

fn entries() -> impl Strategy<Value = Vec<CaptureEntry>> {
    let entry = (any::<u64>(), events()).prop_map(|(at_us, event)| CaptureEntry { at_us, event });
    prop::collection::vec(entry, 0..6)
}

fn heads() -> impl Strategy<Value = CaptureHead> {
    let quality = prop_oneof![
        Just(ClockQuality::Unsynchronised),
        (0..u64::MAX).prop_map(|error_us| ClockQuality::Synchronised { error_us }),
    ];
    let leads = prop::collection::vec(texts(), 0..13);
    let times = (any::<[u8; 16]>(), any::<u64>(), any::<i64>(), quality);
    let rate_hz = prop::option::of(1_u32..);
    let rest = (texts(), texts(), leads, any::<u32>(), any::<u32>(), rate_hz);
    (times, rest).prop_map(|((boot, micros, utc, quality), rest)| {
        let (profile, writer, leads, silent_after_ms, resume_within_ms, rate_hz) = rest;
        let boot = BootId(boot);
        CaptureHead {
            began: ClockReading {
                box_instant: BoxInstant { boot, micros },
                utc: UtcMicros(utc),
                quality,
            },
            profile,
            writer,
            leads,
            silent_after_ms,
            resume_within_ms,
            rate_hz,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_split(
        head in heads(),
        entries in entries(),
        piece in 1_usize..700,
    ) {
        let mut bytes = Vec::new();
        head.encode(&mut bytes).unwrap();
        for entry in &entries {
            entry.encode(&mut bytes).unwrap();
        }
        let (items, end) = read(&bytes, piece);
        let mut wanted = vec![CaptureItem::Head(head)];
        wanted.extend(entries.into_iter().map(CaptureItem::Entry));
        prop_assert_eq!(items, wanted);
        prop_assert_eq!(end, Ok(()));
    }

    #[test]
    fn a_damaged_byte_costs_nothing_that_was_before_it(
        entries in entries(),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let whole = log(&entries);
        let place = place.index(whole.len());
        let mut damaged = whole.clone();
        damaged[place] ^= change;
        let (good, _) = read(&whole, 100);
        let (items, end) = read(&damaged, 100);
        prop_assert!(end.is_err());
        prop_assert!(items.len() < good.len());
        prop_assert_eq!(&items[..], &good[..items.len()]);
    }

    #[test]
    fn any_bytes_are_read_to_an_end_and_the_same_however_they_are_split(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        with_magic in any::<bool>(),
        piece in 1_usize..40,
    ) {
        let bytes = if with_magic { [&MAGIC[..], &bytes].concat() } else { bytes };
        prop_assert_eq!(read(&bytes, piece), read(&bytes, bytes.len().max(1)));
    }
}
