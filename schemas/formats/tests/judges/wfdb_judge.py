"""WFDB records and annotations against wfdb-python."""
import glob
import os

import numpy as np
import wfdb

from common import Refused, data, ours, same, verdict

# What stands for "absent" in each storage format.
MISSING = {"80": -128, "212": -2048, "310": -512, "311": -512, "24": -(2**23), "32": -(2**31),
           "508": -128, "524": -(2**23)}
# Named by a header that is here, absent themselves.
ABSENT = {"12726", "1003", "p000878-2137-10-26-16-57"}


def alone(stem, header, at):
    if header.fmt[at] not in ("61",):
        return wfdb.rdrecord(stem, physical=False, smooth_frames=False, channels=[at]).e_d_signal[0]
    record = wfdb.rdrecord(stem, channels=[at])
    return np.round(np.nan_to_num(record.p_signal[:, 0] * header.adc_gain[at] + header.baseline[at],
                                  nan=-32768)).astype(np.int64)


def check_record(stem):
    mine = ours(stem + ".hea")
    theirs = wfdb.rdheader(stem)
    if len(set(theirs.fmt)) == 1:
        theirs = wfdb.rdrecord(stem, physical=False, smooth_frames=False)
    else:  # one call for mixed formats, or a big-endian one, makes wfdb-python stumble
        theirs.e_d_signal = [alone(stem, theirs, at) for at in range(theirs.n_sig)]
    formats = theirs.fmt
    signals = theirs.e_d_signal
    assert len(mine.rows) == len(signals), f"{len(mine.rows)} rows here, {len(signals)} there"
    for at, (row, signal) in enumerate(zip(mine.rows, signals)):
        missing = MISSING.get(formats[at], -32768)
        same(row.filled(missing), np.asarray(signal, dtype=np.int64), f"row {at}")
        assert row.label == (theirs.sig_name[at] or "").strip() or not theirs.sig_name[at]
        gain = theirs.adc_gain[at]
        if theirs.units[at] == "mV" and gain:
            assert row.unit == "mV" and row.gain == gain, f"gain {row.gain} {row.unit}"
        assert row.baseline == theirs.baseline[at], f"baseline {row.baseline}"
    zero = theirs.checksum[0] == 0 and "pcg" in stem  # these headers state a sum of 0
    expected = 1 if zero else 0
    assert len(mine.warnings) == expected, mine.warnings
    return f"{len(signals)} rows equal"


def check_segments(stem):
    mine = ours(stem + ".hea")
    record = wfdb.rdrecord(stem, physical=False, smooth_frames=False, m2s=False)
    done = {}
    for segment in record.segments:
        for at, signal in enumerate(segment.e_d_signal):
            done.setdefault(at, []).append(np.asarray(signal, dtype=np.int64))
    for at, parts in done.items():
        whole = mine.rows[at].filled(-2048)
        same(whole, np.concatenate(parts), f"row {at}")
    return f"{len(done)} rows equal"


def check_gap():
    """`multi` is record 100s twice, with a null segment of 1800 samples between."""
    mine = ours(data("wfdb", "formats", "multi.hea"))
    once = wfdb.rdrecord(data("wfdb", "formats", "100s"), physical=False).d_signal.astype(np.int64)
    gap = np.full(1800, -2048, dtype=np.int64)
    for row, signal in zip(mine.rows, once.T):
        same(row.filled(-2048), np.concatenate([signal, gap, signal]), row.label)
        assert [first for first, part in row.runs if len(part)] == [0, 21600 + 1800]
    return f"{len(mine.rows)} rows equal, the gap at its place"


def check_absent(stem):
    """A file that a header names and that is not there is an error that says which."""
    try:
        ours(stem + ".hea")
    except Refused as refusal:
        assert refusal.code == "format.open", refusal
        return f"refused: {refusal}"
    raise AssertionError("was read")


def check_marks(stem, extension):
    mine = ours(stem + ".hea")
    theirs = wfdb.rdann(stem, extension)
    assert len(mine.marks) == len(theirs.sample), f"{len(mine.marks)} / {len(theirs.sample)}"
    per_frame = mine.rows[0].rate[0] / mine.rows[0].rate[1] / wfdb.rdheader(stem).fs
    for at, (sample, code, subtype, channel, number, text) in enumerate(mine.marks):
        want = (theirs.sample[at] * per_frame, theirs.symbol[at], theirs.subtype[at], theirs.chan[at],
                theirs.num[at], theirs.aux_note[at].rstrip("\0"))
        got = (sample, code, subtype, channel, number, text or "")
        assert got == want, f"mark {at}: {got} here, {want} there"
    return f"{len(mine.marks)} marks equal"


def run():
    headers = sorted(glob.glob(data("wfdb", "**", "*.hea"), recursive=True))
    headers += sorted(glob.glob(data("pcg", "**", "a*.hea"), recursive=True))
    verdict("WFDB segments", "read", "wfdb-python", "multi", check_gap)
    for path in headers:
        stem = path[: -len(".hea")]
        name = os.path.basename(stem)
        if name in ABSENT:
            verdict("WFDB, a file absent", "read", "none", name, lambda s=stem: check_absent(s))
        if name in ABSENT or name in ("null", "3269321_layout", "multi"):
            continue
        check = check_segments if name == "041s" else check_record
        verdict("WFDB", "read", "wfdb-python", name, lambda c=check, s=stem: c(s))
        if os.path.exists(stem + ".atr"):
            verdict("WFDB annotations", "read", "wfdb-python", name, lambda s=stem: check_marks(s, "atr"))
