"""What the tests of supervision share: the operators' view of a server, and streams
that must not notice what happens to others."""

import os
import re
import struct
import time

from harness import SRCDIR, Swarm, Test, run_sluice, types, wait_for

# ---- the server, as its operators see it ----


class Watched:
    """A server with its operators' socket."""

    def __init__(self, test, server, admin):
        self.test = test
        self.server = server
        self.admin = admin

    def __getattr__(self, name):
        return getattr(self.server, name)

    def open(self, agent, value, receive_buffer=None):
        stream = self.server.open(agent, value, receive_buffer)
        self.test.addCleanup(stream.close)
        return stream

    def plugin(self, name):
        return self.report()[name]

    def list_text(self):
        ended = run_sluice("list", "--admin", self.admin)
        if ended.returncode != 0:
            raise AssertionError(f"sluice list: {ended.stderr.decode()}")
        return ended.stdout.decode()

    def generation(self, name):
        """The plugin's current one."""
        plugin = self.plugin(name)
        for generation in plugin["generations"]:
            if generation["generation"] == plugin["current"]:
                return generation
        raise AssertionError(f"{name} has no current generation: {plugin}")

    def workers_of(self, name):
        """All of the plugin's workers, of all its generations."""
        return [worker for generation in self.plugin(name)["generations"]
                for worker in generation["workers"]]

    def wait_serving(self, name, count=1):
        return wait_for(lambda: (lambda pids: pids if len(pids) == count else None)
                        (self.serving(name)), f"{name} has {count} workers that serve")

    def reload(self, *args):
        return run_sluice("reload", "--admin", self.admin, *args)

    def obituaries(self, *words):
        return self.lines(" plugin front ", "worker died: ", *words)

    def descriptors(self):
        """How many the front has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def children(self):
        """The front's child processes with their states, those that nobody reaped included."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid:
                found[int(entry)] = fields[0]
        return found


def state_of(pid):
    """The letter that proc(5) gives the process; X for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def exists(pid):
    """Whether a thread of the process lives: it is neither gone nor waiting to be reaped."""
    try:
        return state_of(pid) not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


class SupervisionTest(Test):
    on_disconnect = "cancel"

    def watch(self, *plugins, settings=None, start=True):
        """Without heartbeats, so that a client that waits in vain runs out of patience."""
        admin = self.path(f"admin{len(self.servers)}")
        settings = {"host.admin": admin, "host.heartbeat": 3600, "host.shutdown_timeout": 0,
                    **(settings or {})}
        server = Watched(self, self.prepare(*plugins, settings=settings), admin)
        server.server.admin = admin
        if start:
            server.start()
        return server

    def check_failed(self, done, code, *messages):
        """The run failed with this code, and the message has one of these."""
        self.assertEqual(done["status"], "failed", done)
        self.assertEqual(done["error"]["code"], code, done)
        if messages:
            self.assertTrue(any(text in done["error"]["message"] for text in messages), done)

    def check_obituary(self, server, plugin, pid, runs, *messages):
        """Exactly one line tells of the worker's death, and it has one of the messages."""
        wait_for(lambda: server.obituaries(f"pid={pid} "), f"the death of {pid} is logged")
        lines = server.obituaries(f"pid={pid} ")
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], rf"worker died: .+ plugin=\S+ generation=\d+ pid={pid} "
                                   rf"(signal|status)=\d+ runs={runs} run_ids=\S+ file=\S*/{plugin}\.so$")
        self.assertTrue(any(text in lines[0] for text in messages), (messages, lines[0]))

    def bystanders(self, server, count=5):
        return Bystanders(self, server, count)


# ---- those that must not notice ----

class Bystanders:
    """
    Streams of the plugin ticker that are open while something else fails.
    check() is for afterwards: none of them has lost an event, and all get new
    ones.
    """

    PERIOD_MS = 10

    def __init__(self, test, server, count):
        self.test = test
        self.server = server
        self.pid = server.process.pid
        self.worker = server.serving("ticker")
        self.streams = [server.open("ticker", {"count": 10 ** 6, "period_ms": self.PERIOD_MS})
                        for _ in range(count)]
        for stream in self.streams:
            stream.until("tick")

    def check(self):
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.test.assertTrue(self.server.is_alive(), "the front lives")
        for stream in self.streams:
            while stream.parser.events[-1].type != "tick" or \
                    stream.parser.events[-1].json()["ns"] <= now_ns:
                if not stream.read():
                    raise AssertionError(f"a stream of another plugin ended: {stream.done}")
            numbers = [event.json()["n"] for event in stream.parser.events[1:]]
            self.test.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.test.assertEqual(self.server.serving("ticker"), self.worker)
        events = self.server.run("ticker", {"count": 2, "period_ms": 1})
        self.test.assertEqual(types(events), ["run", "tick", "tick", "done"])



class StampedSwarm(Swarm):
    """
    A swarm that only notes what it reads and when, so that parsing one stream
    does not delay the others; parse() does the rest. ended_at is the time at
    which a stream's last event came.
    """

    def __init__(self, address):
        super().__init__(address)
        self.noted = []
        self.ended_at = {}
        self.stamping = False

    def receive(self, client, stream):
        if not self.stamping:
            super().receive(client, stream)
            return
        data = client.recv(1 << 16)
        if b"event: done\n" in data and stream.number not in self.ended_at:
            self.ended_at[stream.number] = time.monotonic()
        self.noted.append((client, stream, data))
        if not data or data.endswith(b"0\r\n\r\n"):
            self.selector.unregister(client)

    def until_all_ended(self):
        self.until(lambda: len(self.ended_at) == len(self.streams) and
                   not self.selector.get_map(), "all streams end")

    def parse(self):
        for client, stream, data in self.noted:
            if stream.done:
                if data:
                    raise AssertionError(f"behind the end there is {data!r}")
                continue
            stream.response.feed(data)
            body = bytes(stream.response.body)
            stream.response.body.clear()
            stream.parser.feed(body)
            if stream.response.done:
                stream.parser.finish()
                stream.done = True
                client.close()
        self.noted = []


# ---- the frames between front and worker, as host/wire/frames.h has them ----

def read_wire():
    with open(os.path.join(SRCDIR, "host", "wire", "frames.h")) as header:
        text = header.read()
    frames = re.findall(r"^    X\((\w+), (?:FRONT|WORKER), [^\\\n]*", text, re.M)
    if "EVENT" not in frames or frames[-1] != "PONG":
        raise AssertionError(f"frames.h has other frames than these tests know: {frames}")
    return {name: number for number, name in enumerate(frames)}


WIRE = read_wire()
WINDOW = 1024 * 1024
EVENT_MAX = 960 * 1024


def frame(name, run=0, payload=b"", length=None, zero=0):
    """A frame, with a length that may be a lie; name may be a number."""
    number = WIRE[name] if isinstance(name, str) else name
    return struct.pack("=IHHI", len(payload) if length is None else length, number, zero,
                       run) + payload


def event(run, type_=b"wire", json_=b"{}"):
    return frame("EVENT", run, bytes([len(type_)]) + type_ + json_)


def end(run, status=0, code=b"", message=b"", result=b""):
    return frame("END", run, bytes([status]) + b"".join(text + b"\0"
                                                        for text in (code, message, result)))
