#!/usr/bin/python3
"""An agent does the same under the harness of agent_test.h as under the host."""

import json
import os
import re
import subprocess
import tempfile
import unittest

from harness import BINARY, SANITIZED, SRCDIR, main, plugin_path, run_sluice

BUILD = os.path.dirname(BINARY)


def pkg_config(*words):
    env = dict(os.environ, PKG_CONFIG_PATH=BUILD)
    return subprocess.run(["pkg-config", *words], check=True, env=env, stdout=subprocess.PIPE,
                          text=True).stdout.split()


def transcript(stream):
    """The lines "type JSON" of a stream, without the host's own first event."""
    found = re.findall(r"(?m)^event: (.*)\ndata: (.*)$", stream)
    return ["%s %s" % event for event in found if event[0] != "run"]


@unittest.skipIf(SANITIZED, "what is linked with a sanitized library has to be sanitized too")
class TestingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tool = os.path.join(cls.folder.name, "transcript")
        subprocess.run(["cc", os.path.join(SRCDIR, "tests", "agents", "transcript.c"), "-o",
                        cls.tool, *pkg_config("--cflags", "--libs", "sluice-test")], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def under_harness(self, plugin, input_, config, *says):
        done = subprocess.run([self.tool, plugin_path(plugin), json.dumps(input_),
                               json.dumps(config, ensure_ascii=False), *says], check=True,
                              stdout=subprocess.PIPE, text=True)
        return done.stdout.split("\n")[:-1]

    def under_host(self, plugin, input_, config, *says):
        settings = [word for key, value in config.items()
                    for word in ("--set", "plugin.%s.%s=%s" % (plugin, key, value))]
        done = run_sluice("run", *settings, plugin_path(plugin), json.dumps(input_),
                          stdin="".join(line + "\n" for line in says).encode())
        return transcript(done.stdout.decode())

    def check_same(self, plugin, input_, *says, config=None, but=r"(?!)"):
        """What both say, which differs only where but matches."""
        here, there = (
            [re.sub(but, "...", line) for line in run(plugin, input_, config or {}, *says)]
            for run in (self.under_harness, self.under_host))
        self.assertEqual(here, there)
        self.assertTrue(here[-1].startswith("done "), here)
        return here

    def test_echo(self):
        self.check_same("echo", {"text": "to be"}, config={"separator": "-"})

    def test_input_that_is_refused(self):
        """No run begins on the host; the harness has one, which says the same."""
        self.assertEqual(self.under_host("echo", {"nothing": "to say"}, {}), [])
        self.assertEqual(self.under_harness("echo", {"nothing": "to say"}, {}), [
            'done {"status":"failed","error":{"code":"bad_input","message":"the input does not match '
            'input_schema: at \\"\\": the member \\"text\\" is missing"}}'])

    def test_ticker(self):
        lines = self.check_same("ticker", {"count": 3, "period_ms": 1}, but=r'"ns":\d+')
        self.assertEqual(len(lines), 4)

    def test_variables(self):
        keys = ["input", "run.agent", "plugin.version", "plugin.generation", "auth.subject",
                "traceparent", "none", "mine", "taken.away"]
        self.check_same("e2e_ctx", {"get": keys, "rounds": 2, "set": {
            "mine": "1", "taken.away": None, "run.id": "2", "auth.x": "3", "é": "4",
            "x" * 128: "5", "x" * 129: "6", "": "7"}}, config={"some": "value \" é"})

    def check_calls(self, *calls):
        lines = self.check_same("e2e_emit", {"calls": list(calls)})
        self.assertTrue(lines[-2].startswith("returns "))

    def test_events(self):
        self.check_calls(*(
            {"op": "event", "type": type_, "text": text}
            for type_ in ("x", "done", "run", "gap", "error", "open", "", "a b", "é", "x" * 64,
                          "x" * 65, "done2")
            for text in ("1", " { \"a\" : [ 1 , 2 ] } ", "{", "", "[1,]", "\"\\u0000\"",
                         "[" * 512 + "]" * 512, "[" * 513 + "]" * 513)))
        self.check_calls({"op": "event"}, {"op": "event", "type": "x"},
                         {"op": "event", "type": "x", "hex": "22ff22"},
                         *({"op": "event", "type": "x", "fill": 960 * 1024 + more}
                           for more in (0, 1)))

    def test_texts(self):
        self.check_calls({"op": "text"}, {"op": "text", "text": ""}, {"op": "text", "hex": "ff"},
                         {"op": "text", "text": "\"\\\n\r\t\x01\x7f\u2028é😀"},
                         *({"op": "text", "fill": 960 * 1024 - less} for less in (14, 15, 16)))

    def test_ends(self):
        for calls in ([{"op": "result", "text": " [ 1 ] "}, {"op": "result", "text": "["}],
                      [{"op": "fail", "code": "a_code", "message": "a \"message\" é"},
                       {"op": "fail", "code": "second", "message": "one"},
                       {"op": "result", "text": "1"}],
                      [{"op": "fail", "code": "no code", "message": "m" * 2000}],
                      [{"op": "fail", "message": "x"}, {"op": "return", "value": 0}],
                      [{"op": "return", "value": -22}], [{"op": "return", "value": 1}],
                      [{"op": "result"}, {"op": "result", "fill": 960 * 1024 + 1}]):
            self.check_calls(*calls)

    def test_threads(self):
        self.check_calls({"op": "bound", "text": "a"}, {"op": "stray", "text": "b"},
                         {"op": "keep"}, {"op": "late", "text": "c"})

    def test_tasks(self):
        lines = self.check_same("harness_tasks", {})
        self.assertIn('text {"scope":"a \\"quick\\" one","delta":"a \\"quick\\" one"}', lines)
        self.check_same("harness_tasks", {"fail": True})
        lines = self.check_same("harness_tasks", {"bound": True})
        self.assertIn("bound [-95,-22,-1]", lines)

    def test_inputs(self):
        lines = self.check_same("harness_tasks", {"ask": True}, "{ \"a\": 1 }", "\"ignored\"")
        self.assertIn('heard {"a":1}', lines)
        self.check_same("harness_tasks", {"ask": True})

    def test_urls(self):
        lines = self.check_same("harness_http", {"urls": [
            "http://127.0.0.1:9/", "HTTP://127.0.0.1:9/?q#f", "http://user@127.0.0.1:9/%7e",
            "http://[::1]:9/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://[::1/",
            "http://[zz]:9/", "http:///x", "http://?x", "http://a b/", "ftp://127.0.0.1/",
            "127.0.0.1:9", ""]})
        self.assertIn("opened -22", lines)
        self.assertIn("opened 0", lines)

    def test_calls_after_the_run(self):
        """A thread that is bound to a run uses its exchange when the run is over."""
        self.check_same("harness_http", {"late": True})

    def check_refused(self, plugin, *words):
        path = plugin_path(plugin)
        here = subprocess.run([self.tool, path, "{}"], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True).stderr
        there = run_sluice("run", path).stderr.decode()
        here = here.partition("the plugin was refused: ")[2]
        there = there.partition(f"refused at abi: {path}: ")[2]
        self.assertEqual(here, there)
        for word in words:
            self.assertIn(word, here)

    def test_declarations(self):
        self.check_refused("fault_name", "'fault/name'", "letters, digits")
        self.check_refused("fault_handle", "handle", "not set")
        self.check_refused("fault_abi", "ABI 7.3", "wanted is 1.0")


if __name__ == "__main__":
    main()
