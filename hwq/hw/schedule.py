"""The token model: in which cycle every beat of every stream moves, exactly as the RTL does it.

Each library module obeys one timing class (docs/architecture.md, "Timing classes"). A class is a list of arcs, each
a lower bound of one event by another: beat k of stream `to` moves at least `delay` cycles after beat

    (k // period) * advance + table[k % period]

of stream `of` (no bound where that is negative). Beats of one stream move in different cycles, so that

    t[k] = max(bounds of all arcs, t[k - 1] + 1)

and as every bound depends on earlier beats only, the whole network is solved by extending one list per stream. That
is done by `solve.cpp` where a compiler is there, else by the same few lines in Python (hwq.hw.solve).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwq.errors import CheckFailed
from hwq.hw.solve import Bound, Times, solve
from hwq.hw.window import Window, complete, dead, need, real_steps, scan

Pattern = NDArray[np.bool_]
Patterns = Mapping[int, Pattern | Sequence[Pattern]]

FREE = -(1 << 60)  # table entry: no bound


@dataclass(frozen=True, slots=True)
class Timing:
    """Timing class and its numbers. kind: wire | fifo | pipe | reduce | replay | up | down | window | slide | concat |
    spread.

    d: pipeline depth (pipe, reduce); n: beats per group (reduce), sequence length (replay), ratio (up, down), beats
    of a window in one pass (slide), beats of the first input a turn (concat); m: beats that come out of a group, its
    last ones (reduce), beats of the second input a turn (concat); passes: times a sequence is sent (replay); depth:
    beats held (fifo, replay, window); window: its geometry (spread: size, out, and the factors as stride).
    """

    kind: str
    d: int = 0
    n: int = 1
    passes: int = 1
    depth: int = 0
    m: int = 1
    window: Window | None = None

    @property
    def geometry(self) -> Window:
        if self.window is None:
            raise ValueError("a window class needs its geometry")
        return self.window

    def beats_out(self, beats_in: int) -> int:
        """Beats that come out for `beats_in` (whole groups; of all inputs together) going in."""
        match self.kind:
            case "reduce":
                return beats_in // self.n * self.m
            case "up":
                return beats_in // self.n
            case "replay":
                return beats_in * self.passes
            case "down":
                return beats_in * self.n
            case "window":
                w = self.geometry
                return beats_in // w.frame_beats * w.windows * w.window_beats
            case "slide":
                w = self.geometry
                return beats_in // w.frame_beats * w.windows * self.n * w.passes
            case "spread":
                w = self.geometry
                return beats_in // w.frame_beats * w.windows * w.chunks
            case _:
                return beats_in

    def steps(self, beats_in: int) -> int:
        """Steps of the scan (slide) in which `beats_in` come in."""
        if self.kind != "slide":
            return 0
        rows, cols = scan(self.geometry)
        return beats_in // self.geometry.frame_beats * rows * cols


@dataclass(frozen=True, slots=True)
class Node:
    """A module in the token model: name for messages, timing, stream(s) fed by and stream fed (indices).

    Streams that a wire, fork or join connects are one stream (merge), which then has several producers or consumers.
    """

    name: str
    timing: Timing
    src: int | tuple[int, ...]
    dst: int

    @property
    def sources(self) -> tuple[int, ...]:
        return self.src if isinstance(self.src, tuple) else (self.src,)


# ---- timing classes as arcs ----------------------------------------------------------------------

# Ends of an arc: input(s), beats between two stages (as many as come in: INNER, or go out: INNER_OUT), steps of a scan,
# output
IN, IN2, INNER, INNER_OUT, STEP, OUT = range(6)


@dataclass(frozen=True, slots=True)
class Arc:
    """Beat k of `to` moves at least `delay` after beat (k // period) * advance + table[k % period] of `of`."""

    to: int
    of: int
    advance: int
    table: tuple[int, ...] | NDArray[np.int64]
    delay: int


@lru_cache(maxsize=256)
def arcs(tm: Timing) -> tuple[Arc, ...]:
    """The timing class as arcs between its ends. Raises ValueError for an unknown class."""
    n, m, d, depth = tm.n, tm.m, tm.d, tm.depth
    match tm.kind:
        case "fifo":
            return Arc(OUT, IN, 1, (0,), 1), Arc(IN, OUT, 1, (-depth,), 1)
        case "pipe":
            return Arc(OUT, IN, 1, (0,), d), Arc(IN, OUT, 1, (-d,), 0)
        case "reduce":
            # The last m of n beats go to the output register, which the beat before them must have left.
            register = (FREE,) * (n - m) + tuple(range(-1, m - 1))
            last = tuple(range(n - m, n))
            if d == 1:
                return Arc(OUT, IN, n, last, 1), Arc(IN, OUT, m, register, 0)
            # INNER: a beat leaves stage d - 1, into the accumulator or the output register
            return (
                Arc(INNER, IN, 1, (0,), d - 1),
                Arc(IN, INNER, 1, (1 - d,), 0),
                Arc(OUT, INNER, n, last, 1),
                Arc(INNER, OUT, m, register, 0),
            )
        case "replay":
            frame = n * tm.passes
            i = np.arange(n) - depth
            sent = i // n * frame + frame - n + i % n
            return Arc(OUT, IN, n, np.arange(frame) % n, 1), Arc(IN, OUT, frame, sent, 1)
        case "up":
            return Arc(OUT, IN, n, (n - 1,), 1), Arc(IN, OUT, 1, (-1,) + (FREE,) * (n - 1), 0)
        case "down":
            return Arc(OUT, IN, 1, (0,) * n, 1), Arc(IN, OUT, n, (-1,), 0)
        case "window":
            w = tm.geometry
            frame_out = w.windows * w.window_beats
            needed = need(w)
            frames, i = np.divmod(np.arange(w.frame_beats) - depth, w.frame_beats)
            released = frames * frame_out + dead(w)[i] - 1
            return (
                Arc(OUT, IN, w.frame_beats, np.where(needed < 0, FREE, needed), 1),
                Arc(IN, OUT, frame_out, released, 1),
            )
        case "slide":
            # A real step takes a beat in. A step waits until the window completed before it has gone on: into the
            # register of windows, which the window before that one must have left, or out if there is no register.
            w = tm.geometry
            rows, cols = scan(w)
            done, place = complete(w), real_steps(w)
            beats = n * w.passes
            held = int(beats > 1)
            real = np.full(rows * cols, FREE, dtype=np.int64)
            real[place] = np.arange(w.frame_beats)
            waits = (np.searchsorted(done, np.arange(rows * cols)) - held) * beats - 1
            return (
                Arc(STEP, IN, w.frame_beats, real, 0),
                Arc(OUT, STEP, rows * cols, np.repeat(done, beats), 1 + held),
                Arc(STEP, OUT, w.windows * beats, waits, 0),
                Arc(IN, STEP, rows * cols, place - 1, 1),
                Arc(IN, OUT, w.windows * beats, waits[place], 0),
            )
        case "concat":
            first, second = tuple(range(n)), tuple(range(m))
            return (
                Arc(OUT, IN, n, first + (FREE,) * m, 1),
                Arc(OUT, IN2, m, (FREE,) * n + second, 1),
                Arc(IN, OUT, n + m, tuple(range(-2, n - 2)), 1),
                Arc(IN2, OUT, n + m, tuple(range(n - 2, n + m - 2)), 1),
                Arc(IN, IN2, m, (-1,) + (FREE,) * (n - 1), 1),
                Arc(IN2, IN, n, (n - 1,) + (FREE,) * (m - 1), 1),
            )
        case "spread":
            # INNER_OUT: a beat enters the register slice, as it comes in or made up in between
            w = tm.geometry
            frame_out = w.windows * w.chunks
            table = np.full((*w.out, w.chunks), FREE, dtype=np.int64)
            table[:: w.stride[0], :: w.stride[1]] = np.arange(w.frame_beats).reshape(*w.size, w.chunks)
            real = table.reshape(-1)
            place = np.flatnonzero(real >= 0)
            return (
                Arc(INNER_OUT, IN, w.frame_beats, real, 0),
                Arc(OUT, INNER_OUT, 1, (0,), 1),
                Arc(INNER_OUT, OUT, 1, (-2,), 1),
                Arc(IN, INNER_OUT, frame_out, place - 1, 1),
                Arc(IN, OUT, frame_out, place - 2, 1),
            )
        case "wire":
            raise ValueError("wires are merged, not modelled")
        case _:
            raise ValueError(f"unknown timing class '{tm.kind}'")


# ---- networks ------------------------------------------------------------------------------------


def run_net(
    nodes: Sequence[Node],
    streams: int,
    beats: Mapping[int, int],
    src_valid: Patterns | None = None,
    snk_ready: Patterns | None = None,
    names: Sequence[str] | None = None,
    *,
    compiled: bool = True,
) -> list[Times]:
    """Cycle of every beat on every stream.

    nodes: modules in topological order; streams: how many; beats: boundary input stream -> beats offered.
    src_valid[s][c] true: the source may raise TVALID in cycle c (it then holds); snk_ready[s][c]: the sink's TREADY in
    cycle c. Beyond a pattern's end and without one, always true; where several sources or sinks share a merged stream,
    a sequence of patterns. Raises CheckFailed with the cycle of waiting streams if the network deadlocks.
    """
    totals = [beats.get(s, -1) for s in range(streams)]
    bounds: list[Bound] = []
    labels = list(names) if names is not None else [str(s) for s in range(streams)]
    for node in nodes:
        ends = {IN: node.sources[0], IN2: node.sources[-1], OUT: node.dst}
        incoming = sum(totals[s] for s in node.sources)
        out = node.timing.beats_out(incoming)
        if totals[node.dst] not in (-1, out):
            raise CheckFailed(f"stream '{labels[node.dst]}' joins {totals[node.dst]} beats with {out} of '{node.name}'")
        totals[node.dst] = out
        for arc in arcs(node.timing):
            for inner, count in ((INNER, incoming), (INNER_OUT, out), (STEP, node.timing.steps(incoming))):
                if inner in (arc.to, arc.of) and inner not in ends:
                    ends[inner] = len(totals)
                    totals.append(count)
                    labels.append(f"{node.name}, inside")
            table = np.asarray(arc.table, dtype=np.int64)
            bounds.append(Bound(ends[arc.to], ends[arc.of], arc.advance, table, arc.delay))
    held = [(s, _next_true(p)) for s, ps in (src_valid or {}).items() for p in _each(ps)]
    gates = [(s, _next_true(_all(_each(ps)))) for s, ps in (snk_ready or {}).items()]
    t, done = solve(totals, bounds, held, gates, compiled=compiled)
    if done != totals:
        raise CheckFailed(_blocked(t, done, totals, bounds, labels))
    return t[:streams]


def run_chain(
    timings: Sequence[Timing],
    beats: int,
    src_valid: Pattern | None = None,
    snk_ready: Pattern | None = None,
    *,
    compiled: bool = True,
) -> list[Times]:
    """Modules in a row: times on the input, between the modules, and on the output (len(timings) + 1 streams)."""
    nodes = [Node(f"m{i}", tm, i, i + 1) for i, tm in enumerate(timings)]
    last = len(timings)
    return run_net(
        nodes,
        last + 1,
        {0: beats},
        {} if src_valid is None else {0: src_valid},
        {} if snk_ready is None else {last: snk_ready},
        compiled=compiled,
    )


def merge(streams: int, wires: Sequence[Sequence[int]]) -> list[int]:
    """Stream -> index of its class, where each wire (fork, join, edge) makes one of all streams it touches."""
    root = list(range(streams))

    def find(s: int) -> int:
        while root[s] != s:
            root[s] = root[root[s]]
            s = root[s]
        return s

    for group in wires:
        for s in group[1:]:
            a, b = find(group[0]), find(s)
            root[max(a, b)] = min(a, b)
    order = {r: i for i, r in enumerate(sorted({find(s) for s in range(streams)}))}
    return [order[find(s)] for s in range(streams)]


def _each(patterns: Pattern | Sequence[Pattern]) -> Sequence[Pattern]:
    return [patterns] if isinstance(patterns, np.ndarray) else patterns


def _all(patterns: Sequence[Pattern]) -> Pattern:
    """The cycles in which all are true, as one pattern."""
    both = np.ones(max((len(p) for p in patterns), default=0), dtype=bool)
    for p in patterns:
        both[: len(p)] &= p
    return both


def _next_true(bits: Pattern) -> NDArray[np.int64]:
    """For each cycle of the pattern and the one behind it: the first cycle from there on in which it is true."""
    n = len(bits)
    cycle = np.append(np.where(bits, np.arange(n), n), n).astype(np.int64)
    return np.minimum.accumulate(cycle[::-1])[::-1].copy()


def _blocked(
    t: Sequence[Times], done: Sequence[int], totals: Sequence[int], bounds: Sequence[Bound], labels: Sequence[str]
) -> str:
    """The cycle of streams that wait for each other: from a blocked one to what it waits for, until one repeats."""

    def waits_for(s: int) -> int | None:
        for b in bounds:
            if b.to == s:
                i = done[s] // len(b.table) * b.advance + int(b.table[done[s] % len(b.table)])
                if i >= done[b.of]:
                    return b.of
        return None

    def beat(s: int) -> str:
        return f"{labels[s]} (beat {done[s]} of {totals[s]})"

    s: int | None = next(i for i, total in enumerate(totals) if done[i] < total)
    trail: list[int] = []
    while s is not None and s not in trail and done[s] < totals[s]:
        trail.append(s)
        s = waits_for(s)
    if s in trail:
        ring = [*trail[trail.index(s) :], s]
        return "the design deadlocks; each waits for the next: " + " -> ".join(beat(i) for i in ring)
    last = trail[-1]
    ends = "" if s is None else f"; {labels[s]} ends after {totals[s]} beats"
    return f"the design starves; blocked: {beat(last)}{ends}"
