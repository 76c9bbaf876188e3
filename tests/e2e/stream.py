"""The native stream as a client reads it that trusts nothing: numbers, ids, the one end."""

import json
import re


class Event:
    __slots__ = ("sequence", "type", "data")

    def __init__(self, sequence, type_, data):
        self.sequence = sequence
        self.type = type_
        self.data = data

    def json(self):
        return json.loads(self.data)

    def __repr__(self):
        return f"{self.sequence} {self.type} {self.data[:200]!r}"


class StreamParser:
    """
    The native stream, fed in pieces. Refuses all that is not exactly

        retry: 1000 LF id: RUN.N LF LF
        (event: TYPE LF data: JSON LF id: RUN.N LF LF  |  : LF LF)*

    with numbers that follow each other, from the one that the stream begins
    behind; `run` as the first of all and nothing behind the one `done`. Only a
    `gap` may leave some out, and, for a reader that is behind, packed text.
    """

    BEGIN = re.compile(rb"retry: 1000\nid: ([0-9a-hjkmnp-tv-z]{26})\.(0|[1-9][0-9]*)\n")
    EVENT = re.compile(rb"event: ([A-Za-z0-9_.:-]{1,64})\ndata: ([^\r\n]+)\n"
                       rb"id: ([0-9a-hjkmnp-tv-z]{26})\.([1-9][0-9]*)\n")

    def __init__(self, keep=True, after=0, may_pack=False):
        self.keep = keep
        self.may_pack = may_pack
        self.packed = 0  # events that came in one with others
        self.gaps = []
        self.buffer = bytearray()
        self.searched = 0
        self.begun = False
        self.run = None
        self.events = []
        self.count = after  # the number of the last event
        self.comments = 0
        self.done = None

    def feed(self, data):
        """Takes what was read; returns the events that it completed."""
        new = []
        self.buffer += data
        while (end := self.buffer.find(b"\n\n", self.searched)) >= 0:
            block = bytes(self.buffer[:end + 1])
            del self.buffer[:end + 2]
            self.searched = 0
            event = self.take(block)
            if event:
                new.append(event)
        self.searched = max(0, len(self.buffer) - 1)
        if self.keep:
            self.events += new
        return new

    def take(self, block):
        if not self.begun:
            match = self.BEGIN.fullmatch(block)
            if not match or int(match[2]) != self.count:
                raise AssertionError(f"the stream behind {self.count} begins with {block[:200]!r}")
            self.run = match[1].decode()
            self.begun = True
            return None
        if self.done:
            raise AssertionError(f"behind done there is {block[:200]!r}")
        if block == b":\n":
            self.comments += 1
            return None
        match = self.EVENT.fullmatch(block)
        if not match:
            raise AssertionError(f"not an event: {block[:300]!r}")
        return self.take_event(match)

    def take_event(self, match):
        run, sequence = match[3].decode(), int(match[4])
        event = Event(sequence, match[1].decode(), match[2])
        if self.run != run:
            raise AssertionError(f"events of {run} in the stream of {self.run}")
        if event.type == "gap":
            self.take_gap(event)
        elif sequence != self.count + 1:
            if event.type != "text" or not self.may_pack or sequence <= self.count:
                raise AssertionError(f"event {sequence} comes behind event {self.count}")
            self.packed += sequence - self.count - 1
        if event.type not in ("gap", "done") and (event.type == "run") != (sequence == 1):
            raise AssertionError(f"event {sequence} is {event.type}")
        self.count = sequence
        if event.type == "done":
            self.done = event.json()
            if self.done["status"] not in ("finished", "failed", "cancelled"):
                raise AssertionError(f"done says {self.done}")
        return event

    def take_gap(self, event):
        gap = event.json()
        if gap["from"] != self.count + 1 or gap["to"] != event.sequence or gap["to"] < gap["from"]:
            raise AssertionError(f"a gap {gap} behind event {self.count}")
        self.gaps.append(gap)

    def finish(self):
        """The body is over: so must be the stream."""
        if self.buffer:
            raise AssertionError(f"the stream ends inside of {bytes(self.buffer[:300])!r}")
        if not self.done:
            raise AssertionError(f"the stream has no done; it has {self.count} events, "
                                 f"the last are {self.events[-3:]}")


def read_stream(body, after=0):
    parser = StreamParser(after=after)
    parser.feed(body)
    parser.finish()
    return parser.events


def types(events):
    return [event.type for event in events]


def text_of(events):
    return "".join(event.json()["delta"] for event in events if event.type == "text")


class Stream:
    """A run's stream that is read bit by bit; the answer to a request that was sent."""

    def __init__(self, connection, method="POST", after=0, may_pack=False):
        self.connection = connection
        self.parser = StreamParser(after=after, may_pack=may_pack)
        self.seen = 0  # bytes of the body
        connection.expect(method)

    def close(self):
        self.connection.close()

    def read(self):
        """Reads once; False when the stream is over."""
        more = self.connection.read()
        body = self.connection.parser.body
        if self.connection.parser.status not in (None, 200):
            raise AssertionError(f"{self.connection.parser.status}: {bytes(body)!r}")
        self.parser.feed(body[self.seen:])
        self.seen = 0
        body.clear()
        if not more:
            self.parser.finish()
        return more

    def until(self, type_):
        """Reads on to the first event of this type, and returns it."""
        while True:
            for event in self.parser.events:
                if event.type == type_:
                    return event
            if not self.read():
                raise AssertionError(f"the stream has no {type_}: {types(self.parser.events)}")

    def rest(self):
        """Reads to the end; returns all events."""
        while self.read():
            pass
        return self.parser.events

    @property
    def run(self):
        return self.connection.parser.headers["location"].removeprefix("/runs/")

    @property
    def done(self):
        return self.parser.done
