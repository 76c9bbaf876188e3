#!/usr/bin/python3
"""nginx, HAProxy and Caddy as docs/behind-a-proxy.md sets them up: what clients see through them."""

import configparser
import contextlib
import os
import re
import shutil
import socket
import subprocess

from environment import free_port
from harness import PATIENCE_S, Connection, Stream, Test, main, request_bytes, run_request, wait_for
from identity import Identity
from listings import Document
from nginx import AROUND

NAME = "agents.example"
PADDED = b'{"count": 1, "padding": "%s"}'
JSON = {"Content-Type": "application/json"}


class ProxyTest:
    """Each test behind one proxy, over TLS; the subclasses say which."""

    def setUp(self):
        if not (self.program and shutil.which(self.program)):
            self.skipTest(f"{self.program} is not installed")
        super().setUp()
        self.server = self.serve("ticker", "e2e_watch_fiber", settings=self.settings())
        self.identity = Identity(self.folder, "agents", host=NAME)
        self.port = free_port()
        self.home = self.path(self.program)
        os.mkdir(self.home)
        os.chmod(self.folder, 0o755)
        self.start_proxy()

    def settings(self):
        """Those that the page shows, but for the address and the folder, and a quick heartbeat."""
        shown = configparser.ConfigParser()
        shown.read_string(Document("docs/behind-a-proxy.md").blocks("ini")[0])
        return {"host.heartbeat": 1, **{f"host.{key}": value for key, value in shown["host"].items()
                                        if key not in ("listen", "plugins")}}

    def listing(self):
        """What the page shows, with this test's ports and files."""
        text, = Document("docs/behind-a-proxy.md").blocks(self.language)
        pem = self.path("agents.pem")
        with open(pem, "wb") as both:
            for part in (self.identity.certificate, self.identity.key):
                with open(part, "rb") as file:
                    both.write(file.read())
        for said, is_here in (("127.0.0.1:8080", "%s:%d" % self.server.address),
                              ("/etc/ssl/agents.crt", self.identity.certificate),
                              ("/etc/ssl/agents.key", self.identity.key),
                              ("/etc/ssl/agents.pem", pem)):
            text = text.replace(said, is_here)
        return re.sub(self.place, self.place_here.format(port=self.port), text, flags=re.M)

    def start_proxy(self):
        config = os.path.join(self.home, self.file)
        with open(config, "w") as file:
            file.write(self.around.format(folder=self.home, listing=self.listing()))
        log = open(os.path.join(self.home, "log"), "wb")
        self.addCleanup(log.close)
        self.proxy = subprocess.Popen([self.program, *self.args(config)], stdout=log, stderr=log,
                                      stdin=subprocess.DEVNULL, cwd=self.home,
                                      env={**os.environ, "HOME": self.home,
                                           "XDG_CONFIG_HOME": self.home, "XDG_DATA_HOME": self.home})
        self.addCleanup(self.stop_proxy)
        wait_for(self.is_listening, f"{self.program} listens")

    def stop_proxy(self):
        self.proxy.terminate()
        self.proxy.wait(PATIENCE_S)

    def is_listening(self):
        if self.proxy.poll() is not None:
            with open(os.path.join(self.home, "log")) as log:
                raise AssertionError(log.read())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def connect(self):
        connection = Connection(("127.0.0.1", self.port), None, self.identity.clients,
                                name=NAME)
        self.addCleanup(connection.close)
        return connection

    def ask(self, method, path, body=None, headers=None):
        connection = self.connect()
        connection.send(request_bytes(method, path, body, {"Host": NAME, **(headers or {})}))
        connection.expect(method)
        return connection.response()

    def start(self, agent, value, query="", headers=None):
        connection = self.connect()
        connection.send(run_request(agent, value, query, {"Host": NAME, **(headers or {})}))
        return Stream(connection)

    # ---- what clients see ----

    def check_events_come_one_by_one(self):
        stream = self.start("ticker", {"count": 20, "period_ms": 50})
        stream.until("tick")
        self.assertIsNone(stream.done, "the run was over when its first event came")
        self.assertEqual(len([event for event in stream.rest() if event.type == "tick"]), 20)
        self.assertEqual(stream.done, {"status": "finished"})

    def check_resume(self):
        stream = self.start("ticker", {"count": 20, "period_ms": 50})
        event = stream.until("tick")
        run = stream.parser.run
        stream.close()
        connection = self.connect()
        connection.send(request_bytes("GET", f"/runs/{run}/events", None,
                                      {"Host": NAME, "Last-Event-ID": f"{run}.{event.sequence}"}))
        again = Stream(connection, "GET", event.sequence)
        again.rest()
        self.assertEqual(again.parser.count, 22)

    def check_client_leaves_a_silent_agent(self):
        path = self.path("noticed")
        stream = self.start("e2e_watch_fiber", {"file": path, "how": "sleep"},
                            "?on_disconnect=cancel")
        stream.until("ready")
        stream.close()
        wait_for(lambda: os.path.exists(path), "the agent learns that its client left")

    def check_document_after_heartbeats(self):
        answer = self.ask("POST", "/agents/ticker/runs?mode=wait",
                          b'{"count": 5, "period_ms": 500}', JSON)
        self.assertEqual((answer.status, answer.json()["status"]), (200, "finished"))
        self.assertLess(answer.body.find(b"\n"), answer.body.find(b"{"))

    def check_large_body(self):
        """As large as host.max_body is if not set. What is larger is refused before it was sent."""
        answer = self.ask("POST", "/agents/ticker/runs?mode=wait", PADDED % (b"x" * 1048000), JSON)
        self.assertEqual(answer.status, 200)
        with contextlib.suppress(OSError):
            answer = self.ask("POST", "/agents/ticker/runs?mode=wait",
                              PADDED % (b"x" * 2000000), JSON)
            self.assertEqual(answer.status, 413)

    def check_server_that_is_killed(self):
        """No client takes the end of its connection for the end of the run."""
        stream = self.start("ticker", {"count": 1000, "period_ms": 20})
        stream.until("tick")
        self.server.kill()
        self.server.is_stopped = True
        with self.assertRaises((AssertionError, OSError)):
            stream.rest()
        self.assertIsNone(stream.done)

    def test_what_clients_see(self):
        for check in (self.check_events_come_one_by_one, self.check_resume,
                      self.check_client_leaves_a_silent_agent,
                      self.check_document_after_heartbeats, self.check_large_body,
                      self.check_server_that_is_killed):
            with self.subTest(check.__name__):
                check()


class NginxTest(ProxyTest, Test):
    program = "nginx"
    language = "nginx"
    file = "nginx.conf"
    around = AROUND
    place = "listen 443"
    place_here = "listen 127.0.0.1:{port}"

    def args(self, config):
        return ["-e", os.path.join(self.home, "error.log"), "-c", config]


class HaproxyTest(ProxyTest, Test):
    program = "haproxy"
    language = "haproxy"
    file = "haproxy.cfg"
    around = "{listing}"
    place = "bind :443"
    place_here = "bind 127.0.0.1:{port}"

    def args(self, config):
        return ["-db", "-f", config]


class CaddyTest(ProxyTest, Test):
    program = "caddy"
    language = "caddy"
    file = "Caddyfile"
    around = "{{\n    admin off\n    auto_https disable_redirects\n}}\n{listing}"
    place = r"^agents\.example \{"
    place_here = NAME + ":{port} {{\n    bind 127.0.0.1"

    def args(self, config):
        return ["run", "--adapter", "caddyfile", "--config", config]


if __name__ == "__main__":
    main()
