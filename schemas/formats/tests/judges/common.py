"""What every judge needs: run the `dump` example, read what it prints, keep the verdicts."""
import json
import os
import subprocess
import sys

import numpy as np

DUMP = os.environ.get("CARDIO_FORMATS_DUMP", "dump")
DATA = os.environ.get("CARDIO_DATA", "")
VERDICTS = []


class Refused(Exception):
    """The reader refused the file, with its code and text."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class Row:
    """One waveform: facts, and its runs as (first sample, integers)."""

    def __init__(self, facts, runs):
        self.__dict__.update(facts)
        self.runs = runs

    def end(self):
        return max((first + len(part) for first, part in self.runs), default=0)

    def filled(self, missing):
        """All samples in one array, gaps filled with a value."""
        out = np.full(self.end(), missing, dtype=np.int64)
        for first, part in self.runs:
            out[first : first + len(part)] = part
        return out


class Recording:
    def __init__(self, blob):
        line, _, body = blob.partition(b"\n")
        self.facts = json.loads(line)
        if "error" in self.facts:
            raise Refused(self.facts["error"], self.facts["text"])
        self.__dict__.update({k: v for k, v in self.facts.items() if k != "rows"})
        at, rows = 0, []
        for facts in self.facts["rows"]:
            runs = []
            for first, length in facts["runs"]:
                runs.append((first, np.frombuffer(body, "<i4", length, at)))
                at += 4 * length
            rows.append(Row(facts, runs))
        self.rows = rows


def ours(path):
    """Reads a file with the product's reader."""
    done = subprocess.run([DUMP, path], stdout=subprocess.PIPE, check=False)
    return Recording(done.stdout)


def data(*parts):
    return os.path.join(DATA, *parts)


def verdict(form, direction, judge, what, check):
    """Runs one check and keeps its result."""
    try:
        result, good = check() or "equal", True
    except Exception as error:  # a judge that crashes is a verdict too
        result, good = f"{type(error).__name__}: {error}"[:200], False
    VERDICTS.append((form, direction, judge, what, result, good))
    if not good:
        print(f"FAIL {form} {direction} {judge} {what}: {result}", file=sys.stderr)


def same(mine, theirs, what=""):
    """Integer-equal, or an error that says where not."""
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if mine.shape != theirs.shape:
        raise AssertionError(f"{what} shape {mine.shape} here, {theirs.shape} there")
    differs = np.flatnonzero(mine != theirs)
    if len(differs):
        at = differs[0]
        raise AssertionError(
            f"{what} differs at {at} ({len(differs)} of {len(mine)}): {mine[at]} here, {theirs[at]} there"
        )
