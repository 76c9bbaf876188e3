#!/usr/bin/python3
"""What clients say to a run: run_input() on one side, POST /runs/{id}/input on the other."""

import errno
import json
import os
import signal
import time

from ending import CANCELLED, FINISHED, NOBODY, EndTest, modes
from harness import SANITIZED, Swarm, main, types, wait_for

AGENT = "e2e_input"
MOST = 8  # inputs that wait to be taken


class RunInputTest(EndTest):
    def send(self, server, run, value, headers=None):
        """value is bytes, or becomes JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        with server.connect() as connection:
            return connection.exchange("POST", f"/runs/{run}/input", body,
                                       {"Content-Type": "application/json", **(headers or {})})

    def say(self, server, run, value):
        answer = self.send(server, run, value)
        self.assertEqual(answer.status, 202, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json()["run"], run)
        return answer.json()

    def heard(self, stream, count):
        """What the agent heard, when it is so much."""
        def found():
            return [event.json() for event in stream.parser.events if event.type == "heard"]

        while len(found()) < count:
            if not stream.read():
                raise AssertionError(f"the agent has heard only {found()}")
        self.assertEqual([heard["n"] for heard in found()], list(range(1, count + 1)))
        return [heard["json"] if heard["status"] == 0 else heard["status"] for heard in found()]

    def make(self, path):
        with open(path, "wb"):
            pass


class ConversationTest(RunInputTest):
    def setUp(self):
        super().setUp()
        self.server = self.watch(*modes(AGENT))

    def test_question_and_answer(self):
        for agent in modes(AGENT):
            hold = self.path(f"hold-{agent}")
            stream = self.open(self.server, agent, {"count": 2, "hold": hold})
            stream.until("ask")
            self.wait_state(self.server, stream.run, "waiting")
            self.say(self.server, stream.run, {"answer": "yes"})
            self.assertEqual(self.heard(stream, 1), [{"answer": "yes"}])
            self.wait_state(self.server, stream.run, "waiting")
            self.say(self.server, stream.run, "and no")
            self.assertEqual(self.heard(stream, 2), [{"answer": "yes"}, "and no"])
            self.wait_state(self.server, stream.run, "running")
            self.make(hold)
            self.assertEqual(types(stream.rest()),
                             ["run", "ready", "ask", "heard", "ask", "heard", "done"])
            self.assertEqual(stream.done, FINISHED)

    def test_said_before_it_is_asked(self):
        for agent in modes(AGENT):
            gate = self.path(f"gate-{agent}")
            stream = self.open(self.server, agent, {"count": 3, "gate": gate})
            stream.until("ready")
            for n in range(3):
                self.assertEqual(self.say(self.server, stream.run, n)["status"], "running")
            self.make(gate)
            self.assertEqual(self.heard(stream, 3), [0, 1, 2])
            stream.rest()
            self.assertEqual(stream.done, FINISHED)

    def test_too_many(self):
        for agent in modes(AGENT):
            gate = self.path(f"many-{agent}")
            stream = self.open(self.server, agent, {"count": MOST + 1, "gate": gate})
            stream.until("ready")
            for n in range(MOST):
                self.say(self.server, stream.run, n)
            for _ in range(3):
                answer = self.send(self.server, stream.run, "lost")
                self.check_problem(answer, 429, "Too Many Requests", "the agent has not taken "
                                   "the inputs that it was sent before")
                self.assertEqual(answer.headers["retry-after"], "1")
            self.make(gate)
            self.wait_state(self.server, stream.run, "waiting")
            self.say(self.server, stream.run, "last")
            self.assertEqual(self.heard(stream, MOST + 1), [*range(MOST), "last"])
            stream.rest()

    def test_long_conversation(self):
        count = 50 if SANITIZED else 300
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"count": count})
            stream.until("ready")
            with self.server.connect() as connection:
                for n in range(count):
                    answer = connection.exchange("POST", f"/runs/{stream.run}/input",
                                                 b"%d" % n, {"Content-Type": "application/json"})
                    self.assertEqual(answer.status, 202)
                    self.heard(stream, n + 1)
            self.assertEqual(self.heard(stream, count), list(range(count)))

    def test_every_value(self):
        values = [b"null", b"0", b"-1.5e300", b'""', b"[]", b' { "a" : [ 1 , 2 ] } \n',
                  '"F\u00fc\u00dfe \U0001f980"'.encode(), b'"\\u0000\\n\\""',
                  b'"' + b"x" * 900 * 1024 + b'"']
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"count": len(values)})
            stream.until("ask")
            for n, value in enumerate(values):
                self.say(self.server, stream.run, value)
                self.assertEqual(self.heard(stream, n + 1)[-1], json.loads(value))
            stream.rest()
            self.assertEqual(stream.done, FINISHED)

    def test_every_run_hears_its_own(self):
        agent, count = modes(AGENT)[1], 20 if SANITIZED else 200
        heard = {}

        def take(stream, event):
            if event.type == "heard":
                heard[stream.parser.run] = event.json()["json"]

        swarm = Swarm(self.server.address, take)
        self.addCleanup(swarm.close)
        for _ in range(count):
            swarm.add(agent, {})
        swarm.until(lambda: all(stream.parser.count >= 3 for stream in swarm.streams),
                    "all have asked")
        runs = [stream.parser.run for stream in swarm.streams]
        for run in reversed(runs):
            self.say(self.server, run, {"to": run})
        swarm.finish()
        self.assertEqual(heard, {run: {"to": run} for run in runs})

    def test_detached(self):
        """Nobody reads; what was asked and said is read later."""
        for agent in modes(AGENT):
            run = self.server.detach(agent, {})
            self.wait_state(self.server, run, "waiting")
            self.say(self.server, run, "hello")
            self.wait_state(self.server, run, "finished")
            stream = self.server.reopen(run)
            self.assertEqual(self.heard(stream, 1), ["hello"])
            stream.close()

    def test_waited_for(self):
        with self.server.connect() as connection:
            connection.post(AGENT, {}, "?mode=wait", {"Idempotency-Key": "k"})
            run = self.server.post(AGENT, {}, "?mode=detach", {"Idempotency-Key": "k"}) \
                .headers["location"].removeprefix("/runs/")
            self.wait_state(self.server, run, "waiting")
            self.say(self.server, run, 1)
            answer = connection.response()
        self.assertEqual((answer.status, answer.json()["status"]), (200, "finished"))


class TimeTest(RunInputTest):
    def setUp(self):
        super().setUp()
        self.server = self.watch(*modes(AGENT))

    def test_timeout(self):
        for agent in modes(AGENT):
            hold = self.path(f"hold-{agent}")
            begin = time.monotonic()
            stream = self.open(self.server, agent, {"count": 2, "timeout_ms": 200, "hold": hold})
            self.assertEqual(self.heard(stream, 2), [-errno.ETIMEDOUT] * 2)
            self.check_soon(begin, time.monotonic(), 0.4)
            self.wait_state(self.server, stream.run, "running")
            self.make(hold)
            stream.rest()
            self.assertEqual(stream.done, FINISHED)

    def test_timeout_that_does_not_come(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"timeout_ms": 600000})
            stream.until("ask")
            self.wait_state(self.server, stream.run, "waiting")
            self.say(self.server, stream.run, "in time")
            self.assertEqual(self.heard(stream, 1), ["in time"])

    def test_said_too_late(self):
        """The next call has it."""
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"count": 10 ** 6, "timeout_ms": 50})
            self.assertEqual(self.heard(stream, 2), [-errno.ETIMEDOUT] * 2)
            self.say(self.server, stream.run, "late")
            while "late" not in (heard := self.heard(stream, self.count(stream))):
                stream.read()
            self.assertEqual(heard.count("late"), 1)
            self.cancel(self.server, stream.run)

    def count(self, stream):
        return types(stream.parser.events).count("heard")

    def test_no_time(self):
        """It takes what is there, and waits for nothing."""
        for agent in modes(AGENT):
            gate = self.path(f"gate-{agent}")
            stream = self.open(self.server, agent, {"count": 4, "timeout_ms": 0, "gate": gate})
            stream.until("ready")
            for n in range(2):
                self.say(self.server, stream.run, n)
            # The worker takes frames in their order: when this run speaks, the inputs are there.
            self.open(self.server, agent, {"count": 0}).until("ready")
            self.make(gate)
            self.assertEqual(self.heard(stream, 4), [0, 1, -errno.ETIMEDOUT, -errno.ETIMEDOUT])

    def test_cancelled(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {})
            stream.until("ask")
            self.wait_state(self.server, stream.run, "waiting")
            begin = time.monotonic()
            self.assertEqual(self.cancel(self.server, stream.run)["cancelling"], True)
            stream.rest()
            self.check_soon(begin, time.monotonic())
            self.assertEqual(stream.done, CANCELLED)

    def test_deserted(self):
        server = self.watch(*modes(AGENT), settings={f"plugin.{agent}.input_timeout": 1
                                                     for agent in modes(AGENT)})
        for agent in modes(AGENT):
            stream = self.open(server, agent, {}, "?on_disconnect=cancel")
            stream.until("ask")
            self.wait_state(server, stream.run, "waiting")
            stream.close()
            self.wait_state(server, stream.run, "cancelled")

    def test_deadline(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {}, "?deadline=1")
            stream.rest()
            self.check_failed(stream.done, "deadline")
            wait_for(lambda: self.server.lines("run_input() is cancelled", f"run={stream.run}"),
                     "the agent has seen it")

    def test_worker_dies(self):
        stream = self.open(self.server, AGENT, {})
        stream.until("ask")
        self.wait_state(self.server, stream.run, "waiting")
        os.kill(self.server.serving(AGENT)[0], signal.SIGKILL)
        stream.rest()
        self.check_failed(stream.done, "worker_crashed")
        self.assertEqual(self.send(self.server, stream.run, 1).status, 409)


class RefusalTest(RunInputTest):
    LIMIT = 4096

    def setUp(self):
        super().setUp()
        self.server = self.watch(AGENT, settings={"host.max_body": self.LIMIT,
                                                  f"plugin.{AGENT}.max_live": 1})
        self.stream = self.open(self.server, AGENT, {})
        self.stream.until("ask")

    def check_not_heard(self):
        """The agent has heard nothing of that; it hears what is right."""
        self.say(self.server, self.stream.run, "right")
        self.assertEqual(self.heard(self.stream, 1), ["right"])

    def test_not_json(self):
        for bad in (b"", b"{", b"{}{}", b"yes", b"'a'", b'"\xff"', b"\0", b"{} x"):
            with self.subTest(body=bad):
                self.check_problem(self.send(self.server, self.stream.run, bad), 400,
                                   "Bad Request", "the body is not JSON; send one JSON value in "
                                   "UTF-8, such as {}")
        self.check_not_heard()

    def test_wrong_content_type(self):
        for bad in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", None):
            with self.subTest(content_type=bad):
                answer = self.send(self.server, self.stream.run, {}, {"Content-Type": bad})
                self.check_problem(answer, 415, "Unsupported Media Type", "send the input as "
                                   "JSON, with Content-Type: application/json")
        self.check_not_heard()

    def test_too_large(self):
        answer = self.send(self.server, self.stream.run, "x" * self.LIMIT)
        self.assertEqual(answer.status, 413)
        self.check_not_heard()

    def test_wrong_method(self):
        with self.server.connect() as connection:
            for method in ("GET", "HEAD", "PUT"):
                answer = connection.exchange(method, f"/runs/{self.stream.run}/input")
                self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        self.check_not_heard()

    def test_no_such_run(self):
        self.assertEqual(self.send(self.server, NOBODY, {}).status, 404)

    def test_queued_run(self):
        run = self.server.detach(AGENT, {})
        self.assertEqual(self.server.state(run)["status"], "queued")
        self.check_problem(self.send(self.server, run, "early"), 409, "Conflict",
                           "the run is queued; it takes input once it has begun")
        self.check_not_heard()
        self.wait_state(self.server, run, "waiting")
        self.say(self.server, run, "now")
        self.wait_state(self.server, run, "finished")
        stream = self.server.reopen(run)
        self.assertEqual(self.heard(stream, 1), ["now"])
        stream.close()

    def test_ended_run(self):
        self.check_not_heard()
        self.stream.rest()
        self.check_problem(self.send(self.server, self.stream.run, "late"), 409, "Conflict",
                           "the run has ended; it no longer takes input")


if __name__ == "__main__":
    main()
