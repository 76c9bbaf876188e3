#!/usr/bin/env python3
"""A changed header or included source rebuilds every test plugin that reads it.

`make -n -W FILE` prints what make would do if FILE had just changed; no file is touched.
"""

import os
import pathlib
import re
import subprocess
import unittest

BUILD = pathlib.Path(os.environ["SLUICE"]).resolve().parent
SRCDIR = pathlib.Path(os.environ["SLUICE_SRCDIR"]).resolve()
HEADER = "include/sluice/agent.h"


def make(*words):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", "-C", str(BUILD), "--no-print-directory", *words], env=env,
                          stdout=subprocess.PIPE, text=True, check=False)


def rebuilt(changed, *plugins):
    """Those of the plugins that are linked anew once the file has changed."""
    targets = [f"tests/{plugin}.so" for plugin in plugins]
    output = make("-n", "-W", changed, *targets).stdout
    return [plugin for plugin, target in zip(plugins, targets)
            if re.search(rf"-shared .* -o {re.escape(target)}\b", output.replace("\\\n", " "))]


def name_of(source, plugin):
    """The name under which a plugin's dependencies have a source file."""
    words = (BUILD / "tests" / (plugin + ".d")).read_text().split()
    found = [word for word in words if (BUILD / word).exists() and
             (BUILD / word).resolve() == SRCDIR / source]
    return found[0]


class Rebuild(unittest.TestCase):
    def test_header_of_the_sdk(self):
        self.assertTrue((BUILD / HEADER).samefile(SRCDIR / "sdk/agent.h"))
        plugins = ("plugins/e2e_chat", "plugins/e2e_chat_fiber", "plugins/unit_probe",
                   "plugins/fiber_catch", "bench/agents/tick", "bench/agents/cost_fiber")
        self.assertEqual(rebuilt(HEADER, *plugins), list(plugins))

    def test_included_source(self):
        chat = name_of("plugins/chat.c", "plugins/e2e_chat")
        self.assertEqual(rebuilt(chat, "plugins/e2e_chat", "plugins/e2e_ctx"),
                         ["plugins/e2e_chat"])
        self.assertEqual(rebuilt(name_of("plugins/chat.c", "plugins/e2e_chat_fiber"),
                                 "plugins/e2e_chat_fiber"), ["plugins/e2e_chat_fiber"])

    def test_header_of_the_tests(self):
        mode = name_of("tests/plugins/mode.h", "plugins/e2e_ctx_fiber")
        self.assertEqual(rebuilt(mode, "plugins/e2e_ctx_fiber", "plugins/fault_hang"),
                         ["plugins/e2e_ctx_fiber"])

    def test_second_source_of_a_plugin(self):
        second = name_of("tests/plugins/unit_probe_second.c", "plugins/unit_probe_second")
        plugins = ("plugins/unit_probe", "plugins/unit_probe_fiber")
        self.assertEqual(rebuilt(second, *plugins), list(plugins))

    def test_nothing_has_changed(self):
        done = make("-q", "tests/plugins/e2e_chat.so", "tests/plugins/e2e_chat_fiber.so",
                    "tests/plugins/unit_probe.so", "tests/bench/agents/cost_fiber.so")
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
