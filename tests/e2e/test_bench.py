#!/usr/bin/python3
"""
The benchmark, as small as it can be: that it measures, reports and draws. How
fast anything is does not matter here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree as ElementTree

from harness import BINARY, PATIENCE_S, SANITIZED, SRCDIR, main

BENCH = os.path.join(SRCDIR, "tests", "bench", "bench.py")
sys.path.insert(0, os.path.dirname(BENCH))
import report    # noqa: E402
import results   # noqa: E402
import targets   # noqa: E402

# A sanitized front cannot be counted.
PROTOCOLS = ",protocols" if shutil.which("valgrind") and not SANITIZED else ""
PARTS = ("sleeping,idle", "woken,cost", "short-fresh,short-kept,flood,flood-many",
         "swap" + PROTOCOLS)
OURS = "bound-ms,bound-event,bound,sluice"


class BenchTest(unittest.TestCase):
    """One trial, in several parts at once, whose results are merged; looked at from all sides."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="sluice-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        parts = [cls.start(number, "--tiny", "--contestants", OURS, "--workloads", workloads)
                 for number, workloads in enumerate(PARTS)]
        cls.ended = [cls.finish(part) for part in parts]
        cls.ended.append(cls.report())

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    @classmethod
    def start(cls, number, *args):
        return subprocess.Popen([sys.executable, BENCH, "--build", os.path.dirname(BINARY),
                                 "--results", cls.path(f"results{number}"),
                                 "--output", cls.path(f"docs{number}"), *args],
                                env={**os.environ, "TMPDIR": cls.folder}, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    @classmethod
    def finish(cls, process):
        """Its exit status."""
        print(process.communicate(timeout=6 * PATIENCE_S)[0], flush=True)
        return process.returncode

    @classmethod
    def report(cls):
        results = [word for number in range(1, len(PARTS))
                   for word in ("--results", cls.path(f"results{number}"))]
        return cls.finish(cls.start(0, "--report-only", *results))

    def read(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            return file.read()

    def records(self):
        return [json.loads(line) for number in range(len(PARTS))
                for line in self.read(f"results{number}").splitlines()]

    def sections(self):
        """{heading: text} of the page."""
        parts = re.split(r"(?m)^## (.*)$", self.read("docs0", "benchmarks.md"))
        return dict(zip(parts[1::2], parts[2::2]))

    def test_nothing_is_wrong(self):
        self.assertEqual(set(self.ended), {0})
        for record in self.records():
            with self.subTest(**{key: record.get(key) for key in ("workload", "contestant")}):
                self.assertEqual(record.get("result", {}).get("wrong", []), [])
        self.assertNotIn("What went wrong", self.sections())

    def test_all_is_measured(self):
        measured = {(record["workload"], record["contestant"]) for record in self.records()
                    if "result" in record}
        for workload in ",".join(PARTS).split(","):
            self.assertIn((workload, "sluice"), measured)
        for workload in ("sleeping", "woken"):
            self.assertIn((workload, "bound-ms"), measured)
            self.assertIn((workload, "bound-event"), measured)
        for workload in ("short-fresh", "short-kept", "flood", "flood-many", "idle"):
            self.assertIn((workload, "bound"), measured)

    def test_tables_have_figures(self):
        sections = self.sections()
        for heading in ("Sleeping agents", "Agents woken from outside", "Short runs", "Flood",
                        "What `emit_event()` costs", "Idle streams", "Hot swap under load"):
            with self.subTest(section=heading):
                rows = [line for line in sections[heading].splitlines()
                        if line.startswith("|") and not line.startswith("|--") and "×" not in line]
                self.assertTrue(rows)
                for row in rows:
                    self.assertNotIn("not measured", row)
        self.assertRegex(sections["Sleeping agents"],
                         r"(?m)^\| 20 \| sluice \| [\d.]+ \| [\d.]+ \| 1 \|")
        self.assertRegex(sections["Flood"], r"(?m)^\| 1 \| sluice \| [\d,]+ \|")

    @unittest.skipUnless(PROTOCOLS, "no valgrind, or a sanitized front")
    def test_protocols_are_counted(self):
        """How many instructions there are depends on how often a busy machine wakes the front."""
        rows = re.findall(r"(?m)^\|  \| (\S+) \| ([\d,]+) \| ([\d.]+) \|",
                          self.sections()["Protocols"])
        self.assertEqual([name for name, _, _ in rows], ["native", "message"])
        for _, instructions, ratio in rows:
            self.assertGreater(int(instructions.replace(",", "")), 200)
            self.assertGreater(float(ratio), 0)

    def test_targets_are_judged(self):
        targets = self.sections()["Targets"]
        self.assertRegex(targets, r"(?m)^\| flood into one reader, events/s \| ≥ 1,000,000 "
                         r"\| [\d,]+ \| (reached|\*\*missed\*\*) \|$")
        self.assertRegex(targets, r"(?m)× Go net/http \| – \| not measured \|$")

    def test_lines_of_code_are_counted(self):
        rows = re.findall(r"(?m)^\| .* \| (\d+) \|", self.sections()["Contestants"])
        self.assertEqual(len(rows), 6)
        self.assertGreater(min(map(int, rows)), 20)

    def test_charts_are_drawn(self):
        page = self.read("docs0", "benchmarks.md")
        charts = re.findall(r"\]\(benchmarks/([\w-]+\.svg)\)", page)
        self.assertEqual(sorted(charts), sorted(os.listdir(self.path("docs0", "benchmarks"))))
        for chart in charts:
            with self.subTest(chart=chart):
                svg = self.read("docs0", "benchmarks", chart)
                self.assertTrue(ElementTree.fromstring(svg).tag.endswith("svg"))
                self.assertNotIn("not measured", svg)
                self.assertIn("f-sluice", svg.partition("</style>")[2])

    def test_page_of_the_source_has_the_same_charts(self):
        """What is in the tree was written by this program."""
        with open(os.path.join(SRCDIR, "docs", "benchmarks.md"), encoding="utf-8") as file:
            page = file.read()
        self.assertEqual(sorted(re.findall(r"\]\((benchmarks/[\w-]+\.svg)\)", page)),
                         sorted(re.findall(r"\]\((benchmarks/[\w-]+\.svg)\)",
                                           self.read("docs0", "benchmarks.md"))))

    def test_report_of_what_is_there(self):
        """Even if its last line was cut off."""
        before = self.read("docs0", "benchmarks.md")
        size = os.path.getsize(self.path("results0"))
        with open(self.path("results0"), "a", encoding="utf-8") as file:
            file.write('{"run":"cut')
        self.assertEqual(self.report(), 0)
        os.truncate(self.path("results0"), size)
        self.assertEqual(self.read("docs0", "benchmarks.md"), before)

    def test_nothing_is_left_behind(self):
        self.assertEqual(sorted(os.listdir(self.folder)),
                         sorted(f"{what}{number}" for what in ("docs", "results")
                                for number in range(len(PARTS))))


def document(*cells):
    """The page of (workload, contestant, n, result)."""
    lines = [json.dumps({"run": "r", "round": 1, "workload": workload, "contestant": contestant,
                         "n": n, "result": {"wrong": [], **result}})
             for workload, contestant, n, result in cells]
    return report.Report(results.Results(lines)).document()


class FailureTest(unittest.TestCase):
    """What sluice does not do is not left out silently."""

    def test_not_held(self):
        page = document(("sleeping", "sluice", 1000, {"held": 1, "cpu_us_per_event": 10}),
                        ("sleeping", "go", 1000, {"held": 1, "cpu_us_per_event": 20}),
                        ("sleeping", "sluice", 5000, {"held": 0.5, "cpu_us_per_event": 1}),
                        ("sleeping", "go", 5000, {"held": 1, "cpu_us_per_event": 20}))
        row = "| sleeping agents, CPU per event, {} | ≤ 0.6 × Go net/http | {} |"
        self.assertIn(row.format("1,000", "0.5 × | reached"), page)
        self.assertIn(row.format("5,000", "failed | **missed**"), page)
        self.assertIn("| 5,000 | sluice | not held: 50% arrived |", page)

    def test_wrong(self):
        page = document(("flood", "sluice", 1, {"wrong": ["a byte"], "events_per_s": 2_000_000}))
        self.assertIn("events/s | ≥ 1,000,000 | failed | **missed** |", page)
        self.assertIn("| 1 | sluice | wrong |", page)
        self.assertIn("| flood | sluice | 1 | 1 | a byte |", page)


class ReasonTest(unittest.TestCase):
    """A reason is on the page while its target is missed."""

    REASONS = {"flood events": "It is *slow*.", "swap hole": "It stops."}

    def page(self, rate):
        with unittest.mock.patch.dict(targets.REASONS, self.REASONS, clear=True):
            return document(("flood", "sluice", 1, {"events_per_s": rate}))

    def test_missed(self):
        page = self.page(1000)
        self.assertIn("\n\nWhy those are missed:\n\n"
                      "* flood into one reader, events/s, ≥ 1,000,000: It is *slow*.\n\n## ", page)
        self.assertNotIn("It stops.", page)

    def test_reached(self):
        self.assertNotIn("Why those", self.page(2_000_000))

    def test_keys(self):
        keys = [target.key for target in targets.TARGETS]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertLessEqual(set(targets.REASONS), set(keys))


if __name__ == "__main__":
    main()
