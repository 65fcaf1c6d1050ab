//! A recording as the sensor writes it: descriptors, then chunks of `/Meas/ECG` and of its
//! clock. For the simulated sensor; `cardio-formats` reads what real ones write.

use super::BODY_SAMPLES;

const ID_ECG: u16 = 100;
const ID_CLOCK: u16 = 101;

/// What every recording begins with.
pub(super) fn head() -> Vec<u8> {
    let samples = vec!["2"; BODY_SAMPLES].join(",");
    let mut out = b"SBEM0112".to_vec();
    for (id, text) in [
        (
            1,
            "<PTH>Samples+Array.MeasECG.Timestamp\n<FRM>uint32".to_owned(),
        ),
        (
            2,
            "<PTH>Samples+Array.MeasECG.Samples+\n<FRM>int32\n<MOD>x*0.000381469726563".to_owned(),
        ),
        (3, "<PTH>[".to_owned()),
        (4, "<PTH>]".to_owned()),
        (
            5,
            "<PTH>Samples.TimeDetailed.relativeTime\n<FRM>uint32".to_owned(),
        ),
        (
            6,
            "<PTH>Samples.TimeDetailed.utcTime\n<FRM>utc64".to_owned(),
        ),
        (ID_ECG, format!("<GRP>1,3,{samples},4")),
        (ID_CLOCK, "<GRP>5,6".to_owned()),
    ] {
        let described = [&id.to_le_bytes()[..], text.as_bytes(), &[0]].concat();
        chunk(0, &described, &mut out);
    }
    out
}

/// Adds a body of the live ECG.
pub(super) fn ecg(body: &[u8], out: &mut Vec<u8>) {
    chunk(ID_ECG, body, out);
}

/// Adds what the sensor's milliseconds are in microseconds of UTC.
pub(super) fn clock(millis: u32, utc_us: u64, out: &mut Vec<u8>) {
    let body = [&millis.to_le_bytes()[..], &utc_us.to_le_bytes()].concat();
    chunk(ID_CLOCK, &body, out);
}

fn chunk(id: u16, bytes: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(id) {
        Ok(short) if short < 0xFF => out.push(short),
        _ => {
            out.push(0xFF);
            out.extend(id.to_le_bytes());
        }
    }
    match u8::try_from(bytes.len()) {
        Ok(short) if short < 0xFF => out.push(short),
        _ => {
            out.push(0xFF);
            out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}
