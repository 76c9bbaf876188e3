#!/usr/bin/python3
"""A2A 1.0 over HTTP: cards, calls of JSON-RPC and of REST, tasks, errors."""

import hashlib
import json

from harness import Test, main, wait_for

JSON = {"Content-Type": "application/json", "A2A-Version": "1.0"}
RPC = "/agents/kit/a2a"
REST = "/agents/kit/a2a/rest"
CARD = "/.well-known/agent-card.json"


def message(text=None, data=None, **more):
    part = {"text": text} if data is None else {"data": data}
    return {"messageId": "m", "role": "ROLE_USER", "parts": [part], **more}


def frames(answer):
    """The data of each block of a stream."""
    return [json.loads(block.removeprefix("data: "))
            for block in answer.body.decode().split("\n\n") if block.startswith("data: ")]


def states(blocks):
    return [block["task" if "task" in block else "statusUpdate"]["status"]["state"]
            for block in blocks if "artifactUpdate" not in block]


class A2ATest(Test):
    token = None

    def setUp(self):
        super().setUp()
        self.start()

    def start(self, *plugins, **settings):
        self.server = self.serve("kit", *plugins, settings=settings)
        wait_for(lambda: self.ask("GET", "/readyz").status == 200, "the server is ready")

    def ask(self, method, path, value=None, headers=None):
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        with self.server.connect() as connection:
            return connection.exchange(method, path, body, {**JSON, **token, **(headers or {})})

    def rpc(self, method, params=None, id_=7, headers=None):
        return self.ask("POST", RPC, {"jsonrpc": "2.0", "id": id_, "method": method,
                                      "params": params or {}}, headers)

    def result(self, method, params=None):
        answer = self.rpc(method, params)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        value = answer.json()
        self.assertEqual((value["jsonrpc"], value["id"]), ("2.0", 7))
        return value["result"]

    def check_error(self, answer, code, reason=None, status=200, id_=7):
        self.assertEqual((answer.status, answer.headers["content-type"]),
                         (status, "application/json"))
        value = answer.json()
        self.assertEqual((value["jsonrpc"], value["id"], value["error"]["code"]), ("2.0", id_, code))
        self.assertTrue(value["error"]["message"])
        self.check_reason(value["error"].get("data", []), reason)

    def check_reason(self, details, reason):
        self.assertEqual(details, [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                                    "reason": reason, "domain": "a2a-protocol.org"}]
                         if reason else [])

    def check_rest(self, answer, status, word, reason=None):
        self.assertEqual((answer.status, answer.headers["content-type"]),
                         (status, "application/a2a+json"))
        error = answer.json()["error"]
        self.assertEqual((error["code"], error["status"]), (status, word))
        self.assertTrue(error["message"])
        self.check_reason(error["details"], reason)

    def send(self, text, at_once=False, **more):
        return self.result("SendMessage", {"message": message(text, **more),
                                           "configuration": {"returnImmediately": at_once}})["task"]

    def until(self, task, state):
        wait_for(lambda: self.result("GetTask", {"id": task["id"]})["status"]["state"] == state,
                 f"the task is {state}")


class CardTest(A2ATest):
    def test_card(self):
        answer = self.ask("GET", "/agents/kit" + CARD)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        card = answer.json()
        base = "http://localhost/agents/kit"
        self.assertEqual([(one["url"], one["protocolBinding"], one["protocolVersion"])
                          for one in card["supportedInterfaces"]],
                         [(base + "/a2a", "JSONRPC", "1.0"), (base + "/a2a/rest", "HTTP+JSON", "1.0")])
        self.assertEqual(card["capabilities"], {"streaming": True, "pushNotifications": False,
                                                "extendedAgentCard": False})
        self.assertNotIn("securitySchemes", card)
        self.assertTrue(all(skill["tags"] for skill in card["skills"]))

    def test_an_unchanged_card_is_not_sent_again(self):
        answer = self.ask("GET", "/agents/kit" + CARD)
        self.assertEqual(answer.headers["cache-control"], "max-age=60")
        for tag in (answer.headers["etag"], "\"x\", " + answer.headers["etag"], "*"):
            again = self.ask("GET", "/agents/kit" + CARD, headers={"If-None-Match": tag})
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(again.headers["etag"], answer.headers["etag"])
        again = self.ask("GET", "/agents/kit" + CARD, headers={"If-None-Match": "\"x\""})
        self.assertEqual(again.status, 200)

    def test_the_only_agent_is_that_of_the_server(self):
        self.assertEqual(self.ask("GET", CARD).json()["name"], "kit")
        self.assertEqual(self.ask("GET", "/agents/nobody" + CARD).status, 404)


class CardsTest(A2ATest):
    def start(self):
        super().start("e2e_emit", **{"host.public_url": "https://agents.example/x/",
                                     "plugin.e2e_emit.protocols": "native a2a"})

    def test_several_agents(self):
        self.assertEqual(self.ask("GET", CARD).status, 404)
        card = self.ask("GET", "/agents/e2e_emit" + CARD).json()
        self.assertEqual(card["supportedInterfaces"][0]["url"],
                         "https://agents.example/x/agents/e2e_emit/a2a")


class DefaultCardTest(A2ATest):
    def start(self):
        super().start("e2e_emit", **{"host.default_agent": "kit",
                                     "plugin.e2e_emit.protocols": "native"})

    def test_default_agent(self):
        self.assertEqual(self.ask("GET", CARD).json()["name"], "kit")

    def test_another_protocol(self):
        self.assertEqual(self.ask("GET", "/agents/e2e_emit" + CARD).status, 404)
        answer = self.ask("POST", "/agents/e2e_emit/a2a",
                          {"jsonrpc": "2.0", "id": 1, "method": "ListTasks"})
        self.check_error(answer, -32601, status=404, id_=1)


class MessageTest(A2ATest):
    def test_stream(self):
        answer = self.rpc("SendStreamingMessage", {"message": message("text custom result")})
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
        run = answer.headers["location"].removeprefix("/runs/")
        self.assertEqual(answer.headers["x-request-id"], run)
        blocks = frames(answer)
        self.assertTrue(all(block["id"] == 7 for block in blocks))
        blocks = [block["result"] for block in blocks]
        self.assertEqual(blocks[0]["task"]["id"], run)
        self.assertEqual(states(blocks), ["TASK_STATE_WORKING"] * 2 + ["TASK_STATE_COMPLETED"])
        self.assertEqual([block["artifactUpdate"]["append"] for block in blocks
                          if "artifactUpdate" in block], [False, True, True, False])

    def test_stream_of_rest(self):
        answer = self.ask("POST", REST + "/message:stream", {"message": message("text fail")},
                          {"Content-Type": "application/a2a+json"})
        blocks = frames(answer)
        self.assertEqual(states(blocks), ["TASK_STATE_WORKING", "TASK_STATE_FAILED"])
        update = blocks[-1]["statusUpdate"]
        self.assertEqual(update["metadata"]["sluice/error"]["code"], "broken")
        self.assertEqual(update["status"]["message"]["role"], "ROLE_AGENT")

    def test_send(self):
        task = self.send("text result")
        self.assertEqual(task["status"], {"state": "TASK_STATE_COMPLETED"})
        self.assertEqual([one["parts"][0] for one in task["artifacts"]],
                         [{"text": "Hello, world"},
                          {"data": {"answer": 42}, "mediaType": "application/json"}])
        answer = self.ask("POST", REST + "/message:send", {"message": message(data={"prompt": "fail"})})
        self.assertEqual((answer.status, answer.headers["content-type"]),
                         (200, "application/a2a+json"))
        self.assertEqual(answer.json()["task"]["status"]["state"], "TASK_STATE_FAILED")

    def test_send_does_not_wait(self):
        task = self.send("slow:0", at_once=True)
        self.assertIn(task["status"]["state"], ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"))
        self.until(task, "TASK_STATE_WORKING")
        self.result("CancelTask", {"id": task["id"]})

    def test_contexts(self):
        first = self.send("ctx:request.thread ctx:request.protocol")
        self.assertEqual(first["artifacts"][0]["parts"][0]["text"], first["contextId"] + "a2a")
        second = self.send("ctx:request.thread", contextId=first["contextId"])
        self.assertEqual(second["artifacts"][0]["parts"][0]["text"], first["contextId"])
        listed = self.result("ListTasks", {"contextId": first["contextId"]})
        self.assertEqual([task["id"] for task in listed["tasks"]], [second["id"], first["id"]])


class TaskTest(A2ATest):
    def test_get(self):
        task = self.send("text")
        self.assertEqual(self.result("GetTask", {"id": task["id"], "historyLength": 2}), task)
        self.assertEqual(self.ask("GET", f"{REST}/tasks/{task['id']}?historyLength=2").json(), task)

    def test_tasks_of_other_protocols_count(self):
        self.ask("POST", "/agents/kit/runs?mode=wait", {"prompt": "text"})
        listed = self.ask("GET", REST + "/tasks?includeArtifacts=true").json()
        self.assertEqual(listed["tasks"][0]["artifacts"][0]["parts"], [{"text": "Hello, world"}])
        self.assertEqual(listed["tasks"][0]["contextId"], listed["tasks"][0]["id"])

    def test_cancel(self):
        task = self.send("slow:0", at_once=True)
        self.assertEqual(self.result("CancelTask", {"id": task["id"]})["status"]["state"],
                         "TASK_STATE_CANCELED")
        self.check_error(self.rpc("CancelTask", {"id": task["id"]}), -32002, "TASK_NOT_CANCELABLE")
        task = self.send("slow:0", at_once=True)
        path = f"{REST}/tasks/{task['id']}:cancel"
        self.assertEqual(self.ask("POST", path).json()["status"]["state"], "TASK_STATE_CANCELED")
        self.check_rest(self.ask("POST", path), 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")

    def test_subscribe(self):
        task = self.send("text slow:0", at_once=True)
        wait_for(lambda: "tick" in str(self.result("GetTask", {"id": task["id"]})), "it says something")
        with self.server.connect() as connection:
            connection.send(b"POST %s/tasks/%s:subscribe HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Length: 0\r\n\r\n" % (REST.encode(), task["id"].encode()))
            connection.expect("POST")
            wait_for(lambda: connection.read() and connection.parser.body.count(b"\n\n") > 1,
                     "the stream has begun")
            self.result("CancelTask", {"id": task["id"]})
            while connection.read():
                pass
            blocks = frames(connection.take())
        self.assertEqual(blocks[0]["task"]["status"]["state"], "TASK_STATE_WORKING")
        text = blocks[0]["task"]["artifacts"][0]["parts"][0]["text"]
        self.assertTrue(text.startswith("Hello, worldtick 1 "), text)
        self.assertEqual(states(blocks)[-1], "TASK_STATE_CANCELED")
        updates = [block["artifactUpdate"] for block in blocks if "artifactUpdate" in block]
        self.assertTrue(all(update["append"] for update in updates))
        whole = self.result("GetTask", {"id": task["id"]})["artifacts"][0]["parts"][0]["text"]
        self.assertEqual(text + "".join(update["artifact"]["parts"][0]["text"]
                                        for update in updates), whole)
        self.check_error(self.rpc("SubscribeToTask", {"id": task["id"]}), -32004,
                         "UNSUPPORTED_OPERATION")

    def test_list(self):
        tasks = [self.send("say:a") for _ in range(3)]
        failed = self.send("fail")
        live = self.send("slow:0", at_once=True)
        ids = [task["id"] for task in (live, failed, *reversed(tasks))]
        self.until(live, "TASK_STATE_WORKING")
        page = self.result("ListTasks", {"pageSize": 2})
        self.assertEqual((page["pageSize"], page["totalSize"]), (2, 5))
        listed = page["tasks"]
        while page["nextPageToken"]:
            page = self.ask("GET", f"{REST}/tasks?pageSize=2&pageToken={page['nextPageToken']}").json()
            listed += page["tasks"]
        self.assertEqual([task["id"] for task in listed], ids)
        self.assertTrue(all("artifacts" not in task for task in listed))
        page = self.ask("GET", REST + "/tasks?status=TASK_STATE_FAILED").json()
        self.assertEqual([task["id"] for task in page["tasks"]], [failed["id"]])
        self.assertEqual(page["tasks"][0]["metadata"]["sluice/error"]["code"], "broken")
        page = self.result("ListTasks", {"statusTimestampAfter": "2999-01-01T00:00:00Z"})
        self.assertEqual([task["id"] for task in page["tasks"]], [live["id"]])
        self.result("CancelTask", {"id": live["id"]})
        page = self.result("ListTasks", {"pageSize": 1, "contextId": tasks[1]["contextId"]})
        self.assertEqual([task["id"] for task in page["tasks"]], [tasks[1]["id"]])
        self.assertEqual(page["nextPageToken"], "")


class QuestionTest(A2ATest):
    def test_stream(self):
        asked = [block["result"] for block in
                 frames(self.rpc("SendStreamingMessage", {"message": message("say:a ask text ask")}))]
        self.assertEqual(states(asked)[-1], "TASK_STATE_INPUT_REQUIRED")
        said = asked[-1]["statusUpdate"]["status"]["message"]
        self.assertEqual(said["parts"], [{"text": "May I?"}])
        self.assertEqual(said["metadata"]["sluice/input_request"]["id"], "q1")
        task, context = said["taskId"], said["contextId"]
        self.assertEqual(self.result("GetTask", {"id": task})["status"],
                         asked[-1]["statusUpdate"]["status"])
        self.check_error(self.rpc("SendMessage", {"message": message("x", taskId=task, contextId="y")}),
                         -32602)
        answered = frames(self.ask("POST", REST + "/message:stream", {
            "message": message(data={"ok": True}, taskId=task, contextId=context)}))
        self.assertEqual(answered[0]["task"]["artifacts"][0]["parts"], [{"text": "a"}])
        self.assertEqual(answered[1]["artifactUpdate"]["artifact"]["parts"], [{"text": "{\"ok\":true}"}])
        self.assertEqual(states(answered), ["TASK_STATE_WORKING", "TASK_STATE_INPUT_REQUIRED"])
        self.check_error(self.rpc("SendMessage", {"message": message(
            "x", taskId=task, metadata={"sluice/question": "q1"})}), -32004, "UNSUPPORTED_OPERATION")
        ended = self.result("SendMessage", {"message": message(
            data={"ok": False}, taskId=task, metadata={"sluice/question": "q2"})})["task"]
        self.assertEqual(ended["status"]["state"], "TASK_STATE_COMPLETED")
        self.check_error(self.rpc("SendMessage", {"message": message("x", taskId=task)}), -32004,
                         "UNSUPPORTED_OPERATION")

    def test_answers_that_the_schema_does_not_take(self):
        task = self.send("ask")["id"]
        for said in (message(data={"ok": 1}, taskId=task), message("yes", taskId=task)):
            self.check_error(self.rpc("SendMessage", {"message": said}), -32602)
        answered = self.result("SendMessage", {"message": message('{"ok": true}', taskId=task)})
        self.assertEqual(answered["task"]["status"]["state"], "TASK_STATE_COMPLETED")
        self.assertEqual(json.loads(answered["task"]["artifacts"][0]["parts"][0]["text"]), {"ok": True})

    def test_send(self):
        task = self.send("ask")
        self.assertEqual(task["status"]["state"], "TASK_STATE_INPUT_REQUIRED")
        listed = self.result("ListTasks", {"status": "TASK_STATE_INPUT_REQUIRED"})["tasks"]
        self.assertEqual(listed[0]["status"], task["status"])
        answered = self.result("SendMessage", {"message": message(data={"ok": True},
                                                                  taskId=task["id"])})["task"]
        self.assertEqual(answered["status"]["state"], "TASK_STATE_COMPLETED")


class TwoQuestionsTest(A2ATest):
    def start(self):
        super().start("e2e_ask")

    def call(self, method, params):
        """The last task, or update of a status."""
        answer = self.ask("POST", "/agents/e2e_ask/a2a",
                          {"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
        if answer.headers["content-type"] == "application/json":
            return answer.json()["result"]["task"]
        last = frames(answer)[-1]["result"]
        return last.get("task", last.get("statusUpdate"))

    def test_the_later_one_is_answered_first(self):
        """The answer ends with the older one, which is still open."""
        for method in "SendMessage", "SendStreamingMessage":
            task = self.call("SendMessage", {"message": message(data={"tasks": 2})})["id"]
            wait_for(lambda: len(self.server.state(task)["questions"]) == 2, "it asks both")
            for question, state in ("q2", "INPUT_REQUIRED"), ("q1", "COMPLETED"):
                said = message("yes", taskId=task, metadata={"sluice/question": question})
                got = self.call(method, {"message": said})
                self.assertEqual(got["status"]["state"], "TASK_STATE_" + state)
                if question == "q2":
                    asked = got["status"]["message"]["metadata"]["sluice/input_request"]
                    self.assertEqual(asked["id"], "q1")

    def test_one_is_answered_elsewhere(self):
        for method in "SendMessage", "SendStreamingMessage":
            task = self.call("SendMessage", {"message": message(data={"tasks": 2})})["id"]
            wait_for(lambda: len(self.server.state(task)["questions"]) == 2, "it asks both")
            self.assertEqual(self.ask("POST", f"/runs/{task}/input?question=q2", 1).status, 202)
            got = self.call(method, {"message": message("yes", taskId=task)})
            self.assertEqual(got["status"]["state"], "TASK_STATE_COMPLETED")


class ErrorTest(A2ATest):
    def test_calls(self):
        self.check_error(self.rpc("Nothing"), -32601)
        self.check_error(self.rpc("message/send"), -32009, "VERSION_NOT_SUPPORTED")
        self.check_error(self.rpc("SendMessage", id_="a\"b"), -32602, id_="a\"b")
        for wrong in ({"metadata": 5}, {"metadata": {"sluice/question": 5}}, {"taskId": 5}, {"contextId": {}}):
            said = {"message": message("text", **wrong)}
            self.check_error(self.rpc("SendMessage", said), -32602)
        self.check_error(self.ask("POST", RPC, []), -32600, id_=None)
        self.check_error(self.ask("POST", RPC, b"{"), -32700, id_=None)
        self.check_error(self.ask("POST", RPC, b"{}", {"Content-Type": "text/plain"}), -32600,
                         status=415, id_=None)
        self.check_error(self.ask("GET", RPC), -32600, status=405, id_=None)

    def test_versions(self):
        self.check_error(self.rpc("ListTasks", headers={"A2A-Version": "0.3"}), -32009,
                         "VERSION_NOT_SUPPORTED")
        self.check_rest(self.ask("GET", REST + "/tasks?A2A-Version=1.1",
                                 headers={"A2A-Version": "1.1"}),
                        400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")
        self.assertEqual(self.rpc("ListTasks", headers={"A2A-Version": "1.0.1"}).status, 200)

    def test_tasks(self):
        for method in ("GetTask", "CancelTask", "SubscribeToTask"):
            self.check_error(self.rpc(method, {"id": "x"}), -32001, "TASK_NOT_FOUND")
            self.check_error(self.rpc(method), -32602)
        self.check_error(self.rpc("SendMessage", {"message": message("x", taskId="x")}), -32001,
                         "TASK_NOT_FOUND")
        self.check_rest(self.ask("GET", REST + "/tasks/x"), 404, "NOT_FOUND", "TASK_NOT_FOUND")
        self.check_rest(self.ask("POST", REST + "/message:send", {"message": {}}), 400,
                        "INVALID_ARGUMENT")
        for size in ("0", "101", "0x10", "+5", "%205", "5.0", "nan", "1e1", "-1", "", "9" * 400):
            self.check_rest(self.ask("GET", f"{REST}/tasks?pageSize={size}"), 400, "INVALID_ARGUMENT")

    def test_what_there_is_not(self):
        for method in ("CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig",
                       "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig"):
            self.check_error(self.rpc(method, {"taskId": "x"}), -32003,
                             "PUSH_NOTIFICATION_NOT_SUPPORTED")
        for method, path in (("POST", ""), ("GET", ""), ("GET", "/y"), ("DELETE", "/y")):
            self.check_rest(self.ask(method, f"{REST}/tasks/x/pushNotificationConfigs{path}"), 400,
                            "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")
        self.check_error(self.rpc("GetExtendedAgentCard"), -32007,
                         "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
        self.check_rest(self.ask("GET", REST + "/extendedAgentCard"), 400, "FAILED_PRECONDITION",
                        "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
        self.check_error(self.rpc("SendMessage", {"message": {**message("x"), "parts": [
            {"url": "http://localhost/x", "mediaType": "image/png"}]}}), -32005,
            "CONTENT_TYPE_NOT_SUPPORTED")

    def test_agents(self):
        value = {"jsonrpc": "2.0", "id": 7, "method": "SendMessage",
                 "params": {"message": message("x")}}
        self.check_error(self.ask("POST", "/agents/nobody/a2a", value), -32601, status=404)
        self.check_rest(self.ask("POST", "/agents/nobody/a2a/rest/message:send", value["params"]), 404,
                        "NOT_FOUND")


class TokenTest(A2ATest):
    def start(self):
        with open(self.path("tokens"), "w", encoding="utf-8") as file:
            for name in ("alice", "bob"):
                file.write(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n")
        self.token = "alice"
        super().start(**{"host.tokens": self.path("tokens")})

    def test_cards_are_open(self):
        self.token = None
        card = self.ask("GET", "/agents/kit" + CARD).json()
        self.assertEqual(card["securitySchemes"],
                         {"bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}})
        self.assertEqual(card["securityRequirements"], [{"schemes": {"bearer": {"list": []}}}])
        self.assertEqual(self.ask("GET", CARD).json(), card)
        self.check_error(self.rpc("ListTasks"), -32600, status=401, id_=None)
        self.check_rest(self.ask("GET", REST + "/tasks"), 401, "UNAUTHENTICATED")

    def test_only_ones_own(self):
        task = self.send("text")
        live = self.send("slow:0", at_once=True)
        self.token = "bob"
        self.assertEqual(self.result("ListTasks")["tasks"], [])
        for id_ in (task["id"], live["id"]):
            for method in ("GetTask", "CancelTask", "SubscribeToTask"):
                self.check_error(self.rpc(method, {"id": id_}), -32001, "TASK_NOT_FOUND")
            self.check_error(self.rpc("SendMessage", {"message": message("x", taskId=id_)}), -32001,
                             "TASK_NOT_FOUND")
        self.token = "alice"
        self.assertEqual(len(self.result("ListTasks")["tasks"]), 2)
        self.result("CancelTask", {"id": live["id"]})


if __name__ == "__main__":
    main()
