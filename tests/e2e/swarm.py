"""Thousands of streams, read in one thread."""

import selectors
import socket
import time

from environment import PATIENCE_S
from http1 import ResponseParser, request_bytes, run_request
from stream import StreamParser


class SwarmStream:
    def __init__(self, number, request, method="POST", after=0, may_pack=False):
        self.number = number
        self.request = request
        self.response = ResponseParser(method)
        self.parser = StreamParser(keep=False, after=after, may_pack=may_pack)
        self.done = False


class Swarm:
    """
    Reads thousands of streams in one thread. on_event(stream, event) is called
    for each event as it comes.
    """

    def __init__(self, address, on_event=None):
        self.address = address
        self.on_event = on_event
        self.selector = selectors.EpollSelector()
        self.streams = []
        self.open = 0

    def add(self, agent, value):
        return self.join(SwarmStream(len(self.streams), run_request(agent, value)))

    def reopen(self, run, after=0, may_pack=False):
        """Reads a run that there is, behind this event."""
        request = request_bytes("GET", f"/runs/{run}/events?after={after}")
        return self.join(SwarmStream(len(self.streams), request, "GET", after, may_pack))

    def join(self, stream):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(self.address)
        self.streams.append(stream)
        self.open += 1
        self.selector.register(client, selectors.EVENT_WRITE, stream)
        return stream

    def step(self, timeout_s=1.0):
        """Serves what is ready."""
        for key, events in self.selector.select(timeout_s):
            if events & selectors.EVENT_WRITE:
                self.begin(key.fileobj, key.data)
            else:
                self.receive(key.fileobj, key.data)

    def begin(self, client, stream):
        sent = client.send(stream.request)
        stream.request = stream.request[sent:]
        if not stream.request:
            self.selector.modify(client, selectors.EVENT_READ, stream)

    def receive(self, client, stream):
        data = client.recv(1 << 16)
        stream.response.feed(data)
        if stream.response.status not in (None, 200):
            raise AssertionError(f"stream {stream.number}: {stream.response.status} "
                                 f"{bytes(stream.response.body)!r}")
        body = bytes(stream.response.body)
        stream.response.body.clear()
        for event in stream.parser.feed(body):
            if self.on_event:
                self.on_event(stream, event)
        if stream.response.done:
            stream.parser.finish()
            stream.done = True
            self.drop(client)

    def drop(self, client):
        self.selector.unregister(client)
        client.close()
        self.open -= 1

    def close(self):
        for key in list(self.selector.get_map().values()):
            self.drop(key.fileobj)
        self.selector.close()

    def until(self, condition, what, patience_s=PATIENCE_S):
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {patience_s} s in vain: {what}; "
                                     f"{self.open} of {len(self.streams)} streams are open")
            self.step()

    def finish(self, patience_s=PATIENCE_S):
        self.until(lambda: self.open == 0, "all streams end", patience_s)
