#!/usr/bin/python3
"""Events reach the client byte for byte, or are refused with the documented error."""

import errno
import json

from harness import Test, main, text_of, types, wait_for

EVENT_MAX = 960 * 1024
CONTROLS = "".join(map(chr, range(1, 0x20)))


def event(text, type_="x"):
    return {"op": "event", "type": type_, "text": text}


class PayloadTest(Test):
    def setUp(self):
        super().setUp()
        self.server = self.serve("e2e_emit")

    def call(self, *calls):
        """What the calls emitted, and what they returned."""
        events = self.server.run("e2e_emit", {"calls": list(calls)})
        self.assertEqual(types(events)[-2:], ["returns", "done"])
        return events[1:-2], events[-2].json()

    def check_refused(self, error, *calls):
        emitted, returns = self.call(*calls)
        self.assertEqual(returns, [-error] * len(calls))
        self.assertEqual(emitted, [])

    def check_exact(self, *texts):
        emitted, returns = self.call(*map(event, texts))
        self.assertEqual(returns, [0] * len(texts))
        self.assertEqual([one.data.decode() for one in emitted], list(texts))

    # ---- what arrives ----

    def test_one_byte(self):
        self.check_exact("0", "7")

    def test_quotes_and_escapes(self):
        self.check_exact(r'{"quote\"d":"\\ \/ \b\f\n\r\t \u0000 \u001f \uD83D\uDE00"}')

    def test_utf_8_of_every_length(self):
        self.check_exact('{"text":"a \u00e9 \u2603 \U0001f600 \U0010ffff \u007f \u0080 \u2028\u2029"}')

    def test_numbers_are_not_changed(self):
        self.check_exact("1e400", "-0.0", "123456789012345678901234567890", "1.10", "0E+0")

    def test_deep_nesting(self):
        self.check_exact("[" * 500 + "]" * 500)

    def test_lines_that_look_like_the_stream(self):
        self.check_exact(r'"\n\nevent: done\ndata: {}\n\n"', '"id: 1"', '"data: x"', '":"')

    def test_blanks_between_tokens_are_taken_out(self):
        value = {"a": [1, 2, {"b c": "d  e"}], "f": None, "g": "\n \t"}
        for text in (json.dumps(value, indent=4), json.dumps(value, indent="\t").replace("\n", "\r\n"),
                     "\n\t " + json.dumps(value) + "\r\n"):
            emitted, returns = self.call(event(text))
            self.assertEqual(returns, [0])
            self.assertEqual(emitted[0].data.decode(), json.dumps(value, separators=(",", ":")))

    def test_text_with_every_control(self):
        for text in (CONTROLS, "quote \" backslash \\ slash / end", "é ☃ 😀 \U0010ffff \x7f",
                     "a\nb\r\nc\n\n", ""):
            with self.subTest(text=text):
                emitted, returns = self.call({"op": "text", "text": text})
                self.assertEqual(returns, [0])
                self.assertEqual(text_of(emitted), text)

    def test_every_character_of_the_basic_plane(self):
        text = "".join(chr(c) for c in range(1, 0x10000) if not 0xd800 <= c < 0xe000)
        emitted, _ = self.call({"op": "text", "text": text},
                               event(json.dumps(text, ensure_ascii=False)))
        self.assertEqual(text_of(emitted), text)
        self.assertEqual(emitted[1].data.decode(), json.dumps(text, ensure_ascii=False))
        self.check_exact(json.dumps(text))

    def test_900_kib(self):
        text = '{"n":1,"text":"' + "\u2603" * (300 * 1024) + r'\"\n"}'
        self.assertGreater(len(text.encode()), 900 * 1024)
        self.check_exact(text)
        emitted, _ = self.call({"op": "event", "type": "x", "fill": 900 * 1024})
        self.assertEqual(emitted[0].data, b'"' + b"f" * (900 * 1024 - 2) + b'"')

    def test_largest_event(self):
        emitted, returns = self.call({"op": "event", "type": "x", "fill": EVENT_MAX},
                                     {"op": "event", "type": "t" * 64, "fill": EVENT_MAX})
        self.assertEqual(returns, [0, 0])
        self.assertEqual([len(one.data) for one in emitted], [EVENT_MAX, EVENT_MAX])
        self.assertEqual(emitted[1].type, "t" * 64)

    def test_types(self):
        valid = ["a", "text", "tool_call", "a.b-c:d_E9", "0", "Done", "RUN", "erro", "message"]
        emitted, returns = self.call(*(event("1", type_) for type_ in valid))
        self.assertEqual(returns, [0] * len(valid))
        self.assertEqual(types(emitted), valid)

    def test_largest_result(self):
        events = self.server.run("e2e_emit", {"calls": [{"op": "result", "fill": EVENT_MAX}]})
        self.assertEqual(len(events[-1].json()["result"]), EVENT_MAX - 2)

    # ---- what is refused ----

    def test_not_json(self):
        self.check_refused(errno.EINVAL, *map(event, (
            "", " ", "{", "}", "{\"a\"}", "[1,]", "nul", "01", "1 2", "'a'", "\"a\nb\"", "\"\x01\"",
            "+1", ".5", "NaN", "{\"a\":1,}", "\"\\x\"", "\"\\ud8\"", "\ufeff{}", "[" * 1000)))

    def test_not_utf_8(self):
        self.check_refused(errno.EINVAL, *(
            {"op": "event", "type": "x", "hex": (b'"' + text + b'"').hex()}
            for text in (b"\xff", b"\x80", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80",
                         b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80")))
        self.check_refused(errno.EINVAL, *({"op": "text", "hex": text} for text in ("ff", "c0af")))

    def test_bad_types(self):
        self.check_refused(errno.EINVAL, *(event("1", type_) for type_ in (
            "", " ", "a b", "a\nb", "a\r", "\u00e9", "a/b", "t" * 65, "a\"", "a\n\ndata: x", None)))

    def test_reserved_types(self):
        self.check_refused(errno.EINVAL, *(event("{}", type_) for type_ in (
            "run", "gap", "done", "error", "open")))

    def test_null_payloads(self):
        self.check_refused(errno.EINVAL, {"op": "event", "type": "x"}, {"op": "text"},
                           {"op": "result"})

    def test_too_large(self):
        self.check_refused(errno.EMSGSIZE, {"op": "event", "type": "x", "fill": EVENT_MAX + 1},
                           {"op": "event", "type": "x", "fill": 4 * EVENT_MAX},
                           {"op": "result", "fill": EVENT_MAX + 1})

    def test_bad_results(self):
        self.check_refused(errno.EINVAL, {"op": "result", "text": "{"},
                           {"op": "result", "text": ""}, {"op": "result", "hex": "22ff22"})

    def test_last_result_counts(self):
        events = self.server.run("e2e_emit", {"calls": [{"op": "result", "text": "1"},
                                                        {"op": "result", "text": "[2 ]"},
                                                        {"op": "result", "text": "bad"}]})
        self.assertEqual(events[-1].json(), {"status": "finished", "result": [2]})

    def test_first_failure_counts(self):
        events = self.server.run("e2e_emit", {"calls": [
            {"op": "fail", "code": "first", "message": "one\ntwo \u2603"},
            {"op": "fail", "code": "second", "message": "x"}, {"op": "return", "value": 0}]})
        self.assertEqual(events[-1].json(), {
            "status": "failed", "error": {"code": "first", "message": "one\ntwo \u2603"}})
        self.assertTrue(all(status < 0 for status in events[-2].json()[:2]))

    # ---- from where ----

    def test_thread_that_bound_the_context(self):
        emitted, returns = self.call({"op": "text", "text": "here "}, {"op": "bound", "text": "there"})
        self.assertEqual(returns, [0, 0])
        self.assertEqual(text_of(emitted), "here there")

    def test_thread_without_context(self):
        for _ in range(2):
            self.check_refused(errno.ENXIO, {"op": "stray", "text": "x"}, {"op": "stray", "text": "y"})
        wait_for(lambda: self.server.get("/agents").json()["agents"][0]["stray_emits"] == 4,
                 "stray emits are counted")
        self.assertEqual(len(self.server.lines("emit_text(): not inside a run; ")), 1)

    def test_capture_outlives_its_run(self):
        self.call({"op": "keep"})
        self.check_refused(errno.ECANCELED, {"op": "late", "text": "too late"})


if __name__ == "__main__":
    main()
