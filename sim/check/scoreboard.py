"""Compares what a stream carried with what it should have carried, and names the first difference."""

from __future__ import annotations

from collections.abc import Sequence


def first_difference(expected: Sequence[int], got: Sequence[int], beats_per_frame: int,
                     what: str = "value") -> str | None:
    """None if the sequences are equal, else one line: beat, frame, beat in frame, expected and got."""
    for i, (e, g) in enumerate(zip(expected, got, strict=False)):
        if e != g:
            place = f"beat {i} (frame {i // beats_per_frame}, beat {i % beats_per_frame})"
            return f"{place}: {what} expected {_show(e)}, got {_show(g)}"
    if len(expected) == len(got):
        return None
    if len(got) > len(expected):
        extra = _show(got[len(expected)])
        return f"{len(got)} beats, {len(expected)} expected; the first one too many is {extra}"
    return f"{len(got)} beats, {len(expected)} expected"


def _show(value: int) -> str:
    return f"{value} ({value:#x})"
