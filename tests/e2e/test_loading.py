#!/usr/bin/python3
"""create() and selftest() send requests, so that a plugin whose server is not there is refused."""

import os
import socket
import socketserver
import struct
import threading

from harness import Test, free_port, main, plugin_path, run_sluice, types
from upstream import CLOSE, HOLD, Upstream, whole

AGENTS = ("e2e_loading", "e2e_loading_fiber")


class OneRequest(socketserver.BaseRequestHandler):
    """A connection that takes one request, and is reset by the next."""

    def handle(self):
        self.request.recv(65536)
        self.request.sendall(whole(b'"yes"'))
        self.request.recv(65536)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()  # which would be shut down first, else


class LoadingTest(Test):
    def setUp(self):
        super().setUp()
        self.upstream = Upstream()
        self.addCleanup(self.upstream.stop)
        self.upstream.routes.update({"answer": [whole(b'"yes"'), CLOSE], "silent": [HOLD]})
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            os.environ.pop(name, None)

    def settings(self, agent, path, **more):
        values = {f"plugin.{agent}.url": self.upstream.url(path),
                  **{f"plugin.{agent}.{key}": value for key, value in more.items()}}
        return [word for item in values.items() for word in ("--set", "%s=%s" % item)]

    def sluice(self, command, agent, path, *words, **more):
        done = run_sluice(command, *self.settings(agent, path, **more), *words, plugin_path(agent))
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_run(self):
        for agent in AGENTS:
            with self.subTest(agent=agent):
                status, output, error = self.sluice("run", agent, "answer")
                self.assertEqual((status, error), (0, ""))
                self.assertIn('event: asked\ndata: ["yes","yes"]\n', output)

    def test_check(self):
        for agent in AGENTS:
            with self.subTest(agent=agent):
                status, output, error = self.sluice("check", agent, "answer")
                self.assertEqual((status, error), (0, ""))
                self.assertIn("fit to serve", output)

    def test_exchange_that_is_left_open(self):
        status, output, error = self.sluice("run", "e2e_loading", "answer", leave=1)
        self.assertEqual((status, error), (0, ""))
        self.assertIn('data: ["yes","yes"]\n', output)

    def test_kept_connection_that_dies(self):
        """The server resets a connection at its second request, which then goes on a new one."""
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), OneRequest)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        for agent in AGENTS:
            status, output, error = self.sluice(
                "run", agent, "", "--set",
                f"plugin.{agent}.url=http://127.0.0.1:{server.server_address[1]}/")
            self.assertEqual((status, error), (0, ""))
            self.assertIn('data: ["yes","yes"]\n', output)

    def test_serve(self):
        server = self.serve(*AGENTS, settings={
            f"plugin.{agent}.url": self.upstream.url("answer") for agent in AGENTS})
        for agent in AGENTS:
            events = server.run(agent, {})
            self.assertEqual(types(events), ["run", "asked", "done"])
            self.assertEqual(events[1].json(), ["yes", "yes"])

    def test_server_that_is_not_there(self):
        nobody = "http://127.0.0.1:%d/" % free_port()
        for agent in AGENTS:
            for command in ("run", "check"):
                with self.subTest(agent=agent, command=command):
                    status, _, error = self.sluice(command, agent, "answer", "--set",
                                                   f"plugin.{agent}.url={nobody}")
                    self.assertEqual(status, 1)
                    self.assertIn("create() returned -111 (Connection refused): the server is not "
                                  "there: ", error)

    def test_server_that_is_silent(self):
        """The plugin is refused in its own words, before the front has waited for too long."""
        for agent in AGENTS:
            with self.subTest(agent=agent):
                status, _, error = self.sluice("check", agent, "silent", "--set",
                                               "host.start_timeout=1")
                self.assertEqual(status, 1)
                self.assertIn("create() returned -125 (Operation canceled): agent_http_status(): "
                              "out of time: create() and selftest() must end within "
                              "host.start_timeout", error)


if __name__ == "__main__":
    main()
