"""Pipeline depth (PIPE) of the library modules: pure functions of widths and clock in MHz."""

from __future__ import annotations


def threshold_pipe(n: int, x_bits: int, lanes: int, cf: int, clock_mhz: float) -> int:
    """Stages of hwq_threshold with n thresholds: one per level of its search.

    Merging levels into one stage saves latency but costs LUTs at any clock (the mapper then duplicates comparators).
    """
    return n.bit_length()


def mvu_pipe(simd: int, w_bits: int, w_kind: int, x_bits: int, sf: int, resource: int, clock_mhz: float) -> int:
    """Stages of hwq_mvu: read, dot product, accumulate."""
    return 3
