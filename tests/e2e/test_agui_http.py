#!/usr/bin/python3
"""AG-UI over HTTP: what is asked, refused and answered. What its client makes of it is tested with it."""

import hashlib
import json

from harness import main, request_bytes, wait_for
from supervising import SupervisionTest

AGENT = "kit"
FORGOTTEN = "0" * 26


class AguiTest(SupervisionTest):
    tokens = None
    plugins = (AGENT,)

    def setUp(self):
        super().setUp()
        settings = {}
        if self.tokens:
            with open(self.path("tokens"), "w", encoding="utf-8") as file:
                for name in self.tokens:
                    file.write(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n")
            settings["host.tokens"] = self.path("tokens")
        self.server = self.serve(*self.plugins, settings=settings)

    def body(self, prompt, **more):
        return {"threadId": "t", "runId": "r",
                "messages": [{"id": "1", "role": "user", "content": prompt}],
                "tools": [], "context": [], **more}

    def post(self, body, agent=AGENT, headers=None):
        with self.server.connect() as connection:
            return connection.exchange("POST", f"/agents/{agent}/ag-ui", json.dumps(body).encode(),
                                       {"Content-Type": "application/json", **(headers or {})})

    def frames(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        blocks = answer.body.decode().split("\n\n")
        self.assertEqual(blocks.pop(), "")
        self.assertTrue(all(block.startswith("data: ") and "\n" not in block for block in blocks))
        return [json.loads(block[6:]) for block in blocks]

    def text(self, frames):
        return "".join(frame["delta"] for frame in frames
                       if frame["type"] == "TEXT_MESSAGE_CONTENT")

    def resume(self, interrupt, status="resolved", headers=None, agent=AGENT, **payload):
        entry = {"interruptId": interrupt, "status": status, **payload}
        return self.post(self.body("", runId="r2", resume=[entry]), agent, headers)


class RequestTest(AguiTest):
    def test_ids_are_the_clients(self):
        for run in ("r", "7fcef68f-0282-4db2-b10e-49b8a557c06b", "16 bytes exactly",
                    "7FCEF68F-0282-4db2-b10e-49b8a557c06b", 'é"\n', "x" * 253):
            answer = self.post(self.body("text", threadId="t-" + run, runId=run))
            frames = self.frames(answer)
            for frame in (frames[0], frames[-1]):
                self.assertEqual((frame["threadId"], frame["runId"]), ("t-" + run, run))
            self.assertEqual(answer.headers["location"], "/runs/" + answer.headers["x-request-id"])

    def test_what_the_agent_gets(self):
        said = [
            {"id": "1", "role": "developer", "content": "Be kind."},
            {"id": "2", "role": "reasoning", "content": "hm"},
            {"id": "3", "role": "activity", "activityType": "PLAN", "content": {}},
            {"id": "4", "role": "assistant", "toolCalls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"id": "5", "role": "tool", "toolCallId": "c", "content": "5"},
            {"id": "6", "role": "user", "content": [
                {"type": "text", "text": "messages"},
                {"type": "image", "source": {"type": "data", "value": "QQ==", "mimeType": "image/png"}},
                {"type": "document", "source": {"type": "url", "value": "http://x/y.pdf"}},
                {"type": "image", "source": {"type": "file", "value": "file-1"}}]}]
        heard = json.loads(self.text(self.frames(self.post({**self.body(""), "messages": said}))))
        self.assertEqual(heard, [
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "content": "5", "tool_call_id": "c"},
            {"role": "user", "content": [
                {"type": "text", "text": "messages"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
                {"type": "file", "file": {"file_url": "http://x/y.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}}]}])

    def test_nothing_is_lost(self):
        state = b'{"ids":[9007199254740993,-1],"f":0.10}'
        body = json.dumps(self.body("input", state="STATE")).encode()
        with self.server.connect() as connection:
            answer = connection.exchange("POST", f"/agents/{AGENT}/ag-ui",
                                         body.replace(b'"STATE"', state),
                                         {"Content-Type": "application/json"})
        self.assertIn(b'"state":' + state, self.text(self.frames(answer)).encode())
        self.check_problem(self.post(self.body("text\0")), 400, "Bad Request",
                           "a string of the body has the character U+0000; leave it out")

    def test_no_messages(self):
        for messages in ([], [{"id": "1", "role": "activity", "activityType": "x", "content": {}}]):
            frames = self.frames(self.post({**self.body("text"), "messages": messages}))
            self.assertEqual([frame["type"] for frame in frames], ["RUN_STARTED", "RUN_FINISHED"])

    def test_half_an_emoji(self):
        self.assertEqual(self.text(self.frames(self.post(self.body("say:a\ud83d")))), "a\ufffd")

    def test_refusals(self):
        for body, detail in (
                ({}, "send threadId and runId, strings of 1 to 255 bytes"),
                ([], "send threadId and runId, strings of 1 to 255 bytes"),
                ({**self.body("text"), "runId": "x" * 256},
                 "send threadId and runId, strings of 1 to 255 bytes"),
                ({**self.body("text"), "messages": "text"},
                 "messages must be a list of at least one message"),
                (self.body("text", resume={"interruptId": "x"}), "resume must be a list"),
                (self.body("text", resume=7), "resume must be a list"),
                (self.body("", resume=[{}, {}]),
                 "resume has one entry here, since a run ends with one interrupt"),
                (self.body("", resume=[{"status": "resolved"}]),
                 "resume has an entry without an interruptId"),
                (self.body("", resume=[{"interruptId": "x", "status": "done"}]),
                 "resume has an entry whose status is not resolved or cancelled")):
            with self.subTest(body=body):
                self.check_problem(self.post(body), 400, "Bad Request", detail)
        self.assertEqual(self.post(self.body("text"), "nobody").status, 404)


class QuestionTest(AguiTest):
    tokens = ("anna", "bert")

    def headers(self, name):
        return {"Authorization": f"Bearer {name}"}

    def ask(self, prompt="say:a ask say:b"):
        """Asks as anna; the id of the interrupt with which the answer ended."""
        answer = self.post(self.body(prompt), headers=self.headers("anna"))
        last = self.frames(answer)[-1]
        run = answer.headers["x-request-id"]
        self.assertEqual(last["outcome"], {"type": "interrupt", "interrupts": [
            {"id": f"{run}.3", "reason": "input_required", "message": "May I?", "responseSchema":
             {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}}]})
        return run, f"{run}.3"

    def test_answer(self):
        run, interrupt = self.ask()
        answer = self.resume(interrupt, payload={"ok": True}, headers=self.headers("anna"))
        frames = self.frames(answer)
        self.assertEqual(self.text(frames), '{"ok":true}b')
        self.assertEqual((frames[0]["threadId"], frames[0]["runId"]), ("t", "r2"))
        self.assertEqual(frames[-1]["outcome"], {"type": "success"})
        self.assertEqual(answer.headers["x-request-id"], run)

    def test_cancel(self):
        _, interrupt = self.ask()
        frames = self.frames(self.resume(interrupt, "cancelled", headers=self.headers("anna")))
        self.assertEqual(frames[-1]["outcome"], {"type": "cancelled"})

    def test_unknown(self):
        run, interrupt = self.ask()
        ok = {"payload": {"ok": True}}
        for name, wrong in (("bert", interrupt), ("anna", f"{run}.2"), ("anna", run), ("anna", ""),
                            ("anna", f"{FORGOTTEN}.3")):
            answer = self.resume(wrong, headers=self.headers(name), **ok)
            self.check_problem(answer, 409, "Conflict",
                               "no question of this id waits for an answer: it was answered before, "
                               "or the run has ended")
        answer = self.resume(interrupt, headers=self.headers("anna"), payload={"ok": 1})
        self.assertEqual(answer.status, 422)
        self.assertIn("this is no answer to the question 'q1': ", answer.json()["detail"])
        self.assertEqual(self.resume(interrupt, headers=self.headers("anna"), **ok).status, 200)
        self.assertEqual(self.resume(interrupt, headers=self.headers("anna"), **ok).status, 409)


class TwoQuestionsTest(AguiTest):
    plugins = ("e2e_ask",)

    def test_one_is_answered_elsewhere(self):
        """An answer ends with no question that has its answer."""
        run = self.server.detach("e2e_ask", {"tasks": 2})
        wait_for(lambda: len(self.server.state(run).get("questions", [])) == 2, "it asks both")
        with self.server.connect() as connection:
            said = connection.exchange("POST", f"/runs/{run}/input?question=q2", b"1",
                                       {"Content-Type": "application/json"})
        self.assertEqual(said.status, 202, said.body)
        answer = self.resume(f"{run}.2", payload="yes", agent="e2e_ask")
        self.assertEqual(self.frames(answer)[-1]["outcome"], {"type": "success"})
        self.assertEqual(self.server.state(run)["status"], "finished")

    def test_one_is_asked_after_the_other(self):
        run = self.server.detach("e2e_ask", {"tasks": 2})
        wait_for(lambda: len(self.server.state(run).get("questions", [])) == 2, "it asks both")
        last = self.frames(self.resume(f"{run}.2", payload="yes", agent="e2e_ask"))[-1]
        self.assertEqual([one["id"] for one in last["outcome"]["interrupts"]], [f"{run}.3"])
        last = self.frames(self.resume(f"{run}.3", payload="yes", agent="e2e_ask"))[-1]
        self.assertEqual(last["outcome"], {"type": "success"})


class LeaveTest(AguiTest):
    on_disconnect = "continue"  # which the protocol overrules

    def test_leaving_cancels(self):
        with self.server.connect() as connection:
            connection.send(request_bytes("POST", f"/agents/{AGENT}/ag-ui",
                                          json.dumps(self.body("slow:0")).encode(),
                                          {"Content-Type": "application/json"}))
            connection.expect("POST")
            wait_for(lambda: connection.read() and b"tick 2" in connection.parser.body, "it runs")
            run = connection.parser.headers["x-request-id"]
        wait_for(lambda: self.server.state(run)["status"] == "cancelled", "it is cancelled")


if __name__ == "__main__":
    main()
