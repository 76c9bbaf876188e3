#!/usr/bin/python3
"""The agent `ask` with a model, without one, and with one that fails."""

import os
import re

from harness import SRCDIR, Test, free_port, main, text_of, types
from model import Model

DOCUMENTS = os.path.join(SRCDIR, "docs")
QUESTION = "How long can an ended run be read?"
NONE = {name: "" for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")}


class AskTest(Test):
    def setUp(self):
        super().setUp()
        self.model = Model()
        self.addCleanup(self.model.stop)

    def start(self, settings=None, env=None):
        settings = {f"plugin.ask.{key}": value for key, value in (settings or {}).items()}
        return self.serve("ask", settings={"plugin.ask.documents": DOCUMENTS, "plugin.ask.env": "OPENAI_*",
                                           **settings},
                          env={**NONE, **(env or {})})

    def settings(self):
        return {"base_url": self.model.base_url, "model": "scripted"}

    def ask(self, question=QUESTION, **more):
        return self.start(**more).run("ask", {"question": question})

    def check_extracted(self, events):
        """An answer of sentences, with a citation for each document in it."""
        self.assertEqual(events[-1].json()["status"], "finished")
        citations = [event.json() for event in events if event.type == "citation"]
        self.assertTrue(citations)
        text = text_of(events)
        self.assertEqual(set(re.findall(r"\[(\S+):\d+\]", text)), {c["file"] for c in citations})
        self.assertEqual(events[-1].json()["result"], {"answer": text, "citations": citations})

    def test_without_a_model(self):
        plain = self.ask()
        self.check_extracted(plain)
        self.assertEqual(types(plain)[:4], ["run", "step", "step", "step"])
        self.assertEqual([(e.type, e.data) for e in
                          self.ask(env={"OPENAI_API_KEY": "for others",
                                        "OPENAI_BASE_URL": self.model.base_url})[1:]],
                         [(e.type, e.data) for e in plain[1:]])
        self.assertEqual(self.model.requests(), [])

    def test_model_writes_the_answer(self):
        """This one repeats all that it was told, so it names each passage."""
        events = self.ask(settings=self.settings())
        messages = self.model.bodies()[0]["messages"]
        self.assertEqual([message["role"] for message in messages], ["system", "user"])
        told = messages[1]["content"]
        self.assertTrue(told.startswith(QUESTION + "\n\n[" + DOCUMENTS))
        citations = [event.json() for event in events if event.type == "citation"]
        names = re.findall(r"(?m)^\[(/\S+:\d+)\]", told)
        self.assertEqual([f"{c['file']}:{c['line']}" for c in citations], names)
        self.assertEqual(len(names), 4)
        self.assertEqual(text_of(events), told.replace(" ", ""))
        self.assertEqual(events[-1].json()["result"],
                         {"answer": told.replace(" ", ""), "citations": citations})
        self.assertEqual(events[-2].json(), {"name": "answer", "status": "finished",
                                             "citations": 4})

    def test_model_that_names_no_passage(self):
        events = self.ask("finish {} retention", settings=self.settings())
        self.assertEqual(events[-1].json(), {"status": "finished", "result": {
            "answer": "so far", "citations": []}})

    def test_model_that_fails_in_its_answer(self):
        """What was said cannot be taken back."""
        events = self.ask("fails {} retention", settings=self.settings())
        self.assertEqual(text_of(events), "a b ")
        self.assertEqual(events[-1].json()["error"]["code"], "model_failed")

    def test_environment(self):
        events = self.ask(env={"OPENAI_MODEL": "m", "OPENAI_BASE_URL": self.model.base_url})
        self.assertEqual(events[-1].json()["status"], "finished")
        self.assertEqual(self.model.bodies()[0]["model"], "m")

    def check_fallback(self, events, code):
        step = [event.json() for event in events if event.type == "step"][3]
        self.assertEqual((step["name"], step["status"], step["code"]), ("model", "failed", code))
        self.assertTrue(step["message"])
        self.check_extracted(events)

    def test_model_that_is_not_there(self):
        url = f"http://127.0.0.1:{free_port()}/v1"
        self.check_fallback(self.ask(settings={"base_url": url, "model": "m"}),
                            "model_unreachable")

    def test_model_that_refuses(self):
        self.check_fallback(self.ask('refuses {"status": 401} retention',
                                     settings=self.settings()), "model_auth")

    def test_model_that_is_broken(self):
        """Whatever it sends before its first word, the answer is the agent's own."""
        server = self.start(settings=self.settings())
        stop = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        for sent, code in (
                (b'error: {"code":400,"message":"too long"}\n\ndata: [DONE]\n\n', "model_failed"),
                (b'{"error":{"message":"insufficient balance"}}', "model_failed"),
                (b"<html></html>", "model_broken"), (b"", "model_broken"), (stop, "model_broken"),
                (b'data: {"choices":[{"delta":{"reasoning":"hm"}}]}\n\n' + stop, "model_broken"),
                (b'data: {"choices":[{"delta":{"reasoning":"hm"}}]}\n\n', "model_broken"),
                (b'data: {"choices":[{"delta":{"content":{"x":1}}}]}\n\n' + stop, "model_broken"),
                (b'data: {"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"x"}}]}}]}\n\n'
                 + stop, "model_broken")):
            with self.subTest(sent=sent):
                question = f'garbage {{"bytes_hex": "{sent.hex()}"}} retention'
                self.check_fallback(server.run("ask", {"question": question}), code)

    def test_model_that_is_not_named(self):
        self.check_fallback(self.ask(settings={"base_url": self.model.base_url}),
                            "not_configured")

    def test_nothing_found(self):
        events = self.ask("xyzzyx?", settings=self.settings())
        self.assertEqual(text_of(events), "The documents say nothing about this.\n")
        self.assertEqual(self.model.requests(), [])


class DocumentsTest(Test):
    """Documents that are hostile, or not in English."""

    DOCUMENTS = {
        "deep.1": b".SH A\n" + b".if n " * 90_000 + b"\n",
        "stars.md": b"x" + b"**" * 500_000,
        "lines.md": b"\n" * 2_000_000,
        "wide.txt": "設定を再読み込みするには、SIGHUPを送ってください。それ以外はありません。\n".encode(),
        "chinese.md": "配置文件位于系统目录。信号会终止进程。\n".encode(),
        "accents.txt": "The café of İstanbul keeps a résumé.\n".encode(),
        "mark.md": b"\xef\xbb\xbf# Stripes\n\nA \x1b[1;31mzebra\x1b[0m has \x93stripes\x94.\n",
        "comment.md": b"A walrus is large.\n\n<!-- Hidden walrus. -->\n",
    }
    ANSWERS = {
        "設定を再読み込み": ("wide.txt", "設定を再読み込みするには、SIGHUPを送ってください。"),
        "信号": ("chinese.md", "信号会终止进程。"),
        "配置文件": ("chinese.md", "配置文件位于系统目录。"),
        "cafe resume": ("accents.txt", "The café of İstanbul keeps a résumé."),
        "istanbul": ("accents.txt", "The café of İstanbul keeps a résumé."),
        "zebra": ("mark.md", "A zebra has “stripes”."),
        "walrus": ("comment.md", "A walrus is large."),
    }

    def test_each_is_answered_from(self):
        folder = self.path("documents")
        os.mkdir(folder)
        for name, content in self.DOCUMENTS.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        server = self.serve("ask", settings={"plugin.ask.documents": folder}, env=NONE)
        for question, (name, sentence) in self.ANSWERS.items():
            with self.subTest(question):
                text = text_of(server.run("ask", {"question": question}))
                line = 3 if name == "mark.md" else 1
                self.assertIn(f"- {sentence} [{os.path.join(folder, name)}:{line}]\n", text)
                self.assertEqual(text.count("["), 1)


if __name__ == "__main__":
    main()
