#!/usr/bin/python3
"""What an agent can find out: variables of its run, and its configuration."""

import errno
import json

from harness import SANITIZED, Swarm, Test, main, read_stream

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AGENTS = ("e2e_ctx", "e2e_ctx_fiber")


class ContextTest(Test):
    def ask(self, server, agent, get=(), set_=None, headers=None):
        """What ctx_get() and ctx_set() returned."""
        events = server.run(agent, {"get": list(get), "set": set_ or {}}, headers)
        by_type = {event.type: event.json() for event in events}
        self.assertEqual(by_type["done"], {"status": "finished"})
        return by_type["ctx"], by_type["returns"]

    def test_variables_of_the_host(self):
        server = self.serve(*AGENTS)
        for agent in AGENTS:
            keys = ["run.id", "run.agent", "plugin.version", "plugin.generation", "input",
                    "auth.subject", "traceparent", "nothing", ""]
            answer = server.post(agent, {"get": keys})
            events = {event.type: event.json() for event in read_stream(answer.body)}
            self.assertEqual(events["ctx"], {
                "run.id": answer.headers["location"].removeprefix("/runs/"), "run.agent": agent,
                "plugin.version": "1.0", "plugin.generation": "1",
                "input": json.dumps({"get": keys}), "auth.subject": None, "traceparent": None,
                "nothing": None, "": None})

    def test_input_is_byte_exact(self):
        body = b' {"get" : ["input"],\n\t"x":"\xe2\x98\x83 \\u2603 \\u0000" }\n'
        server = self.serve("e2e_ctx")
        events = {event.type: event.json() for event in server.run("e2e_ctx", body)}
        self.assertEqual(events["ctx"]["input"], body.decode())

    def test_traceparent(self):
        server = self.serve("e2e_ctx")
        for value, seen in ((TRACE, TRACE), ("cc" + TRACE[2:], "cc" + TRACE[2:]),
                            (TRACE.upper(), None), (TRACE[:-1], None), (TRACE + "0", None),
                            (TRACE.replace("-", "_"), None), ("", None), ("x", None)):
            with self.subTest(value=value):
                ctx, _ = self.ask(server, "e2e_ctx", ["traceparent"], headers={"traceparent": value})
                self.assertEqual(ctx, {"traceparent": seen})

    def test_traceparent_that_the_standard_forbids(self):
        """W3C Trace Context: version ff, and ids of nothing but zeros, are invalid."""
        server = self.serve("e2e_ctx")
        for value in ("ff" + TRACE[2:], "00-" + "0" * 32 + TRACE[35:], TRACE[:36] + "0" * 16 + "-01"):
            with self.subTest(value=value):
                ctx, _ = self.ask(server, "e2e_ctx", ["traceparent"], headers={"traceparent": value})
                self.assertEqual(ctx, {"traceparent": None})

    def test_forwarded_headers(self):
        server = self.serve("e2e_ctx", settings={
            "host.forward_headers": "Accept-Language, X-Tenant,x-other"})
        keys = ["request.header.accept-language", "request.header.x-tenant",
                "request.header.X-Tenant", "request.header.x-other", "request.header.x-secret",
                "request.header.host"]
        ctx, _ = self.ask(server, "e2e_ctx", keys, headers={
            "accept-language": "de, en;q=0.5", "X-TENANT": "caf\u00e9 \"1\"", "X-Secret": "no"})
        self.assertEqual(ctx, dict(zip(keys, (
            "de, en;q=0.5", "caf\u00e9 \"1\"", None, None, None, None))))

    def test_no_header_is_forwarded_unless_it_is_listed(self):
        ctx, _ = self.ask(self.serve("e2e_ctx"), "e2e_ctx", ["request.header.x-tenant"],
                          headers={"X-Tenant": "acme"})
        self.assertEqual(ctx, {"request.header.x-tenant": None})

    def test_configuration_reaches_create(self):
        server = self.serve(*AGENTS, settings={
            "plugin.e2e_ctx.documents": "/srv/b\"ooks\\ \u2603", "plugin.e2e_ctx.limit": "12",
            "plugin.e2e_ctx.threads": "3", "plugin.other.documents": "elsewhere"})
        for agent, config in (("e2e_ctx", {"documents": "/srv/b\"ooks\\ \u2603", "limit": "12"}),
                              ("e2e_ctx_fiber", {})):
            events = server.run(agent, {})
            self.assertEqual(events[1].type, "config")
            self.assertEqual(events[1].json(), config)

    def test_set_and_get(self):
        server = self.serve(*AGENTS)
        for agent in AGENTS:
            ctx, returns = self.ask(server, agent, ["a", "b", "c"],
                                    {"a": "1", "b": "\u2603", "c": "gone", "run.id": "mine",
                                     "input": "mine", "plugin.x": "mine", "": "x", "k" * 129: "x"})
            self.assertEqual(ctx, {"a": "1", "b": "\u2603", "c": "gone"})
            self.assertEqual([returns[key] for key in ("a", "b", "c")], [0, 0, 0])
            self.assertEqual((returns["run.id"], returns["input"]), (-errno.EPERM,) * 2)
            self.assertEqual((returns[""], returns["k" * 129]), (-errno.EINVAL,) * 2)

    def test_take_away(self):
        server = self.serve("e2e_ctx")
        events = server.run("e2e_ctx", b'{"get":["a","b"],"set":{"a":"1","b":"2","b":null}}')
        ctx = [event.json() for event in events if event.type == "ctx"]
        self.assertEqual(ctx, [{"a": "1", "b": None}])

    def test_too_much(self):
        """A run may store 1 MiB; setting a variable anew takes room again."""
        value = b"x" * 150000
        pairs = b",".join(b'"%d":"%s"' % (n, value) for n in range(6))
        server = self.serve("e2e_ctx")
        events = server.run("e2e_ctx", b'{"get":["5"],"set":{' + pairs + b"}}")
        self.assertEqual(next(event.json() for event in events if event.type == "returns"),
                         {str(n): 0 for n in range(6)})
        self.assertEqual(events[-1].json(), {"status": "finished"})

    def test_concurrent_runs_do_not_see_each_other(self):
        runs = 40 if SANITIZED else 200
        server = self.serve(*AGENTS)
        seen = {}

        def take(stream, event):
            if event.type == "ctx":
                seen.setdefault(stream.number, []).append(event.json())

        swarm = Swarm(server.address, take)
        self.addCleanup(swarm.close)
        for n in range(runs):
            swarm.add(AGENTS[n % 2], {"set": {"mine": str(n), f"only-{n % 10}": "x"}, "rounds": 10,
                                      "get": ["mine", "only-0", "only-1", "run.agent"]})
        swarm.finish()
        for n in range(runs):
            self.assertEqual(seen[n], [{"mine": str(n), "only-0": "x" if n % 10 == 0 else None,
                                        "only-1": "x" if n % 10 == 1 else None,
                                        "run.agent": AGENTS[n % 2]}] * 10)

    def test_next_run_starts_afresh(self):
        server = self.serve("e2e_ctx", settings={"plugin.e2e_ctx.threads": 1})
        self.ask(server, "e2e_ctx", ["a"], {"a": "1"})
        self.assertEqual(self.ask(server, "e2e_ctx", ["a"])[0], {"a": None})


if __name__ == "__main__":
    main()
