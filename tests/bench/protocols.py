"""
What the protocols cost beside the native stream, in the front alone: instructions of a text
event, as callgrind counts them, and resident memory of an open stream.

A run of the agent prose is read as GET /runs/{id}/events?protocol=NAME. Counted is a server
that serves one such stream; the count of one with few events is taken off. So the figures do
not depend on what else the machine does. The log forgets early, so that what a protocol repeats
of the run at its end does not count as its texts do.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request

from contestants import PATIENCE_S, Server, Unfit, free_port

PROTOCOLS = ("native", "message", "openai", "responses", "ag-ui", "ai-sdk", "a2a", "mcp")

# How texts come: without a pause, or each by itself, in ms.
PACES = {"flood": 0, "paced": 5}

FEW = 20
SAID = b"word for word"    # in each text
SLOWER = 10         # so many times more patience with a front that is counted


class Unknown(Unfit):
    """The server does not have this protocol."""


def connect(port, patience_s=PATIENCE_S):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=patience_s)


def post(connection, path, value):
    connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 202:
        raise Unfit(f"{path}: {answer.status} {body[:200]!r}")
    return json.loads(body)


def begin(connection, events=0, interval_ms=0):
    """Starts a run that waits for an input; its id."""
    return post(connection, "/agents/prose/runs?mode=detach",
                {"events": events, "interval_ms": interval_ms})["run"]


def stream_path(run, protocol):
    return f"/runs/{run}/events?protocol={protocol}"


def read_stream(port, run, protocol, patience_s):
    """The whole stream of a run."""
    connection = connect(port, patience_s)
    connection.request("GET", stream_path(run, protocol))
    answer = connection.getresponse()
    if answer.status == 200:
        with contextlib.closing(connect(port, patience_s)) as other:
            post(other, f"/runs/{run}/input", "go")
    body = answer.read()
    connection.close()
    if answer.status == 400:
        raise Unknown(protocol)
    if answer.status != 200:
        raise Unfit(f"{protocol}: {answer.status} {body[:200]!r}")
    return body


# ---- instructions ----

def has_agent(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz?agent=prose", timeout=5).close()
        return True
    except OSError:
        return False


@contextlib.contextmanager
def counted(bench, contestant, job):
    """A server whose front callgrind counts; gives the Server and where its count will be."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise Unfit("there is no valgrind")
    with tempfile.TemporaryDirectory(prefix="count-", dir=bench.places.work) as folder:
        port, path = free_port(), os.path.join(folder, "count")
        contestant.furnish(folder, port, job)
        front = os.path.join(os.path.dirname(bench.places.sluice), "sluice-front")
        command = [valgrind, "-q", "--tool=callgrind", "--trace-children=no",
                   f"--callgrind-out-file={path}", front, *contestant.command(port, job)[1:],
                   "--set", "host.log_size=64K"]
        with Server(command, folder, port) as server:
            server.wait_for(lambda: contestant.is_ready(port) and has_agent(port), "it is ready",
                            SLOWER * PATIENCE_S)
            yield server, path


def count(bench, contestant, job, protocol, events, interval_ms):
    """Instructions of the front of a server that serves this one stream, and the stream's bytes."""
    with counted(bench, contestant, job) as (server, path):
        run = begin(connect(server.port, SLOWER * PATIENCE_S), events, interval_ms)
        body = read_stream(server.port, run, protocol, SLOWER * PATIENCE_S)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(SLOWER * PATIENCE_S)
        with open(path, encoding="utf-8", errors="replace") as file:
            total = re.search(r"(?m)^(?:summary|totals): (\d+)", file.read())
    if not total:
        raise Unfit("callgrind counted nothing")
    if body.count(SAID) < events:
        raise Unfit(f"{protocol}: {body.count(SAID)} texts of {events}")
    return int(total[1]), len(body)


def measure_instructions(bench, contestant, job, protocols, events):
    """{protocol: {pace: instructions of an event, "bytes": of an event}}"""
    found = {}
    for pace in events:
        interval_ms = PACES[pace]
        few, few_bytes = count(bench, contestant, job, "native", FEW, interval_ms)
        for protocol in protocols:
            try:
                many, size = count(bench, contestant, job, protocol, events[pace], interval_ms)
            except Unknown:
                continue
            more = events[pace] - FEW
            figures = found.setdefault(protocol, {"bytes": (size - few_bytes) / more})
            figures[pace] = (many - few) / more
    return found


# ---- memory ----

def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"(?m)^VmRSS:\s*(\d+)", file.read())[1])


def open_streams(port, runs, protocol):
    """A socket for each run, which has got the beginning of its stream."""
    sockets = []
    for run in runs:
        stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        sockets.append(stream)
        stream.sendall(f"GET {stream_path(run, protocol)} HTTP/1.1\r\n"
                       f"Host: 127.0.0.1\r\n\r\n".encode())
    for stream in sockets:
        head = stream.recv(65536)
        if head.startswith(b"HTTP/1.1 400"):
            raise Unknown(protocol)
        if not head.startswith(b"HTTP/1.1 200"):
            raise Unfit(f"{protocol}: {head[:200]!r}")
    return sockets


def measure_memory(bench, contestant, job, protocol, n):
    """Bytes of the front's memory for each of n open streams, opened after others."""
    with bench.serving(contestant, job) as server, contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(connect(server.port)))
        runs = [begin(connection) for _ in range(n + n // 4)]
        for some in (runs[n:], runs[:n]):
            before = resident_kib(server.process.pid)
            for stream in open_streams(server.port, some, protocol):
                stack.enter_context(stream)
        return (resident_kib(server.process.pid) - before) * 1024 / n


def measure(bench, contestant, job, n, protocols, events):
    found = measure_instructions(bench, contestant, job, protocols, events)
    for protocol, figures in found.items():
        figures["memory"] = measure_memory(bench, contestant, job, protocol, n)
    return {"wrong": [], "protocols": found}
