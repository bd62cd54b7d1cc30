"""Integer thresholds of `quantizer after chain`, each one proven: found by float64 bisection, decided
exactly.

The search runs over an integer index whose values rise: the accumulator itself, or the float32 numbers in
order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.passes.chain import Chain, Floats
from hwq.passes.exact import Number
from hwq.passes.levels import Bound, Levels, reached

IntArray = NDArray[np.int64]
AnyInt = NDArray[Any]  # int64, or Python integers where a range is wider
ToFloat = Callable[[IntArray], Floats]
ToExact = Callable[[int], Fraction]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """y = offset + count(t <= x), or offset + N - count where falling; t int64 [C, N] ascending; lo, hi:
    range of y.
    """

    t: IntArray
    falling: NDArray[np.bool_]
    offset: int
    lo: tuple[int, ...]
    hi: tuple[int, ...]


def find(
    chain: Chain,
    q: Levels,
    lo: AnyInt,
    hi: AnyInt,
    to_float: ToFloat = lambda x: x.astype(np.float64),
    to_exact: ToExact = Fraction,
) -> Thresholds:
    """Thresholds of every channel over the index range lo..hi (int64 [C]); a threshold lies in lo..hi + 1.

    The chain must be monotone in every channel. Each threshold T is checked on both sides in exact
    arithmetic: level k is not reached at T - 1 and is reached at T; where float64 was wrong, an exact
    bisection replaces
    it.
    """
    if chain.channels == 1 and len(q.bounds) == 1:  # one function: search once over the widest range
        t, falling = _search(chain, q, lo.min(keepdims=True), hi.max(keepdims=True), to_float, to_exact)
        return trim(np.clip(t, lo[:, None], hi[:, None] + 1), np.repeat(falling, len(lo)), q.y0, lo, hi)
    return trim(*_search(chain, q, lo, hi, to_float, to_exact), q.y0, lo, hi)


def _search(
    chain: Chain, q: Levels, lo: IntArray, hi: IntArray, to_float: ToFloat, to_exact: ToExact
) -> tuple[IntArray, NDArray[np.bool_]]:
    """(t int64 [C, N], falling bool [C]) of every boundary of the quantizer."""
    polarity = [chain.polarity(c) for c in range(len(lo))]
    falling = np.array([p == -1 for p in polarity])
    t = _bisect(chain, q, lo, hi, falling, to_float)
    for c, p in enumerate(polarity):
        row = q.row(c)[::-1] if falling[c] else q.row(c)
        passed = _predicate(chain, c, row, bool(falling[c]), to_exact)
        low, high = int(lo[c]), int(hi[c])
        for k in range(q.n):
            if p == 0:
                t[c, k] = low if passed(low, k) else high + 1
                continue
            x = int(t[c, k])
            right = (x == low or not passed(x - 1, k)) and (x == high + 1 or passed(x, k))
            if not right:
                t[c, k] = _exact_bisect(passed, k, low, high)
    return t, falling


def _predicate(
    chain: Chain, c: int, row: tuple[Bound, ...], falling: bool, to_exact: ToExact
) -> Callable[[int, int], bool]:
    """passed(x, k): exactly, is boundary k of the row reached at index x (falling: no longer reached)."""
    values: dict[int, Number] = {}

    def passed(x: int, k: int) -> bool:
        if x not in values:
            values[x] = chain.exact(to_exact(x), c)
        return reached(values[x], row[k]) != falling

    return passed


def _bisect(
    chain: Chain, q: Levels, lo: IntArray, hi: IntArray, falling: NDArray[np.bool_], to_float: ToFloat
) -> IntArray:
    """Float64 candidates int64 [C, N] for the first index that passes each boundary (hi + 1: never)."""
    bounds = np.broadcast_to(q.floats(), (len(lo), q.n)).copy()
    bounds[falling] = bounds[falling, ::-1]
    a = np.repeat(lo[:, None], q.n, axis=1)
    b = np.repeat(hi[:, None] + 1, q.n, axis=1)
    while np.any(a < b):
        mid = a + (b - a) // 2
        y = chain.floats(to_float(np.minimum(mid, hi[:, None])))
        hit = np.where(falling[:, None], y < bounds, y >= bounds)
        b = np.where((a < b) & hit, mid, b)
        a = np.where((a < b) & ~hit, mid + 1, a)
    return a


def _exact_bisect(passed: Callable[[int, int], bool], k: int, lo: int, hi: int) -> int:
    hi += 1
    while lo < hi:
        mid = (lo + hi) // 2
        if passed(mid, k):
            hi = mid
        else:
            lo = mid + 1
    return lo


def trim(t: IntArray, falling: NDArray[np.bool_], y0: int, lo: IntArray, hi: IntArray) -> Thresholds:
    """Thresholds without the levels no channel reaches, from both ends; at least one threshold stays."""
    n = t.shape[1]
    first, last = (t <= lo[:, None]).sum(axis=1), (t <= hi[:, None]).sum(axis=1)
    ymin = np.where(falling, n - last, first)
    ymax = np.where(falling, n - first, last)
    low, high = int(ymin.min()), int(ymax.max())
    if low == high:  # a constant: keep the level above (or below), which is never reached
        low, high = (low, high + 1) if high < n else (low - 1, high)
    kept = np.where(falling[:, None], t[:, ::-1][:, low:high][:, ::-1], t[:, low:high])
    return Thresholds(
        np.ascontiguousarray(kept),
        falling,
        y0 + low,
        tuple((y0 + ymin).tolist()),
        tuple((y0 + ymax).tolist()),
    )
