#!/usr/bin/python3
"""Several readers of one run, slow readers, and readers that do not read."""

import threading
import time

from harness import PATIENCE_S, SANITIZED, Swarm, main, memory_kib, types, wait_for
from supervising import SupervisionTest

FINISHED = {"status": "finished"}

# The receive buffer of a client that reads slowly: what it has not read waits at the server.
SMALL = 4096

WINDOW = 1024 * 1024

# What a front takes beyond a run's log and window: buffers that grow by doubling, and the like.
SLACK_MIB = 24 if SANITIZED else 4


class Background:
    """Reads a stream to its end on a thread of its own."""

    def __init__(self, stream):
        self.stream = stream
        self.error = None
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            self.stream.rest()
        except (AssertionError, OSError) as error:
            self.error = error
        finally:
            self.stream.close()

    def events(self):
        self.thread.join(2 * PATIENCE_S)
        if self.error:
            raise self.error
        if self.thread.is_alive():
            raise AssertionError("a stream does not end")
        return self.stream.parser.events


class ReadersTest(SupervisionTest):
    on_disconnect = None  # as the host has it

    def front_mib(self, server):
        return memory_kib(server.process.pid, "Rss") / 1024

    def open_pour(self, server, agent, value, receive_buffer=None):
        """A run that waits to be told to pour."""
        stream = server.server.open(agent, value, receive_buffer, may_pack=True)
        self.addCleanup(stream.close)
        stream.until("ready")
        return stream

    def reopen(self, server, run, after=0, receive_buffer=None):
        stream = server.reopen(run, after, receive_buffer, may_pack=True)
        self.addCleanup(stream.close)
        return stream

    def pour(self, server, run):
        with server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{run}/input", b"{}",
                                         {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 202, answer.body)

    def check_marks(self, events, count, first=1):
        """All of them, in order, and the end."""
        self.assertEqual([event.json()["n"] for event in events if event.type == "mark"],
                         list(range(first, count + 1)))
        self.assertEqual(events[-1].json(), {**FINISHED, "result": {"poured": count}})


class PaceTest(ReadersTest):
    COUNT = 6000
    BYTES = 1000

    def setUp(self):
        super().setUp()
        self.server = self.watch("e2e_pour", "e2e_pour_fiber", "ticker",
                                 settings={"host.stall": 600})

    def begin(self, agent):
        """A slow reader, which holds the run up, and a fast one that comes later."""
        value = {"count": self.COUNT, "every": 1, "bytes": self.BYTES}
        slow = self.open_pour(self.server, agent, value, SMALL)
        fast = self.reopen(self.server, slow.run)
        fast.until("ready")
        fast.run_id = slow.run_id = slow.run
        self.before = self.front_mib(self.server)
        self.pour(self.server, slow.run)
        return Background(fast), slow

    def check_held(self, fast, slow):
        """A bit of reading, about a kilobyte a second, frees as little."""
        run = slow.run_id
        def has_all():
            state = self.server.state(run)
            return state.get("held") and fast.stream.parser.count == state["events"]
        wait_for(has_all, "the agent waits, and the fast one has all that there is")
        held = fast.stream.parser.count
        self.assertLess(held * self.BYTES, WINDOW + 512 * 1024)
        for _ in range(3):
            slow.connection.parser.feed(slow.connection.socket.recv(300))
            time.sleep(0.2)
        more = self.server.wait_held(run)
        self.assertLessEqual(more - held, 128)  # a piece of credit, at the most
        self.assertLess(self.front_mib(self.server) - self.before, 2 + SLACK_MIB)
        return more

    def check_all(self, agent):
        fast, slow = self.begin(agent)
        self.check_held(fast, slow)
        late = Background(self.reopen(self.server, slow.run_id))
        wait_for(lambda: late.stream.parser.count > 100, "the late one has begun")
        self.assertEqual(self.server.run("ticker", {"count": 5, "period_ms": 1})[-1].json(),
                         FINISHED)
        for events in (slow.rest(), fast.events(), late.events()):
            self.assertEqual(types(events[:2]), ["run", "ready"])
            self.assertEqual(len(events), self.COUNT + 3)
            self.check_marks(events, self.COUNT)

    def test_three_readers_of_a_thread(self):
        self.check_all("e2e_pour")

    def test_three_readers_of_a_fiber(self):
        self.check_all("e2e_pour_fiber")

    def test_slow_one_leaves(self):
        for agent in ("e2e_pour", "e2e_pour_fiber"):
            with self.subTest(agent=agent):
                fast, slow = self.begin(agent)
                self.check_held(fast, slow)
                slow.close()
                self.check_marks(fast.events(), self.COUNT)
                self.assertEqual(self.server.state(slow.run_id)["status"], "finished")

    def test_slow_one_is_alone(self):
        """It gets all, at last."""
        value = {"count": self.COUNT, "every": 1, "bytes": self.BYTES}
        slow = self.open_pour(self.server, "e2e_pour", value, SMALL)
        self.pour(self.server, slow.run)
        held = self.server.wait_held(slow.run)
        self.assertLess(held * self.BYTES, WINDOW + 512 * 1024)
        for _ in range(20):
            slow.read()
        self.check_marks(slow.rest(), self.COUNT)

    def test_slow_one_leaves_nobody(self):
        """Nobody is behind: the agent goes on, and what it emits is not kept for ever."""
        value = {"count": self.COUNT, "every": 1, "bytes": self.BYTES}
        slow = self.open_pour(self.server, "e2e_pour", value, SMALL)
        self.pour(self.server, slow.run)
        self.server.wait_held(slow.run)
        slow.close()
        wait_for(lambda: self.server.state(slow.run)["status"] == "finished", "the run goes on")
        late = self.reopen(self.server, slow.run)
        events = late.rest()
        self.check_marks(events, self.COUNT, first=late.parser.gaps[0]["to"] - 1)


class HeldTest(ReadersTest):
    """What GET /runs/{id} says of a run that waits for a reader."""

    def test_held_until_its_reader_reads_on(self):
        self.server = self.watch("e2e_pour", "e2e_pour_fiber")
        for agent in ("e2e_pour", "e2e_pour_fiber"):
            with self.subTest(agent=agent):
                value = {"count": 4000, "every": 1, "bytes": 1000}
                stream = self.open_pour(self.server, agent, value, SMALL)
                self.assertNotIn("held", self.server.state(stream.run))
                self.pour(self.server, stream.run)
                wait_for(lambda: self.server.state(stream.run).get("held"), "it is held")
                self.assertEqual(self.server.state(stream.run)["status"], "running")
                self.check_marks(stream.rest(), 4000)
                self.assertNotIn("held", self.server.state(stream.run))


class StallTest(ReadersTest):
    STALL = {"host.stall": 1, "host.log_size": "64K"}
    COUNT = 4000
    BYTES = 1000

    def stalled(self, server, run):
        return server.lines("a client that does not read is disconnected", f"run={run}")

    def open_flood(self, server, agent, count=COUNT, receive_buffer=SMALL):
        value = {"count": count, "every": 1, "bytes": self.BYTES}
        stream = self.open_pour(server, agent, value, receive_buffer)
        self.pour(server, stream.run)
        return stream

    def wait_stalled(self, server, run):
        begin = time.monotonic()
        wait_for(lambda: self.stalled(server, run), "the client is disconnected")
        return time.monotonic() - begin

    def read_to_reset(self, stream):
        """What was on its way to it; the connection is not ended, but reset."""
        with self.assertRaises(ConnectionResetError):
            while stream.read():
                pass
        self.assertIsNone(stream.done)
        return stream.parser.count

    def test_client_that_does_not_read(self):
        for agent in ("e2e_pour", "e2e_pour_fiber"):
            with self.subTest(agent=agent):
                self.check_client_that_does_not_read(agent)

    def check_client_that_does_not_read(self, agent):
        server = self.watch(agent, "ticker", settings=self.STALL)
        before = self.front_mib(server)
        others = self.bystanders(server, 3)
        stream = self.open_flood(server, agent)
        run = stream.run
        server.wait_held(run)
        self.assertLess(self.front_mib(server) - before, 2 + SLACK_MIB)
        self.assertGreater(self.wait_stalled(server, run), 0.5)
        wait_for(lambda: server.state(run)["status"] == "finished", "the run goes on")
        others.check()
        last = self.read_to_reset(stream)
        self.assertLess(last, self.COUNT)
        self.assertEqual(len(self.stalled(server, run)), 1)
        self.check_resumed(server, run, last)

    def check_resumed(self, server, run, last):
        """One gap, and what is behind it."""
        resumed = self.reopen(server, run, last)
        events = resumed.rest()
        self.assertEqual([gap["from"] for gap in resumed.parser.gaps], [last + 1])
        to = resumed.parser.gaps[0]["to"]
        self.check_marks(events, self.COUNT, first=to - 1)
        kept = sum(len(event.data) for event in events[1:])
        self.assertGreater(kept, 48 * 1024)
        self.assertLess(kept, 64 * 1024)

    def test_all_is_kept(self):
        """The log is larger than what the client missed."""
        server = self.watch("e2e_pour", settings={"host.stall": 1})
        count = 900
        stream = self.open_flood(server, "e2e_pour", count)
        wait_for(lambda: server.state(stream.run)["status"] == "finished",
                 "the run ends, as it is not longer than its window")
        self.wait_stalled(server, stream.run)
        last = self.read_to_reset(stream)
        self.assertLess(last, count)
        resumed = self.reopen(server, stream.run, last)
        self.check_marks(resumed.rest(), count, first=last - 1)
        self.assertEqual(resumed.parser.gaps, [])

    def open_both(self, server, count=COUNT):
        """A run's own reader, and one that comes later and does not read."""
        value = {"count": count, "every": 1, "bytes": self.BYTES}
        first = self.open_pour(server, "e2e_pour", value)
        stuck = self.reopen(server, first.run, receive_buffer=SMALL)
        stuck.until("ready")
        return first, stuck

    def test_late_reader_holds_nobody_up(self):
        """It is told what it missed, in its stream, and is not disconnected while it reads on."""
        server = self.watch("e2e_pour", settings={**self.STALL, "host.stall": 600})
        first, stuck = self.open_both(server)
        self.pour(server, first.run)
        self.check_marks(Background(first).events(), self.COUNT)
        marks = [event.json()["n"] for event in stuck.rest() if event.type == "mark"]
        self.assertEqual(marks[-1], self.COUNT)
        self.assertLess(len(marks), self.COUNT)
        self.assertEqual(len(stuck.parser.gaps), 1)
        self.assertEqual(stuck.done["result"], {"poured": self.COUNT})

    def test_late_reader_comes_back(self):
        """It is thrown out, and holds nobody up when it is there again."""
        server = self.watch("e2e_pour", settings=self.STALL)
        first, stuck = self.open_both(server, 3000)
        reading = Background(first)
        self.pour(server, first.run)
        self.check_marks(reading.events(), 3000)
        self.wait_stalled(server, first.run)
        last = self.read_to_reset(stuck)
        again = self.reopen(server, first.run, last)
        self.check_marks(again.rest(), 3000, first=again.parser.gaps[0]["to"] - 1)

    def test_client_that_stalls_again(self):
        """Nobody waits for it a second time."""
        server = self.watch("e2e_pour", settings={**self.STALL, "host.stall": 2})
        value = {"count": 20000, "every": 1, "bytes": self.BYTES}
        stream = self.open_pour(server, "e2e_pour", value, SMALL)
        self.pour(server, stream.run)
        server.wait_held(stream.run)
        self.wait_stalled(server, stream.run)
        again = self.reopen(server, stream.run, receive_buffer=SMALL)
        wait_for(lambda: server.state(stream.run)["status"] == "finished",
                 "the run goes on without a reader that takes anything")
        events = again.rest()
        self.assertEqual(again.done, {**FINISHED, "result": {"poured": 20000}})
        self.assertEqual(events[-1].sequence, 20003)

    def test_first_reader_that_takes_nothing(self):
        """One that has read everything is not held up until it is thrown out."""
        server = self.watch("e2e_pour", settings={"host.stall": 6, "host.log_size": "64K"})
        value = {"count": self.COUNT, "every": 1, "bytes": self.BYTES}
        stuck = self.open_pour(server, "e2e_pour", value, SMALL)
        second = Background(self.reopen(server, stuck.run))
        self.pour(server, stuck.run)
        self.check_marks(second.events(), self.COUNT)
        self.assertEqual(self.stalled(server, stuck.run), [])
        stuck.rest()
        self.assertEqual(len(stuck.parser.gaps), 1)

    def test_stalled_one_was_the_last(self):
        """To be disconnected is to leave."""
        server = self.watch("e2e_pour", settings={**self.STALL,
                                                  "plugin.e2e_pour.on_disconnect": "cancel"})
        stream = self.open_flood(server, "e2e_pour")
        wait_for(lambda: server.state(stream.run)["status"] == "cancelled", "the run is cancelled")
        self.read_to_reset(stream)

    def test_slow_client_is_not_disconnected(self):
        """It reads for three times the stall, and more than that waits for it all the time."""
        server = self.watch("e2e_pour", settings=self.STALL)
        count = 250
        stream = self.open_flood(server, "e2e_pour", count)
        slow_until = time.monotonic() + 3 * self.STALL["host.stall"]
        while time.monotonic() < slow_until:
            time.sleep(0.05)
            stream.connection.parser.feed(stream.connection.socket.recv(2000))
        self.assertFalse(stream.connection.parser.done)
        self.check_marks(stream.rest(), count)
        self.assertEqual(self.stalled(server, stream.run), [])

    def test_idle_client_is_not_disconnected(self):
        """There is nothing that it could read."""
        server = self.watch("ticker", settings={"host.stall": 2})  # the kernel asks twice
        events = server.run("ticker", {"count": 1, "period_ms": 4500})
        self.assertEqual(types(events), ["run", "tick", "done"])


class PackTest(ReadersTest):
    COUNT = 50_000 if SANITIZED else 1_000_000
    EVERY = 1000

    def pieces(self, events):
        """Text and marks as they followed each other."""
        for event in events:
            if event.type == "text":
                yield event.json()["delta"]
            elif event.type == "mark":
                yield f"<{event.json()['n']}> "

    def check_poured(self, agent):
        server = self.watch(agent)
        stream = self.open_pour(server, agent, {"count": self.COUNT, "every": self.EVERY}, SMALL)
        before = self.front_mib(server)
        self.pour(server, stream.run)
        held = server.wait_held(stream.run)
        self.assertLess(held, self.COUNT / 2)
        for _ in range(200):  # slow: a few kilobytes each
            stream.read()
        most, reads = self.front_mib(server), 0
        while stream.read():
            reads += 1
            if reads % 100 == 0:
                most = max(most, self.front_mib(server))
        self.assertLess(most - before, 3 + SLACK_MIB)
        self.check_pieces(stream)

    def check_pieces(self, stream):
        wanted = "".join(f"<{k}> " if k % self.EVERY == 0 else f"{k} "
                         for k in range(1, self.COUNT + 1))
        events = stream.parser.events
        self.assertTrue("".join(self.pieces(events)) == wanted, "text is lost, or out of order")
        self.assertEqual(stream.done, {**FINISHED, "result": {"poured": self.COUNT}})
        self.assertEqual(stream.parser.count, self.COUNT + 3)
        self.assertEqual(len(events) + stream.parser.packed, self.COUNT + 3)
        self.assertGreater(stream.parser.packed, self.COUNT / 2)
        self.assertEqual(stream.parser.gaps, [])

    def test_thread(self):
        self.check_poured("e2e_pour")

    def test_fiber(self):
        self.check_poured("e2e_pour_fiber")

    def test_reader_that_keeps_up_gets_every_event(self):
        server = self.watch("e2e_emit")
        calls = [{"op": "text", "text": f"{n} "} for n in range(200)]
        stream = server.server.open("e2e_emit", {"calls": calls})
        self.assertEqual(types(stream.rest()), ["run"] + ["text"] * 200 + ["returns", "done"])
        stream.close()


class ManyReadersTest(ReadersTest):
    READERS = 50 if SANITIZED else 200
    COUNT = 300

    def test_many_readers(self):
        """They cost the front a socket each, and no copy of what they read."""
        server = self.watch("ticker")
        value = {"count": self.COUNT, "period_ms": 5, "bytes": 1000}
        first = server.server.open("ticker", value)
        first.until("tick")
        before = self.front_mib(server)
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for n in range(self.READERS):
            swarm.reopen(first.run, n % 3)
        swarm.until(lambda: all(stream.parser.count > 10 for stream in swarm.streams),
                    "all are reading")
        swarm.finish()
        self.assertEqual(len(first.rest()), self.COUNT + 2)
        first.close()
        for stream in swarm.streams:
            self.assertEqual((stream.parser.count, stream.parser.done, stream.parser.gaps),
                             (self.COUNT + 2, FINISHED, []))
        self.assertLess(self.front_mib(server) - before,
                        SLACK_MIB + self.READERS * (0.1 if SANITIZED else 0.02))

    def test_many_readers_that_are_behind(self):
        """All come when the run is over, and are sent all of it at once."""
        server = self.watch("ticker")
        run = server.detach("ticker", {"count": 900, "period_ms": 0, "bytes": 1000})
        wait_for(lambda: server.state(run)["status"] == "finished", "the run ends")
        before = self.front_mib(server)
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for _ in range(self.READERS // 4):
            swarm.reopen(run)
        swarm.finish()
        self.assertEqual({stream.parser.count for stream in swarm.streams}, {902})
        self.assertLess(self.front_mib(server) - before, SLACK_MIB)


if __name__ == "__main__":
    main()
