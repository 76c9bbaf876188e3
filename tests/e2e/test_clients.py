#!/usr/bin/python3
"""
Clients that people use, behind a proxy that resets their connections: whatever happens, each
event comes once and in order, and no run is started twice.
"""

import json
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor

from browser import PageServer, needs_chromium, needs_node, run_in_chromium, run_in_node
from harness import PATIENCE_S, main, wait_for
from proxy import (TOLD, Cut, Proxy, at, before_any_byte, behind_begin, behind_done, behind_event,
                   behind_head, behind_id, beside_ids, in_event, in_head, within_id)
from supervising import SupervisionTest

EVENT_SOURCE = "EventSource"
ON_MESSAGE = "onmessage"  # of an EventSource
FETCH = "fetch-event-source"
CLIENT = "eventsource-client"
PLUS = "event-source-plus"

# Long enough for a client that comes back after a second to find the port closed.
REFUSE_S = 1.2


class Reading:
    """One client with one run, behind a proxy of its own."""

    def __init__(self, test, client, value, cuts, agent="ticker", key=True, **more):
        self.test = test
        self.cuts = [cut for cut in cuts if cut]
        self.agent = agent
        self.value = value
        self.proxy = Proxy(test.server.address, cuts)
        test.addCleanup(self.proxy.close)
        self.job = {"client": client, "server": self.proxy.url, "agent": agent, "input": value,
                    "key": str(uuid.uuid4()) if key else None, "told": self.proxy.url + TOLD,
                    **more}

    def was_cut(self):
        """Whether all the cuts were made."""
        made = [request for request in self.proxy.requests if request.was_cut_at is not None]
        return len(made) == len(self.cuts)

    def check(self, result):
        """Everything came once and in order, though all the cuts were made."""
        self.test.assertNotIn("failure", result)
        self.test.assertTrue(self.was_cut(), self.proxy.requests)
        events = result["events"]
        runs = {event["id"].partition(".")[0] for event in events}
        self.test.assertEqual(len(runs), 1, runs)
        self.run = runs.pop()
        self.test.assertEqual([event["id"] for event in events],
                              [f"{self.run}.{number + 1}" for number in range(len(events))])
        self.test.assertEqual({request.parser.headers["location"] for request in self.proxy.requests
                               if request.method == "POST" and request.parser.status != 204},
                              {f"/runs/{self.run}"})
        data = [json.loads(event["data"]) for event in events]
        self.test.assertEqual(data[0]["run"], self.run)
        self.test.assertEqual(data[-1], {"status": "finished"})
        self.check_agent([event["type"] for event in events], data)
        state = self.test.server.state(self.run)
        self.test.assertEqual((state["status"], state["events"]), ("finished", len(events)))
        if self.job["client"] in (EVENT_SOURCE, ON_MESSAGE):
            self.check_closed(result)

    def check_agent(self, types, data):
        if self.agent == "ticker":
            count = self.value["count"]
            self.test.assertEqual(types, ["run"] + ["tick"] * count + ["done"])
            self.test.assertEqual([tick["n"] for tick in data[1:-1]], list(range(1, count + 1)))
        else:
            self.test.assertEqual(set(types[2:-1]), {"text"})
            self.test.assertEqual("".join(text["delta"] for text in data[2:-1]),
                                  self.value["text"])

    def check_closed(self, result):
        """It found the end by itself: the last answer was 204, and nothing was asked since."""
        self.test.assertTrue(result["closed"])
        self.test.assertEqual([request.parser.status for request in self.proxy.requests][-1], 204)
        self.test.assertGreater(result["errors"], 1)


class ClientsTest(SupervisionTest):
    """What is tested wherever clients run; read() of a subclass runs them there."""

    on_disconnect = None

    def setUp(self):
        super().setUp()
        self.pages = PageServer()
        self.addCleanup(self.pages.stop)
        self.seed = int(os.environ.get("SLUICE_SEED") or random.randrange(1 << 32))
        self.random = random.Random(self.seed)
        self.readings = []
        self.addCleanup(self.tell)

    def tell(self):
        self.logs.append(f"SLUICE_SEED={self.seed}\n" + "\n".join(
            f"{reading.job['client']}: {request}"
            for reading in self.readings for request in reading.proxy.requests))

    def start(self, **settings):
        self.server = self.watch("ticker", "echo", settings={
            "host.cors_origins": self.pages.origin, **settings})

    def reading(self, *args, **options):
        self.readings.append(Reading(self, *args, **options))
        return self.readings[-1]

    def check(self, results, more=0):
        """All went well; besides those of the clients there were so many runs of ticker."""
        for reading, result in zip(self.readings, results):
            reading.check(result)
        agents = ["ticker"] * more + [reading.agent for reading in self.readings]
        for agent in set(agents):
            started = sum(worker["started_runs"] for worker in self.server.workers_of(agent))
            self.assertEqual(started, agents.count(agent), agent)

    def read_all(self):
        """The results of all that was set up, read side by side."""
        return self.read([reading.job for reading in self.readings])

    # ---- the tests ----

    def check_chosen_places(self):
        self.start()
        begin = [before_any_byte, in_head, behind_head, behind_begin, behind_event(1)]
        within = [in_event(2), in_event(2, within_id), behind_event(2)]
        end = [Cut(behind_event(3), REFUSE_S), Cut(behind_done)]
        cuts = [Cut(place) for place in [*begin, *within, in_event(2, behind_id)]] + end
        value = {"count": 20, "period_ms": 100, "bytes": 100}
        self.reading(EVENT_SOURCE, value, cuts)
        self.reading(EVENT_SOURCE, {"text": " ".join(["to be or not"] * 20)}, cuts, agent="echo")
        self.reading(FETCH, value, [Cut(place) for place in [*begin, *within]] + end)
        self.reading(ON_MESSAGE, value, [])
        self.check(self.read_all())

    def check_many_cuts(self):
        """Anywhere in what the client has not read yet; every sixth, it finds the port closed."""
        self.start()
        for client, uncut in ((EVENT_SOURCE, [None]), (FETCH, [])):  # the POST of mode=detach
            places = [at(self.random.randrange(2500)) for _ in range(20)]
            if client == FETCH:
                places = [beside_ids(place) for place in places]
            cuts = uncut + [Cut(place, REFUSE_S if number % 6 == 5 else 0)
                            for number, place in enumerate(places)]
            self.reading(client, {"count": 300, "period_ms": 70, "bytes": 100}, cuts)
        self.check(self.read_all())

    def check_queued(self):
        """The client is cut while its run waits for another to end; then there is no event yet."""
        self.start(**{"plugin.ticker.max_live": 1})
        first = self.server.open("ticker", {"count": 10 ** 6, "period_ms": 50})
        first.until("tick")
        value = {"count": 5, "period_ms": 10}
        begun = Cut(behind_begin, told=True)  # without a key, who has no id begins another run
        self.reading(FETCH, value, [begun] * 3, key=False)
        self.reading(FETCH, value, [Cut(before_any_byte)] * 2 + [Cut(behind_head), begun])
        with ThreadPoolExecutor(1) as pool:
            results = pool.submit(self.read_all)
            wait_for(lambda: results.done() or all(reading.was_cut() for reading in self.readings),
                     "all cuts are made", 2 * PATIENCE_S)
            self.cancel(first.run)
            self.check(results.result(), more=1)

    def cancel(self, run):
        with self.server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{run}/cancel")
        self.assertEqual(answer.status, 202)


@needs_chromium
class ChromiumTest(ClientsTest):
    def read(self, jobs):
        return run_in_chromium(self.pages, self.path("browser"), jobs, 4 * PATIENCE_S)

    def test_chosen_places(self):
        self.check_chosen_places()

    def test_many_cuts(self):
        self.check_many_cuts()

    def test_queued(self):
        self.check_queued()


@needs_node
class NodeTest(ClientsTest):
    def read(self, jobs):
        return run_in_node(jobs, 4 * PATIENCE_S)

    def test_chosen_places(self):
        self.check_chosen_places()

    def test_many_cuts(self):
        self.check_many_cuts()

    def test_queued(self):
        self.check_queued()

    def test_end(self):
        """Left alone at the end of their run they stop, or ask ever more rarely."""
        self.start()
        for client in (EVENT_SOURCE, FETCH, CLIENT, PLUS):
            self.reading(client, {"count": 3, "period_ms": 10}, [])
        self.reading(FETCH, {"count": 3, "period_ms": 10}, [Cut(behind_done), Cut(before_any_byte)],
                     retry_ms=10)  # the answer that would stop it is lost
        self.check(self.read_all())
        for reading in self.readings:
            self.assertLess(len(reading.proxy.requests), 25, reading.proxy.requests)


if __name__ == "__main__":
    main()
