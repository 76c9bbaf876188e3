// OpenAI chat completions, through the official client and what people put around it.
import assert from "node:assert/strict";
import {HumanMessage} from "@langchain/core/messages";
import {tool as langchainTool} from "@langchain/core/tools";
import {ChatOpenAI} from "@langchain/openai";
import {createOpenAICompatible} from "@ai-sdk/openai-compatible";
import {generateText, jsonSchema, stepCountIs, streamText, tool} from "ai";
import OpenAI from "openai";
import {all, becomes, native, spy} from "./host.mjs";

const WEATHER = {
  type: "object", properties: {city: {type: "string"}}, required: ["city"],
  additionalProperties: false,
};
const TOOL = {type: "function", function: {name: "weather", parameters: WEATHER}};

function clientOf(host, options = {}) {
  const seen = spy();
  const client = new OpenAI({baseURL: `${host.base}/v1`, apiKey: host.token, fetch: seen.fetch,
                             ...options});
  return {client, seen, chat: client.chat.completions};
}

function prompt(text, more = {}) {
  return {model: "kit", messages: [{role: "user", content: text}], ...more};
}

function joined(chunks, name) {
  return chunks.map((chunk) => chunk.choices[0]?.delta[name] ?? "").join("");
}

export async function plainLoop(host) {
  const {chat, seen} = clientOf(host);
  const chunks = await all(await chat.create(prompt("reason text tool custom usage result", {
    stream: true, stream_options: {include_usage: true, include_events: true}})));
  assert.equal(joined(chunks, "reasoning_content"), "Let me think.");
  assert.equal(joined(chunks, "content"), "Hello, world");
  assert.deepEqual(chunks.filter((chunk) => chunk.sluice).map((chunk) => chunk.sluice), [
    {type: "tool_call", data: {id: "call_1", name: "add", arguments: {a: 2, b: 3}}},
    {type: "tool_result", data: {id: "call_1", content: "5"}},
    {type: "progress", data: {pct: 50, note: "half"}},
  ]);
  const usage = chunks.at(-1);
  assert.deepEqual(usage.choices, []);
  assert.deepEqual([usage.usage.prompt_tokens, usage.usage.completion_tokens,
                    usage.usage.total_tokens], [11, 7, 18]);
  assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
  assert(chunks.slice(0, -1).every((chunk) => chunk.choices.length === 1));
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.equal(chunks[0].id, `chatcmpl-${seen.run.split("/").at(-1)}`);
  assert.equal(seen.calls[0].headers.get("x-request-id"), seen.run.split("/").at(-1));
}

export async function onlyWhatWasAskedFor(host) {
  const chunks = await all(await clientOf(host).chat.create(
    prompt("text tool custom usage", {stream: true})));
  assert(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage && !chunk.sluice));
  assert.equal(joined(chunks, "content"), "Hello, world");
}

export async function streamHelper(host) {
  const stream = clientOf(host).chat.stream(prompt("text client", {tools: [TOOL]}));
  const completion = await stream.finalChatCompletion();
  const [choice] = completion.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, "Hello, world");
  assert.deepEqual(choice.message.tool_calls.map(({id, type, function: called}) =>
    [id, type, called.name, called.arguments]), [["call_2", "function", "weather", '{"city":"Oslo"}']]);
}

export async function toolsOfTheClient(host) {
  for (const stream of [true, false]) {
    const cities = [];
    const runner = clientOf(host).chat.runTools(prompt("client text", {stream, tools: [{
      type: "function", function: {name: "weather", parameters: WEATHER, parse: JSON.parse,
        function: ({city}) => {
          cities.push(city);
          return "rain";
        }}}]}));
    assert.equal(await runner.finalContent(), "rain: Hello, world");
    assert.deepEqual(cities, ["Oslo"]);
  }
}

export async function notStreaming(host) {
  const {chat, seen} = clientOf(host);
  const said = await chat.create(prompt("reason text usage tool"));
  assert.equal(said.object, "chat.completion");
  assert.equal(said.choices[0].message.content, "Hello, world");
  assert.equal(said.choices[0].message.reasoning_content, "Let me think.");
  assert.equal(said.choices[0].finish_reason, "stop");
  assert.equal(said.usage.total_tokens, 18);
  const unknown = await chat.create(prompt("client"));
  assert.equal(unknown.choices[0].message.content, null);
  assert.equal(unknown.choices[0].finish_reason, "tool_calls");
  assert.equal(unknown.usage, undefined);
  assert.equal((await chat.create(prompt("result"))).choices[0].message.content, '{"answer":42}');
  assert.equal(seen.calls.length, 3);
}

export async function severalTurns(host) {
  const messages = [
    {role: "system", content: "be brief"},
    {role: "user", content: "client"},
    {role: "assistant", content: null, tool_calls: [
      {id: "call_2", type: "function", function: {name: "weather", arguments: "{}"}}]},
    {role: "tool", tool_call_id: "call_2", content: "rain"},
    {role: "assistant", content: "It rains."},
    {role: "user", content: "messages"},
  ];
  const {choices: [choice]} = await clientOf(host).chat.create({model: "kit", messages});
  assert.deepEqual(JSON.parse(choice.message.content), messages);
  const parts = await clientOf(host).chat.create({model: "kit", messages: [
    {role: "developer", content: "be brief"},
    {role: "user", content: [{type: "text", text: "mess"}, {type: "text", text: "ages"}]}]});
  assert.deepEqual(JSON.parse(parts.choices[0].message.content),
                   [{role: "system", content: "be brief"}, {role: "user", content: "messages"}]);
}

export async function failures(host) {
  const {chat, seen} = clientOf(host);
  let text = "";
  await assert.rejects(async () => {
    for await (const chunk of await chat.create(prompt("text fail", {stream: true})))
      text += chunk.choices[0].delta.content ?? "";
  }, (error) => error instanceof OpenAI.APIError && error.code === "broken" &&
                error.type === "agent_error" && /it broke/.test(error.message));
  assert.equal(text, "Hello, world");
  await assert.rejects(() => chat.create(prompt("text fail")), (error) =>
    error instanceof OpenAI.InternalServerError && error.code === "broken" &&
    /it broke/.test(error.message));
  assert.deepEqual(seen.calls.map((call) => call.status), [200, 500]);
  await assert.rejects(() => chat.stream(prompt("text fail")).finalContent(), /it broke/);
}

export async function refusals(host) {
  const {chat, client} = clientOf(host, {maxRetries: 0});
  const busy = new OpenAI({baseURL: `${host.busy}/v1`, apiKey: host.token, maxRetries: 0});
  const stranger = new OpenAI({baseURL: `${host.base}/v1`, apiKey: "wrong"});
  const is = (type, more) => (error) => {
    assert(error instanceof type, String(error));
    assert.equal(typeof error.type, "string");
    assert.doesNotMatch(error.message, /^\d+ ?{/); // the message, not the document around it
    for (const [name, value] of Object.entries(more ?? {})) assert.equal(error[name], value);
    return true;
  };
  await assert.rejects(() => chat.create({...prompt("text"), model: "nobody"}),
                       is(OpenAI.NotFoundError, {code: "model_not_found"}));
  await assert.rejects(() => client.models.retrieve("nobody"), is(OpenAI.NotFoundError));
  await assert.rejects(() => client.get("/nothing"), is(OpenAI.NotFoundError));
  await assert.rejects(() => chat.create(prompt("text", {n: 2})), is(OpenAI.BadRequestError));
  await assert.rejects(() => chat.create({model: "kit", messages: "text"}),
                       is(OpenAI.BadRequestError));
  await assert.rejects(() => stranger.chat.completions.create(prompt("text")),
                       is(OpenAI.AuthenticationError));
  await assert.rejects(() => stranger.models.list(), is(OpenAI.AuthenticationError));
  await assert.rejects(() => busy.chat.completions.create(prompt("text", {stream: true})),
                       (error) => is(OpenAI.RateLimitError)(error) &&
                                  error.headers.get("retry-after") !== null);
}

export async function models(host) {
  const {client} = clientOf(host);
  const listed = (await all(client.models.list())).map((model) => model.id);
  assert.deepEqual(listed.toSorted(), ["kit", "kit_fiber"]);
  const model = await client.models.retrieve("kit");
  assert.deepEqual([model.id, model.object, model.owned_by], ["kit", "model", "sluice"]);
}

export async function leaving(host) {
  const {chat, seen} = clientOf(host);
  for await (const chunk of await chat.create(prompt("slow:0", {stream: true})))
    if (/tick 2/.test(chunk.choices[0].delta.content)) break;
  await becomes(host, seen.run, "cancelled");
}

export async function cancelledByOthers(host) {
  const {chat, seen} = clientOf(host);
  await assert.rejects(async () => {
    for await (const chunk of await chat.create(prompt("slow:0", {stream: true})))
      if (/tick 2/.test(chunk.choices[0].delta.content))
        assert.equal((await native(host, `${seen.run}/cancel`, {})).status, 202);
  }, (error) => error instanceof OpenAI.APIError && error.code === "cancelled");
}

export async function aKeyForOneRun(host) {
  const {client, seen} = clientOf(host);
  const ask = () => client.chat.completions.create(prompt("text"),
                                                   {headers: {"Idempotency-Key": "once"}});
  assert.deepEqual(await ask(), await ask());
  assert.equal(new Set(seen.calls.map((call) => call.run)).size, 1);
}

export async function question(host) {
  const {chat, seen} = clientOf(host);
  const isQuestion = (error) => error instanceof OpenAI.APIError && error.code === "input_required" &&
                                /May I\?/.test(error.message);
  await assert.rejects(async () => all(await chat.create(prompt("ask text", {stream: true}))),
                       isQuestion);
  await becomes(host, seen.run, "cancelled");
  await assert.rejects(() => chat.create(prompt("ask text")), isQuestion);
  assert.deepEqual(seen.calls.map((call) => call.status), [200, 409]);
  await becomes(host, seen.run, "cancelled");
}

// ---- what people put around it ----

function langchainOf(host, more = {}) {
  return new ChatOpenAI({model: "kit", apiKey: host.token, maxRetries: 0,
                         configuration: {baseURL: `${host.base}/v1`}, ...more});
}

export async function langchain(host) {
  const model = langchainOf(host);
  const said = await model.invoke("text usage");
  assert.equal(said.content, "Hello, world");
  assert.equal(said.usage_metadata.total_tokens, 18);
  const chunks = await all(await model.stream([new HumanMessage("reason text usage")]));
  const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
  assert.equal(whole.content, "Hello, world");
  assert.equal(whole.usage_metadata.total_tokens, 18);
  const weather = langchainTool(() => "rain", {name: "weather", schema: WEATHER});
  const called = await model.bindTools([weather]).invoke("client");
  assert.deepEqual(called.tool_calls.map(({name, args, id}) => [name, args, id]),
                   [["weather", {city: "Oslo"}, "call_2"]]);
  await assert.rejects(() => model.invoke("text fail"), /it broke/);
  await assert.rejects(async () => all(await model.stream("text fail")), /it broke/);
}

export async function aiSdkProvider(host) {
  const provider = createOpenAICompatible({name: "sluice", baseURL: `${host.base}/v1`,
                                           apiKey: host.token, includeUsage: true});
  const model = provider("kit");
  const streamed = streamText({model, prompt: "reason text usage"});
  assert.equal(await streamed.text, "Hello, world");
  assert.equal(await streamed.reasoningText, "Let me think.");
  assert.equal(await streamed.finishReason, "stop");
  assert.equal((await streamed.usage).totalTokens, 18);
  const weather = tool({inputSchema: jsonSchema(WEATHER), execute: async ({city}) => `rain in ${city}`});
  const stepped = await generateText({model, prompt: "client text", tools: {weather},
                                      stopWhen: stepCountIs(3)});
  assert.equal(stepped.text, "rain in Oslo: Hello, world");
  assert.equal(stepped.steps.length, 2);
  await assert.rejects(() => generateText({model, prompt: "text fail", maxRetries: 0}), /it broke/);
  const errors = [];
  const failed = streamText({model, prompt: "text fail", onError: ({error}) => errors.push(error)});
  await all(failed.textStream);
  assert.match(String(errors[0]?.message ?? errors[0]), /it broke/);
}
