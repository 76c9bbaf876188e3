#!/usr/bin/python3
"""What ends a run before its agent does: a cancellation, a deadline, its last client's leaving."""

import os
import time

from ending import CANCELLED, FINISHED, NOBODY, EndTest, modes
from harness import main, types, wait_for


class CancelTest(EndTest):
    def setUp(self):
        super().setUp()
        self.server = self.watch("e2e_watch", "e2e_watch_fiber", "e2e_input", "e2e_input_fiber",
                                 "ticker")

    def check_seen(self, agent, how):
        path = self.path(f"{agent}-{how}")
        stream = self.open(self.server, agent, {"file": path, "how": how})
        stream.until("ready")
        begin = time.monotonic()
        state = self.cancel(self.server, stream.run)
        self.assertEqual((state["run"], state["status"]), (stream.run, "running"))
        self.assertIs(state["cancelling"], True)
        self.check_soon(begin, self.read_stamp(path))
        stream.rest()
        self.assertEqual(stream.done, CANCELLED)
        state = self.server.state(stream.run)
        self.assertEqual(state["status"], "cancelled")
        self.assertNotIn("cancelling", state)
        self.assertEqual(self.cancel(self.server, stream.run, 200), state)

    def test_seen_by_the_agent(self):
        for agent in modes("e2e_watch"):
            for how in ("poll", "sleep", "emit"):
                with self.subTest(agent=agent, how=how):
                    self.check_seen(agent, how)

    def test_seen_in_run_input(self):
        for agent in modes("e2e_input"):
            with self.subTest(agent=agent):
                stream = self.open(self.server, agent, {})
                stream.until("ask")
                self.wait_state(self.server, stream.run, "waiting")
                self.cancel(self.server, stream.run)
                self.assertEqual(types(stream.rest()), ["run", "ready", "ask", "done"])
                self.assertEqual(stream.done, CANCELLED)
                wait_for(lambda: self.server.lines("run_input() is cancelled, run_cancelled() "
                                                   "says 1", f"run={stream.run}"),
                         "the agent has seen it")

    def test_seen_by_an_agent_that_waits_for_its_reader(self):
        for agent in modes("e2e_watch"):
            with self.subTest(agent=agent):
                path = self.path(agent)
                stream = self.server.server.open(agent, {"file": path, "how": "flood"}, 4096,
                                                 may_pack=True)
                stream.until("ready")
                self.assertGreater(self.server.server.wait_held(stream.run), 100)
                begin = time.monotonic()
                self.cancel(self.server, stream.run)
                self.check_soon(begin, self.read_stamp(path))
                stream.rest()
                self.assertEqual(stream.done, CANCELLED)
                stream.close()

    def test_all_readers_are_told(self):
        first = self.open(self.server, "e2e_watch", {"how": "sleep"})
        first.until("ready")
        others = [self.server.reopen(first.run) for _ in range(5)]
        with self.server.connect() as waiting:
            waiting.post("e2e_watch", {}, "?mode=wait", {"Last-Event-ID": first.run + ".0"})
            for other in others:
                other.until("ready")
            self.cancel(self.server, first.run)
            for stream in (first, *others):
                self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
                self.assertEqual(stream.done, CANCELLED)
                stream.close()
            answer = waiting.response()
        self.assertEqual((answer.status, answer.json()["status"]), (409, "cancelled"))

    def test_again_and_again(self):
        """At most one gets the run before it is asked to stop; all get the same answer."""
        stream = self.open(self.server, "e2e_watch", {"how": "poll"})
        stream.until("ready")
        connections = [self.server.connect() for _ in range(20)]
        for connection in connections:
            connection.send(f"POST /runs/{stream.run}/cancel HTTP/1.1\r\nHost: localhost\r\n"
                            "Content-Length: 0\r\n\r\n".encode())
        for connection in connections:
            answer = connection.response()
            self.assertIn((answer.status, answer.json()["status"]),
                          ((202, "running"), (200, "cancelled")))
            connection.close()
        self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
        for _ in range(3):
            self.cancel(self.server, stream.run, 200)

    def test_with_a_body(self):
        """It is not looked at, whatever it is."""
        stream = self.open(self.server, "e2e_watch", {"how": "poll"})
        stream.until("ready")
        with self.server.connect() as connection:
            path = f"/runs/{stream.run}/cancel"
            self.assertEqual(connection.exchange("POST", path, b"not JSON").status, 202)
        stream.rest()
        self.assertEqual(stream.done, CANCELLED)

    def test_ended_run(self):
        for agent, value in (("ticker", {"count": 1, "period_ms": 1}), ("ticker", {"count": -1})):
            run = self.server.post(agent, value).headers["location"].removeprefix("/runs/")
            before = self.server.state(run)
            self.assertIn(before["status"], ("finished", "failed"))
            self.assertEqual(self.cancel(self.server, run, 200), before)
            self.assertEqual(self.server.state(run), before)

    def test_no_such_run(self):
        with self.server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{NOBODY}/cancel")
            self.check_problem(answer, 404, "Not Found", "there is no such run, or it ended so "
                               "long ago that it is forgotten")

    def test_wrong_method(self):
        run = self.server.detach("ticker", {"count": 1000, "period_ms": 100})
        with self.server.connect() as connection:
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                answer = connection.exchange(method, f"/runs/{run}/cancel")
                self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        state = self.server.state(run)
        self.assertEqual((state["status"], state.get("cancelling")), ("running", None))
        self.cancel(self.server, run)
        self.wait_state(self.server, run, "cancelled")

    def test_run_that_waits_for_a_thread(self):
        server = self.watch("e2e_watch", settings={"plugin.e2e_watch.threads": 1})
        first = self.open(server, "e2e_watch", {"how": "sleep"})
        first.until("ready")
        second = self.open(server, "e2e_watch", {"how": "sleep", "file": self.path("second")})
        second.until("run")
        self.cancel(server, second.run)
        self.assertEqual(types(second.rest()), ["run", "done"])
        self.assertEqual(second.done, CANCELLED)
        self.assertEqual(server.state(first.run)["status"], "running")
        self.assertFalse(os.path.exists(self.path("second.begun")), "its handle() was called")


class QueuedTest(EndTest):
    """One run at a time: the second is queued."""

    def setUp(self):
        super().setUp()
        self.server = self.watch("e2e_watch", settings={"plugin.e2e_watch.max_live": 1,
                                                        "plugin.e2e_watch.on_disconnect": 1})
        self.first = self.open(self.server, "e2e_watch", {"how": "sleep"})
        self.first.until("ready")
        self.run_id = self.server.detach("e2e_watch", {"how": "sleep", "file": self.path("queued")})
        self.assertEqual(self.server.state(self.run_id),
                         {"run": self.run_id, "agent": "e2e_watch", "status": "queued",
                          "events": 0})

    def check_rest(self):
        """The first goes on, and lets others in when it ends."""
        self.assertEqual(self.server.state(self.first.run)["status"], "running")
        third = self.open(self.server, "e2e_watch", {"how": "sleep"})
        self.cancel(self.server, self.first.run)
        third.until("ready")
        self.assertFalse(os.path.exists(self.path("queued.begun")), "the queued run was started")

    def test_cancelled(self):
        stream = self.server.reopen(self.run_id)
        state = self.cancel(self.server, self.run_id, 200)
        self.assertEqual(state, {"run": self.run_id, "agent": "e2e_watch", "status": "cancelled",
                                 "events": 1, "reason": "client"})
        self.assertEqual([(event.sequence, event.type) for event in stream.rest()], [(1, "done")])
        self.assertEqual(stream.done, CANCELLED)
        stream.close()
        self.cancel(self.server, self.run_id, 200)
        self.check_rest()

    def test_waited_for(self):
        with self.server.connect() as waiting:
            waiting.post("e2e_watch", {}, "?mode=wait", {"Last-Event-ID": self.run_id + ".0"})
            self.cancel(self.server, self.run_id, 200)
            answer = waiting.response()
        self.assertEqual((answer.status, answer.json()), (409, {
            "run": self.run_id, "agent": "e2e_watch", "text": "", "status": "cancelled",
            "reason": "client"}))

    def test_deserted(self):
        stream = self.open(self.server, "e2e_watch", {"how": "sleep", "file": self.path("queued")})
        wait_for(lambda: stream.connection.parser.status or stream.read(), "the headers are there")
        run = stream.run
        left = time.monotonic()
        stream.close()
        state = self.wait_state(self.server, run, "cancelled")
        self.assertEqual(state["reason"], "disconnect")
        self.check_soon(left, time.monotonic(), 1)
        self.cancel(self.server, self.run_id, 200)
        self.check_rest()

    def test_deadline(self):
        begin = time.monotonic()
        stream = self.open(self.server, "e2e_watch", {"file": self.path("queued")}, "?deadline=1")
        self.assertEqual(types(stream.rest()), ["done"])
        self.check_failed(stream.done, "deadline")
        self.check_soon(begin, time.monotonic(), 1)
        self.cancel(self.server, self.run_id, 200)
        self.check_rest()


class DeadlineTest(EndTest):
    WORDS = "the run took longer than its deadline allows"

    def check_deadline(self, server, agent, value, query, seconds=1):
        begin = time.monotonic()
        stream = self.open(server, agent, value, query)
        stream.rest()
        self.check_soon(begin, time.monotonic(), seconds)
        self.assertEqual(stream.done, {"status": "failed", "error": {"code": "deadline",
                                                                     "message": self.WORDS}})
        self.assertEqual(server.state(stream.run)["error"], stream.done["error"])
        return stream

    def test_of_the_request(self):
        server = self.watch("e2e_watch", "e2e_watch_fiber")
        for agent in modes("e2e_watch"):
            with self.subTest(agent=agent):
                path = self.path(agent)
                begin = time.monotonic()
                self.check_deadline(server, agent, {"how": "sleep", "file": path}, "?deadline=1")
                self.check_soon(begin, self.read_stamp(path), 1)

    def test_of_the_plugin(self):
        server = self.watch("ticker", settings={"plugin.ticker.deadline": 1})
        stream = self.check_deadline(server, "ticker", {"count": 1000, "period_ms": 20}, "")
        self.assertGreater(len(stream.parser.events), 10)

    def test_smaller_one_counts(self):
        value = {"count": 1000, "period_ms": 20}
        server = self.watch("ticker", settings={"plugin.ticker.deadline": 1})
        self.check_deadline(server, "ticker", value, "?deadline=60")
        server = self.watch("ticker", settings={"plugin.ticker.deadline": 60})
        self.check_deadline(server, "ticker", value, "?deadline=1")
        server = self.watch("ticker", settings={"plugin.ticker.deadline": 2})
        self.check_deadline(server, "ticker", value, "?deadline=2", 2)

    def test_run_that_ends_before(self):
        server = self.watch("ticker", settings={"plugin.ticker.deadline": 1})
        value = {"count": 2, "period_ms": 1}
        run = server.detach("ticker", value)
        self.wait_state(server, run, "finished")
        late = server.post("ticker", {"count": 1000, "period_ms": 20})
        self.assertIn(b'"code":"deadline"', late.body)
        self.assertEqual(server.state(run)["status"], "finished")

    def test_other_modes(self):
        server = self.watch("ticker")
        value = {"count": 1000, "period_ms": 20}
        answer = server.post("ticker", value, "?mode=wait&deadline=1")
        self.assertEqual((answer.status, answer.json()["error"]["code"]), (500, "deadline"))
        run = server.detach("ticker", value, "&deadline=1")
        self.assertEqual(self.wait_state(server, run, "failed")["error"]["code"], "deadline")

    def test_counts_from_the_request(self):
        """Whoever comes back later has no more time."""
        server = self.watch("ticker")
        begin = time.monotonic()
        run = server.detach("ticker", {"count": 1000, "period_ms": 20}, "&deadline=1")
        wait_for(lambda: server.state(run)["events"] > 20, "the run is on its way")
        stream = server.reopen(run)
        stream.rest()
        stream.close()
        self.check_failed(stream.done, "deadline")
        self.check_soon(begin, time.monotonic(), 1)

    def test_bad_value(self):
        server = self.watch("ticker")
        for bad in ("0", "-1", "x", "", "1.5", "86401", "1s", "%201", "99999999999999999999"):
            with self.subTest(deadline=bad):
                self.check_problem(server.post("ticker", {}, f"?deadline={bad}"), 400,
                                   "Bad Request", "deadline is 1 to 86400 seconds")
        self.assertEqual(server.workers_of("ticker")[0]["started_runs"], 0)


class DisconnectTest(EndTest):
    VALUE = {"count": 60, "period_ms": 20}

    def serve_with(self, on_disconnect):
        settings = {}
        if on_disconnect:
            settings = {f"plugin.{agent}.on_disconnect": on_disconnect
                        for agent in ("ticker", "e2e_watch")}
        return self.watch("ticker", "e2e_watch", settings=settings)

    def leave(self, server, query="", headers=None):
        """Starts a run, reads a bit of it and leaves; its id."""
        stream = server.server.open("ticker", self.VALUE, query=query, headers=headers)
        stream.until("tick")
        stream.close()
        return stream.run

    def check_cancelled(self, server, run, since, seconds):
        self.wait_state(server, run, "cancelled", "finished")
        self.check_soon(since, time.monotonic(), seconds)
        self.assertEqual(server.state(run)["status"], "cancelled")

    def check_finished(self, server, run):
        state = self.wait_state(server, run, "cancelled", "finished")
        self.assertEqual((state["status"], state["events"]), ("finished", self.VALUE["count"] + 2))

    def test_cancel(self):
        for setting, query in (("cancel", ""), ("continue", "?on_disconnect=cancel"),
                               (None, "?on_disconnect=cancel")):
            with self.subTest(setting=setting, query=query):
                server = self.serve_with(setting)
                self.check_cancelled(server, self.leave(server, query), time.monotonic(), 0)

    def test_continue(self):
        for setting, query in (("continue", ""), ("cancel", "?on_disconnect=continue"),
                               (None, "")):
            with self.subTest(setting=setting, query=query):
                server = self.serve_with(setting)
                run = self.leave(server, query)
                self.check_finished(server, run)
                events = server.reopen(run)
                self.assertEqual(types(events.rest()), ["run"] + ["tick"] * 60 + ["done"])
                events.close()

    def test_seconds(self):
        for setting, query in ((1, ""), ("cancel", "?on_disconnect=1"),
                               ("continue", "?on_disconnect=1")):
            with self.subTest(setting=setting, query=query):
                server = self.serve_with(setting)
                path = self.path(f"seconds-{setting}")
                stream = self.open(server, "e2e_watch", {"how": "sleep", "file": path}, query)
                stream.until("ready")
                left = time.monotonic()
                stream.close()
                self.check_soon(left, self.read_stamp(path), 1)
                self.check_cancelled(server, stream.run, left, 1)

    def test_who_comes_back_in_time_keeps_it(self):
        server = self.serve_with(1)
        begin = time.monotonic()
        run = self.leave(server)
        ways = ({"headers": None}, {"headers": {"Last-Event-ID": run + ".2"}})
        for turn in range(8):
            # Each is away for a part of the grace, all of them for longer than it.
            wait_for(lambda: server.state(run)["events"] >= 7 * (turn + 1), "the run goes on")
            stream = server.reopen(run, 0 if turn % 2 == 0 else 2, **ways[turn % 2])
            stream.until("tick")
            stream.close()
        self.assertGreater(time.monotonic() - begin, 1)
        self.check_finished(server, run)

    def test_who_comes_back_and_stays_keeps_it(self):
        server = self.serve_with(1)
        run = self.leave(server)
        stream = server.reopen(run)
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 60 + ["done"])
        stream.close()

    def test_who_comes_back_to_wait_keeps_it(self):
        server = self.serve_with(1)
        run = self.leave(server)
        answer = server.post("ticker", self.VALUE, "?mode=wait", {"Last-Event-ID": run + ".2"})
        self.assertEqual((answer.status, answer.json()["status"]), (200, "finished"))

    def test_grace_begins_when_the_last_one_leaves(self):
        for on_disconnect, seconds in (("cancel", 0), ("1", 1)):
            with self.subTest(on_disconnect=on_disconnect):
                server = self.serve_with(on_disconnect)
                first = server.server.open("e2e_watch", {"how": "sleep"})
                first.until("ready")
                second, third = server.reopen(first.run), server.reopen(first.run)
                second.until("ready")
                third.until("ready")
                first.close()
                second.close()
                self.server_turns(server)
                state = server.state(first.run)
                self.assertEqual((state["status"], state.get("cancelling")), ("running", None))
                left = time.monotonic()
                third.close()
                self.check_cancelled(server, first.run, left, seconds)

    def server_turns(self, server):
        """Longer than any grace, and than it takes to learn that a client left."""
        self.assertEqual(server.run("ticker", {"count": 11, "period_ms": 100})[-1].json(), FINISHED)

    def test_detached(self):
        """It has no client that could leave; once it had one, the request's word counts."""
        server = self.serve_with("cancel")
        run = server.detach("ticker", self.VALUE)
        stream = server.reopen(run)
        stream.until("tick")
        stream.close()
        self.check_finished(server, run)

    def test_detached_with_a_grace(self):
        """Without a reader it has its grace from the start, and again when the last one left."""
        server = self.serve_with(None)
        value, query = {"count": 1000, "period_ms": 20}, "&on_disconnect=1"
        begun = time.monotonic()
        unread, run = server.detach("ticker", value, query), server.detach("ticker", value, query)
        stream = server.reopen(run)
        self.check_cancelled(server, unread, begun, 1)
        self.assertEqual(server.state(run)["status"], "running")
        left = time.monotonic()
        stream.close()
        self.check_cancelled(server, run, left, 1)

    def test_who_waits_and_leaves(self):
        server = self.serve_with(None)
        path = self.path("wait")
        connection = server.connect()
        connection.post("e2e_watch", {"how": "sleep", "file": path},
                        "?mode=wait&on_disconnect=cancel")
        wait_for(lambda: os.path.exists(path + ".begun"), "the run has begun")
        left = time.monotonic()
        connection.close()
        self.check_soon(left, self.read_stamp(path))

    def test_resuming_does_not_change_it(self):
        """What was said when the run was started counts."""
        server = self.serve_with("continue")
        run = self.leave(server)
        self.leave_again(server, run)
        self.check_finished(server, run)

    def leave_again(self, server, run):
        stream = server.server.open("ticker", self.VALUE, query="?on_disconnect=cancel",
                                    headers={"Last-Event-ID": run + ".0"})
        stream.until("tick")
        self.assertEqual(stream.run, run)
        stream.close()

    def test_bad_value(self):
        server = self.serve_with(None)
        for bad in ("0", "-1", "never", "", "Cancel", "86401", "1.5"):
            with self.subTest(on_disconnect=bad):
                answer = server.post("ticker", {}, f"?on_disconnect={bad}")
                self.assertEqual(answer.status, 400)
                self.assertTrue(answer.json()["detail"].startswith("on_disconnect is "))


if __name__ == "__main__":
    main()
