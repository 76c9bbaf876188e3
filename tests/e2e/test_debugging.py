#!/usr/bin/python3
"""What docs/debugging.md says: each command of its table, on an agent that has the bug."""

import glob
import os
import re
import shlex
import shutil
import subprocess

from harness import BINARY, PATIENCE_S, SANITIZED, SRCDIR, Test, main, text_of, wait_for

BUILD = os.path.dirname(BINARY)
FINISHED = {"status": "finished"}

# A tool is slow, on a machine that has more to do.
TOOL_PATIENCE_S = 3 * PATIENCE_S

TEST_PROGRAM = r"""
#include <sluice/agent_test.h>

int main(int argc, char **argv)
{
    struct agent_test *test = agent_test_open(agent_plugin_entry, NULL);

    agent_test_run(test, argc > 1 ? argv[1] : "{}");
    agent_test_close(test);
    return 0;
}
"""


def read_table():
    """The commands of the document's tables, by tool and where; and the flags, by tool."""
    with open(os.path.join(SRCDIR, "docs", "debugging.md"), encoding="utf-8") as document:
        text = document.read()
    rows = re.findall(r"^\| ([^|]+) \| (run|serve|test) \| `([^`|]+)` \| ", text, re.M)
    flags = {}
    for tools, said in re.findall(r"^\| ([^|]+) \| (`-[^`]+`|none) \|$", text, re.M):
        for tool in tools.split(", "):
            flags[tool] = said.strip("`") if said != "none" else ""
    return {(tool, where): command for tool, where, command in rows}, flags


COMMANDS, FLAGS = read_table()


def other_host(name):
    """The path of build/sluice-asan or build/sluice-tsan, as they are built with this source."""
    if SANITIZED:
        return BINARY if name == "asan" else None
    path = os.path.join(BUILD, f"sluice-{name}")
    is_new = os.path.exists(path) and os.path.getmtime(path) >= os.path.getmtime(BINARY)
    return path if is_new else None


class DebuggingTest(Test):
    def setUp(self):
        super().setUp()
        tools = self.path("bin")
        os.mkdir(tools)
        os.symlink(BINARY, os.path.join(tools, "sluice"))
        for name in ("asan", "tsan"):
            if other_host(name):
                os.symlink(os.path.realpath(other_host(name)),
                           os.path.join(tools, f"sluice-{name}"))
        shutil.copy(os.path.join(SRCDIR, "tests", "plugins", "buggy.c"), self.path("agent.c"))
        shutil.copy(os.path.join(SRCDIR, "tests", "plugins", "mode.h"), self.folder)
        with open(self.path("test_agent.c"), "w", encoding="utf-8") as program:
            program.write(TEST_PROGRAM)
        self.env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PKG_CONFIG_PATH": BUILD,
                    "XDG_RUNTIME_DIR": self.folder}

    # ---- doing what the document says ----

    def shell(self, script):
        """What it prints, and its status. The script is not in the shell's own command line."""
        done = subprocess.run(["bash"], input=script.encode(), cwd=self.folder, env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=TOOL_PATIENCE_S)
        return done.stdout.decode(errors="replace"), done.returncode

    def build(self, tool, where, more=""):
        flags = FLAGS.get(f"{tool} in a test") if where == "test" else None
        flags = flags or FLAGS[tool.partition(",")[0]]
        made = ("-shared -fPIC agent.c -o agent.so $(pkg-config --cflags --libs sluice)"
                if where != "test" else
                "test_agent.c agent.c -o test_agent $(pkg-config --cflags --libs sluice-test)")
        said, status = self.shell(f"cc -g {flags} {more} {made}")
        self.assertEqual(status, 0, said)

    def need(self, tool, where):
        """Skips the test if the tool of this row is not there."""
        command = COMMANDS[tool, where]
        for host in ("asan", "tsan"):
            if f"sluice-{host}" in command and not other_host(host):
                self.skipTest(f"no sluice-{host} that is as new as sluice: ./bootstrap {host}")
        if SANITIZED and "sluice-asan" not in command:
            self.skipTest("what is linked with a sanitized library has to be sanitized too")
        for name in re.findall(r"\b(gdb|valgrind|perf|gcov|pgrep)\b", command):
            if not shutil.which(name):
                self.skipTest(f"no {name}")
        for library in re.findall(r"-print-file-name=(\w+\.so)", command):
            said, _ = self.shell(f"gcc -print-file-name={library}")
            if "/" not in said:
                self.skipTest(f"no {library}")

    def check_said(self, said, *words):
        if re.search(r"unexpected memory mapping|ptrace: Operation not permitted|"
                     r"No permission to enable|not permitted to", said):
            self.skipTest("this system does not let the tool work: " + said[:200])
        for word in words:
            self.assertRegex(said, word)

    def check_once(self, tool, where, bug, *words, more="", edit=lambda command: command,
                   status=None):
        """The row's command, for an agent that runs once."""
        self.need(tool, where)
        self.build(tool, where, more)
        command = COMMANDS[tool, where].replace("'{}'", f"'\"{bug}\"'")
        if where == "test":
            command = command.replace("./test_agent", f"./test_agent '\"{bug}\"'")
        said, ended = self.shell(edit(command))
        self.check_said(said, *words)
        if status is not None:
            self.assertEqual(ended, status, said)
        return said

    def start_server(self, tool=None, settings=None):
        """A server of agent.so, started by the row's command or plainly."""
        settings = {"host.stuck_timeout": 60, **(settings or {})}
        server = self.prepare(settings={"plugin.buggy.on_disconnect": "cancel", **settings})
        shutil.copy(self.path("agent.so"), server.plugin_folder)
        if tool:
            command = COMMANDS[tool, "serve"].replace("--plugins served", "")
            before, separator, last = command.rpartition("; ")
            arguments = " ".join(map(shlex.quote, server.args[2:]))
            server.args = ["bash", "-c", f"cd {self.folder}{'; ' if before else ''}{before}; "
                                         f"exec {last} {arguments}"]
            server.env.update(PATH=self.env["PATH"])
        server.start_process()
        wait_for(server.find_address, "the server listens", TOOL_PATIENCE_S)
        return server

    def check_served(self, tool, bug, *words, done=None, more="", settings=None):
        """The row's command starts a server, one run meets the bug, the server stops."""
        self.need(tool, "serve")
        self.build(tool, "serve", more)
        server = self.start_server(tool, settings)
        events = server.run("buggy", bug)
        if done:
            self.assertEqual(events[-1].json()["status"], done)
        server.stop()
        self.check_said(server.log(), *words)
        return server


class TableTest(DebuggingTest):
    def test_all_rows_are_tried(self):
        with open(__file__, encoding="utf-8") as file:
            text = file.read()
        for tool, where in COMMANDS:
            name = re.sub(r"\W+", "_", tool.lower())
            self.assertIn(f"def test_{name}_{where}(", text)
        self.assertGreaterEqual(len(COMMANDS), 30)


def batch(*commands):
    """An edit that lets gdb do these instead of asking a person."""
    words = " ".join(f"-ex {shlex.quote(command)}" for command in commands)
    return lambda command: command.replace("gdb ", f"gdb -nx -batch {words} ", 1)


FIBER = "-DPLUGIN_MODE=AGENT_FIBER"
BREAK = batch("set breakpoint pending on", "break use_freed", "run", "bt")
FRAMES = (r"#0 .*use_freed .*agent\.c:\d+", r"#1 .*handle .*agent\.c:\d+")


class GdbTest(DebuggingTest):
    def test_gdb_run(self):
        self.check_once("gdb", "run", "use", *FRAMES, r"fiber_main", more=FIBER, edit=BREAK)

    def test_gdb_test(self):
        self.check_once("gdb", "test", "use", *FRAMES, edit=lambda command: BREAK(
            command.replace("gdb ", "gdb --args ")))

    def test_gdb_serve(self):
        """A worker stands at a breakpoint for four times the time that makes it stuck."""
        self.need("gdb", "serve")
        self.build("gdb", "serve", FIBER)
        server = self.start_server(settings={"host.stuck_timeout": 1, "host.heartbeat": 1})
        worker = server.worker_of("buggy")
        stream = server.open("buggy", "steps")
        self.addCleanup(stream.close)
        stream.until("text")
        command = COMMANDS["gdb", "serve"].replace(".*agent.so", f"{server.plugin_folder}/agent.so")
        attach = batch("break step", "continue", "bt", f"shell touch {self.path('stopped')}",
                       f"shell until [ -e {self.path('go')} ]; do sleep 0.02; done", "delete",
                       "detach")
        with subprocess.Popen(["bash"], stdin=subprocess.PIPE, cwd=self.folder, env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as gdb:
            try:
                # gdb reads its options in order: the process comes first.
                gdb.stdin.write(re.sub(r"gdb (.*) (-p .*)", r"gdb \2 \1", attach(command)))
                gdb.stdin.close()
                wait_for(lambda: os.path.exists(self.path("stopped")) or gdb.poll() is not None,
                         "gdb has stopped the worker", TOOL_PATIENCE_S)
                before = stream.parser.comments
                while gdb.poll() is None and stream.parser.comments < before + 4:
                    stream.read()
            finally:
                with open(self.path("go"), "w", encoding="utf-8"):
                    pass
            said = gdb.stdout.read()
        self.check_said(said, r"#0 .*step .*agent\.c:\d+", r"#1 .*steps .*agent\.c:\d+")
        with server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{stream.run}/input", b"0",
                                         {"Content-Type": "application/json"})
            self.assertEqual(answer.status, 202)
        stream.rest()
        self.assertEqual(stream.done, FINISHED)
        self.assertEqual(server.serving("buggy"), [worker])
        self.assertEqual(server.lines("stuck") + server.lines("died"), [])


class CoreTest(DebuggingTest):
    def setUp(self):
        super().setUp()
        with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as pattern:
            if re.search(r"[/|]", pattern.read()):
                self.skipTest("the system keeps core files elsewhere")
        if self.shell("ulimit -c unlimited")[1] != 0:
            self.skipTest("no core files are allowed")

    def check_core(self, program, folder=""):
        core, = wait_for(lambda: glob.glob(self.path("core*")), "there is a core file")
        if shutil.which("gdb"):
            said, _ = self.shell(f"gdb -nx -batch -iex 'set solib-search-path {folder}' -ex bt "
                                 f"{program} {core}")
            self.check_said(said, r"#\d+ .*crash .*agent\.c:\d+", r"#\d+ .*handle .*agent\.c:\d+")

    def test_core_run(self):
        self.check_once("core", "run", "crash", more=FIBER)
        self.check_core(BINARY)

    def test_core_serve(self):
        server = self.check_served("core", "crash", done="failed")
        self.check_core(BINARY, server.plugin_folder)

    def test_core_test(self):
        self.check_once("core", "test", "crash")
        self.check_core("test_agent")


class ValgrindTest(DebuggingTest):
    LEAK = (r"4,321 bytes in 1 blocks are definitely lost", r"by 0x\w+: lose \(agent\.c:\d+\)")

    def test_valgrind_run(self):
        self.check_once("valgrind", "run", "leak", *self.LEAK, more=FIBER, status=0)

    def test_valgrind_serve(self):
        self.check_served("valgrind", "leak", *self.LEAK, done="finished")

    def test_valgrind_test(self):
        self.check_once("valgrind", "test", "use", r"Invalid read of size 1",
                        r"by 0x\w+: handle \(agent\.c:\d+\)")


USE = (r"heap-use-after-free", r"#0 .*use_freed .*agent\.c:\d+", r"#1 .*handle .*agent\.c:\d+")
LEAK = (r"LeakSanitizer: detected memory leaks", r"4321 byte\(s\) in 1 object",
        r"#1 .*lose .*agent\.c:\d+")


class AddressTest(DebuggingTest):
    def check_modes(self, tool):
        for mode in ("", FIBER):
            self.check_once(tool, "run", "use", *USE, more=mode, status=1)
            self.check_once(tool, "run", "leak", *LEAK, more=mode, status=1)
            said = self.check_once(tool, "run", "nothing", more=mode, status=0)
            self.assertNotIn("Sanitizer", re.sub(r"==\d+==WARNING.*makecontext.*", "", said))

    def test_asan_run(self):
        self.check_modes("ASan")

    def test_asan_serve(self):
        self.check_served("ASan", "use", *USE, done="failed", more=FIBER)

    def test_asan_test(self):
        if not SANITIZED:
            self.check_once("ASan", "test", "use", *USE, status=1)

    def test_asan_preloaded_run(self):
        self.check_modes("ASan, preloaded")

    def test_lsan_run(self):
        self.check_once("LSan", "run", "leak", *LEAK, more=FIBER, status=1)

    def test_lsan_serve(self):
        self.check_served("LSan", "leak", *LEAK, done="finished")

    def test_lsan_test(self):
        if not SANITIZED:
            self.check_once("LSan", "test", "leak", *LEAK, status=23)

    def test_lsan_preloaded_run(self):
        for mode in ("", FIBER):
            self.check_once("LSan, preloaded", "run", "leak", *LEAK, more=mode, status=23)


class UndefinedTest(DebuggingTest):
    OVERFLOW = r"agent\.c:\d+:\d+: runtime error: signed integer overflow"

    def test_ubsan_run(self):
        self.check_once("UBSan", "run", "overflow", self.OVERFLOW, status=0)

    def test_ubsan_serve(self):
        self.check_served("UBSan", "overflow", self.OVERFLOW, done="finished")

    def test_ubsan_test(self):
        self.check_once("UBSan", "test", "overflow", self.OVERFLOW, status=0)


class ThreadTest(DebuggingTest):
    RACE = (r"WARNING: ThreadSanitizer: data race", r"#0 count_up .*agent\.c:\d+",
            r"#1 race .*agent\.c:\d+", r"handle .*agent\.c:\d+")

    def check_modes(self, tool):
        for mode in ("", FIBER):
            self.check_once(tool, "run", "race", *self.RACE, more=mode, status=66)
            self.check_once(tool, "run", "nothing", more=mode, status=0)

    def test_tsan_run(self):
        self.check_modes("TSan")

    def test_tsan_serve(self):
        self.check_served("TSan", "race", *self.RACE, done="finished")

    def test_tsan_test(self):
        self.check_once("TSan", "test", "race", *self.RACE, status=66)

    def test_tsan_preloaded_run(self):
        self.check_modes("TSan, preloaded")


class PerfTest(DebuggingTest):
    def to_file(self, command):
        """Without a terminal, perf writes to a pipe."""
        return command.replace("perf record", "perf record -o perf.data")

    def check_report(self):
        said, _ = self.shell("perf report --stdio -i perf.data </dev/null")
        self.assertRegex(said, r"\bspin\b")

    def check_perf(self, where):
        self.check_once("perf", where, "spin", r"Captured and wrote .* samples", edit=self.to_file)
        self.check_report()

    def test_perf_run(self):
        self.check_perf("run")

    def test_perf_test(self):
        self.check_perf("test")

    def test_perf_serve(self):
        self.need("perf", "serve")
        self.build("perf", "serve")
        server = self.start_server(settings={"host.debug": "yes"})
        stream = server.open("buggy", "spin on")
        self.addCleanup(stream.close)
        stream.until("run")
        said, _ = self.shell(self.to_file(COMMANDS["perf", "serve"]).replace(
            ".*agent.so", f"{server.plugin_folder}/agent.so").replace("sleep 1", "sleep 0.2"))
        self.check_said(said, r"Captured and wrote")
        self.check_report()


class CoverageTest(DebuggingTest):
    def check_counts(self, notes):
        said, status = self.shell(f"gcov {notes}")
        self.assertEqual(status, 0, said)
        with open(self.path("agent.c.gcov"), encoding="utf-8") as counts:
            text = counts.read()
        self.assertRegex(text, r"(?m)^ +1: +\d+:static int overflow")
        self.assertRegex(text, r"(?m)^ +#####: +\d+:static int spin")

    def test_gcov_run(self):
        self.check_once("gcov", "run", "overflow", status=0)
        self.check_counts("agent.so-agent.gcno")

    def test_gcov_serve(self):
        self.check_served("gcov", "overflow", done="finished")
        self.check_counts("agent.so-agent.gcno")

    def test_gcov_test(self):
        self.check_once("gcov", "test", "overflow", status=0)
        self.check_counts("test_agent-agent.gcno")


class ChildTest(DebuggingTest):
    def test_programs_inherit_no_descriptor_of_the_host(self):
        if SANITIZED:
            self.skipTest("what is linked with a sanitized library has to be sanitized too")
        self.build("gdb", "run")
        said, _ = self.shell("sluice run --text agent.so '\"child\"'")
        self.assertEqual(said.split(), ["0", "1", "2"])
        server = self.start_server()
        self.assertEqual(text_of(server.run("buggy", "child")).split(), ["0", "1", "2"])


if __name__ == "__main__":
    main()
