#!/usr/bin/python3
"""The agent `chat`: conversations, tools, bounds, and thousands of them at once."""

import json
import multiprocessing
import os
import resource
import time

from harness import (PATIENCE_S, SANITIZED, SRCDIR, Swarm, Test, main, memory_kib, run_sluice,
                     text_of, types, plugin_path, wait_for)
from model import Model

FINISHED = {"status": "finished"}
DOCUMENTS = os.path.join(SRCDIR, "docs")


def say(scenario, **arguments):
    return f"{scenario} {json.dumps(arguments)}"


class ChatTest(Test):
    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.model = Model()
        self.addCleanup(self.model.stop)

    def start(self, *agents, **settings):
        self.server = self.serve(*agents, settings={
            key: value for agent in agents
            for key, value in self.model.settings(agent, **settings).items()})

    def prompt(self, agent, scenario, **arguments):
        return self.server.run(agent, {"prompt": say(scenario, **arguments)})

    def check_failed(self, events, code, *words):
        done = events[-1].json()
        self.assertEqual(done["status"], "failed", done)
        self.assertEqual(done["error"]["code"], code, done)
        for word in words:
            self.assertIn(word, done["error"]["message"])


class ConversationTest(ChatTest):
    def test_prompt(self):
        self.start("chat")
        events = self.server.run("chat", {"prompt": "say this again"})
        self.assertEqual(types(events), ["run", "text", "text", "text", "usage", "done"])
        self.assertEqual(text_of(events), "saythisagain")
        self.assertEqual(events[-1].json(), {**FINISHED, "result": {
            "answer": "saythisagain", "finish_reason": "stop", "rounds": 1}})
        self.assertEqual(self.model.bodies()[0]["messages"],
                         [{"role": "user", "content": "say this again"}])

    def test_messages(self):
        self.start("chat")
        messages = [{"role": "system", "content": "be brief"},
                    {"role": "user", "content": "one"},
                    {"role": "assistant", "content": "two", "name": "left out"},
                    {"role": "user", "content": "thrée"}]
        self.assertEqual(text_of(self.server.run("chat", {"messages": messages})), "thrée")
        del messages[2]["name"]
        self.assertEqual(self.model.bodies()[0]["messages"], messages)
        self.assertEqual(text_of(self.server.run("chat", {"messages": messages[:3],
                                                          "prompt": "four"})), "four")
        self.assertEqual(self.model.bodies()[1]["messages"],
                         [*messages[:3], {"role": "user", "content": "four"}])

    def test_messages_of_tools_and_parts(self):
        self.start("chat")
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages = [{"role": "user", "content": [{"type": "text", "text": "look"},
                                                 {"type": "image_url", "image_url": {"url": "data:,"}}]},
                    {"role": "user", "content": "what is this"},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "content": "5", "tool_call_id": "c"},
                    {"role": "assistant", "content": "so", "tool_calls": [call]},
                    {"role": "tool", "content": [{"type": "text", "text": "6"}], "tool_call_id": "c"}]
        for count in (2, 4, 6):
            events = self.server.run("chat", {"messages": messages[:count]})
            self.assertEqual(events[-1].json()["status"], "finished")
            self.assertEqual(self.model.bodies()[-1]["messages"], messages[:count])
        del messages[2]["content"]
        self.server.run("chat", {"messages": messages[:4]})
        self.assertEqual(self.model.bodies()[-1]["messages"][2],
                         {"role": "assistant", "content": None, "tool_calls": [call]})

    def test_system(self):
        self.start("chat", system="Be kind.")
        self.server.run("chat", {"prompt": "hello"})
        self.assertEqual(self.model.bodies()[0]["messages"], [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}])
        events = self.server.run("chat", {"messages": [
            {"role": "system", "content": "Be rude."}, {"role": "user", "content": "hello"}]})
        self.check_failed(events, "bad_input", "a role is user, assistant, tool (with tool_call_id),")

    def test_bad_input(self):
        self.start("chat")
        user = {"role": "user", "content": "x"}
        deep = b"[" * 500 + b"]" * 500
        for value in ([], "text", None, {"prompt": 1}, {"messages": "x"}, {"messages": [1]}, deep):
            with self.subTest(value=value):
                answer = self.server.post("chat", value)
                self.assertEqual(answer.status, 422)
                self.assertIn("does not match the input_schema", answer.json()["detail"])
        for value in ({}, {"messages": []}, {"messages": [{"role": "user"}]},
                      {"messages": [{"role": "tool", "content": "x"}, user]},
                      {"messages": [{**user, "content": ["x"]}]},
                      {"messages": [{**user, "content": []}]}, {"messages": [{**user, "content": None}]},
                      {"messages": [user, {"role": "assistant", "tool_calls": []}, user]},
                      {"messages": [user, {"role": "assistant", "content": None}, user]},
                      {"messages": [user, {"role": "assistant", "content": "y"}]},
                      {"messages": [user, {"role": "user"}]}):
            with self.subTest(value=value):
                self.check_failed(self.server.run("chat", value), "bad_input", "send {\"prompt\"")
        self.assertEqual(self.model.requests(), [])

    def test_model_fails(self):
        self.start("chat")
        self.check_failed(self.prompt("chat", "refuses", status=401), "model_auth",
                          "check api_key")
        events = self.prompt("chat", "fails")
        self.check_failed(events, "model_failed")
        self.assertEqual(text_of(events), "a b ")

    def test_long_answer(self):
        """Longer than a result may be: it was streamed."""
        self.start("chat")
        events = self.prompt("chat", "huge", count=16)
        self.assertEqual(len(text_of(events)), 16 * 64 * 1024)
        self.assertEqual(events[-1].json()["result"], {"finish_reason": "stop", "rounds": 1})


class ConfigurationTest(Test):
    ENV = {name: "" for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")}

    def test_not_configured(self):
        server = self.serve("chat", env=self.ENV)
        error = server.run("chat", {"prompt": "hello"})[-1].json()["error"]
        self.assertEqual(error["code"], "not_configured")
        for word in ("[plugin chat]", "model", "base_url", "api_key", "OPENAI_MODEL",
                     "OPENAI_API_KEY"):
            self.assertIn(word, error["message"])

    def test_bad_settings(self):
        for key, value, words in (("max_rounds", "0", "max_rounds must be 1 to 100, not '0'"),
                                  ("max_rounds", "101", "not '101'"),
                                  ("max_rounds", "", "not ''"), ("max_rounds", "8x", "not '8x'"),
                                  ("documents", "/nowhere", "documents: /nowhere: ")):
            ended = run_sluice("check", "--set", f"plugin.chat.{key}={value}", plugin_path("chat"))
            self.assertEqual(ended.returncode, 1)
            self.assertIn(words, ended.stderr.decode())


class ToolsTest(ChatTest):
    def names(self):
        return [tool["function"]["name"] for tool in self.model.bodies()[0]["tools"]]

    def test_documents(self):
        self.start("chat", documents=DOCUMENTS)
        events = self.prompt("chat", "use", calls=[["search_documents", {"query": "retention"}]])
        self.assertEqual(self.names(), ["search_documents", "current_time"])
        self.assertEqual(types(events)[:4], ["run", "usage", "tool_call", "tool_result"])
        self.assertEqual(events[2].json(), {"scope": "call_0", "id": "call_0",
                                            "name": "search_documents",
                                            "arguments": {"query": "retention"}})
        result = events[3].json()
        self.assertEqual((result["scope"], result["id"]), ("call_0", "call_0"))
        passages = json.loads(result["content"])
        self.assertEqual(os.path.dirname(passages[0]["file"]), DOCUMENTS)
        self.assertIn("retention", passages[0]["text"])
        self.assertEqual(text_of(events), result["content"])
        self.assertEqual(events[-1].json()["result"]["rounds"], 2)

    def test_without_documents(self):
        self.start("chat")
        events = self.prompt("chat", "use", calls=[["current_time", {}],
                                                   ["search_documents", {"query": "x"}]])
        self.assertEqual(self.names(), ["current_time"])
        time_, error = [event.json()["content"] for event in events
                        if event.type == "tool_result"]
        self.assertRegex(time_, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, a \w+day$")
        self.assertEqual(error, "error: there is no tool search_documents")

    def test_bad_arguments(self):
        """The model is told, and may do better."""
        self.start("chat", documents=DOCUMENTS)
        for arguments, words in (([], "error: the arguments must be a JSON object, not []"),
                                 ({}, "error: query must be a string with words to search for"),
                                 ({"query": 7}, "error: query must be"),
                                 ({"query": "xyzzyx"}, "the documents say nothing about xyzzyx")):
            events = self.prompt("chat", "use", calls=[["search_documents", arguments]])
            self.assertEqual(events[-1].json()["status"], "finished")
            self.assertIn(words, text_of(events))

    def test_conversation_that_the_model_gets(self):
        self.start("e2e_chat_fiber")
        self.prompt("e2e_chat_fiber", "use", calls=[["say", {"text": "a"}], ["say", {"text": "b"}]])
        first, second = [body["messages"] for body in self.model.bodies()]
        self.assertEqual(second[:1], first)
        function = {"name": "say", "arguments": '{"text": "a"}'}
        self.assertEqual(second[1], {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_0", "type": "function", "function": function},
            {"id": "call_1", "type": "function",
             "function": {**function, "arguments": '{"text": "b"}'}}]})
        self.assertEqual(second[2:], [
            {"role": "tool", "content": "a", "tool_call_id": "call_0"},
            {"role": "tool", "content": "b", "tool_call_id": "call_1"}])


class ModesTest(ChatTest):
    """The same source in thread mode and in fiber mode."""

    AGENTS = ("e2e_chat", "e2e_chat_fiber")

    def each(self, scenario, **arguments):
        """The events of both, sorted by scope: what is done at once comes in any order."""
        both = []
        for agent in self.AGENTS:
            events = self.prompt(agent, scenario, **arguments)[1:]
            events.sort(key=lambda event: event.json().get("scope", ""))
            both.append([(event.type, event.data.replace(agent.encode(), b"AGENT"))
                         for event in events])
        self.assertEqual(both[0], both[1])
        return both[0]

    def test_same_events(self):
        self.start(*self.AGENTS)
        self.each("stream", tokens=20)
        self.each("reasoning")
        self.each("refuses", status=500)
        self.each("use", calls=[["say", {"text": "a"}], ["wait", {"ms": 1}], ["x", {}]], rounds=1)
        self.each("use", calls=[["say", {"text": "a"}], ["say", {"text": "b"}]], rounds=5)

    def test_calls_run_at_once(self):
        """Each waits for the others."""
        self.start(*self.AGENTS)
        count = 8
        events = self.each("use", calls=[["meet", {"count": count}]] * count)
        for n in range(count):
            scoped = [json.loads(data) for _, data in events
                      if json.loads(data).get("scope") == f"call_{n}"]
            self.assertEqual(scoped, [
                {"scope": f"call_{n}", "id": f"call_{n}", "name": "meet",
                 "arguments": {"count": count}},
                {"scope": f"call_{n}", "id": f"call_{n}", "content": f"met {count}"}])
        self.assertEqual(len(events), 2 * count + count + 2 + 1)

    def test_rounds_are_bounded(self):
        self.start(*self.AGENTS, max_rounds=3)
        self.each("use", calls=[["say", {"text": "a"}]], rounds=2)
        before = self.model.state()["requests"]
        for agent in self.AGENTS:
            events = self.prompt(agent, "use", calls=[["say", {"text": "a"}]], rounds=3)
            self.check_failed(events, "too_many_rounds", "answered 3 times",
                              f"max_rounds in the section [plugin {agent}]")
            self.assertEqual(types(events).count("tool_call"), 2)
        self.assertEqual(self.model.state()["requests"], before + 3 * len(self.AGENTS))

    def test_tool_that_fails(self):
        """The model is told."""
        self.start(*self.AGENTS)
        for agent in self.AGENTS:
            events = self.prompt(agent, "use", calls=[["say", {"text": "a"}], ["nothing", {}],
                                                      ["say", {"text": "b"}]])
            self.assertEqual(events[-1].json()["status"], "finished")
            self.assertEqual(types(events).count("tool_result"), 3)
            self.assertEqual(text_of(events), "aerror: Cannot allocate memoryb")

    def test_cancelled_in_a_tool(self):
        self.start(*self.AGENTS)
        for agent in self.AGENTS:
            stream = self.server.open(agent, {"prompt": say(
                "use", calls=[["wait", {"ms": 1000000}], ["wait", {"ms": 1000000}]])})
            self.addCleanup(stream.close)
            stream.until("tool_call")
            with self.server.connect() as connection:
                connection.exchange("POST", f"/runs/{stream.run}/cancel", b"{}")
            stream.rest()
            self.assertEqual(stream.done["status"], "cancelled")
        self.assertEqual(self.server.lines("worker died"), [])


# ---- many at once ----

def watch_ticks(server, count, period_ms, pipe):
    """In a process of its own: sends how late each tick of `ticker` came, in ms."""
    stream = server.open("ticker", {"count": count, "period_ms": period_ms})
    late = []
    seen = 0
    while stream.read():
        now = time.monotonic_ns()
        events, seen = stream.parser.events[seen:], len(stream.parser.events)
        late += [(now - event.json()["ns"]) / 1e6 for event in events if event.type == "tick"]
    stream.close()
    pipe.send(late)


class ManyTest(ChatTest):
    RUNS = 200 if SANITIZED else 2000
    TOKENS = 60
    PERIOD_MS = 50
    MOST_KIB = 80        # of front and worker, for each run; its events included
    MOST_LATE_MS = 500   # the median of another agent, while the machine is busy

    def setUp(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < self.RUNS + 200:
            self.skipTest(f"only {hard} files may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the model's, too
        super().setUp()
        self.counts = {}

    def take(self, stream, event):
        """Each text is the next word of its own conversation."""
        if event.type != "text":
            return
        n = self.counts.get(stream.number, 0)
        if event.json()["delta"] != f"{stream.number}-{n} ":
            raise AssertionError(f"stream {stream.number}: {event} behind {n} words")
        self.counts[stream.number] = n + 1

    def resident(self):
        return memory_kib(self.worker, "Rss") + memory_kib(self.server.process.pid, "Rss")

    def threads(self):
        return len(os.listdir(f"/proc/{self.worker}/task"))

    def start_watch(self):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe(False)
        watch = context.Process(target=watch_ticks, args=(self.server, 40, 50, theirs))
        watch.start()
        self.addCleanup(watch.join)

    def test_many_conversations(self):
        self.server = self.serve("chat", "ticker", settings=self.model.settings("chat"))
        self.server.run("chat", {"prompt": "hello"})
        self.worker = self.server.worker_of("chat")
        before = self.resident()
        swarm = Swarm(self.server.address, self.take)
        self.addCleanup(swarm.close)
        start = time.monotonic()
        for n in range(self.RUNS):
            swarm.add("chat", {"prompt": say("stream", tokens=self.TOKENS,
                                             period_ms=self.PERIOD_MS, word=f"{n}-",
                                             together=self.RUNS)})
            if n % 20 == 0:
                swarm.step(0)
        swarm.until(lambda: len(self.counts) == self.RUNS, "all have begun", 3 * PATIENCE_S)
        self.start_watch()
        self.assertEqual(self.model.state()["most"], self.RUNS)
        per_run = (self.resident() - before) / self.RUNS
        threads = self.threads()
        swarm.finish(10 * PATIENCE_S)
        took = time.monotonic() - start
        late = sorted(self.pipe.recv()) if self.pipe.poll(PATIENCE_S) else []
        print(f"{self.RUNS} conversations in {took:.1f} s on {threads} threads: {per_run:.1f} KiB "
              f"each; another agent's events late by {late[len(late) // 2]:.1f} ms, "
              f"99 % by {late[len(late) * 99 // 100]:.1f} ms", flush=True)
        self.assertEqual(self.counts, {n: self.TOKENS for n in range(self.RUNS)})
        self.assertEqual({stream.parser.done["status"] for stream in swarm.streams}, {"finished"})
        self.assertLessEqual(threads, 8)
        self.assertEqual(len(late), 40)
        self.assertEqual(self.server.lines("stuck"), [])
        if not SANITIZED:
            self.assertLess(late[len(late) // 2], self.MOST_LATE_MS)
            self.assertLess(per_run, self.MOST_KIB)


if __name__ == "__main__":
    main()
