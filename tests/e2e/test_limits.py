#!/usr/bin/python3
"""What is scarce: connections, descriptors, the worker's attention, live runs. When it is
there again, the server goes on."""

import os
import resource
import signal
import unittest

from harness import SANITIZED, Test, free_port, main, read_stream, run_request, types, wait_for
from supervising import SupervisionTest


def limit_descriptors(server, most):
    """The server may have so many descriptors, and cannot raise that."""
    server.args = ["/bin/sh", "-c", f'ulimit -n {most} && exec "$@"', "sh", *server.args]


def leave_at_once(server, connections):
    """The server notices the end of all of them in the same turn."""
    server.signal(signal.SIGSTOP)
    try:
        for connection in connections:
            connection.close()
    finally:
        server.signal(signal.SIGCONT)


class ConnectionTest(Test):
    MOST = 4

    def test_connections_can_be_made_again_after_all_were_in_use(self):
        server = self.serve("ticker", settings={"host.max_connections": self.MOST})
        for _ in range(3):
            connections = [server.connect() for _ in range(self.MOST)]
            for connection in connections:
                self.assertEqual(connection.exchange("GET", "/healthz").status, 200)
            leave_at_once(server, connections)
        self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                         ["run", "tick", "tick", "done"])


class LargeBodyTest(Test):
    def test_a_body_of_many_megabytes(self):
        size = (8 if SANITIZED else 60) * 1024 ** 2
        server = self.serve("e2e_emit", settings={"host.max_body": "64M", "host.log_budget": "256M"})
        value = {"calls": [{"op": "result", "text": "7"}], "pad": "p" * size}
        answer = server.post("e2e_emit", value, "?mode=wait")
        self.assertEqual((answer.status, answer.json()["result"]), (200, 7))


class HeadersTest(Test):
    def status_with(self, settings, size):
        server = self.serve(settings=settings)
        with server.connect() as connection:
            return connection.exchange("GET", "/healthz", headers={"Cookie": "c" * size}).status

    def test_large_headers_are_taken_if_they_may_be(self):
        self.assertEqual(self.status_with({"host.max_headers": "64K"}, 20000), 200)

    def test_no_larger_ones_are_taken(self):
        self.assertEqual(self.status_with({"host.max_headers": "4K"}, 200), 200)
        self.assertEqual(self.status_with({"host.max_headers": "4K"}, 4000), 431)


class DescriptorTest(Test):
    MOST = 60
    CLIENTS = 100

    def limited(self, most):
        server = self.prepare("ticker", settings={"host.shutdown_timeout": 0})
        limit_descriptors(server, most)
        return server

    def descriptors(self, server):
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    def check_recovery(self, request):
        server = self.limited(self.MOST)
        server.start()
        with open(f"/proc/{server.process.pid}/limits") as limits:
            self.assertRegex(limits.read(), rf"Max open files +{self.MOST} +{self.MOST} ")
        before = self.descriptors(server)
        self.assertEqual(len(server.lines("max_connections is cut", "connections=30", "reserve=30")),
                         1)
        clients = [server.connect() for _ in range(self.CLIENTS)]
        for client in clients:
            client.send(request)
        wait_for(lambda: self.descriptors(server) >= before + self.MOST // 2,
                 "the descriptors of connections are used up")
        worker = server.worker_of("ticker")
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: server.worker_of("ticker") != worker, "another worker takes its place")
        self.assertEqual(len(server.lines("as many connections as there may be")), 1)
        leave_at_once(server, clients)
        self.assertEqual(server.get("/healthz").status, 200)
        wait_for(lambda: self.descriptors(server) <= before + 2, "the descriptors are free again")
        for _ in range(3):
            self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                             ["run", "tick", "tick", "done"])

    def test_idle_clients_take_all_connections(self):
        self.check_recovery(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def test_streams_take_all_connections(self):
        self.check_recovery(run_request("ticker", {"count": 100000, "period_ms": 10}))

    def test_more_clients_may_come_when_some_have_left(self):
        server = self.limited(self.MOST)
        server.start()
        for _ in range(3):
            clients = [server.connect() for _ in range(self.CLIENTS)]
            for client in clients:
                client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for client in clients:
                self.assertEqual(client.response("GET").status, 200)
                client.close()
        self.assertEqual(server.lines("too many open files"), [])

    def test_too_few_to_start(self):
        server = self.limited(8)
        server.start_process()
        self.assertEqual(server.wait(), 1)
        server.is_stopped = True
        self.assertRegex(server.log(), r"(?m)^sluice: [^\n]+$")
        self.assertNotIn("ssertion", server.log())
        self.assertEqual(server.pids(), [])

    def test_standard_descriptors_are_closed(self):
        """What the server opens instead must not get what is printed."""
        server = self.prepare("ticker", "e2e_emit")
        port = free_port()
        server.args[server.args.index("127.0.0.1:0")] = f"127.0.0.1:{port}"
        server.args = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *server.args]
        server.start_process()
        server.address = ("127.0.0.1", port)

        def is_ready():
            if not server.is_alive():
                raise AssertionError(f"the server ended with status {server.process.returncode}")
            try:
                return server.get("/readyz").status == 200
            except ConnectionRefusedError:
                return False

        wait_for(is_ready, "the server is ready")
        for number in range(3):
            self.assertEqual(os.readlink(f"/proc/{server.process.pid}/fd/{number}"), "/dev/null")
        for _ in range(3):
            self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                             ["run", "tick", "tick", "done"])
        server.stop()


class MemoryTest(Test):
    def score(self, pid):
        with open(f"/proc/{pid}/oom_score_adj") as file:
            return int(file.read())

    @unittest.skipIf(SANITIZED, "AddressSanitizer needs the whole address space")
    def test_without_memory_runs_are_refused_and_others_go_on(self):
        """The front is short of address space; what was begun goes on, and what comes is told."""
        server = self.serve("ticker", "e2e_flood", "e2e_emit")
        stream = server.open("ticker", {"count": 10 ** 6, "period_ms": 5})
        stream.until("tick")
        with open(f"/proc/{server.process.pid}/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        old = resource.prlimit(server.process.pid, resource.RLIMIT_AS)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (size + 30 * 1024 ** 2, old[1]))
        statuses = []
        for _ in range(60):
            answer = server.post("e2e_flood", {"count": 100, "bytes": 9000, "pad": "p" * 500000},
                                 "?mode=detach")
            statuses.append(answer.status)
            if answer.status == 202:
                wait_for(lambda: server.state(answer.json()["run"])["status"] in
                         ("finished", "failed"), "it ends")
            answer = server.post("e2e_emit", {"calls": [{"op": "text", "text": "t" * 900000}]},
                                 "?mode=wait")
            statuses.append(answer.status)
        print(f"statuses: { {status: statuses.count(status) for status in set(statuses)} }",
              flush=True)
        self.assertLessEqual({202, 503}, set(statuses))
        self.assertLessEqual(set(statuses), {200, 202, 500, 503})
        self.assertTrue(server.is_alive())
        seen = len(stream.parser.events)
        wait_for(lambda: stream.read() and len(stream.parser.events) > seen + 10, "it goes on")
        stream.close()
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, old)
        self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                         ["run", "tick", "tick", "done"])

    def test_the_kernel_takes_a_worker_before_the_front(self):
        server = self.serve("ticker")
        self.assertEqual(self.score(server.process.pid), self.score("self"))
        self.assertEqual(self.score(server.worker_of("ticker")), max(500, self.score("self")))


class BacklogTest(SupervisionTest):
    CLIENTS = 14
    INPUT = 1000000  # bytes; what a link holds back is less than all of them

    def test_runs_that_wait_for_room_on_the_way_to_the_worker(self):
        server = self.watch("e2e_emit", settings={"host.stuck_timeout": 600})
        worker = server.worker_of("e2e_emit")
        clients = [server.connect() for _ in range(self.CLIENTS)]
        os.kill(worker, signal.SIGSTOP)
        try:
            for client in clients:
                client.post("e2e_emit", {"calls": [{"op": "result", "text": "7"}],
                                         "pad": "p" * self.INPUT}, "?mode=wait")
            wait_for(lambda: self.all_arrived(server), "all runs are there, and some wait")
        finally:
            os.kill(worker, signal.SIGCONT)
        for client in clients:
            answer = client.response()
            self.assertEqual((answer.status, answer.json()["result"]), (200, 7))
            client.close()
        self.assertEqual(server.plugin("e2e_emit")["queued_runs"], 0)
        self.assertEqual(server.serving("e2e_emit"), [worker])

    def all_arrived(self, server):
        waiting = server.plugin("e2e_emit")["queued_runs"]
        live = sum(worker["live_runs"] for worker in server.workers_of("e2e_emit"))
        return waiting > 0 and waiting + live == self.CLIENTS


class VersionTest(Test):
    """Clients that speak a later HTTP/1 than there is."""

    def test_stream(self):
        server = self.serve("ticker")
        with server.connect() as connection:
            connection.post("ticker", {"count": 3, "period_ms": 1}, version="1.2")
            answer = connection.response()
        self.assertEqual(answer.status, 200)
        self.assertEqual(types(read_stream(answer.body)), ["run"] + ["tick"] * 3 + ["done"])


class RunsTest(Test):
    on_disconnect = "cancel"

    MOST = 2

    def test_more_runs_than_may_live(self):
        server = self.serve("ticker", settings={"host.max_runs": self.MOST,
                                                "host.shutdown_timeout": 0})
        for _ in range(2):
            live = [server.open("ticker", {"count": 100000, "period_ms": 10})
                    for _ in range(self.MOST)]
            for stream in live:
                stream.until("tick")
            for query in ("", "?mode=wait"):
                answer = server.post("ticker", {"count": 1}, query)
                self.check_problem(answer, 503, "Service Unavailable", "the server has as many "
                                   "live runs as it allows; try again later")
                self.assertRegex(answer.headers["retry-after"], r"^[1-9][0-9]*$")
                self.assertNotIn("location", answer.headers)
            run = live[0].run
            live[0].close()
            wait_for(lambda: server.get("/runs/" + run).json()["status"] == "cancelled",
                     "one of them ends")
            self.assertEqual(types(server.run("ticker", {"count": 2, "period_ms": 1})),
                             ["run", "tick", "tick", "done"])
            live[1].until("tick")
            live[1].close()
            wait_for(lambda: server.get("/agents").json()["agents"][0]["live_runs"] == 0, "all end")


if __name__ == "__main__":
    main()
