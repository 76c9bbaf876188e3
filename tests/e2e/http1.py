"""HTTP/1.1 as a client speaks it that trusts nothing it reads."""

import json
import re
import socket

from environment import PATIENCE_S


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class ResponseParser:
    """One HTTP response, fed in pieces; `body` grows as it comes."""

    HEAD = re.compile(rb"HTTP/1\.([01]) (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")

    def __init__(self, method="GET"):
        self.method = method
        self.buffer = bytearray()
        self.status = None
        self.headers = {}
        self.body = bytearray()
        self.done = False
        self.left = None       # bytes of the body, or of the chunk, to come; None: until the end
        self.chunked = False

    def feed(self, data):
        """Takes what was read; b"" is the end of the connection."""
        self.buffer += data
        if self.status is None:
            self.take_head()
        if self.status is not None and not self.done:
            if self.chunked:
                self.take_chunks()
            else:
                self.take_plain()
        if not data and not self.done:
            if self.status is None or self.chunked or self.left is not None:
                raise AssertionError(f"the response is cut off behind {bytes(self.body[-200:])!r}, "
                                     f"buffer {bytes(self.buffer[-200:])!r}")
            self.done = True

    def take_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.HEAD.fullmatch(bytes(self.buffer[:end + 4]))
        if not head:
            raise AssertionError(f"not a response: {bytes(self.buffer)!r}")
        del self.buffer[:end + 4]
        self.status = int(head[2])
        for line in head[3].decode().split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            if name.lower() in self.headers:
                raise AssertionError(f"the header {name} is there twice")
            self.headers[name.lower()] = value.strip()
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        if self.chunked and (head[1] == b"0" or "content-length" in self.headers):
            raise AssertionError("chunks are of HTTP/1.1, and have no Content-Length")
        if "content-length" in self.headers:
            self.left = int(self.headers["content-length"])
        if self.method == "HEAD" or self.status == 204:
            self.left = 0
            self.chunked = False

    def take_plain(self):
        piece = self.buffer if self.left is None else self.buffer[:self.left]
        self.body += piece
        del self.buffer[:len(piece)]
        if self.left is not None:
            self.left -= len(piece)
            self.done = self.left == 0

    def take_chunks(self):
        while not self.done:
            if self.left is None:
                end = self.buffer.find(b"\r\n")
                if end < 0:
                    return
                size = bytes(self.buffer[:end])
                if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size):
                    raise AssertionError(f"not a chunk's size: {size[:100]!r} behind "
                                         f"{bytes(self.body[-100:])!r}")
                del self.buffer[:end + 2]
                self.left = int(size, 16)
                self.last = self.left == 0
            piece = self.buffer[:self.left]
            self.body += piece
            self.left -= len(piece)
            del self.buffer[:len(piece)]
            if self.left > 0 or len(self.buffer) < 2:
                return
            if self.buffer[:2] != b"\r\n":
                raise AssertionError(f"a chunk ends with {bytes(self.buffer[:20])!r}")
            del self.buffer[:2]
            self.left = None
            self.done = self.last


def request_bytes(method, path, body=None, headers=None, version="1.1"):
    headers = {"Host": "localhost", **(headers or {})}
    lines = [f"{method} {path} HTTP/{version}"]
    if body is not None and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        headers["Content-Length"] = len(body)
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


def run_request(agent, value, query="", headers=None, version="1.1"):
    """The request that starts a run; value is bytes, or becomes JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return request_bytes("POST", f"/agents/{agent}/runs{query}", body,
                         {"Content-Type": "application/json", **(headers or {})}, version)


class Connection:
    """One client connection, blocking, but not for ever."""

    def __init__(self, address, receive_buffer=None, tls=None, source=None, name="localhost"):
        is_unix = isinstance(address, str)
        self.socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(PATIENCE_S)
        if not is_unix:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        if tls:
            # Else the first request waits until the end of the handshake is acknowledged: 40 ms.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = tls.wrap_socket(self.socket, server_hostname=name,
                                          suppress_ragged_eofs=False)
        self.parser = None
        self.extra = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def expect(self, method="GET"):
        """A new response comes next."""
        self.parser = ResponseParser(method)
        if self.extra:
            self.parser.feed(self.extra)
        self.extra = b""

    def read(self):
        """Reads once; False when the response is whole."""
        if self.parser.done:
            return False
        self.parser.feed(self.socket.recv(1 << 16))
        return True

    def response(self, method="POST"):
        self.expect(method)
        while self.read():
            pass
        return self.take()

    def take(self):
        """The whole response that was read."""
        parser = self.parser
        self.extra = bytes(parser.buffer)
        return Answer(parser.status, parser.headers, bytes(parser.body))

    def exchange(self, method, path, body=None, headers=None, version="1.1"):
        self.send(request_bytes(method, path, body, headers, version))
        return self.response(method)

    def post(self, agent, value, query="", headers=None, version="1.1"):
        self.send(run_request(agent, value, query, headers, version))

    def is_closed(self):
        """Whether the server ends the connection, now that nothing is to come."""
        return self.extra == b"" and self.socket.recv(1) == b""
