"""
What the end-to-end tests share: a host that is started and stopped, clients
that trust nothing they read, and waiting for conditions.

The environment says what is tested:

    SLUICE               the binary
    SLUICE_PLUGINS       folder of the reference plugins (echo.so, ticker.so, ...)
    SLUICE_TEST_PLUGINS  folder of the plugins of tests/plugins
    SLUICE_SRCDIR        the source tree; this file's if not set
    SLUICE_SANITIZED     1: the binary was built with sanitizers, and is slow and large

Each test derives from Test, and starts a host with self.serve(...), which gets
a plugin folder of its own with nothing in it but the plugins that are named.
"""

import json
import os
import re
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

SRCDIR = os.path.abspath(os.environ.get("SLUICE_SRCDIR") or
                         os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SANITIZED = os.environ.get("SLUICE_SANITIZED") == "1"

# No test waits longer than this for what should happen at once.
PATIENCE_S = 60 if SANITIZED else 20

# Each process of a server carries it, with a value of its own, in its environment.
MARK = "SLUICE_E2E_SERVER"


def required(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set; see tests/e2e/harness.py")
    return os.path.abspath(value)


BINARY = required("SLUICE")
REFERENCE_PLUGINS = required("SLUICE_PLUGINS")
TEST_PLUGINS = required("SLUICE_TEST_PLUGINS")


def plugin_path(name):
    """The file of a plugin, of the reference ones or the tests'."""
    for folder in (TEST_PLUGINS, REFERENCE_PLUGINS):
        path = os.path.join(folder, name + ".so")
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"{name}.so is neither in {TEST_PLUGINS} nor in {REFERENCE_PLUGINS}")


def wait_for(condition, what, patience_s=PATIENCE_S):
    """Polls until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain: {what}")
        time.sleep(0.005)


# ---- processes ----

def processes_with(mark):
    """The pids of all processes that carry the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as environ:
                if wanted not in environ.read().split(b"\0"):
                    continue
            with open(f"/proc/{entry}/stat", "rb") as stat:
                if stat.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                    continue
        except OSError:
            continue
        found.append(int(entry))
    return found


def memory_kib(pid, kind="Pss"):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith(kind + ":"):
                return int(line.split()[1])
    raise AssertionError(f"/proc/{pid}/smaps_rollup has no {kind}")


def waited_for_cpu_s(*pids):
    """How long the processes' main threads were ready to run while others had the CPUs."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat") as schedstat:
            total += int(schedstat.read().split()[1])
    return total / 1e9


def run_sluice(*args, stdin=b"", env=None, cwd=None):
    """Runs the binary to its end."""
    return subprocess.run([BINARY, *args], input=stdin, capture_output=True, cwd=cwd,
                          env={**os.environ, **(env or {})}, timeout=PATIENCE_S)


def free_port():
    """A port that nobody listens on, as yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- TLS ----

class Identity:
    """A private key and a certificate for localhost that it signed itself, in a folder."""

    def __init__(self, folder, name, algorithm=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        self.certificate = os.path.join(folder, name + ".crt")
        self.key = os.path.join(folder, name + ".key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "2",
                        "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", self.key, "-out", self.certificate],
                       check=True, capture_output=True, timeout=PATIENCE_S)
        self.clients = ssl.create_default_context(cafile=self.certificate)  # they trust no other


# ---- the server ----

class Server:
    """`sluice serve` on a free port, on a folder of its own; over TLS with an Identity."""

    def __init__(self, folder, plugins, settings, env, tls=None):
        self.folder = folder
        self.plugin_folder = os.path.join(folder, "plugins")
        self.log_path = os.path.join(folder, "log")
        self.mark = uuid.uuid4().hex
        self.address = None
        self.admin = os.path.join(folder, "sluice", "admin.sock")
        os.mkdir(self.plugin_folder)
        for plugin in plugins:
            os.symlink(plugin_path(plugin), os.path.join(self.plugin_folder, plugin + ".so"))
        self.args = [BINARY, "serve", "-v", "--listen", "127.0.0.1:0",
                     "--plugins", self.plugin_folder]
        for key, value in settings.items():
            self.args += ["--set", f"{key}={value}"]
        self.tls = tls and tls.clients
        if tls:
            self.args += ["--set", f"host.tls_certificate={tls.certificate}",
                          "--set", f"host.tls_key={tls.key}"]
        self.env = {**os.environ, "XDG_RUNTIME_DIR": folder, **(env or {}), MARK: self.mark}
        self.process = None
        self.is_stopped = False

    def start_process(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env)

    def start(self):
        """Starts it and waits until it says where it listens."""
        self.start_process()
        wait_for(self.find_address, "the server listens")

    def find_address(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with status {self.process.returncode}")
        match = re.search(r"^sluice: listening on https?://127\.0\.0\.1:(\d+)$", self.log(), re.M)
        if match:
            self.address = ("127.0.0.1", int(match[1]))
        return match

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def lines(self, *words):
        """The log's lines that have all these words."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def pids(self):
        return processes_with(self.mark)

    def workers(self):
        return [pid for pid in self.pids() if pid != self.process.pid]

    def worker_of(self, plugin):
        """The pid of the plugin's current worker."""
        found = re.findall(rf"worker ready plugin={re.escape(plugin)} .*pid=(\d+)", self.log())
        return int(found[-1])

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        """Ends it, cleanly or there is an error, and looks for what it left behind."""
        self.is_stopped = True
        if self.is_alive():
            self.signal(signal.SIGTERM)
        self.check_end()

    def check_end(self):
        """It ends, or has ended, cleanly."""
        self.is_stopped = True
        status = self.wait()
        left = self.pids()
        if status != 0:
            raise AssertionError(f"the server ended with status {status}")
        if left:
            raise AssertionError(f"the server left processes behind: {left}")

    def kill(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait(PATIENCE_S)

    # ---- what a client asks for ----

    def connect(self, receive_buffer=None):
        return Connection(self.address, receive_buffer, self.tls)

    def get(self, path):
        with self.connect() as connection:
            return connection.exchange("GET", path)

    def post(self, agent, value, query="", headers=None):
        """Starts a run and reads all of its answer."""
        with self.connect() as connection:
            connection.post(agent, value, query, headers)
            return connection.response()

    def run(self, agent, value, headers=None):
        """Starts a run and reads its stream to the end; returns its events."""
        answer = self.post(agent, value, headers=headers)
        if answer.status != 200:
            raise AssertionError(f"{answer.status}: {answer.body!r}")
        return read_stream(answer.body)

    def open(self, agent, value, receive_buffer=None, query="", headers=None, may_pack=False,
             version="1.1"):
        """Starts a run and returns its Stream, to be read bit by bit."""
        connection = self.connect(receive_buffer)
        connection.post(agent, value, query, headers, version)
        return Stream(connection, may_pack=may_pack)

    def reopen(self, run, after=0, receive_buffer=None, headers=None, may_pack=False):
        """A Stream of a run that there is, behind this event."""
        connection = self.connect(receive_buffer)
        connection.send(request_bytes("GET", f"/runs/{run}/events?after={after}", None, headers))
        return Stream(connection, "GET", after, may_pack)

    def detach(self, agent, value, query="", headers=None):
        """Starts a run without reading it; its id."""
        answer = self.post(agent, value, f"?mode=detach{query}", headers)
        if answer.status != 202:
            raise AssertionError(f"{answer.status}: {answer.body!r}")
        return answer.headers["location"].removeprefix("/runs/")

    def state(self, run):
        """What GET /runs/{id} says."""
        return self.get("/runs/" + run).json()

    def wait_held(self, run):
        """Waits until the run's agent waits for a reader; returns the number of its events."""
        def held():
            state = self.state(run)
            return state.get("held") and state
        return wait_for(held, "the agent waits for a reader")["events"]


class Test(unittest.TestCase):
    """Stops its servers at the end, and prints their logs if something failed."""

    maxDiff = None

    # The identity of servers that are given none of their own; None: plain HTTP.
    tls = None

    # What becomes of the runs of the plugins that serve() names when their client left.
    on_disconnect = None

    def setUp(self):
        self.servers = []
        self.folder = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run(self, result=None):
        self.logs = []
        bad = len(result.failures) + len(result.errors)
        outcome = super().run(result)
        if len(result.failures) + len(result.errors) > bad:
            for log in self.logs:
                print(f"---- log of the server in {self.id()} ----\n{log}", file=sys.stderr)
        return outcome

    def prepare(self, *plugins, settings=None, env=None, tls=None):
        """A server that is not started, so that more can be put into its folder."""
        folder = os.path.join(self.folder, f"server{len(self.servers)}")
        os.mkdir(folder)
        settings = dict(settings or {})
        for plugin in plugins if self.on_disconnect else ():
            settings.setdefault(f"plugin.{plugin}.on_disconnect", self.on_disconnect)
        server = Server(folder, plugins, settings, env, tls or self.tls)
        self.servers.append(server)
        self.addCleanup(self.end, server)
        return server

    def serve(self, *plugins, settings=None, env=None, tls=None):
        server = self.prepare(*plugins, settings=settings, env=env, tls=tls)
        server.start()
        return server

    def end(self, server):
        if server.process is None:
            return
        try:
            if not server.is_stopped:
                server.stop()
        finally:
            server.kill()
            self.logs.append(server.log())

    def path(self, name):
        return os.path.join(self.folder, name)

    def check_problem(self, answer, status, title, detail):
        """The answer is exactly this problem document (RFC 9457)."""
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(json.loads(answer.body), {"type": "about:blank", "title": title,
                                                   "status": status, "detail": detail})


def main():
    """Runs the tests; exits with 77 if all were skipped, which is what make understands."""
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun > 0 and len(result.skipped) >= result.testsRun:
        sys.exit(77)


# ---- HTTP, strictly ----

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
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    headers = dict(headers or {})
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

    def __init__(self, address, receive_buffer=None, tls=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        if tls:
            # Else the first request waits until the end of the handshake is acknowledged: 40 ms.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost",
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


# ---- the native stream, strictly ----

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
        if gap["from"] != self.count + 1 or gap["to"] != event.sequence or self.gaps:
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


# ---- many streams at once ----

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
