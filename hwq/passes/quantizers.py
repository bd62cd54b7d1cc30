"""Quantizer -> Step (or Table) on integers, or HostQuant on a float32 graph input."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import HostQuant, Node, Tensor
from hwq.passes.build import Build, Value, meaning, parameters, real_of, settled
from hwq.passes.chain import Chain, Floats
from hwq.passes.levels import Levels, levels, reached
from hwq.passes.sums import quantized_sum
from hwq.passes.thresholds import find

IntArray = NDArray[np.int64]
TABLE_RANGE = 1 << 12
MAX_FLOAT = 0x7F7FFFFF  # bits of the largest finite float32; numbers below zero count down from 0


def lower_quantizer(b: Build, node: Node, op: ops.Op) -> Value:
    """The integer levels of the quantizer as a tensor of their own."""
    value, params = parameters(b, node, b.values[node.inputs[0]])
    q = levels(params, op)
    chain = meaning(q.scale, q.offset)
    if value.floating:
        return _host(b, node, value, q, chain)
    monotone = all(value.chain.polarity(c) is not None for c in range(value.chain.channels))
    summed = quantized_sum(b, value, q) if monotone else None
    value = summed[0] if summed else settled(b, value)
    lo, hi = b.range(value.base)
    name = b.name(f"{b.stem(value.base)}_act")
    out = b.name(f"{b.stem(value.base)}_out")
    real = real_of(chain, len(lo))
    if not monotone:
        return Value(_table(b, node, value, q, (name, out)), value.shape, value.order, chain)
    found = summed[1] if summed else find(value.chain, q, lo, hi)
    falling = b.blob(found.falling) if found.falling.any() else None
    step = ops.Step(b.blob(found.t), found.offset, falling)
    b.emit(name, step, [value.base], out, np.array(found.lo), np.array(found.hi), real, node.name, value.shape)
    return Value(out, value.shape, value.order, chain)


def _table(b: Build, node: Node, value: Value, q: Levels, names: tuple[str, str]) -> str:
    """A function that rises and falls: its value at every integer of the range, exactly."""
    lo, hi = b.range(value.base)
    base, entries = int(lo.min()), int(hi.max() - lo.min()) + 1
    if entries > TABLE_RANGE:
        raise UnsupportedOp(
            f"node '{node.name}': the function before this quantizer is not monotone, and its input range of "
            f"{entries} integers is past the {TABLE_RANGE} of a table; quantize its input to fewer bits"
        )
    rows = max(value.chain.channels, len(q.bounds))
    table = np.empty((rows, entries), dtype=np.int64)
    for c in range(rows):
        for i in range(entries):
            y = value.chain.exact(Fraction(base + i), c)
            table[c, i] = q.y0 + sum(reached(y, bound) for bound in q.row(c))
    per_channel = [table[c if rows > 1 else 0, lo[c] - base : hi[c] - base + 1] for c in range(len(lo))]
    y_lo, y_hi = (np.array([int(f(r)) for r in per_channel]) for f in (np.min, np.max))
    return b.emit(
        names[0],
        ops.Table(b.blob(table), base),
        [value.base],
        names[1],
        y_lo,
        y_hi,
        real_of(meaning(q.scale, q.offset), len(lo)),
        node.name,
        value.shape,
    )


def _host(b: Build, node: Node, value: Value, q: Levels, chain: Chain) -> Value:
    """Exact float32 thresholds: the search runs over the finite float32 numbers in order."""
    name = value.base
    if name in b.host:
        raise UnsupportedOp(
            f"node '{node.name}': graph input '{name}' feeds a second, different quantizer; "
            "quantize it once and share the result"
        )
    if any(value.chain.polarity(c) is None for c in range(value.chain.channels)):
        raise UnsupportedOp(
            f"node '{node.name}': the function between input '{name}' and its quantizer is not monotone; "
            "quantize the input first"
        )
    rows = max(value.chain.channels, len(q.bounds))
    edge = np.full(rows, MAX_FLOAT, dtype=np.int64)
    found = find(value.chain, q, -edge, edge, _to_float, _to_exact)
    thresholds = from_index(found.t)
    falling = b.blob(found.falling) if found.falling.any() else None
    b.host[name] = HostQuant(b.blob(thresholds), found.offset, falling)
    b.tensors[name] = Tensor(name, value.shape, found.lo, found.hi, real_of(chain, value.channels))
    return Value(name, value.shape, value.order, chain)


def from_index(index: IntArray) -> NDArray[np.float32]:
    """Position in the order of the float32 numbers (0 is zero) -> the number; MAX_FLOAT + 1 is infinity."""
    i = np.asarray(index, dtype=np.int64)
    magnitude = np.abs(i).astype(np.uint32).view(np.float32)
    return cast("NDArray[np.float32]", np.where(i < 0, -magnitude, magnitude))


def _to_float(index: IntArray) -> Floats:
    return from_index(index).astype(np.float64)


def _to_exact(index: int) -> Fraction:
    return Fraction(float(from_index(np.array(index))))
