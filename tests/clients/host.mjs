// What the cases of all protocols need of the host: its own view of a run, and of the requests
// that a client made.
import assert from "node:assert/strict";

const POLL_MS = 20;
const PATIENCE_MS = 20000;

/** A fetch() for one client that keeps what it asked and was answered. */
export function spy() {
  const calls = [];
  const spied = async (input, init) => {
    const call = {url: String(input?.url ?? input), method: init?.method ?? input?.method ?? "GET"};
    calls.push(call);
    const answer = await globalThis.fetch(input, init);
    call.status = answer.status;
    call.headers = answer.headers;
    call.run = answer.headers.get("location");
    return answer;
  };
  return {fetch: spied, calls, get run() {
    return calls.findLast((call) => call.run)?.run;
  }};
}

/** The value of ask() once that is true. */
export async function until(ask, what) {
  const start = Date.now();
  for (;;) {
    const value = await ask();
    if (value) return value;
    assert(Date.now() - start < PATIENCE_MS, `waited in vain until ${what}`);
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

/** The host's own view of the run at /runs/ID. */
export async function stateOf(host, run) {
  const answer = await fetch(host.base + run, {headers: {Authorization: `Bearer ${host.token}`}});
  assert.equal(answer.status, 200, run);
  return answer.json();
}

/** Waits until the run has come to be what is said. */
export function becomes(host, run, status) {
  assert(run, "the answer named no run");
  return until(async () => (await stateOf(host, run)).status === status, `${run} is ${status}`);
}

/** Asks the host by its own protocol. */
export async function native(host, path, body) {
  return fetch(host.base + path, {
    method: body === undefined ? "GET" : "POST",
    headers: {"Content-Type": "application/json", Authorization: `Bearer ${host.token}`},
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

/** All that an asynchronous sequence gives. */
export async function all(sequence) {
  const items = [];
  for await (const item of sequence) items.push(item);
  return items;
}
