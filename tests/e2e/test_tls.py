#!/usr/bin/python3
"""HTTPS: whole streams, clients that leave, a certificate that changes while streams are open."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from harness import (PATIENCE_S, SANITIZED, Identity, ResponseParser, Test, main, read_stream,
                     request_bytes, run_request, run_sluice, text_of, types, wait_for)

NOTICE_MS = 1000 if SANITIZED else 100

# The receive buffer of a client that shall be behind soon.
SMALL = 16 * 1024


def cpu_s(pid):
    with open(f"/proc/{pid}/schedstat") as stat:
        return int(stat.read().split()[0]) / 1e9


class TlsTest(Test):
    def setUp(self):
        super().setUp()
        self.identity = Identity(self.folder, "first")

    def start(self, *plugins, settings=None):
        return self.serve(*plugins, settings=settings, tls=self.identity)

    def check_serves(self, server):
        self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                         ["run", "tick", "tick", "done"])


class StreamTest(TlsTest):
    TICKS = ["run"] + ["tick"] * 20 + ["done"]

    def test_what_it_says_when_it_is_ready(self):
        server = self.start()
        self.assertRegex(server.log(), r"(?m)^sluice: listening on https://127\.0\.0\.1:\d+$")

    def test_streams_and_answers_on_one_connection(self):
        server = self.start("ticker")
        with server.connect() as connection:
            for _ in range(3):
                connection.post("ticker", {"count": 20, "period_ms": 2})
                self.assertEqual(types(read_stream(connection.response().body)), self.TICKS)
                connection.post("ticker", {"count": 2, "period_ms": 2}, "?mode=wait")
                self.assertEqual(connection.response().json()["status"], "finished")
                self.assertEqual(connection.exchange("GET", "/healthz").json(), {"status": "ok"})

    def test_pipelined_requests(self):
        server = self.start("ticker")
        with server.connect() as connection:
            connection.send(run_request("ticker", {"count": 20, "period_ms": 2}) * 2 +
                            request_bytes("GET", "/healthz"))
            for _ in range(2):
                self.assertEqual(types(read_stream(connection.response().body)), self.TICKS)
            self.assertEqual(connection.response("GET").json(), {"status": "ok"})

    def test_http_1_0(self):
        """The stream's end is the connection's, which TLS says too."""
        server = self.start("ticker")
        with server.connect() as connection:
            connection.post("ticker", {"count": 20, "period_ms": 2}, version="1.0")
            self.assertEqual(types(read_stream(connection.response().body)), self.TICKS)

    def test_versions_of_tls(self):
        server = self.start("ticker")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                server.tls.minimum_version = server.tls.maximum_version = version
                self.check_serves(server)

    def test_old_versions_are_refused(self):
        server = self.start("ticker")
        for version, is_served in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True)):
            client = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % server.address,
                                     version, "-cipher", "ALL:@SECLEVEL=0"], capture_output=True,
                                    stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False)
            self.assertEqual(b"Cipher is (NONE)" not in client.stdout, is_served)
        self.check_serves(server)

    def test_large_body_and_large_answer(self):
        server = self.start("e2e_emit")
        text = "x" * 900000
        events = server.run("e2e_emit", {"calls": [{"op": "text", "text": text}]})
        self.assertEqual(text_of(events), text)
        answer = server.post("e2e_emit", {"calls": [{"op": "text", "text": text}]}, "?mode=wait")
        self.assertEqual(answer.json()["text"], text)

    def test_many_streams(self):
        server = self.start("ticker")
        streams = [server.open("ticker", {"count": 20, "period_ms": 20}) for _ in range(50)]
        for stream in streams:
            self.assertEqual(types(stream.rest()), self.TICKS)
            stream.close()

    def test_an_rsa_key(self):
        self.identity = Identity(self.folder, "rsa", ("rsa:2048",))
        self.check_serves(self.start("ticker"))


class SlowReaderTest(TlsTest):
    COUNT = 2000 if SANITIZED else 10000
    BYTES = 2000

    def check_flood(self, server, agent, count, size, before_rest=lambda stream: None):
        stream = server.open(agent, {"count": count, "bytes": size}, SMALL)
        stream.until("run")
        before_rest(stream)
        floods = [event for event in stream.rest() if event.type == "flood"]
        self.assertEqual([event.json()["n"] for event in floods], list(range(1, count + 1)))
        self.assertEqual({len(event.data) for event in floods}, {size})
        self.assertEqual(stream.done["status"], "finished")
        stream.connection.take()
        self.assertEqual(stream.connection.exchange("GET", "/healthz").status, 200)
        stream.close()

    def test_agent_that_floods(self):
        server = self.start("e2e_flood", "e2e_flood_fiber", "ticker")

        def check_held_back(stream):
            self.check_serves(server)
            events = server.get("/runs/" + stream.run).json()["events"]
            self.assertLess(events, self.COUNT * 0.9)

        for agent in ("e2e_flood", "e2e_flood_fiber"):
            with self.subTest(agent=agent):
                self.check_flood(server, agent, self.COUNT, self.BYTES, check_held_back)

    def test_events_around_a_record(self):
        server = self.start("e2e_flood")
        for size in (16000, 16300, 16384, 16400, 32768, 100000, 900 * 1024):
            with self.subTest(size=size):
                self.check_flood(server, "e2e_flood", 30, size)

    def test_small_records(self):
        """The client asks for records of 512 bytes at most, and reads slowly at first."""
        server = self.start("e2e_flood", "ticker")
        client = subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % server.address,
                                   "-maxfraglen", "512", "-quiet"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        count, parser = 10000, ResponseParser("POST")
        with client.stdin, client.stdout:
            client.stdin.write(run_request("e2e_flood", {"count": count, "bytes": self.BYTES}))
            client.stdin.flush()
            parser.feed(client.stdout.read(1000))
            self.check_serves(server)
            while not parser.done:
                parser.feed(client.stdout.read1(1 << 16))
        numbers = [event.json()["n"] for event in read_stream(bytes(parser.body))
                   if event.type == "flood"]
        self.assertEqual(numbers, list(range(1, count + 1)))

    def test_shutdown_while_a_record_is_held(self):
        for version in ("1.0", "1.1"):
            with self.subTest(version=version):
                server = self.start("e2e_flood", settings={"host.shutdown_timeout": 0})
                stream = server.open("e2e_flood", {"count": 1000000, "bytes": 5000}, SMALL, version=version)
                stream.until("flood")
                wait_for(lambda: server.get("/runs/" + stream.run).json()["events"] > 100,
                         "there is more than the sockets hold")
                server.stop()
                self.assertRaises((ConnectionResetError, ssl.SSLEOFError), stream.rest)
                stream.close()


class DepartureTest(TlsTest):
    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.server = self.start("e2e_watch", "e2e_watch_fiber", "ticker")

    def check_departure(self, how, leave):
        path = self.path(f"{how}-{leave.__name__}")
        stream = self.server.open("e2e_watch", {"file": path, "how": how}, SMALL)
        stream.until("ready")
        left = time.monotonic_ns()
        leave(stream.connection.socket)
        wait_for(lambda: os.path.exists(path), "the agent learns that its client left")
        with open(path) as file:
            stamp, cancelled = file.read().split()
        self.assertEqual(cancelled, "1")
        self.assertLessEqual((int(stamp) - left) / 1e6, NOTICE_MS)
        wait_for(lambda: self.server.get("/runs/" + stream.run).json()["status"] == "cancelled",
                 "the run is cancelled")
        stream.close()

    def test_ways_to_leave(self):
        def close(client):
            client.close()

        def reset(client):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()

        def say_goodbye(client):
            client.settimeout(0)
            try:
                client.unwrap()
            except (BlockingIOError, ssl.SSLError):
                pass
            client.close()

        for how in ("sleep", "emit", "flood"):
            for leave in (close, reset, say_goodbye):
                with self.subTest(how=how, leave=leave.__name__):
                    self.check_departure(how, leave)

    def test_client_that_waits_for_the_result(self):
        path = self.path("waits")
        connection = self.server.connect()
        connection.post("e2e_watch", {"file": path, "how": "sleep"}, "?mode=wait")
        wait_for(lambda: os.path.exists(path + ".begun"), "the run has begun")
        connection.close()
        wait_for(lambda: os.path.exists(path), "the agent learns that its client left")


class HandshakeTest(TlsTest):
    """What is no TLS, or not all of it."""

    def hello(self):
        """The beginning of a handshake, as a client sends it."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.create_default_context().wrap_bio(incoming, outgoing,
                                                       server_hostname="localhost")
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            return outgoing.read()

    def plain(self, server, data):
        client = socket.create_connection(server.address, PATIENCE_S)
        client.sendall(data)
        return client

    def check_ended(self, client):
        with client:
            try:
                while client.recv(4096):
                    pass
            except ConnectionResetError:
                pass

    def test_plain_http(self):
        server = self.start("ticker")
        for data in (request_bytes("GET", "/healthz"), run_request("ticker", {}), b"\0" * 100,
                     b"\x16\x03\x01\xff\xff" + b"\xff" * 70000):
            with self.subTest(data=data[:20]):
                self.check_ended(self.plain(server, data))
        self.check_serves(server)

    def test_tls_to_a_plain_server(self):
        server = self.serve("ticker")
        with socket.create_connection(server.address, PATIENCE_S) as client:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                self.identity.clients.wrap_socket(client, server_hostname="localhost")
        self.check_serves(server)

    def test_client_that_does_not_trust_it(self):
        server = self.start("ticker")
        with socket.create_connection(server.address, PATIENCE_S) as client:
            with self.assertRaises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(client, server_hostname="localhost")
        self.check_serves(server)

    def test_handshake_that_never_ends(self):
        server = self.start("ticker", settings={"host.request_timeout": 1,
                                                "host.connection_timeout": 3600})
        hello = self.hello()
        clients = [self.plain(server, hello[:length]) for length in (0, 1, 5, 100, len(hello))]
        self.check_serves(server)
        for client in clients:
            self.check_ended(client)

    def test_handshakes_that_wait_cost_nothing(self):
        """libmicrohttpd would turn in circles as long as there is one."""
        server = self.start("ticker")
        hello = self.hello()
        clients = [self.plain(server, hello[:100 + n % 2 * len(hello)]) for n in range(20)]
        self.check_serves(server)
        before = cpu_s(server.process.pid)
        server.run("ticker", {"count": 20, "period_ms": 50})
        self.assertLess(cpu_s(server.process.pid) - before, 0.9 if SANITIZED else 0.5,
                        "CPU seconds in a second")
        for client in clients:
            client.close()

    def test_stop_during_handshakes(self):
        server = self.start("ticker")
        hello = self.hello()
        clients = [self.plain(server, hello[:length]) for length in (0, 100, len(hello))]
        self.check_serves(server)
        server.stop()
        for client in clients:
            client.close()


class IdentityTest(TlsTest):
    def setUp(self):
        super().setUp()
        self.other = Identity(self.folder, "second")

    def subject(self, server):
        """Of the certificate that a new client is shown."""
        with server.connect() as connection:
            return dict(pair[0] for pair in connection.socket.getpeercert()["subject"])["commonName"]

    def install(self, certificate, key):
        shutil.copy(certificate, self.identity.certificate)
        shutil.copy(key, self.identity.key)

    def reload(self, server):
        return run_sluice("reload", "--admin", server.admin)

    def test_swap_under_open_streams(self):
        server = self.start("ticker")
        old = [server.open("ticker", {"count": 100000, "period_ms": 10}) for _ in range(3)]
        for stream in old:
            stream.until("tick")
        shutil.copy(self.identity.certificate, self.path("old.crt"))
        self.install(self.other.certificate, self.other.key)
        self.assertEqual(self.subject(server), "first")
        server.signal(signal.SIGHUP)
        wait_for(lambda: server.lines("configuration reloaded"), "it is read again")
        server.tls = self.other.clients
        self.assertEqual(self.subject(server), "second")
        new = server.open("ticker", {"count": 20, "period_ms": 10})
        self.assertEqual(types(new.rest()), ["run"] + ["tick"] * 20 + ["done"])
        new.close()
        for stream in old:
            count = stream.parser.count
            while stream.parser.count < count + 20:
                stream.read()
            stream.close()

    def test_swap_during_a_handshake(self):
        """It goes on with what it began with, or what is there now, but goes on."""
        server = self.start("ticker")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(server.address, PATIENCE_S) as wire:
            for turn in range(10):
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    wire.sendall(outgoing.read())
                    incoming.write(wire.recv(1 << 16))
                source = self.other if turn % 2 == 0 else Identity(self.folder, f"turn-{turn}")
                self.install(source.certificate, source.key)
                self.assertEqual(self.reload(server).returncode, 0)
            client.write(request_bytes("GET", "/healthz"))
            wire.sendall(outgoing.read())
            data = b""
            while b"\r\n\r\n" not in data:
                incoming.write(wire.recv(1 << 16))
                try:
                    data += client.read()
                except ssl.SSLWantReadError:
                    pass
        self.assertTrue(data.startswith(b"HTTP/1.1 200 "))

    def test_many_swaps(self):
        server = self.start("ticker")
        sources = [(self.path(f"{name}.crt"), self.path(f"{name}.key")) for name in "ab"]
        for source, identity in zip(sources, (self.identity, self.other)):
            shutil.copy(identity.certificate, source[0])
            shutil.copy(identity.key, source[1])
        server.tls.load_verify_locations(self.other.certificate)
        served = []

        def connect():
            while not done.is_set():
                served.append(types(server.run("ticker", {"count": 2, "period_ms": 1})))

        done = threading.Event()
        client = threading.Thread(target=connect)
        client.start()
        for n in range(20):
            self.install(*sources[(n + 1) % 2])
            self.assertEqual(self.reload(server).returncode, 0)
            count = len(served)
            wait_for(lambda: len(served) > count + 1, "clients are served")
        done.set()
        client.join()
        self.assertEqual(served, [["run", "tick", "tick", "done"]] * len(served))

    def configure(self, *files):
        with open(self.path("sluice.ini"), "w") as file:
            file.write("[host]\n")
            for key, value in zip(("tls_certificate", "tls_key"), files):
                file.write(f"{key} = {value}\n")

    def configured(self, *files):
        self.configure(*files)
        server = self.prepare("ticker")
        server.args += ["-c", self.path("sluice.ini")]
        server.start()
        return server

    def test_other_files(self):
        server = self.configured(self.identity.certificate, self.identity.key)
        server.tls = self.identity.clients
        self.assertEqual(self.subject(server), "first")
        self.configure(self.other.certificate, self.identity.key)
        self.check_refusal(server, "is not that of the first certificate in " +
                           self.other.certificate)
        self.configure(self.other.certificate, self.other.key)
        self.assertEqual(self.reload(server).returncode, 0)
        server.tls = self.other.clients
        self.assertEqual(self.subject(server), "second")

    def test_tls_comes_and_goes_only_with_a_restart(self):
        files = (self.identity.certificate, self.identity.key)
        for before, after, tls in ((files, (), self.identity.clients), ((), files, None)):
            server = self.configured(*before)
            server.tls = tls
            self.configure(*after)
            ended = self.reload(server)
            self.assertEqual(ended.returncode, 3)
            self.assertEqual(ended.stdout.decode().splitlines(),
                             ["needs a restart: host.tls_certificate",
                              "needs a restart: host.tls_key"])
            self.assertTrue(server.lines("change only when the server starts again "
                                         "keys=host.tls_certificate,host.tls_key"))
            self.check_serves(server)

    def test_reload_without_a_change(self):
        server = self.start("ticker")
        for _ in range(3):
            self.assertEqual(self.reload(server).returncode, 0)
        self.assertEqual(len(server.lines("certificate loaded")), 1)
        self.check_serves(server)

    def bad_files(self):
        """What to install as certificate and key, and what is said of it."""
        broken = self.path("broken")
        with open(broken, "w") as file:
            file.write("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        empty = self.path("empty")
        with open(empty, "w"):
            pass
        first, second = Identity(self.folder, "x"), self.other
        key_of = "the key in {key} is not that of the first certificate in {certificate}"
        return (
            (first.certificate, second.key, key_of),
            (second.key, second.key, "{certificate} has no chain of 1 to 16 certificates in PEM: "),
            (broken, first.key, "{certificate} has no chain of 1 to 16 certificates in PEM: "),
            (empty, first.key, "{certificate} has no chain of 1 to 16 certificates in PEM: "),
            ("/bin/sh", first.key, "{certificate} has no chain of 1 to 16 certificates in PEM: "),
            (first.certificate, first.certificate,
             "{key} has no private key in PEM without a password: "),
            (first.certificate, empty, "{key} has no private key in PEM without a password: "),
            (first.certificate, self.encrypted(first), "{key} has no private key in PEM without a "
             "password: "),
        )

    def encrypted(self, identity):
        path = self.path("encrypted")
        subprocess.run(["openssl", "pkey", "-in", identity.key, "-aes256", "-passout", "pass:x",
                        "-out", path], check=True, capture_output=True, timeout=PATIENCE_S)
        return path

    def check_refusal(self, server, reason):
        answer = self.reload(server)
        self.assertEqual(answer.returncode, 1)
        self.assertIn(reason, answer.stderr.decode())
        self.assertEqual(self.subject(server), "first")
        self.check_serves(server)

    def test_bad_files_on_reload(self):
        server = self.start("ticker")
        stream = server.open("ticker", {"count": 100000, "period_ms": 10})
        stream.until("tick")
        for certificate, key, reason in self.bad_files():
            with self.subTest(reason=reason, certificate=certificate, key=key):
                self.install(certificate, key)
                self.check_refusal(server, reason.format(certificate=self.identity.certificate,
                                                         key=self.identity.key))
        os.unlink(self.identity.key)
        self.check_refusal(server, f"cannot read {self.identity.key}: No such file or directory")
        server.signal(signal.SIGHUP)
        wait_for(lambda: server.lines("configuration refused", "cannot read"), "it says so")
        count = stream.parser.count
        while stream.parser.count < count + 10:
            stream.read()
        stream.close()
        self.install(self.other.certificate, self.other.key)
        self.assertEqual(self.reload(server).returncode, 0)
        server.tls = self.other.clients
        self.assertEqual(self.subject(server), "second")

    def check_start(self, reason):
        server = self.prepare("ticker", tls=self.identity)
        checked = subprocess.run([*server.args, "-n"], capture_output=True, timeout=PATIENCE_S)
        self.assertEqual(checked.returncode, 1)
        self.assertIn(reason, checked.stderr.decode())
        server.start_process()
        self.assertEqual(server.wait(), 1)
        server.is_stopped = True
        self.assertRegex(server.log(), r"(?m)^sluice: tls_")
        self.assertIn(reason, server.log())
        self.assertNotIn("listening", server.log())

    def test_bad_files_at_the_start(self):
        for certificate, key, reason in self.bad_files():
            with self.subTest(reason=reason, certificate=certificate, key=key):
                self.install(certificate, key)
                self.check_start(reason.format(certificate=self.identity.certificate,
                                               key=self.identity.key))
        os.unlink(self.identity.certificate)
        self.check_start(f"cannot read {self.identity.certificate}: No such file or directory")
        os.mkdir(self.identity.certificate)
        self.check_start(f"cannot read {self.identity.certificate}: Is a directory")

    def test_one_without_the_other(self):
        for key in ("tls_certificate", "tls_key"):
            server = self.prepare("ticker", settings={f"host.{key}": self.identity.certificate})
            server.start_process()
            self.assertEqual(server.wait(), 1)
            server.is_stopped = True
            self.assertIn(f"{key} is set without ", server.log())

    def test_chain(self):
        """What is behind the certificate is sent along."""
        with open(self.identity.certificate, "a") as file, open(self.other.certificate) as more:
            file.write(more.read())
        server = self.start("ticker")
        self.check_serves(server)
        shown = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % server.address,
                                "-showcerts"], stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=PATIENCE_S, check=False).stdout
        self.assertEqual(shown.count(b"BEGIN CERTIFICATE"), 2)


if __name__ == "__main__":
    main()
