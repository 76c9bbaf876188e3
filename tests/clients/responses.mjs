// OpenAI Responses, through the official client, LangChain and the AI SDK.
import assert from "node:assert/strict";
import {createOpenAI} from "@ai-sdk/openai";
import {ChatOpenAI} from "@langchain/openai";
import {generateText, jsonSchema, stepCountIs, streamText, tool} from "ai";
import OpenAI from "openai";
import {all, becomes, native, spy} from "./host.mjs";

const WEATHER = {
  type: "object", properties: {city: {type: "string"}}, required: ["city"],
  additionalProperties: false,
};

function clientOf(host, options = {}) {
  const seen = spy();
  const client = new OpenAI({baseURL: `${host.base}/v1`, apiKey: host.token, fetch: seen.fetch,
                             ...options});
  return {client, seen, responses: client.responses};
}

function ask(input, more = {}) {
  return {model: "kit", input, ...more};
}

export async function plainLoop(host) {
  const {responses, seen} = clientOf(host);
  const events = await all(await responses.create(ask("reason text client", {stream: true})));
  const types = events.map((event) => event.type.replace(/^response\./, ""))
    .filter((type, n, list) => type !== list[n - 1]);
  assert.deepEqual(types, [
    "created", "in_progress",
    "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
    "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
    "content_part.done", "output_item.done",
    "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
    "output_item.done", "completed"]);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, n) => n));
  assert.equal(events[0].response.id, `resp_${seen.run.split("/").at(-1)}`);
  const last = events.at(-1).response;
  assert.equal(last.status, "completed");
  assert.deepEqual(last.output.map((item) => item.type), ["reasoning", "message", "function_call"]);
}

export async function streamHelper(host) {
  const final = await clientOf(host).responses.stream(ask("reason text usage client"))
    .finalResponse();
  assert.equal(final.status, "completed");
  assert.equal(final.output_text, "Hello, world");
  assert.equal(final.usage.total_tokens, 18);
  const [reasoning, , call] = final.output;
  assert.equal(reasoning.summary[0].text, "Let me think.");
  assert.deepEqual([call.call_id, call.name, call.arguments],
                   ["call_2", "weather", '{"city":"Oslo"}']);
}

export async function notStreaming(host) {
  const {responses} = clientOf(host);
  const said = await responses.create(ask("reason text usage"));
  assert.deepEqual([said.object, said.status, said.output_text, said.usage.total_tokens],
                   ["response", "completed", "Hello, world", 18]);
  assert.equal((await responses.create(ask("result"))).output_text, '{"answer":42}');
}

export async function severalTurns(host) {
  const {responses} = clientOf(host);
  const first = await responses.create(ask("client"));
  const second = await responses.create(ask(
    [{type: "function_call_output", call_id: "call_2", output: "rain"}],
    {previous_response_id: first.id}));
  assert.equal(second.output_text, "rain: ");
  const third = await responses.create(ask("messages", {previous_response_id: second.id,
                                                        instructions: "be brief"}));
  const messages = JSON.parse(third.output_text);
  assert.deepEqual(messages.map((message) => message.role),
                   ["system", "user", "assistant", "tool", "assistant", "user"]);
  assert.deepEqual(messages[0], {role: "system", content: "be brief"});
  assert.deepEqual(messages[2].tool_calls[0].function.name, "weather");
  assert.deepEqual([messages[3].content, messages[3].tool_call_id], ["rain", "call_2"]);
  assert.equal(messages[4].content, "rain: ");
  const items = await responses.create(ask([
    {role: "developer", content: "be brief"},
    {type: "message", role: "user", content: [{type: "input_text", text: "client"}]},
    {type: "function_call", call_id: "call_2", name: "weather", arguments: "{}"},
    {type: "function_call_output", call_id: "call_2", output: "snow"},
  ]));
  assert.equal(items.output_text, "snow: ");
  await assert.rejects(() => responses.create(ask("text", {previous_response_id: "resp_none"})),
                       (error) => error instanceof OpenAI.APIError && error.status >= 400 &&
                                  error.status < 500);
}

export async function failures(host) {
  const {responses, seen} = clientOf(host);
  const events = await all(await responses.create(ask("text fail", {stream: true})));
  assert.equal(events.at(-1).type, "response.failed");
  assert.equal(events.at(-1).response.status, "failed");
  assert.match(events.at(-1).response.error.message, /it broke/);
  await assert.rejects(() => responses.create(ask("text fail")), (error) =>
    error instanceof OpenAI.InternalServerError && /it broke/.test(error.message));
  assert.deepEqual(seen.calls.map((call) => call.status), [200, 500]);
}

export async function refusals(host) {
  const {responses} = clientOf(host, {maxRetries: 0});
  const busy = new OpenAI({baseURL: `${host.busy}/v1`, apiKey: host.token, maxRetries: 0});
  const stranger = new OpenAI({baseURL: `${host.base}/v1`, apiKey: "wrong"});
  await assert.rejects(() => responses.create({...ask("text"), model: "nobody"}),
                       OpenAI.NotFoundError);
  await assert.rejects(() => responses.retrieve("resp_nothing"), OpenAI.NotFoundError);
  await assert.rejects(() => responses.create(ask(7)), OpenAI.BadRequestError);
  await assert.rejects(() => stranger.responses.create(ask("text")), OpenAI.AuthenticationError);
  await assert.rejects(() => busy.responses.create(ask("text")), OpenAI.RateLimitError);
}

export async function leaving(host) {
  const {responses, seen} = clientOf(host);
  for await (const event of await responses.create(ask("slow:0", {stream: true})))
    if (event.type === "response.output_text.delta") break;
  await becomes(host, seen.run, "cancelled");
}

export async function inTheBackground(host) {
  const {responses, seen} = clientOf(host);
  let id, after;
  for await (const event of await responses.create(ask("slow:0", {stream: true, background: true}))) {
    id ??= event.response?.id;
    after = event.sequence_number;
    if (event.type === "response.output_text.delta") break;
  }
  const resumed = await responses.retrieve(id, {stream: true, starting_after: after});
  const events = [];
  for await (const event of resumed) {
    events.push(event);
    if (events.length === 3) await responses.cancel(id);
  }
  assert.deepEqual(events.map((event) => event.sequence_number),
                   events.map((_, n) => after + 1 + n));
  assert.equal(events.at(-1).response.status, "cancelled");
  await becomes(host, seen.run, "cancelled");
  assert.equal((await responses.retrieve(id)).status, "cancelled");
}

export async function readAgain(host) {
  const {responses} = clientOf(host);
  const first = await responses.create(ask("reason text"));
  const again = await responses.retrieve(first.id);
  assert.deepEqual([again.id, again.status, again.output_text],
                   [first.id, "completed", "Hello, world"]);
  const streamed = await responses.stream({response_id: first.id}).finalResponse();
  assert.equal(streamed.output_text, "Hello, world");
}

export async function cancelledByOthers(host) {
  const {responses, seen} = clientOf(host);
  let last;
  for await (const event of await responses.create(ask("slow:0", {stream: true}))) {
    if (event.type === "response.output_item.added")
      assert.equal((await native(host, `${seen.run}/cancel`, {})).status, 202);
    last = event;
  }
  assert.deepEqual([last.type, last.response.status], ["response.failed", "cancelled"]);
}

export async function question(host) {
  const {responses, seen} = clientOf(host);
  const events = await all(await responses.create(ask("ask text", {stream: true})));
  assert.equal(events.at(-1).type, "response.failed");
  assert.match(events.at(-1).response.error.message, /May I\?/);
  await becomes(host, seen.run, "cancelled");
  await assert.rejects(() => responses.create(ask("ask text")), (error) =>
    error instanceof OpenAI.ConflictError && /May I\?/.test(error.message));
  assert.deepEqual(seen.calls.map((call) => call.status), [200, 409]);
}

export async function langchain(host) {
  const model = new ChatOpenAI({model: "kit", apiKey: host.token, useResponsesApi: true,
                                maxRetries: 0, configuration: {baseURL: `${host.base}/v1`}});
  const said = await model.invoke("reason text usage");
  assert.equal(said.text, "Hello, world");
  assert.equal(said.usage_metadata.total_tokens, 18);
  const chunks = await all(await model.stream("reason text client"));
  const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
  assert.equal(whole.text, "Hello, world");
  assert.deepEqual(whole.tool_calls.map(({name, args}) => [name, args]),
                   [["weather", {city: "Oslo"}]]);
}

export async function aiSdkProvider(host) {
  const model = createOpenAI({baseURL: `${host.base}/v1`, apiKey: host.token})("kit");
  const streamed = streamText({model, prompt: "reason text usage"});
  assert.equal(await streamed.text, "Hello, world");
  assert.equal(await streamed.reasoningText, "Let me think.");
  assert.equal(await streamed.finishReason, "stop");
  assert.equal((await streamed.usage).totalTokens, 18);
  const weather = tool({inputSchema: jsonSchema(WEATHER), execute: async ({city}) => `rain in ${city}`});
  const stepped = await generateText({model, prompt: "client text", tools: {weather},
                                      stopWhen: stepCountIs(3)});
  assert.equal(stepped.text, "rain in Oslo: Hello, world");
  await assert.rejects(() => generateText({model, prompt: "text fail", maxRetries: 0}), /it broke/);
}
