#!/usr/bin/python3
"""
Plugins of older versions of the SDK. Each version has in tests/abi its frozen headers, a
plugin that makes all of its calls, and that plugin as it was built then, for x86-64.
"""

import glob
import os
import platform
import re
import subprocess

from harness import BINARY, SRCDIR, Test, main, run_sluice, text_of, types

ABI = os.path.join(SRCDIR, "tests", "abi")
BUILD = os.path.dirname(BINARY)
NO_MODEL = {name: "" for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")}


def minor_of(path):
    with open(path, encoding="utf-8") as header:
        return int(re.search(r"#define AGENT_ABI_MINOR (\d+)", header.read())[1])


def pkg_config(*words):
    env = dict(os.environ, PKG_CONFIG_PATH=BUILD)
    return subprocess.run(["pkg-config", *words], check=True, env=env, stdout=subprocess.PIPE,
                          text=True).stdout.split()


class AbiTest(Test):
    def source(self, version):
        return os.path.join(ABI, f"plugin-{version}.c")

    def frozen_headers(self, version):
        """A folder with the headers of a version as <sluice/...>."""
        folder = self.path("sdk-" + version)
        os.makedirs(os.path.join(folder, "sluice"))
        for header in glob.glob(os.path.join(ABI, f"*-{version}.h")):
            name = os.path.basename(header).replace(f"-{version}.h", ".h")
            os.symlink(header, os.path.join(folder, "sluice", name))
        return folder

    def build(self, version, name, *words):
        plugin = self.path(f"{name}-{version}.so")
        subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared",
                        "-fPIC", "-fvisibility=hidden", self.source(version), "-o", plugin,
                        *words], check=True)
        return plugin

    def old(self, version):
        return self.build(version, "old", "-I" + self.frozen_headers(version),
                          *pkg_config("--cflags", "--libs", "libcjson"))

    def new(self, version):
        return self.build(version, "new", *pkg_config("--cflags", "--libs", "sluice-llm"))

    def frozen(self, version):
        if platform.machine() != "x86_64":
            self.skipTest("the frozen plugins are for x86-64")
        return os.path.join(ABI, f"plugin-{version}.x86_64.so")

    def events(self, plugin, version):
        """What its run emits, when the plugin is served as it is."""
        done = run_sluice("check", plugin)
        self.assertIn(b": fit to serve\n", done.stdout)
        server = self.prepare(env=NO_MODEL)
        os.symlink(plugin, os.path.join(server.plugin_folder, f"plugin-{version}.so"))
        server.start()
        events = server.run(f"plugin-{version}", {"s": "x"})
        server.stop()
        return events

    def check_1_0(self, plugin):
        events = self.events(plugin, "1.0")
        self.assertEqual(types(events), ["run", "key", "text", "done"])
        self.assertEqual(events[1].json(), {"s": "x"})
        self.assertEqual(text_of(events), "self")
        self.assertEqual(events[-1].json(), {"status": "finished", "result": 1})

    def check_1_1(self, plugin):
        events = self.events(plugin, "1.1")
        self.assertEqual([(event.type, event.json()) for event in events[1:]], [
            ("text", {"scope": "a", "delta": "in a task"}),
            ("text", {"delta": "no server"}),
            ("sse", [1, 2]),
            ("json", {"s": "x", "n": 64}),
            ("text", {"delta": "not_configured"}),
            ("tool_call", {"id": "1", "name": "f", "arguments": {}}),
            ("done", {"status": "finished"})])

    def test_versions(self):
        for version, minor in (("1.0", 0), ("1.1", 1)):
            self.assertEqual(minor_of(os.path.join(ABI, f"agent-{version}.h")), minor)
            self.assertGreaterEqual(minor_of(os.path.join(SRCDIR, "sdk", "agent.h")), minor)

    def test_old_headers(self):
        self.check_1_0(self.old("1.0"))
        self.check_1_1(self.old("1.1"))

    def test_old_sources_on_new_headers(self):
        self.check_1_0(self.new("1.0"))
        self.check_1_1(self.new("1.1"))

    def test_old_binaries(self):
        self.check_1_0(self.frozen("1.0"))
        self.check_1_1(self.frozen("1.1"))


if __name__ == "__main__":
    main()
