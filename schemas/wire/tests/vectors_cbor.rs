//! The examples of RFC 8949, appendix A: what is deterministic is read and written alike, the
//! rest is refused. Further rows are of section 4.2.1, with what it forbids.

#![allow(
    clippy::unwrap_used,
    reason = "a test program: what is unexpected must stop it"
)]

use cardio_wire::cbor;

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_deterministic_examples_are_read_and_written_alike() {
    let examples = [
        // Integers, up to the ends of 64 bits.
        "00",
        "01",
        "0a",
        "17",
        "1818",
        "1819",
        "1864",
        "1903e8",
        "1a000f4240",
        "1b000000e8d4a51000",
        "1bffffffffffffffff",
        "3bffffffffffffffff",
        "20",
        "29",
        "3863",
        "3903e7",
        // Floats in their shortest form.
        "f93e00",
        "f97bff",
        "fa47c35000",
        "fa7f7fffff",
        "fb7e37e43c8800759c",
        "f90001",
        "f90400",
        "f9c400",
        "fbc010666666666666",
        "fb3ff199999999999a",
        "f97c00",
        "f9fc00",
        // Simple values.
        "f4",
        "f5",
        "f6",
        // Strings.
        "40",
        "4401020304",
        "60",
        "6161",
        "6449455446",
        "62225c",
        "62c3bc",
        "63e6b0b4",
        "64f0908591",
        // Arrays and maps.
        "80",
        "83010203",
        "8301820203820405",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        "a0",
        "a201020304",
        "a26161016162820203",
        "826161a161626163",
        "a56161614161626142616361436164614461656145",
    ];
    for example in examples {
        let bytes = hex(example);
        let value = cbor::decode(&bytes).unwrap();
        assert_eq!(cbor::encode(&value), bytes, "{example}");
    }
}

#[test]
fn what_has_a_shorter_or_another_form_is_refused() {
    let examples = [
        // Appendix A: indefinite lengths.
        "5f42010243030405ff",
        "7f657374726561646d696e67ff",
        "9fff",
        "9f018202039f0405ffff",
        "9f01820203820405ff",
        "83018202039f0405ff",
        "83019f0203ff820405",
        "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
        "bf61610161629f0203ffff",
        "826161bf61626163ff",
        "bf6346756ef563416d7421ff",
        // Appendix A: floats that have a shorter form.
        "fa7f800000",
        "fa7fc00000",
        "faff800000",
        "fb7ff0000000000000",
        "fb7ff8000000000000",
        "fbfff0000000000000",
        // 4.2.1: integers and lengths in a longer form.
        "1800",
        "1817",
        "190000",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "3800",
        "3917ff00",
        "5800",
        "580100",
        "590001aa",
        "7801",
        "780161",
        "9800",
        "980101",
        "b800",
        "b9000101a0",
        // 4.2.1: maps out of order, and with a key twice.
        "a203040102",
        "a2616201616101",
        "a201020103",
        "a2616101616102",
        "a21818000100",
    ];
    for example in examples {
        assert!(cbor::decode(&hex(example)).is_err(), "{example}");
    }
}

/// Appendix F: each is not well-formed.
#[test]
fn what_is_not_well_formed_is_refused() {
    let examples = [
        // The end inside an item.
        "",
        "18",
        "19",
        "1a",
        "1b",
        "1901",
        "1a0102",
        "1b01020304050607",
        "38",
        "58",
        "78",
        "98",
        "9a01ff00",
        "b8",
        "d8",
        "f8",
        "f900",
        "fa0000",
        "fb000000",
        "41",
        "61",
        "5affffffff00",
        "5bffffffffffffffff010203",
        "7affffffff00",
        "7b7fffffffffffffff010203",
        "81",
        "818181818181818181",
        "8200",
        "a1",
        "a20102",
        "a100",
        "a2000000",
        "c0",
        // Reserved additional information.
        "1c",
        "1d",
        "1e",
        "3c",
        "5c",
        "7c",
        "9c",
        "bc",
        "dc",
        "fc",
        "fd",
        "fe",
        // Reserved two-byte simple values.
        "f800",
        "f801",
        "f818",
        "f81f",
        // Breaks where none can be.
        "ff",
        "81ff",
        "8200ff",
        "a1ff",
        "a1ff00",
        "a100ff",
        "9f81ff",
        "bf00ff",
        "1f",
        "3f",
        "df",
        // Text that is not UTF-8, and a second item.
        "61ff",
        "62c328",
        "0000",
        "a000",
    ];
    for example in examples {
        assert!(cbor::decode(&hex(example)).is_err(), "{example:?}");
    }
}

/// Tags and values that no record or message uses have no place in one.
#[test]
fn tags_and_undefined_are_refused() {
    let examples = [
        "c249010000000000000000",
        "c11a514b67b0",
        "d74401020304",
        "d818456449455446",
        "f7",
        "f0",
        "f8ff",
    ];
    for example in examples {
        assert!(cbor::decode(&hex(example)).is_err(), "{example}");
    }
}

/// A claim of 2^63 items or bytes takes neither memory nor time.
#[test]
fn a_claim_without_content_is_refused_at_once() {
    for start in ["9b", "bb", "5b", "7b"] {
        for claim in ["7fffffffffffffff", "00000000ffffffff", "0000000080000000"] {
            assert!(cbor::decode(&hex(&format!("{start}{claim}"))).is_err());
        }
    }
    for nested in ["81", "a1", "a100", "d8"] {
        let deep = hex(&nested.repeat(100_000));
        assert!(
            cbor::decode(&deep).is_err(),
            "{nested} a hundred thousand times"
        );
    }
}
