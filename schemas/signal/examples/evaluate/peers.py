"""Seconds of ECG per second of processor time of peers, for the first signal of a record."""
import sys
import time

import numpy
import wfdb

record = wfdb.rdrecord(sys.argv[1], channels=[0])
row, hz = numpy.ascontiguousarray(record.p_signal[:, 0]), record.fs


def measure(name, work):
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    print(name, len(row) / hz / best, flush=True)


try:
    import sleepecg

    measure("sleepecg", lambda: sleepecg.detect_heartbeats(row, hz))
except ImportError:
    pass
try:
    import neurokit2

    measure("NeuroKit2", lambda: neurokit2.ecg_findpeaks(row, int(hz)))
except ImportError:
    pass
measure("wfdb-python xqrs", lambda: wfdb.processing.xqrs_detect(row, hz, verbose=False))
