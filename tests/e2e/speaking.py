"""
All clients of tests/clients/speak.mjs at once, in Node or in Chromium: what they hear when they
say a prompt to kit.
"""

import os
import subprocess

from browser import MODULES, run_in_chromium, run_in_node
from kit import TOKEN, ClientCases

# As speakers in speak.mjs has them.
SPEAKERS = ["eventSource", "openai", "responses", "langchain", "aiCompatible", "aiOpenai", "agui", "aisdk",
            "a2a", "a2aRest", "mcp2025", "mcp2026"]


class SpeakingTest(ClientCases):
    def job(self, base, prompt):
        return {"host": {"base": base, "token": TOKEN}, "prompt": prompt, "names": SPEAKERS}

    def say(self, base, prompt, patience_s):
        """What they hear in Node, in their order."""
        return run_in_node(self.job(base, prompt), patience_s, "speak_node.mjs")

    def say_in_chromium(self, pages, base, prompt, patience_s):
        """What a page posts that has them all; see speak_page.mjs."""
        pages.bundle = self.path("speak_page.js")
        subprocess.run([os.path.join(MODULES, "node_modules/.bin/esbuild"), "--preserve-symlinks",
                        "--bundle", "--format=esm", "--log-level=warning",
                        f"--outfile={pages.bundle}", os.path.join(MODULES, "clients/speak_page.mjs")],
                       check=True)
        return run_in_chromium(pages, self.path("browser"), self.job(base, prompt), patience_s,
                               page="speak.html")

    def check_heard(self, heard, text):
        self.assertEqual(dict(zip(SPEAKERS, heard)), dict.fromkeys(SPEAKERS, text))
