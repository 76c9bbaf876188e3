#!/usr/bin/python3
"""
Supervision: what the host does when workers die, hang, grow or have had their
time; and that nobody else notices.
"""

import ctypes
import errno
import os
import re
import shutil
import signal
import time
import unittest

from harness import (SANITIZED, Swarm, main, plugin_path, run_request, text_of, types, wait_for,
                     waited_for_cpu_s)
from supervising import StampedSwarm, SupervisionTest, exists, state_of
from swapping import Question, write

FINISHED = {"status": "finished"}
CRASHING = "its workers die as soon as they start; the server's log and `sluice list` say why"

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def trace(request, pid):
    """ptrace(2); skips the test where this user may not trace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None) < 0:
        error = ctypes.get_errno()
        if error in (errno.EPERM, errno.EACCES):
            raise unittest.SkipTest("no permission to trace")
        if request != PTRACE_DETACH:
            raise OSError(error, os.strerror(error))


class KillTest(SupervisionTest):
    LIVE = 500
    LIMIT_S = 1.0 if SANITIZED else 0.1  # besides what other processes of the machine take

    def test_worker_with_500_runs_is_killed(self):
        server = self.watch("fault_restart", "ticker")
        others = self.bystanders(server, 20)
        worker = server.serving("fault_restart")[0]
        swarm = StampedSwarm(server.address)
        self.addCleanup(swarm.close)
        for _ in range(self.LIVE):
            swarm.add("fault_restart", {})
        swarm.until(lambda: all(stream.parser.count == 2 for stream in swarm.streams),
                    "all runs are ready")
        self.assertEqual(server.generation("fault_restart")["workers"][0]["live_runs"], self.LIVE)

        swarm.stamping = True
        us = (server.process.pid, os.getpid())
        waited = waited_for_cpu_s(*us)
        killed_at = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        swarm.until_all_ended()
        waited = waited_for_cpu_s(*us) - waited
        swarm.parse()

        for stream in swarm.streams:
            self.assertTrue(stream.done)
            self.assertEqual(stream.parser.count, 3)
            self.check_failed(stream.parser.done, "worker_crashed", "killed by signal 9 (Killed)")
        slowest = max(swarm.ended_at.values()) - killed_at
        self.assertLess(slowest - waited, self.LIMIT_S)
        self.check_obituary(server, "fault_restart", worker, self.LIVE, "signal 9 (Killed)")
        stream = server.open("fault_restart", {})
        pid = stream.until("ready").json()["pid"]
        stream.close()
        self.assertNotEqual(pid, worker)
        self.assertLess(time.monotonic() - killed_at, 10 if SANITIZED else 1,
                        "a new run works within a second")
        others.check()

    def test_each_death_has_its_obituary(self):
        server = self.watch("fault_restart")
        pids = []
        for number in range(3):
            worker = server.wait_serving("fault_restart")[0]
            pids.append(worker)
            streams = [server.open("fault_restart", {}) for _ in range(number)]
            for stream in streams:
                stream.until("ready")
            # In the middle of a send it could not say who killed it.
            wait_for(lambda pid=worker: state_of(pid) == "S", "the worker waits")
            os.kill(worker, signal.SIGABRT)
            self.check_obituary(server, "fault_restart", worker, number,
                                f"process {os.getpid()} sent SIGABRT")
            for stream in streams:
                self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
        self.assertEqual(len(set(pids)), 3)
        self.assertEqual(len(server.obituaries()), 3)
        server.wait_serving("fault_restart")
        self.assertEqual(server.generation("fault_restart")["restarts"], 3)
        self.assertEqual(server.generation("fault_restart")["reason"],
                         f"process {os.getpid()} sent SIGABRT")


class CrashLoopTest(SupervisionTest):
    """The plugin's create() crashes as long as the file called poison is there."""

    PAUSES_S = [0, 0.1, 0.2, 0.4, 0.8]
    REASON = "the plugin crashed outside of a run: SIGABRT (abort() was called)"

    def setUp(self):
        super().setUp()
        self.poison = self.path("poison")
        self.server = self.watch("fault_restart", "ticker",
                                 settings={"plugin.fault_restart.poison": self.poison})
        self.others = self.bystanders(self.server)

    def crash(self):
        """Lets it crash from now on; waits until that is a crash loop."""
        with open(self.poison, "wb"):
            pass
        crashed_at = time.monotonic()
        os.kill(self.server.serving("fault_restart")[0], signal.SIGABRT)
        wait_for(lambda: self.server.plugin("fault_restart")["state"] == "crash-loop",
                 "the crash loop is seen")
        return crashed_at

    def check_recovered(self, generation):
        stream = self.server.open("fault_restart", {})
        self.assertEqual(stream.until("run").json()["generation"], generation)
        stream.until("ready")
        stream.close()
        self.assertEqual(self.server.plugin("fault_restart")["state"], "serving")
        self.others.check()

    def test_is_visible(self):
        self.crash()
        plugin = self.server.plugin("fault_restart")
        reason = plugin["last_error"]
        self.assertRegex(reason, f"/fault_restart.so: {re.escape(self.REASON)} while in create\\(\\)")
        self.assertEqual(plugin["generations"][0]["state"], "crash-loop")
        self.assertEqual(plugin["generations"][0]["reason"], reason)
        text = self.server.list_text()
        self.assertIn(f"last error: {reason}", text)
        agents = {agent["name"]: agent for agent in self.server.get("/agents").json()["agents"]}
        self.assertEqual(agents["fault_restart"]["state"], "crash-loop")
        self.assertEqual(agents["fault_restart"]["reason"], CRASHING)
        self.assertEqual(self.server.get("/readyz").json(),
                         {"status": "ok", "agents": {"crash-loop": 1, "serving": 1}})
        self.assertEqual(self.server.get("/readyz?agent=fault_restart").status, 503)
        self.assertEqual(agents["ticker"]["state"], "serving")
        lines = self.server.lines(" error front ", "crash loop: ", self.REASON,
                                  "plugin=fault_restart")
        self.assertEqual(len(lines), 1)
        self.others.check()

    def test_word_in_the_list(self):
        """As a row of the table, whether or not a worker is just being started."""
        self.crash()
        rows = [line for line in self.server.list_text().splitlines()
                if line.startswith("fault_restart ")]
        self.assertTrue(any("crash-loop" in row for row in rows), rows)

    def test_runs_are_refused_with_the_reason(self):
        """The reason for clients; operators read the rest in the list."""
        self.crash()
        for query in ("", "?mode=wait"):
            answer = self.server.post("fault_restart", {}, query)
            self.check_problem(answer, 503, "Service Unavailable",
                               f"the agent 'fault_restart' is not available: {CRASHING}")
            self.assertIn("retry-after", answer.headers)
        self.assertEqual(self.server.get("/healthz").status, 200)
        self.others.check()

    def test_runs_that_wait_learn_the_reason(self):
        """Those that came before it was a crash loop get an end, not silence."""
        with open(self.poison, "wb"):
            pass
        os.kill(self.server.serving("fault_restart")[0], signal.SIGABRT)
        wait_for(self.server.obituaries, "the first death is seen")
        for _ in range(5):
            answer = self.server.post("fault_restart", {})
            self.assertIn(CRASHING.encode(), answer.body)
            self.assertIn(b'"unavailable"' if answer.status == 200 else b"is not available",
                          answer.body)
            self.assertIn(answer.status, (200, 503))

    def test_pauses_grow(self):
        crashed_at = self.crash()
        deaths = len(self.PAUSES_S) + 1
        wait_for(lambda: self.server.generation("fault_restart")["restarts"] >= deaths,
                 f"it died {deaths} times")
        self.assertGreaterEqual(time.monotonic() - crashed_at, sum(self.PAUSES_S))

    def test_each_death_has_its_obituary(self):
        """Also those of workers that never served."""
        self.crash()
        os.unlink(self.poison)
        self.server.wait_serving("fault_restart")
        restarts = self.server.generation("fault_restart")["restarts"]
        self.assertGreaterEqual(restarts, 3)
        lines = self.server.obituaries("fault_restart.so", "generation=1", "SIGABRT")
        self.assertEqual(len(lines), restarts, lines)

    def test_recovers_by_itself(self):
        self.crash()
        os.unlink(self.poison)
        self.server.wait_serving("fault_restart")
        self.check_recovered(1)

    def test_recovers_when_the_file_is_replaced(self):
        self.crash()
        fixed = os.path.join(self.server.plugin_folder, ".fixed")
        shutil.copy(plugin_path("fault_restart_fixed"), fixed)
        os.rename(fixed, os.path.join(self.server.plugin_folder, "fault_restart.so"))
        wait_for(lambda: self.server.plugin("fault_restart")["state"] == "serving",
                 "the new file serves")
        self.check_recovered(2)
        self.assertEqual(self.server.generation("fault_restart")["version"], "2.0")
        wait_for(lambda: len(self.server.plugin("fault_restart")["generations"]) == 1,
                 "the crashing generation is gone")

    def test_same_file_again_is_refused_and_the_loop_goes_on(self):
        self.crash()
        ended = self.server.reload("fault_restart")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(self.REASON.encode(), ended.stderr)
        self.assertEqual(self.server.plugin("fault_restart")["state"], "crash-loop")
        os.unlink(self.poison)
        self.server.wait_serving("fault_restart")
        self.check_recovered(1)

    def test_server_stops_in_a_crash_loop(self):
        self.crash()
        self.server.stop()


class StuckTest(SupervisionTest):
    FOREVER_MS = 3600000

    def begin(self, timeout_s, **settings):
        self.server = self.watch("fault_loop", "ticker",
                                 settings={"host.stuck_timeout": timeout_s, **settings})
        self.others = self.bystanders(self.server)
        self.worker = self.server.serving("fault_loop")[0]

    def open(self, **value):
        stream = self.server.open("fault_loop", value)
        stream.until("ready")
        return stream

    def test_loop_without_end(self):
        self.begin(1)
        neighbour = self.open(ticks=100000, period_ms=10)
        neighbour.until("tick")
        stuck = self.open(loop_ms=self.FOREVER_MS)
        states = wait_for(lambda: (lambda found: found if len(found) == 2 and
                                   found.get(self.worker) == "stuck" and
                                   "serving" in found.values() else None)
                          ({worker["pid"]: worker["state"]
                            for worker in self.server.workers_of("fault_loop")}),
                          "a fresh worker serves beside the stuck one")
        events = self.server.run("fault_loop", {"ticks": 3, "period_ms": 1})
        self.assertEqual(types(events), ["run", "ready", "tick", "tick", "tick", "done"])
        self.assertEqual(events[-1].json(), FINISHED)
        self.others.check()
        self.assertEqual(types(stuck.rest()), ["run", "ready", "done"])
        self.check_failed(stuck.done, "worker_stuck", "its loop did not answer")
        self.check_failed_neighbour(neighbour)
        self.check_obituary(self.server, "fault_loop", self.worker, 2, "its loop did not answer")
        self.assertNotIn(self.worker, self.server.children())
        self.assertEqual(self.server.serving("fault_loop"),
                         [pid for pid in states if pid != self.worker])
        lines = self.server.lines(" plugin front ", "worker stuck: ", f"pid={self.worker} ",
                                  "fault_loop.so")
        self.assertEqual(len(lines), 1)
        self.others.check()

    def check_failed_neighbour(self, stream):
        events = stream.rest()
        self.assertEqual(types(events), ["run", "ready"] + ["tick"] * (len(events) - 3) + ["done"])
        numbers = [event.json()["n"] for event in events[2:-1]]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.check_failed(stream.done, "worker_stuck", "its loop did not answer")

    def test_loop_that_ends_before_the_deadline(self):
        """All runs of the worker finish, and it has its seat back."""
        self.begin(2)
        neighbour = self.open(ticks=3, period_ms=100)
        stuck = self.open(loop_ms=3000)
        wait_for(lambda: self.server.lines("worker stuck: ", f"pid={self.worker} "),
                 "it is stuck")
        events = self.server.run("fault_loop", {"ticks": 1, "period_ms": 1})
        self.assertEqual(events[-1].json(), FINISHED)
        self.assertEqual(types(stuck.rest()), ["run", "ready", "over", "done"])
        self.assertEqual(stuck.done, FINISHED)
        self.assertEqual(types(neighbour.rest()), ["run", "ready", "tick", "tick", "tick", "done"])
        self.assertEqual(neighbour.done, FINISHED)
        self.check_has_its_seat_back()

    def check_has_its_seat_back(self):
        wait_for(lambda: [(worker["pid"], worker["state"]) for worker in
                          self.server.workers_of("fault_loop")] == [(self.worker, "serving")],
                 "it alone serves again")
        self.assertEqual(len(self.server.lines("worker has its seat back", f"pid={self.worker} ")),
                         1)
        self.assertEqual(self.server.run("fault_loop", {"ticks": 1})[-1].json(), FINISHED)
        self.assertEqual(self.server.obituaries(), [])
        self.others.check()

    def test_stop_that_is_shorter_than_the_timeout(self):
        self.begin(3)
        stream = self.open(ticks=10, period_ms=50)
        os.kill(self.worker, signal.SIGSTOP)
        time.sleep(2)
        os.kill(self.worker, signal.SIGCONT)
        stream.rest()
        self.assertEqual(stream.done, FINISHED)
        self.assertEqual(self.server.lines("worker stuck"), [])
        self.assertEqual(self.server.serving("fault_loop"), [self.worker])

    def test_stop_that_is_longer_than_the_timeout(self):
        """No run is shortened, not even one that takes longer than the timeout afterwards."""
        self.begin(2)
        stream = self.open(ticks=60, period_ms=50)
        os.kill(self.worker, signal.SIGSTOP)
        wait_for(lambda: self.server.lines("worker stuck: ", f"pid={self.worker} "),
                 "it is stuck")
        self.server.wait_serving("fault_loop")
        os.kill(self.worker, signal.SIGCONT)
        stream.rest()
        self.assertEqual(stream.done, FINISHED)
        self.check_has_its_seat_back()

    def test_worker_under_a_debugger(self):
        """It is never stuck, however long the debugger holds it."""
        self.begin(1)
        stream = self.open(ticks=10, period_ms=50)
        trace(PTRACE_SEIZE, self.worker)
        trace(PTRACE_INTERRUPT, self.worker)
        time.sleep(3)
        self.assertEqual(self.server.serving("fault_loop"), [self.worker])
        trace(PTRACE_DETACH, self.worker)
        stream.rest()
        self.assertEqual(stream.done, FINISHED)
        self.assertEqual(self.server.lines("worker stuck"), [])

    def test_loop_that_is_short(self):
        """It is no reason to replace the worker."""
        self.begin(5)
        stuck = self.open(loop_ms=500)
        self.assertEqual(types(stuck.rest()), ["run", "ready", "over", "done"])
        self.assertEqual(self.server.lines("worker stuck"), [])
        self.assertEqual(self.server.serving("fault_loop"), [self.worker])

    def test_process_that_is_stopped(self):
        """A whole process that stands still, in thread mode too."""
        server = self.watch("fault_deadlock", "ticker", settings={"host.stuck_timeout": 1})
        others = self.bystanders(server)
        worker = server.serving("fault_deadlock")[0]
        stream = server.open("fault_deadlock", {"how": "lock"})
        stream.until("ready")
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
        self.check_failed(stream.done, "worker_stuck")
        self.check_obituary(server, "fault_deadlock", worker, 1, "its loop did not answer")
        self.assertEqual(server.run("fault_deadlock", {})[-1].json(), FINISHED)
        others.check()

    def test_swap_of_a_stuck_worker(self):
        self.begin(1, **{"host.drain_timeout": 600})
        stuck = self.open(loop_ms=self.FOREVER_MS)
        ended = self.server.reload("fault_loop")
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        self.assertEqual(types(stuck.rest()), ["run", "ready", "done"])
        self.check_failed(stuck.done, "worker_stuck")
        wait_for(lambda: len(self.server.plugin("fault_loop")["generations"]) == 1,
                 "the old generation is gone")
        self.assertEqual(self.server.run("fault_loop", {"ticks": 1})[-1].json(), FINISHED)
        self.others.check()

    def test_server_stops_with_a_stuck_worker(self):
        self.begin(600)
        stuck = self.open(loop_ms=self.FOREVER_MS)
        self.server.stop()
        self.assertEqual(types(stuck.rest()), ["run", "ready", "done"])
        self.check_failed(stuck.done, "shutdown")


class AbsenceTest(SupervisionTest):
    """
    The front is held. Whatever others did meanwhile counts as done in time, and
    no limit goes on that only the front could have noticed.
    """

    HOLD_S = 4

    def hold(self, server, meanwhile=lambda: None):
        server.signal(signal.SIGSTOP)
        time.sleep(self.HOLD_S)
        meanwhile()
        server.signal(signal.SIGCONT)

    def go_on(self, worker):
        """Let a stopped worker do what it was told, until it waits again."""
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: state_of(worker) == "S", "the worker waits")

    def check_finishes(self, stream):
        stream.rest()
        self.assertEqual(stream.done, FINISHED)

    def test_no_run_is_ended(self):
        """Of two plugins, read and unread, over twice the time that makes a worker stuck."""
        server = self.watch("fault_loop", "ticker", settings={"host.stuck_timeout": 2})
        workers = server.serving("fault_loop") + server.serving("ticker")
        short, long = {"ticks": 20, "period_ms": 50}, {"ticks": 150, "period_ms": 50}
        streams = [server.open("fault_loop", value) for value in (short, long)]
        streams += [server.open("ticker", {"count": value["ticks"], "period_ms": 50})
                    for value in (short, long)]
        runs = [server.detach("fault_loop", value) for value in (short, long)]
        runs += [server.detach("ticker", {"count": value["ticks"], "period_ms": 50})
                 for value in (short, long)]
        for stream in streams:
            stream.until("tick")
        self.hold(server)
        for stream in streams:
            self.check_finishes(stream)
        for run in runs:
            wait_for(lambda: server.state(run)["status"] not in ("queued", "running"), "it ends")
            self.assertEqual(server.state(run)["status"], "finished")
        self.assertEqual(server.lines("worker stuck") + server.obituaries(), [])
        self.assertEqual(server.serving("fault_loop") + server.serving("ticker"), workers)

    def test_deadline_of_a_run(self):
        server = self.watch("fault_loop", settings={"plugin.fault_loop.deadline": 3})
        stream = server.open("fault_loop", {"ticks": 20, "period_ms": 50})
        stream.until("ready")
        self.hold(server)
        self.check_finishes(stream)

    def test_grace_of_a_cancelled_run(self):
        server = self.watch("fault_loop", settings={"plugin.fault_loop.cancel_grace": 3})
        worker = server.worker_of("fault_loop")
        stream = server.open("fault_loop", {"loop_ms": 3500, "cancelled": 1})
        stream.until("ready")
        with server.connect() as connection:
            connection.exchange("POST", f"/runs/{stream.run}/cancel")
        wait_for(lambda: state_of(worker) == "R", "the worker has been told, and loops")
        self.hold(server)
        stream.rest()
        self.assertEqual(stream.done["status"], "cancelled")
        self.assertEqual(server.lines("ignores that its run was cancelled"), [])
        self.assertEqual(server.serving("fault_loop"), [worker])

    def test_time_to_drain(self):
        server = self.watch("fault_loop", settings={"host.drain_timeout": 3})
        stream = server.open("fault_loop", {"ticks": 100, "period_ms": 50})
        stream.until("ready")
        self.assertEqual(server.reload("fault_loop").returncode, 0)
        self.hold(server)
        self.check_finishes(stream)

    def test_time_to_start(self):
        gate = self.path("gate")
        write(gate, b"")
        server = self.watch("swap_one", settings={"host.start_timeout": 3,
                                                  "plugin.swap.gate": gate})
        os.remove(gate)
        os.remove(gate + ".reached")
        with Question(server, {"command": "reload", "name": "swap"}) as question:
            wait_for(lambda: os.path.exists(gate + ".reached"), "create() waits")
            self.hold(server, lambda: write(gate, b""))
            self.assertEqual(question.answer(), {"ok": True})

    def test_time_to_save_state(self):
        """The state of the old version waits in its link when the front goes on."""
        server = self.watch("swap_state_one")
        worker = server.worker_of("swap_state")
        self.assertEqual(server.run("swap_state", {})[-1].json(), FINISHED)
        os.kill(worker, signal.SIGSTOP)
        with Question(server, {"command": "reload", "name": "swap_state"}) as question:
            wait_for(lambda: len(server.workers()) == 2, "the new version starts")
            time.sleep(0.3)
            self.hold(server, lambda: self.go_on(worker))
            self.assertEqual(question.answer(), {"ok": True})
        self.assertEqual(server.lines("state not saved in time"), [])

    def test_time_to_come_back(self):
        """A client that reconnects while the front is held finds its run."""
        server = self.watch("fault_loop", settings={"plugin.fault_loop.on_disconnect": 3})
        stream = server.open("fault_loop", {"ticks": 200, "period_ms": 50})
        stream.until("tick")
        run = stream.run
        stream.close()
        for _ in range(3):
            server.get("/healthz")
        streams = []
        self.hold(server, lambda: streams.append(server.reopen(run)))
        self.addCleanup(streams[0].close)
        self.check_finishes(streams[0])

    def test_time_to_send_a_request(self):
        server = self.watch("fault_loop", settings={"host.request_timeout": 3})
        request = run_request("fault_loop", {"ticks": 1})
        with server.connect() as connection:
            connection.send(request[:-3])
            for _ in range(3):
                server.get("/healthz")
            self.hold(server, lambda: connection.send(request[-3:]))
            self.assertEqual(connection.response().status, 200)

    def test_worker_that_dies_after_a_run(self):
        """The run that waited is started on the next worker, never on the dead one."""
        server = self.watch("fault_loop", settings={"plugin.fault_loop.max_live": 1})
        worker = server.worker_of("fault_loop")
        first = server.open("fault_loop", {"ticks": self.HOLD_S * 10, "period_ms": 50})
        first.until("ready")
        second = server.open("fault_loop", {"ticks": 1})
        wait_for(lambda: server.plugin("fault_loop")["queued_runs"] == 1, "the second one waits")

        def kill():
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: not exists(worker), "the worker is dead")

        self.hold(server, kill)
        self.check_finishes(first)
        self.check_finishes(second)

    def test_time_to_shut_down(self):
        server = self.watch("fault_loop", settings={"host.shutdown_timeout": 3})
        stream = server.open("fault_loop", {"ticks": 20, "period_ms": 50})
        stream.until("ready")
        server.signal(signal.SIGTERM)
        wait_for(lambda: server.lines("stopping signal="), "it is stopping")
        self.hold(server)
        self.check_finishes(stream)
        server.check_end()


@unittest.skipIf(SANITIZED, "a sanitizer's own memory counts as the worker's")
class MemoryTest(SupervisionTest):
    def setUp(self):
        super().setUp()
        self.server = self.watch("fault_hog", "ticker",
                                 settings={"plugin.fault_hog.memory_limit": "100M"})
        self.others = self.bystanders(self.server)
        self.worker = self.server.serving("fault_hog")[0]

    def test_memory_is_reported(self):
        stream = self.server.open("fault_hog", {"mib": 50})
        stream.until("held")
        wait_for(lambda: self.server.workers_of("fault_hog")[0]["memory"] > 50 << 20,
                 "the list has what the run holds")
        stream.close()
        self.assertEqual(self.server.serving("fault_hog"), [self.worker])

    def test_over_the_limit(self):
        """The worker is replaced; its runs finish."""
        stream = self.server.open("fault_hog", {"mib": 130, "wait_ms": 3000})
        stream.until("held")
        wait_for(lambda: self.server.serving("fault_hog") not in ([], [self.worker]),
                 "a fresh worker serves")
        self.assertTrue(exists(self.worker))
        events = self.server.run("fault_hog", {"mib": 1, "wait_ms": 1})
        self.assertEqual(events[-1].json(), FINISHED)
        self.assertEqual(types(stream.rest()), ["run", "held", "done"])
        self.assertEqual(stream.done, FINISHED)
        wait_for(lambda: self.worker not in self.server.children(), "the old worker leaves")
        self.assertEqual(self.server.obituaries(), [])
        lines = self.server.lines("worker replaced: ", "memory_limit", f"pid={self.worker} ")
        self.assertEqual(len(lines), 1)
        self.others.check()

    def test_twice_over_the_limit(self):
        """It is killed, and its runs are told why."""
        neighbour = self.server.open("fault_hog", {})
        neighbour.until("held")
        stream = self.server.open("fault_hog", {"mib": 400})
        self.assertIn(types(stream.rest()), (["run", "held", "done"], ["run", "done"]))
        self.assertEqual(types(neighbour.rest()), ["run", "held", "done"])
        for each in (stream, neighbour):
            self.check_failed(each.done, "memory_limit", "twice its memory_limit")
        self.check_obituary(self.server, "fault_hog", self.worker, 2, "twice its memory_limit")
        self.assertEqual(self.server.run("fault_hog", {"wait_ms": 1})[-1].json(), FINISHED)
        self.others.check()


class MaxRunsTest(SupervisionTest):
    def serve_with(self, max_runs):
        return self.watch("fault_loop", "ticker",
                          settings={"plugin.fault_loop.max_runs": max_runs})

    def check_recycled(self, server, restarts):
        self.assertEqual(server.generation("fault_loop")["restarts"], restarts)
        self.assertEqual(len(server.lines("worker replaced: ", "max_runs")), restarts)
        wait_for(lambda: len(server.workers_of("fault_loop")) == 1, "the old workers leave")
        self.assertEqual(server.obituaries(), [])

    def test_one_after_the_other(self):
        server = self.serve_with(3)
        others = self.bystanders(server)
        pids = set()
        for _ in range(10):
            pids.add(server.wait_serving("fault_loop")[0])
            events = server.run("fault_loop", {"ticks": 1})
            self.assertEqual(types(events), ["run", "ready", "tick", "done"])
            self.assertEqual(events[-1].json(), FINISHED)
        self.assertEqual(len(pids), 4)
        self.check_recycled(server, 3)
        others.check()

    def test_many_at_once(self):
        server = self.serve_with(10)
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for _ in range(100):
            swarm.add("fault_loop", {"ticks": 5, "period_ms": 20})
        swarm.finish()
        for stream in swarm.streams:
            self.assertEqual(stream.parser.done, FINISHED)
            self.assertEqual(stream.parser.count, 8)
        self.check_recycled(server, 10)


class WorkersTest(SupervisionTest):
    EACH = 10

    def fill(self, server, count):
        streams = [server.open("fault_restart", {}) for _ in range(count)]
        for stream in streams:
            stream.until("ready")
        return streams

    def check_even(self, server):
        loads = {worker["pid"]: worker["live_runs"]
                 for worker in server.workers_of("fault_restart")}
        self.assertEqual(list(loads.values()), [self.EACH] * 3)
        return sorted(loads)

    def test_three(self):
        server = self.watch("fault_restart", "ticker",
                            settings={"plugin.fault_restart.workers": 3})
        others = self.bystanders(server)
        pids = server.wait_serving("fault_restart", 3)
        self.assertEqual(len(set(pids)), 3)
        streams = self.fill(server, 3 * self.EACH)
        self.assertEqual(self.check_even(server), sorted(pids))

        victims = [stream for stream in streams
                   if stream.until("ready").json()["pid"] == pids[0]]
        os.kill(pids[0], signal.SIGKILL)
        self.assertEqual(len(victims), self.EACH)
        for stream in victims:
            self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
            self.check_failed(stream.done, "worker_crashed", "signal 9 (Killed)")
        self.check_obituary(server, "fault_restart", pids[0], self.EACH, "signal 9")
        fresh = server.wait_serving("fault_restart", 3)
        self.assertEqual(len(set(fresh) | set(pids)), 4)
        loads = sorted(worker["live_runs"] for worker in server.workers_of("fault_restart"))
        self.assertEqual(loads, [0, self.EACH, self.EACH], "the other workers' runs go on")
        self.fill(server, self.EACH)
        self.assertEqual(self.check_even(server), sorted(fresh))
        others.check()


class DrainTest(SupervisionTest):
    def test_deadline(self):
        """Runs that end in time finish, the others fail, and the log says so."""
        server = self.watch("fault_loop", "ticker", settings={"host.drain_timeout": 2})
        others = self.bystanders(server)
        worker = server.serving("fault_loop")[0]
        short = server.open("fault_loop", {"ticks": 5, "period_ms": 20})
        long = server.open("fault_loop", {"ticks": 100000, "period_ms": 20})
        for stream in (short, long):
            stream.until("ready")
        self.assertEqual(server.reload("fault_loop").returncode, 0)
        events = server.run("fault_loop", {"ticks": 1})
        self.assertEqual((events[0].json()["generation"], events[-1].json()), (2, FINISHED))
        self.assertEqual(types(short.rest()), ["run", "ready"] + ["tick"] * 5 + ["done"])
        self.assertEqual(short.done, FINISHED)
        events = long.rest()
        self.assertEqual(types(events), ["run", "ready"] + ["tick"] * (len(events) - 3) + ["done"])
        self.check_failed(long.done, "drain_timeout")
        self.assertEqual(len(server.lines("runs ended at the drain deadline", "plugin=fault_loop",
                                          "generation=1", "runs=1")), 1)
        wait_for(lambda: worker not in server.children(), "the old worker leaves")
        self.assertEqual(server.obituaries(), [])
        others.check()

    def check_ignored(self, agent):
        server = self.watch(agent, "ticker", settings={"host.drain_timeout": 1})
        others = self.bystanders(server)
        worker = server.serving(agent)[0]
        stream = server.open(agent, {"how": "ignore"})
        stream.until("tick")
        self.assertEqual(server.reload(agent).returncode, 0)
        self.assertEqual(server.run(agent, {})[-1].json(), FINISHED)
        events = stream.rest()
        self.assertEqual(types(events), ["run", "ready"] + ["tick"] * (len(events) - 3) + ["done"])
        self.check_failed(stream.done, "drain_timeout",
                          "the agent did not end in the time that its old version had left")
        self.check_obituary(server, agent, worker, 1, "did not stop at the drain deadline")
        others.check()

    def test_thread_that_ignores_cancellation(self):
        self.check_ignored("fault_cancel")

    def test_fiber_that_ignores_cancellation(self):
        self.check_ignored("fault_cancel_fiber")


class OrphanTest(SupervisionTest):
    def test_no_worker_outlives_the_front(self):
        """Whatever it does: stuck, deadlocked, stopped, with threads, deaf to signals."""
        server = self.watch("fault_loop", "fault_deadlock", "fault_stray", "fault_signals",
                            "fault_cancel", "fault_restart", "ticker",
                            settings={"host.stuck_timeout": 1})
        self.assertEqual(server.run("fault_stray", {"how": "spin"})[-1].json(), FINISHED)
        for how in ("ignore", "block"):
            self.assertEqual(server.run("fault_signals", {"how": how})[-1].json(), FINISHED)
        streams = [server.open("fault_loop", {"loop_ms": 3600000}),
                   server.open("fault_deadlock", {"how": "lock"}),
                   server.open("fault_cancel", {"how": "ignore"}),
                   server.open("ticker", {"count": 9, "period_ms": 100000})]
        for stream in streams:
            stream.until("run")
        streams[0].until("ready")
        os.kill(server.serving("fault_restart")[0], signal.SIGSTOP)
        wait_for(lambda: server.lines("worker stuck", "fault_loop.so"), "it is stuck")
        self.assertGreaterEqual(len(server.workers()), 7)
        server.server.is_stopped = True
        server.signal(signal.SIGKILL)
        server.wait()
        wait_for(lambda: not server.pids(), "no worker is left")


class LeakTest(SupervisionTest):
    WORKERS = 13
    ROUNDS = 4

    def test_nothing_is_left_of_fifty_deaths(self):
        """Each seat dies a few times, so that its back-off stays short."""
        server = self.watch("fault_restart", "ticker",
                            settings={"plugin.fault_restart.workers": self.WORKERS})
        server.wait_serving("fault_restart", self.WORKERS)
        others = self.bystanders(server)
        before = server.descriptors()
        pids = set()
        for _ in range(self.ROUNDS):
            workers = server.wait_serving("fault_restart", self.WORKERS)
            streams = [server.open("fault_restart", {}) for _ in range(self.WORKERS)]
            for stream in streams:
                stream.until("ready")
            for pid in workers:
                pids.add(pid)
                os.kill(pid, signal.SIGKILL)
            for stream in streams:
                self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
                self.check_failed(stream.done, "worker_crashed", "signal 9 (Killed)")
                stream.close()
        self.assertGreaterEqual(len(pids), 50)
        server.wait_serving("fault_restart", self.WORKERS)
        self.assertEqual(len(server.obituaries("signal 9")), len(pids))
        wait_for(lambda: server.descriptors() <= before,
                 f"the front has {before} descriptors again")
        children = server.children()
        self.assertEqual(len(children), self.WORKERS + 1)
        self.assertNotIn("Z", children.values())
        self.assertEqual(set(children) & pids, set())
        others.check()


class StrayTest(SupervisionTest):
    def stray(self, server):
        agents = server.get("/agents").json()["agents"]
        return {agent["name"]: agent for agent in agents}["fault_stray"]["stray_emits"]

    def test_emits_outside_of_a_run_are_counted(self):
        server = self.watch("fault_stray")
        self.assertEqual(self.stray(server), 0)
        for _ in range(2):
            events = server.run("fault_stray", {"how": "emit", "count": 500})
            self.assertEqual(types(events), ["run", "left", "done"])
            self.assertEqual(text_of(events), "")
        wait_for(lambda: self.stray(server) == 1000, "all are counted")
        lines = server.lines(" plugin worker ", "emit_text(): not inside a run; ", "plugin=fault_stray",
                             "generation=1")
        self.assertEqual(len(lines), 1, "it is said once")


if __name__ == "__main__":
    main()
