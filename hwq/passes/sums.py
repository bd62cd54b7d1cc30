"""Tensors of different scales that meet: residual sums with the smallest multipliers proven right, concatenation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node
from hwq.passes.build import (
    ONE,
    ZERO,
    Build,
    Pending,
    Value,
    Whole,
    add_combine,
    flat,
    meaning,
    needs_line,
    real_of,
    settled,
    straight,
)
from hwq.passes.chain import Bend, Chain, Fn, Line, OverSqrt, Rationals, at
from hwq.passes.exact import common_step
from hwq.passes.layout import in_order
from hwq.passes.levels import Levels
from hwq.passes.thresholds import Thresholds, find, trim

IntArray = NDArray[np.int64]
ENUMERABLE = 1 << 15  # combinations of the other inputs' values in a proof
FOLDED = 4
LARGEST = 1 << 24  # multipliers tried before the exact ones


def lower_sum(b: Build, node: Node) -> Value:
    """x0 + x1 on the finest common grid; a sum of sums has all their terms. Equal scales need no multipliers."""
    values = alike(b, node, [b.values[t] for t in node.inputs], "a sum")
    return add_values(b, node, b.layer(node, "sum"), values)


def add_values(b: Build, node: Node, name: str, values: list[Value]) -> Value:
    """The sum of values in one order on bases of one shape."""
    lines = [needs_line(v, node, "a sum") for v in values]
    scaled: dict[str, list[Rationals]] = {}
    for v, line in zip(values, lines, strict=True):
        pending = b.sums.get(v.base) if v.base not in b.tensors else None
        for base, mul in pending.terms if pending else ((v.base, np.array([1], dtype=object)),):
            rows = max(len(mul), len(line.mul))
            factor = tuple(at(line.mul, c) * int(mul[c if len(mul) > 1 else 0]) for c in range(rows))
            scaled.setdefault(base, []).append(factor)
    terms = {base: _added(factors) for base, factors in scaled.items()}
    rows = max(map(len, terms.values()))
    steps = tuple(common_step([at(f, c) for f in terms.values()]) for c in range(rows))
    whole = [
        (base, np.array([int(at(f, c) / steps[c]) for c in range(rows)], dtype=object)) for base, f in terms.items()
    ]
    add = tuple(
        sum((at(line.add, c) for line in lines), Fraction(0)) for c in range(max(len(line.add) for line in lines))
    )
    shape = values[0].shape
    pending = Pending(name, node.name, tuple(whole), shape)
    out = b.name(f"{name}_sum")
    b.sums[out] = pending
    value = Value(out, shape, values[0].order, meaning(steps if len(set(steps)) > 1 else steps[:1], add))
    return settled(b, value) if all(int(v) == 1 for _, mul in whole for v in mul) else value


def _added(factors: Sequence[Rationals]) -> Rationals:
    rows = max(map(len, factors))
    return tuple(sum((at(f, c) for f in factors), Fraction(0)) for c in range(rows))


def alike(b: Build, node: Node, values: list[Value], what: str) -> list[Value]:
    """The values on bases of one shape, in one order."""
    for v in values:
        if v.floating:
            needs_line(v, node, what)
    if len({v.shape for v in values}) > 1:
        values = [flat(b, v) for v in values]
    if any(not np.array_equal(v.order, values[0].order) for v in values):
        frame = values[0].order.shape
        values = [in_order(b, flat(b, replace(v, order=v.order.ravel())), node.name) for v in values]
        values = [replace(v, order=v.order.reshape(frame)) for v in values]
    return values


# ---- a sum and the quantizer after it


def quantized_sum(b: Build, value: Value, q: Levels) -> tuple[Value, Thresholds] | None:
    """(the sum with the smallest multipliers found, the thresholds of the quantizer on it), or None where the value is
    no pending sum, or no smaller multipliers can be proven.
    """
    pending = b.sums.get(value.base)
    if pending is None or value.base in b.tensors:
        return None
    lo, hi = pending.range(b)
    exact = find(value.chain, q, lo, hi)  # on Python integers
    ranges = [b.range(base) for base, _ in pending.terms]
    channels = len(lo)
    mul: list[Whole] = [np.broadcast_to(m, (channels,)) for _, m in pending.terms]
    found = narrowed(mul, ranges, exact.t.astype(object))
    if found is None:
        return None
    small, t = found
    ends = [np.stack([m * r.astype(object) for r in rs]) for m, rs in zip(small, ranges, strict=True)]
    lo, hi = np.sum([e.min(axis=0) for e in ends], axis=0), np.sum([e.max(axis=0) for e in ends], axis=0)
    fits = np.clip(t, lo[:, None], hi[:, None] + 1).astype(np.int64)
    out = b.name(f"{pending.name}_acc")
    add_combine(b, pending, out, small, lo, hi, None)
    bounds = b.range(out)
    return replace(value, base=out), trim(fits, exact.falling, exact.offset, *bounds)


def narrowed(
    mul: Sequence[Whole], ranges: Sequence[tuple[IntArray, IntArray]], t: Whole
) -> tuple[list[Whole], Whole] | None:
    """Smaller multipliers and thresholds [C, N] with the same comparisons sum m_i x_i >= t for all x_i in their ranges.

    mul: exact multipliers [C] of each input. Candidates are the exact ones scaled down and rounded, from the smallest
    up; each is proven by enumeration of all inputs but the widest, whose smallest value that reaches a threshold
    is computed. Channels with the same multipliers get the same result. None where an enumeration is too long.
    """
    small, thresholds = [np.empty_like(m) for m in mul], np.empty_like(t)
    groups: dict[tuple[int, ...], list[int]] = {}
    for c in range(len(t)):
        groups.setdefault(tuple(int(m[c]) for m in mul), []).append(c)
    for m, channels in groups.items():
        proofs: dict[tuple[object, ...], _Proof] = {}
        of: list[_Proof] = []
        for c in channels:
            bounds = tuple((int(lo[c]), int(hi[c])) for lo, hi in ranges)
            key = (bounds, tuple(t[c]))
            if key not in proofs:
                if not all(m) or _Proof.size(bounds) > ENUMERABLE:
                    return None
                proofs[key] = _Proof(m, bounds, t[c])
            of.append(proofs[key])
        best = next((n for n in _candidates(m) if all(p.thresholds(n) is not None for p in proofs.values())), None)
        if best is None:
            return None
        for c, proof in zip(channels, of, strict=True):
            for row, n in zip(small, best, strict=True):
                row[c] = n
            thresholds[c] = proof.thresholds(best)
    return small, thresholds


def _candidates(m: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Integers in nearly the ratio of m, growing; none is zero."""
    top = max(map(abs, m))
    n = 1
    while n < min(top, LARGEST):
        near = tuple(round(Fraction(n * v, top)) for v in m)
        if all(near):
            yield near
        n += 1 + n // 32
    yield m


class _Proof:
    """One channel: which x reach which threshold, as the smallest value of the widest input for every combination of
    the others.
    """

    @staticmethod
    def size(bounds: Sequence[tuple[int, int]]) -> int:
        sizes = sorted(hi - lo + 1 for lo, hi in bounds)
        return int(np.prod([float(s) for s in sizes[:-1]]))

    def __init__(self, m: tuple[int, ...], bounds: Sequence[tuple[int, int]], t: Whole) -> None:
        self.last = max(range(len(m)), key=lambda i: bounds[i][1] - bounds[i][0])
        self.others = [i for i in range(len(m)) if i != self.last]
        axes = [np.arange(bounds[i][0], bounds[i][1] + 1) for i in self.others]
        grids = np.meshgrid(*axes, indexing="ij") if axes else [np.zeros(1, dtype=np.int64)]
        self.x = np.stack([g.ravel() for g in grids], axis=1)  # [combinations, others]
        lo, hi = bounds[self.last]
        self.sign = 1 if m[self.last] > 0 else -1
        self.lo, self.hi = (lo, hi) if self.sign > 0 else (-hi, -lo)
        top = sum(abs(v) * max(map(abs, ends)) for v, ends in zip(m, bounds, strict=True)) + max(map(abs, t))
        kind: Any = np.int64 if top < 1 << 61 else object
        rest = self.x.astype(kind) @ np.array([m[i] for i in self.others] or [0], dtype=kind)
        need = t.astype(kind)[None, :] - rest[:, None]
        first = -(-need // abs(m[self.last]))  # the smallest value that reaches the threshold
        self.first = np.clip(first, self.lo, self.hi + 1).astype(np.int64)
        self.some, self.none = self.first <= self.hi, self.first > self.lo

    def thresholds(self, n: tuple[int, ...]) -> Whole | None:
        """Thresholds [N] of the sum with multipliers n that decide the same, or None if there are none."""
        step = n[self.last] * self.sign
        if step <= 0:
            return None
        if max(map(abs, n)) < 1 << 26:
            rest = (self.x @ np.array([n[i] for i in self.others] or [0]))[:, None]
            first = self.first
        else:
            rest = (self.x.astype(object) @ np.array([n[i] for i in self.others] or [0], dtype=object))[:, None]
            first = self.first.astype(object)
        reaches, fails = rest + step * first, rest + step * (first - 1)
        out = np.empty(self.first.shape[1], dtype=object)
        for k in range(len(out)):
            some, none = self.some[:, k], self.none[:, k]
            above = int(reaches[some, k].min()) if some.any() else None
            below = int(fails[none, k].max()) if none.any() else None
            if above is not None and below is not None and below >= above:
                return None
            out[k] = above if above is not None else int(below or 0) + 1
        return out


# ---- concatenation


def folds_badly(chain: Chain) -> bool:
    """True where scales that differ would make weights much wider (`FOLDED` bits)."""
    line = chain.line
    if line is None or len(line.mul) == 1:
        return False
    step = common_step(list(line.mul))
    return max(abs(int(v / step)) for v in line.mul) >= 1 << FOLDED


def concat_parts(b: Build, value: Value) -> list[Value]:
    """The images that a Concat put side by side, each with its own meaning; the value alone where there is none."""
    node = next((n for n in b.nodes if n.outputs == (value.base,)), None)
    if node is None or not isinstance(node.op, ops.Concat):
        return [value]
    found, start = [], 0
    for name in node.inputs:
        t = b.tensors[name]
        chain = value.chain.picked(range(start, start + t.channels)) if value.chain.channels > 1 else value.chain
        found += concat_parts(b, straight(name, t.shape, chain))
        start += t.channels
    return found


def lower_join(b: Build, node: Node, op: ops.Join) -> Value:
    """Integers side by side, each channel with the meaning it had."""
    values = [settled(b, b.values[t]) for t in node.inputs]
    for v in values:
        if v.floating:
            needs_line(v, node, "a concatenation")
    if len({v.shape[:-1] for v in values}) > 1 or (op.axis and values[0].order.ndim == 1):
        values = [flat(b, v) for v in values]
    channels = [v.channels for v in values]
    whole = sum(channels)
    orders, start = [], 0
    for v, c in zip(values, channels, strict=True):
        orders.append(v.order // c * whole + start + v.order % c)
        start += c
    if values[0].order.ndim > 1 and len(values[0].shape) == 1:
        raise UnsupportedOp(
            f"node '{node.name}': images of {', '.join(str(v.order.shape) for v in values)} are joined along axis "
            f"{op.axis + 1}; only along the channels"
        )
    chain = joined([v.chain for v in values], channels)
    if chain is None:
        lines = [needs_line(v, node, "a concatenation") for v in values]
        chain = joined([Chain((line,)) for line in lines], channels)
        assert chain is not None
    name = b.layer(node, "concat")
    shape = (*values[0].shape[:-1], whole)
    lo, hi = (np.concatenate(ends) for ends in zip(*(b.range(v.base) for v in values), strict=True))
    out = b.emit(
        name,
        ops.Concat(),
        [v.base for v in values],
        f"{name}_out",
        lo,
        hi,
        real_of(chain, whole),
        node.name,
        shape,
    )
    return Value(out, shape, np.concatenate(orders, axis=op.axis), chain)


def joined(chains: Sequence[Chain], channels: Sequence[int]) -> Chain | None:
    """One chain for the channels of all, if they are the same functions with other numbers."""
    if all(c == chains[0] for c in chains) and chains[0].channels == 1:
        return chains[0]
    parts = [_parts(c) for c in chains]
    if any(p is None for p in parts) or len({len(p or []) for p in parts}) > 1:
        return None
    out = Chain()
    for column in zip(*(p or [] for p in parts), strict=True):
        if isinstance(column[0], Bend):
            if any(f != column[0] for f in column):
                return None
            out = out.then(column[0])
            continue
        for rows in _affine(column, channels):
            out = out.then(rows)
    return out


Affine = tuple[Line, Rationals, Line]  # a line, divided by a root, a line


def _parts(chain: Chain) -> list[Bend | Affine] | None:
    """Bends with an affine part before, between and after; None where such a part divides by two roots."""
    found: list[Bend | Affine] = []
    same = Line(ONE, ZERO)
    first, second = same, same
    root: Rationals = ONE
    for f in chain.fns:
        match f:
            case Bend():
                found += [(first, root, second), f]
                first, root, second = same, ONE, same
            case OverSqrt(var=v):
                if root != ONE:
                    return None
                root = v
            case Line():
                if root == ONE:
                    first = f
                else:
                    second = f
    return [*found, (first, root, second)]


def _affine(column: Sequence[Affine | Bend], channels: Sequence[int]) -> list[Fn]:
    def spread(values: Sequence[Rationals]) -> Rationals:
        rows = tuple(at(v, c) for v, n in zip(values, channels, strict=True) for c in range(n))
        return rows[:1] if len(set(rows)) == 1 else rows

    parts = [p for p in column if not isinstance(p, Bend)]
    first = Line(spread([p[0].mul for p in parts]), spread([p[0].add for p in parts]))
    root = spread([p[1] for p in parts])
    second = Line(spread([p[2].mul for p in parts]), spread([p[2].add for p in parts]))
    found: list[Fn] = [first]
    if root != ONE:
        found.append(OverSqrt(root))
    if second != Line(ONE, ZERO):
        found.append(second)
    return found
