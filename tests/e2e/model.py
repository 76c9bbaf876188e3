"""
A model server that does what it is told: POST .../chat/completions, in OpenAI's
protocol, for thousands of streams at once.

The last user message of a conversation begins with the name of a scenario, and
its arguments as JSON: `stream {"tokens": 3, "period_ms": 50}`. What is no
scenario is answered with its own words. GET /log tells what was asked, and which requests'
connections their clients closed before the answer was whole, and when
(CLOCK_MONOTONIC, ns); GET /state only numbers.

Model starts it as a process of its own, so that tests and it do not wait for
each other. To add a scenario, write a function of that name below "scenarios".
"""

import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request

PIECE = 64 * 1024


class Model:
    """The server, from a test's side."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE,
                                        stdin=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def settings(self, plugin, **more):
        """Of a server whose plugin shall ask this model."""
        settings = {"base_url": self.base_url, "model": "scripted", "api_key": "a-key", **more}
        return {f"plugin.{plugin}.{key}": value for key, value in settings.items()}

    def fetch(self, path):
        url = f"http://127.0.0.1:{self.port}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=20) as answer:
            return json.load(answer)

    def requests(self):
        return self.fetch("/log")["requests"]

    def bodies(self):
        return [request["body"] for request in self.requests()]

    def closed(self):
        """When each of the connections was closed that were early."""
        return [request["closed"] for request in self.requests() if request.get("closed")]

    def state(self):
        return self.fetch("/state")

    def stop(self):
        self.process.stdin.close()  # it ends with its standard input
        self.process.wait(20)
        self.process.stdout.close()


# ---- chunks ----

def chunk(delta=None, finish=None, **more):
    return {"id": "c", "object": "chat.completion.chunk", "model": "scripted",
            "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def text(piece):
    return chunk({"content": piece})


def usage(output):
    return {"id": "c", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": output}}


def line(value, end="\n"):
    return f"data: {json.dumps(value, ensure_ascii=False)}{end}{end}".encode()


DONE = b"data: [DONE]\n\n"


def call_piece(index=None, id_=None, name=None, arguments=None):
    piece = {"type": "function", "function": {}}
    for where, key, value in ((piece, "index", index), (piece, "id", id_),
                              (piece["function"], "name", name),
                              (piece["function"], "arguments", arguments)):
        if value is not None:
            where[key] = value
    return piece


def calls(*pieces):
    return chunk({"tool_calls": list(pieces)})


def answer_text(pieces):
    """The lines of an ordinary answer."""
    return [line(chunk({"role": "assistant", "content": ""})), *[line(text(p)) for p in pieces],
            line(chunk(finish="stop")), line(usage(len(pieces))), DONE]


def answer_calls(*wanted):
    """The lines of an answer that calls tools, each call as name and arguments."""
    pieces = []
    for index, (name, arguments) in enumerate(wanted):
        pieces.append(line(calls(call_piece(index, f"call_{index}", name, ""))))
        pieces.append(line(calls(call_piece(index, None, None, json.dumps(arguments)))))
    return [*pieces, line(chunk(finish="tool_calls")), line(usage(len(wanted))), DONE]


# ---- the server ----

class Pacer:
    """Gives each of many streams its next piece at once a period: one timer for all."""

    def __init__(self):
        self.groups = {}

    def play(self, reply, lines, period_ms):
        over = asyncio.get_running_loop().create_future()
        if period_ms not in self.groups:
            self.groups[period_ms] = []
            asyncio.create_task(self.run(period_ms))
        self.groups[period_ms].append((reply, iter(lines), over))
        return over

    async def run(self, period_ms):
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.groups[period_ms]:
            due = max(due + period_ms / 1000, loop.time())
            await asyncio.sleep(due - loop.time())
            self.groups[period_ms] = [entry for entry in self.groups[period_ms]
                                      if self.step(*entry)]
        del self.groups[period_ms]

    def step(self, reply, lines, over):
        piece = next(lines, None)
        if piece is None or reply.is_lost:
            over.set_result(None)
            return False
        reply.write_now(piece)
        return True


class Reply:
    """The answer to one request."""

    def __init__(self, connection, request):
        self.connection = connection
        self.request = request
        self.chunked = True
        self.is_over = False

    @property
    def is_lost(self):
        return self.connection.transport.is_closing()

    def begin(self, status=200, headers=None, chunked=True):
        headers = {"Content-Type": "text/event-stream", **(headers or {})}
        self.chunked = chunked
        headers.update({"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"})
        head = [f"HTTP/1.1 {status} Status"] + [f"{k}: {v}" for k, v in headers.items()]
        self.connection.transport.write(("\r\n".join(head) + "\r\n\r\n").encode())

    def write_now(self, data):
        if self.is_lost:
            return
        if self.chunked and data:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.connection.transport.write(data)

    async def write(self, data):
        self.write_now(data)
        await self.connection.writable.wait()

    def end(self):
        self.is_over = True
        if self.chunked:
            self.connection.transport.write(b"0\r\n\r\n")
        else:
            self.connection.transport.close()

    def cut(self):
        """Ends the connection, but not the response."""
        self.is_over = True
        self.connection.transport.close()

    def reset(self):
        self.is_over = True
        sock = self.connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()

    def json(self, value, status=200, headers=None):
        body = json.dumps(value).encode()
        self.begin(status, {"Content-Type": "application/json", **(headers or {})})
        self.write_now(body)
        self.end()

    async def stream(self, lines):
        self.begin()
        for piece in lines:
            await self.write(piece)
        self.end()


class Connection(asyncio.Protocol):
    def __init__(self, server):
        self.server = server
        self.buffer = bytearray()
        self.replies = []
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def connection_lost(self, error):
        self.writable.set()
        if self.replies and not self.replies[-1].is_over:
            self.replies[-1].request["closed"] = time.monotonic_ns()

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode().split("\r\n")
            headers = dict(field.lower().split(": ", 1) for field in head[1:])
            length = int(headers.get("content-length", 0))
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4:end + 4 + length])
            del self.buffer[:end + 4 + length]
            self.take(head[0].split(" ")[1], headers, body)

    def take(self, path, headers, body):
        request = {"path": path, "headers": headers}
        reply = Reply(self, request)
        self.replies = [reply]
        if path == "/log":
            reply.json({"requests": self.server.requests})
        elif path == "/state":
            reply.json(self.server.state())
        else:
            request["body"] = json.loads(body)
            self.server.requests.append(request)
            task = asyncio.create_task(self.server.answer(reply))
            self.server.tasks.add(task)
            task.add_done_callback(self.server.tasks.discard)


class Server:
    def __init__(self):
        self.requests = []
        self.tasks = set()
        self.live = self.most = 0
        self.crowds = {}
        self.pacer = Pacer()
        self.counts = {}

    def state(self):
        return {"requests": len(self.requests), "live": self.live, "most": self.most}

    def count(self, name):
        """How often this was called with that name."""
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name]

    async def until_live(self, count):
        """Returns when that many have been answered at the same time."""
        if self.most < count:
            await self.crowds.setdefault(count, asyncio.Event()).wait()

    async def answer(self, reply):
        self.live += 1
        self.most = max(self.most, self.live)
        if self.live in self.crowds:
            self.crowds.pop(self.live).set()
        try:
            messages = reply.request["body"]["messages"]
            last = max(i for i, message in enumerate(messages) if message["role"] == "user")
            reply.server = self
            reply.results = [m for m in messages[last + 1:] if m["role"] == "tool"]
            name, _, arguments = messages[last]["content"].partition(" ")
            if name in SCENARIOS:
                if not arguments.startswith("{"):
                    arguments = "{}"
                await SCENARIOS[name](reply, **json.JSONDecoder().raw_decode(arguments)[0])
            else:
                await reply.stream(answer_text(messages[last]["content"].split(" ")))
        finally:
            self.live -= 1


SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


# ---- scenarios ----

@scenario
async def stream(reply, tokens=3, period_ms=0, word="w", together=1):
    """With `together`, the first word is followed by others once that many streams are open."""
    lines = answer_text([f"{word}{n} " for n in range(tokens)])
    if period_ms == 0:
        await reply.stream(lines)
        return
    reply.begin()
    first, rest = lines[:2], lines[2:]
    reply.write_now(b"".join(first))
    await reply.server.until_live(together)
    await reply.server.pacer.play(reply, rest, period_ms)
    if not reply.is_lost:
        reply.end()


ODD = "Grüße, 𝄞 and \" \\ \n end"


@scenario
async def each_byte(reply, pieces=("a ", ODD)):
    """Every byte in a chunk and a packet of its own."""
    reply.begin()
    for byte in b"".join(answer_text(pieces)):
        await reply.write(bytes([byte]))
        await asyncio.sleep(0)
    reply.end()


@scenario
async def line_ends(reply, end="\r\n", size=7):
    body = b"".join(line(json.loads(piece[6:]) if piece != DONE else None, end) if piece != DONE
                    else f"data: [DONE]{end}{end}".encode() for piece in answer_text(["a ", ODD]))
    await reply.stream([body[at:at + size] for at in range(0, len(body), size)])


@scenario
async def decorated(reply):
    """All that the event stream's standard allows around the data."""
    first = json.dumps(text("one "), indent=1).split("\n")
    await reply.stream([
        b"\xef\xbb\xbf: a mark, then a comment\n\n", b":\n\n", b"retry: 10\n\n",
        "".join(f"data: {part}\n" for part in first).encode() + b"\n",
        b"id: 7\nevent: message\nunknown: x\nunknown\n" + line(text("two ")),
        b"data:" + json.dumps(text("three")).encode() + b"\n\n",
        line(chunk(finish="stop")), DONE])


@scenario
async def unknown_fields(reply):
    await reply.stream([
        line({"x": [1, {"y": None}], **chunk({"role": "assistant", "content": None,
                                              "refusal": None, "extra": {"a": []}})}),
        line(chunk({})), line(chunk({"content": ""})), line({"choices": []}),
        line({"choices": [{"index": 0}]}), line({"usage": None, "error": None, **text("all")}),
        line(chunk({"tool_calls": []})), line(chunk({"tool_calls": None, "content": " well"})),
        line(chunk(finish="stop")), DONE])


@scenario
async def numbers(reply, number=1e51):
    await reply.stream([line(text("all")), line(chunk(finish="stop")),
                        line({"choices": [], "usage": {"prompt_tokens": number, "completion_tokens": -number}}),
                        DONE])


@scenario
async def reasoning(reply):
    await reply.stream([line(chunk({"reasoning_content": "let me "})),
                        line(chunk({"reasoning": "think", "content": None})),
                        *answer_text(["done"])])


@scenario
async def finish(reply, reason="length", with_done=True, with_blank=True):
    """Ends as it is told."""
    lines = [line(text("so ")), line(text("far")), line(usage(2))]
    if reason:
        lines.append(line(chunk(finish=reason)))
    if with_done:
        lines.append(DONE)
    if not with_blank:
        lines[-1] = lines[-1].rstrip()
    await reply.stream(lines)


@scenario
async def until_closed(reply):
    """Its end is that of the connection."""
    reply.begin(chunked=False)
    for piece in answer_text(["to the ", "end"]):
        await reply.write(piece)
    reply.end()


@scenario
async def keeps_open(reply):
    """[DONE], and then nothing, not even the end."""
    reply.begin()
    for piece in answer_text(["it is ", "whole"]):
        await reply.write(piece)


CALLS = {
    "interleaved": [
        [call_piece(0, "a", "first", "")], [call_piece(1, "b", "second", '{"n"')],
        [call_piece(0, None, None, '{"q":"'), call_piece(1, None, None, ":2")],
        [call_piece(1, None, None, "}")], [call_piece(0, None, None, 'x"}')]],
    "no_index": [
        [call_piece(None, "a", "first", '{"q":')], [call_piece(None, None, None, '"x"}')],
        [call_piece(None, "b", "second", '{"n":2}')]],
    "same_index": [
        [call_piece(0, "a", "first", '{"q":"x"}')], [call_piece(0, "b", "second", '{"n":')],
        [call_piece(0, None, None, "2}")]],
    "repeated_id": [
        [call_piece(0, "a", "first", '{"q":')], [call_piece(0, "a", "first", '"x"}')],
        [call_piece(1, "b", "second", '{"n":2}')]],
    "no_id": [
        [call_piece(0, None, "first", '{"q":"x"}')], [call_piece(1, "", "second", '{"n":2}')]],
    "empty_arguments": [[call_piece(0, "a", "first", "")], [call_piece(1, "b", "second")]],
    "bad_arguments": [[call_piece(0, "a", "first", '{"q":')],
                      [call_piece(1, "b", "second", '{},"id":"c"')]],
    "exact": [[call_piece(0, "a", "first", '{"n": 12345678901234567890.10}')]],
}


@scenario
async def tool_calls(reply, how="interleaved", each_byte=False):
    lines = [*[line(calls(*pieces)) for pieces in CALLS[how]],
             line(chunk(finish="tool_calls")), line(usage(9)), DONE]
    if each_byte:
        lines = [bytes([byte]) for byte in b"".join(lines)]
    await reply.stream(lines)


@scenario
async def many_calls(reply, count):
    await reply.stream([*[line(calls(call_piece(n, f"c{n}", "first", "{}")))
                          for n in range(count)], line(chunk(finish="tool_calls")), DONE])


@scenario
async def use(reply, calls, rounds=1):
    """Has these tools called, for so many rounds; then says what they returned."""
    if len(reply.results) < rounds * len(calls):
        await reply.stream(answer_calls(*calls))
    else:
        await reply.stream(answer_text([result["content"] for result in reply.results]))


@scenario
async def fails(reply, error={"message": "out of tokens", "code": 500}, before=("a ", "b ")):
    await reply.stream([*[line(text(piece)) for piece in before], line({"error": error}), DONE])


@scenario
async def refuses(reply, status, body=None, headers=None):
    reply.json({"error": {"message": "it said why"}} if body is None else body, status, headers)


@scenario
async def busy(reply, name, times, status=429, headers=None):
    """Refuses as often as it is told, in all requests with that name; then answers."""
    if reply.server.count(name) <= times:
        reply.json({"error": {"message": "slow down"}}, status, headers)
    else:
        await reply.stream(answer_text(["at ", "last"]))


@scenario
async def reset(reply, after, name=None, times=1):
    """Resets the connection behind so many bytes of the body; or only the first times."""
    if name and reply.server.count(name) > times:
        await reply.stream(answer_text(["at ", "last"]))
        return
    if after >= 0:
        reply.begin()
        await reply.write(b"".join(answer_text(["one ", "two ", "three "]))[:after])
        await asyncio.sleep(0.1)  # a reset overtakes what was sent just before
    reply.reset()


@scenario
async def cut(reply):
    reply.begin()
    await reply.write(line(text("one ")))
    reply.cut()


@scenario
async def stall(reply, tokens=2, with_head=True):
    if with_head:
        reply.begin()
        for n in range(tokens):
            await reply.write(line(text(f"w{n} ")))


@scenario
async def stall_when_whole(reply):
    reply.begin()
    for piece in answer_text(["it is ", "whole"])[:-2]:
        await reply.write(piece)


@scenario
async def garbage(reply, bytes_hex, content_type="text/event-stream"):
    reply.begin(headers={"Content-Type": content_type})
    await reply.write(bytes.fromhex(bytes_hex))
    reply.end()


@scenario
async def no_http(reply):
    reply.is_over = True
    reply.connection.transport.write(b"220 mail.example ESMTP\r\n\r\n")
    reply.connection.transport.close()


@scenario
async def deep(reply, levels):
    """A chunk with so many levels, of which the text's are four."""
    nested = "[" * (levels - 1) + "]" * (levels - 1)
    chunk_ = json.dumps(text("deep"))[:-1] + f', "x": {nested}}}'
    await reply.stream([f"data: {chunk_}\n\n".encode(), line(chunk(finish="stop")), DONE])


async def pour(reply, head, piece, count, tail=b""):
    """So often the same, as fast as it is read."""
    reply.begin()
    await reply.write(head)
    for _ in range(count):
        await reply.write(piece)
        if reply.is_lost:
            return
    await reply.write(tail)
    reply.end()


@scenario
async def huge(reply, count=1600, member="content"):
    """So many pieces of 64 KiB."""
    piece = "x" * PIECE
    value = calls(call_piece(0, "a", "first", piece)) if member == "tool_calls" else \
        chunk({member: piece})
    await pour(reply, b"", line(value), count, line(chunk(finish="stop")) + DONE)


@scenario
async def endless(reply, head="data: "):
    await pour(reply, head.encode(), b"x" * PIECE, 1600)


@scenario
async def empty_chunks(reply):
    await pour(reply, b"", line(chunk({"content": "", "pad": "x" * PIECE})), 1600)


@scenario
async def long_data(reply):
    """One event of very many short lines."""
    await pour(reply, b"", (b"data: " + b"x" * 1017 + b"\n") * 64, 1600)


async def serve():
    loop = asyncio.get_running_loop()
    server = Server()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=4096)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve())
