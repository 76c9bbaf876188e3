// AI SDK UI message stream, through useChat()'s own state machine without React, its transport,
// and readUIMessageStream().
import assert from "node:assert/strict";
import {AbstractChat, DefaultChatTransport, jsonSchema,
        lastAssistantMessageIsCompleteWithToolCalls, readUIMessageStream} from "ai";
import {all, becomes, native, spy, until} from "./host.mjs";

/** What @ai-sdk/react puts between React and AbstractChat. */
class Chat extends AbstractChat {
  constructor(init) {
    const state = {
      status: "ready", error: undefined, messages: init.messages ?? [],
      pushMessage: (message) => state.messages = [...state.messages, structuredClone(message)],
      popMessage: () => state.messages = state.messages.slice(0, -1),
      replaceMessage: (at, message) => state.messages = state.messages.with(at, structuredClone(message)),
      snapshot: (thing) => structuredClone(thing),
    };
    super({...init, state});
  }
}

let chats = 0;

function transportOf(host, {api = `${host.base}/agents/kit/ai-sdk`, token = host.token} = {}) {
  const seen = spy();
  const transport = new DefaultChatTransport({api, fetch: seen.fetch,
                                              headers: {Authorization: `Bearer ${token}`}});
  return {transport, seen};
}

function chatOf(host, {api, token, ...init} = {}) {
  const {transport, seen} = transportOf(host, {api, token});
  const chat = new Chat({id: `chat-${++chats}`, transport, ...init});
  return {chat, seen};
}

function textOf(message) {
  return message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
}

export async function everyEvent(host) {
  const data = [];
  const {chat, seen} = chatOf(host, {onData: (part) => data.push(part)});
  await chat.sendMessage({text: "reason text tool step state custom usage result"});
  assert.equal(chat.error, undefined);
  assert.equal(chat.status, "ready");
  const {id, parts, metadata} = chat.lastMessage;
  assert.equal(id, `msg-${seen.run.split("/").at(-1)}`);
  assert.equal(textOf(chat.lastMessage), "Hello, world");
  assert.equal(parts.find((part) => part.type === "reasoning").text, "Let me think.");
  const called = parts.find((part) => part.type === "dynamic-tool");
  assert.deepEqual([called.toolName, called.toolCallId, called.state, called.input, called.output,
                    called.providerExecuted],
                   ["add", "call_1", "output-available", {a: 2, b: 3}, "5", true]);
  assert.deepEqual(metadata, {usage: {inputTokens: 11, outputTokens: 7}});
  const ofType = (type) => data.filter((part) => part.type === type).map((part) => part.data);
  assert.deepEqual(ofType("data-progress"), [{pct: 50, note: "half"}]);
  assert.deepEqual(ofType("data-state"), [{n: 1}]);
  assert.deepEqual(ofType("data-result"), [{answer: 42}]);
  assert.equal(seen.calls[0].headers.get("x-vercel-ai-ui-message-stream"), "v1");
}

export async function readMessageStream(host) {
  const {transport} = transportOf(host);
  const stream = await transport.sendMessages({
    chatId: "alone", trigger: "submit-message", messages: [
      {id: "1", role: "user", parts: [{type: "text", text: "reason text"}]}]});
  const messages = await all(readUIMessageStream({stream}));
  assert.equal(textOf(messages.at(-1)), "Hello, world");
  assert(messages.length > 3);
}

export async function toolsOfTheClient(host) {
  const called = [];
  const {chat} = chatOf(host, {
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    onToolCall: ({toolCall}) => {
      called.push([toolCall.toolName, toolCall.input]);
      chat.addToolOutput({tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: "rain"});
    },
    onFinish: ({message}) => {
      if (textOf(message)) chat.over();
    },
  });
  const over = new Promise((resolve) => chat.over = resolve);
  await chat.sendMessage({text: "client text"});
  await over;
  assert.deepEqual(called, [["weather", {city: "Oslo"}]]);
  assert.equal(textOf(chat.lastMessage), "rain: Hello, world");
  assert.equal(chat.error, undefined);
}

export async function severalTurns(host) {
  const {chat} = chatOf(host);
  await chat.sendMessage({text: "text tool"});
  await chat.sendMessage({text: "messages"});
  const messages = JSON.parse(textOf(chat.lastMessage));
  assert.deepEqual(messages.map((message) => message.role), ["user", "assistant", "tool", "user"]);
  assert.equal(messages[1].content, "Hello, world");
  assert.equal(messages[1].tool_calls[0].function.name, "add");
  assert.deepEqual([messages[2].tool_call_id, messages[2].content], ["call_1", "5"]);
  await chat.sendMessage({text: "ctx:request.thread"});
  assert.equal(textOf(chat.lastMessage), chat.id);
}

export async function failures(host) {
  const {chat} = chatOf(host);
  await chat.sendMessage({text: "text fail"});
  assert.equal(chat.status, "error");
  assert.match(chat.error.message, /it broke/);
  assert.equal(textOf(chat.lastMessage), "Hello, world");
}

export async function refusals(host) {
  for (const [more, status] of [
    [{api: `${host.base}/agents/nobody/ai-sdk`}, 404],
    [{token: "wrong"}, 401],
    [{api: `${host.busy}/agents/kit/ai-sdk`}, 429],
  ]) {
    const {chat, seen} = chatOf(host, more);
    await chat.sendMessage({text: "text"});
    assert.equal(chat.status, "error");
    assert.equal(seen.calls[0].status, status);
    assert.doesNotMatch(chat.error.message, /[{}]/); // the message, not a document
    assert.match(chat.error.message, /\w/);
  }
  assert.equal((await native(host, "/agents/kit/ai-sdk", {id: "c", messages: 7})).status, 400);
}

export async function leaving(host) {
  const api = `${host.base}/agents/kit/ai-sdk?on_disconnect=cancel`;
  const {chat, seen} = chatOf(host, {api, onFinish: ({isAbort}) => chat.aborted = isAbort});
  const sent = chat.sendMessage({text: "slow:0"});
  await becomes(host, await textCame(chat, seen), "running");
  await chat.stop();
  await sent;
  assert.equal(chat.aborted, true);
  await becomes(host, seen.run, "cancelled");
}

/** The run of a chat, after its first text came. */
function textCame(chat, seen) {
  return until(() => chat.lastMessage?.role === "assistant" && textOf(chat.lastMessage) && seen.run,
               "the answer begins");
}

export async function cancelledByOthers(host) {
  const {chat, seen} = chatOf(host);
  const sent = chat.sendMessage({text: "slow:0"});
  await native(host, `${await textCame(chat, seen)}/cancel`, {});
  await sent;
  assert.deepEqual([chat.status, chat.error], ["ready", undefined]);
  assert.match(textOf(chat.lastMessage), /^tick 1 /);
}

/** A page that was left, and is loaded anew while the run goes on. */
export async function resuming(host) {
  const api = `${host.base}/agents/kit/ai-sdk?on_disconnect=continue`;
  const {transport, seen} = transportOf(host, {api});
  const messages = [{id: "1", role: "user", parts: [{type: "text", text: "text slow:0"}]}];
  const abort = new AbortController();
  const left = await transport.sendMessages({chatId: "reloaded", trigger: "submit-message",
                                             messages, abortSignal: abort.signal});
  await left.getReader().read();
  abort.abort();
  const {chat, seen: seenAgain} = chatOf(host, {id: "reloaded", api, messages});
  const resumed = chat.resumeStream();
  await until(() => /tick 3/.test(textOf(chat.lastMessage)), "the rest comes");
  await native(host, `${seen.run}/cancel`, {});
  await resumed;
  assert.match(textOf(chat.lastMessage), /^Hello, worldtick 1 tick 2 tick 3 /);
  assert.deepEqual([chat.status, chat.error, seenAgain.run], ["ready", undefined, seen.run]);
  assert.equal(await transport.reconnectToStream({chatId: "reloaded"}), null); // it is over
  assert.equal(await transport.reconnectToStream({chatId: "another"}), null);
}

export async function question(host) {
  const {chat, seen} = chatOf(host, {
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    messageMetadataSchema: jsonSchema({}, {  // no answer has any
      validate: () => ({success: false, error: new Error("metadata")}),
    }),
  });
  await chat.sendMessage({text: "say:first. ask text"});
  const asked = chat.lastMessage.parts.find((part) => part.type === "dynamic-tool");
  assert.deepEqual([asked.toolName, asked.state, asked.input.message],
                   ["input", "input-available", "May I?"]);
  await becomes(host, seen.run, "waiting");
  const {id} = chat.lastMessage;
  await chat.addToolOutput({tool: "input", toolCallId: asked.toolCallId, output: {ok: true}});
  await until(() => chat.status === "ready" && /world/.test(textOf(chat.lastMessage)), "it goes on");
  assert.equal(textOf(chat.lastMessage), 'first.{"ok":true}Hello, world');
  assert.deepEqual([chat.messages.length, chat.lastMessage.id], [2, id]); // the page appends
  assert.equal(new Set(seen.calls.map((call) => call.run)).size, 1);
  await becomes(host, seen.run, "finished");
}

/** The page was left at a question that another one has answered. */
export async function resumingAfterAnAnswer(host) {
  const api = `${host.base}/agents/kit/ai-sdk?on_disconnect=continue`;
  const id = `answered-${process.pid}`;
  const {chat: left, seen} = chatOf(host, {id, api});
  await left.sendMessage({text: "ask slow:0"});
  const {id: asked} = left.lastMessage.parts.find((part) => part.type === "dynamic-tool").input;
  const answer = await native(host, `${seen.run}/input?question=${asked}`, {ok: true});
  assert(answer.ok, await answer.text());
  const {chat, seen: seenAgain} = chatOf(host, {
    id, api, messages: left.messages.slice(0, 1),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
  });
  const resumed = chat.resumeStream();
  await until(() => /tick 1/.test(chat.lastMessage && textOf(chat.lastMessage)), "the rest comes");
  await native(host, `${seen.run}/cancel`, {});
  await resumed;
  assert.deepEqual([chat.status, chat.error], ["ready", undefined]);
  assert.equal(seenAgain.calls.length, 1); // the answer is not sent again
}
