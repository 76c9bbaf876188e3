#!/usr/bin/python3
"""The stream as a browser's EventSource understands it."""

import json
import re

from harness import Test, main, read_stream


class EventSource:
    """
    The interpretation of an event stream of the WHATWG HTML standard, section
    9.2.6, over the whole of it; nothing is forgiven that the standard ignores.
    """

    def __init__(self, stream):
        self.messages = []  # (lastEventId, type, data)
        self.retry = None
        self.ignored = []
        self.comments = 0
        self.last_id = ""
        self.clear()
        text = stream.decode("utf-8").removeprefix("\ufeff")
        lines = re.split("\r\n|\n|\r", text)
        self.unfinished = lines.pop()
        for line in lines:
            self.take(line)
        self.undispatched = bool(self.data or self.type)

    def clear(self):
        self.data = ""
        self.type = ""

    def take(self, line):
        if line == "":
            self.dispatch()
        elif line.startswith(":"):
            self.comments += 1
        else:
            field, colon, value = line.partition(":")
            self.field(field, value.removeprefix(" ") if colon else "")

    def field(self, field, value):
        if field == "event":
            self.type = value
        elif field == "data":
            self.data += value + "\n"
        elif field == "id" and "\0" not in value:
            self.last_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            self.retry = int(value)
        else:
            self.ignored.append((field, value))

    def dispatch(self):
        if self.data:
            self.messages.append((self.last_id, self.type or "message", self.data.removesuffix("\n")))
        self.clear()


class EventSourceTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit", "ticker")

    def understand(self, agent, value):
        """The same events, by both parsers."""
        answer = self.server.post(agent, value)
        events = read_stream(answer.body)
        source = EventSource(answer.body)
        run = events[0].json()["run"]
        self.assertEqual(source.messages, [(f"{run}.{event.sequence}", event.type,
                                            event.data.decode()) for event in events])
        self.assertEqual((source.unfinished, source.undispatched, source.ignored), ("", False, []))
        return source

    def test_events(self):
        source = self.understand("e2e_emit", {"calls": [
            {"op": "text", "text": "line\nline\r\n: not a comment\n\ndata: x"},
            {"op": "event", "type": "step", "text": '{"name": "x"}'},
            {"op": "event", "type": "x", "text": '":"'}, {"op": "event", "type": "x", "text": "0"},
            {"op": "event", "type": "a.b-c:d", "text": '"\u2028 \u2029 \u0085 \ufeff \U0001f600"'}]})
        self.assertEqual(json.loads(source.messages[1][2])["delta"],
                         "line\nline\r\n: not a comment\n\ndata: x")

    def test_retry(self):
        self.assertEqual(self.understand("ticker", {"count": 2, "period_ms": 1}).retry, 1000)

    def test_types_of_the_browser_are_not_used(self):
        source = self.understand("e2e_emit", {"calls": [
            {"op": "event", "type": "error", "text": "{}"},
            {"op": "event", "type": "open", "text": "{}"}, {"op": "fail", "code": "x"}]})
        self.assertFalse({"error", "open"} & {type_ for _, type_, _ in source.messages})

    def test_heartbeats_are_not_events(self):
        self.server.stop()
        self.server = self.serve("ticker", settings={"host.heartbeat": 1})
        source = self.understand("ticker", {"count": 1, "period_ms": 2500})
        self.assertGreater(source.comments, 0)
        self.assertEqual([type_ for _, type_, _ in source.messages], ["run", "tick", "done"])


if __name__ == "__main__":
    main()
