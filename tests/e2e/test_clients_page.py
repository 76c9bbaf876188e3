#!/usr/bin/python3
"""What docs/clients.md shows of each client, run as it stands there against `ask`."""

import os
import subprocess
import tempfile

from browser import MODULES, NODE, needs_node
from harness import PATIENCE_S, Test, main
from listings import SRCDIR, Document, clean_environment

SHOWN = "http://127.0.0.1:8080"  # where the page knows the server
QUESTION = "How long can an ended run be read?"


class ClientsPageTest(Test):
    on_disconnect = None

    def setUp(self):
        super().setUp()
        self.server = self.serve(
            "ask", settings={"plugin.ask.documents": SRCDIR / "docs/http.md"})
        self.url = "http://%s:%d" % self.server.address

    def check(self, listing, command, **options):
        """It ends well and shows the answer, or at least the agent."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S,
                              env=dict(clean_environment(), no_proxy="127.0.0.1"), **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("docs/http.md" if QUESTION in listing else "ask", done.stdout, done.stderr)

    def blocks(self, language):
        blocks = [block.replace(SHOWN, self.url)
                  for block in Document("docs/clients.md").blocks(language)]
        self.assertTrue(blocks)
        return blocks

    def test_shell(self):
        for block in self.blocks("sh"):
            with self.subTest(block):
                self.check(block, ["bash", "-eu"], input=block)

    @needs_node
    def test_javascript(self):
        for block in self.blocks("js"):
            # beside node_modules, where packages are found by name
            with self.subTest(block), tempfile.NamedTemporaryFile(
                    "w", suffix=".mjs", dir=MODULES) as script:
                script.write(block)
                script.flush()
                self.check(block, [NODE, "--preserve-symlinks", os.path.realpath(script.name)])


if __name__ == "__main__":
    main()
