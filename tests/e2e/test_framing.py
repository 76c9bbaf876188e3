#!/usr/bin/python3
"""Heads as hostile or careless clients send them. Of each row, the first request is answered with
one of the statuses, None for no answer; after a refusal the connection closes, and a second request
that is hidden behind the first is never answered."""

import re
import socket

from harness import PATIENCE_S, Test, main

BODY = b'{"calls":[]}'
RUN = b"POST /agents/e2e_emit/runs?mode=wait HTTP/1.1\r\nHost: localhost\r\n" \
      b"Content-Type: application/json\r\n"
SMUGGLED = b"GET /agents HTTP/1.1\r\nHost: localhost\r\n\r\n"


def get(target, version=b"HTTP/1.1", headers=b"Host: localhost\r\n"):
    return b"GET " + target + b" " + version + b"\r\n" + headers + b"\r\n"


def length(*values):
    return RUN + b"".join(b"Content-Length: %s\r\n" % value for value in values) + b"\r\n" + BODY


def coding(*lines):
    return RUN + b"".join(line + b"\r\n" for line in lines) + b"\r\nc\r\n" + BODY + b"\r\n0\r\n\r\n"


def hosts(*values, version=b"HTTP/1.1"):
    return get(b"/healthz", version, b"".join(b"Host: %s\r\n" % value for value in values))


# What is sent, and with what it is refused. libmicrohttpd 1.0 refuses some with a 400 of its own.
REFUSED = [
    # two readers may see two lengths
    (length(b"12", b"5"), 400), (length(b"5", b"12"), 400), (length(b"12", b"12"), 400),
    (length(b"12, 12"), 400), (length(b"12,5"), 400), (length(b"+12"), 400), (length(b"-12"), 400),
    (length(b"0x0c"), 400), (length(b"12 12"), 400), (length(b""), 400), (length(b"1e1"), 400),
    (length(b"12;"), 400), (length(b"18446744073709551616"), 413),
    (RUN + b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (RUN + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    (RUN + b"Transfer-Encoding : chunked\r\nContent-Length: 12\r\n\r\n" + BODY, 400),
    (RUN + b"Content-Length : 5\r\nContent-Length: 12\r\n\r\n" + BODY, 400),
    (RUN + b"Content-Length\t: 12\r\n\r\n" + BODY, 400),
    # codings
    (coding(b"Transfer-Encoding: gzip, chunked"), (400, 501)),
    (coding(b"Transfer-Encoding: chunked, gzip"), (400, 501)),
    (coding(b"Transfer-Encoding: identity"), (400, 501)),
    (coding(b"Transfer-Encoding: xchunked"), (400, 501)),
    (coding(b"Transfer-Encoding: chunkedx"), (400, 501)),
    (coding(b"Transfer-Encoding: chunked;q=1"), (400, 501)),
    (coding(b"Transfer-Encoding: chunked, chunked"), (400, 501)),
    (coding(b"Transfer-Encoding: chunked,"), (400, 501)),
    (coding(b"Transfer-Encoding: \"chunked\""), (400, 501)),
    (coding(b"Transfer-Encoding:"), (400, 501)),
    (coding(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 400),
    (coding(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), 400),
    (coding(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    (coding(b"Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\nTransfer-Encoding: gzip\r\n"), (400, 501)),
    # hosts
    (hosts(), 400), (hosts(b"localhost", b"localhost"), 400), (hosts(b"localhost", b"evil"), 400),
    (hosts(b"localhost, evil"), 400), (hosts(b"localhost evil"), 400), (hosts(b"user@localhost"), 400),
    (hosts(b"localhost/"), 400), (hosts(b"localhost:80:80"), 400), (hosts(b"localhost:x"), 400),
    (hosts(b"[::1"), 400), (hosts(b"[::1]x"), 400), (hosts(b":80"), 400), (hosts(b"http://localhost"), 400),
    (hosts(b"localhost", b"localhost", version=b"HTTP/1.0"), 400),
    # targets
    (get(b"/healthz%00"), 400), (get(b"/healthz%00x"), 400), (get(b"/%00/healthz"), 400),
    (get(b"/healthz?a=%00"), 400), (get(b"/healthz?%00"), 400), (get(b"/healthz%"), 400),
    (get(b"/healthz%0"), 400), (get(b"/healthz%zz"), 400), (get(b"/agents?a=%g0"), 400),
    (get(b"/healthz#x"), 400), (get(b"/healthz\x01"), 400), (get(b"/healthz\t"), 400),
    (get(b"healthz"), 400), (get(b"localhost/healthz"), 400), (get(b"ftp://localhost/healthz"), 400),
    (get(b"http:///healthz"), 400), (get(b"http://a@localhost/healthz"), 400),
    (get(b"http://localhost,evil/healthz"), 400),
    (get(b"/health z"), 400),
    (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    # heads that are none
    (get(b"/healthz", b"HTTP/2.0"), 505), (get(b"/healthz", b"http/1.1"), 400),
    (b"GET /healthz\r\n\r\n", 400), (get(b"/healthz", headers=b"Host: localhost\r\nno colon\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\n: x\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\n:\r\nA: b\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\n\0\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\n\0A: b\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\0evil\r\n"), 400),
    (get(b"/healthz", headers=b"Host\0: localhost\r\n"), 400),
    (get(b"/healthz\0"), (400, None)),
    (RUN + b"Content-Length: 12\0, 5\r\n\r\n" + BODY, 400),
    (RUN + b"Content-Length: 1\r\n 2\r\n\r\n" + BODY, 400),
    (RUN + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + BODY, 400),
    (get(b"/healthz", headers=b"Host: localhost\r\nA: b\r\n c\r\n"), 400),
    (get(b"/healthz", headers=b" Host: localhost\r\nHost: localhost\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\nA: b\r\n"), 400),
    (get(b"/healthz").replace(b"\r\n", b"\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\nX Y: z\r\n"), 400),
    (get(b"/healthz", headers=b"Host: localhost\r\n" + b"A: b\r\n" * 4000), 431),
    (get(b"/healthz", headers=b"Host: localhost\r\nCookie: " + b"a=b;" * 1000 + b"\r\n"), 431),
    (get(b"/" + b"a" * 9000), (414, 431)),
]

# What is sent, and with what it is answered; the connection is kept.
TAKEN = [
    (length(b"12"), 200), (length(b"012"), 200),
    (coding(b"Transfer-Encoding: chunked"), 200), (coding(b"transfer-encoding: CHUNKED"), 200),
    (hosts(b"localhost"), 200), (hosts(b"localhost:1"), 200), (hosts(b"localhost:"), 200),
    (hosts(b"[::1]:80"), 200), (hosts(b"127.0.0.1"), 200),
    (get(b"/%68ealthz"), 200), (get(b"/agents%2f"), 404), (get(b"/agents%2fe2e_emit%2Fruns"), 404),
    (get(b"//localhost/healthz"), 404), (get(b"/runs%2fx"), 404), (get(b"/runs/x%2fevents"), 404), (get(b"/agents/..%2f..%2fhealthz"), 404),
    (get(b"/agents/../healthz"), 404), (get(b"/agents/%2e%2E/healthz"), 404), (get(b"/./healthz"), 404),
    (get(b"/%252e%252e/"), 404), (get(b"/healthz%0d%0ax"), 404), (get(b"/%5chealthz"), 404),
    (get(b"/healthz?"), 200), (get(b"/healthz?&&"), 200),
    (get(b"http://localhost/healthz"), 200), (get(b"HTTP://127.0.0.1:99/healthz"), 200),
    (get(b"https://localhost/healthz?"), 200), (get(b"http://localhost"), 404),
    (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
]


class FramingTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit", settings={"host.request_timeout": 60, "host.max_body": 2000,
                                                       "host.connection_timeout": 60})

    def ask(self, data):
        """Everything that the server says until it closes the connection."""
        said = b""
        with socket.create_connection(self.server.address, PATIENCE_S) as wire:
            try:
                wire.sendall(data)
                while part := wire.recv(1 << 16):
                    said += part
            except ConnectionError:
                pass
        return [int(status) for status in re.findall(rb"(?:^|\n)HTTP/1\.[01] (\d+) ", said)], said

    def test_refused(self):
        for head, statuses in REFUSED:
            statuses = statuses if isinstance(statuses, tuple) else (statuses,)
            for data in (head, head + SMUGGLED * 2):
                with self.subTest(data=data[:200]):
                    answers, said = self.ask(data)
                    # libmicrohttpd 0.9.75 may write the head of an answer of its own twice.
                    self.assertLess(len(set(answers)), 2, said)
                    self.assertIn(answers[0] if answers else None, statuses, said)
                    self.assertNotIn(b'"agents"', said)

    def test_many_parameters(self):
        for count in (60, 119, 120, 1000):
            query = b"&".join(b"p%d" % n for n in range(count))
            with self.subTest(count=count):
                answers, said = self.ask(get(b"/healthz?" + query, headers=b"Host: localhost\r\n"
                                                                 b"Connection: close\r\n"))
                self.assertEqual(len(answers), 1, said)

    def test_chunked_body_over_the_limit(self):
        """The answer comes before the body's end, with what a page needs to read it."""
        head = coding(b"Transfer-Encoding: chunked", b"Origin: http://localhost").split(b"c\r\n")[0]
        for chunk in (b"1000\r\n" + b" " * 4096 + b"\r\n", b"FFFFFFFF\r\n" + b" " * 9999):
            with self.subTest(chunk=chunk[:8]):
                answers, said = self.ask(head + chunk)
                self.assertEqual(answers, [413], said)
                self.assertIn(b"the body has more than 2000 bytes, the limit of this host", said)
                self.assertTrue(said.endswith(b"}\n"))

    def test_taken(self):
        for data, status in TAKEN:
            with self.subTest(data=data):
                answers, said = self.ask(data + get(b"/healthz", headers=b"Host: localhost\r\n"
                                                                        b"Connection: close\r\n"))
                self.assertEqual(answers, [status, 200], said)


if __name__ == "__main__":
    main()
