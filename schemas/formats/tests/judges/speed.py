"""Times of our readers beside their peers' on the same files, interleaved, as ratios.

Processor time, not wall time: other programs may run on the machine. The least of several
in-process reads each; below 1 means that ours is faster. Exit status 1 when a limit is not
held.
"""
import ctypes
import os
import subprocess
import sys
import tempfile
import time

import edfio
import ishneholterlib
import numpy as np
import pydicom
import pyedflib
import sierraecg
import wfdb

from common import data

CLOCK = os.environ.get("CARDIO_FORMATS_CLOCK", "clock")
TURNS = 3


def rounds(path):
    """A short read is disturbed more easily, so it is repeated more often."""
    return 5 if os.path.getsize(path) > 1 << 25 else 40


def ours(path, *how):
    return int(printed([CLOCK, path, str(rounds(path)), *how]).split()[0]) / 1e9


def theirs(read, path):
    best = float("inf")
    for _ in range(rounds(path)):
        start = time.process_time_ns()
        read()
        best = min(best, (time.process_time_ns() - start) / 1e9)
    return best


HELD = []


def line(what, path, peer, read, limit, *how):
    """One line; `limit` is the ratio that must not be passed, or nothing."""
    mine = other = float("inf")
    for _ in range(TURNS):  # interleaved, so that both see the same machine
        mine = min(mine, ours(path, *how))
        other = min(other, theirs(read, path))
    tell(what, mine, peer, other, limit)


def printed(words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def tell(what, mine, peer, other, limit):
    ratio = mine / other
    HELD.append(limit is None or ratio <= limit)
    bound = "" if limit is None else f"  limit {limit}"
    print(f"{what:26} ours {mine * 1e3:8.2f} ms  {peer:14} {other * 1e3:8.2f} ms  ratio {ratio:6.3f}{bound}")


FIRST_EDFIO = """
import edfio, sys, time
start = time.process_time_ns()
read = [signal.digital.copy() for signal in edfio.read_edf(sys.argv[1]).signals]
print(time.process_time_ns() - start)
"""
FIRST_WFDB = """
import sys, time, wfdb
start = time.process_time_ns()
read = wfdb.rdrecord(sys.argv[1].removesuffix(".hea"), physical=False)
print(time.process_time_ns() - start)
"""
FIRST_ISHNE = """
import ishneholterlib, sys, time
start = time.process_time_ns()
read = ishneholterlib.Holter(sys.argv[1], check_valid=False)
read.load_data()
print(time.process_time_ns() - start)
"""


def first_reads(what, path, peer, code, limit):
    """One read in a process of its own, as a command does it: neither side has memory from before."""
    mine = other = float("inf")
    for _ in range(TURNS):
        mine = min(mine, float(printed([CLOCK, path, "1"]).split()[0]) / 1e9)
        other = min(other, float(printed([sys.executable, "-c", code, path])) / 1e9)
    tell(what, mine, peer, other, limit)


def day(folder):
    """24 h of three leads at 250 Hz, written by edfio."""
    path = os.path.join(folder, "day.edf")
    wave = (np.sin(np.arange(24 * 3600 * 250) / 37.0) * 1000).astype(np.int16).astype(float) / 1000
    signals = [edfio.EdfSignal(wave, 250, label=f"ECG {at}", physical_dimension="mV",
                               physical_range=(-5, 5)) for at in range(3)]
    edfio.Edf(signals).write(path)
    return path


def read_edf_all(path):
    with pyedflib.EdfReader(path) as file:
        return [file.readSignal(at, digital=True) for at in range(file.signals_in_file)]


def holter(path):
    record = ishneholterlib.Holter(path, check_valid=False)
    record.load_data()


def biosig():
    """libbiosig's own way from a file to its samples, or nothing where it is not installed."""
    try:
        library = ctypes.CDLL("libbiosig.so.3")
    except OSError:
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.sopen.restype, library.sopen.argtypes = pointer, [ctypes.c_char_p, ctypes.c_char_p, pointer]
    library.sread.restype, library.sread.argtypes = size, [pointer, size, size, pointer]
    library.biosig_get_number_of_records.restype = ctypes.c_ssize_t
    library.biosig_get_number_of_records.argtypes = [pointer]
    library.destructHDR.argtypes = [pointer]

    def read(path):
        header = library.sopen(path.encode(), b"r", None)
        records = library.biosig_get_number_of_records(header)
        got = library.sread(None, 0, max(records, 0), header)
        library.destructHDR(header)
        assert records > 0 and got == records, f"libbiosig read {got} of {records} of {path}"

    return read


def without_comments(path, folder):
    """The same aECG without the lines before its root, which libbiosig does not get past."""
    out = os.path.join(folder, "aecg.xml")
    with open(path, encoding="utf-8") as source, open(out, "w", encoding="utf-8") as target:
        target.writelines(text for text in source if not text.startswith("<!--"))
    return out


def resident_kib(path):
    """Peak memory of a streaming read in a process of its own."""
    probe = "import resource,subprocess,sys;subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,check=True);" \
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", probe, CLOCK, path, "1", "stream"], capture_output=True,
                          text=True, check=True)
    return int(done.stdout)


def main():
    hundred, twelve = data("wfdb", "mitdb", "100"), data("wfdb", "cinc2021", "E07500")
    # Read again and again in one process, both mostly touch memory: here in pages of 4 KiB, there in
    # huge ones, which numpy asks for and which the first read pays for.
    again = lambda: wfdb.rdrecord(hundred, physical=False)
    line("WFDB 212, in blocks", hundred + ".hea", "wfdb-python", again, 1.0, "stream")
    first_reads("WFDB 212, first read", hundred + ".hea", "wfdb-python", FIRST_WFDB, 1.0)
    line("WFDB 212, read again", hundred + ".hea", "wfdb-python", again, 1.0)
    line("WFDB 16, 12 leads", twelve + ".hea", "wfdb-python", lambda: wfdb.rdrecord(twelve, physical=False), None)
    foreign = biosig()
    with tempfile.TemporaryDirectory() as folder:
        path = day(folder)
        read = lambda: [signal.digital.copy() for signal in edfio.read_edf(path).signals]
        line("EDF, 24 h, in blocks", path, "edfio", read, 2.0, "stream")
        first_reads("EDF, 24 h, first read", path, "edfio", FIRST_EDFIO, 2.0)
        line("EDF, 24 h, read again", path, "edfio", read, 2.0)
        line("EDF, 24 h", path, "pyEDFlib", lambda: read_edf_all(path), 1.0)
        if foreign:
            line("EDF, 24 h", path, "libbiosig", lambda: foreign(path), 1.0)
        mib = resident_kib(path) / 1024
        HELD.append(mib < 32)
        print(f"{'EDF, 24 h, in blocks':26} peak memory {mib:.1f} MiB  limit 32")
        scp, aecg = data("scp", "Example.scp"), without_comments(data("aecg", "Example.xml"), folder)
        if foreign:
            line("SCP-ECG Example", scp, "libbiosig", lambda: foreign(scp), 1.0)
            line("aECG Example", aecg, "libbiosig", lambda: foreign(aecg), 1.0)
        else:
            print("libbiosig is not installed: SCP-ECG and aECG have no peer here")
    path = data("ishne", "ECG_P28.01.ecg")
    first_reads("ISHNE, first read", path, "ishneholterlib", FIRST_ISHNE, 1.0)
    line("ISHNE, read again", path, "ishneholterlib", lambda: holter(path), 1.0)
    wave = data("dicom", "waveform_ecg.dcm")
    line("DICOM, 12 leads", wave, "pydicom", lambda: pydicom.dcmread(wave).waveform_array(0), None)
    sierra = data("philipsxml", "3191723_1_04.xml")
    line("Philips XML, XLI", sierra, "sierraecg", lambda: sierraecg.read_file(sierra), None)
    missed = HELD.count(False)
    print("all within their limits" if not missed else f"{missed} above the limit")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
