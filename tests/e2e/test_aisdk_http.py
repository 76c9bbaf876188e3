#!/usr/bin/python3
"""The AI SDK over HTTP: what is asked, refused and answered. What its client makes of it is tested with it."""

import hashlib
import json
import urllib.parse

from harness import main, request_bytes, wait_for
from supervising import SupervisionTest

AGENT = "kit"
PATH = f"/agents/{AGENT}/ai-sdk"
CLOSED = b"no question of this id waits for an answer: it was answered before, or the run has ended"


def user(text):
    return {"id": "1", "role": "user", "parts": [{"type": "text", "text": text}]}


class AiSdkTest(SupervisionTest):
    on_disconnect = "continue"  # which the protocol overrules

    settings = {}

    def setUp(self):
        super().setUp()
        with open(self.path("tokens"), "w", encoding="utf-8") as file:
            for name in ("anna", "bert"):
                file.write(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n")
        self.server = self.serve(AGENT, settings={"host.tokens": self.path("tokens"),
                                                  **self.settings})

    def ask(self, method, path, body=None, name="anna"):
        with self.server.connect() as connection:
            return connection.exchange(method, path, body and json.dumps(body).encode(),
                                       {"Content-Type": "application/json",
                                        "Authorization": f"Bearer {name}"})

    def post(self, *messages, name="anna", path=PATH, **more):
        return self.ask("POST", path, {"id": "c", "messages": messages, **more}, name)

    def chunks(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assertEqual(answer.headers["x-vercel-ai-ui-message-stream"], "v1")
        blocks = answer.body.decode().split("\n\n")
        self.assertEqual(blocks[-2:], ["data: [DONE]", ""])
        self.assertTrue(all(block.startswith("data: ") and "\n" not in block
                            for block in blocks[:-1]))
        return [json.loads(block[6:]) for block in blocks[:-2]]

    def text(self, chunks):
        return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")

    def open(self, prompt, query=""):
        """A stream of a run; its connection and its id."""
        connection = self.server.connect()
        self.addCleanup(connection.close)
        connection.send(request_bytes("POST", PATH + query,
                                      json.dumps({"id": "c", "messages": [user(prompt)]}).encode(),
                                      {"Content-Type": "application/json",
                                       "Authorization": "Bearer anna"}))
        connection.expect("POST")
        wait_for(lambda: connection.read() and b"tick 2" in connection.parser.body, "it runs")
        return connection, connection.parser.headers["x-request-id"]

    def wait_state(self, run, status):
        wait_for(lambda: self.ask("GET", f"/runs/{run}").json()["status"] == status, status)


class RequestTest(AiSdkTest):
    def test_what_the_agent_gets(self):
        said = {"id": "2", "role": "assistant", "parts": [
            {"type": "step-start"}, {"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"},
            {"type": "tool-f", "toolCallId": "c1", "state": "output-available", "input": {"x": 1},
             "output": {"y": 2}},
            {"type": "dynamic-tool", "toolName": "g", "toolCallId": "c2", "state": "output-error",
             "input": {}, "errorText": "no"},
            {"type": "tool-h", "toolCallId": "c3", "state": "input-available", "input": {}},
            {"type": "step-start"}, {"type": "text", "text": "b"}, {"type": "data-x", "data": 1}]}
        asked = user("messages")
        asked["parts"].append({"type": "file", "mediaType": "application/pdf", "filename": "a.pdf",
                               "url": "data:application/pdf;base64,QQ=="})
        answer = self.post(user("hi"), said, asked, system="Be kind.")
        self.assertEqual(json.loads(self.text(self.chunks(answer))), [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "a", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
            {"role": "tool", "content": '{"y":2}', "tool_call_id": "c1"},
            {"role": "tool", "content": "no", "tool_call_id": "c2"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": [
                {"type": "text", "text": "messages"},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ==",
                                          "filename": "a.pdf"}}]}])

    def test_refusals_are_text(self):
        for answer, status, detail in (
                (self.ask("POST", PATH, {"id": "c"}), 400, b"messages must be a list of at least one message"),
                (self.post({"parts": []}), 400,
                 b"messages have a role each: system, user or assistant"),
                (self.post(user("text"), {"role": "user", "parts": [{"type": "data-x", "data": 1}]}), 400,
                 b"the last message, of the user, has no part that an agent is given; "
                 b"send one of type text or file"),
                (self.post({"role": "user", "parts": []}), 400,
                 b"the last message, of the user, has no part that an agent is given; "
                 b"send one of type text or file"),
                (self.ask("POST", PATH, {"id": "x" * 256, "messages": [user("text")]}), 400,
                 b"id, that of the chat, is a string of 1 to 255 bytes"),
                (self.post(user("text"), path="/agents/nobody/ai-sdk"), 404,
                 b"there is no agent 'nobody' here; GET /agents lists those there are"),
                (self.ask("PUT", PATH), 405, b"send POST to this path")):
            self.assertEqual((answer.status, answer.headers["content-type"], answer.body),
                             (status, "text/plain", detail))
        answer = self.post(user("text"), name="nobody")
        self.assertEqual((answer.status, answer.headers["content-type"]), (401, "text/plain"))

    def test_an_answer_goes_on_with_the_last_message(self):
        part = {"type": "dynamic-tool", "toolName": "input", "toolCallId": "mine",
                "state": "output-available", "input": {}, "output": 3}
        answer = self.post(user("x"), {"id": "m", "role": "assistant", "parts": [part]}, user("text"))
        self.assertRegex(self.chunks(answer)[0]["messageId"], "^msg-[0-9a-z]{26}$")
        answer = self.post(user("text"), {"id": "m", "role": "assistant", "parts": [part]})
        self.assertEqual(self.chunks(answer)[0]["messageId"], "m")


class SwitchedOffTest(AiSdkTest):
    settings = {"plugin.kit.protocols": "native, ag-ui"}

    def test_no_route(self):
        for answer in (self.post(user("text")), self.ask("GET", f"{PATH}/c/stream")):
            self.assertEqual((answer.status, answer.headers["content-type"], answer.body),
                             (404, "text/plain", b"the agent 'kit' is not served in this protocol; "
                                                 b"its operator says so with protocols"))


class QuestionTest(AiSdkTest):
    def begin(self):
        """The assistant's message that ends with a question, as a page has it."""
        chunks = self.chunks(self.post(user("say:a ask say:b")))
        call = chunks[-3]
        self.assertEqual((call["type"], call["toolName"], call["dynamic"], call["input"]["message"]),
                         ("tool-input-available", "input", True, "May I?"))
        self.assertEqual(chunks[-1], {"type": "finish", "finishReason": "tool-calls"})
        return {"id": chunks[0]["messageId"], "role": "assistant", "parts": [
            {"type": "step-start"}, {"type": "text", "text": "a"},
            {"type": "dynamic-tool", "toolName": "input", "toolCallId": call["toolCallId"],
             "state": "input-available", "input": call["input"]}]}

    def answered(self, message, **more):
        message["parts"][-1].update({"state": "output-available", "output": {"ok": True}, **more})
        return message

    def test_answer(self):
        message = self.begin()
        chunks = self.chunks(self.post(user("say:a ask say:b"), self.answered(message)))
        self.assertEqual(chunks[0]["messageId"], message["id"])
        self.assertEqual(self.text(chunks), '{"ok":true}b')
        self.assertEqual(chunks[-1]["finishReason"], "stop")

    def test_no_answer_cancels(self):
        message = self.answered(self.begin(), state="output-error", errorText="no")
        self.assertEqual(self.chunks(self.post(message))[-1], {"type": "abort"})

    def test_unknown(self):
        message = self.answered(self.begin())
        answer = self.post(message, name="bert")
        self.assertEqual((answer.status, answer.headers["content-type"], answer.body),
                         (409, "text/plain", CLOSED))
        self.chunks(self.post(message))
        self.assertEqual(self.post(message).status, 409)

    def test_resumed_at_the_question_and_after_it(self):
        chunks = self.chunks(self.post(user("say:a ask slow:0")))
        again = self.ask("GET", f"{PATH}/c/stream")
        self.assertEqual(self.chunks(again), chunks)
        run = again.headers["x-request-id"]
        self.ask("POST", f"/runs/{run}/input?question=q1", {"ok": True})
        with self.server.connect() as connection:
            connection.send(request_bytes("GET", f"{PATH}/c/stream",
                                          headers={"Authorization": "Bearer anna"}))
            connection.expect("GET")
            wait_for(lambda: connection.read() and b"tick 2" in connection.parser.body, "it goes on")
            self.assertIn(b'"output":null', connection.parser.body)


class ResumeTest(AiSdkTest):
    def test_nothing_lives(self):
        self.assertEqual(self.ask("GET", f"{PATH}/c/stream").status, 204)
        self.chunks(self.post(user("text")))
        self.assertEqual(self.ask("GET", f"{PATH}/c/stream").status, 204)

    def test_the_newest_run_from_its_start(self):
        first, run = self.open("say:first slow:0", "?on_disconnect=continue")
        second, newer = self.open("say:second slow:0", "?on_disconnect=continue")
        first.close()
        second.close()
        with self.server.connect() as connection:
            connection.send(request_bytes("GET", f"{PATH}/c/stream?on_disconnect=continue",
                                          headers={"Authorization": "Bearer anna"}))
            connection.expect("GET")
            wait_for(lambda: connection.read() and b"tick 2" in connection.parser.body, "it is there")
            self.assertIn(b"second", connection.parser.body)
            self.assertEqual(connection.parser.headers["x-request-id"], newer)
        for name, path in (("bert", f"{PATH}/c/stream"), ("anna", f"{PATH}/d/stream"),
                           ("anna", "/agents/nobody/ai-sdk/c/stream")):
            self.assertEqual(self.ask("GET", path, name=name).status, 204)
        for id in (newer, run):
            self.ask("POST", f"/runs/{id}/cancel")
            self.wait_state(id, "cancelled")
        self.assertEqual(self.ask("GET", f"{PATH}/c/stream").status, 204)

    def test_names_of_chats(self):
        for name in ("a/b c", "%2F", "é?#", "100%"):
            run = self.chunks(self.post(user("ask"), id=name))[0]["messageId"][4:]
            answer = self.ask("GET", f"{PATH}/{urllib.parse.quote(name, safe='')}/stream")
            self.assertEqual(answer.headers["x-request-id"], run, name)

    def test_leaving_cancels(self):
        connection, run = self.open("slow:0")
        connection.close()
        self.wait_state(run, "cancelled")


if __name__ == "__main__":
    main()
