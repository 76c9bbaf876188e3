#!/usr/bin/python3
"""Requests that agents send: what comes back, what goes wrong, and what it may cost others."""

import errno
import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import time
import unittest

from harness import (SANITIZED, Identity, Swarm, free_port, main, memory_kib, plugin_path,
                     run_sluice, wait_for)
from swapping import SwapTest
from upstream import CLOSE, HOLD, RESET, Flood, Trickle, Upstream, head, whole

AGENTS = ("e2e_http", "e2e_http_fiber")

# How long after its cancellation an agent may return.
NOTICE_MS = 1000 if SANITIZED else 100

# What the environment of those that run these tests says is no part of them.
NO_PROXY = {"http_proxy": "", "https_proxy": "", "HTTPS_PROXY": "", "no_proxy": "", "NO_PROXY": "",
            "all_proxy": "", "ALL_PROXY": "", "SSL_CERT_FILE": ""}

MIB = 1024 * 1024


class HttpTest(SwapTest):
    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.upstream = self.start_upstream()

    def tearDown(self):
        """Workers end cleanly, with whatever is left in flight, and say so if they leak."""
        for server in self.servers:
            server.stop()
            self.assertEqual(server.lines("worker died"), [])
            self.assertEqual(server.lines("killed"), [])

    def start_upstream(self, tls=None):
        upstream = Upstream(tls)
        self.addCleanup(upstream.stop)
        return upstream

    def start(self, env=None, plugins=AGENTS, **settings):
        self.server = self.serve(*plugins, settings={"host.shutdown_timeout": 0, **settings},
                                 env={**NO_PROXY, **(env or {})})
        return self.server

    def input(self, *ops, url=None, path="echo", **more):
        return {"url": self.upstream.url(path) if url is None else url, "do": ops, **more}

    def outcome(self, agent, *ops, **more):
        """The events that the agent emits, as (type, value)."""
        events = self.server.run(agent, self.input(*ops, **more))
        self.assertEqual(events[-1].json(), {"status": "finished"}, events)
        return [(event.type, event.json()) for event in events[1:-1]]

    def both(self, *ops, **more):
        """The values that the agent of each mode emits, but for the first, which is of opened."""
        outcomes = [self.outcome(agent, *ops, **more) for agent in AGENTS]
        for outcome in outcomes:
            self.assertEqual(outcome[0], ("opened", {"status": 0}))
        return [[value for _, value in outcome[1:]] for outcome in outcomes]

    def check(self, expected, *ops, **more):
        """Both modes emit these values."""
        for agent, values in zip(AGENTS, self.both(*ops, **more)):
            with self.subTest(agent=agent, ops=ops, **more):
                self.assertEqual(values, expected)

    def check_fails(self, error, words, **more):
        for agent, values in zip(AGENTS, self.both("status", **more)):
            with self.subTest(agent=agent, words=words, **more):
                self.assertEqual(values[0]["status"], -error, values)
                self.assertIn(words, values[0]["words"])

    def check_end_fails(self, error, words, length, **more):
        """The response begins, and so much of its body comes."""
        for agent, values in zip(AGENTS, self.both("status", "count", **more)):
            with self.subTest(agent=agent, words=words, **more):
                self.assertEqual(values[0]["status"], 200)
                self.assertEqual((values[1]["length"], values[1]["status"]), (length, -error),
                                 values)
                self.assertIn(words, values[1]["words"])

    def open(self, agent, *ops, **more):
        stream = self.server.open(agent, self.input(*ops, **more))
        self.addCleanup(stream.close)
        return stream

    def check_tasks(self, **more):
        """Each has its exchange, at the same time, though none is answered."""
        self.upstream.routes["h"] = [HOLD, whole(b"x")]
        for agent in AGENTS:
            with self.subTest(agent=agent, **more):
                stream = self.open(agent, "collect", path="h", tasks=20, **more)
                self.upstream.wait_held(20)
                self.upstream.release()
                events = stream.rest()
                self.assertEqual(stream.done, {"status": "finished"})
                got = [event.json() for event in events if event.type == "collect"]
                self.assertEqual(sorted(int(value["scope"]) for value in got), list(range(20)))
                self.assertEqual({value["text"] for value in got}, {"x"})
                self.upstream.hold_again()

    def give(self, stream):
        stream.until("run")
        with self.server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{stream.run}/input", b"1",
                                         {"Content-Type": "application/json"})
        self.assertIn(answer.status, (200, 202, 204))

    def cancel(self, stream):
        with self.server.connect() as connection:
            connection.exchange("POST", f"/runs/{stream.run}/cancel", b"")


class RequestTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.start()

    def sent(self, **more):
        """The requests that each mode's agent sent, which must be the same."""
        self.upstream.requests.clear()
        self.check([{"status": 200, "words": ""}], "status", **more)
        first, second = self.upstream.requests
        self.assertEqual((first.method, first.target, first.fields, first.body),
                         (second.method, second.target, second.fields, second.body))
        return first

    def test_get(self):
        request = self.sent()
        self.assertEqual((request.method, request.target, request.version),
                         ("GET", "/echo", "HTTP/1.1"))
        self.assertEqual({name for name, _ in request.fields},
                         {"Host", "User-Agent", "Accept", "Accept-Encoding"})
        self.assertRegex(request.field("User-Agent"), r"^sluice/\d")

    def test_post(self):
        request = self.sent(body="{\"a\":1}", headers=["Content-Type: application/json"])
        self.assertEqual((request.method, request.body), ("POST", b"{\"a\":1}"))
        self.assertEqual(request.field("Content-Type"), "application/json")
        self.assertEqual(request.field("Content-Length"), "7")

    def test_body_without_a_type_gets_none(self):
        self.assertIsNone(self.sent(body="x").field("Content-Type"))

    def test_long_body(self):
        request = self.sent(body="x" * (3 * MIB // 4))
        self.assertEqual(len(request.body), 3 * MIB // 4)
        self.assertIsNone(request.field("Expect"))

    def test_methods(self):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            for body in (None, "body"):
                with self.subTest(method=method, body=body):
                    request = self.sent(method=method, **({"body": body} if body else {}))
                    self.assertEqual((request.method, request.body), (method, (body or "").encode()))
                    length = "4" if body else "0" if method[0] == "P" and len(method) < 6 else None
                    self.assertEqual(request.field("Content-Length"), length)

    def test_head(self):
        for agent, values in zip(AGENTS, self.both("status", "header content-length", "text",
                                                   method="HEAD")):
            with self.subTest(agent=agent):
                self.assertEqual(values[0], {"status": 200, "words": ""})
                self.assertGreater(int(values[1]["value"]), 0)
                self.assertEqual(values[2], {"length": 0, "status": 0, "words": ""})

    def test_headers(self):
        request = self.sent(headers=["X-One: 1", "x-two:2 ", "X-Empty:", "X-Blank:  ",
                                     "User-Agent: me", "Accept: text/event-stream", "X-One: again"])
        self.assertEqual(request.field("User-Agent"), "me")
        self.assertEqual(request.field("Accept"), "text/event-stream")
        self.assertEqual([value for name, value in request.fields if name == "X-One"],
                         ["1", "again"])
        self.assertEqual(request.field("X-Two").strip(), "2")
        self.assertEqual(request.field("X-Empty"), "")
        self.assertEqual(request.field("X-Blank"), "")

    def test_refused_at_once(self):
        for more in ({"url": "ftp://localhost/"}, {"url": "file:///etc/passwd"}, {"url": "localhost"},
                     {"url": ""}, {"url": "http://"}, {"url": "http://a b/"},
                     {"url": "http://localhost:99999/"}, {"url": "http://localhost/\r\nX: y"},
                     {"headers": ["X"]}, {"headers": [": x"]}, {"headers": ["X y: z"]},
                     {"headers": ["X: y\r\nZ: z"]}, {"headers": ["X: y\nZ: z"]},
                     {"method": ""}, {"method": "GET /"}, {"method": "A\r\nB"},
                     {"method": "HEAD", "body": "x"}):
            for agent in AGENTS:
                with self.subTest(agent=agent, **more):
                    self.assertEqual(self.outcome(agent, "status", **{"path": "echo", **more}),
                                     [("opened", {"status": -errno.EINVAL})])
        self.assertEqual(self.upstream.accepted, 0)


class ResponseTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_statuses(self):
        for status in (200, 201, 204, 206, 304, 400, 401, 404, 429, 500, 503, 599):
            self.check([{"status": status, "words": ""}, {"length": 0, "status": 0, "words": ""},
                        {"length": 0, "words": ""}], "status", "count", "read",
                       path=f"status/{status}")

    def test_headers(self):
        self.upstream.routes["h"] = [whole(b"", "X-One: 1", "x-two:  a: b \t", "X-Empty:",
                                           "X-One: again")]
        self.check([{"status": 200, "words": ""}, {"value": "1"}, {"value": "a: b"}, {"value": ""},
                    {}, {}, {"value": "0"}],
                   "status", "header X-ONE", "header X-Two", "header x-empty", "header x-on",
                   "header x-one1", "header Content-Length", path="h")

    def test_headers_before_there_are_any(self):
        self.upstream.routes["h"] = [HOLD, whole(b"", "X: y")]
        for agent in AGENTS:
            with self.subTest(agent=agent):
                stream = self.open(agent, "header X", "status", "header X", path="h")
                self.assertEqual(stream.until("header").json(), {})
                self.upstream.wait_held(1)
                self.upstream.release()
                self.assertEqual(stream.rest()[-2].json(), {"value": "y"})
                self.upstream.hold_again()

    def test_interim_responses(self):
        self.upstream.routes["h"] = [
            b"HTTP/1.1 103 Early Hints\r\nX: early\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
            whole(b"body", "Y: late")]
        self.check([{"status": 200, "words": ""}, {}, {"value": "late"}, {"delta": "body"},
                    {"length": 4, "status": 0, "words": ""}],
                   "status", "header X", "header Y", "text", path="h")

    def test_trailers(self):
        self.upstream.routes["h"] = [head(200, None, "Transfer-Encoding: chunked", "Trailer: X"),
                                     b"4\r\nbody\r\n0\r\nX: trailer\r\n\r\n"]
        self.check([{"status": 200, "words": ""}, {"length": 4, "status": 0, "words": ""}, {}],
                   "status", "count", "header X", path="h")

    def test_body_in_pieces(self):
        """Each is there before the next is sent."""
        self.upstream.routes["h"] = [head(200, None, "Transfer-Encoding: chunked"),
                                     b"5\r\nfirst\r\n", HOLD, b"6\r\nsecond\r\n0\r\n\r\n"]
        stream = self.open("e2e_http_fiber", "text", path="h")
        self.assertEqual(stream.until("text").json(), {"delta": "first"})
        self.upstream.release()
        self.assertEqual([event.json() for event in stream.rest()[-3:-1]],
                         [{"delta": "second"}, {"length": 11, "status": 0, "words": ""}])
        self.check([{"status": 200, "text": "firstsecond"}], "collect", path="h")

    def test_body_until_the_connection_ends(self):
        self.upstream.routes["h"] = [head(200), b"body", CLOSE]
        self.check([{"delta": "body"}, {"length": 4, "status": 0, "words": ""}], "text", path="h")

    def test_collect(self):
        body = bytes(range(35, 90)) * 10000
        self.upstream.routes["h"] = [whole(body)]
        self.check([{"status": 200, "text": body.decode()}], "collect", path="h")
        self.check([{"status": 204, "text": ""}], "collect", path="status/204")
        self.check([{"status": 404, "text": ""}], "collect", path="status/404")

    def test_large_body(self):
        self.upstream.routes["h"] = [head(200, 12 * MIB), Flood(12 * MIB)]
        self.check([{"length": 12 * MIB, "status": 0, "words": ""}], "count", path="h")

    def test_gzip(self):
        body = b"text " * 1000
        self.upstream.routes["h"] = [whole(gzip.compress(body), "Content-Encoding: gzip")]
        self.check([{"status": 200, "text": body.decode()}], "collect", path="h")

    def test_gzip_that_expands(self):
        """64 MiB in 64 KiB: it ends at the most bytes that it may have."""
        self.upstream.routes["h"] = [whole(gzip.compress(bytes(64 * MIB)), "Content-Encoding: gzip")]
        for agent, values in zip(AGENTS, self.both("status", "count", path="h")):
            with self.subTest(agent=agent):
                self.assertEqual(values[1]["status"], -errno.EMSGSIZE)
                self.assertLessEqual(values[1]["length"], 16 * MIB)

    def test_redirects(self):
        self.upstream.routes["one"] = [whole(b"no", "Location: two", status=302)]
        self.upstream.routes["two"] = [whole(b"nor this", "Location: /three", "X: y", status=307)]
        self.upstream.routes["three"] = [whole(b"end", "Z: 3")]
        self.check([{"status": 200, "words": ""}, {}, {"value": "3"}, {"delta": "end"},
                    {"length": 3, "status": 0, "words": ""}],
                   "status", "header X", "header Z", "text", path="one")

    def test_redirects_to_another_origin(self):
        """Any header of the agent's may be a secret: it stays with whom the agent asked."""
        other = self.start_upstream()
        secrets = {"X-Api-Key: sk-2", "Authorization: Bearer x", "Accept: a/b"}
        self.upstream.routes["same"] = [whole(b"", "Location: /away", status=302)]
        self.upstream.routes["away"] = [whole(b"", f"Location: {other.url('back')}", status=302)]
        other.routes["back"] = [whole(b"", f"Location: {self.upstream.url('end')}", status=302)]
        self.upstream.routes["end"] = [whole(b"end")]
        self.check([{"status": 200, "words": ""}], "status", headers=sorted(secrets), path="same")
        for path, upstream, gets_them in (("same", self.upstream, True), ("away", self.upstream, True),
                                          ("back", other, False), ("end", self.upstream, False)):
            requests = [request for request in upstream.requests if request.target == "/" + path]
            self.assertEqual(len(requests), len(AGENTS), path)
            for request in requests:
                got = {f"{key}: {value}" for key, value in request.fields} & secrets
                self.assertEqual(got, secrets if gets_them else set(), path)

    def test_redirects_that_are_not_followed(self):
        self.upstream.routes["one"] = [whole(b"no", "Location: /echo", status=303)]
        self.upstream.routes["empty"] = [whole(b"no", "Location:", status=302)]
        self.upstream.routes["none"] = [whole(b"no", status=302)]
        seen = [{"delta": "no"}, {"length": 2, "status": 0, "words": ""}]
        for method in ("POST", "PUT", "DELETE"):
            self.check([{"status": 303, "words": ""}, {"value": "/echo"}, *seen],
                       "status", "header location", "text", method=method, path="one")
        self.check([{"status": 303, "words": ""}, *seen], "status", "text", body="x", path="one")
        self.check([{"status": 302, "words": ""}, *seen], "status", "text", path="empty")
        self.check([{"status": 302, "words": ""}, *seen], "status", "text", path="none")

    def test_redirects_without_end(self):
        self.upstream.routes["one"] = [whole(b"", "Location: /one", status=302)]
        self.check_fails(errno.EPROTO, "redirects", path="one")
        self.assertEqual(len(self.upstream.requests), 12)

    def test_redirect_to_another_protocol(self):
        self.upstream.routes["one"] = [whole(b"", "Location: ftp://127.0.0.1/x", status=302)]
        self.check_fails(errno.EPROTO, "ftp", path="one")


class ConnectionTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_reuse(self):
        for agent in AGENTS:
            with self.subTest(agent=agent):
                before = self.upstream.accepted
                self.outcome(agent, "collect", "close", "reopen", "collect", "close", "reopen",
                             "collect")
                self.outcome(agent, "collect")
                self.assertEqual(self.upstream.accepted - before, 1)

    def test_reuse_of_one_that_the_server_has_closed(self):
        self.upstream.routes["h"] = [whole(b"x"), CLOSE]
        for agent in AGENTS:
            self.outcome(agent, "collect", path="h")
            wait_for(lambda: self.upstream.open == 0, "the server closes it")
            self.assertEqual(self.outcome(agent, "status")[1:],
                             [("status", {"status": 200, "words": ""})])
            self.outcome(agent, "collect", path="h")
            wait_for(lambda: self.upstream.open == 0, "the server closes the next, too")

    def test_early_close_ends_the_connection(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        for count, agent in enumerate(AGENTS, 1):
            with self.subTest(agent=agent):
                before = self.upstream.accepted
                stream = self.open(agent, "status", "read", "close", "wait", "reopen", "status",
                                   path="h")
                stream.until("read")
                self.upstream.wait_left(2 * count - 1)
                self.give(stream)
                stream.rest()
                self.upstream.wait_left(2 * count)
                self.assertEqual(self.upstream.accepted - before, 2)

    def test_close_before_it_begins(self):
        self.check([{"status": 0}, {"status": 0}, {"status": 200, "words": ""}], "close", "reopen",
                   "close", "reopen", "status")

    def test_exchange_that_is_left_open(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        self.check([{"status": 200, "words": ""}], "status", path="h")
        self.upstream.wait_left(2)
        self.check([], path="h")
        self.check([{"status": 200, "words": ""}, {"status": 0}, {"status": 0}], "status", "reopen",
                   "reopen", path="h")

    def test_two_tasks_wait_for_one(self):
        self.upstream.routes["h"] = [head(200, 4), HOLD, b"body"]
        for agent in AGENTS:
            with self.subTest(agent=agent):
                stream = self.open(agent, "status", "share", path="h")
                self.assertEqual(stream.until("share").json(), {"status": -errno.EBUSY})
                self.upstream.release()
                events = stream.rest()
                self.assertEqual([event.json() for event in events if event.type == "share"],
                                 [{"status": -errno.EBUSY}, {"status": 4}])
                self.assertEqual(stream.done, {"status": "finished"})
                self.upstream.hold_again()

    def test_closed_while_it_is_read(self):
        self.upstream.routes["h"] = [head(200, 4), HOLD]
        self.assertEqual(self.outcome("e2e_http_fiber", "status", "snatch", path="h")[2:],
                         [("snatch", {"status": -errno.ECANCELED})])
        self.upstream.wait_left(1)

    def test_tasks(self):
        """The first ones know nothing of the server, so they cannot tell whether it has HTTP/2."""
        self.check_tasks(http2=1)
        self.check_tasks()

    def test_same_events_in_both_modes(self):
        self.upstream.routes["one"] = [whole(b"", "Location: /two", status=302)]
        self.upstream.routes["two"] = [head(200, None, "Transfer-Encoding: chunked"),
                                       b"5\r\nfirst\r\n0\r\n\r\n"]
        outcomes = [self.outcome(agent, "status", "header Location", "text", "read", "close",
                                 "reopen", "collect", "reopen", "read", path="one")
                    for agent in AGENTS]
        self.assertEqual(outcomes[0], outcomes[1])
        self.assertEqual(len(outcomes[0]), 10)


class ErrorTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_no_such_host(self):
        self.check_fails(errno.EHOSTUNREACH, "resolve", url=f"http://{'a' * 64}.invalid/")

    def test_nobody_listens(self):
        port = free_port()
        self.check_fails(errno.ECONNREFUSED, f"port {port}", url=f"http://127.0.0.1:{port}/")

    def test_server_does_not_accept(self):
        """Its backlog is full, so that nobody answers."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            others = []
            for _ in range(8):
                other = socket.socket()
                other.setblocking(False)
                other.connect_ex(listener.getsockname())
                others.append(other)
            self.check_fails(errno.ETIMEDOUT, "", connect_timeout_ms=300,
                             url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
            for other in others:
                other.close()

    def test_nothing_comes(self):
        self.upstream.routes["h"] = [HOLD]
        self.check_fails(errno.ETIMEDOUT, "nothing came for 300 ms", idle_timeout_ms=300, path="h")
        self.upstream.wait_left(2)

    def test_nothing_more_comes(self):
        self.upstream.routes["h"] = [head(200, 9), b"x" * 5, HOLD]
        self.check_end_fails(errno.ETIMEDOUT, "nothing came for 300 ms", 5, idle_timeout_ms=300,
                             path="h")
        self.upstream.wait_left(2)

    def test_little_comes_for_longer_than_the_idle_time(self):
        """A byte now and then is no silence."""
        self.upstream.routes["h"] = [head(200, 4), Trickle(4, 1.2)]
        streams = [self.open(agent, "count", idle_timeout_ms=3000, path="h") for agent in AGENTS]
        for agent, stream in zip(AGENTS, streams):
            with self.subTest(agent=agent):
                self.assertEqual(stream.rest()[-2].json(), {"length": 4, "status": 0, "words": ""})

    def test_agent_that_does_not_read_is_not_idle(self):
        """The time that another exchange needs to become idle passes, and twice."""
        self.upstream.routes["h"] = [head(200, 16 * MIB), Flood(16 * MIB)]
        self.upstream.routes["silent"] = [HOLD]
        for agent in AGENTS:
            with self.subTest(agent=agent):
                self.upstream.blocked = False
                stream = self.open(agent, "status", "wait", "count", idle_timeout_ms=700, path="h")
                wait_for(lambda: self.upstream.blocked, "the server is held back")
                for _ in range(2):
                    self.outcome(agent, "status", idle_timeout_ms=700, path="silent")
                self.give(stream)
                self.assertEqual(stream.rest()[-2].json(),
                                 {"length": 16 * MIB, "status": 0, "words": ""})

    def test_total_time(self):
        self.upstream.routes["h"] = [head(200, 10 ** 6), Trickle(10 ** 6, 0.05)]
        for agent, values in zip(AGENTS, self.both("status", "count", timeout_ms=500, path="h")):
            with self.subTest(agent=agent):
                self.assertEqual(values[1]["status"], -errno.ETIMEDOUT)
        self.upstream.routes["h"] = [HOLD]
        self.check_fails(errno.ETIMEDOUT, "", timeout_ms=300, path="h")

    def test_connection_ends_early(self):
        for step in (CLOSE, RESET):
            with self.subTest(step=step):
                self.upstream.routes["h"] = [step]
                self.check_fails(errno.ECONNRESET, "", path="h")
                self.upstream.routes["h"] = [b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Le", step]
                self.check_fails(errno.ECONNRESET, "", path="h")
        self.upstream.routes["h"] = [head(200, 9), b"x" * 5, CLOSE]
        self.check_end_fails(errno.ECONNRESET, "", 5, path="h")
        self.upstream.routes["h"] = [head(200, None, "Transfer-Encoding: chunked"),
                                     b"5\r\nfirst\r\n", CLOSE]
        self.check_end_fails(errno.ECONNRESET, "", 5, path="h")

    def test_reset_within_the_body(self):
        self.upstream.routes["h"] = [head(200, 9), b"x" * 5, HOLD, RESET]
        for agent in AGENTS:
            with self.subTest(agent=agent):
                stream = self.open(agent, "status", "read", "count", path="h")
                self.assertEqual(stream.until("read").json()["length"], 5)
                self.upstream.release()
                self.assertEqual(stream.rest()[-2].json()["status"], -errno.ECONNRESET)
                self.upstream.hold_again()

    def test_not_http(self):
        for garbage in (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"\0\1\2\3" * 10, b"HTTP/9.9 hello\r\n\r\n",
                        b"HTTP/1.1 20\r\n\r\n"):
            with self.subTest(garbage=garbage):
                self.upstream.routes["h"] = [garbage, CLOSE]
                self.check_fails(errno.EPROTO, "", path="h")

    def test_not_gzip(self):
        self.upstream.routes["h"] = [whole(b"not at all", "Content-Encoding: gzip")]
        for agent, values in zip(AGENTS, self.both("status", "count", path="h")):
            with self.subTest(agent=agent):
                self.assertEqual(values[1]["status"], -errno.EPROTO)

    def test_not_tls(self):
        self.upstream.greeting = head(400, 0)
        self.check_fails(errno.EPROTO, "", url=f"https://127.0.0.1:{self.upstream.port}/echo")

    def test_too_many_bytes(self):
        self.upstream.routes["h"] = [whole(b"x" * 10)]
        self.check([{"length": 10, "status": 0, "words": ""}], "count", max_bytes=10, path="h")
        for agent, values in zip(AGENTS, self.both("count", max_bytes=9, path="h")):
            with self.subTest(agent=agent):
                self.assertEqual(values, [{"length": 0, "status": -errno.EMSGSIZE, "words":
                                           "the response has more than 9 bytes"}])
        self.check([{"status": -errno.EMSGSIZE}], "collect", max_bytes=9, path="h")

    def test_too_many_bytes_by_default(self):
        self.upstream.routes["h"] = [head(200, 17 * MIB), Flood(17 * MIB)]
        for agent, values in zip(AGENTS, self.both("count", path="h")):
            with self.subTest(agent=agent):
                self.assertEqual(values[0]["status"], -errno.EMSGSIZE)
                self.assertLessEqual(values[0]["length"], 16 * MIB)

    def test_too_many_headers(self):
        self.upstream.routes["h"] = [whole(b"", *[f"X-{n}: {'x' * 1000}" for n in range(80)])]
        self.check_fails(errno.EPROTO, "bytes of headers", path="h")

    def test_error_comes_again(self):
        self.upstream.routes["h"] = [head(200, 9), b"x" * 5, CLOSE]
        for agent, values in zip(AGENTS, self.both("count", "read", "status", "read", path="h")):
            with self.subTest(agent=agent):
                self.assertEqual(values[1]["length"], -errno.ECONNRESET)
                self.assertEqual(values[2]["status"], 200)
                self.assertEqual(values[3]["length"], -errno.ECONNRESET)


class TlsTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.identity = Identity(self.folder, "upstream")
        self.upstream = self.start_upstream(self.identity)
        self.url = f"https://localhost:{self.upstream.port}/echo"

    def test_certificate_that_is_trusted(self):
        self.start({"SSL_CERT_FILE": self.identity.certificate})
        self.check([{"status": 200, "words": ""}], "status", url=self.url)
        for agent in AGENTS:
            before = self.upstream.accepted
            self.outcome(agent, "collect", "close", "reopen", "collect", url=self.url)
            self.assertLessEqual(self.upstream.accepted - before, 1)

    def test_tasks(self):
        """The server speaks HTTP/1.1 only, which each learns by itself."""
        self.start({"SSL_CERT_FILE": self.identity.certificate})
        self.upstream.context.set_alpn_protocols(["http/1.1"])
        url = f"https://localhost:{self.upstream.port}/h"
        self.check_tasks(url=url, http2=1)
        self.check_tasks(url=url)

    def test_long_body(self):
        self.start({"SSL_CERT_FILE": self.identity.certificate})
        self.upstream.routes["h"] = [head(200, 8 * MIB), Flood(8 * MIB)]
        self.check([{"length": 8 * MIB, "status": 0, "words": ""}], "count",
                   url=f"https://localhost:{self.upstream.port}/h")

    def test_certificate_that_is_not_trusted(self):
        self.start()
        self.check_fails(errno.EPROTO, "certificate", url=self.url)
        self.assertEqual(self.upstream.requests, [])

    def test_certificate_of_another_host(self):
        self.start({"SSL_CERT_FILE": self.identity.certificate})
        self.check_fails(errno.EPROTO, "127.0.0.1", url=self.upstream.url("echo"))
        self.assertEqual(self.upstream.requests, [])


@unittest.skipUnless(shutil.which("nghttpd"), "nghttpd, an HTTP/2 server, is not installed")
class Http2Test(HttpTest):
    """nghttpd speaks nothing else."""

    def setUp(self):
        super().setUp()
        identity = Identity(self.folder, "upstream")
        with open(self.path("page"), "w") as page:
            page.write("x" * 300000)
        self.port = free_port()
        self.h2 = subprocess.Popen(["nghttpd", "-v", "-a", "127.0.0.1", "-d", self.folder,
                                    str(self.port), identity.key, identity.certificate],
                                   stdout=open(self.path("nghttpd.log"), "wb"))
        self.addCleanup(self.h2.wait)
        self.addCleanup(self.h2.kill)
        wait_for(self.is_listening, "nghttpd listens")
        self.url = f"https://localhost:{self.port}/page"
        self.start({"SSL_CERT_FILE": identity.certificate})

    def is_listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self):
        with open(self.path("nghttpd.log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def test_response(self):
        self.check([{"length": 300000, "status": 0, "words": ""}], "count", url=self.url, http2=1)

    def test_only_if_it_is_asked_for(self):
        for values in self.both("status", url=self.url):
            self.assertLess(values[0]["status"], 0)

    def test_exchanges_share_a_connection(self):
        self.outcome("e2e_http_fiber", "count", url=self.url, http2=1)
        before = set(re.findall(r"\[id=(\d+)\]", self.log()))
        swarm = Swarm(self.server.address)
        self.addCleanup(swarm.close)
        for _ in range(20):
            swarm.add("e2e_http_fiber", self.input("count", url=self.url, http2=1))
        swarm.finish()
        self.assertEqual(set(re.findall(r"\[id=(\d+)\]", self.log())), before)


class ProxyTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.proxy = self.upstream
        self.proxy_url = f"http://127.0.0.1:{self.proxy.port}"

    def test_http(self):
        self.start({"http_proxy": self.proxy_url})
        self.check([{"status": 200, "words": ""}], "status", url="http://example.test/echo")
        self.assertEqual([request.target for request in self.proxy.requests],
                         ["http://example.test/echo"] * 2)

    def test_hosts_without(self):
        other = self.start_upstream()
        self.start({"http_proxy": self.proxy_url, "no_proxy": "127.0.0.1"})
        self.check([{"status": 200, "words": ""}], "status", url=other.url("echo"))
        self.assertEqual((self.proxy.accepted, len(other.requests)), (0, 2))

    def test_tunnel(self):
        identity = Identity(self.folder, "upstream")
        other = self.start_upstream(identity)
        self.proxy.routes["CONNECT"] = other.port
        self.start({"https_proxy": self.proxy_url, "SSL_CERT_FILE": identity.certificate})
        self.check([{"status": 200, "words": ""}, {}, {"value": "application/json"}],
                   "status", "header X-Proxy", "header Content-Type",
                   url=f"https://localhost:{other.port}/echo")
        self.assertEqual([request.target for request in self.proxy.requests],
                         [f"localhost:{other.port}"] * 2)

    def test_tunnel_that_is_refused(self):
        self.proxy.routes["CONNECT"] = None
        self.start({"https_proxy": self.proxy_url})
        for agent, values in zip(AGENTS, self.both("status", "header X-Proxy",
                                                   url="https://example.test/")):
            with self.subTest(agent=agent):
                self.assertLess(values[0]["status"], 0)
                self.assertIn("403", values[0]["words"])
                self.assertEqual(values[1], {})

    def test_proxy_that_is_not_there(self):
        self.start({"http_proxy": f"http://127.0.0.1:{free_port()}"})
        self.check_fails(errno.ECONNREFUSED, "", url="http://example.test/echo")

    def test_proxy_without_an_address(self):
        self.start({"http_proxy": f"http://{'a' * 64}.invalid:80"})
        self.check_fails(errno.EHOSTUNREACH, "", url="http://example.test/echo")


class PressureTest(HttpTest):
    TOTAL = 64 * MIB
    MOST_IN_KERNEL = 16 * MIB
    MOST_KIB = 4096

    def test_agent_that_does_not_read_holds_the_server_back(self):
        self.start()
        for agent in AGENTS:
            with self.subTest(agent=agent):
                self.check_held_back(agent)

    def check_held_back(self, agent):
        self.upstream.routes["h"] = [head(200, self.TOTAL), Flood(self.TOTAL)]
        self.upstream.blocked = False
        self.upstream.flooded = 0
        self.outcome(agent, "status")
        worker = self.server.worker_of(agent)
        before = memory_kib(worker)
        stream = self.open(agent, "status", "wait", "count", path="h", max_bytes=self.TOTAL)
        wait_for(lambda: self.upstream.blocked, "the server is held back")
        self.assertLess(self.upstream.flooded, self.MOST_IN_KERNEL)
        if not SANITIZED:
            self.assertLess(memory_kib(worker) - before, self.MOST_KIB)
        self.give(stream)
        self.assertEqual(stream.rest()[-2].json(),
                         {"length": self.TOTAL, "status": 0, "words": ""})
        if not SANITIZED:
            self.assertLess(memory_kib(worker) - before, self.MOST_KIB)

    def test_one_that_does_not_read_does_not_hold_up_others(self):
        self.start()
        self.upstream.routes["h"] = [head(200, self.TOTAL), Flood(self.TOTAL)]
        for agent in AGENTS:
            with self.subTest(agent=agent):
                self.upstream.blocked = False
                stream = self.open(agent, "status", "wait", path="h")
                wait_for(lambda: self.upstream.blocked, "the server is held back")
                self.outcome(agent, "collect")
                stream.close()


class ManyTest(HttpTest):
    COUNT = 200 if SANITIZED else 2000
    LATENCY_S = 5 if SANITIZED else 1

    def threads(self, pid):
        return len(os.listdir(f"/proc/{pid}/task"))

    def test_many_at_once(self):
        """On one thread, and another agent's runs take no longer than they should."""
        server = self.start(plugins=("e2e_http_fiber", "echo"))
        self.outcome("e2e_http_fiber", "status")
        worker = server.worker_of("e2e_http_fiber")
        threads = self.threads(worker)
        self.upstream.routes["h"] = [HOLD, head(200, 5), b"first"[:1], HOLD, b"irst"]
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for _ in range(self.COUNT):
            swarm.add("e2e_http_fiber", self.input("status", "text", path="h"))
        swarm.until(lambda: self.upstream.held == self.COUNT, "all requests are there", 120)
        self.assertEqual(self.threads(worker), threads)
        self.check_latency(server)
        self.upstream.release()
        swarm.finish(120)
        for stream in swarm.streams:
            self.assertEqual(stream.parser.done, {"status": "finished"})
        self.check_latency(server)
        self.assertEqual(self.threads(worker), threads)
        self.outcome("e2e_http_fiber", "status")

    def check_latency(self, server):
        for _ in range(20):
            before = time.monotonic()
            server.run("echo", {"text": "x"})
            self.assertLess(time.monotonic() - before, self.LATENCY_S)


class CancelTest(HttpTest):
    def setUp(self):
        super().setUp()
        self.start()

    def check_cancelled(self, agent, begun, *ops, **more):
        path = self.path("stopped")
        stream = self.open(agent, *ops, file=path, **more)
        stream.until("run")
        begun(stream)
        before = time.monotonic_ns()
        self.cancel(stream)
        wait_for(lambda: os.path.exists(path), "the agent returns")
        with open(path) as file:
            took_ms = (int(file.read()) - before) / 1e6
        os.unlink(path)
        self.assertLessEqual(took_ms, NOTICE_MS)
        stream.rest()
        self.assertEqual(stream.done, {"status": "cancelled", "reason": "client"})
        wait_for(lambda: self.upstream.open == 0, "the connections are closed")

    def check_each(self, begun, *ops, **more):
        for agent in AGENTS:
            with self.subTest(agent=agent):
                self.check_cancelled(agent, begun, *ops, **more)

    def test_before_the_response(self):
        self.upstream.routes["h"] = [HOLD]
        self.check_each(lambda stream: self.upstream.wait_held(1), "status", path="h")

    def test_within_the_response(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        self.check_each(lambda stream: stream.until("text"), "text", path="h")

    def test_asleep(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        self.check_each(lambda stream: stream.until("status"), "status", "sleep", path="h")

    def test_waiting_for_input(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        self.check_each(lambda stream: wait_for(
            lambda: self.server.state(stream.run)["status"] == "waiting", "it waits"),
            "status", "wait", path="h")

    def test_joining(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        self.check_each(lambda stream: self.upstream.wait_held(10), "status", "count", tasks=10,
                        path="h")

    def test_while_the_response_is_held_back(self):
        self.upstream.routes["h"] = [head(200, 64 * MIB), Flood(64 * MIB)]

        def is_blocked(stream):
            wait_for(lambda: self.upstream.blocked, "the server is held back")
            self.upstream.blocked = False

        self.check_each(is_blocked, "status", "wait", path="h")

    def test_many_at_once(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        streams = [self.open(agent, "count", path="h") for agent in AGENTS * 20]
        self.upstream.wait_held(40)
        for stream in streams:
            stream.close()
        self.upstream.wait_left(40)


class ResolverTest(HttpTest):
    def test_cancelled_while_the_host_is_looked_up(self):
        if SANITIZED:
            self.skipTest("the sanitizers want to be preloaded first")
        path = self.path("go")
        self.start({"LD_PRELOAD": plugin_path("slow_resolver"), "SLOW_RESOLVER": path},
                   **{f"plugin.{agent}.env": "SLOW_RESOLVER" for agent in AGENTS})
        try:
            for agent in AGENTS:
                with self.subTest(agent=agent):
                    self.check_slow(agent, path)
        finally:
            with open(path, "w"):
                pass

    def check_slow(self, agent, path):
        stopped = self.path("stopped")
        stream = self.open(agent, "status", url="http://slow.test/", file=stopped)
        stream.until("run")
        wait_for(lambda: os.path.exists(path + ".begun"), "the look-up has begun")
        os.unlink(path + ".begun")
        before = time.monotonic_ns()
        self.cancel(stream)
        wait_for(lambda: os.path.exists(stopped), "the agent returns")
        with open(stopped) as file:
            self.assertLessEqual((int(file.read()) - before) / 1e6, NOTICE_MS)
        os.unlink(stopped)
        self.assertEqual(self.outcome(agent, "status")[1:],
                         [("status", {"status": 200, "words": ""})])
        self.check_time_is_over(agent, path)

    def check_time_is_over(self, agent, path):
        outcome = self.outcome(agent, "status", url="http://slow.test/", connect_timeout_ms=200)
        self.assertEqual(outcome[1][1]["status"], -errno.ETIMEDOUT)
        os.unlink(path + ".begun")


class EndTest(HttpTest):
    """Workers that end, and what is in flight then."""

    def test_server_stops(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        self.upstream.routes["silent"] = [HOLD]
        self.start()
        for agent in AGENTS:
            for path in ("h", "silent"):
                for ops in (("count",), ("status", "sleep"), ("wait",)):
                    self.open(agent, *ops, path=path)
            self.open(agent, "count", path="h", tasks=5)
        self.upstream.wait_held(2 * (2 * 3 + 5))
        self.server.stop()
        self.upstream.wait_left(2 * (2 * 3 + 5))

    def test_generation_drains(self):
        """Its exchange goes on while the next generation serves."""
        self.upstream.routes["h"] = [HOLD, whole(b"late")]
        for agent in AGENTS:
            with self.subTest(agent=agent):
                server = self.prepare_swap(settings={"host.shutdown_timeout": 0}, **{agent: agent})
                server.env.update(NO_PROXY)
                server.start()
                stream = server.open(agent, self.input("collect", path="h"))
                self.upstream.wait_held(1)
                self.check_command(server, "reload", agent)
                self.upstream.release()
                events = stream.rest()
                self.assertEqual(events[-2].json(), {"status": 200, "text": "late"})
                self.wait_generations(server, 2, name=agent)
                self.upstream.hold_again()

    def test_sluice_run(self):
        self.upstream.routes["h"] = [head(200, 100), b"x", HOLD]
        for agent in AGENTS:
            for ops, tasks in ((("status", "read"), 0), (("status",), 5), ((), 0)):
                with self.subTest(agent=agent, ops=ops, tasks=tasks):
                    ended = run_sluice("run", plugin_path(agent), json.dumps(
                        self.input(*ops, path="h", tasks=tasks)), env=NO_PROXY)
                    self.assertEqual(ended.returncode, 0, ended)
                    if not SANITIZED:
                        self.assertEqual(ended.stderr, b"")
                    self.assertIn(b'event: done\ndata: {"status":"finished"}', ended.stdout)


if __name__ == "__main__":
    main()
