"""Latency and initiation interval, from the cycles in which beats moved."""

from __future__ import annotations

from collections.abc import Sequence


def latency_cycles(t_in: Sequence[int], t_out: Sequence[int], beats_in: int, beats_out: int) -> int:
    """First beat in to last beat out of the first frame of an unstalled run."""
    return t_out[beats_out - 1] - t_in[0]


def ii_cycles(t_out: Sequence[int], beats_out: int) -> int:
    """Steady state: distance of the last beats of the last two frames. Needs at least two frames."""
    return t_out[-1] - t_out[-1 - beats_out]
