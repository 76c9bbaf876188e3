#!/usr/bin/python3
"""
The benchmark: sluice, what one would take instead, and the least that the
machine allows, under the same loads. `make bench` runs it.

    bench.py                        all of it, three rounds, about 40 minutes
    bench.py --quick                a trial of everything, two minutes
    bench.py --workloads sleeping,short-kept --contestants sluice,go --rounds 1
    bench.py --append ...           more rounds for the results that are there
    bench.py --report-only          write the report of the results that are there

Results are lines of JSON (see results.py), appended as they come to a file of
the build folder, so that what is interrupted can be reported; --results may be
given several times with --report-only, to merge. The report is docs/benchmarks.md
and the charts in docs/benchmarks.

    contestants.py   who takes part and how they are started
    cells.py         how each workload is measured
    protocols.py     what the protocols cost
    results.py       what was measured, over all rounds
    targets.py       what is to be reached
    report.py        the page; chart.py draws

Every contestant listens on the port of its command line and serves

    POST /agents/tick/runs   {"events":N,"interval_ms":M}
    POST /agents/relay/runs  {"url":"http://127.0.0.1:PORT/?events=N&interval_us=U"}

with a stream of N events, one each M ms, or one for each line of that URL's
body, and then the end:

    id: …
    event: token
    data: {"n":"0000001","t":"1764038888123456","pad":"xxxxxxxxxxxxxxxxx"}

    event: done
    data: {"status":"finished"}

n counts from 1, t is CLOCK_REALTIME in µs when the event was made.
"""

import argparse
import dataclasses
import json
import os
import platform
import re
import resource
import shlex
import signal
import sys
import tempfile
import time
import uuid

import cells
import contestants
from report import write_report
from results import Results

SRCDIR = os.path.abspath(os.environ.get("SLUICE_SRCDIR") or
                         os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
WORKLOADS = tuple(cells.MEASURES)

# What is said of a cell while the others are measured.
SHOWN = {"sleeping": ("held", "cpu_us_per_event", "kib_per_stream"),
         "woken": ("held", "cpu_us_per_event", "kib_per_stream"),
         "short-fresh": ("runs_per_s",), "short-kept": ("runs_per_s",), "flood": ("events_per_s",),
         "flood-many": ("events_per_s",), "idle": ("kib_per_stream",)}


class Places:
    """Where things are; work is a folder for what is needed meanwhile."""

    def __init__(self, build, work):
        self.build = build
        self.work = work
        self.sluice = os.environ.get("SLUICE") or os.path.join(build, "sluice")

    def tool(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def agent(self, name):
        return os.path.join(self.build, "tests", "bench", "agents", name + ".so")

    def peer(self, name):
        return os.path.join(SRCDIR, "tests", "bench", "peers", name)

    def shown(self, command):
        """A command for a reader, who is in the source tree."""
        line = shlex.join(command)
        for path, name in ((self.build, "build"), (SRCDIR + "/", ""), (self.work + "/", "")):
            line = line.replace(path, name)
        return line


# ---- what is told of the machine ----

def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = re.findall(r"(?m)^model name\s*: (.*)$", file.read())
    with open("/proc/meminfo", encoding="ascii") as file:
        kib = int(re.search(r"MemTotal: *(\d+)", file.read())[1])
    return {"cores": str(os.cpu_count()), "CPU": models[0] if models else platform.machine(),
            "memory": f"{kib / 1048576:.1f} GiB", "kernel": f"Linux {platform.release()}",
            "open files of a process": f"{resource.getrlimit(resource.RLIMIT_NOFILE)[1]:,}"}


def versions(players):
    found = {player.name: player.version() for player in players}
    found["C compiler"] = contestants.first_line("cc", "--version")
    found["C library"] = " ".join(platform.libc_ver())
    return found


def commands(places, players):
    """How each is built and started, and how load is for one of its cells."""
    n = 1000
    options, events = cells.live_times(cells.FULL, n)
    job = cells.Job("sleeping", n, events, cells.INTERVAL_MS)
    found = {}
    for player in players:
        steps = [player.built] if player.built else []
        found[player.name] = "\n".join(map(places.shown, [*steps, player.command("PORT", job)]))
    load = [places.tool("load"), "--port", "PORT", "--path", job.path, "--body", job.body,
            "--expect", str(job.events), "--mode", "live", "--pids", "PIDS"]
    for key, value in options.items():
        load += ["--" + key.replace("_", "-"), str(value)]
    found["load"] = places.shown(load)
    found["feed"] = places.shown([places.tool("feed"), "--port", "PORT"])
    return found


# ---- the rounds ----

class Rounds:
    """Measures cell after cell, and appends what came out."""

    def __init__(self, bench, path):
        self.bench = bench
        self.players = []
        self.path = path
        self.run = uuid.uuid4().hex[:8]
        self.began = time.monotonic()
        self.is_wrong = False

    def append(self, **record):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"run": self.run, **record}) + "\n")

    def say(self, words):
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"bench: {minutes:2}:{seconds:02} {words}", flush=True)

    def round(self, number, workloads):
        """The contestants take turns at each size, in another order each round."""
        for workload in workloads:
            given_up = set()
            for n in cells.sizes(workload, self.bench.scale):
                start = number % max(len(self.players), 1)
                for player in self.players[start:] + self.players[:start]:
                    self.cell(number, workload, player, n, given_up)

    def cell(self, number, workload, player, n, given_up):
        why = player.why_not(workload, n)
        if why == contestants.NOT_DONE:
            return
        if not why and player in given_up:
            why = "not tried"
        where = {"round": number, "workload": workload, "contestant": player.name, "n": n}
        if why:
            self.append(**where, skipped=why)
            return
        result = cells.measure(self.bench, player, workload, n)
        self.append(**where, result=result)
        held = result.get("held", 0)
        if workload in contestants.LIVE and held < self.bench.scale.held:
            given_up.add(player)
        if result["wrong"] and not held and player.name in contestants.OURS:
            self.is_wrong = True  # and it was not just too much
        self.say(f"{workload} {player.name} {n}: {self.summary(workload, result)}")

    @staticmethod
    def summary(workload, result):
        words = [f"{key} {result[key]:,.6g}" for key in SHOWN.get(workload, ()) if result.get(key)]
        return ", ".join(words + [f"WRONG: {line}" for line in result["wrong"][:2]]) or "done"


def measure(options, players, places):
    """Returns whether all was as it should be."""
    rounds = Rounds(cells.Bench(places, options.scale), options.results[0])
    for player in players:
        try:
            player.prepare()
            rounds.players.append(player)
        except contestants.Unfit as error:
            player.unfit = str(error)
            rounds.say(f"without {player.label}: {error}")
    rounds.append(machine=machine(), versions=versions(rounds.players),
                  commands=commands(places, rounds.players),
                  unfit={player.name: player.unfit for player in players if player.unfit},
                  scale={**dataclasses.asdict(options.scale),
                         "is_full": options.scale.window_ms == cells.FULL.window_ms})
    for number in range(1, options.rounds + 1):
        rounds.round(number, options.workloads)
    return not rounds.is_wrong


# ---- the command line ----

def names(allowed):
    """An argument that lists some of these."""
    def read(words):
        chosen = words.split(",")
        unknown = [word for word in chosen if word not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(allowed)}")
        return chosen
    return read


def numbers(words):
    return tuple(int(word) for word in words.split(","))


def read_options(args):
    players = [kind.name for kind in contestants.ALL]
    parser = argparse.ArgumentParser(
        description="Measures sluice beside others; see the head of bench.py.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a trial of everything, two minutes")
    size.add_argument("--tiny", action="store_true",
                      help="less still, for the test of this program")
    parser.add_argument("--workloads", type=names(WORKLOADS), default=list(WORKLOADS),
                        help=",".join(WORKLOADS))
    parser.add_argument("--contestants", type=names(players), default=players,
                        help=",".join(players))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--sizes", type=numbers, metavar="N,...", help="live agents")
    parser.add_argument("--build", default=os.path.join(SRCDIR, "build"), help="the build folder")
    parser.add_argument("--results", action="append", help="the file of results")
    parser.add_argument("--output", default=os.path.join(SRCDIR, "docs"),
                        help="where benchmarks.md and benchmarks/ are written")
    parser.add_argument("--append", action="store_true", help="keep the results that are there")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    options = parser.parse_args(args)
    options.build = os.path.abspath(options.build)
    options.results = options.results or [os.path.join(options.build, "tests", "bench",
                                                       "results.jsonl")]
    options.scale = cells.QUICK if options.quick else cells.TINY if options.tiny else cells.FULL
    if options.sizes:
        options.scale = dataclasses.replace(options.scale, sizes=options.sizes)
    options.rounds = options.rounds or options.scale.rounds
    return options


def limit_files():
    """The same limit for all that are started from here, some of which raise it to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = contestants.FILES if hard == resource.RLIM_INFINITY else min(hard, contestants.FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def read_results(paths):
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines += [line for line in file if line.endswith("\n")]  # the last may be cut off
    return Results(lines)


def main(args):
    options = read_options(args)
    is_fine = True
    limit_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped
    if not options.report_only:
        if not options.append and os.path.exists(options.results[0]):
            os.replace(options.results[0], options.results[0] + ".previous")
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as work:
            places = Places(options.build, work)
            players = [kind(places) for kind in contestants.ALL if kind.name in options.contestants]
            is_fine = measure(options, players, places)
    results = read_results(options.results)
    for path in write_report(results, options.output):
        print(f"bench: wrote {path}")
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
