"""The agent kit, the clients of one protocol that talk to it, and what became of each case."""

import hashlib

from browser import run_in_node
from harness import PATIENCE_S, Test

TOKEN = "secret"


class ClientCases(Test):
    """Runs tests/clients/MODULE.mjs, all of its cases side by side."""

    on_disconnect = None

    def setUp(self):
        super().setUp()
        self.tokens = self.path("tokens")
        with open(self.tokens, "w") as file:
            file.write(f"alice:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")

    def serve_kit(self, **settings):
        server = self.serve("kit", "kit_fiber", settings={"host.tokens": self.tokens, **settings})
        server.url = "http://%s:%d" % server.address
        return server

    def serve_busy(self):
        """A server that has as many runs of the client as it takes."""
        server = self.serve_kit(**{"host.max_runs_per_client": 1})
        stream = server.open("kit_fiber", {"prompt": "slow:0"}, headers={"Authorization": f"Bearer {TOKEN}"})
        self.addCleanup(stream.close)
        stream.until("text")
        return server

    def run_cases(self, *modules, **host):
        """All cases pass; host is what they get besides the token."""
        results = run_in_node({"modules": modules, "host": {"token": TOKEN, **host}}, 2 * PATIENCE_S,
                              "cases.mjs")
        self.assertTrue(results)
        for name, failure in sorted(results.items()):
            with self.subTest(name):
                self.assertIsNone(failure, failure)
