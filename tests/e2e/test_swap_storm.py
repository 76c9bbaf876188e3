#!/usr/bin/python3
"""The swap storm at a size for every day; see swap_storm.py for the whole."""

import os
import subprocess
import sys
import unittest

from harness import PATIENCE_S, SANITIZED, main

STORM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "swap_storm.py")
SIZE = ("--streams", "30" if SANITIZED else "60", "--swaps", "10", "--seconds", "5")


class SwapStormTest(unittest.TestCase):
    def storm(self, *more):
        return subprocess.run([sys.executable, STORM, *SIZE, *more], capture_output=True,
                              text=True, timeout=8 * PATIENCE_S)

    def test_nothing_is_lost(self):
        ended = self.storm()
        print(ended.stdout, flush=True)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        for word in ("lost", "not finished", "failed requests", "of two generations"):
            self.assertRegex(ended.stdout, rf"(?m)^{word} +0$")

    def test_loss_is_seen(self):
        """The storm is no test if it does not notice that runs are cut off."""
        ended = self.storm("--set", "host.drain_timeout=1")
        self.assertEqual(ended.returncode, 1, ended.stdout)
        self.assertRegex(ended.stdout, r"(?m)^lost +[1-9]")


if __name__ == "__main__":
    main()
