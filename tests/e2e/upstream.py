"""
A server that agents send requests to: it does what its script says, on one
thread, with thousands of connections. Paths:

    /echo            the request, as JSON
    /status/N        that status, with an empty body
    /NAME            routes[NAME]: a list of bytes, which are sent, and of the steps below

The connection stays open behind a response unless a step ends it.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading

from harness import wait_for

CLOSE = "close"  # ends the connection
RESET = "reset"  # the same, with a TCP reset
HOLD = "hold"    # waits for release(), or until the other side closes
FLOOD_PIECE = b"f" * 65536


class Flood:
    """Sends so many bytes, as fast as they are taken."""

    def __init__(self, length):
        self.length = length


class Trickle:
    """Sends so many bytes, one each period."""

    def __init__(self, count, period_s):
        self.count = count
        self.period_s = period_s


def head(status=200, length=None, *headers):
    lines = [f"HTTP/1.1 {status} Words", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body, *headers, status=200):
    return head(status, len(body), *headers) + body


class Request:
    def __init__(self, line, fields, body):
        self.method, self.target, self.version = line.split(" ")
        self.fields = fields  # pairs, in their order
        self.body = body

    def field(self, name):
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return values[0] if values else None


class Gone(Exception):
    """The other side has closed the connection."""


class Upstream:
    def __init__(self, tls=None):
        self.routes = {}
        self.greeting = None  # what it sends at once, and then closes the connection
        self.requests = []
        self.accepted = 0
        self.open = 0
        self.held = 0        # connections that are at HOLD
        self.left = 0        # connections that the other side closed before their script ended
        self.flooded = 0     # bytes of Flood that were taken
        self.blocked = False  # Flood has waited for half a second
        self.scheme = "https" if tls else "http"
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls.certificate, tls.key)
            self.context.set_alpn_protocols(["h2", "http/1.1"])  # though it speaks only the latter
        self.loop = asyncio.new_event_loop()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.main)
        self.thread.start()
        self.ready.wait()

    def url(self, path, host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}/{path}"

    def main(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(
            self.serve, sock=self.listener, ssl=self.context, backlog=4096))
        self.released = asyncio.Event()
        self.ready.set()
        self.loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def release(self):
        """Lets go on what is at HOLD, and what comes there."""
        self.loop.call_soon_threadsafe(self.released.set)

    def hold_again(self):
        self.loop.call_soon_threadsafe(self.released.clear)

    def wait_held(self, count):
        wait_for(lambda: self.held == count, f"{count} connections are held")

    def wait_left(self, count):
        wait_for(lambda: self.left == count, f"{count} connections are closed by the agent")

    # ---- on its thread ----

    async def serve(self, reader, writer):
        self.accepted += 1
        self.open += 1
        try:
            if self.greeting:
                writer.write(self.greeting)
                return
            while await self.serve_one(reader, writer):
                pass
        except (Gone, ConnectionError):
            self.left += 1
        except (asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def serve_one(self, reader, writer):
        """Whether another request may come."""
        request = await self.read_request(reader)
        self.requests.append(request)
        if request.method == "CONNECT":
            await self.tunnel(request, reader, writer)
            return False
        for step in self.script_of(request):
            if not await self.do(step, reader, writer):
                return False
        return True

    async def read_request(self, reader):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = [(line.partition(":")[0], line.partition(":")[2].strip())
                  for line in lines[1:] if line]
        request = Request(lines[0], fields, b"")
        length = int(request.field("Content-Length") or 0)
        request.body = await reader.readexactly(length)
        return request

    def script_of(self, request):
        path = request.target.removeprefix("http://").partition("/")[2]
        if path == "echo":
            body = json.dumps({"method": request.method, "target": request.target,
                               "fields": request.fields, "body": request.body.decode()}).encode()
            return [whole(body, "Content-Type: application/json") if request.method != "HEAD"
                    else head(200, len(body))]
        if path.startswith("status/"):
            status = int(path.removeprefix("status/"))
            return [head(status, None if status in (204, 304) else 0)]
        return self.routes[path]

    async def do(self, step, reader, writer):
        """Whether the connection goes on."""
        if step == HOLD:
            await self.hold(reader)
        elif step == CLOSE or step == RESET:
            if step == RESET:
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            return False
        elif isinstance(step, Flood):
            await self.flood(step.length, writer)
        elif isinstance(step, Trickle):
            for _ in range(step.count):
                writer.write(b"t")
                await asyncio.sleep(step.period_s)
        else:
            writer.write(step)
            await writer.drain()
        return True

    async def hold(self, reader):
        self.held += 1
        closed = asyncio.ensure_future(reader.read(1))
        released = asyncio.ensure_future(self.released.wait())
        try:
            await asyncio.wait([closed, released], return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                raise Gone
        finally:
            self.held -= 1
            released.cancel()
            closed.cancel()
            await asyncio.gather(closed, released, return_exceptions=True)

    async def flood(self, length, writer):
        while length > 0:
            piece = FLOOD_PIECE[:length]
            writer.write(piece)
            drained = asyncio.ensure_future(writer.drain())
            done, _ = await asyncio.wait([drained], timeout=0.5)
            self.blocked = not done
            await drained
            self.flooded += len(piece)
            length -= len(piece)

    async def tunnel(self, request, reader, writer):
        """As a proxy does; to what routes["CONNECT"] names."""
        target = self.routes["CONNECT"]
        if target is None:
            writer.write(b"HTTP/1.1 403 No\r\nX-Proxy: yes\r\nContent-Length: 0\r\n\r\n")
            return
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", target)
        writer.write(b"HTTP/1.1 200 Connected\r\nX-Proxy: yes\r\n\r\n")
        try:
            await asyncio.gather(self.pump(reader, other_writer), self.pump(other_reader, writer))
        finally:
            other_writer.close()

    async def pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
