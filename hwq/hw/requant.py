"""A Step as an integer requantizer y = clip((m * x + b) >> shift), proven equal for every value in range."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwq.dtype import IntArray


@dataclass(frozen=True)
class Requant:
    """m, b: int64 [C]; y = clip((m[c] * x + b[c]) >> shift, y_lo, y_hi), arithmetic shift (floor)."""

    m: IntArray
    b: IntArray
    shift: int
    y_lo: int
    y_hi: int


def requantizer(
    thresholds: IntArray,
    lo: IntArray,
    hi: IntArray,
    offset: int,
    falling: NDArray[np.bool_] | None = None,
    max_shift: int = 24,
) -> Requant | None:
    """The requantizer with the smallest shift that equals the Step `thresholds` on every x in lo..hi, or None.

    thresholds: int64 [C, N] ascending, lo..hi + 1; lo, hi: int64 [C]; falling: bool [C]. A falling channel is solved
    as a rising one of -x (x < T exactly where 1 - T <= -x) and its multiplier negated.

    For a given m and shift a bias exists iff the largest lower bound of b, k * 2^s - m * T_k, stays below the smallest
    upper one, k * 2^s - m * (T_k - 1), over all levels k; both bounds follow from floor((m * T_k + b) / 2^s) >= k and
    floor((m * (T_k - 1) + b) / 2^s) < k, and as the map is monotone they hold for every value between.
    """
    t = np.asarray(thresholds, dtype=np.int64)
    c, n = t.shape
    if falling is not None:
        down = np.asarray(falling, dtype=bool)
        lo, hi = np.broadcast_to(lo, (c,)), np.broadcast_to(hi, (c,))
        mirrored = np.where(down[:, None], 1 - t[:, ::-1], t)
        found = requantizer(mirrored, np.where(down, -hi, lo), np.where(down, -lo, hi), offset, None, max_shift)
        return None if found is None else replace(found, m=np.where(down, -found.m, found.m))
    levels = offset + 1 + np.arange(n, dtype=np.int64)
    lo_, hi_ = np.broadcast_to(lo, (c,))[:, None], np.broadcast_to(hi, (c,))[:, None]
    live = (t > lo_) & (t <= hi_)
    # slope of each channel from its outermost live thresholds
    first = np.argmax(live, axis=1)
    last = n - 1 - np.argmax(live[:, ::-1], axis=1)
    rows = np.arange(c)
    span = (t[rows, last] - t[rows, first]).astype(np.float64)
    slope = np.where(span > 0, (last - first) / np.maximum(span, 1), 1.0 / np.maximum((hi_ - lo_)[:, 0] + 1, 1))
    for shift in range(2, max_shift + 1):
        guess = np.rint(slope * (1 << shift)).astype(np.int64)
        best_m = np.full(c, -1, dtype=np.int64)
        best_b = np.zeros(c, dtype=np.int64)
        for delta in (0, 1, -1, 2, -2):
            m = np.maximum(guess + delta, 0)
            base = levels << shift
            lower = np.where(t <= hi_, base - m[:, None] * t, np.iinfo(np.int64).min).max(axis=1)
            upper = np.where(t > lo_, base - m[:, None] * (t - 1) - 1, np.iinfo(np.int64).max).min(axis=1)
            ok = (lower <= upper) & (best_m < 0)
            floor_b = np.where(lower == np.iinfo(np.int64).min, upper, lower)
            floor_b = np.where(floor_b == np.iinfo(np.int64).max, 0, floor_b)
            best_m[ok], best_b[ok] = m[ok], floor_b[ok]
        if (best_m >= 0).all():
            return Requant(best_m, best_b, shift, offset, offset + n)
    return None
