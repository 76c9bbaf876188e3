#!/usr/bin/python3
"""Threads: runs that wait for one, threads that outlive their run, and the loop's own."""

import errno
import os

from harness import main, types, wait_for
from supervising import SupervisionTest
from swapping import SwapTest


class WaitingTest(SupervisionTest):
    """The plugin has one thread, and a run holds it for as long as its client stays."""

    def setUp(self):
        super().setUp()
        self.server = self.watch("e2e_watch", settings={"plugin.e2e_watch.threads": 1})
        self.path_of_second = self.path("second")
        self.first = self.server.open("e2e_watch", {"how": "sleep"})
        self.first.until("ready")

    def status(self, run):
        return self.server.get("/runs/" + run).json()["status"]

    def live_runs(self):
        return self.server.get("/agents").json()["agents"][0]["live_runs"]

    def check_first_goes_on(self):
        self.assertEqual(self.status(self.first.run), "running")
        self.assertEqual(self.live_runs(), 1)

    def check_thread_is_free_again(self):
        self.first.close()
        third = self.server.open("e2e_watch", {"how": "sleep"})
        third.until("ready")
        third.close()
        wait_for(lambda: self.live_runs() == 0, "all runs end")
        self.assertFalse(os.path.exists(self.path_of_second + ".begun"),
                         "handle() was called for a run that was cancelled before")

    def test_stream_whose_client_leaves(self):
        second = self.server.open("e2e_watch", {"how": "sleep", "file": self.path_of_second})
        second.until("run")
        wait_for(lambda: self.live_runs() == 2, "both are live")
        second.close()
        wait_for(lambda: self.status(second.run) == "cancelled", "it is cancelled at once")
        self.check_first_goes_on()
        self.check_thread_is_free_again()

    def test_client_that_waits_for_the_result_leaves(self):
        connection = self.server.connect()
        connection.post("e2e_watch", {"how": "sleep", "file": self.path_of_second}, "?mode=wait")
        wait_for(lambda: self.live_runs() == 2, "both are live")
        connection.close()
        wait_for(lambda: self.live_runs() == 1, "it is cancelled at once")
        self.check_first_goes_on()
        self.check_thread_is_free_again()

    def test_many_at_once(self):
        waiting = [self.server.open("e2e_watch", {"how": "sleep", "file": self.path_of_second})
                   for _ in range(20)]
        for stream in waiting:
            stream.until("run")
        for stream in waiting[::2]:
            stream.close()
        wait_for(lambda: all(self.status(stream.run) == "cancelled" for stream in waiting[::2]),
                 "these are cancelled at once")
        self.assertEqual({self.status(stream.run) for stream in waiting[1::2]}, {"running"})
        for stream in waiting[1::2]:
            stream.close()
        wait_for(lambda: self.live_runs() == 1, "the others, too")
        self.check_thread_is_free_again()


class LateThreadTest(SupervisionTest):
    """
    All that is freed is filled with a byte that turns a mutex into a robust one
    whose owner does not exist: locking it then aborts.
    """

    FREED = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=48"}
    RUNS = 4

    def test_thread_that_emits_until_its_process_is_gone(self):
        server = self.prepare("thread_late", env=self.FREED)
        server.start()
        for _ in range(self.RUNS):
            events = server.run("thread_late", {})
            self.assertEqual(events[-1].json(), {"status": "finished"})
            self.assertIn("left", types(events))
        server.stop()
        self.assertEqual(server.lines("worker died"), [])
        self.assertEqual(server.lines("killed"), [])


class LoopThreadTest(SwapTest):
    NOWHERE = {"capture": 0, "bind": 0, "emit": -errno.ENXIO, "set": -errno.ENXIO,
               "sleep": -errno.ENXIO}
    REFUSED = {**NOWHERE, "capture": 1, "bind": -errno.EBUSY}

    def report(self, server, agent):
        events = server.run(agent, {"how": "report"})
        self.assertEqual(types(events), ["run", "report", "done"])
        self.assertEqual(events[-1].json(), {"status": "finished"})
        return events[1].json()

    def test_calls_that_belong_into_a_run(self):
        """In create(), selftest() and save_state() they fail, and do no harm."""
        for agent in ("thread_bind", "thread_bind_fiber"):
            with self.subTest(agent=agent):
                server = self.serve_swap(settings={"host.shutdown_timeout": 0}, **{agent: agent})
                self.assertEqual(self.report(server, agent), {
                    "create": self.NOWHERE, "selftest": self.NOWHERE, "before": None})
                kept = server.open(agent, {"how": "keep"})
                kept.until("ready")
                self.check_command(server, "reload", agent)
                self.assertEqual(self.report(server, agent), {
                    "create": self.NOWHERE, "selftest": self.NOWHERE, "before": self.REFUSED})
                self.assertEqual(server.get("/runs/" + kept.run).json()["status"], "running")
                kept.close()
                self.wait_generations(server, 2, name=agent)
                self.assertEqual(server.lines("worker died"), [])


if __name__ == "__main__":
    main()
