#!/usr/bin/python3
"""Clients that take their time, on purpose or not, and many of them: nobody else waits."""

import json
import os
import socket
import subprocess
import sys
import time

from harness import (PATIENCE_S, SANITIZED, ResponseParser, Test, main, read_stream, request_bytes,
                     run_request, types, wait_for)

# Of a whole request, seconds; a byte comes ten times as often.
TIMEOUT = 1
PERIOD_S = 0.1


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


class Trickler:
    """Sends a byte now and then, and notices when it is cut off."""

    def __init__(self, server, data, start=b""):
        self.connection = server.connect()
        self.connection.socket.settimeout(PERIOD_S)
        self.data = data
        self.got = b""
        self.connection.send(start)
        self.began = time.monotonic()

    def step(self):
        """Sends the next byte; False when it is cut off."""
        try:
            self.connection.send(self.data[:1])
            self.data = self.data[1:]
            got = self.connection.socket.recv(4096)
            self.got += got
            return got != b""
        except TimeoutError:
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def seconds(self):
        """How long it was let."""
        while self.step():
            if time.monotonic() - self.began > PATIENCE_S:
                raise AssertionError("the server lets a client trickle")
        self.connection.close()
        return time.monotonic() - self.began


class RequestTimeoutTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("ticker", "e2e_emit", settings={
            "host.request_timeout": TIMEOUT, "host.connection_timeout": 3600})

    def check_cut(self, trickler):
        self.assertGreaterEqual(trickler.seconds(), TIMEOUT - 0.2)
        self.assertEqual(self.server.get("/healthz").status, 200)

    def test_headers_that_trickle(self):
        self.check_cut(Trickler(self.server, b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 4000))

    def test_nothing_but_empty_lines(self):
        """libmicrohttpd 1.0 does not wait for the time to be over."""
        trickler = Trickler(self.server, b"\r\n" * 2000)
        if self.server.lines("starting", "libmicrohttpd=0.9."):
            self.check_cut(trickler)
        else:
            trickler.seconds()
            self.assertEqual(self.server.get("/healthz").status, 200)
        self.assertRegex(trickler.got, rb"\A(\Z|HTTP/1\.1 (400|408) )")

    def test_body_that_trickles(self):
        head = (b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n")
        self.check_cut(Trickler(self.server, b" " * 4000, head))

    def test_chunked_body_that_trickles(self):
        head = (b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.check_cut(Trickler(self.server, b"1\r\n \r\n" * 1000, head))

    def test_second_request_that_trickles(self):
        """The time counts from the answer, not from the connection's start."""
        trickler = Trickler(self.server, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 4000)
        trickler.connection.socket.settimeout(PATIENCE_S)
        end = time.monotonic() + 2 * TIMEOUT
        while time.monotonic() < end:
            self.assertEqual(trickler.connection.exchange("GET", "/healthz").status, 200)
        trickler.connection.socket.settimeout(PERIOD_S)
        trickler.began = time.monotonic()
        self.check_cut(trickler)

    def test_silent_connections(self):
        with self.server.connect() as new, self.server.connect() as idle:
            self.assertEqual(idle.exchange("GET", "/healthz").status, 200)
            for connection in (new, idle):
                connection.extra = b""
                self.assertTrue(connection.is_closed())

    def test_stream_is_not_a_request(self):
        """It goes on for longer, with a connection that trickles beside it, and is reused."""
        stream = self.server.open("ticker", {"count": 30, "period_ms": 100})
        stream.until("tick")
        self.check_cut(Trickler(self.server, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 4000))
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 30 + ["done"])
        stream.connection.take()
        self.assertEqual(stream.connection.exchange("GET", "/healthz").status, 200)
        stream.close()

    def test_answer_that_is_waited_for_is_not_a_request(self):
        answer = self.server.post("ticker", {"count": 25, "period_ms": 100}, "?mode=wait")
        self.assertEqual((answer.status, answer.json()["status"]), (200, "finished"))

    def test_stop_with_late_clients(self):
        clients = [self.server.connect() for _ in range(20)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHos")
        self.server.stop()
        for client in clients:
            client.close()


class AddressLimitTest(Test):
    MOST = 3

    def connect_from(self, server, address):
        client = socket.socket()
        client.settimeout(PATIENCE_S)
        client.bind((address, 0))
        client.connect(server.address)
        return client

    def is_served(self, client):
        parser = ResponseParser()
        try:
            client.sendall(request_bytes("GET", "/healthz"))
            while not parser.done:
                data = client.recv(4096)
                if not data:
                    return False
                parser.feed(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return parser.status == 200

    def test_one_address_cannot_take_all(self):
        server = self.serve(settings={"host.max_connections_per_address": self.MOST})
        held = [self.connect_from(server, "127.0.0.2") for _ in range(self.MOST)]
        self.assertTrue(all(self.is_served(client) for client in held))
        with self.connect_from(server, "127.0.0.2") as refused:
            self.assertFalse(self.is_served(refused))
        with self.connect_from(server, "127.0.0.3") as other:
            self.assertTrue(self.is_served(other))
        self.assertTrue(all(self.is_served(client) for client in held))
        held.pop().close()

        def is_let_in():
            with self.connect_from(server, "127.0.0.2") as client:
                return self.is_served(client)

        wait_for(is_let_in, "there is room for another one")
        for client in held:
            client.close()


# Opens as many connections as it is told, each with half a request, says so, and counts those
# that are ended.
CROWD = """
import selectors, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
crowd = selectors.EpollSelector()
for n in range(count):
    client = socket.create_connection(("127.0.0.1", port), 20)
    client.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nX: ")
    crowd.register(client, selectors.EVENT_READ)
print("open", flush=True)
left = count
while left:
    for key, _ in crowd.select():
        try:
            assert key.fileobj.recv(100) == b""
        except ConnectionResetError:
            pass
        crowd.unregister(key.fileobj)
        key.fileobj.close()
        left -= 1
print("gone", flush=True)
"""


class CrowdTest(Test):
    COUNT = 1000 if SANITIZED else 10000
    TIMEOUT = 60 if SANITIZED else 20
    # Of an ordinary request, seconds.
    MOST_S = 5 if SANITIZED else 1

    def crowd(self, server):
        crowd = subprocess.Popen([sys.executable, "-c", CROWD, str(server.address[1]),
                                  str(self.COUNT)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(crowd.stdout.close)
        self.addCleanup(crowd.wait)
        self.addCleanup(crowd.kill)
        return crowd

    def test_many_slow_connections(self):
        server = self.serve("ticker", settings={"host.request_timeout": self.TIMEOUT,
                                                "host.connection_timeout": 3600})
        before = descriptors(server)
        stream = server.open("ticker", {"count": 100000, "period_ms": 10})
        crowd = self.crowd(server)
        self.assertEqual(crowd.stdout.readline(), "open\n")
        wait_for(lambda: descriptors(server) >= before + self.COUNT, "all are accepted")
        for _ in range(20):
            begin = time.monotonic()
            self.assertEqual(server.get("/healthz").status, 200)
            self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                             ["run", "tick", "tick", "done"])
            self.assertLess(time.monotonic() - begin, self.MOST_S)
        self.assertEqual(crowd.stdout.readline(), "gone\n")
        stream.until("tick")
        stream.close()
        wait_for(lambda: descriptors(server) <= before, "no connection is left")


class RefusedTest(Test):
    """What libmicrohttpd answers by itself, beside a stream that must not notice."""

    def setUp(self):
        super().setUp()
        self.server = self.serve("ticker")
        self.stream = self.server.open("ticker", {"count": 20, "period_ms": 20})
        self.stream.until("tick")

    def tearDown(self):
        self.assertEqual(types(self.stream.rest()), ["run"] + ["tick"] * 20 + ["done"])
        self.stream.close()

    def status_of(self, *pieces):
        """Of the answer; None if the connection only ended."""
        with self.server.connect() as connection:
            parser = ResponseParser()
            try:
                for piece in pieces:
                    connection.send(piece)
                while not parser.done:
                    parser.feed(connection.socket.recv(1 << 16))
            except (AssertionError, BrokenPipeError, ConnectionResetError):
                pass
            return parser.status

    def test_oversized_headers(self):
        for headers in ({"X": "y" * 9000}, {f"X-{n}": "y" * 100 for n in range(100)}):
            self.assertIn(self.status_of(request_bytes("GET", "/healthz", None, headers)),
                          (None, 431))

    def test_headers_that_just_do_not_fit(self):
        """Nothing is left unread, so that the answer cannot be lost in a reset."""
        line = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
        self.assertEqual(self.status_of(line, b"y" * (8192 - len(line))), 431)

    def test_oversized_path(self):
        self.assertIn(self.status_of(request_bytes("GET", "/" + "x" * 9000)), (None, 414, 431))

    def test_garbage(self):
        self.assertIn(self.status_of(b"\xff\xfe\0\r\n\r\n"), (None, 400))
        self.assertIn(self.status_of(b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n"), (None, 200, 400))


class PipelinedTest(Test):
    """What a client sends behind its request is looked at when the answer is over."""

    TICKS = ["run"] + ["tick"] * 10 + ["done"]

    def setUp(self):
        super().setUp()
        self.server = self.serve("ticker")
        self.request = run_request("ticker", {"count": 10, "period_ms": 10})

    def read_ticks(self, connection):
        answer = connection.response()
        self.assertEqual(answer.status, 200)
        self.assertEqual(types(read_stream(answer.body)), self.TICKS)

    def test_garbage_behind_the_request(self):
        for garbage in (b"\0\xff\r\n\r\n", b"garbage", b"x" * 100000):
            with self.subTest(garbage=garbage[:10]), self.server.connect() as connection:
                connection.send(self.request + garbage)
                self.read_ticks(connection)

    def test_garbage_during_the_stream(self):
        with self.server.connect() as connection:
            connection.send(self.request)
            connection.expect("POST")
            while not connection.parser.body:
                connection.read()
            connection.send(b"\0\xff\r\n\r\n" * 1000)
            while connection.read():
                pass
            self.assertEqual(types(read_stream(bytes(connection.parser.body))), self.TICKS)
        self.assertEqual(self.server.get("/healthz").status, 200)

    def test_requests(self):
        with self.server.connect() as connection:
            connection.send(self.request * 2 + request_bytes("GET", "/healthz"))
            self.read_ticks(connection)
            self.read_ticks(connection)
            self.assertEqual(json.loads(connection.response("GET").body), {"status": "ok"})


if __name__ == "__main__":
    main()
