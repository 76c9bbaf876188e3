"""
What sluice is to reach, and whether it has: ratios to others in the same rounds,
and a few figures of its own.

To add one: a line of TARGETS. To say why one is missed: REASONS.
"""

import dataclasses
import operator

from contestants import LABELS
from protocols import PROTOCOLS
from results import number, spread

COMPARE = {"≤": operator.le, "≥": operator.ge}

# Why a target is missed, in Markdown, by its key, which is "workload metric" and for some one
# word more: the rival's name, or "growth". The page has it below its targets while that is so.
REASONS = {
    "sleeping cpu bound-ms":
        "the front costs about what the bound does, nearly all of it in the kernel's `send()`. "
        "The rest is the worker, which the bound has not: it wakes a fiber whose stack has left "
        "the processor's cache, and there the agent formats and emits. Where few events are due "
        "in a millisecond, the second wake-up counts as well.",
    "sleeping cpu kore":
        "there an agent is an entry of the timer wheel in the process that sends: it has no "
        "stack, is not kept apart from the server, and nothing is kept of its events.",
    "sleeping cpu go":
        "the more agents there are, the less a wake-up counts and the more the kernel's `send()` "
        "does, which is the same for both.",
    "sleeping cpu node":
        "as for Go.",
    "sleeping cpu fastapi":
        "as for Go: where FastAPI still holds its load, `send()` is much of what either costs.",
    "sleeping cpu growth":
        "the front, the worker and the load generator want more than two cores for 180,000 events "
        "a second.",
    "sleeping p99 go":
        "a worker hands over all that is due in a millisecond, or in two, and the last of them "
        "waits until the front has sent the others.",
    "sleeping memory":
        "libmicrohttpd keeps `max_headers` (8 KiB) of each connection, a fiber's stack is a page "
        "(4 KiB) at least, and the log keeps a run's events for who comes back. "
        "`max_headers = 4K` and `log_size = 1K` make it less.",
    "idle memory node":
        "`max_headers` (8 KiB) of each connection, and a page of stack for each fiber.",
    "cost emit-ratio":
        "it checks every byte of the JSON and takes the worker's lock, which threads share with "
        "the loop; `fprintf()` copies.",
    "cost emit-ratio-fiber":
        "it checks every byte of the JSON and takes the worker's lock; `fprintf()` copies.",
    "protocols responses flood ratio":
        "each of its frames names its type twice, its number, its item and its place, which makes "
        "them twice as long; the event counts and the item's number are its state, which each text "
        "changes.",
    "short-fresh runs fastapi":
        "connecting costs all the same: the bound itself is not so far from FastAPI.",
    "short-kept runs fastapi":
        "the front is one process, which reads, starts, encodes and sends each run, and fills a "
        "core with that.",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A row of the table."""
    what: str
    wanted: str
    measured: str
    word: str


def judge(what, wanted, unit, figure, relation, limit, fails):
    if figure is None and fails:
        return Verdict(what, wanted, "failed", "missed")
    if figure is None:
        return Verdict(what, wanted, "–", "not measured")
    is_reached = COMPARE[relation](figure.median, limit)
    return Verdict(what, wanted, spread(figure, unit), "reached" if is_reached else "missed")


@dataclasses.dataclass(frozen=True)
class Against:
    """
    sluice's figure as a multiple of a rival's; at the largest both hold, if not at these. Where
    sluice fails there is nothing to compare, and that is a target missed.
    """
    what: str
    workload: str
    metric: str
    rival: str
    relation: str
    limit: float
    sizes: tuple = ()

    @property
    def key(self):
        return f"{self.workload} {self.metric} {self.rival}"

    def comparable(self, results):
        both = [n for n in results.sizes(self.workload)
                if results.ratio(self.metric, (self.workload, "sluice", n),
                                 (self.workload, self.rival, n))]
        wanted = [n for n in self.sizes if n in both]
        if len(wanted) < len(self.sizes) or not self.sizes:
            wanted += [n for n in both[-1:] if n not in wanted]
        return sorted(wanted)

    def verdicts(self, results):
        wanted = f"{self.relation} {self.limit:g} × {LABELS[self.rival]}"
        failed = [n for n in self.sizes or results.sizes(self.workload)
                  if results.fails(self.workload, "sluice", n)]
        found = []
        for n in sorted({*self.comparable(results), *failed}) or (0,):
            ratio = results.ratio(self.metric, (self.workload, "sluice", n),
                                  (self.workload, self.rival, n))
            what = f"{self.what}, {n:,}" if self.sizes and n else self.what
            found.append(judge(what, wanted, " ×", ratio, self.relation, self.limit,
                               n in failed))
        return found


@dataclasses.dataclass(frozen=True)
class Own:
    """A figure of sluice itself; n is None if the workload has only one size."""
    what: str
    workload: str
    metric: str
    n: int
    relation: str
    limit: float
    unit: str = ""

    @property
    def key(self):
        return f"{self.workload} {self.metric}"

    def verdicts(self, results):
        sizes = results.sizes(self.workload)
        n = self.n or (sizes[-1] if sizes else 0)
        figure = results.figure(self.workload, "sluice", n, self.metric)
        what = f"{self.what}, {n:,}" if self.n else self.what
        wanted = f"{self.relation} {number(self.limit)}{self.unit}"
        return [judge(what, wanted, self.unit, figure, self.relation, self.limit,
                      results.fails(self.workload, "sluice", n))]


@dataclasses.dataclass(frozen=True)
class Growth:
    """sluice's figure at one size as a multiple of that at another."""
    what: str
    workload: str
    metric: str
    large: int
    small: int

    @property
    def key(self):
        return f"{self.workload} {self.metric} growth"

    def verdicts(self, results):
        ratio = results.ratio(self.metric, (self.workload, "sluice", self.large),
                              (self.workload, "sluice", self.small))
        fails = any(results.fails(self.workload, "sluice", n) for n in (self.small, self.large))
        return [judge(self.what, "≤ 1 ×", " ×", ratio, "≤", 1, fails)]


SIZES = (1000, 5000)

TARGETS = (
    Against("sleeping agents, CPU per event", "sleeping", "cpu", "bound-ms", "≤", 1.25, SIZES),
    Against("sleeping agents, CPU per event", "sleeping", "cpu", "kore", "≤", 1, SIZES),
    Against("sleeping agents, CPU per event", "sleeping", "cpu", "go", "≤", 0.6, SIZES),
    Against("sleeping agents, CPU per event", "sleeping", "cpu", "node", "≤", 0.7, SIZES),
    Against("sleeping agents, CPU per event", "sleeping", "cpu", "fastapi", "≤", 0.35, SIZES),
    Growth("sleeping agents, CPU per event: 18,000 as a multiple of 1,000", "sleeping", "cpu",
           18000, 1000),
    Against("woken agents, CPU per event", "woken", "cpu", "go", "≤", 1, SIZES),
    Own("sleeping agents, p99 latency", "sleeping", "p99", 5000, "≤", 5, " ms"),
    Against("sleeping agents, p99 latency", "sleeping", "p99", "go", "≤", 1, (5000,)),
    Own("sleeping agents, memory of each", "sleeping", "memory", 5000, "≤", 12, " KiB"),
    Against("idle streams, memory of each", "idle", "memory", "node", "≤", 1),
    Against("short runs, fresh connections, runs/s", "short-fresh", "runs", "bound", "≥", 0.9),
    Against("short runs, fresh connections, runs/s", "short-fresh", "runs", "go", "≥", 1.7),
    Against("short runs, fresh connections, runs/s", "short-fresh", "runs", "node", "≥", 1.3),
    Against("short runs, fresh connections, runs/s", "short-fresh", "runs", "fastapi", "≥", 8),
    Against("short runs, kept alive, runs/s", "short-kept", "runs", "go", "≥", 2.5),
    Against("short runs, kept alive, runs/s", "short-kept", "runs", "node", "≥", 1.2),
    Against("short runs, kept alive, runs/s", "short-kept", "runs", "fastapi", "≥", 12),
    Own("flood into one reader, events/s", "flood", "events", None, "≥", 1_000_000),
    Own("`emit_event()` on a thread, as a multiple of `fprintf()`", "cost", "emit-ratio", None, "≤",
        1.5),
    Own("`emit_event()` on a fiber, as a multiple of `fprintf()`", "cost", "emit-ratio-fiber", None,
        "≤", 1.5),
    *(Own(f"a text through {name}, instructions as a multiple of the native stream's", "protocols",
          f"{name} flood ratio", None, "≤", 1.2) for name in PROTOCOLS[1:]),
    *(Own(f"an open stream of {name}, memory beyond a native one's", "protocols",
          f"{name} memory more", None, "≤", 64, " bytes") for name in PROTOCOLS[1:]),
    Own("the largest hole while swapping, beyond the period", "swap", "hole", None, "≤", 20, " ms"),
)


def verdicts(results):
    """[(target, its Verdicts), …]"""
    return [(target, target.verdicts(results)) for target in TARGETS]
