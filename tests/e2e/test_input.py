#!/usr/bin/python3
"""Bad requests: each has its exact answer, and the server lives on."""

import json

from harness import Test, main, read_stream, request_bytes, text_of

LIMIT = 4096
FINE = {"calls": [{"op": "text", "text": "fine"}]}
NOT_JSON = "the body is not JSON; send one JSON value in UTF-8, such as {}"
NOT_TYPED = "send the input as JSON, with Content-Type: application/json"
NO_PATH = ("there is nothing at this path; GET /agents lists the agents, and "
           "POST /agents/{agent}/runs starts a run")
TOO_LARGE = f"the body has more than {LIMIT} bytes, the limit of this host"


class InputTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit", settings={"host.max_body": LIMIT})

    def tearDown(self):
        self.assertEqual(text_of(self.server.run("e2e_emit", FINE)), "fine")

    def post(self, body, headers=None, path="/agents/e2e_emit/runs"):
        with self.server.connect() as connection:
            return connection.exchange("POST", path, body,
                                       {"Content-Type": "application/json", **(headers or {})})

    def bad(self, body):
        self.check_problem(self.post(body), 400, "Bad Request", NOT_JSON)

    def test_body_is_not_json(self):
        for body in (b"question=why", b"{", b'{"a":1}}', b"{'a':1}", b"{\"a\":01}", b"nul",
                     b"[1,]", b"\xef\xbb\xbf{}", b"{} {}", b'"\n"', b'"\\x"', b"NaN", b"{}\0"):
            with self.subTest(body=body):
                self.bad(body)

    def test_body_is_not_utf_8(self):
        for text in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            with self.subTest(text=text):
                self.bad(b'{"a":"' + text + b'"}')

    def test_body_is_empty(self):
        self.bad(b"")
        self.bad(b" \n")

    def test_body_is_nested_too_deep(self):
        self.bad(b"[" * 2000 + b"]" * 2000)

    def test_any_json_value_is_an_input(self):
        for body in (b"[]", b"1", b"null", b'"text"', b" {} "):
            with self.subTest(body=body):
                self.assertEqual(read_stream(self.post(body).body)[-1].json()["status"], "finished")

    def test_body_at_the_limit(self):
        body = json.dumps(FINE).encode().ljust(LIMIT)
        self.assertEqual(text_of(read_stream(self.post(body).body)), "fine")

    def test_body_over_the_limit(self):
        for body in (b"[" + b" " * (LIMIT - 1) + b"]", b" " * 100000):
            with self.subTest(length=len(body)):
                self.check_problem(self.post(body), 413, "Content Too Large", TOO_LARGE)

    def test_length_over_the_limit_is_refused_before_the_body(self):
        with self.server.connect() as connection:
            connection.send(b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n")
            self.check_problem(connection.response(), 413, "Content Too Large", TOO_LARGE)

    def test_two_lengths(self):
        with self.server.connect() as connection:
            connection.send(b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nContent-Length: 2\r\n"
                            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
            answer = connection.response()
            self.assertEqual(answer.status, 400)
            if "content-type" in answer.headers:  # libmicrohttpd 1.0 refuses it by itself
                self.check_problem(answer, 400, "Bad Request",
                                   "send Content-Length or Transfer-Encoding, not both")
            self.assertTrue(connection.is_closed())

    def test_chunked_body_over_the_limit(self):
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        with self.server.connect() as connection:
            connection.send(b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
                            chunk * 5 + b"0\r\n\r\n")
            self.check_problem(connection.response(), 413, "Content Too Large", TOO_LARGE)

    def test_unknown_agent(self):
        for name in ("nobody", "e2e_emit.so", "e2e", ".", "x" * 200):
            with self.subTest(name=name):
                self.check_problem(
                    self.post(b"{}", path=f"/agents/{name}/runs"), 404, "Not Found",
                    f"there is no agent '{name}' here; GET /agents lists those there are")

    def test_agent_name_with_foreign_bytes(self):
        answer = self.post(b"{}", path="/agents/%22%0a%ff%c3%a9/runs")
        self.assertEqual(answer.status, 404)
        self.assertIn("there is no agent '\"\n?\u00e9' here", answer.json()["detail"])

    def test_unknown_path(self):
        for path in ("/", "/agents/", "/agents//runs", "/agents/e2e_emit/runs/",
                     "/agents/a/b/runs", "/runs", "/runs/", "/Agents", "/healthz/",
                     "/agents/" + "x" * 300 + "/runs", "/../etc/passwd", "/worker"):
            with self.subTest(path=path):
                self.check_problem(self.server.get(path), 404, "Not Found", NO_PATH)

    def test_unknown_run(self):
        for run in ("0123456789abcdefghjkmnpqrs", "x", "%01", "x" * 200):
            with self.subTest(run=run):
                answer = self.server.get("/runs/" + run)
                self.assertEqual(answer.status, 404)
                self.assertEqual(answer.headers["content-type"], "application/problem+json")

    def test_wrong_method(self):
        for method, path, allow in (("GET", "/agents/e2e_emit/runs", "POST"),
                                    ("PUT", "/agents/e2e_emit/runs", "POST"),
                                    ("OPTIONS", "/agents/e2e_emit/runs", "POST"),
                                    ("POST", "/agents", "GET, HEAD"),
                                    ("DELETE", "/runs/x", "GET, HEAD"),
                                    ("POST", "/healthz", "GET, HEAD"),
                                    ("PATCH", "/readyz", "GET, HEAD")):
            with self.subTest(method=method, path=path), self.server.connect() as connection:
                answer = connection.exchange(method, path, b"{}" if method != "GET" else None,
                                             {"Content-Type": "application/json"})
                self.check_problem(answer, 405, "Method Not Allowed",
                                   f"send {allow.split(',')[0]} to this path")
                self.assertEqual(answer.headers["allow"], allow)

    def test_head_of_a_path_for_post(self):
        with self.server.connect() as connection:
            answer = connection.exchange("HEAD", "/agents/e2e_emit/runs")
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))

    def test_content_type(self):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                     "application/jsonp", "application/json-seq", "text/json", "json", "", None,
                     "text/plain; x=application/json"):
            with self.subTest(kind=kind):
                self.check_problem(self.post(b"{}", {"Content-Type": kind}), 415,
                                   "Unsupported Media Type", NOT_TYPED)

    def test_content_type_of_json(self):
        for kind in ("application/json; charset=utf-8", "Application/JSON",
                     "application/json;charset=UTF-8", "application/json ; x=y"):
            with self.subTest(kind=kind):
                answer = self.post(json.dumps(FINE).encode(), {"Content-Type": kind})
                self.assertEqual(text_of(read_stream(answer.body)), "fine")

    def test_bad_mode(self):
        for mode in ("waits", "", "Wait", "stream,wait"):
            with self.subTest(mode=mode):
                self.check_problem(self.post(b"{}", path=f"/agents/e2e_emit/runs?mode={mode}"),
                                   400, "Bad Request", "mode is 'stream', 'wait' or 'detach'")

    def test_unknown_parameters(self):
        """A misspelt parameter is not taken for its default."""
        runs = "mode as on_disconnect deadline last_event_id lastEventId"
        none = "there is no parameter '{}' of this path; it has none"
        for method, path, name, detail in (
                ("POST", "/agents/e2e_emit/runs?modus=wait", "modus",
                 "there is no parameter '{}' of this path; there are " + runs),
                ("POST", "/agents/e2e_emit/runs?mode=wait&&after=1", "after",
                 "there is no parameter '{}' of this path; there are " + runs),
                ("GET", "/runs/x/events?mode=wait", "mode", "there is no parameter '{}' of this "
                 "path; there are after as protocol last_event_id lastEventId access_token"),
                ("GET", "/runs/x?a", "a", none), ("GET", "/agents?=", "", none),
                ("GET", "/healthz?%22%0a", "\"\n", none), ("POST", "/runs/x/cancel?MODE=x", "MODE", none),
                ("POST", "/runs/x/input?id=1", "id",
                 "there is no parameter '{}' of this path; there are question"),
                ("GET", "/runs/x/events?after=1&after=2", "after", "send once the parameter '{}'")):
            with self.subTest(path=path), self.server.connect() as connection:
                answer = connection.exchange(method, path)
                self.check_problem(answer, 400, "Bad Request", detail.format(name))

    def test_connection_lives_on_after_a_bad_request(self):
        with self.server.connect() as connection:
            for _ in range(3):
                answer = connection.exchange("POST", "/agents/e2e_emit/runs", b"{",
                                             {"Content-Type": "application/json"})
                self.check_problem(answer, 400, "Bad Request", NOT_JSON)
                self.assertEqual(connection.exchange("GET", "/nothing").status, 404)
            connection.post("e2e_emit", FINE)
            self.assertEqual(text_of(read_stream(connection.response().body)), "fine")


class GarbageTest(Test):
    """What is not HTTP gets an error, or an end of the connection; nobody else notices."""

    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit", settings={"host.connection_timeout": 1})

    def tearDown(self):
        self.assertEqual(text_of(self.server.run("e2e_emit", FINE)), "fine")

    def answer_to(self, data):
        """The status of the answer, None if there was none before the end."""
        with self.server.connect() as connection:
            try:
                connection.send(data)
                connection.expect()
                while connection.read():
                    pass
            except (ConnectionError, AssertionError):
                pass
            return connection.parser and connection.parser.status

    def test_not_http(self):
        for data in (b"garbage\r\n\r\n", b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET / FTP/9\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"):
            with self.subTest(data=data):
                self.assertIn(self.answer_to(data), (None, 400, 404, 405, 501, 505))

    def test_bad_lengths(self):
        for length in ("-1", "x", "99999999999999999999999", "0x10"):
            with self.subTest(length=length):
                self.assertIn(self.answer_to(request_bytes(
                    "POST", "/agents/e2e_emit/runs", None,
                    {"Content-Type": "application/json", "Content-Length": length})), (400, 413))

    def test_huge_header(self):
        self.assertIn(self.answer_to(request_bytes("GET", "/healthz", None, {"X": "y" * 100000})),
                      (None, 413, 431))

    def test_many_headers(self):
        headers = {f"X-{n}": "y" * 20 for n in range(2000)}
        self.assertIn(self.answer_to(request_bytes("GET", "/healthz", None, headers)),
                      (None, 413, 431))

    def test_huge_path(self):
        self.assertIn(self.answer_to(request_bytes("GET", "/" + "x" * 100000)), (None, 414, 431))

    def test_clients_that_leave_in_the_middle(self):
        whole = request_bytes("POST", "/agents/e2e_emit/runs", json.dumps(FINE).encode(),
                              {"Content-Type": "application/json"})
        for length in range(0, len(whole), 7):
            with self.server.connect() as connection:
                connection.send(whole[:length])

    def test_silent_connection_is_ended(self):
        with self.server.connect() as connection:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: ")
            self.assertTrue(connection.is_closed())


if __name__ == "__main__":
    main()
