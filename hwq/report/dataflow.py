"""A design as boxes and arrows: a band for each layer, in it columns by longest path, parallel boxes stacked.

A stream to the next band is drawn to it. One to a band further on, or one of several into the same band, ends in
a stub at both sides that names its other end, so that no line crosses another.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from hwq.report.svg import INK, PALE, PAPER, SOFT, canvas, label, width

HIGH, ROW, HEAD, FOOT, ALLEY = 54, 72, 26, 12, 18  # px: a box, rows, a band's head and foot, between bands
LEFT, MIDDLE, PORT, TRACK = 14.0, 27.0, 14.0, 7.0  # x of lines to the next band; in a box; between ports, lines
LEAD, TIP = 10.0, 16.0  # from a box to the first line beside it, from the last one to the box it enters


@dataclass(frozen=True, slots=True)
class Box:
    """A module: instance name, what it is (two lines), and the group (layer) it is drawn in."""

    name: str
    lines: tuple[str, ...]
    group: str

    @property
    def label(self) -> str:
        """The name, without the group's, which stands above it."""
        return self.name.removeprefix(f"{self.group}_")


@dataclass(frozen=True, slots=True)
class Arrow:
    """A stream between two boxes ('' is the boundary of the design) with its label above and below the line."""

    name: str
    src: str
    dst: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """What stands in a column: a box, a stub ('to x', 'from x') or the place where a line enters or leaves."""

    key: str
    kind: str  # box | to | from | enter | leave
    lines: tuple[str, ...] = ()
    link: str = ""

    @property
    def wide(self) -> float:
        if self.kind == "box":
            return 16 + max(width(t, bold=not i) for i, t in enumerate(self.lines))
        return 12 + width(self.lines[0], 10) if self.lines else 0.0


@dataclass(frozen=True, slots=True)
class _Edge:
    """A line within a band; `arrow` is the stream it is all or a part of."""

    src: str
    dst: str
    arrow: int
    lines: tuple[str, ...] = ()


@dataclass
class _Band:
    """One run of boxes of a group, and where they came to stand. x, y: upper left corner of a node."""

    group: str
    nodes: dict[str, _Node] = field(default_factory=dict)
    edges: list[_Edge] = field(default_factory=list)
    column: dict[str, int] = field(default_factory=dict)
    row: dict[str, int] = field(default_factory=dict)
    via: dict[_Edge, int] = field(default_factory=dict)  # the row an edge runs along
    x: dict[str, float] = field(default_factory=dict)
    wide: dict[str, float] = field(default_factory=dict)
    points: dict[_Edge, list[tuple[float, float]]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    top: float = 0.0
    right: float = 0.0

    @property
    def bottom(self) -> float:
        return self.top + HEAD + ROW * max((*self.row.values(), *self.via.values())) + HIGH + FOOT

    def add(self, node: _Node) -> str:
        self.nodes[node.key] = node
        return node.key

    def y(self, row: int) -> float:
        return self.top + HEAD + ROW * row

    def into(self, key: str) -> list[_Edge]:
        return [e for e in self.edges if e.dst == key]

    def out_of(self, key: str) -> list[_Edge]:
        return [e for e in self.edges if e.src == key]


def dataflow(title: str, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    """The SVG text. Boxes in the order of the dataflow; a group may come back further down."""
    bands, routed = _bands(boxes, arrows)
    top = 8.0
    for band in bands:
        band.top = top
        _columns(band)
        _rows(band)
        _lines(band)
        top = band.bottom + ALLEY
    full = max(b.right for b in bands) + 16
    body: list[str] = []
    for band in bands:
        body.append(
            f'<rect x="6" y="{band.top:.0f}" width="{full - 6:.0f}" height="{band.bottom - band.top:.0f}" rx="6" '
            f'fill="{PALE}"/>'
        )
        body.append(label(24, band.top + 16, band.group, bold=True))
    for number in range(len(arrows)):
        parts = [(b, e) for b in bands for e in b.edges if e.arrow == number]
        if number in routed:
            (source, start), (target, end) = parts
            (x, _), (_, y) = source.points[start][-1], target.points[end][0]
            alley = source.bottom + ALLEY / 2
            body += _line([*source.points[start], (x, alley), (LEFT, alley), (LEFT, y), *target.points[end]])
        else:
            body += itertools.chain.from_iterable(_line(b.points[e]) for b, e in parts)
    for band in bands:
        body += band.labels
        body += itertools.chain.from_iterable(_node(band, n) for n in band.nodes.values())
    return canvas(full + 6, top - ALLEY + 8, title, body)


# ---- what stands in which band -------------------------------------------------------------------------------


def _bands(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> tuple[list[_Band], set[int]]:
    """Bands with nodes and edges, and the arrows drawn from one band to the next."""
    bands, place = [], {}
    for number, (group, run) in enumerate(itertools.groupby(boxes, key=lambda b: b.group)):
        bands.append(_Band(group))
        for b in run:
            bands[-1].add(_Node(b.name, "box", (b.label, *b.lines)))
            place[b.name] = number
    pairs = Counter((place.get(a.src), place.get(a.dst)) for a in arrows)
    routed = set()
    for i, a in enumerate(arrows):
        src, dst = place.get(a.src), place.get(a.dst)
        if src is not None and src == dst:
            bands[src].edges.append(_Edge(a.src, a.dst, i, a.lines))
            continue
        near = src is not None and dst == src + 1 and pairs[src, dst] == 1
        if near:
            routed.add(i)
        if src is not None:
            end = _Node(f">{i}", "leave") if near else _Node(f">{i}", "to", (f"to {a.dst or a.name}",), a.dst)
            bands[src].edges.append(_Edge(a.src, bands[src].add(end), i))
        if dst is not None:
            start = _Node(f"<{i}", "enter") if near else _Node(f"<{i}", "from", (f"from {a.src or a.name}",), a.src)
            bands[dst].edges.append(_Edge(bands[dst].add(start), a.dst, i, a.lines))
    return bands, routed


def _columns(band: _Band) -> None:
    """Column of every node: longest path; what comes from outside stands right before its box."""
    found = band.column

    def longest(key: str) -> int:
        if key not in found:
            found[key] = max((longest(e.src) + 1 for e in band.into(key)), default=0)
        return found[key]

    last = max(longest(n.key) for n in band.nodes.values() if n.kind != "leave")
    for n in band.nodes.values():
        if n.kind == "from":
            found[n.key] = found[band.out_of(n.key)[0].dst] - 1
        if n.kind == "leave":
            found[n.key] = last + 1


def _rows(band: _Band) -> None:
    """Row of every node and every edge: a node goes on in the row of the one before it, if that is still free.

    Such a run of nodes is a lane; lanes that leave a column between them share a row.
    """
    lane: dict[str, int] = {}
    lanes: list[list[str]] = []
    first = {"enter": 0, "from": 1}
    for key in sorted(band.nodes, key=lambda k: (band.column[k], first.get(band.nodes[k].kind, 2))):
        before = [lane[e.src] for e in band.into(key) if lanes[lane[e.src]][-1] == e.src]
        lane[key] = min(before, default=len(lanes))
        if not before:
            lanes.append([])
        lanes[lane[key]].append(key)
    span = [(band.column[run[0]], band.column[run[-1]]) for run in lanes]
    used: dict[_Edge, int] = {}
    within, headed, left = set(), set(), set()  # whose row is taken: behind a node in a lane, before a lane, behind it
    for e in band.edges:
        a, b = lane[e.src], lane[e.dst]
        if a == b and (e.src, e.dst) in itertools.pairwise(lanes[a]) and e.src not in within:
            within.add(e.src)
            used[e] = a
        elif lanes[b][0] == e.dst and b not in headed:
            headed.add(b)
            used[e], span[b] = b, (min(span[b][0], band.column[e.src] + 1), span[b][1])
        elif lanes[a][-1] == e.src and a not in left:
            left.add(a)
            used[e], span[a] = a, (span[a][0], max(span[a][1], band.column[e.dst] - 1))
        else:
            used[e] = len(span)
            span.append((band.column[e.src] + 1, band.column[e.dst] - 1))
    rows: list[list[tuple[int, int]]] = []
    row = []
    for low, high in span:
        free = (r for r, taken in enumerate(rows) if all(high + 1 < a or b + 1 < low for a, b in taken))
        row.append(next(free, len(rows)))
        if row[-1] == len(rows):
            rows.append([])
        rows[row[-1]].append((low, high))
    band.row.update({key: row[number] for key, number in lane.items()})
    band.via.update({e: row[number] for e, number in used.items()})


# ---- where it stands -------------------------------------------------------------------------------------------


def _lines(band: _Band) -> None:
    """x of every node, and the corners and labels of every edge."""
    out = _ports(band, band.out_of, lambda e: e.src)
    into = _ports(band, band.into, lambda e: e.dst)
    after = _tracks(band, {e: out[e] for e in band.edges}, lambda e: band.column[e.src])
    before = _tracks(band, {e: into[e] for e in band.edges}, lambda e: band.column[e.dst])
    x, middle, sides = 24.0, {}, {}  # of a column: the middle of the labels before it, its left and right
    for column in range(max(band.column.values()) + 1):
        here = [n for n in band.nodes.values() if band.column[n.key] == column]
        entering = [e for n in here for e in band.into(n.key)]
        if column:
            left = LEAD + TRACK * max((t + 1 for e, t in after.items() if band.column[e.src] == column - 1), default=0)
            text = max((width(t, 10) for e in entering for t in e.lines), default=0.0)
            middle[column] = x + left + text / 2
            x += left + text + TIP + TRACK * max((t + 1 for e, t in before.items() if e in entering), default=0)
        wide = max(n.wide for n in here)
        boxes = max((n.wide for n in here if n.kind == "box"), default=0.0)
        for n in here:
            band.wide[n.key] = boxes if n.kind == "box" else n.wide
            band.x[n.key] = LEFT if n.kind == "enter" else x + (wide - n.wide if n.kind == "from" else 0.0)
        sides[column] = x, x + wide
        x += wide
    band.right = x
    for e in band.edges:
        y = band.y(band.via[e]) + MIDDLE
        corners = [(band.x[e.src] + band.wide[e.src], out[e])]
        if e in after:
            turn = sides[band.column[e.src]][1] + LEAD + TRACK * after[e]
            corners += [(turn, out[e]), (turn, y)]
        if e in before:
            turn = sides[band.column[e.dst]][0] - TIP - TRACK * before[e]
            corners += [(turn, y), (turn, into[e])]
        band.points[e] = [*corners, (band.x[e.dst], into[e])]
        for t, dy in zip(e.lines, (-5, 12), strict=False):
            band.labels.append(label(middle[band.column[e.dst]], y + dy, t, "middle", 10, SOFT))


def _ports(band: _Band, edges: Callable[[str], list[_Edge]], end: Callable[[_Edge], str]) -> dict[_Edge, float]:
    """y at which each edge meets its node: in its row in the middle, others above and below in their order."""
    found = {}
    for key in band.nodes:
        ordered = sorted(edges(key), key=lambda e: band.via[e])
        straight = next((i for i, e in enumerate(ordered) if band.via[e] == band.row[key]), 0)
        for i, e in enumerate(ordered):
            found[e] = band.y(band.row[end(e)]) + MIDDLE + PORT * (i - straight)
    return found


def _tracks(band: _Band, port: Mapping[_Edge, float], column: Callable[[_Edge], int]) -> dict[_Edge, int]:
    """The place of every vertical piece beside its column: those that overlap stand side by side."""
    found: dict[_Edge, int] = {}
    for e, y in port.items():
        via = band.y(band.via[e]) + MIDDLE
        if via == y:
            continue
        span = min(via, y), max(via, y)
        taken = {
            track
            for o, track in found.items()
            if column(o) == column(e) and _overlap(span, (port[o], band.y(band.via[o]) + MIDDLE))
        }
        found[e] = next(t for t in itertools.count() if t not in taken)
    return found


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= max(b) and min(b) <= a[1]


# ---- drawing -----------------------------------------------------------------------------------------------------


def _line(points: Sequence[tuple[float, float]]) -> Iterator[str]:
    path = " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<path d="M{path}" fill="none" stroke="{INK}" stroke-width="1.2" marker-end="url(#arrow)"/>'


def _node(band: _Band, n: _Node) -> Iterator[str]:
    x, y, wide = band.x[n.key], band.y(band.row[n.key]), band.wide[n.key]
    if n.kind == "box":
        yield (
            f'<g id="box-{escape(n.key)}"><title>{escape(n.key)}</title>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{HIGH}" rx="4" fill="{PAPER}" stroke="{INK}"/>'
        )
        yield label(x + 8, y + 16, n.lines[0], bold=True)
        yield from (label(x + 8, y + 31 + 14 * i, t, fill=SOFT) for i, t in enumerate(n.lines[1:3]))
        yield "</g>"
    elif n.lines:
        yield (
            f'<rect x="{x:.1f}" y="{y + MIDDLE - 10:.1f}" width="{wide:.1f}" height="20" rx="10" fill="{PALE}" '
            f'stroke="{SOFT}" stroke-dasharray="3 2"/>'
        )
        text = label(x + 6, y + MIDDLE + 3.5, n.lines[0], size=10)
        yield f'<a href="#box-{escape(n.link)}">{text}</a>' if n.link else text
