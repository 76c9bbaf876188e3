// Does the jobs that the page's server has, side by side, and posts it their results.
import {fetchEventSource} from "@microsoft/fetch-event-source";
import {readWithEventSource, readWithFetch, readWithOnmessage, resultOf} from "./clients.mjs";

const readers = {
  "EventSource": (job) => readWithEventSource(EventSource, job),
  "onmessage": (job) => readWithOnmessage(EventSource, job),
  "fetch-event-source": (job) => readWithFetch(fetchEventSource, job),
};

const jobs = await (await fetch("/jobs")).json();
const results = await Promise.all(jobs.map((job) => resultOf(job, readers[job.client](job))));
await fetch("/results", {method: "POST", body: JSON.stringify(results)});
