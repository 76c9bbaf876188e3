#!/usr/bin/python3
"""Questions to people: run_ask() on one side, POST /runs/{id}/input?question=ID on the other."""

import errno
import json
import os
import re
import shutil

from ending import CANCELLED, FINISHED, EndTest, modes
from harness import main, plugin_path, run_sluice, types, wait_for

AGENT = "e2e_ask"
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


class AskTest(EndTest):
    def answer(self, run, question, value, status=202, server=None):
        with (server or self.server).connect() as connection:
            answer = connection.exchange(
                "POST", f"/runs/{run}/input" + (f"?question={question}" if question else ""),
                json.dumps(value).encode(), {"Content-Type": "application/json"})
        self.assertEqual(answer.status, status, answer.body)
        return answer.json()

    def events(self, stream, kind, count):
        """The data of the events of this type, when they are so many."""
        def found():
            return [event.json() for event in stream.parser.events if event.type == kind]

        while len(found()) < count:
            self.assertTrue(stream.read(), found())
        return found()

    def asked(self, stream, count):
        """The ids of the questions that the run has asked, by their scope."""
        return {asked["scope"]: asked["id"]
                for asked in self.events(stream, "input_request", count)}

    def heard(self, stream):
        """What each task got, by its scope."""
        return {event.json()["scope"]: event.json()["answer"] for event in stream.parser.events
                if event.type == "heard"}

class RunAskTest(AskTest):
    def setUp(self):
        super().setUp()
        self.server = self.watch(*modes(AGENT))

    def test_two_at_once_answered_in_reverse_order(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"tasks": 2, "question": {"message": "Go?", "n": 1}})
            ids = self.asked(stream, 2)
            self.assertEqual(sorted(ids.values()), ["q1", "q2"])
            state = self.wait_state(self.server, stream.run, "waiting")
            self.assertEqual(state["questions"],
                             [{"scope": scope, "id": question, "message": "Go?", "n": 1}
                              for scope, question in sorted(ids.items(), key=lambda item: item[1])])
            state = self.answer(stream.run, ids["2"], "for two")
            self.assertEqual([question["id"] for question in state["questions"]], [ids["1"]])
            self.assertEqual(self.answer(stream.run, ids["1"], "for one")["status"], "running")
            stream.rest()
            self.assertEqual(stream.done, FINISHED)
            self.assertEqual(self.heard(stream), {"1": "for one", "2": "for two"})
            self.assertNotIn("questions", self.server.state(stream.run))

    def test_wrong_questions(self):
        for agent in modes(AGENT):
            hold = self.path(f"hold-{agent}")
            stream = self.open(self.server, agent, {"hold": hold})
            self.asked(stream, 1)
            for question in "q2", "q0", "1", "q1x":
                self.assertIn("has not asked the question",
                              self.answer(stream.run, question, 1, 404)["detail"])
            self.assertIn("?question=q1", self.answer(stream.run, None, 1, 409)["detail"])
            self.answer(stream.run, "q1", 1)
            self.assertIn("was answered before",
                          self.answer(stream.run, "q1", 2, 409)["detail"])
            with open(hold, "wb"):
                pass
            stream.rest()
            self.assertEqual(self.heard(stream), {"1": 1})
            self.assertIn("has ended", self.answer(stream.run, "q1", 1, 409)["detail"])

    def test_answer_that_the_schema_refuses(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent,
                               {"question": {"message": "Go?", "schema": SCHEMA}})
            self.asked(stream, 1)
            detail = self.answer(stream.run, "q1", {"ok": "yes"}, 422)["detail"]
            self.assertIn("no answer to the question 'q1': at \"/ok\"", detail)
            self.answer(stream.run, "q1", True, 422)
            self.answer(stream.run, "q1", {"ok": True})
            stream.rest()
            self.assertEqual(self.heard(stream), {"1": {"ok": True}})

    def test_questions_that_are_none(self):
        for question, reason in (({"message": 1}, 'no "message"'), ({}, 'no "message"'),
                                 ({"message": "?", "id": 1}, "the host's to give"),
                                 ({"message": "?", "schema": {"pattern": "a"}}, '"pattern"'),
                                 ([], "no JSON object"), ("a" * 70000, "no JSON object"),
                                 ({"message": "a" * 65536}, "at most 65536 bytes")):
            stream = self.open(self.server, AGENT, {"question": question})
            stream.rest()
            self.assertEqual(types(stream.parser.events), ["run", "heard", "done"])
            wait_for(lambda: self.server.lines("run_ask(", reason, f"run={stream.run}"), reason)

    def test_nobody_answers_in_time(self):
        for agent in modes(AGENT):
            hold = self.path(f"late-{agent}")
            stream = self.open(self.server, agent, {"times": 2, "timeout_ms": 50, "hold": hold})
            self.events(stream, "heard", 2)
            self.assertIn("no longer waits", self.answer(stream.run, "q1", 1, 409)["detail"])
            self.assertEqual([heard["status"] for heard in self.events(stream, "heard", 2)],
                             [-errno.ETIMEDOUT] * 2)
            self.assertEqual([asked["id"] for asked in self.events(stream, "input_request", 2)],
                             ["q1", "q2"])
            self.assertNotIn("questions", self.wait_state(self.server, stream.run, "running"))
            with open(hold, "wb"):
                pass
            stream.rest()

    def test_too_many(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"tasks": 33})
            stream.until("heard")
            self.assertEqual(list(self.heard(stream).values()), [None])
            ids = self.asked(stream, 32)
            self.assertEqual(len(set(ids.values())), 32)
            for scope, question in reversed(ids.items()):
                self.answer(stream.run, question, scope)
            stream.rest()
            heard = {scope: answer for scope, answer in self.heard(stream).items() if answer}
            self.assertEqual(heard, {scope: scope for scope in ids})

    def test_cancelled_while_it_asks(self):
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {"tasks": 3})
            self.asked(stream, 3)
            self.cancel(self.server, stream.run)
            stream.rest()
            self.assertEqual(stream.done, CANCELLED)
            self.answer(stream.run, "q1", 1, 409)


class WaitTest(AskTest):
    """mode=wait, which answers with the question."""

    def setUp(self):
        super().setUp()
        self.server = self.watch(*modes(AGENT))

    def test_question_then_result(self):
        for agent in modes(AGENT):
            key = {"Idempotency-Key": f"k-{agent}"}
            first = self.server.post(agent, {}, "?mode=wait", key)
            self.assertEqual(first.status, 202, first.body)
            document = first.json()
            self.assertEqual(document["status"], "waiting")
            self.assertEqual(document["input_request"], {"scope": "1", "id": "q1", "message": "?"})
            again = self.server.post(agent, {}, "?mode=wait", key)
            self.assertEqual((again.status, again.json()), (202, document))
            self.answer(document["run"], "q1", "yes")
            last = self.server.post(agent, {}, "?mode=wait", key)
            self.assertEqual((last.status, last.json()["status"]), (200, "finished"))

    def test_question_after_an_answered_one(self):
        key = {"Idempotency-Key": "two"}
        run = self.server.post(AGENT, {"times": 2}, "?mode=wait", key).json()["run"]
        self.answer(run, "q1", 1)
        second = self.server.post(AGENT, {"times": 2}, "?mode=wait", key)
        self.assertEqual((second.status, second.json()["input_request"]["id"]), (202, "q2"))
        self.cancel(self.server, run)


class PatienceTest(AskTest):
    """How long a run waits without a reader."""

    def test_client_leaves_and_somebody_answers(self):
        self.server = self.watch(*modes(AGENT))
        for agent in modes(AGENT):
            stream = self.open(self.server, agent, {}, "?on_disconnect=cancel")
            self.asked(stream, 1)
            stream.close()
            gone = self.open(self.server, agent, {"question": [], "hold": "/nowhere"},
                             "?on_disconnect=cancel")
            gone.until("heard")
            gone.close()  # it does not wait, and is cancelled
            self.wait_state(self.server, gone.run, "cancelled")
            self.assertEqual(self.server.state(stream.run)["status"], "waiting")
            self.answer(stream.run, "q1", "yes")
            self.wait_state(self.server, stream.run, "finished")

    def test_nobody_comes_back(self):
        self.server = self.watch(*modes(AGENT), settings={f"plugin.{agent}.input_timeout": 1
                                                          for agent in modes(AGENT)})
        streams = [self.open(self.server, agent, {}, "?on_disconnect=continue")
                   for agent in modes(AGENT)]
        for stream in streams:
            self.asked(stream, 1)
            stream.close()
        for stream in streams:
            self.wait_state(self.server, stream.run, "cancelled")


class LookTest(AskTest):
    """Who looks at an ended run in another protocol sees all of it."""

    def test_ended_run(self):
        self.server = self.watch("kit")
        stream = self.open(self.server, "kit", {"prompt": "say:before ask say:after"})
        self.events(stream, "input_request", 1)
        self.answer(stream.run, "q1", {"ok": True})
        stream.rest()
        self.assertEqual(stream.done, FINISHED)
        for protocol, end in (("a2a", "TASK_STATE_COMPLETED"), ("openai", "data: [DONE]"),
                              ("responses", '"type":"response.completed"'),
                              ("ag-ui", '"type":"RUN_FINISHED"'), ("ai-sdk", "data: [DONE]"),
                              ("mcp", '"isError":false')):
            with self.subTest(protocol=protocol):
                seen = self.server.get(f"/runs/{stream.run}/events?protocol={protocol}").body.decode()
                self.assertIn("before", seen)
                self.assertIn("after", seen)
                self.assertIn(end, seen.rstrip().rsplit("\n\n", 1)[-1])
                if protocol in ("a2a", "openai", "responses"):  # in the others, more may follow a question
                    self.assertNotIn("input_required", seen.lower())


class SwapTest(AskTest):
    def test_swapped_while_it_waits(self):
        self.server = self.watch(AGENT)
        stream = self.open(self.server, AGENT, {"tasks": 2})
        ids = self.asked(stream, 2)
        path = os.path.join(self.server.server.plugin_folder, f"{AGENT}.so")
        shutil.copy(path, path + ".new")
        with open(path + ".new", "ab") as file:
            file.write(b"\0")
        os.rename(path + ".new", path)
        wait_for(lambda: self.server.lines("now serving", "generation=2"), "the swap")
        for scope, question in ids.items():
            self.answer(stream.run, question, scope)
        stream.rest()
        self.assertEqual(stream.done, FINISHED)
        self.assertEqual(self.heard(stream), {"1": "1", "2": "2"})


class TerminalTest(AskTest):
    def run_with(self, agent, value, lines, *options):
        ended = run_sluice("run", *options, plugin_path(agent), json.dumps(value),
                           stdin="".join(line + "\n" for line in lines).encode())
        events = [] if options else re.findall(rb"event: heard\ndata: (.*)\n", ended.stdout)
        return (ended, {event["scope"]: event["answer"] for event in map(json.loads, events)})

    def test_a_line_for_each_question(self):
        for agent in modes(AGENT):
            ended, heard = self.run_with(agent, {"tasks": 2}, ["one", '{"two": 2}', "left over"])
            self.assertEqual(ended.returncode, 0, ended)
            asked = [json.loads(data) for data in
                     re.findall(rb"event: input_request\ndata: (.*)\n", ended.stdout)]
            self.assertEqual([heard[question["scope"]] for question in
                              sorted(asked, key=lambda question: question["id"])],
                             ["one", {"two": 2}])

    def test_message_is_shown(self):
        question = {"message": "Really \u2603?", "schema": {"type": "boolean"}}
        ended, _ = self.run_with(AGENT, {"question": question}, ["maybe", "true"], "--text")
        self.assertEqual(ended.returncode, 0, ended)
        self.assertEqual(ended.stderr.decode().count("sluice: the agent asks: Really \u2603?\n"), 2)
        self.assertIn("this is no answer", ended.stderr.decode())

    def test_nobody_is_there(self):
        ended, _ = self.run_with(AGENT, {"tasks": 2}, ["one"])
        self.assertEqual(ended.returncode, 1, ended)
        self.assertIn(b"standard input has ended", ended.stderr)


if __name__ == "__main__":
    main()
