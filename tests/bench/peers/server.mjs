// The benchmark's agents with Node's http: one process, no packages. What a reader does not take
// is waited for: a tick is skipped, a loop and a relayed answer pause until its 'drain'.
// Node itself raises the limit of open files.
//
//     node tests/bench/peers/server.mjs PORT
import http from 'node:http';

const DONE = 'event: done\ndata: {"status":"finished"}\n\n';
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 20000 });

const token = (n, data) => `id: ${n}\nevent: token\ndata: ${data}\n\n`;

function tickData(n) {
  const us = Math.floor((performance.timeOrigin + performance.now()) * 1000);
  return `{"n":"${String(n).padStart(7, '0')}","t":"${us}","pad":"xxxxxxxxxxxxxxxxx"}`;
}

function tick(res, { events, interval_ms }) {
  let n = 0;
  function emit() {
    n++;
    return res.write(token(n, tickData(n)));
  }
  function pour() {
    while (n < events) {
      if (!emit()) return res.once('drain', pour);
    }
    res.end(DONE);
  }
  if (!interval_ms) return pour();
  const timer = setInterval(() => {
    if (res.writableNeedDrain) return;
    emit();
    if (n < events) return;
    clearInterval(timer);
    res.end(DONE);
  }, interval_ms);
  res.on('close', () => clearInterval(timer));
}

function relay(res, { url }) {
  let n = 0, rest = '';
  const request = http.get(url, { agent }, (answer) => {
    answer.setEncoding('utf8');
    answer.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      if (lines.length && !res.write(lines.map((line) => token(++n, line)).join(''))) {
        answer.pause();
        res.once('drain', () => answer.resume());
      }
    });
    answer.on('end', () => res.end(DONE));
    answer.on('error', () => res.destroy());
  });
  request.on('error', () => res.destroy());
  res.on('close', () => request.destroy());
}

const agents = { '/agents/tick/runs': tick, '/agents/relay/runs': relay };

http.createServer((req, res) => {
  let body = '';
  req.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
    agents[req.url](res, JSON.parse(body));
  });
}).listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
