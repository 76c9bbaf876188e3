"""
What the end-to-end tests share. Each test derives from Test, and starts a host
with self.serve(...), which gets a plugin folder of its own with nothing in it
but the plugins that are named. The rest is in modules of one subject each:

    environment  what is tested; waiting for conditions
    host         a server that is started and stopped, its processes and log
    http1        requests, and responses that are parsed strictly
    stream       the native stream, checked event by event
    swarm        thousands of streams in one thread
    identity     certificates

Tests may import all of their names from here.
"""

import json
import os
import shutil
import sys
import tempfile
import unittest

from environment import (BINARY, MARK, PATIENCE_S, REFERENCE_PLUGINS, SANITIZED, SRCDIR,
                         TEST_PLUGINS, copy_programs, free_port, plugin_path, required, wait_for)
from host import Server, memory_kib, processes_with, run_sluice, waited_for_cpu_s
from http1 import Answer, Connection, ResponseParser, request_bytes, run_request
from identity import Identity
from stream import Event, Stream, StreamParser, read_stream, text_of, types
from swarm import Swarm, SwarmStream


class Test(unittest.TestCase):
    """Stops its servers at the end, and prints their logs if something failed."""

    maxDiff = None

    # The identity of servers that are given none of their own; None: plain HTTP.
    tls = None

    # What becomes of the runs of the plugins that serve() names when their client left.
    on_disconnect = None

    def setUp(self):
        self.servers = []
        self.folder = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run(self, result=None):
        self.logs = []
        bad = len(result.failures) + len(result.errors)
        outcome = super().run(result)
        if len(result.failures) + len(result.errors) > bad:
            for log in self.logs:
                print(f"---- log of the server in {self.id()} ----\n{log}", file=sys.stderr)
        return outcome

    def prepare(self, *plugins, settings=None, env=None, tls=None):
        """A server that is not started, so that more can be put into its folder."""
        folder = os.path.join(self.folder, f"server{len(self.servers)}")
        os.mkdir(folder)
        settings = dict(settings or {})
        for plugin in plugins if self.on_disconnect else ():
            settings.setdefault(f"plugin.{plugin}.on_disconnect", self.on_disconnect)
        server = Server(folder, plugins, settings, env, tls or self.tls)
        self.servers.append(server)
        self.addCleanup(self.end, server)
        return server

    def serve(self, *plugins, settings=None, env=None, tls=None):
        server = self.prepare(*plugins, settings=settings, env=env, tls=tls)
        server.start()
        return server

    def end(self, server):
        if server.process is None:
            return
        try:
            if not server.is_stopped:
                server.stop()
        finally:
            server.kill()
            self.logs.append(server.log())

    def path(self, name):
        return os.path.join(self.folder, name)

    def check_problem(self, answer, status, title, detail):
        """The answer is exactly this problem document (RFC 9457)."""
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(json.loads(answer.body), {"type": "about:blank", "title": title,
                                                   "status": status, "detail": detail})


def main():
    """Runs the tests; exits with 77 if all were skipped, which is what make understands."""
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun > 0 and len(result.skipped) >= result.testsRun:
        sys.exit(77)
