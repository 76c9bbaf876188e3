#!/usr/bin/python3
"""Where the server listens, and who its clients are behind proxies."""

import json
import os
import socket
import stat
import struct

from harness import (Connection, PATIENCE_S, Stream, Test, main, read_stream, request_bytes,
                     run_request, run_sluice, wait_for)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TICKS = {"count": 3, "period_ms": 1}
LONG = {"count": 1000000, "period_ms": 20}


def header(command, family, rest):
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def header_of(address, more=b""):
    """The header of a proxy that asks for this client."""
    if ":" in address:
        return header(0x21, 0x21, socket.inet_pton(socket.AF_INET6, address) + bytes(16) +
                      struct.pack("!HH", 4711, 80) + more)
    return header(0x21, 0x11, socket.inet_aton(address) + bytes(4) + struct.pack("!HH", 4711, 80) +
                  more)


class ListenTest(Test):
    on_disconnect = "cancel"

    def listen(self, listen, **settings):
        """A server; its address is the first TCP one, or else the unix socket."""
        server = self.prepare("ticker", settings={
            "host.listen": listen, **{f"host.{key}": value for key, value in settings.items()}})
        server.start_process()
        wait_for(lambda: len(server.lines("sluice: listening on ")) == len(listen.split(",")) or
                 not server.is_alive(), "the server listens")
        self.addresses = []
        for line in server.lines("sluice: listening on "):
            name = line.split()[-1]
            host, _, port = name.rpartition("/")[2].rpartition(":")
            self.addresses.append(name[5:] if name.startswith("unix:") else (host, int(port)))
        if self.addresses:
            server.address = self.addresses[0]
        return server

    def refuse(self, listen, why, **settings):
        server = self.listen(listen, **settings)
        self.assertEqual(server.wait(), 1)
        server.is_stopped = True
        self.assertIn(why, server.log())

    def check_listed(self, server):
        """`sluice list` names every address as the log does."""
        told = [line.split()[-1] for line in server.lines("sluice: listening on ")]
        admin = server.lines("admin socket open")[0].rpartition("admin=")[2]
        listed = json.loads(run_sluice("list", "--json", "--admin", admin).stdout)["server"]
        self.assertEqual((listed["listen"], listed["admin"]), (" ".join(told), admin))
        return admin

    def check_serves(self, server):
        events = server.run("ticker", TICKS)
        self.assertEqual(events[-1].json()["status"], "finished")
        with server.connect() as connection:
            for _ in range(2):
                connection.post("ticker", TICKS)
                self.assertEqual(len(read_stream(connection.response().body)), 5)
            connection.post("ticker", TICKS, "?mode=wait")
            self.assertEqual(connection.response().json()["status"], "finished")


class UnixTest(ListenTest):
    def setUp(self):
        super().setUp()
        self.socket = self.path("http.sock")
        self.name = "unix:" + self.socket

    def test_serves(self):
        server = self.listen(self.name)
        self.check_serves(server)
        info = os.stat(self.socket)
        self.assertEqual(stat.S_IMODE(info.st_mode), 0o660)
        server.stop()
        self.assertFalse(os.path.exists(self.socket))

    def test_mode(self):
        self.listen(self.name, socket_mode="0600")
        self.assertEqual(stat.S_IMODE(os.stat(self.socket).st_mode), 0o600)

    def test_stale_socket_is_replaced(self):
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(self.socket)
        stale.close()
        self.check_serves(self.listen(self.name))

    def test_socket_of_a_server_stays(self):
        first = self.listen(self.name)
        self.refuse(self.name, f"cannot listen on {self.name}: Address already in use")
        first.address = self.socket
        self.check_serves(first)

    def test_two_have_admin_sockets(self):
        """By default, though no port tells them apart."""
        first = self.listen(self.name)
        env, prepare = {"XDG_RUNTIME_DIR": first.folder}, self.prepare
        self.prepare = lambda *plugins, settings: prepare(*plugins, settings=settings, env=env)
        second = self.listen("unix:" + self.path("second.sock"))
        self.assertEqual(os.path.dirname(self.check_listed(first)),
                         os.path.dirname(self.check_listed(second)))

    def test_file_stays(self):
        with open(self.socket, "w") as file:
            file.write("precious")
        self.refuse(self.name, f"cannot listen on {self.name}: File exists, and it is not a socket")
        with open(self.socket) as file:
            self.assertEqual(file.read(), "precious")

    def test_successor_keeps_its_socket(self):
        server = self.listen(self.name)
        os.rename(self.socket, self.path("moved"))
        successor = socket.socket(socket.AF_UNIX)
        self.addCleanup(successor.close)
        successor.bind(self.socket)
        server.stop()
        self.assertTrue(os.path.exists(self.socket))

    def test_long_path(self):
        self.refuse("unix:/tmp/" + "x" * 200, "File name too long")

    def test_client_that_leaves(self):
        server = self.listen(self.name)
        stream = server.open("ticker", LONG, query="?on_disconnect=cancel")
        stream.until("tick")
        stream.close()
        wait_for(lambda: server.state(stream.run)["status"] == "cancelled", "the run is cancelled")

    def test_slow_client_and_resume(self):
        server = self.listen(self.name)
        run = server.detach("ticker", {"count": 30000, "period_ms": 0, "pad": "x" * 100})
        stream = Stream(self.open_events(server, run), "GET")
        stream.until("tick")
        stream.close()
        wait_for(lambda: server.state(run)["status"] == "finished", "the run ends")

    def open_events(self, server, run):
        connection = server.connect()
        connection.send(request_bytes("GET", f"/runs/{run}/events"))
        return connection

    def test_peers_are_one_client(self):
        server = self.listen(self.name, max_connections_per_address=2)
        kept = [server.connect() for _ in range(2)]
        for connection in kept:
            self.addCleanup(connection.close)
            self.assertEqual(connection.exchange("GET", "/healthz").status, 200)
        with server.connect() as third:
            try:
                third.send(request_bytes("GET", "/healthz"))
                self.assertEqual(third.socket.recv(1), b"")
            except ConnectionError:
                pass

    def test_peers_of_a_trusted_proxy_are_many(self):
        server = self.listen(self.name, max_connections_per_address=2, trusted_proxies="unix")
        for connection in [server.connect() for _ in range(4)]:
            self.addCleanup(connection.close)
            self.assertEqual(connection.exchange("GET", "/healthz").status, 200)


class SeveralTest(ListenTest):
    def test_each_serves(self):
        path = self.path("http.sock")
        server = self.listen(f"127.0.0.1:0, [::1]:0, unix:{path}, 127.0.0.2:0")
        self.assertEqual(len(self.addresses), 4)
        self.assertEqual(self.addresses[2], path)
        self.check_listed(server)
        for address in (self.addresses[0], path, self.addresses[3]):
            server.address = address
            self.check_serves(server)
        with socket.create_connection(("::1", self.addresses[1][1]), PATIENCE_S) as wire:
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
            self.assertTrue(wire.recv(1000).startswith(b"HTTP/1.1 200 "))

    def test_one_that_fails_leaves_none(self):
        path = self.path("http.sock")
        self.refuse(f"unix:{path}, 192.0.2.1:0", "cannot listen on 192.0.2.1:0: ",
                    allow_anonymous="yes")
        self.assertFalse(os.path.exists(path))

    def test_connections_wait_at_the_limit(self):
        server = self.listen(f"127.0.0.1:0, unix:{self.path('http.sock')}", max_connections=2)
        kept = [Connection(address) for address in self.addresses]
        for connection in kept:
            self.assertEqual(connection.exchange("GET", "/healthz").status, 200)
        with server.connect() as late:
            late.send(request_bytes("GET", "/healthz"))
            for _ in range(3):
                self.assertEqual(kept[0].exchange("GET", "/healthz").status, 200)
            late.socket.setblocking(False)
            with self.assertRaises(BlockingIOError):
                late.socket.recv(1)
            late.socket.settimeout(PATIENCE_S)
            kept[1].close()
            self.assertEqual(late.response("GET").status, 200)
        kept[0].close()


class ClientTest(ListenTest):
    """max_runs_per_client=1 shows who the server takes for whom."""

    def setUp(self):
        super().setUp()
        self.streams = []

    def serve_one(self, listen="127.0.0.1:0", **settings):
        self.server = self.listen(listen, max_runs_per_client=1, **settings)
        self.addCleanup(lambda: [stream.close() for stream in self.streams])

    def start(self, headers=None, prelude=b"", address=None):
        """The status of a POST that starts a run which goes on."""
        connection = Connection(address or self.server.address)
        connection.send(prelude + run_request("ticker", LONG, "", headers))
        connection.expect("POST")
        while connection.parser.status is None:
            if not connection.read():
                break
        self.streams.append(connection)
        return connection.parser.status

    def test_clients_of_a_trusted_proxy(self):
        self.serve_one(trusted_proxies="10.0.0.0/8, 127.0.0.1")
        for value, status in (("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200),
                              ("192.0.2.3, 192.0.2.2", 429), ("192.0.2.2, 10.1.1.1", 429),
                              ("192.0.2.4, 10.1.1.1", 200), ("2001:db8::1", 200),
                              ("[2001:db8::1]:80", 429), ("unknown", 200), ("garbage", 429)):
            with self.subTest(value=value):
                self.assertEqual(self.start({"X-Forwarded-For": value}), status)

    def test_forwarded(self):
        self.serve_one(trusted_proxies="127.0.0.1")
        for value, status in (("for=192.0.2.1;proto=http", 200), ("For=\"192.0.2.1:80\"", 429),
                              ("for=192.0.2.3, for=192.0.2.1", 429), ("for=192.0.2.2", 200)):
            with self.subTest(value=value):
                self.assertEqual(self.start({"Forwarded": value}), status)

    def test_headers_that_disagree(self):
        """A proxy that sets one of them may pass on what a client wrote into the other one."""
        self.serve_one(trusted_proxies="127.0.0.1")
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}),
                         200)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1"}), 429)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.7"}),
                         200)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.8"}),
                         429)

    def test_who_is_not_trusted_is_not_believed(self):
        self.serve_one(trusted_proxies="10.0.0.0/8, unix")
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1"}), 200)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.2"}), 429)
        self.assertEqual(self.start({"Forwarded": "for=192.0.2.2"}), 429)

    def test_proxy_behind_a_unix_socket(self):
        self.serve_one(f"unix:{self.path('http.sock')}", trusted_proxies="unix")
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1"}), 200)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1"}), 429)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.2"}), 200)

    def test_reload(self):
        config = self.path("sluice.ini")
        self.server = self.prepare("ticker", settings={"host.max_runs_per_client": 1})
        self.server.args += ["-c", config]
        with open(config, "w") as file:
            file.write("[host]\n")
        self.server.start()
        self.addCleanup(lambda: [stream.close() for stream in self.streams])
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.1"}), 200)
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.2"}), 429)
        with open(config, "a") as file:
            file.write("trusted_proxies = 127.0.0.0/8\n")
        self.server.signal(1)
        wait_for(lambda: self.server.lines("configuration reloaded"), "the reload")
        self.assertEqual(self.start({"X-Forwarded-For": "192.0.2.2"}), 200)

    # ---- the PROXY protocol ----

    def serve_proxied(self, trusted="127.0.0.1", **settings):
        self.serve_one("127.0.0.1:0, 127.0.0.2:0", proxy_protocol="127.0.0.1:0",
                       trusted_proxies=trusted, **settings)

    def test_header(self):
        self.serve_proxied()
        for prelude, status in ((header_of("192.0.2.1"), 200), (header_of("192.0.2.1", b"x" * 99), 429),
                                (header_of("192.0.2.2", b"x" * 900), 200),
                                (header_of("2001:db8::1"), 200), (header_of("2001:db8::1"), 429),
                                (header_of("::ffff:192.0.2.2"), 429),
                                (header(0x20, 0, b""), 200), (header(0x20, 0x11, b"x" * 12), 429),
                                (header(0x21, 0, b""), 429)):
            with self.subTest(prelude=prelude[:40]):
                self.assertEqual(self.start(prelude=prelude), status)

    def test_header_in_pieces(self):
        self.serve_proxied()
        with socket.create_connection(self.server.address, PATIENCE_S) as wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header_of("192.0.2.1", b"more"):
                wire.sendall(bytes([byte]))
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertTrue(wire.recv(1000).startswith(b"HTTP/1.1 200 "))

    def test_client_of_the_header_is_limited_by_its_address(self):
        self.serve_proxied(max_connections_per_address=1)
        self.assertEqual(self.start(prelude=header_of("192.0.2.1")), 200)
        self.check_closed(header_of("192.0.2.1"))
        self.assertEqual(self.start(prelude=header_of("192.0.2.2")), 200)

    def check_closed(self, prelude, address=None):
        with socket.create_connection(address or self.server.address, PATIENCE_S) as wire:
            try:
                wire.sendall(prelude + request_bytes("GET", "/healthz"))
                self.assertEqual(wire.recv(1000), b"")
            except ConnectionError:
                pass

    def test_what_is_no_header(self):
        self.serve_proxied()
        for prelude in (b"", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", SIGNATURE[:-1],
                        header(0x11, 0x11, bytes(12)), header(0x22, 0x11, bytes(12)),
                        header(0x21, 0x11, bytes(11)), header(0x21, 0x21, bytes(35)),
                        header(0x21, 0x11, bytes(1009)),
                        SIGNATURE + b"\x21\x11\xff\xff" + bytes(2000)):
            with self.subTest(prelude=prelude[:40]):
                self.check_closed(prelude)
        self.assertEqual(self.start(prelude=header_of("192.0.2.1")), 200)

    def test_header_that_does_not_come(self):
        self.serve_proxied(request_timeout=1, max_connections=2)
        silent = [socket.create_connection(self.server.address, PATIENCE_S) for _ in range(2)]
        silent[1].sendall(SIGNATURE)
        self.assertEqual(self.start(prelude=header_of("192.0.2.1")), 200)  # after their time
        for wire in silent:
            self.assertEqual(wire.recv(1), b"")
            wire.close()
        self.assertTrue(self.server.lines("its header did not come in time"))

    def test_header_from_others(self):
        self.serve_proxied(trusted="10.0.0.0/8")
        self.check_closed(header_of("192.0.2.1"))
        self.check_closed(b"")
        self.assertTrue(self.server.lines("takes connections of trusted_proxies only"))

    def test_header_where_none_is_expected(self):
        self.serve_proxied()
        self.assertEqual(self.start(address=self.addresses[1]), 200)
        with socket.create_connection(self.addresses[1], PATIENCE_S) as wire:
            try:
                wire.sendall(header_of("192.0.2.1") + run_request("ticker", LONG))
                self.assertNotIn(b" 200 ", wire.recv(1000))
            except ConnectionError:
                pass

    def test_stop_with_headers_that_do_not_come(self):
        self.serve_proxied()
        with socket.create_connection(self.server.address, PATIENCE_S) as wire:
            wire.sendall(SIGNATURE)
            self.server.stop()
            self.assertEqual(wire.recv(1), b"")


if __name__ == "__main__":
    main()
