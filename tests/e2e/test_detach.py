#!/usr/bin/python3
"""Runs that nobody waits for, what is kept of them, and how many there may be."""

import hashlib
import json
import socket

from ending import FINISHED, EndTest
from harness import (PATIENCE_S, SANITIZED, Connection, Swarm, main, run_request, text_of, types,
                     wait_for)

# The receive buffer of a client that shall be behind soon.
SMALL = 4096


class DetachTest(EndTest):
    def test_answer(self):
        server = self.watch("ticker", "e2e_emit")
        answer = server.post("ticker", {"count": 3, "period_ms": 200}, "?mode=detach")
        self.assertEqual(answer.status, 202)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        run = answer.headers["location"].removeprefix("/runs/")
        self.assertEqual(answer.json(), {"run": run, "agent": "ticker", "version": "1.0",
                                         "generation": 1, "status": "running", "events": 1})
        self.assertEqual(server.state(run)["status"], "running")
        live = server.reopen(run)
        self.assertEqual(types(live.rest()), ["run", "tick", "tick", "tick", "done"])
        live.close()
        late = server.reopen(run, 2)
        self.assertEqual(types(late.rest()), ["tick", "tick", "done"])
        late.close()

    def test_bad_requests(self):
        """They are refused as in any other mode."""
        server = self.watch("ticker")
        for agent, value, status in (("ticker", b"{", 400), ("nobody", {}, 404)):
            answer = server.post(agent, value, "?mode=detach")
            self.assertEqual(answer.status, status)
            self.assertNotIn("location", answer.headers)
        self.assertEqual(server.post("ticker", {}, "?mode=detached").status, 400)
        self.assertEqual(server.workers_of("ticker")[0]["started_runs"], 0)

    def test_run_that_fails(self):
        server = self.watch("e2e_emit")
        calls = [{"op": "text", "text": "so far"}, {"op": "fail", "code": "no", "message": "luck"}]
        run = server.detach("e2e_emit", {"calls": calls})
        error = self.wait_state(server, run, "failed")["error"]
        self.assertEqual(error, {"code": "no", "message": "luck"})
        stream = server.reopen(run)
        self.assertEqual(text_of(stream.rest()), "so far")
        self.assertEqual(stream.done, {"status": "failed", "error": error})
        stream.close()

    def test_wait_afterwards(self):
        """A run may be read, and waited for, by any number of clients, now and later."""
        server = self.watch("ticker", "e2e_emit")
        calls = [{"op": "text", "text": word} for word in ("to ", "be")]
        run = server.detach("e2e_emit", {"calls": calls})
        self.wait_state(server, run, "finished")
        documents = {server.post("e2e_emit", {}, "?mode=wait", {"Last-Event-ID": f"{run}.{n}"}).body
                     for n in (0, 2, 0)}
        self.assertEqual(len(documents), 1)
        document = json.loads(documents.pop())
        self.assertEqual((document["run"], document["text"]), (run, "to be"))

    def test_wait_with_others(self):
        server = self.watch("ticker", settings={"plugin.ticker.on_disconnect": "cancel"})
        value = {"count": 40, "period_ms": 10}
        headers = {"Idempotency-Key": "k"}
        waiting, leaving = server.connect(), server.connect()
        waiting.post("ticker", value, "?mode=wait", headers)
        leaving.post("ticker", value, "?mode=wait", headers)
        stream = server.server.open("ticker", value, headers=headers)
        stream.until("tick")
        leaving.close()
        gone = server.reopen(stream.run)
        gone.until("tick")
        gone.close()
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 40 + ["done"])
        stream.close()
        answer = waiting.response()
        self.assertEqual((answer.status, answer.json()["run"], answer.json()["status"]),
                         (200, stream.run, "finished"))
        waiting.close()
        self.assertEqual(server.workers_of("ticker")[0]["started_runs"], 1)


class ManyTest(EndTest):
    RUNS = 500 if SANITIZED else 10000
    COUNT = 5
    AT_ONCE = 1000  # readers

    def test_many_runs(self):
        """All are started, then all are read: some of them live, some when all have ended."""
        server = self.watch("ticker")
        request = run_request("ticker", {"count": self.COUNT, "period_ms": 10}, "?mode=detach")
        runs = []
        with server.connect() as connection:
            for _ in range(self.RUNS):
                connection.send(request)
                answer = connection.response()
                self.assertEqual(answer.status, 202, answer.body)
                runs.append(answer.json()["run"])
        self.assertEqual(len(set(runs)), self.RUNS)
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        half = self.RUNS // 2
        self.read(swarm, runs[half:], 2)
        wait_for(lambda: server.workers_of("ticker")[0]["live_runs"] == 0, "all have ended")
        self.read(swarm, runs[:half], self.COUNT + 2)
        runs = runs[half:] + runs[:half]
        for run, stream in zip(runs, swarm.streams):
            self.assertEqual((stream.parser.run, stream.parser.count, stream.parser.gaps,
                              stream.parser.done), (run, self.COUNT + 2, [], FINISHED))
        self.assertEqual(server.workers_of("ticker")[0]["started_runs"], self.RUNS)

    def read(self, swarm, runs, positions):
        for n, run in enumerate(runs):
            swarm.reopen(run, n % positions)
            swarm.until(lambda: swarm.open < self.AT_ONCE, "others have been read")
        swarm.finish()


class BudgetTest(EndTest):
    BUDGET = 1024 * 1024

    def setUp(self):
        super().setUp()
        self.server = self.watch("ticker", settings={"host.log_budget": "1M"})

    def run_to_end(self, count=50, bytes_=1000):
        run = self.server.detach("ticker", {"count": count, "period_ms": 0, "bytes": bytes_})
        self.wait_state(self.server, run, "finished")
        return run

    def is_known(self, run):
        return self.server.get("/runs/" + run).status == 200

    def test_oldest_go(self):
        live = self.server.detach("ticker", {"count": 10 ** 6, "period_ms": 100})
        runs = [self.run_to_end() for _ in range(40)]
        known = [self.is_known(run) for run in runs]
        self.assertEqual(known, sorted(known), "the oldest are forgotten first")
        self.assertLess(sum(known), self.BUDGET / 50000)
        self.assertGreaterEqual(sum(known), self.BUDGET / 50000 / 4)
        for run, is_known in zip(runs, known):
            if not is_known:
                self.assertEqual(self.server.get(f"/runs/{run}/events").status, 404)
                continue
            stream = self.server.reopen(run)
            self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 50 + ["done"])
            stream.close()
        self.assertEqual(self.server.state(live)["status"], "running")
        stream = self.server.reopen(live)
        stream.until("tick")
        self.assertEqual((stream.parser.events[0].type, stream.parser.gaps), ("run", []))
        stream.close()

    def test_one_that_is_read_stays(self):
        self.server = self.watch("ticker", settings={"host.log_budget": "4M"})
        first = self.run_to_end(400)
        stream = self.server.reopen(first, receive_buffer=SMALL)
        stream.until("tick")
        between = self.run_to_end()
        for _ in range(80):
            self.run_to_end()
        self.assertFalse(self.is_known(between))
        self.assertTrue(self.is_known(first))
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 400 + ["done"])
        stream.close()
        self.run_to_end()
        wait_for(lambda: self.run_to_end() and not self.is_known(first), "it goes once it was read")

    def test_live_ones_fill_it(self):
        """They keep their share, and no further run starts; when some have ended, others can."""
        value = {"count": 10 ** 6, "period_ms": 50, "bytes": 15000}
        live = []

        def is_full():
            answer = self.server.post("ticker", value, "?mode=detach")
            if answer.status == 202:
                live.append(answer.json()["run"])
                return None
            return answer

        answer = wait_for(is_full, "the budget is used up")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "1"))
        self.assertIn("log_budget", answer.json()["detail"])
        self.assertGreater(len(live), 16)
        for run in live:
            self.assertEqual(self.server.state(run)["status"], "running")
        stream = self.server.reopen(live[0])
        stream.until("tick")
        stream.close()
        for run in live[len(live) // 4:]:
            self.cancel(self.server, run)
        wait_for(lambda: is_full() is None, "there is room again")


class QueueTest(EndTest):
    LIVE = 2
    QUEUED = 3
    AGENT = "e2e_input"

    def setUp(self):
        super().setUp()
        self.server = self.watch(self.AGENT, "ticker", settings={
            f"plugin.{self.AGENT}.max_live": self.LIVE,
            f"plugin.{self.AGENT}.max_queued": self.QUEUED})

    def fill(self):
        runs = [self.server.detach(self.AGENT, {}) for _ in range(self.LIVE + self.QUEUED)]
        for run in runs[:self.LIVE]:
            self.wait_state(self.server, run, "waiting")
        self.check_queued(runs[self.LIVE:])
        return runs

    def check_queued(self, runs):
        for run in runs:
            self.assertEqual(self.server.state(run), {"run": run, "agent": self.AGENT,
                                                      "status": "queued", "events": 0})

    def check_refused(self):
        for query in ("", "?mode=wait", "?mode=detach"):
            answer = self.server.post(self.AGENT, {}, query)
            self.check_problem(answer, 503, "Service Unavailable", f"the agent '{self.AGENT}' has "
                               "too many runs waiting; try again later")
            self.assertEqual(answer.headers["retry-after"], "1")
            self.assertNotIn("location", answer.headers)

    def let_end(self, run):
        with self.server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{run}/input", b"{}",
                                         {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 202, answer.body)
        self.wait_state(self.server, run, "finished")

    def test_queue(self):
        """First come, first served."""
        runs = self.fill()
        self.check_refused()
        for n in range(self.QUEUED):
            self.let_end(runs[n])
            self.wait_state(self.server, runs[self.LIVE + n], "waiting")
            self.check_queued(runs[self.LIVE + n + 1:])
        self.assertEqual(self.server.generation(self.AGENT)["workers"][0]["live_runs"], self.LIVE)
        runs.append(self.server.detach(self.AGENT, {}))
        self.check_queued(runs[-1:])

    def test_other_agents_do_not_wait(self):
        self.fill()
        self.assertEqual(self.server.run("ticker", {"count": 1, "period_ms": 1})[-1].json(),
                         FINISHED)

    def test_stream_of_a_queued_run(self):
        runs = self.fill()
        stream = self.server.reopen(runs[-1])
        wait_for(lambda: stream.parser.begun or stream.read(), "the stream begins")
        for run in runs[:-self.LIVE]:
            self.wait_state(self.server, run, "waiting")
            self.let_end(run)
        stream.until("ask")
        self.assertEqual(types(stream.parser.events), ["run", "ready", "ask"])
        self.let_end(runs[-1])
        stream.rest()
        stream.close()

    def test_cancelled_ones_leave_the_queue(self):
        runs = self.fill()
        for run in runs[self.LIVE:-1]:
            self.cancel(self.server, run, 200)
        again = [self.server.detach(self.AGENT, {}) for _ in runs[self.LIVE:-1]]
        self.check_refused()
        self.let_end(runs[0])
        self.wait_state(self.server, runs[-1], "waiting")
        self.check_queued(again)

    def test_live_one_that_is_cancelled(self):
        runs = self.fill()
        self.cancel(self.server, runs[0])
        self.wait_state(self.server, runs[self.LIVE], "waiting")

    def test_all_at_once(self):
        """However many come, so many are taken."""
        connections = [self.server.connect() for _ in range(40)]
        for connection in connections:
            connection.send(run_request(self.AGENT, {}, "?mode=detach"))
        statuses = [connection.response().status for connection in connections]
        self.assertEqual(statuses.count(202), self.LIVE + self.QUEUED)
        self.assertEqual(statuses.count(503), 40 - self.LIVE - self.QUEUED)
        for connection in connections:
            connection.close()

    def test_readers_come_and_go_meanwhile(self):
        """What is full takes no new run, but all that is about one that there is."""
        runs = self.fill()
        for run in runs:
            stream = self.server.reopen(run)
            wait_for(lambda: stream.parser.begun or stream.read(), "the stream begins")
            stream.close()
            stream = self.server.server.open(self.AGENT, {},
                                             headers={"Last-Event-ID": run + ".0"})
            wait_for(lambda: stream.parser.begun or stream.read(), "the stream begins")
            stream.close()
        self.check_refused()


class FarConnection(Connection):
    """From another address of this machine."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE_S, ("127.0.0.2", 0))
        self.parser = None
        self.extra = b""


class ClientTest(EndTest):
    MOST = 3

    def setUp(self):
        super().setUp()
        self.headers = {"Content-Type": "application/json"}

    def serve_most(self, **settings):
        return self.watch("e2e_input", settings={"host.max_runs_per_client": self.MOST, **settings})

    def post(self, server, query="?mode=detach", headers=None, far=False):
        with FarConnection(server.address) if far else server.connect() as connection:
            connection.post("e2e_input", {}, query, headers)
            return connection.response()

    def start(self, server, **how):
        answer = self.post(server, **how)
        self.assertEqual(answer.status, 202, answer.body)
        return answer.json()["run"]

    def check_refused(self, server, **how):
        answer = self.post(server, **how)
        self.check_problem(answer, 429, "Too Many Requests", "you have as many live runs as one "
                           "client may have; wait for one to end")
        self.assertEqual(answer.headers["retry-after"], "1")

    def cancel_as(self, server, run, headers=None):
        with server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{run}/cancel", b"", headers)
            self.assertIn(answer.status, (200, 202))
            wait_for(lambda: connection.exchange("GET", "/runs/" + run, None, headers)
                     .json()["status"] == "cancelled", "the run is cancelled")

    def test_address(self):
        server = self.serve_most()
        runs = [self.start(server) for _ in range(self.MOST)]
        for query in ("", "?mode=wait", "?mode=detach"):
            self.check_refused(server, query=query)
        self.start(server, far=True)
        self.cancel_as(server, runs[0])
        runs.append(self.start(server))
        self.check_refused(server)
        for run in runs[1:]:
            self.cancel_as(server, run)
        for _ in range(self.MOST):
            self.start(server)
        self.check_refused(server)

    def test_every_end_counts(self):
        """Finished, failed, cancelled while it is queued: the client has one less."""
        server = self.serve_most(**{"plugin.e2e_input.max_live": 1})
        first, queued, last = [self.start(server) for _ in range(self.MOST)]
        self.check_refused(server)
        self.cancel_as(server, queued)
        late = self.start(server, query="?mode=detach&deadline=1")
        self.check_refused(server)
        self.wait_state(server, late, "failed")
        self.start(server)
        self.check_refused(server)
        self.wait_state(server, first, "waiting")
        with server.connect() as connection:
            connection.exchange("POST", f"/runs/{first}/input", b"{}", self.headers)
        self.wait_state(server, first, "finished")
        self.wait_state(server, last, "waiting")
        self.start(server)
        self.check_refused(server)

    def test_runs_that_there_are(self):
        """To come back to them is not to have one more."""
        server = self.serve_most()
        run = self.start(server, headers={"Idempotency-Key": "k"})
        for _ in range(self.MOST - 1):
            self.start(server)
        self.check_refused(server)
        self.assertEqual(self.start(server, headers={"Idempotency-Key": "k"}), run)
        self.assertEqual(self.start(server, headers={"Last-Event-ID": run + ".1"}), run)
        self.check_refused(server, headers={"Idempotency-Key": "other"})

    def test_subject(self):
        path = self.path("tokens")
        with open(path, "w") as tokens:
            for name, token in (("alice", "a1"), ("alice", "a2"), ("bob", "b1")):
                tokens.write(f"{name}:{hashlib.sha256(self.token(token).encode()).hexdigest()}\n")
        server = self.serve_most(**{"host.tokens": path})
        runs = [self.start(server, headers=self.bearer("a1" if n % 2 else "a2"))
                for n in range(self.MOST)]
        for token in ("a1", "a2"):
            self.check_refused(server, headers=self.bearer(token))
            self.check_refused(server, headers=self.bearer(token), far=True)
        self.start(server, headers=self.bearer("b1"))
        self.cancel_as(server, runs[0], self.bearer("a1"))
        self.start(server, headers=self.bearer("a1"))
        self.check_refused(server, headers=self.bearer("a2"))

    def token(self, name):
        return "slc_" + hashlib.sha256(name.encode()).hexdigest()

    def bearer(self, name):
        return {"Authorization": "Bearer " + self.token(name)}


if __name__ == "__main__":
    main()
