#!/usr/bin/python3
"""
A swap storm: many streams are open, their plugin is swapped again and again by
rename, new runs start all the time, and nothing may be lost.

    swap_storm.py [--streams N] [--swaps N] [--seconds S] [--set host.KEY=VALUE]...

Needs the environment that environment.py describes. Prints a report; exits with
status 1 if anything was lost, failed or was left behind.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time

from harness import (PATIENCE_S, SANITIZED, Connection, Server, Swarm, memory_kib, plugin_path,
                     read_stream, run_sluice, wait_for)

PERIOD_MS = 100
LONGEST = 0.1        # the share of streams that last from before the first swap to the end
PROBE_PAUSE_S = 0.02
RETENTION_S = 2      # of ended runs: what is kept of them would look like a leak
RETAINED = 4300      # more runs than a host remembers

# Of the host's memory, which keeps the last events of the runs it remembers.
MOST_GROWN_KIB = 32 * 1024

TICK = re.compile(rb'\{"n":(\d+),"version":"(\w+)","generation":(\d+),"ns":(\d+)\}')


# ---- the streams ----

class Storm(Swarm):
    """Streams that are replaced as they end. What goes wrong is noted, and the rest goes on."""

    def __init__(self, address):
        super().__init__(address, self.take)
        self.events = 0
        self.faults = []
        self.mixed = 0
        self.hole_s = 0.0          # between two ticks as they came, beyond the period
        self.emission_hole_s = 0.0 # the same between their own stamps
        self.generations = set()

    def start(self, seconds):
        stream = self.add("swap", {"count": max(1, round(seconds * 1000 / PERIOD_MS)),
                                   "period_ms": PERIOD_MS})
        stream.wanted = json.loads(stream.request.rpartition(b"\r\n\r\n")[2])["count"]
        stream.ticks = 0
        stream.made_by = None
        stream.last_s = stream.last_ns = None
        return stream

    def take(self, stream, event):
        self.events += 1
        if event.type == "run":
            value = event.json()
            stream.made_by = (value["version"], value["generation"])
            self.generations.add(value["generation"])
        elif event.type == "tick":
            self.take_tick(stream, event)

    def take_tick(self, stream, event):
        match = TICK.fullmatch(event.data)
        if not match or int(match[1]) != stream.ticks + 1:
            raise AssertionError(f"{event} comes behind tick {stream.ticks}")
        stream.ticks += 1
        if (match[2].decode(), int(match[3])) != stream.made_by:
            self.mixed += 1
        now_s, now_ns = time.monotonic(), int(match[4])
        if stream.last_s is not None:
            period_s = PERIOD_MS / 1000
            self.hole_s = max(self.hole_s, now_s - stream.last_s - period_s)
            self.emission_hole_s = max(self.emission_hole_s,
                                       (now_ns - stream.last_ns) / 1e9 - period_s)
        stream.last_s, stream.last_ns = now_s, now_ns

    def begin(self, client, stream):
        try:
            super().begin(client, stream)
        except OSError as error:
            self.fail(client, stream, error)

    def receive(self, client, stream):
        try:
            super().receive(client, stream)
        except (AssertionError, OSError) as error:
            self.fail(client, stream, error)

    def fail(self, client, stream, error):
        self.faults.append(f"stream {stream.number}: {error}")
        self.drop(client)

    @property
    def lost(self):
        """Ticks that did not come, or not in order."""
        return sum(stream.wanted - stream.ticks for stream in self.streams)

    def unfinished(self):
        return [f"stream {stream.number}: {stream.parser.done}" for stream in self.streams
                if stream.parser.done != {"status": "finished"}]


# ---- the swaps, in a process of their own ----

class Swapper:
    """Renames one version over the other, and starts a run every few milliseconds to see which."""

    def __init__(self, server, swaps, seconds):
        self.address = server.address
        self.folder = server.plugin_folder
        self.swaps = swaps
        self.seconds = seconds
        self.latencies_s = []
        self.missed = 0
        self.runs = 0
        self.faults = []
        self.connection = None

    def run(self, pipe):
        began = time.monotonic()
        pause_s = self.seconds / self.swaps
        generation = self.probe()[1]
        for n in range(self.swaps):
            self.idle(began + n * pause_s)
            generation = self.swap(n, generation, began + (n + 1) * pause_s)
        self.idle(began + self.seconds)
        pipe.send({"latencies_s": self.latencies_s, "missed": self.missed, "runs": self.runs,
                   "faults": self.faults, "last": self.probe()})

    def swap(self, n, generation, deadline):
        version = ("two", "one")[n % 2]
        renamed = rename(self.folder, version)
        while time.monotonic() < deadline or n == self.swaps - 1:
            made_by = self.probe()
            if made_by[0] == version and made_by[1] > generation:
                self.latencies_s.append(time.monotonic() - renamed)
                return made_by[1]
            if time.monotonic() > renamed + PATIENCE_S:
                break
            time.sleep(0.002)
        self.missed += 1
        return generation

    def idle(self, until):
        while time.monotonic() < until:
            self.probe()
            time.sleep(PROBE_PAUSE_S)

    def probe(self):
        """(version, generation) of a run that starts now."""
        self.runs += 1
        try:
            if self.connection is None:
                self.connection = Connection(self.address)
            self.connection.post("swap", {"count": 1, "period_ms": 0})
            answer = self.connection.response()
            if answer.status != 200:
                raise AssertionError(f"{answer.status}: {answer.body!r}")
            return self.check(read_stream(answer.body))
        except (AssertionError, OSError) as error:
            self.faults.append(f"probe {self.runs}: {error}")
            self.connection = None
            return ("", 0)

    def check(self, events):
        if [event.type for event in events] != ["run", "tick", "total", "done"] or \
                events[-1].json() != {"status": "finished"}:
            raise AssertionError(f"{events}")
        made_by = [(event.json()["version"], event.json()["generation"]) for event in events[:2]]
        if made_by[0] != made_by[1]:
            raise AssertionError(f"a run of {made_by[0]} has events of {made_by[1]}")
        return made_by[0]


def rename(folder, version):
    """Puts the version in place; returns when that was."""
    temporary = os.path.join(folder, ".swap.new")
    shutil.copy(plugin_path("swap_" + version), temporary)
    renamed = time.monotonic()
    os.rename(temporary, os.path.join(folder, "swap.so"))
    return renamed


# ---- the host, before and after ----

class Host:
    def __init__(self, folder, settings):
        self.admin = os.path.join(folder, "admin")
        self.server = Server(folder, (), {"host.admin": self.admin, "host.max_generations": 1024,
                                          "host.drain_timeout": 86400,
                                          "host.retention": RETENTION_S, **settings}, None)
        self.server.args.remove("-v")
        rename(self.server.plugin_folder, "one")
        self.server.start()

    def generations(self):
        ended = run_sluice("list", "--json", "--admin", self.admin)
        if ended.returncode != 0:
            raise AssertionError(f"sluice list: {ended.stderr.decode()}")
        return json.loads(ended.stdout)["plugins"][0]["generations"]

    def wait_drained(self):
        wait_for(lambda: len(self.generations()) == 1 and
                 all(worker["live_runs"] == 0 for worker in self.generations()[0]["workers"]),
                 "one generation is left, without runs", PATIENCE_S + 30)

    def wait_version(self, version):
        wait_for(lambda: [generation["version"] for generation in self.generations()
                          if generation["state"] == "serving"] == [version],
                 f"version {version} serves")

    def measure(self):
        front = self.server.process.pid
        return {"processes": len(self.server.pids()),
                "open files": len(os.listdir(f"/proc/{front}/fd")),
                "plugin folder": len(os.listdir(self.server.plugin_folder)),
                "RSS KiB": memory_kib(front, "Rss")}

    def warm_up(self, streams):
        """
        Whatever a host keeps once it has seen so many streams, has ended so many
        runs and has swapped, it keeps from here on.
        """
        swarm = Swarm(self.server.address)
        for _ in range(streams):
            swarm.add("swap", {"count": 3, "period_ms": PERIOD_MS})
        swarm.finish(PATIENCE_S + 30)
        while len(swarm.streams) < streams + RETAINED:
            while swarm.open < 32:
                swarm.add("swap", {"count": 3, "period_ms": 0})
            swarm.step()
        swarm.finish(PATIENCE_S + 30)
        swarm.close()
        for version in ("two", "one"):
            rename(self.server.plugin_folder, version)
            self.wait_version(version)
        self.wait_drained()


def settle(host, before):
    """What is measured when all is over; what goes away at all may take a moment to."""
    def is_clean():
        now = host.measure()
        return all(now[name] <= before[name] for name in before if name != "RSS KiB")

    try:
        host.wait_drained()
        wait_for(is_clean, "nothing is left behind")
    except AssertionError as error:
        print(f"swap storm: {error}", file=sys.stderr)
    return host.measure()


# ---- the storm ----

def blow(host, options):
    """Keeps the streams open while the swapper works; returns the storm and its report."""
    chance = random.Random(1)
    mine, theirs = multiprocessing.Pipe()
    swapper = Swapper(host.server, options.swaps, options.seconds)
    storm = Storm(host.server.address)
    for n in range(options.streams):
        if n < options.streams * LONGEST:
            storm.start(options.seconds + 1)
        else:
            storm.start(chance.uniform(0.1, options.seconds / 2))
    storm.until(lambda: storm.faults or all(stream.ticks > 0 for stream in storm.streams),
                "all streams are open", PATIENCE_S + 30)
    process = multiprocessing.Process(target=swapper.run, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    while not mine.poll() and process.is_alive():
        while storm.open < options.streams:
            storm.start(chance.uniform(0.1, options.seconds / 2))
        storm.step(0.05)
    report = mine.recv()
    process.join()
    storm.finish(PATIENCE_S + options.seconds)
    return storm, report


def print_report(options, storm, swaps, before, after):
    runs = len(storm.streams) + swaps["runs"]
    print(f"swaps                 {options.swaps} in {options.seconds:g} s, "
          f"{swaps['missed']} not seen before the next one")
    print(f"streams               {options.streams} open at a time, {len(storm.streams)} in all, "
          f"an event each {PERIOD_MS} ms")
    print(f"runs                  {runs}, on {len(storm.generations)} generations")
    print(f"events                {storm.events}")
    print(f"lost                  {storm.lost}")
    print(f"not finished          {len(storm.unfinished())}")
    print(f"failed requests       {len(storm.faults) + len(swaps['faults'])}")
    print(f"of two generations    {storm.mixed}")
    if swaps["latencies_s"]:
        print(f"rename to first run   p50 {statistics.median(swaps['latencies_s']) * 1000:.0f} ms, "
              f"max {max(swaps['latencies_s']) * 1000:.0f} ms")
    print(f"largest hole          {storm.hole_s * 1000:.0f} ms beyond the period as events came, "
          f"{storm.emission_hole_s * 1000:.0f} ms as they were emitted")
    for name in before:
        print(f"{name:21} {before[name]} before, {after[name]} after")


def judge(storm, swaps, before, after):
    """What is wrong, in words."""
    wrong = storm.faults + storm.unfinished() + swaps["faults"]
    if storm.lost or storm.mixed:
        wrong.append(f"{storm.lost} events were lost, {storm.mixed} are of another generation")
    for name in before:
        most = before[name]
        if name == "RSS KiB":
            most += (1 << 30) if SANITIZED else MOST_GROWN_KIB
        if after[name] > most:
            wrong.append(f"{name}: {after[name]}, it was {before[name]}")
    if not swaps["latencies_s"]:
        wrong.append("no swap was seen")
    return wrong


def read_options(args):
    parser = argparse.ArgumentParser(description="Swaps a plugin under many streams.")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="host.KEY=VALUE")
    return parser.parse_args(args)


def main(args):
    options = read_options(args)
    folder = tempfile.mkdtemp(prefix="sluice-storm-")
    host = None
    try:
        host = Host(folder, dict(setting.split("=", 1) for setting in options.set))
        host.warm_up(options.streams)
        before = host.measure()
        storm, swaps = blow(host, options)
        after = settle(host, before)
        print_report(options, storm, swaps, before, after)
        wrong = judge(storm, swaps, before, after)
        host.server.stop()
        for line in wrong[:20]:
            print(f"swap storm: {line}", file=sys.stderr)
        if wrong:
            print(host.server.log(), file=sys.stderr)
        return 1 if wrong else 0
    finally:
        if host:
            host.server.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
