"""Holds the readers and writers against programs that others wrote, and writes the table.

usage: CARDIO_DATA=DIR CARDIO_FORMATS_DUMP=PATH judge.py [TABLE.md] [--only NAME]
"""
import importlib
import sys

import common

JUDGES = ["wfdb_judge", "edf_judge", "scp_judge", "others_judge", "write_judge"]


def table(path):
    """Writes format x direction x judge x result between the marks of a document."""
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
        return
    text = open(path, encoding="utf-8").read()
    head, _, rest = text.partition("<!-- judges -->\n")
    _, _, tail = rest.partition("<!-- end of judges -->")
    body = "\n".join(lines)
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"{head}<!-- judges -->\n{body}\n<!-- end of judges -->{tail}")


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    only = names.pop() if "--only" in sys.argv else None
    for judge in JUDGES:
        if only is None or judge.startswith(only):
            importlib.import_module(judge).run()
    table(names[0] if names else None)
    failed = [v for v in common.VERDICTS if not v[-1]]
    print(f"{len(common.VERDICTS)} checks, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
