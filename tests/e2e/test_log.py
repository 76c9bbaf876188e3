#!/usr/bin/python3
"""
The log: nobody waits for whoever reads it; what plugins print is in it, marked and
escaped; text or JSON.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import threading
import time

from harness import (BINARY, PATIENCE_S, main, plugin_path, run_sluice, types, wait_for)
from supervising import SupervisionTest, exists
from swapping import write

FINISHED = {"status": "finished"}
F_SETPIPE_SZ = 1031
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

# At most, of a report that a fiber holds the loop.
HELD_LINES = 40


class LogReader:
    """Reads a server's standard error, a small pipe, into its log; may pause."""

    def __init__(self, server):
        self.server = server
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.fd, self.end = os.pipe()
        fcntl.fcntl(self.end, F_SETPIPE_SZ, 4096)
        self.leaving = False
        self.thread = threading.Thread(target=self.copy, daemon=True)

    def start_process(self):
        self.log = open(self.server.log_path, "wb", buffering=0)
        self.server.process = subprocess.Popen(self.server.args, stdin=subprocess.DEVNULL,
                                               stderr=self.end, env=self.server.env)
        os.close(self.end)
        self.thread.start()

    def copy(self):
        with self.log as log:
            while not self.leaving and (data := os.read(self.fd, 65536)):
                log.write(data)
                self.goes_on.wait()
        os.close(self.fd)

    def pause(self):
        self.goes_on.clear()

    def resume(self):
        self.goes_on.set()

    def leave(self):
        self.leaving = True
        self.resume()


class LogTest(SupervisionTest):
    def read(self, server):
        """Start the server with a reader of its log."""
        reader = LogReader(server.server)
        server.server.start_process = reader.start_process
        self.addCleanup(reader.resume)
        server.start()
        return reader

    def print(self, server, data, **value):
        """Have fault_print print the bytes."""
        data = data.encode() if isinstance(data, str) else data
        return server.run("fault_print", {"print": data.hex(), "to": "error", **value})

    def wait_lines(self, server, *words, count=1):
        return wait_for(lambda: (lambda lines: lines if len(lines) >= count else None)
                        (server.lines(*words)), f"the log has {words}")

    def marks(self, server, generation=1):
        return f" plugin=fault_print generation={generation} pid={server.worker_of('fault_print')}"


class UnreadTest(LogTest):
    """Nobody reads the log, and there is more of it than fits anywhere."""

    NOISE = {"print": (b"noise " * 20).hex(), "to": "log", "repeat": 100, "period_ms": 5}

    def unread(self, *plugins, **settings):
        server = self.watch("fault_print", *plugins, start=False,
                            settings={"plugin.fault_print.log_rate": 0, **settings})
        reader = self.read(server)
        reader.pause()
        return server, reader

    def check_finished(self, server, run):
        wait_for(lambda: server.state(run)["status"] not in ("queued", "running"), "it ends")
        self.assertEqual(server.state(run)["status"], "finished")

    def test_no_run_is_ended(self):
        """Of three plugins, read and unread, over twice the time that makes a worker stuck."""
        server, reader = self.unread("fault_loop", "ticker", **{"host.stuck_timeout": 1})
        workers = server.serving("fault_loop") + server.serving("ticker")
        short, long = {"ticks": 20, "period_ms": 50}, {"ticks": 60, "period_ms": 50}
        streams = [server.open("fault_loop", value) for value in (short, long)]
        streams += [server.open("ticker", {"count": value["ticks"], "period_ms": 50})
                    for value in (short, long)]
        runs = [server.detach("fault_loop", value) for value in (short, long)]
        runs += [server.detach("ticker", {"count": value["ticks"], "period_ms": 50})
                 for value in (short, long)]
        runs.append(server.detach("fault_print", {**self.NOISE, "ticks": 100}))
        end = time.monotonic() + 2
        while time.monotonic() < end:
            server.signal(signal.SIGHUP)
            self.assertEqual(server.get("/healthz").status, 200)
            self.assertEqual(server.run("ticker", {"count": 1, "period_ms": 1})[-1].json(),
                             FINISHED)
        for stream in streams:
            stream.rest()
            self.assertEqual(stream.done, FINISHED)
        for run in runs:
            self.check_finished(server, run)
        reader.resume()
        lost, = self.wait_lines(server, " warn front log lines lost, because standard error was "
                                        "not read lines=")
        count = int(lost.rpartition("=")[2])
        printed = len(server.lines(" info worker noise", " plugin=fault_print"))
        self.assertGreater(count, 1000)
        self.assertGreater(printed, 500)
        self.assertLessEqual(printed, 10000 - 1000)
        self.assertGreaterEqual(printed + count, 10000)
        self.assertEqual(server.lines("worker stuck") + server.obituaries(), [])
        self.assertEqual(server.serving("fault_loop") + server.serving("ticker"), workers)

    def test_stops(self):
        """With a status of 0, although its last lines find no room."""
        server, _ = self.unread()
        self.check_finished(server, server.detach("fault_print", {**self.NOISE, "ticks": 60}))
        server.stop()

    def test_reader_that_pauses(self):
        """It misses nothing that the queue could hold, and has it in order."""
        server, reader = self.unread()
        for start in range(0, 1000, 100):
            numbers = "".join(f"number {n}.\n" for n in range(start, start + 100))
            self.assertEqual(self.print(server, numbers)[-1].json(), FINISHED)
        reader.resume()
        wait_for(lambda: server.lines("number 999."), "the last one is there")
        numbers = [int(n) for n in re.findall(r" info output number (\d+)\. plugin=", server.log())]
        self.assertEqual(numbers, list(range(1000)))
        self.assertEqual(server.lines("lines lost"), [])

    def test_reader_that_is_gone(self):
        server, reader = self.unread()
        reader.leave()
        for _ in range(3):
            self.assertEqual(server.run("fault_print", {**self.NOISE})[-1].json(), FINISHED)
        reader.thread.join(PATIENCE_S)
        self.assertEqual(server.run("fault_print", {**self.NOISE})[-1].json(), FINISHED)
        server.stop()


class OutputTest(LogTest):
    def serve_printer(self, *plugins, **settings):
        return self.watch("fault_print", *plugins, settings=settings)

    def test_lines_are_marked(self):
        server = self.serve_printer()
        self.assertEqual(self.print(server, "one\ntwo\r\n\nthree", to="out")[-1].json(), FINISHED)
        self.print(server, "\n", to="out")
        for word in ("one", "two", "three"):
            line, = self.wait_lines(server, f" {word} ")
            self.assertRegex(line, f"^{STAMP} info output {word}{self.marks(server)}$")
        events = self.print(server, "said", to="log")
        line, = self.wait_lines(server, " said ")
        run = events[0].json()["run"]
        self.assertRegex(line, f"^{STAMP} info worker said run={run}{self.marks(server)}$")
        self.assertEqual(len(server.lines(" info output ")), 4)

    def test_before_the_plugin_is_known(self):
        server = self.serve_printer()
        line, = server.lines("loading fault_print")
        self.assertRegex(line, rf"^{STAMP} info output loading fault_print plugin=- generation=1 "
                               rf"pid=\d+ file=\S+/fault_print\.so$")

    def test_forged_lines(self):
        forged = "2026-01-31T12:00:00.123Z fatal front all is lost plugin=ticker pid=1"
        server = self.serve_printer()
        self.print(server, f"{forged}\n\x05{forged}\0run\0\n\r{forged}\r{forged}\x1b[1A\n")
        lines = self.wait_lines(server, "all is lost", count=3)
        self.assertEqual(len(lines), 3)
        for line in lines:
            self.assertRegex(line, f"^{STAMP} info output ")
            self.assertTrue(line.endswith(self.marks(server)), line)
        self.print(server, f"x\n{forged}", to="log")
        line, = self.wait_lines(server, " info worker x")
        self.assertIn(rf" info worker x\x0a{forged} run=", line)
        self.assertEqual([line for line in server.log().splitlines()
                          if not re.match(STAMP + r" \w+ (front|worker|output) |sluice: ", line)],
                         [])

    def test_every_byte(self):
        server = self.serve_printer()
        self.print(server, b"all: " + bytes(set(range(256)) - {10}) + b" grm\xc3\xbcp\xc3\x9f "
                           b"\xc2\x9b31m \xe2\x80\xae \xe2\x80\xa8.\n")
        line, = self.wait_lines(server, " all: ")
        self.assertIn(r"all: \x00\x01\x02", line)
        self.assertIn(r"\x0d\x0e", line)
        self.assertIn(r"\x7f\x80\x81", line)
        self.assertIn(r"\xfe\xff grm", line)
        self.assertIn(r" grmüpß \xc2\x9b31m \xe2\x80\xae \xe2\x80\xa8. plugin=", line)
        with open(server.log_path, "rb") as log:
            data = log.read()
        self.assertNotRegex(data, rb"[\x00-\x09\x0b-\x1f\x7f]")
        data.decode()

    def test_long_lines_are_cut(self):
        server = self.serve_printer()
        self.print(server, "x" * 5000 + "\nafter\n")
        line, = self.wait_lines(server, "xxx")
        self.assertTrue(line.endswith(f" {'x' * 2048} bytes_cut=2952{self.marks(server)}"), line)
        self.wait_lines(server, " info output after ")

    def test_rate(self):
        """What is beyond it is counted; nobody else waits, or logs less."""
        server = self.serve_printer("ticker", **{"plugin.fault_print.log_rate": 10})
        others = self.bystanders(server)
        events = self.print(server, "".join(f"line {n}\n" for n in range(2500)), repeat=4)
        self.assertEqual(events[-1].json(), FINISHED)
        self.print(server, "said", to="log", repeat=3000)

        def lines():
            told = server.lines(" warn front plugin output dropped, because it was over its "
                                "log_rate plugin=fault_print lines=", " log_rate=10")
            dropped = sum(int(re.search(r"lines=(\d+)", line)[1]) for line in told)
            return dropped, len(server.lines(" output line ")) + len(server.lines(" worker said "))
        wait_for(lambda: sum(lines()) >= 13000, "all are told")
        dropped, logged = lines()
        # A slow machine's fiber holds the loop for 100 ms, and is told of within the rate.
        self.assertLessEqual(dropped + logged, 13000 + HELD_LINES)
        self.assertGreaterEqual(logged, 99)
        self.assertLess(logged, 1000)
        others.check()

    def test_rate_changes_by_reload(self):
        file = self.path("sluice.ini")
        write(file, b"[plugin fault_print]\nlog_rate = 1\n")
        server = self.watch("fault_print", start=False)
        server.args += ["-c", file]
        server.start()
        self.print(server, "one\n" * 100)
        self.wait_lines(server, "plugin output dropped")
        write(file, b"[plugin fault_print]\nlog_rate = 0\n")
        self.assertEqual(server.reload().returncode, 0)
        self.print(server, "two\n" * 100)
        self.wait_lines(server, " output two ", count=100)

    def test_last_words(self):
        """What it printed before it died, even without a newline, comes before its obituary."""
        server = self.serve_printer()
        worker = server.worker_of("fault_print")
        self.print(server, "last words", then="abort")
        wait_for(server.obituaries, "its death is logged")
        lines = server.lines(f" pid={worker}")
        at = [number for number, line in enumerate(lines) if " output last words " in line]
        self.assertEqual(len(at), 1, lines)
        self.assertIn("worker died: ", lines[at[0] + 1])

    def test_process_that_keeps_the_pipe(self):
        """A worker's end does not wait for what the plugin has left behind."""
        server = self.serve_printer()
        worker = server.worker_of("fault_print")
        before = server.descriptors()
        self.print(server, "orphan\n", to="child")
        left, = [pid for pid in server.workers() if pid != worker]
        self.assertTrue(exists(left))
        os.kill(worker, signal.SIGKILL)
        wait_for(server.obituaries, "its death is logged")
        wait_for(lambda: server.serving("fault_print") not in ([], [worker]), "another one serves")
        wait_for(lambda: server.descriptors() <= before, "the front has closed its ends")
        if exists(left):
            os.kill(left, signal.SIGKILL)
        self.print(server, "and on it goes\n")
        self.wait_lines(server, " info output and on it goes ")


class FormatTest(LogTest):
    TEXTS = ["plain", 'a "quoted" \\ text', "tab\tbell\a", "\x1b[31mred\x1b[0m", "\u009b1A",
             "\u2028\u202e\ufeff", "grüß 你好 😀", "plugin=other pid=1", '"} {"level":"fatal"',
             "\x7f\x01", "%s%n%d"]

    def objects(self, server):
        """Each line of the log, which is one object, without a name twice."""
        def unique(pairs):
            self.assertEqual(len(dict(pairs)), len(pairs), pairs)
            return dict(pairs)
        found = []
        for line in server.log().split("\n")[:-1]:
            found.append(json.loads(line, object_pairs_hook=unique))
            self.assertRegex(found[-1]["time"], f"^{STAMP}$")
            self.assertIn(found[-1]["level"], ("fatal", "error", "plugin", "warn", "info", "debug"))
        return found

    def wait_object(self, server, **members):
        return wait_for(lambda: next((each for each in self.objects(server)
                                      if each.items() >= members.items()), None), str(members))

    def start_json(self, server):
        pattern = r'"message":"listening on http://127\.0\.0\.1:(\d+)"'

        def find_address():
            match = re.search(pattern, server.log())
            if match:
                server.server.address = ("127.0.0.1", int(match[1]))
            return match
        server.server.find_address = find_address
        server.start()

    def test_json(self):
        server = self.watch("fault_print", "ticker", start=False,
                            settings={"host.log_format": "json"})
        self.start_json(server)
        worker = server.worker_of("fault_print")
        ready = self.wait_object(server, message="worker ready", plugin="fault_print")
        self.assertEqual((ready["module"], ready["generation"], ready["pid"], ready["mode"]),
                         ("front", 1, worker, "fiber"))
        marks = {"plugin": "fault_print", "generation": 1, "pid": worker, "level": "info"}
        for text in self.TEXTS:
            self.print(server, text + "\n")
            self.wait_object(server, module="output", message=text, **marks)
            run = self.print(server, text, to="log")[0].json()["run"]
            self.wait_object(server, module="worker", message=text, run=run, **marks)
        self.print(server, b"bad \xff\xc3 utf-8 \xed\xa0\x80\n")
        self.wait_object(server, message="bad \ufffd\ufffd utf-8 \ufffd\ufffd\ufffd", **marks)
        self.print(server, "last", then="abort")
        self.wait_object(server, signal=6, pid=worker,
                         message="worker died: the agent crashed: SIGABRT (abort() was called)")
        server.stop()
        self.objects(server)

    def test_json_of_a_start_that_fails(self):
        server = self.watch(start=False, settings={"host.log_format": "json",
                                                   "host.listen": "203.0.113.1:1",
                                                   "host.allow_anonymous": "yes"})
        server.args = [arg for arg in server.args if arg not in ("--listen", "127.0.0.1:0")]
        server.server.args = server.args
        server.server.start_process()
        server.server.is_stopped = True
        self.assertEqual(server.wait(), 1)
        self.wait_object(server, level="error", message="cannot listen on 203.0.113.1:1: Cannot "
                                                        "assign requested address")

    def test_reload_changes_level_and_format(self):
        file = self.path("sluice.ini")
        write(file, b"[host]\nlog_level = warn\n")
        server = self.watch("fault_print", start=False)
        server.server.args = [arg for arg in server.args if arg != "-v"] + ["-c", file]
        server.start()
        self.assertEqual(server.lines(" info "), server.lines(" info output loading fault_print"))
        self.print(server, "not said", to="log")
        write(file, b"[host]\nlog_level = info\n")
        self.assertEqual(server.reload().returncode, 0)
        self.wait_lines(server, "configuration reloaded")

        def is_said():
            self.print(server, "now said", to="log")
            return server.lines(" info worker now said run=")
        wait_for(is_said, "the worker knows")
        self.assertEqual(server.lines("not said"), [])
        before = len(server.log())
        write(file, b"[host]\nlog_level = info\nlog_format = json\n")
        self.assertEqual(server.reload().returncode, 0)
        self.print(server, "as json\n")
        wait_for(lambda: '"as json"' in server.log(), "it is logged")
        said, = [json.loads(line) for line in server.log()[before:].splitlines()
                 if '"as json"' in line]
        self.assertEqual(said["module"], "output")


class TerminalTest(LogTest):
    """Subcommands leave standard error to the plugin."""

    def test_check(self):
        ended = run_sluice("check", plugin_path("fault_print"))
        self.assertEqual((ended.returncode, ended.stderr), (0, b"loading fault_print\n"))

    def test_run(self):
        value = {"print": b"raw\x1b[0m\n".hex(), "to": "error"}
        ended = run_sluice("run", plugin_path("fault_print"), json.dumps(value))
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(ended.stderr, b"loading fault_print\nraw\x1b[0m\n")
        value = {"print": b"said".hex(), "to": "log"}
        ended = run_sluice("run", "-v", plugin_path("fault_print"), json.dumps(value))
        self.assertRegex(ended.stderr.decode(), f"(?m)^{STAMP} info run said run=")


if __name__ == "__main__":
    main()
