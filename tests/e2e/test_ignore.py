#!/usr/bin/python3
"""Agents that do not stop when they are told to."""

import time

from ending import CANCELLED, FINISHED, EndTest
from harness import main, types, wait_for
from supervising import exists


class IgnoreTest(EndTest):
    """The agent's other runs, which share its worker, end as if nothing was."""

    TICKS = {"how": "ticks", "count": 70, "period_ms": 25}

    def begin(self, agent, **settings):
        settings = {f"plugin.{agent}.cancel_grace": 1,
                    **{f"plugin.{agent}.{key}": value for key, value in settings.items()}}
        self.server = self.watch(agent, "ticker", settings=settings)
        self.others = self.bystanders(self.server, 2)
        self.worker = self.server.serving(agent)[0]
        self.neighbour = self.open(self.server, agent, self.TICKS)
        self.neighbour.until("tick")

    def ignored(self, run):
        return self.server.lines(" plugin front ", "an agent ignores that its run was cancelled",
                                 f"run={run}")

    def pid_of(self, stream):
        return stream.until("worker").json()["pid"]

    def check_replaced(self, agent, run):
        """Another worker serves; this one goes when only runs that ignore it are left."""
        wait_for(lambda: self.ignored(run), "it is reported")
        new = wait_for(lambda: [pid for pid in self.server.serving(agent) if pid != self.worker],
                       "another worker serves")[0]
        self.assertEqual(self.pid_of(self.open(self.server, agent, {"how": "ticks"})), new)
        self.assertEqual(types(self.neighbour.rest()),
                         ["run", "worker"] + ["tick"] * self.TICKS["count"] + ["done"])
        self.assertEqual(self.neighbour.done, FINISHED)
        self.assertEqual(self.pid_of(self.neighbour), self.worker)
        wait_for(lambda: not exists(self.worker), "the old worker is gone")
        self.assertEqual(len(self.ignored(run)), 1)
        self.assertEqual(self.server.serving(agent), [new])
        self.others.check()

    def is_cancelled_again(self, run):
        with self.server.connect() as connection:
            return connection.exchange("POST", f"/runs/{run}/cancel").status == 200

    def test_cancelled_threads(self):
        """Several cost one worker, and one line each."""
        self.begin("fault_ignore")
        streams = [self.open(self.server, "fault_ignore", {"how": "ignore"}) for _ in range(3)]
        for stream in streams:
            self.assertEqual(self.pid_of(stream), self.worker)
        begin = time.monotonic()
        for stream in streams:
            self.cancel(self.server, stream.run)
        wait_for(lambda: self.is_cancelled_again(streams[0].run), "to ask again gives no more time")
        for stream in streams:
            stream.rest()
            self.check_soon(begin, time.monotonic(), 1)
            self.assertEqual(stream.done, CANCELLED)
            self.cancel(self.server, stream.run, 200)
        self.check_replaced("fault_ignore", streams[0].run)
        for stream in streams:
            self.assertEqual(len(self.ignored(stream.run)), 1)
        self.assertEqual(self.server.generation("fault_ignore")["restarts"], 1)

    def test_cancelled_fiber(self):
        """It shares not only a worker with the others, but its thread."""
        self.begin("fault_ignore_fiber")
        stream = self.open(self.server, "fault_ignore_fiber", {"how": "ignore"})
        self.pid_of(stream)
        begin = time.monotonic()
        self.cancel(self.server, stream.run)
        stream.rest()
        self.check_soon(begin, time.monotonic(), 1)
        self.assertEqual(stream.done, CANCELLED)
        self.check_replaced("fault_ignore_fiber", stream.run)

    def test_deserted_thread(self):
        self.begin("fault_ignore", on_disconnect="cancel")
        stream = self.open(self.server, "fault_ignore", {"how": "ignore"})
        self.pid_of(stream)
        left = time.monotonic()
        stream.close()
        self.wait_state(self.server, stream.run, "cancelled")
        self.check_soon(left, time.monotonic(), 1)
        self.check_replaced("fault_ignore", stream.run)

    def test_thread_beyond_its_deadline(self):
        """Its clients are told at once; its agent has the grace."""
        self.begin("fault_ignore")
        begin = time.monotonic()
        stream = self.open(self.server, "fault_ignore", {"how": "ignore"}, "?deadline=1")
        stream.rest()
        self.check_soon(begin, time.monotonic(), 1)
        self.check_failed(stream.done, "deadline")
        self.assertEqual(self.server.serving("fault_ignore"), [self.worker])
        self.check_replaced("fault_ignore", stream.run)
        self.assertEqual(self.server.state(stream.run)["error"]["code"], "deadline")

    def test_grace_is_kept(self):
        """An agent that needs a while to stop, but less than the grace, is left alone."""
        server = self.watch("e2e_block", settings={"plugin.e2e_block.cancel_grace": 2})
        worker = server.serving("e2e_block")
        stream = self.open(server, "e2e_block", {"word": "slow", "nap_ms": 600})
        stream.until("run")
        self.cancel(server, stream.run)
        self.assertEqual(types(stream.rest()), ["run", "done"])
        self.assertEqual(stream.done, CANCELLED)
        self.assertEqual(server.lines("ignores that its run was cancelled"), [])
        self.assertEqual(server.serving("e2e_block"), worker)


if __name__ == "__main__":
    main()
