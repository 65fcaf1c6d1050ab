"""SCP-ECG against the records that the files were made of: an aECG document read with the
standard library, PhysioNet records read with wfdb-python."""
import glob
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET

import numpy as np
import wfdb

from common import Refused, data, ours, same, verdict

V3 = "{urn:hl7-org:v3}"


def aecg_digits(path):
    """Lead name to integers of the rhythm series, read without our code."""
    leads = {}
    series = ET.parse(path).getroot().find(f"{V3}component/{V3}series")
    for sequence in series.iterfind(f"{V3}component/{V3}sequenceSet/{V3}component/{V3}sequence"):
        code = sequence.find(f"{V3}code").get("code")
        digits = sequence.find(f"{V3}value/{V3}digits")
        if code.startswith("MDC_ECG_LEAD_") and digits is not None:
            leads[code[len("MDC_ECG_LEAD_"):].upper()] = np.array(digits.text.split(), dtype=np.int64)
    return leads


def check_example(path):
    mine = ours(path)
    truth = aecg_digits(data("aecg", "Example.xml"))
    assert len(mine.rows) == 12
    for row in mine.rows:
        same(row.filled(0), truth[row.label.upper()], row.label)
        assert row.unit == "mV" and abs(row.gain - 400) < 1e-9, row.gain
    assert mine.patient[:3] == ["SBJ-123", "Clark", "M"], mine.patient
    assert not mine.warnings, mine.warnings
    return "12 leads equal"


def check_physionet(path, name):
    mine = ours(path)
    truth = wfdb.rdrecord(data("wfdb", "cinc2021", name), physical=False)
    for at, label in enumerate(truth.sig_name):
        row = next(row for row in mine.rows if row.label == label)
        same(row.filled(0), truth.d_signal[:, at].astype(np.int64), label)
    return "12 leads equal"


def check_bimodal(path, name):
    """Inside protected zones within 100 uV, whole rms below the ECG Toolkit's own."""
    mine = ours(path)
    truth = wfdb.rdrecord(data("wfdb", "cinc2021", name), physical=False)
    table = np.genfromtxt(path[: -len(".scp")] + ".decoded.csv", delimiter=",", names=True)
    for at, label in enumerate(truth.sig_name):
        row = next(row for row in mine.rows if row.label == label)
        want = truth.d_signal[:, at].astype(float)
        got = row.filled(0).astype(float)
        assert len(got) == len(want), f"{label}: {len(got)} / {len(want)}"
        own = np.sqrt(np.mean((got - want) ** 2))
        column = next((c for c in table.dtype.names if c.upper() == label.upper()), table.dtype.names[at])
        theirs = np.sqrt(np.mean((table[column][: len(want)] - want) ** 2))
        assert own <= theirs + 0.5, f"{label}: rms {own:.1f} uV, ECG Toolkit {theirs:.1f} uV"
    return "rms below the ECG Toolkit's"


def check_biosig(path):
    """libbiosig reads Huffman codes and differences; reference beats it does not add back."""
    mine = ours(path)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["save2gdf", "-f=ASCII", path, os.path.join(folder, "b.asc")], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for at, row in enumerate(mine.rows, 1):
            microvolts = np.loadtxt(os.path.join(folder, f"b.a{at:02d}"))
            same(row.filled(0), np.round(microvolts * row.gain / 1e3).astype(np.int64), row.label)
    return f"{len(mine.rows)} leads equal"


def check_malformed(path):
    try:
        ours(path)
    except Refused as refusal:
        return f"refused with {refusal.code}"
    return "read with bounds"


def check_contec():
    """The cut SCP file holds the first 32767 samples of the vendor's own EDF file."""
    mine = ours(data("scp", "malformed", "contec_0000050.ECG.scp"))
    other = ours(data("edf", "contec_0000050.ECG.edf"))
    assert mine.warnings
    for row, twin in zip(mine.rows, other.rows):
        same(row.runs[0][1], twin.filled(0)[: len(row.runs[0][1])], row.label)
    return "equal as far as the file goes"


def run():
    example = [data("scp", "Example.scp")] + sorted(glob.glob(data("scp", "ecgtk", "Example_*.scp")))
    for path in example:
        name = os.path.basename(path)
        verdict("SCP-ECG", "read", "aECG twin (standard library)", name, lambda p=path: check_example(p))
    plain = [path for path in example if "refbeat" not in path]
    for path in plain if shutil.which("save2gdf") else []:
        verdict("SCP-ECG", "read", "libbiosig", os.path.basename(path), lambda p=path: check_biosig(p))
    for path in sorted(glob.glob(data("scp", "ecgtk", "HR*.scp"))):
        name = os.path.basename(path)
        record = name.split("_")[0]
        if "bimodal" in name:
            verdict("SCP-ECG bimodal", "read", "source record, ECG Toolkit", name,
                    lambda p=path, r=record: check_bimodal(p, r))
        else:
            verdict("SCP-ECG", "read", "source record (wfdb-python)", name,
                    lambda p=path, r=record: check_physionet(p, r))
    for path in sorted(glob.glob(data("scp", "malformed", "*"))):
        verdict("SCP-ECG malformed", "read", "none", os.path.basename(path), lambda p=path: check_malformed(p))
    verdict("SCP-ECG", "read", "vendor's EDF twin", "contec", check_contec)
