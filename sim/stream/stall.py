"""Stall generators, seeded: in which cycles a source may raise TVALID and a sink raises TREADY."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pattern = NDArray[np.bool_]
REGIMES = ("none", "source", "sink", "random")


def stalls(regime: str, cycles: int, seed: int) -> tuple[Pattern, Pattern]:
    """(source, sink) patterns of `cycles` cycles; after its end a pattern counts as always true.

    none: no stalls; source: bubbles before beats; sink: TREADY withheld; random: both. Stalls come alone and
    in bursts: the density changes every 32 cycles, which fills and drains every buffer on the way.
    """
    rng = np.random.default_rng([seed, REGIMES.index(regime)])
    free = np.ones(0 if regime == "none" else cycles, dtype=bool)
    src = _bursts(cycles, rng) if regime in ("source", "random") else free
    snk = _bursts(cycles, rng) if regime in ("sink", "random") else free
    return src, snk


def _bursts(cycles: int, rng: np.random.Generator) -> Pattern:
    density = np.repeat(rng.choice([0.1, 0.5, 0.9, 1.0], size=-(-cycles // 32)), 32)[:cycles]
    return rng.random(cycles) < density
