"""A requantizer is only used where it equals the thresholds for every value in range."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.hw.requant import requantizer


def count(t: np.ndarray, x: np.ndarray, offset: int) -> np.ndarray:
    return offset + (t[:, None, :] <= x[None, :, None]).sum(axis=2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 63), st.floats(1.1, 40.0), st.integers(-200, 200), st.integers(-8, 8),
       st.integers(0, 2**32 - 1))
def test_requantizer_equals_thresholds_everywhere(channels, n, pitch, start, offset, seed) -> None:
    rng = np.random.default_rng(seed)
    pitches = pitch * rng.uniform(0.5, 1.5, channels)
    starts = start + rng.uniform(-50, 50, channels)
    lo, hi = np.full(channels, -900), np.full(channels, 1100)
    t = np.ceil(starts[:, None] + pitches[:, None] * np.arange(n)).astype(np.int64)
    t = np.clip(t, lo[:, None], hi[:, None] + 1)
    falling = rng.integers(0, 2, channels).astype(bool)
    rq = requantizer(t, lo, hi, offset, falling)
    if rq is None:
        return
    x = np.arange(-900, 1101)
    y = np.clip((rq.m[:, None] * x[None, :] + rq.b[:, None]) >> rq.shift, rq.y_lo, rq.y_hi)
    rising = count(t, x, offset)
    assert np.array_equal(y, np.where(falling[:, None], 2 * offset + n - rising, rising))


def test_evenly_spaced_thresholds_always_find_a_requantizer() -> None:
    t = np.ceil(-100.3 + 7.77 * np.arange(15)).astype(np.int64)[None, :]
    assert requantizer(t, np.array([-500]), np.array([500]), 0) is not None


def test_falling_thresholds_find_a_requantizer_with_a_negative_multiplier() -> None:
    t = np.ceil(-100.3 + 7.77 * np.arange(15)).astype(np.int64)[None, :]
    rq = requantizer(t, np.array([-500]), np.array([500]), 0, np.array([True]))
    assert rq is not None and rq.m[0] < 0


def test_irregular_thresholds_are_refused() -> None:
    t = np.array([[0, 1, 100, 101, 500]])
    assert requantizer(t, np.array([-1000]), np.array([1000]), 0) is None
