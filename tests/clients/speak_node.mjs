// Has the speakers say the prompt of standard input, all at once, and prints what they heard.
import {readFileSync} from "node:fs";
import {speakAll} from "./speak.mjs";

const alive = setInterval(() => {}, 1 << 30);
console.log(JSON.stringify(await speakAll(JSON.parse(readFileSync(0)))));
clearInterval(alive);
