"""The token model: in which cycle every beat of every stream moves, exactly as the RTL does it.

Each library module obeys one timing class (docs/architecture.md, "Timing classes"). A class is two bounds: the first
cycle in which beat k can be offered (TVALID) and the first in which it can be taken (TREADY). A beat moves in

    t[k] = max(offered(k), takable(k), t[k - 1] + 1)

and every bound depends on earlier beats only, so the whole network is solved by extending one list per stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import CheckFailed
from hwq.hw.window import Window, dead, need

Times = list[int]
Bound = Callable[[int], int | None]  # beat index -> first cycle, or None while an earlier beat is not known yet


@dataclass(frozen=True, slots=True)
class Timing:
    """Timing class and its numbers. kind: wire | fifo | pipe | reduce | replay | up | down | window.

    d: pipeline depth (pipe, reduce); n: beats per group (reduce), sequence length (replay), ratio (up, down);
    passes: times a sequence is sent (replay); depth: beats held (fifo, replay, window); window: its geometry.
    """

    kind: str
    d: int = 0
    n: int = 1
    passes: int = 1
    depth: int = 0
    window: Window | None = None

    def beats_out(self, beats_in: int) -> int:
        """Beats that come out for `beats_in` (whole groups) going in."""
        match self.kind:
            case "reduce" | "up":
                return beats_in // self.n
            case "replay":
                return beats_in * self.passes
            case "down":
                return beats_in * self.n
            case "window":
                assert self.window is not None
                return beats_in // self.window.frame_beats * self.window.windows * self.window.window_beats
            case _:
                return beats_in


@dataclass(frozen=True, slots=True)
class Node:
    """A module in the token model: name for messages, timing, stream fed by and stream fed (indices)."""

    name: str
    timing: Timing
    src: int
    dst: int


def _bounds(timing: Timing, tin: Times, tout: Times) -> tuple[Bound, Bound, list[Times]]:
    """(offered on the output, takable on the input, inner time lists) of one module. Inner lists extend themselves."""
    n, d, depth = timing.n, timing.d, timing.depth
    match timing.kind:
        case "wire":
            raise ValueError("wires are merged, not modelled")
        case "fifo":
            def offer(k: int) -> int | None:
                return tin[k] + 1 if k < len(tin) else None

            def take(k: int) -> int | None:
                return 0 if k < depth else tout[k - depth] + 1 if k - depth < len(tout) else None
        case "pipe":
            def offer(k: int) -> int | None:
                return tin[k] + d if k < len(tin) else None

            def take(k: int) -> int | None:
                return 0 if k < d else tout[k - d] if k - d < len(tout) else None
        case "reduce":
            # x[k]: cycle in which beat k leaves stage d - 1, into the accumulator or (last of n) the output register
            x: Times = []

            def leave(k: int) -> int | None:
                while len(x) <= k:
                    j = len(x)
                    if j >= len(tin):
                        return None
                    t = tin[j] + d - 1
                    if x:
                        t = max(t, x[-1] + 1)
                    if j % n == n - 1 and j >= n:
                        if j // n - 1 >= len(tout):
                            return None
                        t = max(t, tout[j // n - 1])
                    x.append(t)
                return x[k]

            def offer(k: int) -> int | None:
                t = leave(k * n + n - 1)
                return None if t is None else t + 1

            def take(k: int) -> int | None:
                if d == 1:  # straight into the accumulator; only a last beat can wait, for the output register
                    if k % n != n - 1 or k < n:
                        return 0
                    return tout[k // n - 1] if k // n - 1 < len(tout) else None
                return 0 if k < d - 1 else leave(k - d + 1)
        case "replay":
            frame = n * timing.passes

            def offer(k: int) -> int | None:
                i = k // frame * n + k % n
                return tin[i] + 1 if i < len(tin) else None

            def take(k: int) -> int | None:
                if k < depth:
                    return 0
                i = k - depth
                j = i // n * frame + frame - n + i % n
                return tout[j] + 1 if j < len(tout) else None
        case "up":
            def offer(k: int) -> int | None:
                i = k * n + n - 1
                return tin[i] + 1 if i < len(tin) else None

            def take(k: int) -> int | None:
                if k % n or k == 0:
                    return 0
                return tout[k // n - 1] if k // n - 1 < len(tout) else None
        case "down":
            def offer(k: int) -> int | None:
                return tin[k // n] + 1 if k // n < len(tin) else None

            def take(k: int) -> int | None:
                j = k * n - 1
                return 0 if k == 0 else tout[j] if j < len(tout) else None
        case "window":
            w = timing.window
            assert w is not None
            frame_in, frame_out = w.frame_beats, w.windows * w.window_beats
            needs, deads = need(w).tolist(), dead(w).tolist()

            def offer(k: int) -> int | None:
                f, j = divmod(k, frame_out)
                if needs[j] < 0:
                    return 0
                i = f * frame_in + needs[j]
                return tin[i] + 1 if i < len(tin) else None

            def take(k: int) -> int | None:
                f, i = divmod(k - depth, frame_in)
                j = f * frame_out + deads[i] - 1
                return 0 if j < 0 else tout[j] + 1 if j < len(tout) else None
        case _:
            raise ValueError(f"unknown timing class '{timing.kind}'")
    return offer, take, []


def _pattern(bits: NDArray[np.bool_] | Sequence[bool] | None) -> Callable[[int], int]:
    """next_true(c): the first cycle >= c in which the pattern is true; beyond its end it always is."""
    if bits is None:
        return lambda c: c
    b = np.asarray(bits, dtype=bool)
    nxt = np.empty(len(b) + 1, dtype=np.int64)
    nxt[len(b)] = len(b)
    for i in range(len(b) - 1, -1, -1):
        nxt[i] = i if b[i] else nxt[i + 1]
    return lambda c: int(nxt[c]) if c < len(b) else c


def _source(ts: Times, nxt: Callable[[int], int]) -> Bound:
    """When a source that may raise TVALID in the cycles of a pattern offers its next beat."""
    return lambda k: nxt(ts[-1] + 1 if ts else 0)


def run_net(nodes: Sequence[Node], streams: int, beats: Mapping[int, int],
            src_valid: Mapping[int, NDArray[np.bool_]] | None = None,
            snk_ready: Mapping[int, NDArray[np.bool_]] | None = None,
            names: Sequence[str] | None = None) -> list[Times]:
    """Cycle of every beat on every stream.

    nodes: modules; streams: how many; beats: boundary input stream -> beats offered. src_valid[s][c] true: the source
    may raise TVALID in cycle c (it then holds); snk_ready[s][c]: the sink's TREADY in cycle c. Beyond a pattern's end
    and without one, always true. Raises CheckFailed naming the blocked streams if the network deadlocks.
    """
    t: list[Times] = [[] for _ in range(streams)]
    total = [0] * streams
    offer: list[Bound | None] = [None] * streams
    take: list[Bound | None] = [None] * streams
    for s, count in beats.items():
        total[s] = count
        nxt = _pattern((src_valid or {}).get(s))
        offer[s] = _source(t[s], nxt)
    for node in nodes:  # topological
        o, i, _ = _bounds(node.timing, t[node.src], t[node.dst])
        offer[node.dst], take[node.src] = o, i
        total[node.dst] = node.timing.beats_out(total[node.src])
    sink_next = {s: _pattern((snk_ready or {}).get(s)) for s in range(streams) if take[s] is None}

    pending = list(range(streams))
    while pending:
        moved = False
        for s in pending:
            ts, n, off, tk = t[s], total[s], offer[s], take[s]
            ready = sink_next.get(s)
            assert off is not None
            while (k := len(ts)) < n:
                a = off(k)
                if a is None:
                    break
                b = 0 if tk is None else tk(k)
                if b is None:
                    break
                c = a if a > b else b
                if k and ts[-1] >= c:
                    c = ts[-1] + 1
                ts.append(c if ready is None else ready(c))
                moved = True
        pending = [s for s in pending if len(t[s]) < total[s]]
        if pending and not moved:
            label = names or [str(s) for s in range(streams)]
            stuck = ", ".join(f"{label[s]} (beat {len(t[s])} of {total[s]})" for s in pending)
            raise CheckFailed(f"the design deadlocks; blocked streams: {stuck}")
    return t


def run_chain(timings: Sequence[Timing], beats: int, src_valid: NDArray[np.bool_] | None = None,
              snk_ready: NDArray[np.bool_] | None = None) -> list[Times]:
    """Modules in a row: times on the input, between the modules, and on the output (len(timings) + 1 lists)."""
    nodes = [Node(f"m{i}", tm, i, i + 1) for i, tm in enumerate(timings)]
    last = len(timings)
    return run_net(nodes, last + 1, {0: beats}, {} if src_valid is None else {0: src_valid},
                   {} if snk_ready is None else {last: snk_ready})
