"""
A TCP proxy that cuts connections, for tests of clients that must survive it.

    proxy = Proxy(server.address, [Cut(in_head), Cut(in_event(3)), Cut(at(700), refuse_s=1.5)])

Each request but CORS preflights takes the next cut, which may be None; when there are none
left, all goes through. A cut is a reset (RST) of both sides, when the client has been sent the
answer up to a place and no byte further; a Cut that is told waits until the client has asked for
TOLD, too, which the proxy answers itself. A place is a function of the answer's bytes so far:
the position that it stands for, None if that is still to come. It is found when its event is
whole, so it may be within one.
"""

import asyncio
import re
import socket
import struct
import threading

from harness import PATIENCE_S, ResponseParser

# So long a client has for reading what came before a reset.
READING_S = 0.02

# By asking for this a client says that it has read so far.
TOLD = "/told"

# ---- places in an answer ----

BLOCK = re.compile(rb"(?:[a-z]+: [^\r\n]*\n)+\n")


def events_in(answer):
    return [block for block in BLOCK.finditer(answer) if b"event: " in block[0]]


def before_any_byte(_):
    return 0


def in_head(answer):
    end = answer.find(b"\r\n\r\n")
    return end // 2 if end >= 0 else None


def behind_head(answer):
    end = answer.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else None


def behind_begin(answer):
    """Behind the stream's first block, which tells the run's id."""
    block = BLOCK.search(answer)
    return block.end() if block else None


def in_event(number, find=lambda event: len(event) // 2):
    """Within the event of this number in the answer, where find() says."""
    def place(answer):
        events = events_in(answer)
        if len(events) < number:
            return None
        event = events[number - 1]
        return event.start() + find(event[0])
    return place


def behind_event(number):
    return in_event(number, len)


def behind_id(event):
    """For in_event(): the line of the id is there."""
    return event.index(b"\n", event.index(b"id: ")) + 1


def within_id(event):
    return event.index(b"id: ") + 10


def behind_done(answer):
    """Everything but the end of the body."""
    events = events_in(answer)
    return events[-1].end() if events and b"event: done\n" in events[-1][0] else None


def at(position):
    return lambda _: position


def beside_ids(place):
    """
    The place, but not between an id's line and the blank line behind it: there a client that
    takes ids by the line believes that it has the event.
    """
    def find(answer):
        position = place(answer)
        if position and re.search(rb"\nid: \S+\n$", answer[:position]):
            return position + 1
        return position
    return find


class Cut:
    """A place, and for how long new connections are refused then."""

    def __init__(self, place, refuse_s=0, told=False):
        self.place = place
        self.refuse_s = refuse_s
        self.told = told


# ---- the proxy ----

class Request:
    """One that was handed on."""

    HEAD = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n(.*?\r\n)\r\n", re.S)

    def __init__(self):
        self.received = b""
        self.method = self.path = self.last_event_id = None
        self.cut = None        # planned
        self.was_cut_at = None
        self.answer = b""      # what the server said
        self.sent = 0          # of it
        self.parser = None

    def read_head(self):
        """Whether its head was complete only now."""
        head = self.method is None and self.HEAD.match(self.received)
        if not head:
            return False
        self.method, self.path = head[1].decode(), head[2].decode()
        last = re.search(rb"^last-event-id: *(\S+)\r$", head[3], re.M | re.I)
        self.last_event_id = last[1].decode() if last else None
        self.parser = ResponseParser(self.method)
        return True

    def __repr__(self):
        return (f"{self.method} {self.path} behind {self.last_event_id}: {self.parser.status}, "
                f"{self.sent} of {len(self.answer)} bytes, cut at {self.was_cut_at}")


class Relay:
    """One client's connection, and the one to the server that it has for itself."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.client = client  # (reader, writer)
        self.server = server
        self.request = None

    async def run(self):
        tasks = [asyncio.ensure_future(self.hand_on_requests()),
                 asyncio.ensure_future(self.hand_on_answers())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, OSError):
                    self.proxy.errors.append(ended)
            for _, writer in (self.client, self.server):
                writer.close()

    async def hand_on_requests(self):
        while data := await self.client[0].read(1 << 16):
            if self.request is None or self.request.parser and self.request.parser.done:
                self.request = Request()
            self.request.received += data
            if self.request.read_head():
                if self.request.path == TOLD:
                    self.proxy.told.set()
                    self.client[1].write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    return
                self.proxy.take(self.request)
            self.server[1].write(data)

    async def hand_on_answers(self):
        while data := await self.server[0].read(1 << 16):
            request = self.request
            request.answer += data
            request.parser.feed(data)
            if await self.cut(request):
                return
            upto = self.known(request)
            self.client[1].write(request.answer[request.sent:upto])
            request.sent = upto

    @staticmethod
    def known(request):
        """How far it can be sent: with a cut to come, only whole events are."""
        if request.cut is None or request.parser.done:
            return len(request.answer)
        end = request.answer.rfind(b"\n\n")
        return end + 2 if end >= 0 else 0

    async def cut(self, request):
        place = request.cut.place(request.answer) if request.cut else None
        if place is None or place > len(request.answer):
            return False
        self.client[1].write(request.answer[request.sent:place])
        request.sent = request.was_cut_at = place
        if request.cut.told:
            await asyncio.wait_for(self.proxy.told.wait(), PATIENCE_S)
            self.proxy.told.clear()
        elif place > 0:
            await asyncio.sleep(READING_S)
        if request.cut.refuse_s > 0:
            self.proxy.refuse(request.cut.refuse_s)
        for _, writer in (self.client, self.server):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                       struct.pack("ii", 1, 0))
        return True


class Proxy:
    def __init__(self, server, cuts=()):
        self.server = server
        self.cuts = iter(cuts)
        self.requests = []  # without preflights
        self.preflights = 0
        self.errors = []
        self.address = None
        self.listener = None
        self.refusing = None
        self.relays = set()
        self.told = asyncio.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.call(self.listen())

    @property
    def url(self):
        return f"http://{self.address[0]}:{self.address[1]}"

    def close(self):
        self.call(self.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        if self.errors:
            raise self.errors[0]

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    # ---- in the loop's thread ----

    async def listen(self):
        host, port = self.address or ("127.0.0.1", 0)
        self.listener = await asyncio.start_server(self.accept, host, port)
        self.address = self.listener.sockets[0].getsockname()

    def refuse(self, seconds):
        self.listener.close()
        self.refusing = self.loop.call_later(
            seconds, lambda: asyncio.ensure_future(self.listen(), loop=self.loop))

    def take(self, request):
        if request.method == "OPTIONS":
            self.preflights += 1
            return
        self.requests.append(request)
        request.cut = next(self.cuts, None)

    async def accept(self, *client):
        task = asyncio.current_task()
        self.relays.add(task)
        try:
            await Relay(self, client, await asyncio.open_connection(*self.server)).run()
        except OSError:  # the server is gone
            client[1].close()
        finally:
            self.relays.discard(task)

    async def stop(self):
        if self.refusing:
            self.refusing.cancel()
        self.listener.close()
        for relay in list(self.relays):
            relay.cancel()
        await asyncio.gather(*self.relays, return_exceptions=True)
