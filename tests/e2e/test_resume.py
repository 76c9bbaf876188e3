#!/usr/bin/python3
"""Clients that are cut and come back: by a last event id, or by an idempotency key."""

import itertools
import json
import random
import re
import socket
import struct
import uuid

from harness import (SANITIZED, Identity, Stream, main, read_stream, request_bytes, run_request,
                     text_of, types, wait_for)
from supervising import SupervisionTest

NOBODY = "0" * 26  # an id that no run has


class EventSource:
    """
    What a client keeps of all the bodies that it reads, as the HTML standard has it: a block
    counts once its blank line was read, its id too, and what has no data is no event.
    """

    def __init__(self):
        self.last_id = ""
        self.events = []

    def take(self, body):
        for block in body.split(b"\n\n")[:-1]:
            fields = block.split(b"\n")
            for field in fields:
                if field.startswith(b"id: "):
                    self.last_id = field[4:].decode()
            if any(field.startswith(b"data: ") for field in fields):
                self.events.append(block + b"\n\n")


def events_of(body):
    client = EventSource()
    client.take(body)
    return client.events


class ResumeTest(SupervisionTest):
    on_disconnect = None  # as the host has it

    def started_runs(self, server, agent):
        return sum(worker["started_runs"] for worker in server.workers_of(agent))

    def exchange(self, server, method, path, headers=None, body=None):
        with server.connect() as connection:
            return connection.exchange(method, path, body, headers)

    def end_of(self, server, run):
        wait_for(lambda: server.state(run)["status"] not in ("queued", "running", "waiting"),
                 "the run ends")
        return server.state(run)


# ---- cut at every byte ----

def long_text(length):
    return "".join(itertools.islice(itertools.cycle("Füße, 読む, 🦀; "), length))


def unpacked(events):
    """The events with all text in a row as one."""
    joined = []
    for event in events:
        type_, data, _ = event.rstrip(b"\n").split(b"\n")
        if type_ != b"event: text":
            joined.append(event)
            continue
        delta = json.loads(data.removeprefix(b"data: "))["delta"]
        if joined and isinstance(joined[-1], str):
            joined[-1] += delta
        else:
            joined.append(delta)
    return joined


def varied_calls():
    """What e2e_emit emits: long and short, of many types, text of one to four bytes a letter."""
    texts = ["", "a", "\u00e4\u00f6\u00fc", "\u8aad\u3080", "\U0001f980" * 3, "line\nbreak\r\n\n",
             "\\\"\u2028\u2029", long_text(700)]
    calls = [{"op": "text", "text": text} for text in texts]
    for n in range(8):
        calls.append({"op": "event", "type": f"t.{'x' * n}", "text": json.dumps({"n": n})})
    calls += [{"op": "event", "type": "step", "text": '"id: 1.1\\n\\n"'},
              {"op": "event", "type": "T" * 64, "text": "null"},
              {"op": "event", "type": "state", "fill": 1200},
              {"op": "event", "type": "e", "text": "0"},
              {"op": "result", "text": '{"all":"told"}'}]
    return {"calls": calls}


class CutTest(ResumeTest):
    """
    connect() is all that knows how a client reaches the server, and leave() how it cuts its
    connection.
    """

    STEP = 1  # bytes from one cut to the next

    def connect(self, server):
        return server.connect()

    def leave(self, connection):
        """Most connections are reset, the others closed."""
        if random.random() < 0.9:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         struct.pack("ii", 1, 0))
        connection.close()

    def requests(self, agent, value, run, last_id):
        """All that a client may send to go on behind what it has."""
        path = f"/runs/{run}/events"
        if last_id == "":
            return [request_bytes("GET", path)]
        return [request_bytes("GET", f"{path}?after={last_id.partition('.')[2]}"),
                request_bytes("GET", path, headers={"Last-Event-ID": last_id}),
                request_bytes("GET", f"{path}?last_event_id={last_id}"),
                request_bytes("GET", f"{path}?lastEventId={last_id}"),
                request_bytes("GET", path, None, {"Last-Event-ID": last_id + " \t"}),
                run_request(agent, value, headers={"Last-Event-ID": last_id})]

    def read(self, server, request, cut):
        """The answer's body up to the cut, and whether that is all of it."""
        connection = self.connect(server)
        connection.send(request)
        connection.expect()
        parser = connection.parser
        while (cut is None or len(parser.body) < cut or parser.status is None) and \
                connection.read():
            pass
        self.assertIn(parser.status, (200, 204), bytes(parser.body))
        self.leave(connection)
        body = bytes(parser.body)
        if cut is None or (parser.done and cut > len(body)):
            return body, True
        return body[:cut], False

    def reconstruct(self, server, agent, value, run, cuts):
        """Reads a run's stream over as many connections as there are cuts, and one more."""
        client = EventSource()
        for cut in cuts + [None]:
            request = random.choice(self.requests(agent, value, run, client.last_id))
            body, whole = self.read(server, request, cut)
            client.take(body)
            if whole:
                break
        return client

    def check(self, client, events, cuts):
        self.assertEqual(b"".join(client.events), b"".join(events), f"cut at {cuts}")

    def test_every_byte(self):
        server = self.watch("e2e_emit")
        value = varied_calls()
        run = server.post("e2e_emit", value).headers["location"].removeprefix("/runs/")
        body = server.get(f"/runs/{run}/events").body
        self.assertEqual(len(read_stream(body)), len(value["calls"]) + 2)
        self.assertIn("🦀".encode(), body)
        events = events_of(body)
        for first in range(0, len(body) + 1, 7 if SANITIZED else self.STEP):
            cuts = [first] + [random.randint(0, len(body)) for _ in range(random.randint(0, 3))]
            client = self.reconstruct(server, "e2e_emit", value, run, cuts)
            self.check(client, events, cuts)
        self.assertEqual(self.started_runs(server, "e2e_emit"), 1)

    def check_long_log(self, type_, normal):
        """The log is sent in many pieces; normal() makes comparable what a client has read."""
        server = self.watch("e2e_emit")
        value = {"calls": [{"op": "event", "type": "large", "fill": 200 * 1024}] +
                 [{"op": "event", "type": "medium", "fill": 5000}] * 80 +
                 [{"op": "event", "type": type_, "text": json.dumps({"delta": long_text(n % 90)})}
                  for n in range(800)]}
        run = server.post("e2e_emit", value).headers["location"].removeprefix("/runs/")
        body = server.get(f"/runs/{run}/events").body
        events = normal(events_of(body))
        self.assertGreater(len(body), 600 * 1024)
        for _ in range(10 if SANITIZED else 60):
            cuts = [random.randint(0, len(body)) for _ in range(3)]
            client = self.reconstruct(server, "e2e_emit", value, run, cuts)
            self.assertEqual(normal(client.events), events, f"cut at {cuts}")

    def test_long_log(self):
        self.check_long_log("reasoning", list)

    def test_long_log_of_text(self):
        """Text may be packed, each time otherwise."""
        self.check_long_log("text", unpacked)

    def test_live_run(self):
        server = self.watch("ticker")
        for n in range(3):
            value = {"count": 300, "period_ms": 2, "bytes": random.randint(10, 300)}
            uncut = server.server.open("ticker", value)
            uncut.until("run")
            cuts = [random.randint(0, 1000) for _ in range(1000)]
            client = self.reconstruct(server, "ticker", value, uncut.run, cuts)
            self.assertEqual(types(uncut.rest()), ["run"] + ["tick"] * 300 + ["done"])
            uncut.close()
            self.check(client, events_of(server.get(f"/runs/{uncut.run}/events").body), cuts)
            self.assertEqual(self.started_runs(server, "ticker"), n + 1)

    def test_live_run_that_nobody_else_reads(self):
        """It goes on while its only client is away."""
        server = self.watch("ticker")
        value = {"count": 300, "period_ms": 1, "bytes": 100}
        connection = self.connect(server)
        connection.send(run_request("ticker", value))
        stream = Stream(connection)
        stream.until("run")
        self.leave(connection)
        cuts = [random.randint(0, 3000) for _ in range(1000)]
        client = self.reconstruct(server, "ticker", value, stream.run, cuts)
        body = server.get(f"/runs/{stream.run}/events").body
        self.assertEqual(types(read_stream(body)), ["run"] + ["tick"] * 300 + ["done"])
        self.check(client, events_of(body), cuts)
        self.assertEqual(self.started_runs(server, "ticker"), 1)


class TlsCutTest(CutTest):
    STEP = 3

    def setUp(self):
        super().setUp()
        self.tls = Identity(self.folder, "server")


# ---- what may be asked for ----

class PositionTest(ResumeTest):
    def setUp(self):
        super().setUp()
        self.server = self.watch("ticker", "e2e_emit")
        self.value = {"count": 3, "period_ms": 1}
        answer = self.server.post("ticker", self.value)
        self.run_id = answer.headers["location"].removeprefix("/runs/")
        self.body = answer.body
        self.last = len(read_stream(answer.body))

    def get(self, query="", headers=None, method="GET", run=None):
        return self.exchange(self.server, method, f"/runs/{run or self.run_id}/events{query}",
                             headers)

    def post(self, last_id, query="", agent="ticker"):
        return self.server.post(agent, self.value, query, {"Last-Event-ID": last_id})

    def test_protocol_of_a_stream(self):
        for query, first in (("protocol=native", b"retry: "), ("protocol=message", b"retry: "),
                             ("protocol=native&as=message", b"retry: "),
                             ("protocol=ag-ui", b'data: {"type":"RUN_STARTED"')):
            answer = self.get("?" + query)
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.body.startswith(first), answer.body)
            self.assertEqual(b"event: done" in answer.body, query == "protocol=native", answer.body)
        self.check_problem(self.get("?protocol=ag-ui&as=message"), 400, "Bad Request",
                           "as is of the protocol native; leave one of both out")
        self.check_problem(self.get("?protocol=soap"), 400, "Bad Request",
                           "protocol is one of native, message, openai, responses, ag-ui, ai-sdk, a2a, mcp")

    def test_every_position(self):
        events = events_of(self.body)
        for after in range(self.last):
            begin = f"retry: 1000\nid: {self.run_id}.{after}\n\n".encode()
            wanted = begin + b"".join(events[after:])
            last_id = f"{self.run_id}.{after}"
            for answer in (self.get(f"?after={after}"), self.get(f"?last_event_id={last_id}"),
                           self.get(headers={"Last-Event-ID": last_id}), self.post(last_id)):
                self.assertEqual((answer.status, answer.body), (200, wanted))
                self.assertEqual(answer.headers["content-type"], "text/event-stream")
                self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_header_goes_before_queries(self):
        answer = self.get(f"?after=1&last_event_id={self.run_id}.2",
                          {"Last-Event-ID": f"{self.run_id}.3"})
        self.assertEqual([event.sequence for event in read_stream(answer.body, 3)], [4, 5])
        answer = self.get(f"?after=1&last_event_id={self.run_id}.2", {"Last-Event-ID": ""})
        self.assertEqual([event.sequence for event in read_stream(answer.body, 2)], [3, 4, 5])

    def test_nothing_follows(self):
        last_id = f"{self.run_id}.{self.last}"
        for answer in (self.get(f"?after={self.last}"), self.get(f"?last_event_id={last_id}"),
                       self.get(headers={"Last-Event-ID": last_id})):
            self.assertEqual((answer.status, answer.body), (204, b""))
        stream = f"retry: 1000\nid: {last_id}\n\n".encode()
        for number in range(1, 66):  # clients that take an empty answer for a cut ask again
            answer = self.post(last_id)
            self.assertEqual((answer.status, answer.body),
                             (200, stream) if number in (1, 8, 64) else (204, b""))
        self.assertEqual(self.started_runs(self.server, "ticker"), 1)

    def test_live_run_is_read_from_its_last_event_on(self):
        """To be at the end of what there is, is not to be at the end."""
        live = self.server.open("ticker", {"count": 30, "period_ms": 20})
        live.until("tick")
        resumed = self.server.reopen(live.run, after=2)
        self.assertEqual(types(resumed.rest()), ["tick"] * 29 + ["done"])
        resumed.close()

    def test_beyond_the_end(self):
        beyond = f"{self.run_id}.{self.last + 1}"
        detail = f"the run has no event {self.last + 1}; its last is {self.last}"
        for answer in (self.get(f"?after={self.last + 1}"), self.get(f"?last_event_id={beyond}"),
                       self.get(headers={"Last-Event-ID": beyond}), self.post(beyond)):
            self.check_problem(answer, 400, "Bad Request", detail)

    def test_malformed(self):
        run = self.run_id
        for bad in ("x", run, run + ".", run + ".x", run + ".-1", run + ". 1", run + ".1.1",
                    run + ".0x1", run[:-1] + ".1", run + "0.1", "." + run + ".1",
                    run + "." + "9" * 19):
            with self.subTest(id=bad):
                self.assertEqual(self.get(headers={"Last-Event-ID": bad}).status, 400)
                self.assertEqual(self.post(bad).status, 400)
        for bad in ("x", "-1", "%201", "", "1.0", "9" * 19):
            with self.subTest(after=bad):
                self.check_problem(self.get(f"?after={bad}"), 400, "Bad Request",
                                   "after must be the number of an event, or 0")
        self.assertEqual(self.started_runs(self.server, "ticker"), 1)

    def test_id_of_another_run(self):
        other = self.server.detach("ticker", self.value)
        for answer in (self.get(headers={"Last-Event-ID": other + ".1"}),
                       self.get(f"?last_event_id={other}.1")):
            self.check_problem(answer, 400, "Bad Request",
                               "the last event id is not of this run; its ids are RUN.N")

    def test_id_of_another_agent(self):
        self.check_problem(self.post(self.run_id + ".1", agent="e2e_emit"), 400, "Bad Request",
                           "Last-Event-ID is of a run of another agent")
        self.assertEqual(self.started_runs(self.server, "e2e_emit"), 0)

    def test_id_of_no_run(self):
        for answer in (self.post(NOBODY + ".1"), self.get(run=NOBODY),
                       self.get(run=NOBODY, method="HEAD")):
            self.assertEqual(answer.status, 404)
        self.assertEqual(self.started_runs(self.server, "ticker"), 1)

    def test_forgotten_run(self):
        server = self.watch("ticker", settings={"host.retention": 1})
        answer = server.post("ticker", self.value)
        run = answer.headers["location"].removeprefix("/runs/")
        self.assertEqual(server.get("/runs/" + run).status, 200)
        wait_for(lambda: server.get("/runs/" + run).status == 404, "the run is forgotten")
        last_id = {"Last-Event-ID": run + ".2"}
        self.assertEqual(server.post("ticker", self.value, headers=last_id).status, 404)
        for path in (f"/runs/{run}/events", f"/runs/{run}/events?after=2"):
            self.assertEqual(server.get(path).status, 404)
        for path in ("cancel", "input"):
            answer = self.exchange(server, "POST", f"/runs/{run}/{path}",
                                   {"Content-Type": "application/json"}, b"{}")
            self.assertEqual(answer.status, 404)
        self.assertEqual(self.started_runs(server, "ticker"), 1)

    def test_head(self):
        """It says what GET would, and reads nothing."""
        live = self.server.detach("ticker", {"count": 1000, "period_ms": 1000})
        with self.server.connect() as connection:
            for run in (self.run_id, live, self.run_id):
                answer = connection.exchange("HEAD", f"/runs/{run}/events")
                self.assertEqual((answer.status, answer.body), (200, b""))
                self.assertEqual(answer.headers["content-type"], "text/event-stream")
            self.assertEqual(connection.exchange("HEAD", f"/runs/{self.run_id}/events?after=99")
                             .status, 400)
            answer = connection.exchange("GET", f"/runs/{self.run_id}/events")
            self.assertEqual(answer.body, self.body)

    def test_connection_is_kept(self):
        """A stream that has ended leaves its connection to the next request."""
        with self.server.connect() as connection:
            for after in (0, 2, self.last, 1):
                answer = connection.exchange("GET", f"/runs/{self.run_id}/events?after={after}")
                self.assertEqual(answer.status, 204 if after == self.last else 200)

    def test_wait_after_a_cut(self):
        """The document has all of the run, wherever the client was."""
        value = {"calls": [{"op": "text", "text": word} for word in ("one ", "two ", "three")]}
        stream = self.server.open("e2e_emit", value)
        stream.until("text")
        stream.close()
        answer = self.server.post("e2e_emit", value, "?mode=wait",
                                  {"Last-Event-ID": stream.run + ".2"})
        self.assertEqual((answer.status, answer.json()["run"], answer.json()["text"]),
                         (200, stream.run, "one two three"))
        self.assertEqual(self.started_runs(self.server, "e2e_emit"), 1)


# ---- what is not kept any more ----

class GapTest(ResumeTest):
    LOG_SIZE = 64 * 1024
    HEAD = 4  # bytes that the log takes for an event besides its JSON
    COUNT = 3000

    def setUp(self):
        super().setUp()
        self.server = self.watch("e2e_flood", "ticker", settings={"host.log_size": "64K"})

    def flood(self, bytes_=400):
        run = self.server.detach("e2e_flood", {"count": self.COUNT, "bytes": bytes_})
        self.assertEqual(self.end_of(self.server, run)["events"], self.COUNT + 2)
        return run

    def dropped(self, run):
        """The number of the last event that is not kept."""
        stream = self.server.reopen(run)
        gap = stream.until("gap")
        stream.close()
        return gap.json()["to"]

    def check_rest(self, events, after):
        """All floods behind this event, and the end."""
        self.assertEqual([event.sequence for event in events],
                         list(range(after + 1, self.COUNT + 3)))
        self.assertEqual([event.json()["n"] for event in events[:-1]],
                         list(range(after, self.COUNT + 1)))
        self.assertEqual(events[-1].json(), {"status": "finished",
                                             "result": {"emitted": self.COUNT}})

    def test_gap(self):
        run = self.flood()
        stream = self.server.reopen(run)
        first, *events = stream.rest()
        stream.close()
        self.assertEqual(first.type, "gap")
        gap = first.json()
        self.assertEqual(gap, {"from": 1, "to": first.sequence})
        self.check_rest(events, gap["to"])
        kept = [self.HEAD + len(re.search(rb"(?m)^data: (.*)$", event)[1]) for event in
                events_of(self.server.get(f"/runs/{run}/events").body)[1:]]
        self.assertLessEqual(sum(kept), self.LOG_SIZE)
        self.assertGreater(sum(kept), self.LOG_SIZE - 2 * kept[0])

    def test_position_in_the_gap(self):
        run = self.flood()
        to = self.dropped(run)
        for after in (1, to // 2, to - 1):
            stream = self.server.reopen(run, after)
            first, *events = stream.rest()
            stream.close()
            self.assertEqual((first.type, first.json()), ("gap", {"from": after + 1, "to": to}))
            self.check_rest(events, to)

    def test_no_second_gap(self):
        run = self.flood()
        to = self.dropped(run)
        for after in (to, to + 1, self.COUNT):
            stream = self.server.reopen(run, after)
            self.check_rest(stream.rest(), after)
            self.assertEqual(stream.parser.gaps, [])
            stream.close()

    def test_cuts_around_the_gap(self):
        """The gap has an id as any event: who has read it is behind it."""
        run = self.flood()
        path = f"/runs/{run}/events"
        body = self.server.get(path).body
        for cut in range(500):
            client = EventSource()
            client.take(body[:cut])
            headers = {"Last-Event-ID": client.last_id} if client.last_id else None
            client.take(self.exchange(self.server, "GET", path, headers).body)
            self.assertEqual(client.events, events_of(body), f"cut at {cut}")

    def test_live_run_with_a_gap(self):
        """Who reads is never told of a gap that comes behind it."""
        stream = self.server.open("ticker", {"count": 600, "period_ms": 1, "bytes": 1000})
        stream.until("tick")
        late = wait_for(lambda: self.late_reader(stream), "events are dropped")
        numbers = [event.json()["n"] for event in late.rest() if event.type == "tick"]
        self.assertEqual(numbers, list(range(late.parser.gaps[0]["to"], 601)))
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 600 + ["done"])
        stream.close()
        late.close()

    def test_with_hardly_any_history(self):
        """What was sent is gone, what comes is not."""
        server = self.watch("ticker", settings={"host.log_size": "1K"})
        stream = server.open("ticker", {"count": 60, "period_ms": 10})
        while len(stream.parser.events) < 30:
            stream.read()
        late = server.reopen(stream.run)
        self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 60 + ["done"])
        gap, *events = late.rest()
        self.assertEqual((gap.type, gap.json()["from"]), ("gap", 1))
        self.assertEqual([event.sequence for event in events],
                         list(range(gap.json()["to"] + 1, 63)))
        stream.close()
        late.close()

    def late_reader(self, stream):
        """One that joins now, if what the other one has read is dropped already."""
        stream.read()
        late = self.server.reopen(stream.run)
        while not late.parser.events:
            late.read()
        if late.parser.gaps:
            return late
        late.close()
        return None

    def test_wait_with_a_gap(self):
        run = self.flood()
        answer = self.server.post("e2e_flood", {}, "?mode=wait", {"Last-Event-ID": run + ".0"})
        self.assertEqual(answer.status, 200)
        document = answer.json()
        self.assertEqual((document["run"], document["status"], document["truncated"]),
                         (run, "finished", True))
        for name in ("agent", "version", "generation"):
            self.assertEqual(document[name], self.server.state(run)[name])


# ---- the same request once more ----

class KeyTest(ResumeTest):
    VALUE = {"calls": [{"op": "text", "text": "once"}]}

    def setUp(self):
        super().setUp()
        self.server = self.watch("e2e_emit", "ticker")

    def post(self, key, value=None, query="", agent="e2e_emit"):
        return self.server.post(agent, self.VALUE if value is None else value, query,
                                {"Idempotency-Key": key})

    def run_of(self, answer, status=200):
        self.assertEqual(answer.status, status, answer.body)
        return answer.headers["location"].removeprefix("/runs/")

    def test_same_key_is_the_same_run(self):
        first, second = self.post("k"), self.post("k")
        self.assertEqual(self.run_of(first), self.run_of(second))
        self.assertEqual(first.body, second.body)
        self.assertEqual(text_of(read_stream(second.body)), "once")
        self.assertEqual(self.started_runs(self.server, "e2e_emit"), 1)
        self.assertNotEqual(self.run_of(self.post("K")), self.run_of(first))
        self.assertNotEqual(self.run_of(self.server.post("e2e_emit", self.VALUE)),
                            self.run_of(first))

    def test_quotes_do_not_count(self):
        self.assertEqual(self.run_of(self.post("a b")), self.run_of(self.post('"a b"')))

    def test_every_mode(self):
        stream = self.post("k")
        run = self.run_of(stream)
        waits = [self.post("k", query="?mode=wait") for _ in range(2)]
        self.assertEqual([self.run_of(wait) for wait in waits], [run, run])
        self.assertEqual(waits[0].body, waits[1].body)
        self.assertEqual((waits[0].json()["run"], waits[0].json()["text"]), (run, "once"))
        detach = self.post("k", query="?mode=detach")
        self.assertEqual(self.run_of(detach, 202), run)
        self.assertEqual(detach.json(), self.server.state(run))
        self.assertEqual(self.started_runs(self.server, "e2e_emit"), 1)

    def test_live_run(self):
        value = {"count": 50, "period_ms": 10}
        first = self.server.server.open("ticker", value, headers={"Idempotency-Key": "k"})
        first.until("tick")
        second = self.server.server.open("ticker", value, headers={"Idempotency-Key": "k"})
        for stream in (first, second):
            self.assertEqual(types(stream.rest()), ["run"] + ["tick"] * 50 + ["done"])
            stream.close()
        self.assertEqual(first.run, second.run)

    def check_at_once(self, query, status):
        """Many send the same request before any has an answer."""
        connections = [self.server.connect() for _ in range(50)]
        request = run_request("ticker", {"count": 5, "period_ms": 10}, query,
                              {"Idempotency-Key": "at once" + query})
        before = self.started_runs(self.server, "ticker")
        for connection in connections:
            connection.send(request)
        answers = [connection.response() for connection in connections]
        self.assertEqual(len({self.run_of(answer, status) for answer in answers}), 1)
        self.end_of(self.server, self.run_of(answers[0], status))
        self.assertEqual(self.started_runs(self.server, "ticker"), before + 1)
        for connection in connections:
            connection.close()
        return answers

    def test_at_once(self):
        answers = self.check_at_once("", 200)
        self.assertEqual(len({answer.body for answer in answers}), 1)
        answers = self.check_at_once("?mode=wait", 200)
        self.assertEqual(len({answer.body for answer in answers}), 1)
        self.check_at_once("?mode=detach", 202)

    def test_another_body(self):
        run = self.run_of(self.post("k"))
        for mode in ("stream", "wait", "detach"):
            answer = self.post("k", {"calls": []}, f"?mode={mode}")
            self.assertEqual(answer.status, 422)
            self.check_problem(answer, 422, answer.json()["title"], "this Idempotency-Key was "
                               "used with another body; use a new key for a new run")
        self.assertEqual(self.run_of(self.post("k")), run)
        self.assertEqual(self.started_runs(self.server, "e2e_emit"), 1)

    def test_another_agent(self):
        run = self.run_of(self.post("k"))
        other = self.run_of(self.post("k", {"count": 1}, agent="ticker"))
        self.assertNotEqual(run, other)
        self.assertEqual(self.run_of(self.post("k")), run)

    def test_bad_key(self):
        for key in ("", '""', "k" * 256, "caf\u00e9", "a\tb", "a\x7fb"):
            with self.subTest(key=key):
                self.check_problem(self.post(key), 400, "Bad Request",
                                   "an Idempotency-Key has 1 to 255 printable ASCII characters")
        self.run_of(self.post("k" * 255))

    def test_failed_request_does_not_use_the_key(self):
        self.assertEqual(self.post("k", b"{").status, 400)
        self.run_of(self.post("k"))

    def test_cut_and_sent_again(self):
        """A client that does not even have the run's id finds its run."""
        key = str(uuid.uuid4())
        request = run_request("ticker", {"count": 30, "period_ms": 5}, "",
                              {"Idempotency-Key": key})
        for cut in range(0, len(request), 16):
            with self.server.connect() as connection:
                connection.send(request[:cut])
        for _ in range(20):
            with self.server.connect() as connection:
                connection.send(request)
        with self.server.connect() as connection:
            connection.send(request)
            parser = connection.response()
        self.assertEqual(types(read_stream(parser.body)), ["run"] + ["tick"] * 30 + ["done"])
        self.assertEqual(self.started_runs(self.server, "ticker"), 1)

    def test_forgotten_run(self):
        server = self.watch("e2e_emit", settings={"host.retention": 1})
        headers = {"Idempotency-Key": "k"}
        run = self.run_of(server.post("e2e_emit", self.VALUE, headers=headers))
        wait_for(lambda: server.get("/runs/" + run).status == 404, "the run is forgotten")
        self.assertNotEqual(self.run_of(server.post("e2e_emit", {"calls": []}, headers=headers)),
                            run)
        self.assertEqual(self.started_runs(server, "e2e_emit"), 2)


if __name__ == "__main__":
    main()
