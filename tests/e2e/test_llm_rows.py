#!/usr/bin/python3
"""Rows of tests/agents/llm/*.case against the host, from a server that writes just these bytes."""

import os
import re
import socket
import threading

from harness import SRCDIR, Test, main, text_of

TABLES = os.path.join(SRCDIR, "tests", "agents", "llm")
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}


def unescape(text):
    """What tests/agents/test_llm.c makes of a line."""
    return re.sub(rb"\\([nrt\\]|x..)",
                  lambda found: bytes([int(found[1][1:], 16)]) if found[1][:1] == b"x"
                  else ESCAPES[found[1].decode()], text.encode())


class Row:
    """A case with one response, and what comes of it."""

    def __init__(self, lines):
        self.name = lines[0]
        self.status, self.headers, self.body = 200, [], b""
        self.is_cut, self.fails, self.texts, self.others = False, None, "", set()
        for line in lines[1:]:
            word, _, rest = line.partition(" ")
            if word == "c":
                self.body += (b'data: {"choices":[{"index":0,"delta":%s,"finish_reason":null}]}\n\n'
                              % unescape(rest))
            elif word == "d":
                self.body += b"data: %s\n\n" % unescape(rest)
            elif word == "r":
                self.body += unescape(rest)
            elif word in ("stop", "done"):
                self.body += STOP if word == "stop" else b"data: [DONE]\n\n"
            elif word == "text":
                self.texts += unescape(rest).decode()
            elif word == "fails":
                self.fails = [words.strip() for words in rest.split("|")]
                self.fails[:1] = self.fails[0].split(" ")
            elif word == "status":
                self.status = int(rest)
            elif word == "header":
                self.headers.append(rest)
            elif word == "cut":
                self.is_cut = True
            else:
                self.others.add(word)

    def response(self):
        length = len(self.body) + 100 * self.is_cut
        head = [f"HTTP/1.1 {self.status} X", f"Content-Length: {length}", "Connection: close"]
        return "\r\n".join([*head, *self.headers, "", ""]).encode() + self.body


def read_rows():
    rows = []
    for name in ("text", "ends", "calls", "errors"):
        with open(os.path.join(TABLES, name + ".case"), encoding="utf-8") as file:
            lines = [line for line in file.read().split("\n") if line and not line.startswith("#")]
        starts = [n for n, line in enumerate(lines) if line.startswith("case ")]
        for start, end in zip(starts, [*starts[1:], len(lines)]):
            rows.append(Row([lines[start][5:], *lines[start + 1:end]]))
    return [row for row in rows if not row.others & {"next", "asks", "set"}]


class RawServer:
    """Answers POST /N/chat/completions with the bytes of row N, and closes."""

    def __init__(self, rows):
        self.rows = rows
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            while len(body) < length:
                body += connection.recv(65536)
            number = int(re.search(rb"POST /(\d+)/chat/completions ", head)[1])
            connection.sendall(self.rows[number].response())

    def close(self):
        self.listener.close()


class RowsTest(Test):
    def test_rows(self):
        rows = read_rows()
        self.assertGreater(len(rows), 100)
        upstream = RawServer(rows)
        self.addCleanup(upstream.close)
        server = self.serve("e2e_llm_fiber", settings={"plugin.e2e_llm_fiber.model": "m"})
        for number, row in enumerate(rows):
            with self.subTest(row=row.name):
                base_url = f"http://127.0.0.1:{upstream.port}/{number}"
                events = server.run("e2e_llm_fiber",
                                    {"say": "hi", "base_url": base_url, "attempts": 1})
                done = events[-1].json()
                self.assertEqual(done["status"], "failed" if row.fails else "finished", done)
                self.assertEqual(text_of(events), row.texts)
                if row.fails:
                    self.assertEqual(done["error"]["code"], row.fails[0], done)
                    for words in row.fails[1:]:
                        self.assertIn(words.replace("table]", "e2e_llm_fiber]"),
                                      done["error"]["message"])


if __name__ == "__main__":
    main()
