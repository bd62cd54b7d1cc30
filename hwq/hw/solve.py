"""Solves a system of bounds between event times (the token model), compiled by g++ or in Python, with equal results."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwq.tools.native import shared_library

Times: TypeAlias = "array[int]"  # signed 64-bit: cycles
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Bound:
    """t[to][k] >= t[of][(k // P) * advance + table[k % P]] + delay, P = len(table); a negative index bounds nothing."""

    to: int
    of: int
    advance: int
    table: Int64
    delay: int


def solve(totals: Sequence[int], bounds: Sequence[Bound], held: Sequence[tuple[int, Int64]],
          gates: Sequence[tuple[int, Int64]], *, compiled: bool = True) -> tuple[list[Times], list[int]]:
    """Least times, and how many beats of each event could be timed (fewer than its total: a deadlock).

    held: (event, next): beat k not before next[t[k - 1] + 1]; gates: (event, next): t[k] is moved on to next[t[k]]
    (at most one per event). A `next` table maps a cycle to the first one from there on that is allowed, cycles beyond
    it to themselves.
    """
    library = _library() if compiled else None
    return _python(totals, bounds, held, gates) if library is None else _native(library, totals, bounds, held, gates)


def _python(totals: Sequence[int], bounds: Sequence[Bound], held: Sequence[tuple[int, Int64]],
            gates: Sequence[tuple[int, Int64]]) -> tuple[list[Times], list[int]]:
    t: list[list[int]] = [[] for _ in totals]
    incoming = [[(t[b.of], len(b.table), b.advance, b.table.tolist(), b.delay) for b in bounds if b.to == e]
                for e in range(len(totals))]
    holds = [[table.tolist() for s, table in held if s == e] for e in range(len(totals))]
    gate = {e: table.tolist() for e, table in gates}

    def extend(e: int) -> bool:
        """Time as many beats of event e as the others allow."""
        ts, first = t[e], len(t[e])
        for k in range(first, totals[e]):
            c = ts[-1] + 1 if ts else 0
            for table in holds[e]:
                early = ts[-1] + 1 if ts else 0
                c = max(c, table[early] if early < len(table) else early)
            for of, period, advance, table, delay in incoming[e]:
                i = k // period * advance + table[k % period]
                if i >= len(of):
                    return len(ts) > first
                if i >= 0:
                    c = max(c, of[i] + delay)
            if e in gate and c < len(gate[e]):
                c = gate[e][c]
            ts.append(c)
        return len(ts) > first

    while any([extend(e) for e in range(len(totals))]):
        pass
    return [array("q", ts) for ts in t], [len(ts) for ts in t]


@cache
def _library() -> ctypes.CDLL | None:
    library = shared_library(Path(__file__).with_name("solve.cpp"))
    if library is not None:
        library.hwq_solve.restype = None
    return library


def _native(library: ctypes.CDLL, totals: Sequence[int], bounds: Sequence[Bound], held: Sequence[tuple[int, Int64]],
            gates: Sequence[tuple[int, Int64]]) -> tuple[list[Times], list[int]]:
    t = [array("q", (0,)) * n for n in totals]
    arcs = np.array([(b.to, b.of, b.advance, b.delay, len(b.table), b.table.ctypes.data) for b in bounds],
                    dtype=np.int64).reshape(-1, 6)
    arcs = np.ascontiguousarray(arcs[np.argsort(arcs[:, 0], kind="stable")])
    patterns = np.array([(kind, e, len(table), table.ctypes.data) for kind, group in enumerate((held, gates))
                         for e, table in group], dtype=np.int64).reshape(-1, 4)
    total = np.array(totals, dtype=np.int64)
    out = np.array([a.buffer_info()[0] for a in t], dtype=np.int64)
    done = np.zeros(len(t), dtype=np.int64)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (total, arcs, patterns, out, done)]
    library.hwq_solve(ctypes.c_int64(len(t)), ctypes.c_int64(len(arcs)), ctypes.c_int64(len(patterns)), *pointers)
    return [ts[:n] if n < len(ts) else ts for ts, n in zip(t, done.tolist(), strict=True)], done.tolist()
