#!/usr/bin/python3
"""A kernel that takes only a part of each write: no byte is lost, none comes twice."""

import ctypes
import unittest

from harness import SANITIZED, Test, main, plugin_path, read_stream, text_of, types

CALLS = {"calls": [{"op": "text", "text": "hello "}, {"op": "event", "type": "x", "fill": 3000},
                   {"op": "text", "text": "world"}]}


@unittest.skipIf(SANITIZED, "a sanitizer's own functions have to be loaded first")
class ShortSendTest(Test):
    def start(self, less):
        path = plugin_path("fault_short_send")
        ctypes.c_char.in_dll(ctypes.CDLL(path), "fault_short_send")  # its symbols are seen
        return self.serve("e2e_emit", "ticker",
                          env={"LD_PRELOAD": path, "SHORT_SEND": str(less)})

    def check(self, less):
        server = self.start(less)
        with server.connect() as connection:
            for _ in range(2):  # the connection stays usable
                connection.post("e2e_emit", CALLS)
                events = read_stream(connection.response().body)
                self.assertEqual(types(events), ["run", "text", "x", "text", "returns", "done"])
                self.assertEqual(text_of(events), "hello world")
                self.assertEqual(events[2].data, b'"' + b"f" * 2998 + b'"')
        ticks = server.run("ticker", {"count": 20, "period_ms": 5})
        self.assertEqual(types(ticks), ["run"] + ["tick"] * 20 + ["done"])

    def test_last_byte_is_left_out(self):
        """A chunk's end is cut: CR is out, LF is not."""
        self.check(1)

    def test_end_of_the_chunk_is_left_out(self):
        self.check(2)

    def test_some_bytes_are_left_out(self):
        for less in (3, 10, 100):
            with self.subTest(less=less):
                self.check(less)

    def test_single_bytes(self):
        self.check(1 << 30)

    def test_http_1_0(self):
        server = self.start(1)
        with server.connect() as connection:
            connection.post("e2e_emit", CALLS, version="1.0")
            self.assertEqual(text_of(read_stream(connection.response().body)), "hello world")


if __name__ == "__main__":
    main()
