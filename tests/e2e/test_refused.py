#!/usr/bin/python3
"""What the host refuses of an author's data reaches the author: why, where, and what to write."""

import json
import os
import subprocess
import tempfile
import unittest

from harness import BINARY, SANITIZED, Test, main, plugin_path, run_sluice, wait_for

REASON = ("emit_event(\"person\"): not JSON at byte 11: found 'B', wanted ',' or '}': "
          "{\"name\":\"O\"▸Brien\"}; write \\\" for a quote inside a string")
STRAY = "emit_text(): not inside a run; "


class RunTest(unittest.TestCase):
    def check_told_once(self, plugin, input_, status):
        done = run_sluice("run", plugin_path(plugin), input_)
        self.assertEqual(done.returncode, status)
        lines = done.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(f" plugin run {REASON} run=", lines[0])
        return done.stdout.decode()

    def test_ignored(self):
        for plugin in ("e2e_person", "e2e_person_fiber"):
            self.assertIn('data: {"status":"finished"}', self.check_told_once(plugin, "{}", 0))

    def test_returned(self):
        for plugin in ("e2e_person", "e2e_person_fiber"):
            end = self.check_told_once(plugin, '"return"', 1).rpartition("data: ")[2].split("\n")[0]
            self.assertEqual(json.loads(end), {"status": "failed", "error": {
                "code": "agent_error", "message": REASON}})

    def test_text_only(self):
        done = run_sluice("run", "--text", plugin_path("e2e_person"), '"return"')
        self.assertEqual(done.stdout, b"a person: ")
        self.assertEqual(json.loads(done.stderr.decode().partition("sluice: ")[2])["error"],
                         {"code": "agent_error", "message": REASON})

    def test_check(self):
        done = run_sluice("check", "--set", "plugin.e2e_person.late=1", plugin_path("e2e_person"))
        self.assertEqual(done.returncode, 1)
        error = done.stderr.decode()
        self.assertIn(f" {STRAY}", error.split("\n")[0])
        self.assertIn(f"selftest() returned -6 (not inside a run): {STRAY}", error.split("\n")[1])


class ServeTest(Test):
    def agent(self):
        return self.server.get("/agents").json()["agents"][0]

    def check(self, plugin):
        self.server = self.serve(plugin)
        self.assertEqual(self.agent()["refused"], 0)
        for _ in range(2):
            events = self.server.run(plugin, "return")
            self.assertEqual(events[-1].json()["error"],
                             {"code": "agent_error", "message": REASON})
        lines = self.server.lines(f" plugin worker {REASON} run=", f"plugin={plugin}")
        self.assertEqual(len(lines), 2, "once in each run")
        self.assertIn(f" run={events[0].json()['run']} ", lines[1])
        wait_for(lambda: self.agent()["refused"] == 4, "refusals are counted")
        self.assertEqual(self.agent()["stray_emits"], 0)
        told = run_sluice("list", "--admin", self.server.admin).stdout.decode()
        self.assertIn("4 calls of the plugin were refused", told)
        told = run_sluice("list", "--json", "--admin", self.server.admin).stdout
        self.assertEqual(json.loads(told)["plugins"][0]["generations"][0]["refused"], 4)

    def test_threads(self):
        self.check("e2e_person")

    def test_fibers(self):
        self.check("e2e_person_fiber")


@unittest.skipIf(SANITIZED, "what is linked with a sanitized library has to be sanitized too")
class HarnessTest(unittest.TestCase):
    TEST = r"""
#include <sluice/agent_test.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct agent_test *test = agent_test_open_file(argv[1], NULL);
    int status = agent_test_run(test, argv[2]);

    printf("%d %s %u\n%s\n%s\n%s", status, agent_test_status(test), agent_test_refused(test),
           agent_test_refused_first(test), agent_test_message(test), agent_test_log(test));
    agent_test_close(test);
    return argc != 3;
}
"""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program = os.path.join(folder.name, "test_person")
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "sluice-test"], check=True,
                               env=dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(BINARY)),
                               stdout=subprocess.PIPE, text=True).stdout.split()
        subprocess.run(["cc", "-x", "c", "-", "-o", self.program, *flags], input=self.TEST,
                       check=True, text=True)

    def check(self, input_, lines, **env):
        done = subprocess.run([self.program, plugin_path("e2e_person"), input_], check=True,
                              env=dict(os.environ, **env), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.stdout.splitlines(), lines)
        self.assertIn(f" plugin agent_test {REASON} run=", done.stderr)

    def test_ignored(self):
        self.check("{}", ["0 finished 2", REASON, "", "refused: " + REASON])

    def test_returned(self):
        self.check('"return"', ["-22 failed 2", REASON, REASON, "refused: " + REASON])

    def test_strict(self):
        self.check("{}", ["-22 failed 2", REASON, REASON, "refused: " + REASON],
                   AGENT_TEST_STRICT="1")


if __name__ == "__main__":
    main()
