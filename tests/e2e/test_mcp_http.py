#!/usr/bin/python3
"""MCP over HTTP: both eras, sessions, resumed streams, questions, errors. What the official clients
make of it is tested with them."""

import base64
import hashlib
import json

from harness import main, request_bytes, wait_for
from supervising import SupervisionTest

AGENT = "kit"
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
VERSIONS = [MODERN, LEGACY, "2025-06-18", "2025-03-26"]
META = "io.modelcontextprotocol/"
FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
FORGOTTEN = "0" * 26


def frames_of(body):
    """The messages of a stream, and their ids."""
    messages, ids = [], []
    for block in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields.get("data"):
            messages.append(json.loads(fields["data"]))
            ids.append(fields.get("id"))
    return messages, ids


class McpTest(SupervisionTest):
    tokens = None
    settings = {}
    plugins = (AGENT, "echo")

    def setUp(self):
        super().setUp()
        settings = dict(self.settings)
        if self.tokens:
            with open(self.path("tokens"), "w", encoding="utf-8") as file:
                for name in self.tokens:
                    file.write(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n")
            settings["host.tokens"] = self.path("tokens")
        self.server = self.serve(*self.plugins, settings=settings)
        wait_for(lambda: self.server.get("/readyz").status == 200, "the server is ready")

    def request(self, method, body=None, headers=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, separators=(",", ":")).encode()
        with self.server.connect() as connection:
            return connection.exchange(method, "/mcp", body, {
                **({"Content-Type": "application/json"} if body is not None else {}),
                "Accept": "application/json, text/event-stream", **(headers or {})})

    def post(self, method, params=None, headers=None, id=1):
        body = {"jsonrpc": "2.0", "method": method, **({} if id is None else {"id": id}),
                **({} if params is None else {"params": params})}
        return self.request("POST", body, headers)

    def check_error(self, answer, status, code, id=1):
        self.assertEqual((answer.status, answer.headers["content-type"]),
                         (status, "application/json"), answer.body)
        body = json.loads(answer.body)
        self.assertEqual((body["jsonrpc"], body.get("id"), body["error"]["code"]), ("2.0", id, code))
        return body["error"]

    def result(self, answer, id=1):
        """The result, from a document or a stream."""
        self.assertEqual(answer.status, 200, answer.body)
        if answer.headers["content-type"] == "application/json":
            message = json.loads(answer.body)
        else:
            self.assertEqual(answer.headers["content-type"], "text/event-stream")
            message = frames_of(answer.body)[0][-1]
        self.assertEqual((message["jsonrpc"], message["id"]), ("2.0", id))
        return message["result"]

    def check_text(self, result, text, is_error=False):
        self.assertEqual((result["content"], result["isError"]),
                         ([{"type": "text", "text": text}], is_error))

    def ended(self, run, status):
        wait_for(lambda: self.server.state(run)["status"] == status, f"the run is {status}")


class LegacyTest(McpTest):
    settings = {f"plugin.{AGENT}.on_disconnect": "continue"}

    def session(self, version=LEGACY, **abilities):
        answer = self.post("initialize", {"protocolVersion": version, "capabilities": abilities,
                                          "clientInfo": {"name": "t", "version": "1"}})
        self.assertEqual(self.result(answer)["protocolVersion"], version)
        return {"Mcp-Session-Id": answer.headers["mcp-session-id"]}

    def call(self, prompt, headers=None, id=1, token=None):
        meta = {} if token is None else {"_meta": {"progressToken": token}}
        return self.post("tools/call", {"name": AGENT, "arguments": {"prompt": prompt}, **meta},
                         headers, id)

    def open_call(self, prompt, headers, id, wanted):
        """Reads a call's stream until it has these bytes, and gives the run and what was read."""
        body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params":
                           {"name": AGENT, "arguments": {"prompt": prompt},
                            "_meta": {"progressToken": id}}}).encode()
        connection = self.server.connect()
        self.addCleanup(connection.close)
        connection.send(request_bytes("POST", "/mcp", body, {
            "Content-Type": "application/json", "Accept": "text/event-stream", **headers}))
        connection.expect("POST")
        wait_for(lambda: wanted in connection.parser.body or not connection.read(), "bytes come")
        self.assertIn(wanted, connection.parser.body)
        return connection, connection.parser.headers["location"].removeprefix("/runs/")

    def test_versions(self):
        for wanted, got in (*((v, v) for v in VERSIONS[1:]), (MODERN, LEGACY), ("2099-01-01", LEGACY),
                            ("", LEGACY), ("26-07-28 2", LEGACY)):
            answer = self.post("initialize", {"protocolVersion": wanted, "capabilities": {}})
            result = self.result(answer)
            self.assertEqual((result["protocolVersion"], result["capabilities"],
                              result["serverInfo"]["name"]), (got, {"tools": {}}, "sluice"))
        for version in VERSIONS[1:]:
            self.assertEqual(self.result(self.post("ping", headers={"MCP-Protocol-Version": version})), {})
        error = self.check_error(self.post("ping", headers={"MCP-Protocol-Version": "1900-01-01"}),
                                 400, -32022)
        self.assertEqual(error["data"], {"supported": VERSIONS, "requested": "1900-01-01"})

    def test_tools(self):
        tools = self.result(self.post("tools/list"))["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["echo", AGENT])
        self.assertTrue(all(tool["description"] for tool in tools))
        declared = self.server.get("/agents/echo").json()
        self.assertEqual((tools[0]["title"], tools[0]["inputSchema"]),
                         (declared["title"], declared["input_schema"]))
        self.assertEqual(tools[1]["inputSchema"], {"type": "object"})
        result = self.result(self.post("tools/call", {"name": "echo", "arguments": {"text": 1}}))
        self.assertIn('at "/text"', result["content"][0]["text"])
        self.assertEqual((result["isError"], set(result)), (True, {"content", "isError"}))
        self.assertEqual(self.result(self.post("tools/list", {"cursor": "after:echo"}))["tools"],
                         tools[1:])
        self.check_error(self.post("tools/list", {"cursor": "2"}), 200, -32602)

    def test_calls(self):
        for id in (0, -5, 2**60, 1.5, "a\"é", "RUN.1"):
            answer = self.call("text result", self.session(), id=id)
            result = self.result(answer, id)
            self.check_text(result, "Hello, world")
            self.assertEqual(result["structuredContent"], {"answer": 42})
        self.check_text(self.result(self.call("fail")), "it broke, as it was told to", True)
        answer = self.call("text", {"Accept": "application/json"})
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.check_text(self.result(answer), "Hello, world")
        answer = self.call("text custom")
        self.assertEqual(len(frames_of(answer.body)[0]), 1, "there is no progress without a token")
        self.assertEqual(answer.headers["location"].count("/"), 2)

    def test_progress(self):
        for token in (0, "t\""):
            messages, _ = frames_of(self.call("reason text step tool", token=token).body)
            progress = [message["params"] for message in messages[:-1]]
            self.assertEqual({p["progressToken"] for p in progress}, {token})
            numbers = [p["progress"] for p in progress]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertEqual("".join(p["message"] for p in progress),
                             "Let me think.Hello, worldlook startedlook finishedcalls add")

    def test_resume(self):
        """What a stream lost comes by GET, with the call's own id and token."""
        session = self.session()
        gate = self.path("gate")
        connection, run = self.open_call(f"say:a gate:{gate} say:b", session, "x\"", b'"a"')
        connection.close()
        with open(gate, "w", encoding="utf-8"):
            pass
        self.ended(run, "finished")
        answer = self.request("GET", headers={**session, "Last-Event-ID": f"{run}.2"})
        messages, ids = frames_of(answer.body)
        self.assertEqual(ids, [f"{run}.3", f"{run}.4"])
        self.assertEqual(messages[0]["params"], {"progressToken": "x\"", "progress": 3, "message": "b"})
        self.check_text(self.result(answer, "x\""), "ab")
        self.assertEqual(self.request("GET", headers={"Last-Event-ID": f"{run}.4"}).status, 204)
        for last in (f"{run}.5", run, "x", "", f"{FORGOTTEN}.1"):
            answer = self.request("GET", headers={**session, "Last-Event-ID": last})
            self.check_error(answer, 400, -32600, None)
        native = self.server.detach(AGENT, {"prompt": "text"})
        answer = self.request("GET", headers={"Last-Event-ID": f"{native}.1"})
        self.check_error(answer, 400, -32600, None)

    def test_long_text_to_a_client_that_reads_slowly(self):
        """The last frame has all of the text; it is sent in many pieces, and stays whole."""
        text = " ".join(f"word{number:05}" for number in range(20000))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "echo", "arguments": {"text": text}, "_meta": {"progressToken": 1}}}).encode()
        with self.server.connect(receive_buffer=4096) as connection:
            connection.send(request_bytes("POST", "/mcp", body, {"Content-Type": "application/json"}))
            connection.expect("POST")
            while not connection.parser.done:
                connection.parser.feed(connection.socket.recv(3000))
            messages, _ = frames_of(bytes(connection.parser.body))
        self.check_text(messages[-1]["result"], text)
        self.assertEqual("".join(m["params"]["message"] for m in messages[:-1]).removeprefix("say"), text)

    def test_leaving_is_no_cancel(self):
        connection, run = self.open_call("slow:4", self.session(), 1, b"tick 1")
        connection.close()
        self.ended(run, "finished")

    def test_cancel(self):
        """
        Others may not cancel a call. Its client gets no response, nor one if it resumes; it gets
        one if somebody else has cancelled the run.
        """
        session = self.session()
        connection, run = self.open_call("slow:0", session, 7, b"tick 1")
        for headers, id in ((self.session(), 7), (session, "7"), (session, 8), ({}, 7)):
            answer = self.post("notifications/cancelled", {"requestId": id}, headers, None)
            self.assertEqual((answer.status, answer.body), (202, b""))
        self.assertEqual(self.server.state(run)["status"], "running")
        self.post("notifications/cancelled", {"requestId": 7, "reason": "enough"}, session, None)
        self.ended(run, "cancelled")
        while connection.read():
            pass
        self.assertTrue(connection.parser.done)
        messages, ids = frames_of(bytes(connection.parser.body))
        self.assertEqual({message.get("method") for message in messages}, {"notifications/progress"})
        resumed = self.request("GET", headers={**session, "Last-Event-ID": ids[-1]})
        self.assertEqual((resumed.status, resumed.body), (204, b""))
        connection, run = self.open_call("slow:0", session, 8, b"tick 1")
        with self.server.connect() as other:
            self.assertEqual(other.exchange("POST", f"/runs/{run}/cancel").status, 202)
        while connection.read():
            pass
        last = frames_of(bytes(connection.parser.body))[0][-1]
        self.assertEqual((last["id"], last["result"]["isError"]), (8, True))

    def test_call_that_is_sent_twice(self):
        """While it goes on, it is one call; an id that comes again later is another."""
        session = self.session()
        gate = self.path("gate")
        connection, run = self.open_call(f"say:a gate:{gate}", session, 1, b'"a"')
        again, same = self.open_call(f"say:a gate:{gate}", session, 1, b'"a"')
        self.assertEqual(same, run)
        _, other = self.open_call("slow:0", session, 1, b"tick 1")
        self.assertNotEqual(other, run)
        with open(gate, "w", encoding="utf-8"):
            pass
        self.ended(run, "finished")
        self.check_text(self.result(self.call(f"say:a gate:{gate}", session)), "a")
        self.assertEqual((connection.close(), again.close()), (None, None))

    def test_question(self):
        session = self.session(elicitation={})
        connection, run = self.open_call("say:a ask say:b", session, 5, b"elicitation/create")
        asked = frames_of(bytes(connection.parser.body))[0][-1]
        self.assertEqual(asked, {"jsonrpc": "2.0", "id": f"{run}.3", "method": "elicitation/create",
                                 "params": {"message": "May I?", "requestedSchema": FORM}})
        reply = {"jsonrpc": "2.0", "result": {"action": "accept", "content": {"ok": True}}}
        for id in (f"{run}.2", f"{run}", 3, f"{FORGOTTEN}.3", "x" * 250):
            self.check_error(self.request("POST", {**reply, "id": id}, session), 409, -32600, None)
        answer = self.request("POST", {**reply, "id": f"{run}.3"}, session)
        self.assertEqual((answer.status, answer.body), (202, b""))
        while connection.read():
            pass
        self.check_text(frames_of(bytes(connection.parser.body))[0][-1]["result"], 'a{"ok":true}b')
        self.check_error(self.request("POST", {**reply, "id": f"{run}.3"}, session), 409, -32600, None)

    def test_answers_that_are_none(self):
        """Whoever declines what must be answered cancels the run, and learns that."""
        for reply in ({"result": {"action": "decline"}}, {"result": {"action": "cancel"}},
                      {"error": {"code": -32601, "message": "no"}}):
            session = self.session(elicitation={"form": {}})
            connection, run = self.open_call("ask", session, 5, b"elicitation/create")
            answer = {"jsonrpc": "2.0", "id": f"{run}.2"}
            wrong = {**answer, "result": {"action": "accept", "content": {"ok": 1}}}
            self.check_error(self.request("POST", wrong, session), 422, -32600, None)
            self.assertEqual(self.request("POST", {**answer, **reply}, session).status, 202)
            while connection.read():
                pass
            self.check_text(frames_of(bytes(connection.parser.body))[0][-1]["result"],
                            "the run was cancelled", True)

    def test_clients_that_cannot_ask(self):
        for session in ({}, self.session(), self.session(elicitation={"url": {}}),
                        {**self.session(elicitation={}), "Accept": "application/json"}):
            answer = self.call("ask", session)
            result = self.result(answer)
            self.assertTrue(result["isError"])
            self.assertTrue(result["content"][0]["text"].startswith("May I? ("))
            self.ended(answer.headers["location"].removeprefix("/runs/"), "cancelled")

    def test_sessions(self):
        session = self.session()["Mcp-Session-Id"]
        for wrong in ("", "x", session[:-1], session + "0", "9" + session[1:], session.swapcase(),
                      session[:-1] + ("0" if session[-1] != "0" else "1")):
            headers = {"Mcp-Session-Id": wrong}
            self.check_error(self.post("ping", headers=headers), 404, -32600)
            self.check_error(self.request("DELETE", headers=headers), 404, -32600, None)
        for method in ("GET", "DELETE"):
            answer = self.request(method)
            self.check_error(answer, 405, -32600, None)
            self.assertEqual(answer.headers["allow"], "POST")
        other = self.session()
        ours = {"Mcp-Session-Id": session}
        self.assertEqual(self.request("GET", headers=ours).status, 405)
        self.assertEqual(self.request("DELETE", headers=ours).status, 204)
        for answer in (self.request("DELETE", headers=ours), self.request("GET", headers=ours)):
            self.check_error(answer, 404, -32600, None)
        self.check_error(self.post("ping", headers=ours), 404, -32600)
        self.assertEqual(self.result(self.post("ping", headers=other)), {})

    def test_errors(self):
        for body, status, code, id in (
                (b"{", 400, -32700, None), (b"[]", 400, -32600, None), (b"1", 400, -32600, None),
                ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], 400, -32600, None),
                ({"id": 1, "method": "ping"}, 400, -32600, 1),
                ({"jsonrpc": "2.0", "id": 1}, 400, -32600, None),
                ({"jsonrpc": "2.0", "result": {}}, 400, -32600, None),
                ({"jsonrpc": "2.0", "id": None, "method": "ping"}, 400, -32600, None),
                ({"jsonrpc": "2.0", "id": True, "method": "ping"}, 400, -32600, None),
                ({"jsonrpc": "2.0", "id": "x" * 300, "method": "ping"}, 400, -32600, None),
                ({"jsonrpc": "2.0", "id": 1, "method": 5}, 400, -32600, 1),
                ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, 400, -32600, 1),
                ({"jsonrpc": "2.0", "id": 1, "method": "server/discover"}, 200, -32601, 1),
                ({"jsonrpc": "2.0", "id": "a", "method": "resources/list"}, 200, -32601, "a"),
                ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}, 200, -32602, 1),
                ({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                  "params": {"name": "nobody"}}, 200, -32602, 1),
                ({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                  "params": {"name": AGENT, "arguments": [1]}}, 400, -32602, 1),
                ({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                  "params": {"name": 5}}, 400, -32602, 1),
                ({"jsonrpc": "2.0", "id": 1, "method": "tools/list",
                  "params": {"cursor": 5}}, 400, -32602, 1)):
            with self.subTest(body=body):
                self.check_error(self.request("POST", body), status, code, id)
        self.check_error(self.request("POST", b"{}", {"Content-Type": "text/plain"}), 415, -32600, None)
        self.check_error(self.request("PUT", b"{}"), 405, -32600, None)
        for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp",
                     "/.well-known/oauth-authorization-server", "/mcp/", "/sse"):
            self.assertEqual(self.server.get(path).status, 404)


class ModernCallTest(McpTest):
    def ask(self, method, params=None, headers=None, meta=None, abilities=None, id=1):
        """A value None leaves a header or a member of _meta out."""
        params = dict(params or {})
        said = {META + "protocolVersion": MODERN, META + "clientCapabilities": abilities or {},
                **(meta or {})}
        params["_meta"] = {name: value for name, value in said.items() if value is not None}
        sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method,
                "Mcp-Name": params.get("name"), **(headers or {})}
        return self.post(method, params, {n: v for n, v in sent.items() if v is not None}, id)

    def call(self, prompt, **more):
        state = more.pop("state", {})
        return self.ask("tools/call", {"name": AGENT, "arguments": {"prompt": prompt}, **state}, **more)


class ModernTest(ModernCallTest):
    settings = {f"plugin.{AGENT}.on_disconnect": "continue"}  # which the protocol overrules

    def test_discover_and_list(self):
        result = self.result(self.ask("server/discover"))
        self.assertEqual((result["resultType"], result["supportedVersions"], result["capabilities"]),
                         ("complete", VERSIONS, {"tools": {}}))
        listed = self.result(self.ask("tools/list"))
        self.assertEqual([tool["name"] for tool in listed["tools"]], ["echo", AGENT])
        for one in (result, listed):
            self.assertEqual(one["_meta"][META + "serverInfo"]["name"], "sluice")
            self.assertGreaterEqual(one["ttlMs"], 0)
            self.assertEqual(one["cacheScope"], "public")

    def test_call(self):
        answer = self.call("text custom result", meta={"progressToken": 7},
                           headers={"Mcp-Session-Id": "x", "Last-Event-ID": "x"})
        messages, ids = frames_of(answer.body)
        self.assertEqual(set(ids), {None})
        self.assertNotIn("mcp-session-id", answer.headers)
        # into how many notices the texts are joined is a matter of time
        self.assertEqual({message["params"]["progressToken"] for message in messages[:-1]}, {7})
        result = self.result(answer)
        self.check_text(result, "Hello, world")
        self.assertEqual((result["resultType"], result["structuredContent"]), ("complete", {"answer": 42}))
        self.check_text(self.result(self.call("fail")), "it broke, as it was told to", True)
        bad = self.result(self.ask("tools/call", {"name": "echo", "arguments": {"text": 1}}))
        self.assertEqual((bad["isError"], bad["resultType"]), (True, "complete"))
        self.assertEqual(bad["_meta"], result["_meta"])

    def test_numbers_come_back_as_they_were_written(self):
        meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": {},
                "progressToken": "TOKEN"}
        body = json.dumps({"jsonrpc": "2.0", "id": "ID", "method": "tools/call", "params": {
            "name": AGENT, "arguments": {"prompt": "text"}, "_meta": meta}}).encode()
        for number in (b"1.0", b"1e0", b"-1.5E+3"):
            answer = self.request("POST", body.replace(b'"ID"', number).replace(b'"TOKEN"', number), {
                "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": AGENT})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertIn(b'"progressToken":' + number + b",", answer.body)
            self.assertIn(b'"id":' + number + b",", answer.body)

    def test_headers(self):
        name = "=?base64?" + base64.b64encode(AGENT.encode()).decode() + "?="
        self.check_text(self.result(self.call("text", headers={"Mcp-Name": name})), "Hello, world")
        for headers in ({"Mcp-Name": None}, {"Mcp-Name": "echo"}, {"Mcp-Name": "Kit"},
                        {"Mcp-Name": name[:-1]}, {"Mcp-Name": "=?base64?a2k=?="},
                        {"Mcp-Name": "=?base64?a2l0dA==?="}, {"Mcp-Name": "=?base64?*?="},
                        {"Mcp-Method": None}, {"Mcp-Method": "tools/list"},
                        {"MCP-Protocol-Version": None}, {"MCP-Protocol-Version": LEGACY}):
            with self.subTest(headers=headers):
                self.check_error(self.call("text", headers=headers), 400, -32020)

    def test_versions_and_meta(self):
        for version in ("2099-01-01", "1900-01-01", LEGACY):
            answer = self.call("text", headers={"MCP-Protocol-Version": version},
                               meta={META + "protocolVersion": version})
            error = self.check_error(answer, 400, -32022)
            self.assertEqual(error["data"], {"supported": VERSIONS, "requested": version})
        self.check_error(self.call("text", meta={META + "protocolVersion": None}), 400, -32602)
        self.check_error(self.call("text", meta={META + "clientCapabilities": None}), 400, -32602)
        for method in ("ping", "initialize", "resources/list", "subscriptions/listen"):
            self.check_error(self.ask(method), 404, -32601)
        self.check_error(self.ask("tools/call", {"name": "nobody"}), 200, -32602)
        for method in ("GET", "DELETE"):
            answer = self.request(method, headers={"MCP-Protocol-Version": MODERN, "Last-Event-ID": "x.1"})
            self.check_error(answer, 405, -32600, None)
        self.assertEqual(self.ask("notifications/cancelled", id=None).status, 202)
        self.check_error(self.request("POST", {"jsonrpc": "2.0", "id": 1, "result": {}},
                                      {"MCP-Protocol-Version": MODERN}), 400, -32600, None)

    def test_leaving_cancels(self):
        with self.server.connect() as connection:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
                "name": AGENT, "arguments": {"prompt": "slow:0"}, "_meta": {
                    "progressToken": 1, META + "protocolVersion": MODERN, META + "clientCapabilities": {}}}}
            connection.send(request_bytes("POST", "/mcp", json.dumps(body).encode(), {
                "Content-Type": "application/json", "MCP-Protocol-Version": MODERN,
                "Mcp-Method": "tools/call", "Mcp-Name": AGENT}))
            connection.expect("POST")
            wait_for(lambda: connection.read() and b"tick 2" in connection.parser.body, "it runs")
            run = connection.parser.headers["location"].removeprefix("/runs/")
        self.ended(run, "cancelled")

    def test_question(self):
        for accept in ("application/json, text/event-stream", "application/json"):
            more = {"abilities": {"elicitation": {}}, "headers": {"Accept": accept}}
            asked = self.result(self.call("say:a ask say:b", **more))
            self.assertEqual((asked["resultType"], asked["inputRequests"]), ("input_required", {
                "q1": {"method": "elicitation/create", "params": {
                    "mode": "form", "message": "May I?", "requestedSchema": FORM}}}))
            state = {"requestState": asked["requestState"]}
            again = self.result(self.call("say:a ask say:b", state={
                **state, "inputResponses": {"q9": {"action": "accept"}}}, **more))
            self.assertEqual(again, asked, "it asks until it is answered")
            state["inputResponses"] = {"q1": {"action": "accept", "content": {"ok": True}}}
            result = self.result(self.call("say:a ask say:b", state=state, id=2, **more), 2)
            self.check_text(result, 'a{"ok":true}b')
            self.check_text(self.result(self.call("", state=state, id=3, **more), 3), 'a{"ok":true}b')
            other = self.ask("tools/call", {"name": "echo", **state}, **more)
            self.check_error(other, 400, -32600)
            state = {"requestState": self.result(self.call("ask", **more))["requestState"]}
            state["inputResponses"] = {"q1": {"action": "accept", "content": {"ok": 1}}}
            self.check_error(self.call("ask", state=state, **more), 200, -32602)
            state["inputResponses"] = {"q1": {"action": "decline"}}
            self.check_text(self.result(self.call("ask", state=state, **more)),
                            "the run was cancelled", True)
        for wrong in ("x", f"{FORGOTTEN}.3", f"{FORGOTTEN}", asked["requestState"] + "0"):
            self.assertEqual(self.call("", state={"requestState": wrong}).status, 400)
        for wrong in ("", 5, {}, [asked["requestState"]]):
            self.check_error(self.call("", state={"requestState": wrong}), 400, -32602)

    def test_client_that_cannot_ask(self):
        for accept in ("text/event-stream", "application/json"):
            answer = self.call("ask", headers={"Accept": accept})
            result = self.result(answer)
            self.assertEqual((result["resultType"], result["isError"]), ("complete", True))
            self.ended(answer.headers["location"].removeprefix("/runs/"), "cancelled")


class TwoQuestionsTest(ModernCallTest):
    plugins = ("e2e_ask",)

    def test_one_is_answered_elsewhere(self):
        """Nobody is asked again what has its answer."""
        for value, others in (({"tasks": 2}, ["q2"]), ({"tasks": 4}, ["q4", "q2", "q3"])):
            call = {"name": "e2e_ask", "arguments": value}
            more = {"abilities": {"elicitation": {}}}
            answer = self.ask("tools/call", call, **more)
            asked = self.result(answer)
            self.assertEqual((asked["resultType"], list(asked["inputRequests"])),
                             ("input_required", ["q1"]))
            run = answer.headers["location"].removeprefix("/runs/")
            wait_for(lambda: len(self.server.state(run)["questions"]) == value["tasks"], "it asks all")
            for question in others:
                with self.server.connect() as connection:
                    said = connection.exchange("POST", f"/runs/{run}/input?question={question}", b"1",
                                               {"Content-Type": "application/json"})
                self.assertEqual(said.status, 202, said.body)
            call.update(requestState=asked["requestState"], inputResponses={
                "q1": {"action": "accept", "content": {"answer": "yes"}}})
            for _ in range(2):  # the second time, the run has ended
                result = self.result(self.ask("tools/call", call, **more))
                self.assertEqual((result["resultType"], result["isError"]), ("complete", False))
                self.assertEqual(self.server.state(run)["status"], "finished")


class SubjectTest(McpTest):
    """What one subject has is nothing to another."""
    tokens = ("anna", "bert")

    def test_subjects(self):
        anna, bert = ({"Authorization": f"Bearer {name}"} for name in self.tokens)
        self.check_error(self.post("ping"), 401, -32600, None)
        for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"):
            self.assertEqual(self.server.get(path).status, 404, "clients must not look for a sign-in")
        hello = {"protocolVersion": LEGACY, "capabilities": {"elicitation": {}}}
        session = {"Mcp-Session-Id": self.post("initialize", hello, anna).headers["mcp-session-id"]}
        self.check_error(self.post("ping", headers={**bert, **session}), 404, -32600)
        self.assertEqual(self.result(self.post("ping", headers={**anna, **session})), {})
        call = {"name": AGENT, "arguments": {"prompt": "ask"}}
        meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": {"elicitation": {}}}
        modern = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": AGENT}
        asked = self.result(self.post("tools/call", {**call, "_meta": meta}, {**anna, **modern}))
        state = asked["requestState"]
        answer = {**call, "_meta": meta, "requestState": state,
                  "inputResponses": {"q1": {"action": "accept", "content": {"ok": True}}}}
        self.check_error(self.post("tools/call", answer, {**bert, **modern}), 400, -32600)
        reply = {"jsonrpc": "2.0", "id": state, "result": {"action": "accept", "content": {}}}
        self.check_error(self.request("POST", reply, bert), 409, -32600, None)
        self.check_error(self.request("GET", headers={**bert, "Last-Event-ID": state}), 400, -32600, None)
        self.check_text(self.result(self.post("tools/call", answer, {**anna, **modern})), '{"ok":true}')

    def test_origin(self):
        answer = self.post("ping", headers={"Origin": "http://example.com"})
        self.check_error(answer, 403, -32600, None)


class SwitchTest(McpTest):
    settings = {f"plugin.{AGENT}.protocols": "native, openai"}

    def test_agent_that_is_no_tool(self):
        self.assertEqual([tool["name"] for tool in self.result(self.post("tools/list"))["tools"]], ["echo"])
        self.check_error(self.post("tools/call", {"name": AGENT}), 200, -32602)


if __name__ == "__main__":
    main()
