#!/usr/bin/python3
"""What a client sees of one run, and of the host."""

import json
import re

from harness import Test, main, read_stream, text_of, types, wait_for

HELLO = {"calls": [{"op": "event", "type": "step", "text": '{"name":"one"}'},
                   {"op": "text", "text": "hello "},
                   {"op": "text", "text": "world"}]}
FAILING = {"calls": [{"op": "text", "text": "so far"},
                     {"op": "fail", "code": "no_luck", "message": "the \"dice\" fell badly"}]}


class StreamTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit")

    def test_native_stream_is_byte_exact(self):
        answer = self.server.post("e2e_emit", HELLO)
        run = answer.headers["location"].removeprefix("/runs/")
        self.assertRegex(run, r"^[0-9a-hjkmnp-tv-z]{26}$")
        self.assertEqual(answer.body.decode(), (
            f'retry: 1000\nid: {run}.0\n\n'
            'event: run\n'
            f'data: {{"run":"{run}","agent":"e2e_emit","version":"1.0","generation":1}}\n'
            f'id: {run}.1\n\n'
            f'event: step\ndata: {{"name":"one"}}\nid: {run}.2\n\n'
            f'event: text\ndata: {{"delta":"hello "}}\nid: {run}.3\n\n'
            f'event: text\ndata: {{"delta":"world"}}\nid: {run}.4\n\n'
            f'event: returns\ndata: [0,0,0]\nid: {run}.5\n\n'
            f'event: done\ndata: {{"status":"finished"}}\nid: {run}.6\n\n'))

    def test_stream_mode_can_be_asked_for(self):
        answer = self.server.post("e2e_emit", HELLO, "?mode=stream")
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assertEqual(text_of(read_stream(answer.body)), "hello world")

    def test_headers_of_a_stream(self):
        answer = self.server.post("e2e_emit", HELLO)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertRegex(answer.headers["location"], r"^/runs/[0-9a-hjkmnp-tv-z]{26}$")

    def test_failure_is_the_last_event(self):
        events = self.server.run("e2e_emit", FAILING)
        self.assertEqual(types(events), ["run", "text", "returns", "done"])
        self.assertEqual(events[-1].json(), {
            "status": "failed",
            "error": {"code": "no_luck", "message": "the \"dice\" fell badly"}})

    def test_negative_return_fails_the_run(self):
        events = self.server.run("e2e_emit", {"calls": [{"op": "return", "value": -2}]})
        self.assertEqual(events[-1].json()["status"], "failed")
        self.assertEqual(events[-1].json()["error"]["code"], "agent_error")
        self.assertIn("No such file or directory", events[-1].json()["error"]["message"])

    def test_result_is_in_the_last_event(self):
        events = self.server.run("e2e_emit", {"calls": [{"op": "result", "text": '{"a": [1, 2]}'}]})
        self.assertEqual(events[-1].data, b'{"status":"finished","result":{"a":[1,2]}}')

    def test_ids_of_runs_differ(self):
        runs = {self.server.run("e2e_emit", HELLO)[0].json()["run"] for _ in range(20)}
        self.assertEqual(len(runs), 20)

    def test_connection_serves_a_second_run(self):
        with self.server.connect() as connection:
            for _ in range(3):
                connection.post("e2e_emit", HELLO)
                answer = connection.response()
                self.assertEqual(text_of(read_stream(answer.body)), "hello world")
            connection.post("e2e_emit", HELLO, "?mode=wait")
            self.assertEqual(connection.response().json()["text"], "hello world")
            self.assertEqual(connection.exchange("GET", "/healthz").json(), {"status": "ok"})

    def test_connection_close_is_honoured(self):
        with self.server.connect() as connection:
            connection.post("e2e_emit", HELLO, headers={"Connection": "close"})
            self.assertEqual(text_of(read_stream(connection.response().body)), "hello world")
            self.assertTrue(connection.is_closed())

    def test_requests_sent_ahead_are_answered_in_order(self):
        with self.server.connect() as connection:
            for n in range(3):
                connection.post("e2e_emit", {"calls": [{"op": "text", "text": str(n)}]})
            for n in range(3):
                self.assertEqual(text_of(read_stream(connection.response().body)), str(n))

    def test_request_in_single_bytes(self):
        body = json.dumps(HELLO).encode()
        head = (f"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
                "Content-Type: application/json\r\n\r\n").encode()
        with self.server.connect() as connection:
            for byte in head + body:
                connection.send(bytes([byte]))
            self.assertEqual(text_of(read_stream(connection.response().body)), "hello world")

    def test_chunked_request(self):
        body = json.dumps(HELLO).encode()
        with self.server.connect() as connection:
            connection.send(b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
                            b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
            self.assertEqual(text_of(read_stream(connection.response().body)), "hello world")

    def test_http_1_0_client_gets_no_chunks(self):
        with self.server.connect() as connection:
            connection.post("e2e_emit", HELLO, version="1.0")
            answer = connection.response()
            self.assertNotIn("transfer-encoding", answer.headers)
            self.assertEqual(text_of(read_stream(answer.body)), "hello world")

    def test_expect_100_continue(self):
        body = json.dumps(HELLO).encode()
        with self.server.connect() as connection:
            connection.send((f"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                             f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n"
                             "Expect: 100-continue\r\n\r\n").encode())
            interim = b""
            while not interim.endswith(b"\r\n\r\n"):
                interim += connection.socket.recv(1)
            self.assertRegex(interim, rb"^HTTP/1\.1 100 ")
            connection.send(body)
            self.assertEqual(text_of(read_stream(connection.response().body)), "hello world")


class WaitTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit")

    def ask(self, calls):
        return self.server.post("e2e_emit", {"calls": calls}, "?mode=wait")

    def test_result_and_joined_text(self):
        answer = self.ask([{"op": "text", "text": "one \"two\" "},
                           {"op": "event", "type": "other", "text": '{"delta":"not this"}'},
                           {"op": "text", "text": "drei \u2603 \U0001f600\n"},
                           {"op": "result", "text": '{"sum": 3}'}])
        run = answer.headers["location"].removeprefix("/runs/")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.json(), {
            "run": run, "agent": "e2e_emit", "version": "1.0", "generation": 1,
            "text": "one \"two\" drei \u2603 \U0001f600\n", "status": "finished",
            "result": {"sum": 3}})

    def test_no_text_and_no_result(self):
        answer = self.ask([])
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["text"], "")
        self.assertNotIn("result", answer.json())

    def test_last_usage(self):
        answer = self.ask([{"op": "event", "type": "usage", "text": '{"input_tokens":1}'},
                           {"op": "event", "type": "usage", "text": '{"input_tokens":2}'}])
        self.assertEqual(answer.json()["usage"], {"input_tokens": 2})

    def test_failure(self):
        answer = self.server.post("e2e_emit", FAILING, "?mode=wait")
        run = answer.headers["location"].removeprefix("/runs/")
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json(), {
            "run": run, "agent": "e2e_emit", "version": "1.0", "generation": 1,
            "text": "so far", "status": "failed",
            "error": {"code": "no_luck", "message": "the \"dice\" fell badly"}})


class RunTest(Test):
    on_disconnect = "cancel"

    def test_run_during_and_after(self):
        server = self.serve("e2e_watch", "e2e_emit")
        stream = server.open("e2e_watch", {"how": "sleep"})
        stream.until("ready")
        answer = server.get("/runs/" + stream.run)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json(), {"run": stream.run, "agent": "e2e_watch", "version": "1.0",
                                         "generation": 1, "status": "running", "events": 2})
        stream.close()
        wait_for(lambda: server.get("/runs/" + stream.run).json()["status"] == "cancelled",
                 "the run is cancelled")
        events = server.run("e2e_emit", FAILING)
        run = events[0].json()["run"]
        self.assertEqual(server.get("/runs/" + run).json(), {
            "run": run, "agent": "e2e_emit", "version": "1.0", "generation": 1,
            "status": "failed", "events": 4,
            "error": {"code": "no_luck", "message": "the \"dice\" fell badly"}})

    def test_location_is_there_before_the_run_ends(self):
        server = self.serve("e2e_watch")
        stream = server.open("e2e_watch", {"how": "sleep"})
        event = stream.until("run")
        self.assertEqual(stream.run, event.json()["run"])
        stream.close()


class HostTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("echo", "ticker", "e2e_emit")

    def test_agents(self):
        answer = self.server.get("/agents")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        agents = {agent["name"]: agent for agent in answer.json()["agents"]}
        self.assertEqual(sorted(agents), ["e2e_emit", "echo", "ticker"])
        self.assertEqual(agents["e2e_emit"], {
            "name": "e2e_emit", "version": "1.0", "generation": 1, "mode": "thread",
            "state": "serving", "live_runs": 0, "stray_emits": 0, "refused": 0})
        self.assertEqual(agents["ticker"]["mode"], "fiber")
        self.assertTrue(agents["echo"]["description"])

    def test_health_and_readiness(self):
        count = len(self.server.get("/agents").json()["agents"])
        for path, rest in (("/healthz", {}), ("/readyz", {"agents": {"serving": count}}),
                           ("/readyz?agent=ticker", {"state": "serving"})):
            answer = self.server.get(path)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.json(), {"status": "ok", **rest})
            self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_head_is_get_without_a_body(self):
        for path in ("/agents", "/healthz", "/readyz"):
            with self.server.connect() as connection:
                body = connection.exchange("GET", path).body
                answer = connection.exchange("HEAD", path)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["content-length"], str(len(body)))
                self.assertEqual(answer.body, b"")
                self.assertEqual(connection.exchange("GET", path).body, body)

    def test_reference_plugins_answer(self):
        self.assertEqual(text_of(self.server.run("echo", {"text": "to be or not"})), "to be or not")
        ticks = self.server.run("ticker", {"count": 3, "period_ms": 1})
        self.assertEqual([event.json()["n"] for event in ticks if event.type == "tick"], [1, 2, 3])

    def test_live_runs_are_counted(self):
        stream = self.server.open("ticker", {"count": 1, "period_ms": 600000})
        stream.until("run")
        live = {agent["name"]: agent["live_runs"]
                for agent in self.server.get("/agents").json()["agents"]}
        self.assertEqual(live, {"echo": 0, "ticker": 1, "e2e_emit": 0})
        stream.close()

    def test_versions_are_logged_at_start(self):
        self.assertTrue(re.search(r"sluice=\S+ libmicrohttpd=\d\S+ libuv=\d\S+ cjson=\d\S+",
                                  self.server.log()))


if __name__ == "__main__":
    main()
