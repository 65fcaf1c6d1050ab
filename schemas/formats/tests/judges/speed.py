"""Times of our readers beside their peers' on the same files, interleaved, as ratios.

Least time of several in-process reads each; below 1 means that ours is faster.
"""
import os
import resource
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
ROUNDS = 5


def ours(path, *how):
    done = subprocess.run([CLOCK, path, str(ROUNDS), *how], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])


def theirs(read):
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        read()
        best = min(best, time.perf_counter() - start)
    return best


def line(what, path, peer, read, *how):
    mine = other = float("inf")
    for _ in range(3):  # interleaved, so that both see the same machine
        mine = min(mine, ours(path, *how))
        other = min(other, theirs(read))
    print(f"{what:28} ours {mine * 1e3:9.2f} ms  {peer:14} {other * 1e3:9.2f} ms  ratio {mine / other:6.3f}")
    return mine / other


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


def resident_kib(path):
    """Peak memory of a streaming read in a process of its own."""
    probe = "import resource,subprocess,sys;subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,check=True);" \
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", probe, CLOCK, path, "1", "stream"], capture_output=True,
                          text=True, check=True)
    return int(done.stdout)


def main():
    hundred = data("wfdb", "mitdb", "100")
    limits = [(line("WFDB 212, 30 min", hundred + ".hea", "wfdb-python",
                    lambda: wfdb.rdrecord(hundred, physical=False)), 1.0)]
    line("WFDB 16, 12 leads", data("wfdb", "cinc2021", "E07500.hea"), "wfdb-python",
         lambda: wfdb.rdrecord(data("wfdb", "cinc2021", "E07500"), physical=False))
    with tempfile.TemporaryDirectory() as folder:
        path = day(folder)
        read = lambda: [signal.digital.copy() for signal in edfio.read_edf(path).signals]
        limits.append((line("EDF, 24 h", path, "edfio", read), 2.0))
        limits.append((line("EDF, 24 h, in blocks", path, "edfio", read, "stream"), 2.0))
        limits.append((line("EDF, 24 h", path, "pyEDFlib", lambda: read_edf_all(path)), 1.0))
        kib = resident_kib(path)
        print(f"{'EDF, 24 h, in blocks':28} peak memory {kib / 1024:.1f} MiB (limit 32)")
        limits.append((kib / 1024 / 32, 1.0))
    path = data("ishne", "ECG_P28.01.ecg")
    limits.append((line("ISHNE, 12 leads", path, "ishneholterlib", lambda: holter(path)), 1.0))
    wave = data("dicom", "waveform_ecg.dcm")
    line("DICOM, 12 leads", wave, "pydicom", lambda: pydicom.dcmread(wave).waveform_array(0))
    sierra = data("philipsxml", "3191723_1_04.xml")
    line("Philips XML, XLI", sierra, "sierraecg", lambda: sierraecg.read_file(sierra))
    for what, path in (("SCP-ECG Example", data("scp", "Example.scp")), ("aECG Example", data("aecg", "Example.xml"))):
        print(f"{what:28} ours {ours(path) * 1e3:9.2f} ms")
    slow = [limit for limit in limits if limit[0] > limit[1]]
    print("all within their limits" if not slow else f"{len(slow)} above the limit")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
