#!/usr/bin/python3
"""
A crowd of strangers: many connections without a token, each with as much of a head as it
may send; then each with a body for a path that takes none.

    crowd.py [--connections N]

Needs the environment that environment.py describes, and a hard limit of open files above N.
Prints a report; exits with status 1 if the front takes more than docs/operating.md says.
"""

import argparse
import hashlib
import multiprocessing
import os
import resource
import socket
import sys
import tempfile
import time

from harness import Server, memory_kib, wait_for

EACH = 4000             # connections of one client process
HEAD = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"c" * 4000
REST = b"\r\nContent-Length: 1048576\r\n\r\n" + b"b" * 32768
FRONT_KIB = 40 * 1024
CONNECTION_KIB = 8 + 2  # max_headers, and what else the front has of an idle one


def crowd(address, count, pipe):
    """Opens the connections and sends half a head; when it is told, the rest and a body."""
    sockets = []
    for _ in range(count):
        client = socket.create_connection(address)
        client.sendall(HEAD)
        sockets.append(client)
    pipe.send(len(sockets))
    pipe.recv()
    sent = 0
    for client in sockets:
        try:
            client.sendall(REST)
            sent += 1
        except OSError:
            pass
    pipe.send(sent)
    pipe.recv()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=20000)
    count = parser.parse_args().connections
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with tempfile.TemporaryDirectory() as folder:
        tokens = os.path.join(folder, "tokens")
        with open(tokens, "w") as file:
            file.write(f"alice:{hashlib.sha256(b'one').hexdigest()}\n")
        server = Server(folder, ["ticker"], {"host.tokens": tokens, "host.max_connections": count,
                                             "host.connection_timeout": 600,
                                             "host.request_timeout": 600}, None)
        server.args.remove("-v")
        server.start()
        pid = server.process.pid
        before = memory_kib(pid, "Rss")
        pipes, clients = [], []
        for first in range(0, count, EACH):
            mine, its = multiprocessing.Pipe()
            clients.append(multiprocessing.Process(
                target=crowd, args=(server.address, min(EACH, count - first), its)))
            pipes.append(mine)
            clients[-1].start()
        print(f"connections: {sum(pipe.recv() for pipe in pipes)}, limit of files: {files}",
              flush=True)
        last = 0
        while memory_kib(pid, "Rss") > last:  # until it has read what they sent
            last = memory_kib(pid, "Rss")
            time.sleep(0.5)
        open_ = len(os.listdir(f"/proc/{pid}/fd"))
        heads = memory_kib(pid, "Rss")
        for pipe in pipes:
            pipe.send("go")
        sent = sum(pipe.recv() for pipe in pipes)
        wait_for(lambda: server.get("/healthz").status == 200, "it answers others")
        bodies = memory_kib(pid, "Rss")
        for pipe in pipes:
            pipe.send("end")
        for client in clients:
            client.join()
        server.stop()
    bound = FRONT_KIB + open_ * CONNECTION_KIB
    print(f"front: {before} KiB alone, {heads} KiB with {open_} descriptors and half a head each, "
          f"{bodies} KiB after {sent} bodies; bound {bound} KiB")
    return max(heads, bodies) > bound


if __name__ == "__main__":
    sys.exit(main())
