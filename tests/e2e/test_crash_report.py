#!/usr/bin/python3
"""
What is told of a plugin that ends its process: the text before it arrives, the log says what
happened, in which run and where, and whoever started the run is told. In fiber and thread mode, by
`sluice run` and `sluice serve`.
"""

import re
import shutil
import signal
import subprocess
import unittest

from harness import (BINARY, PATIENCE_S, SANITIZED, Test, main, plugin_path, run_sluice, text_of,
                     types, wait_for)

PLUGINS = ("fault_crash", "fault_crash_fiber")

# How the plugin crashes, the signal, and what the message says of it.
CRASHES = {
    "null": (signal.SIGSEGV, "SIGSEGV (invalid address 0x0)"),
    "call": (signal.SIGSEGV, "SIGSEGV (invalid address 0x0)"),
    "divide": (signal.SIGFPE, "SIGFPE (integer division by zero)"),
    "abort": (signal.SIGABRT, "SIGABRT (abort() was called)"),
    "raise": (signal.SIGBUS, "SIGBUS (raised by the process itself)"),
    "recurse": (signal.SIGSEGV, "SIGSEGV (the stack is used up)"),
    "chain": (signal.SIGSEGV, "SIGSEGV (invalid address 0x0)"),
}
# Those that a sanitizer leaves to the host.
if SANITIZED:
    CRASHES = {how: CRASHES[how] for how in ("abort",)}

EXITS = {"exit": "exit(0)", "quick_exit": "quick_exit()", "_exit": "_exit(3)"}
if SANITIZED:  # which define _exit() themselves
    del EXITS["_exit"]

FUNCTIONS = ("dig_four", "dig_three", "dig_two", "dig_one")


class ReportTest(Test):
    def each(self, names):
        for plugin in PLUGINS:
            for name in names:
                with self.subTest(plugin=plugin, how=name):
                    yield plugin, name

    def check_frames(self, lines, plugin, how):
        """The lines have the plugin's frames in order, with their functions and, if it can be
        had, the lines of its source."""
        if how == "recurse":
            self.assertRegex(lines, rf"#0 {plugin}\.so\+0x[0-9a-f]+ recurse\b")
            self.assertIn("the same up to #", lines)
            return
        where = r" \([^ )]*fault_crash\.c:\d+\)" if shutil.which("addr2line") else ""
        pattern = "[^#]*".join(rf"#\d+ {plugin}\.so\+0x[0-9a-f]+ {function}{where}"
                               for function in FUNCTIONS)
        self.assertRegex(lines, pattern)
        self.assertNotIn("/proc/", lines)


class RunTest(ReportTest):
    def run_plugin(self, plugin, how, *args):
        return run_sluice("run", *args, plugin_path(plugin), f'"{how}"')

    def test_crash(self):
        for plugin, how in self.each(CRASHES):
            number, words = CRASHES[how]
            ended = self.run_plugin(plugin, how, "--text")
            log = ended.stderr.decode()
            self.assertEqual((ended.returncode, ended.stdout), (-number, b"before"), log)
            self.assertIn(f"sluice: the agent crashed: {words}\n", log)
            self.check_frames(log, plugin, how)

    def test_stream_ends_in_done(self):
        for plugin, how in self.each([*CRASHES, *EXITS]):
            ended = self.run_plugin(plugin, how)
            words = f"the agent crashed: {CRASHES[how][1]}" if how in CRASHES else \
                f"the plugin called {EXITS[how]}"
            blocks = ended.stdout.decode().split("\n\n")
            self.assertEqual([block.splitlines()[0] for block in blocks[:-1]],
                             ["event: run", "event: text", "event: done"])
            self.assertIn('data: {"status":"failed","error":{"code":"worker_crashed","message":"' +
                          words + '"}}\n', blocks[2])
            self.assertEqual([block.split(".")[-1] for block in blocks[:-1]], ["1", "2", "3"])

    def test_exit_is_no_success(self):
        for plugin, how in self.each(EXITS):
            ended = self.run_plugin(plugin, how, "--text")
            log = ended.stderr.decode()
            self.assertEqual((ended.returncode, ended.stdout), (1, b"before"), log)
            self.assertIn(f"sluice: the plugin called {EXITS[how]}\n", log)
            self.check_frames(log, plugin, how)

    def test_pthread_exit(self):
        """It ends the run, not the process, where it ends a thread of its own."""
        ended = self.run_plugin("fault_crash", "cancel")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b'"message":"handle() ended its thread with pthread_exit(): it must return"',
                      ended.stdout)
        if SANITIZED:
            self.skipTest("AddressSanitizer does not follow pthread_exit() from a fiber's stack")
        ended = self.run_plugin("fault_crash_fiber", "cancel", "--text")
        self.assertEqual((ended.returncode, ended.stdout), (1, b"before"))
        self.assertIn(b"sluice: the plugin called pthread_exit()\n", ended.stderr)

    @unittest.skipIf(SANITIZED, "sanitizers report these faults")
    def test_stack_of_a_fiber(self):
        """It is said which setting cures it; and it does."""
        plugin = "fault_crash_fiber"
        ended = self.run_plugin(plugin, "overflow", "--text")
        self.assertEqual((ended.returncode, ended.stdout), (-signal.SIGSEGV, b"before"))
        self.assertIn(b"the agent crashed: SIGSEGV (the stack is used up)\n", ended.stderr)
        self.assertIn(b"in the guard page of a fiber's stack: raise plugin.fault_crash_fiber.stack "
                      b"above 256K, or put large arrays on the heap", ended.stderr)
        ended = self.run_plugin(plugin, "overflow", "--text", "--set", f"plugin.{plugin}.stack=1M")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, b"before", b""))
        ended = self.run_plugin("fault_crash", "recurse", "--text")
        self.assertRegex(ended.stderr.decode(), r"below a thread's stack of \d+K: raise the limit")

    @unittest.skipIf(SANITIZED, "sanitizers report these faults")
    def test_handler_of_the_plugin_stays(self):
        for plugin, how in self.each(["handler"]):
            ended = self.run_plugin(plugin, how, "--text")
            self.assertEqual((ended.returncode, ended.stderr), (-signal.SIGSEGV, b"my own handler\n"))

    @unittest.skipIf(SANITIZED, "sanitizers report these faults")
    def test_fault_inside_the_report(self):
        """What could be said is said, and the process ends by the first signal."""
        path = self.path("whole.so")
        shutil.copy(plugin_path("fault_crash_fiber"), path)
        ended = run_sluice("run", "--text", path, '"cut"')
        self.assertEqual((ended.returncode, ended.stdout), (-signal.SIGSEGV, b"before"))
        self.assertIn(b"sluice: the agent crashed: SIGSEGV (invalid address 0x0)\n", ended.stderr)

    def test_child_reports_nothing(self):
        for plugin, how in self.each(["forked"]):
            ended = self.run_plugin(plugin, how, "--text")
            self.assertEqual(ended.returncode, 0)
            if not SANITIZED:
                self.assertEqual((ended.stdout, ended.stderr), (b"before and after", b""))

    def test_closed_pipe(self):
        for plugin, how in self.each(["pipe"]):
            ended = self.run_plugin(plugin, how, "--text")
            self.assertEqual((ended.returncode, ended.stdout), (0, b"before and after"))

    def test_reader_of_the_stream_leaves(self):
        """As a program does that the shell has in a pipe."""
        process = subprocess.Popen([BINARY, "run", plugin_path("ticker"),
                                    '{"count":1000000,"period_ms":1}'],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(PATIENCE_S), -signal.SIGPIPE)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()

    def test_standard_output_is_the_streams(self):
        for plugin, how in self.each(["print"]):
            ended = self.run_plugin(plugin, how, "--text")
            self.assertEqual((ended.returncode, ended.stdout), (0, b"before and after"))
            self.assertEqual(ended.stderr, b"printed by the plugin\nprinted by a child\n")


class ServeTest(ReportTest):
    def check_told(self, server, plugin, how, words, worker, number=None):
        """The run's text has arrived, its message and the log say it."""
        events = server.run(plugin, how)
        run = events[0].json()["run"]
        self.assertEqual(types(events), ["run", "text", "done"])
        self.assertEqual(text_of(events), "before")
        self.assertEqual(events[-1].json(), {"status": "failed", "error": {
            "code": "worker_crashed", "message": words}})
        marks = f"run={run} plugin={plugin} generation=1 pid={worker}"
        self.assertEqual(len(server.lines(f" plugin worker {words} {marks}")), 1)
        self.assertEqual(len(server.lines(
            f" plugin front worker died: {words} plugin={plugin} generation=1 pid={worker} "
            f"{f'signal={number}' if number else 'status=1'} runs=1 run_ids={run} file=")), 1)
        frames = server.lines(" plugin worker ", " #", marks)
        self.check_frames("\n".join(frames + server.lines("the same up to")), plugin, how)

    def test_crash(self):
        server = self.serve(*PLUGINS, settings={"host.shutdown_timeout": 0})
        for plugin, how in self.each(CRASHES):
            number, words = CRASHES[how]
            self.check_told(server, plugin, how, f"the agent crashed: {words}",
                            wait_for(lambda: server.worker_of(plugin), "a worker"), int(number))

    def test_exit(self):
        server = self.serve(*PLUGINS, settings={"host.shutdown_timeout": 0})
        for plugin, how in self.each(EXITS):
            self.check_told(server, plugin, how, f"the plugin called {EXITS[how]}",
                            wait_for(lambda: server.worker_of(plugin), "a worker"))

    def test_pthread_exit(self):
        """In thread mode it costs its run alone, as often as it comes."""
        server = self.serve(*PLUGINS, settings={"plugin.fault_crash.threads": 2,
                                                "host.shutdown_timeout": 0})
        worker = server.worker_of("fault_crash")
        for _ in range(5):
            done = server.run("fault_crash", "cancel")[-1].json()
            self.assertEqual(done, {"status": "failed", "error": {
                "code": "agent_error",
                "message": "handle() ended its thread with pthread_exit(): it must return"}})
            error = server.run("fault_crash", "task")[-1].json()["error"]
            self.assertEqual(error["message"],
                             "a task ended its thread with pthread_exit(): it must return")
        self.assertEqual(text_of(server.run("fault_crash", "pipe")), "before and after")
        self.assertEqual(server.worker_of("fault_crash"), worker)
        if SANITIZED:
            return
        done = server.run("fault_crash_fiber", "cancel")[-1].json()
        self.assertEqual(done["error"], {"code": "worker_crashed",
                                         "message": "the plugin called pthread_exit()"})


class HoldTest(ReportTest):
    """A fiber that holds the loop is told of with its run and a backtrace."""

    HOLDS = {"hold": "it computes", "block": "it is blocked in a system call"}
    LINE = "a fiber holds the loop for more than 100 ms: "

    def test_run(self):
        for how, words in self.HOLDS.items():
            ended = run_sluice("run", "--text", plugin_path("fault_crash_fiber"), f'"{how}"')
            log = ended.stderr.decode()
            self.assertEqual(log.count(f"sluice: {self.LINE}{words}"), 1, log)
            self.check_frames(log, "fault_crash_fiber", how)
            # What it waits for is not cut short.
            self.assertEqual(ended.stdout, b"before and after" if how == "block" else b"before")
            ended = run_sluice("run", "--text", plugin_path("fault_crash"), f'"{how}"')
            self.assertEqual(ended.stderr, b"", "threads hold no loop")

    def test_serve(self):
        server = self.serve("fault_crash_fiber")
        run = server.run("fault_crash_fiber", "hold")[0].json()["run"]
        wait_for(lambda: server.lines(f" debug worker {self.LINE}", f" run={run} "), "it is told")
        wait_for(lambda: server.lines(" debug worker ", " dig_one", f" run={run} "), "the frames")
        self.check_frames("\n".join(server.lines(" debug worker ", " #", f" run={run} ")),
                          "fault_crash_fiber", "hold")


if __name__ == "__main__":
    main()
