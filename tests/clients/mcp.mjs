// MCP of both eras: 2025-11-25 through the first SDK, 2026-07-28 through the second, and the AI SDK.
import assert from "node:assert/strict";
import {createMCPClient} from "@ai-sdk/mcp";
import * as modern from "@modelcontextprotocol/client";
import {Client} from "@modelcontextprotocol/sdk/client/index.js";
import {CallToolResultSchema, ElicitRequestSchema} from "@modelcontextprotocol/sdk/types.js";
import {StreamableHTTPClientTransport} from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {becomes, native, spy, until} from "./host.mjs";

const INFO = {name: "test", version: "1.0"};

/** Clients of both eras that are connected. */
async function clientOf(host, era, {base = host.base, token = host.token, capabilities = {},
                                    ...more} = {}) {
  const seen = spy();
  const options = {fetch: seen.fetch, requestInit: {headers: {Authorization: `Bearer ${token}`}},
                   ...more};
  const url = new URL(`${base}/mcp`);
  const client = era === "2025"
    ? new Client(INFO, {capabilities})
    : new modern.Client(INFO, {capabilities, versionNegotiation: {mode: {pin: "2026-07-28"}}});
  const transport = era === "2025" ? new StreamableHTTPClientTransport(url, options)
                                   : new modern.StreamableHTTPClientTransport(url, options);
  await client.connect(transport);
  const call = (prompt, options) => era === "2025"
    ? client.callTool({name: "kit", arguments: {prompt}}, undefined, options)
    : client.callTool({name: "kit", arguments: {prompt}}, options);
  return {client, transport, seen, call};
}

/** Runs the case in both eras. */
function inBoth(run) {
  return (host) => Promise.all(["2025", "2026"].map((era) => run(host, era).catch((error) => {
    error.stack = `in ${era}: ${error.stack}`;
    throw error;
  })));
}

export const tools = inBoth(async (host, era) => {
  const {client} = await clientOf(host, era);
  const {tools} = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name).toSorted(), ["kit", "kit_fiber"]);
  const [kit] = tools.filter((tool) => tool.name === "kit");
  assert.equal(kit.description, "Does what its prompt says");
  assert.equal(kit.inputSchema.type, "object");
  assert.equal(client.getServerVersion().name, "sluice");
  await client.close();
});

export const calls = inBoth(async (host, era) => {
  const {client, call} = await clientOf(host, era);
  const notices = [];
  const said = await call("reason text tool custom result",
                          {onprogress: (notice) => notices.push(notice)});
  assert(!said.isError);
  assert.deepEqual(said.structuredContent, {answer: 42});
  assert.match(said.content.map((part) => part.text).join(""), /Hello, world/);
  const numbers = notices.map((notice) => notice.progress);
  assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b));
  assert.equal(new Set(numbers).size, numbers.length);
  const told = notices.map((notice) => notice.message).join("\n");
  for (const part of ["Hello", "Let me ", "add", '"pct":50']) assert(told.includes(part), told);
  assert.equal((await call("text")).content[0].text, "Hello, world");
  await client.close();
});

export const failures = inBoth(async (host, era) => {
  const {client, call} = await clientOf(host, era);
  const said = await call("text fail");
  assert.equal(said.isError, true);
  assert.match(said.content.map((part) => part.text).join(""), /it broke/);
  await client.close();
});

export const refusals = inBoth(async (host, era) => {
  await assert.rejects(() => clientOf(host, era, {token: "wrong"}),
                       era === "2025" ? /token/ : /401/);
  const {client} = await clientOf(host, era);
  await assert.rejects(() => client.callTool({name: "nobody", arguments: {}}), /nobody|-32602/);
  const {call} = await clientOf(host, era, {base: host.busy});
  await assert.rejects(async () => {
    const said = await call("text");
    if (said.isError) throw new Error(said.content[0].text);
  }, /live runs|429|-32/);
});

export const leaving = inBoth(async (host, era) => {
  const {client, seen, call} = await clientOf(host, era);
  const abort = new AbortController();
  const called = call("slow:0", {signal: abort.signal, onprogress: () => abort.abort()});
  await assert.rejects(called);
  await becomes(host, seen.run, "cancelled");
  await client.close();
});

export const cancelledByOthers = inBoth(async (host, era) => {
  const {client, seen, call} = await clientOf(host, era);
  let asked;
  const said = await call("slow:0", {onprogress: () =>
    asked ??= native(host, `${seen.run}/cancel`, {})});
  assert.equal(said.isError, true);
  await client.close();
});

export async function resuming(host) {
  const {client, transport, seen} = await clientOf(host, "2025");
  let token;
  const said = client.callTool({name: "kit", arguments: {prompt: "slow:0"}}, undefined,
                               {onresumptiontoken: (event) => token = event,
                                onprogress: () => {}});
  said.catch(() => {});
  await until(() => /\.[1-9]\d*$/.test(token), "there is something to go on with");
  await transport.close();
  const other = await clientOf(host, "2025");
  const rest = other.client.request({method: "tools/call", params: {name: "kit", arguments: {}}},
                                    CallToolResultSchema, {resumptionToken: token});
  await until(() => other.seen.calls.some(({method, status}) => method === "GET" && status === 200),
              "the rest is read");
  await native(host, `${seen.run}/cancel`, {});
  assert.equal((await rest).isError, true);
  await other.client.close();
}

export async function aiSdk(host) {
  const client = await createMCPClient({transport: {
    type: "http", url: `${host.base}/mcp`, headers: {Authorization: `Bearer ${host.token}`}}});
  const tools = await client.tools();
  const said = await tools.kit.execute({prompt: "text result"}, {toolCallId: "1", messages: []});
  assert.match(JSON.stringify(said), /Hello, world/);
  await client.close();
}

export const question = inBoth(async (host, era) => {
  const {client, call} = await clientOf(host, era, {capabilities: {elicitation: {form: {}}}});
  const asked = [];
  client.setRequestHandler(era === "2025" ? ElicitRequestSchema : "elicitation/create",
                           ({params}) => {
    asked.push([params.message, params.requestedSchema.properties]);
    return {action: "accept", content: {ok: true}};
  });
  const said = await call("say:first. ask text");
  assert.deepEqual(asked, [["May I?", {ok: {type: "boolean"}}]]);
  assert(!said.isError);
  assert.match(said.content[0].text, /\{"ok":true\}Hello, world$/);
  await client.close();
});

export const questionToNobody = inBoth(async (host, era) => {
  const {client, call} = await clientOf(host, era);
  const said = await call("ask text");
  assert.equal(said.isError, true);
  assert.match(said.content.map((part) => part.text).join(""), /May I\?/);
  await client.close();
});
