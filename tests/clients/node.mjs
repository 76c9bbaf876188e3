// Does the jobs of standard input, side by side, and prints their results. Its argument is the
// folder with node_modules.
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {readWithEventSource, readWithFetch, resultOf} from "./clients.mjs";

const require = createRequire(`${process.argv[2]}/`);

// What fetch-event-source needs of a browser.
globalThis.window = globalThis;
globalThis.document = {hidden: false, addEventListener() {}, removeEventListener() {}};

const {EventSource} = require("eventsource");
const {fetchEventSource} = require("@microsoft/fetch-event-source");
const readers = {
  "EventSource": (job) => readWithEventSource(EventSource, job),
  "fetch-event-source": (job) => readWithFetch(fetchEventSource, job),
};

const jobs = JSON.parse(readFileSync(0));
const results = await Promise.all(jobs.map((job) => resultOf(job, readers[job.client](job))));
console.log(JSON.stringify(results));
