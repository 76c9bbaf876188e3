#!/usr/bin/env python3
"""What the README says, done as it says it: every command, the first plugin, its stream."""

import contextlib
import os
import pty
import re
import select
import signal
import socket
import unittest

from browser import CHROMIUM
from listings import SRCDIR, Document, ListingsTest

README = Document("README.md")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BROWSE = (f"{CHROMIUM} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
          "--no-proxy-server --virtual-time-budget=10000 --dump-dom")


def replaced(text, words):
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def without_ids(stream):
    return re.sub(r"\b[0-7][0-9a-hj-km-np-tv-z]{25}\b", "ID", stream)


def loosely(line):
    """The line with any pid, memory and age."""
    return r"\s+".join(re.escape(word) if not re.fullmatch(r"\d{2,}|[\d.]+[Ms]", word)
                       else r"[\d.]+[Ms]?" for word in line.split())


class Readme(ListingsTest):
    def test_bootstrap_knows_its_commands(self):
        bootstrap = (SRCDIR / "bootstrap").read_text()
        commands = re.findall(r"^\./bootstrap (\w+)", README.blocks("sh")[0], re.M)
        self.assertEqual(commands, ["demo", "check"])
        for command in commands:
            self.assertIn("\n%s)" % command, bootstrap)

    def test_demo_answers_and_exits(self):
        output = self.shell("sh plugins/demo.sh build </dev/null")
        self.assertIn("event: citation\n", output)
        self.assertIn("event: text\n", output)
        self.assertIn("AGENT_PLUGIN", output)
        self.assertTrue(output.endswith('event: done\ndata: {"status":"finished"' + output.rsplit(
            '{"status":"finished"', 1)[1]))

    @contextlib.contextmanager
    def demo(self):
        """A terminal on which the demo serves; give its port, and interrupt the demo at the end."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.path)
            os.environ["XDG_RUNTIME_DIR"] = str(self.path / "run")
            os.execvp("sh", ["sh", "plugins/demo.sh", "build"])
        output = b""
        while b"Ctrl-C stops it." not in output:
            self.assertTrue(select.select([terminal], [], [], 60)[0], output)
            output += os.read(terminal, 65536)
        port = int(re.search(rb"Still serving on http://127\.0\.0\.1:(\d+)", output).group(1))
        try:
            yield port
        finally:
            os.write(terminal, b"\x03")
            try:
                while os.read(terminal, 65536):
                    pass
            except OSError:  # the terminal is gone with its last process
                pass
            status = os.waitpid(child, 0)[1]
            os.close(terminal)
            self.assertEqual(os.waitstatus_to_exitcode(status), 130)

    def test_demo_on_a_terminal_serves_until_interrupted(self):
        with self.demo() as port:
            socket.create_connection(("127.0.0.1", port)).close()
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", port))

    def script(self):
        """
        The README's commands, with free ports, and fewer documents than a system has; its files
        are written. Once the page is served, a browser shows it.
        """
        words = {"8080": str(free_port()), "8000": str(free_port()), "/usr/share/doc": "docs"}
        blocks = README.blocks("sh")[1:]
        if CHROMIUM:
            served = next(n for n, block in enumerate(blocks) if "http.server" in block)
            address = re.search("`(http://localhost:8000/.*)`", README.text)[1]
            blocks[served] += (f"until curl -sf -o page.fetched {address}; do sleep 0.1; done\n"
                               f"HOME=$PWD {BROWSE} --user-data-dir=profile {address} >page.seen\n")
        script = "".join(blocks)
        for name, text in README.files().items():
            (self.path / name).write_text(replaced(text, words))
        return replaced(script, words)

    def test_hello_is_the_example(self):
        example = (SRCDIR / "examples" / "hello.c").read_text()
        self.assertEqual(README.files()["hello.c"], example.partition("*/\n")[2])

    def test_commands_in_order(self):
        """The demo comes first, and goes on serving in a terminal of its own."""
        with self.demo() as port:
            output = self.shell(self.script())
            socket.create_connection(("127.0.0.1", port)).close()
        self.assertIn("hello 1.0, thread mode: fit to serve\n", output)
        stream, listing = README.blocks("")
        self.assertIn(without_ids(stream), without_ids(output))
        for line in listing.splitlines():
            self.assertRegex(output, loosely(line))
        documents = re.findall(r'^\{"run":.*"text":"hello hello".*$', output, re.M)
        self.assertEqual(len(documents), 2)
        self.assertEqual(documents[0], documents[1])
        self.assertRegex(output, r'\{"object":"list","data":\[\{"id":"hello",')
        self.assertEqual(re.findall(r'^data: .*"content":"(hello ?)"', output, re.M), ["hello ", "hello"])
        self.assertTrue((self.path / "root").is_dir())
        if CHROMIUM:
            self.assertIn('<pre id="out">hello hello</pre>', (self.path / "page.seen").read_text())

    def test_names_only_files_that_exist(self):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.text):
            self.assertTrue((SRCDIR / target).exists(), target)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    unittest.main()
