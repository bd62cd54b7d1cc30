"""Small SVG figures from plain numbers: bars and a timeline; in shades of grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, SOFT, PAPER, PALE = "#1a1a1a", "#6b6b6b", "#ffffff", "#e4e9ee"
SHRINK = 0.8  # a figure wider than the page shrinks to this, then it scrolls


def width(text: str, size: int = 11, bold: bool = False) -> float:
    """Width of a text in px, as an upper bound for usual sans-serif fonts: labels must not run into each other."""
    return len(text) * size * (0.7 if bold else 0.6)


def label(
    x: float, y: float, text: str, anchor: str = "start", size: int = 11, fill: str = INK, bold: bool = False
) -> str:
    """One line of text; y is its base line."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{weight}>'
        f"{escape(text)}</text>"
    )


def canvas(wide: float, high: float, title: str, body: Sequence[str]) -> str:
    """The <svg> element around `body`, with the hatch and the arrow head that figures use."""
    defs = (
        '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        f'<rect width="5" height="5" fill="{PAPER}"/><line x1="0" y1="0" x2="0" y2="5" stroke="{INK}" '
        'stroke-width="1.6"/></pattern><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" '
        'markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {wide:.0f} {high:.0f}" '
        f'width="{wide:.0f}" style="max-width:100%;min-width:{SHRINK * wide:.0f}px;height:auto" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{defs}{"".join(body)}</svg>'
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


def number(value: float) -> str:
    """Thousands apart, no decimals."""
    return f"{value:,.0f}".replace(",", " ")


def _axis(left: float, scale: float, marks: Sequence[float], top: float, bottom: float) -> list[str]:
    """Grid lines from `top` to `bottom` with their values below, and above where the figure is high."""
    lines, at = [], [bottom + 15, *([top - 5] if bottom - top > 400 else [])]
    for m in marks:
        x = left + m * scale
        lines.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{PALE}"/>')
        lines += [label(x, y, f"{m:,g}".replace(",", " "), "middle", fill=SOFT) for y in at]
    return lines


@dataclass(frozen=True, slots=True)
class Pair:
    """An estimate and a synthesis result of one thing; either may be missing."""

    label: str
    estimated: float | None
    synthesized: float | None


def paired_bars(title: str, unit: str, pairs: Sequence[Pair]) -> str:
    """Horizontal bars, hatched for the estimate, solid for synthesis, with the error beside them."""
    left = 20 + max(width(p.label) for p in pairs)
    right, plot, thick = 12 + max(width(pair_note(p)) for p in pairs), 520.0, 10
    both = any(p.estimated is not None for p in pairs) and any(p.synthesized is not None for p in pairs)
    row = 2 * thick + 10 if both else thick + 10
    marks = ticks(max([v for p in pairs for v in (p.estimated, p.synthesized) if v is not None] or [1]))
    scale = plot / marks[-1]
    top, bottom = 42, 46 + row * len(pairs)
    body = _axis(left, scale, marks, top, bottom)
    body += [
        label(left + plot / 2, bottom + 32, unit, "middle", fill=SOFT),
        f'<rect x="{left}" y="6" width="22" height="11" fill="url(#hatch)" stroke="{INK}"/>',
        label(left + 28, 16, "estimated"),
        f'<rect x="{left + 110}" y="6" width="22" height="11" fill="{INK}"/>',
        label(left + 138, 16, "synthesized"),
    ]
    for i, p in enumerate(pairs):
        y = top + 6 + row * i
        text_y = y + (thick + 4 if both else thick - 1)
        body.append(label(left - 8, text_y, p.label, "end"))
        for value, dy, fill in ((p.estimated, 0, "url(#hatch)"), (p.synthesized, thick if both else 0, INK)):
            if value is not None:
                body.append(
                    f'<rect x="{left}" y="{y + dy}" width="{max(value * scale, 0.5):.1f}" height="{thick}" '
                    f'fill="{fill}" stroke="{INK}" stroke-width="0.8"/>'
                )
        end = left + max(p.estimated or 0, p.synthesized or 0) * scale + 8
        body.append(label(end, text_y, pair_note(p), fill=SOFT))
    return canvas(left + plot + right, bottom + 38, title, body)


def pair_note(p: Pair) -> str:
    """'900 / 950 (-5.3 %)', or the one that is there."""
    if p.synthesized is None:
        return f"{number(p.estimated or 0)} estimated"
    if p.estimated is None:
        return f"{number(p.synthesized)}, no estimate"
    error = f" ({100 * (p.estimated / p.synthesized - 1):+.1f} %)" if p.synthesized else ""
    return f"{number(p.estimated)} / {number(p.synthesized)}{error}"


@dataclass(frozen=True, slots=True)
class Span:
    """When a module sends the first and the last beat of the first frame, in cycles; `group` is its layer."""

    label: str
    first: int
    last: int
    group: str = ""


def timeline(title: str, spans: Sequence[Span], unit: str = "cycles since the first input beat") -> str:
    """A waterfall: one bar a module, from its first to its last beat out; a rule above every new group."""
    left = 20 + max(width(s.label) for s in spans)
    notes = [f"{number(s.first)} to {number(s.last)}" for s in spans]
    plot, row = 560.0, 17
    marks = ticks(max(s.last for s in spans) + 1)
    scale = plot / marks[-1]
    full = left + plot + 16 + max(map(width, notes))
    top, bottom = 20, 24 + row * len(spans)
    body = _axis(left, scale, marks, top, bottom)
    body.append(label(left + plot / 2, bottom + 32, unit, "middle", fill=SOFT))
    for i, (s, note) in enumerate(zip(spans, notes, strict=True)):
        y = top + 2 + row * i
        wide = max((s.last - s.first + 1) * scale, 1.5)
        if i and s.group != spans[i - 1].group:
            body.append(f'<line x1="0" y1="{y}" x2="{full:.1f}" y2="{y}" stroke="{PALE}"/>')
        body += [
            label(left - 8, y + 12, s.label, "end"),
            f'<rect x="{left + s.first * scale:.1f}" y="{y + 4}" width="{wide:.1f}" height="9" fill="{INK}"/>',
            label(left + s.first * scale + wide + 6, y + 12, note, fill=SOFT),
        ]
    return canvas(full, bottom + 38, title, body)
