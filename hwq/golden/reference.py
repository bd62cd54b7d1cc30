"""The exact reference: the real graph executed from its definitions in rational arithmetic, without any
lowering.

Each channel of a tensor takes few distinct values over a set of frames (an input pixel, a quantizer level, an
accumulator), so a tensor is codes [N, n] into one table of exact values per channel: elementwise functions
run once per table entry, matrix products are sums of integers times a scale. A square root, sigmoid or tanh
gives 120
digits; a decision closer than 1e-85 raises instead of guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from math import gcd
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq.errors import VerifyError
from hwq.ir import ops
from hwq.ir.graph import Exact, Graph, Node, Real
from hwq.ir.rational import exact, fractions

DIGITS = 120
CLOSE = mpmath.mpf(10) ** -85
IntArray = NDArray[np.int64]
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Cells:
    """A tensor over N frames: value[i, c] = tables[c][codes[i, c]]; frames are flat (row-major)."""

    codes: NDArray[np.intp]
    tables: tuple[tuple[Exact, ...], ...]

    def floats(self) -> NDArray[np.float64]:
        """The values rounded to float64 [N, n]."""
        columns = [np.array([float(v) for v in t])[self.codes[:, c]] for c, t in enumerate(self.tables)]
        return np.stack(columns, axis=1)

    def row(self, i: int) -> list[Exact]:
        """The values of frame i."""
        return [t[k] for t, k in zip(self.tables, self.codes[i], strict=True)]

    def integers(self, real: Real) -> IntArray:
        """The i with scale * i + offset = value, int64 [N, n]. Raises VerifyError where there is none."""
        out = np.empty(self.codes.shape, dtype=np.int64)
        for c, table in enumerate(self.tables):
            scale = real.scale[c if len(real.scale) > 1 else 0]
            offset = real.offset[c if len(real.offset) > 1 else 0]
            ints = [_quotient(v, scale, offset, c) for v in table]
            out[:, c] = np.array(ints, dtype=np.int64)[self.codes[:, c]]
        return out

    def mapped(self, f: Any) -> Cells:
        """f(value, channel) on every table entry."""
        return Cells(self.codes, tuple(tuple(f(v, c) for v in t) for c, t in enumerate(self.tables)))


def _quotient(v: Exact, scale: Exact, offset: Exact, c: int) -> int:
    with mpmath.workdps(DIGITS):
        if all(isinstance(p, Fraction) for p in (v, scale, offset)):
            i = (v - offset) / scale
            whole = i.denominator == 1
        else:
            i = (_mpf(v) - _mpf(offset)) / _mpf(scale)
            whole = abs(i - mpmath.nint(i)) < CLOSE
        if not whole:
            raise VerifyError(
                "real",
                [
                    f"channel {c}: value {float(v):.9g} is not an integer times "
                    f"{float(scale):.9g} plus {float(offset):.9g}"
                ],
            )
        return int(mpmath.nint(i)) if not isinstance(i, Fraction) else int(i)


def from_floats(x: NDArray[Any]) -> Cells:
    """Frames [N, ...] of floats (taken exactly) or integers -> Cells."""
    flat = np.asarray(x).reshape(len(x), -1)
    codes, tables = np.empty(flat.shape, dtype=np.intp), []
    for c in range(flat.shape[1]):
        unique, codes[:, c] = np.unique(flat[:, c], return_inverse=True)
        tables.append(tuple(exact(v) for v in unique))
    return Cells(codes, tuple(tables))


def reference(graph: Graph, inputs: Sequence[NDArray[Any]]) -> dict[str, Cells]:
    """Every tensor of the real graph for frames [N, ...] of each input, exactly.

    Softmax passes its input on: it changes no order, and nothing else of it is used. Raises VerifyError where
    120 digits can't decide, or where an irrational value enters a matrix product.
    """
    env = dict(zip(graph.inputs, map(from_floats, inputs), strict=True))
    for node in graph.nodes:
        env[node.outputs[0]] = apply(graph, node, [env[t] for t in node.inputs])
    return env


def apply(graph: Graph, node: Node, xs: Sequence[Cells]) -> Cells:
    """One node, from its definition."""
    x = xs[0]
    match node.op:
        case ops.MatMul():
            return _matmul(graph, node, node.op, x)
        case ops.ArgMax():
            return from_floats(argmax(x)[:, None])
        case ops.Sum():
            return _sum(xs[0], xs[1])
        case ops.Reshape() | ops.Softmax():
            return x
        case ops.Quant() | ops.BipolarQuant() | ops.MultiThreshold():
            q = Quantizer(graph, node.op)
            return _compact(x.mapped(lambda v, c: q.value(q.level(v, c), c)))
    return x.mapped(_elementwise(graph, node.op))


def _compact(x: Cells) -> Cells:
    """The same values with tables free of repetitions."""
    codes, tables = np.empty_like(x.codes), []
    for c, table in enumerate(x.tables):
        position = {v: i for i, v in enumerate(dict.fromkeys(table))}
        codes[:, c] = np.array([position[v] for v in table])[x.codes[:, c]]
        tables.append(tuple(position))
    return Cells(codes, tuple(tables))


def _matmul(graph: Graph, node: Node, op: ops.MatMul, x: Cells) -> Cells:
    if any(not isinstance(v, Fraction) for t in x.tables for v in t):
        raise VerifyError("real", [f"node '{node.name}': irrational values enter a matrix product"])
    step = reduce(_gcd, {abs(v) for t in x.tables for v in t if v}, Fraction(0)) or Fraction(1)
    whole = [np.array([int(v / step) for v in t], dtype=object) for t in x.tables]
    w = graph.array(op.weight)
    scale = fractions(graph.array(op.scale)).ravel() * step
    top = max(abs(int(v)) for t in whole for v in t)
    kind = np.int64 if top * int(np.abs(w).max(initial=0)) * w.shape[1] < 1 << 62 else object
    ints = np.stack([t.astype(kind)[x.codes[:, c]] for c, t in enumerate(whole)], axis=1)
    acc = ints @ w.T.astype(kind)
    codes, tables = np.empty(acc.shape, dtype=np.intp), []
    for m in range(acc.shape[1]):
        unique, codes[:, m] = np.unique(acc[:, m], return_inverse=True)
        s = scale[m if len(scale) > 1 else 0]
        tables.append(tuple(Fraction(int(v)) * s for v in unique))
    return Cells(codes, tuple(tables))


def _gcd(a: Fraction, b: Fraction) -> Fraction:
    return Fraction(
        gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator
    )


def _sum(a: Cells, b: Cells) -> Cells:
    codes, tables = np.empty_like(a.codes), []
    for c, (ta, tb) in enumerate(zip(a.tables, b.tables, strict=True)):
        pairs, codes[:, c] = np.unique(a.codes[:, c] * len(tb) + b.codes[:, c], return_inverse=True)
        tables.append(tuple(_add(ta[p // len(tb)], tb[p % len(tb)]) for p in map(int, pairs)))
    return Cells(codes, tuple(tables))


def _add(a: Exact, b: Exact) -> Exact:
    with mpmath.workdps(DIGITS):
        return a + b if isinstance(a, Fraction) and isinstance(b, Fraction) else _mpf(a) + _mpf(b)


def argmax(x: Cells) -> IntArray:
    """Channel of the largest value of each frame [N], the lowest of equal ones."""
    out = np.empty(len(x.codes), dtype=np.int64)
    for i in range(len(x.codes)):
        values = x.row(i)
        best = 0
        for c in range(1, len(values)):
            if _exceeds(values[c], values[best]):
                best = c
        out[i] = best
    return out


def difference(a: Exact, b: Exact) -> Exact:
    """a - b, to 120 digits if either is irrational."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a - b
    with mpmath.workdps(DIGITS):
        return _mpf(a) - _mpf(b)


def _exceeds(a: Exact, b: Exact) -> bool:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a > b
    return _sign(difference(a, b)) > 0


def _mpf(v: Exact) -> mpmath.mpf:
    return mpmath.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v


def _sign(v: mpmath.mpf) -> int:
    if v == 0:
        return 0
    if abs(v) < CLOSE:
        raise VerifyError(
            "real", ["a value lies within 1e-85 of a decision, where 120 digits can't tell its side"]
        )
    return 1 if v > 0 else -1


def _elementwise(graph: Graph, op: ops.Op) -> Any:
    """f(value, channel) of an elementwise op."""

    def param(key: str) -> Any:
        values = fractions(graph.array(key)).ravel()
        return lambda c: values[c if len(values) > 1 else 0]

    def linear(v: Exact, a: Fraction, b: Fraction) -> Exact:
        if isinstance(v, Fraction) or not a:
            return a * v + b if a else b
        with mpmath.workdps(DIGITS):
            return _mpf(a) * v + _mpf(b)

    def cut(v: Exact, lo: Fraction | None, hi: Fraction | None) -> Exact:
        if lo is not None and not _exceeds(v, lo):
            v = lo
        return hi if hi is not None and _exceeds(v, hi) else v

    match op:
        case ops.Affine():
            mul, add = param(op.mul), param(op.add)
            return lambda v, c: linear(v, mul(c), add(c))
        case ops.BatchNorm():
            gamma, beta, mean, var = map(param, (op.gamma, op.beta, op.mean, op.var))

            @cache
            def root_of(c: int) -> Exact:
                with mpmath.workdps(DIGITS):
                    root = mpmath.sqrt(_mpf(var(c)))
                    rational = _rational(root, var(c))
                    return root if rational is None else rational

            def norm(v: Exact, c: int) -> Exact:
                d, root = linear(v, gamma(c), -gamma(c) * mean(c)), root_of(c)
                if d == 0:
                    return beta(c)
                if isinstance(d, Fraction) and isinstance(root, Fraction):
                    return d / root + beta(c)
                with mpmath.workdps(DIGITS):
                    return _mpf(d) / _mpf(root) + _mpf(beta(c))

            return norm
        case ops.Relu():
            return lambda v, c: cut(v, Fraction(0), None)
        case ops.Clip():
            lo, hi = (None if t is None else Fraction(t) for t in (op.lo, op.hi))
            return lambda v, c: cut(v, lo, hi)
        case ops.LeakyRelu():
            return lambda v, c: (
                v if not _exceeds(Fraction(0), v) else linear(v, Fraction(op.alpha), Fraction(0))
            )
        case ops.Abs():
            return lambda v, c: linear(v, Fraction(-1), Fraction(0)) if _exceeds(Fraction(0), v) else v
        case ops.Sigmoid():
            return lambda v, c: _smooth(v, lambda z: 1 / (1 + mpmath.exp(-z)), HALF, 170)
        case ops.Tanh():
            return lambda v, c: _smooth(v, mpmath.tanh, Fraction(0), 85)
    raise TypeError(type(op).__name__)


def _smooth(v: Exact, f: Any, at_zero: Fraction, limit: int) -> Exact:
    """f(v); from `limit` on it stays 1e-74 short of its asymptote, which it never reaches."""
    with mpmath.workdps(DIGITS):
        return at_zero if v == 0 else f(max(min(_mpf(v), mpmath.mpf(limit)), mpmath.mpf(-limit)))


def _rational(root: mpmath.mpf, square: Fraction) -> Fraction | None:
    """The rational p with p * p = square, if there is one (root: its value to 120 digits)."""
    guess = Fraction(int(mpmath.nint(root * square.denominator)), square.denominator)
    return guess if guess * guess == square else None


class Quantizer:
    """Level and value of a quantizer, as QONNX defines them."""

    def __init__(self, graph: Graph, op: ops.Op) -> None:
        self.op = op

        def row(key: str) -> Any:
            return fractions(graph.array(key))

        if isinstance(op, ops.MultiThreshold):
            self.thresholds = row(op.thresholds)
            self.scale, self.zero = row(op.scale).ravel(), row(op.offset).ravel()
        elif isinstance(op, ops.Quant):
            self.scale, self.zero = row(op.scale).ravel(), row(op.zero).ravel()
        elif isinstance(op, ops.BipolarQuant):
            self.scale, self.zero = row(op.scale).ravel(), np.array([Fraction(0)], dtype=object)

    def _at(self, values: Any, c: int) -> Fraction:
        found = values[c if len(values) > 1 else 0]
        assert isinstance(found, Fraction)
        return found

    def scaled(self, v: Exact, c: int) -> Exact:
        """x / scale + zero, what a Quant rounds; x itself for a MultiThreshold."""
        if isinstance(self.op, ops.MultiThreshold):
            return v
        s, z = self._at(self.scale, c), self._at(self.zero, c)
        with mpmath.workdps(DIGITS):
            return v / s + z if isinstance(v, Fraction) else v / _mpf(s) + _mpf(z)

    def level(self, v: Exact, c: int) -> int:
        """The integer the quantizer gives for the real value v."""
        if isinstance(self.op, ops.MultiThreshold):
            row = self.thresholds[c if len(self.thresholds) > 1 else 0]
            return sum(not _exceeds(t, v) for t in row)
        y = self.scaled(v, c)
        if isinstance(self.op, ops.BipolarQuant) or (isinstance(self.op, ops.Quant) and self.op.bipolar):
            return -1 if _exceeds(Fraction(0), y) else 1
        assert isinstance(self.op, ops.Quant)
        if _exceeds(y, Fraction(self.op.qmax)):
            return self.op.qmax
        if _exceeds(Fraction(self.op.qmin), y):
            return self.op.qmin
        return _round(y, self.op.rounding)

    def value(self, level: int, c: int) -> Fraction:
        """The real value of an integer level."""
        s, z = self._at(self.scale, c), self._at(self.zero, c)
        return s * level + z if isinstance(self.op, ops.MultiThreshold) else s * (Fraction(level) - z)

    def nearest(self, values: NDArray[Any]) -> IntArray:
        """The levels nearest to real values [N, n] that some other engine computed."""
        s, z = self.scale.astype(np.float64), self.zero.astype(np.float64)
        v = np.asarray(values, dtype=np.float64)
        q: NDArray[np.float64] = (v - z) / s if isinstance(self.op, ops.MultiThreshold) else v / s + z
        return np.round(q).astype(np.int64)

    def boundary(self, a: int, b: int, c: int) -> Fraction:
        """The decision between levels a and b that lies nearest to a, in the units of `scaled`."""
        k = a + 1 if a < b else a  # the boundary below level k
        if isinstance(self.op, ops.MultiThreshold):
            found = sorted(self.thresholds[c if len(self.thresholds) > 1 else 0])[k - 1]
            assert isinstance(found, Fraction)
            return found
        if not isinstance(self.op, ops.Quant) or self.op.bipolar:
            return Fraction(0)
        below = {"CEIL": 1, "FLOOR": 0, "UP": 1 if k > 0 else 0, "DOWN": 0 if k > 0 else 1}
        return Fraction(k) - below.get(self.op.rounding, HALF)


def from_levels(q: Quantizer, levels: IntArray) -> Cells:
    """The exact values of a quantizer's levels [N, n]."""
    codes, tables = np.empty(levels.shape, dtype=np.intp), []
    for c in range(levels.shape[1]):
        unique, codes[:, c] = np.unique(levels[:, c], return_inverse=True)
        tables.append(tuple(q.value(int(v), c) for v in unique))
    return Cells(codes, tuple(tables))


def _round(y: Exact, mode: str) -> int:
    """QONNX's rounding: np.round, ceil, floor, and their sign-magnitude relatives."""
    with mpmath.workdps(DIGITS):
        if not isinstance(y, Fraction):
            near = mpmath.nint(2 * y) / 2
            if abs(y - near) < CLOSE:
                raise VerifyError(
                    "real", ["a value lies within 1e-85 of a rounding edge, where 120 digits can't tell"]
                )
        floor = (lambda v: v.__floor__()) if isinstance(y, Fraction) else (lambda v: int(mpmath.floor(v)))
        half: Any = HALF if isinstance(y, Fraction) else mpmath.mpf(1) / 2
        size, sign = abs(y), -1 if y < 0 else 1
        match mode:
            case "FLOOR":
                return int(floor(y))
            case "CEIL":
                return -int(floor(-y))
            case "DOWN":
                return sign * int(floor(size))
            case "UP":
                return -sign * int(floor(-size))
            case "HALF_UP":
                return sign * int(floor(size + half))
            case "HALF_DOWN":
                return -sign * int(floor(half - size))
        low = int(floor(y))
        rest = y - low
        return low + int(rest > half or (rest == half and low % 2 == 1))
