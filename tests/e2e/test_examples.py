#!/usr/bin/env python3
"""The examples, built against the build folder and run as their tops say."""

import os
import pathlib
import tempfile
import unittest

from examples import Examples
from listings import BUILD, SRCDIR, clean_environment


class ExamplesTest(Examples, unittest.TestCase):
    @unittest.skipIf(os.environ.get("SLUICE_SANITIZED") == "1",
                     "what is linked with a sanitized library has to be sanitized too")
    def test_all(self):
        with tempfile.TemporaryDirectory() as folder:
            self.try_examples(SRCDIR / "examples", pathlib.Path(folder),
                              {**clean_environment(), "PKG_CONFIG_PATH": str(BUILD),
                               "PATH": f"{BUILD}:{os.environ['PATH']}"})


if __name__ == "__main__":
    unittest.main()
