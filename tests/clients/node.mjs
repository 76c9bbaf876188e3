// Does the jobs of standard input, side by side, and prints their results.
import {readFileSync} from "node:fs";
import {fetchEventSource} from "@microsoft/fetch-event-source";
import {EventSourcePlus} from "event-source-plus";
import {EventSource} from "eventsource";
import {createEventSource} from "eventsource-client";
import {readWithClient, readWithEventSource, readWithFetch, readWithOnmessage, readWithPlus,
        resultOf} from "./clients.mjs";

// What fetch-event-source needs of a browser.
globalThis.window = globalThis;
globalThis.document = {hidden: false, addEventListener() {}, removeEventListener() {}};

const readers = {
  "EventSource": (job) => readWithEventSource(EventSource, job),
  "onmessage": (job) => readWithOnmessage(EventSource, job),
  "fetch-event-source": (job) => readWithFetch(fetchEventSource, job),
  "event-source-plus": (job) => readWithPlus(EventSourcePlus, job),
  "eventsource-client": (job) => readWithClient(createEventSource, job),
};

// While an EventSource waits to come back, nothing of its own keeps Node from ending.
const alive = setInterval(() => {}, 1 << 30);
const jobs = JSON.parse(readFileSync(0));
const results = await Promise.all(jobs.map((job) => resultOf(job, readers[job.client](job))));
console.log(JSON.stringify(results));
clearInterval(alive);
