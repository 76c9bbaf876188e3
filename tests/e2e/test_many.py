#!/usr/bin/python3
"""Many runs at once: nothing is lost, and a run costs little."""

from harness import PATIENCE_S, SANITIZED, Swarm, Test, main, memory_kib, text_of, wait_for

RUNS = 200 if SANITIZED else 1000
EVENTS = 30 if SANITIZED else 100
PERIOD_MS = 100
MOST_KIB_PER_RUN = 24  # besides its events, which are kept:
EVENT_KIB = 170 / 1024


class Ticks:
    """Checks that each stream's ticks come in order, with stamps that do not go back."""

    def __init__(self):
        self.total = 0
        self.last = {}

    def take(self, stream, event):
        if event.type != "tick":
            return
        tick = event.json()
        n, ns = self.last.get(stream.number, (0, 0))
        if tick["n"] != n + 1 or tick["ns"] < ns:
            raise AssertionError(f"stream {stream.number}: {tick} comes behind {n}, {ns}")
        self.last[stream.number] = (tick["n"], tick["ns"])
        self.total += 1


class FiberTest(Test):
    on_disconnect = "cancel"

    def resident(self, server):
        return sum(memory_kib(pid, "Rss") for pid in server.pids())

    def start_tickers(self, server, period_ms):
        """All at once; returns when they are half over, and whether all are live then."""
        ticks = Ticks()
        swarm = Swarm(server.address, ticks.take)
        self.addCleanup(swarm.close)
        for _ in range(RUNS):
            swarm.add("ticker", {"count": EVENTS, "period_ms": period_ms, "bytes": 64})
        swarm.until(lambda: len(ticks.last) == RUNS and ticks.total >= RUNS * EVENTS // 2,
                    "the runs are half over", PATIENCE_S + EVENTS * period_ms / 1000)
        live = server.get("/agents").json()["agents"][0]["live_runs"]
        return ticks, swarm, live == RUNS

    def test_1000_tickers(self):
        server = self.serve("ticker", settings={"host.retention": 0})
        server.run("ticker", {"count": 1, "period_ms": 1})
        before = self.resident(server)
        period_ms = PERIOD_MS
        while True:
            ticks, swarm, are_live = self.start_tickers(server, period_ms)
            if are_live:
                break
            swarm.finish(PATIENCE_S + EVENTS * period_ms / 1000)
            self.assertLess(period_ms, 8 * PERIOD_MS, "however slow this machine is")
            period_ms *= 2
        per_run = (self.resident(server) - before) / RUNS
        swarm.finish(PATIENCE_S + EVENTS * period_ms / 1000)
        print(f"{RUNS} live fiber runs: {per_run:.1f} KiB of front and worker each", flush=True)
        self.assertEqual({n for n, _ in ticks.last.values()}, {EVENTS})
        self.assertEqual(len(ticks.last), RUNS)
        for stream in swarm.streams:
            self.assertEqual(stream.parser.done, {"status": "finished"})
            self.assertEqual(stream.parser.count, EVENTS + 2)
        log = 2 * EVENT_KIB * EVENTS / 2  # a ring is at most twice what it holds
        if not SANITIZED:
            self.assertLessEqual(per_run, MOST_KIB_PER_RUN + log)

    def test_runs_that_come_and_go(self):
        server = self.serve("ticker")
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for n in range(RUNS):
            swarm.add("ticker", {"count": n % 7, "period_ms": n % 11, "bytes": n})
            swarm.step(0)
        swarm.finish()
        self.assertEqual([stream.parser.count for stream in swarm.streams],
                         [n % 7 + 2 for n in range(RUNS)])

    def test_memory_of_ended_runs(self):
        """They are remembered for minutes, but not beyond the budget."""
        runs, rounds = 100 if SANITIZED else 500, 4
        server = self.serve("ticker", settings={"host.log_budget": "16M"})

        def go(swarm):
            for _ in range(runs):
                swarm.add("ticker", {"count": 20, "period_ms": 0, "bytes": 512})
            swarm.finish()
            swarm.close()
            return memory_kib(server.process.pid, "Rss")

        for _ in range(rounds):  # until the budget is used up
            before = go(Swarm(server.address))
        for _ in range(rounds):  # of one alone, what malloc() happens to hold is a part too large
            after = go(Swarm(server.address))
        per_run = (after - before) / (runs * rounds)
        print(f"{runs} ended runs: {per_run:.1f} KiB of the front each", flush=True)
        if not SANITIZED:
            self.assertLess(per_run, 4)


class ThreadTest(Test):
    on_disconnect = "cancel"

    RUNS = 300

    def run_all(self, settings, value):
        server = self.serve("e2e_block", settings=settings)
        texts = {}

        def take(stream, event):
            if event.type == "text":
                texts.setdefault(stream.number, []).append(event)

        swarm = Swarm(server.address, take)
        self.addCleanup(swarm.close)
        for n in range(self.RUNS):
            swarm.add("e2e_block", {**value, "word": f"word-{n}"})
        swarm.finish()
        for n, stream in enumerate(swarm.streams):
            self.assertEqual(text_of(texts[n]), f"word-{n}")
            self.assertEqual(stream.parser.done["status"], "finished")
        return max(stream.parser.done["result"]["most"] for stream in swarm.streams)

    def test_300_that_block_at_once(self):
        """Each waits until all are in: only a pool of 300 threads or more lets them go on."""
        most = self.run_all({"plugin.e2e_block.threads": 400}, {"meet": self.RUNS})
        self.assertEqual(most, self.RUNS)

    def test_300_on_fewer_threads(self):
        """The rest waits its turn."""
        most = self.run_all({"plugin.e2e_block.threads": 40}, {"meet": 40, "nap_ms": 5})
        self.assertEqual(most, 40)

    def test_300_on_one_thread(self):
        self.assertEqual(self.run_all({"plugin.e2e_block.threads": 1}, {}), 1)


class LimitTest(Test):
    on_disconnect = "cancel"

    def test_max_runs(self):
        server = self.serve("ticker", settings={"host.max_runs": 3})
        streams = [server.open("ticker", {"count": 1, "period_ms": 600000}) for _ in range(3)]
        for stream in streams:
            stream.until("run")
        answer = server.post("ticker", {})
        self.check_problem(answer, 503, "Service Unavailable",
                           "the server has as many live runs as it allows; try again later")
        self.assertEqual(answer.headers["retry-after"], "1")
        streams.pop().close()
        wait_for(lambda: server.post("ticker", {"count": 1, "period_ms": 1}).status == 200,
                 "there is room again")
        for stream in streams:
            stream.close()


if __name__ == "__main__":
    main()
