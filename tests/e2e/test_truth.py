#!/usr/bin/python3
"""
Whatever fails, and whenever: a stream that ends has exactly one done, the same for all who read
the run. One that cannot have it is reset, or its body is cut off; it does not end as if it were
whole.
"""

import os
import random
import signal
import socket
import struct
import time

from ending import FINISHED, EndTest, modes
from harness import SANITIZED, StreamParser, main, types, wait_for

AGENT = "e2e_input"

# What the agent emits before it waits for its gate: then only done is to come.
ASKS = 3
ALL = ["run", "ready"] + ["ask", "heard"] * ASKS

# When it happens: behind so many events of each stream.
BEGIN, MIDDLE, LAST = 1, len(ALL) // 2, len(ALL)

# How often it happens while done is on its way, each time a bit earlier or later.
ROUNDS = 3 if SANITIZED else 12
MOST_LATE_S = 0.05 if SANITIZED else 0.01


class Reader:
    """One client of a run, which reads its stream, or waits for its document."""

    def __init__(self, stream, waits=False):
        self.stream = stream
        self.connection = stream.connection
        self.waits = waits
        self.ended = False  # as HTTP has it

    def until(self, count):
        while not self.waits and self.stream.parser.count < count:
            self.stream.read()

    def read_to_end(self):
        """Reads all that comes; returns what was said of the run's end, or None if nothing was."""
        response = self.connection.parser
        try:
            while not response.done and (data := self.connection.socket.recv(1 << 16)):
                response.feed(data)
        except ConnectionResetError:
            pass
        self.connection.close()
        self.ended = response.done
        if self.ended and response.status == 503:
            return None  # it came too late
        return self.take_document() if self.waits else self.take_stream()

    def take_stream(self):
        self.stream.parser.feed(bytes(self.connection.parser.body))
        if self.ended:
            self.stream.parser.finish()
        return self.stream.parser.done

    def take_document(self):
        if not self.ended:
            return None
        document = self.connection.take().json()
        return {name: document[name] for name in ("status", "error", "result") if name in document}


class TruthTest(EndTest):
    def setUp(self):
        super().setUp()
        self.gates = 0

    def serve_agents(self, **settings):
        return self.watch(*modes(AGENT), "ticker", settings=settings)

    def new_gate(self):
        self.gates += 1
        return self.path(f"gate{self.gates}")

    def open_gate(self, gate):
        with open(gate, "wb"):
            pass

    def begin(self, server, agent, gate, count):
        """A run with three clients, two of which have read so many of its events."""
        value = {"count": ASKS, "timeout_ms": 2, "hold": gate}
        first = self.open(server, agent, value)
        first.until("run")
        second = server.reopen(first.run)
        waiting = server.server.open(agent, value, query="?mode=wait",
                                     headers={"Last-Event-ID": first.run + ".0"})
        readers = [Reader(first), Reader(second), Reader(waiting, waits=True)]
        for reader in readers:
            self.addCleanup(reader.connection.close)
            reader.until(count)
        return readers

    def begin_all(self, server, gate, count):
        return [self.begin(server, agent, gate, count) for agent in modes(AGENT) * 2]

    def check_agree(self, runs, *wanted):
        """
        All that the clients of a run were told of its end is the same, one of these. Returns what
        was said of each run.
        """
        ends = []
        for readers in runs:
            said = [end for end in (reader.read_to_end() for reader in readers) if end]
            for end in said:
                self.assertEqual(end, said[0])
                self.assertIn((end["status"], end.get("error", {}).get("code")), wanted)
            ends.append(said)
        return ends

    def check_replay(self, server, readers, end):
        """Who comes now is told the same; a client of the run finds behind what it has the rest."""
        run = readers[0].stream.run
        self.assertEqual(server.state(run)["status"], end["status"])
        for after in (0, *(reader.stream.parser.count for reader in readers[:2])):
            answer = server.get(f"/runs/{run}/events?after={after}")
            if answer.status == 204:
                self.assertEqual(after, server.state(run)["events"])
                continue
            parser = StreamParser(after=after)
            parser.feed(answer.body)
            parser.finish()
            self.assertEqual(parser.done, end)

    def dawdle(self):
        """Not at all, or for a bit: no process is waited for here, but met at work."""
        end = time.monotonic() + max(0, random.uniform(-MOST_LATE_S / 4, MOST_LATE_S))
        while time.monotonic() < end:
            pass


CRASHED = ("failed", "worker_crashed")
STOPPED = ("failed", "shutdown")
DONE = ("finished", None)


class WorkerTest(TruthTest):
    def kill_workers(self, server):
        for agent in modes(AGENT):
            os.kill(server.wait_serving(agent)[0], signal.SIGKILL)

    def check_killed(self, count, *wanted):
        server = self.serve_agents()
        runs = self.begin_all(server, self.new_gate(), count)
        self.kill_workers(server)
        ends = self.check_agree(runs, *wanted)
        for readers, said in zip(runs, ends):
            self.assertEqual(len(said), len(readers), "all are told")
            self.assertTrue(all(reader.ended for reader in readers))
            self.check_replay(server, readers, said[0])

    def test_at_the_beginning(self):
        self.check_killed(BEGIN, CRASHED)

    def test_in_the_middle(self):
        self.check_killed(MIDDLE, CRASHED)

    def test_before_done(self):
        self.check_killed(LAST, CRASHED)

    def test_around_done(self):
        """The restarts in a row would have pauses: so each round has a server of its own."""
        for _ in range(ROUNDS):
            server, gate = self.serve_agents(), self.new_gate()
            runs = self.begin_all(server, gate, LAST)
            pids = [server.serving(agent)[0] for agent in modes(AGENT)]
            self.open_gate(gate)
            self.dawdle()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            ends = self.check_agree(runs, CRASHED, DONE)
            for readers, said in zip(runs, ends):
                self.assertEqual(len(said), len(readers))
                self.check_replay(server, readers, said[0])
            server.stop()

    def test_behind_done(self):
        server, gate = self.serve_agents(), self.new_gate()
        runs = self.begin_all(server, gate, LAST)
        self.open_gate(gate)
        for readers in runs:
            for reader in readers[:2]:
                reader.until(LAST + 1)
        self.kill_workers(server)
        for readers, said in zip(runs, self.check_agree(runs, DONE)):
            self.assertEqual(len(said), len(readers))
            self.check_replay(server, readers, FINISHED)


class FrontTest(TruthTest):
    """The front ends: by SIGTERM, whereupon all are told, or by SIGKILL, whereupon nobody is."""

    def end_front(self, server, number):
        server.signal(number)
        if number == signal.SIGTERM:
            server.check_end()
            return
        server.wait()
        server.server.is_stopped = True
        wait_for(lambda: not server.pids(), "the workers leave with their front")

    def check_ended(self, number, count):
        server = self.serve_agents()
        runs = self.begin_all(server, self.new_gate(), count)
        self.end_front(server, number)
        for readers, said in zip(runs, self.check_agree(runs, STOPPED)):
            told = len(readers) if number == signal.SIGTERM else 0
            self.assertEqual(len(said), told)
            self.assertEqual([reader.ended for reader in readers], [told > 0] * len(readers))

    def test_stopped_at_the_beginning(self):
        self.check_ended(signal.SIGTERM, BEGIN)

    def test_stopped_in_the_middle(self):
        self.check_ended(signal.SIGTERM, MIDDLE)

    def test_stopped_before_done(self):
        self.check_ended(signal.SIGTERM, LAST)

    def test_killed_at_the_beginning(self):
        self.check_ended(signal.SIGKILL, BEGIN)

    def test_killed_in_the_middle(self):
        self.check_ended(signal.SIGKILL, MIDDLE)

    def test_killed_before_done(self):
        self.check_ended(signal.SIGKILL, LAST)

    def check_around_done(self, number):
        for _ in range(ROUNDS):
            server, gate = self.serve_agents(), self.new_gate()
            runs = self.begin_all(server, gate, LAST)
            self.open_gate(gate)
            self.dawdle()
            self.end_front(server, number)
            for readers, said in zip(runs, self.check_agree(runs, STOPPED, DONE)):
                if number == signal.SIGTERM:
                    self.assertEqual(len(said), len(readers), "all are told")

    def test_stopped_around_done(self):
        self.check_around_done(signal.SIGTERM)

    def test_killed_around_done(self):
        self.check_around_done(signal.SIGKILL)

    def check_behind_done(self, number):
        server, gate = self.serve_agents(), self.new_gate()
        runs = self.begin_all(server, gate, LAST)
        self.open_gate(gate)
        for readers in runs:
            for reader in readers[:2]:
                reader.until(LAST + 1)
        self.end_front(server, number)
        for said in self.check_agree(runs, DONE):
            self.assertGreaterEqual(len(said), 2)

    def test_stopped_behind_done(self):
        self.check_behind_done(signal.SIGTERM)

    def test_killed_behind_done(self):
        self.check_behind_done(signal.SIGKILL)

    def test_requests_on_their_way(self):
        """None of them has an answer yet: a whole one, or none, is what it gets."""
        for number in (signal.SIGTERM, signal.SIGKILL) * (ROUNDS // 3):
            server = self.serve_agents()
            runs = []
            for n in range(20):
                stream = server.open(modes(AGENT)[n % 2], {"count": ASKS, "timeout_ms": 0})
                runs.append([Reader(stream)])
            self.dawdle()
            self.end_front(server, number)
            self.check_agree(runs, STOPPED, DONE)

    def test_stopped_with_time(self):
        """Who has the time to finish, does."""
        server, gate = self.serve_agents(**{"host.shutdown_timeout": 600}), self.new_gate()
        runs = self.begin_all(server, gate, LAST)
        server.signal(signal.SIGTERM)
        wait_for(lambda: server.lines("stopping signal="), "the server stops")
        self.open_gate(gate)
        for readers, said in zip(runs, self.check_agree(runs, DONE)):
            self.assertEqual(len(said), len(readers))
        server.check_end()


class ClientTest(TruthTest):
    """One client is cut off; the others do not notice, and it finds the rest when it comes back."""

    def cut(self, reader):
        if random.random() < 0.5:
            reader.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                struct.pack("ii", 1, 0))
        reader.connection.close()

    def check_cut(self, server, runs, victim):
        for readers in runs:
            cut = readers[victim]
            others = [reader for reader in readers if reader is not cut]
            self.assertEqual([reader.read_to_end() for reader in others], [FINISHED] * 2)
            if not cut.waits:
                self.check_resumed(server, cut)
            self.check_replay(server, readers, FINISHED)

    def check_resumed(self, server, cut):
        """What it has and what it is sent now is all, and nothing twice."""
        parser, run = cut.stream.parser, cut.stream.parser.run
        answer = server.get(f"/runs/{run}/events?after={parser.count}")
        events = list(parser.events)
        if answer.status != 204:
            rest = StreamParser(after=parser.count)
            rest.feed(answer.body)
            rest.finish()
            events += rest.events
        self.assertEqual(types(events), ALL + ["done"])
        self.assertEqual([event.sequence for event in events], list(range(1, len(ALL) + 2)))

    def check_cut_at(self, count):
        server = self.serve_agents()
        for victim in range(3):
            gate = self.new_gate()
            runs = self.begin_all(server, gate, count)
            for readers in runs:
                self.cut(readers[victim])
            self.open_gate(gate)
            self.check_cut(server, runs, victim)

    def test_at_the_beginning(self):
        self.check_cut_at(BEGIN)

    def test_in_the_middle(self):
        self.check_cut_at(MIDDLE)

    def test_before_done(self):
        self.check_cut_at(LAST)

    def test_behind_done(self):
        server, gate = self.serve_agents(), self.new_gate()
        runs = self.begin_all(server, gate, LAST)
        self.open_gate(gate)
        for readers in runs:
            readers[0].until(LAST + 1)
            self.cut(readers[0])
        self.check_cut(server, runs, 0)

    def test_around_done(self):
        server = self.serve_agents()
        for n in range(3 * ROUNDS):
            gate = self.new_gate()
            runs = self.begin_all(server, gate, LAST)
            self.open_gate(gate)
            self.dawdle()
            for readers in runs:
                self.cut(readers[n % 3])
            self.check_cut(server, runs, n % 3)

    def test_all_clients_at_once(self):
        """The run goes on without them, for as long as it may."""
        server, gate = self.serve_agents(), self.new_gate()
        runs = self.begin_all(server, gate, MIDDLE)
        for readers in runs:
            for reader in readers:
                self.cut(reader)
        self.open_gate(gate)
        for readers in runs:
            self.wait_state(server, readers[0].stream.run, "finished")
            for reader in readers[:2]:
                self.check_resumed(server, reader)
            self.check_replay(server, readers, FINISHED)


if __name__ == "__main__":
    main()
