#!/usr/bin/python3
"""Clients that leave, and clients that do not read."""

import os
import time

from harness import SANITIZED, Swarm, Test, main, memory_kib, types, wait_for

# How long after its client left an agent may learn of it.
NOTICE_MS = 1000

# The receive buffer of a client that shall be behind soon.
SMALL = 64 * 1024


class DepartureTest(Test):
    """The agent writes when it saw run_cancelled(); both ends read the same clock."""

    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_watch", "e2e_watch_fiber", "ticker")

    def read_stamp(self, path):
        wait_for(lambda: os.path.exists(path), "the agent learns that its client left")
        with open(path) as file:
            stamp, cancelled = file.read().split()
        self.assertEqual(cancelled, "1")
        return int(stamp)

    def check_noticed(self, path, left):
        took_ms = (self.read_stamp(path) - left) / 1e6
        self.assertGreaterEqual(took_ms, 0)
        self.assertLessEqual(took_ms, NOTICE_MS)

    def live_runs(self):
        return sum(agent["live_runs"] for agent in self.server.get("/agents").json()["agents"])

    def check_departure(self, agent, how, leave):
        path = self.path(f"{agent}-{how}-{leave.__name__}")
        stream = self.server.open(agent, {"file": path, "how": how})
        stream.until("ready")
        run = stream.run
        left = time.monotonic_ns()
        leave(stream.connection.socket)
        self.check_noticed(path, left)
        wait_for(lambda: self.server.get("/runs/" + run).json()["status"] == "cancelled",
                 "the run is cancelled")
        stream.close()

    def check_all(self, how):
        def close(client):
            client.close()

        def reset(client):
            client.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of 0 seconds
            client.close()

        for agent in ("e2e_watch", "e2e_watch_fiber"):
            for leave in (close, reset):
                with self.subTest(agent=agent, leave=leave.__name__):
                    self.check_departure(agent, how, leave)
        wait_for(lambda: self.live_runs() == 0, "no run is left")

    def test_agent_that_polls(self):
        self.check_all("poll")

    def test_agent_that_sleeps(self):
        self.check_all("sleep")

    def test_agent_that_emits(self):
        self.check_all("emit")

    def test_agent_that_waits_for_its_reader(self):
        for agent in ("e2e_watch", "e2e_watch_fiber"):
            with self.subTest(agent=agent):
                path = self.path(agent)
                stream = self.server.open(agent, {"file": path, "how": "flood"}, SMALL)
                stream.until("ready")
                self.assertGreater(self.server.wait_held(stream.run), 1000)
                left = time.monotonic_ns()
                stream.close()
                self.check_noticed(path, left)

    def test_client_that_waits_for_the_result(self):
        for agent in ("e2e_watch", "e2e_watch_fiber"):
            for how in ("poll", "sleep", "emit"):
                with self.subTest(agent=agent, how=how):
                    path = self.path(f"{agent}-{how}")
                    connection = self.server.connect()
                    connection.post(agent, {"file": path, "how": how}, "?mode=wait")
                    wait_for(lambda: os.path.exists(path + ".begun"), "the run has begun")
                    left = time.monotonic_ns()
                    connection.close()
                    self.check_noticed(path, left)
                    wait_for(lambda: self.live_runs() == 0, "the run ends")

    def test_many_leave_at_once(self):
        count = 50 if SANITIZED else 200
        swarm = Swarm(self.server.address)
        paths = [self.path(f"leaver-{n}") for n in range(count)]
        for path in paths:
            swarm.add("e2e_watch_fiber", {"file": path, "how": "sleep"})
        swarm.until(lambda: all(stream.parser.count >= 2 for stream in swarm.streams),
                    "all runs are ready")
        other = self.server.open("ticker", {"count": 20, "period_ms": 10})
        left = time.monotonic_ns()
        swarm.close()
        last = time.monotonic_ns()
        stamps = [self.read_stamp(path) for path in paths]
        self.assertGreaterEqual(min(stamps), left)
        self.assertLessEqual((max(stamps) - last) / 1e6, NOTICE_MS)
        self.assertEqual(types(other.rest()), ["run"] + ["tick"] * 20 + ["done"])
        other.close()

    def test_run_that_only_waits_for_a_thread(self):
        server = self.serve("e2e_watch", settings={"plugin.e2e_watch.threads": 1})
        first = server.open("e2e_watch", {"how": "sleep"})
        first.until("ready")
        path = self.path("second")
        second = server.open("e2e_watch", {"how": "sleep", "file": path})
        second.until("run")
        second.close()
        wait_for(lambda: server.get("/runs/" + second.run).json()["status"] == "cancelled",
                 "the one that waits is cancelled")
        self.assertEqual(server.get("/runs/" + first.run).json()["status"], "running")
        first.close()
        wait_for(lambda: server.get("/agents").json()["agents"][0]["live_runs"] == 0, "both end")
        self.assertFalse(os.path.exists(path + ".begun"), "handle() was called for a run that was cancelled")


class SlowReaderTest(Test):
    on_disconnect = "cancel"

    COUNT = 20000
    BYTES = 2000
    MOST_MIB = 24 if SANITIZED else 8

    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_flood", "e2e_flood_fiber", "ticker",
                                 settings={"host.stall": 300})

    def front_mib(self):
        return memory_kib(self.server.process.pid, "Rss") / 1024

    def events_of(self, run):
        return self.server.get("/runs/" + run).json()["events"]

    def check_slow_reader(self, agent):
        before = self.front_mib()
        slow = self.server.open(agent, {"count": self.COUNT, "bytes": self.BYTES}, SMALL)
        slow.until("run")
        ticker = self.server.open("ticker", {"count": 100, "period_ms": 5})
        self.assertEqual(types(ticker.rest()), ["run"] + ["tick"] * 100 + ["done"])
        ticker.close()
        held = self.events_of(slow.run)
        self.assertLess(held, self.COUNT / 2)
        self.assertLess(self.front_mib() - before, self.MOST_MIB)
        numbers = [event.json()["n"] for event in slow.rest() if event.type == "flood"]
        self.assertEqual(numbers, list(range(1, self.COUNT + 1)))
        self.assertEqual(slow.done, {"status": "finished", "result": {"emitted": self.COUNT}})
        slow.close()

    def test_thread_that_floods(self):
        self.check_slow_reader("e2e_flood")

    def test_fiber_that_floods(self):
        self.check_slow_reader("e2e_flood_fiber")

    def test_reader_that_keeps_up_is_not_held_up(self):
        """Each event needs most of the window, but not a timer that happens to fire."""
        count = 6
        events = self.server.run("ticker", {"count": count, "period_ms": 0, "bytes": 900 * 1024})
        stamps = [event.json()["ns"] for event in events if event.type == "tick"]
        self.assertEqual(len(stamps), count)
        self.assertLess((stamps[-1] - stamps[0]) / 1e9, count / (1 if SANITIZED else 4))

    def test_worker_rests_while_its_reader_is_behind(self):
        def cpu_s():
            worker, total = self.server.worker_of(agent), 0
            for thread in os.listdir(f"/proc/{worker}/task"):
                with open(f"/proc/{worker}/task/{thread}/schedstat") as stat:
                    total += int(stat.read().split()[0])
            return total / 1e9

        for agent in ("e2e_flood", "e2e_flood_fiber"):
            with self.subTest(agent=agent):
                slow = self.server.open(agent, {"count": self.COUNT, "bytes": self.BYTES}, SMALL)
                slow.until("run")
                self.server.run("ticker", {"count": 10, "period_ms": 10})
                before = cpu_s()
                self.server.run("ticker", {"count": 10, "period_ms": 50})
                self.assertLess(cpu_s() - before, 0.2 if SANITIZED else 0.02,
                                "CPU seconds in half a second of waiting")
                slow.close()

    def test_flood_of_large_events(self):
        for agent in ("e2e_flood", "e2e_flood_fiber"):
            with self.subTest(agent=agent):
                before = self.front_mib()
                slow = self.server.open(agent, {"count": 10, "bytes": 900 * 1024}, SMALL)
                slow.until("run")
                ticker = self.server.open("ticker", {"count": 50, "period_ms": 5})
                ticker.rest()
                ticker.close()
                self.assertLess(self.front_mib() - before, self.MOST_MIB)
                floods = [event for event in slow.rest() if event.type == "flood"]
                self.assertEqual([event.json()["n"] for event in floods], list(range(1, 11)))
                self.assertEqual({len(event.data) for event in floods}, {900 * 1024})
                slow.close()

    def test_many_slow_readers(self):
        """Each run holds at most its window, and the others go on."""
        count = 10
        before = self.front_mib()
        slow = [self.server.open("e2e_flood_fiber" if n % 2 else "e2e_flood",
                                 {"count": 4000, "bytes": self.BYTES}, SMALL) for n in range(count)]
        for stream in slow:
            stream.until("run")
        quick = self.server.run("e2e_flood_fiber", {"count": 2000, "bytes": 100})
        self.assertEqual(len(quick), 2002)
        self.assertLess(self.front_mib() - before, 4 * count + self.MOST_MIB)
        for stream in slow:
            numbers = [event.json()["n"] for event in stream.rest() if event.type == "flood"]
            self.assertEqual(numbers, list(range(1, 4001)))
            stream.close()

    def test_waiting_client_does_not_hold_up_a_flood(self):
        answer = self.server.post("e2e_flood", {"count": 5000, "bytes": 1000}, "?mode=wait")
        self.assertEqual((answer.status, answer.json()["result"]), (200, {"emitted": 5000}))


if __name__ == "__main__":
    main()
