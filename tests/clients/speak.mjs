// Each client in its shortest form: says a prompt to kit and returns the text of the answer, and
// after that what went wrong, if the client does not throw. For pages and Node alike.
//
//     speakers[NAME](host, prompt)  ->  text        host = {base, token}
import {createOpenAICompatible} from "@ai-sdk/openai-compatible";
import {createOpenAI} from "@ai-sdk/openai";
import {HttpAgent} from "@ag-ui/client";
import {ClientFactory, ClientFactoryOptions, DefaultAgentCardResolver, JsonRpcTransportFactory,
        RestTransportFactory} from "@a2a-js/sdk/client";
import * as modern from "@modelcontextprotocol/client";
import {Client} from "@modelcontextprotocol/sdk/client/index.js";
import {StreamableHTTPClientTransport} from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {ChatOpenAI} from "@langchain/openai";
import {DefaultChatTransport, readUIMessageStream, streamText} from "ai";
import {EventSource as NodeEventSource} from "eventsource";
import OpenAI from "openai";

// Longer than any prompt takes; the clients' own limits are a minute or so.
const TIMEOUT_MS = 600_000;

function bearer(host) {
  return {Authorization: `Bearer ${host.token}`};
}

async function eventSource(host, prompt) {
  const started = await fetch(`${host.base}/agents/kit/runs?mode=detach`, {
    method: "POST", body: JSON.stringify({prompt}),
    headers: {"Content-Type": "application/json", ...bearer(host)}});
  const run = started.headers.get("Location");
  const EventSource = globalThis.EventSource ?? NodeEventSource;
  const source = new EventSource(`${host.base}${run}/events?access_token=${host.token}`);
  let text = "";
  source.addEventListener("text", (event) => text += JSON.parse(event.data).delta);
  const done = await new Promise((over) => source.addEventListener("done", over));
  source.close();
  return text + (JSON.parse(done.data).status === "finished" ? "" : done.data);
}

function openaiOf(host) {
  return new OpenAI({baseURL: `${host.base}/v1`, apiKey: host.token, timeout: TIMEOUT_MS,
                     maxRetries: 0, dangerouslyAllowBrowser: true});
}

async function openai(host, prompt) {
  const chunks = await openaiOf(host).chat.completions.create({
    model: "kit", stream: true, messages: [{role: "user", content: prompt}]});
  let text = "";
  for await (const chunk of chunks) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}

async function responses(host, prompt) {
  const stream = openaiOf(host).responses.stream({model: "kit", input: prompt});
  const {output_text: text, error} = await stream.finalResponse();
  return text + (error?.message ?? "");
}

async function langchain(host, prompt) {
  const model = new ChatOpenAI({model: "kit", apiKey: host.token, maxRetries: 0, timeout: TIMEOUT_MS,
                                configuration: {baseURL: `${host.base}/v1`,
                                                dangerouslyAllowBrowser: true}});
  let text = "";
  for await (const chunk of await model.stream(prompt)) text += chunk.content;
  return text;
}

async function textOfModel(model, prompt) {
  let failure = "";
  const {text} = streamText({model, prompt, maxRetries: 0,
                             onError: ({error}) => failure = error.message ?? JSON.stringify(error)});
  return await text + failure;
}

function aiCompatible(host, prompt) {
  const provider = createOpenAICompatible({name: "sluice", baseURL: `${host.base}/v1`,
                                           apiKey: host.token});
  return textOfModel(provider("kit"), prompt);
}

function aiOpenai(host, prompt) {
  const provider = createOpenAI({baseURL: `${host.base}/v1`, apiKey: host.token});
  return textOfModel(provider("kit"), prompt);
}

async function agui(host, prompt) {
  const agent = new HttpAgent({url: `${host.base}/agents/kit/ag-ui`, headers: bearer(host),
                               initialMessages: [{id: "1", role: "user", content: prompt}]});
  let failure = "";
  const {newMessages} = await agent.runAgent({}, {
    onRunErrorEvent: ({event}) => void (failure = event.message)});
  return newMessages.map((message) => message.content).join("") + failure;
}

let chats = 0;

async function aisdk(host, prompt) {
  const transport = new DefaultChatTransport({api: `${host.base}/agents/kit/ai-sdk`,
                                              headers: bearer(host)});
  const stream = await transport.sendMessages({
    chatId: `spoken-${++chats}-${Math.random()}`, trigger: "submit-message",
    messages: [{id: "1", role: "user", parts: [{type: "text", text: prompt}]}]});
  let last, failure = "";
  const onError = (error) => failure = error.message;
  for await (const message of readUIMessageStream({stream, onError})) last = message;
  return last.parts.filter((part) => part.type === "text").map((part) => part.text).join("") + failure;
}

function a2aOver(binding) {
  return async (host, prompt) => {
    const fetchImpl = (input, init = {}) => fetch(input, {
      ...init, headers: {...Object.fromEntries(new Headers(init.headers)), ...bearer(host)}});
    const factory = new ClientFactory(ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
      transports: [new JsonRpcTransportFactory({fetchImpl}), new RestTransportFactory({fetchImpl})],
      preferredTransports: [binding],
      cardResolver: new DefaultAgentCardResolver({fetchImpl}),
    }));
    const client = await factory.createFromUrl(`${host.base}/agents/kit/`);
    const message = {messageId: "1", role: 1, taskId: "", contextId: "", metadata: undefined,
                     extensions: [], referenceTaskIds: [],
                     parts: [{content: {$case: "text", value: prompt}, metadata: undefined,
                              filename: "", mediaType: ""}]};
    let text = "";
    for await (const {payload} of client.sendMessageStream({tenant: "", metadata: undefined,
                                                            configuration: undefined, message}))
      if (payload.$case === "artifactUpdate" && payload.value.artifact.artifactId === "text")
        text += payload.value.artifact.parts[0].content.value;
      else if (payload.$case === "statusUpdate")
        text += payload.value.status.message?.parts[0].content.value ?? "";
    return text;
  };
}

async function textOfCall(client, transport, call) {
  await client.connect(transport);
  const said = await call({timeout: TIMEOUT_MS, onprogress: () => {}});
  await client.close();
  return said.content[0].text;
}

async function mcp2025(host, prompt) {
  const client = new Client({name: "test", version: "1.0"});
  const transport = new StreamableHTTPClientTransport(new URL(`${host.base}/mcp`),
                                                      {requestInit: {headers: bearer(host)}});
  return textOfCall(client, transport, (options) =>
    client.callTool({name: "kit", arguments: {prompt}}, undefined, options));
}

async function mcp2026(host, prompt) {
  const client = new modern.Client({name: "test", version: "1.0"},
                                   {versionNegotiation: {mode: {pin: "2026-07-28"}}});
  const transport = new modern.StreamableHTTPClientTransport(new URL(`${host.base}/mcp`),
                                                             {requestInit: {headers: bearer(host)}});
  return textOfCall(client, transport, (options) =>
    client.callTool({name: "kit", arguments: {prompt}}, options));
}

export const speakers = {
  eventSource, openai, responses, langchain, aiCompatible, aiOpenai, agui, aisdk,
  a2a: a2aOver("JSONRPC"), a2aRest: a2aOver("HTTP+JSON"), mcp2025, mcp2026,
};

/** What each of them heard, or {failure}. */
export function speakAll({host, prompt, names = Object.keys(speakers)}) {
  return Promise.all(names.map(async (name) => {
    try {
      return await speakers[name](host, prompt);
    } catch (error) {
      return {failure: `${name}: ${error.stack ?? error}`};
    }
  }));
}
