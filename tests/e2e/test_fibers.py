#!/usr/bin/python3
"""What fibers share, and what they must not: the thread, its stacks, its exceptions, its time."""


import json
import os
import shutil
import subprocess
import unittest

from harness import (BINARY, SANITIZED, SRCDIR, Swarm, Test, main, run_sluice, text_of, types,
                     wait_for)
from supervising import SupervisionTest

FINISHED = {"status": "finished"}

# The receive buffer of a client that shall be behind soon.
SMALL = 64 * 1024


class FiberTest(SupervisionTest):
    def check_lives(self, server, plugin, worker):
        self.assertEqual(server.serving(plugin), [worker])
        self.assertEqual(server.obituaries(), [])
        self.assertEqual(server.lines("stuck"), [])


class StackTest(FiberTest):
    def test_frame_that_is_larger_than_a_stack(self):
        """
        It kills its worker. Without that, it would write over what another run
        has on its stack, and finish.
        """
        server = self.watch("fiber_frame")
        worker = server.serving("fiber_frame")[0]
        path = self.path("go")
        streams = []
        for how in ["wait"] * 10 + ["frame"] + ["wait"] * 10:
            streams.append(server.open("fiber_frame", {"how": how, "until": path}))
            streams[-1].until("ready")
        with open(path, "wb"):
            pass
        for stream in [streams[10], *streams]:
            stream.rest()
            self.check_failed(stream.done, "worker_crashed")
        wait_for(lambda: server.obituaries(f"pid={worker} "), "its death is logged")
        os.unlink(path)
        stream = server.open("fiber_frame", {"how": "wait"})
        stream.until("ready")
        self.assertNotIn(worker, server.serving("fiber_frame"))


class SharedBufferTest(FiberTest):
    BYTES = 200 * 1024
    COUNT = 16

    def setUp(self):
        super().setUp()
        self.server = self.watch("fiber_shared")
        self.worker = self.server.serving("fiber_shared")[0]

    def inside(self):
        """How many runs wait in a call that emits."""
        return self.server.run("fiber_shared", {"how": "look"})[-1].json()["result"]["inside"]

    def start(self, how):
        """Two runs that format into the same buffer and wait for their readers."""
        value = {"how": how, "bytes": self.BYTES, "count": self.COUNT}
        streams = [self.server.open("fiber_shared", {**value, "letter": letter}, SMALL)
                   for letter in "an"]
        wait_for(lambda: self.inside() == 2, "both wait for their readers")
        return streams

    def check_event(self, event, letter):
        self.assertEqual(event.type, f"form_{letter}")
        unit = "\n" if letter == "n" else letter
        value = event.json()
        self.assertEqual((value["form"], len(value["pad"]), set(value["pad"])),
                         (letter, self.BYTES, {unit}))

    def test_events(self):
        for letter, stream in zip("an", self.start("event")):
            events = stream.rest()
            self.assertEqual(len(events), self.COUNT + 2)
            self.assertEqual(stream.done, FINISHED)
            for event in events[1:-1]:
                self.check_event(event, letter)
        self.check_lives(self.server, "fiber_shared", self.worker)

    def test_text(self):
        for unit, stream in zip("a\n", self.start("text")):
            events = stream.rest()
            self.assertEqual(types(events), ["run"] + ["text"] * self.COUNT + ["done"])
            self.assertEqual(stream.done, FINISHED)
            text = text_of(events)
            self.assertEqual((len(text), set(text)), (self.BYTES * self.COUNT, {unit}))
        self.check_lives(self.server, "fiber_shared", self.worker)


class ExceptionTest(FiberTest):
    COUNT = 20

    def test_runs_that_wait_in_a_catch_block(self):
        """Each rethrows its own exception, whatever order they go on in."""
        server = self.watch("fiber_catch")
        worker = server.serving("fiber_catch")[0]
        streams = [server.open("fiber_catch", {"number": number, "meet": self.COUNT})
                   for number in range(self.COUNT)]
        for number, stream in enumerate(streams):
            stream.rest()
            self.assertEqual(stream.done, {**FINISHED, "result": {"inside": str(number),
                                                                  "outside": str(number)}})
        self.check_lives(server, "fiber_catch", worker)


    def test_tasks_that_wait_in_a_catch_block(self):
        server = self.watch("fiber_catch")
        worker = server.serving("fiber_catch")[0]
        stream = server.open("fiber_catch", {"tasks": self.COUNT, "meet": self.COUNT})
        stream.rest()
        self.assertEqual(stream.done, {**FINISHED, "result": {"right": self.COUNT}})
        self.check_lives(server, "fiber_catch", worker)


class RuntimeTest(Test):
    """Exceptions stay on their fiber, whichever C++ runtime the plugin has, and wherever it is."""

    TASKS = {"tasks": 10, "meet": 10}
    STATIC = ("-static-libstdc++", "-static-libgcc")

    def run_command(self, *words):
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(BINARY))
        return subprocess.run(words, env=env, capture_output=True, text=True)

    def flags(self, kind):
        return self.run_command("pkg-config", kind, "sluice").stdout.split()

    def compile(self, *compiler):
        """The object, or nothing if this compiler is not there, or its library is not."""
        made = self.path("fiber_catch.o")
        source = os.path.join(SRCDIR, "tests", "plugins", "fiber_catch.cc")
        done = shutil.which(compiler[0]) and self.run_command(
            *compiler, "-std=c++20", "-fPIC", "-c", source, "-o", made, *self.flags("--cflags"))
        return made if done and done.returncode == 0 else None

    def check_linked(self, *words, name="fiber_catch.so"):
        plugin = self.path(name)
        done = self.run_command(*words, "-shared", "-o", plugin)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run_sluice("run", plugin, json.dumps(self.TASKS))
        self.assertIn(b'"result":{"right":%d}' % self.TASKS["tasks"], done.stdout, (words, done))

    @unittest.skipIf(SANITIZED, "what is linked with a sanitized library has to be sanitized too")
    def test_libstdcxx(self):
        made = self.compile("g++")
        self.assertIsNotNone(made)
        self.check_linked("g++", made)
        self.check_linked("g++", made, *self.STATIC)
        self.check_linked("g++", made, *self.STATIC, *self.flags("--libs"))

    @unittest.skipIf(SANITIZED, "what is linked with a sanitized library has to be sanitized too")
    def test_libcxx(self):
        clang = ("clang++", "-stdlib=libc++")
        made = self.compile(*clang)
        if made is None:
            self.skipTest("no clang++ with libc++")
        self.check_linked(*clang, made)
        self.check_linked(*clang, made, *self.flags("--libs"))
        self.check_linked("clang++", "-nostdlib++", made, "-Wl,--push-state,-Bstatic", "-lc++",
                          "-lc++abi", "-Wl,--pop-state", "-lpthread", *self.flags("--libs"))


class TimeTest(FiberTest):
    RUNS = 100 if SANITIZED else 500

    def test_timers_that_are_always_due(self):
        """Runs that sleep 1 ms each, but take longer together, hold up nobody."""
        server = self.watch("fiber_starve", settings={"host.stuck_timeout": 1})
        worker = server.serving("fiber_starve")[0]
        swarm = Swarm(server.address)
        try:
            self.check_time_is_shared(swarm)
        finally:
            swarm.close()
        wait_for(lambda: server.workers_of("fiber_starve")[0]["live_runs"] == 0,
                 "they see that their clients left")
        self.check_lives(server, "fiber_starve", worker)

    def check_time_is_shared(self, swarm):
        for _ in range(self.RUNS):
            swarm.add("fiber_starve", {"how": "churn", "period_ms": 1, "work_us": 20, "every": 16})
        swarm.until(lambda: all(stream.parser.count >= 2 for stream in swarm.streams),
                    "the events of all runs flow")
        ticks = swarm.add("fiber_starve", {"how": "tick", "period_ms": 10, "count": 250})
        swarm.until(lambda: ticks.done, "a run that ticks goes on, for longer than it takes to "
                    "be called stuck")
        self.assertEqual((ticks.parser.count, ticks.parser.done), (252, FINISHED))
        counts = [stream.parser.count for stream in swarm.streams[:self.RUNS]]
        swarm.until(lambda: all(stream.parser.count > count for stream, count
                                in zip(swarm.streams, counts)), "the others go on, too")

    def test_no_sleep_is_too_short(self):
        server = self.watch("fiber_sleep")
        streams = [server.open("fiber_sleep", {"how": "measure", "ms": ms, "count": 300 // ms})
                   for ms in (1, 2, 3, 5, 1, 2, 3, 5)]
        for stream in streams:
            stream.rest()
            self.assertEqual(stream.done["status"], "finished")
            self.assertEqual(stream.done["result"]["early"], 0, stream.done)

    def test_sleep_of_no_time(self):
        """It lets others run, and sees that its run is cancelled."""
        server = self.watch("fiber_sleep")
        worker = server.serving("fiber_sleep")[0]
        for how in ("zero", "zero_status"):
            with self.subTest(how=how):
                restless = server.open("fiber_sleep", {"how": how})
                restless.until("ready")
                for _ in range(3):
                    events = server.run("fiber_sleep", {"how": "measure", "ms": 1, "count": 3})
                    self.assertEqual(events[-1].json()["status"], "finished")
                run = restless.run
                self.assertEqual(server.get("/runs/" + run).json()["status"], "running")
                restless.close()
                wait_for(lambda: server.get("/runs/" + run).json()["status"] == "cancelled",
                         "it sees that its client left")
        self.check_lives(server, "fiber_sleep", worker)


if __name__ == "__main__":
    main()
