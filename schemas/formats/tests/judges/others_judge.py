"""ISHNE, DICOM, aECG, MUSE and Philips against ishneholterlib, pydicom, the standard
library and sierraecg."""
import base64
import binascii
import glob
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pydicom
import sierraecg
import soundfile

from common import Refused, data, ours, same, verdict
from scp_judge import aecg_digits


def check_ishne():
    path = data("ishne", "ECG_P28.01.ecg")
    mine = ours(path)
    head = open(path, "rb").read(522)
    assert int.from_bytes(head[8:10], "little") == binascii.crc_hqx(head[10:], 0xFFFF)
    raw = np.fromfile(path, "<i2", offset=522).reshape(-1, 12).T
    import ishneholterlib

    holter = ishneholterlib.Holter(path, check_valid=False)  # its check needs numpy below 2
    holter.load_data()
    theirs = [np.round(np.asarray(lead.data) * 1e6 / lead.res) for lead in holter.lead]
    for row, lead, plain in zip(mine.rows, theirs, raw):
        same(row.filled(0), plain.astype(np.int64), row.label)
        same(row.filled(0), np.asarray(lead, dtype=np.int64), row.label)
    assert not mine.warnings, mine.warnings
    beats = np.fromfile(path[:-4] + ".ann", np.dtype([("c", "S1"), ("i", "S1"), ("t", "<u2")]), offset=526)
    assert [mark[0] for mark in mine.marks] == list(np.cumsum(beats["t"].astype(int)))
    assert [mark[1] for mark in mine.marks] == [c.decode() for c in beats["c"]]
    return f"12 leads, {len(beats)} marks equal"


def changed_dicom(path, out):
    """The same file in implicit VR with what it lacks: millivolts, a baseline, a correction, skew,
    and a second group of 32 bits that begins a tenth of a second later."""
    file = pydicom.dcmread(path)
    for item in file.WaveformSequence:
        for at, channel in enumerate(item.ChannelDefinitionSequence):
            channel.ChannelSensitivityUnitsSequence[0].CodeValue = ("uV", "mV")[at % 2]
            channel.ChannelBaseline = str(at / 8)
            channel.ChannelSensitivityCorrectionFactor = "1.25"
            channel.ChannelSampleSkew = str(at)
    late = file.WaveformSequence[1]
    late.WaveformData = (np.frombuffer(late.WaveformData, "<i2").astype("<i4") * 70_001).tobytes()
    late.WaveformBitsAllocated, late.WaveformSampleInterpretation = 32, "SL"
    late.MultiplexGroupTimeOffset = "100"
    file.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    file.save_as(out, implicit_vr=True, little_endian=True)


def check_changed_dicom(path):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "changed.dcm")
        changed_dicom(path, out)
        check_dicom(out)
        skews = [remark for remark in ours(out).remarks if "skew" in remark[0]]
        assert len(skews) == 22, f"{len(skews)} channels with skew"  # the first of each group has none
        return "24 channels equal"


def check_dicom(path):
    mine = ours(path)
    theirs = pydicom.dcmread(path)
    at = 0
    for group in range(len(theirs.WaveformSequence)):
        item = theirs.WaveformSequence[group]
        shape = (int(item.NumberOfWaveformSamples), int(item.NumberOfWaveformChannels))
        form = {"SS": "<i2", "SL": "<i4"}[item.WaveformSampleInterpretation]
        raw = np.frombuffer(item.WaveformData, form).reshape(shape)
        late = round(float(item.get("MultiplexGroupTimeOffset") or 0) / 1e3 * float(item.SamplingFrequency))
        physical = theirs.waveform_array(group)
        for channel in range(shape[1]):
            row = mine.rows[at]
            at += 1
            assert [first for first, _ in row.runs] == [late], f"{row.label}: begins at {row.runs[0][0]}"
            same(row.runs[0][1], raw[:, channel].astype(np.int64), row.label)
            unit = item.ChannelDefinitionSequence[channel].ChannelSensitivityUnitsSequence[0].CodeValue
            factor = {"uV": 1e-3, "mV": 1.0}[unit]
            want = physical[:, channel] * factor
            worst = np.max(np.abs((raw[:, channel] - row.baseline) / row.gain - want))
            assert worst <= 1e-12 * max(1e3, np.max(np.abs(want))), f"{row.label}: off by {worst} mV"
    assert at == len(mine.rows)
    return f"{at} channels equal"


def check_refused(path, code):
    try:
        ours(path)
    except Refused as refusal:
        assert refusal.code == code, refusal
        return f"refused with {code}"
    raise AssertionError("was read")


def check_aecg(path):
    mine = ours(path)
    truth = aecg_digits(path)
    assert len(mine.rows) >= len(truth) == 12
    for row in mine.rows[:12]:
        same(row.filled(0), truth[row.label.upper()], row.label)
    # Every annotation of the rhythm series, in document order; its place where it has one.
    v3 = "{urn:hl7-org:v3}"
    series = ET.parse(path).getroot().find(f"{v3}component/{v3}series")
    placed, values = [], 0
    for note in (note for one in series.iterfind(f"{v3}subjectOf") for note in one.iter(f"{v3}annotation")):
        value, bounds = note.find(f"{v3}value"), note.findall(f"{v3}support//{v3}boundary")
        times = [b.find(f"{v3}value") for b in bounds if b.find(f"{v3}code").get("code").startswith("TIME_")]
        if not times:
            values += value is not None
            continue
        ends = [end for end in (times[0], times[0].find(f"{v3}low"), times[0].find(f"{v3}high"))
                if end is not None and end.get("value")]
        text = ends[0].get("value")  # milliseconds from the start, or a clock that starts at 09:10:00
        at = Decimal(text) / 1000 if ends[0].get("unit") else Decimal(text) - 20021122091000
        at = (at * 500).to_integral_value(ROUND_HALF_UP)
        placed.append((int(at), value.get("code") or note.find(f"{v3}code").get("code")))
    assert sorted(placed) == sorted((mark[0], mark[1]) for mark in mine.marks), "marks"
    assert len(mine.remarks) == values + 1, f"{len(mine.remarks)} remarks, {values} values"
    return f"12 leads, {len(placed)} marks equal"


def check_muse(path):
    mine = ours(path)
    rows = iter(mine.rows)
    waves = sorted(ET.parse(path).getroot().iter("Waveform"), key=lambda w: w.findtext("WaveformType") != "Rhythm")
    count = 0
    for wave in waves:
        for lead in wave.iter("LeadData"):
            row = next(rows)
            want = np.frombuffer(base64.b64decode(lead.findtext("WaveFormData")), "<i2")
            same(row.filled(0), want.astype(np.int64), row.label)
            step = float(lead.findtext("LeadAmplitudeUnitsPerBit"))
            assert abs(1e3 / row.gain - step) < 1e-9, row.gain
            count += 1
    assert count == len(mine.rows)
    return f"{count} leads equal"


def check_philips(path):
    mine = ours(path)
    theirs = sierraecg.read_file(path)
    assert len(mine.rows) == len(theirs.leads)
    for row, lead in zip(mine.rows, theirs.leads):
        same(row.filled(0), np.asarray(lead.samples, dtype=np.int64), row.label)
        assert row.label == lead.label and row.rate[0] == lead.sampling_freq
    return "12 leads equal"


def check_wav(path):
    sound, rate = soundfile.read(path, dtype="int16", always_2d=True)
    mine = ours(path)
    for at, row in enumerate(mine.rows):
        same(row.filled(0), sound[:, at].astype(np.int64), row.label)
        assert row.rate == [rate, 1]
    return f"{len(mine.rows)} channel(s) equal"


def check_mfer(path):
    mine = ours(path)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["save2gdf", "-f=ASCII", path, os.path.join(folder, "b.asc")], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Its text export holds the first 3750 samples, each four times, and then loses its place.
        row, theirs = mine.rows[0], np.loadtxt(os.path.join(folder, "b.a01"))[:15000:4]
        part = row.runs[0][1][: len(theirs)]
        same(part, np.round(theirs * 1e3 * row.gain).astype(np.int64), row.label)
        steps = np.abs(np.diff(row.runs[0][1]))[14999::15000]
        assert np.median(steps) < 10, f"jumps between blocks: {steps}"
        return f"{len(part)} samples of the first lead equal"


def run():
    verdict("ISHNE", "read", "ishneholterlib, numpy", "ECG_P28.01", check_ishne)
    verdict("DICOM", "read", "pydicom", "waveform_ecg", lambda: check_dicom(data("dicom", "waveform_ecg.dcm")))
    verdict("DICOM", "read", "pydicom", "changed by pydicom",
            lambda: check_changed_dicom(data("dicom", "waveform_ecg.dcm")))
    for name in ("test-SR", "us_examples_palette", "us_examples_ybr_color"):
        verdict("DICOM without waveform", "read", "none", name,
                lambda n=name: check_refused(data("dicom", n + ".dcm"), "format.unsupported"))
    for name in ("Example", "fda_subject1_0"):
        verdict("aECG", "read", "standard library", name, lambda n=name: check_aecg(data("aecg", n + ".xml")))
    for path in sorted(glob.glob(data("musexml", "*.xml"))):
        verdict("MUSE XML", "read", "standard library", os.path.basename(path), lambda p=path: check_muse(p))
    for path in sorted(glob.glob(data("philipsxml", "*"))):
        verdict("Philips XML", "read", "sierraecg", os.path.basename(path), lambda p=path: check_philips(p))
    for path in sorted(glob.glob(data("pcg", "cinc2016", "*.wav"))):
        verdict("WAV", "read", "soundfile", os.path.basename(path), lambda p=path: check_wav(p))
    if shutil.which("save2gdf"):
        verdict("MFER", "read", "libbiosig", "test-file", lambda: check_mfer(data("mfer", "test-file.MWF")))
