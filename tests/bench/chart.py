"""
Charts as SVG, plain enough to be read with any of the two backgrounds a page
may have: lines over a logarithmic axis of sizes, and groups of bars.

    Lines(title, unit, [Series(name, label, [(n, value, low, high), ...]), ...]).svg()
    Bars(title, unit, [(group, [(name, label, value, low, high), ...]), ...]).svg()
"""

import dataclasses
import math
from xml.sax.saxutils import escape

# The colour of each contestant, on light and on dark ground.
COLOURS = {
    "sluice": ("#0b62d6", "#5aa2ff"),
    "bound-ms": ("#555555", "#bbbbbb"),
    "bound-event": ("#999999", "#808080"),
    "bound": ("#777777", "#a0a0a0"),
    "kore": ("#8a2fb0", "#c98be6"),
    "go": ("#00838f", "#4dd0e1"),
    "node": ("#2e7d32", "#81c784"),
    "fastapi": ("#c75300", "#ff9d57"),
    "fprintf": ("#777777", "#a0a0a0"),
}

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.title { font-size: 14px; font-weight: 600 }
.small { fill: #666; font-size: 11px }
.ground { fill: #fff }
.grid { stroke: #ddd }
.axis { stroke: #888 }
.spread { stroke: #222 }
"""
STYLE_DARK = """
text { fill: #ddd } .small { fill: #999 } .ground { fill: #0d1117 }
.grid { stroke: #30363d } .spread { stroke: #eee }
"""


def style():
    light, dark = [], []
    for name, (on_light, on_dark) in COLOURS.items():
        for rules, colour in ((light, on_light), (dark, on_dark)):
            rules.append(f".l-{name} {{ stroke: {colour}; fill: none; stroke-width: 2 }} "
                         f".f-{name} {{ fill: {colour} }} text.f-{name} {{ fill: {colour} }}")
    return (f"<style>{STYLE}" + "\n".join(light) +
            f"\n@media (prefers-color-scheme: dark) {{{STYLE_DARK}" + "\n".join(dark) +
            "}\n</style>")


def document(width, height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">\n<title>{escape(title)}</title>\n'
            f'{style()}\n<rect class="ground" width="{width}" height="{height}"/>\n' +
            "\n".join(parts) + "\n</svg>\n")


def text(x, y, words, of="", anchor="start"):
    css = f' class="{of}"' if of else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(words)}</text>'


def line(x1, y1, x2, y2, of):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{of}"/>'


def short(value):
    """A number for an axis or a bar: three digits that count."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:.3g} M"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


@dataclasses.dataclass(frozen=True)
class Series:
    name: str
    label: str
    points: list    # of (n, value, low, high)


class Scale:
    """A logarithmic axis, between marks at 1, 2 and 5."""

    def __init__(self, values, begin, end):
        low, high = min(values), max(values)
        self.low = max(self.marks_between(0, low)[-1:] or [low])
        self.high = min(self.marks_between(high, high * 10)[:1] or [high])
        if self.high <= self.low:
            self.high = self.low * 2
        self.begin, self.end = begin, end

    @staticmethod
    def marks_between(low, high):
        decades = range(math.floor(math.log10(low)) if low > 0 else -6,
                        math.ceil(math.log10(high)) + 1)
        marks = (step * 10.0 ** decade for decade in decades for step in (1, 2, 5))
        return [mark for mark in marks if low * 0.9999 <= mark <= high * 1.0001]

    def marks(self):
        found = self.marks_between(self.low, self.high)
        return found if len(found) < 10 else [m for m in found if f"{m:e}"[0] == "1"]

    def at(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)


def apart(wanted, gap):
    """Places near the wanted ones, in the same order, at least so far from each other."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for before, after in zip(order, order[1:]):
        placed[after] = max(placed[after], placed[before] + gap)
    return placed


class Lines:
    """One panel: both axes logarithmic, a label at the end of each line."""

    WIDTH, HEIGHT = 720, 380
    LEFT, RIGHT, TOP, BOTTOM = 64, 190, 44, 44

    def __init__(self, title, unit, series):
        self.title, self.unit = title, unit
        self.series = [one for one in series if one.points]

    def axes(self, x, y, sizes):
        right, bottom = self.WIDTH - self.RIGHT, self.HEIGHT - self.BOTTOM
        parts = [text(self.LEFT, 20, self.title, "title"), text(self.LEFT, 36, self.unit, "small")]
        for mark in y.marks():
            parts += [line(self.LEFT, y.at(mark), right, y.at(mark), "grid"),
                      text(self.LEFT - 6, y.at(mark) + 4, short(mark), "small", "end")]
        for n in sizes:
            parts.append(text(x.at(n), bottom + 16, f"{n:,}", "small", "middle"))
        parts.append(line(self.LEFT, bottom, right, bottom, "axis"))
        parts.append(text((self.LEFT + right) / 2, bottom + 34, "live agents", "small", "middle"))
        return parts

    def curve(self, one, x, y):
        path = " ".join(f"{x.at(n):.1f},{y.at(value):.1f}" for n, value, _, _ in one.points)
        parts = [f'<polyline points="{path}" class="l-{one.name}"/>']
        for n, value, low, high in one.points:
            parts.append(f'<circle cx="{x.at(n):.1f}" cy="{y.at(value):.1f}" r="3" '
                         f'class="f-{one.name}"/>')
            if high > low > 0:
                parts.append(line(x.at(n), y.at(low), x.at(n), y.at(high), f"l-{one.name}"))
        return parts

    def labels(self, x, y, last):
        """At the right of lines that get there, one below the other; at the end of the others."""
        parts = []
        whole = [one for one in self.series if one.points[-1][0] == last]
        ends = [y.at(one.points[-1][1]) for one in whole]
        right = self.WIDTH - self.RIGHT
        for one, end, place in zip(whole, ends, apart(ends, 15)):
            parts.append(line(right - 2, end, right + 10, place, "grid"))
            parts.append(text(right + 14, place + 4, one.label, f"f-{one.name}"))
        for one in self.series:
            n, value, *_ = one.points[-1]
            if n != last:
                parts.append(text(x.at(n) + 7, y.at(value) - 6, one.label, f"f-{one.name}"))
        return parts

    def svg(self):
        points = [point for one in self.series for point in one.points]
        if not points:
            return document(self.WIDTH, 60, self.title,
                            [text(16, 32, self.title + ": not measured")])
        sizes = sorted({n for n, *_ in points})
        x = Scale(sizes, self.LEFT + 8, self.WIDTH - self.RIGHT - 8)
        x.low, x.high = sizes[0], max(sizes[-1], sizes[0] * 2)
        y = Scale([value for _, *values in points for value in values if value > 0],
                  self.HEIGHT - self.BOTTOM, self.TOP)
        parts = self.axes(x, y, sizes)
        parts += self.labels(x, y, sizes[-1])
        for one in self.series:
            parts += self.curve(one, x, y)
        return document(self.WIDTH, self.HEIGHT, self.title, parts)


class Bars:
    """Groups of bars that lie, from 0, each with its figure."""

    WIDTH, LEFT, RIGHT, BAR, TOP = 720, 200, 110, 20, 52

    def __init__(self, title, unit, groups, is_apart=False):
        """is_apart: each group has a scale of its own."""
        self.title, self.unit, self.is_apart = title, unit, is_apart
        self.groups = [(group, bars) for group, bars in groups if bars]

    def bar(self, y, most, name, label, value, low, high):
        room = self.WIDTH - self.LEFT - self.RIGHT
        width = room * value / most
        parts = [text(self.LEFT - 8, y + 14, label, anchor="end"),
                 f'<rect x="{self.LEFT}" y="{y + 3}" width="{max(width, 1):.1f}" '
                 f'height="{self.BAR - 6}" class="f-{name}"/>']
        if high > low:
            begin, end = (self.LEFT + room * edge / most for edge in (low, high))
            parts.append(line(begin, y + self.BAR / 2, end, y + self.BAR / 2, "spread"))
        parts.append(text(self.LEFT + room * max(value, high) / most + 6, y + 14, short(value)))
        return parts

    def svg(self):
        parts = [text(16, 20, self.title, "title"), text(16, 36, self.unit, "small")]
        y = self.TOP
        for group, bars in self.groups:
            shown = [(group, bars)] if self.is_apart else self.groups
            most = max(high for _, of in shown for *_, high in of) or 1
            if group:
                parts.append(text(16, y + 12, group, "small"))
                y += 18
            for bar in bars:
                parts += self.bar(y, most, *bar)
                y += self.BAR
            y += 10
        if not self.groups:
            parts.append(text(16, y, "not measured"))
            y += 10
        return document(self.WIDTH, y + 4, self.title, parts)
