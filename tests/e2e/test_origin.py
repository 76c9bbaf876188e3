#!/usr/bin/python3
"""What a plugin finds beside itself, and how debuggers find it, though a copy is what is loaded."""

import json
import os
import shutil
import subprocess
import unittest

from harness import TEST_PLUGINS, main, plugin_path, run_sluice, wait_for
from swapping import SwapTest

FOUND = {"library": "helped", "late": True, "data": "beside"}


class OriginTest(SwapTest):
    def serve_origin(self):
        self.tmp = self.path("tmp")
        os.mkdir(self.tmp)
        server = self.prepare_swap(origin="origin")
        server.env["TMPDIR"] = self.tmp
        shutil.copytree(os.path.join(TEST_PLUGINS, "lib"), os.path.join(server.plugin_folder, "lib"))
        share = os.path.join(server.folder, "share")
        os.mkdir(share)
        with open(os.path.join(share, "origin.txt"), "w", encoding="utf-8") as file:
            file.write("beside\n")
        return server

    def found_by(self, server):
        event, = (event for event in server.run("origin", {}) if event.type == "found")
        return event.json()

    def test_run_check_and_serve_agree(self):
        server = self.serve_origin()
        env = {"TMPDIR": self.tmp}
        ended = run_sluice("run", self.file(server, "origin"), "{}", env=env)
        found = [json.loads(line[len("data: "):]) for line in ended.stdout.decode().splitlines()
                 if line.startswith('data: {"library"')]
        self.assertEqual(found, [FOUND], ended)
        ended = run_sluice("check", self.file(server, "origin"), env=env)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        self.assertEqual(os.listdir(self.tmp), [], "nothing is left")
        server.start()
        self.assertEqual(self.found_by(server), FOUND)
        self.check_command(server, "reload", "origin")
        self.assertEqual(self.found_by(server), FOUND)
        server.stop()
        self.assertEqual(os.listdir(self.tmp), [], "nothing is left")

    def test_nothing_is_left_of_one_that_was_killed(self):
        server = self.serve_origin()
        server.start()
        before = os.listdir(self.tmp)
        self.assertEqual(len(before), 1)
        worker = server.worker_of("origin")
        os.kill(worker, 9)
        wait_for(lambda: server.serving("origin") not in ([], [worker]), "another worker serves")
        self.assertEqual(self.found_by(server), FOUND)
        self.assertNotIn(before[0], os.listdir(self.tmp))

    def test_missing_library(self):
        server = self.prepare_swap(origin="origin")
        ended = run_sluice("check", self.file(server, "origin"))
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"liborigin_help.so: cannot open shared object file", ended.stderr)

    def test_others_need_no_links(self):
        server = self.serve_origin()
        shutil.copy(plugin_path("swap_one"), self.file(server))
        os.remove(self.file(server, "origin"))
        server.start()
        self.check_serves(server, "one", 1)
        self.assertEqual(os.listdir(self.tmp), [])

    @unittest.skipUnless(shutil.which("gdb"), "gdb is not installed")
    def test_debugger(self):
        """It finds the code of both kinds of plugins, as it is in the worker."""
        server = self.serve_origin()
        shutil.copy(plugin_path("swap_one"), self.file(server))
        server.start()
        for plugin in ("swap", "origin"):
            ended = subprocess.run(["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off",
                                    "-p", str(server.worker_of(plugin)),
                                    "-ex", "info symbol agent_plugin_entry"],
                                   capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
            self.assertIn(b"agent_plugin_entry in section .text", ended.stdout, ended)

    def test_static_tls(self):
        """The dynamic linker's words alone do not say what to do."""
        ended = run_sluice("check", plugin_path("tls_block"))
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"cannot allocate memory in static TLS block", ended.stderr)
        self.assertIn(b"GLIBC_TUNABLES=glibc.rtld.optional_static_tls=", ended.stderr)
        ended = run_sluice("check", plugin_path("tls_block"), env={
            "GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=131072"})
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))


if __name__ == "__main__":
    main()
