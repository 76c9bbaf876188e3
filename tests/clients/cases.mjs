// Runs the cases of the modules that standard input names, side by side, and prints of each what
// went wrong, or null. A case is an exported function that gets the host it is to talk to:
//
//     {modules: ["openai"], host: {base, token, busy, ...}}  ->  {"openai.text": null, ...}
import {readFileSync} from "node:fs";

// Clients that wait to come back leave Node nothing that keeps it from ending.
const alive = setInterval(() => {}, 1 << 30);

const PATIENCE_MS = 25000;

const results = {};

function wordsOf(error) {
  return String(error?.stack ?? error) + (error?.cause ? `\ncause: ${error.cause.stack}` : "");
}

process.on("unhandledRejection", (error) => results["what nobody waits for"] = wordsOf(error));

async function resultOf(run, host) {
  try {
    await Promise.race([run(host), new Promise((_, reject) =>
      setTimeout(() => reject(new Error("it waits in vain")), PATIENCE_MS).unref())]);
    return null;
  } catch (error) {
    return wordsOf(error);
  }
}

const {modules, only, host} = JSON.parse(readFileSync(0));
await Promise.all(modules.map(async (name) => {
  const cases = Object.entries(await import(`./${name}.mjs`));
  await Promise.all(cases.map(async ([title, run]) => {
    if (!only || only.includes(title)) results[`${name}.${title}`] = await resultOf(run, host);
  }));
}));
console.log(JSON.stringify(results));
clearInterval(alive);
process.exit(0); // whatever still waits
