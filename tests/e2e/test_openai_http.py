#!/usr/bin/python3
"""OpenAI's chat completions: models, bodies, errors and ends, as bytes on the wire."""

import hashlib
import json

from harness import Test, main, request_bytes, wait_for

CHAT = "/v1/chat/completions"
TOKEN = "secret"
MODEL = {"object": "model", "owned_by": "sluice"}


def frames_of(body):
    """What the lines `data:` of a stream say, [DONE] as it is."""
    blocks = body.decode().split("\n\n")
    if blocks.pop() != "":
        raise AssertionError("the stream ends within a frame")
    return [block[6:] if block == "data: [DONE]" else json.loads(block[6:])
            for block in blocks if block != ":"]


class OpenaiTest(Test):
    on_disconnect = None

    def start(self, **settings):
        self.server = self.serve("kit", settings=settings)
        return self.server

    def ask(self, method, path, value=None, headers=None):
        body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        with self.server.connect() as connection:
            connection.send(request_bytes(method, path, body, {"Content-Type": "application/json",
                                                               **(headers or {})}))
            return connection.response(method)

    def chat(self, prompt, headers=None, **more):
        return self.ask("POST", CHAT, {"model": "kit", "messages": [{"role": "user", "content": prompt}],
                                       **more}, headers)

    def check_error(self, answer, status, type_, code, words):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")
        error = json.loads(answer.body)
        self.assertEqual(list(error), ["error"])
        self.assertEqual(list(error["error"]), ["message", "type", "param", "code"])
        self.assertEqual((error["error"]["type"], error["error"]["code"]), (type_, code))
        self.assertIn(words, error["error"]["message"])

    def check_bad(self, value, words):
        answer = self.ask("POST", CHAT, value)
        self.check_error(answer, 400, "invalid_request_error", None, words)
        self.assertNotIn("x-should-retry", answer.headers)

    def status_of(self, answer):
        run = answer.headers["location"]
        self.assertEqual(answer.headers["x-request-id"], run.removeprefix("/runs/"))
        self.assertEqual(answer.headers["x-should-retry"], "false")
        return json.loads(self.server.get(run).body)["status"]

    def test_a_stream(self):
        self.start()
        answer = self.chat("reason text tool custom usage client", stream=True,
                           stream_options={"include_usage": True, "include_events": True},
                           unknown={"a": 1}, temperature=None)
        self.assertEqual(self.status_of(answer), "finished")
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        *chunks, end = frames_of(answer.body)
        self.assertEqual(end, "[DONE]")
        self.assertEqual({(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks},
                         {("chatcmpl-" + answer.headers["x-request-id"], "chat.completion.chunk", "kit")})
        self.assertEqual([chunk["choices"][0]["delta"] for chunk in chunks[:-1]], [
            {"role": "assistant", "content": ""},
            {"reasoning_content": "Let me "}, {"reasoning_content": "think."},
            {"content": "Hello"}, {"content": ", "}, {"content": "world"}, {}, {}, {},
            {"tool_calls": [{"index": 0, "id": "call_2", "type": "function", "function": {
                "name": "weather", "arguments": '{"city":"Oslo"}'}}]}, {}])
        self.assertEqual([chunk["sluice"]["type"] for chunk in chunks if "sluice" in chunk],
                         ["tool_call", "tool_result", "progress"])
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], "tool_calls")
        self.assertEqual((chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]), ([], 18))

    def test_a_stream_of_nothing_asked_for(self):
        self.start()
        for prompt, text in (("custom usage", ""), ("result", '{"answer":42}')):
            *chunks, end = frames_of(self.chat(prompt, stream=True).body)
            self.assertEqual(end, "[DONE]")
            self.assertEqual(len(chunks), 3 if text else 2)
            self.assertEqual("".join(chunk["choices"][0]["delta"].get("content", "")
                                     for chunk in chunks), text)
            self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")

    def test_a_completion(self):
        self.start()
        answer = self.chat("usage reason text client")
        self.assertEqual(self.status_of(answer), "finished")
        said = json.loads(answer.body)
        self.assertEqual(said["choices"], [{"index": 0, "message": {
            "role": "assistant", "content": "Hello, world", "reasoning_content": "Let me think.",
            "tool_calls": [{"id": "call_2", "type": "function", "function": {
                "name": "weather", "arguments": '{"city":"Oslo"}'}}]},
            "logprobs": None, "finish_reason": "tool_calls"}])
        self.assertEqual(said["usage"], {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})
        self.assertNotIn("usage", json.loads(self.chat("text").body))

    def test_a_run_that_fails(self):
        self.start()
        answer = self.chat("text fail", stream=True)
        self.assertEqual(self.status_of(answer), "failed")
        error = {"error": {"message": "it broke, as it was told to", "type": "agent_error",
                           "param": None, "code": "broken"}}
        self.assertEqual(frames_of(answer.body)[-1], error)
        answer = self.chat("text fail")
        self.assertEqual((answer.status, json.loads(answer.body), self.status_of(answer)),
                         (500, error, "failed"))

    def test_a_run_that_is_cancelled(self):
        self.start()
        with self.server.connect() as connection:
            connection.send(request_bytes("POST", CHAT, json.dumps(
                {"model": "kit", "stream": True, "messages": [{"role": "user", "content": "slow:0"}]}).encode(),
                {"Content-Type": "application/json"}))
            connection.expect("POST")
            wait_for(lambda: connection.read() and b"tick 1" in connection.parser.body, "it ticks")
            run = connection.parser.headers["location"]
            self.assertEqual(self.ask("POST", run + "/cancel").status, 202)
            while connection.read():
                pass
            self.assertEqual(frames_of(connection.take().body)[-1]["error"]["code"], "cancelled")

    def test_leaving_cancels(self):
        self.start()
        with self.server.connect() as connection:
            connection.send(request_bytes("POST", CHAT, json.dumps(
                {"model": "kit", "stream": True, "messages": [{"role": "user", "content": "slow:0"}]}).encode(),
                {"Content-Type": "application/json"}))
            connection.expect("POST")
            wait_for(lambda: connection.read() and b"tick 1" in connection.parser.body, "it ticks")
            run = connection.parser.headers["location"]
        wait_for(lambda: json.loads(self.server.get(run).body)["status"] == "cancelled",
                 "the run is cancelled")

    def test_a_key_for_one_run(self):
        self.start()
        first, again = (self.chat("text", {"Idempotency-Key": "k"}) for _ in range(2))
        self.assertEqual(first.body, again.body)
        self.check_error(self.chat("other", {"Idempotency-Key": "k"}), 422, "invalid_request_error",
                         "key_reused", "use a new key")

    def test_bad_requests(self):
        self.start()
        messages = [{"role": "user", "content": "text"}]
        self.check_bad({"messages": messages, "model": 7}, "model is missing")
        self.check_bad([], "the body must be an object")
        self.check_bad({"model": "kit", "messages": messages, "n": 2}, "n must be 1")
        self.check_bad({"model": "kit"}, "messages must be a list")
        self.check_bad({"model": "kit", "messages": [*messages, {"role": "robot"}]}, "messages[1].role")
        self.check_error(self.ask("POST", CHAT, b"{"), 400, "invalid_request_error", "body_not_json",
                         "not JSON")
        self.check_error(self.ask("POST", CHAT, b"{}", {"Content-Type": "text/plain"}), 415,
                         "invalid_request_error", "body_of_other_type", "Content-Type")
        self.check_error(self.ask("POST", CHAT, {"model": "nobody", "messages": messages}), 404,
                         "invalid_request_error", "model_not_found", "nobody")

    def test_other_paths_and_methods(self):
        self.start()
        for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/", 404),
                                     ("POST", "/v1/embeddings", 404), ("GET", CHAT, 405),
                                     ("POST", "/v1/models", 405)):
            with self.subTest(path=path):
                self.check_error(self.ask(method, path), status, "invalid_request_error", None, "")

    def test_models(self):
        self.server = self.serve("kit", "echo", settings={"plugin.echo.protocols": "native, mcp"})
        listed = json.loads(self.server.get("/v1/models").body)
        [model] = listed["data"]
        self.assertEqual(listed["object"], "list")
        self.assertEqual(model, {"id": "kit", "created": model["created"], **MODEL})
        self.assertEqual(json.loads(self.server.get("/v1/models/kit").body)["id"], "kit")
        for name in ("echo", "nobody"):
            self.check_error(self.server.get(f"/v1/models/{name}"), 404, "invalid_request_error",
                             "model_not_found", name)
        answer = self.ask("POST", CHAT, {"model": "echo", "messages": [{"role": "user", "content": "a"}]})
        self.check_error(answer, 404, "invalid_request_error", "model_not_found", "echo")

    def test_tokens(self):
        with open(self.path("tokens"), "w") as file:
            file.write(f"alice:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
        self.start(**{"host.tokens": self.path("tokens"), "host.max_runs_per_client": 1})
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            self.check_error(self.ask("GET", "/v1/models", headers=headers), 401,
                             "authentication_error", "invalid_api_key", "")
        mine = {"Authorization": f"Bearer {TOKEN}"}
        self.assertEqual(self.ask("GET", "/v1/models", headers=mine).status, 200)
        run = self.server.detach("kit", {"prompt": "slow:0"}, headers=mine)
        answer = self.chat("text", mine)
        self.ask("POST", f"/runs/{run}/cancel", headers=mine)
        self.check_error(answer, 429, "rate_limit_error", "max_runs_per_client", "live runs")
        self.assertEqual(answer.headers["retry-after"], "1")


if __name__ == "__main__":
    main()
