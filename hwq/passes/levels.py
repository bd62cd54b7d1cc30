"""Quantizers as ascending decision boundaries: y = y0 + number of boundaries that x has reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwq.ir import ops
from hwq.ir.graph import Graph
from hwq.ir.rational import fractions
from hwq.passes.chain import Floats, Rationals, at, rationals
from hwq.passes.exact import Number, compare

Bound = tuple[Fraction, bool]  # (t, closed): reached where x >= t if closed, else where x > t


@dataclass(frozen=True, slots=True)
class Levels:
    """Level y0 + k is reached at bounds[c or 0][k - 1]; the value of level y is scale * y + offset."""

    bounds: tuple[tuple[Bound, ...], ...]
    y0: int
    scale: Rationals
    offset: Rationals

    @property
    def n(self) -> int:
        return len(self.bounds[0])

    def row(self, c: int) -> tuple[Bound, ...]:
        return self.bounds[c if len(self.bounds) > 1 else 0]

    def floats(self) -> Floats:
        """The boundaries as float64 [C or 1, N], to steer a search."""
        return np.array([[float(t) for t, _ in row] for row in self.bounds])


def reached(x: Number, bound: Bound) -> bool:
    """True if x is at or past the boundary."""
    s = compare(x, bound[0])
    return s > 0 or (s == 0 and bound[1])


_HALF = Fraction(1, 2)
# rounding mode -> (distance below k of the boundary of level k, closed), for the level k of v = x / scale +
# zero
_EDGES: dict[str, Callable[[int], tuple[Fraction | int, bool]]] = {
    "ROUND": lambda k: (_HALF, k % 2 == 0),
    "HALF_EVEN": lambda k: (_HALF, k % 2 == 0),
    "CEIL": lambda k: (1, False),
    "FLOOR": lambda k: (0, True),
    "UP": lambda k: (1, False) if k > 0 else (0, True),
    "DOWN": lambda k: (0, True) if k > 0 else (1, False),
    "HALF_UP": lambda k: (_HALF, k > 0),
    "HALF_DOWN": lambda k: (_HALF, k <= 0),
}


def levels(graph: Graph, op: ops.Op) -> Levels:
    """The boundaries of a Quant, BipolarQuant or MultiThreshold."""
    zero = (Fraction(0),)
    match op:
        case ops.BipolarQuant(scale=s):
            return _bipolar(rationals(graph, s), zero)
        case ops.Quant(bipolar=True):
            return _bipolar(rationals(graph, op.scale), rationals(graph, op.zero))
        case ops.Quant():
            scale, z = rationals(graph, op.scale), rationals(graph, op.zero)
            edges = [
                (k - edge[0], edge[1]) for k in range(op.qmin + 1, op.qmax + 1) for edge in (_EDGES[op.rounding](k),)
            ]
            n = max(len(scale), len(z))
            rows = tuple(tuple(((v - at(z, c)) * at(scale, c), closed) for v, closed in edges) for c in range(n))
            return Levels(rows, op.qmin, scale, tuple(-at(z, c) * at(scale, c) for c in range(n)))
        case ops.MultiThreshold():
            t = fractions(graph.array(op.thresholds))
            rows = tuple(tuple((v, True) for v in sorted(row)) for row in t)
            return Levels(rows, 0, rationals(graph, op.scale), rationals(graph, op.offset))
    raise TypeError(type(op).__name__)


def _bipolar(scale: Rationals, zero: Rationals) -> Levels:
    n = max(len(scale), len(zero))
    rows = tuple((((-at(zero, c)) * at(scale, c), True),) for c in range(n))
    return Levels(rows, 0, tuple(2 * s for s in scale), tuple((-1 - at(zero, c)) * at(scale, c) for c in range(n)))
