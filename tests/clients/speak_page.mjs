// Has the speakers say the prompt that the page's server has, and posts it what they heard, and
// which of the answer's headers a page can read.
import {speakAll} from "./speak.mjs";

const job = await (await fetch("/jobs")).json();
const heard = await speakAll(job);
const answer = await fetch(`${job.host.base}/v1/chat/completions`, {
  method: "POST", body: '{"model":"kit","messages":[{"role":"user","content":"text"}]}',
  headers: {"Content-Type": "application/json", Authorization: `Bearer ${job.host.token}`}});
await answer.text();
await fetch("/results", {method: "POST", body: JSON.stringify({
  heard, origin: location.origin, headers: Object.fromEntries(answer.headers)})});
