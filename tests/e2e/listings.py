"""
What a document shows, to be tried: its listings, in a folder where the source
tree's files and the build folder are where a reader has them.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

SRCDIR = pathlib.Path(os.environ["SLUICE_SRCDIR"]).resolve()
BUILD = pathlib.Path(os.environ["SLUICE"]).resolve().parent


def clean_environment():
    """The environment of a newcomer's shell, not that of a running make."""
    taken = ("MAKE", "MFLAGS", "OPENAI_")
    return {k: v for k, v in os.environ.items() if not k.startswith(taken)}


class Document:
    def __init__(self, name):
        self.text = (SRCDIR / name).read_text()

    def blocks(self, language):
        """The fenced blocks that say they are in this language."""
        found = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.M | re.S)
        return [text for said, text in found if said == language]

    def files(self):
        """The blocks that are introduced by the name of a file, as `name.c`:"""
        return dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", self.text, re.M | re.S))


class ListingsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        for name in ("README.md", "docs", "sdk", "plugins"):
            (self.path / name).symlink_to(SRCDIR / name)
        (self.path / "build").symlink_to(BUILD)
        (self.path / "run").mkdir()

    def tearDown(self):
        self.folder.cleanup()

    def shell(self, script):
        try:
            done = subprocess.run(
                ["bash", "-eu"], input=script, cwd=self.path,
                env=dict(clean_environment(), XDG_RUNTIME_DIR=str(self.path / "run"),
                         no_proxy="127.0.0.1"),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
            )
        except subprocess.TimeoutExpired as late:
            self.fail(f"it goes on, after this: {late.stdout} {late.stderr}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout
