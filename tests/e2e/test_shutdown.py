#!/usr/bin/python3
"""How the server stops: every client gets an end, and nothing is left behind."""

import signal
import time

from harness import SANITIZED, Swarm, Test, main, types, wait_for

STOPPED = {"code": "shutdown", "message": "the server is stopping"}


class ShutdownTest(Test):
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

    def wait_until_draining(self, server):
        wait_for(lambda: server.lines("stopping signal="), "the server stops")

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
            with self.assertRaises(ConnectionRefusedError):
                server.connect()
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


if __name__ == "__main__":
    main()
