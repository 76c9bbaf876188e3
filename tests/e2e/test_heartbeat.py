#!/usr/bin/python3
"""Comments keep an idle stream open, and never cut an event."""

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


if __name__ == "__main__":
    main()
