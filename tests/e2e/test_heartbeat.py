#!/usr/bin/python3
"""
Comments keep an idle stream open, and never cut an event. White space does so for an answer that is
waited for.
"""

import json

from harness import Test, main, types


class HeartbeatTest(Test):
    def test_idle_stream(self):
        server = self.serve("e2e_watch", "e2e_watch_fiber", settings={"host.heartbeat": 1})
        streams = [server.open(agent, {"how": "sleep"}) for agent in ("e2e_watch", "e2e_watch_fiber")]
        for stream in streams:
            while stream.parser.comments < 2:
                self.assertTrue(stream.read())
            self.assertEqual(types(stream.parser.events), ["run", "ready"])
            stream.close()

    def test_http_1_0(self):
        server = self.serve("ticker", settings={"host.heartbeat": 1})
        with server.connect() as connection:
            connection.post("ticker", {"count": 1, "period_ms": 2500}, version="1.0")
            body = connection.response().body
        self.assertRegex(body, rb'"generation":1}\nid: \S+\n\n:\n\n')
        self.assertRegex(body, rb'event: done\ndata: {"status":"finished"}\nid: \S+\n\n\Z')

    def test_busy_stream_has_none(self):
        server = self.serve("ticker", settings={"host.heartbeat": 1})
        stream = server.open("ticker", {"count": 25, "period_ms": 100})
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 25 + ["done"])
        self.assertEqual(stream.parser.comments, 0)
        stream.close()

    def test_client_that_is_behind(self):
        """Its stream stands still inside of an event while heartbeats fall due."""
        server = self.serve("e2e_flood", "ticker", settings={"host.heartbeat": 1})
        stream = server.open("e2e_flood", {"count": 2000, "bytes": 5000}, 65536)
        stream.until("run")
        server.run("ticker", {"count": 1, "period_ms": 2500})
        numbers = [event.json()["n"] for event in stream.rest() if event.type == "flood"]
        self.assertEqual(numbers, list(range(1, 2001)))
        stream.close()


class WaitTest(Test):
    def wait(self, server, agent, value, query="", version="1.1"):
        with server.connect() as connection:
            connection.post(agent, value, "?mode=wait" + query, version=version)
            return connection.response()

    def test_answer_within_a_heartbeat(self):
        """It begins when the run has ended, and its status tells how."""
        server = self.serve("ticker")
        answer = self.wait(server, "ticker", {"count": 1000, "period_ms": 100}, "&deadline=1")
        self.assertEqual(answer.status, 500)
        self.assertTrue(answer.body.startswith(b"{"))

    def test_answer_after_a_heartbeat(self):
        server = self.serve("ticker", settings={"host.heartbeat": 1})
        for version in ("1.1", "1.0"):
            with self.subTest(version=version):
                answer = self.wait(server, "ticker", {"count": 1, "period_ms": 1600},
                                   version=version)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["content-type"], "application/json")
                self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
                self.assertIn("location", answer.headers)
                self.assertRegex(answer.body, rb"\A\n+{.*}\n\Z")
                self.assertEqual(json.loads(answer.body)["status"], "finished")

    def test_status_is_that_of_the_first_byte(self):
        """The document alone says that the run failed or was cancelled."""
        server = self.serve("ticker", settings={"host.heartbeat": 1})
        with server.connect() as connection:
            connection.post("ticker", {"count": 1000, "period_ms": 100}, "?mode=wait&deadline=2")
            answer = connection.response()
            self.assertEqual(answer.status, 200)
            document = json.loads(answer.body)
            self.assertEqual((document["status"], document["error"]["code"]),
                             ("failed", "deadline"))
            self.assertEqual(connection.exchange("GET", "/healthz").status, 200)

    def test_long_document(self):
        """More than the sockets hold follows the white space."""
        server = self.serve("e2e_pour", settings={"host.heartbeat": 1})
        with server.connect(4096) as connection:
            connection.post("e2e_pour", {"count": 300000, "every": 1000, "bytes": 0}, "?mode=wait")
            connection.expect("POST")
            while not connection.parser.body:
                connection.read()
            run = connection.parser.headers["location"].removeprefix("/runs/")
            with server.connect() as other:
                other.exchange("POST", f"/runs/{run}/input", b"{}",
                               {"Content-Type": "application/json"})
            while connection.read():
                pass
            document = json.loads(connection.take().body)
        self.assertEqual(document["status"], "finished")
        self.assertGreater(len(document["text"]), 1 << 20)


if __name__ == "__main__":
    main()
