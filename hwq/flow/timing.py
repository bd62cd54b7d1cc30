"""Measured against promised timing: latency, II, and the cycle in which each stream ends its first frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hwq.flow.builddir import Build
from hwq.flow.harness import Report


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of frame 0 and the steady interval, None if not measured; complaints: differences."""

    latency_cycles: int | None
    ii_cycles: int | None
    complaints: tuple[str, ...]


def measure(build: Build, runs: Sequence[tuple[int, Report]]) -> Timing:
    """Timing of unstalled runs, each started from reset. runs: (number of its first frame, report)."""
    latencies = [r.last_out[0] - r.first_in[0] for _, r in runs]
    gaps = Counter(b - a for _, r in runs for a, b in pairwise(r.last_out[build.settled_after - 1 :]))
    wrong = sorted({v for v in latencies if v != build.latency_cycles})
    complaints = [c for c in (_first_difference(build, start, r) for start, r in runs) if c][:1]
    complaints += [f"latency: expected {build.latency_cycles} cycles, got {v}" for v in wrong]
    complaints += [f"interval: expected {build.ii_cycles} cycles, got {g} ({n} times)"
                   for g, n in sorted(gaps.items()) if g != build.ii_cycles]
    ii = max(gaps, key=lambda g: gaps[g]) if gaps else None
    return Timing((wrong or latencies)[0], ii, tuple(complaints))


def _first_difference(build: Build, start: int, report: Report) -> str:
    """The first stream, in frame then dataflow order, that ended a frame in another cycle than promised."""
    for frame in range(max(len(e) for e in build.ends.values())):
        for s in report.streams:
            promised, seen = build.ends[s.name], s.ends
            if frame >= min(len(promised), len(seen)):
                continue
            got = seen[frame] - report.first_in[0]
            if got != promised[frame]:
                last = build.stream(s.name).beats * build.stream(s.name).lanes - 1
                return (f"layer '{build.layers[s.name]}' stream {s.name} (frame {start + frame}, "
                        f"channel {last}): expected its last beat in cycle {promised[frame]}, got {got}")
    return ""
