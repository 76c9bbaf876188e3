"""
What is written of the results: docs/benchmarks.md, and a chart of each
workload in docs/benchmarks/.
"""

import os
import re

import contestants
from cells import INTERVAL_MS
from chart import Bars, Lines, Series
from contestants import LABELS
from protocols import PROTOCOLS
from results import spread
from targets import REASONS, verdicts

NAMES = list(LABELS)
HERE = os.path.dirname(os.path.abspath(__file__))

INTRO = """# Benchmarks

<!-- Written by `make bench` from its results; change tests/bench/report.py instead. -->

`./bootstrap bench` measures the cost of streaming from many agents at once, and writes this page.
The contestants are sluice, a program in Go, Node, FastAPI or Kore, and, as the least cost, a bare
`epoll` loop that knows beforehand what it will send (the *bound*).

Absolute times depend on the machine, and on a shared one on the minute. So each figure stands
beside the ratio to sluice's in the same round, and where there is one to the bound's. All figures
are medians over the rounds, with the least and the largest in parentheses.
"""

CONTESTANTS = """Each serves the same agents: `tick`, which sleeps between its events, and `relay`,
which asks another server and passes each line of its answer on. Kore, whose HTTP client Debian
leaves out, serves `tick` alone. Each is written as is usual for its platform. The lines are counted
without blank ones and comments. Kore's code is long, {kore} lines where sluice's `tick` has {tick}:
it keeps a wheel of timers of its own, as Kore searches all timers whenever it sets one, and holds
the connection open by hand. An event is the same 64 bytes of JSON from all, which say its number
and when it was made. Its framing differs by a few bytes; sluice's ids, which name the run, make it
some 25 bytes longer.

**Events that follow each other without a pause** (short runs, flood) explain much of the difference
there. Go hands each event to the kernel by itself, as a program does that cannot know when the next
event comes. All others put several events into one system call.
"""

METHOD = """## Method

* sluice is as it is shipped, with room for {most:,} connections and runs.
* For each cell (a workload, a contestant, a size) the contestant is started afresh, and stopped
  after it. The contestants take turns at each size, in another order each round. All have the same
  times to open, to settle and to be measured, the same requests and the same number of events.
* The load generator, `tests/bench/load.c`, runs on the same machine and checks every byte of every
  response: status, chunks, SSE, each event in its order without a gap, the end. Where a contestant
  is asked for as much as it can do (short runs, flood), the two share the machine's cores.
* Latency is from the time stamp in an event to when its last byte was received. `tick` makes it
  when it emits, so that an agent which wakes late is not seen in it; `relay`'s is the other
  server's.
* CPU is that of all processes of the contestant, from the kernel's accounts of them, divided by
  the events (or runs) that arrived in the same window. It does not count the load generator, nor
  `tests/bench/feed.c`, which wakes the relays.
* Memory is what the resident memory of all its processes grew by, from before the first stream to
  the end of the window, divided by the streams. The events that sluice keeps for readers who come
  back are in that figure; the kernel's buffers are not.
* The bound parses no HTTP. It wakes once a millisecond for all that is due then (ms), or once for
  each event; platforms do one or the other.
* A contestant holds a load if at least {held:.0%} of the events offered arrive in the window, and
  half of them within {interval} ms of their time stamp. If it does not, its figures are left out,
  and larger loads are not tried on it in that round. Where any response was wrong, there are no
  figures either.
* A process may have {files} files open here. A relay in one process takes two for each agent, so
  that for half as many agents it has too few.
"""


def code_lines(name):
    """The lines of a file of tests/bench, without blank ones and comments."""
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        text = file.read()
    if name.endswith((".py", ".conf.in")):
        text = re.sub(r'(?s)""".*?"""|(?m:^\s*#[^\n]*$)', "", text)
    else:
        text = re.sub(r"(?s)/\*.*?\*/|(?m:^\s*//[^\n]*$)", "", text)
    return sum(bool(line.strip()) for line in text.splitlines())


def table(heads, rows, texts=(0, 1)):
    """A table in Markdown; columns that are not texts are set to the right."""
    lines = ["| " + " | ".join(heads) + " |",
             "|" + "|".join("---" if n in texts else "---:" for n in range(len(heads))) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


class Report:
    def __init__(self, results):
        self.results = results

    # ---- cells of tables ----

    def figure(self, workload, name, n, metric):
        return spread(self.results.figure(workload, name, n, metric))

    def times(self, workload, name, n, metric, base):
        """The figure as a multiple of another contestant's."""
        if name == base:
            return "1" if self.results.figure(workload, name, n, metric) else "–"
        return spread(self.results.ratio(metric, (workload, name, n), (workload, base, n)))

    def row(self, workload, name, n, columns):
        """columns are of (heading, metric, base), base None for the figure itself."""
        return [self.figure(workload, name, n, metric) if base is None else
                self.times(workload, name, n, metric, base) for _, metric, base in columns]

    def measured(self, workload, n):
        """The contestants with a cell there, or a reason that there is none."""
        return [name for name in NAMES if (workload, name, n) in self.results.cells or
                (workload, name, n) in self.results.skipped]

    def reason(self, workload, name, n):
        """Why there are no figures there; None if there are."""
        if self.results.holds(workload, name, n):
            return None
        held = self.results.held(workload, name, n)
        if held is None:
            wrong = (workload, name, n) in self.results.cells
            return "wrong" if wrong else self.results.skipped[workload, name, n]
        return f"not held: {held.median:.0%} arrived" if held.median else "not held"

    def label(self, workload, name, n):
        """The contestant, and in how many rounds it held, if it did not in all."""
        tried = self.results.held(workload, name, n)
        held = self.results.figure(workload, name, n, "cpu")
        if not tried or not held or held.rounds == tried.rounds:
            return LABELS[name]
        return f"{LABELS[name]}, held in {held.rounds} rounds of {tried.rounds}"

    def table(self, workload, columns, first="agents"):
        rows = []
        for n in self.results.sizes(workload):
            for name in self.measured(workload, n):
                reason = self.reason(workload, name, n)
                cells = [reason] + ["–"] * (len(columns) - 1) if reason else \
                    self.row(workload, name, n, columns)
                rows.append([f"{n:,}", self.label(workload, name, n), *cells])
        return table([first, "", *(heading for heading, _, _ in columns)], rows)

    # ---- charts ----

    def bar(self, workload, name, n, metric, label=None):
        figure = self.results.figure(workload, name, n, metric)
        return figure and (name, label or LABELS[name], figure.median, figure.low, figure.high)

    def bars(self, workload, metric):
        """One for each contestant, at the largest size."""
        n = (self.results.sizes(workload) or [0])[-1]
        return [bar for bar in (self.bar(workload, name, n, metric) for name in NAMES) if bar]

    def series(self, workload, metric):
        found = []
        for name in NAMES:
            figures = [(n, self.results.figure(workload, name, n, metric))
                       for n in self.results.sizes(workload)]
            found.append(Series(name, LABELS[name],
                                [(n, f.median, f.low, f.high) for n, f in figures if f]))
        return found

    def charts(self):
        """{file: SVG}"""
        charts = {}
        for workload in contestants.LIVE:
            charts[f"{workload}-cpu"] = Lines(
                f"{workload.capitalize()} agents, 10 events/s each: CPU of an event",
                "µs of all server processes per delivered event; less is better",
                self.series(workload, "cpu"))
            charts[f"{workload}-latency"] = Lines(
                f"{workload.capitalize()} agents, 10 events/s each: latency",
                "ms from emitting to the client, p99; less is better", self.series(workload, "p99"))
        charts["short"] = Bars("Short runs, 64 in flight", "runs/s; more is better", [
            ("a connection for each", self.bars("short-fresh", "runs")),
            ("kept alive", self.bars("short-kept", "runs"))])
        readers = (self.results.sizes("flood-many") or [0])[-1]
        charts["flood"] = Bars(
            "Flood from one agent", "events/s, over all readers; more is better",
            [("one reader", self.bars("flood", "events")),
             (f"{readers:,} readers of the same run", self.bars("flood-many", "events"))],
            True)
        charts["cost"] = Bars("What emitting an event costs the agent",
                              "ns of CPU per call; less is better", self.cost_groups())
        charts["idle"] = Bars("An open, silent stream", "KiB of memory; less is better",
                              [("", self.bars("idle", "memory"))])
        charts["swap"] = Bars("Hot swap under load", "ms; less is better", self.swap_groups(), True)
        return {name: chart.svg() for name, chart in charts.items()}

    def named_bars(self, workload, bars):
        n = (self.results.sizes(workload) or [0])[-1]
        found = []
        for colour, label, metric in bars:
            bar = self.bar(workload, "sluice", n, metric, label)
            if bar:
                found.append((colour, *bar[1:]))
        return found

    def cost_groups(self):
        return [("on a thread", self.named_bars("cost", [("sluice", "emit_event()", "emit"),
                                                         ("fprintf", "fprintf()", "fprintf")])),
                ("on a fiber", self.named_bars("cost", [
                    ("sluice", "emit_event()", "emit-fiber"),
                    ("fprintf", "fprintf()", "fprintf-fiber")]))]

    def swap_groups(self):
        return [("largest hole in any stream, beyond its period", self.named_bars("swap", [
                    ("fprintf", "left alone", "hole-calm"),
                    ("sluice", "while swapping", "hole")])),
                ("from rename to a run of the new build",
                 self.named_bars("swap", [("sluice", "median", "swap"),
                                          ("sluice", "longest", "swap-max")]))]

    # ---- sections ----

    def section(self, heading, words, charts, body):
        pictures = "\n".join(f"![{heading}](benchmarks/{chart}.svg)\n" for chart in charts)
        return f"## {heading}\n\n{words}\n\n{pictures}\n{body}"

    def live(self, workload, heading, words):
        cpu = [("CPU, µs/event", "cpu", None), ("× bound (ms)", "cpu", "bound-ms"),
               ("× sluice", "cpu", "sluice")]
        rest = [("p50, ms", "p50", None), ("× sluice", "p50", "sluice"),
                ("p99, ms", "p99", None), ("× sluice", "p99", "sluice"),
                ("KiB/agent", "memory", None), ("× sluice", "memory", "sluice")]
        return self.section(heading, words, [f"{workload}-cpu", f"{workload}-latency"],
                            self.table(workload, cpu) + "\nLatency and memory:\n\n" +
                            self.table(workload, rest))

    def short(self):
        runs = [("runs/s", "runs", None), ("× bound", "runs", "bound"),
                ("× sluice", "runs", "sluice"),
                ("server CPU, µs/run", "run-cpu", None), ("× sluice", "run-cpu", "sluice")]
        first = [("first event, p50, ms", "first50", None), ("× sluice", "first50", "sluice"),
                 ("p99, ms", "first99", None), ("× sluice", "first99", "sluice")]
        body = "\n".join(f"{words}:\n\n" + self.table(workload, columns, "in flight")
                         for workload, how in (("short-fresh", "a connection for each"),
                                               ("short-kept", "connections kept alive"))
                         for words, columns in ((f"Runs, {how}", runs),
                                                (f"The first event, {how}", first)))
        return self.section("Short runs", "Ten events without a pause and the end, 64 runs in "
                            "flight.", ["short"], body)

    def flood(self):
        columns = [("events/s", "events", None), ("× bound", "events", "bound"),
                   ("× sluice", "events", "sluice"), ("MB/s", "mb", None),
                   ("× bound", "mb", "bound"), ("× sluice", "mb", "sluice")]
        body = (self.table("flood", columns, "readers") + "\n" +
                self.table("flood-many", columns, "readers"))
        return self.section("Flood", "One agent emits as fast as it can, to one reader and to many "
                            "readers of the same run; the others have no such thing as the latter.",
                            ["flood"], body)

    def cost(self):
        n = 1
        rows = [["", where, self.figure("cost", "sluice", n, "emit" + suffix),
                 self.figure("cost", "sluice", n, "fprintf" + suffix),
                 self.figure("cost", "sluice", n, "emit-ratio" + suffix)]
                for where, suffix in (("thread", ""), ("fiber", "-fiber"))]
        body = table(["", "agent on a", "`emit_event()`, ns", "`fprintf()`, ns", "×"], rows)
        return self.section("What `emit_event()` costs", "CPU time of the calling thread, beside "
                            "`fprintf()` of the same event to `/dev/null`, by turns in the same "
                            "run.", ["cost"], body)

    def protocols(self):
        rows = [["", name, *(self.figure("protocols", "sluice", n, f"{name} {metric}")
                             for metric in ("flood", "flood ratio", "paced", "paced ratio", "bytes",
                                            "memory more"))]
                for n in self.results.sizes("protocols") for name in PROTOCOLS
                if self.results.figure("protocols", "sluice", n, f"{name} flood")]
        if not rows:
            return ""
        heads = ["", "protocol", "flood, instructions/text", "× native", "one at a time", "× native",
                 "bytes/text", "memory beyond native, bytes/stream"]
        return self.section("Protocols", "What the front executes for a text event of 64 bytes, "
                            "counted by callgrind without the kernel, and the memory that an open "
                            "stream takes there, for each protocol in which a run can be read.", [],
                            table(heads, rows))

    def idle(self):
        columns = [("KiB/stream", "memory", None), ("× bound", "memory", "bound"),
                   ("× sluice", "memory", "sluice")]
        return self.section("Idle streams", "Open streams whose first event is far away.", ["idle"],
                            self.table("idle", columns, "streams"))

    def swap(self):
        rows = [[f"{n:,}", *(self.figure("swap", "sluice", n, metric)
                             for metric in ("hole-calm", "hole", "swap", "swap-max"))]
                for n in self.results.sizes("swap")]
        heads = ["streams", "largest hole left alone, ms", "while swapping, ms",
                 "rename to new build, median, ms", "longest, ms"]
        swaps = self.results.head("scale").get("swaps", 10)
        return self.section("Hot swap under load", "A new build of the plugin is renamed over the "
                            f"old one {swaps} times, under live streams of 10 events/s. A hole is "
                            "the time between two events of one stream, beyond its period, as they "
                            "arrived at the client.", ["swap"], table(heads, rows))

    def targets(self):
        rows, reasons = [], []
        for target, judged in verdicts(self.results):
            rows += [[verdict.what, verdict.wanted, verdict.measured,
                      f"**{verdict.word}**" if verdict.word == "missed" else verdict.word]
                     for verdict in judged]
            if target.key in REASONS and any(verdict.word == "missed" for verdict in judged):
                reasons.append(f"* {target.what}, {judged[0].wanted}: {REASONS[target.key]}\n")
        said = "\nWhy those are missed:\n\n" + "".join(reasons) if reasons else ""
        return "## Targets\n\n" + table(["sluice", "target", "measured", ""], rows) + said

    def contestants(self):
        kinds = [kind for kind in contestants.ALL if kind.name not in ("bound-ms", "bound-event")]
        rows = [[kind.label, " ".join(f"`{name}`" for name in kind.code),
                 str(sum(map(code_lines, kind.code))), kind.runs_as, kind.hands_over]
                for kind in kinds]
        heads = ["", "code, in `tests/bench/`", "lines", "runs as", "hands events to the kernel"]
        words = CONTESTANTS.format(kore=code_lines("peers/kore.c"),
                                   tick=code_lines("agents/tick.c"))
        return f"## Contestants\n\n{words}\n" + table(heads, rows, texts=(0, 1, 3, 4))

    def wrong(self):
        rows = [[workload, LABELS[name], f"{n:,}", str(round_number), words.replace("|", "/")[:200]]
                for workload, name, n, round_number, words in self.results.wrong()]
        if not rows:
            return ""
        return ("## What went wrong\n\n"
                "Responses that were not as they should be, or did not come:\n\n" +
                table(["workload", "", "size", "round", ""], rows))

    def setting(self):
        machine, versions = self.results.head("machine"), self.results.head("versions")
        commands = self.results.head("commands")
        present = {name for _, name, _ in self.results.cells}
        unfit = {name: why for name, why in self.results.head("unfit").items()
                 if name not in present}
        parts = ["## Machine and versions\n\n" + table(["", ""], map(list, machine.items())),
                 table(["", ""], [[LABELS.get(name, name), words]
                                  for name, words in versions.items() if words])]
        if unfit:
            parts.append("Not taking part here:\n\n" + "".join(
                f"* {LABELS[name]}: {' '.join(why.split())[-300:]}\n"
                for name, why in unfit.items()))
        parts.append("## Commands\n\n" + "```sh\n" + "\n".join(dict.fromkeys(commands.values())) +
                     "\n```\n")
        return "\n".join(parts)

    def document(self):
        rounds = self.results.rounds()
        said = f"{rounds} round{'' if rounds == 1 else 's'}"
        scale = self.results.head("scale")
        if scale and not scale.get("is_full"):
            said += ", **scaled down: a trial of the benchmark, not a measurement**"
        return "\n".join(part for part in (
            INTRO, f"This page: {said}.\n", self.targets(),
            self.live("sleeping", "Sleeping agents", "Each agent sleeps until its next event is "
                      "due, 10 times a second."),
            self.live("woken", "Agents woken from outside", "Each agent reads lines from another "
                      "server, 10 a second, each at a microsecond of its own, and passes them on: "
                      "what an agent does that streams a model's answer."),
            self.short(), self.flood(), self.cost(), self.protocols(), self.idle(), self.swap(), self.wrong(),
            self.contestants(), self.method(), self.setting()) if part)

    def method(self):
        files = self.results.head("machine").get("open files of a process", "few")
        return METHOD.format(held=self.results.least_held, most=contestants.FILES,
                             interval=INTERVAL_MS, files=files)


def write_report(results, folder):
    """benchmarks.md and benchmarks/*.svg in the folder; returns their paths."""
    report = Report(results)
    files = {"benchmarks.md": report.document()}
    for name, svg in report.charts().items():
        files[os.path.join("benchmarks", name + ".svg")] = svg
    os.makedirs(os.path.join(folder, "benchmarks"), exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    return [os.path.join(folder, name) for name in files]
