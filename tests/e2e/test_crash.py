#!/usr/bin/python3
"""Workers that die, in every way: their runs end with the truth, and nobody else notices."""

import os
import re
import signal

from harness import SANITIZED, Swarm, Test, main, types, wait_for


class CrashTest(Test):
    LIVE = 20

    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_crash", "e2e_crash_fiber", "ticker",
                                 settings={"host.shutdown_timeout": 0})

    def start_live(self, agent):
        swarm = Swarm(self.server.address)
        self.addCleanup(swarm.close)
        for _ in range(self.LIVE):
            swarm.add(agent, {"how": "wait"})
        swarm.until(lambda: all(stream.parser.count == 2 for stream in swarm.streams),
                    "all runs are ready")
        return swarm

    def check_crashed(self, done, *messages):
        self.assertEqual(done["status"], "failed")
        self.assertEqual(done["error"]["code"], "worker_crashed")
        self.assertTrue(any(message in done["error"]["message"] for message in messages), done)

    def is_blamed(self, done):
        """Whether it is not said that it was another run."""
        return not done["error"]["message"].startswith(
            "another run ended the worker process of this one: ")

    def check_crash(self, agent, how, *messages, culprit=False):
        """One run kills its worker under all the others; culprit: they are told that it was one."""
        other = self.server.open("ticker", {"count": 50, "period_ms": 10})
        other.until("tick")
        worker = self.server.worker_of(agent)
        swarm = self.start_live(agent)
        events = self.server.run(agent, {"how": how})
        # What it emitted last may have died with it, if it has closed its own link.
        lost = [["run", "done"]] if how in ("close", "scribble") or SANITIZED else []
        self.assertIn(types(events), [["run", "ready", "done"], *lost])
        self.check_crashed(events[-1].json(), *messages)
        swarm.finish()
        for stream in swarm.streams:
            self.check_crashed(stream.parser.done, *messages)
            self.assertTrue(not culprit or not self.is_blamed(stream.parser.done))
        self.assertTrue(not culprit or self.is_blamed(events[-1].json()))
        self.check_next_run(agent, worker)
        self.assertEqual(types(other.rest()), ["run"] + ["tick"] * 50 + ["done"])
        self.assertEqual(other.done, {"status": "finished"})
        other.close()

    def check_next_run(self, agent, old):
        """It is served by a fresh worker."""
        stream = self.server.open(agent, {"how": "wait"})
        stream.until("ready")
        self.assertNotEqual(self.server.worker_of(agent), old)
        self.assertFalse(os.path.exists(f"/proc/{old}"))
        stream.close()

    def check_both(self, how, *messages, culprit=False):
        for agent in ("e2e_crash", "e2e_crash_fiber"):
            with self.subTest(agent=agent):
                self.check_crash(agent, how, *messages, culprit=culprit)

    # A sanitizer reports a bad access itself, and exits.
    SEGV = ("a sanitizer ended", "exited with status") if SANITIZED else ("SIGSEGV (invalid address 0x0)",)

    def test_null_pointer(self):
        self.check_both("null", *self.SEGV, culprit=not SANITIZED)

    def test_stack_that_is_used_up(self):
        self.check_both("recurse", *(self.SEGV if SANITIZED else ("(the stack is used up)",)),
                        culprit=not SANITIZED)

    def test_abort(self):
        self.check_both("abort", "SIGABRT (abort() was called)", culprit=True)

    def test_exit(self):
        self.check_both("exit", "the plugin called exit(0)", culprit=True)

    def test_closed_link(self):
        self.check_both("close", "it closed its connection", "exited with status 1",
                        "SIGABRT", "signal 6 (Aborted)")

    def test_bytes_that_are_no_frame(self):
        self.check_both("scribble", "bytes that are no frame")

    def test_killed_by_somebody(self):
        for agent in ("e2e_crash", "e2e_crash_fiber"):
            with self.subTest(agent=agent):
                swarm = self.start_live(agent)
                worker = self.server.worker_of(agent)
                os.kill(worker, signal.SIGKILL)
                swarm.finish()
                for stream in swarm.streams:
                    self.check_crashed(stream.parser.done, "signal 9 (Killed)")
                    self.assertEqual(stream.parser.count, 3)
                self.check_next_run(agent, worker)

    def test_waiting_client_gets_an_answer(self):
        answer = self.server.post("e2e_crash", {"how": "null"}, "?mode=wait")
        self.assertEqual(answer.status, 500)
        self.check_crashed(answer.json(), *self.SEGV)

    def test_death_is_logged_with_plugin_and_runs(self):
        self.start_live("e2e_crash")
        run = self.server.run("e2e_crash", {"how": "abort"})[0].json()["run"]
        lines = self.server.lines(" plugin front ", "worker died", "SIGABRT", "signal=6",
                                  "e2e_crash.so", "generation=1", f"runs={self.LIVE + 1}")
        self.assertEqual(len(lines), 1, self.server.lines("died"))
        named = re.search(r" run_ids=(\S+) ", lines[0])[1].split(",")
        self.assertEqual(named[0], run, "the run that crashed is the first")
        self.assertEqual(len(set(named)), 16)

    def test_crash_after_crash(self):
        for _ in range(3):
            self.assertEqual(self.server.run("e2e_crash", {"how": "null"})[-1].json()["status"],
                             "failed")
        agents = {agent["name"]: agent for agent in self.server.get("/agents").json()["agents"]}
        self.assertIn(agents["e2e_crash"]["state"], ("crash-loop", "serving"))
        self.assertEqual(agents["ticker"]["state"], "serving")
        self.assertEqual(self.server.run("ticker", {"count": 1, "period_ms": 1})[-1].json(),
                         {"status": "finished"})

    def test_client_leaves_a_run_that_ignores_it(self):
        stream = self.server.open("e2e_crash", {"how": "ignore"})
        stream.until("ready")
        stream.close()
        other = self.server.open("e2e_crash", {"how": "wait"})
        other.until("ready")
        other.close()


class OrphanTest(Test):
    def test_no_worker_outlives_the_front(self):
        server = self.serve("e2e_crash", "e2e_crash_fiber", "e2e_flood", "ticker")
        streams = [server.open("e2e_crash", {"how": "wait"}),
                   server.open("e2e_crash", {"how": "ignore"}),
                   server.open("ticker", {"count": 9, "period_ms": 100000})]
        for stream in streams:
            stream.until("run")
        streams.append(server.open("e2e_flood", {"count": 1000000, "bytes": 1000}, 65536))
        self.assertEqual(len(server.workers()), 4)
        server.is_stopped = True
        server.signal(signal.SIGKILL)
        server.wait()
        wait_for(lambda: not server.pids(), "no worker is left")
        for stream in streams:
            stream.close()

    def test_no_starting_worker_outlives_the_front(self):
        server = self.prepare("fault_hang", settings={"host.start_timeout": 600})
        try:
            server.start_process()
            wait_for(lambda: len(server.workers()) == 1, "the worker is started")
        finally:
            server.is_stopped = True
        server.signal(signal.SIGKILL)
        server.wait()
        wait_for(lambda: not server.pids(), "no worker is left")


if __name__ == "__main__":
    main()
