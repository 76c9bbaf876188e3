#!/usr/bin/python3
"""OpenAI's Responses: frames and their numbers, turns, errors and ends, as bytes on the wire."""

import json

from harness import Test, main, request_bytes, wait_for

PATH = "/v1/responses"
KEPT = [{"role": "user", "content": "client"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_2", "type": "function",
             "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}]}]


def frames_of(body):
    """Each frame's JSON; its event is its type."""
    frames = []
    for block in body.decode().split("\n\n")[:-1]:
        if block != ":":
            event, data = block.split("\n")
            frames.append(json.loads(data.removeprefix("data: ")))
            assert event == "event: " + frames[-1]["type"], block
    return frames


class ResponsesTest(Test):
    on_disconnect = None

    def setUp(self):
        super().setUp()
        self.server = self.serve("kit")

    def ask(self, method, path, value=None, headers=None):
        body = None if value is None else json.dumps(value).encode()
        with self.server.connect() as connection:
            connection.send(request_bytes(method, path, body,
                                          {"Content-Type": "application/json", **(headers or {})}))
            return connection.response(method)

    def create(self, input_, **more):
        return self.ask("POST", PATH, {"model": "kit", "input": input_, **more})

    def said(self, input_, **more):
        """The text of a response, and its id."""
        answer = self.create(input_, **more)
        self.assertEqual(answer.status, 200, answer.body)
        value = json.loads(answer.body)
        return "".join(part["text"] for item in value["output"] if item["type"] == "message"
                       for part in item["content"]), value["id"]

    def check_error(self, answer, status, code, words):
        self.assertEqual(answer.status, status, answer.body)
        error = json.loads(answer.body)["error"]
        self.assertEqual(error["code"], code)
        self.assertIn(words, error["message"])

    def test_a_stream_goes_on_after_each_frame(self):
        """Also after a frame that is one of several of an event."""
        answer = self.create("usage reason text client", stream=True)
        self.assertEqual(answer.headers["x-should-retry"], "false")
        frames = frames_of(answer.body)
        self.assertEqual([frame["sequence_number"] for frame in frames], list(range(len(frames))))
        self.assertEqual(frames[-1]["type"], "response.completed")
        id_ = frames[0]["response"]["id"]
        self.assertEqual(id_, "resp_" + answer.headers["x-request-id"])
        for number in (None, *range(len(frames))):
            after = "" if number is None else f"&starting_after={number}"
            again = self.server.get(f"{PATH}/{id_}?stream=true{after}")
            self.assertEqual(frames_of(again.body), frames[0 if number is None else number + 1:])
        whole = json.loads(self.server.get(f"{PATH}/{id_}").body)
        self.assertEqual(whole, frames[-1]["response"])
        self.assertEqual([item["type"] for item in whole["output"]],
                         ["reasoning", "message", "function_call"])
        self.assertEqual(whole["usage"]["total_tokens"], 18)

    def test_turns(self):
        _, first = self.said("client")
        text, second = self.said([{"type": "function_call_output", "call_id": "call_2",
                                   "output": [{"type": "input_text", "text": "rain"}]},
                                  {"role": "user", "content": "messages"}],
                                 previous_response_id=first, instructions="be brief")
        self.assertEqual(json.loads(text[text.index("["):]), [
            {"role": "system", "content": "be brief"}, *KEPT,
            {"role": "tool", "content": "rain", "tool_call_id": "call_2"},
            {"role": "user", "content": "messages"}])
        text, _ = self.said("messages", previous_response_id=second)
        self.assertEqual([message["role"] for message in json.loads(text)],
                         ["user", "assistant", "tool", "user", "assistant", "user"])
        for id_ in ("resp_0", "nothing", self.said("text", store=False)[1]):
            self.check_error(self.create("text", previous_response_id=id_), 400,
                             "previous_response_not_found", "kept")

    def test_references(self):
        """Items that are kept need not be sent again."""
        first = json.loads(self.create("reason text client").body)
        items = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
        result = json.loads(self.create("result").body)["output"][0]["id"]
        text, _ = self.said([{"role": "user", "content": "a"}, *items,
                             {"type": "function_call_output", "call_id": "call_2", "output": "rain"},
                             {"type": "item_reference", "id": result},
                             {"role": "user", "content": "messages"}])
        self.assertEqual(json.loads(text), [
            {"role": "user", "content": "a"}, {**KEPT[1], "content": "Hello, world"},
            {"role": "tool", "content": "rain", "tool_call_id": "call_2"},
            {"role": "assistant", "content": '{"answer":42}'}, {"role": "user", "content": "messages"}])
        run = first["id"].removeprefix("resp_")
        for id_ in (f"msg_{run}_7", f"msg_{run}", f"msg_{run[::-1]}_0", "msg_1", "", items[1]["id"] + "0"):
            self.check_error(self.create([{"type": "item_reference", "id": id_}]), 404,
                             "item_not_found", "store: false")

    def test_items(self):
        text, _ = self.said([
            {"role": "developer", "content": "be brief"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "5"},
            {"role": "user", "content": [{"type": "input_text", "text": "messages"},
                                         {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]}])
        messages = json.loads(text)
        self.assertEqual(messages[1], {"role": "assistant", "content": "a", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
        self.assertEqual(messages[3]["content"][1],
                         {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}})

    def test_bad_requests(self):
        for value, words in ((7, "input must be"), ([{"type": "computer_call"}], "computer_call"),
                             ([{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}],
                              "input_file"),
                             ([{"type": "function_call", "call_id": "c"}], "arguments"), ([], "messages")):
            self.check_error(self.create(value), 400, None, words)
        self.check_error(self.ask("POST", PATH, {"model": "no", "input": "a"}), 404, "model_not_found", "no")
        for method, path in (("GET", "/none"), ("GET", "/resp_none"), ("POST", "/resp_none/cancel")):
            self.check_error(self.ask(method, PATH + path), 404, "not_found", "no such response")
        id_ = self.said("text")[1]
        self.check_error(self.server.get(f"{PATH}/{id_}?stream=true&starting_after=-1"), 400, None,
                         "sequence_number")

    def test_conversations_are_bounded(self):
        for name in ("", "x" * 256, {"id": "x" * 256}, {}, 7):
            self.check_error(self.create("text", conversation=name), 400, None, "conversation")
        self.assertEqual(self.said("ctx:request.thread", conversation={"id": "c"})[0], "c")
        half = "say:" + "x" * 600000
        _, first = self.said(half)
        self.check_error(self.create("text", previous_response_id=first), 400,
                         "context_length_exceeded", "begin a new one")

    def test_an_unknown_model_is_told_in_short(self):
        answer = self.ask("POST", PATH, {"model": "x" * 9000, "input": "text"})
        self.check_error(answer, 404, "model_not_found", "x" * 128)
        self.assertLess(len(answer.body), 1000)

    def test_a_run_that_fails(self):
        answer = self.create("text fail", stream=True)
        last = frames_of(answer.body)[-1]
        self.assertEqual((last["type"], last["response"]["status"]), ("response.failed", "failed"))
        self.assertEqual(last["response"]["error"]["code"], "broken")
        self.assertEqual(len(last["response"]["output"]), 1)
        id_ = last["response"]["id"]
        self.assertEqual(json.loads(self.server.get(f"{PATH}/{id_}").body), last["response"])
        self.check_error(self.create("text fail"), 500, "broken", "it broke")

    def test_in_the_background(self):
        answer = self.create("slow:0", background=True)
        self.assertEqual(answer.status, 200)
        value = json.loads(answer.body)
        self.assertIn(value["status"], ("queued", "in_progress"))
        path = f"{PATH}/{value['id']}"
        wait_for(lambda: json.loads(self.server.get(path).body)["output"], "it says something")
        self.check_error(self.create("text", previous_response_id=value["id"]), 400,
                         "previous_response_in_progress", "wait")
        stopped = json.loads(self.ask("POST", path + "/cancel").body)
        self.assertEqual(stopped["status"], "cancelled")
        for again in (self.ask("POST", path + "/cancel"), self.server.get(path)):
            self.assertEqual(json.loads(again.body), stopped)
        last = frames_of(self.server.get(path + "?stream=true").body)[-1]
        self.assertEqual((last["type"], last["response"]["status"]), ("response.failed", "cancelled"))

    def test_a_question_in_the_background(self):
        """Who polls is told that a person is asked; the run waits, and ends with the answer."""
        value = json.loads(self.create("ask", background=True).body)
        path, run = f"{PATH}/{value['id']}", value["id"].removeprefix("resp_")
        wait_for(lambda: json.loads(self.server.get(f"/runs/{run}").body)["status"] == "waiting",
                 "it asks")
        asking = json.loads(self.server.get(path).body)
        self.assertEqual((asking["status"], asking["error"]["code"]), ("failed", "input_required"))
        self.assertIn("May I?", asking["error"]["message"])
        question = json.loads(self.server.get(f"/runs/{run}").body)["questions"][0]["id"]
        answer = self.ask("POST", f"/runs/{run}/input?question={question}", {"ok": True})
        self.assertEqual(answer.status, 202, answer.body)
        wait_for(lambda: json.loads(self.server.get(path).body)["status"] == "completed", "it ends")
        self.assertIsNone(json.loads(self.server.get(path).body)["error"])

    def test_an_open_question_is_cancelled(self):
        value = json.loads(self.create("ask", background=True).body)
        path = f"{PATH}/{value['id']}"
        wait_for(lambda: json.loads(self.server.get(path).body)["status"] == "failed", "it asks")
        stopped = json.loads(self.ask("POST", path + "/cancel").body)
        self.assertEqual((stopped["status"], stopped["error"]["code"]), ("cancelled", "cancelled"))

    def test_what_is_not_a_response_is_not_continued(self):
        for id_ in (7, {"id": "resp_0"}, ["resp_0"], True, False, 0):
            self.check_error(self.create("text", previous_response_id=id_), 400, None,
                             "previous_response_id is the id")
        self.assertEqual(self.create("text", previous_response_id=None).status, 200)

    def test_who_looks_at_a_run_does_not_end_it(self):
        """A run of another protocol, which asks and waits for its answer."""
        with self.server.connect() as connection:
            answer = connection.exchange(
                "POST", "/agents/kit/runs?mode=wait", json.dumps({"prompt": "ask"}).encode(),
                {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 202, answer.body)
        run = json.loads(answer.body)["run"]
        last = frames_of(self.server.get(f"{PATH}/resp_{run}?stream=true").body)[-1]
        self.assertEqual(last["response"]["error"]["code"], "input_required")
        self.assertEqual(json.loads(self.server.get(f"/runs/{run}").body)["status"], "waiting")

    def test_a_log_that_has_not_all(self):
        """The first events are dropped: the response is what is left, and cannot be streamed."""
        server = self.server = self.serve("kit", settings={"host.log_size": "1K"})
        answer = self.create(" ".join(["say:" + 500 * "x"] * 4), background=True)
        path = f"{PATH}/{json.loads(answer.body)['id']}"
        wait_for(lambda: json.loads(server.get(path).body)["status"] == "incomplete", "it ends")
        self.check_error(server.get(path + "?stream=true"), 404, "no_longer_streamable", "no longer kept")
        self.check_error(self.create("text", previous_response_id=path.rpartition("/")[2]), 400,
                         "previous_response_not_found", "kept")


if __name__ == "__main__":
    main()
