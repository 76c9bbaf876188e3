#!/usr/bin/env python3
"""What the guides for authors say, done as they say it: every file, every command, every output."""

import os
import re
import subprocess
import unittest

from listings import SRCDIR, Document, ListingsTest
from test_layers import ROOMS

# A reader may leave parameters unused; nothing else.
STRICT = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]


class Guides(ListingsTest):
    def write_files(self, document):
        files = document.files()
        named = [text for name, text in files.items() if name.endswith(".c")]
        self.assertEqual(sorted(named), sorted(document.blocks("c")), "a listing has no name")
        for name, text in files.items():
            (self.path / name).write_text(text)
        return files

    def check_compiles(self, files):
        for name in files:
            if name.endswith(".c"):
                subprocess.run(["cc", *STRICT, "-fsyntax-only", "-I", SRCDIR / "sdk", "-I",
                                self.path / "include", name], cwd=self.path, check=True)

    def try_all(self, name):
        document = Document(name)
        files = self.write_files(document)
        (self.path / "include").mkdir()
        (self.path / "include" / "sluice").symlink_to(SRCDIR / "sdk")
        self.check_compiles(files)
        output = self.shell("".join(document.blocks("sh")))
        for shown in document.blocks(""):
            self.assertIn(shown, output)
            output = output[output.index(shown) + len(shown):]

    @unittest.skipIf(os.environ.get("SLUICE_SANITIZED") == "1",
                     "what is linked with a sanitized library has to be sanitized too")
    def test_testing_agents(self):
        self.try_all("docs/testing-agents.md")

    def test_writing_agents(self):
        self.try_all("docs/writing-agents.md")

    def test_internals_has_the_rooms_and_their_arrows(self):
        rows = re.findall(r"^\| `([a-z/]+)` \| [^|]* \| ?([a-z/ ]*?) ?\|$",
                          Document("docs/internals.md").text.partition("## Tests")[0], re.M)
        self.assertEqual(dict(rows), ROOMS)

    def test_readme_leads_there(self):
        links = re.findall(r"\]\((docs/[\w-]+\.md)\)", Document("README.md").text)
        self.assertLessEqual({"docs/writing-agents.md", "docs/testing-agents.md"}, set(links))


if __name__ == "__main__":
    unittest.main()
