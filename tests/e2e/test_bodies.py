#!/usr/bin/python3
"""Bodies that nobody asked for: they are not kept, whoever sends them and wherever to."""

import hashlib
import os
import time

from host import read_proc
from harness import SANITIZED, Connection, Test, main, memory_kib, request_bytes

TOKEN = "one"
NOBODY = "0" * 26
SMUGGLED = request_bytes("GET", "/healthz")
LARGE = 1024 * 1024
JSON = {"Content-Type": "application/json"}

# (method, path, status with a token, status without)
WITHOUT_BODY = [
    ("GET", "/healthz", 200, 200), ("HEAD", "/healthz", 200, 200), ("POST", "/healthz", 405, 405),
    ("OPTIONS", "/healthz", 405, 405), ("POST", "/readyz", 405, 405), ("PUT", "/nothing", 404, 404),
    ("POST", "/", 404, 404), ("GET", "/agents", 200, 401), ("DELETE", "/agents", 405, 405),
    ("PUT", "/agents/e2e_emit/runs", 405, 405), ("GET", f"/runs/{NOBODY}", 404, 401),
    ("DELETE", f"/runs/{NOBODY}", 405, 405), ("GET", f"/runs/{NOBODY}/events", 404, 401),
    ("POST", f"/runs/{NOBODY}/cancel", 404, 401),
]

# They keep a body, of those who may send one.
WITH_BODY = [("POST", "/agents/e2e_emit/runs", 401), ("POST", f"/runs/{NOBODY}/input", 401)]


class TokenTest(Test):
    SETTINGS = {}

    def setUp(self):
        super().setUp()
        with open(self.path("tokens"), "w") as file:
            file.write(f"alice:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
        self.server = self.serve("e2e_emit", "ticker",
                                 settings={"host.tokens": self.path("tokens"), **self.SETTINGS})


class EndlessTest(TokenTest):
    """Chunks whose size has no end: they are longer than any buffer, and cost next to nothing."""

    SETTINGS = {"host.request_timeout": 1, "host.connection_timeout": 1}

    def cpu_s(self):
        fields = read_proc(self.server.process.pid, "stat").rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check_endless(self, chunk):
        with self.server.connect() as connection:
            connection.send(request_bytes("POST", "/agents/e2e_emit/runs?mode=wait", None,
                                          {"Transfer-Encoding": "chunked", "Content-Type": "application/json",
                                           "Authorization": "Bearer " + TOKEN}))
            cpu, begin = self.cpu_s(), time.monotonic()
            try:
                connection.send(chunk)
                while connection.socket.recv(1 << 16):
                    pass
            except ConnectionError:
                pass  # bytes were not read
            cpu, took = self.cpu_s() - cpu, time.monotonic() - begin
            # Not how fast it is: which part of the time it was busy.
            self.assertLess(cpu, 0.1 + took / 3)

    def test_size(self):
        self.check_endless(b"0" * LARGE)

    def test_extension(self):
        self.check_endless(b"2;" + b"a" * LARGE)

    def test_trailer(self):
        self.check_endless(b"2\r\n{}\r\n0\r\na:" + b"a" * LARGE)


class BodyTest(TokenTest):
    def check_closed(self, method, path, status, headers, body):
        """One answer, whatever is in the body, and the end of the connection."""
        with self.server.connect() as connection:
            connection.send(request_bytes(method, path, body, headers))
            answer = connection.response(method)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers["connection"].lower(), "close")
            self.assertTrue(connection.is_closed())

    def check_all_framings(self, method, path, status, headers):
        for framing in ({"Content-Length": len(SMUGGLED)}, {"Content-Length": LARGE},
                        {"Content-Length": LARGE, "Expect": "100-continue"},
                        {"Transfer-Encoding": "chunked"}):
            body = b"" if "Expect" in framing or "Transfer-Encoding" in framing else SMUGGLED
            with self.subTest(method=method, path=path, framing=framing):
                self.check_closed(method, path, status, {**framing, **headers}, body)

    def test_answered_at_once_with_a_token(self):
        for method, path, status, _ in WITHOUT_BODY:
            self.check_all_framings(method, path, status, {"Authorization": "Bearer " + TOKEN})

    def test_answered_at_once_without_a_token(self):
        for method, path, _, status in WITHOUT_BODY:
            self.check_all_framings(method, path, status, {})
        for method, path, status in WITH_BODY:
            self.check_all_framings(method, path, status, {"Content-Type": "application/json"})

    def test_a_client_that_reads_when_it_has_sent_all(self):
        """The answer reaches it, although more is on its way than anybody takes up."""
        body = b"x" * (6 * LARGE)
        for path, status, headers in (
                ("/healthz", 405, {}), ("/agents/e2e_emit/runs", 401, JSON),
                ("/agents/e2e_emit/runs", 413, {"Authorization": "Bearer " + TOKEN, **JSON}),
                ("/agents/e2e_emit/runs", 400, {"Host": "localhost, another"})):
            with self.subTest(path=path, status=status):
                self.check_closed("POST", path, status, headers, body)
        chunked = {"Authorization": "Bearer " + TOKEN, "Transfer-Encoding": "chunked", **JSON}
        with self.subTest("chunks"):
            self.check_closed("POST", "/agents/e2e_emit/runs", 413, chunked,
                              b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    def test_clients_that_send_on_and_on(self):
        """They are closed in the end, and cost nobody's descriptors."""
        clients = [Connection(self.server.address) for _ in range(100)]
        for client in clients:
            client.send(request_bytes("POST", "/healthz", None, {"Content-Length": 1 << 40}))
        for client in clients:
            with self.assertRaises(OSError):
                while True:
                    client.send(b"x" * LARGE)
            client.close()

    def test_a_run_is_read_and_cancelled_all_the_same(self):
        headers = {"Authorization": "Bearer " + TOKEN}
        run = self.server.detach("ticker", {"count": 100000, "period_ms": 10}, headers=headers)
        self.check_closed("GET", f"/runs/{run}", 200, headers, b"{}")
        self.check_closed("POST", f"/runs/{run}/cancel", 202, headers, b"{}")
        with self.server.connect() as connection:
            connection.send(request_bytes("GET", f"/runs/{run}/events", b"{}", headers))
            answer = connection.response("GET")
        self.assertIn(b'"status":"cancelled"', answer.body)


class MemoryTest(TokenTest):
    CLIENTS = 200
    SENT = 64 * 1024  # of the megabyte that each announces

    def test_memory_stays(self):
        paths = ["/healthz", "/readyz", "/nothing", f"/runs/{NOBODY}/cancel",
                 "/agents/e2e_emit/runs"]
        before = memory_kib(self.server.process.pid, "Anonymous")
        clients = []
        for number in range(self.CLIENTS):
            client = Connection(self.server.address)
            client.send(request_bytes("POST", paths[number % len(paths)], None,
                                      {"Content-Length": LARGE}))
            try:
                client.send(b"x" * self.SENT)
            except ConnectionError:
                pass  # it was answered before
            clients.append(client)
        self.assertEqual(self.server.get("/healthz").status, 200)
        grown = memory_kib(self.server.process.pid, "Anonymous") - before
        for client in clients:
            client.close()
        if not SANITIZED:
            self.assertLess(grown, self.CLIENTS * 16)


if __name__ == "__main__":
    main()
