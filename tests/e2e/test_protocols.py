#!/usr/bin/python3
"""The cases of tests/protocols, against the server; their README says what they are."""

import glob
import json
import os
import random
import re

from harness import SRCDIR, main, plugin_path, request_bytes, run_sluice, wait_for
from supervising import SupervisionTest

RUN = "7q3vj5k8m2n4p6r9s1t0w2xyzh"
AGENT = "e2e_case"
PURE = ("packed", "heartbeat")  # what only the runner without a server asks
CREATED = b"1795750144"  # when every run was created
BLOCKS = {"native": b"event: ", "message": b"data: "}  # protocols with ids: how events begin


class Case:
    def __init__(self, name):
        self.name = name
        self.keep = None
        self.protocol = "native"
        self.terms = False
        self.events = []
        self.end = {"end": "finished"}
        self.requests = []  # (lines of the request, words behind "bytes", the bytes)

    def input(self):
        return {"events": self.events, **self.end}


def expand(text):
    return re.sub(r"<(.)\*(\d+)>", lambda match: match[1] * int(match[2]), text)


def read_end(line):
    words = expand(line).split(" ", 2)
    end = {"end": words[1]}
    if words[1] == "failed":
        end["code"], end["message"] = words[2].split(" ", 1)
    elif len(words) > 2:
        end["result"] = words[2]
    return end


def read_bytes(lines):
    return "".join(expand(line[1:]) + ("\n" if line[0] == "|" else "") for line in lines).encode()


def read_cases(path):
    """The cases of a file."""
    with open(path, encoding="utf-8") as file:
        text = "".join(line for line in file if not line.startswith("#"))
    cases = []
    for block in re.split(r"\n\n+", text.strip("\n")):
        first, *lines = block.split("\n")
        word, _, rest = first.partition(" ")
        if word == "case":
            cases.append(Case(rest))
            for line in lines:
                if line.startswith("keep "):
                    cases[-1].keep = int(line[5:])
                elif line.startswith("protocol "):
                    cases[-1].protocol = line[9:]
                elif line.startswith(("terms ", "thread ")):
                    cases[-1].terms = True
        elif word == "events":
            cases[-1].end = read_end(lines.pop())
            cases[-1].events = [expand(line).split(" ", 1) for line in lines]
        elif word == "request":
            request = [rest, *lines]
        elif word == "bytes":
            cases[-1].requests.append((request, rest, read_bytes(lines)))
        else:
            raise AssertionError(f"{path}: no block begins with {first!r}")
    return cases


def blocks_of(body):
    """A stream's whole blocks, each with its blank line."""
    return [block + b"\n\n" for block in body.split(b"\n\n")[:-1]]


class ProtocolTest(SupervisionTest):
    on_disconnect = "continue"

    def check_bytes(self, got, wanted, what):
        """As assertEqual(), but what differs is shown from there on, and not all of it."""
        if got != wanted:
            same = len(os.path.commonprefix([got, wanted]))
            self.fail(f"{what}: {len(got)} bytes of {len(wanted)}, from byte {same} on "
                      f"{got[same:same + 200]!r} instead of {wanted[same:same + 200]!r}")

    def begin(self, server, case):
        """Starts the case's run; its id, and its stream if it was read from the start."""
        body = None
        value = json.dumps(case.input(), ensure_ascii=False).encode()
        if case.keep:
            run = server.detach(AGENT, value)
        else:
            with server.connect() as connection:
                connection.post(AGENT, value)
                connection.expect("POST")
                wait_for(lambda: connection.read() and "location" in connection.parser.headers,
                         "the run has begun")
                run = connection.parser.headers["location"].removeprefix("/runs/")
                if case.end["end"] == "cancelled":
                    wait_for(lambda: server.state(run)["events"] == len(case.events) + 1, "it waits")
                    self.assertEqual(self.ask(server, "POST", f"/runs/{run}/cancel").status, 202)
                while connection.read():
                    pass
                body = connection.take().body
        wait_for(lambda: server.state(run)["status"] == case.end["end"], "the run ends")
        return run, body

    def ask(self, server, method, path, headers=None, body=None):
        with server.connect() as connection:
            connection.send(request_bytes(method, path, body, headers))
            return connection.response(method)

    @staticmethod
    def path(case, run, after):
        return f"/runs/{run}/events?protocol={case.protocol}" + (f"&after={after}" if after else "")

    def answer(self, server, case, run, request):
        """The answer to a request of the case; run is that of begin()."""
        words = request[0].split(" ")
        if words[0] == "stream":
            return self.ask(server, "GET", self.path(case, run, words[2] if len(words) > 1 else None))
        if words[0] == "state":
            return self.ask(server, "GET", f"/runs/{run}")
        value = json.dumps(case.input(), ensure_ascii=False).encode()
        if words[0] == "document":
            return self.ask(server, "POST", f"/agents/{AGENT}/runs?mode=wait",
                            {"Content-Type": "application/json", "Last-Event-ID": run + ".0"}, value)
        if words[0] == "detach":
            return server.post(AGENT, value, "?mode=detach")
        headers = dict(line[7:].split(": ", 1) for line in request[1:] if line.startswith("header "))
        body = next((line[5:].encode() for line in request[1:] if line.startswith("body ")), None)
        return self.ask(server, words[1], words[2].replace("RUN", run),
                        {name: value.replace("RUN", run) for name, value in headers.items()}, body)

    def printed(self, case, request):
        value = json.dumps(case.input(), ensure_ascii=False)
        return run_sluice("run", *request[0].split(" ")[1:], plugin_path(AGENT), value).stdout

    def check_cuts(self, server, run, path, wanted, cuts, event):
        """Reads over connections that are reset at random bytes, each after the last id seen."""
        blocks, last_id = [], None
        for cut in [*cuts, None]:
            with server.connect() as connection:
                headers = {"Last-Event-ID": last_id} if last_id else {}
                connection.send(request_bytes("GET", path, headers=headers))
                connection.expect()
                while (cut is None or len(connection.parser.body) < cut) and connection.read():
                    pass
                body = bytes(connection.parser.body[:cut])
            for block in blocks_of(body):
                last_id = re.search(rb"id: (\S+)\n\n$", block)[1].decode()
                if block.startswith(event):
                    blocks.append(block)
        self.check_bytes(b"".join(blocks).replace(run.encode(), RUN.encode()),
                         b"".join(block for block in blocks_of(wanted)
                                  if block.startswith(event)), f"cut at {cuts}")

    def check_stream(self, server, case, run, request, wanted):
        after = request[0].partition("after ")[2]
        path = self.path(case, run, after)
        event = BLOCKS[case.protocol]
        for _ in range(3):
            cuts = [random.randrange(1, len(wanted) + 1) for _ in range(random.randrange(1, 4))]
            self.check_cuts(server, run, path, wanted, cuts, event)
        if after:
            return
        blocks = [block for block in blocks_of(wanted) if block.startswith(event)]
        for number, block in enumerate(blocks[:12]):
            last_id = re.search(rb"id: (\S+)\n\n$", block)[1].decode().replace(RUN, run)
            answer = self.ask(server, "GET", path, {"Last-Event-ID": last_id})
            begin = f"retry: 1000\nid: {last_id}\n\n".encode() if number + 1 < len(blocks) else b""
            rest = b"".join(blocks[number + 1:]).replace(RUN.encode(), run.encode())
            self.check_bytes(answer.body, begin + rest, f"resumed after {last_id}")

    def check_request(self, server, case, run, request, head, wanted):
        if request[0].startswith("print"):
            self.check_bytes(re.sub(rb"\b[0-9a-z]{26}\b", RUN.encode(), self.printed(case, request)),
                             wanted, "output")
            return
        answer = self.answer(server, case, run, request)
        self.assertEqual(f"{answer.status} {answer.headers.get('content-type', '-')}", head)
        ids = rb"\b[0-9a-z]{26}\b" if request[0] == "detach" else run.encode()
        body = re.sub(rb'("created(_at)?":)\d+', rb"\g<1>" + CREATED, answer.body)
        self.check_bytes(re.sub(ids, RUN.encode(), body), wanted, "answer")
        if request[0].startswith("stream") and answer.status == 200 and case.protocol in BLOCKS:
            self.check_stream(server, case, run, request, wanted)

    def check_file(self, path):
        servers = {}
        for case in read_cases(path):
            if case.terms:  # what a request of the protocol says is for the test of its routes
                continue
            server = servers.get(case.keep)
            if server is None:
                settings = {"host.log_size": case.keep} if case.keep else {}
                server = servers[case.keep] = self.serve(AGENT, settings=settings)
                wait_for(lambda: server.get("/readyz").status == 200, "the server is ready")
            run, body = self.begin(server, case)
            for request, head, wanted in case.requests:
                if request[0] in PURE or (request[0] == "document" and case.protocol not in BLOCKS):
                    continue
                with self.subTest(case=case.name, request=request[0]):
                    if request[0] == "stream" and body is not None and case.protocol == "native":
                        self.check_bytes(body.replace(run.encode(), RUN.encode()), wanted, "live")
                    self.check_request(server, case, run, request, head, wanted)


def add_tests():
    """One test for each file."""
    paths = sorted(glob.glob(os.path.join(SRCDIR, "tests", "protocols", "*.case")))
    if not paths:
        raise AssertionError("there are no cases")
    for path in paths:
        name = os.path.basename(path).removesuffix(".case").replace("-", "_")
        setattr(ProtocolTest, f"test_{name}", lambda self, path=path: self.check_file(path))


add_tests()

if __name__ == "__main__":
    main()
