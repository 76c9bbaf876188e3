#!/usr/bin/python3
"""How the server stops: every client gets an end, and nothing is left behind."""

import os
import signal
import time

from harness import SANITIZED, Swarm, Test, main, types, wait_for
from test_supervise import PTRACE_SEIZE, trace

STOPPED = {"code": "shutdown", "message": "the server is stopping"}


class StopTest(Test):
    def wait_until_draining(self, server):
        wait_for(lambda: server.lines("stopping signal="), "the server stops")


class ShutdownTest(StopTest):
    def start(self, timeout_s):
        return self.serve("e2e_watch", "e2e_watch_fiber", "ticker", "e2e_crash",
                          settings={"host.shutdown_timeout": timeout_s})

    def open_both(self, server):
        streams = [server.open(agent, {"how": "sleep"}) for agent in ("e2e_watch", "e2e_watch_fiber")]
        for stream in streams:
            stream.until("ready")
        return streams

    def check_stopped(self, streams):
        for stream in streams:
            self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
            self.assertEqual(stream.done, {"status": "failed", "error": STOPPED})
            stream.close()

    def test_without_runs(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                server = self.start(600)
                server.signal(number)
                server.check_end()

    def test_live_runs_are_ended_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                server = self.start(0)
                streams = self.open_both(server)
                begin = time.monotonic()
                server.signal(number)
                self.check_stopped(streams)
                took_s = time.monotonic() - begin
                server.check_end()
                self.assertLess(took_s, 5 if SANITIZED else 0.5, "at once is not at the next timer")

    def test_many_live_runs(self):
        server = self.start(0)
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for _ in range(200):
            swarm.add("ticker", {"count": 100000, "period_ms": 10})
        swarm.until(lambda: all(stream.parser.count > 2 for stream in swarm.streams), "all tick")
        server.signal(signal.SIGTERM)
        swarm.finish()
        for stream in swarm.streams:
            self.assertEqual(stream.parser.done, {"status": "failed", "error": STOPPED})
        server.check_end()

    def test_short_run_may_finish(self):
        server = self.start(600)
        stream = server.open("ticker", {"count": 10, "period_ms": 50})
        stream.until("tick")
        server.signal(signal.SIGTERM)
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 10 + ["done"])
        self.assertEqual(stream.done, {"status": "finished"})
        server.check_end()
        stream.close()

    def test_timeout_ends_what_goes_on(self):
        server = self.start(1)
        streams = self.open_both(server)
        server.signal(signal.SIGTERM)
        self.check_stopped(streams)
        server.check_end()

    def test_second_signal_ends_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM),
                              (signal.SIGTERM, signal.SIGINT)):
            with self.subTest(first=first, second=second):
                server = self.start(600)
                streams = self.open_both(server)
                server.signal(first)
                self.wait_until_draining(server)
                server.signal(second)
                self.check_stopped(streams)
                server.check_end()

    def test_new_requests_are_refused(self):
        server = self.start(600)
        with server.connect() as old:
            self.assertEqual(old.exchange("GET", "/readyz").status, 200)
            streams = self.open_both(server)
            server.signal(signal.SIGTERM)
            self.wait_until_draining(server)
            self.check_problem(server.get("/readyz"), 503, "Service Unavailable",
                               "the server is stopping")
            old.post("ticker", {"count": 1})
            answer = old.response()
            self.check_problem(answer, 503, "Service Unavailable", "the server is stopping")
            self.assertEqual(answer.headers["retry-after"], "1")
            self.check_problem(old.exchange("GET", "/readyz"), 503, "Service Unavailable",
                               "the server is stopping")
            self.assertEqual(old.exchange("GET", "/healthz").status, 200)
            self.assertEqual(old.exchange("GET", "/runs/" + streams[0].run).json()["status"],
                             "running")
        server.signal(signal.SIGTERM)
        self.check_stopped(streams)
        server.check_end()

    def test_waiting_client_gets_an_answer(self):
        server = self.start(0)
        with server.connect() as connection:
            connection.post("e2e_watch", {"how": "sleep", "file": self.path("x")}, "?mode=wait")
            wait_for(lambda: server.get("/agents").json()["agents"][1]["live_runs"], "the run lives")
            server.signal(signal.SIGTERM)
            answer = connection.response()
        self.assertEqual(answer.status, 500)
        self.assertEqual((answer.json()["status"], answer.json()["error"]), ("failed", STOPPED))
        server.check_end()

    def test_idle_connections_do_not_hold_it_up(self):
        server = self.start(600)
        with server.connect() as idle, server.connect() as half:
            self.assertEqual(idle.exchange("GET", "/healthz").status, 200)
            half.send(b"POST /agents/ticker/runs HTTP/1.1\r\nHost")
            server.signal(signal.SIGTERM)
            server.check_end()

    def test_client_that_does_not_read(self):
        """It cannot take what it gets for the whole stream, even if the end says nothing else."""
        for version in ("1.0", "1.1"):
            with self.subTest(version=version):
                server = self.serve("e2e_flood", settings={"host.shutdown_timeout": 0})
                stream = server.open("e2e_flood", {"count": 1000000, "bytes": 5000}, 65536,
                                     version=version)
                stream.until("flood")
                wait_for(lambda: server.get("/runs/" + stream.run).json()["events"] > 100,
                         "there is more than the sockets hold")
                server.signal(signal.SIGTERM)
                server.check_end()
                self.assertRaises(ConnectionResetError, stream.rest)
                stream.close()

    def test_agent_that_ignores_it(self):
        server = self.start(0)
        stream = server.open("e2e_crash", {"how": "ignore"})
        stream.until("ready")
        server.signal(signal.SIGTERM)
        self.check_stopped([stream])
        server.check_end()

    def test_while_plugins_start(self):
        server = self.prepare("fault_hang", "ticker", settings={"host.start_timeout": 600})
        server.start_process()
        wait_for(lambda: server.lines("now serving plugin=ticker"), "the other one serves")
        server.signal(signal.SIGTERM)
        server.check_end()

    def test_signals_until_it_has_ended(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            server = self.start(0)
            server.signal(signal.SIGTERM)
            while server.is_alive():
                server.signal(number)
            server.check_end()

    def test_while_a_worker_restarts(self):
        server = self.start(600)
        for _ in range(4):
            server.run("e2e_crash", {"how": "abort"})
        stream = server.open("e2e_crash", {"how": "wait"})
        server.signal(signal.SIGTERM)
        self.wait_until_draining(server)
        server.signal(signal.SIGTERM)
        server.check_end()
        stream.close()


class DrainTest(StopTest):
    """Clients of live runs are served until the last one has ended."""

    def begin(self, number=signal.SIGTERM, **settings):
        settings = {f"host.{key}": value for key, value in settings.items()}
        server = self.serve("e2e_input", "ticker", settings=settings)
        stream = server.open("e2e_input", {"count": 1}, query="?on_disconnect=continue")
        stream.until("ask")
        server.signal(number)
        self.wait_until_draining(server)
        return server, stream

    def exchange(self, server, path, body=None):
        with server.connect() as connection:
            return connection.exchange("POST", path, body, {"Content-Type": "application/json"})

    def check_served(self, server, stream):
        """All by new connections: resume, read, cancel, input; but no new run."""
        other = server.reopen(stream.run)
        other.until("ask")
        other.close()
        refused = server.post("ticker", {"count": 1})
        self.check_problem(refused, 503, "Service Unavailable", "the server is stopping")
        self.assertEqual(refused.headers["retry-after"], "1")
        self.assertEqual(server.get("/readyz").status, 503)
        self.assertEqual(server.get("/healthz").status, 200)
        self.assertEqual(server.state(stream.run)["status"], "waiting")
        self.assertEqual(self.exchange(server, f"/runs/{stream.run}/input", b"{}").status, 202)
        self.assertEqual(types(stream.rest())[-2:], ["heard", "done"])
        stream.close()

    def test_drain(self):
        server, stream = self.begin(shutdown_timeout=600)
        self.check_served(server, stream)
        server.check_end()

    def test_cancel_while_draining(self):
        server, stream = self.begin(shutdown_timeout=600)
        self.assertEqual(self.exchange(server, f"/runs/{stream.run}/cancel").status, 202)
        self.assertEqual(types(stream.rest())[-1], "done")
        server.check_end()
        stream.close()

    def test_delay_goes_on_without_runs(self):
        server, stream = self.begin(drain_delay=600, shutdown_timeout=600)
        self.check_served(server, stream)
        self.assertEqual(server.state(stream.run)["status"], "finished")
        self.assertEqual(server.get("/readyz").status, 503)
        server.signal(signal.SIGTERM)
        server.check_end()

    def test_delay_ends(self):
        server, stream = self.begin(drain_delay=1, shutdown_timeout=0)
        stream.rest()
        self.assertEqual(stream.done, {"status": "failed", "error": STOPPED})
        server.check_end()
        stream.close()

    def test_quit_has_no_deadline(self):
        server, stream = self.begin(signal.SIGQUIT, shutdown_timeout=0)
        self.check_served(server, stream)
        server.check_end()

    def test_term_sets_the_deadline_of_quit(self):
        server, stream = self.begin(signal.SIGQUIT, shutdown_timeout=0)
        server.signal(signal.SIGQUIT)
        self.assertEqual(server.state(stream.run)["status"], "waiting")
        server.signal(signal.SIGTERM)
        self.assertEqual(types(stream.rest())[-1], "done")
        self.assertEqual(stream.done, {"status": "failed", "error": STOPPED})
        server.check_end()
        stream.close()


class OtherSignalsTest(StopTest):
    """No signal that is sent by habit ends a run."""

    def test_front_ignores_and_says_so(self):
        server = self.serve("e2e_input")
        stream = server.open("e2e_input", {"count": 1})
        stream.until("ask")
        others = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF,
                  signal.SIGIO, signal.SIGPWR, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE,
                  signal.SIGRTMIN, signal.SIGRTMIN + 7, signal.SIGRTMAX)
        for number in others:
            server.signal(number)
        wait_for(lambda: len(server.lines("signal ignored")) == len(others) - 1,
                 "each is told, but for SIGPIPE, which is everyday")
        self.check_goes_on(server, stream)

    def check_goes_on(self, server, stream):
        with server.connect() as connection:
            connection.exchange("POST", f"/runs/{stream.run}/input", b"{}",
                                {"Content-Type": "application/json"})
        stream.rest()
        self.assertEqual(stream.done, {"status": "finished"})
        stream.close()

    def test_workers_outlive_what_the_whole_service_is_sent(self):
        server = self.serve("e2e_input")
        stream = server.open("e2e_input", {"count": 1})
        stream.until("ask")
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
            for pid in server.pids():
                os.kill(pid, number)
        self.wait_until_draining(server)
        self.check_goes_on(server, stream)
        server.check_end()


class UnkillableTest(StopTest):
    """A worker that SIGKILL does not end, as on a dead file system: here, its tracer holds it."""

    def begin(self, **settings):
        server = self.serve("e2e_input", "ticker",
                            settings={f"host.{key}": value for key, value in settings.items()})
        stream = server.open("e2e_input", {"count": 1})
        stream.until("ask")
        worker = server.worker_of("e2e_input")
        trace(PTRACE_SEIZE, worker)
        self.addCleanup(os.waitpid, worker, 0)
        return server, stream, worker

    def test_its_runs_end_and_another_serves(self):
        server, stream, worker = self.begin()
        os.kill(worker, signal.SIGKILL)
        stream.rest()
        self.assertEqual(stream.done["error"]["code"], "worker_crashed")
        self.assertTrue(server.lines("worker cannot be ended", f"pid={worker}"))
        stream.close()
        self.assertNotEqual(server.worker_of("e2e_input"), worker)
        stream = server.open("e2e_input", {"count": 1})
        stream.until("ask")
        stream.close()
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 3)
        self.assertTrue(server.lines("stopped, but", "exiting with status 3"))
        server.is_stopped = True

    def test_stop_ends(self):
        server, stream, worker = self.begin(shutdown_timeout=0)
        os.kill(worker, signal.SIGKILL)
        server.signal(signal.SIGTERM)
        stream.rest()
        self.assertEqual(stream.done, {"status": "failed", "error": STOPPED})
        self.assertEqual(server.wait(), 3)
        self.assertEqual(server.workers(), [])
        server.is_stopped = True
        stream.close()


if __name__ == "__main__":
    main()
