"""Small SVG figures from plain numbers: bars, a timeline, a dataflow graph; in shades of grey."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

CHAR = 6.4  # width of a character at 11 px, as an upper bound: labels must not run into each other
INK, SOFT, PAPER, PALE = "#1a1a1a", "#6b6b6b", "#ffffff", "#e4e9ee"


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 11, fill: str = INK, bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{weight}>'
        f"{escape(text)}</text>"
    )


def _svg(width: float, height: float, title: str, body: Sequence[str]) -> str:
    hatch = (
        '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        f'<rect width="5" height="5" fill="{PAPER}"/><line x1="0" y1="0" x2="0" y2="5" stroke="{INK}" '
        'stroke-width="1.6"/></pattern><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" '
        'markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{hatch}{''.join(body)}</svg>"
    )


def ticks(top: float, wanted: int = 5) -> list[float]:
    """Round axis values from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / wanted
    power = 10.0 ** (len(str(int(raw))) - 1) if raw >= 1 else 10.0 ** -len(f"{1 / raw:.0f}")
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20, 25, 50, 100) if m * power >= raw)
    count = int(-(-top // step))
    return [step * i for i in range(count + 1)]


@dataclass(frozen=True, slots=True)
class Pair:
    """An estimate and a synthesis result of one thing; either may be missing."""

    label: str
    estimated: float | None
    synthesized: float | None


def paired_bars(title: str, unit: str, pairs: Sequence[Pair]) -> str:
    """Horizontal bars, hatched for the estimate, solid for synthesis, with the error beside them."""
    left = 20 + CHAR * max(len(p.label) for p in pairs)
    right, plot, row = 150.0, 520.0, 40
    top = max([v for p in pairs for v in (p.estimated, p.synthesized) if v is not None] or [1])
    marks = ticks(top)
    scale = plot / marks[-1]
    height = 34 + row * len(pairs) + 40
    body = []
    for m in marks:
        x = left + m * scale
        body += [
            f'<line x1="{x:.1f}" y1="30" x2="{x:.1f}" y2="{height - 40}" stroke="{PALE}"/>',
            _text(x, height - 24, f"{m:g}", "middle", fill=SOFT),
        ]
    body.append(_text(left + plot / 2, height - 6, unit, "middle", fill=SOFT))
    body += [
        f'<rect x="{left}" y="6" width="22" height="11" fill="url(#hatch)" stroke="{INK}"/>',
        _text(left + 28, 16, "estimated"),
        f'<rect x="{left + 110}" y="6" width="22" height="11" fill="{INK}"/>',
        _text(left + 138, 16, "synthesized"),
    ]
    for i, p in enumerate(pairs):
        y = 36 + row * i
        body.append(_text(left - 8, y + 18, p.label, "end"))
        for value, dy, fill in ((p.estimated, 0, "url(#hatch)"), (p.synthesized, 14, INK)):
            if value is not None:
                body.append(
                    f'<rect x="{left}" y="{y + dy}" width="{max(value * scale, 0.5):.1f}" height="12" '
                    f'fill="{fill}" stroke="{INK}" stroke-width="0.8"/>'
                )
        end = left + max(p.estimated or 0, p.synthesized or 0) * scale + 8
        body.append(_text(end, y + 18, pair_note(p)))
    return _svg(left + plot + right, height, title, body)


def pair_note(p: Pair) -> str:
    """'900 / 950 (-5.3 %)', or what is missing."""
    if p.synthesized is None:
        return f"{p.estimated or 0:,.0f} estimated, not synthesized"
    if p.estimated is None:
        return f"{p.synthesized:,.0f}, no estimate"
    error = f" ({100 * (p.estimated / p.synthesized - 1):+.1f} %)" if p.synthesized else ""
    return f"{p.estimated:,.0f} / {p.synthesized:,.0f}{error}"


@dataclass(frozen=True, slots=True)
class Span:
    """When a stage sends the first and the last beat of the first frame, in cycles."""

    label: str
    first: int
    last: int


def timeline(title: str, spans: Sequence[Span], unit: str = "cycles since the first input beat") -> str:
    """A waterfall: one bar a stage, from its first to its last beat out."""
    left = 20 + CHAR * max(len(s.label) for s in spans)
    plot, row = 560.0, 22
    marks = ticks(max(s.last for s in spans) + 1)
    scale = plot / marks[-1]
    height = 12 + row * len(spans) + 40
    body = []
    for m in marks:
        x = left + m * scale
        body += [
            f'<line x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{height - 40}" stroke="{PALE}"/>',
            _text(x, height - 24, f"{m:g}", "middle", fill=SOFT),
        ]
    body.append(_text(left + plot / 2, height - 6, unit, "middle", fill=SOFT))
    for i, s in enumerate(spans):
        y = 12 + row * i
        width = max((s.last - s.first + 1) * scale, 1.5)
        body += [
            _text(left - 8, y + 12, s.label, "end"),
            f'<rect x="{left + s.first * scale:.1f}" y="{y + 2}" width="{width:.1f}" height="13" '
            f'fill="{INK}"/>',
            _text(left + s.first * scale + width + 6, y + 12, f"{s.first} to {s.last}", fill=SOFT),
        ]
    return _svg(left + plot + 120, height, title, body)


@dataclass(frozen=True, slots=True)
class Box:
    """A module in the dataflow graph: name, what it is, and the group (layer) it is drawn in."""

    name: str
    lines: tuple[str, ...]
    group: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """A stream between two boxes ('' is the boundary of the design) with its label."""

    src: str
    dst: str
    lines: tuple[str, ...]


def dataflow(title: str, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    """Rows from top to bottom, one for each run of boxes of a group; streams are labelled arrows."""
    width_of = {b.name: 16 + CHAR * max(len(t) for t in (b.name, *b.lines)) for b in boxes}
    # The gap before a box holds the label of the stream that enters it from its left neighbour.
    lines_into = {a.dst: a.lines for a in arrows}
    gap_of = {b.name: 24 + CHAR * max((len(t) for t in lines_into.get(b.name, ())), default=4) for b in boxes}
    rows = [(group, list(run)) for group, run in itertools.groupby(boxes, key=lambda b: b.group)]
    place: dict[str, tuple[float, float]] = {}
    body: list[str] = []
    row, high, left = 118, 54, 20.0
    full = max(sum(width_of[b.name] + gap_of[b.name] for b in run) for _, run in rows) + 3 * left + 60
    for r, (group, run) in enumerate(rows):
        x, y = left, 26.0 + row * r
        body += [
            f'<rect x="8" y="{y - 18:.0f}" width="{full - 8:.0f}" height="{row - 14}" rx="6" fill="{PALE}"/>',
            _text(24, y - 4, group, bold=True),
        ]
        for b in run:
            x += gap_of[b.name]
            place[b.name] = (x, y + 12)
            x += width_of[b.name]
    for a in arrows:
        body += _arrow(a, place, width_of, high, full)
    for b in boxes:
        x, y = place[b.name]
        body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width_of[b.name]:.1f}" height="{high}" rx="4" '
            f'fill="{PAPER}" stroke="{INK}"/>'
        )
        body.append(_text(x + 8, y + 15, b.name, bold=True))
        body += [_text(x + 8, y + 30 + 14 * i, t, fill=SOFT) for i, t in enumerate(b.lines[:2])]
    return _svg(full + 8, row * len(rows) + 4, title, body)


def _arrow(
    a: Arrow, place: dict[str, tuple[float, float]], width_of: dict[str, float], high: int, full: float
) -> list[str]:
    """One stream: straight to a right neighbour, around the row's end to a later row."""
    end = place.get(a.dst)
    start = place.get(a.src)
    line = f'fill="none" stroke="{INK}" stroke-width="1.3" marker-end="url(#arrow)"'
    if end is None:  # leaves the design
        assert start is not None
        x, y = start[0] + width_of[a.src], start[1] + high / 2
        path, label = f"M{x:.1f},{y:.1f} h46", (x + 4, y - 5, "start")
    elif start is None or start[1] != end[1]:
        x, y = end[0], end[1] + high / 2
        label = (x - 10, y - 5, "end")
        if start is None:
            path = f"M16,{y:.1f} L{x:.1f},{y:.1f}"
        else:
            sx, sy = start[0] + width_of[a.src], start[1] + high
            turn = end[1] - 36
            path = f"M{sx - 12:.1f},{sy:.1f} V{turn:.1f} H14 V{y:.1f} H{x:.1f}"
    else:
        x0, x1, y = start[0] + width_of[a.src], end[0], end[1] + high / 2
        path, label = f"M{x0:.1f},{y:.1f} L{x1:.1f},{y:.1f}", ((x0 + x1) / 2, y - 5, "middle")
    x, y, anchor = label
    texts = [_text(x, y + (17 if i else 0), t, anchor, 10, SOFT) for i, t in enumerate(a.lines[:2])]
    return [f'<path d="{path}" {line}/>', *texts]
