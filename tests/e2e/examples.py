"""
The folder examples/: each file says on its top how it is built and run. These
cases do as it says, with whatever sluice is found by PATH and PKG_CONFIG_PATH.
"""

import pathlib
import re
import shutil
import subprocess

from model import Model

# What running an example prints.
OUTPUT = {
    "count.cc": '\nevent: word\ndata: {"word":"be","times":2}\n',
    "countdown.c": "3 2 1 liftoff",
    "guess.c": "Right.",
    "haiku.c": "rivers",  # the model says it back
    "hello.c": "hello hello",
}


def commands(source):
    """The commands on the top of an example, each continued line joined."""
    head = source.read_text().partition("*/")[0].replace("\\\n *         ", "")
    found = re.findall(r"^ \*     (\S.*)$", head, re.M)
    assert len(found) == 2, f"{source}: {found}"
    return found


class Examples:
    """A part of a TestCase: the cases for each example of a folder."""

    def try_examples(self, folder, work, env):
        """Builds and runs each in the folder work, in an environment."""
        sources = sorted(pathlib.Path(folder).glob("*.c*"))
        self.assertEqual([source.name for source in sources], sorted(OUTPUT))
        model = Model()
        self.addCleanup(model.stop)
        env = {**env, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "scripted"}
        for source in sources:
            with self.subTest(example=source.name):
                shutil.copy(source, work)
                build, run = commands(source)
                self.shell(f"{build} -Wall -Wextra -Wno-unused-parameter -Werror", work, env)
                plugin = source.stem + ".so"
                self.assertIn("fit to serve", self.shell(f"sluice check {plugin}", work, env))
                self.assertIn(OUTPUT[source.name], self.shell(run, work, env))

    def shell(self, command, folder, env):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}")
        return done.stdout
