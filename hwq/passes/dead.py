"""Say which channels do nothing: outputs that never change, inputs whose weights are all zero."""

from __future__ import annotations

import numpy as np

from hwq.ir import ops
from hwq.ir.graph import Graph, Node


def note_dead(graph: Graph) -> Graph:
    """The same graph with a note per layer that holds dead channels. Running it twice adds nothing."""
    notes = [note for n in graph.nodes for note in _notes(graph, n)]
    return graph.replace(notes=(*graph.notes, *(n for n in notes if n not in graph.notes)))


def _notes(graph: Graph, n: Node) -> list[str]:
    t = graph.tensor(n.outputs[0])
    found = []
    if isinstance(n.op, ops.Step | ops.Table):
        stuck = [c for c, (lo, hi) in enumerate(zip(t.lo, t.hi, strict=True)) if lo == hi]
        if stuck:
            found.append(f"layer '{n.name}': {len(stuck)} of {t.channels} outputs never change ({_some(stuck)})")
    if isinstance(n.op, ops.MatVec):
        w = graph.array(n.op.weight)
        zero = np.nonzero(~w.any(axis=0))[0].tolist()
        if zero:
            found.append(f"layer '{n.name}': {len(zero)} of {w.shape[1]} inputs have zero weights ({_some(zero)})")
    return found


def _some(channels: list[int]) -> str:
    shown = ", ".join(map(str, channels[:8]))
    more = ", ..." if len(channels) > 8 else ""
    return f"channel{'s' * (len(channels) > 1)} {shown}{more}"
