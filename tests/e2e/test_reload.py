#!/usr/bin/python3
"""The configuration read again: what is told, what is in force, and that nobody waits for a disk."""

import os
import signal
import subprocess
import threading

from harness import BINARY, Test, main, run_sluice, wait_for

NEEDS_RESTART = 3


class ReloadTest(Test):
    def start(self, host="", plugin=""):
        self.file = self.path("sluice.ini")
        self.write(host, plugin)
        server = self.prepare("ticker", "echo")
        server.args += ["-c", self.file]
        server.start()
        return server

    def write(self, host="", plugin=""):
        with open(self.file, "w") as file:
            file.write(f"[host]\n{host}\n[plugin echo]\n{plugin}\n")

    def reload(self, server, status, *lines, stderr=""):
        ended = run_sluice("reload", "--admin", server.admin)
        self.assertEqual(ended.returncode, status, ended)
        self.assertEqual(ended.stdout.decode().splitlines(), list(lines))
        self.assertRegex(ended.stderr.decode(), f"(?s)\\A{stderr}\\Z")

    def token(self, subject):
        """A token, and its line."""
        ended = run_sluice("token", subject)
        return ended.stderr.decode().split()[-1], ended.stdout.decode()


class AnswerTest(ReloadTest):
    def test_key_by_key(self):
        server = self.start("stall = 20\nmax_body = 100K", "one = 1\ntwo = 2")
        self.reload(server, 0)
        self.write("stall = 21\nmax_body = 200K\nmax_connections = 77", "two = 3\nthree = 3\nthreads = 7")
        changed = ["applied:         host.stall", "applied:         plugin.echo.threads",
                   "applied:         plugin.echo.two", "applied:         plugin.echo.three",
                   "applied:         plugin.echo.one"]
        pending = ["needs a restart: host.max_body", "needs a restart: host.max_connections"]
        self.reload(server, NEEDS_RESTART, *changed, *pending)
        self.assertEqual(len(server.lines("starts again keys=host.max_body,host.max_connections")), 1)
        self.reload(server, NEEDS_RESTART, *pending)
        self.write("stall = 21\nmax_body = 100K", "two = 3\nthree = 3\nthreads = 7")
        self.reload(server, 0)

    def test_what_needs_a_restart_is_not_in_force(self):
        server = self.start("max_body = 100")
        self.write("max_body = 100K")
        self.reload(server, NEEDS_RESTART, "needs a restart: host.max_body")
        answer = server.post("echo", {"text": "x" * 200})
        self.check_problem(answer, 413, "Content Too Large",
                           "the body has more than 100 bytes, the limit of this host")

    def test_doubts(self):
        doubt = "plugin.echo.memory_limt goes to the plugin .* did you mean memory_limit\\?"
        server = self.start("", "memory_limt = 100M")
        self.assertEqual(len(server.lines(" warn ", "memory_limt", "did you mean")), 1)
        self.reload(server, 0, stderr=f"sluice: warning: {doubt}\n")

    def test_refused_whole(self):
        server = self.start("stall = 20")
        self.write("stall = 21\ntokens = /none")
        self.reload(server, 1, stderr="sluice: /none: cannot be read: .*\n")
        self.write("stall = 20")
        self.reload(server, 0)

    def test_verbosity_stays(self):
        server = self.start()
        self.reload(server, 0)
        before = len(server.lines(" info ", "configuration reloaded"))
        self.reload(server, 0)
        self.assertEqual(len(server.lines(" info ", "configuration reloaded")), before + 1)


class HungFileTest(ReloadTest):
    """A file that cannot be read now, here a FIFO without a writer: on a dead disk it is the same."""

    def begin(self):
        """A server that reads the FIFO, and the command that waits for it."""
        server = self.start()
        self.fifo = self.path("tokens")
        os.mkfifo(self.fifo)
        self.write(f"tokens = {self.fifo}\nstall = 21")
        self.addCleanup(self.release)
        return server, self.ask(server)

    def ask(self, server):
        asker = subprocess.Popen([BINARY, "reload", "--admin", server.admin],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(asker.communicate)
        return asker

    def open_fifo(self):
        """Makes whoever is reading the file wait for more, if anybody is; closed at the end."""
        try:
            fd = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None
        file = os.fdopen(fd, "wb", buffering=0)
        self.addCleanup(file.close)
        return file

    def release(self, line=""):
        """Writes the file for whoever is reading it, if anybody is."""
        file = self.open_fifo()
        if file is None:
            return False
        with file:
            file.write(line.encode())
        return True

    def check_serves(self, server):
        self.assertEqual(server.get("/healthz").status, 200)
        self.assertEqual(server.run("ticker", {"count": 2, "period_ms": 1})[-1].json(),
                         {"status": "finished"})
        self.assertEqual(run_sluice("list", "--admin", server.admin).returncode, 0)

    def test_serving_goes_on(self):
        server, asker = self.begin()
        for _ in range(3):
            self.check_serves(server)
        self.assertIsNone(asker.poll())
        token, line = self.token("alice")
        wait_for(lambda: self.release(line), "the file is being read")
        out, _ = asker.communicate()
        self.assertEqual(asker.returncode, 0)
        self.assertEqual(out.decode().splitlines(),
                         ["applied:         host.stall", "applied:         host.tokens"])
        self.assertEqual(server.get("/agents").status, 401)
        with server.connect() as connection:
            self.assertEqual(connection.exchange("GET", "/agents", None, {
                "Authorization": f"Bearer {token}"}).status, 200)

    def test_who_asks_meanwhile_shares_one_more_reading(self):
        server, first = self.begin()
        wait_for(lambda: self.release("bad line\n"), "the file is being read")
        self.assertEqual(first.wait(), 1)
        self.assertIn(b"no ':' in this line", first.communicate()[1])
        first, later = self.ask(server), [self.ask(server) for _ in range(5)]
        server.signal(signal.SIGHUP)
        self.check_serves(server)
        done = threading.Event()

        def feed():
            while not done.wait(0.01):
                self.release(line)

        _, line = self.token("alice")
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            for asker in [first, *later]:
                asker.communicate()
                self.assertEqual(asker.returncode, 0)
        finally:
            done.set()
            feeder.join()
        self.assertLessEqual(len(server.lines("configuration reloaded")), 3)

    def test_stop_does_not_wait(self):
        server, asker = self.begin()
        self.check_serves(server)
        wait_for(self.open_fifo, "the file is being read")
        server.signal(signal.SIGTERM)
        self.assertEqual(asker.communicate()[1], b"sluice: the server is stopping\n")
        self.assertEqual(server.wait(), 3)
        self.assertTrue(server.lines("stopped, but", "exiting with status 3"))
        server.is_stopped = True


if __name__ == "__main__":
    main()
