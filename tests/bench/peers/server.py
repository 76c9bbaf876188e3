"""The benchmark's agents with FastAPI: one worker of uvicorn, on uvloop and httptools.

emit_event() finds its run by a context variable, from any depth, and puts the event into the
run's queue, which the route's answer empties. The queue is bounded: an agent waits for its reader.

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
from fastapi import Body, FastAPI
from fastapi.responses import StreamingResponse

PAD = "x" * 17
app = FastAPI()
current = ContextVar("current")


class Run:
    def __init__(self):
        self.queue = asyncio.Queue(maxsize=256)
        self.n = 0


async def emit_event(type, data):
    run = current.get()
    run.n += 1
    await run.queue.put(f"id: {run.n}\nevent: {type}\ndata: {data}\n\n")


async def handle(agent, queue):
    try:
        await agent
        await queue.put('event: done\ndata: {"status":"finished"}\n\n')
    except Exception:
        logging.exception("a run failed")
    await queue.put(None)


async def drain(agent):
    current.set(run := Run())
    task = asyncio.create_task(handle(agent, run.queue))
    try:
        while (event := await run.queue.get()) is not None:
            yield event
    finally:
        task.cancel()


def stream(agent):
    return StreamingResponse(drain(agent), media_type="text/event-stream")


async def tick(events, interval_ms):
    start = time.monotonic()
    for n in range(1, events + 1):
        if interval_ms:
            await asyncio.sleep(max(0, start + n * interval_ms / 1000 - time.monotonic()))
        await emit_event("token", f'{{"n":"{n:07}","t":"{time.time_ns() // 1000}","pad":"{PAD}"}}')


async def relay(url):
    async with app.state.client.get(url) as answer:
        async for line in answer.content:
            await emit_event("token", line.rstrip(b"\n").decode())


@app.post("/agents/tick/runs")
async def post_tick(events: int = Body(), interval_ms: int = Body()):
    return stream(tick(events, interval_ms))


@app.post("/agents/relay/runs")
async def post_relay(url: str = Body(embed=True)):
    return stream(relay(url))


@app.on_event("startup")
async def open_client():
    app.state.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0),
                                             timeout=aiohttp.ClientTimeout(total=None))


@app.on_event("shutdown")
async def close_client():
    await app.state.client.close()


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools",
                access_log=False, log_level="warning")
