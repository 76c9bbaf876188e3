#!/usr/bin/python3
"""Clients whose cable is pulled: they send no FIN, and nobody answers for them."""

import os
import time

from cable import CLIENT, OTHER, SERVER, Cable
from harness import SANITIZED, Connection, Stream, Test, main, request_bytes, wait_for

STALL = 2

# What a silent run may take to learn of it, seconds; the next heartbeat would be later.
MOST_S = STALL + (30 if SANITIZED else 5)


class VanishTest(Test):
    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.cable = Cable()
        self.addCleanup(self.cable.close)

    def serve_far(self, *plugins, **settings):
        return self.serve(*plugins, settings={
            "host.listen": f"{SERVER}:0", "host.allow_anonymous": "yes", "host.stall": STALL,
            **settings})

    def connect(self, server, source=CLIENT, receive_buffer=None):
        with self.cable.at_client():
            connection = Connection(server.address, receive_buffer, server.tls, source)
        self.addCleanup(connection.close)
        return connection

    def post(self, server, agent, value, query="", source=CLIENT):
        connection = self.connect(server, source)
        connection.post(agent, value, query)
        return connection

    def begin(self, server, name, how, query="", source=CLIENT):
        """The file into which the run's agent writes when it is cancelled."""
        path = self.path(name)
        self.post(server, "e2e_watch_fiber", {"how": how, "file": path}, query, source)
        wait_for(lambda: os.path.exists(path + ".begun"), f"{name} has begun")
        return path

    def check_vanished(self, server):
        gone = {name: self.begin(server, name, how, query) for name, how, query in (
            ("silent", "sleep", ""), ("waited-for", "sleep", "?mode=wait"), ("talking", "emit", ""))}
        kept = [self.begin(server, "kept" + query[1:], "sleep", query, OTHER)
                for query in ("", "?mode=wait")]
        self.cable.pull()
        begin = time.monotonic()
        for name, path in gone.items():
            wait_for(lambda: os.path.exists(path), f"{name}: the client is missed",
                     MOST_S - (time.monotonic() - begin))
        wait_for(lambda: len(server.lines("a client that vanished", f"client={CLIENT}")) == len(gone),
                 "the log says so")
        # A client that only has nothing to say answers for as long as it takes.
        while time.monotonic() - begin < 2 * STALL:
            self.assertFalse(any(os.path.exists(path) for path in kept))
            time.sleep(0.1)

    def test_silent_and_talking(self):
        self.check_vanished(self.serve_far("e2e_watch_fiber"))

    def test_own_resumed_reader(self):
        """The same client, by another way: its dead connection does not hold it up."""
        server = self.serve_far("e2e_pour", **{"host.stall": 12})
        dead = Stream(self.post(server, "e2e_pour", {"count": 4000, "every": 1, "bytes": 1000}))
        dead.until("ready")
        self.cable.pull()
        connection = self.connect(server, OTHER)
        connection.send(request_bytes("GET", f"/runs/{dead.run}/events?after=2"))
        resumed = Stream(connection, "GET", 2)
        self.connect(server, OTHER).send(
            request_bytes("POST", f"/runs/{dead.run}/input", b"{}",
                          {"Content-Type": "application/json"}))
        resumed.rest()
        self.assertEqual((resumed.done["status"], resumed.parser.gaps), ("finished", []))
        self.assertEqual(server.lines("is disconnected"), [], "nobody had to be thrown out before")


if __name__ == "__main__":
    main()
