"""
What was measured, over all rounds: read from the lines that bench.py appended,
asked for medians, spreads and ratios.

A line is a JSON object, of a run of bench.py,

    {"run":"…","machine":{…},"versions":{…},"commands":{…},"unfit":{…},"scale":{…}}

or of a cell,

    {"run":"…","round":1,"workload":"…","contestant":"…","n":1000,"result":{…}}
    {"run":"…","round":1,"workload":"…","contestant":"…","n":5000,"skipped":"why"}

Ratios are formed within a round, and then the median of them is taken: machines
that are shared are not the same from one minute to the next.
"""

import dataclasses
import json
import statistics

from contestants import LIVE
from protocols import PACES, PROTOCOLS

# What a figure is, of a cell's result. One that was not measured is a KeyError or a TypeError.
METRICS = {
    "cpu": lambda r: r["cpu_us_per_event"],
    "p50": lambda r: r["latency_us"]["p50"] / 1000,
    "p99": lambda r: r["latency_us"]["p99"] / 1000,
    "memory": lambda r: r["kib_per_stream"],
    "runs": lambda r: r["runs_per_s"],
    "run-cpu": lambda r: r["cpu_us_per_run"],
    "first50": lambda r: r["first_event_us"]["p50"] / 1000,
    "first99": lambda r: r["first_event_us"]["p99"] / 1000,
    "events": lambda r: r["events_per_s"],
    "mb": lambda r: r["mb_per_s"],
    "emit": lambda r: r["cost"]["emit_ns"],
    "fprintf": lambda r: r["cost"]["fprintf_ns"],
    "emit-fiber": lambda r: r["cost_fiber"]["emit_ns"],
    "fprintf-fiber": lambda r: r["cost_fiber"]["fprintf_ns"],
    "emit-ratio": lambda r: r["cost"]["emit_ns"] / r["cost"]["fprintf_ns"],
    "emit-ratio-fiber": lambda r: r["cost_fiber"]["emit_ns"] / r["cost_fiber"]["fprintf_ns"],
    "hole-calm": lambda r: r["calm"]["gap_ms"]["max"],
    "hole": lambda r: r["stormy"]["gap_ms"]["max"],
    "swap": lambda r: statistics.median(r["swap_ms"]),
    "swap-max": lambda r: max(r["swap_ms"]),
}


def of_protocol(name, key, ratio=False, less=False):
    """The metric of a protocol, or what it is beside that of the native stream."""
    def read(result):
        value, native = result["protocols"][name][key], result["protocols"]["native"][key]
        return value / native if ratio else value - native if less else value
    return read


for of in PROTOCOLS:
    for figure in (*PACES, "bytes", "memory"):
        METRICS[f"{of} {figure}"] = of_protocol(of, figure)
        METRICS[f"{of} {figure} ratio"] = of_protocol(of, figure, ratio=True)
    METRICS[f"{of} memory more"] = of_protocol(of, "memory", less=True)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A median over rounds, and between what it lies."""
    median: float
    low: float
    high: float
    rounds: int


def figure_of(values):
    """None of no values."""
    if not values:
        return None
    return Figure(statistics.median(values), min(values), max(values), len(values))


class Results:
    def __init__(self, lines):
        self.heads = []
        self.cells = {}       # (workload, contestant, n): {(run, round): result}
        self.skipped = {}     # (workload, contestant, n): why
        for line in lines:
            record = json.loads(line)
            if "machine" in record:
                self.heads.append(record)
                continue
            key = (record["workload"], record["contestant"], record["n"])
            if "skipped" in record:
                self.skipped[key] = record["skipped"]
            else:
                self.cells.setdefault(key, {})[record["run"], record["round"]] = record["result"]

    def head(self, part):
        """What the runs said of the machine, versions and so on; the last one counts."""
        merged = {}
        for head in self.heads:
            merged.update(head.get(part) or {})
        return merged

    @property
    def least_held(self):
        """The share of the events offered below which a load was not held."""
        return self.head("scale").get("held", 0.95)

    def rounds(self):
        """Of the cell that has most."""
        return max(map(len, self.cells.values()), default=0)

    def sizes(self, workload):
        return sorted({n for of, _, n in [*self.cells, *self.skipped] if of == workload})

    def wrong(self):
        """(workload, contestant, n, round, words) of all that was not as it should be."""
        return [(*key, round_number, words) for key, rounds in self.cells.items()
                for (_, round_number), result in rounds.items() for words in result["wrong"]]

    def held(self, workload, contestant, n):
        """The share of the events that arrived, None if that was not measured."""
        rounds = self.cells.get((workload, contestant, n), {})
        return figure_of([result["held"] for result in rounds.values() if "held" in result])

    def holds(self, workload, contestant, n):
        """Whether it was measured there, and its figures count."""
        held = self.held(workload, contestant, n)
        if workload in LIVE:
            return held is not None and held.median >= self.least_held
        rounds = self.cells.get((workload, contestant, n), {})
        return any(not result["wrong"] for result in rounds.values())

    def fails(self, workload, contestant, n):
        """Whether it was to be measured there, and has no figures that count."""
        key = (workload, contestant, n)
        return (key in self.cells or key in self.skipped) and not self.holds(*key)

    def values(self, workload, contestant, n, metric):
        """{round: value}"""
        found = {}
        for of, result in self.cells.get((workload, contestant, n), {}).items():
            try:
                value = METRICS[metric](result)
            except (KeyError, TypeError, ZeroDivisionError):
                continue
            if value is not None and not result["wrong"] and \
                    result.get("held", 1) >= self.least_held:
                found[of] = value
        return found

    def figure(self, workload, contestant, n, metric):
        if not self.holds(workload, contestant, n):
            return None
        return figure_of(list(self.values(workload, contestant, n, metric).values()))

    def ratio(self, metric, above, below):
        """Of two (workload, contestant, n), in the rounds that both have."""
        if not self.holds(*above) or not self.holds(*below):
            return None
        over, under = self.values(*above, metric), self.values(*below, metric)
        return figure_of([over[of] / under[of] for of in over if under.get(of)])


def number(value):
    """Three digits that count."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


def spread(figure, unit=""):
    """A figure as it is written in tables."""
    if figure is None:
        return "–"
    if figure.rounds == 1:
        return number(figure.median) + unit
    return f"{number(figure.median)}{unit} ({number(figure.low)}–{number(figure.high)})"
