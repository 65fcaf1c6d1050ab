"""EDF, EDF+ and BDF against edfio and pyEDFlib; an EDF+D file against the record it was made of."""
import glob
import os

import edfio
import lunapi
import numpy as np
import pyedflib
import wfdb

from common import data, ours, same, verdict

# pyEDFlib refuses these: a start time or a date outside the standard, discontinuous files.
PYEDFLIB_REFUSES = {"contec_0000050.ECG.edf", "luna_mitdb100s_discontinuous.edf",
                    "mne_test_edf_stim_channel.edf", "mne_test.bdf", "mne_test_uneven_samp.edf"}


LUNA = "luna (samples and times)"
# Millivolts in one unit of a file.
MILLIVOLTS = {"uV": 1e-3, "µV": 1e-3, "V": 1e3, "nV": 1e-6}


def flat(row):
    return np.concatenate([part for _, part in row.runs]) if row.runs else np.zeros(0, np.int32)


def places(row):
    return np.concatenate([first + np.arange(len(part)) for first, part in row.runs])


def check_edfio(path):
    mine = ours(path)
    read = edfio.read_bdf if path.endswith(".bdf") else edfio.read_edf
    theirs = read(path)
    assert len(mine.rows) == len(theirs.signals), f"{len(mine.rows)} / {len(theirs.signals)} rows"
    for row, signal in zip(mine.rows, theirs.signals):
        same(flat(row), signal.digital.astype(np.int64), row.label)
        rate = row.rate[0] / row.rate[1]
        assert abs(rate - signal.sampling_frequency) < 1e-6 * rate, f"rate {rate}"
        if signal.physical_max != signal.physical_min:
            factor = MILLIVOLTS.get(signal.physical_dimension, 1.0)
            mid = float(flat(row)[0]) if len(flat(row)) else 0.0
            got = (mid - row.baseline) / row.gain / factor
            slope = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
            want = (mid - signal.digital_min) * slope + signal.physical_min
            assert abs(got - want) <= 1e-6 * max(1.0, abs(want)), f"{row.label}: {got} / {want}"
    theirs_marks = list(theirs.annotations)
    assert len(mine.marks) == len(theirs_marks), f"{len(mine.marks)} / {len(theirs_marks)} marks"
    rate = mine.rows[0].rate if mine.rows else [1000, 1]
    for got, want in zip(sorted(mine.marks, key=lambda m: (m[0], m[1])),
                         sorted(theirs_marks, key=lambda m: (round(m.onset * rate[0] / rate[1]), m.text))):
        assert got[1] == want.text, f"{got[1]!r} / {want.text!r}"
        words = dict(word.split("=", 1) for word in (got[5] or "").split())
        onset = got[0] * rate[1] / rate[0]
        assert abs(onset - want.onset) <= 0.5 * rate[1] / rate[0] + 1e-6, f"{got} / {want}"
        assert float(words.get("duration_s") or 0) == (want.duration or 0), f"{got} / {want}"
    return f"{len(mine.rows)} rows and {len(mine.marks)} marks equal"


def check_pyedflib(path):
    mine = ours(path)
    with pyedflib.EdfReader(path) as theirs:
        assert len(mine.rows) == theirs.signals_in_file
        for at, row in enumerate(mine.rows):
            same(flat(row), theirs.readSignal(at, digital=True), row.label)
            assert row.label == theirs.getLabel(at).strip(), row.label
    return f"{len(mine.rows)} rows equal"


def check_luna(path, mine=None):
    """Luna tells the time of every sample, also in a discontinuous file."""
    mine = mine or ours(path)
    units = [signal.physical_dimension for signal in edfio.read_edf(path).signals]
    theirs = lunapi.proj().inst("x")
    theirs.attach_edf(path)
    names = theirs.channels()
    names = list(names["Channels"]) if mine.rows else []
    assert len(names) == len(mine.rows), f"{len(mine.rows)} / {len(names)} rows"
    for row, name, unit in zip(mine.rows, names, units):
        seconds, values = np.asarray(theirs.data(chs=[name], time=True)[1]).T
        counts = np.round(values * MILLIVOLTS.get(unit, 1.0) * row.gain + row.baseline)
        same(flat(row), counts.astype(np.int64), row.label)
        same(places(row), np.round(seconds * row.rate[0] / row.rate[1]).astype(np.int64), f"{row.label}: times")
    return f"{len(mine.rows)} rows equal"


def check_discontinuous():
    """The records of the luna file lie at 10..20 s and 35..40 s of record 100s."""
    mine = ours(data("edf", "luna_mitdb100s_discontinuous.edf"))
    source = wfdb.rdrecord(data("wfdb", "formats", "100s"), physical=True)
    row = mine.rows[0]
    stretches = [(first / 360, len(part) / 360) for first, part in row.runs]
    assert stretches == [(10, 10), (35, 5)], stretches
    for at, row in enumerate(mine.rows):
        for first, part in row.runs:
            value = (part - row.baseline) / row.gain
            want = source.p_signal[first : first + len(part), at]
            worst = np.max(np.abs(value - want))
            assert worst <= 1.0 / row.gain + 1e-9, f"{row.label}: off by {worst} mV"
    return "times as stated, samples within one count"


def run():
    for path in sorted(glob.glob(data("edf", "*"))):
        name = os.path.basename(path)
        form = "BDF" if name.endswith(".bdf") else "EDF"
        verdict(form, "read", "edfio", name, lambda p=path: check_edfio(p))
        if name not in PYEDFLIB_REFUSES:
            verdict(form, "read", "pyEDFlib", name, lambda p=path: check_pyedflib(p))
        if form == "EDF":
            verdict(form, "read", LUNA, name, lambda p=path: check_luna(p))
    verdict("EDF+D", "read", "luna's file, wfdb-python", "times and samples", check_discontinuous)
