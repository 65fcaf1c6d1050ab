"""Every written file read back by programs that others wrote, samples equal."""
import binascii
import os
import shutil
import struct
import subprocess
import tempfile
import wave

import edfio
import numpy as np
import pydicom
import pyedflib
import soundfile
import wfdb

import edf_judge
from common import data, ours, same, verdict
from scp_judge import aecg_digits

CONVERT = os.environ.get("CARDIO_FORMATS_CONVERT", "convert")


def convert(path, form, folder, name="out"):
    done = subprocess.run([CONVERT, path, form, folder, name], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise AssertionError(done.stderr.strip())
    return [os.path.join(folder, line) for line in done.stdout.split()]


def source_rows(path):
    return ours(path).rows


def check_wfdb(path):
    with tempfile.TemporaryDirectory() as folder:
        files = convert(path, "wfdb", folder)
        stem = files[0][: -len(".hea")]
        theirs = wfdb.rdrecord(stem, physical=False, smooth_frames=False)
        mine = ours(path)
        for row, signal in zip(mine.rows, theirs.e_d_signal):
            want = np.full(len(signal), -32768, dtype=np.int64)
            want[: row.end()] = row.filled(-32768)
            same(want, np.asarray(signal, dtype=np.int64), row.label)
        assert theirs.sig_name == [row.label for row in mine.rows]
        if mine.marks:
            marks = wfdb.rdann(stem, "atr")
            assert [m[0] for m in mine.marks] == list(marks.sample), "marks"
            assert [m[1] for m in mine.marks] == list(marks.symbol), "mark codes"
        return f"{len(mine.rows)} rows equal"


def check_edf(path, judge):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "edf", folder)[0]
        mine = ours(path)
        if judge == "edfio":
            file = edfio.read_edf(out)
            theirs = [signal.digital for signal in file.signals]
            marks = [mark.text for mark in file.annotations]
        else:
            with pyedflib.EdfReader(out) as file:
                theirs = [file.readSignal(at, digital=True) for at in range(file.signals_in_file)]
                marks = list(file.readAnnotations()[2])
        for row, signal in zip(mine.rows, theirs):
            flat = np.concatenate([part for _, part in row.runs if len(part)])
            same(flat, np.asarray(signal, dtype=np.int64)[: len(flat)], row.label)
        kept = [mark for mark in marks if not mark.startswith("End of recording")]
        assert len(kept) == len(mine.marks), f"{len(kept)} / {len(mine.marks)} marks"
        return f"{len(mine.rows)} rows equal"


def check_wav(path, judge):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "wav", folder)[0]
        rows = source_rows(path)
        if judge == "soundfile":
            sound, _ = soundfile.read(out, dtype="int16", always_2d=True)
        elif judge == "sox":
            as_is = ["sox", "--no-dither", out, "--type", "raw", "--encoding", "signed", "--bits", "16", "-"]
            raw = subprocess.run(as_is, check=True, capture_output=True).stdout
            sound = np.frombuffer(raw, "<i2").reshape(-1, len(rows))
        else:
            with wave.open(out) as file:
                raw = file.readframes(file.getnframes())
                sound = np.frombuffer(raw, "<i2").reshape(-1, file.getnchannels())
        for at, row in enumerate(rows):
            same(row.filled(0), sound[:, at].astype(np.int64), row.label)
        return f"{len(rows)} channels equal"


def check_dicom(path):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "dicom", folder)[0]
        theirs = pydicom.dcmread(out)
        item = theirs.WaveformSequence[0]
        shape = (int(item.NumberOfWaveformSamples), int(item.NumberOfWaveformChannels))
        raw = np.frombuffer(item.WaveformData, "<i2").reshape(shape)
        physical = theirs.waveform_array(0)
        for at, row in enumerate(source_rows(path)):
            same(row.filled(-32768), raw[: row.end(), at].astype(np.int64), row.label)
            if row.end() == shape[0] and len(row.runs) == 1:
                value = (raw[:, at] - row.baseline) / row.gain * 1e3
                assert np.max(np.abs(value - physical[:, at])) < 1e-6, row.label
        return f"{theirs.SOPClassUID.name}: {shape[1]} channels equal"


def crc_ccitt(data):
    return binascii.crc_hqx(data, 0xFFFF)


def check_ishne(path):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "ishne", folder)[0]
        rows = source_rows(path)
        raw = np.fromfile(out, "<i2", offset=522).reshape(-1, len(rows))
        for at, row in enumerate(rows):
            same(row.filled(0), raw[:, at].astype(np.int64), row.label)
        import ishneholterlib

        holter = ishneholterlib.Holter(out, check_valid=False)  # its check needs numpy below 2
        head = open(out, "rb").read(522)
        assert int.from_bytes(head[8:10], "little") == crc_ccitt(head[10:]), "checksum"
        holter.load_data()
        for row, lead in zip(rows, holter.lead):
            same(row.filled(0), np.round(np.asarray(lead.data) * 1e6 / lead.res).astype(np.int64), row.label)
        return f"{len(rows)} leads equal, checksum accepted"


def check_aecg(path):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "aecg", folder)[0]
        truth = aecg_digits(out)
        for row in source_rows(path):
            same(row.filled(0), truth[row.label.upper()], row.label)
        return "12 leads equal"


def section(data, number):
    """The body of a section of an SCP-ECG record."""
    pointer = 22 + 10 * number
    length, index = struct.unpack("<II", data[pointer + 2 : pointer + 10])
    return data[index + 15 : index - 1 + length]


def check_scp(path, twin):
    """The coded samples are, bit by bit, what the ECG Toolkit made of the same leads."""
    with tempfile.TemporaryDirectory() as folder:
        out = open(convert(path, "scp", folder)[0], "rb").read()
        theirs = open(twin, "rb").read()
        assert binascii.crc_hqx(out[2:], 0xFFFF) == int.from_bytes(out[:2], "little"), "checksum"
        assert section(out, 2)[:2] == section(theirs, 2)[:2], "Huffman table"
        assert section(out, 3) == section(theirs, 3), "leads"
        assert section(out, 6) == section(theirs, 6), "samples"
        return "tables, leads and samples equal in every bit"


def check_dcmdump(path):
    """The words of the samples, as dcmtk prints them."""
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "dicom", folder)[0]
        told = subprocess.run(["dcmdump", "+L", "+P", "5400,1010", out], check=True, capture_output=True, text=True)
        words = told.stdout.split("OW ", 1)[1].split(" ", 1)[0].split("\\")
        raw = np.array([int(word, 16) for word in words], dtype=np.uint16).view(np.int16)
        rows = source_rows(path)
        table = raw[: len(raw) // len(rows) * len(rows)].reshape(-1, len(rows))
        for at, row in enumerate(rows):
            same(row.filled(-32768), table[: row.end(), at].astype(np.int64), row.label)
        return f"{len(rows)} channels equal"


def check_biosig(path, form):
    """libbiosig gives microvolts."""
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, form, folder)[0]
        subprocess.run(["save2gdf", "-f=ASCII", out, os.path.join(folder, "b.asc")], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for at, row in enumerate(source_rows(path), 1):
            microvolts = np.loadtxt(os.path.join(folder, f"b.a{at:02d}"))
            same(row.filled(0), np.round(microvolts * row.gain / 1e3).astype(np.int64), row.label)
        return "all leads equal"


def check_dciodvfy(path):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "dicom", folder)[0]
        told = subprocess.run(["dciodvfy", out], check=False, capture_output=True, text=True)
        errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
        assert not errors, errors
        return told.stderr.split()[-1]


def check_csv(path):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "csv", folder)[0]
        rows = source_rows(path)
        lines = [line for line in open(out, encoding="utf-8") if not line.startswith("#")]
        assert lines[0].strip().split(",") == ["sample"] + [row.label for row in rows]
        table = np.genfromtxt(lines[1:], delimiter=",", ndmin=2)
        at = table[:, 0].astype(int)
        for column, row in enumerate(rows, 1):
            want = row.filled(10**9).astype(float)[at]
            want[want == 10**9] = np.nan
            assert np.array_equal(table[:, column], want, equal_nan=True), row.label
        return f"{len(rows)} columns equal"


def check_pandas(path):
    import pandas

    with tempfile.TemporaryDirectory() as folder:
        table = pandas.read_csv(convert(path, "csv", folder)[0], comment="#").set_index("sample")
        for row in source_rows(path):
            column = table[row.label].dropna()
            places = np.concatenate([first + np.arange(len(part)) for first, part in row.runs if len(part)])
            same(places, column.index.to_numpy(), row.label)
            same(row.filled(0)[places], column.to_numpy().astype(np.int64), row.label)
        return "all columns equal"


def check_luna(path):
    with tempfile.TemporaryDirectory() as folder:
        return edf_judge.check_luna(convert(path, "edf", folder)[0], ours(path))


def run():
    hundred = data("wfdb", "formats", "100s.hea")
    twelve = data("wfdb", "cinc2021", "HR06000.hea")
    example = data("scp", "Example.scp")
    gappy = data("edf", "luna_mitdb100s_discontinuous.edf")
    holter = data("ishne", "ECG_P28.01.ecg")
    for path in (hundred, twelve, example, gappy, data("wfdb", "formats", "multi-segment", "041s", "041s.hea")):
        verdict("WFDB", "write", "wfdb-python", os.path.basename(path), lambda p=path: check_wfdb(p))
    for path in (hundred, twelve, holter):
        for judge in ("edfio", "pyEDFlib"):
            verdict("EDF+C", "write", judge, os.path.basename(path), lambda p=path, j=judge: check_edf(p, j))
        verdict("EDF+C", "write", edf_judge.LUNA, os.path.basename(path), lambda p=path: check_luna(p))
    multi = data("wfdb", "formats", "multi.hea")
    verdict("EDF+D", "write", "edfio (samples)", "multi.hea", lambda: check_edf(multi, "edfio"))
    verdict("EDF+D", "write", edf_judge.LUNA, "multi.hea", lambda: check_luna(multi))
    for path in (data("pcg", "cinc2016", "a0022.wav"), twelve):
        for judge in ("soundfile", "sox", "wave of the standard library"):
            verdict("WAV", "write", judge, os.path.basename(path), lambda p=path, j=judge: check_wav(p, j))
    for path in (example, holter):
        verdict("DICOM", "write", "pydicom", os.path.basename(path), lambda p=path: check_dicom(p))
    for path in (holter, twelve):
        verdict("ISHNE", "write", "ishneholterlib, numpy", os.path.basename(path), lambda p=path: check_ishne(p))
    toolkit = data("scp", "ecgtk", "Example_huff_default_d2.scp")
    verdict("SCP-ECG", "write", "ECG Toolkit's file of the same leads", "Example.scp",
            lambda: check_scp(example, toolkit))
    plain = data("scp", "ecgtk", "HR06000_plain_d2.scp")
    if shutil.which("save2gdf"):
        for path in (example, plain):
            verdict("SCP-ECG", "write", "libbiosig", os.path.basename(path), lambda p=path: check_biosig(p, "scp"))
        verdict("aECG", "write", "libbiosig", "Example.scp", lambda: check_biosig(example, "aecg"))
    if shutil.which("dcmdump"):
        for path in (example, holter):
            verdict("DICOM", "write", "dcmdump", os.path.basename(path), lambda p=path: check_dcmdump(p))
    if shutil.which("dciodvfy"):
        for path in (example, holter):
            verdict("DICOM", "write", "dciodvfy", os.path.basename(path), lambda p=path: check_dciodvfy(p))
    verdict("aECG", "write", "standard library", "Example.scp", lambda: check_aecg(example))
    for path in (twelve, gappy):
        verdict("CSV", "write", "numpy", os.path.basename(path), lambda p=path: check_csv(p))
        verdict("CSV", "write", "pandas", os.path.basename(path), lambda p=path: check_pandas(p))
