"""Passes: Graph -> Graph. `lower` runs those of `PASSES` in order, from stage `real` to stage `int`."""

from __future__ import annotations

from collections.abc import Callable

from hwq.ir.graph import Graph
from hwq.ir.verify import verify
from hwq.passes.dead import note_dead
from hwq.passes.lower import to_integers
from hwq.passes.orders import absorb_orders

PASSES: tuple[Callable[[Graph], Graph], ...] = (to_integers, absorb_orders, note_dead)


def lower(graph: Graph) -> Graph:
    """Graph(real) -> Graph(int); every pass's result is verified. Raises UnsupportedOp and VerifyError."""
    verify(graph)
    for step in PASSES:
        graph = step(graph)
        verify(graph)
    return graph


__all__ = ["PASSES", "absorb_orders", "lower", "note_dead", "to_integers"]
