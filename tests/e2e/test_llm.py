#!/usr/bin/python3
"""agent_llm.h against a model server that behaves in every way, in both modes."""

import json
import time

from harness import SANITIZED, Test, free_port, main, text_of, types, wait_for
from model import ODD, Model

AGENTS = ("e2e_llm", "e2e_llm_fiber")
MOST_MS = 5000  # the answers that are cancelled last for minutes


def say(scenario, **arguments):
    return f"{scenario} {json.dumps(arguments)}" if arguments else scenario


class ModelTest(Test):
    on_disconnect = "cancel"
    agents = AGENTS

    def setUp(self):
        super().setUp()
        self.model = Model()
        self.addCleanup(self.model.stop)
        settings = {}
        for agent in self.agents:
            settings.update(self.model.settings(agent))
        self.server = self.serve(*self.agents, settings=settings)

    def events(self, scenario, more=None, **arguments):
        """The events of a run in each mode, which are the same, but for run and done."""
        value = {"say": say(scenario, **arguments), **(more or {})}
        first, second = [self.server.run(agent, value)[1:] for agent in self.agents]
        self.assertEqual([(event.type, event.data) for event in first],
                         [(event.type, event.data) for event in second])
        return first

    def answer(self, scenario, more=None, **arguments):
        """What agent_llm_chat() returned, and all events, of a run that finished."""
        events = self.events(scenario, more, **arguments)
        self.assertEqual(events[-1].json(), {"status": "finished"})
        answer = events[-2].json()
        self.assertEqual(answer["status"], 0)
        return answer, events

    def check_text(self, text, scenario, more=None, **arguments):
        answer, events = self.answer(scenario, more, **arguments)
        self.assertEqual(answer["text"], text)
        self.assertEqual(text_of(events), text)
        return answer

    def check_error(self, code, words, scenario, more=None, **arguments):
        """The run failed with this code, and all of these words."""
        events = self.events(scenario, more, **arguments)
        done = events[-1].json()
        self.assertEqual(done["status"], "failed", done)
        self.assertEqual(done["error"]["code"], code, done)
        for word in words:
            self.assertIn(word, done["error"]["message"])
        return events

    def cancel(self, stream):
        """Cancels a run, and waits for its end."""
        with self.server.connect() as connection:
            connection.exchange("POST", f"/runs/{stream.run}/cancel", b"{}")
        stream.rest()
        self.assertEqual(stream.done["status"], "cancelled")


class AnswerTest(ModelTest):
    def test_ordinary(self):
        answer, events = self.answer("stream", tokens=3)
        self.assertEqual(types(events), ["text"] * 3 + ["usage", "answer", "done"])
        self.assertEqual([event.json() for event in events[:4]],
                         [{"delta": "w0 "}, {"delta": "w1 "}, {"delta": "w2 "},
                          {"input_tokens": 7, "output_tokens": 3}])
        self.assertEqual(answer, {
            "status": 0, "length": 9, "text": "w0 w1 w2 ", "finish_reason": "stop",
            "input_tokens": 7, "output_tokens": 3, "begun": True, "calls": []})

    def test_numbers_that_are_no_counts(self):
        for number in (1e51, 9.3e18):
            answer, _ = self.answer("numbers", number=number)
            self.assertEqual((answer["input_tokens"], answer["output_tokens"]), (-1, -1), number)

    def test_request(self):
        tools = [{"type": "function", "function": {"name": "first"}}]
        self.answer("stream", {"tools": tools, "options": {"temperature": 0.5, "model": "other"}})
        request = self.model.requests()[0]
        self.assertEqual(request["path"], "/v1/chat/completions")
        self.assertEqual(request["headers"]["authorization"], "bearer a-key")
        self.assertEqual(request["headers"]["content-type"], "application/json")
        self.assertEqual(request["body"], {
            "model": "other", "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "stream"}], "tools": tools,
            "temperature": 0.5})

    def test_pieces(self):
        self.check_text("a " + ODD, "each_byte")
        for end in ("\n", "\r\n", "\r"):
            for size in (1, 2, 3, 7, 1000):
                with self.subTest(end=end, size=size):
                    self.check_text("a " + ODD, "line_ends", end=end, size=size)

    def test_what_is_around(self):
        self.check_text("one two three", "decorated")
        self.check_text("all well", "unknown_fields")

    def test_reasoning(self):
        answer, events = self.answer("reasoning")
        self.assertEqual([(event.type, event.json()) for event in events[:3]],
                         [("reasoning", {"delta": "let me "}), ("reasoning", {"delta": "think"}),
                          ("text", {"delta": "done"})])
        self.assertEqual(answer["text"], "done")

    def test_ends(self):
        for reason in ("stop", "length"):
            for with_done in (True, False):
                for with_blank in (True, False):
                    with self.subTest(reason=reason, done=with_done, blank=with_blank):
                        answer = self.check_text("so far", "finish", reason=reason,
                                                 with_done=with_done, with_blank=with_blank)
                        self.assertEqual(answer["finish_reason"], reason)
        self.check_text("so far", "finish", reason=None)
        self.check_text("to the end", "until_closed")
        self.check_text("it is whole", "keeps_open")
        self.check_text("it is whole", "stall_when_whole", {"idle_timeout_ms": 400})

    def test_quiet(self):
        for quiet, left in ((1, ["usage"]), (4, ["text", "text"]), (7, [])):
            answer, events = self.answer("finish", {"quiet": quiet})
            self.assertEqual(types(events), [*left, "answer", "done"])
            self.assertEqual(answer["text"], "so far")
        _, events = self.answer("tool_calls", {"quiet": 2})
        self.assertEqual(types(events), ["usage", "answer", "done"])


class CallsTest(ModelTest):
    WANTED = [["a", "first", '{"q":"x"}'], ["b", "second", '{"n":2}']]

    def check_calls(self, calls, how, **more):
        answer, events = self.answer("tool_calls", how=how, **more)
        self.assertEqual(answer["calls"], calls)
        self.assertEqual(answer["finish_reason"], "tool_calls")
        emitted = [event for event in events if event.type == "tool_call"]
        self.assertEqual(len(emitted), len(calls))
        return emitted

    def test_pieces(self):
        for how in ("interleaved", "no_index", "same_index", "repeated_id"):
            for each_byte in (False, True):
                with self.subTest(how=how, each_byte=each_byte):
                    emitted = self.check_calls(self.WANTED, how, each_byte=each_byte)
                    self.assertEqual([event.json() for event in emitted], [
                        {"id": "a", "name": "first", "arguments": {"q": "x"}},
                        {"id": "b", "name": "second", "arguments": {"n": 2}}])

    def test_what_is_missing(self):
        ids = set()
        for agent in self.agents:  # no two answers have an id in common
            events = self.server.run(agent, {"say": say("tool_calls", how="no_id")})
            answer = events[-2].json()
            self.assertEqual([call[1:] for call in answer["calls"]],
                             [["first", '{"q":"x"}'], ["second", '{"n":2}']])
            emitted = [event.json()["id"] for event in events if event.type == "tool_call"]
            self.assertEqual(emitted, [call[0] for call in answer["calls"]])
            ids.update(emitted)
        self.assertEqual(len(ids), 4)
        self.check_calls([["a", "first", "{}"], ["b", "second", "{}"]], "empty_arguments")

    def test_arguments_that_are_no_json_are_a_string(self):
        emitted = self.check_calls([["a", "first", '{"q":'], ["b", "second", '{},"id":"c"']],
                                   "bad_arguments")
        self.assertEqual([event.json()["arguments"] for event in emitted],
                         ['{"q":', '{},"id":"c"'])
        self.assertEqual(emitted[1].json()["id"], "b")

    def test_numbers_keep_their_digits(self):
        emitted = self.check_calls([["a", "first", '{"n": 12345678901234567890.10}']], "exact")
        self.assertIn(b'"arguments":{"n":12345678901234567890.10}', emitted[0].data)

    def test_number_of_calls(self):
        answer, _ = self.answer("many_calls", count=64)
        self.assertEqual([call[0] for call in answer["calls"]], [f"c{n}" for n in range(64)])
        self.check_error("model_too_large", ["more than the 64 tool calls"], "many_calls", count=65)


class ErrorTest(ModelTest):
    def test_refusals(self):
        for status, code, advice in ((400, "model_refused", "check model"),
                                     (401, "model_auth", "check api_key"),
                                     (403, "model_auth", "check api_key"),
                                     (404, "model_not_found", "check base_url and model"),
                                     (413, "model_refused", "send less"),
                                     (422, "model_refused", "check model"),
                                     (408, "model_busy", "try again later"),
                                     (409, "model_busy", "try again later"),
                                     (500, "model_failed", "try again later"),
                                     (502, "model_failed", "try again later")):
            with self.subTest(status=status):
                before = self.model.state()["requests"]
                self.check_error(code, [f"answered {status} (it said why)", advice], "refuses",
                                 {"attempts": 2}, status=status)
                times = 2 if status >= 500 or status in (408, 409) else 1
                self.assertEqual(self.model.state()["requests"], before + times * len(AGENTS))
        self.check_error("model_unreachable",
                         ["301 (it is at http://localhost/v2/)", "set base_url"], "refuses",
                         status=301, headers={"Location": "http://localhost/v2/"})

    def test_what_a_refusal_says(self):
        for body, words in (({"error": "in words"}, "401 (in words); "),
                            ({"detail": "x"}, "401 (x); "), ([], "401 ([]); "),
                            ({"error": {"message": "é" * 5000}}, "401 (ééé"),
                            ({"error": {"message": "x", "pad": "y" * 200000}}, "401 (x); ")):
            self.check_error("model_auth", [words], "refuses", status=401, body=body)

    def test_busy(self):
        for status in (429, 503):
            with self.subTest(status=status):
                for agent in AGENTS:
                    events = self.server.run(agent, {"say": say(
                        "busy", name=f"{agent}{status}", times=2, status=status)})
                    self.assertEqual(text_of(events), "at last")
        self.assertEqual(self.model.state()["requests"], 2 * 2 * 3)
        self.assertEqual(len(self.server.lines("attempt 1 of 4", "slow down")), 4)

    def test_busy_for_too_long(self):
        self.check_error("model_busy", ["429 (slow down)"], "busy", {"attempts": 2},
                         name="x", times=100)
        self.assertEqual(self.model.state()["requests"], 2 * len(AGENTS))

    def test_retry_after(self):
        start = time.monotonic()
        self.server.run("e2e_llm", {"say": say("busy", name="x", times=1,
                                               headers={"Retry-After": "2"})})
        self.assertGreaterEqual(time.monotonic() - start, 2)
        events = self.server.run("e2e_llm", {"say": say(
            "busy", name="y", times=1, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})})
        self.assertEqual(text_of(events), "at last")

    def test_cancelled_while_it_waits_to_try_again(self):
        for agent in AGENTS:
            stream = self.server.open(agent, {"say": say(
                "busy", name=agent, times=1, headers={"Retry-After": "99999999999999999999"})})
            self.addCleanup(stream.close)
            stream.until("run")
            wait_for(lambda a=agent: self.server.lines("attempt 1 of 4", a + " "), "it was refused")
            self.cancel(stream)

    def test_nobody_there(self):
        start = time.monotonic()
        self.check_error("model_unreachable", ["check base_url"], "stream",
                         {"base_url": f"http://127.0.0.1:{free_port()}/v1", "attempts": 2})
        self.assertGreater(time.monotonic() - start, 1)  # two pauses of 500 ms
        self.check_error("model_unreachable", ["check base_url"], "stream",
                         {"base_url": "http://no-such-host.invalid/v1", "attempts": 1})
        for base_url in ("localhost", "ftp://localhost/", "http://a\nb/"):
            self.check_error("not_configured", ["must begin with http://"], "stream",
                             {"base_url": base_url})

    def test_reset_before_the_answer(self):
        for agent in AGENTS:
            events = self.server.run(agent, {"say": say("reset", after=-1, name=agent, times=2)})
            self.assertEqual(text_of(events), "at last")

    def test_reset_in_the_answer(self):
        for after in (0, 1, 100, 300):
            with self.subTest(after=after):
                before = self.model.state()["requests"]
                self.check_error("model_broken", ["broke off"], "reset", after=after)
                self.assertEqual(self.model.state()["requests"], before + len(AGENTS))

    def test_cut_off(self):
        events = self.check_error("model_broken", ["broke off"], "cut")
        self.assertEqual(text_of(events), "one ")

    def test_ends_too_early(self):
        for with_blank in (True, False):
            events = self.check_error("model_broken", ["ended too early"], "finish", reason=None,
                                      with_done=False, with_blank=with_blank)
            self.assertEqual(text_of(events), "so far")

    def test_stalls(self):
        fast = {"idle_timeout_ms": 400}
        events = self.check_error("model_timeout", ["stopped in the middle"], "stall", fast)
        self.assertEqual(text_of(events), "w0 w1 ")
        self.check_error("model_timeout", ["stopped in the middle"], "stall", fast, tokens=0)
        self.check_error("model_timeout", ["does not answer"], "stall", fast, with_head=False)
        wait_for(lambda: len(self.model.closed()) == 3 * len(AGENTS), "the connections are closed")

    def test_error_in_the_answer(self):
        for error, words in (({"message": "out of tokens"}, "(out of tokens)"),
                             ("just words", "(just words)"), ({}, "(it does not say why)")):
            events = self.check_error("model_failed", ["in the middle of its answer", words],
                                      "fails", error=error)
            self.assertEqual(types(events), ["text", "text", "answer", "done"])
            self.assertEqual(events[-2].json()["text"], "a b ")

    def test_garbage(self):
        self.check_error("model_unreachable", [], "no_http", {"attempts": 1})
        for sent, words in (("", "check base_url"), ("<html></html>\n\n", "check base_url"),
                            ('{"choices":[{"message":{"content":"all at o', "all at o; check base_url"),
                            ("data: what?\n\n", "not JSON"), ("data: [1]\n\n", "not JSON"),
                            ("data: {} x\n\n", "not JSON"), ("data:\n\n", "ended too early"),
                            ('data: {"choices":[{"delta":', "not JSON"),
                            ('data: {"choices":1}\n\n', "ended too early"),
                            ('data: {"choices":[7]}\n\n', "ended too early"),
                            ('data: {"choices":[{"delta":{"content":[1],"tool_calls":7}}]}\n\n',
                             "ended too early")):
            with self.subTest(sent=sent):
                self.check_error("model_broken", [words], "garbage", bytes_hex=sent.encode().hex())

    def test_not_utf_8(self):
        for where in (b'"content":"\xff"', b'"content":"\xc3"',
                      b'"tool_calls":[{"id":"\xff","function":{"name":"x"}}]'):
            sent = b'data: {"choices":[{"delta":{%s}}]}\n\ndata: [DONE]\n\n' % where
            self.check_error("model_broken", ["UTF-8"], "garbage", bytes_hex=sent.hex())

    def test_deep(self):
        """The tree of a chunk is built on a fiber's small stack."""
        self.check_text("deep", "deep", levels=64)
        for levels in (65, 900, 100000):
            self.check_error("model_broken", ["not JSON"], "deep", levels=levels)


class SizeTest(ModelTest):
    """An answer that is far too large is an error, and takes no memory."""

    MOST_KIB = 40 * 1024

    def check_size(self, scenario, **arguments):
        workers = [self.server.worker_of(agent) for agent in AGENTS]
        with self.subTest(scenario=scenario, **arguments):
            self.server.run("e2e_llm", {"say": "stream", "quiet": 7})
            self.check_error("model_too_large", ["larger than"], scenario, {"quiet": 7},
                             **arguments)
            self.assertEqual([self.server.worker_of(agent) for agent in AGENTS], workers)
            if not SANITIZED:
                for worker in workers:
                    self.assertLess(self.peak_kib(worker), self.MOST_KIB)

    def peak_kib(self, pid):
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    def test_100_mb(self):
        for member in ("content", "reasoning_content", "tool_calls"):
            self.check_size("huge", member=member)
        print("peak of a worker, KiB:", self.peak_kib(self.server.worker_of("e2e_llm_fiber")),
              flush=True)

    def test_100_mb_of_nothing(self):
        self.check_size("empty_chunks")

    def test_endless_line(self):
        for head in ("data: ", ": ", "", "event: "):
            self.check_size("endless", head=head)

    def test_endless_event(self):
        self.check_size("long_data")

    def test_as_much_as_it_may_be(self):
        """All that is emitted counts, not only what is kept."""
        answer, _ = self.answer("huge", {"quiet": 7}, count=64)
        self.assertEqual(answer["length"], 4 * 1024 * 1024)
        self.check_error("model_broken", ["nothing that is an answer"], "huge", {"quiet": 7},
                         count=64, member="reasoning_content")
        for member in ("content", "reasoning_content", "tool_calls"):
            self.check_size("huge", count=65, member=member)


class CancelTest(ModelTest):
    def check_cancel(self, agent, scenario, **arguments):
        path = self.path("returned-" + agent)
        closed = len(self.model.closed())
        stream = self.server.open(agent, {"say": say(scenario, **arguments), "file": path})
        self.addCleanup(stream.close)
        stream.until("text")
        start = time.monotonic_ns()
        self.cancel(stream)
        wait_for(lambda: len(self.model.closed()) == closed + 1, "the model sees that")
        with open(path) as file:
            returned = int(file.read())
        self.assertLess((returned - start) / 1e6, MOST_MS)
        self.assertLess((self.model.closed()[-1] - start) / 1e6, MOST_MS)

    def test_in_the_answer(self):
        for agent in AGENTS:
            with self.subTest(agent=agent):
                self.check_cancel(agent, "stream", tokens=100000, period_ms=20)

    def test_in_a_pause(self):
        for agent in AGENTS:
            with self.subTest(agent=agent):
                self.check_cancel(agent, "stall")

    def test_when_the_client_leaves(self):
        for agent in AGENTS:
            closed = len(self.model.closed())
            stream = self.server.open(agent, {"say": say("stream", tokens=10000, period_ms=20)})
            stream.until("text")
            stream.close()
            wait_for(lambda n=closed: len(self.model.closed()) == n + 1, "the model sees that")


class ConfigurationTest(Test):
    """Settings that the configuration lacks come from the environment."""

    def setUp(self):
        super().setUp()
        self.model = Model()
        self.addCleanup(self.model.stop)

    NONE = {name: "" for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")}

    def ask(self, settings=None, **env):
        server = self.serve("e2e_llm", settings={f"plugin.e2e_llm.{key}": value for key, value
                                                 in {"env": "OPENAI_*", **(settings or {})}.items()},
                            env={**self.NONE, **env})
        events = server.run("e2e_llm", {"say": "hello"})
        server.stop()
        return events

    def test_environment(self):
        self.assertEqual(text_of(self.ask(OPENAI_BASE_URL=self.model.base_url + "/",
                                          OPENAI_MODEL="m", OPENAI_API_KEY="k")), "hello")
        request = self.model.requests()[0]
        self.assertEqual(request["path"], "/v1/chat/completions")
        self.assertEqual(request["headers"]["authorization"], "bearer k")
        self.assertEqual(request["body"]["model"], "m")

    def test_configuration_goes_before(self):
        self.assertEqual(text_of(self.ask(
            {"base_url": self.model.base_url, "model": "mine", "api_key": "a"},
            OPENAI_BASE_URL="http://127.0.0.1:1/", OPENAI_MODEL="m", OPENAI_API_KEY="k")), "hello")
        request = self.model.requests()[0]
        self.assertEqual(request["headers"]["authorization"], "bearer a")
        self.assertEqual(request["body"]["model"], "mine")

    def test_no_key(self):
        self.ask({"base_url": self.model.base_url, "model": "mine"})
        self.assertNotIn("authorization", self.model.requests()[0]["headers"])

    def test_environment_that_is_not_the_plugins(self):
        error = self.ask({"env": ""}, OPENAI_BASE_URL=self.model.base_url, OPENAI_MODEL="m",
                         OPENAI_API_KEY="k")[-1].json()["error"]
        self.assertEqual(error["code"], "not_configured")
        self.assertIn("env = OPENAI_*", error["message"])
        self.assertEqual(self.model.requests(), [])

    def test_key_with_a_line_break(self):
        error = self.ask({"base_url": self.model.base_url, "model": "m"},
                         OPENAI_API_KEY="a\nX: y")[-1].json()["error"]
        self.assertEqual(error["code"], "not_configured")
        self.assertEqual(self.model.requests(), [])

    def test_not_configured(self):
        for settings in ({}, {"model": "m"}, {"base_url": self.model.base_url},
                         {"api_key": "a"}):
            error = self.ask(settings)[-1].json()["error"]
            self.assertEqual(error["code"], "not_configured")
            for word in ("[plugin e2e_llm]", "model", "base_url", "api_key", "OPENAI_MODEL",
                         "OPENAI_BASE_URL", "OPENAI_API_KEY"):
                self.assertIn(word, error["message"])


if __name__ == "__main__":
    main()
