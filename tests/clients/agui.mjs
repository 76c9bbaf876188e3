// AG-UI, through its official HttpAgent.
import assert from "node:assert/strict";
import {HttpAgent, buildResumeArray} from "@ag-ui/client";
import {becomes, native, spy} from "./host.mjs";

const WEATHER = {
  name: "weather", description: "the weather of a city",
  parameters: {type: "object", properties: {city: {type: "string"}}, required: ["city"]},
};

function agentOf(host, prompt, more = {}) {
  const seen = spy();
  const agent = new HttpAgent({
    url: `${host.base}/agents/kit/ag-ui`, headers: {Authorization: `Bearer ${host.token}`},
    fetch: seen.fetch, threadId: "thread-1",
    initialMessages: [{id: "1", role: "user", content: prompt}], ...more});
  return {agent, seen};
}

/** One run of the agent, what it gave and all of its events. */
async function run(agent, parameters = {}, subscriber = {}) {
  const events = [];
  const finished = {};
  const result = await agent.runAgent(parameters, {
    ...subscriber,
    onEvent: (params) => {
      events.push(params.event);
      return subscriber.onEvent?.(params);
    },
    onRunFinishedEvent: (params) => void Object.assign(finished, params),
  });
  return {...result, events, finished, types: events.map((event) => event.type)};
}

export async function everyEvent(host) {
  const {agent} = agentOf(host, "reason text tool step state custom usage result");
  const {events, types, result, finished, newMessages} = await run(agent, {runId: "run-1"});
  assert.deepEqual(types, [
    "RUN_STARTED", "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT",
    "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END", "REASONING_END",
    "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT",
    "STEP_STARTED", "STEP_FINISHED", "STATE_SNAPSHOT", "CUSTOM", "RUN_FINISHED"]);
  assert.deepEqual([events[0].threadId, events[0].runId], ["thread-1", "run-1"]);
  assert.deepEqual(result, {answer: 42});
  assert.equal(finished.outcome, "success");
  assert.deepEqual(events.at(-1).usage.map((use) => [use.inputTokens, use.outputTokens]), [[11, 7]]);
  assert.deepEqual(agent.state, {n: 1});
  const custom = events.find((event) => event.type === "CUSTOM");
  assert.deepEqual([custom.name, custom.value], ["progress", {pct: 50, note: "half"}]);
  const text = newMessages.find((message) => message.role === "assistant" && message.content);
  assert.equal(text.content, "Hello, world");
  const call = newMessages.find((message) => message.toolCalls)?.toolCalls[0];
  assert.deepEqual([call.id, call.function], ["call_1", {name: "add", arguments: '{"a":2,"b":3}'}]);
  const answer = newMessages.find((message) => message.role === "tool");
  assert.deepEqual([answer.toolCallId, answer.content], ["call_1", "5"]);
}

export async function severalTurns(host) {
  const {agent} = agentOf(host, "client text");
  const first = await run(agent, {tools: [WEATHER]});
  assert.deepEqual(first.finished.pendingToolCallIds, ["call_2"]);
  agent.addMessage({id: "2", role: "tool", toolCallId: "call_2", content: "rain"});
  const second = await run(agent, {tools: [WEATHER]});
  assert.equal(second.newMessages.at(-1).content, "rain: Hello, world");
  agent.addMessage({id: "3", role: "user", content: [{type: "text", text: "messages"}]});
  const third = await run(agent);
  const messages = JSON.parse(third.newMessages.at(-1).content);
  assert.deepEqual(messages.map((message) => message.role),
                   ["user", "assistant", "tool", "assistant", "user"]);
  assert.equal(messages[1].tool_calls[0].function.arguments, '{"city":"Oslo"}');
  assert.deepEqual([messages[2].tool_call_id, messages[2].content], ["call_2", "rain"]);
  assert.equal(messages[4].content, "messages");
  const {agent: other} = agentOf(host, "ctx:request.thread ctx:request.protocol");
  assert.equal((await run(other)).newMessages.at(-1).content, "thread-1ag-ui");
}

export async function failures(host) {
  const {agent} = agentOf(host, "text fail");
  const errors = [];
  const events = [];
  await run(agent, {}, {onRunErrorEvent: ({event}) => void errors.push(event),
                        onEvent: ({event}) => void events.push(event)}).catch(() => {});
  assert.deepEqual(events.map((event) => event.type).slice(-2), ["TEXT_MESSAGE_END", "RUN_ERROR"]);
  assert.equal(errors[0].code, "broken");
  assert.match(errors[0].message, /it broke/);
}

export async function refusals(host) {
  for (const [more, status] of [
    [{url: `${host.base}/agents/nobody/ag-ui`}, 404],
    [{headers: {Authorization: "Bearer wrong"}}, 401],
    [{url: `${host.busy}/agents/kit/ag-ui`}, 429],
  ]) {
    const {agent, seen} = agentOf(host, "text", more);
    await assert.rejects(() => run(agent), new RegExp(status));
    assert.deepEqual(seen.calls.map((call) => call.status), [status]);
  }
  const answer = await native(host, "/agents/kit/ag-ui", {threadId: "t", runId: "r", messages: 7});
  assert.equal(answer.status, 400);
}

export async function leaving(host) {
  const {agent, seen} = agentOf(host, "slow:0");
  await run(agent, {}, {onTextMessageContentEvent: ({event}) => {
    if (/tick 2/.test(event.delta)) agent.abortRun();
  }}).catch(() => {});
  await becomes(host, seen.run, "cancelled");
}

export async function cancelledByOthers(host) {
  const {agent, seen} = agentOf(host, "slow:0");
  let asked;
  const {events, finished} = await run(agent, {}, {onTextMessageContentEvent: async () => {
    asked ??= native(host, `${seen.run}/cancel`, {});
    await asked;
  }});
  assert.equal(events.at(-1).type, "RUN_FINISHED");
  assert.equal(finished.outcome, "cancelled");
}

export async function question(host) {
  const {agent, seen} = agentOf(host, "say:first. ask text");
  const first = await run(agent);
  assert.equal(first.finished.outcome, "interrupt");
  const [{id, message, reason, responseSchema}] = agent.pendingInterrupts;
  assert.deepEqual([message, reason], ["May I?", "input_required"]);
  assert.deepEqual(responseSchema.properties, {ok: {type: "boolean"}});
  await becomes(host, seen.run, "waiting");
  const answers = {[id]: {status: "resolved", payload: {ok: true}}};
  const second = await run(agent, {resume: buildResumeArray(agent.pendingInterrupts, answers)});
  assert.equal(second.finished.outcome, "success");
  assert.equal(second.newMessages.map((one) => one.content).join(""), '{"ok":true}Hello, world');
  assert.equal(new Set(seen.calls.map((call) => call.run)).size, 1);
  assert.deepEqual(agent.pendingInterrupts, []);
}

export async function questionDeclined(host) {
  const {agent, seen} = agentOf(host, "ask text");
  await run(agent);
  const {run: asking} = seen;
  const [{id}] = agent.pendingInterrupts;
  const said = await run(agent, {
    resume: buildResumeArray(agent.pendingInterrupts, {[id]: {status: "cancelled"}})});
  assert.equal(said.finished.outcome, "cancelled");
  await becomes(host, asking, "cancelled");
  const late = agentOf(host, "text");
  await assert.rejects(() => run(late.agent, {resume: [{interruptId: id, status: "resolved",
                                                         payload: {ok: true}}]}), /409/);
}
