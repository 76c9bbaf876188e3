"""
The cells of the benchmark: one workload, of one contestant, at one size, in
one round. measure() starts the contestant afresh, lets the load generator
loose on it, and returns what was measured as a dictionary, which is what
load prints and more:

    held    live workloads: the share of the events offered that arrived; 0 if half of them
            were more than an interval old, or if what arrived was wrong
    wrong   what was not as it should be, in words; [] if nothing
    log     what the server said, if something was

To add a workload: write a function that measures it, name it in MEASURES and
SIZES, and tell report.py how it is shown.
"""

import contextlib
import dataclasses
import http.client
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

import protocols
from contestants import LIVE, PATIENCE_S, Server, Unfit, free_ports

INTERVAL_MS = 100     # live: 10 events a second of each agent
IN_FLIGHT = 64        # short runs
SHORT_EVENTS = 10
MOST_FLOOD = 2_000_000
FED = 8192            # agents of one feed; as STREAMS_AN_ADDRESS of load.c
FAR_MS = 600_000      # idle: when the first event would come


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much of everything; see bench.py for the sizes there are."""
    sizes: tuple           # agents, of the live workloads
    rounds: int
    ramp_ms: int           # live: at least; longer for more agents
    settle_ms: int
    window_ms: int
    slack_ms: int          # live: how long events come after the window
    short_ms: int
    flood_s: float
    readers: int           # flood into many
    idle: int
    swap_streams: int
    swaps: int
    cost_batches: int
    open_streams: int      # protocols
    texts: dict            # protocols: events of a stream, by its pace
    protocols: tuple = protocols.PROTOCOLS
    held: float = 0.95     # of the events offered; who delivers less does not hold the load


FULL = Scale((100, 1000, 5000, 10000, 18000), 3, 300, 1000, 4000, 1000, 3000, 2, 100, 10000, 1000,
             10, 200, 2000, {"flood": 20000, "paced": 300})
QUICK = Scale((50, 200), 1, 300, 300, 1000, 500, 1000, 0.5, 20, 200, 100, 5, 20, 200,
              {"flood": 2000, "paced": 100})
TINY = Scale((20,), 1, 100, 100, 300, 1000, 200, 0.1, 5, 20, 20, 2, 3, 20,
             {"flood": 500}, ("native", "message"), 0.5)


@dataclasses.dataclass(frozen=True)
class Job:
    """What a contestant is asked for."""
    workload: str
    n: int
    events: int
    interval_ms: int
    feed_port: str = ""    # with * for its last digit, if there are several feeds

    @property
    def path(self):
        return f"/agents/{'relay' if self.workload == 'woken' else 'tick'}/runs"

    @property
    def body(self):
        if self.workload == "woken":
            value = {"url": f"http://127.0.0.1:{self.feed_port}/?events={self.events}"
                            f"&interval_us={self.interval_ms * 1000}"}
        else:
            value = {"events": self.events, "interval_ms": self.interval_ms}
        return json.dumps(value, separators=(",", ":"))


class Bench:
    """What the cells share: where things are, and how much of everything."""

    def __init__(self, places, scale):
        self.places = places
        self.scale = scale

    @contextlib.contextmanager
    def serving(self, contestant, job):
        with tempfile.TemporaryDirectory(prefix="cell-", dir=self.places.work) as folder:
            with contestant.start(folder, job) as server:
                yield server

    @contextlib.contextmanager
    def feeding(self, n):
        """
        The port of the feed of n agents; each time a new one, as sockets stay
        behind. For very many there are more than one; load.c says why.
        """
        ports = free_ports(math.ceil(n / FED))
        with contextlib.ExitStack() as stack:
            for port in ports:
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="feed-", dir=self.places.work))
                command = [self.places.tool("feed"), "--port", str(port)]
                stack.enter_context(Server(command, folder, port)).wait_listening()
            yield f"{ports[0] // 10}*" if len(ports) > 1 else "".join(map(str, ports))

    def load_command(self, server, job, mode, **options):
        options = {"port": server.port, "path": job.path, "body": job.body, "expect": job.events,
                   "mode": mode, "pids": ",".join(map(str, server.pids())), **options}
        command = [self.places.tool("load")]
        for key, value in options.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        return command

    def load(self, server, job, mode, patience_s, **options):
        """Runs the load generator; its report, with `wrong`, and then what the server said."""
        report = finish_load(start_load(self.load_command(server, job, mode, **options)),
                             patience_s)
        return {**report, "log": server.log()[-4000:]} if report["wrong"] else report


def start_load(command):
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Unfit(f"load: {error.strerror}") from error


def finish_load(process, patience_s):
    try:
        out, complaints = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        return {"wrong": [f"not over after {patience_s:.0f} s"]}
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    wrong = complaints.strip().splitlines()[:5]
    try:
        report = json.loads(out)
    except ValueError:
        report = {}
        wrong = wrong or ["load reported nothing"]
    if process.returncode == 0:
        wrong = []
    elif not wrong:
        wrong = [f"load ended with status {process.returncode}"]
    return {**report, "wrong": wrong}


# ---- live agents ----

def live_times(scale, n):
    """The options of load for so many live streams, and how many events each of them has."""
    ramp_ms = max(scale.ramp_ms, n // 5)
    lasts_ms = ramp_ms + scale.settle_ms + scale.window_ms + scale.slack_ms + ramp_ms
    return ({"streams": n, "ramp_ms": ramp_ms, "settle_ms": scale.settle_ms,
             "window_ms": scale.window_ms}, math.ceil(lasts_ms / INTERVAL_MS) + 1)


def patience_of(options, events):
    return options["ramp_ms"] / 1000 + events * INTERVAL_MS / 1000 + PATIENCE_S


def measure_live(bench, contestant, workload, n):
    options, events = live_times(bench.scale, n)
    with bench.feeding(n if workload == "woken" else 0) as feed_port:
        job = Job(workload, n, events, INTERVAL_MS, feed_port)
        with bench.serving(contestant, job) as server:
            report = bench.load(server, job, "live", patience_of(options, events), **options)
    median_ms = (report.get("latency_us", {}).get("p50") or 0) / 1000
    if report["wrong"] or median_ms > INTERVAL_MS:
        report["held"] = 0.0
    return report


def measure_idle(bench, contestant, workload, n):
    job = Job(workload, n, 1, FAR_MS)
    with bench.serving(contestant, job) as server:
        return bench.load(server, job, "idle", n / 1000 + PATIENCE_S, streams=n,
                          ramp_ms=max(bench.scale.ramp_ms, n // 5),
                          settle_ms=bench.scale.settle_ms, window_ms=bench.scale.settle_ms)


# ---- runs that are over at once, and one that is as fast as it can ----

def measure_short(bench, contestant, workload, n):
    job = Job(workload, n, SHORT_EVENTS, 0)
    with bench.serving(contestant, job) as server:
        return bench.load(server, job, "short", bench.scale.short_ms / 1000 + PATIENCE_S,
                          streams=n, window_ms=bench.scale.short_ms,
                          keep_alive=int(workload == "short-kept"))


def measure_flood(bench, contestant, workload, n):
    """
    A first flood, of few events, tells how many the second, which counts, can
    have. The bound is told when it starts, so it is started twice.
    """
    options = {"streams": n, **({"join": 1} if n > 1 and contestant.name == "sluice" else {})}
    events = max(20_000 // n, 1000)
    for _ in range(2):
        job = Job(workload, n, events, 0)
        with bench.serving(contestant, job) as server:
            report = bench.load(server, job, "flood", bench.scale.flood_s + PATIENCE_S, **options)
        if report["wrong"]:
            break
        rate = report["events_per_s"] / n
        events = max(events, min(MOST_FLOOD, int(rate * bench.scale.flood_s)))
    return {**report, "events": job.events}


# ---- what only sluice has ----

def measure_cost(bench, contestant, workload, n):
    """What the agents cost and cost_fiber say of emit_event() and fprintf()."""
    results = {"wrong": []}
    with bench.serving(contestant, Job(workload, n, 0, 0)) as server:
        for agent in ("cost", "cost_fiber"):
            request = urllib.request.Request(
                f"http://127.0.0.1:{server.port}/agents/{agent}/runs?mode=wait",
                json.dumps({"batches": bench.scale.cost_batches}).encode(),
                {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    results[agent] = json.load(answer)["result"]
            except (OSError, ValueError, KeyError) as error:
                results["wrong"].append(f"{agent}: {error}")
    return results


def measure_protocols(bench, contestant, workload, n):
    return protocols.measure(bench, contestant, Job(workload, n, 0, 0), n,
                             bench.scale.protocols, bench.scale.texts)


class Swapper:
    """Renames builds of an agent over the one that serves, and sees when the new one does."""

    PAUSE_S = 0.4
    HEADERS = {"Content-Type": "application/json"}

    def __init__(self, bench, server):
        self.builds = [bench.places.agent("tick_next"), bench.places.agent("tick")]
        self.folder = os.path.join(server.folder, "plugins")
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        self.generation = self.probe()

    def get(self, method, path, body=None):
        self.connection.request(method, path, body, self.HEADERS)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Unfit(f"{path}: {answer.status}: {text[:200]!r}")
        return text.decode()

    def live_runs(self):
        return sum(agent["live_runs"] for agent in json.loads(self.get("GET", "/agents"))["agents"])

    def probe(self):
        """The generation of a run that starts now."""
        text = self.get("POST", "/agents/tick/runs", '{"events":1,"interval_ms":0}')
        if '\nevent: done\ndata: {"status":"finished"}\n' not in text:
            raise Unfit(f"a run during a swap ended with {text[-200:]!r}")
        return int(re.search(r'\nevent: run\ndata: .*"generation":(\d+)', text)[1])

    def swap(self, number):
        """Returns how long it took from the rename to the first run of the new generation."""
        temporary = os.path.join(self.folder, ".tick.new")
        shutil.copy(self.builds[number % len(self.builds)], temporary)
        renamed = time.monotonic()
        os.rename(temporary, os.path.join(self.folder, "tick.so"))
        while True:
            generation = self.probe()
            took = time.monotonic() - renamed
            if generation > self.generation:
                self.generation = generation
                return took
            if took > PATIENCE_S:
                raise Unfit(f"a swap was not seen for {PATIENCE_S} s")
            time.sleep(0.002)

    def swap_often(self, swaps):
        latencies = []
        for number in range(swaps):
            began = time.monotonic()
            latencies.append(self.swap(number))
            time.sleep(max(0, began + self.PAUSE_S - time.monotonic()))
        return latencies


def measure_swap(bench, contestant, workload, n):
    """The same streams twice, first left alone, then with their plugin swapped beneath them."""
    window_ms = int(bench.scale.swaps * Swapper.PAUSE_S * 1000) + 500
    options, events = live_times(dataclasses.replace(bench.scale, window_ms=window_ms), n)
    job = Job(workload, n, events, INTERVAL_MS)
    patience_s = patience_of(options, events)
    with bench.serving(contestant, job) as server:
        calm = bench.load(server, job, "live", patience_s, **options)
        swapper = Swapper(bench, server)
        process = start_load(bench.load_command(server, job, "live", **options))
        try:
            server.wait_for(lambda: swapper.live_runs() >= n or process.poll() is not None,
                            "all streams are open", 2 * patience_s)
            time.sleep((options["settle_ms"] + INTERVAL_MS) / 1000)
            latencies = swapper.swap_often(bench.scale.swaps)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        stormy = finish_load(process, patience_s)
    return {"wrong": calm["wrong"] + stormy["wrong"], "swap_ms": [s * 1000 for s in latencies],
            "calm": calm, "stormy": stormy}


# ---- all of them ----

MEASURES = {"sleeping": measure_live, "woken": measure_live, "short-fresh": measure_short,
            "short-kept": measure_short, "flood": measure_flood, "flood-many": measure_flood,
            "cost": measure_cost, "protocols": measure_protocols, "idle": measure_idle, "swap": measure_swap}


def sizes(workload, scale):
    """The numbers of agents, streams or readers that a workload is measured with."""
    return {"sleeping": scale.sizes, "woken": scale.sizes, "short-fresh": (IN_FLIGHT,),
            "short-kept": (IN_FLIGHT,), "flood": (1,), "flood-many": (scale.readers,),
            "cost": (1,), "protocols": (scale.open_streams,), "idle": (scale.idle,), "swap": (scale.swap_streams,)}[workload]


def measure(bench, contestant, workload, n):
    """What a cell measured; what hinders it is among what is wrong."""
    try:
        result = MEASURES[workload](bench, contestant, workload, n)
    except (Unfit, OSError, ValueError, http.client.HTTPException) as error:
        result = {"wrong": [str(error) or type(error).__name__]}
    held = result.pop("held", None) or 0.0
    return {**result, "held": held} if workload in LIVE else result
