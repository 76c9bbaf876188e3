// A2A 1.0, through the official client, over JSON-RPC and REST alike.
import assert from "node:assert/strict";
import {Role, TaskState, taskStateToJSON} from "@a2a-js/sdk";
import {ClientFactory, ClientFactoryOptions, DefaultAgentCardResolver, JsonRpcTransportFactory,
        RestTransportFactory} from "@a2a-js/sdk/client";
import {all, becomes, native, spy} from "./host.mjs";

const BINDINGS = ["JSONRPC", "HTTP+JSON"];

/** A client of the agent; it reads the card, as others do. */
async function clientOf(host, binding, {base = host.base, agent = "kit", token = host.token} = {}) {
  const seen = spy();
  const fetchImpl = (input, init = {}) => seen.fetch(input, {
    ...init, headers: {...Object.fromEntries(new Headers(init.headers)),
                       authorization: `Bearer ${token}`}});
  const factory = new ClientFactory(ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
    transports: [new JsonRpcTransportFactory({fetchImpl}), new RestTransportFactory({fetchImpl})],
    preferredTransports: [binding],
    cardResolver: new DefaultAgentCardResolver({fetchImpl}),
  }));
  return {client: await factory.createFromUrl(`${base}/agents/${agent}/`), seen};
}

let messages = 0;

function asking(content, more = {}, configuration = undefined) {
  return {
    tenant: "", metadata: undefined, configuration,
    message: {
      messageId: `message-${++messages}`, role: Role.ROLE_USER, taskId: "", contextId: "",
      parts: [{content, metadata: undefined, filename: "", mediaType: ""}],
      metadata: undefined, extensions: [], referenceTaskIds: [], ...more},
  };
}

function prompt(text, more, configuration) {
  return asking({$case: "text", value: text}, more, configuration);
}

/** What the client had of a task, put together as peers do. */
function seenIn(events) {
  const seen = {artifacts: {}, states: [], metadata: []};
  const add = ({artifactId, parts}, append) => {
    const old = append ? seen.artifacts[artifactId] ?? [] : [];
    seen.artifacts[artifactId] = [...old, ...parts.map((part) => part.content.value)];
  };
  for (const {payload} of events) {
    if (payload.$case === "artifactUpdate") {
      add(payload.value.artifact, payload.value.append);
      continue;
    }
    const {status, id, taskId} = payload.value;
    seen.id = id ?? taskId;
    seen.states.push(taskStateToJSON(status.state).replace("TASK_STATE_", ""));
    seen.message = status.message?.parts[0]?.content.value;
    seen.contextId = payload.value.contextId;
    for (const artifact of payload.value.artifacts ?? []) add(artifact, false);
    if (payload.value.metadata) seen.metadata.push(payload.value.metadata);
  }
  seen.text = (seen.artifacts.text ?? []).join("");
  return seen;
}

/** Runs the case over both bindings. */
function overBoth(run) {
  return (host) => Promise.all(BINDINGS.map((binding) => run(host, binding).catch((error) => {
    error.stack = `over ${binding}: ${error.stack}`;
    throw error;
  })));
}

export async function card(host) {
  const {client} = await clientOf(host, "JSONRPC");
  const card = await client.getAgentCard();
  assert.equal(card.name, "kit");
  assert.equal(card.capabilities.streaming, true);
  assert.equal(card.description, "Does what its prompt says");
  assert(card.skills[0].tags.length > 0);
  assert.deepEqual(card.supportedInterfaces.map((one) => one.protocolBinding).toSorted(),
                   BINDINGS.toSorted());
  for (const one of card.supportedInterfaces) {
    assert(one.url.startsWith(`${host.base}/agents/kit/a2a`), one.url);
    assert.equal(one.protocolVersion, "1.0");
  }
  assert.equal(card.securitySchemes.bearer.scheme.value.scheme, "Bearer");
  const open = await fetch(`${host.base}/agents/kit/.well-known/agent-card.json`);
  assert.equal(open.status, 200); // without a token
}

export const streaming = overBoth(async (host, binding) => {
  const {client, seen} = await clientOf(host, binding);
  const seenBy = seenIn(await all(client.sendMessageStream(prompt("reason text tool custom result"))));
  assert.equal(seenBy.text, "Hello, world");
  assert.deepEqual(seenBy.artifacts.result, [{answer: 42}]);
  assert.equal(seenBy.states[0], "WORKING");
  assert.equal(seenBy.states.at(-1), "COMPLETED");
  const others = seenBy.metadata.map((metadata) => metadata["sluice/event"]).filter(Boolean);
  assert.deepEqual(others.map((event) => event.type),
                   ["reasoning", "reasoning", "tool_call", "tool_result", "progress"]);
  assert.deepEqual(others.at(-1).data, {pct: 50, note: "half"});
  assert.equal(seenBy.id, seen.run.split("/").at(-1));
});

export const notStreaming = overBoth(async (host, binding) => {
  const {client} = await clientOf(host, binding);
  const task = await client.sendMessage(prompt("text result"));
  assert.equal(task.status.state, TaskState.TASK_STATE_COMPLETED);
  assert.deepEqual(task.artifacts.map((artifact) => [artifact.artifactId,
    artifact.parts.map((part) => part.content.value)]),
    [["text", ["Hello, world"]], ["result", [{answer: 42}]]]);
  const at = await client.sendMessage(prompt("slow:0", {}, {
    acceptedOutputModes: [], taskPushNotificationConfig: undefined, returnImmediately: true}));
  assert.equal(at.status.state, TaskState.TASK_STATE_WORKING);
  await client.cancelTask({tenant: "", id: at.id, metadata: undefined});
});

export const tasks = overBoth(async (host, binding) => {
  const {client} = await clientOf(host, binding);
  const task = await client.sendMessage(prompt("text"));
  const again = await client.getTask({tenant: "", id: task.id});
  assert.deepEqual([again.id, again.contextId, again.status.state],
                   [task.id, task.contextId, TaskState.TASK_STATE_COMPLETED]);
  const {tasks: listed} = await client.listTasks({
    tenant: "", contextId: task.contextId, status: 0, pageToken: "", statusTimestampAfter: undefined});
  assert.deepEqual(listed.map((one) => one.id), [task.id]);
  await assert.rejects(() => client.getTask({tenant: "", id: "nothing"}), /not found|TaskNotFound/i);
  await assert.rejects(() => client.cancelTask({tenant: "", id: task.id, metadata: undefined}),
                       /cancel/i);
  await assert.rejects(() => all(client.resubscribeTask({tenant: "", id: task.id})));
});

export const severalTurns = overBoth(async (host, binding) => {
  const {client} = await clientOf(host, binding);
  const first = await client.sendMessage(prompt("ctx:request.thread"));
  assert(first.contextId);
  assert.equal(first.artifacts[0].parts[0].content.value, first.contextId);
  const second = await client.sendMessage(prompt("ctx:request.thread", {contextId: first.contextId}));
  assert.equal(second.contextId, first.contextId);
  assert.notEqual(second.id, first.id);
  const data = await client.sendMessage(asking({$case: "data", value: {prompt: "text"}}));
  assert.equal(data.artifacts[0].parts[0].content.value, "Hello, world");
});

export const failures = overBoth(async (host, binding) => {
  const {client} = await clientOf(host, binding);
  const seenBy = seenIn(await all(client.sendMessageStream(prompt("text fail"))));
  assert.equal(seenBy.text, "Hello, world");
  assert.equal(seenBy.states.at(-1), "FAILED");
  assert.match(seenBy.message, /it broke/);
  assert.equal(seenBy.metadata.at(-1)["sluice/error"].code, "broken");
  const task = await client.sendMessage(prompt("fail"));
  assert.equal(task.status.state, TaskState.TASK_STATE_FAILED);
});

export const refusals = overBoth(async (host, binding) => {
  await assert.rejects(() => clientOf(host, binding, {agent: "nobody"}), /404/);
  const {client: stranger} = await clientOf(host, binding, {token: "wrong"});
  await assert.rejects(() => stranger.sendMessage(prompt("text")), /401|Unauthorized|token/i);
  const {client: second} = await clientOf(host, binding, {base: host.busy});
  await assert.rejects(() => second.sendMessage(prompt("text")));
  const {client} = await clientOf(host, binding);
  await assert.rejects(() => client.sendMessage(prompt("text", {taskId: "nothing"})),
                       /not found|TaskNotFound/i);
});

export const leavingAndComingBack = overBoth(async (host, binding) => {
  const {client} = await clientOf(host, binding);
  const events = [];
  for await (const event of client.sendMessageStream(prompt("slow:0"))) {
    events.push(event);
    if (events.length === 3) break;
  }
  const {id} = seenIn(events);
  const rest = [];
  for await (const event of client.resubscribeTask({tenant: "", id})) {
    rest.push(event);
    if (rest.length === 3) await client.cancelTask({tenant: "", id, metadata: undefined});
  }
  const seenBy = seenIn(rest);
  assert.equal(rest[0].payload.$case, "task");
  assert.match(seenBy.text, /^tick 1 tick 2 tick 3 /);
  assert.equal(seenBy.states.at(-1), "CANCELED");
  await becomes(host, `/runs/${id}`, "cancelled");
});

export const cancelledByOthers = overBoth(async (host, binding) => {
  const {client, seen} = await clientOf(host, binding);
  const events = [];
  for await (const event of client.sendMessageStream(prompt("slow:0")))
    if (events.push(event) === 2) await native(host, `${seen.run}/cancel`, {});
  assert.equal(seenIn(events).states.at(-1), "CANCELED");
});

export const question = overBoth(async (host, binding) => {
  const {client} = await clientOf(host, binding);
  const first = seenIn(await all(client.sendMessageStream(prompt("say:first. ask text"))));
  assert.equal(first.states.at(-1), "INPUT_REQUIRED");
  assert.match(first.message, /May I\?/);
  await becomes(host, `/runs/${first.id}`, "waiting");
  const {id: taskId, contextId} = first;
  const rest = await all(client.sendMessageStream(
    asking({$case: "data", value: {ok: true}}, {taskId, contextId})));
  const second = seenIn(rest);
  assert.deepEqual([second.id, second.states.at(-1)], [first.id, "COMPLETED"]);
  assert.match(second.text, /\{"ok":true\}Hello, world$/);
  await assert.rejects(() => client.sendMessage(prompt("again", {taskId, contextId})));
  const task = await client.sendMessage(prompt("ask text"));
  assert.equal(task.status.state, TaskState.TASK_STATE_INPUT_REQUIRED);
  const answered = await client.sendMessage(
    asking({$case: "data", value: {ok: false}}, {taskId: task.id, contextId: task.contextId}));
  assert.equal(answered.status.state, TaskState.TASK_STATE_COMPLETED);
});
