// Clients that read one run each to its end, over as many connections as it takes, and tell what
// they were given. For pages and for Node alike.
//
//     job    = {client, server, agent, input, key?, retry_ms?, told?}
//     told: asked for whenever the page has read a stream's beginning
//     result = {events: [{id, type, data}], errors, ...}

const RETRY_MS = 1000; // what the server tells its clients

function sleep(ms) {
  return new Promise((wake) => setTimeout(wake, ms));
}

function runsOf(job) {
  return `${job.server}/agents/${job.agent}/runs`;
}

function headersOf(job) {
  return {"Content-Type": "application/json", ...(job.key && {"Idempotency-Key": job.key})};
}

/** Starts a run for others to read; asks again, with its key, until there is an answer. */
async function startDetached(job) {
  const request = {method: "POST", headers: headersOf(job), body: JSON.stringify(job.input)};
  for (;;) {
    try {
      const answer = await fetch(`${runsOf(job)}?mode=detach`, request);
      return job.server + answer.headers.get("Location");
    } catch {
      await sleep(100);
    }
  }
}

/** An EventSource that is left alone: it has to find the end by itself, and to stay closed then. */
async function leaveAlone(EventSource, url, listen) {
  const source = new EventSource(url);
  const result = {events: [], opens: 0, errors: 0};

  listen(source, result.events);
  source.addEventListener("open", () => result.opens++);
  await new Promise((closed) => {
    source.addEventListener("error", () => {
      result.errors++;
      if (source.readyState === EventSource.CLOSED) closed();
    });
  });
  await sleep(1.5 * RETRY_MS);
  result.closed = source.readyState === EventSource.CLOSED;
  return result;
}

export async function readWithEventSource(EventSource, job) {
  return leaveAlone(EventSource, `${await startDetached(job)}/events`, (source, events) => {
    for (const type of ["message", "run", "tick", "step", "text", "gap", "done"]) {
      source.addEventListener(type, (event) =>
        events.push({id: event.lastEventId, type, data: event.data}));
    }
  });
}

/** The same, of a page that knows no names of events. */
export async function readWithOnmessage(EventSource, job) {
  return leaveAlone(EventSource, `${await startDetached(job)}/events?as=message`,
    (source, events) => {
      source.onmessage = (event) => {
        const {type, data} = JSON.parse(event.data);
        events.push({id: event.lastEventId, type, data: JSON.stringify(data)});
      };
    });
}

/** fetchEventSource(), whose run begins with its own POST. */
export async function readWithFetch(fetchEventSource, job) {
  const result = {events: [], errors: 0};

  await fetchEventSource(runsOf(job), {
    method: "POST",
    headers: headersOf(job),
    body: JSON.stringify(job.input),
    openWhenHidden: true,
    onmessage({id, event, data}) {
      if (event) result.events.push({id, type: event, data});
      else if (job.told) fetch(job.told, {mode: "no-cors"});
    },
    onerror() {
      result.errors++;
      return job.retry_ms;
    },
  });
  return result;
}

/** createEventSource() of eventsource-client, whose run begins with its own POST. */
export async function readWithClient(createEventSource, job) {
  const source = createEventSource({url: runsOf(job), method: "POST", headers: headersOf(job),
                                    body: JSON.stringify(job.input)});
  const result = {events: []};

  // It ends when the client is closed, which nobody does here.
  for await (const {id, event, data} of source) result.events.push({id, type: event, data});
  return result;
}

const BACKED_OFF_MS = 500;

/**
 * EventSourcePlus, whose run begins with its own POST. By itself it never stops asking, whatever
 * it is answered, but waits twice as long after each error: this ends when it does so.
 */
export async function readWithPlus(EventSourcePlus, job) {
  const source = new EventSourcePlus(runsOf(job), {method: "POST", headers: headersOf(job),
                                                   body: JSON.stringify(job.input)});
  const result = {events: []};

  await new Promise((aborted) => {
    const controller = source.listen({
      onMessage: ({id, event, data}) => result.events.push({id, type: event, data}),
      onResponseError() {
        if (source.retryInterval >= BACKED_OFF_MS) controller.abort();
      },
    });
    controller.onAbort(aborted);
  });
  return result;
}

/** What came of it, whether it went well or not. */
export async function resultOf(job, reading) {
  try {
    return await reading;
  } catch (error) {
    return {failure: `${job.client}: ${error.stack ?? error}`};
  }
}
