"""Judges that no package holds, where `formats-from-source.sh` has built them: rdsamp, rdann and
parsescp of the WFDB software, the C# ECG Toolkit, the schema of HL7 aECG."""
import glob
import os
import shutil
import subprocess
import tempfile

import numpy as np

from common import data, ours, same, verdict
from write_judge import convert

BUILT = os.environ.get("CARDIO_JUDGES_BUILT", "")
RDSAMP, RDANN = "rdsamp (libwfdb)", "rdann (libwfdb)"
TOOLKIT, SCHEMA, PARSESCP = "C# ECG Toolkit", "its schema (xmllint)", "parsescp (rounded, smoothed)"
NAMES = {RDSAMP, RDANN, "rdsamp, rdann (libwfdb)", TOOLKIT, SCHEMA, PARSESCP}

# libwfdb is built without FLAC; of a record with several samples per frame rdsamp prints means.
NOT_FOR_RDSAMP = {"flacformats", "test01_00s_frame", "test01_00s_skewframe", "3000003_0003", "a103l"}
ABSENT = {"12726", "1003", "null"}


def program(name):
    return os.path.join(BUILT, name)


def output(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, **more).stdout


def rdsamp(folder, name):
    """Samples as columns; an absent one is -32768."""
    text = output(program("rdsamp"), "-r", name, cwd=folder, env={**os.environ, "WFDB": "."})
    table = np.loadtxt(text.replace(b" -\t", b" -32768\t").replace(b" -\n", b" -32768\n").splitlines(),
                       dtype=np.int64, ndmin=2)
    return table[:, 1:]


def check_rdsamp(path, name, mine=None):
    mine = mine or ours(path)
    theirs = rdsamp(os.path.dirname(path), name)
    assert theirs.shape[1] == len(mine.rows), f"{len(mine.rows)} rows here, {theirs.shape[1]} there"
    for column, row in zip(theirs.T, mine.rows):
        want = np.full(len(column), -32768, dtype=np.int64)
        want[: row.end()] = row.filled(-32768)[: len(column)]
        same(want, column, row.label)
    return f"{len(mine.rows)} rows equal"


def check_rdann(folder, name, marks):
    text = output(program("rdann"), "-r", name, "-a", "atr", "-e", cwd=folder, env={**os.environ, "WFDB": "."})
    theirs = [line.split(None, 6) for line in text.decode("utf-8").splitlines()]
    assert len(theirs) == len(marks), f"{len(marks)} marks here, {len(theirs)} there"
    for mine, words in zip(marks, theirs):
        aux = words[6].rstrip() if len(words) > 6 else ""
        got = (mine[0], mine[1], mine[2], mine[3], mine[4], (mine[5] or "").rstrip())
        want = (int(words[1]), words[2], int(words[3]), int(words[4]), int(words[5]), aux)
        assert got == want, f"{got} here, {want} there"
    return f"{len(marks)} marks equal"


def check_written_wfdb(path):
    with tempfile.TemporaryDirectory() as folder:
        header = convert(path, "wfdb", folder)[0]
        check_rdsamp(header, "out", ours(path))
        return check_rdann(folder, "out", ours(path).marks)


def microvolts(path):
    """What the ECG Toolkit reads: lead to microvolts."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.csv")
        told = output("mono", program("ecgtk/ECGTool.exe"), "-bsl", "all", path, "CSV", out)
        assert os.path.exists(out), told.decode(errors="replace").strip()
        lines = open(out, encoding="utf-8").read().splitlines()
        names = lines[0].split("\t")
        table = np.array([line.split("\t") for line in lines[1:]], dtype=float)
        return {name.upper(): table[:, at] for at, name in enumerate(names) if name not in ("samplenr", "measurement")}


def check_toolkit(path, rows):
    theirs = microvolts(path)
    compared = 0
    for row in rows:
        want = theirs.pop(row.label.upper(), None)  # a median beat that bears the name again follows
        if want is None:
            continue
        got = (row.filled(0) - row.baseline) / row.gain * 1e3
        assert len(got) == len(want), f"{row.label}: {len(got)} here, {len(want)} there"
        worst = np.max(np.abs(got - want))
        assert worst <= 0.01, f"{row.label}: off by {worst} uV"  # its table has two decimals
        compared += 1
    assert compared >= 8, f"only {compared} leads in common"
    return f"{compared} leads equal"


def as_parsescp(microvolts):
    """What parsescp makes of samples: steps of 5 uV cut towards zero, then everything outside of
    protected zones becomes the mean of itself and its neighbours, whatever the file says."""
    steps = np.trunc(microvolts / 5 + np.sign(microvolts) * 1e-9).astype(np.int64)
    sums = steps[:-2] + steps[1:-1] + steps[2:]
    steps[1:-1] = np.trunc((sums + 2 * np.sign(sums)) / 3).astype(np.int64)
    return steps


def check_parsescp(path, rows):
    """For second differences without reference beat; it takes every file for that."""
    with tempfile.TemporaryDirectory() as folder, open(path, "rb") as source:
        output(program("parsescp"), "-v", "-o", "out", stdin=source, cwd=folder)
        table = np.loadtxt(os.path.join(folder, "out.txt"), dtype=np.int64)
    names = ["I", "II", "III", "AVR", "AVF", "AVL", "V1", "V2", "V3", "V4", "V5", "V6"]
    theirs = dict(zip(names, table.T[1:]))
    assert len(rows) == len(theirs), f"{len(rows)} leads"
    for row in rows:
        same(as_parsescp((row.filled(0) - row.baseline) / row.gain * 1e3), theirs[row.label.upper()], row.label)
    return f"{len(rows)} leads equal"


def check_written_parsescp(path):
    with tempfile.TemporaryDirectory() as folder:
        return check_parsescp(convert(path, "scp", folder)[0], ours(path).rows)


def check_written(path, form):
    with tempfile.TemporaryDirectory() as folder:
        return check_toolkit(convert(path, form, folder)[0], ours(path).rows)


def check_schema(path):
    with tempfile.TemporaryDirectory() as folder:
        out = convert(path, "aecg", folder)[0]
        output("xmllint", "--noout", "--schema", os.path.join(BUILT, "aecg", "schema", "PORT_MT020001.xsd"), out)
        return "valid"


def wfdb_judges():
    folders = [data("wfdb", "formats"), data("wfdb", "cinc2021"), data("wfdb", "mitdb")]
    for path in sorted(path for folder in folders for path in glob.glob(os.path.join(folder, "*.hea"))):
        name = os.path.basename(path)[: -len(".hea")]
        if name not in NOT_FOR_RDSAMP | ABSENT:
            verdict("WFDB", "read", RDSAMP, name, lambda p=path, n=name: check_rdsamp(p, n))
        if os.path.exists(path[: -len(".hea")] + ".atr") and name not in ABSENT:
            verdict("WFDB annotations", "read", RDANN, name,
                    lambda p=path, n=name: check_rdann(os.path.dirname(p), n, ours(p).marks))
    for path in (data("wfdb", "formats", "100s.hea"), data("wfdb", "mitdb", "100.hea")):
        verdict("WFDB", "write", "rdsamp, rdann (libwfdb)", os.path.basename(path),
                lambda p=path: check_written_wfdb(p))


def toolkit_judges():
    example, holter = data("scp", "Example.scp"), data("ishne", "ECG_P28.01.ecg")
    scp = [path for path in sorted(glob.glob(data("scp", "ecgtk", "*.scp"))) if "bimodal" not in path]
    read = [("SCP-ECG", path) for path in [example] + scp]
    read += [("aECG", data("aecg", f"{name}.xml")) for name in ("Example", "fda_subject1_0")]
    read += [("ISHNE", holter), ("MUSE XML", data("musexml", "MUSE_example.xml"))]
    for form, path in read:
        verdict(form, "read", TOOLKIT, os.path.basename(path), lambda p=path: check_toolkit(p, ours(p).rows))
    plain = data("scp", "ecgtk", "HR06000_plain_d2.scp")
    for form, name, path in [("SCP-ECG", "scp", example), ("SCP-ECG", "scp", plain), ("aECG", "aecg", example),
                             ("ISHNE", "ishne", holter), ("ISHNE", "ishne", example)]:
        verdict(form, "write", TOOLKIT, os.path.basename(path), lambda p=path, n=name: check_written(p, n))


def parsescp_judges():
    example = data("scp", "Example.scp")
    for path in (example, data("scp", "ecgtk", "Example_huff_default_d2.scp")):
        verdict("SCP-ECG", "read", PARSESCP, os.path.basename(path), lambda p=path: check_parsescp(p, ours(p).rows))
    for path in (example, data("scp", "ecgtk", "HR06000_plain_d2.scp")):
        verdict("SCP-ECG", "write", PARSESCP, os.path.basename(path), lambda p=path: check_written_parsescp(p))


def run():
    if os.path.exists(program("parsescp")):
        parsescp_judges()
    if os.path.exists(program("rdsamp")):
        wfdb_judges()
    if os.path.exists(program("ecgtk/ECGTool.exe")) and shutil.which("mono"):
        toolkit_judges()
    if os.path.exists(program("aecg/schema/PORT_MT020001.xsd")) and shutil.which("xmllint"):
        verdict("aECG", "write", SCHEMA, "Example.scp", lambda: check_schema(data("scp", "Example.scp")))
