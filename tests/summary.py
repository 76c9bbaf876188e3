#!/usr/bin/env python3
"""Counts the cases of the last `make check` in a build folder, from its logs.

    summary.py BUILD

Prints what was skipped and why, then "N passed, N failed, N skipped"; exit status 1 if any
failed, or none ran.
"""

import collections
import pathlib
import re
import sys


def count(log, outcome):
    """(passed, failed, skipped) of one test program's log."""
    total = failed = skipped = 0
    for checks, failures, errors in re.findall(
        r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", log, re.M
    ):
        total += int(checks)
        failed += int(failures) + int(errors)
    for ran in re.findall(r"^Ran (\d+) tests? in", log, re.M):
        total += int(ran)
    for word, number in re.findall(r"(failures|errors|skipped)=(\d+)", log):
        if word == "skipped":
            skipped += int(number)
        else:
            failed += int(number)
    if outcome == "SKIP" and total == 0:  # it did not get as far as its cases
        skipped = total = 1
    if outcome not in ("PASS", "SKIP") and failed == 0:  # it died before it could count
        failed += 1
        total += 1
    return total - failed - skipped, failed, skipped


def reasons(log):
    """Why cases were skipped; each once, with how many."""
    return collections.Counter(re.findall(r"\.\.\. skipped ['\"](.*)['\"]$", log, re.M))


def main(build):
    sums = [0, 0, 0]
    for result in sorted(pathlib.Path(build, "tests").rglob("*.trs")):
        outcome = re.search(r"^:test-result: (\w+)", result.read_text(), re.M)[1]
        log = result.with_suffix(".log").read_text(errors="replace")
        sums = [a + b for a, b in zip(sums, count(log, outcome))]
        for reason, number in reasons(log).items():
            print(f"{result.stem}: {number} skipped: {reason}")
    print("%d passed, %d failed, %d skipped" % tuple(sums))
    return 0 if sums[0] > 0 and sums[1] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
