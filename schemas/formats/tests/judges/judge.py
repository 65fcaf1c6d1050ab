"""Holds the readers and writers against programs that others wrote, and makes the table.

usage: CARDIO_DATA=DIR CARDIO_FORMATS_DUMP=PATH judge.py [TABLE.md] [--check] [--only NAME]

The table is written into TABLE.md, printed without one, and with --check compared with the
one that stands there: a difference is a failure, as a check that could not run would be. Only judges that must
be built from source may be absent; what they would have said is then told as not judged.
"""
import difflib
import importlib
import sys

import common
import source_judge

JUDGES = ["wfdb_judge", "edf_judge", "scp_judge", "others_judge", "write_judge", "source_judge"]


def judge_of(line):
    cells = [cell.strip() for cell in line.split("|")]
    return cells[3] if len(cells) > 3 else ""


def table(path, check):
    """Format x direction x judge x result between the marks of a document: written, or
    compared with what is there. Gives whether the document holds it."""
    groups = {}
    for form, direction, judge, what, result, good in common.VERDICTS:
        groups.setdefault((form, direction, judge), []).append((what, result, good))
    lines = ["| format | direction | judge | files | result |", "| --- | --- | --- | --- | --- |"]
    for (form, direction, judge), checks in groups.items():
        bad = [f"{what}: {result}" for what, result, good in checks if not good]
        good_word = "refused, or read within bounds" if judge == "none" else "all equal"
        result = good_word if not bad else f"{len(bad)} not: " + "; ".join(bad)
        lines.append(f"| {form} | {direction} | {judge} | {len(checks)} | {result} |".replace("\n", " "))
    if not path:
        print("\n".join(lines))
        return True
    text = open(path, encoding="utf-8").read()
    head, _, rest = text.partition("<!-- judges -->\n")
    before, _, tail = rest.partition("<!-- end of judges -->")
    body = "\n".join(lines)
    if check:
        stated, here = before.splitlines(), {judge for _, _, judge in groups}
        left = [line for line in stated if judge_of(line) in source_judge.NAMES - here]
        for line in left:
            print(f"not judged, its judge is not built here: {line}")
        stated = [line for line in stated if line not in left]
        told = difflib.unified_diff(stated, lines, "stated", "found", n=0, lineterm="")
        told = list(told)
        print("\n".join(told), file=sys.stderr)
        return not told
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"{head}<!-- judges -->\n{body}\n<!-- end of judges -->{tail}")
    return True


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    only = names.pop() if "--only" in sys.argv else None
    for judge in JUDGES:
        if only is None or judge.startswith(only):
            importlib.import_module(judge).run()
    held = table(names[0] if names else None, "--check" in sys.argv)
    if not held:
        print("the table does not say what was found; formats.sh --table writes it", file=sys.stderr)
    failed = [v for v in common.VERDICTS if not v[-1]]
    print(f"{len(common.VERDICTS)} checks, {len(failed)} failed")
    sys.exit(1 if failed or not held else 0)


if __name__ == "__main__":
    main()
