#!/usr/bin/python3
"""
Clients that shut down their sending side after their request, as `nc -N` does: each gets its whole
answer. Clients that left look the same at first, and are noticed when they are sent something.
"""

import json
import os
import socket
import ssl
import time

from harness import PATIENCE_S, ResponseParser, Test, main, read_stream, run_request, types, wait_for
from identity import Identity

COUNT = 8
TICKS = ["run"] + ["tick"] * COUNT + ["done"]
SLOW = {"count": COUNT, "period_ms": 60}


def shut(client):
    """Half-closes a connection; over TLS without saying so to TLS, as most clients do."""
    socket.socket.shutdown(client, socket.SHUT_WR)


class HalfCloseTest(Test):
    on_disconnect = "cancel"

    def ask(self, server, request):
        """Sends the request and half-closes; all that is answered, up to the end."""
        with server.connect() as connection:
            connection.send(request)
            shut(connection.socket)
            parser = ResponseParser("POST")
            while not parser.done and (data := connection.socket.recv(1 << 16)):
                parser.feed(data)
            if not parser.done:
                parser.feed(b"")
            return parser

    def check_stream(self, parser):
        self.assertEqual(parser.status, 200)
        self.assertEqual(types(read_stream(bytes(parser.body))), TICKS)

    def check_document(self, parser):
        self.assertEqual(parser.status, 200)
        self.assertEqual(json.loads(parser.body)["status"], "finished")

    def check_table(self, tls=None):
        server = self.serve("ticker", tls=tls)
        idle = server.connect()  # libmicrohttpd's order is another with more than one connection
        self.addCleanup(idle.close)
        self.assertEqual(idle.exchange("GET", "/healthz").status, 200)
        for version in ("1.1", "1.0"):
            with self.subTest(version=version, mode="stream"):
                self.check_stream(self.ask(server, run_request("ticker", SLOW, version=version)))
            with self.subTest(version=version, mode="wait"):
                self.check_document(self.ask(server, run_request("ticker", SLOW, "?mode=wait",
                                                                 version=version)))
            with self.subTest(version=version, mode="detach"):
                parser = self.ask(server, run_request("ticker", SLOW, "?mode=detach",
                                                      version=version))
                self.assertEqual(parser.status, 202)

    def test_plain(self):
        self.check_table()

    def test_tls(self):
        self.check_table(Identity(self.folder, "server"))

    def test_tls_that_says_so(self):
        """A close_notify (RFC 8446, 6.1) ends one direction only."""
        identity = Identity(self.folder, "server")
        server = self.serve("ticker", tls=identity)
        for query in ("", "?mode=wait"):
            with self.subTest(query=query), socket.create_connection(server.address,
                                                                     PATIENCE_S) as client:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = identity.clients.wrap_bio(incoming, outgoing, server_hostname="localhost")

                def drive(step):
                    while True:
                        try:
                            return step()
                        except ssl.SSLWantReadError:
                            client.sendall(outgoing.read())
                            data = client.recv(1 << 16)
                            incoming.write(data) if data else incoming.write_eof()

                drive(tls.do_handshake)
                tls.write(run_request("ticker", SLOW, query))
                try:
                    tls.unwrap()
                except ssl.SSLError:
                    pass  # the server's close_notify is not there yet
                client.sendall(outgoing.read())
                client.shutdown(socket.SHUT_WR)
                # OpenSSL reads no more after its own close_notify: what comes is only counted.
                length = 0
                while data := client.recv(1 << 16):
                    length += len(data)
                self.assertGreater(length, 200)
        wait_for(lambda: server.get("/agents").json()["agents"][0]["live_runs"] == 0, "all end")
        self.assertEqual(server.lines("cancel"), [])

    def test_half_closed_late(self):
        """While the answer is on its way."""
        server = self.serve("ticker")
        stream = server.open("ticker", SLOW)
        stream.until("tick")
        shut(stream.connection.socket)
        self.assertEqual(types(stream.rest()), TICKS)
        self.assertGreaterEqual(stream.parser.comments, 1)
        stream.close()

    def test_request_after_the_first(self):
        """What was sent before the FIN is answered in turn."""
        server = self.serve("ticker")
        with server.connect() as connection:
            connection.send(run_request("ticker", SLOW) + run_request("ticker", SLOW, "?mode=wait"))
            shut(connection.socket)
            self.assertEqual(types(read_stream(connection.response().body)), TICKS)
            self.assertEqual(connection.response().json()["status"], "finished")
            self.assertTrue(connection.is_closed())

    def test_silent_run_does_not_spin(self):
        """A FIN is noticed once."""
        server = self.serve("e2e_watch_fiber")

        def cpu_s():
            with open(f"/proc/{server.process.pid}/schedstat") as stat:
                return int(stat.read().split()[0]) / 1e9

        stream = server.open("e2e_watch_fiber", {"how": "sleep"})
        stream.until("ready")
        shut(stream.connection.socket)
        with server.connect() as waiting:
            waiting.post("e2e_watch_fiber", {"how": "sleep"}, "?mode=wait")
            shut(waiting.socket)
            while stream.parser.comments < 1:
                self.assertTrue(stream.read())
            before = cpu_s()
            while stream.parser.comments < 2:
                self.assertTrue(stream.read())
            self.assertLess(cpu_s() - before, 0.25, "CPU seconds in one second of nothing")
        stream.close()

    def test_urgent_data(self):
        """It means nothing to HTTP, and nothing happens."""
        server = self.serve("ticker")
        stream = server.open("ticker", SLOW)
        stream.until("tick")
        stream.connection.socket.send(b"!", socket.MSG_OOB)
        shut(stream.connection.socket)
        self.assertEqual(types(stream.rest()), TICKS)
        stream.close()

    def test_stream_that_is_cut(self):
        """Its client does not read: it learns that the answer is not whole, in HTTP/1.0 too."""
        server = self.serve("e2e_flood", settings={"host.stall": 1})
        for version in ("1.1", "1.0"):
            with self.subTest(version=version), server.connect(64 * 1024) as connection:
                connection.post("e2e_flood", {"count": 20000, "bytes": 2000}, version=version)
                shut(connection.socket)
                wait_for(lambda: server.get("/agents").json()["agents"][0]["live_runs"] == 0,
                         "the client is disconnected and its run is cancelled")
                with self.assertRaises(ConnectionResetError):
                    while connection.socket.recv(1 << 16):
                        pass

class LeaveTest(Test):
    """The agent is silent: only what the server sends can tell that nobody reads."""

    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_watch_fiber")

    def wait_cancelled(self, path, begin):
        wait_for(lambda: os.path.exists(path), "the agent learns that its client left")
        # Not at the next heartbeat: that comes every 15 seconds.
        self.assertLess(time.monotonic() - begin, 10)

    def test_stream(self):
        path = self.path("stream")
        stream = self.server.open("e2e_watch_fiber", {"how": "sleep", "file": path})
        stream.until("ready")
        begin = time.monotonic()
        stream.close()
        self.wait_cancelled(path, begin)

    def test_half_closed_first(self):
        """It reads on for a while, and leaves then."""
        for query in ("", "?mode=wait"):
            with self.subTest(query=query):
                path = self.path("half" + query[1:])
                connection = self.server.connect()
                connection.post("e2e_watch_fiber", {"how": "sleep", "file": path}, query)
                shut(connection.socket)
                wait_for(lambda: os.path.exists(path + ".begun"), "the run has begun")
                connection.expect("POST")
                while not connection.parser.body:
                    connection.read()
                self.assertFalse(os.path.exists(path))
                begin = time.monotonic()
                connection.close()
                self.wait_cancelled(path, begin)

    def test_unread_request_is_left(self):
        """A request that was sent after the first one does not hide the end."""
        path = self.path("pipelined")
        connection = self.server.connect()
        connection.send(run_request("e2e_watch_fiber", {"how": "sleep", "file": path}) +
                        run_request("e2e_watch_fiber", {"how": "sleep"}))
        wait_for(lambda: os.path.exists(path + ".begun"), "the run has begun")
        begin = time.monotonic()
        connection.close()
        self.wait_cancelled(path, begin)


if __name__ == "__main__":
    main()
