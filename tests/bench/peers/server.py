"""The benchmark's agents with FastAPI: one worker of uvicorn, on uvloop and httptools.

emit_event() finds its run's queue by a context variable, from any depth; the route's answer
drains that queue, all that is in it at a time. The queue is bounded, so an agent waits for its reader.

    /usr/bin/python3 tests/bench/peers/server.py PORT

Debian: python3-fastapi python3-uvicorn python3-uvloop python3-httptools python3-aiohttp
"""
import asyncio
import logging
import resource
import sys
import time
from contextvars import ContextVar

import aiohttp
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

PAD = "x" * 17
app = FastAPI()
current: ContextVar["Run"] = ContextVar("current")


class Run:
    def __init__(self):
        self.queue = asyncio.Queue(maxsize=256)
        self.n = 0


async def emit_event(type, data):
    run = current.get()
    run.n += 1
    await run.queue.put(f"id: {run.n}\nevent: {type}\ndata: {data}\n\n")


async def handle(agent):
    queue = current.get().queue
    try:
        await agent
        await queue.put('event: done\ndata: {"status":"finished"}\n\n')
    except Exception:
        logging.exception("a run failed")
    await queue.put(None)


async def drain(agent):
    current.set(run := Run())
    task = asyncio.create_task(handle(agent))
    try:
        events = []
        while not events or events[-1] is not None:
            events = [await run.queue.get()]
            while not run.queue.empty():
                events.append(run.queue.get_nowait())
            yield "".join(filter(None, events))
    finally:
        task.cancel()


class Tick(BaseModel):
    events: int
    interval_ms: int


async def tick(events, interval_ms):
    start = time.monotonic()
    for n in range(1, events + 1):
        if interval_ms:
            await asyncio.sleep(max(0, start + n * interval_ms / 1000 - time.monotonic()))
        await emit_event("token", f'{{"n":"{n:07}","t":"{time.time_ns() // 1000}","pad":"{PAD}"}}')


@app.post("/agents/tick/runs")
async def post_tick(body: Tick):
    return StreamingResponse(drain(tick(body.events, body.interval_ms)), media_type="text/event-stream")


class Relay(BaseModel):
    url: str


async def relay(url):
    async with app.state.client.get(url) as answer:
        async for line in answer.content:
            await emit_event("token", line.rstrip(b"\n").decode())


@app.post("/agents/relay/runs")
async def post_relay(body: Relay):
    return StreamingResponse(drain(relay(body.url)), media_type="text/event-stream")


@app.on_event("startup")
async def open_client():
    timeout = aiohttp.ClientTimeout(total=None)
    app.state.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


@app.on_event("shutdown")
async def close_client():
    await app.state.client.close()


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools",
                access_log=False, log_level="warning")
