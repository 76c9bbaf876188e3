#!/usr/bin/python3
"""Two clients: Eve does her worst, Bob is never refused and waits for nobody, and the front's
memory stays below the formula of docs/configuration.md."""

import hashlib
import json

from harness import SANITIZED, Test, main, memory_kib, request_bytes, run_request, types, wait_for

SMALL = 2048  # of a socket's receive buffer
MIB = 1024 * 1024
BUDGET = 16 * MIB
CONNECTION = 16 * 1024  # max_headers and what else the front has of a connection


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


EVE, BOB = bearer("eve"), bearer("bob")


class ShareTest(Test):
    PLUGINS = ("e2e_flood", "e2e_input", "ticker")

    def setUp(self):
        super().setUp()
        with open(self.path("tokens"), "w") as file:
            for name in ("eve", "bob"):
                file.write(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n")
        self.server = self.serve(*self.PLUGINS, settings={
            "host.tokens": self.path("tokens"), "host.log_budget": BUDGET, "host.stall": 3600,
            "host.connection_timeout": 3600, "host.request_timeout": 3600})
        self.clients = []
        self.before = self.memory()

    def tearDown(self):
        for client in self.clients:
            client.close()
        super().tearDown()

    def memory(self):
        return memory_kib(self.server.process.pid, "Anonymous") * 1024

    def check_memory(self):
        """The budget, the connections, and what a turn of the loop has in its hands."""
        grown = self.memory() - self.before
        print(f"{self.id()}: the front grew by {grown / MIB:.1f} MiB", flush=True)
        if not SANITIZED:
            self.assertLess(grown, BUDGET + len(self.clients) * CONNECTION + 8 * MIB)

    def check_bob(self):
        """He starts runs in each way, gives a body of some size, and reads all of it."""
        pad = {"count": 3, "period_ms": 0, "pad": "p" * 100000}
        events = self.server.run("ticker", pad, headers=BOB)
        self.assertEqual(types(events), ["run"] + ["tick"] * 3 + ["done"])
        answer = self.server.post("ticker", pad, "?mode=wait", BOB)
        self.assertEqual(answer.status, 200)
        run = self.server.detach("ticker", pad, headers=BOB)
        self.assertEqual(self.ask("GET", f"/runs/{run}", BOB).status, 200)

    def ask(self, method, path, headers, body=None):
        with self.server.connect() as connection:
            return connection.exchange(method, path, body,
                                       {"Content-Type": "application/json", **headers})

    def eve(self):
        client = self.server.connect(SMALL)
        self.clients.append(client)
        return client

    def ended_run(self, headers, bytes_=900000, key=None):
        answer = self.server.post("e2e_flood", {"count": bytes_ // 9000, "bytes": 9000},
                                  "?mode=detach", {**headers, "Idempotency-Key": key})
        if answer.status != 202:
            return None
        run = answer.json()["run"]
        wait_for(lambda: self.ask("GET", f"/runs/{run}", headers).json()["status"] == "finished",
                 "it ends")
        return run

    def check_refusal(self, answer):
        self.assertIn(answer.status, (429, 503))
        self.assertIn("log_budget", answer.json()["detail"])
        self.assertIn("retry-after", answer.headers)


class StalledReaderTest(ShareTest):
    def stall_on_ended_runs(self):
        for _ in range(3):
            runs = [self.ended_run(EVE) for _ in range(16)]
            for run in runs:
                if run:
                    self.eve().send(request_bytes("GET", f"/runs/{run}/events", None, EVE))
                    self.check_bob()

    def test_of_ended_runs(self):
        self.stall_on_ended_runs()
        self.check_memory()
        self.assertTrue(self.server.lines("a client that reads slowly is disconnected",
                                          "client=eve", "log_budget"))
        self.assertFalse(self.server.lines("is disconnected", "client=bob"))

    def test_of_live_runs(self):
        for _ in range(30):
            self.eve().send(run_request("e2e_flood", {"count": 1000, "bytes": 9000}, "", EVE))
            self.check_bob()
        self.check_memory()
        wait_for(lambda: self.server.lines("is disconnected", "client=eve"), "she loses a reader")
        self.check_bob()
        self.assertFalse(self.server.lines("is disconnected", "client=bob"))

    def test_a_reader_of_bob_goes_on(self):
        """He reads slowly, but holds less than his share."""
        stream = self.server.open("e2e_flood", {"count": 300, "bytes": 9000}, SMALL, headers=BOB)
        stream.until("flood")
        self.stall_on_ended_runs()
        self.assertTrue(self.server.lines("is disconnected", "client=eve"))
        self.assertEqual(types(stream.rest())[-1], "done")
        stream.close()


class KeptRunTest(ShareTest):
    def test_runs_of_others_are_not_forgotten(self):
        bobs = self.ended_run(BOB, 90000)
        eves = [self.ended_run(EVE) for _ in range(40)]
        self.assertEqual(self.ask("GET", f"/runs/{bobs}", BOB).status, 200)
        self.assertEqual(self.ask("GET", f"/runs/{eves[0]}", EVE).status, 404)
        self.assertEqual(self.ask("GET", f"/runs/{eves[-1]}", EVE).status, 200)
        self.check_memory()


class AnswerTest(ShareTest):
    PLUGINS = ("ticker", "e2e_emit")

    def test_that_nobody_reads(self):
        """Each is as large as the text of the run, and is kept until it is read."""
        value = {"calls": [{"op": "text", "text": "t" * 90000} for _ in range(10)]}
        key = {**EVE, "Idempotency-Key": "k"}
        whole = self.server.post("e2e_emit", value, "?mode=wait", key)
        self.assertEqual((whole.status, len(whole.body) > 900000), (200, True))
        statuses = []
        for number in range(60):
            client = self.eve()
            client.send(run_request("e2e_emit", value, "?mode=wait", key))
            client.expect("POST")
            while client.parser.status is None:
                client.read()
            statuses.append(client.parser.status)
            if number % 10 == 9:
                self.check_bob()
        self.assertEqual(set(statuses), {200, 429})
        self.assertLess(statuses.count(200), BUDGET / 900000)
        self.check_memory()


class InputTest(ShareTest):
    def test_that_the_agent_does_not_take(self):
        """They wait in the worker; the client is charged for them."""
        worker = self.server.worker_of("e2e_input")
        before = memory_kib(worker, "Anonymous") * 1024
        text = json.dumps("x" * 1000000).encode()
        codes = []
        for _ in range(30):
            answer = self.server.post("e2e_input", {"count": 0, "hold": self.path("hold")},
                                      "?mode=detach", EVE)
            if answer.status != 202:
                self.check_refusal(answer)
                continue
            for _ in range(3):
                told = self.ask("POST", f"/runs/{answer.json()['run']}/input", EVE, text)
                codes.append(told.status)
                if told.status != 202:
                    self.assertIn(told.status, (409, 429, 503))
            self.check_bob()
        self.assertIn(202, codes)
        self.assertIn(429, codes)
        self.assertLess(codes.count(202), BUDGET / len(text))
        self.check_memory()
        grown = memory_kib(worker, "Anonymous") * 1024 - before
        if not SANITIZED:
            self.assertLess(grown, BUDGET + 8 * MIB)
        with open(self.path("hold"), "w"):
            pass


class BodyTest(ShareTest):
    def test_that_do_not_end(self):
        half = b"x" * (MIB // 2)
        refused = 0
        for number in range(40):
            client = self.eve()
            framing = {"Content-Length": MIB} if number % 2 else {"Transfer-Encoding": "chunked"}
            client.send(request_bytes("POST", "/agents/ticker/runs", None,
                                      {"Content-Type": "application/json", **framing, **EVE}))
            try:
                client.send(half if number % 2 else b"%x\r\n%b\r\n" % (len(half), half))
            except ConnectionError:
                refused += 1
            if number % 10 == 9:
                self.check_bob()
        self.check_memory()

    def test_is_refused_with_the_name_of_the_bound(self):
        answers = []
        for _ in range(40):
            client = self.eve()
            client.send(request_bytes("POST", "/agents/ticker/runs", None,
                                      {"Content-Type": "application/json",
                                       "Content-Length": MIB, **EVE}))
        self.check_bob()
        answer = self.ask("POST", "/agents/ticker/runs", EVE, b"1" * MIB)
        answers.append(answer)
        self.check_refusal(answer)
        for client in self.clients:
            client.close()
        wait_for(lambda: self.server.post("ticker", {"count": 1}, "?mode=detach", EVE).status == 202,
                 "what was charged is given back")


if __name__ == "__main__":
    main()
